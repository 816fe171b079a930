"""Sequences of features, made by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from actionrnn.datasets.recordings import Recording
from actionrnn.datasets.sequences import Sequences
from tests.tiny import tiny_provenance


@pytest.fixture(scope="session")
def make_sequences() -> Callable[..., Sequences]:
    """Sequences of given values and targets."""

    def make(values: Sequence[NDArray[np.float32]], targets: Sequence[int]) -> Sequences:
        clips = tuple(
            Recording.trimmed(Path(f"{index}.avi"), str(index), str(target), str(index)).clips[0]
            for index, target in enumerate(targets)
        )
        fingerprints = tuple(clip.key for clip in clips)
        return Sequences(
            clips, tuple(values), np.array(targets, np.int64), fingerprints, tiny_provenance()
        )

    return make
