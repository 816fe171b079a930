"""A trained head in NumPy: step by step the numbers of torch, each row by itself."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from actionrnn.config import HeadConfig, HeadKind
from actionrnn.model.heads import Head, read_out
from actionrnn.model.scoring import score_sequence
from actionrnn.model.trained_head import State, TrainedHead, Values, tensor_shapes

KINDS: tuple[HeadKind, ...] = ("rnn_tanh", "rnn_relu", "lstm", "gru", "mean")
BATCH, STEPS, FEATURES, CLASSES = 3, 9, 20, 4
EACH_ALONE = (
    {},
    {"projection": False},
    {"residual": False},
    {"input_scaling": "none"},
    {"input_scaling": "l2"},
    {"temporal_pooling": "last"},
    {"temporal_pooling": "exponential_mean", "pooling_decay": 0.7},
    {"temporal_pooling": "exponential_mean", "pooling_decay": 0.0},
    {"temporal_pooling": "exponential_mean", "pooling_decay": 1 - 1e-9},
)
TOGETHER = [
    {"num_layers": layers, "temporal_differences": differences, "delay_steps": delay}
    for layers, differences, delay in itertools.product((1, 2), (False, True), (0, 2))
]
CONFIGS = [
    HeadConfig(kind=kind, hidden_size=6, multi_label=multi_label, **one, **more)
    for kind, one, more, multi_label in itertools.product(
        KINDS, EACH_ALONE, TOGETHER, (False, True)
    )
]
each_kind = pytest.mark.parametrize("kind", KINDS)


def configs_of(kind: HeadKind) -> list[HeadConfig]:
    return [config for config in CONFIGS if config.kind == kind]


def make_head(config: HeadConfig, size: int = FEATURES, num_classes: int = CLASSES) -> Head:
    torch.manual_seed(1)
    head = Head(config, size, num_classes)
    if head.residual is not None:  # it starts as zeros
        nn.init.normal_(head.residual.weight, std=0.3)
    for name, parameter in head.named_parameters():
        if name.startswith("projection.1"):  # LayerNorm's, which start as ones and zeros
            nn.init.normal_(parameter)
    head.set_normalisation(torch.randn(size) / 9, torch.rand(size) + 0.5)
    return head.eval()


def features(*shape: int, seed: int = 0) -> Values:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def step_through(head: TrainedHead, values: Values) -> tuple[Values, np.ndarray[Any, Any]]:
    """The logits of now and of so far, (B, T, K), of rows (B, T, D) that step together."""
    late = np.repeat(values[:, -1:], head.delay_steps, axis=1)
    state, now, so_far = None, [], []
    for frame in np.concatenate([values, late], axis=1).swapaxes(0, 1):
        logits, state = head.step(frame, state)
        now.append(logits)
        so_far.append(state["so_far"])
    return tuple(np.stack(part, axis=1)[:, head.delay_steps :] for part in (now, so_far))


@each_kind
@torch.inference_mode()
def test_its_steps_are_those_of_torch_over_the_whole(kind: HeadKind) -> None:
    values = features(BATCH, STEPS, FEATURES)
    for config in configs_of(kind):
        head = make_head(config)
        trained = head.trained()
        now, so_far = step_through(trained, values)
        logits = head(torch.from_numpy(values))
        np.testing.assert_allclose(now, logits.numpy(), atol=1e-5, err_msg=repr(config))
        np.testing.assert_allclose(
            so_far, head.so_far(logits).numpy(), atol=1e-5, err_msg=repr(config)
        )
        whole, found = read_out(head, values[1]), score_sequence(trained, values[1])
        np.testing.assert_allclose(found.now, whole.now, atol=1e-5, err_msg=repr(config))
        np.testing.assert_allclose(found.so_far, whole.so_far, atol=1e-5, err_msg=repr(config))


@each_kind
@torch.inference_mode()
def test_its_state_is_that_of_torch(kind: HeadKind) -> None:
    """The same names, shapes and numbers: what is exported goes on as the model does."""
    values = features(BATCH, 4, FEATURES)
    for config in configs_of(kind):
        head, state, torchs = make_head(config), None, None
        trained = head.trained()
        for frame in values.swapaxes(0, 1):
            _, state = trained.step(frame, state)
            _, torchs = head.step(torch.from_numpy(frame), torchs)
        assert state is not None and torchs is not None
        assert state.keys() == torchs.keys()
        for name, value in state.items():
            assert value.dtype == torchs[name].numpy().dtype, name
            np.testing.assert_allclose(value, torchs[name].numpy(), atol=1e-5, err_msg=name)


@each_kind
@pytest.mark.parametrize("sizes", [(FEATURES, 6, CLASSES), (1280, 256, 101)])
def test_a_rows_numbers_do_not_depend_on_the_rows_beside_it(
    kind: HeadKind, sizes: tuple[int, int, int]
) -> None:
    size, hidden, num_classes = sizes
    values = features(7, 3, size)
    for one in EACH_ALONE if size == FEATURES else EACH_ALONE[:1]:
        config = HeadConfig(kind=kind, hidden_size=hidden, **one, **TOGETHER[-1])
        head = make_head(config, size, num_classes).trained()
        together = step_through(head, values)
        for rows in (slice(0, 1), slice(4, 5), slice(5, 7)):
            for all_rows, alone in zip(together, step_through(head, values[rows]), strict=True):
                np.testing.assert_array_equal(all_rows[rows], alone)


def test_large_and_small_numbers_stay_numbers() -> None:
    for kind in KINDS:
        for sign in (-1, 1):
            head = make_head(HeadConfig(kind=kind, hidden_size=6, multi_label=True)).trained()
            logits, _ = head.step(np.full((1, FEATURES), sign * 1e30, np.float32))
            assert np.isfinite(logits).all(), kind
            assert np.isfinite(head.scores(logits)).all(), kind


def test_scores_far_apart_are_probabilities() -> None:
    logits = np.array([[3000.0, -3000.0, 0.0, 2999.0], [-1e9, -1e9, -1e9, -1e9]])
    one, several = (
        make_head(HeadConfig(kind="mean", multi_label=multi)).trained() for multi in (False, True)
    )
    for head in (one, several):
        wanted = Head.of(head).scores(torch.from_numpy(logits)).numpy()
        with np.errstate(all="raise", under="ignore"):
            found = head.scores(logits)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, wanted, atol=1e-6)
    np.testing.assert_allclose(one.scores(logits).sum(axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(several.scores(logits)[0], [1, 0, 0.5, 1], atol=1e-6)


def test_the_state_given_stays_as_it_is() -> None:
    head = make_head(HeadConfig(hidden_size=6, num_layers=2, delay_steps=2)).trained()
    _, state = head.step(features(BATCH, FEATURES))
    before: State = {name: value.copy() for name, value in state.items()}
    _, new = head.step(features(BATCH, FEATURES, seed=1), state)
    for name, value in state.items():
        np.testing.assert_array_equal(value, before[name])
        assert new[name].shape == value.shape
        assert new[name].dtype == value.dtype


@each_kind
def test_the_shapes_are_those_of_torch(kind: HeadKind) -> None:
    for config in configs_of(kind):
        found = tensor_shapes(config, FEATURES, CLASSES)
        assert found == {n: tuple(v.shape) for n, v in make_head(config).state_dict().items()}


@each_kind
def test_there_and_back_are_the_same_bits(kind: HeadKind) -> None:
    for config in configs_of(kind):
        head = make_head(config)
        trained = head.trained()
        back = Head.of(trained)
        assert back.config == config
        assert not back.training
        assert (back.feature_size, back.num_classes) == (FEATURES, CLASSES)
        assert (trained.feature_size, trained.num_classes) == (FEATURES, CLASSES)
        assert trained.delay_steps == back.delay_steps == head.delay_steps
        for name, tensor in head.state_dict().items():
            assert torch.equal(back.state_dict()[name], tensor)
            np.testing.assert_array_equal(trained.tensors[name], tensor.numpy())


def test_training_on_changes_nothing_that_was_taken_before() -> None:
    head = make_head(HeadConfig(hidden_size=6))
    trained, values = head.trained(), features(STEPS, FEATURES)
    before = score_sequence(trained, values).now
    copy = Head.of(trained)
    for one in (head, copy):
        with torch.no_grad():
            for parameter in one.parameters():
                parameter.mul_(2)
    np.testing.assert_array_equal(score_sequence(trained, values).now, before)
