"""A model that was trained to say 'none of these' says it of other clips; others never do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from actionrnn.config import Config
from actionrnn.config_reading import parse_config
from actionrnn.errors import ConfigError, ModelError
from actionrnn.features.imported import import_features
from actionrnn.features.provenance import Features
from actionrnn.model.model_file import read_head, read_model_info, read_none_of_these
from actionrnn.model.segments import Segment
from actionrnn.options import SegmentRule
from actionrnn.training.train import TrainingRun, train

STEPS = 8


def features(seed: int, side: int | None, count: int = STEPS) -> np.ndarray:
    """Of class 0 or 1; None: of something else, between them and off their line."""
    rng = np.random.default_rng(seed)
    values = rng.normal(scale=0.3, size=(count, 6)).astype(np.float32)
    if side is not None:
        values[:, 0] += 2 * side - 1
    return values


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("none")
    for side, label in enumerate(("left", "right")):
        for number, group in enumerate("aaabbbccc"):
            file = folder / "arrays" / label / f"{group}__{number}.npy"
            file.parent.mkdir(parents=True, exist_ok=True)
            np.save(file, features(10 * number + side, side))
    import_features(folder / "arrays", folder / "store", name="two", rate_fps=8)
    import_features(folder / "arrays", folder / "norate", name="two")
    return folder


def settings(folder: Path, *overrides: str, store: str = "store") -> Config:
    sections = {
        "data": {
            "features": str(folder / store),
            "group_pattern": "^(.+)__",
            "split": "leave_one_group_out",
        },
        "head": {"hidden_size": 8, "dropout": 0.0, "projection": False},
        "train": {"epochs": 20, "batch_size": 8, "learning_rate": 0.03},
    }
    return parse_config(sections, overrides)


@pytest.fixture(scope="module")
def run(folder: Path) -> TrainingRun:
    return train(settings(folder, "train.none_of_these=true"), folder / "run")


@pytest.fixture(scope="module")
def plain(folder: Path) -> TrainingRun:
    return train(settings(folder), folder / "plain")


def a_recording() -> Features:
    """Left, something else, right: four seconds each."""
    parts = [features(100 + number, side, 32) for number, side in enumerate((0, None, 1))]
    return Features(np.concatenate(parts), np.arange(96) / 8, None)


def test_no_answer_changes(run: TrainingRun, plain: TrainingRun) -> None:
    assert plain.model.none_of_these is None
    assert run.report.clips == plain.report.clips
    with_it, without = (one.model.score(a_recording()) for one in (run, plain))
    assert np.array_equal(with_it.scores, without.scores)
    assert with_it.segments() == without.segments()
    assert with_it.prediction().labels == without.prediction().labels
    assert without.typicality is None
    assert without.prediction().typicality is None
    assert "typicality" not in without.prediction().to_dict()


def test_something_else_is_less_typical_and_gets_no_label(run: TrainingRun) -> None:
    timeline = run.model.score(a_recording())
    typicality = timeline.typicality
    assert typicality is not None
    assert typicality.shape == (96,)
    assert (
        typicality[36:60].mean() < 0.5 * np.concatenate([typicality[:28], typicality[68:]]).mean()
    )
    rule = SegmentRule(none_rate=0.1, min_seconds=0.5)
    with_rule, without = (timeline.segments(one) for one in (rule, SegmentRule(min_seconds=0.5)))
    assert with_rule[0].label == "left"
    assert with_rule[-1].label == "right"
    assert labelled_seconds(without, 4.0, 8.0) == pytest.approx(4)
    assert labelled_seconds(with_rule, 4.0, 8.0) < 3
    assert labelled_seconds(with_rule, 0.0, 4.0) > 3


def labelled_seconds(segments: list[Segment], start: float, end: float) -> float:
    return sum(
        max(0.0, min(one.end_seconds, end) - max(one.start_seconds, start)) for one in segments
    )


def test_the_rates_are_those_of_clips_that_were_not_trained_on(run: TrainingRun) -> None:
    none = run.model.none_of_these
    assert none is not None
    assert {kind: len(values) for kind, values in none.held_out.items()} == {
        "clip": 18,
        "step": 18 * STEPS,
        "stretch": 18 * STEPS,
    }
    said = [
        run.model.score(Features(features(1000 + n, n % 2), np.arange(STEPS) / 8, None))
        .prediction()
        .is_none_of_these(0.2)
        for n in range(100)
    ]
    assert np.mean(said) < 0.45


def test_a_model_file_holds_it(run: TrainingRun, plain: TrainingRun) -> None:
    info = read_model_info(run.output)
    read_head(info)
    found, own = read_none_of_these(info), run.model.none_of_these
    assert found is not None
    assert own is not None
    assert np.array_equal(found.patterns.means, own.patterns.means)
    assert np.allclose(found.held_out["clip"], own.held_out["clip"], rtol=1e-6)
    assert read_none_of_these(read_model_info(plain.output)) is None


def test_a_calibrated_model_is_compared_with_calibrated_folds(folder: Path, tmp_path: Path) -> None:
    both = ("train.none_of_these=true", "train.calibrate=true")
    model = train(settings(folder, *both), tmp_path).model
    typical = [
        model.score(Features(features(1000 + n, n % 2), np.arange(STEPS) / 8, None)).typicality
        for n in range(100)
    ]
    assert np.mean(np.concatenate(typical)) == pytest.approx(0.5, abs=0.15)


def test_one_fold_uses_its_validation_clips(folder: Path, tmp_path: Path) -> None:
    one = ("data.fold=a", "train.validation_fraction=0.4", "train.none_of_these=true")
    none = train(settings(folder, *one), tmp_path).model.none_of_these
    assert none is not None
    assert len(none.held_out["clip"]) == 6


def test_without_a_rate_there_are_no_steps(folder: Path, tmp_path: Path) -> None:
    model = train(settings(folder, "train.none_of_these=true", store="norate"), tmp_path).model
    assert model.none_of_these is not None
    assert set(model.none_of_these.held_out) == {"clip"}
    timeline = model.score(a_recording())
    assert timeline.typicality is None
    assert timeline.prediction().typicality is not None
    model.require_none_of_these(0.5, of_steps=False)
    with pytest.raises(ModelError, match=r"of whole clips alone; train it with sampling.rate_fps"):
        model.require_none_of_these(0.5, of_steps=True)


def test_a_model_without_it_says_how_to_get_it(plain: TrainingRun) -> None:
    with pytest.raises(ModelError, match=r"train it with train.none_of_these=true"):
        plain.model.require_none_of_these(0.5, of_steps=False)


def test_it_is_refused_where_every_clip_is_trained_on(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"train.none_of_these: needs clips that are not trained"):
        train(settings(folder, "train.none_of_these=true", "data.split=none"), tmp_path)
