"""The files of a project's videos: found, taken in under a safe name, set aside."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
import unicodedata
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import IO

from actionrnn.apps.studio.videos import CACHE_FOLDER, facts_of
from actionrnn.errors import ProjectError, VideoError
from actionrnn.features.decoder_messages import Message
from actionrnn.features.worker import Isolation
from actionrnn.options import VideoLimits
from actionrnn.text import is_harmless, plain
from actionrnn.video.finding import VIDEO_SUFFIXES

VIDEOS_FOLDER = "videos"
REMOVED_FOLDER = ".removed"
STAGED = "studio-new-"
"""The beginning of the folders in `.cache/` of videos that are being added."""

LONGEST_STEM = 80


def find_files(folder: Path) -> list[str]:
    """The paths of the video files in `videos/` and below, relative to the project, sorted."""
    found = []
    for above, folders, names in os.walk(folder / VIDEOS_FOLDER):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            if not name.startswith(".") and Path(name).suffix.lower() in VIDEO_SUFFIXES:
                found.append(Path(above, name).relative_to(folder).as_posix())
    return sorted(found)


def require_within(file: Path, folders: Sequence[Path]) -> None:
    """Refuse what leads out of all of these folders, or is there and no file.

    Raises:
        ProjectError: it does.
    """
    try:
        real = file.resolve()
    except (OSError, RuntimeError):
        raise ProjectError(f"{plain(str(file))}: is a link that leads nowhere; remove it") from None
    if not any(real.is_relative_to(folder.resolve()) for folder in folders):
        raise ProjectError(
            f"{plain(str(file))}: lies outside of the project; name its folder with --videos"
        )
    if real.exists() and not real.is_file():  # reading a pipe would never end
        raise ProjectError(f"{plain(str(file))}: is no file with a video; remove it")


def safe_name(name: str, taken: Collection[str]) -> str:
    """A name for a file in `videos/`: without folders, and with a stem that no other has.

    Args:
        name: as the visitor calls it.
        taken: names that are there, or may come back.

    Raises:
        ProjectError: it is none, or its ending is not that of a video.
    """
    last = unicodedata.normalize("NFC", re.split(r"[/\\]", name)[-1])
    last = "".join(c for c in last if is_harmless(c) and c not in '<>:"|?*').strip().lstrip(".")
    stem, suffix = os.path.splitext(last)  # noqa: PTH122
    if not stem or suffix.lower() not in VIDEO_SUFFIXES:
        raise ProjectError(
            f"{plain(name)!r}: is not the name of a video; it must end in .mp4, .webm, .avi or "
            "another usual ending"
        )
    with contextlib.suppress(UnicodeEncodeError):
        while len(stem.encode()) > LONGEST_STEM:
            stem = stem[:-1]
    stem = stem.strip()
    stems = {os.path.splitext(one)[0].casefold() for one in taken}  # noqa: PTH122
    chosen, number = stem, 1
    while chosen.casefold() in stems:
        number += 1
        chosen = f"{stem}-{number}"
    return chosen + suffix.lower()


@contextlib.contextmanager
def staged(
    folder: Path, content: Path | IO[bytes], name: str, isolation: Isolation
) -> Iterator[Path]:
    """A copy of a video that was looked at, within the project, to be moved to its place.

    Args:
        folder: of the project.
        content: a file, or what it holds.
        name: a `safe_name`.
        isolation: the bounds within which it is looked at.

    Raises:
        VideoError: it is not a video that can be read.
        OSError: it cannot be written.
    """
    (folder / CACHE_FOLDER).mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=STAGED, dir=folder / CACHE_FOLDER) as place:
        copy = Path(place, name)
        with contextlib.ExitStack() as stack:
            opened = (
                stack.enter_context(content.open("rb")) if isinstance(content, Path) else content
            )
            written = stack.enter_context(copy.open("wb"))
            shutil.copyfileobj(opened, written, 1 << 20)
            written.flush()
            os.fsync(written.fileno())
        try:
            for _ in isolation.messages(_look_at, copy):
                continue
        except VideoError as error:
            raise VideoError(str(error).replace(str(copy), name)) from None
        yield copy


def _look_at(path: Path, limits: VideoLimits) -> Iterator[Message]:
    facts_of(path, limits)
    yield "end", {}


def place_aside(folder: Path, name: str) -> tuple[Path, Path]:
    """Where in `.removed/` a video of this name has room, and its rows.

    Raises:
        OSError: there can be no such folder.
    """
    removed, of = folder / REMOVED_FOLDER, PurePosixPath(name)
    removed.mkdir(exist_ok=True)
    number, video = 1, removed / name
    while os.path.lexists(video) or os.path.lexists(f"{video}.csv"):
        number += 1
        video = removed / f"{of.stem}-{number}{of.suffix}"
    return video, Path(f"{video}.csv")
