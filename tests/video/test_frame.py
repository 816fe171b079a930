"""A frame's pixels: made once, when they are needed, and checked."""

from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pytest

from actionrnn.errors import VideoError
from actionrnn.video.frame import Frame

RGB = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)


def test_the_pixels_are_made_once_and_not_before_they_are_needed() -> None:
    made: list[int] = []

    def make() -> np.ndarray:
        made.append(1)
        return RGB

    frame = Frame(1.5, make)
    assert repr(frame) == "Frame(pts_seconds=1.500)"
    later = replace(frame, pts_seconds=2.5)
    assert not made
    assert frame.rgb is frame.data is frame.rgb
    assert len(made) == 1
    np.testing.assert_array_equal(later.rgb, RGB)
    assert len(made) == 2


def test_an_array_is_taken_as_it_is() -> None:
    assert Frame.from_array(RGB, 0).rgb is RGB


@pytest.mark.parametrize("is_made", [True, False])
def test_a_copy_has_pixels_of_its_own(is_made: bool) -> None:
    frame = Frame(1.5, RGB.copy)
    if is_made:
        frame.rgb[:] = 7
    copied = frame.copy()
    frame.rgb[:] = 9
    np.testing.assert_array_equal(copied.rgb, 7 if is_made else RGB)


def test_it_is_pickled_with_its_pixels() -> None:
    again = pickle.loads(pickle.dumps(Frame(1.5, lambda: RGB)))
    assert again.pts_seconds == 1.5
    np.testing.assert_array_equal(again.rgb, RGB)


@pytest.mark.parametrize(
    ("rgb", "problem"),
    [
        (RGB[0], r"must be RGB uint8 \(H, W, 3\), got uint8 \(3, 3\)"),
        (RGB.astype(np.float32), "got float32"),
        (RGB[..., :2], "must be RGB"),
        (RGB[:0], "has no pixels"),
    ],
)
def test_what_is_no_picture_is_refused(rgb: np.ndarray, problem: str) -> None:
    with pytest.raises(VideoError, match=problem):
        Frame.from_array(rgb, 0.0)
    with pytest.raises(VideoError, match=problem):
        Frame(0.0, lambda: rgb).rgb  # noqa: B018
