"""Which frames are chosen: worked examples, and what holds for every clip."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest

from actionrnn.config import Sampling
from actionrnn.video.sampling import (
    choose_frames,
    constant_rate_frames,
    frames_between,
    uniform_frames,
)

SEEDS = range(20)


def uneven_times(seed: int) -> np.ndarray:
    """Rising times of a clip with a variable rate, beginning anywhere."""
    rng = np.random.default_rng(seed)
    steps = rng.uniform(0.001, 0.3, rng.integers(1, 60))
    return rng.uniform(0, 100) + np.cumsum(steps)


@pytest.mark.parametrize(
    ("frame_count", "num_frames", "chosen"),
    [
        (10, 5, [1, 3, 5, 7, 9]),
        (9, 3, [1, 4, 7]),
        (16, 16, list(range(16))),
        (100, 1, [50]),
        (1, 4, [0, 0, 0, 0]),
        (2, 4, [0, 0, 1, 1]),
        (3, 5, [0, 0, 1, 2, 2]),
    ],
)
def test_uniform_takes_the_middle_of_each_part(
    frame_count: int, num_frames: int, chosen: list[int]
) -> None:
    assert uniform_frames(frame_count, num_frames).tolist() == chosen


@pytest.mark.parametrize("frame_count", [1, 2, 7, 100, 1001, 10**6 + 3])
@pytest.mark.parametrize("num_frames", [1, 2, 8, 33])
def test_uniform_is_the_exact_middle_of_equal_parts(frame_count: int, num_frames: int) -> None:
    exact = [math.floor((i + Fraction(1, 2)) * frame_count / num_frames) for i in range(num_frames)]
    assert uniform_frames(frame_count, num_frames).tolist() == exact


@pytest.mark.parametrize(
    ("times", "rate_fps", "chosen"),
    [
        ([0.0, 0.1, 0.2, 0.3, 0.4], 5, [0, 2, 4]),
        ([7.0, 7.5, 7.6], 4, [0, 0, 1]),  # shown until the next one comes
        ([3.0], 4, [0]),
        ([0.0, 0.5], 10, [0, 0, 0, 0, 0, 1]),
        ([0.0, 0.1, 0.2], 0.1, [0]),
        ([-0.5, 0.0, 0.5, 1.0], 1, [0, 2]),  # some files begin before zero
    ],
)
def test_constant_rate_takes_what_is_shown_at_each_tick(
    times: list[float], rate_fps: float, chosen: list[int]
) -> None:
    assert constant_rate_frames(np.array(times), rate_fps).tolist() == chosen


@pytest.mark.parametrize("rate_fps", [1.0, 4.0, 12.5, 29.97])
@pytest.mark.parametrize("seed", SEEDS)
def test_constant_rate_equals_a_players_clock(seed: int, rate_fps: float) -> None:
    times = uneven_times(seed)
    shown, tick = [], 0
    while times[0] + tick / rate_fps <= times[-1] + 1e-4:
        now = times[0] + tick / rate_fps
        shown.append(max(i for i, time in enumerate(times) if time <= now + 1e-4))
        tick += 1
    assert constant_rate_frames(times, rate_fps).tolist() == shown


@pytest.mark.parametrize("seed", SEEDS)
def test_constant_rate_of_a_beginning_is_the_beginning(seed: int) -> None:
    """What a stream needs: later frames change nothing that was chosen before."""
    times = uneven_times(seed)
    whole = constant_rate_frames(times, 4.0)
    part = constant_rate_frames(times[: len(times) // 2 + 1], 4.0)
    np.testing.assert_array_equal(part, whole[: len(part)])


@pytest.mark.parametrize("seed", SEEDS)
def test_constant_rate_does_not_depend_on_when_the_clip_begins(seed: int) -> None:
    times = uneven_times(seed)
    expected = constant_rate_frames(times, 4.0)
    np.testing.assert_array_equal(constant_rate_frames(times + 512.0, 4.0), expected)


@pytest.mark.parametrize("rate_fps", [24, 25, 30, Fraction(30000, 1001)])
def test_the_videos_own_rate_takes_every_frame_once(rate_fps: Fraction | int) -> None:
    times = np.array([float(i / Fraction(rate_fps)) for i in range(2000)])
    np.testing.assert_array_equal(constant_rate_frames(times, float(rate_fps)), np.arange(2000))


def test_times_rounded_to_milliseconds_still_hit_their_ticks() -> None:
    times = np.round(np.arange(300) / 30, 4)
    np.testing.assert_array_equal(constant_rate_frames(times, 15.0), np.arange(0, 300, 2))


@pytest.mark.parametrize("frame_count", [22, 25, 28])
def test_a_third_of_the_rate_picks_the_same_frames_backwards(frame_count: int) -> None:
    """The built-in data set relies on it: 12 frames per second, looked at 4 times."""
    chosen = constant_rate_frames(np.arange(frame_count) / 12, 4.0)
    np.testing.assert_array_equal(frame_count - 1 - chosen[::-1], chosen)


@pytest.mark.parametrize(
    "sampling", [Sampling(), Sampling(num_frames=7), Sampling(rate_fps=3), Sampling(rate_fps=40)]
)
@pytest.mark.parametrize("seed", SEEDS)
def test_chosen_indices_never_fall_and_exist(seed: int, sampling: Sampling) -> None:
    times = uneven_times(seed)
    chosen = choose_frames(times, sampling)
    assert len(chosen) > 0
    assert (np.diff(chosen) >= 0).all()
    assert chosen.min() >= 0
    assert chosen.max() < len(times)


@pytest.mark.parametrize(
    ("sampling", "chosen"),
    [
        (Sampling(), [0, 1, 2, 3]),
        (Sampling(num_frames=2), [1, 3]),
        (Sampling(rate_fps=1), [0, 1]),
    ],
)
def test_choose_frames_follows_the_sampling(sampling: Sampling, chosen: list[int]) -> None:
    assert choose_frames(np.array([0.0, 1.0, 1.2, 1.4]), sampling).tolist() == chosen


@pytest.mark.parametrize(
    ("start_seconds", "end_seconds", "chosen"),
    [
        (None, None, [0, 1, 2, 3]),
        (1.0, None, [1, 2, 3]),
        (None, 1.2, [0, 1]),  # the end is outside
        (1.00005, 1.4, [1, 2]),  # rounding of times does no harm
        (0.5, 0.6, []),
        (9.0, None, []),
        (None, -1.0, []),
    ],
)
def test_a_range_holds_its_start_and_not_its_end(
    start_seconds: float | None, end_seconds: float | None, chosen: list[int]
) -> None:
    times = np.array([0.0, 1.0, 1.2, 1.4])
    assert frames_between(times, start_seconds, end_seconds).tolist() == chosen


def test_ticks_of_a_range_begin_at_its_first_frame() -> None:
    times = np.arange(20) / 10
    sampling = Sampling(rate_fps=2, start_seconds=0.35, end_seconds=1.5)
    assert choose_frames(times, sampling).tolist() == [4, 9, 14]


@pytest.mark.parametrize(
    ("sampling", "chosen"),
    [
        (Sampling(keyframes=True), [0, 4, 5]),
        (Sampling(keyframes=True, num_frames=2), [0, 5]),
        (Sampling(keyframes=True, num_frames=5), [0, 0, 4, 5, 5]),
        (Sampling(keyframes=True, rate_fps=5), [0, 0, 4]),
        (Sampling(keyframes=True, start_seconds=0.1, end_seconds=0.5), [4]),
        (Sampling(keyframes=True, start_seconds=0.1, end_seconds=0.3), []),
    ],
)
def test_key_frames_are_chosen_as_if_there_were_no_others(
    sampling: Sampling, chosen: list[int]
) -> None:
    is_keyframe = np.array([True, False, False, False, True, True])
    assert choose_frames(np.arange(6) / 10, sampling, is_keyframe).tolist() == chosen


@pytest.mark.parametrize("sampling", [Sampling(num_frames=10**9), Sampling(rate_fps=10**9)])
def test_more_frames_than_memory_holds_are_refused(sampling: Sampling) -> None:
    with pytest.raises(ValueError, match=r"\d{10} frames would be chosen, at most 10000000"):
        choose_frames(np.array([0.0, 1.0]), sampling)


@pytest.mark.parametrize("sampling", [Sampling(), Sampling(num_frames=2), Sampling(rate_fps=1)])
def test_of_no_frames_none_are_chosen(sampling: Sampling) -> None:
    assert choose_frames(np.empty(0), sampling).tolist() == []
