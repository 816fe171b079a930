"""Load the model, open the port, serve until Ctrl-C."""

from __future__ import annotations

import contextlib
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from actionrnn.apps.serving.limits import ServeLimits
from actionrnn.errors import ActionrnnError, ConfigError, missing_extra
from actionrnn.files import MODEL_FILE

if TYPE_CHECKING:
    from actionrnn.model.recognizer import Recognizer

DEMO = Path("runs/demo")
SHUTDOWN_SECONDS = 3


def serve(
    model: str | None,
    *,
    host: str,
    port: int,
    token: str | None,
    limits: ServeLimits,
    weights: str | None = None,
    show_token: bool = True,
    allowed_hosts: tuple[str, ...] = (),
    allowed_origins: tuple[str, ...] = (),
) -> None:
    """Serve a model's page and API; returns after Ctrl-C.

    Args:
        show_token: print it as a part of the address, which ends in the logs of a service.
        allowed_hosts: names under which it answers beside its own. Where it listens on a
            network it answers to any name; with some given, to these and those of this machine.
        allowed_origins: of pages that may use it beside its own.

    Raises:
        ConfigError: the extra is not installed, the port is taken, the token is empty, or a
            host or origin is none.
        ModelError, BackboneError: the model cannot be loaded.
    """
    try:
        import uvicorn

        from actionrnn.apps.serving.app import LOOPBACK, make_app
        from actionrnn.apps.serving.names import ANY, Names, own_names
    except ImportError as error:
        raise ConfigError(missing_extra(f"{error.name} is not installed", "serve")) from None
    if token == "":
        raise ConfigError("--token is empty, and would keep nobody out; give one, or leave it out")
    Names.of(allowed_hosts, allowed_origins)  # before the model is loaded
    with open_port(host, port) as opened:
        own = own_names(host, opened.getsockname()[0])
        is_open = ANY in own
        if is_open and allowed_hosts:
            own = *LOOPBACK, host
        app = make_app(
            load_model(model, weights),
            limits,
            token=token,
            hosts=(*own, *allowed_hosts),
            origins=allowed_origins,
        )
        config = uvicorn.Config(
            app,
            log_level="warning",
            ws="websockets-sansio",
            ws_max_size=limits.webcam_message_bytes,
            ws_max_queue=2,
            timeout_graceful_shutdown=SHUTDOWN_SECONDS,
        )
        shown = f"[{host}]" if ":" in host else host
        query = f"/?token={quote(token, safe='')}" if token and show_token else ""
        address = f"http://{shown}:{opened.getsockname()[1]}{query}"
        if is_open and token is None:
            print("anybody in the network may use it; --token keeps others out", file=sys.stderr)
        print(f"serving on {address} (Ctrl-C ends it)", flush=True)
        with contextlib.suppress(KeyboardInterrupt):  # the usual end
            uvicorn.Server(config).run(sockets=[opened])


def load_model(model: str | None, weights: str | None) -> Recognizer:
    """The model; without one that of the demo, which is trained if it is not there."""
    from actionrnn.apps.demo import run_demo
    from actionrnn.model.recognizer import load

    if model is not None:
        return load(model, weights=weights)
    if not (DEMO / MODEL_FILE).is_file():
        print(f"no --model is given, and {DEMO} has none: running the demo first (a minute)\n")
        run_demo(DEMO)
    print(f"model   {DEMO / MODEL_FILE} (rendered figures: give --model for real actions)")
    return load(DEMO, weights=weights)


def open_port(host: str, port: int) -> socket.socket:
    """A listening socket.

    Raises:
        ConfigError: the port is taken, or the host is none of this machine.
    """
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        opened = socket.socket(family)
    except OSError as error:
        raise ActionrnnError(f"{host}: {error.strerror}") from None
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind((host, port))
        opened.listen(128)
        return opened
    except (OSError, OverflowError) as error:
        opened.close()
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError(
            f"{host}:{port} cannot be served on ({reason}); choose another with --port or --host"
        ) from None
