"""Settings are tried inside the training groups, and the one that generalises is chosen."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from actionrnn.config import Config, HeadConfig, TrainConfig
from actionrnn.datasets.recordings import Dataset
from actionrnn.datasets.sequences import Sequences
from actionrnn.datasets.splits import Fold, train_val_split
from actionrnn.errors import ConfigError, DatasetError
from actionrnn.training.experiment import Experiment
from actionrnn.training.search import (
    LEAST_VALIDATION_FRACTION,
    SPACE,
    Trial,
    candidates,
    search_heads,
)

MakeSequences = Callable[..., Sequences]


def search(sequences: Sequences, head: HeadConfig, folder: Path, count: int = 4) -> list[Trial]:
    train = TrainConfig(epochs=4, batch_size=8, search=count, learning_rate=0.01)
    folds = [Fold("a", sequences.clips[:16], ()), Fold("b", sequences.clips[8:], ())]
    dataset, cpu = (
        Dataset(folder, tuple(clip.recording for clip in sequences.clips)),
        torch.device("cpu"),
    )
    config = Config(head=head, train=train)
    trials = search_heads(Experiment(config, dataset, folds, sequences, cpu, folder))
    return [trial for trial in trials if trial.fold in "ab"]  # without those of the model's head


@pytest.fixture
def sequences(make_sequences: MakeSequences) -> Sequences:
    rng = np.random.default_rng(0)
    values = [rng.standard_normal((5, 4), np.float32) for _ in range(24)]
    return make_sequences(values, [index % 2 for index in range(24)])


def test_the_given_settings_come_first_and_none_twice() -> None:
    given = HeadConfig(hidden_size=33, num_layers=2)
    heads = candidates(given, 50, seed=0)
    assert heads[0] == given
    assert len(set(heads)) == 50
    for head in heads[1:]:
        assert head.num_layers == 2  # not searched, so kept
        assert all(getattr(head, name) in values for name, values in SPACE.items())
    assert candidates(given, 50, seed=0) == heads
    assert candidates(given, 50, seed=1) != heads


def test_more_trials_than_there_are_settings_end() -> None:
    total = np.prod([len(values) for values in SPACE.values()])
    assert len(candidates(HeadConfig(hidden_size=33), 2 * total, seed=0)) == total + 1


def test_each_fold_chooses_its_lowest_validation_loss(sequences: Sequences, tmp_path: Path) -> None:
    trials = search(sequences, HeadConfig(hidden_size=4), tmp_path)
    assert [trial.fold for trial in trials] == ["a"] * 4 + ["b"] * 4
    for fold in "ab":
        own = [trial for trial in trials if trial.fold == fold]
        (chosen,) = [trial for trial in own if trial.chosen]
        assert chosen.validation_loss == min(trial.validation_loss for trial in own)
    assert search(sequences, HeadConfig(hidden_size=4), tmp_path / "again") == trials


def test_a_trial_that_diverges_never_wins(make_sequences: MakeSequences, tmp_path: Path) -> None:
    """The mean over a clip that was held back is infinite; a recurrent layer saturates."""
    rng = np.random.default_rng(0)
    values = [rng.standard_normal((5, 4), np.float32) for _ in range(24)]
    sequences = make_sequences(values, [index % 2 for index in range(24)])
    held_back = train_val_split(sequences.clips[:16], LEAST_VALIDATION_FRACTION, 0)[1]
    values[int(held_back[0].key)][:] = 3e38
    given = HeadConfig(kind="mean", hidden_size=4, input_scaling="none")
    diverged, *others = search(sequences, given, tmp_path, count=4)[:4]
    assert (diverged.head, diverged.validation_loss, diverged.chosen) == (given, None, False)
    assert all(np.isfinite(trial.validation_loss or np.nan) for trial in others)
    assert sum(trial.chosen for trial in others) == 1
    with pytest.raises(ConfigError, match=r"fold a: no trial .* lower train\.learning_rate"):
        search(sequences, given, tmp_path, count=1)


def test_test_clips_take_no_part(sequences: Sequences, tmp_path: Path) -> None:
    values: list[Any] = list(sequences.values)
    values[16:] = [np.full_like(value, 1e6) for value in values[16:]]  # outside of fold a
    other = dataclasses.replace(sequences, values=tuple(values))
    before = search(sequences, HeadConfig(hidden_size=4), tmp_path / "1", count=2)[:2]
    after = search(other, HeadConfig(hidden_size=4), tmp_path / "2", count=2)[:2]
    assert before == after


def test_too_few_groups_to_hold_any_back(make_sequences: MakeSequences, tmp_path: Path) -> None:
    values = [np.zeros((3, 4), np.float32)] * 2
    lonely = make_sequences(values, [0, 1])
    with pytest.raises(DatasetError, match=r"too few groups to hold any back for train\.search"):
        search(lonely, HeadConfig(), tmp_path)
