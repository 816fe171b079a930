"""Whole recordings become sequences: their features are cut into parts by the time of each step.

The parts of a recording are its annotations and what lies between them, in the order of time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from actionrnn.config import Sampling
from actionrnn.datasets.recordings import BACKGROUND, UNLABELLED, Annotation, Clip, Dataset
from actionrnn.datasets.sequences import IGNORE, Chosen, Sequences, map_entries
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
        dataset: of annotations that do not overlap (`Dataset.continuous`).

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
        (Clip(recording, part), steps)
        for recording in dataset.recordings
        for part in recording.parts
        if len(steps := _steps(part, times[recording.key]))
    ]
    index_of = {label: index for index, label in enumerate(dataset.labels)}
    index_of[UNLABELLED] = IGNORE
    rows = [row_of[clip.video_key] for clip, _ in parts]
    spans = [(int(steps[0]), int(steps[-1]) + 1) for _, steps in parts]
    sequences = Sequences(
        tuple(clip for clip, _ in parts),
        Chosen(entries.values, [(row, *span) for row, span in zip(rows, spans, strict=True)]),
        np.array([index_of[clip.label] for clip, _ in parts], np.int64),
        tuple(entries.fingerprints[row] for row in rows),
        store.provenance,
        tuple(entries.digests[row] for row in rows),
        tuple(times[clip.video_key][steps] for clip, steps in parts),
    )
    return dataset, sequences


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
