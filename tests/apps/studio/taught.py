"""Recordings that can be taught: a feature for each label, and noise."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from actionrnn.config import Config, DataConfig, HeadConfig, TrainConfig
from actionrnn.datasets.recordings import IGNORE, UNLABELLED, Annotation, Clip, Dataset, Recording
from actionrnn.datasets.sequences import Sequences
from tests.tiny import tiny_provenance

LABELS = ("jump", "run", "wave")
RATE_FPS = 4
STEPS = 12
"""Of a take, times its length."""
SIZE = 12
"""Of the features, as of `make_tiny_backbone(2)`."""

Take = tuple[str, str, int]
"""What it is marked as, what it shows, and its length."""

CONFIG = Config(
    data=DataConfig(layout="annotations", root="annotations.csv", split="leave_one_group_out"),
    head=HeadConfig(hidden_size=8, dropout=0.0, input_scaling="none"),
    train=TrainConfig(
        epochs=20, batch_size=16, window_steps=32, state_warmup_steps=4, learning_rate=0.03
    ),
)


def right(*labels: str) -> list[Take]:
    """Takes that show what they are marked as."""
    return [(label, label, 1) for label in labels]


def make_recordings(
    takes: Sequence[Sequence[Take]], noise: float = 0.3, groups: Sequence[str] | None = None
) -> tuple[Dataset, Sequences]:
    """A recording of each list of takes, which follow one another; "" is marked as nothing."""
    labels = sorted({marked for of_one in takes for marked, *_ in of_one} - {UNLABELLED})
    rng = np.random.default_rng(0)
    recordings, clips, values, times = [], [], [], []
    for number, of_one in enumerate(takes):
        name = f"r{number}"
        group = name if groups is None else groups[number]
        edges = np.cumsum([0, *(length * STEPS for *_, length in of_one)])
        parts = [
            Annotation(marked, first / RATE_FPS, behind / RATE_FPS)
            for (marked, *_), first, behind in zip(of_one, edges, edges[1:], strict=False)
        ]
        recording = Recording(
            Path(f"{name}.mp4"), name, group, None, tuple(p for p in parts if p.label)
        )
        recordings.append(recording)
        for part, (_, shown, length), first in zip(parts, of_one, edges, strict=False):
            clips.append(Clip(recording, part))
            seen = rng.normal(0, noise, (length * STEPS, SIZE)).astype(np.float32)
            seen[:, LABELS.index(shown)] += 1
            values.append(seen)
            times.append((first + np.arange(len(seen))) / RATE_FPS)
    targets = [labels.index(clip.label) if clip.label else IGNORE for clip in clips]
    sequences = Sequences(
        tuple(clips),
        tuple(values),
        np.array(targets, np.int64),
        tuple(clip.video_key for clip in clips),
        tiny_provenance(),
        pts_seconds=tuple(times),
    )
    grouped = groups is not None
    return Dataset(
        Path("annotations.csv"), tuple(recordings), grouped=grouped, continuous=True
    ), sequences
