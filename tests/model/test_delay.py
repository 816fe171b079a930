"""A head that answers later: for step t when t + d was seen, by every road the same numbers."""

from __future__ import annotations

import copy
import dataclasses
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from actionrnn.config import Config, HeadConfig, HeadKind, Sampling
from actionrnn.config_reading import parse_config
from actionrnn.errors import ConfigError
from actionrnn.features.backbone import Backbone
from actionrnn.model.heads import Head, State, read_out
from actionrnn.model.recognizer import Recognizer, load
from actionrnn.model.scoring import Readouts, Scorer
from actionrnn.video.decode import iter_frames

KINDS: tuple[HeadKind, ...] = ("rnn_tanh", "rnn_relu", "lstm", "gru", "mean")
RECURRENT = KINDS[:-1]
DELAYS = (0, 1, 3)
BATCH, STEPS, FEATURES, CLASSES = 4, 7, 5, 3
LENGTHS = torch.tensor([7, 1, 4, 2])
LABELS = ("clap", "jump", "wave")

each_kind = pytest.mark.parametrize("kind", KINDS)
each_delay = pytest.mark.parametrize("delay", DELAYS)
VARIANTS = [
    pytest.param({"residual": True, "temporal_differences": True}, id="residual, differences"),
    pytest.param({"residual": True, "num_layers": 2}, id="residual, 2 layers"),
    pytest.param({"residual": False, "temporal_differences": True}, id="differences"),
    pytest.param({"temporal_pooling": "last"}, id="last"),
    pytest.param({"temporal_pooling": "exponential_mean"}, id="exponential"),
]
each_variant = pytest.mark.parametrize("options", VARIANTS)


def make_head(kind: HeadKind, delay: int, size: int = FEATURES, **options: Any) -> Head:
    torch.manual_seed(1)
    config = HeadConfig(kind=kind, hidden_size=6, delay_steps=delay, **options)
    head = Head(config, size, CLASSES)
    if head.residual is not None:  # it starts as zeros
        nn.init.normal_(head.residual.weight, std=0.5)
    head.set_normalisation(torch.randn(size) / 9, torch.rand(size) + 0.5)
    return head.eval()


@pytest.fixture
def features() -> Tensor:
    return torch.randn(BATCH, STEPS, FEATURES, generator=torch.Generator().manual_seed(0))


def assert_same(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-5)


def step_and_flush(head: Head, features: Tensor) -> tuple[Tensor, Tensor]:
    """The logits of now and of so far, of frames (B, T, D) that end there."""
    state: State | None = None
    logits, so_far = [], []
    count = features.shape[1]
    for step in range(count + head.delay_steps):
        frame = features[:, step] if step < count else state["previous"]  # type: ignore[index]
        now, state = head.step(frame, state)
        if step >= head.delay_steps:
            logits.append(now)
            so_far.append(state["so_far"].float())
    return torch.stack(logits, dim=1), torch.stack(so_far, dim=1)


@each_kind
@each_delay
@each_variant
@torch.no_grad()
def test_steps_and_a_flush_give_what_forward_gives(
    kind: HeadKind, delay: int, options: dict[str, Any], features: Tensor
) -> None:
    head = make_head(kind, delay, **options)
    for count in (1, 2, STEPS):
        now, so_far = step_and_flush(head, features[:, :count])
        expected = head(features[:, :count])
        assert_same(now, expected)
        assert_same(so_far, head.so_far(expected))


@pytest.mark.parametrize("kind", RECURRENT)
@each_delay
@torch.no_grad()
def test_the_state_is_later_and_the_residual_path_is_not(
    kind: HeadKind, delay: int, features: Tensor
) -> None:
    """z_t = W h_(t+d) + V x_t + b, from a head without a delay on longer recordings."""
    head = make_head(kind, delay, temporal_differences=True)
    plain = make_head(kind, 0, temporal_differences=True)
    longer = torch.cat([features, features[:, -1:].expand(-1, delay, -1)], dim=1)
    both = plain(longer)
    plain.residual = None
    recurrent = plain(longer)
    direct = (both - recurrent)[:, :STEPS]
    assert_same(head(features), recurrent[:, delay:] + direct)


@each_kind
@each_delay
@pytest.mark.parametrize("rubbish", [float("nan"), float("inf"), -1e9])
@torch.no_grad()
def test_what_follows_a_rows_length_changes_nothing(
    kind: HeadKind, delay: int, rubbish: float, features: Tensor
) -> None:
    head = make_head(kind, delay, temporal_differences=True)
    behind = torch.arange(STEPS) >= LENGTHS[:, None]
    logits = head(features.masked_fill(behind[:, :, None], rubbish), LENGTHS)
    assert torch.equal(logits, head(features, LENGTHS))
    assert not logits[behind].any()
    for row, length in enumerate(LENGTHS.tolist()):
        assert_same(logits[row, :length], head(features[row : row + 1, :length])[0])


@pytest.mark.parametrize("kind", RECURRENT)
@each_delay
@torch.no_grad()
def test_an_answer_sees_so_many_further_steps_and_no_more(
    kind: HeadKind, delay: int, features: Tensor
) -> None:
    head, step = make_head(kind, delay), 2
    for residual in (head.residual, None):
        head.residual = residual
        before, later = head(features), features.clone()
        later[:, step + delay + 1 :] += 10
        assert_same(head(later)[:, : step + 1], before[:, : step + 1])
        later[:, step + delay] += 10
        assert ((head(later)[:, step] - before[:, step]).abs().amax(dim=1) > 1e-3).all()


@each_delay
@torch.no_grad()
def test_without_a_state_there_is_nothing_to_wait_for(delay: int, features: Tensor) -> None:
    head = make_head("mean", delay)
    assert head.delay_steps == 0
    assert torch.equal(head(features), make_head("mean", 0)(features))


@pytest.mark.parametrize("kind", RECURRENT)
def test_rubbish_in_the_padding_reaches_no_gradient(kind: HeadKind, features: Tensor) -> None:
    head = make_head(kind, 3, temporal_differences=True).train()
    behind = torch.arange(STEPS) >= LENGTHS[:, None]
    padded = features.masked_fill(behind[:, :, None], float("nan"))
    head.clip_logits(head(padded, LENGTHS), LENGTHS).sum().backward()
    gradients = [p.grad for p in head.parameters() if p.grad is not None]
    assert len(gradients) == len(list(head.parameters()))
    assert all(gradient.isfinite().all() for gradient in gradients)


@torch.no_grad()
def test_the_buffer_is_as_long_as_the_delay_for_ever() -> None:
    plain, late = make_head("gru", 0), make_head("gru", 3)
    assert set(late.initial_state(1)) - set(plain.initial_state(1)) == {"residual"}
    state = late.initial_state(2)
    for _ in range(20):
        _, new = late.step(torch.randn(2, FEATURES), state)
        assert {n: v.shape for n, v in new.items()} == {n: v.shape for n, v in state.items()}
        assert {n: v.dtype for n, v in new.items()} == {n: v.dtype for n, v in state.items()}
        state = new
    assert state["residual"].shape == (2, 3, CLASSES)


def values_of(count: int) -> np.ndarray:
    return np.random.default_rng(count).normal(size=(count, FEATURES)).astype(np.float32)


@each_kind
@each_delay
@pytest.mark.parametrize("count", [1, 3, 30])
def test_blocks_of_any_size_and_the_end_score_as_the_whole(
    kind: HeadKind, delay: int, count: int
) -> None:
    head, values = make_head(kind, delay), values_of(count)
    whole = read_out(head, values)
    for seed in range(4):
        ends = np.sort(np.random.default_rng(seed).integers(0, count + 1, seed)).tolist()
        scorer, parts, seen = Scorer(head.trained()), [], 0
        for block in np.split(values, ends):
            parts.append(scorer.push(block))
            seen += len(block)
            assert sum(len(part.now) for part in parts) == max(0, seen - head.delay_steps)
        parts.append(scorer.finish())
        found = Readouts.joined(parts)
        np.testing.assert_allclose(found.now, whole.now, atol=1e-5)
        np.testing.assert_allclose(found.so_far, whole.so_far, atol=1e-5)
        assert len(scorer.finish().now) == 0
    mean = torch.from_numpy(np.log(whole.now).mean(axis=0))
    np.testing.assert_allclose(whole.so_far[-1], mean.softmax(dim=0).numpy(), atol=1e-5)


def make_model(backbone: Backbone, delay: int, kind: HeadKind = "gru") -> Recognizer:
    head = make_head(kind, delay, backbone.feature_size)
    config = Config(sampling=Sampling(rate_fps=8.0), head=head.config)
    return Recognizer(backbone, head.trained(), LABELS, config)


@pytest.fixture
def clip(clips: Path) -> Path:
    return clips / "red" / "ann_red.avi"


@each_delay
def test_a_file_and_its_frames_pushed_score_the_same(
    tiny_backbone: Backbone, clip: Path, delay: int
) -> None:
    model = make_model(tiny_backbone, delay)
    timeline, stream = model.timeline(clip), model.stream()
    scores, so_far, times = [], [], []
    for frame in iter_frames(clip):
        scores.append(stream.push(frame))
        so_far.append(stream.so_far)
        times += stream.pts_seconds.tolist()
    assert len(times) == max(0, len(timeline.pts_seconds) - delay)
    scores.append(stream.finish())
    so_far.append(stream.so_far)
    times += stream.pts_seconds.tolist()
    assert times == timeline.pts_seconds.tolist()
    np.testing.assert_allclose(np.concatenate(scores), timeline.scores, atol=1e-4)
    np.testing.assert_allclose(np.concatenate(so_far), timeline.so_far, atol=1e-4)
    prediction = model.classify(clip)
    best = timeline.so_far[-1].argmax()
    assert prediction.label == LABELS[best]
    assert prediction.scores[0] == pytest.approx(timeline.so_far[-1, best], abs=1e-5)
    assert prediction.pts_seconds == timeline.pts_seconds[-1]


@each_delay
def test_an_early_answer_names_the_last_frame_that_it_needed(
    tiny_backbone: Backbone, clip: Path, delay: int
) -> None:
    model = make_model(tiny_backbone, delay)
    whole = model.timeline(clip)
    last = len(whole.pts_seconds) - 1
    for step in range(last + 1):
        enough = float(whole.so_far[step].max()) - 1e-5
        first = int(np.argmax(whole.so_far.max(axis=1) >= enough))
        found = model.timeline(clip, stop_at_confidence=enough)
        assert found.pts_seconds.tolist() == whole.pts_seconds[: first + 1].tolist()
        np.testing.assert_allclose(found.so_far, whole.so_far[: first + 1], atol=1e-4)
        answer = model.classify(clip, stop_at_confidence=enough)
        assert answer.pts_seconds == whole.pts_seconds[min(first + delay, last)]


def test_features_score_as_the_file(tiny_backbone: Backbone, clip: Path) -> None:
    import actionrnn

    model = make_model(tiny_backbone, 3)
    features = actionrnn.extract_features(clip, backbone=tiny_backbone, rate_fps=8.0)
    timeline, scored = model.timeline(clip), model.score(features)
    np.testing.assert_allclose(scored.scores, timeline.scores, atol=1e-4)
    assert scored.prediction().pts_seconds == timeline.prediction().pts_seconds


def test_the_delay_is_a_setting_within_bounds() -> None:
    assert parse_config({}).head.delay_steps == 0
    assert parse_config({"head": {"delay_steps": 7}}).head.delay_steps == 7
    for wrong in (-1, 1001, 2.5, True):
        with pytest.raises(ConfigError, match=r"head\.delay_steps"):
            parse_config({"head": {"delay_steps": wrong}})


@pytest.mark.parametrize("kind", ["lstm", "mean"])
def test_a_model_file_holds_the_delay(
    bundled_model: Recognizer, tmp_path: Path, kind: HeadKind
) -> None:
    head = make_head(kind, 4, bundled_model.head.feature_size)
    config = dataclasses.replace(bundled_model.config, head=head.config)
    model = dataclasses.replace(bundled_model, head=head.trained(), config=config)
    model.save(tmp_path / "m.safetensors")
    found = load(tmp_path / "m.safetensors", device="cpu")
    assert found.config.head.delay_steps == 4
    assert found.head.delay_steps == head.delay_steps == (0 if kind == "mean" else 4)
    values = np.random.default_rng(0).normal(size=(9, head.feature_size)).astype(np.float32)
    for one in (found.head, model.head):
        np.testing.assert_array_equal(
            read_out(Head.of(one), values).now, read_out(head, values).now
        )


def test_a_late_head_says_so() -> None:
    assert str(HeadConfig(delay_steps=5)).endswith(", answers 5 steps later")
    for at_once in (HeadConfig(), HeadConfig(kind="mean", delay_steps=5)):
        assert "later" not in str(at_once)


@torch.no_grad()
def test_rows_of_a_batch_may_be_at_different_steps(features: Tensor) -> None:
    """One has just begun while the others have answers already."""
    head = make_head("lstm", 3)
    state = head.initial_state(BATCH)
    for step, row in itertools.product(range(2), range(1, BATCH)):
        one = {name: value[row : row + 1] for name, value in state.items()}
        _, one = head.step(features[row : row + 1, step], one)
        for name, value in one.items():
            state[name][row] = value[0]
    late = copy.deepcopy(state)
    for step in range(4):
        _, state = head.step(features[:, step], state)
    for row in range(BATCH):
        alone = {name: value[row : row + 1] for name, value in late.items()}
        for step in range(4):
            _, alone = head.step(features[row : row + 1, step], alone)
        assert_same(state["so_far"][row].float(), alone["so_far"][0].float())


def part_right(delay: int) -> float:
    """How often a head learns to say, of each step, which frame comes two steps after it."""
    torch.manual_seed(0)
    config = HeadConfig(kind="gru", hidden_size=12, dropout=0.0, delay_steps=delay)
    head = Head(config, 2, 2)
    optimiser = torch.optim.Adam(head.parameters(), lr=0.03)
    for _ in range(80):
        frames = torch.randint(0, 2, (32, 20))  # always others: nothing is learned by heart
        logits = head(nn.functional.one_hot(frames, 2).float())[:, :-2].flatten(0, 1)
        wanted = frames[:, 2:].flatten()
        right = (logits.argmax(dim=1) == wanted).float().mean()
        optimiser.zero_grad()
        nn.functional.cross_entropy(logits, wanted).backward()
        optimiser.step()
    return float(right)


def test_what_later_frames_tell_is_learned_with_a_delay_alone() -> None:
    assert part_right(2) > 0.95
    assert part_right(0) < 0.65  # chance
