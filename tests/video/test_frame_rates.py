"""Videos that state neither times nor a rate, and those that state a rate alone."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest

from actionrnn.config import Sampling
from actionrnn.errors import VideoError
from actionrnn.options import LiveOptions
from actionrnn.video.decode import iter_frames, read_frames
from actionrnn.video.frame_index import AssumedRateWarning
from actionrnn.video.live import LiveSource
from actionrnn.video.probe import probe_video
from tests.video.servers import encode, ffmpeg_sends, free_port

X265 = "-c:v libx265 -x265-params log-level=none"
SILENT = f"{X265}:vui-timing-info=0"
"""No rate in its headers."""
STATED = {
    "a.h264": "-c:v libx264 -pix_fmt yuv420p",
    "a.hevc": X265,
    "a.m4v": "-c:v mpeg4 -f m4v",
    "a.vc2": "-c:v vc2 -pix_fmt yuv422p -f dirac",
    "a.y4m": "-pix_fmt yuv420p",
}
UNSTATED = {"a.hevc": SILENT, "a.mjpeg": "-c:v mjpeg"}


@pytest.fixture(autouse=True)
def warnings_are_new() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


@pytest.mark.parametrize("name", STATED)
def test_a_rate_that_is_stated_is_that_of_the_frames(tmp_path: Path, name: str) -> None:
    path = encode(tmp_path / name, STATED[name], rate=12)
    for sampling in (Sampling(), Sampling(frame_folder_fps=50)):
        times = read_frames(path, sampling).pts_seconds
        np.testing.assert_allclose(np.diff(times)[:11], [1 / 12] * 11, atol=1e-5)
        fps = sampling.frame_folder_fps
        times = np.array([f.pts_seconds for f in iter_frames(path, frame_folder_fps=fps)])
        np.testing.assert_allclose(np.diff(times)[:11], [1 / 12] * 11, atol=1e-5)
    assert probe_video(path).rate_fps == 12


def test_raw_mpeg4_states_its_rate_in_the_ticks_between_pictures(tmp_path: Path) -> None:
    """Its header has their clock alone: 30000 a second."""
    path = encode(tmp_path / "a.m4v", STATED["a.m4v"], rate="30000/1001")
    times = read_frames(path).pts_seconds
    np.testing.assert_allclose(times, np.arange(len(times)) * 1001 / 30000, atol=1e-5)
    assert probe_video(path).rate_fps == 30000 / 1001


@pytest.mark.parametrize("rate", [12.5, 7.5, 6.25])
def test_a_picture_of_raw_mpeg4_may_take_several_ticks(tmp_path: Path, rate: float) -> None:
    """Its clock has 25 or 15 of them a second, as if it had so many pictures."""
    path = encode(tmp_path / "a.m4v", STATED["a.m4v"], rate=rate)
    times = read_frames(path).pts_seconds
    np.testing.assert_allclose(times, np.arange(len(times)) / rate, atol=1e-5)
    assert probe_video(path).rate_fps == rate


def test_the_rate_of_raw_mpeg4_is_the_average(tmp_path: Path) -> None:
    """Its pictures take one tick and two in turn."""
    pictures = "-vf select=lt(mod(n\\,3)\\,2) -fps_mode vfr"
    path = encode(tmp_path / "a.m4v", f"{pictures} {STATED['a.m4v']}")
    times = read_frames(path).pts_seconds
    np.testing.assert_allclose(np.diff(times)[:4], [0.04, 0.08, 0.04, 0.08], atol=1e-5)
    assert probe_video(path).rate_fps == pytest.approx(50 / 3, rel=1e-3)


@pytest.mark.parametrize("name", UNSTATED)
def test_a_rate_that_is_not_stated_is_assumed_aloud(tmp_path: Path, name: str) -> None:
    path = encode(tmp_path / name, UNSTATED[name], rate=12)
    expected = rf"{name}: does not say the frame rate: 25 frames/s assumed; --frame-rate"
    with pytest.warns(AssumedRateWarning, match=expected):
        times = read_frames(path).pts_seconds
    np.testing.assert_allclose(times, np.arange(12) / 25, atol=1e-5)
    with pytest.warns(AssumedRateWarning, match=expected):
        times = np.array([frame.pts_seconds for frame in iter_frames(path)])
    np.testing.assert_allclose(times, np.arange(12) / 25, atol=1e-5)
    assert probe_video(path).rate_fps is None


@pytest.mark.parametrize("name", UNSTATED)
@pytest.mark.parametrize("rate_fps", [12, 7.5, 30000 / 1001])
def test_a_rate_that_is_given_is_taken(tmp_path: Path, name: str, rate_fps: float) -> None:
    path = encode(tmp_path / name, UNSTATED[name], rate=12)
    warnings.simplefilter("ignore", AssumedRateWarning)
    frames = read_frames(path, Sampling(frame_folder_fps=rate_fps))
    np.testing.assert_allclose(frames.pts_seconds, np.arange(12) / rate_fps, atol=1e-4)
    third = read_frames(path, Sampling(rate_fps=rate_fps / 3, frame_folder_fps=rate_fps))
    np.testing.assert_array_equal(third.data, frames.data[::3])
    times = [frame.pts_seconds for frame in iter_frames(path, frame_folder_fps=rate_fps)]
    np.testing.assert_allclose(times, np.arange(12) / rate_fps, atol=1e-4)


@pytest.mark.parametrize(
    "options",
    [
        "-c:v mjpeg -f mpjpeg -content_type multipart/x-mixed-replace;boundary=ffmpeg",
        "-c:v mjpeg -f mjpeg",
        f"{SILENT} -f hevc",
    ],
)
@pytest.mark.parametrize("rate_fps", [25, 10, 50])
def test_a_live_source_has_the_rate_that_is_given(options: str, rate_fps: float) -> None:
    address = f"http://127.0.0.1:{free_port()}/"
    with (
        ffmpeg_sends(f"{options} -listen 1 {address}", seconds=0.5, rate=20),
        pytest.warns(AssumedRateWarning, match=rf"{rate_fps} frames/s assumed"),
    ):
        times = patiently_read(address, Sampling(frame_folder_fps=rate_fps))
    np.testing.assert_allclose(times, np.arange(len(times)) / rate_fps, atol=1e-4)
    assert len(times) == 10


def patiently_read(address: str, sampling: Sampling) -> np.ndarray:
    """Once ffmpeg listens."""
    for _ in range(100):
        try:
            return read_frames(address, sampling).pts_seconds
        except VideoError as error:
            if "refused" not in str(error):
                raise
            time.sleep(0.1)
    raise AssertionError("ffmpeg does not listen")


def test_one_picture_has_no_rate(tmp_path: Path) -> None:
    for name in ("a.jpg", "a.png"):
        path = encode(tmp_path / name, "-frames:v 1 -update 1")
        assert len(read_frames(path)) == len(list(iter_frames(path))) == 1


def test_a_raw_file_is_played_at_the_rate_that_it_states(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.h264", STATED["a.h264"], rate=50, seconds=0.5)
    source = LiveSource(str(path), LiveOptions(max_lag_seconds=5))
    times = [arrival.frame.pts_seconds for arrival in source.frames() if arrival is not None]
    source.close()
    np.testing.assert_allclose(np.diff(times), [0.02] * 24, atol=1e-4)


@pytest.mark.parametrize("ticks", [90000, 1000])
@pytest.mark.parametrize("name", ["a.h264", "a.hevc"])
def test_the_ticks_of_a_variable_rate_are_no_rate(tmp_path: Path, name: str, ticks: int) -> None:
    """Of a video at a variable rate the encoder states the clock's ticks as if they were frames."""
    path = variable(tmp_path / name, ticks)
    with pytest.warns(AssumedRateWarning, match="does not say the frame rate: 25 frames/s"):
        times = read_frames(path).pts_seconds
    np.testing.assert_allclose(times, np.arange(12) / 25, atol=1e-5)
    with pytest.warns(AssumedRateWarning, match="25 frames/s assumed"):
        assert [f.pts_seconds for f in iter_frames(path)] == pytest.approx(times)
    given = Sampling(frame_folder_fps=12, overrules_stated_rate=True)
    np.testing.assert_allclose(read_frames(path, given).pts_seconds, np.arange(12) / 12)
    assert probe_video(path).rate_fps is None
    source = LiveSource(str(path), LiveOptions(max_lag_seconds=5))
    times = [arrival.frame.pts_seconds for arrival in source.frames() if arrival is not None]
    np.testing.assert_allclose(np.diff(times), [1 / 25] * 11)


def variable(path: Path, ticks: int) -> Path:
    codec = "libx264" if path.suffix == ".h264" else "libx265"
    with av.open(path, "w") as container:
        stream = container.add_stream(codec, rate=ticks)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        if codec == "libx265":
            stream.options = {"x265-params": "log-level=none"}
        for number in range(12):
            pixels = np.full((64, 64, 3), 20 * number, np.uint8)
            frame = av.VideoFrame.from_ndarray(pixels)
            frame.pts = number * ticks // 12
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("name", STATED)
def test_a_given_rate_overrules_a_stated_one_aloud(tmp_path: Path, name: str) -> None:
    path = encode(tmp_path / name, STATED[name], rate=12)
    sampling = Sampling(frame_folder_fps=50, overrules_stated_rate=True)
    if name.endswith(".y4m"):  # its frames have times
        np.testing.assert_allclose(read_frames(path, sampling).pts_seconds, np.arange(12) / 12)
        return
    with pytest.warns(AssumedRateWarning, match=r"states 12 frames/s; 50 are taken, as --frame-r"):
        frames = read_frames(path, sampling)
    np.testing.assert_allclose(frames.pts_seconds, np.arange(12) / 50)
    np.testing.assert_array_equal(frames.data, read_frames(path).data)
    with pytest.warns(AssumedRateWarning, match="states 12"):
        found = list(iter_frames(path, frame_folder_fps=50, overrules_stated_rate=True))
    np.testing.assert_allclose([f.pts_seconds for f in found], np.arange(12) / 50)


@pytest.mark.parametrize("rate_fps", [8, 50, 60])
def test_the_pictures_of_a_camera_are_counted(tmp_path: Path, rate_fps: float) -> None:
    """FFmpeg times them by 25 a second, whatever it is told."""
    path = encode(tmp_path / "a.mpjpeg", "-c:v mjpeg -f mpjpeg", rate=12)
    sampling = Sampling(frame_folder_fps=rate_fps, overrules_stated_rate=True)
    frames = read_frames(path, sampling)
    np.testing.assert_allclose(frames.pts_seconds, np.arange(12) / rate_fps)
    found = list(iter_frames(path, frame_folder_fps=rate_fps, overrules_stated_rate=True))
    assert [f.pts_seconds for f in found] == pytest.approx(frames.pts_seconds)
    third = read_frames(path, replace(sampling, rate_fps=rate_fps / 3))
    np.testing.assert_array_equal(third.data, frames.data[::3])


def test_h263_states_the_clock_of_all_such_streams(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.h263", "-s 176x144 -c:v h263 -f h263", rate=15)
    with pytest.warns(AssumedRateWarning, match="does not say the frame rate"):
        np.testing.assert_allclose(read_frames(path).pts_seconds, np.arange(15) / 25)
    sampling = Sampling(frame_folder_fps=15, overrules_stated_rate=True)
    np.testing.assert_allclose(read_frames(path, sampling).pts_seconds, np.arange(15) / 15)
