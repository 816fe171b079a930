"""Copies of videos that browsers play, made in the background."""

from __future__ import annotations

import threading
from collections.abc import Callable

from actionrnn.apps.studio.jobs import Job, Notices
from actionrnn.errors import ActionrnnError


class Copies:
    """Makes copies of videos that browsers play, one after the other, in a thread.

    Args:
        make: makes the copy of the video of an id, unless `stop` is set before.
        notices: is told of failures.
    """

    def __init__(self, make: Callable[[str, threading.Event], object], notices: Notices) -> None:
        self._make, self._notices = make, notices
        self._queue: dict[str, Job] = {}
        self._stop, self._wake = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="copies", daemon=True)

    def start(self) -> None:
        """Wait for orders."""
        self._thread.start()

    def close(self) -> None:
        """Stop now; a copy that is half done is not kept."""
        self._stop.set()
        self._wake.set()
        if self._thread.ident is not None:
            self._thread.join()

    def want(self, video_id: str) -> Job:
        """Have the copy of a video made, if that is not under way."""
        text = "making a copy that browsers play"
        job = self._queue.setdefault(video_id, Job("convert", video_id, 0.0, text))
        self._wake.set()
        return job

    def jobs(self) -> list[Job]:
        """Those that wait or are in work."""
        return list(self._queue.values())

    def _run(self) -> None:
        while not self._stop.is_set():
            for video_id in list(self._queue):
                if not self._stop.is_set():
                    self._make_one(video_id)
            self._wake.wait()
            self._wake.clear()

    def _make_one(self, video_id: str) -> None:
        try:
            self._make(video_id, self._stop)
        except (ActionrnnError, OSError) as error:  # the latter: no process can be started
            if not self._stop.is_set():
                self._notices.add(str(error), is_problem=True)
        del self._queue[video_id]
