"""The options of the commands that start a server: where it listens, who may come, and bounds."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection
from typing import Any

import click
from click.core import ParameterSource

# the fields of ServeLimits that are options; the others are for those who write Python
BOUNDS = {
    "upload_mb": "The largest upload.",
    "video_seconds": "The longest video.",
    "request_seconds": "The longest time that one video may take.",
    "visitors": "Requests and webcams at once.",
}


def server_options(
    port: int, bounds: Collection[str] = tuple(BOUNDS)
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Give a command these options.

    It takes them as `options`, a `ServeOptions`, and `bounds`, those fields of `ServeLimits` by
    their names, None where they are not given.

    Args:
        port: the default.
        bounds: the names among `BOUNDS` that mean something to the command.
    """
    added = [
        click.option(
            "--host", default="127.0.0.1", show_default=True, help="0.0.0.0: every network."
        ),
        click.option("--port", default=port, show_default=True, type=click.IntRange(0, 65535)),
        click.option(
            "--token",
            envvar="ACTIONRNN_TOKEN",
            show_envvar=True,
            help="Visitors must give it. From the environment it is not printed.",
        ),
        click.option(
            "--allow-host",
            multiple=True,
            metavar="NAME",
            help="Answer to this name, too, that of a proxy or tunnel: example.com.",
        ),
        click.option(
            "--allow-origin",
            multiple=True,
            metavar="ORIGIN",
            help="Let the pages of this origin in, too: https://example.com.",
        ),
    ]
    for name in bounds:
        kind, option = int if name == "visitors" else float, f"--{name.replace('_', '-')}"
        added.append(click.option(option, type=kind, help=BOUNDS[name]))

    def with_options(command: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(command)
        @click.pass_context
        def run(context: click.Context, /, **given: Any) -> Any:
            from actionrnn.apps.serving.server import ServeOptions

            is_secret = context.get_parameter_source("token") is ParameterSource.ENVIRONMENT
            options = ServeOptions(
                host=given.pop("host"),
                port=given.pop("port"),
                token=given.pop("token"),
                show_token=not is_secret,
                allowed_hosts=given.pop("allow_host"),
                allowed_origins=given.pop("allow_origin"),
            )
            chosen = {name: given.pop(name) for name in bounds}
            return command(options=options, bounds=chosen, **given)

        for option in reversed(added):
            run = option(run)
        return run

    return with_options
