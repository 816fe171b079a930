"""A project: a folder of videos, what is marked in them, and what was trained on it.

videos/          its videos; those of `--videos` folders stay where they are
annotations.csv  the marks, in the format of data.layout=annotations
annotations.log  every change, for undo
project.yaml     labels and settings
features/        the store
runs/            a folder for each training
"""

from __future__ import annotations

import hashlib
import os
import shutil
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from actionrnn.apps.studio.annotation_log import Refused, VideoMarks
from actionrnn.apps.studio.annotations import (
    Annotations,
    require_apart,
    require_kept_apart,
    require_valid,
)
from actionrnn.apps.studio.operations import (
    ConflictError,
    checked_group,
    checked_label,
    checked_ops,
)
from actionrnn.apps.studio.project_config import (
    FEATURES_FOLDER,
    RUNS_FOLDER,
    base_config,
    make_config,
    next_run,
)
from actionrnn.apps.studio.project_file import (
    PROJECT_FILE,
    KeptProjectFile,
    Label,
    ProjectFile,
    Settings,
    checked_labels,
    is_project,
    settings_of,
    write_project_file,
)
from actionrnn.apps.studio.project_videos import ProjectVideos
from actionrnn.apps.studio.video_files import (
    REMOVED_FOLDER,
    STAGED,
    VIDEOS_FOLDER,
    safe_name,
    staged,
)
from actionrnn.apps.studio.videos import (
    CACHE_FOLDER,
    Cache,
    Facts,
    ProjectVideo,
    isolation_of,
    video_id,
)
from actionrnn.config import Config
from actionrnn.datasets.annotations.marks import Span
from actionrnn.errors import ProjectError
from actionrnn.features.worker import Isolation
from actionrnn.files import is_temporary, open_locked, write_text

LOCK_FILE = ".lock"
_IGNORED_BY_GIT = (
    f"{LOCK_FILE}\n{CACHE_FOLDER}/\n{REMOVED_FOLDER}/\n{FEATURES_FOLDER}/\n{RUNS_FOLDER}/\n"
)


class Project:
    """An open project; one process at a time has it.

    All methods may be called from several threads.
    """

    def __init__(
        self,
        folder: Path,
        videos_folders: Sequence[Path],
        handle: int | None,
        content: ProjectFile | None = None,
    ) -> None:
        """Use `open` or `create`.

        Args:
            folder: of the project.
            videos_folders: below which videos outside of it may lie.
            handle: of the lock; None: nothing is written.
            content: of a project.yaml that is not written yet.
        """
        self.folder = folder
        self.videos_folders = tuple(videos_folders)
        self.cache = Cache(folder, read_only=handle is None)
        self._handle = handle
        self._lock = threading.RLock()
        self._file = KeptProjectFile(folder, content, read_only=handle is None)
        self._videos = ProjectVideos(
            folder, self.videos_folders, lambda: self._file.content.videos, self.cache
        )
        self._annotations = Annotations(folder, self._spans, read_only=handle is None)

    @classmethod
    def open(
        cls,
        folder: str | Path,
        videos_folders: Sequence[str | Path] = (),
        *,
        read_only: bool = False,
    ) -> Project:
        """Open a project that is there.

        Args:
            folder: of the project.
            videos_folders: below which videos outside of the project may lie.
            read_only: see it as it is now, beside another process that has it; nothing can be
                changed.

        Raises:
            ProjectError: there is none, another process has it, or a file of it is damaged.
        """
        place = Path(folder).absolute()
        if not is_project(place):
            raise ProjectError(f"{folder}: is no project, as it has no {PROJECT_FILE}")
        folders = _folders(videos_folders)
        if read_only:
            return cls(place, folders, None)
        try:
            handle, _ = open_locked(place / LOCK_FILE, wait=False)
        except BlockingIOError:
            raise ProjectError(
                f"{folder}: is open in another studio; use that one, or end it first"
            ) from None
        except OSError as error:
            raise ProjectError(f"{folder}: cannot be written ({error.strerror})") from None
        try:
            _remove_leftovers(place)
            return cls(place, folders, handle)
        except BaseException:
            os.close(handle)
            raise

    @classmethod
    def create(
        cls,
        folder: str | Path,
        videos_folders: Sequence[str | Path] = (),
        *,
        labels: Sequence[Label] = (),
        settings: Settings | None = None,
    ) -> Project:
        """Make a project of a new folder, or of one that has no project.yaml yet, and open it.

        Raises:
            ProjectError: it is a project already, a file in it cannot be read (then nothing is
                made), or it cannot be written.
        """
        place = Path(folder).absolute()
        if is_project(place):
            raise ProjectError(f"{folder}: is a project already; open it")
        content = ProjectFile(checked_labels(labels), settings or Settings())
        cls(place, _folders(videos_folders), None, content)  # what is there can be read
        try:
            (place / VIDEOS_FOLDER).mkdir(parents=True, exist_ok=True)
            if not (place / ".gitignore").exists():
                write_text(place / ".gitignore", _IGNORED_BY_GIT)
        except OSError as error:
            raise ProjectError(f"{folder}: cannot be made ({error.strerror})") from None
        write_project_file(place, content)
        return cls.open(folder, videos_folders)

    @property
    def name(self) -> str:
        """That of its folder."""
        return self.folder.resolve().name

    def close(self) -> None:
        """Let another process open the project."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def __enter__(self) -> Project:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # Labels and settings

    @property
    def labels(self) -> tuple[Label, ...]:
        """Those of project.yaml, and those that annotations.csv has besides."""
        with self._lock:
            known = self._file.content.labels
            names = {label.name for label in known}
            marked = {
                m.label for one in self._annotations.histories.values() for m in one.marks.values()
            }
            return checked_labels([*known, *map(Label, sorted(marked - names))])

    @property
    def settings(self) -> Settings:
        """Those of project.yaml."""
        return self._file.content.settings

    @property
    def settings_revision(self) -> str:
        """Another one whenever a label or a setting is another."""
        with self._lock:
            text = repr((self.labels, self.settings))
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]

    def set_labels(
        self,
        labels: Sequence[Label],
        who: str,
        renamed: Mapping[str, str] | None = None,
        base_revision: str | None = None,
    ) -> None:
        """Give the project other labels.

        Args:
            labels: all of them, in their order.
            who: does it.
            renamed: new names by old ones; marks follow, also those that undo brings back.
            base_revision: `settings_revision` of what is changed; None: whichever.

        Raises:
            ConflictError: labels or settings have another revision.
            ProjectError: a label is not valid, one is left out that marks have, or a new name is
                that of other marks.
        """
        names = {old: checked_label(new) for old, new in (renamed or {}).items() if old != new}
        with self._lock:
            self._annotations.refresh()
            self._require_revision(base_revision)
            checked = checked_labels(labels)
            kept = {label.name for label in checked}
            require_kept_apart(self._annotations.histories, names, kept)
            if names:
                self._write(None, {"renamed": names}, who)
            self._save(replace(self._file.content, labels=checked))

    def set_settings(self, values: Mapping[str, Any], base_revision: str | None = None) -> Settings:
        """Change some settings.

        Args:
            values: by their names in `Settings`.
            base_revision: as of `set_labels`.

        Raises:
            ConflictError: labels or settings have another revision, or marks overlap and no
                longer may.
            ProjectError: one is not known or not valid.
        """
        with self._lock:
            self._annotations.refresh()
            self._require_revision(base_revision)
            before = self._file.content.settings
            settings = settings_of(values, before)
            if before.multi_label and not settings.multi_label:
                for path, history in self._annotations.histories.items():
                    require_apart(history.view.marks, path)
            self._save(replace(self._file.content, settings=settings))
            return settings

    def _require_revision(self, base_revision: str | None) -> None:
        if base_revision not in (None, self.settings_revision):
            raise ConflictError(
                "the labels or settings were changed meanwhile; nothing was changed: look at them "
                "as they are now, and do it again"
            )

    # Videos

    def videos(self) -> tuple[ProjectVideo, ...]:
        """The videos that are there and can be read, by path."""
        with self._lock:
            found, _ = self._videos.facts_of_all()
            return tuple(self._described(path, found[path]) for path in sorted(found))

    def unreadable(self) -> dict[str, str]:
        """By path: why a video is not among `videos`."""
        with self._lock:
            return self._videos.facts_of_all()[1]

    def video(self, id: str) -> ProjectVideo:
        """The video of an id.

        Raises:
            ProjectError: there is none.
            VideoError: it cannot be read.
        """
        with self._lock:
            return self._video(self._videos.path_of(id))

    def _spans(self) -> dict[str, Span]:
        found, _ = self._videos.facts_of_all()
        return {path: (one.begin, one.end) for path, one in found.items()}

    def _video(self, path: str) -> ProjectVideo:
        return self._described(path, self._videos.facts(path))

    def _described(self, path: str, facts: Facts) -> ProjectVideo:
        return ProjectVideo(
            id=video_id(path),
            path=path,
            file=self.folder / path,
            group=self._annotations.group(path),
            seconds=facts.seconds,
            width=facts.width,
            height=facts.height,
            rate_fps=facts.rate_fps,
            begin=facts.begin,
            playable=facts.playable,
        )

    def add_video(
        self,
        content: Path | IO[bytes],
        name: str,
        group: str | None = None,
        *,
        who: str = "",
        isolation: Isolation | None = None,
    ) -> ProjectVideo:
        """Copy a video into the project.

        Args:
            content: a file, or an open one.
            name: for its file; folders in it are left out, and a number is put behind it where
                another video has it.
            group: who or what is in it; None: it is its own.
            who: adds it.
            isolation: the bounds within which it is looked at; None: those of `isolation_of`.

        Raises:
            VideoError: it is not a video that can be read.
            ProjectError: the name or group is not valid, it cannot be written, or
                annotations.csv has a row that cannot be read.
        """
        self._require_writable()
        group, name = checked_group(group), safe_name(name, [])
        try:
            with (
                staged(self.folder, content, name, isolation or isolation_of()) as copy,
                self._lock,
            ):
                self._annotations.refresh()
                path = self._videos.take_in(copy, name, self._annotations.named_videos())
                if group:
                    self._write(path, {"group": group}, who)
                return self._video(path)
        except OSError as error:
            raise ProjectError(f"{name}: cannot be written ({error.strerror})") from None

    def import_video(
        self, file: str | Path, group: str | None = None, who: str = ""
    ) -> ProjectVideo:
        """Take a video into the project that stays where it is, below a `--videos` folder.

        Raises:
            VideoError: it is not a video that can be read.
            ProjectError: it lies elsewhere, or is in the project already.
        """
        group = checked_group(group)
        with self._lock:
            self._annotations.refresh()
            path = self._videos.path_elsewhere(Path(file))
            video, content = self._video(path), self._file.content
            self._save(replace(content, videos=(*content.videos, path)))
            if group:
                self._write(path, {"group": group}, who)
            return replace(video, group=group)

    def remove_video(self, id: str, who: str) -> None:
        """Take a video out; its file goes to `.removed/`, with its rows beside it as .csv.

        A file outside of the project is left where it is.

        Raises:
            ProjectError: there is no such video, or it cannot be moved.
        """
        with self._lock:
            path = self._videos.path_of(id)
            self._require_writable()
            self._annotations.refresh()
            try:
                aside, rows = self._videos.places_aside(path)
                self._annotations.write_aside(path, rows)
                if self._videos.is_elsewhere(path):
                    content = self._file.content
                    left = tuple(one for one in content.videos if one != path)
                    self._save(replace(content, videos=left))
                else:
                    (self.folder / path).rename(aside)
            except OSError as error:
                raise ProjectError(f"{path}: cannot be moved ({error.strerror})") from None
            self._write(path, "removed", who)

    def set_group(self, id: str, group: str, who: str) -> ProjectVideo:
        """Say who or what is in a video; empty: it is its own group.

        Raises:
            ProjectError: there is no such video, or the group is not valid.
        """
        group = checked_group(group)
        with self._lock:
            path = self._videos.path_of(id)
            self._annotations.refresh()
            self._write(path, {"group": group}, who)
            return self._video(path)

    # Marks

    def marks(self, video_id: str) -> VideoMarks:
        """All that is marked in a video.

        Raises:
            ProjectError: there is no such video.
        """
        with self._lock:
            path = self._videos.path_of(video_id)
            self._annotations.refresh()
            return self._annotations.of(path).view

    def refused(self, video_id: str) -> tuple[Refused, ...]:
        """The proposals that were refused in a video.

        Raises:
            ProjectError: there is no such video.
        """
        with self._lock:
            return self._annotations.of(self._videos.path_of(video_id)).refused

    def change(
        self, video_id: str, ops: Any, who: str, base_revision: int | None = None
    ) -> VideoMarks:
        """Change the marks of a video; all of it or nothing, and undone at once.

        Args:
            video_id: of the video.
            ops: a list of operations, as `Op`; a mark that is added gets an id.
            who: does it.
            base_revision: of the marks that the change was made for; None: whichever.

        Raises:
            ConflictError: the marks have another revision, or two would overlap and may not.
            ProjectError: there is no such video or mark, or an operation is not valid.
        """
        with self._lock:
            video = self.video(video_id)
            self._annotations.refresh()
            history = self._annotations.of(video.path)
            if base_revision is not None and base_revision != history.revision:
                raise ConflictError(
                    f"{video.path}: was changed meanwhile (revision {history.revision}, not "
                    f"{base_revision}); load the marks again"
                )
            checked = checked_ops(ops)
            require_valid(
                history.step(checked),
                history,
                video,
                {label.name for label in self.labels},
                multi_label=self.settings.multi_label,
            )
            return self._write_marks(video.path, checked, who)

    def undo(self, video_id: str, who: str) -> VideoMarks:
        """Take back the last change of a video, whoever made it.

        Raises:
            ProjectError: there is none, or no such video.
        """
        return self._again(video_id, "undo", who)

    def redo(self, video_id: str, who: str) -> VideoMarks:
        """Make the change again that was taken back last.

        Raises:
            ProjectError: there is none, or no such video.
        """
        return self._again(video_id, "redo", who)

    def _again(self, video_id: str, change: str, who: str) -> VideoMarks:
        with self._lock:
            path = self._videos.path_of(video_id)
            self._annotations.refresh()
            return self._write_marks(path, change, who)

    # Training

    def config(self) -> Config:
        """What `actionrnn train FOLDER` trains with."""
        with self._lock:
            self._annotations.refresh()
            return make_config(self.folder, self._file.content)

    def base_config(self) -> Config:
        """`config` less what depends on the marks, which need not be read for it."""
        return base_config(self.folder, self._file.content)

    def next_run(self) -> Path:
        """The folder of the next training."""
        return next_run(self.folder)

    def _write(self, path: str | None, change: Any, who: str) -> None:
        self._require_writable()
        self._annotations.write(path, change, who)

    def _write_marks(self, path: str, change: Any, who: str) -> VideoMarks:
        self._write(path, change, who)
        return self._annotations.of(path).view

    def _require_writable(self) -> None:
        if self._handle is None:
            raise ProjectError(f"{self.folder}: is closed, or open for reading alone")

    def _save(self, content: ProjectFile) -> None:
        """Put labels, settings or videos into project.yaml."""
        self._require_writable()
        self._file.save(content)


def _folders(given: Sequence[str | Path]) -> list[Path]:
    folders = [Path(one).absolute() for one in given]
    for one in folders:
        if not one.is_dir():
            raise ProjectError(f"--videos {one}: no such folder")
    return folders


def _remove_leftovers(folder: Path) -> None:
    """Delete what killed processes began to write in the folder of a project."""
    for file in folder.glob(".*.tmp"):
        if is_temporary(file):
            file.unlink(missing_ok=True)
    for begun in (folder / CACHE_FOLDER).glob(f"{STAGED}*"):
        shutil.rmtree(begun, ignore_errors=True)


__all__ = ["ConflictError", "Label", "Project", "ProjectVideo", "Settings"]
