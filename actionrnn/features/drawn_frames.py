"""Pictures that calibrate int8 networks: drawn, so that they are the same on every machine.

Dead leaves: shapes of all sizes that hide each other, whose edges, contrasts and spectrum are close
to those of photographs (Lee, Mumford and Huang, "Occlusion Models for Natural Images", IJCV 2001).
"""

from __future__ import annotations

import math
import random

import numpy as np
from numpy.typing import NDArray

from actionrnn.features.preprocess import Preprocessing

NUM_PICTURES = 64
_SHAPES = 150  # of a picture
_MOVED_PIXELS = 3  # between a picture and the one before


def drawn_frames(preprocessing: Preprocessing, count: int = NUM_PICTURES) -> NDArray[np.uint8]:
    """What the backbone sees of drawn pictures: (count x num_views, crop, crop, 3).

    With a motion stream each picture has moved a little since the one before.
    """
    views = []
    for seed in range(count):
        picture = _picture(random.Random(seed), preprocessing.crop)
        before = np.roll(picture, (_MOVED_PIXELS, _MOVED_PIXELS), axis=(0, 1))
        views.append(preprocessing.views(picture[None], before))
    return np.concatenate(views)


def _picture(chance: random.Random, side: int) -> NDArray[np.uint8]:
    """(side, side, 3), of its own mean colour and contrast."""
    rows, columns = np.mgrid[:side, :side].astype(np.float32)
    colour = np.array([chance.uniform(0, 255) for _ in range(3)], np.float32)
    contrast = chance.uniform(5, 160)
    picture = np.tile(colour, (side, side, 1))
    for _ in range(_SHAPES):
        radius = 2 + side / 2 * chance.uniform(0, 1) ** 2  # small ones are many
        centre = chance.uniform(0, side), chance.uniform(0, side)
        angle, flatness = chance.uniform(0, math.pi), chance.uniform(0.3, 1)
        reach = 1.5 * radius  # a square's corner
        box = tuple(slice(max(0, int(at - reach)), int(at + reach) + 2) for at in centre)
        y, x = rows[box] - centre[0], columns[box] - centre[1]
        along = x * math.cos(angle) + y * math.sin(angle)
        across = (y * math.cos(angle) - x * math.sin(angle)) / flatness
        if chance.random() < 0.5:
            inside = along**2 + across**2 < radius**2
        else:
            inside = np.maximum(abs(along), abs(across)) < radius
        shade = chance.gauss(0, contrast / 2) / radius * along  # lit from one side
        if chance.random() < 0.4:  # a texture
            shade += chance.gauss(0, contrast / 2) * np.sin(chance.uniform(0.1, 1.5) * along)
        shade += chance.gauss(0, contrast)
        tint = np.array([chance.gauss(0, contrast / 2) for _ in range(3)], np.float32)
        picture[box][inside] = (colour + tint + shade[..., None])[inside]
    noise = np.random.RandomState(chance.getrandbits(31)).randn(side, side, 3)
    picture += chance.uniform(0, 10) * noise
    pixels: NDArray[np.uint8] = picture.round().clip(0, 255).astype(np.uint8)
    return pixels
