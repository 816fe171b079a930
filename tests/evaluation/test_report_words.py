"""What is said of a report's numbers, and when."""

from __future__ import annotations

from dataclasses import replace

import pytest

from actionrnn.evaluation.bootstrap import Interval
from actionrnn.evaluation.report import Report
from actionrnn.evaluation.report_words import (
    calibration_words,
    early_words,
    horizon_words,
    order_words,
    verdict_words,
)
from actionrnn.training.train import TrainingRun


@pytest.fixture
def report(run: TrainingRun) -> Report:
    """A report to be changed."""
    return replace(run.report, top1=0.8, baseline_mean_pool_top1=0.7, num_units=30)


@pytest.mark.parametrize(
    ("bounds", "num_units", "said"),
    [
        ((0.04, 0.16), 30, "10.0 points better than a mean over frames (95 % interval +4.0 to +16"),
        ((0.04, 0.16), 30, "): more than luck."),
        ((0.04, 0.16), 9, "): probably more than luck."),
        ((0.0, 0.2), 30, "): which may be luck."),
        (None, 1, "The gru is 10.0 points better than a mean over frames."),
    ],
)
def test_a_gain_is_called_luck_if_its_interval_reaches_zero(
    report: Report, bounds: Interval | None, num_units: int, said: str
) -> None:
    intervals = {"gain_over_mean_pool": bounds}
    assert said in verdict_words(replace(report, intervals=intervals, num_units=num_units))


def test_a_head_that_is_worse_is_called_worse(report: Report) -> None:
    worse = replace(report, top1=0.6, intervals={"gain_over_mean_pool": (-0.2, -0.05)})
    assert "10.0 points worse" in verdict_words(worse)
    assert "order brought nothing" in verdict_words(replace(report, top1=0.7))
    assert verdict_words(replace(report, baseline_mean_pool_top1=None)) == ""


@pytest.mark.parametrize(
    ("shuffled", "said"),
    [
        (0.5, "It uses the frames' order: shuffling the test clips' frames costs 30.0 points."),
        (0.82, "It does not need the frames' order: shuffled, it scores +2.0 points."),
    ],
)
def test_shuffling_shows_whether_order_is_used(report: Report, shuffled: float, said: str) -> None:
    assert order_words(replace(report, baseline_shuffled_frames_top1=shuffled)) == said


def test_nine_tenths_of_the_final_accuracy_are_found(report: Report) -> None:
    values = (0.1, 0.2, 0.5, 0.73, 0.7, 0.75, 0.78, 0.8, 0.8, 0.8)
    said = early_words(replace(report, observed={"gru": values}))
    assert said.startswith("After the first 40 % of the video")
    assert said.endswith("after the first 10 %, 10.0% are right.")


def test_every_run_has_something_to_say(run: TrainingRun) -> None:
    for words in (calibration_words, horizon_words):
        assert words(run.report).endswith(".")
