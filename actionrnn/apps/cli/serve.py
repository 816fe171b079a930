"""The command that opens the web page."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click
from click.core import ParameterSource

from actionrnn.apps.cli.options import UserPath, none_rate_option, weights_option

# the fields of ServeLimits that are options; the others are for those who write Python
BOUNDS = {
    "upload_mb": "The largest upload.",
    "video_seconds": "The longest video.",
    "request_seconds": "The longest time that one video may take.",
    "visitors": "Requests and webcams at once.",
}


def _bound_options(command: Callable[..., Any]) -> Callable[..., Any]:
    for name, text in reversed(BOUNDS.items()):
        kind = int if name == "visitors" else float
        option = click.option(f"--{name.replace('_', '-')}", type=kind, help=text)
        command = option(command)
    return command


@click.command()
@click.option(
    "--model", "-m", type=UserPath(), help="A model file or a run; without it, the demo's."
)
@click.option("--host", default="127.0.0.1", show_default=True, help="0.0.0.0: every network.")
@click.option("--port", default=7860, show_default=True, type=click.IntRange(0, 65535))
@click.option(
    "--token",
    envvar="ACTIONRNN_TOKEN",
    show_envvar=True,
    help="Visitors must give it. From the environment it is not printed.",
)
@click.option(
    "--allow-host",
    multiple=True,
    metavar="NAME",
    help="Answer to this name, too, that of a proxy or tunnel: example.com.",
)
@click.option(
    "--allow-origin",
    multiple=True,
    metavar="ORIGIN",
    help="Let the pages of this origin in, too: https://example.com.",
)
@none_rate_option
@_bound_options
@weights_option
@click.pass_context
def serve(
    context: click.Context,
    /,
    model: str | None,
    host: str,
    port: int,
    token: str | None,
    allow_host: tuple[str, ...],
    allow_origin: tuple[str, ...],
    none_rate: float | None,
    weights: str | None,
    **bounds: Any,
) -> None:
    """A web page to try a model on videos and the webcam, and an HTTP API."""
    from actionrnn.apps.serving.limits import ServeLimits
    from actionrnn.apps.serving.server import ServeOptions
    from actionrnn.apps.serving.server import serve as run_server
    from actionrnn.options import parse_section

    limits = parse_section(ServeLimits, bounds)
    options = ServeOptions(
        host=host,
        port=port,
        token=token,
        show_token=context.get_parameter_source("token") is not ParameterSource.ENVIRONMENT,
        allowed_hosts=allow_host,
        allowed_origins=allow_origin,
    )
    run_server(model, options, limits, weights=weights, none_rate=none_rate)
