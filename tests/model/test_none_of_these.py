"""None of these: the typicality of held-out answers is uniform, that of others is low."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from actionrnn.model.none_of_these import (
    KINDS,
    MOST_KEPT,
    NoneOfThese,
    Patterns,
    keep_some,
    of_stretches,
)

CLASSES = 4


def answers(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Scores (N, 4) of a head that is usually right, and the targets."""
    rng = np.random.default_rng(seed)
    targets = rng.integers(0, CLASSES, count)
    logits = rng.normal(size=(count, CLASSES)) + 4 * np.eye(CLASSES)[targets]
    return softmax(logits), targets


def softmax(logits: np.ndarray) -> np.ndarray:
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module")
def none_of_these() -> NoneOfThese:
    patterns = Patterns.of(*answers(400, seed=0))
    held_out = keep_some(patterns.distances(answers(500, seed=1)[0]))
    return NoneOfThese(patterns, dict.fromkeys(KINDS, held_out))


def test_a_distance_is_that_of_mahalanobis_to_the_nearest_mean() -> None:
    scores, targets = answers(200, seed=0)
    logs = np.log(scores.astype(np.float64))
    means = np.stack([logs[targets == k].mean(axis=0) for k in range(CLASSES)])
    covariance = np.cov((logs - means[targets]).T, bias=True)
    covariance = 0.9 * covariance + 0.1 * np.trace(covariance) / CLASSES * np.eye(CLASSES)
    inverse = np.linalg.inv(covariance)
    expected = [min((row - m) @ inverse @ (row - m) for m in means) for row in logs]
    assert np.allclose(Patterns.of(scores, targets).distances(scores), expected, rtol=1e-3)


@pytest.mark.parametrize("rate", [0.02, 0.1, 0.5])
def test_a_rate_is_what_is_said_wrongly_of_the_classes(
    none_of_these: NoneOfThese, rate: float
) -> None:
    found = none_of_these.of_steps(answers(4000, seed=2)[0])
    assert found is not None
    assert (found < rate).mean() == pytest.approx(rate, abs=0.25 * rate + 0.01)


def test_answers_shared_in_another_way_are_less_typical(none_of_these: NoneOfThese) -> None:
    sure, shared = np.full(CLASSES, 0.01), np.full(CLASSES, 0.01)
    sure[2], shared[1:3] = 0.97, 0.49
    typical, other = (none_of_these.of_clip(one.astype(np.float32)) for one in (sure, shared))
    assert typical > 0.3
    assert other < 0.1


def test_typicality_counts_the_answer_itself(none_of_these: NoneOfThese) -> None:
    nearest = none_of_these.patterns.means[:1]
    weights = np.exp(nearest - nearest.max())
    assert none_of_these.of_clip((weights / weights.sum())[0]) == 1.0
    certain = np.array([1, 0, 0, 0], np.float32)  # a logarithm of 0 would be no number
    assert none_of_these.of_clip(certain) == pytest.approx(1 / 501)


def test_a_stretch_is_half_a_second(none_of_these: NoneOfThese) -> None:
    scores, times = answers(40, seed=3)[0], np.arange(40) / 8
    distances = none_of_these.patterns.distances(scores)
    stretches = of_stretches(distances, times)
    assert stretches[10] == pytest.approx(distances[8:13].mean())  # 0.25 s before and after
    found = none_of_these.of_recording(scores, times)
    assert found is not None
    order = np.argsort(stretches)
    assert (np.diff(found[order]) <= 0).all()
    empty = none_of_these.of_recording(scores[:0], times[:0])
    assert empty is not None
    assert empty.shape == (0,)


def test_many_distances_are_kept_as_quantiles() -> None:
    distances = np.random.default_rng(0).exponential(size=50_000)
    kept = keep_some(distances)
    assert len(kept) == MOST_KEPT
    assert (np.diff(kept) >= 0).all()
    for rate in (0.01, 0.05, 0.5):
        threshold = np.quantile(distances, 1 - rate)
        assert (kept >= threshold).mean() == pytest.approx(rate, abs=0.002)


def test_without_steps_there_is_a_clips_answer_alone(none_of_these: NoneOfThese) -> None:
    alone = replace(none_of_these, held_out={"clip": none_of_these.held_out["clip"]})
    scores = answers(3, seed=0)[0]
    assert alone.of_steps(scores) is None
    assert alone.of_recording(scores, np.arange(3.0)) is None
    assert alone.of_clip(scores[0]) == none_of_these.of_clip(scores[0])


def test_a_class_that_was_not_trained_on_has_no_mean() -> None:
    scores, targets = answers(50, seed=0)
    seen = targets != 1
    patterns = Patterns.of(scores[seen], targets[seen])
    assert patterns.means.shape == (CLASSES - 1, CLASSES)


def test_answers_that_never_vary_have_patterns() -> None:
    scores = np.full((5, 3), 1 / 3, np.float32)
    assert np.isfinite(Patterns.of(scores, np.array([0, 1, 2, 0, 1])).distances(scores)).all()


@pytest.mark.parametrize("shape", [(0, 3), (4, 1)])
def test_patterns_of_nothing_are_refused(shape: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="patterns need steps of several classes"):
        Patterns.of(np.ones(shape, np.float32), np.zeros(shape[0], np.int64))


def test_tensors_go_round_trip(none_of_these: NoneOfThese, tmp_path: Path) -> None:
    file = tmp_path / "tensors.safetensors"
    save_file({n: torch.from_numpy(v) for n, v in none_of_these.tensors().items()}, file)
    tensors = {name: value.numpy() for name, value in load_file(file).items()}
    again = NoneOfThese.from_tensors(tensors | {"classifier.bias": np.zeros(1)}, CLASSES)
    assert again is not None
    scores = answers(100, seed=5)[0]
    before, after = (one.of_steps(scores) for one in (none_of_these, again))
    assert before is not None
    assert after is not None
    assert np.abs(before - after).max() <= 1 / 501
    assert NoneOfThese.from_tensors({"classifier.bias": np.zeros(1)}, CLASSES) is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("means", np.zeros((2, CLASSES + 1), np.float32)),
        ("means", np.zeros((0, CLASSES), np.float32)),
        ("means", np.float32(1)),
        ("whitening", np.full((CLASSES, CLASSES), np.nan, np.float32)),
        ("whitening", np.zeros((CLASSES, CLASSES), np.int64)),
        ("clip", np.zeros((3, 1), np.float32)),
        ("clip", None),
        ("means", None),
        ("pictures", np.zeros(3, np.float32)),
    ],
)
def test_damaged_tensors_are_refused(
    none_of_these: NoneOfThese, name: str, value: np.ndarray | None
) -> None:
    tensors = none_of_these.tensors()
    tensors.pop(f"none_of_these.{name}", None)
    if value is not None:
        tensors[f"none_of_these.{name}"] = np.asarray(value)
    with pytest.raises(ValueError, match="none_of_these"):
        NoneOfThese.from_tensors(tensors, CLASSES)


@pytest.mark.parametrize("rate", [1e-9, 0.002, 0.05, 0.5, 1.0])
def test_beyond_the_farthest_distance_the_typicality_is_below_the_rate(
    none_of_these: NoneOfThese, rate: float
) -> None:
    scores = answers(500, seed=3)[0]
    found = none_of_these.of_steps(scores)
    assert found is not None
    farthest = none_of_these.farthest("step", rate)
    assert np.array_equal(none_of_these.patterns.distances(scores) > farthest, found < rate)


def test_equal_held_out_distances_are_on_one_side(none_of_these: NoneOfThese) -> None:
    tied = replace(none_of_these, held_out={"clip": np.array([1.0, 2.0, 2.0, 2.0, 3.0])})
    found = [tied.farthest("clip", rate) for rate in (0.16, 0.2, 0.34, 0.5, 0.8, 0.9, 1.0)]
    assert found == [np.inf, 3, 2, 2, 2, 1, 1]
