"""Features of odd pictures are those of the same pictures in the usual form, on real clips."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from actionrnn.config import Sampling
from actionrnn.features.backbone import Backbone
from actionrnn.video.decode import read_frames
from tests.video.test_convert import HLG, PQ, coded, encode, hdr

CLIPS = [
    "ucf101_clips/v_ApplyEyeMakeup_g01_c01.avi",
    "weizmann/run/ido_run.avi",
    "clips/WUzgd7C1pWA.mp4",
]

pytestmark = pytest.mark.realdata

FOUR = Sampling(num_frames=4)


def cosines(one: NDArray[np.uint8], other: NDArray[np.uint8], backbone: Backbone) -> list[float]:
    """Of the features of pictures (T, H, W, 3)."""
    square = backbone.preprocessing.square
    a, b = (backbone.encode(np.stack([square(p) for p in pictures])) for pictures in (one, other))
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return ((a * b).sum(axis=1) / norms).tolist()  # type: ignore[no-any-return]


@pytest.fixture(params=CLIPS)
def clip(request: pytest.FixtureRequest, real_data: Path) -> NDArray[np.uint8]:
    """Fourteen pictures of a real clip, (14, 576, 768, 3)."""
    pictures = read_frames(real_data / request.param, Sampling(end_seconds=0.64)).data[:14]
    frames = [av.VideoFrame.from_ndarray(picture, format="rgb24") for picture in pictures]
    return np.stack(
        [frame.reformat(768, 576, interpolation="BICUBIC").to_ndarray() for frame in frames]
    )


def test_square_pixels(clip: NDArray[np.uint8], tmp_path: Path, bundled: Backbone) -> None:
    frames = [av.VideoFrame.from_ndarray(picture, format="rgb24") for picture in clip[::4]]
    squeezed = [frame.reformat(540, 576, "yuv420p", interpolation="BICUBIC") for frame in frames]
    aspect, options = Fraction(64, 45), {"qp": "0"}
    path = encode(tmp_path / "a.mp4", squeezed, "libx264", aspect=aspect, options=options)
    plain = encode(tmp_path / "b.mp4", squeezed, "libx264", options=options)
    wide = read_frames(path).data
    assert wide.shape[1:3] == (576, 768)
    assert np.mean(cosines(wide, clip[::4], bundled)) >= 0.99
    assert np.mean(cosines(read_frames(plain).data, clip[::4], bundled)) < 0.9


def test_one_field(clip: NDArray[np.uint8], tmp_path: Path, bundled: Backbone) -> None:
    woven = clip[0::2].copy()
    woven[:, 1::2] = clip[1::2, 1::2]
    options = {"x264-params": "tff=1", "crf": "15"}
    path = encode(tmp_path / "a.mp4", coded(woven), "libx264", options=options)
    assert np.mean(cosines(read_frames(path).data, clip[0::2], bundled)) >= 0.95


@pytest.mark.parametrize("transfer", [PQ, HLG])
def test_hdr(clip: NDArray[np.uint8], tmp_path: Path, bundled: Backbone, transfer: int) -> None:
    tags = (9, transfer, 9)
    path = encode(tmp_path / "a.mkv", hdr(clip[::4], transfer), tags=tags)
    plain = encode(tmp_path / "b.mkv", hdr(clip[::4], transfer), tags=(9, 1, 9))
    mapped = np.mean(cosines(read_frames(path).data, clip[::4], bundled))
    assert mapped >= 0.96
    assert mapped > np.mean(cosines(read_frames(plain).data, clip[::4], bundled))
