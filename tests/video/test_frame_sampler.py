"""Picking one by one is choosing among all."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest

from actionrnn.config import Sampling
from actionrnn.errors import ConfigError, VideoError
from actionrnn.video.sampling import FrameSampler, choose_frames

SEEDS = range(60)


def times_of_a_clip(seed: int) -> np.ndarray:
    """Constant rates, variable ones, pauses; beginning anywhere."""
    rng = np.random.default_rng(seed)
    count, begin = int(rng.integers(1, 80)), float(rng.uniform(-5, 100))
    if seed % 3 == 0:
        rate = [Fraction(25), Fraction(30000, 1001), Fraction(12), Fraction(10)][seed % 4]
        return np.array(
            [float(Fraction(round(begin * 90000), 90000) + i / rate) for i in range(count)]
        )
    steps = rng.uniform(0.001, 0.3, count)
    steps[rng.random(count) < 0.05] += 2
    return begin + np.cumsum(steps)


def picked(times: np.ndarray, sampling: Sampling) -> list[int]:
    sampler: FrameSampler[int] = FrameSampler(sampling)
    sampler.check(times)
    return [place for i, time in enumerate(times) for place, _ in sampler.push(i, float(time))]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("rate_fps", [1, 4, 8, 12.5, 25, 29.97, 60])
def test_any_clip_is_picked_as_it_is_chosen(seed: int, rate_fps: float) -> None:
    times, sampling = times_of_a_clip(seed), Sampling(rate_fps=rate_fps)
    for end in {1, len(times) // 2 + 1, len(times)}:  # at every moment: nothing is owed at the end
        expected = choose_frames(times[:end], sampling).tolist()
        assert picked(times[:end], sampling) == expected


@pytest.mark.parametrize("rate_fps", [None, 4])
def test_a_part_of_the_time(rate_fps: float | None) -> None:
    times = np.arange(100) / 25
    sampling = Sampling(rate_fps=rate_fps, start_seconds=1, end_seconds=3)
    assert picked(times, sampling) == choose_frames(times, sampling).tolist()


def test_each_pick_has_the_time_of_its_frame() -> None:
    sampler: FrameSampler[str] = FrameSampler(Sampling(rate_fps=4))
    assert sampler.push("a", 7.0) == [("a", 7.0)]
    assert sampler.push("b", 7.2) == []
    assert sampler.push("c", 7.6) == [("b", 7.2), ("b", 7.2)]


@pytest.mark.parametrize("bad", [math.nan, math.inf, 0.9, 1e9])
def test_an_impossible_time_is_refused(bad: float) -> None:
    sampler: FrameSampler[str] = FrameSampler(Sampling(rate_fps=4))
    sampler.push("a", 1.0)
    with pytest.raises(VideoError, match=r"time|came after"):
        sampler.check([1.5, bad])


@pytest.mark.parametrize("sampling", [Sampling(num_frames=16), Sampling(keyframes=True)])
def test_what_needs_the_whole_clip_names_a_way_out(sampling: Sampling) -> None:
    with pytest.raises(ConfigError, match=r"cannot stream.*folder_example\.yaml"):
        FrameSampler(sampling)
