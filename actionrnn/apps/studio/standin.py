"""A project in memory, until the real one is there."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from actionrnn.errors import ActionrnnError
from actionrnn.video.decode import probe_video


class ProjectError(ActionrnnError):
    """A project that cannot be used."""


@dataclass(frozen=True)
class Label:
    name: str
    key: str
    colour: str


@dataclass(frozen=True)
class Settings:
    rate_fps: float = 4.0
    multi_label: bool = False


@dataclass(frozen=True)
class Mark:
    id: str
    label: str
    start: float
    end: float
    note: str = ""


@dataclass(frozen=True)
class VideoMarks:
    revision: int = 0
    marks: tuple[Mark, ...] = ()
    looked: tuple[tuple[float, float], ...] = ()
    can_undo: bool = False
    can_redo: bool = False


@dataclass(frozen=True)
class ProjectVideo:
    id: str
    path: str
    file: Path
    group: str
    seconds: float
    width: int
    height: int
    rate_fps: float


class Project:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "videos").mkdir(parents=True, exist_ok=True)
        self.labels = (Label("wave", "1", "#2f6fed"), Label("jump", "2", "#c2410c"))
        self.settings = Settings()
        self._marks: dict[str, VideoMarks] = {}
        self._undo: dict[str, list[VideoMarks]] = {}
        self._redo: dict[str, list[VideoMarks]] = {}
        self._groups: dict[str, str] = {}
        self._known: dict[Path, ProjectVideo] = {}

    @classmethod
    def open(cls, folder: Path, videos_folders: Any = ()) -> Project:
        return cls(folder)

    create = open

    def close(self) -> None:
        pass

    def videos(self) -> tuple[ProjectVideo, ...]:
        files = [f for f in sorted((self.folder / "videos").iterdir()) if f.is_file()]
        return tuple(self._video(f) for f in files if not f.name.startswith("."))

    def video(self, video_id: str) -> ProjectVideo:
        for video in self.videos():
            if video.id == video_id:
                return video
        raise ProjectError(f"no video {video_id}")

    def _video(self, file: Path) -> ProjectVideo:
        path = f"videos/{file.name}"
        if file not in self._known:
            about = probe_video(file)
            self._known[file] = ProjectVideo(
                hashlib.sha256(path.encode()).hexdigest()[:12],
                path,
                file,
                "",
                float(about.duration_seconds or 0),
                about.width,
                about.height,
                float(about.rate_fps or 25),
            )
        video = self._known[file]
        return replace(video, group=self._groups.get(video.id, file.stem))

    def set_labels(self, labels: Any, who: str) -> None:
        self.labels = tuple(Label(x["name"], x["key"], x["colour"]) for x in labels)

    def set_settings(self, settings: dict[str, Any], who: str) -> None:
        self.settings = Settings(**(asdict(self.settings) | settings))

    def marks(self, video_id: str) -> VideoMarks:
        return self._marks.get(video_id, VideoMarks())

    def change(self, video_id: str, ops: Any, who: str, base_revision: Any = None) -> VideoMarks:
        before = self.marks(video_id)
        marks, looked = list(before.marks), list(before.looked)
        for op in ops:
            kind = op["op"]
            if kind == "add":
                new = Mark(
                    secrets.token_hex(4), op["label"], op["start"], op["end"], op.get("note", "")
                )
                marks.append(new)
            elif kind == "remove":
                marks = [m for m in marks if m.id != op["id"]]
            elif kind == "edit":
                given = {k: v for k, v in op.items() if k not in ("op", "id")}
                marks = [replace(m, **given) if m.id == op["id"] else m for m in marks]
            elif kind == "look":
                looked.append((op["start"], op["end"]))
                looked = _united(looked)
            elif kind == "unlook":
                looked = [
                    part
                    for a, b in looked
                    for part in ((a, min(b, op["start"])), (max(a, op["end"]), b))
                    if part[0] < part[1]
                ]
        self._undo.setdefault(video_id, []).append(before)
        self._redo[video_id] = []
        return self._put(video_id, tuple(sorted(marks, key=lambda m: m.start)), tuple(looked))

    def _put(self, video_id: str, marks: Any, looked: Any) -> VideoMarks:
        now = VideoMarks(
            self.marks(video_id).revision + 1,
            marks,
            looked,
            bool(self._undo.get(video_id)),
            bool(self._redo.get(video_id)),
        )
        self._marks[video_id] = now
        return now

    def undo(self, video_id: str, who: str) -> VideoMarks:
        if not self._undo.get(video_id):
            raise ProjectError("nothing to undo")
        self._redo.setdefault(video_id, []).append(self.marks(video_id))
        back = self._undo[video_id].pop()
        return self._put(video_id, back.marks, back.looked)

    def redo(self, video_id: str, who: str) -> VideoMarks:
        if not self._redo.get(video_id):
            raise ProjectError("nothing to redo")
        self._undo.setdefault(video_id, []).append(self.marks(video_id))
        back = self._redo[video_id].pop()
        return self._put(video_id, back.marks, back.looked)

    def refused(self, video_id: str) -> tuple[Any, ...]:
        return ()

    def add_video(self, source: Any, name: str, group: str | None = None) -> ProjectVideo:
        file = self.folder / "videos" / Path(name).name
        with file.open("wb") as out:
            while part := source.read(2**20):
                out.write(part)
        return self._video(file)

    def remove_video(self, video_id: str, who: str) -> None:
        (self.folder / ".removed").mkdir(exist_ok=True)
        video = self.video(video_id)
        video.file.rename(self.folder / ".removed" / video.file.name)

    def set_group(self, video_id: str, group: str, who: str) -> None:
        self._groups[video_id] = group


def _united(spans: list[tuple[float, float]]) -> list[tuple[float, float]]:
    found: list[tuple[float, float]] = []
    for a, b in sorted(spans):
        if found and a <= found[-1][1]:
            found[-1] = found[-1][0], max(found[-1][1], b)
        else:
            found.append((a, b))
    return found
