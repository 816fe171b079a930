"""Whether a folder holds UCF101: every class, group and clip, and each file as long as it says.

With the published lists beside, each missing clip is named. Without them the names themselves
tell a lot: each of the 101 classes has the groups 1 to 25, and each group the clips 1 to n with
n from 4 to 7, 13,320 in all.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from actionrnn.datasets.ucf101 import NUM_CLASSES, NUM_CLIPS, NUM_GROUPS, Ucf101Name, parse_name
from actionrnn.datasets.ucf101_lists import OfficialLists
from actionrnn.errors import VideoError
from actionrnn.progress import progress_bar
from actionrnn.video.decode import iter_frames
from actionrnn.video.finding import find_videos

LEAST_CLIPS_PER_GROUP = 4
MOST_LINES_SHOWN = 20


@dataclass(frozen=True)
class TreeCheck:
    """What a folder has, and what it lacks of UCF101."""

    root: Path
    num_classes: int
    num_clips: int
    lists: OfficialLists | None
    missing: tuple[str, ...]
    """Clips, or whole groups and classes, that are not there."""
    extra: tuple[str, ...]
    """Videos that are not UCF101's, that are there twice, or in another class's folder."""
    empty: tuple[str, ...]
    """Files of zero bytes."""
    unreadable: tuple[str, ...]
    """Files that end too early, or cannot be decoded."""
    misplaced: tuple[str, ...]
    """What the lists say against the group rule."""

    @property
    def lacks_clips(self) -> bool:
        """Whether the archive would bring something."""
        return self.num_clips < NUM_CLIPS or bool(self.missing or self.empty or self.unreadable)

    @property
    def is_complete(self) -> bool:
        """Whether this is UCF101, nothing less and nothing more."""
        return not (self.lacks_clips or self.extra or self.misplaced)

    def __str__(self) -> str:
        lists = "not here" if self.lists is None else f"{self.lists.folder}: {self.lists.sizes()}"
        lines = [
            f"{self.root}: {self.num_clips} of {NUM_CLIPS} clips, "
            f"{self.num_classes} of {NUM_CLASSES} classes",
            f"official lists: {lists}",
        ]
        for name in ("missing", "extra", "empty", "unreadable", "misplaced"):
            found = getattr(self, name)
            lines += [f"{name}: {item}" for item in found[:MOST_LINES_SHOWN]]
            if len(found) > MOST_LINES_SHOWN:
                lines.append(f"{name}: ... and {len(found) - MOST_LINES_SHOWN} more")
        return "\n".join(lines)


def check_tree(
    root: Path, lists: OfficialLists | None = None, *, decode_videos: bool = False
) -> TreeCheck:
    """Compare a folder with what UCF101 must be.

    Each file's header is read; so a download or copy that ended early is seen.

    Args:
        lists: the published lists; they name each clip.
        decode_videos: decode the first frame of each clip, too: a minute or two.
    """
    videos = _find_videos(root)
    clips, extra = _sort_out(root, videos)
    if lists is not None:
        expected = {name.rpartition("/")[2].casefold(): name for name in lists.clips}
        unknown = clips.keys() - expected.keys()
        extra += [f"{_relative(root, clips.pop(stem))} (is in no list)" for stem in unknown]
        missing = list(_missing_of(expected, clips))
    else:
        missing = list(_gaps(clips.values()))
    empty = [path for path in clips.values() if path.is_file() and not path.stat().st_size]
    whole = sorted(set(clips.values()) - set(empty))
    unreadable = _decode_each(root, whole) if decode_videos else _measure_each(root, whole)
    return TreeCheck(
        root=root,
        num_classes=len({name.label for name in map(_name_of, clips.values())}),
        num_clips=len(clips),
        lists=lists,
        missing=tuple(sorted(missing)),
        extra=tuple(sorted(extra)),
        empty=tuple(sorted(_relative(root, path) for path in empty)),
        unreadable=tuple(unreadable),
        misplaced=tuple(lists.disagreements()) if lists else (),
    )


def find_clips(root: Path) -> list[Path]:
    """The videos below a folder that are named as UCF101's are; maybe none."""
    return [path for path in _find_videos(root) if parse_name(path.name) is not None]


def _find_videos(root: Path) -> Sequence[Path]:
    try:
        return find_videos(root).paths
    except VideoError:
        return ()


def _sort_out(root: Path, videos: Sequence[Path]) -> tuple[dict[str, Path], list[str]]:
    """The clips by lower-case stem, and what cannot be one of them."""
    clips: dict[str, Path] = {}
    extra = []
    for path in videos:
        name = parse_name(path.name)
        folder = path.relative_to(root).parts[0]
        if name is None:
            extra.append(f"{_relative(root, path)} (is not named v_<Class>_gNN_cNN)")
        elif path.parent != root and folder.casefold() != name.label.casefold():
            extra.append(f"{_relative(root, path)} (lies in another class's folder)")
        elif name.stem.casefold() in clips:
            extra.append(f"{_relative(root, path)} (is there twice)")
        else:
            clips[name.stem.casefold()] = path
    return clips, extra


def _missing_of(expected: Mapping[str, str], clips: Mapping[str, Path]) -> Iterator[str]:
    """The names of the expected clips that are not there; a class without any in one line."""
    names_of: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for stem, name in expected.items():
        names_of[name.partition("/")[0]].append((stem, name))
    for label, names in names_of.items():
        missing = [name for stem, name in names if stem not in clips]
        if len(missing) == len(names):
            yield f"{label}/* (all {len(names)} clips)"
        else:
            yield from missing


def _gaps(clips: Iterable[Path]) -> Iterator[str]:
    """What is missing for sure, by the names alone."""
    numbers: dict[str, dict[str, set[int]]] = defaultdict(lambda: defaultdict(set))
    for name in map(_name_of, clips):
        numbers[name.label][name.group].add(name.clip)
    if len(numbers) < NUM_CLASSES:
        yield f"{NUM_CLASSES - len(numbers)} of {NUM_CLASSES} classes"
    for label, groups in numbers.items():
        for group in (f"g{number:02d}" for number in range(1, NUM_GROUPS + 1)):
            if group not in groups:
                yield f"{label}/v_{label}_{group}_*"
                continue
            most = max(LEAST_CLIPS_PER_GROUP, *groups[group])
            for number in set(range(1, most + 1)) - groups[group]:
                yield f"{label}/v_{label}_{group}_c{number:02d}"


def _measure_each(root: Path, paths: Sequence[Path]) -> list[str]:
    """AVI files that are no AVI files, or shorter than their header says."""
    found = []
    for path in paths:
        if path.suffix.lower() != ".avi":
            continue
        with path.open("rb") as file:
            header = file.read(12)
        declared_bytes = int.from_bytes(header[4:8], "little") + 8
        size_bytes = path.stat().st_size
        if header[:4] != b"RIFF" or header[8:] != b"AVI ":
            found.append(f"{_relative(root, path)} (is no AVI file)")
        elif size_bytes < declared_bytes:
            found.append(f"{_relative(root, path)} ({size_bytes} of {declared_bytes} bytes)")
    return found


def _decode_each(root: Path, paths: Sequence[Path]) -> list[str]:
    found = _measure_each(root, paths)
    with (
        ThreadPoolExecutor(os.cpu_count() or 1) as pool,
        progress_bar("decoding first frames", len(paths)) as advance,
    ):
        for path, reason in zip(paths, pool.map(_why_undecodable, paths), strict=True):
            if reason is not None:
                found.append(f"{_relative(root, path)} ({reason})")
            advance(note=f"{len(found)} unreadable" if found else "")
    return sorted(found)


def _why_undecodable(path: Path) -> str | None:
    try:
        first = next(iter_frames(path, num_threads=1), None)
        if first is None:
            return "no frame can be decoded"
        first.rgb  # noqa: B018 - whether it can be made
    except VideoError as error:
        return str(error).removeprefix(f"{path}: ")
    return None


def _name_of(path: Path) -> Ucf101Name:
    name = parse_name(path.name)
    assert name is not None
    return name


def _relative(root: Path, path: Path) -> str:
    return path.relative_to(root).as_posix()
