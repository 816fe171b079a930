"""The commands that follow a recording in time: timeline, render, stream."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from actionrnn.apps.path_type import UserPath

if TYPE_CHECKING:
    from actionrnn.model.recognizer import Timeline
    from actionrnn.stream_config import SegmentRule, StatePolicy

RUNTIMES = ("auto", "torch", "openvino", "onnx")  # config.Runtime, which costs an import

PAGE_ENDINGS = (".html", ".htm")

model_option = click.option(
    "--model",
    "-m",
    required=True,
    type=UserPath(),
    help="A model file, e.g. runs/demo/model.safetensors.",
)
weights_option = click.option(
    "--weights", type=UserPath(), help="The backbone's weights, if not where they were."
)
overwrite_option = click.option(
    "--overwrite", is_flag=True, help="Replace files of these names that are there."
)


def policy_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Options for what becomes of the state; see `StatePolicy`."""
    options = [
        click.option(
            "--state",
            type=click.Choice(["keep", "restart", "forget"]),
            help="What becomes of the state in a long recording.",
        ),
        click.option("--period-seconds", type=float, help="restart: how old a state grows."),
        click.option("--half-life-steps", type=float, help="forget: the past's half-life."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def chosen_policy(options: dict[str, Any]) -> StatePolicy:
    """Take the options of `policy_options` out of the others.

    Raises:
        ConfigError: one of them is impossible.
    """
    from actionrnn.stream_config import StatePolicy, parse_section

    names = ("period_seconds", "half_life_steps")
    given = {"kind": options.pop("state")} | {name: options.pop(name) for name in names}
    return parse_section(StatePolicy, given)


@click.command()
@click.argument("video", type=UserPath(path_type=Path))
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
@click.option("--smooth-seconds", type=float, help="Average the scores over so much time.")
@click.option("--min-seconds", type=float, help="The shortest segment.")
@click.option("--threshold", type=float, help="Below this score it is nothing.")
@overwrite_option
@policy_options
@weights_option
def timeline(
    video: Path,
    model: str,
    outputs: tuple[Path, ...],
    page: str | None,
    overwrite: bool,
    **options: Any,
) -> None:
    """When which action happens in VIDEO: subtitles, tables, or a page to look at."""
    from actionrnn.files import require_new
    from actionrnn.model.model_file import load
    from actionrnn.stream_config import SegmentRule, parse_section

    files = [*outputs, *_page_file(video, outputs, page)]
    for file in files:
        _require_known_ending(file)
        require_new(file, overwrite=overwrite, source=video)
    policy = chosen_policy(options)
    names = ("smooth_seconds", "min_seconds", "threshold")
    rule = parse_section(SegmentRule, {name: options.pop(name) for name in names})
    recognizer = load(model, weights=options["weights"])
    found = recognizer.timeline(video, policy)
    # pages take long: interrupted there, nothing has been written that the next try would meet
    for file in sorted(files, key=lambda file: file.suffix.lower() not in PAGE_ENDINGS):
        _write(found, video, file, rule)
    _print_segments(found, rule)


@click.command()
@click.argument("video", type=UserPath(path_type=Path))
@model_option
@click.option("--output", "-o", required=True, type=UserPath(path_type=Path, dir_okay=False))
@overwrite_option
@policy_options
@weights_option
def render(video: Path, model: str, output: Path, overwrite: bool, **options: Any) -> None:
    """VIDEO with the scores drawn on it, its sound and its times kept (.mp4, .mkv, .mov)."""
    from actionrnn.apps.render import render as render_video
    from actionrnn.files import require_new
    from actionrnn.model.model_file import load

    require_new(output, overwrite=overwrite, source=video)
    policy = chosen_policy(options)
    recognizer = load(model, weights=options["weights"])
    num_frames = render_video(recognizer, video, output, policy)
    click.echo(f"{output}: {num_frames} frames")


@click.command()
@click.argument("source", type=UserPath(), metavar="SOURCE")
@model_option
@click.option("--json", "as_json", is_flag=True, help="One JSON object an answer.")
@click.option("--window", is_flag=True, help="Show the picture; q closes it.")
@click.option(
    "--record",
    type=UserPath(path_type=Path, dir_okay=False),
    help="Write the picture with its scores (.mp4, .mkv, .mov).",
)
@click.option("--top", type=click.IntRange(min=1), default=3, show_default=True)
@click.option("--max-lag-seconds", type=float, help="Drop frames that waited longer.")
@click.option("--stall-seconds", type=float, help="Open anew after so long without a picture.")
@click.option("--give-up-seconds", type=float, help="End after so long without a picture.")
@click.option(
    "--reset-on-reconnect", is_flag=True, default=None, help="Begin anew after an interruption."
)
@overwrite_option
@policy_options
@weights_option
def stream(
    source: str,
    model: str,
    as_json: bool,
    window: bool,
    record: Path | None,
    top: int,
    overwrite: bool,
    **options: Any,
) -> None:
    """Name the action in a live SOURCE, as it happens.

    SOURCE is camera:0, an address (rtsp://, http://, tcp://, ...), - for standard input, or a
    file, which is played in real time. Ctrl-C and SIGTERM end it cleanly.
    """
    from actionrnn.apps.live import LiveSession, run_live
    from actionrnn.files import require_new
    from actionrnn.model.model_file import load
    from actionrnn.stream_config import LiveOptions, parse_section

    if record is not None:
        require_new(record, overwrite=overwrite, source=Path(source))
    policy = chosen_policy(options)
    weights = options.pop("weights")
    live = parse_section(LiveOptions, options)
    recognizer = load(model, weights=weights)
    session = LiveSession(as_json=as_json, show_window=window, record=record, top=top)
    run_live(recognizer, source, policy, live, session)


def _page_file(video: Path, outputs: tuple[Path, ...], page: str | None) -> list[Path]:
    if page is None:
        return []
    if page:
        return [Path(page)]
    if any(file.suffix.lower() in PAGE_ENDINGS for file in outputs):
        return []
    return [(outputs[0] if outputs else Path(video.name)).with_suffix(".html")]


def _require_known_ending(file: Path) -> None:
    known = (".csv", ".json", ".srt", ".vtt", *PAGE_ENDINGS)
    if file.suffix.lower() not in known:
        raise click.UsageError(f"{file}: must end in one of {' '.join(known)}")


def _write(found: Timeline, video: Path, file: Path, rule: SegmentRule) -> None:
    if file.suffix.lower() in PAGE_ENDINGS:
        from actionrnn.apps.timeline_page import write_page

        write_page(found, video, file, rule)
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
