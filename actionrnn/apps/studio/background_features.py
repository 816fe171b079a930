"""The features of a project's videos, kept complete in the background."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from actionrnn.apps.studio.extraction import EXTRACT, Wanted, key_of, ready_keys
from actionrnn.apps.studio.jobs import Job, Notices
from actionrnn.apps.studio.project import Project, ProjectVideo
from actionrnn.apps.studio.worker import Task, Worker, WorkerDiedError
from actionrnn.errors import ActionrnnError
from actionrnn.files import FileState, state_if_there
from actionrnn.options import VideoLimits

MOST_AT_ONCE = 8
"""Videos that share the backbone's batches: takes have few frames each."""

StateName = Literal["waiting", "extracting", "ready", "failed"]


@dataclass(frozen=True)
class VideoState:
    """How far the features of a video are."""

    name: StateName = "waiting"
    progress: float = 0.0
    error: str = ""


class Features:
    """Keeps the features of all videos complete, in a thread and a process.

    Args:
        project: whose videos they are.
        limits: within which a video is opened.
        notices: is told what was taken up again.
        extract: the task that computes them.
    """

    def __init__(
        self,
        project: Project,
        limits: VideoLimits,
        notices: Notices,
        extract: Task = EXTRACT,
    ) -> None:
        self._project, self._limits, self._notices = project, limits, notices
        self._task, self._worker = extract, Worker(extract, niceness=5)
        self._wanted = self._wanted_now()
        self._states: dict[str, VideoState] = {}
        """By id, of `_wanted`."""
        self._files: dict[str, FileState | None] = {}
        """As they were when their features were asked for."""
        self._suspects: set[str] = set()
        """Videos that were in work when the process died."""
        self._closing, self._stop, self._wake = (threading.Event() for _ in range(3))
        self._mutex = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="features", daemon=True)

    def start(self) -> None:
        """Begin with what is missing."""
        self._thread.start()

    def close(self) -> None:
        """Stop now; what is stored stays."""
        self._closing.set()
        self._stop.set()
        self._wake.set()
        self._worker.close()
        if self._thread.ident is not None:
            self._thread.join()

    def state(self, video_id: str) -> VideoState:
        """How far one video is."""
        return self._states.get(video_id, VideoState())

    def wake(self) -> None:
        """Videos were added."""
        self._wake.set()

    def look_again(self, videos: Iterable[ProjectVideo]) -> None:
        """Notice what was changed by hand or by the page, and compute those features anew.

        That is all of them where the project wants others now, of another rate or backbone; else
        those of videos in whose place there is another file.

        Args:
            videos: all that are there.
        """
        with self._mutex:
            wanted = self._wanted_now()  # of two pages that ask at once none brings old ones back
            if wanted != self._wanted:
                self._wanted = wanted
                self._states.clear()
                self._suspects.clear()
                self._stop.set()
            for video in videos:
                is_done = self.state(video.id).name in ("ready", "failed")
                if is_done and self._files.get(video.id) != state_if_there(video.file):
                    del self._states[video.id]
                    self._suspects.discard(video.id)
            if any(self.state(video.id).name == "waiting" for video in videos):
                self._wake.set()

    def _wanted_now(self) -> Wanted:
        return Wanted.of(self._project.base_config(), self._limits)

    def jobs(self) -> list[Job]:
        """The videos that are in work."""
        states = dict(self._states)
        return [
            Job("extract", video_id, state.progress, "reading the video")
            for video_id, state in states.items()
            if state.name == "extracting"
        ]

    def _run(self) -> None:
        with contextlib.suppress(ActionrnnError):  # all are looked at, then
            self._recognise_stored()
        while not self._closing.is_set():
            batch: list[ProjectVideo] = []
            with contextlib.suppress(ActionrnnError):  # of project.yaml, which the page tells
                wanted, batch = self._next_batch()
            if batch:
                self._extract(wanted, batch)
            else:
                self._wake.wait()
            self._wake.clear()

    def _recognise_stored(self) -> None:
        videos = self._project.videos()
        self._files = {video.id: state_if_there(video.file) for video in videos}
        keys = {video.id: key_of(self._project.folder, video.path) for video in videos}
        ready = ready_keys(self._wanted, {keys[video.id]: video.file for video in videos})
        self._put({v.id: VideoState("ready", 1.0) for v in videos if keys[v.id] in ready})
        missing = len(videos) - len(ready)
        if ready and missing:
            self._notices.add(
                f"the features of {missing} of {len(videos)} videos were not done when the "
                "server ended; they are computed now, the others are kept"
            )

    def _put(self, states: dict[str, VideoState]) -> None:
        """Unless other features are wanted since."""
        with self._mutex:
            if not self._stop.is_set():
                self._states |= states

    def _next_batch(self) -> tuple[Wanted, list[ProjectVideo]]:
        videos = self._project.videos()
        with self._mutex:
            self._stop.clear()
            self._states = {v.id: self._states[v.id] for v in videos if v.id in self._states}
            waiting = [video for video in videos if self.state(video.id).name == "waiting"]
            sound = [video for video in waiting if video.id not in self._suspects]
            batch = sound[:MOST_AT_ONCE] or waiting[:1]
            self._files |= {video.id: state_if_there(video.file) for video in batch}
            self._states |= {video.id: VideoState("extracting") for video in batch}
            return self._wanted, batch

    def _extract(self, wanted: Wanted, batch: list[ProjectVideo]) -> None:
        keys: dict[str, ProjectVideo] = {}
        done: set[str] = set()

        def report(progress: float, text: str = "", key: str = "", error: str = "") -> None:
            name: StateName = "extracting"
            if progress >= 1:
                done.add(keys[key].id)
                name = "failed" if error else "ready"
            self._put({keys[key].id: VideoState(name, progress, error)})

        outcome: dict[str, VideoState] = {}
        try:
            keys |= {key_of(self._project.folder, video.path): video for video in batch}
            videos = [(key, video.file) for key, video in keys.items()]
            self._worker.run(self._task, wanted, videos, stop=self._stop, report=report)
        except WorkerDiedError:
            if not self._stop.is_set():  # else it was ended, as it did not stop
                outcome = self._after_death([video for video in batch if video.id not in done])
        except ActionrnnError as error:
            outcome = {video.id: VideoState("failed", error=str(error)) for video in batch}
        unfinished = {video.id: VideoState() for video in batch} | outcome
        self._put({i: state for i, state in unfinished.items() if i not in done})

    def _after_death(self, unfinished: list[ProjectVideo]) -> dict[str, VideoState]:
        """Each of them is tried alone; what dies alone is what kills."""
        if len(unfinished) == 1 and unfinished[0].id in self._suspects:
            video = unfinished[0]
            reason = f"{video.path}: ended its decoder, so it is damaged; convert it"
            return {video.id: VideoState("failed", error=reason)}
        self._suspects |= {video.id for video in unfinished}
        return {}
