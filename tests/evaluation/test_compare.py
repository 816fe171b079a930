"""Two runs over the same clips, paired clip by clip."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from actionrnn.datasets.recordings import Recording
from actionrnn.errors import ActionrnnError
from actionrnn.evaluation.compare import Comparison, compare_runs
from actionrnn.evaluation.predict import FoldPredictions
from actionrnn.evaluation.summary import make_report


def shown(comparison: Comparison) -> str:
    console = Console(file=io.StringIO(), width=200)
    console.print(comparison)
    return console.file.getvalue()


def write_run(
    folder: Path, right: Sequence[bool], first: int = 0, by_seed: Sequence[Sequence[bool]] = ()
) -> Path:
    """A run that was right or not on clips of two classes, two of each person."""
    targets = np.array([index % 2 for index in range(len(right))])
    clips = tuple(
        Recording.trimmed(
            Path(f"{index}.avi"), str(index), "ab"[index % 2], f"person {index // 2}"
        ).clips[0]
        for index in range(first, first + len(right))
    )
    no = (False,) * len(clips)

    def tested(right: Sequence[bool]) -> list[FoldPredictions]:
        scores = np.eye(2, dtype=np.float32)[np.where(right, targets, 1 - targets)]
        return [FoldPredictions("fold", scores, targets, clips=clips, seen=no, leaked=no)]

    seeds = {seed: tested(column) for seed, column in enumerate(zip(*by_seed, strict=True))}
    report = make_report(("a", "b"), tested(right), by_seed=seeds or None)
    report.write(folder / "report.json")
    return folder


def test_only_the_clips_where_they_differ_decide(tmp_path: Path) -> None:
    """Of 20 clips: both right 8, only the first 1, only the second 9, neither 2."""
    first = [True] * 8 + [True] * 1 + [False] * 9 + [False] * 2
    second = [True] * 8 + [False] * 1 + [True] * 9 + [False] * 2
    runs = [write_run(tmp_path / "1", first), write_run(tmp_path / "2", second)]
    test = compare_runs(runs).tests[1]
    assert test is not None
    assert (test.only_first, test.only_this, test.num_clips) == (1, 9, 20)
    assert test.gain == pytest.approx(8 / 20)
    assert test.p_value == pytest.approx(2 * (1 + 10) / 2**10)
    low, high = test.interval or (0, 0)
    assert 0 < low < 8 / 20 < high < 0.75


def test_a_run_beside_itself_differs_by_nothing_in_either_direction(tmp_path: Path) -> None:
    run = write_run(tmp_path / "1", [True, False] * 3)
    test = compare_runs([run, run]).tests[1]
    assert test is not None
    unseen = 1 - 0.025 ** (1 / 3)
    assert (test.gain, test.p_value) == (0, 1)
    assert test.interval == pytest.approx((-unseen, unseen))
    assert f"+0.0 (-{100 * unseen:.1f} to +{100 * unseen:.1f})" in shown(compare_runs([run, run]))


def test_the_gain_is_that_of_all_seeds_and_the_p_value_that_of_the_first(tmp_path: Path) -> None:
    one = write_run(tmp_path / "1", [True, False, True, False])
    seeds = [[True, True], [False, True], [True, False], [False, True]]
    two = write_run(tmp_path / "2", [True, False, True, False], by_seed=seeds)
    test = compare_runs([one, two]).tests[1]
    assert test is not None
    assert (test.only_first, test.only_this, test.p_value) == (0, 0, 1)
    assert test.gain == pytest.approx((0 + 0.5 - 0.5 + 0.5) / 4)


def test_the_clips_that_both_tested_are_compared(tmp_path: Path) -> None:
    runs = [write_run(tmp_path / "1", [True] * 6), write_run(tmp_path / "2", [False] * 6, first=4)]
    comparison = compare_runs(runs)
    assert comparison.tests[1] is not None
    assert comparison.tests[1].num_clips == 2
    assert comparison.tests[1].gain == -1
    assert [row["num_clips"] for row in comparison.to_dict()] == [6, 6]


def test_runs_on_other_clips_cannot_be_compared(tmp_path: Path) -> None:
    runs = [write_run(tmp_path / "1", [True] * 4), write_run(tmp_path / "2", [True] * 4, first=4)]
    with pytest.raises(ActionrnnError, match=r"tested no clip in common; compare runs on the same"):
        compare_runs(runs)


def test_a_report_without_clips_cannot_be_compared(tmp_path: Path) -> None:
    one_hot = np.eye(2, dtype=np.float32)
    bare = make_report(("a", "b"), [FoldPredictions("fold", one_hot, np.array([0, 1]))])
    bare.write(tmp_path / "bare" / "report.json")
    with pytest.raises(ActionrnnError, match="lists no clips"):
        compare_runs([write_run(tmp_path / "1", [True] * 4), tmp_path / "bare"])


def test_clips_of_other_data_are_paired_by_name_and_that_is_said(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_run(tmp_path / name, [True, False] * 3)
        file = tmp_path / name / "report.json"
        report = json.loads(file.read_text())
        file.write_text(json.dumps(report | {"config": {"data": {"root": f"{name}/videos"}}}))
    told = " ".join(
        shown(compare_runs([tmp_path / "a", tmp_path / "b"])).split()
    )  # wherever it wraps
    assert "tested clips below b/videos" in told and "paired by their names" in told
    assert "paired by" not in shown(compare_runs([tmp_path / "a", tmp_path / "a"]))


@pytest.mark.parametrize(
    ("part", "change", "reason"),
    [
        ("clips", lambda clips: clips[0].update(right_by_seed=[]), "right_by_seed must have"),
        ("clips", lambda clips: clips[0]["right_by_seed"].append(True), "right_by_seed must have"),
        ("confusion", lambda rows: rows.pop(), "confusion must have"),
        ("confusion", lambda rows: rows[0].pop(), "confusion must have"),
        ("trials", lambda trials: trials.append({"fold": "a"}), "trials must say fold, head"),
    ],
)
def test_a_report_with_fewer_values_than_it_says_is_refused(
    tmp_path: Path, part: str, change: Callable[[Any], None], reason: str
) -> None:
    runs = [write_run(tmp_path / name, [True, False, True, True]) for name in "ab"]
    file = runs[1] / "report.json"
    described = json.loads(file.read_text())
    change(described[part])
    file.write_text(json.dumps(described))
    with pytest.raises(ActionrnnError, match=rf"report\.json: is not a report .*{reason}"):
        compare_runs(runs)


@pytest.mark.parametrize("top1", [float("nan"), float("inf"), 1.5, -0.1])
def test_an_accuracy_that_cannot_be_is_refused(tmp_path: Path, top1: float) -> None:
    runs = [write_run(tmp_path / name, [True, False, True, True]) for name in "ab"]
    file = runs[1] / "report.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"top1": top1}))
    with pytest.raises(ActionrnnError, match=r"is not a report of this version \(top1: "):
        compare_runs(runs)
