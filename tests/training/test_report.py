"""What an evaluation found, as JSON and on the terminal."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from actionrnn.training.report import Report, make_report
from actionrnn.training.scoring import Scored

LABELS = ("clap", "jump", "wave")


def scored(
    name: str, answers: list[int], targets: list[int], baseline: list[int] | None = None
) -> Scored:
    one_hot = np.eye(3, dtype=np.float32)
    return Scored(
        name,
        one_hot[answers],
        np.array(targets),
        None if baseline is None else one_hot[baseline],
    )


def shown(report: Report) -> str:
    console = Console(file=io.StringIO(), width=100)
    console.print(report)
    text = console.file.getvalue()
    return "\n".join(" ".join(line.replace("│", " ").split()) for line in text.splitlines())


@pytest.fixture
def report() -> Report:
    """Ann: 2 of 3 right, baseline 1; Bob: 1 of 3, baseline 2."""
    folds = [
        scored("ann", [0, 1, 0], [0, 1, 2], baseline=[0, 0, 0]),
        scored("bob", [0, 0, 1], [0, 2, 2], baseline=[0, 2, 1]),
    ]
    return make_report(LABELS, folds, title="clips", config={"head": {"kind": "gru"}})


def test_folds_are_pooled(report: Report) -> None:
    assert report.num_clips == 6
    assert report.top1 == pytest.approx(3 / 6)
    assert report.baseline_mean_pool_top1 == pytest.approx(3 / 6)
    assert report.confusion == [[2, 0, 0], [0, 1, 0], [2, 1, 0]]
    assert report.mean_class_accuracy == pytest.approx((1 + 1 + 0) / 3)
    assert report.top5 == 1


def test_each_fold_has_its_own_numbers(report: Report) -> None:
    ann, bob = report.folds
    assert (ann.group, ann.num_clips, bob.group, bob.num_clips) == ("ann", 3, "bob", 3)
    assert (ann.top1, bob.top1) == pytest.approx((2 / 3, 1 / 3))
    assert ann.baseline_mean_pool_top1 == pytest.approx(1 / 3)
    assert bob.baseline_mean_pool_top1 == pytest.approx(2 / 3)


def test_folds_of_unequal_size_count_by_their_clips() -> None:
    folds = [scored("ann", [0], [0]), scored("bob", [0, 0, 0], [1, 1, 1])]
    assert make_report(LABELS, folds).top1 == 0.25


def test_json(report: Report, tmp_path: Path) -> None:
    path = tmp_path / "deep" / "report.json"
    report.write(path)
    read = json.loads(path.read_text())
    assert read["labels"] == list(LABELS)
    assert read["num_clips"] == 6
    assert read["top1"] == read["baseline_mean_pool_top1"] == 0.5
    assert read["mean_class_accuracy"] == pytest.approx(2 / 3)
    assert read["confusion"] == [[2, 0, 0], [0, 1, 0], [2, 1, 0]]
    assert [fold["group"] for fold in read["folds"]] == ["ann", "bob"]
    assert [fold["top1"] for fold in read["folds"]] == pytest.approx([2 / 3, 1 / 3])
    assert read["config"] == {"head": {"kind": "gru"}}
    assert read == json.loads(json.dumps(report.to_dict()))


def test_without_a_baseline_there_is_none() -> None:
    report = make_report(LABELS, [scored("ann", [0], [0])])
    assert report.baseline_mean_pool_top1 is None
    assert report.folds[0].baseline_mean_pool_top1 is None
    assert "ann 1 100.0% -" in shown(report)


def test_the_table_has_a_row_for_each_fold_and_one_for_all(report: Report) -> None:
    text = shown(report)
    assert "clips" in text.splitlines()[0]
    assert "gru top-1" in text
    for row in ("ann 3 66.7% 33.3%", "bob 3 33.3% 66.7%", "all 6 50.0% 50.0%"):
        assert row in text
    assert "top-5 100.0%, mean class accuracy 66.7%" in text


def test_the_worst_confusions_are_named_in_order(report: Report) -> None:
    assert "most confused: wave taken for clap (2), wave taken for jump (1)" in shown(report)


def test_without_confusion_nothing_is_said_of_it() -> None:
    assert "confused" not in shown(make_report(LABELS, [scored("ann", [0, 1], [0, 1])]))


@pytest.mark.parametrize(
    ("rest", "note"),
    [
        ({"skipped": [{"path": "a.avi", "reason": "a.avi: is empty"}]}, "left out: 1 video"),
    ],
)
def test_notes_are_made_where_they_apply(rest: dict[str, Any], note: str) -> None:
    folds = [scored("ann", [0, 1], [0, 1])]
    assert note in shown(make_report(LABELS, folds, **rest))
    assert note.split(":")[0] not in shown(make_report(LABELS, folds))


def test_names_with_brackets_are_shown_as_they_are() -> None:
    folds = [scored("[bold]ann", [0], [0]), scored("[/bob]", [0], [1])]
    text = shown(make_report(LABELS, folds, title="[old] clips [/x]"))
    for name in ("[bold]ann", "[/bob]", "[old] clips [/x]"):
        assert name in text
