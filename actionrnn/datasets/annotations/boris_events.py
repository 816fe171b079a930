"""From the key presses of a BORIS observation to marks on each video's own clock.

BORIS counts time over all the files that an observation plays one after the other, adds the
observation's time offset, and writes no interval: a state's presses alternate between START and
STOP. The rules are those of BORIS 9.15's source (write_event.py, project_functions.py,
observation_operations.py).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from actionrnn.datasets.annotations.marks import Mark, Marks, ReadOptions, Span
from actionrnn.datasets.video_names import VideoNames
from actionrnn.errors import DatasetError
from actionrnn.text import plain
from actionrnn.video.declared import declared_span

START, STOP, POINT = "START", "STOP", "POINT"
_CALENDAR_SECONDS = 1e8  # three years: no recording lasts that long, so it is a date
_TOTAL_TOLERANCE = 0.05  # seconds for each queued file, which tools round differently


@dataclass(frozen=True)
class Observation:
    """One session of coding, and what its clock runs over."""

    name: str
    files: tuple[str, ...] = ()
    """What the first player plays, one after the other; none: a live observation."""
    lengths: tuple[float | None, ...] = ()
    """Of each file, in seconds; None: the file of annotations does not say."""
    offset_seconds: float = 0.0
    """BORIS has added it to every time."""
    total_seconds: float | None = None
    """Of all files together, where that is all that is said."""

    def pieces(self, span: Span) -> Iterator[tuple[str, float, float]]:
        """The video, start and end of each part of a span on the observation's clock."""
        start, end = (seconds - self.offset_seconds for seconds in span)
        if not self.files:
            yield "", _rounded(start), _rounded(end)
            return
        begins = self._begins()
        for name, begin, until in zip(self.files, begins, [*begins[1:], math.inf], strict=True):
            first, last = max(start, begin) if begin else start, min(end, until)
            if first < last or (start == end and (begin or -math.inf) <= start < until):
                yield name, _rounded(first - begin), _rounded(last - begin)

    def _begins(self) -> list[float]:
        """When each file begins; BORIS cuts its length off to milliseconds."""
        begins = [0.0]
        for length in self.lengths[: len(self.files) - 1]:
            assert length is not None, "see with_lengths"
            begins.append(_rounded(begins[-1] + math.floor(_rounded(1000 * length)) / 1000))
        return begins


@dataclass(frozen=True)
class Bout:
    """A state from start to end, or a point, on the observation's clock."""

    observation: Observation
    label: str
    start: float
    end: float
    is_point: bool
    subject: str = ""
    tier: str = ""
    extra: Mapping[str, str] = field(default_factory=dict, hash=False)
    where: str = field(default="", compare=False)


@dataclass(frozen=True)
class Press:
    """One key press: a point, or the begin or end of a state."""

    bout: Bout
    """What it begins; its end is not known yet."""
    kind: str
    """START, STOP or POINT; empty: one or the other of the first two, whose turn it is."""


@dataclass(frozen=True)
class Coded:
    """What a file of BORIS holds, whatever its layout."""

    format: str
    bouts: Sequence[Bout]
    notes: Sequence[str] = ()
    looked_at: Sequence[tuple[Observation, Span]] = ()


def pair(presses: Iterable[Press]) -> tuple[list[Bout], list[str]]:
    """The bouts in the order in which they begin in the file, and a note of unpaired presses.

    Pairs have the same observation, subject, behaviour and modifiers, and alternate in time.
    """
    found: dict[int, Bout] = {}
    alone: list[Bout] = []
    by_key: dict[tuple[Observation, str, str, str], list[tuple[int, Press]]] = defaultdict(list)
    for index, press in enumerate(presses):
        bout = press.bout
        if press.kind == POINT:
            found[index] = replace(bout, end=bout.start, is_point=True)
        else:
            modifiers = bout.extra.get("modifiers", "")
            key = bout.observation, bout.subject, bout.label, modifiers
            by_key[key].append((index, press))
    for of_key in by_key.values():
        opened: tuple[int, Bout] | None = None
        for index, press in sorted(of_key, key=lambda one: one[1].bout.start):
            bout = press.bout
            kind = press.kind or (START if opened is None else STOP)
            if kind == START:
                alone += [opened[1]] if opened else []
                opened = index, bout
            elif opened is None:
                alone.append(bout)
            else:
                found[opened[0]] = _ended(opened[1], bout)
                opened = None
        alone += [opened[1]] if opened else []
    notes = []
    if alone:
        first = min(alone, key=lambda bout: bout.start)
        notes.append(
            f"{len(alone)} presses have no START or no STOP to go with them and are dropped, as "
            f"BORIS does with what it calls not paired (the first: {_shown(first)})"
        )
    return [found[index] for index in sorted(found)], notes


def to_marks(file: Path, coded: Coded, options: ReadOptions) -> Marks:
    """The marks of all observations, each on the clock of its own video.

    Raises:
        DatasetError: queued files have no length, or the times are those of a calendar.
    """
    observations = [bout.observation for bout in coded.bouts] + [one for one, _ in coded.looked_at]
    known: dict[Observation, Observation] = {}
    notes = [*coded.notes]
    for observation in dict.fromkeys(observations):
        known[observation], of_lengths = with_lengths(observation, file, options)
        notes += of_lengths
    bouts = [replace(bout, observation=known[bout.observation]) for bout in coded.bouts]
    bouts, of_states = _tidied(bouts)
    marks, of_marks = _on_videos(file, bouts)
    looked_at: dict[str, dict[Span, None]] = defaultdict(dict)  # each once, in their order
    for observation, span in coded.looked_at:
        for video, start, end in known[observation].pieces(span):
            looked_at[video][start, end] = None
    lengths = {
        name: length
        for observation in known.values()
        for name, length in zip(observation.files, observation.lengths, strict=True)
        if length is not None
    }
    return Marks(
        file,
        coded.format,
        tuple(marks),
        {video: tuple(of_video) for video, of_video in looked_at.items()},
        lengths,
        (*notes, *of_states, *of_marks),
    ).chosen(options)


def _on_videos(file: Path, bouts: Sequence[Bout]) -> tuple[list[Mark], list[str]]:
    """The marks of the bouts, cut where one queued file ends, and notes."""
    marks: list[Mark] = []
    cut = []
    for bout in bouts:
        if bout.start - bout.observation.offset_seconds > _CALENDAR_SECONDS:
            raise DatasetError(
                f"{file}: {_shown(bout)} is a date, not a time of the video (BORIS's media "
                "creation date as offset); read the project (.boris), which has these dates"
            )
        pieces = [*bout.observation.pieces((bout.start, bout.end))]
        cut += [bout] if len(pieces) > 1 else []
        extra = {**bout.extra, "observation": bout.observation.name}
        marks += [
            Mark(bout.label, start, end, video, bout.subject, bout.tier, extra, bout.where)
            for video, start, end in pieces
        ]
    notes = []
    if cut:
        notes.append(
            f"{len(cut)} states run over the border of two queued files and are cut there (the "
            f"first: {_shown(cut[0])})"
        )
    live = [mark.extra["observation"] for mark in marks if not mark.video]
    if live:
        notes.append(
            f"{len(live)} marks of {len({*live})} live observations have no video (the first: "
            f"{plain(live[0])!r})"
        )
    return marks, notes


def with_lengths(
    observation: Observation, file: Path, options: ReadOptions
) -> tuple[Observation, tuple[str, ...]]:
    """The observation with the length of every file that others follow, and a note.

    Raises:
        DatasetError: one is neither said nor found among the videos, or the lengths do not add
            up to the total that is said.
    """
    files, lengths = observation.files, list(observation.lengths)
    if len(files) < 2 or None not in lengths[:-1]:
        return observation, ()
    folder = options.videos or file.parent
    videos = VideoNames(folder, elsewhere=True)
    for index, name in enumerate(files):
        if lengths[index] is None and videos.has(name):
            lengths[index] = declared_span(videos.find(name)[0])[1]
    needed = files if observation.total_seconds is not None else files[:-1]
    missing = next((name for name, one in zip(needed, lengths, strict=False) if one is None), None)
    what = f"{file}: observation {plain(observation.name)!r} counts time over {len(files)} files"
    if missing is not None:
        raise DatasetError(
            f"{what} and does not say how long {missing!r} is, which is not in {folder} either; "
            "say where the videos are, read the project (.boris), or export by BORIS 8 or newer"
        )
    total, said = sum(length or 0 for length in lengths), observation.total_seconds
    if said is not None and abs(total - said) > _TOTAL_TOLERANCE * len(files):
        raise DatasetError(
            f"{what} that last {said:g} s together, but {', '.join(files)} in {folder} last "
            f"{total:g} s; read the project (.boris), or export by BORIS 8 or newer"
        )
    told = (
        f"observation {plain(observation.name)!r} does not say how long its {len(files)} files "
        f"are; the videos in {folder} do",
    )
    return replace(observation, lengths=tuple(lengths)), told


def _tidied(bouts: Sequence[Bout]) -> tuple[list[Bout], list[str]]:
    """Without states that last no time, and without BORIS's gaps between exclusive states."""
    kept = [bout for bout in bouts if bout.is_point or bout.start < bout.end]
    notes = []
    if len(kept) < len(bouts):
        first = next(bout for bout in bouts if not bout.is_point and bout.start >= bout.end)
        notes.append(
            f"{len(bouts) - len(kept)} states end where they begin or before, and are dropped "
            f"(the first: {_shown(first)})"
        )
    begins = {
        (bout.observation, bout.subject, _milliseconds(bout.start)): bout.start
        for bout in kept
        if not bout.is_point
    }
    closed = 0
    for index, bout in enumerate(kept):
        after = bout.observation, bout.subject, _milliseconds(bout.end) + 1
        if not bout.is_point and after in begins:
            kept[index] = replace(bout, end=begins[after])
            closed += 1
    if closed:
        notes.append(f"{closed} gaps of 1 ms, which BORIS leaves between exclusive states, closed")
    return kept, notes


def _ended(begin: Bout, end: Bout) -> Bout:
    """The bout from one press to the other; the second one's comment stays beside the first's."""
    comment = end.extra.get("comment")
    extra = {**begin.extra, **({"comment stop": comment} if comment else {})}
    return replace(begin, end=end.start, extra=extra)


def _shown(bout: Bout) -> str:
    place = plain(bout.observation.name)
    return f"{plain(bout.label)} at {bout.start:.3f} s of observation {place!r}"


def _milliseconds(seconds: float) -> int:
    return round(1000 * seconds)


def _rounded(seconds: float) -> float:
    """To microseconds: BORIS writes milliseconds, and a difference of two is no longer one."""
    return round(seconds, 6)
