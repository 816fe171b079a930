"""`actionrnn timeline` and `render`: when which action happens in a video."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from actionrnn.apps.cli.events import (
    THRESHOLDS,
    begin_option,
    end_option,
    event_rule_of,
    require_events,
)
from actionrnn.apps.cli.options import (
    UserPath,
    annotation_format_option,
    clock_option,
    frame_rate_option,
    model_option,
    none_rate_option,
    note_rate_of_folders,
    overwrite_option,
    path_of,
    stream_option,
    weights_option,
)
from actionrnn.text import printable

if TYPE_CHECKING:
    from actionrnn.config import Sampling
    from actionrnn.model.timeline import Timeline
    from actionrnn.options import EventRule, SegmentRule
    from actionrnn.video.source import Located

PAGE_ENDINGS = (".html", ".htm")
EVENT_ENDINGS = (".jsonl", ".ndjson")


@click.command()
@click.argument("source", type=UserPath(), metavar="VIDEO")
@model_option
@click.option(
    "--output",
    "-o",
    "outputs",
    multiple=True,
    type=UserPath(path_type=Path, dir_okay=False),
    help="A .csv, .json, .srt, .vtt or .html file; may be given several times.",
)
@click.option(
    "--html",
    "page",
    is_flag=False,
    flag_value="",
    type=UserPath(),
    metavar="[FILE]",
    help="Write the page, too.",
)
@click.option(
    "--events",
    is_flag=False,
    flag_value="-",
    type=UserPath(),
    metavar="[FILE]",
    help="When each action begins and ends, as JSON lines (.jsonl; alone or -: printed).",
)
@click.option(
    "--annotations",
    "marks_file",
    type=UserPath(path_type=Path, dir_okay=False),
    help="The segments for BORIS (.boris), ELAN (.eaf) and others, to be corrected there.",
)
@annotation_format_option
@click.option("--rate-fps", type=float, help="Frames a second, if --to counts frames.")
@click.option("--smooth-seconds", type=float, help="Average the segments' scores over this time.")
@click.option("--min-seconds", type=float, help="The shortest segment, and the shortest event.")
@click.option(
    "--threshold",
    type=float,
    help="Leave out stretches whose best score is below this; several labels: each below it (0.5).",
)
@none_rate_option
@begin_option
@end_option
@clock_option
@frame_rate_option
@stream_option
@overwrite_option
@weights_option
def timeline(
    source: str,
    model: str,
    outputs: tuple[Path, ...],
    page: str | None,
    events: str | None,
    marks_file: Path | None,
    format_name: Any,
    rate_fps: float | None,
    clock: Any,
    frame_rate: float | None,
    stream_number: int | None,
    overwrite: bool,
    **options: Any,
) -> None:
    """When which action happens in VIDEO: subtitles, tables, events, or a page to look at."""
    from actionrnn.model.recognizer import load
    from actionrnn.options import SegmentRule, parse_section
    from actionrnn.results import require_new
    from actionrnn.video.source import find_source, require_file

    if marks_file is not None:
        require_file(source, "annotations name the file that they are of")
    files = [*outputs, *_page_file(source, outputs, page)]
    for file in files:
        _require_ending(file, (".csv", ".json", ".srt", ".vtt", *PAGE_ENDINGS))
    event_file = None if events in (None, "-") else Path(events)
    if event_file is not None:
        _require_ending(event_file, EVENT_ENDINGS)
    if marks_file is not None:
        _require_format(marks_file, format_name, rate_fps)
    for file in [*files, *filter(None, [event_file, marks_file])]:
        require_new(file, overwrite=overwrite, source=path_of(source))
    thresholds = {name: options.pop(name) for name in THRESHOLDS}
    require_events(events is not None, thresholds)
    event_fields = thresholds | {"min_seconds": options["min_seconds"]}
    names = ("smooth_seconds", "min_seconds", "threshold", "none_rate")
    rule = parse_section(SegmentRule, {name: options.pop(name) for name in names})
    recognizer = load(model, weights=options["weights"]).reading(stream_number, frame_rate)
    note_rate_of_folders(frame_rate, recognizer, [source])
    event_rule = event_rule_of(recognizer, event_fields) if events is not None else None
    if rule.none_rate:
        recognizer.require_none_of_these(rule.none_rate, of_steps=True)
    video = find_source(source)
    by_file = recognizer.timeline(video, progress=True)
    found = by_file.on_clock(clock)
    if event_rule is not None:
        _give_events(found, event_rule, event_file, rule.none_rate or None)
    if marks_file is not None:  # whose writers know the tools' clocks
        _write_marks(by_file, rule, marks_file, format_name, rate_fps)
    # pages take long: interrupted there, nothing has been written that the next try would meet
    for file in sorted(files, key=lambda file: file.suffix.lower() not in PAGE_ENDINGS):
        _write(found, video, file, rule, recognizer.config.sampling)
    if events != "-":
        _print_segments(found, rule)


def _require_format(file: Path, format_name: Any, rate_fps: float | None) -> None:
    """Refuse, before the video is looked at, what could not be written behind it."""
    from actionrnn.datasets.annotations.formats import require_writable

    require_writable(file, format_name, rate_fps)


def _write_marks(
    timeline: Timeline, rule: SegmentRule, file: Path, format_name: Any, rate_fps: float | None
) -> None:
    from actionrnn.apps.timeline_files import as_marks
    from actionrnn.datasets.annotations.formats import with_paths_from, write_annotations

    marks = with_paths_from(as_marks(timeline, rule), file.parent, Path())
    for note in write_annotations(marks, file, format_name, rate_fps=rate_fps):
        click.echo(f"note: {printable(note)}", err=True)
    click.echo(f"wrote {file}", err=True)


def _page_file(source: str, outputs: tuple[Path, ...], page: str | None) -> list[Path]:
    if page is None:
        return []
    if page:
        return [Path(page)]
    if any(file.suffix.lower() in PAGE_ENDINGS for file in outputs):
        return []
    video = path_of(source)
    if outputs:
        return [outputs[0].with_suffix(".html")]
    if video is None:
        raise click.UsageError("--html names the page after the video's file; give it a FILE")
    return [Path(video.name or video.resolve().name).with_suffix(".html")]


def _require_ending(file: Path, known: tuple[str, ...]) -> None:
    if file.suffix.lower() not in known:
        raise click.UsageError(f"{file}: must end in one of {' '.join(known)}")


def _write(
    found: Timeline, video: Located, file: Path, rule: SegmentRule, sampling: Sampling
) -> None:
    if file.suffix.lower() in PAGE_ENDINGS:
        from actionrnn.apps.timeline_page import write_page

        write_page(found, video, file, rule, sampling=sampling)
    else:
        from actionrnn.apps.timeline_files import write_timeline

        write_timeline(found, file, rule)
    click.echo(f"wrote {file}", err=True)


def _print_segments(found: Timeline, rule: SegmentRule) -> None:
    from actionrnn.text import plain

    for segment in found.segments(rule):
        click.echo(
            f"{segment.start_seconds:9.2f} {segment.end_seconds:9.2f}  "
            f"{segment.score:6.1%}  {plain(segment.label)}"
        )


def _give_events(
    found: Timeline, rule: EventRule, file: Path | None, none_rate: float | None
) -> None:
    """Write the events as JSON lines, or print them."""
    from actionrnn.datasets.recordings import BACKGROUND
    from actionrnn.files import write_text

    events = found.events(rule, ignored={BACKGROUND}, none_rate=none_rate)
    lines = "".join(json.dumps(event.to_dict()) + "\n" for event in events)
    if file is None:
        click.echo(lines, nl=False)
        return
    write_text(file, lines)
    click.echo(f"wrote {file}", err=True)


@click.command()
@click.argument("source", type=UserPath(), metavar="VIDEO")
@model_option
@click.option("--output", "-o", required=True, type=UserPath(path_type=Path, dir_okay=False))
@none_rate_option
@clock_option
@frame_rate_option
@stream_option
@overwrite_option
@weights_option
def render(
    source: str,
    model: str,
    output: Path,
    none_rate: float | None,
    clock: Any,
    frame_rate: float | None,
    stream_number: int | None,
    overwrite: bool,
    weights: str | None,
) -> None:
    """VIDEO with the scores drawn on it, its sound and its times kept (.mp4, .mkv, .mov)."""
    from actionrnn.apps.render import render as render_video
    from actionrnn.model.recognizer import load
    from actionrnn.results import require_new

    require_new(output, overwrite=overwrite, source=path_of(source))
    recognizer = load(model, weights=weights).reading(stream_number, frame_rate)
    note_rate_of_folders(frame_rate, recognizer, [source])
    num_frames = render_video(recognizer, source, output, none_rate=none_rate, clock=clock)
    click.echo(f"{output}: {num_frames} frames")
