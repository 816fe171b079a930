"""The command that opens the studio."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from actionrnn.apps.cli.options import UserPath
from actionrnn.apps.cli.server_options import server_options

if TYPE_CHECKING:
    from actionrnn.apps.serving.server import ServeOptions


@click.command()
@click.argument("folder", default="project", type=UserPath(path_type=Path, file_okay=False))
@click.option(
    "--videos",
    "videos_folders",
    multiple=True,
    type=UserPath(path_type=Path, file_okay=False, exists=True),
    help="A folder whose videos the page may use where they lie; several times for several.",
)
@click.option("--no-browser", is_flag=True, help="Do not open the page.")
@server_options(port=7861, bounds=("upload_mb", "request_seconds", "visitors"))
def studio(
    options: ServeOptions,
    bounds: dict[str, Any],
    folder: Path,
    videos_folders: tuple[Path, ...],
    no_browser: bool,
) -> None:
    """Teach an action in the browser: record or bring videos, label, train, watch.

    FOLDER (default: project) holds the project, and is made if it does not exist.
    """
    from actionrnn.apps.serving.server import run_app
    from actionrnn.apps.studio.server import open_studio, studio_limits

    limits = studio_limits(bounds)
    is_here = options.host in ("127.0.0.1", "::1", "localhost")
    opens = is_here and not no_browser and _has_display()
    with open_studio(folder, videos_folders, limits) as build:
        run_app(build, options, limits, _open_page if opens else None)


def _open_page(address: str) -> None:
    click.launch(address)


def _has_display() -> bool:
    if sys.platform in ("win32", "darwin"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
