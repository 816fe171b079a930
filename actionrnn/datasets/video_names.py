"""Finds the videos that a table or a file of annotations names."""

from __future__ import annotations

import os
import posixpath
from pathlib import Path

from actionrnn.errors import DatasetError
from actionrnn.files import at_home
from actionrnn.video.finding import VIDEO_SUFFIXES, clip_key


class VideoNames:
    """The videos of a folder by the names that somebody wrote.

    Args:
        folder: which relative names start from.
        elsewhere: the names may be paths of another machine, as annotation tools write them: if
            there is no such file, less and less of the path's beginning is taken, down to the
            name alone, which may have another ending here.
    """

    def __init__(self, folder: Path, *, elsewhere: bool = False) -> None:
        self.folder, self._elsewhere = folder, elsewhere
        self._by_stem: dict[Path, dict[str, list[str]]] = {}
        self._found: dict[Path, tuple[Path, str]] = {}
        self._by_tail: dict[Path, str] = {}

    def find(self, name: str) -> tuple[Path, str]:
        """The video's path and key, whether or not it exists; the same for every spelling of it.

        Raises:
            DatasetError: the name has no ending, and several files begin with it.
        """
        name = at_home(name)
        path = self.folder / name
        if "\\" in name and not exists(path):  # written on Windows
            name = name.replace("\\", "/")
            path = self.folder / name
        complete = None if exists(path) else self._complete(path)
        if self._elsewhere and complete is None and not exists(path):
            written = name
            path, name, complete = self._find_tail(name) or (path, name, None)
            first = self._by_tail.setdefault(complete or path, written)
            if first != written:
                raise DatasetError(
                    f"{first!r} and {written!r} may both be {complete or path}; put the videos "
                    "into folders of these names"
                )
        key = posixpath.normpath(Path(name).as_posix()).lstrip("/").replace("../", "")
        if complete is not None:
            path = complete
        else:
            key = clip_key(Path(key), Path())
        real = Path(os.path.realpath(path.parent), path.name)
        return self._found.setdefault(real, (path, key))

    def has(self, name: str) -> bool:
        """Whether the name is that of a video that exists."""
        return names_a_file(name) and exists(self.find(name)[0])

    def _find_tail(self, name: str) -> tuple[Path, str, Path | None] | None:
        """The longest end of a path that is a video here: its path, its name, the whole path."""
        parts = [part for part in name.split("/") if part not in ("", ".", "..")]
        for start in range(len(parts)):
            tail = "/".join(parts[start:])
            path = self.folder / tail
            if exists(path):
                return path, tail, None
            stem, ending = os.path.splitext(tail)  # noqa: PTH122
            for shorter in (tail, stem if ending.lower() in VIDEO_SUFFIXES else tail):
                complete = self._complete(self.folder / shorter)
                if complete is not None:
                    return path, shorter, complete
        return None

    def _complete(self, path: Path) -> Path | None:
        """The one video with this name and an ending."""
        if path.parent not in self._by_stem:
            self._by_stem[path.parent] = _videos_by_stem(path.parent)
        found = self._by_stem[path.parent].get(path.name, [])
        if len(found) > 1:
            raise DatasetError(f"{path.name!r} may be {' or '.join(found)}; write the ending")
        return path.with_name(found[0]) if found else None


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


def exists(path: Path) -> bool:
    """Whether there is such a file; a name that is too long for a file has none."""
    try:
        return path.exists()
    except OSError:
        return False


def names_a_file(name: str) -> bool:
    """Whether a name ends in that of a file, not in a folder."""
    return posixpath.basename(posixpath.normpath(name.replace("\\", "/"))) not in ("", ".", "..")
