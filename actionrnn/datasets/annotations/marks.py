"""What a file of annotations says, whatever tool wrote it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from actionrnn.errors import DatasetError
from actionrnn.text import plain, readable

Span = tuple[float, float]
"""From and until, in seconds on the video's clock; half open."""

TOLERATED_SECONDS = 0.1
"""By which a mark may reach beyond its video without a word: what tools and containers round."""


def united(spans: Iterable[Span]) -> tuple[Span, ...]:
    """The same time in spans that rise and do not touch."""
    found: list[Span] = []
    for begin, end in sorted(spans):
        if found and begin <= found[-1][1]:
            found[-1] = found[-1][0], max(end, found[-1][1])
        elif begin < end:
            found.append((begin, end))
    return tuple(found)


def without(spans: Iterable[Span], taken: Iterable[Span]) -> tuple[Span, ...]:
    """What is left of some spans after others are taken out, in spans that rise."""
    found: list[Span] = []
    cuts, place = united(taken), 0
    for begin, end in united(spans):
        while place < len(cuts) and cuts[place][0] < end:
            start, stop = cuts[place]
            if begin < start:
                found.append((begin, start))
            begin = max(begin, stop)
            if stop > end:  # it may reach into the next span
                break
            place += 1
        if begin < end:
            found.append((begin, end))
    return tuple(found)


@dataclass(frozen=True)
class Mark:
    """A label from start to end, half open, in seconds on the video's own clock.

    A bound of None is the video's own: from its first frame, or to its last.
    """

    label: str
    start_seconds: float | None
    end_seconds: float | None
    video: str = ""
    """Its path or name as the file gives it; empty: the file names none."""
    subject: str = ""
    """Who does it; empty: nobody is named."""
    tier: str = ""
    """The lane that holds the mark: ELAN's tier, BORIS's category, the name of an attribute."""
    extra: Mapping[str, str] = field(default_factory=dict, hash=False)
    """What else the file says of it, by the file's own names: comments, modifiers, columns."""
    where: str = field(default="", compare=False)
    """Its place in the file, for messages: "line 4"."""

    @property
    def is_point(self) -> bool:
        """Whether it is an event without a length; not an empty interval that was a mistake."""
        return self.start_seconds is not None and self.start_seconds == self.end_seconds


@dataclass(frozen=True)
class ReadOptions:
    """What a reader is told beside the file; the default takes what is unambiguous."""

    rate_fps: float | None = None
    """Frames a second, for formats that count frames; None: true frame times of the video, which
    must be found."""
    videos: Path | None = None
    """The folder of the videos; None: that of the file."""
    tiers: tuple[str, ...] = ()
    """Take these tiers alone; empty: those that the format's reader takes by itself."""
    subjects: tuple[str, ...] = ()
    """Take these subjects alone; empty: all."""
    labels: tuple[str, ...] = ()
    """Take these labels (BORIS: behaviours) alone; empty: all."""
    every_tier: bool = False
    """Take all tiers, also those that the default leaves out: the caller chooses among them."""
    annotators: tuple[str, ...] = ()
    """Take the answers of these people or models alone (Label Studio); empty: the only one of each
    video."""


_CHOICES = ("tier", "subject", "label")


@dataclass(frozen=True)
class Marks:
    """All marks of a file, and what its reader left out."""

    file: Path
    format: str
    """The tool and the layout, for people: "BORIS, aggregated events"."""
    marks: tuple[Mark, ...]
    """In the order of the file; they may overlap."""
    looked_at: Mapping[str, tuple[Span, ...]] = field(default_factory=dict)
    """By video: where somebody looked, so that what is unmarked there is none of the labels. A
    video that is missing here: nobody said."""
    duration_seconds: Mapping[str, float] = field(default_factory=dict)
    """By video, where the file tells it."""
    notes: tuple[str, ...] = ()
    """What was dropped, closed or assumed, one line each with its number."""
    has_sides: bool = False
    """Whether `group` and `split` in the marks' `extra` are those of their recordings; else they
    are the file's own words, such as a treatment group."""
    is_on_video_clock: bool = False
    """False: times count from the video's first frame, as players and most tools show them, which
    is the same where a video's clock begins at 0."""

    @property
    def videos(self) -> tuple[str, ...]:
        """The names of all videos, in the order of the file."""
        return tuple(dict.fromkeys([*(mark.video for mark in self.marks), *self.looked_at]))

    def chosen(self, options: ReadOptions) -> Marks:
        """The marks of the tiers, subjects and labels that were asked for.

        Raises:
            DatasetError: the file has no mark of a name that was asked for.
        """
        for what in _CHOICES:
            wanted = tuple(map(readable, getattr(options, f"{what}s")))
            known = Counter(readable(getattr(mark, what)) for mark in self.marks)
            unknown = next((name for name in wanted if name not in known), None)
            if unknown is not None:
                shown = ", ".join(plain(name) or "(none)" for name in known)
                raise DatasetError(f"{self.file}: has no {what} {unknown!r}; there are {shown}")
        return self.among(options)

    def among(self, options: ReadOptions) -> Marks:
        """The same as `chosen`, also if a name that was asked for is not there."""
        kept = self.marks
        for what in _CHOICES:
            wanted = tuple(map(readable, getattr(options, f"{what}s")))
            if wanted:
                kept = tuple(mark for mark in kept if readable(getattr(mark, what)) in wanted)
        return replace(self, marks=kept)


def without_reversed(marks: Sequence[Mark]) -> tuple[tuple[Mark, ...], tuple[str, ...]]:
    """The marks without those that end before they begin, and a note that counts these.

    Points stay: they are events.
    """
    kept = tuple(mark for mark in marks if not _is_reversed(mark))
    number = len(marks) - len(kept)
    if not number:
        return kept, ()
    first = next(mark for mark in marks if _is_reversed(mark))
    where = f"{plain(first.label)} {first.start_seconds:g}-{first.end_seconds:g} s"
    return kept, (f"{number} marks end before they begin and are dropped (the first: {where})",)


def _is_reversed(mark: Mark) -> bool:
    if mark.start_seconds is None or mark.end_seconds is None:
        return False
    return mark.end_seconds < mark.start_seconds
