"""A last frame that stands still lasts; a file's declared length alone proves nothing."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from actionrnn.apps.render import rewrite
from actionrnn.config import Sampling
from actionrnn.video.declared import declared_span
from actionrnn.video.decode import read_frames
from actionrnn.video.last_frame import end_of, shown_until
from actionrnn.video.source import as_sampled
from tests.video.servers import encode

EncodeVideo = Callable[..., Path]

RATE_HZ = 8000


def recording(path: Path, *, sound_seconds: float, num_videos: int = 1) -> Path:
    """Ten pictures in 0.9 s, and sound, as of a screen that does not change any more."""
    with av.open(str(path), "w") as container:
        videos = [container.add_stream("mpeg4", rate=10) for _ in range(num_videos)]
        for video in videos:
            video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        audio = container.add_stream("pcm_s16le", rate=RATE_HZ, layout="mono")
        for video in videos:
            for index in range(10):
                pixels = np.full((48, 64, 3), 20 * index, np.uint8)
                frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
                frame.pts, frame.time_base = index, Fraction(1, 10)
                container.mux(video.encode(frame))
            container.mux(video.encode(None))
        block = np.zeros((1, RATE_HZ // 10), np.int16)
        for index in range(round(10 * sound_seconds)):
            sound = av.AudioFrame.from_ndarray(block, format="s16", layout="mono")
            sound.sample_rate, sound.pts = RATE_HZ, index * block.shape[1]
            container.mux(audio.encode(sound))
        container.mux(audio.encode(None))
    return path


@pytest.mark.parametrize("ending", [".mkv", ".mov"])
def test_a_picture_stands_as_long_as_the_sound(tmp_path: Path, ending: str) -> None:
    path = recording(tmp_path / f"a{ending}", sound_seconds=6)
    assert shown_until(path, 0.9) == pytest.approx(6, abs=0.05)


@pytest.mark.parametrize("ending", [".mkv", ".mov"])
@pytest.mark.parametrize(("sound_seconds", "end"), [(6, 6), (1, 1)])
def test_sound_ends_the_last_picture_of_each_of_several_streams(
    tmp_path: Path, ending: str, sound_seconds: int, end: int
) -> None:
    """Though each stream declares an end of its own, that of its last picture."""
    path = recording(tmp_path / f"a{ending}", sound_seconds=sound_seconds, num_videos=2)
    for number in (0, 1):
        source = as_sampled(path, Sampling(stream=number))
        assert declared_span(source)[1] == pytest.approx(1, abs=0.01)
        assert end_of(source, np.arange(10) / 10) == pytest.approx(end, abs=0.05)


def test_a_frame_may_say_how_long_it_stands(encode_video: EncodeVideo) -> None:
    pictures = np.zeros((4, 48, 64, 3), np.uint8)
    path = encode_video("a.mp4", pictures, "h264", times_ms=[0, 40, 80, 120])
    assert shown_until(path, 0.12) is None
    held = path.with_name("held.mp4")
    with av.open(str(path)) as before, av.open(str(held), "w") as after:
        stream = before.streams.video[0]
        copied = after.add_stream_from_template(stream)
        packets = [packet for packet in before.demux(stream) if packet.size]
        packets[-1].duration = round(18 / stream.time_base)
        for packet in packets:
            packet.stream = copied
            after.mux(packet)
    assert shown_until(held, 0.12) == pytest.approx(18.12, abs=0.1)


def test_a_late_frame_after_a_pause_is_not_the_one_that_stands(encode_video: EncodeVideo) -> None:
    pictures = np.zeros((4, 48, 64, 3), np.uint8)
    path = encode_video("a.mkv", pictures, "mjpeg", times_ms=[0, 40, 80, 5000])
    assert shown_until(path, 5.0) is None


def test_sound_of_the_same_length_stops_nothing(tmp_path: Path) -> None:
    assert shown_until(recording(tmp_path / "a.mkv", sound_seconds=1.6), 0.9) is None


def test_a_truncated_file_has_no_frame_that_stands(tmp_path: Path) -> None:
    path = recording(tmp_path / "whole.mkv", sound_seconds=6)
    content = path.read_bytes()
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(content[: len(content) // 6])
    assert declared_span(cut)[1] == pytest.approx(6, abs=0.05)
    until = shown_until(cut, 0.9)
    assert until is None or until < 2.5


def test_a_copy_shows_the_last_picture_to_the_end(tmp_path: Path) -> None:
    path = recording(tmp_path / "a.mkv", sound_seconds=6)
    copy = tmp_path / "copy.mkv"
    assert rewrite(path, copy, lambda frame: frame.rgb) == 10
    frames = read_frames(copy)
    assert frames.pts_seconds[-2:] == pytest.approx([0.9, 6.0], abs=0.05)
    assert np.abs(frames.data[-1].astype(int) - frames.data[-2]).max() < 8
    with av.open(str(copy)) as container:
        assert (container.duration or 0) / av.time_base == pytest.approx(6, abs=0.2)


def test_a_declared_end_is_that_of_the_last_step(encode_video: EncodeVideo) -> None:
    path = encode_video("two.mp4", np.zeros((50, 48, 64, 3), np.uint8))
    begin, length = declared_span(path)
    assert length is not None
    assert end_of(path, np.arange(0, 2, 0.25)) == begin + length


def test_a_frame_at_the_very_end_proves_how_long_the_one_before_stood(tmp_path: Path) -> None:
    path = tmp_path / "screen.mkv"
    with av.open(str(path), "w") as container:
        video = container.add_stream("mpeg4", rate=10)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        for pts in (*range(10), 99):
            frame = av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="rgb24")
            frame.pts, frame.time_base = pts, Fraction(1, 10)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
    assert shown_until(path, 0.9) == pytest.approx(10.0, abs=0.11)


@pytest.mark.parametrize("name", ["a.h264", "a.mjpeg", "a.mpjpeg"])
@pytest.mark.filterwarnings("ignore::actionrnn.video.frame_index.AssumedRateWarning")
def test_raw_video_ends_with_its_last_frame(tmp_path: Path, name: str) -> None:
    options = "-c:v libx264 -pix_fmt yuv420p" if name == "a.h264" else f"-c:v mjpeg -f {name[2:]}"
    path = encode(tmp_path / name, options, rate=25, seconds=2)
    for sampling in (Sampling(), Sampling(rate_fps=10), Sampling(num_frames=4)):
        steps = read_frames(path, sampling).pts_seconds
        assert end_of(as_sampled(path, sampling), steps) == pytest.approx(2.0)
    slow = Sampling(rate_fps=4, frame_folder_fps=10, overrules_stated_rate=True)
    steps = read_frames(path, slow).pts_seconds
    assert end_of(as_sampled(path, slow), steps) == pytest.approx(5.0)
