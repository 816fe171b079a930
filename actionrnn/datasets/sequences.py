"""Stored features become padded batches with lengths."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from actionrnn.datasets.recordings import Clip
from actionrnn.errors import FeatureError
from actionrnn.features.provenance import Provenance
from actionrnn.features.store import FeatureStore


@dataclass(frozen=True)
class Sequences:
    """The features of some clips, with their class indices."""

    clips: tuple[Clip, ...]
    values: Sequence[NDArray[np.float32]]
    """Per clip (T, D), T its own; those of a store are mapped, and converted when they are used."""
    targets: NDArray[np.int64]
    """Per clip, the index of its label."""
    fingerprints: tuple[str, ...]
    """Per clip, the beginning of the sha256 of its video."""
    provenance: Provenance
    """Of all of them: a head is scored on them only if it was trained on the same."""
    digests: tuple[str, ...] = ()
    """Per clip, the sha256 of its entry in the store; none where they come from no store."""

    def __len__(self) -> int:
        return len(self.clips)

    @property
    def feature_size(self) -> int:
        """D, the same for all clips."""
        return int(self.values[0].shape[1])

    def subset(self, clips: Sequence[Clip]) -> Sequences:
        """The sequences of these clips alone, in this order."""
        place = {clip.key: index for index, clip in enumerate(self.clips)}
        chosen = [place[clip.key] for clip in clips if clip.key in place]
        return Sequences(
            tuple(self.clips[index] for index in chosen),
            _Converted(self.values, chosen),
            self.targets[chosen],
            tuple(self.fingerprints[index] for index in chosen),
            self.provenance,
            tuple(self.digests[index] for index in chosen) if self.digests else (),
        )

    def first_features(self, count: int | None) -> Sequences:
        """The same clips with only the first features of each frame, `count` of them; None: all."""
        if count is None:
            return self
        return replace(self, values=tuple(values[:, :count] for values in self.values))

    def batch(
        self, indices: Sequence[int], steps: Sequence[NDArray[np.intp]] | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Padded values (B, T, D), lengths (B,) and targets (B,) of some clips.

        Args:
            steps: per clip, which of its steps; None: all.
        """
        chosen = [self.values[index] for index in indices]
        if steps is not None:
            chosen = [
                values if len(kept) == len(values) else values[kept]
                for values, kept in zip(chosen, steps, strict=True)
            ]
        values, lengths = pad(chosen)
        return values, lengths, torch.from_numpy(self.targets[list(indices)])


def load_sequences(store: FeatureStore, clips: Sequence[Clip], labels: Sequence[str]) -> Sequences:
    """Read the features of clips from a store.

    Raises:
        FeatureError: an entry is missing, empty, another clip's, of another origin or size than
            the others, or its head is damaged. The values behind it are checked where they are
            written, and by `extract_missing`; that they are finite, when they are used.
    """
    index_of = {label: index for index, label in enumerate(labels)}
    layouts, values = store.map([clip.key for clip in clips])
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
    targets = np.array([index_of[clip.label] for clip in clips], np.int64)
    digests = tuple(layout.sha256 for layout in layouts)
    converted = _Converted(values, range(len(values)))
    return Sequences(tuple(clips), converted, targets, fingerprints, store.provenance, digests)


class _Converted(Sequence[NDArray[np.float32]]):
    """Some of other sequences in single precision, one at a time."""

    def __init__(self, values: Sequence[NDArray[Any]], chosen: Sequence[int]) -> None:
        self._values, self._chosen = values, chosen

    def __len__(self) -> int:
        return len(self._chosen)

    def __getitem__(self, index: Any) -> Any:
        # torch converts ten times faster than numpy
        return torch.from_numpy(self._values[self._chosen[index]]).float().numpy()


def pad(sequences: Sequence[NDArray[np.float32]]) -> tuple[Tensor, Tensor]:
    """Sequences (T_i, D) -> zero-padded values (B, T, D) and lengths (B,)."""
    lengths = torch.tensor([len(sequence) for sequence in sequences])
    padded = torch.zeros(len(sequences), int(lengths.max()), sequences[0].shape[1])
    for row, sequence in zip(padded, sequences, strict=True):
        row[: len(sequence)] = torch.from_numpy(sequence)
    return padded, lengths
