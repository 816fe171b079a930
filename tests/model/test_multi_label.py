"""A head that answers each class for itself: sigmoids everywhere, a lane of segments per label."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import nn

from actionrnn.config import HeadConfig
from actionrnn.errors import ModelError
from actionrnn.features.provenance import Features
from actionrnn.model.heads import Head, read_out
from actionrnn.model.recognizer import Recognizer, load
from actionrnn.model.scoring import Scorer
from actionrnn.model.segments import find_lane_segments, labels_on, shown_lanes
from actionrnn.model.stream import Stream
from actionrnn.options import SegmentRule

LABELS = ("clap", "jump", "wave")
PLAIN = SegmentRule(smooth_seconds=0, min_seconds=0)

Redescribe = Callable[[Path, Callable[[dict[str, Any]], object]], None]


def make_head(size: int = 6, *, multi_label: bool = True, **options: Any) -> Head:
    torch.manual_seed(0)
    config = HeadConfig(hidden_size=4, multi_label=multi_label, **options)
    head = Head(config, size, len(LABELS)).eval()
    if head.residual is not None:  # it starts as zeros
        nn.init.normal_(head.residual.weight, std=0.3)
    return head


def with_head(model: Recognizer, **options: Any) -> Recognizer:
    head = make_head(model.backbone.feature_size, **options)
    return replace(model, head=head.trained(), config=replace(model.config, head=head.config))


def features(count: int, size: int = 6) -> NDArray[np.float32]:
    return np.random.default_rng(1).normal(size=(count, size)).astype(np.float32)


@pytest.mark.parametrize("delay", [0, 2])
def test_now_and_so_far_are_sigmoids(delay: int) -> None:
    head, values = make_head(delay_steps=delay), features(20)
    with torch.inference_mode():
        logits = head(torch.from_numpy(values)[None])[0].numpy().astype(np.float64)
    mean = logits.cumsum(axis=0) / np.arange(1, 21)[:, None]
    scorer = Scorer(head.trained())
    pushed, rest = scorer.push(values), scorer.finish()
    whole = read_out(head, values)
    for part, expected in (("now", logits), ("so_far", mean)):
        sigmoid = 1 / (1 + np.exp(-expected))
        np.testing.assert_allclose(getattr(whole, part), sigmoid, atol=1e-5)
        joined = np.concatenate([getattr(pushed, part), getattr(rest, part)])
        np.testing.assert_allclose(joined, sigmoid, atol=1e-5)
    assert np.abs(whole.now.sum(axis=1) - 1).max() > 0.1


def test_a_model_file_keeps_it(bundled_model: Recognizer, tmp_path: Path) -> None:
    model = with_head(bundled_model)
    model.save(tmp_path / "model.safetensors")
    loaded = load(tmp_path / "model.safetensors", device="cpu")
    assert loaded.multi_label
    size = model.backbone.feature_size
    found = [one.score(Features(features(9, size), np.arange(9) / 4)) for one in (model, loaded)]
    np.testing.assert_array_equal(found[0].scores, found[1].scores)
    assert found[1].multi_label
    assert ", multi-label" in str(loaded.head.config)


def test_a_model_that_does_not_say_answers_one_class(saved: Path, redescribe: Redescribe) -> None:
    redescribe(saved, lambda described: described["config"]["head"].pop("multi_label"))
    loaded = load(saved, device="cpu")
    size = loaded.backbone.feature_size
    timeline = loaded.score(Features(features(9, size), np.arange(9) / 4))
    assert not loaded.multi_label
    assert not timeline.multi_label
    np.testing.assert_allclose(timeline.scores.sum(axis=1), 1, atol=1e-5)


def test_the_state_of_a_head_of_one_class_is_another(
    tiny_model: Recognizer, tmp_path: Path
) -> None:
    sampling = replace(tiny_model.config.sampling, num_frames=None)
    streams = [
        Stream(tiny_model.backbone, with_head(tiny_model, multi_label=multi_label).head, sampling)
        for multi_label in (True, False)
    ]
    streams[0].save(tmp_path / "now.stream")
    with pytest.raises(ModelError, match="head_sha256"):
        streams[1].restore(tmp_path / "now.stream")
    streams[0].restore(tmp_path / "now.stream")


def lanes_of(*lanes: str) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Four steps a second; the score of each label is 0.9 where its lane says #, else 0.2."""
    scores = np.array([[0.9 if one == "#" else 0.2 for one in lane] for lane in lanes], np.float32)
    return scores.T, np.arange(len(lanes[0])) / 4


def test_segments_of_different_labels_overlap() -> None:
    scores, times = lanes_of("####....", "..######", "........")
    found = find_lane_segments(LABELS, scores, times, PLAIN)
    assert [(one.label, one.start_seconds, one.end_seconds) for one in found] == [
        ("clap", 0.0, 1.0),
        ("jump", 0.5, 2.0),
    ]
    assert [one.score for one in found] == pytest.approx([0.9, 0.9])


def test_what_begins_together_keeps_the_order_of_the_labels() -> None:
    scores, times = lanes_of("..##", "..##", "####")
    found = find_lane_segments(LABELS, scores, times, PLAIN)
    assert [one.label for one in found] == ["wave", "clap", "jump"]


def test_short_segments_and_gaps_go_in_each_lane_alone() -> None:
    scores, times = lanes_of("####.####...", "#...########", "......#.....")
    rule = replace(PLAIN, min_seconds=0.5)
    found = find_lane_segments(LABELS, scores, times, rule)
    assert [(one.label, one.start_seconds, one.end_seconds) for one in found] == [
        ("clap", 0.0, 2.25),  # its gap of a step is closed
        ("jump", 1.0, 3.0),
    ]


def test_the_threshold_is_a_half_or_what_is_asked_for() -> None:
    scores, times = np.array([[0.5, 0.49, 0.2]] * 8, np.float32), np.arange(8) / 4
    assert shown_lanes(scores, times).all(axis=0).tolist() == [True, False, False]
    lower = replace(PLAIN, threshold=0.3)
    assert shown_lanes(scores, times, lower).all(axis=0).tolist() == [True, True, False]
    assert find_lane_segments(LABELS, scores[:0], times[:0]) == []
    assert labels_on(LABELS, scores[0]) == [("clap", 0.5)]


@given(st.lists(st.tuples(*[st.integers(0, 8)] * 3), min_size=1, max_size=40))
def test_without_smoothing_a_lane_is_what_reaches_the_threshold(
    eighths: list[tuple[int, int, int]],
) -> None:
    scores, times = np.array(eighths, np.float32) / 8, np.arange(len(eighths)) / 4
    np.testing.assert_array_equal(shown_lanes(scores, times, PLAIN), scores >= 0.5)
    found = find_lane_segments(LABELS, scores, times, PLAIN)
    begins = [one.start_seconds for one in found]
    assert begins == sorted(begins)
    covered = np.zeros(scores.shape, bool)
    for one in found:
        inside = (times >= one.start_seconds) & (times < one.end_seconds)
        if len(times) == 1:  # a single step has no length
            inside[:] = True
        assert not covered[inside, LABELS.index(one.label)].any()
        covered[inside, LABELS.index(one.label)] = True
    np.testing.assert_array_equal(covered, scores >= 0.5)
