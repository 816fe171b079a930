"""Who works on which video: several people label different ones, one of them each."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

LOCK_SECONDS = 30.0
"""After which a lock ends that was not asked for again."""


@dataclass(frozen=True)
class Client:
    """A tab of a browser, and who sits before it."""

    id: str
    annotator: str


@dataclass(frozen=True)
class _Lock:
    client: Client
    ends: float


class Locks:
    """At most one client of each video; in memory, as they end with the server.

    Args:
        clock: gives seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._locks: dict[str, _Lock] = {}
        self._mutex = threading.Lock()

    def take(self, video_id: str, client: Client) -> bool:
        """Lock a video, or lock it for longer; False: another has it."""
        with self._mutex:
            if self._of_another(video_id, client) is not None:
                return False
            self._locks[video_id] = _Lock(client, self._clock() + LOCK_SECONDS)
            return True

    def free(self, video_id: str, client: Client) -> None:
        """Give a video back, if it is this client's."""
        with self._mutex:
            if self._of_another(video_id, client) is None:
                self._locks.pop(video_id, None)

    def holder(self, video_id: str) -> Client | None:
        """Who has it."""
        with self._mutex:
            lock = self._locks.get(video_id)
            return lock.client if lock is not None and lock.ends > self._clock() else None

    def other(self, video_id: str, client: Client) -> Client | None:
        """Who has it, if that is not this client."""
        with self._mutex:
            return self._of_another(video_id, client)

    def _of_another(self, video_id: str, client: Client) -> Client | None:
        lock = self._locks.get(video_id)
        if lock is None or lock.ends <= self._clock() or lock.client.id == client.id:
            return None
        return lock.client
