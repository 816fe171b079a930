"""A video file becomes an answer."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from actionrnn.errors import FeatureError, VideoError
from actionrnn.features.extract import extract_features
from actionrnn.features.provenance import Features
from actionrnn.model.heads import Head, read_out
from actionrnn.model.recognizer import Recognizer
from actionrnn.model.timeline import Prediction, Timeline
from tests.tiny import write_video

LABELS = ("clap", "jump", "wave")


@pytest.fixture
def video(tmp_path: Path) -> Path:
    return write_video(tmp_path / "clip.avi", 12)


def make_features(steps: int = 5, size: int = 12, seed: int = 0) -> Features:
    values = np.random.default_rng(seed).normal(size=(steps, size)).astype(np.float32)
    return Features(values, np.arange(steps) / 4)


def make_timeline(last: list[float]) -> Timeline:
    scores = np.array([[0.5, 0.3, 0.2], last], np.float32)
    return Timeline(LABELS, scores, scores, np.array([0.0, 0.25]), "clips/a.avi")


def test_a_prediction_sorts_the_last_row() -> None:
    prediction = make_timeline([0.25, 0.125, 0.625]).prediction()
    assert prediction.label == "wave"
    assert prediction.labels == ("wave", "clap", "jump")
    assert prediction.scores == (0.625, 0.25, 0.125)
    assert prediction.pts_seconds == 0.25
    assert prediction.path == "clips/a.avi"


def test_equal_scores_keep_the_order_of_the_labels() -> None:
    assert make_timeline([0.25, 0.375, 0.375]).prediction().labels == ("jump", "wave", "clap")


@pytest.mark.parametrize(("count", "kept"), [(1, 1), (2, 2), (3, 3), (9, 3)])
def test_top_keeps_the_best(count: int, kept: int) -> None:
    prediction = make_timeline([0.25, 0.125, 0.625]).prediction()
    top = prediction.top(count)
    assert (top.labels, top.scores) == (prediction.labels[:kept], prediction.scores[:kept])
    assert (top.path, top.pts_seconds) == (prediction.path, prediction.pts_seconds)


def test_a_prediction_as_json() -> None:
    prediction = Prediction(("jump", "clap"), (2 / 3, 1 / 3), 0.1234567, "a.avi")
    assert json.loads(json.dumps(prediction.to_dict())) == {
        "path": "a.avi",
        "label": "jump",
        "labels": ["jump", "clap"],
        "scores": [0.666667, 0.333333],
        "pts_seconds": 0.123457,
    }


def test_a_prediction_as_text() -> None:
    text = str(Prediction(("jump", "somersault"), (0.9, 0.1), 0.0, "a.avi"))
    assert text.splitlines() == [
        "a.avi",
        f"  jump         90.0%  {'#' * 27}",
        "  somersault   10.0%  ###",
    ]


def test_a_timeline_shows_its_shape_only() -> None:
    assert repr(make_timeline([0.2, 0.3, 0.5])) == "Timeline(scores=(2, 3), path='clips/a.avi')"


def test_classify_is_the_timelines_last_row(tiny_model: Recognizer, video: Path) -> None:
    timeline = tiny_model.timeline(video)
    assert timeline.scores.shape == (4, 3)
    assert timeline.path == str(video)
    np.testing.assert_allclose(timeline.scores.sum(axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(timeline.pts_seconds, [0.04, 0.16, 0.28, 0.4])
    assert tiny_model.classify(video) == timeline.prediction()


def test_no_byte_of_a_video_is_read_for_a_checksum(
    tiny_model: Recognizer, video: Path, no_checksum: None
) -> None:
    assert len(tiny_model.timeline(video).scores) == 4
    assert tiny_model.classify(video).path == str(video)


@pytest.mark.parametrize("num_frames", [4, 30])  # of 12: some are shown at several steps
def test_an_early_answer_is_that_of_the_first_step_that_is_sure(
    tiny_model: Recognizer, video: Path, num_frames: int
) -> None:
    sampling = replace(tiny_model.config.sampling, num_frames=num_frames)
    model = replace(tiny_model, config=replace(tiny_model.config, sampling=sampling))
    whole = model.timeline(video)
    best = whole.so_far.max(axis=1)
    for confidence in best - 1e-4:
        first = int((best >= confidence).argmax())
        early = model.classify(video, stop_at_confidence=float(confidence))
        assert early.scores[0] == pytest.approx(best[first], abs=1e-5)
        assert early.pts_seconds == whole.pts_seconds[first]


def test_a_video_scores_as_its_features_do(tiny_model: Recognizer, video: Path) -> None:
    features = extract_features(video, backbone=tiny_model.backbone, num_frames=4)
    expected = tiny_model.score(features)
    np.testing.assert_allclose(tiny_model.timeline(video).scores, expected.scores, atol=1e-6)


def test_features_of_another_kind_are_refused(tiny_model: Recognizer, video: Path) -> None:
    more = extract_features(video, backbone=tiny_model.backbone, num_frames=5)
    with pytest.raises(FeatureError, match=r"have sampling\.num_frames 5, wanted is 4; give"):
        tiny_model.score(more)
    wide = Features(np.zeros((3, tiny_model.head.feature_size + 1), np.float32), np.arange(3.0))
    with pytest.raises(FeatureError, match="features a step, the model was trained with"):
        tiny_model.score(wide)


def test_the_model_samples_as_its_configuration_says(tiny_model: Recognizer, video: Path) -> None:
    assert len(tiny_model.timeline(video).pts_seconds) == tiny_model.config.sampling.num_frames


@pytest.mark.parametrize("count", [1, 11, 12, 13])
def test_the_last_segment_ends_where_the_video_does(
    tiny_model: Recognizer, tmp_path: Path, count: int
) -> None:
    video = write_video(tmp_path / "clip.avi", count)
    timeline = tiny_model.timeline(video)
    assert timeline.end_seconds == pytest.approx(count / 25)
    assert timeline.segments()[-1].end_seconds == pytest.approx(count / 25)
    early = tiny_model.timeline(video, stop_at_confidence=0.0)
    assert (len(early.scores), early.end_seconds) == (1, None)


@pytest.mark.parametrize("content", [None, b"", b"this is no video"])
def test_what_is_no_video_is_refused(
    tiny_model: Recognizer, tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "a.avi"
    if content is not None:
        path.write_bytes(content)
    for use in (tiny_model.classify, tiny_model.timeline):
        with pytest.raises(VideoError, match=r"a\.avi"):
            use(path)


def test_a_timeline_never_looks_ahead(tiny_model: Recognizer) -> None:
    features = make_features()
    whole = tiny_model.score(features).scores
    for steps in range(1, 6):
        part = Features(features.values[:steps], features.pts_seconds[:steps])
        np.testing.assert_allclose(tiny_model.score(part).scores, whole[:steps], atol=1e-6)


def test_scoring_switches_dropout_off(tiny_model: Recognizer) -> None:
    head = Head.of(tiny_model.head).train()
    values = make_features().values
    np.testing.assert_array_equal(read_out(head, values).now, read_out(head, values).now)


def test_values_need_not_be_contiguous(tiny_model: Recognizer) -> None:
    head = Head.of(tiny_model.head)
    values = make_features(steps=10).values
    np.testing.assert_array_equal(
        read_out(head, values[::2]).now, read_out(head, values[::2].copy()).now
    )
