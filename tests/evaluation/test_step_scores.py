"""The scores of the steps of whole recordings, beside baselines, with intervals over groups."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from actionrnn.datasets.recordings import IGNORE
from actionrnn.errors import ActionrnnError
from actionrnn.evaluation.step_predictions import StepPredictions
from actionrnn.evaluation.step_scores import step_report
from actionrnn.model.segments import NOTHING

LABELS = ("walk", "run", "rest")
LETTERS = "wr-"
RATES = ("accuracy", "mean_class_accuracy", "f1_at_10", "f1_at_25", "f1_at_50", "edit")

quick = settings(max_examples=30, deadline=None, derandomize=True)


def scores_of(answers: str) -> NDArray[np.float32]:
    return np.eye(3, dtype=np.float32)[[LETTERS.index(letter) for letter in answers]]


def recording(truth: str, group: str = "ann", **answers: str) -> StepPredictions:
    """At ten steps a second from 100 s on; w, r, - are walk, run and rest; . is unlabelled."""
    targets = [IGNORE if letter == "." else LETTERS.index(letter) for letter in truth]
    return StepPredictions(
        name=f"{group}.avi",
        group=group,
        pts_seconds=100 + np.arange(len(truth)) / 10,
        targets=np.array(targets, np.int64),
        scores={name: scores_of(text) for name, text in answers.items()},
    )


# runs that no rule for segments changes: each lasts more than a second
RUNS = st.lists(st.tuples(st.sampled_from(LETTERS), st.integers(12, 20)), min_size=1, max_size=6)


def timeline(runs: list[tuple[str, int]]) -> str:
    return "".join(letter * count for letter, count in runs)


def test_a_case_worked_out_by_hand() -> None:
    """walk 3 s, rest 2 s, run 2 s; the head finds walk at once, run after 0.5 s, and sees a
    flicker of run in the first second, which its answers count and its timeline does not show."""
    truth = "w" * 30 + "-" * 20 + "r" * 20
    given = "wwrw" + "w" * 26 + "-" * 25 + "r" * 15
    found = step_report(LABELS, [recording(truth, gru=given, other="w" * 70)], "rest")
    gru, other = found.models.values()
    assert gru.accuracy == pytest.approx((29 + 20 + 15) / 70)
    assert gru.mean_class_accuracy == pytest.approx((29 / 30 + 1 + 15 / 20) / 3)
    assert (gru.f1_at_10, gru.f1_at_25, gru.f1_at_50, gru.edit) == (1, 1, 1, 1)
    assert gru.delay_seconds == pytest.approx(0.25)  # the median of 0 and 0.5
    assert gru.missed == 0
    assert other.accuracy == pytest.approx(30 / 70)
    # one segment of 70 steps over walk's 30: 3/7; run is not found
    assert (other.f1_at_10, other.f1_at_25, other.f1_at_50) == (2 / 3, 2 / 3, 0)
    assert (other.edit, other.delay_seconds, other.missed) == (0.5, 0, 0.5)
    assert (found.num_recordings, found.num_steps, found.num_segments) == (1, 70, 2)
    assert set(gru.intervals.values()) == {None}  # one group


def test_the_scores_of_detection_worked_out_by_hand() -> None:
    """The same: the timeline has walk 3 s, rest 2.5 s, run 1.5 s of 7 s."""
    truth = "w" * 30 + "-" * 20 + "r" * 20
    given = "wwrw" + "w" * 26 + "-" * 25 + "r" * 15
    found = step_report(LABELS, [recording(truth, gru=given, other="w" * 70)], "rest")
    gru, other = found.models.values()
    # by score 1 and then 0: walk 29 of 29, then 30 of 70; run 15 of 16, then 20 of 70
    walk, run = 29 / 30 + 1 / 30 * 30 / 70, 15 / 20 * 15 / 16 + 5 / 20 * 20 / 70
    assert gru.frame_map == pytest.approx((walk + run) / 2)
    # with 40 / 30 and 50 / 20 wrong ones for each true one; at the end both are 1/2
    walk, run = 29 / 30 + 1 / 30 / 2, 15 / 20 * 37.5 / 38.5 + 5 / 20 / 2
    assert gru.calibrated_frame_map == pytest.approx((walk + run) / 2)
    assert (gru.segment_map_at_70, gru.segment_map) == (1, 1)  # 30/30 and 15/20
    assert gru.kappa == pytest.approx((6.5 / 7 - 17 / 49) / (1 - 17 / 49))  # 9 + 2 * 2.5 + 2 * 1.5
    assert gru.false_alarms_per_hour == 0
    # walk over all of it: 30/70 of its bout; run is never found
    maps = [getattr(other, f"segment_map_at_{iou}") for iou in (30, 40, 50, 60, 70)]
    assert maps == [0.5, 0.5, 0, 0, 0]
    assert other.segment_map == pytest.approx(0.2)
    assert other.kappa == 0
    assert other.false_alarms_per_hour == pytest.approx(3600 / 7)
    assert found.no_false_alarms == ""


def test_each_class_has_its_bouts_its_time_and_its_agreement() -> None:
    truth = "w" * 30 + "-" * 20 + "r" * 20
    given = "w" * 30 + "-" * 25 + "w" * 15
    walk, run, rest = step_report(LABELS, [recording(truth, gru=given)], "rest").classes
    assert [one.label for one in (walk, run, rest)] == list(LABELS)
    assert (walk.num_true, walk.num_predicted, walk.num_matched) == (1, 2, 1)
    assert (walk.precision, walk.recall, walk.f1) == pytest.approx((1 / 2, 1, 2 / 3))
    assert (walk.true_seconds, walk.predicted_seconds) == pytest.approx((3, 4.5))
    assert (walk.true_share, walk.predicted_share) == pytest.approx((3 / 7, 4.5 / 7))
    # of 7 s both 3, neither 2.5
    chance = (3 * 4.5 + 4 * 2.5) / 49
    assert walk.kappa == pytest.approx((5.5 / 7 - chance) / (1 - chance))
    assert walk.false_alarms_per_hour == pytest.approx(3600 / 7)
    assert (run.num_true, run.num_predicted, run.recall, run.precision) == (1, 0, 0, None)
    assert (run.predicted_share, run.f1, run.segment_ap) == (0, 0, 0)
    assert run.kappa == 0
    assert (rest.num_true, rest.num_predicted, rest.precision, rest.frame_ap) == (None,) * 4
    assert (rest.true_share, rest.predicted_share) == pytest.approx((2 / 7, 2.5 / 7))


def test_a_segment_of_a_high_score_ranks_before_one_of_a_low_score() -> None:
    """Two walks are true and found; a third, wrong one has the highest score, then the lowest."""
    truth = "w" * 15 + "-" * 15 + "w" * 15 + "-" * 45
    given = "w" * 15 + "-" * 15 + "w" * 15 + "-" * 15 + "w" * 15 + "-" * 15
    for score, expected in ((0.9, 2 / 3), (0.6, 1.0)):
        one = recording(truth, gru=given)
        scores = 0.7 * one.scores["gru"] + 0.1
        scores[60:75] = (score, 0.05, 0.95 - score)
        one = replace(one, scores={"gru": scores.astype(np.float32)})
        gru = step_report(LABELS, [one], "rest").models["gru"]
        assert gru.segment_map_at_50 == pytest.approx(expected)


def test_false_alarms_need_time_in_which_none_of_the_classes_is_seen() -> None:
    truth = "w" * 30 + "r" * 30
    for background, reason in (
        ("background", "there is no class background"),
        ("rest", "no labelled step of the test recordings is rest"),
    ):
        found = step_report(LABELS, [recording(truth, gru="w" * 60)], background)
        assert found.models["gru"].false_alarms_per_hour is None
        assert found.classes[0].false_alarms_per_hour is None
        assert reason in found.no_false_alarms


def test_time_that_nobody_looked_at_counts_for_no_score() -> None:
    """Whatever is said there: 2 s behind, where truth and answer change."""
    truth, given = "w" * 30 + "-" * 20 + "r" * 20, "w" * 30 + "-" * 30 + "r" * 10
    plain = step_report(LABELS, [recording(truth, gru=given)], "rest")
    for said in ("w" * 20, "r" * 20, "-" * 20):
        found = step_report(LABELS, [recording(truth + "." * 20, gru=given + said)], "rest")
        assert found.classes == plain.classes
        assert found.models == plain.models


def test_steps_count_as_long_as_they_last() -> None:
    one = recording("wwrr", gru="wwww")
    one = replace(one, pts_seconds=np.array([0.0, 1.0, 2.0, 6.0]))  # the last lasts 1 s, the median
    walk, run, _ = step_report(LABELS, [one]).classes
    assert (walk.true_seconds, run.true_seconds) == (2, 5)
    assert walk.true_share == pytest.approx(2 / 7)


def test_intervals_draw_groups_and_hold_the_numbers() -> None:
    rng = np.random.default_rng(5)
    recordings = []
    for group in range(12):
        letters = rng.permutation(list("wr-wr-")).tolist()
        said = [rng.choice([*LETTERS, letter, letter, letter]) for letter in letters]
        truth, given = ("".join(letter * 20 for letter in some) for some in (letters, said))
        one = recording(truth, f"g{group}", gru=given)
        noise = rng.dirichlet([0.6] * 3, len(truth))
        scores = 0.45 * one.scores["gru"] + 0.55 * noise
        recordings.append(replace(one, scores={"gru": scores.astype(np.float32)}))
    found = step_report(LABELS, recordings, "rest")
    gru = found.models["gru"]
    names = [name for name in vars(gru) if "map" in name or name in ("kappa",)]
    assert len(names) == 9
    for name in (*names, "false_alarms_per_hour"):
        low, high = gru.intervals[name] or (1, 0)
        assert low < getattr(gru, name) < high
    for name, bounds in found.classes[0].intervals.items():
        low, high = bounds or (1, 0)
        assert low <= getattr(found.classes[0], name) <= high
        assert low < high
    copies = [replace(one, name=f"{one.name}2") for one in recordings]
    twice = step_report(LABELS, [*recordings, *copies], "rest").models["gru"]
    assert twice.kappa == pytest.approx(gru.kappa)
    assert twice.intervals["kappa"] == pytest.approx(gru.intervals["kappa"])
    assert twice.intervals["frame_map"] == pytest.approx(gru.intervals["frame_map"], abs=2e-3)


def test_a_head_that_answers_later_is_as_right_and_as_much_later() -> None:
    one = recording("w" * 30 + "r" * 30, gru="w" * 30 + "r" * 30, mean="w" * 30 + "r" * 30)
    gru, mean = step_report(LABELS, [replace(one, delay_steps={"gru": 4})]).models.values()
    assert (gru.delay_seconds, mean.delay_seconds) == (pytest.approx(0.4), 0)
    assert (gru.accuracy, gru.edit, gru.missed) == (mean.accuracy, mean.edit, mean.missed)


def test_numbers_are_pooled_and_the_edit_score_is_a_mean_over_recordings() -> None:
    found = step_report(
        LABELS,
        [
            recording("w" * 60, "ann", gru="w" * 60),
            recording("w" * 20 + "r" * 20, "bob", gru="w" * 40),
        ],
    )
    gru = found.models["gru"]
    assert gru.accuracy == 0.8
    assert gru.edit == 0.75  # 1 and 1/2
    assert gru.f1_at_50 == pytest.approx(2 * 2 / 5)
    assert gru.missed == pytest.approx(1 / 3)
    assert gru.intervals["accuracy"] == (0.5, 1)
    assert gru.intervals["delay_seconds"] == (0, 0)
    assert found.num_groups == 2


@quick
@given(RUNS, RUNS)
def test_who_is_right_everywhere_has_full_marks(
    one: list[tuple[str, int]], other: list[tuple[str, int]]
) -> None:
    recordings = [
        recording(truth, group, gru=truth)
        for group, truth in (("ann", timeline(one)), ("bob", timeline(other)))
    ]
    gru = step_report(LABELS, recordings).models["gru"]
    assert [getattr(gru, name) for name in RATES] == [1] * 6
    assert (gru.delay_seconds, gru.missed) == (0, 0)
    for name in RATES:
        low, high = gru.intervals[name] or (1, 0)
        assert 0 < low < 1 == high  # two groups prove little


@quick
@given(RUNS, st.integers(0, 2**32 - 1), st.permutations(range(3)))
def test_the_order_of_the_classes_means_nothing(
    runs: list[tuple[str, int]], seed: int, order: list[int]
) -> None:
    truth = timeline(runs)
    one = recording(truth, gru=truth)
    noisy = np.random.default_rng(seed).dirichlet([0.5] * 3, len(truth)).astype(np.float32)
    one = replace(one, scores={"gru": noisy})
    other = replace(
        one,
        targets=np.argsort(order)[one.targets],
        scores={"gru": noisy[:, order]},
    )
    ours, theirs = (step_report(LABELS, [each]).models["gru"] for each in (one, other))
    for name in (*RATES, "delay_seconds", "missed"):
        assert getattr(ours, name) == pytest.approx(getattr(theirs, name))


@quick
@given(RUNS, RUNS, st.integers(1, 30), st.data())
def test_unlabelled_steps_change_no_accuracy_wherever_they_are(
    runs: list[tuple[str, int]], said: list[tuple[str, int]], count: int, data: st.DataObject
) -> None:
    truth = timeline(runs)
    given = (timeline(said) * 10)[: len(truth)]
    place = data.draw(st.integers(0, len(truth)))
    wider = truth[:place] + "." * count + truth[place:]
    more = given[:place] + "r" * count + given[place:]
    plain = step_report(LABELS, [recording(truth, gru=given)])
    found = step_report(LABELS, [recording(wider, gru=more)])
    for name in ("accuracy", "mean_class_accuracy"):
        assert getattr(found.models["gru"], name) == getattr(plain.models["gru"], name)
    assert (found.num_steps, found.num_unlabelled_steps) == (len(truth), count)


def test_a_recording_without_labels_between_others_counts_for_nothing() -> None:
    ours = [recording("w" * 20, name, gru="w" * 10 + "r" * 10) for name in ("ann", "bob")]
    empty = recording("." * 20, "eve", gru="w" * 20)
    plain, found = (step_report(LABELS, some).models["gru"] for some in (ours, [*ours, empty]))
    assert found == plain


def test_bars_follow_truth_and_timeline() -> None:
    truth, given = "w" * 20 + "." * 10 + "r" * 20, "w" * 35 + "r" * 15
    (bars,) = step_report(LABELS, [recording(truth, gru=given)]).recordings
    assert bars.truth == ((0, 100, 102), (NOTHING, 102, 103), (1, 103, 105))
    assert bars.prediction == ((0, 100, 103.5), (1, 103.5, 105))
    assert (bars.accuracy, bars.end_seconds) == (35 / 40, 105)


def test_what_a_page_shows_is_bounded() -> None:
    short = [recording("w", str(number), gru="w") for number in range(40)]
    names = [bars.name for bars in step_report(LABELS, short).recordings]
    assert len(names) == 12
    assert (names[0], names[-1]) == ("0.avi", "39.avi")
    restless = recording("wr" * 700, gru="w" * 1400)
    (bars,) = step_report(LABELS, [restless]).recordings
    assert len(bars.truth) == 600
    assert bars.truth[-1][2] == bars.prediction[-1][2] == 160
    assert bars.end_seconds == 240


def test_nothing_labelled_is_refused() -> None:
    with pytest.raises(ActionrnnError, match="none of the 1 test recordings has a labelled step"):
        step_report(LABELS, [recording("...", gru="www")])
    with pytest.raises(ActionrnnError, match="none of the 0 test recordings"):
        step_report(LABELS, [])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pts_seconds": np.zeros(2)}, "bob.avi: 3 targets need as many times"),
        ({"scores": {"gru": np.zeros((3, 2), np.float32)}}, r"scores of shape \(3, 3\)"),
        ({"scores": {"lstm": np.zeros((3, 3), np.float32)}}, r"has scores of \['lstm'\]"),
        ({"scores": {}}, "scores of shape"),
        ({"scores": {"gru": np.full((3, 3), np.nan, np.float32)}}, "that are no numbers"),
        ({"targets": np.array([0, 3, 1])}, r"must be IGNORE or in 0 ... 2"),
        ({"targets": np.array([0, -1, 1])}, r"must be IGNORE or in 0 ... 2"),
    ],
)
def test_what_does_not_fit_is_refused(changes: dict[str, object], message: str) -> None:
    fits = [recording("wwr", name, gru="wwr") for name in ("ann", "bob")]
    with pytest.raises(ValueError, match=message):
        step_report(LABELS, [fits[0], replace(fits[1], **changes)])
