"""What a head sees in one go: which steps of which sequences, in which order.

Trimmed clips are seen one by one, or joined: several clips of one group one after another, so that
the head learns to leave one action behind when the next begins. Recordings are seen in windows;
the steps before a window lead the state there first, and do not count.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from actionrnn.config import TrainConfig
from actionrnn.datasets.recordings import IGNORE
from actionrnn.datasets.sequences import Passage, Piece, Sequences

ALONE = "single clips"
"""The name of a recording of clips that are alone in their group."""


def draw_passages(
    sequences: Sequences, config: TrainConfig, rng: np.random.Generator, delay_steps: int = 0
) -> list[Passage]:
    """The passages of one epoch: each clip once, or each labelled step of the recordings once.

    Args:
        delay_steps: of the head: a window goes on for as long, so that its last steps are answered
            from the frames that follow them in the recording.
    """
    if sequences.continuous:
        return _windows(sequences, config, rng, delay_steps)
    if config.join_clips == 1:
        return [
            [Piece(index, choose_steps(int(length), config, rng))]
            for index, length in enumerate(sequences.lengths)
        ]
    return _joined(sequences, config, rng)


def whole_passages(sequences: Sequences) -> list[Passage]:
    """Each clip, or each whole recording, for validation."""
    if sequences.continuous:
        return list(whole_recordings(sequences).values())
    return [[whole_clip(sequences, index)] for index in range(len(sequences))]


def whole_clip(sequences: Sequences, index: int) -> Piece:
    """All steps of one sequence."""
    return Piece(index, np.arange(sequences.lengths[index]))


def whole_recordings(sequences: Sequences, seed: int = 0) -> dict[str, Passage]:
    """Each recording by its key; or by group all its clips, in a random order, one after another.

    Clips that are alone in their group are joined with one another, under `ALONE`.
    """
    if sequences.continuous:
        return {
            key: [whole_clip(sequences, index) for index in parts]
            for key, parts in sequences.recordings.items()
        }
    rng = np.random.default_rng(seed)
    return {
        group: _one_after_another(sequences, [whole_clip(sequences, i) for i in order])
        for group, members in _by_group(sequences).items()
        for order in [rng.permutation(members).tolist()]
    }


def shuffled_batches(
    lengths: NDArray[np.intp], num_batches: int, rng: np.random.Generator
) -> list[NDArray[np.intp]]:
    """All indices in random batches of nearly equal size, each of passages of similar length.

    Lengths are compared with up to 30 % of noise, so that batches differ between epochs and
    little of them is padding; passages of one length are shuffled freely.
    """
    order = np.argsort(lengths * rng.uniform(0.7, 1.3, len(lengths)))
    batches = np.array_split(order, min(num_batches, len(lengths)))
    return [batches[index] for index in rng.permutation(len(batches))]


def num_steps_of(passage: Passage) -> int:
    """The length of a passage in steps."""
    return sum(len(piece.steps) for piece in passage)


def choose_steps(length: int, config: TrainConfig, rng: np.random.Generator) -> NDArray[np.intp]:
    """Augmentation in time: a random crop of a clip's steps, and a random subset of that.

    Returns:
        rising indices below `length`; all of them where both fractions are 1.
    """
    if config.crop_fraction == 1 and config.keep_fraction == 1:
        return np.arange(length)
    kept = max(1, round(length * rng.uniform(config.crop_fraction, 1)))
    start = int(rng.integers(0, length - kept + 1))
    count = max(1, round(kept * rng.uniform(config.keep_fraction, 1)))
    return start + np.sort(rng.choice(kept, count, replace=False))


def _joined(sequences: Sequences, config: TrainConfig, rng: np.random.Generator) -> list[Passage]:
    """Clips of one group, in random order, 1 to `join_clips` of them in a passage."""
    passages: list[Passage] = []
    for members in _by_group(sequences).values():
        left = rng.permutation(members).tolist()
        while left:
            count = int(rng.integers(1, config.join_clips + 1))
            chosen, left = left[:count], left[count:]
            pieces = [
                Piece(i, choose_steps(int(sequences.lengths[i]), config, rng)) for i in chosen
            ]
            passages.append(_one_after_another(sequences, pieces))
    return passages


def _by_group(sequences: Sequences) -> dict[str, list[int]]:
    """The clips that may be joined; those that are alone in their group with one another."""
    members: dict[str, list[int]] = {}
    for index, clip in enumerate(sequences.clips):
        members.setdefault(clip.group, []).append(index)
    joined = {group: indices for group, indices in members.items() if len(indices) > 1}
    for indices in members.values():
        if len(indices) == 1:
            joined.setdefault(ALONE, []).extend(indices)
    return joined


def _one_after_another(sequences: Sequences, pieces: Sequence[Piece]) -> Passage:
    """The pieces, those behind another without their first frame where features tell changes.

    That frame's change is unknown: alone, there was no frame before it; behind another clip it
    would be a large change, which these features do not show.
    """
    if sequences.provenance.preprocessing.modality == "rgb":
        return pieces
    return [
        piece
        if number == 0 or piece.steps[0] > 0 or len(piece.steps) == 1
        else Piece(piece.index, piece.steps[1:])
        for number, piece in enumerate(pieces)
    ]


def _windows(
    sequences: Sequences, config: TrainConfig, rng: np.random.Generator, delay_steps: int
) -> list[Passage]:
    """Windows that cover each recording once, from a random first step; none without a label."""
    passages: list[Passage] = []
    size = config.window_steps
    for parts in sequences.recordings.values():
        ends = sequences.lengths[parts].cumsum()
        length = int(ends[-1])
        # a recording that is hardly longer than a window is one: cut, it would lose its beginning
        first = int(rng.integers(0, size)) - size if length > size else 0
        for start in range(first, length, size):
            begin, stop = max(0, start), min(start + size, length)
            lead = max(0, begin - config.state_warmup_steps)
            passage = [
                *_cut(parts, ends, lead, begin, counted=False),
                *_cut(parts, ends, begin, stop, counted=True),
                *_cut(parts, ends, stop, stop + delay_steps, counted=False),
            ]
            if any(_is_labelled(piece, sequences) for piece in passage):
                passages.append(passage)
    return passages


def _cut(
    parts: Sequence[int], ends: NDArray[np.intp], start: int, stop: int, *, counted: bool
) -> list[Piece]:
    """The steps of a recording from `start` to before `stop`, part by part.

    Args:
        ends: the step of the recording at which each part ends.
    """
    stop = min(stop, int(ends[-1]))
    pieces = []
    # from the part that holds `start`: recordings have thousands of parts, a window a few
    place = int(np.searchsorted(ends, start, side="right"))
    while start < stop:
        begin = int(ends[place - 1]) if place else 0
        last = min(stop, int(ends[place]))
        pieces.append(Piece(parts[place], np.arange(start - begin, last - begin), counted))
        start, place = last, place + 1
    return pieces


def _is_labelled(piece: Piece, sequences: Sequences) -> bool:
    return piece.counted and sequences.targets[piece.index] != IGNORE


def num_batches(sequences: Sequences, passages: Sequence[Passage], batch_size: int) -> int:
    """How many batches hold the passages, `batch_size` clips or windows each."""
    count = len(passages) if sequences.continuous else len(sequences)
    return math.ceil(count / batch_size)
