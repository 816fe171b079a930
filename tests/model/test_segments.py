"""Scores become segments."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actionrnn.model import segments
from actionrnn.model.segments import (
    Segment,
    find_lane_segments,
    find_segments,
    smooth_scores,
    step_ends,
)
from actionrnn.options import SegmentRule

LABELS = ("run", "walk")
PLAIN = SegmentRule(smooth_seconds=0, min_seconds=0)


def scores_of(text: str, sure: float = 0.9) -> tuple[np.ndarray, np.ndarray]:
    """r and w are steps at 10 a second; . is one at which both are equal to 0.5."""
    rows = {"r": (sure, 1 - sure), "w": (1 - sure, sure), ".": (0.5, 0.5)}
    return np.array([rows[c] for c in text], np.float32), np.arange(len(text)) / 10


def spans(found: list[Segment]) -> list[tuple[str, float, float]]:
    return [(s.label, round(s.start_seconds, 6), round(s.end_seconds, 6)) for s in found]


def test_each_step_lasts_until_the_next() -> None:
    found = find_segments(LABELS, *scores_of("rrrww"), PLAIN)
    assert spans(found) == [("run", 0.0, 0.3), ("walk", 0.3, 0.5)]
    assert [segment.score for segment in found] == pytest.approx([0.9, 0.9])


@pytest.mark.parametrize(("end", "last"), [(None, 0.5), (0.43, 0.43), (0.9, 0.9), (9.0, 9.0)])
def test_the_last_step_ends_where_the_video_does(end: float | None, last: float) -> None:
    scores, times = scores_of("rrrww")
    assert step_ends(times, end).tolist() == pytest.approx([0.1, 0.2, 0.3, 0.4, last])
    found = find_segments(LABELS, scores, times, PLAIN, end_seconds=end)
    assert spans(found) == [("run", 0.0, 0.3), ("walk", 0.3, last)]
    lanes = segments.find_lane_segments(LABELS, scores, times, PLAIN, end)
    assert spans(lanes) == spans(found)


def test_a_video_of_one_step_has_the_length_of_the_video() -> None:
    found = find_segments(LABELS, *scores_of("r"), PLAIN, end_seconds=0.4)
    assert spans(found) == [("run", 0.0, 0.4)]


def test_below_the_threshold_it_is_nothing() -> None:
    rule = SegmentRule(smooth_seconds=0, min_seconds=0, threshold=0.6)
    assert spans(find_segments(LABELS, *scores_of("..rr..ww.."), rule)) == [
        ("run", 0.2, 0.4),
        ("walk", 0.6, 0.8),
    ]
    assert find_segments(LABELS, *scores_of("...."), rule) == []


def test_what_is_too_short_goes_to_a_neighbour() -> None:
    rule = SegmentRule(smooth_seconds=0, min_seconds=0.25)
    assert spans(find_segments(LABELS, *scores_of("rrrrwwrrrrrwwwww"), rule)) == [
        ("run", 0.0, 1.1),
        ("walk", 1.1, 1.6),
    ]


def test_the_only_segment_stays_however_short() -> None:
    rule = SegmentRule(smooth_seconds=0, min_seconds=9)
    assert spans(find_segments(LABELS, *scores_of("rr"), rule)) == [("run", 0.0, 0.2)]


@pytest.mark.parametrize("seed", range(10))
def test_segments_are_ordered_long_enough_and_within(seed: int) -> None:
    rng = np.random.default_rng(seed)
    times = 3 + np.cumsum(rng.uniform(0.01, 0.2, 80))
    scores = rng.dirichlet([0.4] * 3, 80).astype(np.float32)
    rule = SegmentRule(smooth_seconds=0.3, min_seconds=0.4)
    found = find_segments(("a", "b", "c"), scores, times, rule)
    assert found[0].start_seconds == times[0]
    assert found[-1].end_seconds == step_ends(times)[-1]
    for before, after in itertools.pairwise(found):
        assert before.end_seconds == after.start_seconds  # no threshold: no gaps
        assert before.label != after.label
    assert all(s.end_seconds - s.start_seconds >= 0.4 for s in found) or len(found) == 1


def test_smoothing_is_a_mean_over_time_not_over_steps() -> None:
    times = np.array([0.0, 0.1, 0.2, 5.0])
    scores = np.array([[1.0], [0.0], [0.5], [0.25]], np.float32)
    np.testing.assert_allclose(smooth_scores(scores, times, 0.2)[:, 0], [0.5, 0.5, 0.25, 0.25])


@pytest.mark.parametrize("steps", [0, 1])
def test_hardly_any_steps(steps: int) -> None:
    found = find_segments(LABELS, *scores_of("r" * steps))
    assert len(found) == steps


def absorb_one_by_one(
    labels: tuple[str, ...], scores: np.ndarray, times: np.ndarray, rule: SegmentRule
) -> list[tuple[str, float, float]]:
    """The definition: the shortest goes to the better neighbour (the one before, if both are as
    good), until none is too short."""
    smooth, ends = smooth_scores(scores, times, rule.smooth_seconds), step_ends(times)
    best = np.where(smooth.max(axis=1) < rule.threshold, -1, smooth.argmax(axis=1)).tolist()
    while True:
        stops = [n for n in range(1, len(best) + 1) if n == len(best) or best[n] != best[n - 1]]
        runs = list(zip([0, *stops], stops, strict=False))
        lengths = [ends[stop - 1] - times[first] for first, stop in runs]
        place = int(np.argmin(lengths))
        if len(runs) == 1 or lengths[place] >= rule.min_seconds:
            break
        first, stop = runs[place]
        beside = [best[runs[n][0]] for n in (place - 1, place + 1) if 0 <= n < len(runs)]
        shares = [-1.0 if c < 0 else smooth[first:stop, c].mean() for c in beside]
        best[first:stop] = [beside[int(np.argmax(shares))]] * (stop - first)
    return [
        (labels[best[first]], float(times[first]), float(ends[stop - 1]))
        for first, stop in runs
        if best[first] >= 0
    ]


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    # eighths, so that scores are often equal, and their sums exact
    eighths=st.lists(
        st.tuples(*[st.integers(0, 8)] * 3, st.sampled_from([0, 1, 2, 4])), min_size=1, max_size=40
    ),
    min_seconds=st.sampled_from([0.0, 0.25, 0.5, 1.0, 100.0]),
    threshold=st.sampled_from([0.0, 0.5, 0.75]),
)
def test_short_segments_are_absorbed_as_if_one_by_one(
    eighths: list[tuple[int, int, int, int]], min_seconds: float, threshold: float
) -> None:
    scores = np.array([row[:3] for row in eighths], np.float32) / 8
    times = np.cumsum([row[3] for row in eighths]) / 8
    times += np.arange(len(times)) / 1024  # of steps at one time the scores would be averaged
    rule = SegmentRule(smooth_seconds=0, min_seconds=min_seconds, threshold=threshold)
    labels = ("a", "b", "c")
    found = find_segments(labels, scores, times, rule)
    expected = absorb_one_by_one(labels, scores, times, rule)
    assert [(s.label, s.start_seconds, s.end_seconds) for s in found] == expected


def test_the_work_grows_with_the_steps_not_with_their_square(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Counted(np.ndarray):
        reads = 0

        def __getitem__(self, place: Any) -> Any:
            Counted.reads += 1
            return super().__getitem__(place)

    monkeypatch.setattr(segments, "step_ends", lambda *args: step_ends(*args).view(Counted))
    scores, times = scores_of("rw" * 500)
    assert spans(find_segments(LABELS, scores, times, SegmentRule(smooth_seconds=0))) != []
    assert 0 < Counted.reads < 10 * len(times)


def test_the_last_step_may_last_to_a_known_end() -> None:
    scores, times = scores_of("rrrww")
    found = find_segments(LABELS, scores, times, PLAIN, end_seconds=20.0)
    assert spans(found) == [("run", 0.0, 0.3), ("walk", 0.3, 20.0)]
    lanes = find_lane_segments(LABELS, scores, times, PLAIN, end_seconds=20.0)
    assert spans(lanes) == spans(found)
    rule = SegmentRule(smooth_seconds=0, min_seconds=0.25)  # the last is long enough now
    assert spans(find_segments(LABELS, scores, times, rule)) == [("run", 0.0, 0.5)]
    assert spans(find_segments(LABELS, scores, times, rule, end_seconds=20.0)) == spans(found)
