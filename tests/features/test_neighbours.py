"""Whatever the order in which frames come, each gets the one before it."""

from __future__ import annotations

import numpy as np
import pytest

from actionrnn.features.neighbours import Neighbours

PLACES = [slice(0, 1), slice(1, 3), slice(3, 4), slice(4, 5), slice(5, 8)]


def picture(index: int) -> np.ndarray:
    return np.full((2, 2, 3), index, np.uint8)


@pytest.mark.parametrize("seed", range(20))
def test_each_frame_comes_once_with_the_one_before_it(seed: int) -> None:
    neighbours, found = Neighbours(), {}
    for index in np.random.default_rng(seed).permutation(len(PLACES)).tolist():
        for places, frame, before in neighbours.add(PLACES[index], picture(index)):
            assert places.start not in found
            found[places.start] = (places.stop, frame[0, 0, 0], before)
    assert sorted(found) == [places.start for places in PLACES]
    for index, places in enumerate(PLACES):
        stop, shown, before = found[places.start]
        assert (stop, shown) == (places.stop, index)
        if index == 0:
            assert before is None
        else:
            assert before is not None and before[0, 0, 0] == index - 1


def test_a_buffer_that_is_written_over_does_no_harm() -> None:
    neighbours, buffer = Neighbours(), picture(1)
    neighbours.add(slice(0, 1), buffer)
    buffer[:] = 9
    ((_, _, before),) = neighbours.add(slice(1, 2), picture(2))
    assert before is not None and (before == 1).all()
