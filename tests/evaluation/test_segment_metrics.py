"""The scores of steps and segments, on small timelines worked out by hand and by slower code.

A letter is a step: a, b, c are classes 0, 1, 2; `-` is the background, class 3; `.` is a step that
nobody labelled. There are ten steps a second.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from actionrnn.datasets.recordings import IGNORE
from actionrnn.evaluation.segment_metrics import (
    class_hits,
    delays,
    edit_distance,
    edit_score,
    matched_segments,
    segments_of,
)

BACKGROUND = 3
CLASS = {"a": 0, "b": 1, "c": 2, "-": BACKGROUND, ".": IGNORE}
STEPS = st.text("abc-.", max_size=40)

quick = settings(max_examples=60, deadline=None, derandomize=True)


def steps(text: str) -> NDArray[np.int64]:
    return np.array([CLASS[letter] for letter in text], np.int64)


def times(text: str) -> NDArray[np.float64]:
    return 5 + np.arange(len(text)) / 10


def pair(text: str) -> tuple[str, str]:
    """Truth and answers of one length; an answer is always given."""
    half = len(text) // 2
    return text[:half], text[half : 2 * half].replace(".", "-")


def f1(truth: str, answers: str) -> list[float]:
    """At 10, 25 and 50 %."""
    found, true = (segments_of(steps(text), steps(truth), BACKGROUND) for text in (answers, truth))
    return (2 * matched_segments(found, true) / (len(found) + len(true))).tolist()


def edit(truth: str, answers: str) -> float | None:
    found, true = (segments_of(steps(text), steps(truth), BACKGROUND) for text in (answers, truth))
    return edit_score(found, true)


def test_the_steps_of_each_class_are_counted() -> None:
    truth, answers = "aaaabb.-", "aaabbabb"
    hits, of = class_hits(steps(answers), steps(truth), 4)
    assert hits.tolist() == [3, 1, 0, 0]
    assert of.tolist() == [4, 2, 0, 1]


def test_an_unlabelled_step_ends_a_segment_and_lies_in_none() -> None:
    truth = "aaab..bb-c"
    found = segments_of(steps(truth), steps(truth), BACKGROUND)
    assert found.tolist() == [[0, 3, 0], [3, 4, 1], [6, 8, 1], [9, 10, 2]]
    answers = segments_of(steps("aaaaaaaaaa"), steps(truth), BACKGROUND)
    assert answers.tolist() == [[0, 4, 0], [6, 10, 0]]
    assert segments_of(steps("..."), steps("...")).shape == (0, 3)
    assert segments_of(steps(""), steps("")).shape == (0, 3)


def test_overlaps_worked_out_by_hand() -> None:
    """Five predicted segments, three true ones.

    a 0-3 of 0-5: 3/5. b 3-10 of 5-10: 5/7. c 10-12 of 10-15: 2/5. a 12-14: nothing.
    c 14-15 of 10-15: 1/5, and that one is matched already.
    """
    truth = "aaaaabbbbbccccc"
    given = "aaabbbbbbbccaac"
    assert f1(truth, given) == [2 * 3 / 8, 2 * 3 / 8, 2 * 2 / 8]
    assert edit(truth, given) == 1 - 2 / 5  # a b c a c -> a b c


def test_the_threshold_itself_is_enough() -> None:
    assert f1("aaaaaaaaaa", "abbbbbbbbb") == [2 / 3, 0, 0]  # 1/10
    assert f1("aaaa", "abbb") == [2 / 3, 2 / 3, 0]  # 1/4
    assert f1("aaaa", "aabb") == [2 / 3] * 3  # 1/2


def test_background_makes_no_segment() -> None:
    assert f1("--aaaa--", "-aaaa---") == [1, 1, 1]  # 3/5
    assert edit("--aaaa--", "-aaaa---") == 1
    assert edit("----", "----") is None
    assert edit("----", "--a-") == 0


def test_what_is_predicted_where_nobody_labelled_counts_for_nothing() -> None:
    for inside in ("aaaa", "bcab", "cccc"):
        assert f1("aaa....bbb", f"aaa{inside}bbb") == [1, 1, 1]
        assert edit("aaa....bbb", f"aaa{inside}bbb") == 1


def test_delays_worked_out_by_hand() -> None:
    """The first a is right after two steps, b at once; the second a never; background is none."""
    truth = "aaaaabbb--.aa"
    given = "bbaaabba--abb"
    found = delays(steps(given), steps(truth), times(truth), BACKGROUND)
    np.testing.assert_allclose(found, [0.2, 0.0, np.nan], atol=1e-12)


def test_a_delay_is_on_the_videos_own_clock() -> None:
    pts_seconds = np.array([1.0, 1.5, 4.0, 4.25])
    assert delays(steps("bbba"), steps("baaa"), pts_seconds).tolist() == [0.0, 2.75]


def test_the_steps_that_an_answer_waits_for_are_a_part_of_its_delay() -> None:
    """At the end the last answers do not wait: they are known with the last step."""
    pts_seconds = np.array([1.0, 1.5, 4.0, 4.25, 6.0])
    answers, truth = steps("bbaaa"), steps("bbaaa")
    for delay_steps, expected in ((0, [0, 0]), (1, [0.5, 0.25]), (3, [3.25, 2.0])):
        found = delays(answers, truth, pts_seconds, None, delay_steps)
        np.testing.assert_allclose(found, expected, atol=1e-12)


@pytest.mark.parametrize(
    ("one", "other", "distance"), [("kitten", "sitting", 3), ("", "abc", 3), ("ab", "ba", 2)]
)
def test_known_distances(one: str, other: str, distance: int) -> None:
    letters = (np.array([ord(letter) for letter in text], np.int64) for text in (one, other))
    assert edit_distance(*letters) == distance


@quick
@given(st.text("abc", max_size=12), st.text("abc", max_size=12))
def test_the_distance_is_that_of_its_definition(one: str, other: str) -> None:
    @cache
    def distance(i: int, j: int) -> int:
        if i == 0 or j == 0:
            return i + j
        same = distance(i - 1, j - 1) + (one[i - 1] != other[j - 1])
        return min(same, distance(i - 1, j) + 1, distance(i, j - 1) + 1)

    assert edit_distance(steps(one), steps(other)) == distance(len(one), len(other))


@quick
@given(STEPS, st.integers(1, 100))
def test_matches_are_those_of_a_loop_over_all_pairs(text: str, percent: int) -> None:
    truth, answers = pair(text)
    found, true = (segments_of(steps(one), steps(truth), BACKGROUND) for one in (answers, truth))
    used, hits = set(), 0
    for first, stop, label in found.tolist():
        best, overlap = None, 0.0
        for place, (begin, end, name) in enumerate(true.tolist()):
            ours, theirs = set(range(first, stop)), set(range(begin, end))
            share = len(ours & theirs) / len(ours | theirs)
            if name == label and share > overlap:
                best, overlap = place, share
        if best is not None and overlap >= percent / 100 and best not in used:
            used.add(best)
            hits += 1
    assert matched_segments(found, true, (percent,)).tolist() == [hits]


@quick
@given(STEPS)
def test_more_overlap_is_harder(text: str) -> None:
    truth, answers = pair(text)
    found, true = (segments_of(steps(one), steps(truth), BACKGROUND) for one in (answers, truth))
    hits = matched_segments(found, true, (1, 10, 25, 50, 75, 100))
    assert (np.diff(hits) <= 0).all()
    assert hits[0] <= min(len(found), len(true))


@quick
@given(STEPS, st.permutations([0, 1, 2]))
def test_the_names_of_the_classes_mean_nothing(text: str, order: list[int]) -> None:
    truth, answers = map(steps, pair(text))
    new = {**dict(enumerate(order)), BACKGROUND: BACKGROUND, IGNORE: IGNORE}

    def scored(truth: NDArray[np.int64], answers: NDArray[np.int64]) -> tuple[object, ...]:
        found, true = (segments_of(one, truth, BACKGROUND) for one in (answers, truth))
        late = delays(answers, truth, np.arange(len(truth)) / 1.0, BACKGROUND)
        hits, of = class_hits(answers, truth, 4)
        counts = sorted(zip(hits.tolist(), of.tolist(), strict=True))
        return matched_segments(found, true).tolist(), edit_score(found, true), str(late), counts

    renamed = (np.array([new[step] for step in one], np.int64) for one in (truth, answers.tolist()))
    assert scored(truth, answers) == scored(*renamed)


@quick
@given(STEPS, st.integers(1, 5), st.text("abc-", min_size=5, max_size=5))
def test_unlabelled_steps_where_truth_and_answer_change_add_nothing(
    text: str, count: int, said: str
) -> None:
    """At both ends as well. Within a segment they would make two of it."""
    truth, answers = pair(text)
    changes = [
        place
        for place in range(len(truth) + 1)
        if place in (0, len(truth))
        or (truth[place - 1] != truth[place] and answers[place - 1] != answers[place])
    ]
    wider, given = "", ""
    for begin, end in zip([0, *changes], [*changes, len(truth)], strict=True):
        wider += truth[begin:end] + "." * count
        given += answers[begin:end] + said[:count]
    assert class_hits(steps(given), steps(wider), 4)[0].tolist() == (
        class_hits(steps(answers), steps(truth), 4)[0].tolist()
    )
    assert edit(wider, given) == edit(truth, answers)
    if edit(truth, answers) is not None:
        assert f1(wider, given) == f1(truth, answers)
    late = [delays(steps(a), steps(t), times(t)) for a, t in ((given, wider), (answers, truth))]
    np.testing.assert_allclose(*late, atol=1e-9)
