"""Which events are right, how many bouts they find, and how many are false alarms an hour."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from actionrnn.datasets.recordings import IGNORE
from actionrnn.evaluation.event_scores import EventCounts, count_events, event_scores
from actionrnn.evaluation.step_predictions import StepPredictions
from actionrnn.model.events import find_events
from actionrnn.options import EventRule

LABELS = ("walk", "run", "background")
LETTERS = "wr-"
RULE = EventRule(0.6, 0.4)

quick = settings(max_examples=30, deadline=None, derandomize=True)


def recording(truth: str, scores: NDArray[np.float32], group: str = "ann") -> StepPredictions:
    """One step a second; w, r, - are walk, run and background; . is unlabelled."""
    targets = [IGNORE if letter == "." else LETTERS.index(letter) for letter in truth]
    times = 5 + np.arange(len(truth), dtype=np.float64)
    return StepPredictions(group, group, times, np.array(targets, np.int64), {"gru": scores})


def said(answers: str) -> NDArray[np.float32]:
    return np.eye(3, dtype=np.float32)[[LETTERS.index(letter) for letter in answers]]


def count(truth: str, answers: str, rule: EventRule = RULE) -> tuple[int, int, int]:
    """True bouts, events, right ones."""
    found = count_events(recording(truth, said(answers)), [rule], 2)
    return found.num_true, int(found.num_found[0]), int(found.num_matched[0])


def test_a_case_worked_out_by_hand() -> None:
    """Two hours. Walk is found by the first of two events, and the second is a false alarm; run
    is found late, by an event in its second half; one more run is said in the background."""
    truth = "w" * 10 + "-" * 10 + "r" * 10 + "-" * 7170
    answers = "www--ww---" + "-" * 10 + "------rrr-" + "-" * 100 + "rr" + "-" * 7068
    found = event_scores([count_events(recording(truth, said(answers)), [RULE], 2)], RULE)
    assert (found.num_true, found.num_events, found.num_right) == (2, 4, 2)
    assert (found.recall, found.precision) == (1.0, 0.5)
    assert found.hours == pytest.approx(2)
    assert found.false_alarms_per_hour == pytest.approx(1)


@pytest.mark.parametrize(
    ("truth", "answers", "counts"),
    [
        ("--wwww--", "--wwww--", (1, 1, 1)),
        ("--wwww--", "--rrrr--", (1, 1, 0)),  # another label
        ("--ww----", "--wwww--", (1, 1, 0)),  # 2 to 6, middle 4: the bout has ended
        ("--www---", "--wwww--", (1, 1, 1)),  # middle 4, in the last step
        ("----ww--", "--wwww--", (1, 1, 1)),  # middle 4, in the first step
        ("-----w--", "--wwww--", (1, 1, 0)),
        ("ww-ww-ww", "wwwwwwww", (3, 1, 1)),  # one event finds one bout
        ("wwwwwwww", "w-w-w-w-", (1, 4, 1)),  # and a bout is found once
        ("--------", "--------", (0, 0, 0)),
        ("wwrr----", "wwrr----", (2, 2, 2)),
        ("rrww----", "wwrr----", (2, 2, 0)),
        ("ww..ww--", "wwwwww--", (2, 2, 2)),  # cut where nobody looked
        ("..ww....", "wwwwwwww", (1, 1, 1)),  # and what is said there counts for nothing
    ],
)
def test_an_event_is_right_if_its_middle_lies_in_a_bout_that_no_other_found(
    truth: str, answers: str, counts: tuple[int, int, int]
) -> None:
    assert count(truth, answers) == counts


def test_labels_may_overlap() -> None:
    sets = np.array([[False, False], [True, False], [True, True]])
    targets = np.array([0, 1, 2, 2, 1, 0], np.int64)
    scores = np.where(sets[targets], 0.9, 0.1).astype(np.float32)
    one = StepPredictions("a", "a", np.arange(6.0), targets, {"gru": scores}, label_sets=sets)
    found = count_events(one, [RULE], None)
    assert (found.num_true, found.num_found[0], found.num_matched[0]) == (2, 2, 2)


@quick
@given(st.integers(0, 10**6), st.floats(0, 3))
def test_the_events_are_those_of_a_stream(seed: int, min_seconds: float) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.random((60, 3)).astype(np.float32)
    rule = EventRule(0.7, 0.3, min_seconds)
    one = recording("-" * 60, scores)
    begun = [
        event
        for event in find_events(LABELS, scores, one.pts_seconds, rule, {"background"})
        if event.kind == "begin"
    ]
    assert count_events(one, [rule], 2).num_found[0] == len(begun)


@quick
@given(st.text("wr-", min_size=1, max_size=40), st.text("wr-", min_size=40, max_size=40))
def test_no_more_is_right_than_is_true_or_said(truth: str, answers: str) -> None:
    num_true, num_found, num_right = count(truth, answers[: len(truth)])
    assert 0 <= num_right <= min(num_true, num_found)
    assert count(truth, truth) == (num_true, num_true, num_true)


def counts_of(group: str, hours: float, true: int, found: int, right: int) -> EventCounts:
    return EventCounts(group, hours, true, np.array([found]), np.array([right]))


def test_intervals_draw_groups() -> None:
    rows = [counts_of("a", 1, 10, 9, 8), counts_of("a", 1, 10, 9, 8), counts_of("b", 2, 20, 8, 4)]
    found = event_scores(rows, RULE)
    assert (found.num_groups, found.hours) == (2, 4)
    assert found.recall == pytest.approx(0.5)
    assert found.false_alarms_per_hour == pytest.approx(6 / 4)
    assert found.intervals["recall"] == pytest.approx((0.2, 0.8))
    assert found.intervals["false_alarms_per_hour"] == pytest.approx((1, 2))
    alone = event_scores(rows[:2], RULE)
    assert set(alone.intervals.values()) == {None}


def test_what_cannot_be_counted_is_no_number() -> None:
    found = event_scores([counts_of("a", 1, 0, 0, 0)], RULE, no_false_alarms="nobody looked")
    assert (found.recall, found.precision, found.false_alarms_per_hour) == (None, None, None)
    assert found.no_false_alarms == "nobody looked"
    assert "false_alarms_per_hour" not in found.intervals
