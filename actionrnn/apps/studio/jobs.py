"""What is done in the background: features of the videos, playable copies, training, scores.

Everything that is kept is on the disk: what was interrupted, by Ctrl-C or by a kill, is taken up
again when the project is opened the next time. Features are kept video by video; a training begins
anew, as it takes seconds.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from actionrnn.apps.studio.extraction import EXTRACT, Wanted, key_of, ready_keys
from actionrnn.apps.studio.project import Project, ProjectVideo
from actionrnn.apps.studio.worker import Task, Worker, WorkerDiedError, WorkFailedError
from actionrnn.errors import ActionrnnError
from actionrnn.files import FileState, file_state, write_text
from actionrnn.options import VideoLimits

StateName = Literal["waiting", "extracting", "ready", "failed"]
Kind = Literal["extract", "train", "score", "convert"]

MOST_AT_ONCE = 8
"""Videos that share the backbone's batches: takes have few frames each."""
_BEFORE_TRAINING = "the training begins"
TRAINING_MARK = ".cache/training"
"""Of the project: a training has begun and has not ended."""


@dataclass(frozen=True)
class Tasks:
    """What the studio has done by processes beside it."""

    extract: Task = EXTRACT
    """Computes features, as `extraction.extract`."""
    prepare: Task = "actionrnn.apps.studio.teaching:prepare"
    """Loads what the first training would wait for."""
    teach: Task = "actionrnn.apps.studio.teaching:teach"
    """Trains and scores, as `teaching.teach`."""


@dataclass(frozen=True)
class VideoState:
    """How far the features of a video are."""

    name: StateName = "waiting"
    progress: float = 0.0
    error: str = ""


@dataclass(frozen=True)
class Job:
    """Something that is done now, as the page shows it."""

    kind: Kind
    video: str | None = None
    """The id of the video that it is about."""
    progress: float = 0.0
    text: str = ""


@dataclass
class Notices:
    """What happened in the background and should be read: by number, the newest last."""

    said: list[dict[str, Any]] = field(default_factory=list)
    _number: int = 0

    def add(self, text: str, *, is_problem: bool = False) -> None:
        """Say something; the oldest is forgotten."""
        self._number += 1
        new = {"id": self._number, "text": text, "is_problem": is_problem}
        self.said = [*self.said, new][-5:]


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
        self._states: dict[str, VideoState] = {}
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

    def wake(self) -> None:
        """Videos were added or removed."""
        self._wake.set()

    def restart(self) -> None:
        """The project wants other features now: of another rate, or another backbone."""
        with self._mutex:
            self._states.clear()
            self._suspects.clear()
            self._stop.set()
        self._wake.set()

    def state(self, video_id: str) -> VideoState:
        """How far one video is."""
        return self._states.get(video_id, VideoState())

    def forget_replaced(self, videos: Iterable[ProjectVideo]) -> None:
        """Have those read again in whose place there is another file now."""
        with self._mutex:
            for video in videos:
                is_done = self.state(video.id).name in ("ready", "failed")
                if is_done and self._files.get(video.id) != _file_state(video):
                    del self._states[video.id]
                    self._suspects.discard(video.id)

    def jobs(self) -> list[Job]:
        """The videos that are in work."""
        states = dict(self._states)
        return [
            Job("extract", video_id, state.progress, "reading the video")
            for video_id, state in states.items()
            if state.name == "extracting"
        ]

    def _run(self) -> None:
        self._recognise_stored()
        while not self._closing.is_set():
            batch = self._next_batch()
            if batch:
                self._extract(batch)
            else:
                self._wake.wait()
            self._wake.clear()

    def _recognise_stored(self) -> None:
        videos = self._project.videos()
        self._files = {video.id: _file_state(video) for video in videos}
        with contextlib.suppress(ActionrnnError):
            keys = {video.id: key_of(self._project.folder, video.path) for video in videos}
            files = {keys[video.id]: video.file for video in videos}
            ready = ready_keys(self._project.config(), files)
            self._put({v.id: VideoState("ready", 1.0) for v in videos if keys[v.id] in ready})
            missing = len(videos) - len(ready)
            if ready and missing:
                self._notices.add(
                    f"the features of {missing} of {len(videos)} videos were not done when the "
                    "server ended; they are computed now, the others are kept"
                )

    def _put(self, states: dict[str, VideoState]) -> None:
        with self._mutex:
            self._states |= states

    def _next_batch(self) -> list[ProjectVideo]:
        with self._mutex:
            self._stop.clear()
            videos = self._project.videos()
            self._states = {v.id: self._states[v.id] for v in videos if v.id in self._states}
            waiting = [video for video in videos if self.state(video.id).name == "waiting"]
            sound = [video for video in waiting if video.id not in self._suspects]
            batch = sound[:MOST_AT_ONCE] or waiting[:1]
            self._files |= {video.id: _file_state(video) for video in batch}
            self._states |= {video.id: VideoState("extracting") for video in batch}
        return batch

    def _extract(self, batch: list[ProjectVideo]) -> None:
        keys = {video.id: key_of(self._project.folder, video.path) for video in batch}
        id_of = {key: video_id for video_id, key in keys.items()}
        videos = [(keys[video.id], video.file) for video in batch]
        done: set[str] = set()

        def report(progress: float, text: str = "", key: str = "", error: str = "") -> None:
            name: StateName = "extracting"
            if progress >= 1:
                done.add(id_of[key])
                name = "failed" if error else "ready"
            if not self._stop.is_set():
                self._put({id_of[key]: VideoState(name, progress, error)})

        outcome: dict[str, VideoState] = {}
        try:
            wanted = Wanted.of(self._project.config(), self._limits)
            self._worker.run(self._task, wanted, videos, stop=self._stop, report=report)
        except WorkerDiedError:
            outcome = self._after_death([video for video in batch if video.id not in done])
        except ActionrnnError as error:
            outcome = {video.id: VideoState("failed", error=str(error)) for video in batch}
        if not self._stop.is_set():
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


def _file_state(video: ProjectVideo) -> FileState | None:
    """Of its file; None: it is gone."""
    try:
        return file_state(video.file)
    except OSError:
        return None


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
            video_id = next(iter(self._queue), None)
            if video_id is None:
                self._wake.wait()
                self._wake.clear()
                continue
            try:
                self._make(video_id, self._stop)
            except ActionrnnError as error:
                if not self._stop.is_set():
                    self._notices.add(str(error), is_problem=True)
            del self._queue[video_id]


class Training:
    """Trains when it is asked to, and scores afterwards, in a thread and a warm process.

    Args:
        folder: of the project.
        tasks: `teach` makes a run, and from its first report of the kind `score` on there is a
            new model; `prepare` is called ahead of it.
        arguments: of both.
        notices: is told of failures, and of a training that is begun anew.
    """

    def __init__(
        self, folder: Path, tasks: Tasks, arguments: Sequence[Any], notices: Notices
    ) -> None:
        self._tasks, self._arguments, self._notices = tasks, arguments, notices
        self._worker = Worker(tasks.teach)
        self._mark = folder / TRAINING_MARK
        self._job: Job | None = None
        self._is_wanted = self._is_closing = False
        self._stop, self._wake = threading.Event(), threading.Event()
        self._mutex = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="training", daemon=True)

    def start(self) -> None:
        """Import what training needs, ahead of the first; begin an interrupted one anew."""
        if self._mark.exists():
            self._notices.add("the training was interrupted when the server ended; it begins anew")
            self.train()
        self._thread.start()

    def close(self) -> None:
        """Stop now; what is not done begins anew at the next start."""
        self._is_closing = True
        self._stop.set()
        self._wake.set()
        self._worker.close()
        if self._thread.ident is not None:
            self._thread.join()

    def train(self) -> Job:
        """Train with the marks of now; a scoring that is under way ends."""
        with self._mutex:
            job = self._job
            if job is not None and job.kind == "train" and not self._stop.is_set():
                return job
            self._mark.parent.mkdir(parents=True, exist_ok=True)
            write_text(self._mark, "")
            self._is_wanted = True
            if job is not None:
                self._stop.set()
            self._job = job = Job("train", text=_BEFORE_TRAINING)
        self._wake.set()
        return job

    def stop(self) -> None:
        """Give up the training or the scoring; the models so far stay."""
        with self._mutex:
            self._is_wanted = False
            self._mark.unlink(missing_ok=True)
            if self._job is not None:
                self._stop.set()

    def jobs(self) -> list[Job]:
        """The one that is in work."""
        job = self._job
        return [] if job is None else [job]

    def _run(self) -> None:
        with contextlib.suppress(WorkFailedError, WorkerDiedError):  # the first training says so
            task, never = self._tasks.prepare, threading.Event()
            self._worker.run(task, *self._arguments, stop=never, report=lambda **_: None)
        while not self._is_closing:
            with self._mutex:
                is_wanted, self._is_wanted = self._is_wanted, False
                self._stop.clear()
                self._job = Job("train", text=_BEFORE_TRAINING) if is_wanted else None
            if is_wanted:
                self._train()
            else:
                self._wake.wait()
                self._wake.clear()

    def _train(self) -> None:
        try:
            self._worker.run(
                self._tasks.teach, *self._arguments, stop=self._stop, report=self._report
            )
        except (WorkFailedError, WorkerDiedError) as error:
            if not self._stop.is_set():
                self._notices.add(f"the training: {error}", is_problem=True)
        self._end_training()

    def _report(self, progress: float, text: str = "", kind: Kind = "train") -> None:
        if kind == "score":
            self._end_training()
        with self._mutex:
            if not self._is_wanted:
                self._job = Job(kind, None, progress, text)

    def _end_training(self) -> None:
        with self._mutex:
            if not (self._is_closing or self._is_wanted):
                self._mark.unlink(missing_ok=True)


def jobs_json(jobs: list[Job]) -> list[dict[str, Any]]:
    """As the page gets them."""
    return [asdict(replace(job, progress=round(job.progress, 3))) for job in jobs]
