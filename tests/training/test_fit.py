"""The training loop: deterministic, and able to learn what only order tells."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from actionrnn.config import HeadConfig, InputScaling, TrainConfig
from actionrnn.datasets.sequences import Sequences
from actionrnn.errors import ConfigError, ModelError
from actionrnn.model.heads import Head, read_out
from actionrnn.training.fit import fit_head
from actionrnn.training.fit_state import Epoch, FitTask

MakeSequences = Callable[..., Sequences]

KINDS = ("rnn_tanh", "rnn_relu", "lstm", "gru", "mean")
SIZE = 6


def clip_scores(head: Head, sequences: list[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Probabilities at the last step of each sequence: N of (T, D) -> (N, K)."""
    return np.stack([read_out(head, values).so_far[-1] for values in sequences])


def order_task(seed: int, count: int) -> tuple[list[NDArray[np.float32]], list[int]]:
    """A then B is class 0, B then A is class 1: the same frames in another order."""
    rng = np.random.default_rng(seed)
    first, second = np.eye(SIZE, dtype=np.float32)[:2]
    values, targets = [], []
    for index in range(count):
        half = int(rng.integers(3, 7))
        clip = np.repeat([first, second], half, axis=0)
        clip += rng.normal(scale=0.1, size=clip.shape).astype(np.float32)
        values.append(clip if index % 2 == 0 else clip[::-1].copy())
        targets.append(index % 2)
    return values, targets


def accuracy(head: Head, values: list[NDArray[np.float32]], targets: list[int]) -> float:
    return float((clip_scores(head, values).argmax(axis=1) == targets).mean())


@pytest.fixture
def sequences(make_sequences: MakeSequences) -> Sequences:
    return make_sequences(*order_task(seed=0, count=12))


def fit(
    sequences: Sequences, kind: str = "gru", input_scaling: InputScaling = "sqrt", **options: Any
) -> Head:
    head = HeadConfig(
        kind=kind, hidden_size=8, num_layers=2, dropout=0.3, input_scaling=input_scaling
    )
    config = TrainConfig(**{"epochs": 3, "batch_size": 5, **options})
    return fit_head(FitTask(sequences, 2, head, config)).head


def same(one: Head, other: Head) -> bool:
    return all(
        torch.equal(a, b)
        for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    )


@pytest.mark.parametrize("kind", KINDS)
def test_the_seed_decides_every_bit(sequences: Sequences, kind: str) -> None:
    head = fit(sequences, kind, seed=1)
    torch.manual_seed(99)
    torch.rand(7)
    assert same(head, fit(sequences, kind, seed=1))
    assert not same(head, fit(sequences, kind, seed=2))


def test_the_callers_random_numbers_are_left_alone(sequences: Sequences) -> None:
    before, of_numpy = torch.random.get_rng_state(), np.random.get_state()[1].copy()
    fit(sequences)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert (np.random.get_state()[1] == of_numpy).all()


@pytest.mark.parametrize("kind", ["rnn_tanh", "lstm", "gru"])
def test_recurrent_heads_learn_the_order_of_new_clips(
    make_sequences: MakeSequences, kind: str
) -> None:
    config = TrainConfig(epochs=30, batch_size=16, learning_rate=0.01)
    head = HeadConfig(kind=kind, hidden_size=16, dropout=0.0, temporal_pooling="last")
    fitted = fit_head(FitTask(make_sequences(*order_task(seed=1, count=64)), 2, head, config)).head
    assert accuracy(fitted, *order_task(seed=2, count=100)) >= 0.9  # chance: 0.5


def test_the_mean_head_cannot_learn_order(make_sequences: MakeSequences) -> None:
    config = TrainConfig(epochs=30, batch_size=16, learning_rate=0.01)
    values, targets = order_task(seed=2, count=100)
    both = values + [clip[::-1].copy() for clip in values]  # each clip, and its reverse
    head = HeadConfig(kind="mean", dropout=0.0)
    fitted = fit_head(FitTask(make_sequences(*order_task(seed=1, count=64)), 2, head, config)).head
    reversed_targets = [1 - target for target in targets]
    assert accuracy(fitted, both, targets + reversed_targets) == pytest.approx(0.5, abs=0.05)


def test_the_mean_head_learns_what_single_frames_tell(make_sequences: MakeSequences) -> None:
    rng = np.random.default_rng(0)
    targets = [0, 1, 2] * 6
    values = [
        (np.eye(SIZE)[target] + rng.normal(scale=0.1, size=(4, SIZE))).astype(np.float32)
        for target in targets
    ]
    config = TrainConfig(epochs=30, batch_size=6, learning_rate=0.01)
    fitted = fit_head(
        FitTask(make_sequences(values, targets), 3, HeadConfig(kind="mean"), config)
    ).head
    assert accuracy(fitted, values, targets) == 1


def test_statistics_are_those_of_all_frames(make_sequences: MakeSequences) -> None:
    rng = np.random.default_rng(0)
    values = [
        rng.normal(loc, 2, (steps, SIZE)).astype(np.float32) for loc, steps in [(5, 2), (0, 9)]
    ]
    head = fit(make_sequences(values, [0, 1]), input_scaling="none")
    frames = np.concatenate(values)
    np.testing.assert_allclose(head.mean, frames.mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(head.std, frames.std(axis=0), atol=1e-5)


def test_a_feature_that_never_varies_does_no_harm(make_sequences: MakeSequences) -> None:
    values, targets = order_task(seed=0, count=8)
    for clip in values:
        clip[:, -1] = 3
    head = fit(make_sequences(values, targets))
    assert np.isfinite(clip_scores(head, values)).all()


@pytest.mark.parametrize("constant", [0.0, 0.1, 3.0, 1e6])
def test_a_feature_that_varies_only_after_the_training_is_not_blown_up(
    make_sequences: MakeSequences, constant: float
) -> None:
    values, targets = order_task(seed=0, count=8)
    for clip in values:
        clip[:, -1] = constant
    head = fit(make_sequences(values, targets), kind="mean", epochs=1)
    assert head.std[-1] == 1
    before = torch.from_numpy(values[0])[None]
    after = before.clone()
    after[..., -1] += 1
    with torch.no_grad():
        change = head(after) - head(before)
    assert 0 < change.abs().max() < 1  # its weight, which is below 1 / sqrt(6) at the start


def test_the_spread_of_large_values_keeps_its_digits(make_sequences: MakeSequences) -> None:
    rng = np.random.default_rng(0)
    values = [rng.normal(1e5, 0.2, (50, SIZE)).astype(np.float32) for _ in range(40)]
    head = fit(make_sequences(values, [0, 1] * 20), kind="mean", input_scaling="none", epochs=1)
    exact = np.concatenate(values).astype(np.float64).std(axis=0)
    np.testing.assert_allclose(head.std, exact, rtol=1e-6)


@pytest.mark.slow
def test_a_fit_does_not_import_torchs_compiler() -> None:
    """It takes seconds, and any optimiser of `torch.optim` imports it when it is made."""
    code = """
import sys
import numpy as np
from actionrnn.config import HeadConfig, TrainConfig
from pathlib import Path
from actionrnn.datasets.recordings import Recording
from actionrnn.datasets.sequences import Sequences
from actionrnn.training.fit import fit_head
from actionrnn.training.fit_state import FitTask
clips = tuple(Recording.trimmed(Path(k), k, "ab"[k in "bd"], k).clips[0] for k in "abcd")
values = tuple(np.random.default_rng(0).normal(size=(4, 3, 2)).astype(np.float32))
from tests.tiny import tiny_provenance
sequences = Sequences(clips, values, np.array([0, 1, 0, 1]), tuple("abcd"), tiny_provenance())
fit_head(FitTask(sequences, 2, HeadConfig(), TrainConfig(epochs=1, ema_decay=0.9)))
assert "torch._dynamo" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_weights_are_averaged_from_the_first_trained_ones_on(sequences: Sequences) -> None:
    """After one step there is nothing to average, whatever the decay."""
    one_step = {"epochs": 1, "batch_size": 100}
    assert same(fit(sequences, **one_step, ema_decay=0.999), fit(sequences, **one_step))


def test_a_long_average_of_a_short_training_is_a_trained_head(
    make_sequences: MakeSequences,
) -> None:
    config = TrainConfig(epochs=30, batch_size=16, learning_rate=0.01, ema_decay=0.999)
    head = HeadConfig(kind="mean", dropout=0.0)
    values, targets = separable((16, 16, 16))
    fitted = fit_head(FitTask(make_sequences(values, targets), 3, head, config)).head
    assert clip_scores(fitted, values)[np.arange(48), targets].min() > 0.5


@pytest.mark.parametrize(
    ("batch_size", "reason"), [(100, "weights are not finite"), (2, "loss is nan")]
)
def test_a_fit_that_diverges_names_itself_its_epoch_and_what_to_try(
    sequences: Sequences, tmp_path: Path, batch_size: int, reason: str
) -> None:
    file = tmp_path / "state.safetensors"
    config = TrainConfig(learning_rate=1e30, weight_decay=1e20, batch_size=batch_size)
    what_to_try = r"lower train\.learning_rate \(1e\+30\)"
    with pytest.raises(ConfigError, match=f"^ann: the {reason} after epoch 1; {what_to_try}"):
        fit_head(FitTask(sequences, 2, HeadConfig(), config, name="ann"), state_file=file)
    assert not file.exists()


@pytest.mark.parametrize(("side", "which"), [("training", "loss"), ("validation", "validation")])
def test_values_that_are_not_finite_choose_no_epoch(
    sequences: Sequences, make_sequences: MakeSequences, side: str, which: str
) -> None:
    values, targets = order_task(seed=0, count=12)
    values[4][1, 2] = np.nan
    bad = make_sequences(values, targets)
    training, validation = (bad, None) if side == "training" else (sequences, bad)
    with pytest.raises(ConfigError, match=rf"the {which}.* is nan after epoch 1.*are finite$"):
        fit_head(FitTask(training, 2, HeadConfig(), TrainConfig(epochs=2), validation))


def separable(counts: tuple[int, ...]) -> tuple[list[NDArray[np.float32]], list[int]]:
    """Clips of classes that any arithmetic tells apart, so many of each."""
    targets = np.repeat(np.arange(len(counts)), counts)
    return [np.eye(SIZE, dtype=np.float32)[[target] * 3] for target in targets], targets.tolist()


STILL = {"epochs": 1, "batch_size": 60, "learning_rate": 1e-12, "label_smoothing": 0.0}
"""One step that moves nothing: the loss is that of the weights of the start."""


def test_balanced_classes_weigh_alike_in_the_loss(make_sequences: MakeSequences) -> None:
    values, targets = separable((48, 6, 6))
    sequences = make_sequences(values, targets)
    head = HeadConfig(kind="mean", dropout=0.0)
    losses = {}
    for kind in ("none", "balanced"):
        done = fit_head(FitTask(sequences, 3, head, TrainConfig(**STILL, class_weights=kind)))
        losses[kind] = done.curve[0].train_loss
    of_clip = -np.log(clip_scores(done.head, values)[np.arange(60), targets])
    of_class = [of_clip[np.array(targets) == k].mean() for k in range(3)]
    assert losses["none"] == pytest.approx(of_clip.mean(), rel=1e-4)
    assert losses["balanced"] == pytest.approx(np.mean(of_class), rel=1e-4)
    assert abs(losses["balanced"] - losses["none"]) > 0.01


def test_class_weights_leave_the_validation_loss_alone(make_sequences: MakeSequences) -> None:
    sequences = make_sequences(*separable((48, 6, 6)))
    head = HeadConfig(kind="mean", dropout=0.0)
    none, balanced = (
        fit_head(
            FitTask(sequences, 3, head, TrainConfig(**STILL, class_weights=kind), sequences)
        ).curve[0]
        for kind in ("none", "balanced")
    )
    assert balanced.validation_loss == pytest.approx(none.validation_loss, rel=1e-6)
    assert balanced.train_loss != pytest.approx(none.train_loss, rel=1e-3)


def test_each_epochs_loss_is_told_and_falls(make_sequences: MakeSequences) -> None:
    losses: list[float] = []
    config = TrainConfig(epochs=12, batch_size=16, learning_rate=0.01)
    sequences = make_sequences(*order_task(seed=1, count=32))
    fit_head(
        FitTask(sequences, 2, HeadConfig(hidden_size=16), config),
        on_epoch=lambda epoch, is_new: losses.append(epoch.train_loss),
    )
    assert len(losses) == 12
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("batch_size", [1, 5, 12, 100])
def test_any_batch_size_will_do(sequences: Sequences, batch_size: int) -> None:
    head = fit(sequences, batch_size=batch_size)
    assert all(parameter.isfinite().all() for parameter in head.parameters())


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("learning_rate", 0.1),
        ("weight_decay", 0.5),
        ("warmup_fraction", 0.8),
        ("label_smoothing", 0.0),
        ("clip_norm", 1e-3),
        ("crop_fraction", 0.5),
        ("keep_fraction", 0.5),
        ("ema_decay", 0.9),
        ("class_weights", "balanced"),
        ("precision", "bfloat16"),
    ],
)
def test_every_option_has_its_effect(
    make_sequences: MakeSequences, option: str, value: Any
) -> None:
    values, targets = order_task(seed=0, count=12)
    unequal = make_sequences(values[:9], targets[:9])
    assert not same(fit(unequal), fit(unequal, **{option: value}))


def test_the_head_is_given_ready_for_use(sequences: Sequences) -> None:
    head = fit(sequences)
    assert not head.training
    assert (head.feature_size, head.num_classes) == (SIZE, 2)


class KilledError(Exception):
    """Stands for a process that is gone."""


@pytest.mark.parametrize("kind", ["mean", "lstm"])
@pytest.mark.parametrize("last_epoch", [1, 4, 7])
def test_a_resumed_fit_ends_in_the_same_bits(
    sequences: Sequences, make_sequences: MakeSequences, tmp_path: Path, kind: str, last_epoch: int
) -> None:
    head = HeadConfig(kind=kind, hidden_size=8, num_layers=2, dropout=0.3)
    config = TrainConfig(
        epochs=8, batch_size=5, ema_decay=0.8, crop_fraction=0.6, keep_fraction=0.8
    )
    task = FitTask(sequences, 2, head, config, make_sequences(*order_task(seed=3, count=6)))
    whole = fit_head(task)

    def stop(epoch: Epoch, _: bool) -> None:
        if epoch.epoch == last_epoch:
            raise KilledError

    file = tmp_path / "state.safetensors"
    with pytest.raises(KilledError):
        fit_head(task, state_file=file, on_epoch=stop)
    told: list[tuple[Epoch, bool]] = []
    resumed = fit_head(
        task, state_file=file, resume=True, on_epoch=lambda *epoch: told.append(epoch)
    )
    assert same(resumed.head, whole.head)
    assert resumed.curve == whole.curve == tuple(epoch for epoch, _ in told)
    assert [is_new for _, is_new in told] == [number > last_epoch for number in range(1, 9)]
    assert resumed.best_epoch == whole.best_epoch


def test_a_damaged_state_is_one_line(sequences: Sequences, tmp_path: Path) -> None:
    file = tmp_path / "state.safetensors"
    file.write_bytes(b"half a file")
    with pytest.raises(ModelError, match=r"cannot be resumed .* delete it to start again"):
        fit_head(short_task(sequences), state_file=file, resume=True)


def short_task(sequences: Sequences) -> FitTask:
    return FitTask(sequences, 2, HeadConfig(hidden_size=4), TrainConfig(epochs=2))


def test_a_state_with_a_flipped_bit_is_refused(sequences: Sequences, tmp_path: Path) -> None:
    file = tmp_path / "state.safetensors"
    fit_head(short_task(sequences), state_file=file)
    whole = file.read_bytes()
    for place in np.linspace(8, len(whole) - 1, 40).astype(int):
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(ModelError, match="cannot be resumed"):
            fit_head(short_task(sequences), state_file=file, resume=True)


def in_one_group(sequences: Sequences) -> Sequences:
    """Which clips are joined with which depends on their groups."""
    clips = tuple(
        dataclasses.replace(clip, recording=dataclasses.replace(clip.recording, group="one"))
        for clip in sequences.clips
    )
    return dataclasses.replace(sequences, clips=clips)


def test_a_state_is_used_by_its_own_fit_alone(
    sequences: Sequences, make_sequences: MakeSequences, tmp_path: Path
) -> None:
    file = tmp_path / "state.safetensors"
    fit_head(short_task(sequences), state_file=file)
    values = [values.copy() for values in sequences.values]
    values[3][0, 0] += 1
    others: list[tuple[str, dict[str, Any]]] = [
        ("name", {"name": "group b"}),
        ("clips, features", {"sequences": sequences.subset(sequences.clips[:-1])}),
        ("clips, features", {"sequences": sequences.subset(sequences.clips[::-1])}),
        ("clips, features", {"validation": sequences}),
        ("clips", {"sequences": make_sequences(sequences.values, 1 - sequences.targets)}),
        ("clips", {"sequences": in_one_group(sequences)}),
        ("features", {"sequences": make_sequences(values, sequences.targets)}),
        ("number of classes", {"num_classes": 3}),
        ("head settings", {"head": HeadConfig(hidden_size=4, dropout=0.4)}),
        ("training settings", {"config": TrainConfig(epochs=3)}),
    ]
    own = short_task(sequences)
    for part, other in others:
        with pytest.raises(ModelError, match=rf"it differs .* in: {part}\); leave --resume out"):
            fit_head(dataclasses.replace(own, **other), state_file=file, resume=True)
    told: list[Epoch] = []
    fit_head(own, state_file=file, resume=True, on_epoch=lambda epoch, _: told.append(epoch))
    assert len(told) == 2


def test_without_resume_a_state_is_written_anew(
    sequences: Sequences, make_sequences: MakeSequences, tmp_path: Path
) -> None:
    file = tmp_path / "state.safetensors"
    other = make_sequences(*order_task(seed=5, count=12))
    fit_head(short_task(other), state_file=file)
    own = fit_head(short_task(sequences), state_file=file).head
    assert same(own, fit_head(short_task(sequences)).head)
    assert same(own, fit_head(short_task(sequences), state_file=file, resume=True).head)


def test_the_epoch_with_the_lowest_validation_loss_is_taken(
    sequences: Sequences, make_sequences: MakeSequences
) -> None:
    wrong = make_sequences(*order_task(seed=3, count=8))
    wrong.targets[:] = 1 - wrong.targets  # the better the fit, the worse
    config = TrainConfig(epochs=12, batch_size=5, learning_rate=0.01)
    head = HeadConfig(hidden_size=8, dropout=0.0)
    fit = fit_head(FitTask(sequences, 2, head, config, wrong))
    losses = [epoch.validation_loss for epoch in fit.curve]
    assert fit.best_epoch == 1 + int(np.argmin(losses)) < 12
    impatient = dataclasses.replace(config, patience_epochs=3)
    short = fit_head(FitTask(sequences, 2, head, impatient, wrong))
    assert len(short.curve) == fit.best_epoch + 3
    assert same(short.head, fit.head)


def test_without_validation_the_last_epoch_is_taken(sequences: Sequences) -> None:
    fit = fit_head(FitTask(sequences, 2, HeadConfig(hidden_size=8), TrainConfig(epochs=3)))
    assert (fit.best_epoch, fit.curve[-1].validation_loss) == (3, None)
