"""Frame numbers become seconds by a given rate or by the video's own times, never by a guess."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from actionrnn.datasets.annotations.clock import FrameClock
from actionrnn.datasets.annotations.marks import ReadOptions
from actionrnn.errors import DatasetError
from actionrnn.video.decode import read_frames
from actionrnn.video.writer import VideoWriter


def write_clip(path: Path, times: list[float]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with VideoWriter(path, time_base=Fraction(1, 1000)) as writer:
        for seconds in times:
            writer.write(np.zeros((32, 48, 3), np.uint8), round(1000 * seconds))
    return path


def test_a_given_rate_tells_when_a_frame_is_shown(tmp_path: Path) -> None:
    clock = FrameClock(tmp_path / "labels.txt", ReadOptions(rate_fps=12.5))
    assert [clock.seconds("anything", frame) for frame in (0, 1, 25)] == [0.0, 0.08, 2.0]


def test_without_a_rate_the_video_tells_it_even_if_its_rate_varies(tmp_path: Path) -> None:
    times = [0.0, 0.1, 0.15, 0.4, 0.8]
    video = write_clip(tmp_path / "clip.mp4", times)
    clock = FrameClock(tmp_path / "labels.txt", ReadOptions())
    shown = read_frames(video).pts_seconds
    assert [clock.seconds("clip", frame) for frame in range(5)] == pytest.approx(list(shown))
    assert clock.seconds("clip", 5) == pytest.approx(1.2)  # the last frame is as long as its gap


def test_more_frames_than_the_video_has_are_refused(tmp_path: Path) -> None:
    write_clip(tmp_path / "clip.mp4", [0.0, 0.1, 0.2])
    clock = FrameClock(tmp_path / "labels.txt", ReadOptions())
    with pytest.raises(DatasetError, match=r"marks frame 4 of clip, which has 3 frames.*rate_fps"):
        clock.seconds("clip", 4)


def test_neither_a_rate_nor_a_video_is_refused(tmp_path: Path) -> None:
    clock = FrameClock(tmp_path / "labels.txt", ReadOptions())
    with pytest.raises(DatasetError, match="counts frames, and there is no clip in"):
        clock.seconds("clip", 0)


@pytest.mark.parametrize("rate_fps", [0.0, -1.0, float("nan")])
def test_a_rate_that_is_none_is_refused(tmp_path: Path, rate_fps: float) -> None:
    with pytest.raises(DatasetError, match="rate_fps is"):
        FrameClock(tmp_path / "labels.txt", ReadOptions(rate_fps=rate_fps))
