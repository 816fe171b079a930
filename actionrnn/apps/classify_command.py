"""The command that names the action in videos."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from actionrnn.apps.path_type import UserPath
from actionrnn.apps.stream_commands import RUNTIMES, overwrite_option, weights_option
from actionrnn.errors import VideoError
from actionrnn.text import printable

if TYPE_CHECKING:
    from actionrnn.model.recognizer import Prediction, Recognizer


@click.command()
@click.argument("videos", nargs=-1, required=True, type=UserPath(), metavar="VIDEO_OR_FOLDER...")
@click.option(
    "--model",
    "-m",
    required=True,
    type=UserPath(),
    help="A model file, or the folder of a run: runs/demo.",
)
@click.option("--top", type=click.IntRange(min=1), default=5, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@click.option("--sheet", type=UserPath(path_type=Path), help="Draw a contact sheet (one video).")
@click.option(
    "--stop-at-confidence",
    type=click.FloatRange(0, 1, min_open=True),
    metavar="SCORE",
    help="Stop decoding when the best score reaches this, e.g. 0.9.",
)
@click.option("--runtime", type=click.Choice(RUNTIMES), help="What computes the backbone.")
@overwrite_option
@weights_option
def classify(
    videos: tuple[str, ...],
    model: str,
    top: int,
    as_json: bool,
    sheet: Path | None,
    stop_at_confidence: float | None,
    runtime: Any,
    overwrite: bool,
    weights: str | None,
) -> None:
    """Name the action in videos, or in every video of folders."""
    from actionrnn.files import require_new
    from actionrnn.model.model_file import load

    if sheet is not None and (len(videos) > 1 or Path(videos[0]).is_dir()):
        raise click.UsageError("--sheet draws one video; give one file")
    if sheet is not None and stop_at_confidence is not None:
        raise click.UsageError("--sheet shows the whole video; leave --stop-at-confidence out")
    if sheet is not None:
        require_new(sheet, overwrite=overwrite, source=Path(videos[0]))
    recognizer = load(model, weights=weights, runtime=runtime)
    num_failed = 0
    for path, problem in _each_video(videos):
        try:
            if problem is not None:
                raise problem
            if stop_at_confidence is not None:
                _print_early_answer(recognizer, path, stop_at_confidence, top, as_json)
                continue
            prediction = _classify_one(recognizer, path, sheet).top(top)
        except VideoError as error:
            num_failed += 1
            if as_json:
                click.echo(json.dumps({"path": str(path), "error": str(error)}))
            click.echo(f"error: {printable(error)}", err=True)
            continue
        click.echo(json.dumps(prediction.to_dict()) if as_json else str(prediction))
    sys.exit(1 if num_failed else 0)


def _each_video(inputs: tuple[str, ...]) -> Iterator[tuple[Path, VideoError | None]]:
    """Each video, or a folder and why it, or a part of it, is not answered."""
    from actionrnn.video.finding import find_videos
    from actionrnn.video.image_folder import is_folder

    for item in map(Path, inputs):
        if not is_folder(item):
            yield item, None
            continue
        try:
            found = find_videos(item)
        except VideoError as error:
            yield item, error
            continue
        for note in found.notes:
            click.echo(f"note: {printable(note)}", err=True)
        yield from ((path, None) for path in found.paths)
        yield from ((path, VideoError(why)) for path, why in found.unreadable.items())


def _print_early_answer(
    recognizer: Recognizer, path: Path, confidence: float, top: int, as_json: bool
) -> None:
    from actionrnn.video.decode import declared_span

    prediction = recognizer.classify(path, stop_at_confidence=confidence).top(top)
    start_seconds, duration_seconds = declared_span(path)
    needed = prediction.pts_seconds - start_seconds
    part = min(1.0, needed / duration_seconds) if duration_seconds else None
    is_early = prediction.scores[0] >= confidence
    if as_json:
        described = {"stopped_early": is_early, "needed_seconds": needed, "needed_part": part}
        click.echo(json.dumps(prediction.to_dict() | described))
        return
    click.echo(str(prediction))
    of_all = "" if part is None else f" of {duration_seconds:.2f} s ({part:.0%})"
    verdict = "needed" if is_early else f"never reached {confidence:g}; looked at"
    click.echo(f"  {verdict} {needed:.2f} s{of_all}")


def _classify_one(recognizer: Recognizer, path: Path, sheet: Path | None) -> Prediction:
    timeline = recognizer.timeline(path)
    if sheet is not None:
        from actionrnn.apps.contact_sheet import draw_contact_sheet
        from actionrnn.video.decode import read_frames

        draw_contact_sheet(read_frames(path, recognizer.config.sampling), timeline, sheet)
    return timeline.prediction()
