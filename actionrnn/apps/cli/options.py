"""What several commands share: paths, choices, and the options of a model."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

from actionrnn.errors import ActionrnnError
from actionrnn.files import as_path, as_written
from actionrnn.video.address import masked

if TYPE_CHECKING:
    from actionrnn.model.recognizer import Recognizer

    Choice = click.Choice[str]
else:
    Choice = click.Choice  # which takes a type from click 8.2 on alone


class UserPath(click.Path):
    """A path; `~`, which shells leave alone in `--output=~/runs`, and `file://` are understood."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The path as `as_written` reads it."""
        path = as_written(os.fspath(value))
        try:
            return super().convert(path, param, ctx)
        except ValueError as error:
            raise ActionrnnError(f"{masked(path)}: cannot be a path ({error})") from None


class LiteralChoice(Choice):
    """One of the values of a Literal, whose module is imported only when they are asked for.

    >>> LiteralChoice("actionrnn.config", "Precision").choices
    ('auto', 'float32', 'bfloat16', 'float16')
    """

    def __init__(self, module: str, name: str) -> None:
        self.module, self.name_there, self.case_sensitive = module, name, True

    @property
    def choices(self) -> tuple[str, ...]:  # type: ignore[override]
        """The values, in the order in which they are written."""
        return get_args(getattr(importlib.import_module(self.module), self.name_there))


def config_choice(name: str) -> LiteralChoice:
    """One of the values that `config.py` allows: `Runtime`, `Precision`, ..."""
    return LiteralChoice("actionrnn.config", name)


output_folder_option = click.option(
    "--output", "-o", type=UserPath(path_type=Path, file_okay=False), help="Where results go."
)
store_option = click.option(
    "--output",
    "-o",
    required=True,
    type=UserPath(),
    metavar="STORE",
    help="The feature store's folder.",
)
stream_option = click.option(
    "--stream",
    "stream_number",
    type=click.IntRange(min=0),
    metavar="N",
    help="The video stream of a file with several, as info numbers them.",
)


frame_rate_option = click.option(
    "--frame-rate",
    type=click.FloatRange(min=0, min_open=True),
    metavar="FPS",
    help="The frames a second of what does not say it: pictures, raw .h264 and .mjpeg.",
)
annotation_format_option = click.option(
    "--to",
    "format_name",
    type=LiteralChoice("actionrnn.datasets.annotations.formats", "Format"),
    help="The format of annotations, where the file's ending does not tell it.",
)
model_option = click.option(
    "--model",
    "-m",
    required=True,
    type=UserPath(),
    help="A model file, the folder of a run (runs/demo), or hf://USER/NAME.",
)
weights_option = click.option(
    "--weights",
    type=UserPath(),
    help="The backbone's weights, if they have moved since the training.",
)
overwrite_option = click.option(
    "--overwrite", is_flag=True, help="Replace existing files of these names."
)
clock_option = click.option(
    "--clock",
    type=LiteralChoice("actionrnn.options", "Clock"),
    default="player",
    show_default=True,
    help="Times from 0 on, as players show them, or the file's own.",
)
none_rate_option = click.option(
    "--none-rate",
    type=click.FloatRange(0, 1, min_open=True),
    metavar="RATE",
    help="Say 'none of these' of the least usual, so much of the classes' own included: 0.05.",
)


def note_frame_rate(given: float | None, num_folders: int, rate_fps: float) -> None:
    """Say that the rate of folders of pictures was assumed, or that most videos need none.

    Of other videos whose rate is assumed, decoding warns.

    Args:
        given: by `frame_rate_option`.
        num_folders: how many there are.
        rate_fps: that of them.
    """
    if given is None and num_folders:
        which = "a folder of pictures does" if num_folders == 1 else f"{num_folders} folders do"
        click.echo(
            f"note: {which} not say the frame rate: {rate_fps:g} frames/s assumed; "
            "--frame-rate sets another",
            err=True,
        )
    if given is not None and not num_folders:
        click.echo(
            "note: --frame-rate is for folders of pictures and raw streams; videos that state "
            "their times keep them",
            err=True,
        )


def note_rate_of_folders(
    given: float | None, recognizer: Recognizer, videos: Iterable[str | Path]
) -> None:
    """`note_frame_rate` for videos that a model reads, of which some may be such folders."""
    from actionrnn.video.image_folder import is_folder

    num_folders = sum(map(is_folder, videos))
    note_frame_rate(given, num_folders, recognizer.config.sampling.frame_folder_fps)


def path_of(source: str | Path) -> Path | None:
    """The file or folder that is read; None: an address or standard input."""
    from actionrnn.video.source import is_path

    return as_path(source) if is_path(source) else None
