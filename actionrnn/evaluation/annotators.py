"""Two annotators of the same videos side by side, exactly over time.

The first stands for the truth, the second for the prediction. Only the time counts at which both
looked: what lies outside is cut off, and no step or frame rate takes part.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray

from actionrnn.datasets.annotations.marks import Mark, Marks, Span
from actionrnn.datasets.grouping import group_of
from actionrnn.datasets.recordings import BACKGROUND
from actionrnn.errors import DatasetError
from actionrnn.evaluation.agreement import Agreement
from actionrnn.evaluation.bout_scores import bout_scores
from actionrnn.evaluation.bouts import Floats, Tally, match_bouts, stacked
from actionrnn.evaluation.spans import Spans, common_spans, length_of, spans_of
from actionrnn.evaluation.time_scores import SaidOverTime, time_scores
from actionrnn.text import plain

VideoSpans = Mapping[str, tuple[float, float | None]]
"""By name, from when until when a video goes; None: not known."""


@dataclass(frozen=True)
class _Pair:
    """What both say of one video, within the time at which both looked."""

    spans: Spans
    bouts: tuple[Floats, Floats]
    """(P, 3) each: begin, end, number of the label."""


def compare_annotators(
    first: Marks,
    second: Marks,
    *,
    looked_at: Mapping[str, Sequence[Span]] | None = None,
    spans: VideoSpans | None = None,
    groups: Mapping[str, str] | None = None,
) -> Agreement:
    """The scores of a model, of the second annotator, in the videos that both annotated.

    Accuracies, segments and delays over time, and kappa, time budget and matching bouts of each
    label; no average precision, which needs scores to rank by.

    Videos are the same by their names, else by their names without folders and ending; if each file
    is of one video alone, it is taken for the same. Marks with the label `background` say that
    none of the labels is seen. Points, which have no length, are not compared.

    Args:
        looked_at: by the first's name of a video, where both looked; else each file's own. For a
            video of which a file does not say it, its annotator is taken to have looked at all of
            it, or, where its length is not known, from the first begin to the last end of
            all its marks; notes count these videos.
        spans: by a name of a video in either file, from when until when it goes, as it declares
            (`clock.spans_of_videos`); else it is as long as a file says.
        groups: by the first's name of a video, what is drawn for the intervals; None: the videos.

    Raises:
        DatasetError: no video is in both, no time was looked at by both, there is no mark, or a
            mark lasts as long as a video whose length is not known.
    """
    pairs, notes = _same_videos(first, second)
    counts = Counter[str]()
    labels = _labels(first, second)
    if not labels:
        raise DatasetError(f"{first.file} and {second.file}: mark no interval; nothing to compare")
    chosen = [
        _pair(first, second, names, labels, (looked_at or {}).get(names[0]), spans or {}, counts)
        for names in pairs
    ]
    if not sum(length_of(one.spans) for one in chosen):
        raise DatasetError(
            f"{first.file} and {second.file}: there is no time at which both looked; compare files "
            "of the same videos"
        )
    units = [(groups or {}).get(name, name) for name, _ in pairs]
    counted = [place for place, one in enumerate(chosen) if len(one.spans)]
    said = [_said(chosen[place], len(labels)) for place in counted]
    by_video = _tally([chosen[place] for place in counted], said)
    drawn = [units[place] for place in counted]
    is_known = not {_WHOLE, _BY_MARKS} & counts.keys()
    scores = time_scores(said, by_video, drawn, with_false_alarms=is_known)
    tally = by_video.by_unit(drawn)
    return Agreement(
        first=first.file.name,
        second=second.file.name,
        num_videos=len(counted),
        num_groups=len(tally.seconds),
        seconds=round(float(tally.seconds.sum()), 3),
        kappa=scores.kappa,
        kappa_interval=scores.intervals["kappa"],
        scores=scores,
        classes=bout_scores(labels, tally, with_false_alarms=is_known),
        notes=(
            *notes,
            *_of_files(first, second),
            *(f"{number} {what}" for what, number in counts.items()),
        ),
    )


def groups_of(marks: Marks, pattern: str | None) -> dict[str, str]:
    """By video, its group: what a pattern finds, else the column `group` of the CSV, else itself.

    Raises:
        DatasetError: the pattern does not match a video's name.
    """
    said = {mark.video: mark.extra.get("group") for mark in marks.marks if marks.has_sides}
    found = {}
    for video in marks.videos:
        key = video.replace("\\", "/")
        own = said.get(video) if pattern is None else None
        found[video] = own or group_of(PurePosixPath(key).name, key, pattern)
    return found


_WHOLE = "videos of which a file does not say where somebody looked are taken as looked at whole"
_BY_MARKS = (
    "videos of which neither that nor their length is known are taken as looked at from the first "
    "begin to the last end of all marks; say where the videos are (--videos)"
)


def _of_files(first: Marks, second: Marks) -> list[str]:
    """Notes on subjects and labels."""
    notes = []
    for marks in (first, second):
        subjects = sorted({mark.subject for mark in marks.marks} - {""})
        if len(subjects) > 1:
            notes.append(
                f"{marks.file.name}: marks of {len(subjects)} subjects are compared together "
                f"({plain(', '.join(subjects))}); choose one to compare it alone"
            )
    for marks, other in ((first, second), (second, first)):
        only = sorted(set(_labels(marks)) - set(_labels(other)))
        if only:
            names = plain(", ".join(only))
            notes.append(f"{marks.file.name}: has labels that the other never uses: {names}")
    return notes


def _same_videos(first: Marks, second: Marks) -> tuple[list[tuple[str, str]], list[str]]:
    """The names of each video in both files, and notes."""
    mine, theirs = first.videos, second.videos
    if len(mine) == len(theirs) == 1:
        names = [plain(name) or "the unnamed video" for name in (*mine, *theirs)]
        same = _stem(mine[0]) == _stem(theirs[0])
        return [(mine[0], theirs[0])], [] if same else [f"{' and '.join(names)} are taken for one"]
    pairs = [(name, name) for name in mine if name in theirs]
    left = [[name for name in some if (name, name) not in pairs] for some in (mine, theirs)]
    stems = [Counter(map(_stem, some)) for some in left]
    by_stem = {_stem(name): name for name in left[1]}
    pairs += [
        (name, by_stem[_stem(name)])
        for name in left[0]
        if stems[0][_stem(name)] == stems[1][_stem(name)] == 1
    ]
    notes = []
    for which, (marks, some) in enumerate(zip((first, second), left, strict=True)):
        alone = [name for name in some if name not in {pair[which] for pair in pairs}]
        if alone:
            notes.append(
                f"{marks.file.name}: {len(alone)} videos are not in the other file and are left "
                f"out (the first: {plain(alone[0]) or 'without a name'})"
            )
    if not pairs:
        names = [plain(", ".join(some)) or "no video" for some in (mine, theirs)]
        raise DatasetError(
            f"{first.file} and {second.file}: have no video in common ({names[0]}; {names[1]})"
        )
    return pairs, notes


def _stem(video: str) -> str:
    return PurePosixPath(video.replace("\\", "/")).stem


def _labels(*files: Marks) -> list[str]:
    """Of all intervals, in the order of the files."""
    marks = (mark for one in files for mark in one.marks if not mark.is_point)
    return [label for label in dict.fromkeys(mark.label for mark in marks) if label != BACKGROUND]


def _pair(
    first: Marks,
    second: Marks,
    names: tuple[str, str],
    labels: list[str],
    looked_at: Sequence[Span] | None,
    video_spans: VideoSpans,
    counts: Counter[str],
) -> _Pair:
    files = tuple(zip((first, second), names, strict=True))
    kept = []
    for marks, name in files:
        ours = [mark for mark in marks.marks if mark.video == name]
        kept.append([mark for mark in ours if not mark.is_point])
        _count(counts, len(ours) - len(kept[-1]), f"points of {marks.file.name} have no length")
    if looked_at is None:
        spans = reduce(common_spans, _looked_at(files, kept, video_spans, counts))
    else:
        spans = spans_of(looked_at)
    index_of = {label: number for number, label in enumerate(labels)}
    bouts = []
    for (marks, _), some in zip(files, kept, strict=True):
        named = [mark for mark in some if mark.label != BACKGROUND]
        found, num_cut, num_outside = _within(named, spans, index_of)
        _count(counts, num_cut, f"marks of {marks.file.name} are cut where not both looked")
        _count(counts, num_outside, f"marks of {marks.file.name} lie where not both looked")
        bouts.append(found)
    return _Pair(spans, (bouts[0], bouts[1]))


def _count(counts: Counter[str], number: int, what: str) -> None:
    if number:
        counts[what] += number


def _looked_at(
    files: Sequence[tuple[Marks, str]],
    kept: Sequence[Sequence[Mark]],
    video_spans: VideoSpans,
    counts: Counter[str],
) -> list[Spans]:
    """Where each looked, as said or assumed."""
    known = [marks.looked_at.get(name) for marks, name in files]
    given = [spans_of(spans) for spans in known if spans is not None]
    if len(given) == len(known):
        return given
    whole = _whole(files, video_spans)
    if whole is not None:
        counts[_WHOLE] += 1
        return [*given, spans_of([whole])]
    if given:  # what the other looked at is all that can count
        counts[_WHOLE] += 1
        return given
    marks = [mark for some in kept for mark in some]
    bounds = [bound for mark in marks for bound in (mark.start_seconds, mark.end_seconds)]
    finite = [bound for bound in bounds if bound is not None]
    if len(finite) < len(bounds):
        raise DatasetError(
            f"{files[0][0].file}: a mark of {plain(files[0][1]) or 'the video'} in one of the "
            "files lasts to the video's begin or end, and none says how long the video is; write "
            "seconds, or say where the videos are (--videos)"
        )
    counts[_BY_MARKS] += 1
    return [spans_of([(min(finite), max(finite))] if finite else [])]


def _whole(files: Sequence[tuple[Marks, str]], video_spans: VideoSpans) -> Span | None:
    """From when until when a video goes, as it declares, or else as a file says."""
    begin = 0.0
    for _, name in files:
        begin, end = video_spans.get(name, (begin, None))
        if end is not None:
            return begin, end
    ends = (marks.duration_seconds.get(name) for marks, name in files)
    end = next((one for one in ends if one is not None), None)
    return None if end is None else (begin, end)


def _within(
    marks: Sequence[Mark], spans: Spans, index_of: Mapping[str, int]
) -> tuple[Floats, int, int]:
    """The parts of marks within spans, (P, 3), and how many marks are cut, or lie outside."""
    starts = np.array([_or(mark.start_seconds, -np.inf) for mark in marks], np.float64)
    ends = np.array([_or(mark.end_seconds, np.inf) for mark in marks], np.float64)
    which = np.array([index_of[mark.label] for mark in marks], np.float64)
    inside = np.zeros(len(marks))
    parts = [np.empty((0, 3))]
    for start, end in spans.tolist():
        part = np.stack([np.maximum(starts, start), np.minimum(ends, end), which], axis=1)
        part = part[part[:, 1] > part[:, 0]]
        parts.append(part)
        inside += np.maximum(np.minimum(ends, end) - np.maximum(starts, start), 0)
    finite = np.isfinite(starts) & np.isfinite(ends)
    cut = finite & (inside > 0) & (inside < (ends - starts) * (1 - 1e-9))
    return np.concatenate(parts), int(cut.sum()), int((inside == 0).sum())


def _or(bound: float | None, other: float) -> float:
    return other if bound is None else bound


def _said(pair: _Pair, num_labels: int) -> SaidOverTime:
    edges = np.unique(
        np.concatenate([pair.spans.ravel(), *(one[:, :2].ravel() for one in pair.bouts)])
    )
    middles = np.searchsorted(pair.spans[:, 0], edges[:-1], side="right") - 1
    first, second = (_active(bouts, edges, num_labels) for bouts in pair.bouts)
    return SaidOverTime(edges, edges[:-1] < pair.spans[middles, 1], first, second)


def _tally(pairs: Sequence[_Pair], said: Sequence[SaidOverTime]) -> Tally:
    """A row for each video."""
    rows = [_row(pair, one) for pair, one in zip(pairs, said, strict=True)]
    states = [[both[which] for _, both in rows] for which in (0, 1)]
    totals = [set().union(*some) for some in states]
    common = sorted(totals[0] & totals[1])  # the others add nothing to chance
    true, found = (
        np.array([[one[state] for state in common] for one in some], np.float64) for some in states
    )
    return replace(stacked([row for row, _ in rows]), true_states=true, found_states=found)


def _row(pair: _Pair, said: SaidOverTime) -> tuple[Tally, tuple[Counter[bytes], Counter[bytes]]]:
    """One video's, and the seconds of each set of labels that each annotator has at once."""
    seconds = np.where(said.counts, np.diff(said.edges), 0)  # (E,)
    packed = [np.packbits(one, axis=0).T for one in (said.true, said.found)]
    states = tuple(_seconds_of_states(one, seconds) for one in packed)
    agreed = (packed[0] == packed[1]).all(axis=1)
    first, second = pair.bouts
    bouts = match_bouts(second, np.ones(len(second)), first, len(said.true))
    row = Tally(
        seconds=seconds.sum(keepdims=True),
        both=np.where(said.true & said.found, seconds, 0).sum(axis=1)[None],
        true=np.where(said.true, seconds, 0).sum(axis=1)[None],
        found=np.where(said.found, seconds, 0).sum(axis=1)[None],
        num_true=bouts.num_true[None].astype(np.float64),
        num_found=bouts.num_found[None].astype(np.float64),
        num_matched=bouts.num_matched[None].astype(np.float64),
        agreed=seconds[agreed].sum(keepdims=True),
        true_states=np.empty((1, 0)),
        found_states=np.empty((1, 0)),
    )
    return row, (states[0], states[1])


def _active(bouts: Floats, edges: Floats, num_labels: int) -> NDArray[np.bool_]:
    """Whether each label is marked between each edge and the next, (L, E)."""
    changes = np.zeros((num_labels, len(edges)), np.int64)
    which = bouts[:, 2].astype(np.int64)
    np.add.at(changes, (which, np.searchsorted(edges, bouts[:, 0])), 1)
    np.add.at(changes, (which, np.searchsorted(edges, bouts[:, 1])), -1)
    active: NDArray[np.bool_] = changes.cumsum(axis=1)[:, :-1] > 0
    return active


def _seconds_of_states(packed: NDArray[np.uint8], seconds: Floats) -> Counter[bytes]:
    """By the set of labels, as bits, (E, bytes): how long it lasts."""
    states, place = np.unique(packed, axis=0, return_inverse=True)
    sums = np.bincount(place.ravel(), seconds, minlength=len(states))
    return Counter(
        {state.tobytes(): total for state, total in zip(states, sums.tolist(), strict=True)}
    )
