"""Scores become events, the same in any pieces."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import actionrnn
from actionrnn.config import Config, HeadConfig, Sampling
from actionrnn.errors import ConfigError, ModelError
from actionrnn.model.events import Event, EventDetector, find_events
from actionrnn.model.heads import Head
from actionrnn.model.recognizer import Recognizer
from actionrnn.options import EventRule, parse_section
from actionrnn.video.decode import iter_frames
from tests.tiny import write_video

LABELS = ("run", "wave")
RULE = EventRule(begin_threshold=0.6, end_threshold=0.4)


def detect(
    run: list[float], wave: list[float] | None = None, rule: EventRule = RULE, start: float = 0.0
) -> list[Event]:
    """Of scores in tenths, ten steps a second."""
    scores = np.array([run, wave or [0] * len(run)], np.float32).T / 10
    return find_events(LABELS, scores, start + np.arange(len(run)) / 10, rule)


def shown(events: list[Event]) -> list[tuple[str, str, float, int]]:
    return [(e.kind, e.label, round(e.pts_seconds, 6), e.count) for e in events]


def test_an_action_begins_at_one_threshold_and_ends_below_the_other() -> None:
    begin, end = detect([1, 5, 7, 5, 5, 9, 3, 5, 1], start=2.0)
    assert begin == Event("begin", "run", 2.2, pytest.approx(0.7), 1)
    assert end == Event(
        "end", "run", 2.6, pytest.approx((0.7 + 0.5 + 0.5 + 0.9) / 4), 1, pytest.approx(0.4)
    )


def test_what_is_none_of_these_begins_nothing_and_ends_nothing() -> None:
    scores = np.array([[9, 9, 9, 9, 1, 9]], np.float32).T / 10
    is_none = np.array([True, False, True, False, False, True])
    found = find_events(("run",), scores, np.arange(6) / 10, RULE, is_none=is_none)
    assert shown(found) == [("begin", "run", 0.1, 1), ("end", "run", 0.4, 1)]
    assert find_events(("run",), scores, np.arange(6) / 10, RULE, is_none=is_none | True) == []


def test_scores_at_the_thresholds() -> None:
    exact = EventRule(begin_threshold=0.75, end_threshold=0.25)
    found = detect([7.4, 7.5, 2.5, 2.4], rule=exact)
    assert shown(found) == [("begin", "run", 0.1, 1), ("end", "run", 0.3, 1)]


def test_actions_are_counted_by_their_label() -> None:
    found = detect([9, 1, 9, 1, 1], [1, 9, 1, 9, 9])
    assert shown(found) == [
        ("begin", "run", 0.0, 1),
        ("end", "run", 0.1, 1),
        ("begin", "wave", 0.1, 1),
        ("end", "wave", 0.2, 1),
        ("begin", "run", 0.2, 2),
        ("end", "run", 0.3, 2),
        ("begin", "wave", 0.3, 2),
        ("end", "wave", 0.5, 2),
    ]


def test_labels_may_overlap() -> None:
    found = detect([9, 9, 9, 1], [1, 9, 9, 9])
    assert shown(found) == [
        ("begin", "run", 0.0, 1),
        ("begin", "wave", 0.1, 1),
        ("end", "run", 0.3, 1),
        ("end", "wave", 0.4, 1),
    ]


def test_what_is_ignored_is_no_event() -> None:
    scores = np.array([[0.9, 0.1], [0.1, 0.9]], np.float32)
    found = find_events(LABELS, scores, np.arange(2) / 10, RULE, {"run", "background"})
    assert {event.label for event in found} == {"wave"}


def test_what_is_too_short_is_no_event_and_is_not_counted() -> None:
    rule = replace(RULE, min_seconds=0.3)
    # 0.4 to 0.7, of which the difference is a little less than 0.3
    found = detect([9, 9, 1, 1, 9, 9, 9, 1], rule=rule)
    assert shown(found) == [("begin", "run", 0.4, 1), ("end", "run", 0.7, 1)]


def test_a_late_begin_says_when_it_was() -> None:
    detector = EventDetector(LABELS, replace(RULE, min_seconds=0.2))
    came = [
        (step, event)
        for step, score in enumerate([9, 7, 8, 9, 1])
        for event in detector.push(np.array([[score / 10, 0]], np.float32), np.array([step / 10]))
    ]
    (first, begin), (last, end) = came
    assert (first, begin.pts_seconds, begin.score) == (2, 0.0, pytest.approx(0.8, abs=1e-6))
    assert (last, end.pts_seconds, end.score) == (4, 0.4, pytest.approx(0.825))


def test_it_is_given_at_once_without_a_least_duration() -> None:
    detector = EventDetector(LABELS, RULE)
    (begin,) = detector.push(np.array([[0.9, 0.1]], np.float32), np.array([3.0]))
    assert shown([begin]) == [("begin", "run", 3.0, 1)]


def test_the_end_of_the_recording_ends_it_and_the_counts_go_on() -> None:
    detector = EventDetector(LABELS, RULE)
    high, none = np.array([[0.9, 0.1]] * 3, np.float32), np.empty((0, 2), np.float32)
    assert detector.close() == []
    detector.push(high, np.array([1.0, 1.1, 1.3]))
    (end,) = detector.close()
    assert shown([end]) == [("end", "run", 1.5, 1)]  # the last step as long as the one before
    assert detector.close() == [] == detector.push(none, np.empty(0))
    (begin,) = detector.push(high[:1], np.array([0.0]))
    assert shown([begin]) == [("begin", "run", 0.0, 2)]
    assert shown(detector.close()) == [("end", "run", 0.0, 2)]  # of one step no length is known


def test_what_still_goes_on_ends_with_the_video_where_its_end_is_known() -> None:
    scores, times = np.array([[0.9, 0.0]] * 3, np.float32), np.array([0.0, 0.5, 1.0])
    guessed = find_events(LABELS, scores, times, RULE)
    known = find_events(LABELS, scores, times, RULE, end_seconds=1.1)
    assert [round(events[-1].pts_seconds, 6) for events in (guessed, known)] == [1.5, 1.1]
    assert known[-1].duration_seconds == pytest.approx(1.1)


def test_the_json_of_an_event() -> None:
    begin, end = (json.loads(json.dumps(event.to_dict())) for event in detect([9, 9, 1]))
    assert begin == {"event": "begin", "label": "run", "seconds": 0, "score": 0.9, "count": 1}
    assert end == begin | {"event": "end", "seconds": 0.2, "duration_seconds": 0.2}


def by_definition(
    scores: np.ndarray, times: np.ndarray, rule: EventRule
) -> set[tuple[str, float, float, float]]:
    """Label, begin, end and mean score of each action, one label after another."""
    ends = [*times[1:], times[-1] + (times[-1] - times[-2] if len(times) > 1 else 0)]
    found = set()
    for which, label in enumerate(LABELS):
        first = None
        for step, score in enumerate([*scores[:, which], -1.0]):
            if first is not None and (score < rule.end_threshold or score < 0):
                begun, over = times[first], ends[step - 1]
                if over - begun >= rule.min_seconds:
                    mean = scores[first:step, which].mean()
                    found.add((label, begun, over, round(float(mean), 9)))
                first = None
            elif first is None and score >= rule.begin_threshold:
                first = step
    return found


STEPS = st.lists(
    # eighths and quarters: sums are exact
    st.tuples(st.integers(0, 8), st.integers(0, 8), st.sampled_from([0, 1, 2, 4])),
    min_size=1,
    max_size=30,
)
RULES = st.builds(
    lambda low, more, least: EventRule((low + more) / 8, low / 8, least),
    st.integers(1, 5),
    st.integers(0, 3),
    st.sampled_from([0.0, 0.25, 0.5, 1.0]),
)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(STEPS, RULES)
def test_events_are_those_of_the_definition(
    steps: list[tuple[int, int, int]], rule: EventRule
) -> None:
    scores = np.array([step[:2] for step in steps]) / 8
    times = np.cumsum([step[2] for step in steps]) / 4
    events = find_events(LABELS, scores.astype(np.float32), times, rule)
    ends = [event for event in events if event.kind == "end"]
    found = [
        (e.label, e.pts_seconds - e.duration_seconds, e.pts_seconds, round(e.score, 9))
        for e in ends
        if e.duration_seconds is not None
    ]
    assert len(found) == len(ends) and len(set(found)) == len(found)
    assert set(found) == by_definition(scores, times, rule)
    begins = {(e.label, e.count): e.pts_seconds for e in events if e.kind == "begin"}
    assert begins == {(e.label, e.count): f[1] for e, f in zip(ends, found, strict=True)}
    for label in LABELS:  # in turn, and numbered
        mine = [(e.kind, e.count) for e in events if e.label == label]
        assert mine == [(k, n + 1) for n in range(len(mine) // 2) for k in ("begin", "end")]


@settings(max_examples=200, deadline=None, derandomize=True)
@given(STEPS, RULES, st.lists(st.integers(0, 5), max_size=30), st.integers(0, 30))
def test_any_pieces_and_a_saved_state_give_the_same_events(
    steps: list[tuple[int, int, int]], rule: EventRule, sizes: list[int], saved_at: int
) -> None:
    rng = np.random.default_rng(len(steps))
    scores = np.array([step[:2] for step in steps], np.float32) / 8
    scores *= rng.uniform(0.9, 1, scores.shape).astype(np.float32)
    times = np.cumsum([step[2] for step in steps]) / 3
    detector, events, first = EventDetector(LABELS, rule), list[Event](), 0
    for number, size in enumerate([*sizes, len(steps)]):
        if number == saved_at:
            state = json.loads(json.dumps(detector.state_dict()))
            detector = EventDetector(LABELS, rule)
            detector.load_state_dict(state)
        events += detector.push(scores[first : first + size], times[first : first + size])
        first += size
    assert events + detector.close() == find_events(LABELS, scores, times, rule)


def test_what_is_remembered_does_not_grow() -> None:
    detector = EventDetector(LABELS, replace(RULE, min_seconds=0.3))
    scores = np.random.default_rng(0).uniform(0, 1, (3000, 2)).astype(np.float32)
    detector.push(scores[:100], np.arange(100) / 10)
    before = {name: np.shape(value) for name, value in detector.state_dict().items()}
    detector.push(scores[100:], np.arange(100, 3000) / 10)
    assert {name: np.shape(value) for name, value in detector.state_dict().items()} == before


def test_a_state_of_other_labels_or_another_rule_is_refused() -> None:
    detector = EventDetector(LABELS, RULE)
    detector.push(np.array([[0.9, 0.9]], np.float32), np.array([1.0]))
    state = detector.state_dict()
    for other in (
        EventDetector(("run", "walk"), RULE),
        EventDetector(LABELS, EventRule(0.7)),
        EventDetector(LABELS, RULE, {"wave"}),
    ):
        with pytest.raises(ModelError, match="were saved with"):
            other.load_state_dict(state)
        assert other.close() == []


@pytest.mark.parametrize("change", [{"is_on": [True]}, {"counts": ["x", 1]}, {"last_seconds": {}}])
def test_a_damaged_state_changes_nothing(change: dict[str, object]) -> None:
    detector = EventDetector(LABELS, RULE)
    detector.push(np.array([[0.9, 0.9]], np.float32), np.array([1.0]))
    before = detector.state_dict()
    with pytest.raises((ValueError, TypeError)):
        detector.load_state_dict(before | change)
    assert detector.state_dict() == before


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"begin_threshold": 0.3}, r"^end_threshold \(0\.4\) must be at most begin_threshold"),
        ({"end_threshold": 0.0}, r"^end_threshold \(0\.0\): "),
        ({"begin_threshold": 1.5}, r"^begin_threshold \(1\.5\): "),
        ({"min_seconds": -1.0}, r"^min_seconds \(-1\.0\): "),
    ],
)
def test_an_impossible_rule_is_refused(values: dict[str, float], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        parse_section(EventRule, values)
    with pytest.raises(ConfigError, match="EventRule"):
        EventRule(**values)


@pytest.mark.parametrize("delay", [0, 2])
def test_a_stream_gives_the_events_of_the_timeline(
    tiny_model: Recognizer, tmp_path: Path, delay: int
) -> None:
    video = write_video(tmp_path / "clip.avi", count=60)
    config = Config(
        sampling=Sampling(rate_fps=12.5), head=HeadConfig(hidden_size=6, delay_steps=delay)
    )
    torch.manual_seed(0)
    head = Head(config.head, tiny_model.backbone.feature_size, 3).eval()
    model = replace(tiny_model, head=head.trained(), config=config)
    timeline = model.timeline(video)
    middle = float(np.median(timeline.scores))
    rule = actionrnn.EventRule(begin_threshold=middle, end_threshold=middle)
    expected = timeline.events(rule)
    assert len(expected) > 6

    stream, detector, found = model.stream(), EventDetector(model.labels, rule), list[Event]()
    for frame in iter_frames(video):
        scores = stream.push(frame)
        found += detector.push(scores, stream.pts_seconds)
    scores = stream.finish()
    found += detector.push(scores, stream.pts_seconds) + detector.close()
    last, end = timeline.pts_seconds[-1], timeline.end_seconds
    assert end is not None
    for one, other in zip(found, expected, strict=True):
        assert (one.kind, one.label, one.count) == (other.kind, other.label, other.count)
        assert one.score == pytest.approx(other.score, abs=1e-4)
        # a stream does not know when the video ends
        assert one.pts_seconds == pytest.approx(
            other.pts_seconds, abs=1e-6 if one.pts_seconds <= last else 0.08
        )
