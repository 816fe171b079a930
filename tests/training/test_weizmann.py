"""Real people: each of nine left out in turn, at the accuracy that was promised."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import actionrnn

PEOPLE = ["daria", "denis", "eli", "ido", "ira", "lena", "lyova", "moshe", "shahar"]


@pytest.mark.slow
@pytest.mark.realdata
def test_people_who_were_left_out_are_recognised(real_data: Path, tmp_path: Path) -> None:
    root = real_data / "weizmann"
    config = actionrnn.load_config("weizmann_gru", [f"data.root={root}", "data.fold=all"])
    run = actionrnn.train(config, tmp_path / "weizmann")

    report = json.loads((tmp_path / "weizmann" / "report.json").read_text())
    assert report["top1"] >= 0.9
    assert report["num_clips"] == 90
    assert [fold["group"] for fold in report["folds"]] == PEOPLE
    assert [fold["num_clips"] for fold in report["folds"]] == [10] * 9
    assert len(report["labels"]) == 10
    confusion = np.array(report["confusion"])
    assert confusion.sum() == 90
    assert np.trace(confusion) / 90 == pytest.approx(report["top1"])
    assert report["mean_class_accuracy"] == pytest.approx(report["top1"])  # 9 clips a class
    assert 0.5 < report["baseline_mean_pool_top1"] <= 1
    assert report["skipped"] == []

    model = actionrnn.load(run.output / "model.safetensors")
    assert model.training["groups"] == PEOPLE
    tried = [root / label / f"ido_{label}.avi" for label in report["labels"]]
    predictions = [model.classify(path) for path in tried]
    right = [p.label == path.parent.name for p, path in zip(predictions, tried, strict=True)]
    assert sum(right) >= 9  # the model has seen everybody
    assert all(sum(p.scores) == pytest.approx(1, abs=1e-5) for p in predictions)
