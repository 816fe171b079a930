"""What a video is, before it is decoded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from actionrnn.video.probe import probe_video
from tests.video.test_decode import grey_steps

EncodeVideo = Callable[..., Path]


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("name", "num_frames"), [("test_non_zero_start.mp4", 12), ("nasa_13013_rotated.mp4", 17)]
)
def test_probing_counts_the_frames_that_come(real_data: Path, name: str, num_frames: int) -> None:
    info = probe_video(real_data / "odd_videos" / name)
    assert info.num_frames == num_frames
    assert info.codec == "h264"


def test_probing_tells_what_the_file_declares(encode_video: EncodeVideo) -> None:
    path = encode_video("a.avi", grey_steps(50))
    info = probe_video(path)
    assert (info.path, info.container, info.codec) == (path, "avi", "mpeg4")
    assert (info.width, info.height, info.num_frames, info.rate_fps) == (64, 48, 50, 25.0)
    assert info.duration_seconds == pytest.approx(2.0)
    assert info.size_bytes == path.stat().st_size
