"""The scaling written as matrix products gives the pixels of the scaling that is used."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from actionrnn.config import ResizeMode
from actionrnn.features.preprocess import Preprocessing
from actionrnn.features.tensor_preprocess import squares

MEAN = STD = (0.5, 0.5, 0.5)
SIZES = [(240, 320), (144, 180), (61, 47), (224, 224), (500, 353)]


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("resize_mode", ["shortest", "squash"])
def test_pixels_are_those_of_the_preprocessing(interpolation: str, resize_mode: ResizeMode) -> None:
    rng = np.random.default_rng(0)
    for (height, width), (resize, crop) in itertools.product(SIZES, [(256, 224), (40, 32)]):
        given = Preprocessing(
            resize, crop, MEAN, STD, resize_mode=resize_mode, interpolation=interpolation
        )
        frame = rng.integers(0, 256, (height, width, 3), np.uint8)
        found = squares(torch.from_numpy(frame)[None], given)[0].numpy()
        difference = np.abs(found - given.square(frame))
        assert difference.max() <= 1
        assert difference.mean() < 0.01
