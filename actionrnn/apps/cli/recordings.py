"""The commands that answer for recordings: classify, timeline, render, stream."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from actionrnn.apps.cli.options import (
    UserPath,
    annotation_format_option,
    clock_option,
    config_choice,
    frame_rate_option,
    model_option,
    none_rate_option,
    note_frame_rate,
    overwrite_option,
    stream_option,
    weights_option,
)
from actionrnn.errors import VideoError
from actionrnn.text import printable

if TYPE_CHECKING:
    from actionrnn.config import EventRule, Sampling, SegmentRule
    from actionrnn.model.recognizer import Prediction, Recognizer, Timeline
    from actionrnn.video.source import Located

PAGE_ENDINGS = (".html", ".htm")
EVENT_ENDINGS = (".jsonl", ".ndjson")
THRESHOLDS = ("begin_threshold", "end_threshold")

_begin_option = click.option(
    "--begin-threshold", type=float, help="An action begins at this score (--events)."
)
_end_option = click.option(
    "--end-threshold", type=float, help="It ends below this score (--events)."
)


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
        video = _path_of(found[0][0])
        _require_no_frame(sheet, video)
        require_new(sheet, overwrite=overwrite, source=video)
    recognizer = load(model, weights=weights, runtime=runtime).reading(stream_number, frame_rate)
    _note_frame_rate(frame_rate, recognizer, [given for given, why in found if why is None])
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


def _note_frame_rate(
    given: float | None, recognizer: Recognizer, videos: Sequence[str | Path]
) -> None:
    from actionrnn.video.image_folder import is_folder

    num_folders = sum(map(is_folder, videos))
    note_frame_rate(given, num_folders, recognizer.config.sampling.frame_folder_fps)


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
    from actionrnn.video.image_folder import find_pictures, is_folder
    from actionrnn.video.source import declared_span

    if is_folder(path) and isinstance(path, Path):
        return len(find_pictures(path)) / sampling.frame_folder_fps
    return declared_span(path)[1]


def _classify_one(
    recognizer: Recognizer, path: Located, clock: Any, sheet: Path | None, *, progress: bool
) -> Prediction:
    timeline = recognizer.timeline(path, progress=progress).on_clock(clock)
    if sheet is not None:
        from actionrnn.apps.contact_sheet import write_contact_sheet

        write_contact_sheet(timeline, recognizer.config.sampling, sheet, video=path)
        click.echo(f"wrote {sheet}", err=True)
    return timeline.prediction()


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
@_begin_option
@_end_option
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
    from actionrnn.config import SegmentRule, parse_section
    from actionrnn.model.recognizer import load
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
        require_new(file, overwrite=overwrite, source=_path_of(source))
    thresholds = {name: options.pop(name) for name in THRESHOLDS}
    _require_events(events is not None, thresholds)
    event_fields = thresholds | {"min_seconds": options["min_seconds"]}
    names = ("smooth_seconds", "min_seconds", "threshold", "none_rate")
    rule = parse_section(SegmentRule, {name: options.pop(name) for name in names})
    recognizer = load(model, weights=options["weights"]).reading(stream_number, frame_rate)
    _note_frame_rate(frame_rate, recognizer, [source])
    event_rule = _event_rule(recognizer, event_fields) if events is not None else None
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
        _write(found, video, file, rule, stream_number)
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

    require_new(output, overwrite=overwrite, source=_path_of(source))
    recognizer = load(model, weights=weights).reading(stream_number, frame_rate)
    _note_frame_rate(frame_rate, recognizer, [source])
    num_frames = render_video(recognizer, source, output, none_rate=none_rate, clock=clock)
    click.echo(f"{output}: {num_frames} frames")


@click.command()
@click.argument("source", type=UserPath(), metavar="SOURCE")
@model_option
@click.option("--json", "as_json", is_flag=True, help="One JSON object an answer.")
@click.option("--events", is_flag=True, help="One JSON object each begin and end of an action.")
@_begin_option
@_end_option
@click.option("--min-seconds", type=float, help="The shortest event (--events).")
@click.option("--webhook", metavar="URL", help="Post each of these objects to URL (--events).")
@click.option("--window", is_flag=True, help="Show the frames; q closes the window.")
@click.option(
    "--record",
    type=UserPath(path_type=Path, dir_okay=False),
    help="Write the frames with their scores (.mp4, .mkv, .mov).",
)
@click.option("--top", type=click.IntRange(min=1), default=3, show_default=True)
@none_rate_option
@click.option("--max-lag-seconds", type=float, help="Drop frames that waited longer.")
@click.option("--stall-seconds", type=float, help="Reconnect after this time without a frame.")
@click.option("--give-up-seconds", type=float, help="End after this time without a frame.")
@click.option("--transport", type=config_choice("Transport"), help="Of RTSP; default: tcp.")
@click.option(
    "--input-option",
    "input_options",
    multiple=True,
    metavar="KEY=VALUE",
    help="Of FFmpeg, for the source: user_agent=..., cookies=...; may be given several times.",
)
@click.option(
    "--reset-on-reconnect",
    is_flag=True,
    default=None,
    help="Start over when reconnected.",
)
@overwrite_option
@weights_option
def stream(
    source: str,
    model: str,
    as_json: bool,
    events: bool,
    webhook: str | None,
    window: bool,
    record: Path | None,
    top: int,
    none_rate: float | None,
    overwrite: bool,
    **options: Any,
) -> None:
    """Name the action in a live SOURCE, as it happens.

    SOURCE is camera:0, an address (rtsp://, http://, tcp://, ...), - for standard input, or a
    file, which is played in real time. Ctrl-C and SIGTERM end it cleanly.
    """
    from actionrnn.apps.live import LiveSession, run_live
    from actionrnn.apps.webhook import Webhook
    from actionrnn.config import LiveOptions, parse_section
    from actionrnn.model.recognizer import load
    from actionrnn.results import require_new

    if record is not None:
        require_new(record, overwrite=overwrite, source=_path_of(source))
    if as_json and events:
        raise click.UsageError("--json gives the scores, --events what begins and ends; give one")
    fields = {name: options.pop(name) for name in (*THRESHOLDS, "min_seconds")}
    _require_events(events, fields | {"webhook": webhook})
    hook = None if webhook is None else Webhook(webhook, report=_warn_of)
    weights = options.pop("weights")
    options["input_options"] = _input_options(options["input_options"])
    live = parse_section(LiveOptions, options)
    recognizer = load(model, weights=weights)
    session = LiveSession(
        as_json=as_json,
        events=_event_rule(recognizer, fields) if events else None,
        webhook=hook,
        show_window=window,
        record=record,
        top=top,
        none_rate=none_rate,
    )
    run_live(recognizer, source, live, session)


def _input_options(given: tuple[str, ...]) -> dict[str, str]:
    for option in given:
        if option.find("=") < 1:  # not printed: it may be a secret
            raise click.UsageError("--input-option takes KEY=VALUE; write the name and a '='")
    return {key: value for key, _, value in (option.partition("=") for option in given)}


def _event_rule(recognizer: Recognizer, given: dict[str, Any]) -> EventRule:
    """The options that are given; for the rest the model's own rule, and a line that says so."""
    from actionrnn.config import EventRule, parse_section

    own = recognizer.event_rule
    if own is None:
        return parse_section(EventRule, given)
    chosen = {name: value for name, value in given.items() if value is not None}
    rule = parse_section(EventRule, asdict(own) | chosen)
    if num_own := sum(name not in chosen for name in THRESHOLDS):
        most = recognizer.config.train.false_alarms_per_hour
        plural = "" if most == 1 else "s"
        where = f"the model's own, chosen for at most {most:g} false alarm{plural} an hour"
        if num_own == 1:
            where = "one of them the model's own"
        click.echo(
            f"note: events begin at {rule.begin_threshold:g} and end below "
            f"{rule.end_threshold:g}: {where}",
            err=True,
        )
    return rule


def _require_events(is_wanted: bool, options: dict[str, Any]) -> None:
    """Refuse options that have no effect without --events."""
    for name, value in options.items():
        if value is not None and not is_wanted:
            raise click.UsageError(f"--{name.replace('_', '-')} is for events; add --events")


def _warn_of(line: str) -> None:
    click.echo(f"warning: {printable(line)}", err=True)


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


def _path_of(source: str | Path) -> Path | None:
    """The file or folder that is read; None: an address or standard input."""
    from actionrnn.video.source import is_path

    return Path(source) if is_path(source) else None


def _page_file(source: str, outputs: tuple[Path, ...], page: str | None) -> list[Path]:
    if page is None:
        return []
    if page:
        return [Path(page)]
    if any(file.suffix.lower() in PAGE_ENDINGS for file in outputs):
        return []
    video = _path_of(source)
    if outputs:
        return [outputs[0].with_suffix(".html")]
    if video is None:
        raise click.UsageError("--html names the page after the video's file; give it a FILE")
    return [Path(video.name or video.resolve().name).with_suffix(".html")]


def _require_ending(file: Path, known: tuple[str, ...]) -> None:
    if file.suffix.lower() not in known:
        raise click.UsageError(f"{file}: must end in one of {' '.join(known)}")


def _write(
    found: Timeline, video: Located, file: Path, rule: SegmentRule, stream_number: int | None
) -> None:
    if file.suffix.lower() in PAGE_ENDINGS:
        from actionrnn.apps.timeline_page import write_page

        write_page(found, video, file, rule, stream=stream_number)
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
