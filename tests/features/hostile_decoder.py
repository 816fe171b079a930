"""A decoding process that was taken over: it sends what it likes (`test_worker.py`)."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from typing import Any


def say(line: Any, *given: object) -> None:
    """Send the bytes among what was given, and stay if True is."""
    (content,) = (value for value in given if isinstance(value, bytes))
    with contextlib.suppress(OSError):
        while content:
            content = content[os.write(line.fileno(), content) :]
        while True in given:
            time.sleep(0.1)


def work(*_: object) -> Iterator[tuple[str, Any]]:
    """What an honest decoder would do."""
    yield "end", {}
