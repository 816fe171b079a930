"""What a labelled data set is, and how one is opened."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from actionrnn.errors import DatasetError
from actionrnn.plain_text import is_harmless, readable


@dataclass(frozen=True)
class Clip:
    """One labelled video."""

    path: Path
    key: str
    """Its name within the data set; also its entry in a feature store."""
    label: str
    group: str
    """Clips of one group (person, scene) never stand on both sides of a split."""
    split: str | None = None
    """`train` or `test`, where the data set itself says so."""
    start_seconds: float | None = None
    end_seconds: float | None = None
    """The part of the video that is the clip; None: from the first frame, to the last."""

    def __post_init__(self) -> None:
        """Labels and groups have one spelling; paths and keys stay as they are on the disk."""
        object.__setattr__(self, "label", readable(self.label))
        object.__setattr__(self, "group", readable(self.group))


@dataclass(frozen=True)
class Dataset:
    """Labelled videos below one root."""

    root: Path
    clips: tuple[Clip, ...]
    """Sorted by key."""

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
