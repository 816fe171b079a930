"""A head answers features of the kind that it was trained on, and no others."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from actionrnn.config import HeadConfig, Sampling, TrainConfig
from actionrnn.datasets.recordings import Recording
from actionrnn.datasets.sequences import Sequences
from actionrnn.errors import FeatureError
from actionrnn.evaluation.predict import TrainedOn, predict_fold, predict_steps
from actionrnn.model.heads import Head, read_out
from actionrnn.training.fit_state import FitTask
from tests.tiny import tiny_provenance

MADE = tiny_provenance()


@pytest.fixture
def sequences() -> Sequences:
    """Two clips of three steps."""
    recordings = [Recording.trimmed(Path(f"{name}.avi"), name, name, name) for name in ("a", "b")]
    clips = tuple(recording.clips[0] for recording in recordings)
    values = tuple(np.full((3, 4), index, np.float32) for index in range(2))
    return Sequences(clips, values, np.array([0, 1]), ("1", "2"), MADE)


def test_only_features_of_the_trained_kind_are_scored(sequences: Sequences) -> None:
    heads = {"gru": Head(HeadConfig(hidden_size=3), 4, 2)}
    same = TrainedOn(replace(MADE, precision="bfloat16"))
    predicted = predict_fold("all", sequences, heads, same, diagnostics=False)
    assert predicted.scores.shape == (2, 2)
    other = TrainedOn(replace(MADE, sampling=Sampling(rate_fps=8.0)))
    with pytest.raises(
        FeatureError, match=r"all: its features have sampling\.rate_fps 4\.0, wanted is 8\.0; give"
    ):
        predict_fold("all", sequences, heads, other, diagnostics=False)


@pytest.mark.parametrize("delay", [0, 3])
def test_after_each_tenth_both_answers_are_known(sequences: Sequences, delay: int) -> None:
    """What has been seen by then is asked, also where the answers for single steps come later."""
    head = Head(HeadConfig(hidden_size=3, delay_steps=delay), 4, 2)
    varied = tuple(
        np.random.default_rng(index).normal(size=(20, 4)).astype(np.float32) for index in range(2)
    )
    test = replace(sequences, values=varied)
    found = predict_fold("all", test, {"gru": head}, TrainedOn(MADE)).diagnostics
    assert found is not None
    for index, values in enumerate(varied):
        answers = [read_out(head, values[:count]) for count in range(2, 21, 2)]
        for name, part in (("observed", "so_far"), ("observed_now", "now")):
            given = getattr(found, name)["gru"][index]
            expected = [getattr(answer, part)[-1].argmax() for answer in answers]
            np.testing.assert_array_equal(given, expected)


def test_the_clips_that_choose_an_epoch_are_of_the_trained_kind(sequences: Sequences) -> None:
    other = replace(sequences, provenance=replace(MADE, backbone="other"))
    FitTask(sequences, 2, HeadConfig(), TrainConfig(), validation=sequences)
    with pytest.raises(FeatureError, match="validation: its features have backbone other, wanted"):
        FitTask(sequences, 2, HeadConfig(), TrainConfig(), validation=other)


def test_a_part_of_the_clips_and_of_their_features_is_of_the_same_kind(
    sequences: Sequences,
) -> None:
    assert sequences.subset(sequences.clips[:1]).provenance == MADE
    assert sequences.first_features(2).provenance == MADE


def test_the_clips_of_a_group_are_joined_and_answered_with_one_state(sequences: Sequences) -> None:
    torch.manual_seed(0)
    head = Head(HeadConfig(hidden_size=4), sequences.feature_size, 2).eval()
    (recording,) = predict_steps(sequences, {"gru": head}, window=2)
    order = [0, 1] if recording.targets[0] == 0 else [1, 0]
    joined = np.concatenate([sequences.values[index] for index in order])
    expected = read_out(head, joined).now
    np.testing.assert_array_equal(recording.scores["gru"], expected)
    lengths = [len(sequences.values[index]) for index in order]
    assert recording.targets.tolist() == np.repeat(order, lengths).tolist()
    np.testing.assert_allclose(recording.pts_seconds, np.arange(len(joined)) / 4)
    alone = read_out(head, joined[-2:]).so_far[-1]
    np.testing.assert_allclose(recording.scores["gru, window 2"][-1], alone, atol=1e-6)


def test_clips_without_a_rate_are_not_joined(sequences: Sequences) -> None:
    uniform = replace(MADE, sampling=Sampling(num_frames=3))
    head = Head(HeadConfig(hidden_size=4), sequences.feature_size, 2)
    assert predict_steps(replace(sequences, provenance=uniform), {"gru": head}, 2) == []
