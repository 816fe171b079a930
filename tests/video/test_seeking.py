"""Where decoding begins for the wanted frames, and how many threads it is worth."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from actionrnn.config import Sampling
from actionrnn.video import decode, frame_index
from actionrnn.video.decode import read_frames
from actionrnn.video.frame_index import FrameIndex, read_frame_index
from actionrnn.video.seeking import plan_spans
from actionrnn.video.source import locate, open_stream

FFmpegEncode = Callable[..., Path]


MANY_KEY_FRAMES = [
    ("h264.mp4", "-c:v libx264 -g 10 -bf 3"),
    ("open_gop.mkv", "-c:v libx264 -g 10 -bf 3 -x264-params open-gop=1"),
    ("mpeg2.ts", "-c:v mpeg2video -g 10 -bf 2"),
    ("mpeg4.avi", "-c:v mpeg4 -g 10"),
    ("counted.avi", "-c:v mpeg4 -g 10 -bf 2"),
]


def table_of(count: int, keys: list[int]) -> FrameIndex:
    """Frame i is shown at tick 10 i."""
    is_keyframe = np.isin(np.arange(count), keys)
    return FrameIndex(10 * np.arange(count), is_keyframe, Fraction(1, 250), True)


@pytest.mark.parametrize(
    ("keys", "wanted", "runs"),
    [
        ([0, 10, 20], [3, 9, 11, 27], [(0, [3, 9, 11]), (20, [27])]),  # 10 is near, 20 is far
        ([0, 10, 20], [0, 10, 20], [(0, [0]), (10, [10]), (20, [20])]),
        ([0], [5, 25], [(0, [5, 25])]),
        ([0, 10], [4, 4, 4], [(0, [4])]),
        (list(range(30)), list(range(30)), [(0, list(range(30)))]),  # every frame: one run
        ([10], [3, 12], [(0, [3]), (10, [12])]),  # before the first key frame
    ],
)
def test_runs_begin_at_the_nearest_key_frame(
    keys: list[int], wanted: list[int], runs: list[tuple[int, list[int]]]
) -> None:
    planned = plan_spans(table_of(30, keys), 10 * np.array(wanted))
    found = [(run.key_tick // 10, sorted(tick // 10 for tick in run.ticks)) for run in planned]
    assert found == runs
    assert [run.num_frames for run in planned] == [max(w) - key + 1 for key, w in runs]


def test_for_several_readers_long_runs_end_at_a_key_frame() -> None:
    """So that each has something to do; what is shorter is worth no jump."""
    table, wanted = table_of(600, [0, 16, 128, 256, 384, 512]), 10 * np.arange(0, 600, 4)
    assert [run.key_tick for run in plan_spans(table, wanted)] == [0]
    shared = plan_spans(table, wanted, num_readers=2)
    assert [run.key_tick // 10 for run in shared] == [0, 128, 256, 384, 512]
    assert sorted(tick for run in shared for tick in run.ticks) == wanted.tolist()
    assert [run.num_frames for run in shared] == [125, 125, 125, 125, 85]


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("h264.mp4", "-c:v libx264 -g 10"),
        ("hevc.mkv", "-c:v libx265 -x265-params log-level=none:keyint=10"),
        ("mpeg4.avi", "-c:v mpeg4 -g 10 -bf 2"),
        ("mjpeg.avi", "-c:v mjpeg"),
    ],
)
def test_whole_files_take_the_fast_way(
    ffmpeg_encode: FFmpegEncode, monkeypatch: pytest.MonkeyPatch, name: str, options: str
) -> None:
    path = ffmpeg_encode(name, options)
    monkeypatch.delattr(decode, "_decode_in_order")
    for sampling in (Sampling(num_frames=4), Sampling(keyframes=True), Sampling()):
        assert len(read_frames(path, sampling)) > 0


@pytest.mark.parametrize(("name", "options"), MANY_KEY_FRAMES)
@pytest.mark.parametrize("num_threads", [1, 2])
def test_packets_that_are_kept_and_read_again_give_the_same_frames(
    ffmpeg_encode: FFmpegEncode,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    options: str,
    num_threads: int,
) -> None:
    path = ffmpeg_encode(name, options, seconds=3.0)
    samplings = [Sampling(num_frames=7), Sampling(rate_fps=4), Sampling(keyframes=True)]
    kept = [read_frames(path, sampling, num_threads=num_threads) for sampling in samplings]
    monkeypatch.setattr(frame_index, "MAX_KEPT_BYTES", 0)
    for sampling, frames in zip(samplings, kept, strict=True):
        again = read_frames(path, sampling, num_threads=num_threads)
        np.testing.assert_array_equal(again.pts_seconds, frames.pts_seconds)
        np.testing.assert_array_equal(again.data, frames.data)


@pytest.mark.parametrize(("name", "options"), MANY_KEY_FRAMES)
def test_several_readers_give_the_frames_of_one(
    ffmpeg_encode: FFmpegEncode, name: str, options: str
) -> None:
    path = ffmpeg_encode(name, options, seconds=3.0)
    for sampling in (Sampling(), Sampling(rate_fps=10)):
        one = read_frames(path, sampling, num_threads=1)
        several = read_frames(path, sampling, num_threads=3)
        np.testing.assert_array_equal(several.pts_seconds, one.pts_seconds)
        np.testing.assert_array_equal(several.data, one.data)


def test_the_packets_of_a_small_file_alone_are_kept(
    ffmpeg_encode: FFmpegEncode, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = ffmpeg_encode("small.mp4", "-c:v libx264 -g 10")
    with open_stream(path) as stream:
        index = read_frame_index(locate(path), stream)
    assert index.packets is not None
    assert len(index.packets) == len(index)
    monkeypatch.setattr(frame_index, "MAX_KEPT_BYTES", sum(p.size for p in index.packets))
    with open_stream(path) as stream:
        assert read_frame_index(locate(path), stream).packets is None


def test_within_kept_packets_every_key_frame_is_near() -> None:
    table = replace(table_of(30, [0, 10, 20]), packets=[])
    planned = plan_spans(table, 10 * np.array([3, 8, 10, 12, 19, 20]))
    assert [(span.key_tick // 10, span.num_frames) for span in planned] == [(0, 9), (10, 11)]


def test_frames_that_nobody_wants_are_not_decoded(
    ffmpeg_encode: FFmpegEncode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A frame of one second out of ten, and the references before it, but no B-frames."""
    path = ffmpeg_encode("long.mp4", "-c:v libx264 -g 25 -bf 3", seconds=10.0)
    from actionrnn.video import seeking

    given_out = []
    frames_of_span = seeking._frames_of_span

    def counted(*args: object) -> list[av.VideoFrame]:
        frames = list(frames_of_span(*args))  # type: ignore[arg-type]
        given_out.append(len(frames))
        return frames

    monkeypatch.setattr(seeking, "_frames_of_span", counted)
    read_frames(path, Sampling(num_frames=1))
    assert len(given_out) == 1
    assert given_out[0] <= 12
