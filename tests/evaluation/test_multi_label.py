"""The scores of a head that may say several labels: average precision, exact match, lanes."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from rich.console import Console

from actionrnn.datasets.recordings import IGNORE
from actionrnn.evaluation.metrics import answers_of, label_results
from actionrnn.evaluation.predict import FoldPredictions
from actionrnn.evaluation.report import Report, read_report
from actionrnn.evaluation.report_page import render_page
from actionrnn.evaluation.report_plots import class_colours, time_bars
from actionrnn.evaluation.report_text import render_text
from actionrnn.evaluation.report_words import calibration_words
from actionrnn.evaluation.step_predictions import StepPredictions
from actionrnn.evaluation.step_scores import StepResults, step_report
from actionrnn.evaluation.step_tables import step_lines, step_table
from actionrnn.evaluation.summary import make_report
from actionrnn.model.segments import NOTHING

LABELS = ("walk", "wave")
SETS = np.array([[0, 0], [1, 0], [0, 1], [1, 1]], bool)
"""The row of a step is its number in binary: 1 is walk, 2 is wave, 3 is both."""


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
    [never] = label_results(np.zeros((2, 1), np.float32), np.zeros((2, 1), bool), ("walk",))
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


def frame_aps(results: StepResults) -> dict[str, float | None]:
    return {one.label: one.frame_ap for one in results.classes}


TRUTH = "0" * 20 + "1" * 20 + "3" * 20 + "2" * 20 + "." * 10
"""Walk from 2 to 6 s, wave from 4 to 8 s."""


def test_a_perfect_answer_is_perfect_in_each_number() -> None:
    results = step_report(LABELS, [recording(TRUTH, gru=TRUTH.replace(".", "3"))])
    [gru] = results.models.values()
    assert (gru.frame_map, gru.calibrated_frame_map, gru.segment_map) == (1, 1, 1)
    assert (gru.accuracy, gru.missed, gru.kappa, gru.false_alarms_per_hour) == (1, 0, 1, 0)
    assert (gru.f1_at_10, gru.f1_at_50, gru.delay_seconds) == (1, 1, 0)
    assert frame_aps(results) == {"walk": 1, "wave": 1}
    for one in results.classes:
        assert (one.num_true, one.num_predicted, one.num_matched, one.f1) == (1, 1, 1, 1)
        assert (one.true_seconds, one.true_share, one.kappa) == (4, 0.5, 1)
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
    assert frame_aps(results) == {
        "walk": pytest.approx(walk),
        "wave": pytest.approx(40 / 80),  # all scores are equal: the part of the steps that are on
    }
    assert gru.frame_map == pytest.approx((walk + 0.5) / 2)
    # one segment found, of 30 steps of 40; two true ones
    assert gru.f1_at_50 == pytest.approx(2 / 3)
    assert (gru.missed, gru.delay_seconds) == (0.5, pytest.approx(1.0))
    # walk's segment has an overlap of 0.75 and is right at each threshold, wave's is not found
    assert gru.segment_map == pytest.approx(0.5)
    assert gru.false_alarms_per_hour == 0
    # of 8 s: nothing 2 of 5, walk alone 2 of 3, both and wave alone never
    chance = (2 * 5 + 2 * 3) / 64
    assert gru.kappa == pytest.approx((3 / 8 - chance) / (1 - chance))
    walk_scores, wave_scores = results.classes
    assert (walk_scores.true_seconds, walk_scores.predicted_seconds) == (4, 3)
    # walk against all else: 3 s on in both, 4 s off in both
    chance = (4 * 3 + 4 * 5) / 64
    assert walk_scores.kappa == pytest.approx((7 / 8 - chance) / (1 - chance))
    assert (wave_scores.num_predicted, wave_scores.recall, wave_scores.kappa) == (0, 0, 0)


def test_a_segment_of_a_label_that_is_off_is_a_false_alarm() -> None:
    [gru] = step_report(LABELS, [recording("0" * 40 + "1" * 40, gru="2" * 80)]).models.values()
    assert gru.false_alarms_per_hour == pytest.approx(3600 / 8)
    results = step_report(LABELS, [recording("1" * 40, gru="2" * 40)])
    assert next(iter(results.models.values())).false_alarms_per_hour is None
    assert results.no_false_alarms.startswith("at each labelled step some class is on")


def test_clips_of_one_label_each_are_scored_alike_either_way() -> None:
    """Sets of one label, one score above one half: what may overlap then does not."""
    sets = np.eye(3, dtype=bool)
    found = []
    for label_sets in (None, sets):
        rng, recordings = np.random.default_rng(0), []
        for number in range(4):
            truth, said = (np.repeat(rng.integers(0, 3, 12), 15) for _ in range(2))
            scores = np.where(sets[np.where(rng.random(180) < 0.3, said, truth)], 0.8, 0.1)
            recordings.append(
                StepPredictions(
                    name=f"r{number}",
                    group=f"g{number}",
                    pts_seconds=np.arange(180) / 10,
                    targets=truth,
                    scores={"gru": scores.astype(np.float32)},
                    label_sets=label_sets,
                )
            )
        found.append(step_report(("a", "b", "c"), recordings))
    single, lanes = (next(iter(one.models.values())) for one in found)
    for name in ("accuracy", "missed", "delay_seconds", "frame_map", "calibrated_frame_map"):
        assert getattr(lanes, name) == pytest.approx(getattr(single, name))
        assert lanes.intervals[name] == pytest.approx(single.intervals[name])
    assert single.intervals["mean_class_accuracy"] is not None
    assert lanes.intervals["mean_class_accuracy"] is None
    for ours, theirs in zip(found[1].classes, found[0].classes, strict=True):
        assert (ours.num_true, ours.true_seconds) == (theirs.num_true, theirs.true_seconds)
        assert ours.frame_ap == pytest.approx(theirs.frame_ap)


def test_a_label_that_never_occurs_has_no_average_precision() -> None:
    results = step_report(LABELS, [recording("0" * 20 + "1" * 20, gru="1" * 40)])
    [gru] = results.models.values()
    assert frame_aps(results) == {"walk": 0.5, "wave": None}
    assert gru.frame_map == 0.5
    [gru] = step_report(LABELS, [recording("0" * 20, gru="1" * 20)]).models.values()
    assert (gru.frame_map, gru.f1_at_10) == (None, 0)


def test_targets_are_rows_of_the_sets() -> None:
    one = recording(TRUTH, gru=TRUTH.replace(".", "0"))
    with pytest.raises(ValueError, match=r"in 0 \.\.\. 3"):
        step_report(LABELS, [replace(one, targets=np.full(90, 4, np.int64))])
    with pytest.raises(ValueError, match="2 columns"):
        step_report(LABELS, [replace(one, label_sets=SETS[:, :1])])
    with pytest.raises(ValueError, match="not those of"):
        step_report(LABELS, [one, replace(one, label_sets=SETS[::-1])])


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
    assert (report.top5, report.mean_class_accuracy) == (None, None)
    assert report.confusion == []
    assert [one.recall for one in report.classes] == [1, 0.5]


def test_the_calibration_error_is_that_of_each_class_of_each_clip() -> None:
    """Of 8 scores, 4 are 0.9 and 3 of these are on; 4 are 0.2 and 1 of these is."""
    rows, scores = np.array([1, 3, 0, 2]), scores_of("1122")
    report = make_report(LABELS, [FoldPredictions("ann", scores, rows, label_sets=SETS)])
    assert [(part.num_clips, part.accuracy) for part in report.reliability] == [
        (4, 0.25),
        (4, 0.75),
    ]
    assert report.ece == pytest.approx((0.05 + 0.15) / 2)
    said = calibration_words(report)
    assert (
        "On average a class has the score 55.0%, and 50.0% are on: the scores are too high" in said
    )
    assert "80 % of those with a score of 80 % are on" in render_page(report, [])


def test_a_report_is_read_back_and_shown(tmp_path: Path) -> None:
    report = make()
    report.write(tmp_path / "report.json")
    assert read_report(tmp_path / "report.json").steps == report.steps
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(render_text(report))
    text = console.export_text()
    assert "exact match 75.0%" in text
    assert "gru: AP of steps of walk 100.0%, wave 100.0%" in text
    assert "top-1" not in text
    assert report.steps is not None
    assert [str(column.header) for column in step_table(report.steps).columns][1] == "mAP of steps"
    assert any("AP of steps of" in line for line in step_lines(report.steps))
    page = render_page(report, [])
    assert page.count("<th>mAP of steps</th>") == 1
    assert "Which classes are confused?" not in page
    assert "Bouts and time of each class, gru" in page
    for words in ("Top-1", "top-5", "Mean class"):
        assert words not in page
    assert page.count('y="50.00%"') >= 2  # the lower lane, of truth and prediction
