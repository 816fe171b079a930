"""`actionrnn stream`: the actions of a live source, as they happen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from actionrnn.apps.cli.events import (
    THRESHOLDS,
    begin_option,
    end_option,
    event_rule_of,
    require_events,
)
from actionrnn.apps.cli.options import (
    LiteralChoice,
    UserPath,
    model_option,
    none_rate_option,
    overwrite_option,
    path_of,
    weights_option,
)
from actionrnn.text import printable


@click.command()
@click.argument("source", type=UserPath(), metavar="SOURCE")
@model_option
@click.option("--json", "as_json", is_flag=True, help="One JSON object an answer.")
@click.option("--events", is_flag=True, help="One JSON object each begin and end of an action.")
@begin_option
@end_option
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
@click.option(
    "--transport",
    type=LiteralChoice("actionrnn.options", "Transport"),
    help="Of RTSP; default: tcp.",
)
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
    from actionrnn.model.recognizer import load
    from actionrnn.options import LiveOptions, parse_section
    from actionrnn.results import require_new

    if record is not None:
        require_new(record, overwrite=overwrite, source=path_of(source))
    if as_json and events:
        raise click.UsageError("--json gives the scores, --events what begins and ends; give one")
    fields = {name: options.pop(name) for name in (*THRESHOLDS, "min_seconds")}
    require_events(events, fields | {"webhook": webhook})
    hook = None if webhook is None else Webhook(webhook, report=_warn_of)
    weights = options.pop("weights")
    options["input_options"] = _input_options(options["input_options"])
    live = parse_section(LiveOptions, options)
    recognizer = load(model, weights=weights)
    session = LiveSession(
        as_json=as_json,
        events=event_rule_of(recognizer, fields) if events else None,
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


def _warn_of(line: str) -> None:
    click.echo(f"warning: {printable(line)}", err=True)
