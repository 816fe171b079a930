"""Load the model, open the port, serve until Ctrl-C."""

from __future__ import annotations

import contextlib
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from actionrnn.apps.serving.limits import ServeLimits
from actionrnn.errors import ActionrnnError, ConfigError
from actionrnn.files import MODEL_FILE

if TYPE_CHECKING:
    from actionrnn.recurrent.recognizer import Recognizer

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
) -> None:
    """Serve a model's page and API; returns after Ctrl-C.

    Raises:
        ConfigError: the extra is not installed, or the port is taken.
        ModelError, BackboneError: the model cannot be loaded.
    """
    try:
        import uvicorn

        from actionrnn.apps.serving.app import LOOPBACK, make_app
    except ImportError as error:
        raise ConfigError(
            f"{error.name} is not installed; add it with `pip install 'actionrnn[serve]'`"
        ) from None
    with open_port(host, port) as opened:
        app = make_app(
            load_model(model, weights),
            limits,
            token=token,
            hosts=LOOPBACK if host in LOOPBACK else ("*",),
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
        query = f"/?token={token}" if token else ""
        address = f"http://{shown}:{opened.getsockname()[1]}{query}"
        if host not in LOOPBACK and token is None:
            print("anybody in the network may use it; --token keeps others out", file=sys.stderr)
        print(f"serving on {address} (Ctrl-C ends it)", flush=True)
        with contextlib.suppress(KeyboardInterrupt):  # the usual end
            uvicorn.Server(config).run(sockets=[opened])


def load_model(model: str | None, weights: str | None) -> Recognizer:
    """The model; without one that of the demo, which is trained if it is not there."""
    from actionrnn.apps.demo import run_demo
    from actionrnn.recurrent.checkpoint import load

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
