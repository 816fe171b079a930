"""Matching bouts and agreement, against cases worked out by hand and slower code."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from actionrnn.evaluation.bouts import (
    IOUS,
    Tally,
    class_kappas,
    kappa_of,
    match_bouts,
    matches,
    overall_kappa,
)

quick = settings(max_examples=80, deadline=None, derandomize=True)
SPAN = st.tuples(st.integers(0, 30), st.integers(1, 12)).map(lambda one: (one[0], one[0] + one[1]))
SPANS = st.lists(SPAN, max_size=8)


def array(spans: list[tuple[int, int]]) -> NDArray[np.float64]:
    return np.array(spans, np.float64).reshape(-1, 2)


def test_matches_worked_out_by_hand() -> None:
    """True 0-10 and 20-30. In the order of score: 1-10 (9/10) takes the first; 0-9 (9/10) finds it
    again; 20-26 (6/10) takes the second up to 0.6; 40-50 meets nothing."""
    found = array([(0, 9), (1, 10), (20, 26), (40, 50)])
    hits = matches(found, np.array([0.6, 0.9, 0.5, 0.8]), array([(0, 10), (20, 30)]))
    assert IOUS == (0.3, 0.4, 0.5, 0.6, 0.7)
    assert hits.tolist() == [[False] * 5, [True] * 5, [True] * 4 + [False], [False] * 5]


def test_who_comes_later_takes_the_next_best_that_is_free() -> None:
    """Both overlap 0-10 best; the second also has 4/8 of 6-10."""
    found, true = array([(0, 10), (2, 10)]), array([(0, 10), (6, 10)])
    assert matches(found, np.array([0.9, 0.8]), true, (0.5,)).tolist() == [[True], [True]]
    assert matches(found, np.array([0.9, 0.8]), true, (0.6,)).tolist() == [[True], [False]]


def test_the_threshold_itself_is_enough_also_in_seconds_that_round() -> None:
    true = np.array([(0.1, 0.4)])
    assert matches(np.array([(0.1, 0.25)]), np.ones(1), true, (0.5,)).all()
    assert not matches(np.array([(0.1, 0.2499)]), np.ones(1), true, (0.5,)).any()


def test_touching_and_empty_segments_match_nothing() -> None:
    assert not matches(array([(0, 5)]), np.ones(1), array([(5, 9)]), (0.1,)).any()
    assert not matches(array([(3, 3)]), np.ones(1), array([(3, 3)]), (0.1,)).any()
    assert matches(array([]), np.ones(0), array([(0, 1)])).shape == (0, 5)
    assert not matches(array([(0, 1)]), np.ones(1), array([])).any()


def has_ties(found: list[tuple[int, int]], true: list[tuple[int, int]]) -> bool:
    """Whether one overlaps two true ones equally well, which may be taken in either order."""
    for ours in found:
        overlaps = [
            max(0, min(ours[1], end) - max(ours[0], begin))
            / (max(ours[1], end) - min(ours[0], begin))
            for begin, end in true
        ]
        known = [overlap for overlap in overlaps if overlap]
        if len(known) != len(set(known)):
            return True
    return False


@quick
@given(SPANS, SPANS, st.randoms(use_true_random=False), st.sampled_from(IOUS))
def test_matches_are_those_of_a_loop_over_all_pairs(
    found: list[tuple[int, int]], true: list[tuple[int, int]], random: object, iou: float
) -> None:
    assume(not has_ties(found, true))
    scores = [random.random() for _ in found]  # type: ignore[attr-defined]
    taken: set[int] = set()
    expected = [False] * len(found)
    for one in sorted(range(len(found)), key=lambda which: -scores[which]):
        ours = set(range(*found[one]))
        overlaps = []
        for place, span in enumerate(true):
            theirs = set(range(*span))
            overlaps.append((len(ours & theirs) / len(ours | theirs), place))
        for overlap, place in sorted(overlaps, reverse=True):
            if overlap >= iou and place not in taken:
                taken.add(place)
                expected[one] = True
                break
    hits = matches(array(found), np.array(scores), array(true), (iou,))
    assert hits[:, 0].tolist() == expected


def test_bouts_match_within_their_class_alone() -> None:
    found = np.array([(0, 10, 0), (20, 30, 1), (40, 44, 1)])
    true = np.array([(0, 10, 1), (20, 30, 1), (50, 60, 2)])
    bouts = match_bouts(found, np.array([0.9, 0.8, 0.7]), true, 4)
    assert bouts.num_found.tolist() == [1, 2, 0, 0]
    assert bouts.num_true.tolist() == [0, 2, 1, 0]
    assert bouts.num_matched.tolist() == [0, 1, 0, 0]


def test_kappa_of_a_known_table() -> None:
    """Both yes 20, only the first 5, only the second 10, both no 15: (0.7 - 0.5) / (1 - 0.5)."""
    chance = 25 * 30 + 25 * 20
    assert kappa_of(*map(np.array, ([35.0], [chance], [50.0]))) == pytest.approx(0.4)


def test_kappa_has_its_ends_and_no_number_where_chance_is_all() -> None:
    same = kappa_of(np.array([10.0]), np.array([5.0 * 5 + 5 * 5]), np.array([10.0]))
    never = kappa_of(np.array([0.0]), np.array([5.0 * 5 + 5 * 5]), np.array([10.0]))
    both_always = kappa_of(np.array([0.3]), np.array([(0.1 + 0.2) ** 2]), np.array([0.3]))
    assert (same.tolist(), never.tolist()) == ([1], [-1])
    assert np.isnan(both_always).all()


def tally(confusion: NDArray[np.float64]) -> Tally:
    """Of classes that exclude each other: seconds of a true class (row) and a said one."""
    true, found, both = confusion.sum(axis=1), confusion.sum(axis=0), np.diag(confusion)
    nothing = np.zeros((1, len(confusion)))
    return Tally(
        seconds=confusion.sum(keepdims=True)[0],
        both=both[None],
        true=true[None],
        found=found[None],
        num_true=nothing,
        num_found=nothing,
        num_matched=nothing,
        agreed=both.sum(keepdims=True),
        true_states=true[None],
        found_states=found[None],
    )


def test_kappas_of_three_classes_worked_out_by_hand() -> None:
    """Cohen: p_o = 0.7, p_e = 0.5 * 0.4 + 0.3 * 0.3 + 0.2 * 0.3 = 0.35."""
    found = tally(np.array([[35.0, 5, 10], [5, 20, 5], [0, 5, 15]]))
    assert overall_kappa(found) == pytest.approx((0.7 - 0.35) / 0.65)
    # the first class: 35 both, 45 neither, of 50 and 40
    chance = 0.5 * 0.4 + 0.5 * 0.6
    assert class_kappas(found)[0, 0] == pytest.approx((0.8 - chance) / (1 - chance))


@quick
@given(st.lists(st.lists(st.integers(0, 9), min_size=3, max_size=3), min_size=3, max_size=3))
def test_a_class_against_the_rest_is_the_table_of_two(rows: list[list[int]]) -> None:
    confusion = np.array(rows, np.float64)
    for which in range(3):
        order = [which, *(other for other in range(3) if other != which)]
        of_two = np.add.reduceat(
            np.add.reduceat(confusion[np.ix_(order, order)], [0, 1], axis=0), [0, 1], axis=1
        )
        np.testing.assert_allclose(
            class_kappas(tally(confusion))[0, which], overall_kappa(tally(of_two))[0], atol=1e-12
        )


def test_rows_that_are_drawn_count_as_often() -> None:
    one, other = tally(np.diag([1.0, 2.0])), tally(np.array([[0.0, 3.0], [1.0, 0.0]]))
    drawn = Tally(
        *(np.concatenate([getattr(one, name), getattr(other, name)]) for name in vars(one))
    ).drawn(np.array([[2.0, 1.0]]))
    assert drawn.seconds.tolist() == [2 * 3 + 4]
    assert drawn.both.tolist() == [[2, 4]]
    assert drawn.true.tolist() == [[2 + 3, 4 + 1]]
