"""A project is opened, served and closed again."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from actionrnn.apps.serving.limits import ServeLimits
from actionrnn.options import parse_section

if TYPE_CHECKING:
    from fastapi import FastAPI

BOUNDS = {"upload_mb": 4000.0, "upload_seconds": 3600.0, "request_seconds": 3600.0}
"""Recordings are longer than what a visitor of `serve` may send, and are read once."""


def studio_limits(given: Mapping[str, Any]) -> ServeLimits:
    """The bounds of a studio; None: its default.

    Raises:
        ConfigError: a value is wrong; the message names it.
    """
    chosen = {name: value for name, value in given.items() if value is not None}
    return parse_section(ServeLimits, BOUNDS | chosen)


@contextlib.contextmanager
def open_studio(
    folder: Path, videos_folders: Sequence[Path], limits: ServeLimits
) -> Iterator[Callable[..., FastAPI]]:
    """Open a project, or make it; gives what builds its application, as `run_app` wants it.

    Raises:
        ProjectError: the folder cannot be used, or another server has it open.
    """
    from actionrnn.apps.studio.project import Project
    from actionrnn.apps.studio.project_file import is_project

    start = Project.open if is_project(folder) else Project.create
    with start(folder, videos_folders) as project:

        def build(**access: Any) -> FastAPI:
            from actionrnn.apps.studio.app import make_studio

            return make_studio(project, limits, **access)

        yield build
