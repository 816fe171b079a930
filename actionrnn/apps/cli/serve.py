"""The command that opens the web page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from actionrnn.apps.cli.options import UserPath, none_rate_option, weights_option
from actionrnn.apps.cli.server_options import server_options

if TYPE_CHECKING:
    from actionrnn.apps.serving.server import ServeOptions


@click.command()
@click.option(
    "--model", "-m", type=UserPath(), help="A model file or a run; without it, the demo's."
)
@server_options(port=7860)
@none_rate_option
@weights_option
def serve(
    options: ServeOptions,
    bounds: dict[str, Any],
    model: str | None,
    none_rate: float | None,
    weights: str | None,
) -> None:
    """A web page to try a model on videos and the webcam, and an HTTP API."""
    from actionrnn.apps.serving.limits import ServeLimits
    from actionrnn.apps.serving.server import serve as run_server
    from actionrnn.options import parse_section

    limits = parse_section(ServeLimits, bounds)
    run_server(model, options, limits, weights=weights, none_rate=none_rate)
