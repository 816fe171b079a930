"""Thousands of opens and closes leave nothing behind, whatever way they end."""

from __future__ import annotations

import gc
import resource
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import pytest

from actionrnn.config import Sampling
from actionrnn.errors import VideoError
from actionrnn.options import VideoLimits
from actionrnn.video.decode import iter_frames, read_frames
from actionrnn.video.probe import probe_video

FFmpegEncode = Callable[..., Path]

MOST_GROWTH_BYTES = 12 * 2**20  # a leaked 64 x 48 decoder each time would be hundreds of MB


@pytest.fixture(scope="module")
def videos(ffmpeg_encode: FFmpegEncode) -> list[Path]:
    made = [
        ffmpeg_encode("a.mp4", "-c:v libx264 -g 5", size="64x48", seconds=0.4),
        ffmpeg_encode("b.avi", "-c:v mpeg4 -bf 2", size="64x48", seconds=0.4),
    ]
    broken = made[0].with_name("broken.mp4")
    broken.write_bytes(made[0].read_bytes()[:2000])
    return [*made, broken]


def use(path: Path, turn: int) -> None:
    """One of the ways in which a video is opened and left."""
    ways: list[Callable[[], object]] = [
        lambda: read_frames(path, Sampling(num_frames=3), num_threads=1),
        lambda: next(stopped_halfway(path)),
        lambda: probe_video(path),
        lambda: read_frames(path.read_bytes(), Sampling(num_frames=1), num_threads=2),
        lambda: read_frames(path, limits=VideoLimits(max_bytes_held=10)),
    ]
    try:
        ways[turn % len(ways)]()
    except VideoError:
        return


def stopped_halfway(path: Path) -> Iterator[object]:
    frames = iter_frames(path, num_threads=1)
    yield next(frames)


def open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads Linux's /proc")
def test_two_thousand_opens_leave_nothing_behind(videos: list[Path]) -> None:
    for turn in range(300):  # until every cache is full
        use(videos[turn % len(videos)], turn)
    gc.collect()
    files, size_bytes = open_files(), resident_bytes()
    for turn in range(2000):
        use(videos[turn % len(videos)], turn)
    gc.collect()
    grown = resident_bytes() - size_bytes
    print(f"{open_files() - files} files, {grown / 2**20:.2f} MiB more after 2,000 opens")
    assert open_files() == files
    assert grown < MOST_GROWTH_BYTES


def test_pictures_do_not_wait_for_the_garbage_collector(videos: list[Path]) -> None:
    """It counts objects, not bytes: hundreds of pictures of 1080p would lie about."""

    def num_pictures() -> int:
        return sum(type(one) is av.VideoFrame for one in gc.get_objects())

    gc.collect()
    before = num_pictures()
    gc.disable()
    try:
        for path in videos[:2]:
            for num_threads in (1, 2):
                read_frames(path, Sampling(), num_threads=num_threads)
            for frame in iter_frames(path):
                assert frame.rgb.size
        del frame
        assert num_pictures() == before
    finally:
        gc.enable()
