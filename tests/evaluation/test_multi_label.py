"""The scores of a head that may say several labels: average precision, exact match, lanes."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from rich.console import Console

from actionrnn.datasets.sequences import IGNORE
from actionrnn.evaluation.metrics import answers_of, average_precision, label_results
from actionrnn.evaluation.predict import FoldPredictions
from actionrnn.evaluation.report import Report, read_report
from actionrnn.evaluation.report_page import render_page
from actionrnn.evaluation.report_plots import class_colours, time_bars
from actionrnn.evaluation.step_scores import StepPredictions, step_lines, step_report, step_table
from actionrnn.evaluation.summary import make_report
from actionrnn.model.segments import NOTHING

LABELS = ("walk", "wave")
SETS = np.array([[0, 0], [1, 0], [0, 1], [1, 1]], bool)
"""The row of a step is its number in binary: 1 is walk, 2 is wave, 3 is both."""


def on(values: list[int]) -> NDArray[np.bool_]:
    return np.array(values, bool)


def test_average_precision_worked_out_by_hand() -> None:
    scores = np.array([0.9, 0.8, 0.7, 0.6, 0.5], np.float32)
    # precision at the three hits: 1/1, 2/3, 3/5
    assert average_precision(scores, on([1, 0, 1, 0, 1])) == pytest.approx((1 + 2 / 3 + 3 / 5) / 3)
    assert average_precision(scores, on([1, 1, 0, 0, 0])) == 1
    assert average_precision(scores, on([0, 0, 0, 0, 1])) == pytest.approx(1 / 5)
    assert average_precision(scores, on([0] * 5)) is None


def test_equal_scores_share_their_rank() -> None:
    same = np.full(4, 0.5, np.float32)
    for truth in ([1, 0, 0, 0], [0, 0, 0, 1]):
        assert average_precision(same, on(truth)) == pytest.approx(1 / 4)


@given(st.lists(st.tuples(st.integers(0, 9), st.booleans()), min_size=1, max_size=40))
def test_average_precision_is_the_mean_over_hits_of_the_precision_there(
    drawn: list[tuple[int, bool]],
) -> None:
    scores = np.array([score / 9 for score, _ in drawn], np.float32)
    truth = on([is_on for _, is_on in drawn])
    found = average_precision(scores, truth)
    precisions = [truth[scores >= scores[hit]].mean() for hit in np.flatnonzero(truth)]
    assert found == (pytest.approx(np.mean(precisions)) if precisions else None)


def test_an_answer_is_the_set_of_what_is_on() -> None:
    scores = np.array([[0.5, 0.4], [0.1, 0.2], [0.9, 0.8], [0.2, 0.7]], np.float32)
    assert answers_of(scores, SETS).tolist() == [1, 0, 3, 2]
    assert answers_of(scores, SETS[:2]).tolist() == [1, 0, NOTHING, NOTHING]
    assert answers_of(scores).tolist() == [0, 1, 0, 1]


def test_recall_and_precision_of_each_label() -> None:
    scores = np.array([[0.9, 0.1], [0.8, 0.9], [0.2, 0.6], [0.1, 0.1]], np.float32)
    walk, wave = label_results(scores, SETS[[1, 3, 1, 0]], LABELS)
    assert (walk.num_clips, walk.recall, walk.precision) == (3, pytest.approx(2 / 3), 1)
    assert (wave.num_clips, wave.recall, wave.precision) == (1, 1, 0.5)
    [never] = label_results(np.zeros((2, 1), np.float32), on([0, 0])[:, None], ("walk",))
    assert (never.recall, never.precision) == (None, None)


def scores_of(rows: str) -> NDArray[np.float32]:
    """0.9 where the digit's set says so, 0.2 elsewhere."""
    return np.where(SETS[[int(digit) for digit in rows]], 0.9, 0.2).astype(np.float32)


def recording(truth: str, name: str = "v", **answers: str) -> StepPredictions:
    """At ten steps a second; digits are rows of `SETS`, . is unlabelled."""
    return StepPredictions(
        name=name,
        group=name,
        pts_seconds=np.arange(len(truth)) / 10,
        targets=np.array([IGNORE if one == "." else int(one) for one in truth], np.int64),
        scores={model: scores_of(rows) for model, rows in answers.items()},
        label_sets=SETS,
    )


TRUTH = "0" * 20 + "1" * 20 + "3" * 20 + "2" * 20 + "." * 10
"""Walk from 2 to 6 s, wave from 4 to 8 s."""


def test_a_perfect_answer_is_perfect_in_each_number() -> None:
    results = step_report(LABELS, [recording(TRUTH, gru=TRUTH.replace(".", "3"))])
    [gru] = results.models.values()
    assert (gru.mean_average_precision, gru.accuracy, gru.missed) == (1, 1, 0)
    assert (gru.f1_at_10, gru.f1_at_50, gru.delay_seconds) == (1, 1, 0)
    assert gru.average_precisions == {"walk": 1, "wave": 1}
    assert (gru.mean_class_accuracy, gru.edit) == (None, None)
    assert results.multi_label
    assert (results.num_steps, results.num_unlabelled_steps, results.num_segments) == (80, 10, 2)


def test_a_case_worked_out_by_hand() -> None:
    """Walk is seen a second late, wave never."""
    given_rows = "0" * 30 + "1" * 30 + "0" * 30
    results = step_report(LABELS, [recording(TRUTH, gru=given_rows)])
    [gru] = results.models.values()
    assert gru.accuracy == pytest.approx((20 + 10) / 80)  # nothing, and walk alone
    # walk: 30 hits rank first, then the 10 others among the 50 that tie
    walk = (30 * 1 + 10 * 40 / 80) / 40
    assert gru.average_precisions == {
        "walk": pytest.approx(walk),
        "wave": pytest.approx(40 / 80),  # all scores are equal: the part of the steps that are on
    }
    assert gru.mean_average_precision == pytest.approx((walk + 0.5) / 2)
    # one segment found, of 30 steps of 40; two true ones
    assert gru.f1_at_50 == pytest.approx(2 / 3)
    assert (gru.missed, gru.delay_seconds) == (0.5, pytest.approx(1.0))


def test_a_label_that_never_occurs_has_no_average_precision() -> None:
    [gru] = step_report(LABELS, [recording("0" * 20 + "1" * 20, gru="1" * 40)]).models.values()
    assert gru.average_precisions == {"walk": 0.5}
    assert gru.mean_average_precision == 0.5
    [gru] = step_report(LABELS, [recording("0" * 20, gru="1" * 20)]).models.values()
    assert (gru.mean_average_precision, gru.f1_at_10) == (None, 0)


def test_targets_are_rows_of_the_sets() -> None:
    one = recording(TRUTH, gru=TRUTH.replace(".", "0"))
    with pytest.raises(ValueError, match=r"in 0 \.\.\. 3"):
        step_report(LABELS, [replace(one, targets=np.full(90, 4, np.int64))])
    with pytest.raises(ValueError, match="2 columns"):
        step_report(LABELS, [replace(one, label_sets=SETS[:, :1])])


def test_the_bars_have_a_lane_for_each_label() -> None:
    results = step_report(LABELS, [recording(TRUTH, gru=TRUTH.replace(".", "0"))])
    [bars] = results.recordings
    assert bars.lanes == (0, 1)
    assert bars.truth == ((NOTHING, 8.0, 9.0), (0, 2.0, 6.0), (1, 4.0, 8.0))
    assert bars.prediction == ((0, 2.0, 6.0), (1, 4.0, 8.0))
    assert bars.span == (0.0, 9.0)
    drawn = time_bars(bars, LABELS, class_colours([bars], LABELS, None))
    walk, wave = drawn.truth
    assert (walk.top, walk.height, wave.top, wave.height) == (0, 50, 50, 50)
    assert walk.left < wave.left < walk.left + walk.width  # both are seen where they overlap
    [unlabelled] = drawn.uncounted
    assert (unlabelled.top, unlabelled.height) == (0, 100)


def test_a_long_recording_is_drawn_as_far_as_there_is_room() -> None:
    truth = "0123" * 500
    [bars] = step_report(LABELS, [recording(truth, gru=truth)]).recordings
    assert bars.end_seconds == 200
    assert bars.span is not None
    assert bars.span[1] < 100
    assert len(bars.truth) <= 601


def folds() -> list[FoldPredictions]:
    rows = [1, 3, 0, 2]
    scores = scores_of("1102")
    return [FoldPredictions("ann", scores, np.array(rows, np.int64), label_sets=SETS)]


def make() -> Report:
    steps = step_report(LABELS, [recording(TRUTH, gru=TRUTH.replace(".", "0"))])
    return make_report(LABELS, folds(), steps=steps, title="<b>", config={"head": {"kind": "gru"}})


def test_a_report_counts_exact_matches_and_leaves_out_what_supposes_one_class() -> None:
    report = make()
    assert report.multi_label
    assert report.top1 == 0.75
    assert (report.top5, report.mean_class_accuracy, report.ece) == (None, None, None)
    assert report.confusion == []
    assert [one.recall for one in report.classes] == [1, 0.5]


def test_a_report_is_read_back_and_shown(tmp_path: Path) -> None:
    report = make()
    report.write(tmp_path / "report.json")
    assert read_report(tmp_path / "report.json").steps == report.steps
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(report)
    text = console.export_text()
    assert "exact match 75.0%" in text
    assert "average precision of gru: walk 100.0%, wave 100.0%" in text
    assert "top-1" not in text
    assert report.steps is not None
    assert [str(column.header) for column in step_table(report.steps).columns][1] == "mAP"
    assert any("average precision" in line for line in step_lines(report.steps))
    page = render_page(report, [])
    assert "mAP of the steps" in page
    assert "Which classes are confused?" not in page
    assert "Average precision, class by class" in page
    for words in ("Top-1", "top-5", "Mean class"):
        assert words not in page
    assert page.count('y="50.00%"') >= 2  # the lower lane, of truth and prediction
