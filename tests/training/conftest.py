"""A tiny labelled data set, and a model trained on it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from actionrnn.config import Config, parse_config
from actionrnn.datasets.clips import Clip
from actionrnn.datasets.sequences import Sequences
from actionrnn.training.train import TrainingRun, train

COLOURS = {"blue": (30, 40, 220), "green": (30, 200, 40), "red": (220, 30, 40)}
GROUPS = ("ann", "bob", "cid")
FRAMES = 12

MakeClips = Callable[..., Path]


@pytest.fixture(scope="session")
def make_clips(tmp_path_factory: pytest.TempPathFactory) -> MakeClips:
    """Squares that move: `<root>/<colour>/<group>_<colour>.avi`, 12 frames of 64 x 48 each."""

    def make(groups: Sequence[str] = GROUPS, labels: Sequence[str] = tuple(COLOURS)) -> Path:
        root = tmp_path_factory.mktemp("clips")
        for label in labels:
            (root / label).mkdir()
            for group in groups:
                seed = [*group.encode(), *label.encode()]
                encode_square(root / label / f"{group}_{label}.avi", COLOURS[label], seed)
        return root

    return make


@pytest.fixture(scope="session")
def clips(make_clips: MakeClips) -> Path:
    """3 classes x 3 groups; to be left as it is."""
    return make_clips()


@pytest.fixture(scope="session")
def configure() -> Callable[..., Config]:
    """The configuration that trains on such clips."""

    def make(root: Path, *overrides: str) -> Config:
        sections = {
            "data": {
                "root": str(root),
                "group_pattern": "^([a-z0-9]+)_",
                "split": "leave_one_group_out",
            },
            "sampling": {"num_frames": 4, "rate_fps": None},
            "backbone": {"device": "cpu"},
            "head": {"kind": "gru", "hidden_size": 16, "dropout": 0.2},
            "train": {"epochs": 30, "batch_size": 4, "learning_rate": 0.01},
        }
        return parse_config(sections, overrides)

    return make


@pytest.fixture(scope="session")
def run(
    clips: Path, configure: Callable[..., Config], tmp_path_factory: pytest.TempPathFactory
) -> TrainingRun:
    """Trained on `clips`, one group left out in turn; its folder is to be left as it is."""
    return train(configure(clips), tmp_path_factory.mktemp("runs") / "squares")


@pytest.fixture(scope="session")
def make_sequences() -> Callable[..., Sequences]:
    """Sequences of given values and targets."""

    def make(values: Sequence[NDArray[np.float32]], targets: Sequence[int]) -> Sequences:
        clips = tuple(
            Clip(Path(f"{index}.avi"), str(index), str(target), str(index))
            for index, target in enumerate(targets)
        )
        fingerprints = tuple(clip.key for clip in clips)
        return Sequences(clips, tuple(values), np.array(targets, np.int64), fingerprints)

    return make


def encode_square(path: Path, colour: tuple[int, int, int], seed: Sequence[int]) -> None:
    rng = np.random.default_rng(seed)
    background = rng.integers(90, 150, (48, 64, 3), np.uint8)
    top, step = int(rng.integers(4, 20)), int(rng.integers(2, 4))
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=12)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuvj420p"
        for index in range(FRAMES):
            picture = background.copy()
            picture[top : top + 24, step * index : step * index + 24] = colour
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, 12)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
