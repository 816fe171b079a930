"""What a head does with its frames, against heads that are known to do it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from actionrnn.config import HeadConfig
from actionrnn.evaluation.diagnostics import fresh_heads, influence, shuffled_answers, spread_evenly
from actionrnn.evaluation.metrics import mean_influence
from actionrnn.model.heads import Head


def make_head(**options: object) -> Head:
    torch.manual_seed(0)
    config = HeadConfig(**{"kind": "gru", "hidden_size": 8, "dropout": 0.5, **options})  # type: ignore[arg-type]
    return Head(config, 6, 3).eval()


def make_clips(*lengths: int) -> list[NDArray[np.float32]]:
    rng = np.random.default_rng(0)
    return [rng.normal(size=(length, 6)).astype(np.float32) for length in lengths]


def test_a_mean_depends_on_all_frames_alike() -> None:
    for norms in influence(make_head(kind="mean"), make_clips(1, 5, 9)):
        np.testing.assert_allclose(norms, norms[0], rtol=1e-5)


def test_the_influence_is_the_slope_that_differences_give() -> None:
    head, (clip,) = make_head(temporal_pooling="last", input_scaling="none"), make_clips(4)
    head.set_normalisation(torch.zeros(6), torch.arange(1.0, 7.0))
    (norms,) = influence(head, [clip])
    with torch.no_grad():
        winner = int(head(torch.from_numpy(clip)[None])[0, -1].argmax())
    double = head.double()

    def logit(values: NDArray[np.float64]) -> float:
        with torch.no_grad():
            return float(double(torch.from_numpy(values)[None])[0, -1, winner])

    step, scale = 1e-5, head.std.numpy()
    for lag in range(4):
        slopes = []
        for feature in range(6):
            more, less = clip.astype(np.float64), clip.astype(np.float64)
            more[3 - lag, feature] += step
            less[3 - lag, feature] -= step
            slopes.append((logit(more) - logit(less)) / (2 * step) * scale[feature])
        assert norms[lag] == pytest.approx(np.linalg.norm(slopes), rel=1e-3)


def test_a_feature_that_is_zero_has_a_finite_influence() -> None:
    """The root, which heads take by default, has an infinite slope there."""
    clip = np.zeros((4, 6), np.float32)
    assert all(np.isfinite(norms).all() for norms in influence(make_head(), [clip]))


def test_an_untrained_rnn_forgets_faster_than_an_lstm_or_gru() -> None:
    clips = make_clips(*[20] * 10)
    head = make_head(temporal_pooling="running_mean", input_scaling="none")
    heads = fresh_heads(head, clips)
    curves = {kind: mean_influence(influence(head, clips)) for kind, head in heads.items()}
    assert set(curves) == {"rnn_tanh", "lstm", "gru"}
    assert curves["rnn_tanh"][10] < 0.2 * min(curves["lstm"][10], curves["gru"][10])


def test_looking_into_a_head_leaves_it_as_it_was() -> None:
    head, clips = make_head(), make_clips(5, 6)
    before = {name: tensor.clone() for name, tensor in head.state_dict().items()}
    influence(head, clips)
    shuffled_answers(head, clips)
    fresh_heads(head, clips)
    assert all(parameter.grad is None for parameter in head.parameters())
    assert all((head.state_dict()[name] == tensor).all() for name, tensor in before.items())


def test_a_mean_does_not_see_the_order_and_a_last_state_does() -> None:
    clips = make_clips(*[12] * 40)
    for kind, changes in (("mean", False), ("rnn_tanh", True)):
        head = make_head(kind=kind, temporal_pooling="last")
        with torch.no_grad():
            batch = torch.from_numpy(np.stack(clips))
            answers = head.so_far(head(batch))[:, -1].argmax(dim=1).numpy()
        assert (shuffled_answers(head, clips) != answers).any() == changes


def test_the_orders_are_those_of_the_seed() -> None:
    head, clips = make_head(kind="rnn_tanh", temporal_pooling="last"), make_clips(*[12] * 40)
    first = shuffled_answers(head, clips, num_shuffles=3)
    assert first.shape == (3, 40)
    np.testing.assert_array_equal(first, shuffled_answers(head, clips, num_shuffles=3))
    assert (first != shuffled_answers(head, clips, num_shuffles=3, seed=1)).any()


@pytest.mark.parametrize(("count", "most", "kept"), [(3, 5, [0, 1, 2]), (9, 3, [0, 4, 8])])
def test_the_chosen_clips_are_spread_over_all(count: int, most: int, kept: list[int]) -> None:
    clips = [np.full((1, 1), index, np.float32) for index in range(count)]
    assert [int(clip[0, 0]) for clip in spread_evenly(clips, most)] == kept
