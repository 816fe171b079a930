"""What the routes of one project share, and how it is described to the page."""

from __future__ import annotations

import json
import threading
from dataclasses import asdict, dataclass, field
from typing import Any
from urllib.parse import unquote

from fastapi import HTTPException, Request

from actionrnn.apps.serving.limits import ServeLimits
from actionrnn.apps.studio.jobs import Jobs
from actionrnn.apps.studio.locks import Client, Locks
from actionrnn.apps.studio.standin import Project, ProjectVideo, VideoMarks
from actionrnn.text import plain

NOBODY = "somebody"
"""Who changes something without saying a name."""


@dataclass
class Session:
    """One project that is open in a server."""

    project: Project
    limits: ServeLimits
    jobs: Jobs
    locks: Locks = field(default_factory=Locks)
    _revision: int = 0
    _last: str = ""
    _mutex: threading.Lock = field(default_factory=threading.Lock)

    def video(self, video_id: str) -> ProjectVideo:
        """The video of an id.

        Raises:
            HTTPException: 404, there is none.
        """
        for video in self.project.videos():
            if video.id == video_id:
                return video
        raise HTTPException(404, f"the project has no video {plain(video_id)}; reload the page")

    def require_free(self, video_id: str, client: Client) -> None:
        """Refuse a change of what another one works on.

        Raises:
            HTTPException: 409, with a word.
        """
        other = self.locks.other(video_id, client)
        if other is not None:
            name = self.video(video_id).path
            raise HTTPException(409, f"{other.annotator} is labelling {name} now; nothing changed")

    def described(self) -> dict[str, Any]:
        """The project as the page shows it; `revision` rises whenever something of it changes."""
        project = self.project
        described = {
            "name": project.folder.resolve().name,
            "labels": [asdict(label) for label in project.labels],
            "settings": asdict(project.settings),
            "videos": [self.video_json(video) for video in project.videos()],
            "jobs": self.jobs.listed(),
            "model": self.jobs.model(),
            "runs": self.jobs.runs(),
            "folders": [],
            "limits": {
                "upload_mb": self.limits.upload_mb,
                "video_seconds": self.limits.video_seconds,
            },
        }
        text = json.dumps(described, sort_keys=True)
        with self._mutex:
            if text != self._last:
                self._revision, self._last = self._revision + 1, text
            return {"revision": self._revision} | described

    def video_json(self, video: ProjectVideo) -> dict[str, Any]:
        """One video as the page shows it."""
        marks, state = self.project.marks(video.id), self.jobs.state(video.id)
        holder = self.locks.holder(video.id)
        return {
            "id": video.id,
            "name": video.path.rpartition("/")[2],
            "path": video.path,
            "group": video.group,
            "seconds": video.seconds,
            "width": video.width,
            "height": video.height,
            "rate_fps": video.rate_fps,
            "state": state.name,
            "progress": round(state.progress, 3),
            "error": state.error,
            "playable": video.path.rpartition(".")[2].lower() in ("mp4", "webm", "m4v"),
            "num_marks": len(marks.marks),
            "marked_seconds": round(sum(mark.end - mark.start for mark in marks.marks), 3),
            "looked_seconds": round(sum(end - start for start, end in marks.looked), 3),
            "locked_by": None if holder is None else holder.annotator,
        }


def client_of(request: Request) -> Client:
    """Who asks: the header X-Annotator, percent-encoded, and X-Client, of the tab."""
    name = plain(unquote(request.headers.get("x-annotator", ""))).strip() or NOBODY
    return Client(plain(request.headers.get("x-client", "")), name)


def marks_json(marks: VideoMarks) -> dict[str, Any]:
    """The marks of one video."""
    return {
        "revision": marks.revision,
        "marks": [asdict(mark) for mark in marks.marks],
        "looked": [list(span) for span in marks.looked],
        "can_undo": marks.can_undo,
        "can_redo": marks.can_redo,
    }
