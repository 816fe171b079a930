"""What the folders above a clip say: its class, and on which side of a division it is."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from actionrnn.config import LabelLevel
from actionrnn.datasets.clips import SIDE_NAMES, Side
from actionrnn.errors import DatasetError
from actionrnn.video.finding import FoundVideos

Folders = tuple[str, ...]
"""The folders between the data set's root and a clip, from the outermost on."""

_SIDE_NAME = re.compile(
    rf"({'|'.join(SIDE_NAMES)})([-_. ]?(set|split|data|videos?|clips?|frames?|\d+))*", re.IGNORECASE
)


@dataclass(frozen=True)
class Places:
    """What was read of each clip's folders."""

    labels: tuple[str, ...]
    sides: tuple[Side | None, ...]
    notes: tuple[str, ...]
    class_depth: int | None
    """How many folders deep the class folders are; None: they end where the clips begin."""


def read_places(root: Path, clips: Sequence[Folders], level: LabelLevel | None) -> Places:
    """The class of each clip, each in at least one folder; and its side, if folders say one.

    Folders called train, val and test that hold class folders are the division. Below them, or
    below the root, the class is the folder at `level`. None: the first one, unless a class could
    as well be divided into several.

    Raises:
        DatasetError: it is not clear what is a class, or a clip has no folder at that level.
    """
    sides, notes = find_sides(root, clips, level)
    depth = 1 if sides else 0
    below = [folders[depth:] for folders in clips]
    if level is None:
        _require_one_reading(root, below)
    place = -1 if level == "last" else (level or 1) - 1
    for folders, inner in zip(clips, below, strict=True):
        if len(inner) <= place:
            raise DatasetError(
                f"{root.joinpath(*folders)}: holds videos, but no class folder as "
                f"data.label_level={level} says; choose another level, or move them"
            )
    return Places(
        labels=tuple(inner[place] for inner in below),
        sides=tuple(sides.get(folders[0]) for folders in clips),
        notes=(*notes, *_unused_sides(clips, depth)),
        class_depth=None if level == "last" else depth + place + 1,
    )


def _unused_sides(clips: Sequence[Folders], depth: int) -> Iterator[str]:
    """A line on folders below the first that are called like the sides of a division."""
    for level in range(depth, max(map(len, clips))):
        names = {folders[level] for folders in clips if len(folders) > level}
        named = sorted(name for name in names if _side_of(name) is not None)
        if len({_side_of(name) for name in named}) > 1:
            yield (
                f"folders called {' and '.join(named)} are not used as a division: only those "
                "right below data.root are; name that folder, or give a list"
            )


def find_sides(
    root: Path, clips: Sequence[Folders], level: LabelLevel | None = None, *, named: bool = False
) -> tuple[dict[str, Side], tuple[str, ...]]:
    """The side that each of the outermost folders is, and a note; empty if they are no division.

    Args:
        named: the clips' names say their classes, so they need no class folders.

    Raises:
        DatasetError: some of the folders look like a division, but not all of them; and `level`
            does not say that the outermost folders are the classes.
    """
    count = Counter(folders[0] for folders in clips if folders)
    sides = {name: side for name in sorted(count) if (side := _side_of(name)) is not None}
    if len(set(sides.values())) < 2:
        return {}, ()
    others = sorted(count.keys() - sides.keys())
    bare = [] if named else sorted({folders[0] for folders in clips if len(folders) == 1})
    if not others and not bare and all(clips):
        return sides, (_describe(root, sides, count),)
    if level == 1:
        return {}, ()
    problem = f"{others[0]} beside them does not" if others else "a clip beside them does not"
    if bare:
        problem = f"{bare[0]} holds videos in no class folder"
    raise DatasetError(
        f"{root}: {' and '.join(sides)} look like a division, but {problem}; take it out, give a "
        "list (data.layout=manifest), or say with data.label_level=1 that these are classes"
    )


def require_no_class_lost(found: FoundVideos, class_depth: int | None) -> tuple[str, ...]:
    """Notes on folders that hold other things; those that could be a class are refused.

    Raises:
        DatasetError: a class folder has no video that is found.
    """
    notes = []
    for folder in found.without_videos:
        depth = len(folder.path.relative_to(found.root).parts)
        if class_depth is not None and depth > class_depth:
            continue
        if folder.may_hide_videos:
            raise DatasetError(
                f"{folder.path}: {folder.reason}; its class would be missing, so put videos "
                f"there, or take the folder out of {found.root}"
            )
        notes.append(f"left out: {folder.path} ({folder.reason})")
    return (*found.unreadable.values(), *found.notes, *notes)


def _side_of(folder: str) -> Side | None:
    match = _SIDE_NAME.fullmatch(folder)
    return SIDE_NAMES[match[1].lower()] if match else None


def _describe(root: Path, sides: dict[str, Side], count: Counter[str]) -> str:
    parts = ", ".join(f"{name} {count[name]}" for name in sides)
    return f"the folders of {root} are a division of its clips: {parts}"


def _require_one_reading(root: Path, clips: Sequence[Folders]) -> None:
    """Refuse classes whose clips all lie in folders of their own, of which there are several."""
    inner: dict[str, set[str | None]] = defaultdict(set)
    for folders in clips:
        inner[folders[0]].add(folders[1] if len(folders) > 1 else None)
    for name in sorted(inner):
        parts = sorted(part for part in inner[name] if part is not None)
        if None in inner[name] or len(parts) < 2:
            continue
        alone = f", data.root={root / name} for what is in it" if len(inner) == 1 else ""
        raise DatasetError(
            f"{root}: are the classes {name}, ... or {parts[0]}, {parts[1]}, ...? {name} holds its "
            f"videos in folders; set data.label_level=1 for the first{alone}, or "
            "data.label_level=last for the folder that a clip lies in"
        )
