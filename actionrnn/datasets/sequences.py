"""Stored features become padded batches of passages: what a head sees in one go.

A passage is made of pieces, one after another: a single clip, several clips of one group, or the
parts of a recording in their order.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from actionrnn.datasets.recordings import IGNORE, Clip
from actionrnn.errors import FeatureError
from actionrnn.features.provenance import Provenance
from actionrnn.features.store import FeatureStore


@dataclass(frozen=True)
class Piece:
    """Some steps of one sequence, all of one target."""

    index: int
    """Of the sequence."""
    steps: NDArray[np.intp]
    """Which of its steps, rising."""
    counted: bool = True
    """False: they only lead the state there, and take no part in the loss."""


Passage = Sequence[Piece]
"""Pieces one after another."""


@dataclass(frozen=True)
class Batch:
    """Passages of different lengths, padded at their ends."""

    values: Tensor
    """(B, T, D)."""
    lengths: Tensor
    """(B,), the valid steps."""
    targets: Tensor
    """(B, T), the target of each step, as in `Sequences`; IGNORE where it has none or does not
    count."""
    pieces: Tensor
    """(B, T), the number of the step's piece among the P counted ones of the batch, from 0; -1
    where the target is IGNORE."""
    piece_targets: Tensor
    """(P,), the target of each piece."""

    def to(self, device: torch.device) -> Batch:
        """On another device."""
        moved = {name: value.to(device, non_blocking=True) for name, value in vars(self).items()}
        return Batch(**moved)


@dataclass(frozen=True)
class Sequences:
    """The features of some clips, with their class indices."""

    clips: tuple[Clip, ...]
    values: Sequence[NDArray[np.float32]]
    """Per clip (T, D), T its own; those of a store are mapped, and converted when they are used."""
    targets: NDArray[np.int64]
    """Per clip, the index of its label; IGNORE for a part of a recording that has none. With
    `label_sets` the index of the row that holds its labels."""
    fingerprints: tuple[str, ...]
    """Per clip, the beginning of the sha256 of its video."""
    provenance: Provenance
    """Of all of them: a head is scored on them only if it was trained on the same."""
    digests: tuple[str, ...] = ()
    """Per clip, the sha256 of its entry in the store; none where they come from no store."""
    pts_seconds: tuple[NDArray[np.float64], ...] = ()
    """Per part of a recording (T,), on the video's clock; none for trimmed clips."""
    label_sets: NDArray[np.bool_] | None = None
    """(C, K): the C sets of labels that parts of overlapping annotations have; a row of zeros says
    that no class is on. None: every clip has one label."""

    def __len__(self) -> int:
        return len(self.clips)

    @property
    def feature_size(self) -> int:
        """D, the same for all clips."""
        return int(self.values[0].shape[1])

    @property
    def continuous(self) -> bool:
        """Whether they are all parts of whole recordings, those without a label included."""
        return bool(self.pts_seconds)

    @cached_property
    def lengths(self) -> NDArray[np.intp]:
        """The number of steps of each, (N,)."""
        return np.array([len(values) for values in self.values], np.intp)

    def sets(self, num_classes: int) -> NDArray[np.bool_]:
        """The labels that each target stands for, (C, K), for a head that may answer several."""
        return np.eye(num_classes, dtype=bool) if self.label_sets is None else self.label_sets

    @property
    def counted_targets(self) -> NDArray[np.int64]:
        """The targets of all that is learned from: of each clip, or of each labelled step."""
        if not self.continuous:
            return self.targets
        labelled = self.targets != IGNORE
        return np.repeat(self.targets[labelled], self.lengths[labelled])

    @cached_property
    def recordings(self) -> dict[str, list[int]]:
        """By the recording's key: the indices of its parts, in the order of time."""
        found: dict[str, list[int]] = {}
        for index, clip in enumerate(self.clips):
            found.setdefault(clip.video_key, []).append(index)
        if self.continuous:
            for parts in found.values():
                parts.sort(key=lambda index: float(self.pts_seconds[index][0]))
        return found

    def subset(self, clips: Iterable[Clip]) -> Sequences:
        """The sequences of these clips alone, in this order; never a part without a label.

        Of overlapping annotations, which share their steps: all parts of their recordings.
        """
        labelled = np.flatnonzero(self.targets != IGNORE).tolist()
        if self.label_sets is not None:
            wanted = {clip.video_key for clip in clips}
            return self._take([i for i in labelled if self.clips[i].video_key in wanted])
        place = {self.clips[index].key: index for index in labelled}
        return self._take([place[clip.key] for clip in clips if clip.key in place])

    def side(self, clips: Iterable[Clip]) -> Sequences:
        """One side of a split: these clips; or all parts of the recordings they are parts of."""
        if not self.continuous:
            return self.subset(clips)
        wanted = {clip.video_key for clip in clips}
        chosen = [i for i, clip in enumerate(self.clips) if clip.video_key in wanted]
        return self._take(chosen)

    def first_features(self, count: int | None) -> Sequences:
        """The same clips with only the first features of each frame, `count` of them; None: all."""
        if count is None:
            return self
        return replace(self, values=tuple(values[:, :count] for values in self.values))

    def batch(self, passages: Sequence[Passage]) -> Batch:
        """The values and targets of some passages."""
        pieces = [piece for passage in passages for piece in passage]
        steps = np.array([len(piece.steps) for piece in pieces])
        is_counted = np.array([piece.counted for piece in pieces])
        targets = np.where(is_counted, self.targets[[piece.index for piece in pieces]], IGNORE)
        counts = targets != IGNORE
        numbers = np.where(counts, counts.cumsum() - 1, -1)
        values, lengths = pad([self._values_of(passage) for passage in passages])
        valid = torch.arange(values.shape[1]) < lengths[:, None]
        batch = Batch(
            values,
            lengths,
            torch.full(valid.shape, IGNORE),
            torch.full(valid.shape, -1),
            torch.from_numpy(targets[counts]),
        )
        batch.targets[valid] = torch.from_numpy(targets.repeat(steps))
        batch.pieces[valid] = torch.from_numpy(numbers.repeat(steps))
        return batch

    def _values_of(self, passage: Passage) -> list[NDArray[np.float32]]:
        """The values of each of its pieces."""
        of_pieces = [self.values[piece.index] for piece in passage]
        return [
            values if len(piece.steps) == len(values) else values[piece.steps]
            for values, piece in zip(of_pieces, passage, strict=True)
        ]

    def _take(self, chosen: Sequence[int]) -> Sequences:
        return Sequences(
            tuple(self.clips[index] for index in chosen),
            Chosen(self.values, chosen),
            self.targets[list(chosen)],
            tuple(self.fingerprints[index] for index in chosen),
            self.provenance,
            tuple(self.digests[index] for index in chosen) if self.digests else (),
            tuple(self.pts_seconds[index] for index in chosen) if self.pts_seconds else (),
            self.label_sets,
        )


def load_sequences(store: FeatureStore, clips: Sequence[Clip], labels: Sequence[str]) -> Sequences:
    """Read the features of clips from a store.

    Raises:
        FeatureError: an entry is missing, empty, another clip's, of another origin or size than
            the others, or its head is damaged. The values behind it are checked where they are
            written, and by `extract_missing`; that they are finite, when they are used.
    """
    index_of = {label: index for index, label in enumerate(labels)}
    entries = map_entries(store, [clip.key for clip in clips])
    return Sequences(
        tuple(clips),
        Chosen(entries.values, range(len(entries.values))),
        np.array([index_of[clip.label] for clip in clips], np.int64),
        entries.fingerprints,
        store.provenance,
        entries.digests,
    )


@dataclass(frozen=True)
class Entries:
    """Some entries of a store; their values are read when they are used."""

    values: Sequence[NDArray[np.float16]]
    """Per entry (T, D), T its own."""
    fingerprints: tuple[str, ...]
    """Per entry, the beginning of the sha256 of its video."""
    digests: tuple[str, ...]
    """Per entry, the sha256 of all that it holds."""


def map_entries(store: FeatureStore, keys: Sequence[str]) -> Entries:
    """What `Sequences` are made of.

    Raises:
        FeatureError: as `load_sequences`.
    """
    layouts, values = store.map(keys)
    for file, layout in zip(values.files, layouts, strict=True):
        if layout.shape[0] == 0:
            raise FeatureError(f"{file}: has no frames; delete it and extract again")
        if layout.shape[1] != layouts[0].shape[1]:
            raise FeatureError(
                f"{file}: has {layout.shape[1]} features a step, {values.files[0].name} has "
                f"{layouts[0].shape[1]}; delete one of them, and extract or import it again"
            )
        remedy = "delete it, and extract or import it again"
        layout.provenance.require_same(store.provenance, str(file), remedy)
    videos = [layout.video for layout in layouts]
    fingerprints = tuple("" if video is None else video.sha256[:12] for video in videos)
    return Entries(values, fingerprints, tuple(layout.sha256 for layout in layouts))


class Chosen(Sequence[NDArray[np.float32]]):
    """Some of other sequences in single precision, one at a time.

    Args:
        chosen: which, in the wanted order; or of which, from which step, to which behind the last.
    """

    def __init__(
        self,
        values: Sequence[NDArray[Any]],
        chosen: Sequence[int] | Sequence[tuple[int, int, int]],
    ) -> None:
        self._values: Sequence[NDArray[Any]] = values
        self._chosen: Sequence[int | tuple[int, int, int]] = chosen
        whole = [index for index in chosen if isinstance(index, int)]
        if isinstance(values, Chosen) and len(whole) == len(chosen):
            # some of some: one look-up instead of several
            self._values, self._chosen = values._values, [values._chosen[index] for index in whole]

    def __len__(self) -> int:
        return len(self._chosen)

    def __getitem__(self, index: Any) -> Any:
        chosen = self._chosen[index]
        if isinstance(chosen, tuple):
            of, start, stop = chosen
            found = self._values[of][start:stop]
        else:
            found = self._values[chosen]
        # torch converts ten times faster than numpy
        return torch.from_numpy(found).float().numpy()


def pad(rows: Sequence[Sequence[NDArray[np.float32]]]) -> tuple[Tensor, Tensor]:
    """Rows of sequences (T_i, D), joined -> zero-padded values (B, T, D) and lengths (B,)."""
    lengths = [sum(map(len, row)) for row in rows]
    padded = torch.zeros(len(rows), max(lengths), rows[0][0].shape[1])
    for row, length, joined in zip(rows, lengths, padded.numpy(), strict=True):
        np.concatenate(row, out=joined[:length])
    return padded, torch.tensor(lengths)
