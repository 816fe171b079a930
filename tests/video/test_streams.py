"""Of a file with several video streams, the one that is named is read, or the default one."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.stream import Disposition

from actionrnn.config import Sampling
from actionrnn.errors import VideoError
from actionrnn.video.decode import iter_frames, read_frames
from actionrnn.video.last_frame import end_of
from actionrnn.video.probe import StreamInfo, is_read_as_before, probe_video
from actionrnn.video.source import as_sampled

FFmpegEncode = Callable[..., Path]

GREY, NOISE = (64, 48), (96, 64)


def two_streams(path: Path, *, noise_first: bool = False, grey_frames: int = 3) -> Path:
    """A small grey picture of few bits and a larger one of noise, three frames each."""
    rng = np.random.default_rng(0)
    with av.open(str(path), "w") as container:
        streams = []
        for width, height in [NOISE, GREY] if noise_first else [GREY, NOISE]:
            stream = container.add_stream("mpeg4", rate=25)
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            stream.bit_rate = 4_000_000
            stream.disposition = Disposition.default
            streams.append(stream)
        for index in range(max(3, grey_frames)):
            for stream in streams:
                if index >= (grey_frames if stream.width == GREY[0] else 3):
                    continue
                shape = (stream.height, stream.width, 3)
                is_grey = stream.width == GREY[0]
                grey = np.full(shape, 128, np.uint8)
                pixels = grey if is_grey else rng.integers(0, 256, shape).astype(np.uint8)
                frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
                frame.pts, frame.time_base = index, Fraction(1, 25)
                container.mux(stream.encode(frame))
        for stream in streams:
            container.mux(stream.encode(None))
    return path


def shown(width_and_height: tuple[int, int]) -> tuple[int, int]:
    return width_and_height[::-1]


def test_the_first_stream_is_read_whatever_its_bitrate(tmp_path: Path) -> None:
    grey = two_streams(tmp_path / "grey.mp4")
    noise = two_streams(tmp_path / "noise.mp4", noise_first=True)
    assert read_frames(grey).data.shape[1:3] == shown(GREY)
    assert read_frames(noise).data.shape[1:3] == shown(NOISE)
    assert not is_read_as_before(grey)
    assert is_read_as_before(noise)


def test_the_default_stream_goes_before_the_first(ffmpeg_encode: FFmpegEncode) -> None:
    one = ffmpeg_encode("one.mp4", "-c:v libx264", size="64x48", seconds=0.2)
    other = ffmpeg_encode("other.mp4", "-c:v libx264", size="96x64", seconds=0.2)
    options = f"-i {other} -map 0:v -map 1:v -c copy -disposition:v:0 0 -disposition:v:1 default"
    path = ffmpeg_encode("both.mkv", options, source=one)
    assert read_frames(path).data.shape[1:3] == (64, 96)
    assert read_frames(path, Sampling(stream=0)).data.shape[1:3] == (48, 64)


def test_a_number_chooses(tmp_path: Path) -> None:
    path = two_streams(tmp_path / "a.mkv")
    assert read_frames(path, Sampling(stream=1)).data.shape[1:3] == shown(NOISE)
    assert next(iter_frames(path, stream=1)).rgb.shape[:2] == shown(NOISE)
    info = probe_video(path, stream=1)
    assert (info.width, info.height, info.stream) == (*NOISE, 1)
    assert info.streams == (StreamInfo(0, "mpeg4", *GREY), StreamInfo(1, "mpeg4", *NOISE))
    assert str(Sampling(num_frames=2, stream=1)) == "2 frames evenly of stream 1"


def test_several_readers_read_the_same_stream(ffmpeg_encode: FFmpegEncode) -> None:
    one = ffmpeg_encode("long_one.mp4", "-c:v libx264 -g 5", size="64x48")
    other = ffmpeg_encode("long_other.mp4", "-c:v libx264 -g 5 -vf negate", size="64x48")
    path = ffmpeg_encode("long.mkv", f"-i {other} -map 0:v -map 1:v -c copy", source=one)
    sampling = Sampling(num_frames=6, stream=1)
    frames = read_frames(path, sampling, num_threads=2)
    assert np.array_equal(frames.data, read_frames(other, Sampling(num_frames=6)).data)


def test_a_stream_that_is_none_is_refused(tmp_path: Path) -> None:
    path = two_streams(tmp_path / "a.mkv")
    with pytest.raises(VideoError, match=r"has no video stream 7; its video streams are 0, 1"):
        read_frames(path, Sampling(stream=7))


@pytest.mark.parametrize("ending", [".mkv", ".mp4", ".ts"])
@pytest.mark.parametrize("noise_first", [True, False])
def test_a_stream_that_ends_before_another_is_whole(
    tmp_path: Path, ending: str, noise_first: bool
) -> None:
    path = two_streams(tmp_path / f"two{ending}", noise_first=noise_first, grey_frames=50)
    for number in (None, 0, 1):
        is_grey = (number == 1) == noise_first
        frames = read_frames(path, Sampling(stream=number))
        assert len(frames) == (50 if is_grey else 3)
        info = probe_video(path, stream=number)
        assert info.num_frames == len(frames)
        assert info.duration_seconds == pytest.approx(len(frames) / 25, abs=0.05)
        end = end_of(as_sampled(path, Sampling(stream=number)), frames.pts_seconds)
        assert end == pytest.approx(frames.pts_seconds[-1] + 0.04, abs=0.005)
