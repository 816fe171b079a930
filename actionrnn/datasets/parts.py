"""Whole recordings become sequences: their features are cut into parts by the time of each step.

The parts of a recording are its annotations and what lies between them, in the order of time. Where
annotations overlap it is cut at each begin and end, and a part has a set of labels.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from actionrnn.config import Sampling
from actionrnn.datasets.annotations.marks import TOLERATED_SECONDS
from actionrnn.datasets.recordings import (
    BACKGROUND,
    IGNORE,
    UNLABELLED,
    Annotation,
    Clip,
    Dataset,
    Recording,
    begin_of,
)
from actionrnn.datasets.sequences import Chosen, Sequences, map_entries
from actionrnn.errors import DatasetError, FeatureError
from actionrnn.features.store import FeatureStore
from actionrnn.text import plain
from actionrnn.video.sampling import frames_between

Times = NDArray[np.float64]


def load_parts(store: FeatureStore, dataset: Dataset) -> tuple[Dataset, Sequences]:
    """Read the features of whole recordings from a store, where each recording is one entry.

    A step is of the part that its frame's time lies in, on the video's own clock, by the rule
    that says which frames are a clip's. Parts without a step are left out: they are shorter than
    one, or outside of the video.

    Args:
        store: of features with so many steps a second.
        dataset: of whole recordings (`Dataset.continuous`).

    Returns:
        the data set with the annotations that have steps, and notes on the others; the parts of
        its recordings, where those that nobody labelled have the target IGNORE.

    Raises:
        DatasetError: no step is labelled.
        FeatureError: as `load_sequences`; or the times of an entry do not rise.
    """
    row_of = {recording.key: row for row, recording in enumerate(dataset.recordings)}
    entries = map_entries(store, list(row_of))
    times = {key: _rising_times(store, key) for key in row_of}
    kept = [clip for clip in dataset.clips if len(_steps(clip.annotation, times[clip.video_key]))]
    if not kept:
        first = dataset.clips[0]
        begin, end = times[first.video_key][[0, -1]]
        raise DatasetError(
            f"{dataset.root}: no step falls into an annotation (the first: {first.key}; that "
            f"recording goes from {begin:g} to {end:g} s); write start and end in seconds, on the "
            "clock of the video"
        )
    notes = tuple(_notes(dataset, times, store.provenance.sampling))
    dataset = replace(dataset.keep(kept), notes=(*dataset.notes, *notes))
    parts = [
        (Clip(recording, part), labels, steps)
        for recording in dataset.recordings
        for part, labels in _labelled_parts(dataset, recording)
        if len(steps := _steps(part, times[recording.key]))
    ]
    targets, label_sets = _targets(dataset, [(clip.label, labels) for clip, labels, _ in parts])
    rows = [row_of[clip.video_key] for clip, *_ in parts]
    spans = [(int(steps[0]), int(steps[-1]) + 1) for *_, steps in parts]
    sequences = Sequences(
        tuple(clip for clip, *_ in parts),
        Chosen(entries.values, [(row, *span) for row, span in zip(rows, spans, strict=True)]),
        targets,
        tuple(entries.fingerprints[row] for row in rows),
        store.provenance,
        tuple(entries.digests[row] for row in rows),
        tuple(times[clip.video_key][steps] for clip, _, steps in parts),
        label_sets,
    )
    return dataset, sequences


def _labelled_parts(
    dataset: Dataset, recording: Recording
) -> Sequence[tuple[Annotation, frozenset[str]]]:
    """The parts of a recording, each with its labels."""
    if dataset.multi_label:
        return recording.elementary_parts
    return [(part, frozenset({part.label})) for part in recording.parts]


def _targets(
    dataset: Dataset, parts: Sequence[tuple[str, frozenset[str]]]
) -> tuple[NDArray[np.int64], NDArray[np.bool_] | None]:
    """The target of each part, (N,); and the sets that the targets of overlapping labels name.

    Args:
        parts: what each is called, and its labels.
    """
    if not dataset.multi_label:
        index_of = {label: index for index, label in enumerate(dataset.labels)}
        index_of[UNLABELLED] = IGNORE
        return np.array([index_of[name] for name, _ in parts], np.int64), None
    found = sorted({labels for name, labels in parts if name != UNLABELLED}, key=sorted)
    row_of = {labels: row for row, labels in enumerate(found)}
    targets = [IGNORE if name == UNLABELLED else row_of[labels] for name, labels in parts]
    label_sets = np.array([[one in labels for one in dataset.labels] for labels in found], bool)
    return np.array(targets, np.int64), label_sets


def _steps(part: Annotation, times: Times) -> NDArray[np.intp]:
    return frames_between(times, part.start_seconds, part.end_seconds)


def _rising_times(store: FeatureStore, key: str) -> Times:
    times = store.times(key)
    if not np.isfinite(times).all() or (np.diff(times) < 0).any():
        raise FeatureError(
            f"{store.path_of(key)}: the times of its steps do not rise; extract or import it again"
        )
    return times


def _notes(dataset: Dataset, times: Mapping[str, Times], sampling: Sampling) -> Iterator[str]:
    """What of the annotations does not fit the recordings, in one line each."""
    assert sampling.rate_fps is not None
    step_seconds = 1 / sampling.rate_fps
    written = [clip for clip in dataset.clips if clip.label != BACKGROUND]
    empty = [clip for clip in written if not len(_steps(clip.annotation, times[clip.video_key]))]
    if empty:
        yield (
            f"{len(empty)} of {len(written)} annotations are left out (the first: "
            f"{plain(empty[0].key)}): no step falls into them, as they are shorter than a step "
            f"({step_seconds:g} s) or outside of the recording"
        )
    if sampling.start_seconds is None:
        yield from _early_notes(written, times, step_seconds)
    if sampling.end_seconds is not None:  # the recording goes on behind the last step
        return
    # at the last tick a frame may be shown that is older, and another may come before the next
    last_tick = {key: one[0] + (len(one) - 1) * step_seconds for key, one in times.items()}
    latest = {key: max(one[-1], last_tick[key]) + step_seconds for key, one in times.items()}
    late = [
        clip
        for clip in written
        if clip.end_seconds is not None and clip.end_seconds > latest[clip.video_key] + step_seconds
    ]
    if late:
        first = late[0]
        yield (
            f"{len(late)} annotations end after the last frame of their recording (the first: "
            f"{plain(first.key)}; it ends before {latest[first.video_key]:g} s): they may have "
            "been written with another frame rate"
        )


def _early_notes(
    clips: Sequence[Clip], times: Mapping[str, Times], step_seconds: float
) -> Iterator[str]:
    # a step of features may stand for the frames around it, so that the first is not at 0
    first_of = {key: float(one[0]) for key, one in times.items()}
    earliest = {
        key: max(first - step_seconds, min(first, 0.0) - TOLERATED_SECONDS)
        for key, first in first_of.items()
    }
    early = [clip for clip in clips if begin_of(clip.annotation) < earliest[clip.video_key]]
    early = [clip for clip in early if clip.start_seconds is not None]
    if early:
        first = early[0]
        yield (
            f"{len(early)} annotations begin before the first frame of their recording (the first: "
            f"{plain(first.key)}; it begins at {first_of[first.video_key]:g} s): they count from "
            "there; write seconds on the clock of the video"
        )
