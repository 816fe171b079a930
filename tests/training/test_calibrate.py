"""Calibration of a training: fitted on clips that were not trained on, and off unless asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from actionrnn.config import Config
from actionrnn.config_reading import parse_config
from actionrnn.errors import ConfigError
from actionrnn.evaluation.predict import FoldPredictions
from actionrnn.evaluation.report import read_report
from actionrnn.evaluation.report_text import temperature_text
from actionrnn.features.imported import import_features
from actionrnn.model.calibration import at_temperature, fit_temperature
from actionrnn.model.model_file import read_model_info
from actionrnn.training.calibrate import Temperatures, from_other_folds
from actionrnn.training.train import TrainingRun, train


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four groups of clips that are hard to tell apart."""
    folder, rng = tmp_path_factory.mktemp("hard"), np.random.default_rng(0)
    for shift, label in enumerate(("left", "right")):
        for group in "abcd":
            for number in range(4):
                file = folder / "arrays" / label / f"{group}__{number}.npy"
                file.parent.mkdir(parents=True, exist_ok=True)
                values = rng.normal(size=(1, 8)) + 0.7 * shift
                np.save(file, (values + 0.1 * rng.normal(size=(5, 8))).astype(np.float32))
    import_features(folder / "arrays", folder / "store", name="hard")
    return folder


def settings(folder: Path, *overrides: str) -> Config:
    sections = {
        "data": {
            "features": str(folder / "store"),
            "group_pattern": "^(.+)__",
            "split": "leave_one_group_out",
        },
        "head": {"hidden_size": 8, "dropout": 0.0},
        "train": {"epochs": 8, "batch_size": 8, "learning_rate": 0.03},
    }
    return parse_config(sections, overrides)


def say_that_it_helps(patch: pytest.MonkeyPatch, helps: bool) -> None:
    """Whatever the error of so few clips is, which hangs on the last digits."""

    def said(predictions: Sequence[FoldPredictions]) -> Temperatures:
        return replace(from_other_folds(predictions), helps=helps)

    patch.setattr("actionrnn.training.experiment.from_other_folds", said)


@pytest.fixture(scope="module")
def plain(folder: Path) -> TrainingRun:
    return train(settings(folder), folder / "plain")


@pytest.fixture(scope="module")
def scaled(folder: Path) -> TrainingRun:
    with pytest.MonkeyPatch.context() as patch:
        say_that_it_helps(patch, True)
        return train(settings(folder, "train.calibrate=true"), folder / "scaled")


def test_no_fold_has_a_say_in_its_own_temperature() -> None:
    rng = np.random.default_rng(0)
    scores = [rng.dirichlet((1, 1, 1), 6).astype(np.float32) for _ in range(3)]
    folds = [
        FoldPredictions(name, of_fold, np.append(of_fold[:4].argmax(axis=1), [0, 1]))
        for name, of_fold in zip("abc", scores, strict=True)
    ]
    before = from_other_folds(folds)
    folds[1] = replace(folds[1], targets=folds[1].scores.argmin(axis=1))
    after = from_other_folds(folds)
    assert before.folds[1] == after.folds[1]
    assert before.folds[0] != after.folds[0]
    assert before.model != after.model


def overconfident(name: str) -> FoldPredictions:
    """Right as often as it says in 90 of 100; of 10 that are all but certain half are wrong."""
    best = np.repeat([0.9, 1 - 1e-6], [90, 10]).astype(np.float32)
    targets = np.zeros(100, np.int64)
    targets[81:95] = 1
    return FoldPredictions(name, np.stack([best, 1 - best], axis=1), targets)


def test_a_temperature_that_raises_the_calibration_error_does_not_help() -> None:
    found = from_other_folds([overconfident("a"), overconfident("b")])
    described = found.describe([overconfident("a"), overconfident("b")], applied=False)
    assert found.model > 2
    assert described.ece_after > described.ece_before
    assert not found.helps


def test_one_that_lowers_it_helps() -> None:
    sure = np.full((40, 2), [0.99, 0.01], np.float32)
    folds = [FoldPredictions(name, sure, np.repeat([0, 1], [28, 12])) for name in "ab"]
    assert from_other_folds(folds).helps


def test_none_is_applied_that_does_not_help(
    folder: Path, plain: TrainingRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    say_that_it_helps(monkeypatch, False)
    run = train(settings(folder, "train.calibrate=true"), tmp_path)
    assert run.report.calibration == plain.report.calibration
    assert run.report.ece == plain.report.ece
    assert "temperature" not in run.model.training
    assert run.report.calibration_note.startswith("No temperature is applied: the calibration")
    assert run.report.calibration_note in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_without_calibrate_the_report_says_what_it_would_do(plain: TrainingRun) -> None:
    found = plain.report.calibration
    assert found is not None
    assert not found.applied
    assert (found.num_clips, found.fitted_on) == (32, "test clips of the other folds")
    assert plain.report.calibration_note == ""
    page = (plain.output / "report.html").read_text(encoding="utf-8")
    assert temperature_text(found) in page
    assert found.ece_before == plain.report.ece
    scores = np.array([[c.score, 1 - c.score] for c in plain.report.clips], np.float32)
    is_wrong = np.array([c.answer != c.label for c in plain.report.clips]).astype(np.int64)
    assert found.temperature == pytest.approx(fit_temperature(scores, is_wrong), rel=1e-3)
    assert "temperature" not in plain.model.training


def test_with_it_the_model_and_the_report_are_at_the_temperature(
    plain: TrainingRun, scaled: TrainingRun
) -> None:
    assert plain.report.calibration is not None
    found = scaled.report.calibration
    assert found == replace(plain.report.calibration, applied=True)
    assert found.temperature != pytest.approx(1, abs=0.05)
    assert scaled.report.ece == found.ece_after
    assert scaled.report.top1 == plain.report.top1
    assert [c.answer for c in scaled.report.clips] == [c.answer for c in plain.report.clips]
    assert [c.score for c in scaled.report.clips] != [c.score for c in plain.report.clips]
    weights = (run.model.head.tensors["classifier.weight"] for run in (plain, scaled))
    before, after = weights
    assert np.allclose(before, after * found.temperature, atol=1e-6)
    info = read_model_info(scaled.output)
    assert info.training["temperature"] == found.temperature


def test_the_steps_of_a_fold_are_at_the_folds_temperature(scaled: TrainingRun) -> None:
    assert read_report(scaled.output).calibration == scaled.report.calibration
    assert "at temperature" in (scaled.output / "report.html").read_text(encoding="utf-8")


def test_one_fold_is_calibrated_on_its_validation_clips(folder: Path, tmp_path: Path) -> None:
    one = ("data.fold=a", "train.validation_fraction=0.3", "train.calibrate=true")
    run = train(settings(folder, *one), tmp_path)
    found = run.report.calibration
    assert found is not None
    assert (found.num_clips, found.fitted_on) == (8, "validation clips")
    plain = train(settings(folder, *one[:2]), tmp_path / "plain").report
    before = np.array([[c.score, 1 - c.score] for c in plain.clips], np.float32)
    after = [c.score for c in run.report.clips]
    assert np.allclose(at_temperature(before, found.temperature)[:, 0], after, atol=1e-5)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("data.fold=a",), r"one fold without validation clips; set train.validation_fraction"),
        (("data.split=none",), r"one fold without validation clips"),
    ],
)
def test_without_clips_to_fit_on_it_is_refused_before_the_training(
    folder: Path, tmp_path: Path, overrides: tuple[str, ...], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        train(settings(folder, "train.calibrate=true", *overrides), tmp_path)
    assert not (tmp_path / "model.safetensors").exists()
    run = train(settings(folder, *overrides), tmp_path)
    assert run.report.calibration is None
    note = read_report(tmp_path).calibration_note
    assert note.startswith(
        "A temperature needs clips that are not trained on, and there is one fold"
    )
    assert "set train.validation_fraction=0.15" in note
    assert note in (tmp_path / "report.html").read_text(encoding="utf-8")
