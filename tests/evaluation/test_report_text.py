"""What is said of a report on the terminal."""

from __future__ import annotations

from dataclasses import replace

from actionrnn.evaluation.report import Calibration, Report
from actionrnn.evaluation.report_text import temperature_text
from actionrnn.evaluation.summary import make_report
from actionrnn.features.provenance import Failure
from tests.evaluation.reports import LABELS, scored, shown


def test_the_table_has_a_row_for_each_fold_and_one_for_all(report: Report) -> None:
    text = shown(report)
    assert "clips" in text.splitlines()[0]
    assert "gru top-1" in text
    for row in ("ann 3 66.7% 33.3%", "bob 3 33.3% 66.7%", "all 6 50.0% 50.0%"):
        assert row in text
    assert "top-1 50.0% (16.7 to 83.3), top-5 100.0% (54.1 to 100.0), mean class" in text
    assert "in brackets: 95 % bootstrap intervals over 6 clips" in text


def test_the_worst_confusions_are_named_in_order(report: Report) -> None:
    assert "most confused: wave taken for clap (2), wave taken for jump (1)" in shown(report)


def test_without_confusion_nothing_is_said_of_it() -> None:
    assert "confused" not in shown(make_report(LABELS, [scored("ann", [0, 1], [0, 1])]))


def test_a_temperature_is_advised_where_it_lowers_the_error() -> None:
    would = Calibration(2.5, "test clips of the other folds", 32, 0.3, 0.1, applied=False)
    assert temperature_text(would) == "10.0% at temperature 2.50: train.calibrate"
    worse = replace(would, ece_after=0.3)
    assert temperature_text(worse) == "30.0% at temperature 2.50, which is no better"
    done = replace(would, applied=True)
    assert temperature_text(done) == "at temperature 2.50; 30.0% without it"


def test_what_was_left_out_is_told_where_there_is_any() -> None:
    folds = [scored("ann", [0, 1], [0, 1])]
    skipped = [Failure("a", "a.avi", "a.avi: is empty")]
    text = shown(make_report(LABELS, folds, skipped=skipped))
    assert "videos that cannot be used, left out: 1\na.avi: is empty" in text
    assert "left out" not in shown(make_report(LABELS, folds))


def test_names_with_brackets_are_shown_as_they_are() -> None:
    folds = [scored("[bold]ann", [0], [0]), scored("[/bob]", [0], [1])]
    text = shown(make_report(LABELS, folds, title="[old] clips [/x]"))
    for name in ("[bold]ann", "[/bob]", "[old] clips [/x]"):
        assert name in text
