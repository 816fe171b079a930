"""`actionrnn classify`: the action of each video."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from actionrnn.apps.cli.options import (
    UserPath,
    clock_option,
    config_choice,
    frame_rate_option,
    model_option,
    none_rate_option,
    note_rate_of_folders,
    overwrite_option,
    path_of,
    stream_option,
    weights_option,
)
from actionrnn.errors import VideoError
from actionrnn.text import printable

if TYPE_CHECKING:
    from actionrnn.config import Sampling
    from actionrnn.model.recognizer import Recognizer
    from actionrnn.model.timeline import Prediction
    from actionrnn.video.source import Located


@click.command()
@click.argument("videos", nargs=-1, required=True, type=UserPath(), metavar="VIDEO_OR_FOLDER...")
@model_option
@click.option("--top", type=click.IntRange(min=1), default=5, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@click.option("--sheet", type=UserPath(path_type=Path), help="Draw a contact sheet (one video).")
@click.option(
    "--stop-at-confidence",
    type=click.FloatRange(0, 1, min_open=True),
    metavar="SCORE",
    help="Stop decoding when the best score reaches this, e.g. 0.9.",
)
@none_rate_option
@click.option("--runtime", type=config_choice("Runtime"), help="What computes the backbone.")
@clock_option
@frame_rate_option
@stream_option
@overwrite_option
@weights_option
def classify(
    videos: tuple[str, ...],
    model: str,
    top: int,
    as_json: bool,
    sheet: Path | None,
    stop_at_confidence: float | None,
    none_rate: float | None,
    runtime: Any,
    clock: Any,
    frame_rate: float | None,
    stream_number: int | None,
    overwrite: bool,
    weights: str | None,
) -> None:
    """Name the action in videos, or in every video of folders."""
    from actionrnn.model.recognizer import load
    from actionrnn.progress import progress_bar
    from actionrnn.results import require_new
    from actionrnn.video.address import masked
    from actionrnn.video.source import find_source

    found = list(_each_video(videos))
    if sheet is not None and len(found) != 1:
        raise click.UsageError("--sheet draws one video; give one file")
    if sheet is not None and stop_at_confidence is not None:
        raise click.UsageError("--sheet shows the whole video; leave --stop-at-confidence out")
    if none_rate is not None and stop_at_confidence is not None:
        raise click.UsageError("--none-rate is of whole videos; leave --stop-at-confidence out")
    if sheet is not None:
        video = path_of(found[0][0])
        _require_no_frame(sheet, video)
        require_new(sheet, overwrite=overwrite, source=video)
    recognizer = load(model, weights=weights, runtime=runtime).reading(stream_number, frame_rate)
    note_rate_of_folders(frame_rate, recognizer, [given for given, why in found if why is None])
    if none_rate is not None:
        recognizer.require_none_of_these(none_rate, of_steps=False)
    num_failed = 0
    # on a terminal the answers themselves show how far it is
    as_whole = len(found) > 1 and not sys.stdout.isatty()
    with progress_bar("classifying", len(found) if as_whole else 0) as advance:
        for given, problem in found:
            try:
                if problem is not None:
                    raise problem
                path = find_source(given)
                if stop_at_confidence is not None:
                    _print_early_answer(
                        recognizer,
                        path,
                        stop_at_confidence,
                        clock,
                        top,
                        as_json,
                        progress=not as_whole,
                    )
                    continue
                prediction = _classify_one(
                    recognizer, path, clock, sheet, progress=not as_whole
                ).top(top)
                _print_answer(prediction, none_rate, as_json)
            except VideoError as error:
                num_failed += 1
                if as_json:
                    click.echo(json.dumps({"path": masked(str(given)), "error": str(error)}))
                click.echo(f"error: {printable(error)}", err=True)
            finally:
                advance(note=f"{num_failed} failed" if num_failed else "")
    sys.exit(1 if num_failed else 0)


def _print_answer(prediction: Prediction, none_rate: float | None, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(prediction.to_dict(none_rate)))
        return
    click.echo(str(prediction))
    if none_rate is not None and prediction.is_none_of_these(none_rate):
        click.echo(f"  none of these: {prediction.typicality:.1%} of their clips are as unusual")


def _require_no_frame(sheet: Path, video: Path | None) -> None:
    """Refuse a sheet among the pictures that are read: it would replace a frame, or become one."""
    if video is not None and video.is_dir() and sheet.resolve().parent == video.resolve():
        raise click.UsageError(
            f"{sheet}: lies in the folder of pictures that is read; choose another folder"
        )


def _each_video(inputs: tuple[str, ...]) -> Iterator[tuple[str | Path, VideoError | None]]:
    """Each video, not opened yet; or a folder, or a part of it, and why it cannot be read."""
    from actionrnn.video.finding import find_videos
    from actionrnn.video.image_folder import is_folder

    for item in inputs:
        if not is_folder(item):
            yield item, None
            continue
        try:
            found = find_videos(Path(item))
        except VideoError as error:
            yield item, error
            continue
        for note in found.notes:
            click.echo(f"note: {printable(note)}", err=True)
        yield from ((path, None) for path in found.paths)
        yield from ((path, VideoError(why)) for path, why in found.unreadable.items())


def _print_early_answer(
    recognizer: Recognizer,
    path: Located,
    confidence: float,
    clock: Any,
    top: int,
    as_json: bool,
    *,
    progress: bool,
) -> None:
    found = recognizer.timeline(path, stop_at_confidence=confidence, progress=progress)
    timeline = found.on_clock(clock)
    prediction = timeline.prediction().top(top)
    duration_seconds = _duration(path, recognizer.config.sampling)
    needed = round(prediction.pts_seconds - timeline.start_seconds, 6)
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


def _duration(path: Located, sampling: Sampling) -> float | None:
    """The length of a video, or of a folder of pictures, in seconds; None: it is not declared."""
    from actionrnn.video.declared import declared_span
    from actionrnn.video.image_folder import folder_seconds, is_folder
    from actionrnn.video.source import as_sampled

    if is_folder(path) and isinstance(path, Path):
        return folder_seconds(path, sampling.frame_folder_fps)
    return declared_span(as_sampled(path, sampling))[1]


def _classify_one(
    recognizer: Recognizer, path: Located, clock: Any, sheet: Path | None, *, progress: bool
) -> Prediction:
    timeline = recognizer.timeline(path, progress=progress).on_clock(clock)
    if sheet is not None:
        from actionrnn.apps.contact_sheet import write_contact_sheet

        write_contact_sheet(timeline, recognizer.config.sampling, sheet, video=path)
        click.echo(f"wrote {sheet}", err=True)
    return timeline.prediction()
