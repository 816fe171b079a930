"""Which videos are extracted, what their entries are called, and which process does which."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from actionrnn.config import Sampling
from actionrnn.errors import ConfigError, VideoError
from actionrnn.video.address import masked
from actionrnn.video.finding import clip_key, find_videos
from actionrnn.video.image_folder import is_folder
from actionrnn.video.source import require_file, why_unreadable

Item = TypeVar("Item")

# SLURM_NTASKS is set in the batch script, too, which is one process; the step's by srun alone
_LAUNCHERS = (("RANK", "WORLD_SIZE"), ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS"))


@dataclass(frozen=True)
class VideoPart:
    """A video, or a part of one, that is encoded, and the name of its entry in a store."""

    key: str
    path: Path
    start_seconds: float | None = None
    end_seconds: float | None = None
    """The part that is the clip; None: from the first frame, to the last."""
    problem: str = ""
    """Why it cannot be used, if that is known already."""

    def sampling(self, sampling: Sampling) -> Sampling:
        """Where to look in the video: in the clip's part, if it is only a part."""
        if self.start_seconds is None and self.end_seconds is None:
            return sampling
        return replace(sampling, start_seconds=self.start_seconds, end_seconds=self.end_seconds)


def find_sources(inputs: Sequence[str | Path]) -> tuple[list[VideoPart], tuple[str, ...]]:
    """The videos behind files and folders, with keys that mirror the folders; and notes.

    A key has no ending (`run/ido`), but where it would stand for two files of one folder
    (`ido.avi`, `ido.mp4`); where it would stand for files of two given folders, the folder's name
    is put before it. An input that is missing or holds no video is a source with a problem, and so
    is a folder that may not be read.

    Raises:
        VideoError: no input holds a video.
    """
    found: dict[Path, Path] = {}  # video -> below which folder
    problems: list[VideoPart] = []
    notes: list[str] = []
    for given in inputs:
        item = Path(masked(str(given)))  # for errors
        try:
            item = require_file(given, "stored features name the file that they are of")
            if not is_folder(item):
                found[_existing(item)] = item.parent
                continue
            below = find_videos(item)
        except VideoError as error:
            problems.append(VideoPart(str(item), item, problem=str(error)))
            continue
        found |= dict.fromkeys(below.paths, item.parent if below.paths == (item,) else item)
        problems += [
            VideoPart(str(path), path, problem=why) for path, why in below.unreadable.items()
        ]
        notes += below.notes
    if problems and not found:
        raise VideoError(problems[0].problem)
    sources = [VideoPart(key, path) for path, key in _keys(found).items()]
    return [*sources, *problems], tuple(notes)


def _keys(found: Mapping[Path, Path]) -> dict[Path, str]:
    """For each video, below its folder, the shortest name that it shares with no other."""
    once: dict[str, Path] = {}
    for path in found:
        once.setdefault(os.path.abspath(path), path)  # noqa: PTH100 keeps links
    names = {path: _names(path, found[path]) for path in once.values()}
    rank = dict.fromkeys(names, 0)
    while True:
        keys = {path: names[path][rank[path]] for path in names}
        count = Counter(keys.values())
        shared = [path for path, key in keys.items() if count[key] > 1]
        if not shared:
            return keys
        for path in shared:
            rank[path] = min(rank[path] + 1, len(names[path]) - 1)


def _names(path: Path, base: Path) -> list[str]:
    """`x`, `x.mp4`, `a/x`, `a/x.mp4`, ... up to the whole path."""
    short, long = clip_key(path, base), path.relative_to(base).as_posix()
    above = Path(os.path.abspath(base)).parts[1:]  # noqa: PTH100
    folders = ["/".join((*above[len(above) - i :], "")) for i in range(len(above) + 1)]
    return [folder + name for folder in folders for name in (short, long)]


def _existing(path: Path) -> Path:
    try:
        if path.exists():
            return path
    except OSError as error:
        raise VideoError(f"{path}: {why_unreadable(error)}") from None
    raise VideoError(f"{masked(str(path))}: no such file or folder; check the path")


def share_of_rank(items: Sequence[Item]) -> list[Item]:
    """Every n-th item, where torchrun or SLURM's srun started n processes; else all.

    Raises:
        ConfigError: the launcher's variables are not numbers, or impossible.
    """
    for rank_name, size_name in _LAUNCHERS:
        rank, size = os.environ.get(rank_name), os.environ.get(size_name)
        if rank is None or size is None:
            continue
        if not (rank.isdecimal() and size.isdecimal() and int(rank) < int(size)):
            raise ConfigError(
                f"{rank_name} ({rank}) must be a number below {size_name} ({size}); "
                "unset them, or start the processes with torchrun or srun"
            )
        return list(items[int(rank) :: int(size)])
    return list(items)
