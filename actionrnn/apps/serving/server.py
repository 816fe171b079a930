"""Load the model, open the port, serve until Ctrl-C."""

from __future__ import annotations

import contextlib
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from actionrnn.apps.serving.limits import ServeLimits
from actionrnn.errors import ConfigError, missing_extra
from actionrnn.files import MODEL_FILE

if TYPE_CHECKING:
    import uvicorn
    from fastapi import FastAPI

    from actionrnn.model.recognizer import Recognizer

DEMO = Path("runs/demo")
SHUTDOWN_SECONDS = 3


@dataclass(frozen=True)
class ServeOptions:
    """Where the server listens, and who may use it."""

    host: str
    """The address or name to listen on; `0.0.0.0` for all networks."""
    port: int
    """0: any free one."""
    token: str | None
    """What visitors must send; None: everybody who reaches the server may use it."""
    show_token: bool
    """Print it as a part of the address; the output of a service ends in its logs."""
    allowed_hosts: tuple[str, ...]
    """`Host` names that it answers to besides its own. On a network it answers to any name, and
    with some given here only to these and to this machine's."""
    allowed_origins: tuple[str, ...]
    """Of pages that may use it besides its own, such as `https://example.com`."""


def serve(
    model: str | None,
    options: ServeOptions,
    limits: ServeLimits,
    *,
    weights: str | None = None,
    none_rate: float | None = None,
) -> None:
    """Serve a model's page and API; returns after Ctrl-C.

    Args:
        model: a model file or a run's folder; None: the demo's model, which is trained first if
            it does not exist.
        options: where it listens, and who may use it.
        limits: the bounds of uploads and webcams.
        weights: the backbone's weights, if the model file does not contain or find them.
        none_rate: see `make_app`.

    Raises:
        ConfigError: the extra is not installed, the port is taken, the token is empty, or a
            name is not a host or not an origin.
        ModelError, BackboneError: the model cannot be loaded, or cannot say 'none of these'.
    """

    def build(**access: Any) -> FastAPI:
        from actionrnn.apps.serving.app import make_app

        return make_app(load_model(model, weights), limits, none_rate=none_rate, **access)

    run_app(build, options, limits)


def run_app(
    build: Callable[..., FastAPI],
    options: ServeOptions,
    limits: ServeLimits,
    on_address: Callable[[str], None] | None = None,
) -> None:
    """Serve an application; returns after Ctrl-C.

    Args:
        build: makes it, once the port is open; takes `token`, `hosts` and `origins` as
            `guarded_app`.
        options: where it listens, and who may use it.
        limits: the bounds of uploads and webcams.
        on_address: is told the page's address, with its token, when it is about to be served.

    Raises:
        ConfigError: the extra is not installed, the port is taken, the token is empty, or a
            name is not a host or not an origin.
    """
    try:
        import uvicorn  # noqa: F401 part of the extra; see make_server

        from actionrnn.apps.serving.access import ANY_HOST, LOOPBACK, AllowedNames, hosts_of
        from actionrnn.apps.serving.guarded import guarded_app  # noqa: F401 the extra's, too
    except ImportError as error:
        raise ConfigError(missing_extra(f"{error.name} is not installed", "serve")) from None
    if options.token == "":
        raise ConfigError("--token is empty, which keeps no one out; give one, or omit the option")
    AllowedNames.parse(options.allowed_hosts, options.allowed_origins)  # before the slow load
    with open_port(options.host, options.port) as listener:
        own_hosts = hosts_of(options.host, listener.getsockname()[0])
        is_on_network = ANY_HOST in own_hosts
        if is_on_network and options.allowed_hosts:
            own_hosts = *LOOPBACK, options.host
        app = build(
            token=options.token,
            hosts=(*own_hosts, *options.allowed_hosts),
            origins=options.allowed_origins,
        )
        if is_on_network and options.token is None:
            print(
                "warning: everybody on the network can use this server; --token keeps others out",
                file=sys.stderr,
            )
        port = listener.getsockname()[1]
        shown = _page_address(options, port, options.show_token)
        print(f"serving on {shown} (Ctrl-C ends it)", flush=True)
        if on_address is not None:
            on_address(_page_address(options, port, with_token=True))
        with contextlib.suppress(KeyboardInterrupt):  # the usual end
            make_server(app, limits).run(sockets=[listener])


def make_server(app: FastAPI, limits: ServeLimits) -> uvicorn.Server:
    """The server of an application, which has not started yet."""
    import uvicorn

    config = uvicorn.Config(
        app,
        log_level="warning",
        ws="websockets-sansio",
        ws_max_size=limits.webcam_message_bytes,
        ws_max_queue=2,
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
    )
    return uvicorn.Server(config)


def _page_address(options: ServeOptions, port: int, with_token: bool) -> str:
    host = f"[{options.host}]" if ":" in options.host else options.host
    query = ""
    if options.token and with_token:
        query = f"/?token={quote(options.token, safe='')}"
    return f"http://{host}:{port}{query}"


def load_model(model: str | None, weights: str | None) -> Recognizer:
    """Load `model`, or the demo's if it is None; trains the demo's first if it does not exist.

    Raises:
        ModelError, BackboneError: the model cannot be loaded.
    """
    from actionrnn.model.recognizer import load

    if model is not None:
        return load(model, weights=weights)
    if not (DEMO / MODEL_FILE).is_file():
        from actionrnn.apps.demo import run_demo  # it trains, and so needs torch

        print(f"no --model was given and {DEMO} has none: running the demo first (a minute)\n")
        run_demo(DEMO)
    print(f"model   {DEMO / MODEL_FILE} (of rendered figures; give --model for real actions)")
    return load(DEMO, weights=weights)


def open_port(host: str, port: int) -> socket.socket:
    """A socket that listens on `host` and `port` (0: any free one).

    Raises:
        ConfigError: the port is taken, or the host is not an address of this machine.
    """
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.socket(family)
    except OSError as error:
        raise ConfigError(f"{host}: {error.strerror}") from None
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(128)
        return listener
    except (OSError, OverflowError) as error:
        listener.close()
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError(
            f"{host}:{port} cannot be served on ({reason}); choose another with --port or --host"
        ) from None
