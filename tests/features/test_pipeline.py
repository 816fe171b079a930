"""Whatever the order in which frames come, each gets the one before it."""

from __future__ import annotations

import numpy as np
import pytest

from actionrnn.features.pipeline import FramePairs

PLACES = [slice(0, 1), slice(1, 3), slice(3, 4), slice(4, 5), slice(5, 8)]
SHOWN = [0, 1, 1, 2, 3, 4, 4, 4]


def picture(index: int) -> np.ndarray:
    return np.full((2, 2, 3), index, np.uint8)


@pytest.mark.parametrize("seed", range(20))
def test_each_place_comes_once_with_what_is_shown_before_it(seed: int) -> None:
    pairs, found = FramePairs(), {}
    for index in np.random.default_rng(seed).permutation(len(PLACES)).tolist():
        for places, frame, before in pairs.add(PLACES[index], picture(index)):
            for place in range(places.start, places.stop):
                assert place not in found
                found[place] = (frame[0, 0, 0], None if before is None else before[0, 0, 0])
    expected = zip(SHOWN, [None, *SHOWN[:-1]], strict=True)
    assert [found[place] for place in range(len(SHOWN))] == list(expected)


def test_a_buffer_that_is_written_over_does_no_harm() -> None:
    pairs, buffer = FramePairs(), picture(1)
    pairs.add(slice(0, 1), buffer)
    buffer[:] = 9
    ((_, _, before),) = pairs.add(slice(1, 2), picture(2))
    assert before is not None and (before == 1).all()
