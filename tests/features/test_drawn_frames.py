"""The pictures that calibrate int8: the same every time, and of many kinds."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from actionrnn.features.drawn_frames import drawn_frames
from actionrnn.features.preprocess import Preprocessing

PREPROCESSING = Preprocessing(40, 32, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def test_they_are_the_same_every_time_and_more_begin_with_fewer() -> None:
    np.random.seed(1)
    first = drawn_frames(PREPROCESSING, 3)
    np.random.seed(2)
    np.testing.assert_array_equal(drawn_frames(PREPROCESSING, 5)[:3], first)


def test_they_are_bright_and_dark_flat_and_of_high_contrast() -> None:
    frames = drawn_frames(PREPROCESSING).reshape(64, -1)
    means, contrasts = frames.mean(axis=1), frames.std(axis=1)
    assert means.min() < 60 and means.max() > 195
    assert contrasts.min() < 30 and contrasts.max() > 80
    assert frames.min() == 0 and frames.max() == 255


@pytest.mark.parametrize(("modality", "views"), [("rgb", 1), ("rgb_diff", 1), ("both", 2)])
def test_they_are_what_the_backbone_sees(modality: Any, views: int) -> None:
    preprocessing = replace(PREPROCESSING, modality=modality)
    frames = drawn_frames(preprocessing, 4)
    assert (frames.shape, frames.dtype) == ((4 * views, 32, 32, 3), np.uint8)
    pictures = drawn_frames(PREPROCESSING, 4)
    if modality == "both":
        np.testing.assert_array_equal(frames[::2], pictures)
        np.testing.assert_array_equal(
            frames[1::2], drawn_frames(replace(preprocessing, modality="rgb_diff"), 4)
        )
    if modality != "rgb":
        assert 0 < frames[views - 1 :: views].mean() < pictures.mean()  # little moves
