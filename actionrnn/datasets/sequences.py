"""Stored features become padded batches with lengths."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from actionrnn.datasets.clips import Clip
from actionrnn.errors import FeatureError
from actionrnn.features.store import FeatureStore


@dataclass(frozen=True)
class Sequences:
    """The features of some clips, in memory, with their class indices."""

    clips: tuple[Clip, ...]
    values: tuple[NDArray[np.float32], ...]
    """Per clip (T, D), T its own."""
    targets: NDArray[np.int64]
    """Per clip, the index of its label."""
    fingerprints: tuple[str, ...]
    """Per clip, the beginning of the sha256 of its video."""

    def __len__(self) -> int:
        return len(self.clips)

    def subset(self, clips: Sequence[Clip]) -> Sequences:
        """The sequences of these clips alone, in this order."""
        place = {clip.key: index for index, clip in enumerate(self.clips)}
        chosen = [place[clip.key] for clip in clips if clip.key in place]
        return Sequences(
            tuple(self.clips[index] for index in chosen),
            tuple(self.values[index] for index in chosen),
            self.targets[chosen],
            tuple(self.fingerprints[index] for index in chosen),
        )

    def first_features(self, count: int | None) -> Sequences:
        """The same clips with only the first so many features of each frame; None: all."""
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
        FeatureError: an entry is missing, damaged, empty or not finite.
    """
    index_of = {label: index for index, label in enumerate(labels)}
    values, fingerprints = [], []
    for clip in clips:
        features = store.read(clip.key)
        if len(features) == 0 or not np.isfinite(features.values).all():
            raise FeatureError(
                f"{store.path_of(clip.key)}: has no frames or values that are not finite; "
                "delete it and extract again"
            )
        values.append(features.values)
        fingerprints.append(str(features.provenance.get("source", {}).get("sha256", ""))[:12])
    targets = np.array([index_of[clip.label] for clip in clips], np.int64)
    return Sequences(tuple(clips), tuple(values), targets, tuple(fingerprints))


def pad(sequences: Sequence[NDArray[np.float32]]) -> tuple[Tensor, Tensor]:
    """Sequences (T_i, D) -> zero-padded values (B, T, D) and lengths (B,)."""
    lengths = torch.tensor([len(sequence) for sequence in sequences])
    padded = torch.zeros(len(sequences), int(lengths.max()), sequences[0].shape[1])
    for row, sequence in zip(padded, sequences, strict=True):
        row[: len(sequence)] = torch.from_numpy(sequence)
    return padded, lengths
