"""Where a video says that it begins and ends."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

from actionrnn.config import Sampling
from actionrnn.video.declared import declared_span
from actionrnn.video.last_frame import end_of
from actionrnn.video.source import as_sampled
from tests.video.test_streams import two_streams

EncodeVideo = Callable[..., Path]


def test_matroska_that_begins_late_has_its_own_length(encode_video: EncodeVideo) -> None:
    pictures, times_ms = np.zeros((25, 48, 64, 3), np.uint8), range(5000, 6000, 40)
    path = encode_video("late.mkv", pictures, times_ms=times_ms)
    begin, length = declared_span(path)
    assert (begin, length) == (5.0, pytest.approx(1.0, abs=0.05))


def test_a_late_mp4_ends_with_its_last_frame(encode_video: EncodeVideo) -> None:
    """With B-frames at a variable rate the header has the end of decoding."""
    times_ms = [5000, 5040, 5100, 5130, 7000, 7040, 9000]
    pictures = np.random.default_rng(0).integers(0, 255, (7, 48, 64, 3)).astype(np.uint8)
    path = encode_video("late.mp4", pictures, "libx264", times_ms=times_ms)
    with av.open(str(path)) as container:
        declared = ((container.start_time or 0) + (container.duration or 0)) / av.time_base
    assert declared < 8  # the file is one of those
    assert declared_span(path) == (5.0, pytest.approx(4.0, abs=0.01))
    assert end_of(path, np.array([5.0, 5.1, 7.04])) == pytest.approx(9.0, abs=0.1)


@pytest.mark.parametrize("ending", [".mp4", ".mkv", ".mov"])
def test_each_stream_has_its_own_end(tmp_path: Path, ending: str) -> None:
    path = two_streams(tmp_path / f"two{ending}", grey_frames=50)
    assert declared_span(path)[1] == pytest.approx(2.0, abs=0.01)
    for number, seconds in enumerate((50 / 25, 3 / 25)):
        source = as_sampled(path, Sampling(stream=number))
        assert declared_span(source)[1] == pytest.approx(seconds, abs=0.01)
        times = np.arange(0, seconds, 0.25)
        assert end_of(source, times) == pytest.approx(seconds, abs=0.01)
