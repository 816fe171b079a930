"""Finds the videos that a table or a file of annotations names."""

from __future__ import annotations

import os
import posixpath
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path

from actionrnn.errors import DatasetError
from actionrnn.files import as_written
from actionrnn.text import plain
from actionrnn.video.finding import VIDEO_SUFFIXES, clip_key

_FEATURE_SUFFIXES = (".npy", ".npz", ".h5", ".hdf5", ".mat", ".pkl", ".pt", ".pth")
"""Of files of features, by which some lists name the videos."""


class VideoNames:
    """The videos of a folder by the names that somebody wrote.

    Args:
        folder: which relative names start from.
        elsewhere: the names may be paths of another machine, as annotation tools write them: if
            there is no such file, less and less of the path's beginning is taken, down to the
            name alone, which may have another ending here. Files of features are named instead
            of their videos. Paths of several machines may lead to one video (`several_paths`).
    """

    def __init__(self, folder: Path, *, elsewhere: bool = False) -> None:
        self.folder, self._elsewhere = folder, elsewhere
        self._by_stem: dict[Path, dict[str, list[str]]] = {}
        self._found: dict[Path, tuple[Path, str]] = {}
        self._by_tail: dict[Path, dict[str, None]] = {}

    def find(self, name: str) -> tuple[Path, str]:
        """The video's path and key, whether or not it exists; the same for every spelling of it.

        A name with an ending is that of a file; `rec/`, with a slash, that of a folder.

        Raises:
            DatasetError: the name has no ending, and several files begin with it, or a file and a
                folder; or several paths end in a name that several videos have.
        """
        name = as_written(name)
        path = self.folder / name
        if "\\" in name and not exists(path):  # written on Windows
            name = name.replace("\\", "/")
            path = self.folder / name
        if self._elsewhere and name.lower().endswith(_FEATURE_SUFFIXES):
            name = posixpath.splitext(name)[0]
            path = self.folder / name
        complete = self._complete(path, name)
        if self._elsewhere and complete is None and not exists(path):
            written = name
            path, name, complete = self._find_tail(name) or (path, name, None)
            self._note_tail(complete or path, written)
        key = posixpath.normpath(Path(name).as_posix()).lstrip("/").replace("../", "")
        if complete is not None:
            path = complete
        else:
            key = clip_key(Path(key), Path())
        real = Path(os.path.realpath(path.parent), path.name)
        return self._found.setdefault(real, (path, key))

    @property
    def several_paths(self) -> Mapping[Path, tuple[str, ...]]:
        """By video: the paths of other machines that led to it, where they are several."""
        return {path: tuple(names) for path, names in self._by_tail.items() if len(names) > 1}

    def _note_tail(self, path: Path, written: str) -> None:
        """Remember a path that led to a video by its end; refuse it if that may be another one."""
        names = self._by_tail.setdefault(path, {})
        names[written] = None
        count = self._count_by_name[_shared_name(path)] if len(names) > 1 else 1
        if count > 1:
            raise DatasetError(
                f"{next(iter(names))!r} and {written!r} may both be {path}, and there are {count} "
                f"videos of that name in {self.folder}; put them into folders of these names"
            )

    @cached_property
    def _count_by_name(self) -> Counter[str]:
        """How often each name occurs in the folder and below."""
        return Counter(
            _shared_name(Path(above, name), is_folder)
            for above, folders, files in os.walk(self.folder)
            for names, is_folder in ((folders, True), (files, False))
            for name in names
            if is_folder or posixpath.splitext(name)[1].lower() in VIDEO_SUFFIXES
        )

    def has(self, name: str) -> bool:
        """Whether the name is that of a video that exists."""
        return names_a_file(name) and exists(self.find(name)[0])

    def _find_tail(self, name: str) -> tuple[Path, str, Path | None] | None:
        """The longest end of a path that is a video here: its path, its name, the whole path."""
        parts = [part for part in name.split("/") if part not in ("", ".", "..")]
        for start in range(len(parts)):
            tail = "/".join(parts[start:]) + "/" * name.endswith("/")
            path = self.folder / tail
            if exists(path):
                return path, tail, self._complete(path, tail)
            stem, ending = os.path.splitext(tail)  # noqa: PTH122
            for shorter in (tail, stem if ending.lower() in VIDEO_SUFFIXES else tail):
                complete = self._complete(self.folder / shorter, tail)
                if complete is not None:
                    return path, shorter, complete
        return None

    def _complete(self, path: Path, name: str) -> Path | None:
        """The one video with this name and an ending; None also for what is there as it is named.

        Args:
            name: as somebody wrote it.
        """
        is_whole = posixpath.basename(name.rstrip("/")) == path.name  # not without its ending
        if is_whole and exists(path) and (name.endswith("/") or not path.is_dir()):
            return None
        if path.parent not in self._by_stem:
            self._by_stem[path.parent] = _videos_by_stem(path.parent)
        found = self._by_stem[path.parent].get(path.name, [])
        if len(found) > 1:
            raise DatasetError(f"{path.name!r} may be {' or '.join(found)}; write the ending")
        if found and is_whole and path.is_dir():
            raise DatasetError(
                f"{path.name!r} may be {found[0]} or the folder {path.name}/; write {found[0]}, or "
                f"{path.name}/ with a slash, or give the folder another name"
            )
        return path.with_name(found[0]) if found else None


def _shared_name(path: Path, is_folder: bool | None = None) -> str:
    """What videos that are easily mixed up have in common: `rec` for files, `rec/` for folders."""
    is_folder = path.is_dir() if is_folder is None else is_folder
    return f"{path.name}/" if is_folder else path.stem


def _videos_by_stem(folder: Path) -> dict[str, list[str]]:
    try:
        paths = sorted(folder.iterdir())
    except OSError:
        return {}
    by_stem: dict[str, list[str]] = {}
    for path in paths:
        if path.suffix.lower() in VIDEO_SUFFIXES:
            by_stem.setdefault(path.stem, []).append(path.name)
    return by_stem


def notes_of_paths(videos: VideoNames) -> Iterator[str]:
    """A note if paths of several machines were taken for one video."""
    if several := videos.several_paths:
        path, names = next(iter(several.items()))
        yield (
            f"{len(several)} videos are named by paths of several machines, which are taken for "
            f"one (the first: {plain(path.name)}, by {' and '.join(map(plain, names))})"
        )


def exists(path: Path) -> bool:
    """Whether there is such a file; a name that is too long for a file has none."""
    try:
        return path.exists()
    except OSError:
        return False


def names_a_file(name: str) -> bool:
    """Whether a name ends in that of a file, not in a folder."""
    return posixpath.basename(posixpath.normpath(name.replace("\\", "/"))) not in ("", ".", "..")
