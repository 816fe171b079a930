"""Decoding in a process of its own: the same features, within bounds, whatever the video does."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from actionrnn.config import Sampling, VideoLimits
from actionrnn.errors import VideoError
from actionrnn.features import isolated
from actionrnn.features.backbone import Backbone
from actionrnn.features.decoding import Source
from actionrnn.features.extract import encode_videos
from actionrnn.features.isolated import Isolation
from actionrnn.features.pipeline import Pipeline
from actionrnn.features.types import Features

EVERY = Sampling(rate_fps=12)
BOUNDS = Isolation(
    most_seconds=60,
    most_video_seconds=60,
    limits=VideoLimits(max_frame_pixels=10**6),
    most_memory_bytes=2 * 10**9,
)


def encode(path: Path, backbone: Backbone, isolation: Isolation) -> Features:
    pipeline = Pipeline([Source("clip", path)], backbone, EVERY, {}, decode=isolation.decode)
    (result,) = [found for found in pipeline.run() if found is not None]
    if isinstance(result[1], VideoError):
        raise result[1]
    return result[1]


@pytest.fixture
def clip(clips: Path) -> Path:
    return clips / "red" / "ann_red.avi"


def test_the_features_are_the_same(clip: Path, tiny_backbone: Backbone) -> None:
    [(_, expected)] = encode_videos([Source("clip", clip)], tiny_backbone, EVERY)
    assert isinstance(expected, Features)
    found = encode(clip, tiny_backbone, BOUNDS)
    np.testing.assert_array_equal(found.values, expected.values)
    np.testing.assert_array_equal(found.pts_seconds, expected.pts_seconds)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"most_video_seconds": 0.5}, "is 1 s long, 0.5 s are read"),
        ({"limits": VideoLimits(max_frame_pixels=64 * 48 - 1)}, "64 x 48"),
        ({"most_seconds": 1e-9}, "takes longer than 1e-09 s"),
    ],
)
def test_a_bound_is_one_line(
    clip: Path, tiny_backbone: Backbone, changes: dict[str, Any], problem: str
) -> None:
    with pytest.raises(VideoError, match=problem) as seen:
        encode(clip, tiny_backbone, replace(BOUNDS, **changes))
    assert "\n" not in str(seen.value)


def test_a_bad_video_says_what_it_says_here(tmp_path: Path, tiny_backbone: Backbone) -> None:
    (tmp_path / "bad.mp4").write_text("no video")
    with pytest.raises(VideoError, match=r"bad\.mp4: is not a readable video"):
        encode(tmp_path / "bad.mp4", tiny_backbone, BOUNDS)


@pytest.mark.skipif(sys.platform != "linux", reason="children are found in /proc")
@pytest.mark.parametrize("end", [signal.SIGSEGV, signal.SIGKILL])
def test_a_video_that_kills_its_decoder_is_an_error(
    tmp_path: Path, tiny_backbone: Backbone, end: signal.Signals
) -> None:
    os.mkfifo(tmp_path / "endless.mp4")  # opening it waits for ever
    problems: list[VideoError] = []

    def watch() -> None:
        try:
            encode(tmp_path / "endless.mp4", tiny_backbone, BOUNDS)
        except VideoError as error:
            problems.append(error)

    before = decoders()
    watcher = threading.Thread(target=watch)
    watcher.start()
    (decoder,) = wait_for(lambda: decoders() - before)
    os.kill(decoder, end)
    watcher.join(30)
    assert "ended its decoder" in str(problems[0])
    assert decoders() == before


@pytest.mark.skipif(sys.platform != "linux", reason="children are found in /proc")
def test_who_stops_waits_for_nothing_and_leaves_no_process(
    tmp_path: Path, tiny_backbone: Backbone
) -> None:
    os.mkfifo(tmp_path / "endless.mp4")
    before, stop = decoders(), threading.Event()
    threading.Timer(0.5, stop.set).start()
    start = time.monotonic()
    with pytest.raises(VideoError, match="was given up"):
        encode(tmp_path / "endless.mp4", tiny_backbone, replace(BOUNDS, stop=stop))
    assert time.monotonic() - start < 20
    assert decoders() == before


@pytest.mark.skipif(sys.platform != "linux", reason="limits as Linux has them")
def test_memory_is_bounded(clip: Path, tiny_backbone: Backbone) -> None:
    with pytest.raises(VideoError, match=r"ann_red\.avi: "):
        encode(clip, tiny_backbone, replace(BOUNDS, most_memory_bytes=1))


def decoders() -> set[int]:
    """Processes of this one's forkserver."""
    isolated.prepare()
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            words = stat.read_text().rpartition(")")[2].split()
            command = (stat.parent / "cmdline").read_bytes()
            parent = Path(f"/proc/{words[1]}/cmdline").read_bytes()
            grand = Path(f"/proc/{words[1]}/stat").read_text().rpartition(")")[2].split()[1]
        except OSError:
            continue
        if b"forkserver" in parent and b"forkserver" in command and int(grand) == os.getpid():
            found.add(int(stat.parent.name))
    return found


def wait_for(found: Callable[[], set[int]]) -> set[int]:
    end = time.monotonic() + 30
    while not (now := found()):
        assert time.monotonic() < end, "it never came"
        time.sleep(0.05)
    return now
