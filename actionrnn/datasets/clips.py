"""What a labelled data set is, and how one is opened."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from actionrnn.errors import DatasetError
from actionrnn.text import is_harmless, readable

Side = Literal["train", "validation", "test"]
"""Of a division that the data itself gives."""
SIDES: tuple[Side, ...] = get_args(Side)
SIDE_NAMES: dict[str, Side] = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validate", "validation", "dev"), "validation"),
    **dict.fromkeys(("test", "testing", "eval", "evaluation"), "test"),
}
"""How lists and folders call them, in lower case."""


@dataclass(frozen=True)
class Clip:
    """One labelled video."""

    path: Path
    key: str
    """Its name within the data set; also its entry in a feature store."""
    label: str
    group: str
    """Clips of one group (person, scene) never stand on both sides of a split."""
    split: Side | None = None
    """Where the data set itself says it."""
    start_seconds: float | None = None
    end_seconds: float | None = None
    """The part of the video that is the clip; None: from the first frame, to the last."""

    def __post_init__(self) -> None:
        """Labels and groups have one spelling; paths and keys stay as they are on the disk."""
        object.__setattr__(self, "label", readable(self.label))
        object.__setattr__(self, "group", readable(self.group))

    @property
    def video_key(self) -> str:
        """The key of the whole video, of which the clip may be a part."""
        return self.key.removesuffix(part_name(self.start_seconds, self.end_seconds))


@dataclass(frozen=True)
class Dataset:
    """Labelled videos below one root."""

    root: Path
    clips: tuple[Clip, ...]
    """Sorted by key."""
    notes: tuple[str, ...] = ()
    """What whoever reads the scores must know of the data, in one line each."""
    grouped: bool = True
    """False: each video is a group of its own, or with its copies."""

    def __post_init__(self) -> None:
        if not self.clips:
            raise DatasetError(f"{self.root}: holds no labelled video")
        for label in self.labels:
            if not is_harmless(label):
                raise DatasetError(
                    f"{self.root}: {label!r} is no class name, as control characters could act "
                    "on a terminal; rename it"
                )

    @property
    def labels(self) -> tuple[str, ...]:
        """The class names, sorted."""
        return tuple(sorted({clip.label for clip in self.clips}))

    @property
    def groups(self) -> tuple[str, ...]:
        """The group names, sorted."""
        return tuple(sorted({clip.group for clip in self.clips}))


def part_name(start_seconds: float | None, end_seconds: float | None) -> str:
    """What a key ends with, to tell the parts of one video apart.

    >>> part_name(10.0, 20.5)
    '@10-20.5'
    """
    if start_seconds is None and end_seconds is None:
        return ""
    bounds = (start_seconds, end_seconds)
    texts = ("" if seconds is None else format(seconds, ".15g") for seconds in bounds)
    return "@" + "-".join(texts)


def unique_clips(clips: Iterable[Clip]) -> tuple[Clip, ...]:
    """The clips sorted by key.

    Raises:
        DatasetError: two clips share a key.
    """
    ordered = tuple(sorted(clips, key=lambda clip: clip.key))
    for before, after in itertools.pairwise(ordered):
        if before.key == after.key:
            raise DatasetError(
                f"{before.path} and {after.path} share the name {after.key!r}; rename one"
            )
    return ordered


def group_of(name: str, key: str, pattern: str | None) -> str:
    """What the pattern's first bracket finds in a file's name; without a pattern, the key.

    A pattern with a `/` is searched in the key, which has the folders above the file.

    Raises:
        DatasetError: the name does not match, or the bracket finds nothing.
    """
    if pattern is None:
        return key
    match = re.search(pattern, key if "/" in pattern else name)
    group = next((found for found in match.groups() if found), None) if match else None
    if group is None:
        raise DatasetError(
            f"{name}: does not match data.group_pattern {pattern!r}; "
            "its first bracket must find the clip's group"
        )
    return group
