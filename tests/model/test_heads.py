"""The recurrent head against its equations, and its promises about time and padding."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from actionrnn.config import HeadConfig
from actionrnn.model.heads import Head, State, last_step

KINDS = ("rnn_tanh", "rnn_relu", "lstm", "gru", "mean")
RECURRENT = KINDS[:-1]
POOLINGS = ("last", "running_mean", "exponential_mean")
BATCH, STEPS, FEATURES, HIDDEN, CLASSES = 4, 6, 5, 7, 3
LENGTHS = torch.tensor([6, 1, 4, 3])

VARIANTS = [
    pytest.param(
        HeadConfig(
            kind=kind,
            hidden_size=HIDDEN,
            num_layers=layers,
            temporal_pooling=pooling,
            residual=layers == 1,
            projection=pooling != "last",
            temporal_differences=differences,
        ),
        id=f"{kind}-{pooling}-{'differences' if differences else 'plain'}-{layers}",
    )
    for kind, pooling, differences, layers in itertools.product(
        KINDS, POOLINGS, (False, True), (1, 2)
    )
]
each_variant = pytest.mark.parametrize("config", VARIANTS)


def make_head(config: HeadConfig, *, num_classes: int = CLASSES) -> Head:
    torch.manual_seed(1)
    head = Head(config, FEATURES, num_classes)
    if head.residual is not None:  # it starts as zeros
        nn.init.normal_(head.residual.weight)
    head.set_normalisation(torch.randn(FEATURES), torch.rand(FEATURES) + 0.5)
    return head.eval()


def small(kind: str, **options: Any) -> HeadConfig:
    """As they are, inputs need not be scaled in the formulas."""
    return HeadConfig(**{"kind": kind, "hidden_size": HIDDEN, "input_scaling": "none", **options})


def show_inputs(**options: Any) -> Head:
    """A mean head whose logits are its inputs."""
    size = FEATURES * (2 if options.get("temporal_differences") else 1)
    head = make_head(small("mean", **options), num_classes=size)
    with torch.no_grad():
        head.classifier.weight.copy_(torch.eye(size))
        head.classifier.bias.zero_()
    return head


def normal(head: Head, features: Tensor) -> Tensor:
    return (features - head.mean) / head.std


def run_steps(head: Head, features: Tensor) -> tuple[Tensor, Tensor]:
    """The logits of now and of so far, step after step."""
    state: State | None = None
    logits, so_far = [], []
    for frame in features.unbind(dim=1):
        now, state = head.step(frame, state)
        logits.append(now)
        so_far.append(state["so_far"].float())
    return torch.stack(logits, dim=1), torch.stack(so_far, dim=1)


@pytest.fixture
def features() -> Tensor:
    return torch.randn(BATCH, STEPS, FEATURES, generator=torch.Generator().manual_seed(0))


def assert_same(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-5)


@each_variant
@torch.no_grad()
def test_repeated_steps_give_what_forward_gives(config: HeadConfig, features: Tensor) -> None:
    head = make_head(config)
    now, so_far = run_steps(head, features)
    assert_same(now, head(features))
    assert_same(so_far, head.so_far(head(features)))


@each_variant
@pytest.mark.parametrize("rubbish", [float("nan"), float("inf"), -1e9])
@torch.no_grad()
def test_padding_changes_nothing(config: HeadConfig, features: Tensor, rubbish: float) -> None:
    head = make_head(config)
    behind = torch.arange(STEPS) >= LENGTHS[:, None]
    padded = features.masked_fill(behind[:, :, None], rubbish)
    logits = head(padded, LENGTHS)
    assert torch.equal(logits, head(features, LENGTHS))
    assert not logits[behind].any()


@each_variant
@torch.no_grad()
def test_a_batch_gives_what_its_rows_give(config: HeadConfig, features: Tensor) -> None:
    head = make_head(config)
    logits = head(features, LENGTHS)
    for row, length in enumerate(LENGTHS.tolist()):
        alone = head(features[row : row + 1, :length])
        assert_same(logits[row, :length], alone[0])


@each_variant
@torch.no_grad()
def test_later_frames_change_no_earlier_logit(config: HeadConfig, features: Tensor) -> None:
    head, now = make_head(config), 3
    changed = features.clone()
    changed[:, now:] += 10
    before, after = head(features), head(changed)
    assert_same(after[:, :now], before[:, :now])
    assert not torch.allclose(after[:, now:], before[:, now:])


@each_variant
def test_rubbish_in_the_padding_reaches_no_gradient(config: HeadConfig, features: Tensor) -> None:
    head = make_head(config).train()
    padded = features.masked_fill(
        (torch.arange(STEPS) >= LENGTHS[:, None])[:, :, None], float("nan")
    )
    last_step(head(padded, LENGTHS), LENGTHS).sum().backward()
    gradients = [p.grad for p in head.parameters() if p.grad is not None]
    assert gradients
    assert all(gradient.isfinite().all() for gradient in gradients)


@pytest.mark.parametrize(("kind", "f"), [("rnn_tanh", torch.tanh), ("rnn_relu", torch.relu)])
@torch.no_grad()
def test_an_elman_layer_is_its_equations(
    kind: str, f: Callable[[Tensor], Tensor], features: Tensor
) -> None:
    head = make_head(small(kind, residual=False, projection=False))
    logits, w = head(features), head.state_dict()
    w_xh, w_hh = w["core.weight_ih_l0"].T, w["core.weight_hh_l0"].T
    b = w["core.bias_ih_l0"] + w["core.bias_hh_l0"]
    w_hy, b_y = w["classifier.weight"].T, w["classifier.bias"]
    h = torch.zeros(BATCH, HIDDEN)
    for t in range(STEPS):
        x = normal(head, features[:, t])
        h = f(h @ w_hh + x @ w_xh + b)
        assert_same(logits[:, t], h @ w_hy + b_y)


@torch.no_grad()
def test_an_lstm_layer_is_its_equations(features: Tensor) -> None:
    head = make_head(small("lstm", residual=False, projection=False))
    logits, w = head(features), head.state_dict()
    h = c = torch.zeros(BATCH, HIDDEN)
    for t in range(STEPS):
        gates = normal(head, features[:, t]) @ w["core.weight_ih_l0"].T + w["core.bias_ih_l0"]
        gates = gates + h @ w["core.weight_hh_l0"].T + w["core.bias_hh_l0"]
        i, f, g, o = gates.split(HIDDEN, dim=1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = o.sigmoid() * c.tanh()
        assert_same(logits[:, t], h @ w["classifier.weight"].T + w["classifier.bias"])


@torch.no_grad()
def test_a_gru_layer_is_its_equations(features: Tensor) -> None:
    head = make_head(small("gru", residual=False, projection=False))
    logits, w = head(features), head.state_dict()
    h = torch.zeros(BATCH, HIDDEN)
    for t in range(STEPS):
        of_x = normal(head, features[:, t]) @ w["core.weight_ih_l0"].T + w["core.bias_ih_l0"]
        of_h = h @ w["core.weight_hh_l0"].T + w["core.bias_hh_l0"]
        (r_x, z_x, n_x), (r_h, z_h, n_h) = of_x.split(HIDDEN, 1), of_h.split(HIDDEN, 1)
        r, z = (r_x + r_h).sigmoid(), (z_x + z_h).sigmoid()
        h = (1 - z) * (n_x + r * n_h).tanh() + z * h
        assert_same(logits[:, t], h @ w["classifier.weight"].T + w["classifier.bias"])


@torch.no_grad()
def test_a_second_layer_reads_the_first_ones_states(features: Tensor) -> None:
    head = make_head(small("rnn_tanh", num_layers=2, residual=False, projection=False))
    logits, w = head(features), head.state_dict()
    first = second = torch.zeros(BATCH, HIDDEN)
    for t in range(STEPS):
        x = normal(head, features[:, t])
        first = torch.tanh(
            x @ w["core.weight_ih_l0"].T
            + first @ w["core.weight_hh_l0"].T
            + w["core.bias_ih_l0"]
            + w["core.bias_hh_l0"]
        )
        second = torch.tanh(
            first @ w["core.weight_ih_l1"].T
            + second @ w["core.weight_hh_l1"].T
            + w["core.bias_ih_l1"]
            + w["core.bias_hh_l1"]
        )
        assert_same(logits[:, t], second @ w["classifier.weight"].T + w["classifier.bias"])


@pytest.mark.parametrize("kind", RECURRENT)
@torch.no_grad()
def test_the_projection_is_a_linear_layer_and_layer_norm(kind: str, features: Tensor) -> None:
    head = make_head(small(kind, residual=False))
    assert head.projection is not None
    nn.init.normal_(head.projection[1].weight)
    nn.init.normal_(head.projection[1].bias)
    w, logits = head.state_dict(), head(features)
    linear = normal(head, features) @ w["projection.0.weight"].T + w["projection.0.bias"]
    centred = linear - linear.mean(dim=-1, keepdim=True)
    scaled = centred / (centred.square().mean(dim=-1, keepdim=True) + 1e-5).sqrt()
    hidden = head.core(scaled * w["projection.1.weight"] + w["projection.1.bias"])[0]
    assert_same(logits, hidden @ w["classifier.weight"].T + w["classifier.bias"])


@pytest.mark.parametrize("differences", [False, True])
@pytest.mark.parametrize("kind", RECURRENT)
@torch.no_grad()
def test_the_residual_path_adds_what_the_frame_itself_says(
    kind: str, differences: bool, features: Tensor
) -> None:
    head = make_head(small(kind, temporal_differences=differences))
    inputs = normal(head, features)
    if differences:
        before = torch.cat([inputs[:, :1], inputs[:, :-1]], dim=1)
        inputs = torch.cat([inputs, inputs - before], dim=-1)
    assert head.residual is not None
    direct = inputs @ head.residual.weight.T
    logits = head(features)
    head.residual = None
    assert_same(logits, head(features) + direct)


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_so_far_is_the_mean_of_the_logits_of_now(kind: str, features: Tensor) -> None:
    head = make_head(small(kind))
    now = head(features)
    so_far = head.so_far(now)
    for t in range(STEPS):
        assert_same(so_far[:, t], now[:, : t + 1].mean(dim=1))


@torch.no_grad()
def test_heads_of_version_0_1_may_answer_with_their_last_step(features: Tensor) -> None:
    now = make_head(small("gru", temporal_pooling="last"))(features)
    assert torch.equal(make_head(small("gru", temporal_pooling="last")).so_far(now), now)


# float32 cannot hold 1 - decay for the last of these
@pytest.mark.parametrize("decay", [0.0, 0.5, 0.9, 0.999999])
@torch.no_grad()
def test_heads_of_version_0_1_may_weigh_steps_by_their_age(decay: float, features: Tensor) -> None:
    head = make_head(small("gru", temporal_pooling="exponential_mean", pooling_decay=decay))
    now = head(features)
    so_far = head.so_far(now)
    for t in range(STEPS):
        weights = torch.tensor([decay ** (t - i) for i in range(t + 1)])
        expected = (now[:, : t + 1] * weights[:, None]).sum(dim=1) / weights.sum()
        assert_same(so_far[:, t], expected)


@pytest.mark.parametrize("pooling", POOLINGS)
@torch.no_grad()
def test_the_mean_head_averages_normalised_features(pooling: str, features: Tensor) -> None:
    head = show_inputs(temporal_pooling=pooling)
    so_far = head.so_far(head(features))
    for t in range(STEPS):
        assert_same(so_far[:, t], normal(head, features[:, : t + 1]).mean(dim=1))


@torch.no_grad()
def test_the_mean_head_is_blind_to_order_and_the_others_are_not(features: Tensor) -> None:
    def answer(head: Head, features: Tensor) -> Tensor:
        return head.so_far(head(features))[:, -1]

    reverse = features.flip(1)
    mean = make_head(small("mean"))
    assert_same(answer(mean, reverse), answer(mean, features))
    for kind in RECURRENT:
        head = make_head(small(kind))
        assert not torch.allclose(answer(head, reverse), answer(head, features), atol=1e-3)


@torch.no_grad()
def test_temporal_differences_stand_beside_the_features(features: Tensor) -> None:
    head = show_inputs(temporal_differences=True)
    x = normal(head, features)
    difference = torch.zeros_like(x)
    difference[:, 1:] = x[:, 1:] - x[:, :-1]
    logits = head(features)
    assert_same(logits, torch.cat([x, difference], dim=-1))


@pytest.mark.parametrize("differences", [False, True])
@torch.no_grad()
def test_normalisation_takes_mean_and_spread_out_of_the_features(
    differences: bool, features: Tensor
) -> None:
    head = make_head(small("gru", temporal_differences=differences))
    plain = make_head(small("gru", temporal_differences=differences))
    plain.set_normalisation(torch.zeros(FEATURES), torch.ones(FEATURES))
    assert_same(head(features), plain(normal(head, features)))


@torch.no_grad()
def test_a_feature_that_never_varies_gives_finite_scores(features: Tensor) -> None:
    head = make_head(small("lstm"))
    head.set_normalisation(features[0, 0], torch.zeros(FEATURES))
    assert head(features).isfinite().all()


def test_statistics_are_stored_with_the_weights() -> None:
    state = make_head(small("gru")).state_dict()
    assert state["mean"].shape == state["std"].shape == (FEATURES,)


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_dropout_works_in_training_only(kind: str, layers: int, features: Tensor) -> None:
    head = make_head(small(kind, num_layers=layers, dropout=0.5))
    assert torch.equal(head(features), head(features))
    head.train()
    assert not torch.equal(head(features), head(features))


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_without_dropout_training_changes_nothing(kind: str, features: Tensor) -> None:
    head = make_head(small(kind, num_layers=2, dropout=0.0))
    expected = head(features)
    assert_same(head.train()(features), expected)


@torch.no_grad()
def test_dropout_drops_the_same_features_at_every_step_of_a_clip() -> None:
    head = make_head(small("mean", dropout=0.5)).train()
    logits = head(torch.ones(16, STEPS, FEATURES))
    assert_same(logits, logits[:, :1].expand_as(logits))
    assert len(logits[:, 0].unique(dim=0)) > 1  # and others in other clips


@torch.no_grad()
def test_dropout_keeps_the_expected_input() -> None:
    head = show_inputs(dropout=0.5).train()
    torch.manual_seed(0)
    logits = head(torch.full((20_000, 1, FEATURES), 2.0))
    expected = normal(head, torch.full((FEATURES,), 2.0))
    torch.testing.assert_close(logits[:, 0].mean(dim=0), expected, rtol=0.1, atol=0.1)


@pytest.mark.parametrize("kind", KINDS)
def test_the_state_has_the_batch_first_and_starts_at_zero(kind: str, features: Tensor) -> None:
    head = make_head(small(kind, num_layers=2))
    start = head.initial_state(BATCH)
    logits, state = head.step(features[:, 0], start)
    assert torch.equal(logits, head.step(features[:, 0])[0])
    assert not any(tensor.any() for tensor in start.values())
    assert start.keys() == state.keys()
    assert {name: t.shape for name, t in state.items()} == {n: t.shape for n, t in start.items()}
    assert all(len(tensor) == BATCH for tensor in state.values())


@torch.no_grad()
def test_rows_of_a_state_can_be_taken_apart(features: Tensor) -> None:
    """Streams that share a batch may end one by one."""
    head = make_head(small("lstm", num_layers=2, temporal_differences=True))
    _, state = head.step(features[:, 0])
    logits, _ = head.step(features[:, 1], state)
    kept = {name: tensor[2:] for name, tensor in state.items()}
    assert_same(head.step(features[2:, 1], kept)[0], logits[2:])


@pytest.mark.parametrize(
    "lengths",
    [[0, 1, 2, 3], [1, 2, 3, 7], [-1, 1, 1, 1], [1, 2, 3], [[1, 2, 3, 4]], 3],
    ids=["zero", "too long", "negative", "too few", "two dimensions", "no dimension"],
)
def test_bad_lengths_are_refused(lengths: Any, features: Tensor) -> None:
    with pytest.raises(ValueError, match=r"lengths must be .* in 1 \.\.\. 6"):
        make_head(small("gru"))(features, torch.tensor(lengths))


def test_the_last_step_is_the_last_valid_one() -> None:
    logits = torch.arange(24.0).reshape(2, 4, 3)
    assert last_step(logits, torch.tensor([4, 2])).tolist() == [[9, 10, 11], [15, 16, 17]]


@pytest.mark.parametrize("kind", KINDS)
def test_shapes(kind: str, features: Tensor) -> None:
    head = make_head(small(kind))
    assert head(features).shape == (BATCH, STEPS, CLASSES)
    assert head.step(features[:, 0])[0].shape == (BATCH, CLASSES)
    assert (head.feature_size, head.num_classes) == (FEATURES, CLASSES)


@pytest.mark.needs_cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_a_gpu_gives_what_the_cpu_gives(kind: str, features: Tensor) -> None:
    head = make_head(small(kind, num_layers=2, temporal_differences=True))
    expected = head(features)
    head, features = head.cuda(), features.cuda()
    torch.testing.assert_close(head(features).cpu(), expected, rtol=0, atol=1e-2)
    torch.testing.assert_close(run_steps(head, features)[0].cpu(), expected, rtol=0, atol=1e-2)


@torch.no_grad()
def test_l2_normalised_heads_do_not_see_how_long_a_feature_vector_is(features: Tensor) -> None:
    head = make_head(small("gru", input_scaling="l2"))
    brighter = features * torch.rand(BATCH, STEPS, 1).add(0.5)
    assert_same(head(brighter), head(features))
    length = features.square().sum(-1, keepdim=True).sqrt()
    plain = make_head(small("gru", input_scaling="none"))
    assert_same(head(features), plain(features / length))


@torch.no_grad()
def test_the_root_of_features_keeps_their_sign(features: Tensor) -> None:
    head = make_head(small("gru", input_scaling="sqrt"))
    roots = features.abs() ** 0.5 * features.sign()
    assert_same(head(features), make_head(small("gru", input_scaling="none"))(roots))


@pytest.mark.parametrize("scaling", ["l2", "sqrt"])
@pytest.mark.parametrize("differences", [False, True])
@torch.no_grad()
def test_scaled_heads_step_as_they_run(scaling: str, differences: bool, features: Tensor) -> None:
    head = make_head(small("lstm", input_scaling=scaling, temporal_differences=differences))
    assert_same(run_steps(head, features)[0], head(features))
