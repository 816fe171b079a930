"""One video decoded in a task of its own, which sends its squares in messages."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from actionrnn.config import Sampling, VideoLimits
from actionrnn.errors import VideoError
from actionrnn.features.decoding import decode_here
from actionrnn.features.preprocess import Preprocessing

SQUARES_IN_A_MESSAGE = 16
MESSAGES_AHEAD = 4


def decode_in_messages(
    path: Path,
    sampling: Sampling,
    preprocessing: Preprocessing,
    limits: VideoLimits | None = None,
) -> Iterator[tuple[str, Any]]:
    """What `decode_here` gives, in messages of several squares."""
    mailbox: queue.Queue[tuple[str, Any]] = queue.Queue(MESSAGES_AHEAD)

    def decode() -> None:
        mailer = _Mailer(mailbox)
        try:
            described = decode_here(path, sampling, mailer, preprocessing, 1, limits)
            mailer.flush()
            mailbox.put(("end", asdict(described)))
        except VideoError as error:
            mailbox.put(("failed", str(error)))
        except BaseException as error:  # the task raises it
            mailbox.put(("broken", error))

    threading.Thread(target=decode, daemon=True).start()
    while True:
        kind, content = mailbox.get()
        if kind == "broken":
            raise content
        yield kind, content
        if kind in ("end", "failed"):
            return


class _Mailer:
    """Takes squares, from several threads at once, and sends them some at a time."""

    def __init__(self, mailbox: queue.Queue[tuple[str, Any]]) -> None:
        self._mailbox = mailbox
        self._lock = threading.Lock()
        self._waiting: list[tuple[slice, NDArray[np.uint8]]] = []

    def begin(self, pts_seconds: NDArray[np.float64]) -> None:
        with self._lock:
            self._waiting = []
            self._mailbox.put(("begin", pts_seconds))

    def add(self, places: slice, square: NDArray[np.uint8]) -> None:
        with self._lock:
            self._waiting.append((places, square.copy()))
        if len(self._waiting) >= SQUARES_IN_A_MESSAGE:
            self.flush()

    def flush(self) -> None:
        """Send what waits."""
        with self._lock:
            if self._waiting:
                places, squares = zip(*self._waiting, strict=True)
                self._mailbox.put(("squares", (places, np.stack(squares))))
                self._waiting = []
