"""Other libraries' chatter: kept from the terminal while they load and convert networks."""

from __future__ import annotations

import contextlib
import io
import logging
import threading
import warnings
from collections.abc import Iterator

_one_at_a_time = threading.RLock()


@contextlib.contextmanager
def quietly(level: int = logging.WARNING, *, errors_too: bool = False) -> Iterator[None]:
    """Without logged messages up to a level, warnings, and what is printed, during the block.

    All of that belongs to the whole process. So one thread does it at a time, or the second would
    take the silence of the first for what was before, and leave it behind.

    Args:
        errors_too: nothing reaches the standard error either.
    """
    with _one_at_a_time, contextlib.ExitStack() as stack:
        stack.callback(logging.disable, logging.root.manager.disable)
        logging.disable(level)
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
        if errors_too:
            stack.enter_context(contextlib.redirect_stderr(io.StringIO()))
        yield
