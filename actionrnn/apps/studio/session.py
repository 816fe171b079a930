"""What the routes of one project share, and how it is described to the page."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from fastapi import HTTPException, Request

from actionrnn.apps.serving.limits import ServeLimits
from actionrnn.apps.studio.background_copies import Copies
from actionrnn.apps.studio.background_exports import Exports
from actionrnn.apps.studio.background_features import Features
from actionrnn.apps.studio.background_training import Training
from actionrnn.apps.studio.jobs import Notices, Tasks, jobs_json
from actionrnn.apps.studio.locks import Client, Locks
from actionrnn.apps.studio.models import Models
from actionrnn.apps.studio.project import ConflictError, Project
from actionrnn.apps.studio.project_file import COLOURS, KEYS
from actionrnn.apps.studio.videos import ProjectVideo, isolation_of, kept_copy, playable_copy
from actionrnn.errors import ProjectError, VideoError
from actionrnn.features.worker import Isolation
from actionrnn.text import plain

NOBODY = "somebody"
"""Who changes something without saying a name."""


class Session:
    """One project that is open in a server, and what is done for it in the background.

    Args:
        project: open.
        limits: the bounds of uploads, videos and webcams.
        tasks: what is done in processes beside it.
    """

    def __init__(self, project: Project, limits: ServeLimits, tasks: Tasks) -> None:
        self.project, self.limits = project, limits
        self.locks, self.models, self.notices = Locks(), Models(project), Notices()
        self.features = Features(project, limits.video_limits(), self.notices, tasks.extract)
        self.copies = Copies(self._copy, self.notices)
        arguments = (project.folder, project.videos_folders)
        self.training = Training(project.folder, tasks, arguments, self.notices)
        self.exports, self.tasks = Exports(), tasks
        # a page that asks after a restart knows the revision of another server
        self._revision, self._last = int(1000 * time.time()), ""
        self._mutex = threading.Lock()
        self._making: dict[str, threading.Lock] = {}
        self._at_once = threading.Semaphore(limits.at_once)

    def start(self) -> None:
        """Begin the work in the background."""
        for one in (self.features, self.copies, self.training):
            one.start()

    def close(self) -> None:
        """End it; what is done is on the disk."""
        for one in (self.exports, self.features, self.copies, self.training):
            one.close()

    def video(self, video_id: str) -> ProjectVideo:
        """The video of an id.

        Raises:
            HTTPException: 404, there is none.
        """
        try:
            return self.project.video(video_id)
        except ProjectError as error:
            raise HTTPException(404, str(error)) from None

    def require_free(self, video: ProjectVideo, client: Client) -> None:
        """Refuse a change of what another one works on.

        Raises:
            HTTPException: 409, with a word.
        """
        other = self.locks.other(video.id, client)
        if other is not None:
            text = f"{other.annotator} is labelling {video.name} now; nothing was changed"
            raise HTTPException(409, text)

    def require_free_marks(self, labels: Collection[str], client: Client) -> None:
        """Refuse a change of the marks of some labels where another one works on such a video.

        Raises:
            HTTPException: 409, with a word.
        """
        for video in self.project.videos():
            if any(mark.label in labels for mark in self.project.marks(video.id).marks):
                self.require_free(video, client)

    def isolation(self, stop: threading.Event | None = None) -> Isolation:
        """The bounds within which a video is looked at."""
        return isolation_of(self.limits.video_limits(), stop, self.limits.request_seconds)

    @contextmanager
    def making(self, video: ProjectVideo) -> Iterator[None]:
        """Of what is made of one video and kept one thing is made at a time; of all videos few."""
        with self._mutex:
            of_video = self._making.setdefault(video.id, threading.Lock())
        with of_video, self._at_once:
            yield

    def has_copy(self, video: ProjectVideo) -> bool:
        """Whether there is a copy of it that browsers play."""
        try:
            return kept_copy(video, self.project.cache).exists()
        except VideoError:
            return False

    def _copy(self, video_id: str, stop: threading.Event) -> None:
        video = self.project.video(video_id)
        playable_copy(video, self.project.cache, self.isolation(stop))

    def described(self) -> dict[str, Any]:
        """The project as the page shows it; `revision` rises whenever something of it changes."""
        project, newest = self.project, self.models.newest()
        videos = project.videos()
        self.features.look_again(videos)
        jobs = [*self.training.jobs(), *self.copies.jobs(), *self.features.jobs()]
        jobs += self.exports.jobs()
        described = {
            "name": project.name,
            "labels": [asdict(label) for label in project.labels],
            "keys": KEYS,
            "colours": COLOURS,
            "settings": asdict(project.settings),
            "settings_revision": project.settings_revision,
            "videos": [self.video_json(video) for video in videos],
            "unreadable": [
                {"path": path, "error": why} for path, why in project.unreadable().items()
            ],
            "jobs": jobs_json(jobs),
            "notices": self.notices.said,
            "model": None if newest is None else newest.to_json(),
            "folders": list(self.folders()),
            "limits": {"upload_mb": self.limits.upload_mb},
        }
        text = json.dumps(described, sort_keys=True)
        with self._mutex:
            if text != self._last:
                self._revision, self._last = self._revision + 1, text
            return {"revision": self._revision} | described

    def folders(self) -> dict[str, Path]:
        """The folders of the server's disk that may be looked into, by the names they are shown by.

        Of two with one name the second is shown by its whole path.
        """
        found: dict[str, Path] = {}
        for folder in self.project.videos_folders:
            found[str(folder) if folder.name in found else folder.name] = folder
        return found

    def video_json(self, video: ProjectVideo) -> dict[str, Any]:
        """One video as the page shows it."""
        marks = self.project.marks(video.id)
        state = self.features.state(video.id)
        holder = self.locks.holder(video.id)
        return {
            "id": video.id,
            "name": video.name,
            "path": video.path,
            "group": video.group,
            "begin": video.begin,
            "seconds": video.seconds,
            "width": video.width,
            "height": video.height,
            "rate_fps": video.rate_fps,
            "state": state.name,
            "progress": round(state.progress, 3),
            "error": state.error,
            "playable": video.playable or self.has_copy(video),
            "num_marks": len(marks.marks),
            "marked_seconds": round(marks.marked_seconds, 3),
            "looked_seconds": round(marks.looked_seconds, 3),
            "locked_by": None if holder is None else holder.annotator,
        }


def client_of(request: Request) -> Client:
    """Who asks: the header X-Annotator, percent-encoded, and X-Client, of the tab."""
    name = plain(unquote(request.headers.get("x-annotator", ""))).strip() or NOBODY
    return Client(plain(request.headers.get("x-client", "")), name)


def status_of(error: ProjectError) -> int:
    """The HTTP status of what a project refuses."""
    return 409 if isinstance(error, ConflictError) else 422
