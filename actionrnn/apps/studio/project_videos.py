"""Which videos a project has, what each is, and where its files go."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from actionrnn.apps.studio.video_files import (
    VIDEOS_FOLDER,
    find_files,
    place_aside,
    require_within,
    safe_name,
)
from actionrnn.apps.studio.videos import Cache, Facts, video_id
from actionrnn.datasets.video_names import VideoNames
from actionrnn.errors import DatasetError, ProjectError, VideoError
from actionrnn.files import sync_folder
from actionrnn.text import is_harmless, plain
from actionrnn.video.finding import VIDEO_SUFFIXES


class ProjectVideos:
    """The videos in `videos/`, and those elsewhere that project.yaml names, by their paths.

    Args:
        folder: of the project.
        videos_folders: below which videos outside of it may lie.
        elsewhere: gives the paths of those outside.
        cache: of what the videos are.
    """

    def __init__(
        self,
        folder: Path,
        videos_folders: Sequence[Path],
        elsewhere: Callable[[], Sequence[str]],
        cache: Cache,
    ) -> None:
        self._folder, self._videos_folders = folder, videos_folders
        self._elsewhere, self._cache = elsewhere, cache
        self._by_id: dict[str, str] = {}

    def facts_of_all(self) -> tuple[dict[str, Facts], dict[str, str]]:
        """What the videos that are there and can be read are; and of the others, why not."""
        found: dict[str, Facts] = {}
        unreadable, keys, names = {}, dict[str, str](), VideoNames(self._folder)
        for path in self.paths():
            try:
                first = keys.setdefault(names.find(path)[1], path)
                if first != path:
                    raise ProjectError(
                        f"{path}: its features would have the name of those of {first}; rename one "
                        "of the two"
                    )
                found[path] = self.facts(path)
            except (VideoError, DatasetError, ProjectError) as error:
                unreadable[path] = str(error)
        return found, unreadable

    def paths(self) -> list[str]:
        """All of them, also those that cannot be read or are gone."""
        found = list(dict.fromkeys([*find_files(self._folder), *self._elsewhere()]))
        self._by_id = {video_id(path): path for path in found}
        return found

    def path_of(self, id: str) -> str:
        """The path of a video, which need not be readable.

        Raises:
            ProjectError: there is none of this id.
        """
        path = self._by_id.get(id)
        if path is None or not (self._folder / path).exists():
            self.paths()
            path = self._by_id.get(id)
        if path is None:
            raise ProjectError(f"{plain(str(id))}: no such video in the project")
        return path

    def facts(self, path: str) -> Facts:
        """What a video is.

        Raises:
            VideoError: it cannot be read.
            ProjectError: its name cannot be used, or it lies elsewhere.
        """
        if not is_harmless(path):
            raise ProjectError(f"{path!r}: has control characters in its name; rename it")
        require_within(self._folder / path, [self._folder, *self._videos_folders])
        return self._cache.facts(path, self._folder / path)

    def take_in(self, copy: Path, name: str, marked: Collection[str]) -> str:
        """Move a file into `videos/`; its path there.

        Args:
            copy: within the project, so that it is there as a whole or not at all.
            name: a number is put behind it where another video has it.
            marked: paths of videos that may be gone and come back.

        Raises:
            OSError: it cannot be moved.
        """
        taken = [Path(path).name for path in (*self.paths(), *marked)]
        path = f"{VIDEOS_FOLDER}/{safe_name(name, taken)}"
        target = self._folder / path
        target.parent.mkdir(exist_ok=True)
        copy.rename(target)
        sync_folder(target.parent)
        return path

    def path_elsewhere(self, file: Path) -> str:
        """The path of a video below a `--videos` folder that the project has not yet.

        Raises:
            ProjectError: it lies elsewhere, is no video by its name, or is in the project already.
        """
        place = file.absolute()
        require_within(place, self._videos_folders)
        path = os.path.normpath(place.as_posix())
        if not is_harmless(path) or place.suffix.lower() not in VIDEO_SUFFIXES:
            raise ProjectError(f"{plain(path)!r}: is not the name of a video")
        for one in self.paths():
            if os.path.realpath(self._folder / one) == os.path.realpath(path):
                raise ProjectError(f"{path}: is in the project already, as {one}")
        return path

    def is_elsewhere(self, path: str) -> bool:
        """Whether it lies outside of the project."""
        return path in self._elsewhere()

    def places_aside(self, path: str) -> tuple[Path, Path]:
        """Where in `.removed/` there is room for a video and for its rows.

        Raises:
            OSError: there can be no such folder.
        """
        name = Path(path).name
        if self.is_elsewhere(path):
            name = f"{video_id(path)}-{name}"
        return place_aside(self._folder, name)
