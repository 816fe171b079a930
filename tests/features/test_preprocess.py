"""Frames are scaled, cropped and normalised as the weights were trained."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from actionrnn.config import Modality
from actionrnn.errors import VideoError
from actionrnn.features.engines.onnx_export import squares
from actionrnn.features.preprocess import Preprocessing

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CROP = Preprocessing(256, 224, MEAN, STD)
SQUASH = Preprocessing(256, 224, MEAN, STD, "squash")


@pytest.mark.parametrize(
    ("size", "scaled"),
    [
        ((320, 240), (341, 256)),
        ((240, 320), (256, 341)),
        ((180, 144), (320, 256)),
        ((256, 256), (256, 256)),
        ((1920, 1080), (455, 256)),
        ((4, 4), (256, 256)),
        ((1000, 10), (25600, 256)),
    ],
)
def test_the_shorter_side_is_scaled_and_the_shape_is_kept(
    size: tuple[int, int], scaled: tuple[int, int]
) -> None:
    assert CROP.scaled_size(*size) == scaled


def test_no_scaled_frame_is_smaller_than_the_crop() -> None:
    for width, height in np.random.default_rng(0).integers(1, 4000, (500, 2)).tolist():
        scaled = CROP.scaled_size(width, height)
        assert min(scaled) == 256
        assert abs(max(scaled) - 256 * max(width, height) / min(width, height)) < 1


@pytest.mark.parametrize("size", [(320, 240), (240, 320), (10, 1000)])
def test_squash_shows_the_whole_frame_in_the_crops_size(size: tuple[int, int]) -> None:
    assert SQUASH.scaled_size(*size) == (224, 224)


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@pytest.mark.parametrize("resize_mode", ["shortest", "squash"])
@pytest.mark.parametrize("size", [(180, 144), (320, 240), (97, 301), (256, 256), (1280, 720)])
def test_the_pixels_are_those_of_pillow(
    size: tuple[int, int], resize_mode: Any, interpolation: Any
) -> None:
    preprocessing = Preprocessing(256, 224, MEAN, STD, resize_mode, interpolation)
    noise = np.random.default_rng(0).integers(0, 256, (size[1] // 4, size[0] // 4, 3), np.uint8)
    picture = Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC)
    scaled = picture.resize(
        preprocessing.scaled_size(*size), getattr(Image.Resampling, interpolation.upper())
    )
    top, left = round((scaled.height - 224) / 2), round((scaled.width - 224) / 2)
    expected = np.asarray(scaled)[top : top + 224, left : left + 224].astype(np.int16)
    found = preprocessing.square(np.asarray(picture)).astype(np.int16)
    assert found.shape == (224, 224, 3)
    assert np.abs(found - expected).max() <= 3
    assert np.abs(found - expected).mean() < 0.25  # 0.005 but where one side shrinks and one grows


def test_a_turned_or_padded_picture_is_scaled_as_its_copy() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (144, 200, 3), np.uint8)
    view = picture[::-1, 10:190].transpose(1, 0, 2)
    np.testing.assert_array_equal(CROP.square(view), CROP.square(view.copy()))


def test_a_frame_that_is_nothing_but_long_is_refused_when_cutting() -> None:
    line = np.zeros((2, 4000, 3), np.uint8)
    with pytest.raises(VideoError, match="4000 x 2 pixels are too long"):
        CROP.square(line)
    assert SQUASH.square(line).shape == (224, 224, 3)


@pytest.mark.parametrize(
    ("height", "width", "top", "left"),
    [(256, 256, 16, 16), (256, 341, 16, 58), (343, 256, 60, 16), (224, 224, 0, 0)],
)
def test_the_square_is_cut_out_of_the_middle(height: int, width: int, top: int, left: int) -> None:
    rows, columns = np.meshgrid(np.arange(height), np.arange(width), indexing="ij")
    frame = np.stack([rows % 256, columns % 256, rows // 256 + 2 * (columns // 256)], axis=-1)
    frame = frame.astype(np.uint8)
    resize = min(height, width)
    cut = replace(CROP, resize=resize).square(frame)
    np.testing.assert_array_equal(cut, frame[top : top + 224, left : left + 224])


def test_normalising_is_the_textbook_formula() -> None:
    frames = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (2, 5, 7, 3), np.uint8))
    found = CROP.normalise(frames)
    assert found.shape == (2, 3, 5, 7)
    assert found.dtype == torch.float32
    assert found.is_contiguous(memory_format=torch.channels_last)
    for channel in range(3):
        expected = (frames[..., channel] / 255 - MEAN[channel]) / STD[channel]
        torch.testing.assert_close(found[:, channel], expected, rtol=1e-5, atol=1e-5)


def test_black_and_white_are_minus_one_and_one_for_the_bundled_weights() -> None:
    half = (0.5, 0.5, 0.5)
    frames = torch.tensor([0, 255], dtype=torch.uint8).view(2, 1, 1, 1).expand(2, 1, 1, 3)
    found = Preprocessing(256, 224, half, half).normalise(frames)
    torch.testing.assert_close(found[:, 0, 0, 0], torch.tensor([-1.0, 1.0]))


def test_motion_is_the_amplified_change_from_the_frame_before() -> None:
    frames = np.zeros((3, 1, 2, 3), np.uint8)
    frames[1] = 10
    frames[2, 0, 1] = 200
    motion = replace(CROP, modality="rgb_diff").views(frames)
    expected = np.zeros_like(frames)  # nothing has changed yet in the first
    expected[1] = 30
    expected[2, 0, 0] = 30  # back to 0: brighter and darker count alike
    expected[2, 0, 1] = 255  # 3 x 190, cut off
    np.testing.assert_array_equal(motion, expected)


def test_both_streams_stand_side_by_side_for_each_frame() -> None:
    frames = np.random.default_rng(0).integers(0, 256, (4, 5, 6, 3), np.uint8)
    both, motion = replace(CROP, modality="both"), replace(CROP, modality="rgb_diff")
    assert (both.num_views, motion.num_views, CROP.num_views) == (2, 1, 1)
    views = both.views(frames)
    np.testing.assert_array_equal(views[0::2], frames)
    np.testing.assert_array_equal(views[1::2], motion.views(frames))
    np.testing.assert_array_equal(CROP.views(frames), frames)


@pytest.mark.parametrize("modality", ["rgb_diff", "both"])
def test_a_clip_in_pieces_has_the_views_of_the_whole(modality: Modality) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (7, 5, 6, 3), np.uint8)
    preprocessing = replace(CROP, modality=modality)
    pieces = [
        preprocessing.views(frames[start : start + 3], frames[start - 1] if start else None)
        for start in (0, 3, 6)
    ]
    np.testing.assert_array_equal(np.concatenate(pieces), preprocessing.views(frames))


# --- as matrix products, for exported models

SIDES = [(240, 320), (144, 180), (61, 47), (224, 224), (500, 353)]


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("resize_mode", ["shortest", "squash"])
def test_pixels_are_those_of_the_preprocessing(interpolation: str, resize_mode: Any) -> None:
    rng = np.random.default_rng(0)
    for (height, width), (resize, crop) in itertools.product(SIDES, [(256, 224), (40, 32)]):
        given = Preprocessing(
            resize,
            crop,
            (0.5, 0.5, 0.5),
            (0.5, 0.5, 0.5),
            resize_mode=resize_mode,
            interpolation=interpolation,
        )
        frame = rng.integers(0, 256, (height, width, 3), np.uint8)
        found = squares(torch.from_numpy(frame)[None], given)[0].numpy()
        difference = np.abs(found - given.square(frame))
        assert difference.max() <= 1
        assert difference.mean() < 0.01
