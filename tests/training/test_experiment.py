"""The fits of one training: whatever their folds are called, each head is of its own clips."""

from __future__ import annotations

import csv
import shutil
import sys
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from actionrnn.config import Config, HeadConfig, TrainConfig
from actionrnn.config_reading import parse_config
from actionrnn.datasets.recordings import Dataset
from actionrnn.datasets.sequences import Sequences
from actionrnn.datasets.splits import Fold
from actionrnn.errors import ConfigError, DatasetError, FeatureError, ModelError
from actionrnn.evaluation.report import CURVE_FILE, read_curves
from actionrnn.features.entry import Entry, pack
from actionrnn.features.imported import import_features
from actionrnn.features.store import FeatureStore
from actionrnn.model.heads import Head
from actionrnn.training import fit
from actionrnn.training.experiment import Experiment, FitSpec
from actionrnn.training.fit_state import STATES
from actionrnn.training.train import TrainingRun, train

MakeSequences = Callable[..., Sequences]

GROUPS = ("a", "b", "c")


def write_noise(folder: Path, groups: Sequence[str], seed: int = 0) -> None:
    """Features that tell nothing of the class across groups; groups in sorted order."""
    rng = np.random.default_rng(seed)
    for label in ("left", "right"):
        for group in groups:
            for number in range(4):
                file = folder / "arrays" / label / f"{group}__{number}.npy"
                file.parent.mkdir(parents=True, exist_ok=True)
                np.save(file, rng.normal(size=(5, 8)).astype(np.float32))
    shutil.rmtree(folder / "store", ignore_errors=True)  # else other features are refused
    import_features(folder / "arrays", folder / "store", name="noise")


def leave_one_group_out(folder: Path, *overrides: str) -> Config:
    sections = {
        "data": {
            "features": str(folder / "store"),
            "group_pattern": "^(.+)__",
            "split": "leave_one_group_out",
        },
        "head": {"hidden_size": 8, "dropout": 0.0},
        "train": {"epochs": 6, "batch_size": 8, "learning_rate": 0.03},
    }
    return parse_config(sections, overrides)


def scores(run: TrainingRun) -> list[tuple[float, str]]:
    return [(clip.score, clip.answer) for clip in run.report.clips]


def weights(run: TrainingRun) -> list[np.ndarray]:
    return list(run.model.head.tensors.values())


@pytest.fixture(scope="module")
def noise(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("noise")
    write_noise(folder, GROUPS)
    return folder


@pytest.fixture(scope="module")
def whole(noise: Path) -> TrainingRun:
    return train(leave_one_group_out(noise), noise / "whole")


def test_the_baseline_is_trained_for_the_clips_answer_alone(
    whole: TrainingRun, noise: Path, tmp_path: Path
) -> None:
    run = train(leave_one_group_out(noise, "train.now_weight=0"), tmp_path)
    assert scores(run) != scores(whole)

    def curves(run: TrainingRun) -> list[object]:
        return [curve for curve in run.report.curves if "mean-pool" in curve.head]

    assert curves(run) == curves(whole) != []


@pytest.mark.parametrize("groups", [("张三", "李四", "王五"), ("P_1", "p 1", "p_1")])
def test_no_score_depends_on_how_the_groups_are_called(
    whole: TrainingRun, tmp_path: Path, groups: Sequence[str]
) -> None:
    write_noise(tmp_path, groups)
    run = train(leave_one_group_out(tmp_path), tmp_path / "run")
    assert [fold.name for fold in run.folds] == list(groups)
    assert scores(run) == scores(whole)
    assert all(map(np.array_equal, weights(run), weights(whole)))


def test_the_name_of_the_model_of_all_clips_is_no_groups(tmp_path: Path) -> None:
    write_noise(tmp_path, ("a", "every clip"))
    with pytest.raises(DatasetError, match=r"group 'every clip': .* rename the group"):
        train(leave_one_group_out(tmp_path), tmp_path / "run")


def test_every_seed_is_trained_on_every_clip(noise: Path, tmp_path: Path) -> None:
    config = leave_one_group_out(noise, "data.split=none", "train.seeds=2", "train.epochs=1")
    run = train(config, tmp_path)
    assert [seed.seed for seed in run.report.seeds] == [0, 1]


TRICKY = st.lists(
    st.sampled_from(["张", "三", "ü", "u\u0308", "U", "u", " ", "_", "-", "/", ".", "\udce9", "1"]),
    min_size=1,
    max_size=4,
).map("".join)


@given(st.lists(TRICKY | st.text(max_size=300), unique=True, min_size=2, max_size=3))
@settings(deadline=None, max_examples=15, derandomize=True)
def test_no_two_folds_share_a_state(make_sequences: MakeSequences, folds: list[str]) -> None:
    rng = np.random.default_rng(0)
    values = [rng.standard_normal((3, 4), np.float32) for _ in range(6)]
    sequences = make_sequences(values, [0, 1] * 3)
    head = HeadConfig(hidden_size=2)
    # the sides overlap, so that a head of another fold is of the same shape and size
    specs = [
        FitSpec(Fold(name, sequences.clips[i : i + 4], ()), head, 0) for i, name in enumerate(folds)
    ]
    config = Config(train=TrainConfig(epochs=1, validation_fraction=0))

    def fitted(specs: list[FitSpec], output: str, *, resume: bool = False) -> list[Head]:
        cpu, dataset = (
            torch.device("cpu"),
            Dataset(Path(), tuple(clip.recording for clip in sequences.clips)),
        )
        experiment = Experiment(config, dataset, (), sequences, cpu, Path(output), resume)
        return [one.head for one in experiment.run(specs) if one]

    with TemporaryDirectory() as together, TemporaryDirectory() as alone:
        heads = fitted(specs, together)
        names = {
            unicodedata.normalize("NFC", file.name).casefold()
            for file in (Path(together) / STATES).iterdir()
        }
        assert len(names) == len(folds)
        assert {curve.fold for curve in read_curves(Path(together) / CURVE_FILE)} == set(folds)
        resumed = fitted(specs, together, resume=True)
        for spec, head_here, head_resumed in zip(specs, heads, resumed, strict=True):
            (expected,) = fitted([spec], alone)
            assert_same(head_here, expected)
            assert_same(head_resumed, expected)


def assert_same(one: Head, other: Head) -> None:
    for name, tensor in one.state_dict().items():
        assert torch.equal(tensor, other.state_dict()[name]), name


class KilledError(Exception):
    """Stands for a process that is gone."""


def train_killed(
    monkeypatch: pytest.MonkeyPatch, config: Config, output: Path, num_epochs: int
) -> None:
    """Train until so many states were written, all fits together."""
    save, calls = fit.save_fit_state, []

    def save_some(*arguments: Any) -> None:
        if len(calls) == num_epochs:
            raise KilledError
        calls.append(1)
        save(*arguments)

    with monkeypatch.context() as patch, pytest.raises(KilledError):
        patch.setattr(fit, "save_fit_state", save_some)
        train(config, output)


@pytest.mark.parametrize("num_epochs", [0, 3, 6, 20])
def test_a_training_killed_in_any_fold_ends_in_the_same_bits(
    whole: TrainingRun,
    noise: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    num_epochs: int,
) -> None:
    config = leave_one_group_out(noise)
    train_killed(monkeypatch, config, tmp_path, num_epochs)
    run = train(config, tmp_path, resume=True)
    assert scores(run) == scores(whole)
    assert all(map(np.array_equal, weights(run), weights(whole)))
    assert (tmp_path / CURVE_FILE).read_text() == (whole.output / CURVE_FILE).read_text()


@pytest.mark.parametrize("num_epochs", [4, 14])
def test_a_search_killed_in_any_trial_chooses_the_same(
    noise: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, num_epochs: int
) -> None:
    config = leave_one_group_out(noise, "data.fold=a", "train.search=2")
    expected = train(config, tmp_path / "whole")
    train_killed(monkeypatch, config, tmp_path / "killed", num_epochs)
    run = train(config, tmp_path / "killed", resume=True)
    assert run.report.trials == expected.report.trials
    assert scores(run) == scores(expected)
    assert all(map(np.array_equal, weights(run), weights(expected)))


def test_without_resume_what_an_earlier_training_left_is_not_used(
    whole: TrainingRun, noise: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train_killed(monkeypatch, leave_one_group_out(noise, "train.seed=1"), tmp_path, 9)
    assert scores(train(leave_one_group_out(noise), tmp_path)) == scores(whole)


def test_other_features_or_clips_are_not_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_noise(tmp_path, GROUPS)
    config = leave_one_group_out(tmp_path)
    train_killed(monkeypatch, config, tmp_path / "run", 9)
    write_noise(tmp_path, GROUPS, seed=1)
    with pytest.raises(ModelError, match=r"differs from this training in: features\); leave --res"):
        train(config, tmp_path / "run", resume=True)
    write_noise(tmp_path, GROUPS)
    (tmp_path / "store" / "left" / "b__0.safetensors").unlink()
    with pytest.raises(ModelError, match=r"cannot be resumed \(it differs .* in: clips, features"):
        train(config, tmp_path / "run", resume=True)
    assert not (tmp_path / "run" / "model.safetensors").exists()


def test_a_note_that_is_damaged_is_one_line(noise: Path, tmp_path: Path) -> None:
    (tmp_path / STATES).mkdir()
    (tmp_path / STATES / "config.json").write_text("[1, 2")
    with pytest.raises(ConfigError, match="is damaged; leave --resume out to start again"):
        train(leave_one_group_out(noise), tmp_path, resume=True)


def test_each_model_has_a_curve_of_its_own(noise: Path, tmp_path: Path) -> None:
    """A head of the kind `mean` beside the baseline, which is one as well."""
    config = leave_one_group_out(noise, "data.fold=b", "head.kind=mean", "train.epochs=3")
    train(config, tmp_path)
    curves = read_curves(tmp_path / CURVE_FILE)
    assert [(curve.head, len(curve.train_loss)) for curve in curves] == [
        ("mean", 3),
        ("mean-pool", 3),
    ]
    with (tmp_path / CURVE_FILE).open(newline="") as file:
        assert {row["fold"] for row in csv.DictReader(file)} == {"b"}


def test_each_fit_has_a_tensorboard_folder_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: dict[str, list[str]] = {}

    class Writer:
        def __init__(self, folder: str, purge_step: int) -> None:
            assert purge_step == 0
            self.tags = written.setdefault(folder, [])

        def add_text(self, tag: str, text: str) -> None:
            self.tags.append(text)

        def add_scalar(self, tag: str, value: float, step: int) -> None:
            self.tags.append(f"{tag} {step}")

        def close(self) -> None:
            pass

    stand_in = SimpleNamespace(SummaryWriter=Writer)
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", stand_in)
    groups = ("李四", "王五")
    write_noise(tmp_path, groups)
    config = leave_one_group_out(tmp_path, "train.epochs=1")
    train(config, tmp_path / "run", tensorboard=True)
    names = [f"{fold}, gru, seed 0" for fold in (*groups, "every clip")]
    names += [f"{fold}, mean-pool, seed 0" for fold in groups]
    assert [tags[0] for tags in written.values()] == names
    for tags in written.values():
        assert tags.count("train_loss 1") == 1


def test_a_fit_that_diverges_is_one_line_and_no_model(noise: Path, tmp_path: Path) -> None:
    config = leave_one_group_out(noise, "train.learning_rate=1e30", "train.weight_decay=1e20")
    with pytest.raises(ConfigError, match=r"^a, gru, seed 0: .* epoch 1; lower train\.learning_r"):
        train(config, tmp_path / "run")
    assert not list((tmp_path / "run").glob("*.*"))


def test_features_that_are_not_finite_are_refused_where_they_are_read(tmp_path: Path) -> None:
    write_noise(tmp_path, GROUPS)
    store = FeatureStore.open(tmp_path / "store")
    good = store.read("left/b__0")
    bad = good.values.astype(np.float16)
    bad[2, 3] = np.nan
    entry = Entry("left/b__0", bad, good.pts_seconds, good.provenance)
    store.path_of("left/b__0").write_bytes(pack(entry))
    with pytest.raises(
        FeatureError, match=r"b__0\.safetensors: is damaged \(a value is not finite"
    ):
        train(leave_one_group_out(tmp_path, "data.fold=b"), tmp_path / "run")  # b is tested


def test_an_entry_under_another_clips_name_is_refused(tmp_path: Path) -> None:
    write_noise(tmp_path, GROUPS)
    left = tmp_path / "store" / "left"
    (left / "a__0.safetensors").replace(left / "b__0.safetensors")
    with pytest.raises(
        FeatureError, match=r"b__0\.safetensors: is damaged \(it is the entry 'left/a__0'\)"
    ):
        train(leave_one_group_out(tmp_path), tmp_path / "run")
