"""The types of a labelled data set: recordings, their annotations, and the clips they give."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal, get_args

from actionrnn.errors import DatasetError
from actionrnn.text import is_harmless, readable

Side = Literal["train", "validation", "test"]
"""A side of the split that the data itself names."""
SIDES: tuple[Side, ...] = get_args(Side)
SIDE_NAMES: dict[str, Side] = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validate", "validation", "dev"), "validation"),
    **dict.fromkeys(("test", "testing", "eval", "evaluation"), "test"),
}
"""How lists and folders name the sides, in lower case."""
IGNORE = -100
"""The target of a step that has no label: it takes no part in a loss or a score."""
BACKGROUND = "background"
"""The class of what nobody labelled, where `data.unlabelled` makes it one. Where labels may overlap
it is no class: it says that somebody looked, and that no class is on."""
UNLABELLED = ""
"""The label of a part that nobody labelled; no data set can have it as a class."""


@dataclass(frozen=True)
class Annotation:
    """A label for a part of a recording: start <= t < end, in seconds on the video's clock.

    A bound of None is the recording's own: from its first frame, to its last. It is not infinity
    because keys, reports and JSON write it as "no bound".
    """

    label: str
    start_seconds: float | None = None
    end_seconds: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "label", readable(self.label))

    @property
    def suffix(self) -> str:
        """What a clip's key adds to its recording's; empty if the whole recording is annotated.

        >>> Annotation("run", 10.0, 20.5).suffix
        '@10-20.5'
        """
        bounds = (self.start_seconds, self.end_seconds)
        if bounds == (None, None):
            return ""
        return "@" + "-".join("" if bound is None else format(bound, ".15g") for bound in bounds)


@dataclass(frozen=True)
class Recording:
    """One video and what is annotated in it; a trimmed clip has one annotation over all of it.

    Time without an annotation is unlabelled, not background.
    """

    path: Path
    key: str
    """Its name within the data set."""
    group: str
    """Recordings of one group (person, scene) are never on both sides of a split."""
    split: Side | None = None
    """The side that the data set itself names."""
    annotations: tuple[Annotation, ...] = ()
    """In the order of their source; they may overlap."""

    def __post_init__(self) -> None:
        """Groups have one spelling; paths and keys stay as they are on the disk."""
        object.__setattr__(self, "group", readable(self.group))

    @classmethod
    def trimmed(
        cls, path: Path, key: str, label: str, group: str, split: Side | None = None
    ) -> Recording:
        """A recording that has one label from its first frame to its last."""
        return cls(path, key, group, split, (Annotation(label),))

    @property
    def clips(self) -> tuple[Clip, ...]:
        """A clip for each annotation."""
        return tuple(Clip(self, annotation) for annotation in self.annotations)

    @property
    def parts(self) -> tuple[Annotation, ...]:
        """All of the recording by begin: the annotations, and what none covers as `UNLABELLED`.

        >>> run = Annotation("run", 10.0, 20.5)
        >>> [part.suffix for part in Recording(Path("v.mp4"), "v", "v", None, (run,)).parts]
        ['@-10', '@10-20.5', '@20.5-']
        """
        found: list[Annotation] = []
        reached = -math.inf
        for annotation in sorted(self.annotations, key=begin_of):
            if begin_of(annotation) > reached:
                found.append(Annotation(UNLABELLED, _bound(reached), annotation.start_seconds))
            found.append(annotation)
            reached = max(reached, end_of(annotation))
        if reached < math.inf:
            found.append(Annotation(UNLABELLED, _bound(reached)))
        return tuple(found)

    @property
    def elementary_parts(self) -> tuple[tuple[Annotation, frozenset[str]], ...]:
        """All of the recording in the order of time, cut wherever an annotation begins or ends.

        Returns:
            each part with the set of its labels. A part is called by them, by `BACKGROUND` if
            somebody looked there and saw none, and `UNLABELLED` where no annotation is.

        >>> walk, wave = Annotation("walk", 0.0, 5.0), Annotation("wave", 3.0, 8.0)
        >>> both = Recording(Path("v.mp4"), "v", "v", None, (walk, wave))
        >>> [part.label for part, _ in both.elementary_parts]
        ['', 'walk', 'walk + wave', 'wave', '']
        """
        begins, ends = Counter[tuple[float, str]](), Counter[tuple[float, str]]()
        for one in self.annotations:
            begins[begin_of(one), one.label] += 1
            ends[end_of(one), one.label] += 1
        changes: dict[float, Counter[str]] = {-math.inf: Counter(), math.inf: Counter()}
        for counts, sign in ((begins, 1), (ends, -1)):
            for (seconds, label), number in counts.items():
                changes.setdefault(seconds, Counter())[label] += sign * number
        found, active = [], Counter[str]()
        for start, end in itertools.pairwise(sorted(changes)):
            active.update(changes[start])
            present = {label for label, number in active.items() if number}
            labels = frozenset(present - {BACKGROUND})
            name = name_of(labels) if present else UNLABELLED
            found.append((Annotation(name, _bound(start), _bound(end)), labels))
        return tuple(found)

    def with_background(self, looked_at: Sequence[tuple[float, float]] | None = None) -> Recording:
        """The same recording, where what nobody labelled is `BACKGROUND`.

        Args:
            looked_at: only there, from and until, in seconds; None: everywhere.
        """
        spans = [(-math.inf, math.inf)] if looked_at is None else looked_at
        found = list(self.annotations)
        for part in self.parts:
            if part.label != UNLABELLED:
                continue
            for begin, end in spans:
                start, stop = max(begin, begin_of(part)), min(end, end_of(part))
                if start < stop:
                    found.append(Annotation(BACKGROUND, _bound(start), _bound(stop)))
        return replace(self, annotations=tuple(sorted(found, key=begin_of)))


def _bound(seconds: float) -> float | None:
    """As an annotation says it: None at the recording's own begin and end."""
    return seconds if math.isfinite(seconds) else None


def name_of(labels: Iterable[str]) -> str:
    """What a set of labels is called; `BACKGROUND` if it is empty.

    >>> name_of({"wave", "walk"})
    'walk + wave'
    """
    return " + ".join(sorted(labels)) or BACKGROUND


def tested_as(layout: str | None, *, multi_label: bool) -> str:
    """What each thing is called that a head is tested on: a clip, or a part of a recording.

    Where annotations may overlap, recordings are cut into parts (`Recording.elementary_parts`);
    there are not as many of them as of the annotations.
    """
    return "part" if multi_label and layout == "annotations" else "clip"


def begin_of(annotation: Annotation) -> float:
    """Its start in seconds, as a number to compare."""
    return -math.inf if annotation.start_seconds is None else annotation.start_seconds


def end_of(annotation: Annotation) -> float:
    """Its end in seconds, as a number to compare."""
    return math.inf if annotation.end_seconds is None else annotation.end_seconds


@dataclass(frozen=True)
class Clip:
    """One annotation of a recording: what a head is trained and tested on."""

    recording: Recording
    annotation: Annotation

    @property
    def path(self) -> Path:
        """The recording's file, or folder of pictures."""
        return self.recording.path

    @property
    def key(self) -> str:
        """Its name within the data set, and its entry in a feature store: `v/1@10-20.5`."""
        return self.recording.key + self.annotation.suffix

    @property
    def video_key(self) -> str:
        """The recording's key: `v/1`."""
        return self.recording.key

    @property
    def label(self) -> str:
        """The annotation's."""
        return self.annotation.label

    @property
    def group(self) -> str:
        """The recording's."""
        return self.recording.group

    @property
    def split(self) -> Side | None:
        """The recording's."""
        return self.recording.split

    @property
    def start_seconds(self) -> float | None:
        """The annotation's; None: from the first frame."""
        return self.annotation.start_seconds

    @property
    def end_seconds(self) -> float | None:
        """The annotation's, not part of the clip; None: to the last frame."""
        return self.annotation.end_seconds


@dataclass(frozen=True)
class Dataset:
    """The annotated recordings of one folder or manifest.

    Raises:
        DatasetError: nothing is annotated, two clips or two whole recordings share a key, or a
            label holds control characters.
    """

    root: Path
    recordings: tuple[Recording, ...]
    """Sorted by key."""
    notes: tuple[str, ...] = ()
    """What a reader of the scores must know about the data, in one line each."""
    grouped: bool = True
    """False: each recording is its own group, or shares it with copies only."""
    continuous: bool = False
    """Whether the recordings are trained on and tested as a whole, step by step; else each
    annotation is a clip for itself."""
    multi_label: bool = False
    """Whether the annotations of a recording may overlap (`head.multi_label`)."""

    def __post_init__(self) -> None:
        ordered = tuple(sorted(self.recordings, key=lambda recording: recording.key))
        object.__setattr__(self, "recordings", ordered)
        if not self.clips:
            raise DatasetError(f"{self.root}: holds no labelled video")
        if not self.multi_label:  # there, several labels may have the same time
            _require_own_keys(self.clips)
        if self.continuous:
            _require_own_keys(self.recordings)
        for label in self.labels:
            if not is_harmless(label):
                raise DatasetError(
                    f"{self.root}: the class name {label!r} holds control characters, which could "
                    "act on a terminal; rename it"
                )

    @cached_property
    def clips(self) -> tuple[Clip, ...]:
        """A clip for each annotation, sorted by key."""
        clips = (clip for recording in self.recordings for clip in recording.clips)
        return tuple(sorted(clips, key=lambda clip: clip.key))

    @property
    def clips_name(self) -> str:
        """What `clips` are called where they are counted: see `tested_as`."""
        return "annotations" if self.multi_label else "clips"

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """The class names, sorted; a class's index is its place here."""
        no_class = {BACKGROUND} if self.multi_label else set()
        return tuple(sorted({clip.label for clip in self.clips} - no_class))

    @cached_property
    def groups(self) -> tuple[str, ...]:
        """The group names, sorted."""
        return tuple(sorted({recording.group for recording in self.recordings}))

    def entry_key(self, clip: Clip) -> str:
        """The name of a clip's entry in a feature store: its own, or its whole recording's."""
        return clip.video_key if self.continuous else clip.key

    def keep(self, clips: Iterable[Clip]) -> Dataset:
        """The same data set with the annotations of these clips alone."""
        wanted = {(clip.key, clip.label) for clip in clips}
        recordings = []
        for recording in self.recordings:
            kept = [clip.annotation for clip in recording.clips if (clip.key, clip.label) in wanted]
            if kept:
                recordings.append(replace(recording, annotations=tuple(kept)))
        return replace(self, recordings=tuple(recordings))


def _require_own_keys(ordered: Iterable[Clip | Recording]) -> None:
    for before, after in itertools.pairwise(ordered):
        if before.key == after.key:
            raise DatasetError(
                f"{before.path} and {after.path} share the name {after.key!r}; rename one"
            )
