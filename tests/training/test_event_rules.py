"""Thresholds of events are chosen on groups that are not tested, and go into the model."""

from __future__ import annotations

import csv
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from actionrnn.apps.card import make_card
from actionrnn.apps.cli import main
from actionrnn.config import Config
from actionrnn.config_reading import parse_config
from actionrnn.datasets.recordings import BACKGROUND
from actionrnn.errors import ConfigError, ModelError
from actionrnn.evaluation.evaluate import evaluate
from actionrnn.evaluation.event_scores import count_events
from actionrnn.evaluation.report import read_report
from actionrnn.evaluation.step_predictions import StepPredictions
from actionrnn.features.imported import import_features
from actionrnn.features.provenance import Features
from actionrnn.model.model_file import read_model_info
from actionrnn.options import EventRule
from actionrnn.training.event_rules import RULES, choose_and_test, choose_rule
from actionrnn.training.train import TrainingRun, train

LABELS = ("walk", BACKGROUND)
HOUR = 3600


def recording(group: str, **peaks: float) -> StepPredictions:
    """An hour of background at a step a second; 20 s of walk, and 20 s of what looks like it."""
    walk = np.full(HOUR, 0.01, np.float32)
    targets = np.ones(HOUR, np.int64)
    for place, (kind, peak) in enumerate(peaks.items()):
        part = slice(100 * place + 50, 100 * place + 70)
        walk[part] = peak
        if kind.startswith("walk"):
            targets[part] = 0
    scores = np.stack([walk, 1 - walk], axis=1)
    return StepPredictions(group, group, np.arange(HOUR) * 1.0, targets, {"gru": scores})


def chosen(most_per_hour: float, *recordings: StepPredictions) -> EventRule | None:
    return choose_rule([count_events(one, RULES, 1) for one in recordings], most_per_hour)


def test_the_most_is_found_that_the_false_alarms_allow() -> None:
    hard = recording("a", walk=0.95, other=0.9, walk2=0.7, other2=0.5, walk3=0.3)
    for most, begin_between in ((0.5, (0.9, 0.95)), (1, (0.5, 0.7)), (2, (0.12, 0.3))):
        rule = chosen(most, hard)
        assert rule is not None
        low, high = begin_between
        assert low < rule.begin_threshold <= high


def test_of_equal_ones_the_middle_is_taken() -> None:
    rule = chosen(1, recording("a", walk=0.99, other=0.3))
    assert rule is not None
    begins = sorted({one.begin_threshold for one in RULES if 0.3 < one.begin_threshold <= 0.99})
    assert abs(begins.index(rule.begin_threshold) - len(begins) // 2) <= 2


def test_the_rate_is_that_of_all_hours_together() -> None:
    loud, quiet = recording("a", walk=0.7, other=0.8), recording("b", walk=0.7)
    assert chosen(0.5, loud) is None
    rule = chosen(0.5, loud, quiet)
    assert rule is not None
    assert rule.begin_threshold <= 0.7


def test_each_fold_is_tested_by_the_thresholds_of_the_others() -> None:
    """Alone, the last would have chosen thresholds that find its walk without a false alarm."""
    easy = [recording(group, walk=0.7, walk2=0.7) for group in "ab"]
    last = recording("c", walk=0.9, other=0.8)
    found, why_not = choose_and_test(LABELS, [[one] for one in (*easy, last)], [], 0.1)
    assert (found is not None, why_not) == (True, "")
    assert found is not None and found.choice is not None
    of_last = found.tested_rules[2]
    assert of_last.begin_threshold <= 0.7 < found.tested_rules[0].begin_threshold
    assert (found.num_true, found.num_events, found.num_right) == (5, 2, 1)
    assert found.recall == 0.2
    assert found.false_alarms_per_hour == pytest.approx(1 / 3)
    assert found.rule.begin_threshold > 0.8  # the model's: chosen on all
    assert (found.choice.recall, found.choice.false_alarms_per_hour) == (0.2, 0)
    assert (found.choice.num_groups, found.num_groups) == (3, 3)


def test_one_fold_is_tested_by_the_thresholds_of_its_validation() -> None:
    test, validation = recording("a", walk=0.9, other=0.5), recording("b", walk=0.6, other=0.5)
    found, _ = choose_and_test(LABELS, [[test]], [validation], 1)
    assert found is not None and found.choice is not None
    assert found.tested_rules == (found.rule,)
    assert 0.5 < found.rule.begin_threshold <= 0.6
    assert (found.recall, found.false_alarms_per_hour) == (1, 0)
    assert (found.choice.num_groups, found.choice.hours) == (1, pytest.approx(1))


def test_without_a_way_there_are_none_and_the_reason() -> None:
    loud = [[recording(group, walk=0.5, other=0.9)] for group in "ab"]
    found, why_not = choose_and_test(LABELS, loud, [], 0.5)
    assert found is None
    assert why_not.startswith("no thresholds find anything with at most 0.5 false alarms an hour")
    nothing = [[recording(group, walk=0.9)] for group in "ab"]
    for [one] in nothing:
        one.targets[:] = 0
    found, why_not = choose_and_test(LABELS, nothing, [], 1)
    assert (found, why_not) == (None, f"no labelled step of the test recordings is {BACKGROUND}")


# A training


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("events")
    rng = np.random.default_rng(0)
    for side, label in enumerate(("left", "right", BACKGROUND)):
        for number, group in enumerate("aaabbbccc"):
            values = rng.normal(scale=0.3, size=(16, 6)).astype(np.float32)
            values[:, side] += 2
            for name in ("arrays", *(["few"] if label != BACKGROUND else [])):
                file = folder / name / label / f"{group}__{number}.npy"
                file.parent.mkdir(parents=True, exist_ok=True)
                np.save(file, values)
    import_features(folder / "arrays", folder / "store", name="two", rate_fps=8)
    import_features(folder / "arrays", folder / "norate", name="two")
    import_features(folder / "few", folder / "unknown", name="two", rate_fps=8)
    return folder


def settings(folder: Path, *overrides: str, store: str = "store") -> Config:
    sections = {
        "data": {
            "features": str(folder / store),
            "group_pattern": "^(.+)__",
            "split": "leave_one_group_out",
        },
        "head": {"hidden_size": 8, "dropout": 0.0},
        "train": {"epochs": 20, "batch_size": 8, "learning_rate": 0.03, "event_thresholds": True},
    }
    return parse_config(sections, overrides)


@pytest.fixture(scope="module")
def run(folder: Path) -> TrainingRun:
    return train(settings(folder), folder / "run")


def test_report_and_model_have_the_thresholds(run: TrainingRun) -> None:
    events = run.report.events
    assert events is not None and events.choice is not None
    assert events.rule in RULES
    assert len(events.tested_rules) == 3
    assert run.report.steps is not None
    assert events.num_true == run.report.steps.num_segments > 0
    assert events.recall is not None and events.recall > 0.5
    assert events.hours == pytest.approx(27 * 2 / HOUR)
    assert run.model.event_rule == events.rule
    assert read_model_info(run.output).training["event_rule"] == asdict(events.rule)
    assert read_report(run.output).events == events


def test_a_timeline_uses_them(run: TrainingRun) -> None:
    rng = np.random.default_rng(1)
    values = rng.normal(scale=0.3, size=(48, 6)).astype(np.float32)
    values[np.arange(48), np.repeat([2, 0, 2], 16)] += 2
    timeline = run.model.score(Features(values, np.arange(48) / 8, None))
    given = timeline.events(run.model.event_rule, ignored={BACKGROUND})
    assert timeline.events(ignored={BACKGROUND}) == given
    assert [event.label for event in given] == ["left", "left"]
    assert timeline.events(EventRule(1.0, 1.0)) == []


def test_they_are_told_of_everywhere(run: TrainingRun) -> None:
    events = run.report.events
    assert events is not None
    begin = f"{events.rule.begin_threshold:g}"
    page = (run.output / "report.html").read_text()
    assert "Events, as a stream gives them" in page and f"begin {begin}" in page
    told = CliRunner().invoke(main, ["info", str(run.output)]).output
    assert f"begin at {begin}" in told
    assert "| events: actions found |" in make_card(read_model_info(run.output))
    rows = list(csv.DictReader((run.output / "scores.csv").read_text().splitlines()))
    [recall] = [row for row in rows if (row["of"], row["score"]) == ("events", "recall")]
    assert float(recall["value"]) == pytest.approx(events.recall, rel=1e-5)
    assert (recall["model"], recall["unit"]) == ("gru", "part")


def test_evaluate_scores_its_events_by_them(run: TrainingRun, folder: Path, tmp_path: Path) -> None:
    report = evaluate(run.output, [f"data.features={folder / 'store'}"], output=tmp_path / "x")
    assert report.events is not None and run.report.events is not None
    assert report.events.choice is None
    assert report.events.tested_rules == (run.report.events.rule,)
    other = evaluate(run.output, [f"data.features={folder / 'unknown'}"])
    assert other.events is not None
    assert other.events.recall is not None
    assert other.events.false_alarms_per_hour is None
    assert other.events.no_false_alarms


@pytest.mark.parametrize(
    "damage", [{"begin_threshold": 0.0}, {"end_threshold": 1.0}, {"colour": 1}, 5]
)
def test_a_damaged_rule_is_one_line(run: TrainingRun, tmp_path: Path, damage: object) -> None:
    own = run.model.training["event_rule"]
    rule = own | damage if isinstance(damage, dict) else damage
    replace(run.model, training=run.model.training | {"event_rule": rule}).save(tmp_path / "m")
    with pytest.raises(ModelError, match=r"m: its description is damaged \(.*event_rule") as error:
        read_model_info(tmp_path / "m")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("store", "overrides", "message"),
    [
        ("unknown", (), r"false alarms need a class background, and there are left, right;"),
        ("norate", (), r"joined clips need a rate of steps"),
        ("store", ("data.split=none",), r"train.event_thresholds: needs clips that are not"),
    ],
)
def test_what_cannot_be_counted_is_refused(
    folder: Path, tmp_path: Path, store: str, overrides: tuple[str, ...], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        train(settings(folder, *overrides, store=store), tmp_path)


def test_one_fold_uses_its_validation_recordings(folder: Path, tmp_path: Path) -> None:
    config = settings(folder, "data.fold=a", "train.validation_fraction=0.4")
    report = train(config, tmp_path).report
    assert report.events is not None and report.events.choice is not None
    assert report.events.choice.chosen_on == "validation recordings"
    assert (report.events.choice.num_groups, report.events.num_groups) == (1, 1)
