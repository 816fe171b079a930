"""What is proposed where nobody has looked, and where to look next."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from actionrnn.apps.studio.annotation_log import Refused
from actionrnn.apps.studio.proposals import Proposal, doubt_of, next_place, propose
from actionrnn.model.none_of_these import NoneOfThese, Patterns
from actionrnn.model.timeline import Timeline

LABELS = ("background", "jump", "wave")


def timeline_of(*scores: tuple[float, ...], labels: tuple[str, ...] = LABELS) -> Timeline:
    """A second for each row, at 4 steps a second."""
    values = np.repeat(np.array(scores, np.float32), 4, axis=0)
    return Timeline(labels, values, values, np.arange(len(values)) / 4)


def jump_between(start: int, end: int, seconds: int = 20) -> Timeline:
    return timeline_of(
        *((0.1, 0.8, 0.1) if start <= s < end else (0.9, 0.05, 0.05) for s in range(seconds))
    )


def spans(proposals: list[Proposal]) -> list[tuple[str, float, float]]:
    return [(one.label, one.start, one.end) for one in proposals]


def test_the_background_is_no_proposal() -> None:
    [found] = propose(jump_between(5, 9), looked=())
    assert (found.label, found.start, found.end) == ("jump", 5.0, 9.0)
    assert found.score == pytest.approx(0.8)


def test_what_was_looked_at_is_cut_out() -> None:
    timeline = jump_between(5, 15)
    assert spans(propose(timeline, [(0, 6), (8, 10)])) == [("jump", 6, 8), ("jump", 10, 15)]
    assert propose(timeline, [(0, 20)]) == []


def test_a_rest_too_short_to_be_worth_a_key_is_left_out() -> None:
    assert spans(propose(jump_between(5, 9), [(5.25, 8.6)])) == []
    assert spans(propose(jump_between(5, 9), [(5.5, 8.6)])) == [("jump", 5, 5.5)]


def test_a_label_that_the_project_no_longer_has_is_not_proposed() -> None:
    assert propose(jump_between(5, 9), (), labels=["wave"]) == []
    assert propose(jump_between(5, 9), (), labels=["jump"]) != []


def test_a_refused_proposal_does_not_come_again_with_other_edges() -> None:
    refused = [Refused("jump", 5.5, 8.75)]
    assert propose(jump_between(5, 9), (), refused) == []


def test_a_refusal_is_of_its_label_and_its_time_alone() -> None:
    for other in (Refused("wave", 5, 9), Refused("jump", 9, 15), Refused("jump", 5, 6.5)):
        assert spans(propose(jump_between(5, 9), (), [other])) == [("jump", 5, 9)]


def test_refusals_side_by_side_count_together() -> None:
    refused = [Refused("jump", 5, 6.5), Refused("jump", 6.5, 8)]
    assert propose(jump_between(5, 9), (), refused) == []


def test_the_same_proposal_has_the_same_id_and_others_have_others() -> None:
    timeline = timeline_of(*[(0.1, 0.8, 0.1)] * 3, *[(0.1, 0.1, 0.8)] * 3, *[(0.1, 0.8, 0.1)] * 3)
    once, again = propose(timeline, ()), propose(timeline, [(30, 40)])
    assert once == again
    assert len({one.id for one in once}) == len(once) == 3


def test_the_next_place_is_the_least_sure_one() -> None:
    sure, unsure = (0.98, 0.01, 0.01), (0.02, 0.5, 0.48)
    timelines = {
        "a": timeline_of(*[sure] * 30),
        "b": timeline_of(*[sure] * 12, *[unsure] * 10, *[sure] * 8),
    }
    place = next_place(timelines, {})
    assert place is not None
    assert (place.video, place.seconds, place.end) == ("b", 12.0, 22.0)
    assert place.why == "wavers between jump (50 %) and wave (48 %)"


def test_what_was_looked_at_is_no_place() -> None:
    timeline = timeline_of(*[(0.98, 0.01, 0.01)] * 10, *[(0.3, 0.4, 0.3)] * 10)
    place = next_place({"a": timeline}, {"a": [(9, 20)]})
    assert place is not None
    assert (place.seconds, place.end) == (0.0, 9.0)
    assert next_place({"a": timeline}, {"a": [(0, 12), (10, 25)]}) is None
    assert next_place({}, {}) is None


def test_a_moment_of_doubt_comes_after_several_seconds_of_it() -> None:
    """Else the edges of what was looked at would be shown one by one."""
    moment = timeline_of(*[(1 / 3, 1 / 3, 1 / 3)] * 20)
    long = timeline_of(*[(0.6, 0.3, 0.1)] * 20)
    place = next_place({"moment": moment, "long": long}, {"moment": [(0, 5), (6, 20)]})
    assert place is not None
    assert place.video == "long"


def test_equal_scores_are_full_doubt_and_certain_ones_none() -> None:
    doubt = doubt_of(timeline_of((1 / 3, 1 / 3, 1 / 3), (1.0, 0.0, 0.0)))
    assert doubt[0] == pytest.approx(1)
    assert doubt[-1] == pytest.approx(0, abs=1e-5)


def test_of_several_labels_the_least_sure_counts() -> None:
    timeline = timeline_of((0.01, 0.5), (0.99, 0.99), labels=("jump", "wave"))
    timeline = Timeline(
        timeline.labels, timeline.scores, timeline.so_far, timeline.pts_seconds, multi_label=True
    )
    doubt = doubt_of(timeline)
    assert doubt[0] == pytest.approx(1)
    assert doubt[-1] < 0.1
    place = next_place({"a": timeline}, {}, seconds=1)
    assert place is not None
    assert (place.seconds, place.why) == (0.0, "cannot tell whether there is wave")


def test_what_looks_like_none_of_the_labels_is_looked_at_first() -> None:
    sure = np.repeat(np.eye(3, dtype=np.float32) * 5, 20, axis=0)
    logits = sure + np.random.default_rng(0).normal(0, 0.3, sure.shape).astype(np.float32)
    scores = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    patterns = Patterns.of(scores, np.repeat([0, 1, 2], 20))
    none = NoneOfThese(patterns, {"stretch": np.sort(patterns.distances(scores))})
    timeline = timeline_of(*[(0.986, 0.007, 0.007)] * 10, *[(0.6, 0.4, 0.0)] * 10)
    timeline = Timeline(
        timeline.labels,
        timeline.scores,
        timeline.so_far,
        timeline.pts_seconds,
        none_of_these=none,
    )
    place = next_place({"a": timeline}, {}, seconds=5)
    assert place is not None
    assert place.why == "looks like none of the labels"
    assert place.seconds >= 9
    assert place.doubt == pytest.approx(1)


def test_a_server_proposes_without_torch() -> None:
    code = "import sys, actionrnn.apps.studio.proposals; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=120).returncode == 0
