"""Pictures are scaled to the pixels of torch, which are those of Pillow within a level or two."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch.nn import functional as F

from actionrnn.features.scaling import Interpolation, scaled

Picture = NDArray[np.uint8]
both = pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
sides = st.integers(1, 90)


def random_picture(height: int, width: int, seed: int = 0) -> Picture:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def by_torch(picture: Picture, size: tuple[int, int], interpolation: str) -> Picture:
    """The same in torch's uint8, width and height given."""
    planes = torch.from_numpy(np.ascontiguousarray(picture)).permute(2, 0, 1)[None]
    found = F.interpolate(planes, size[::-1], mode=interpolation, antialias=True)
    return found[0].permute(1, 2, 0).numpy()


def assert_same(found: Picture, expected: Picture) -> None:
    """But for sums that lie between two levels: float32 adds them up in another order."""
    assert found.dtype == np.uint8
    assert found.shape == expected.shape
    difference = np.abs(found.astype(int) - expected)
    assert difference.max() <= 1
    assert np.count_nonzero(difference) <= max(1, 0.0005 * difference.size)


@both
@settings(max_examples=150)
@given(height=sides, width=sides, wide=sides, high=sides, seed=st.integers(0, 99))
def test_the_pixels_of_a_small_picture_are_those_of_torch(
    interpolation: Interpolation, height: int, width: int, wide: int, high: int, seed: int
) -> None:
    picture = random_picture(height, width, seed)
    found = scaled(picture, (wide, high), interpolation)
    assert_same(found, by_torch(picture, (wide, high), interpolation))


@both
@pytest.mark.parametrize(
    ("given_size", "size"),
    [
        ((320, 240), (341, 256)),
        ((1920, 1080), (455, 256)),
        ((1080, 1920), (256, 455)),
        ((640, 480), (224, 224)),
        ((64, 48), (341, 256)),
        ((3000, 7), (256, 256)),  # each row very long
        ((7, 3000), (256, 256)),
        ((5000, 50), (25600, 256)),
        ((1, 1), (256, 256)),
        ((256, 256), (1, 1)),
        ((2, 1000), (3, 2)),
        ((300, 200), (300, 100)),  # one side stays
    ],
)
def test_the_pixels_of_a_frame_are_those_of_torch(
    interpolation: Interpolation, given_size: tuple[int, int], size: tuple[int, int]
) -> None:
    width, height = given_size
    picture = random_picture(height, width)
    expected = by_torch(picture, size, interpolation)
    assert_same(scaled(picture, size, interpolation), expected)


@both
def test_black_and_white_edges_are_cut_off_at_both_ends(interpolation: Interpolation) -> None:
    """Bicubic weights below zero reach beyond 0 and 255."""
    picture = np.zeros((40, 60, 3), np.uint8)
    picture[:, 30:], picture[10:20, :30, 1] = 255, 255
    for size in ((133, 97), (30, 20), (60, 97)):
        found = scaled(picture, size, interpolation)
        assert_same(found, by_torch(picture, size, interpolation))
        assert found.min() == 0 and found.max() == 255


@both
def test_one_colour_stays_that_colour(interpolation: Interpolation) -> None:
    for colour in ((0, 0, 0), (255, 255, 255), (1, 127, 254)):
        picture = np.full((37, 53, 3), colour, np.uint8)
        for size in ((224, 224), (10, 12), (300, 9)):
            assert (scaled(picture, size, interpolation) == colour).all()


@both
@pytest.mark.parametrize(
    "view",
    [
        lambda p: p[::-1],
        lambda p: p[:, ::-1],
        lambda p: p[::2, 1::3],
        lambda p: p[..., ::-1],
        lambda p: p.transpose(1, 0, 2),
        lambda p: np.broadcast_to(p[:1], (50, *p.shape[1:])),
        np.asfortranarray,
    ],
    ids=["rows", "columns", "part", "colours", "turned", "repeated", "fortran"],
)
def test_a_view_is_scaled_as_its_copy(interpolation: Interpolation, view: Any) -> None:
    one = view(random_picture(120, 90))
    copy = np.ascontiguousarray(one)
    found = scaled(one, (70, 64), interpolation)
    np.testing.assert_array_equal(found, scaled(copy, (70, 64), interpolation))
    assert_same(found, by_torch(copy, (70, 64), interpolation))


def test_the_picture_stays_as_it_is() -> None:
    picture = random_picture(60, 80)
    before = picture.copy()
    picture.flags.writeable = False
    scaled(picture, (40, 30), "bicubic")
    np.testing.assert_array_equal(picture, before)


@both
@settings(max_examples=100)
@given(
    height=sides, width=sides, wide=st.integers(1, 120), high=st.integers(1, 120), data=st.data()
)
def test_a_cut_is_that_part_of_the_whole(
    interpolation: Interpolation, height: int, width: int, wide: int, high: int, data: Any
) -> None:
    picture = random_picture(height, width)
    cuts = []
    for side in (high, wide):
        start = data.draw(st.integers(0, side - 1))
        cuts.append(slice(start, data.draw(st.integers(start + 1, side))))
    cut = cuts[0], cuts[1]
    whole = scaled(picture, (wide, high), interpolation)
    assert_same(scaled(picture, (wide, high), interpolation, cut), whole[cut])


@both
def test_the_square_of_a_frame_is_that_part_of_the_whole(interpolation: Interpolation) -> None:
    picture = random_picture(480, 854)
    cut = slice(16, 240), slice(115, 339)
    whole = scaled(picture, (455, 256), interpolation)
    assert_same(scaled(picture, (455, 256), interpolation, cut), whole[cut])


def test_several_threads_scale_at_once() -> None:
    from concurrent.futures import ThreadPoolExecutor

    pictures = [random_picture(200 + 10 * n, 300, n) for n in range(8)]
    wanted = [scaled(picture, (341, 256), "bicubic") for picture in pictures]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda picture: scaled(picture, (341, 256), "bicubic"), pictures))
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(one, other)
