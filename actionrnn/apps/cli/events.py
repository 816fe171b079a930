"""The options of events, which `timeline` and `stream` share."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from actionrnn.model.recognizer import Recognizer
    from actionrnn.options import EventRule

THRESHOLDS = ("begin_threshold", "end_threshold")

begin_option = click.option(
    "--begin-threshold", type=float, help="An action begins at this score (--events)."
)
end_option = click.option(
    "--end-threshold", type=float, help="It ends below this score (--events)."
)


def event_rule_of(recognizer: Recognizer, given: dict[str, Any]) -> EventRule:
    """The options that are given; for the rest the model's own rule, and a line that says so."""
    from actionrnn.options import EventRule, parse_section

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


def require_events(is_wanted: bool, options: dict[str, Any]) -> None:
    """Refuse options that have no effect without --events."""
    for name, value in options.items():
        if value is not None and not is_wanted:
            raise click.UsageError(f"--{name.replace('_', '-')} is for events; add --events")
