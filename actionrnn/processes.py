"""Processes that begin with a function of this package; at once where forking is safe."""

from __future__ import annotations

import contextlib
import errno
import multiprocessing
import multiprocessing.forkserver
import os
import sys
import threading
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

_DECODING = "actionrnn.features.worker"  # what most of the processes do

_main_module = threading.Lock()
"""Held while its names are hidden."""


def prepare(*modules: str) -> None:
    """Import what decoding needs ahead of the first process, in the background.

    Args:
        modules: what others need; without effect after the first process.
    """
    if _context().get_start_method() == "forkserver":
        _context().set_forkserver_preload([_DECODING, *modules])
        multiprocessing.forkserver.ensure_running()


def new_process(work: Callable[..., None], *arguments: Any) -> Any:
    """A process that has begun with `work(*arguments)`; it is ended when this one exits.

    Where this one is killed, it goes on: `work` must notice that somebody hung up.

    Raises:
        OSError: there is none.
    """
    process = _context().Process(target=work, args=arguments, daemon=True)
    with _main_module_hidden():
        try:
            process.start()
        except EOFError:  # what forks could not, and ended
            raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN)) from None
    return process


@cache
def _context() -> Any:
    """Copies of a process that has imported everything, where the system can fork.

    macOS can, but its libraries crash in a process that was forked and runs no other program.
    """
    can_fork = "forkserver" in multiprocessing.get_all_start_methods()
    if not can_fork or sys.platform == "darwin":
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([_DECODING])
    return context


@contextlib.contextmanager
def _main_module_hidden() -> Iterator[None]:
    """A new process would import the caller's script, and run it once more if it has no guard.

    Nothing that it does here is in that script, so it need not know of it.
    """
    main = vars(sys.modules["__main__"])
    with _main_module:
        hidden = [name for name in ("__spec__", "__file__") if name in main]
        names: dict[str, Any] = {name: main.pop(name) for name in hidden}
        main["__spec__"] = None
        try:
            yield
        finally:
            main.pop("__spec__")
            main.update(names)
