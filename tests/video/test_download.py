"""MP4 files whose index is at their end, on servers that cannot jump there."""

from __future__ import annotations

import base64
import gc
import tempfile
from pathlib import Path

import numpy as np
import pytest

from actionrnn.config import Sampling
from actionrnn.errors import VideoError
from actionrnn.options import VideoLimits
from actionrnn.video.decode import iter_frames, read_frames
from actionrnn.video.probe import probe_video
from tests.video.servers import H264, Requests, encode, serving


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return encode(tmp_path_factory.mktemp("end") / "end.mp4")


@pytest.fixture
def copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary files are made."""
    folder = tmp_path / "copies"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def test_it_is_read_like_the_file_and_its_copy_goes_away(video: Path, copies: Path) -> None:
    with serving(video.parent) as (address, seen):
        frames = read_frames(f"{address}/end.mp4", Sampling(num_frames=4))
        assert [path for path, _ in seen] == ["/end.mp4"]
        assert probe_video(f"{address}/end.mp4").num_frames == 25
        assert len(list(iter_frames(f"{address}/end.mp4"))) == 25
    expected = read_frames(video, Sampling(num_frames=4))
    np.testing.assert_array_equal(frames.data, expected.data)
    gc.collect()
    assert list(copies.iterdir()) == []


def test_what_can_be_read_as_it_comes_is_not_copied(video: Path, copies: Path) -> None:
    encode(video.with_name("begin.mp4"), f"{H264} -movflags faststart")
    with serving(video.parent) as (address, _):
        frames = iter_frames(f"{address}/begin.mp4")
        next(frames)
        assert list(copies.iterdir()) == []
        frames.close()  # type: ignore[attr-defined]


def test_a_login_is_sent_and_not_shown(video: Path) -> None:
    class Guarded(Requests):
        def do_GET(self) -> None:  # noqa: N802
            expected = "Basic " + base64.b64encode(b"me:p@ss").decode()
            if self.headers.get("Authorization") == expected:
                super().do_GET()
                return
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="x"')
            self.send_header("Content-Length", "0")
            self.end_headers()

    with serving(video.parent, Guarded) as (address, _):
        place = address.replace("//", "//me:p%40ss@") + "/end.mp4"
        assert len(read_frames(place, Sampling(num_frames=2))) == 2
        with pytest.raises(VideoError) as caught:
            read_frames(place.replace("p%40ss", "wrong"))
        assert "wrong" not in str(caught.value) and "cannot be opened" in str(caught.value)


def test_too_large_a_file_is_refused_before_it_comes(video: Path, copies: Path) -> None:
    with (
        serving(video.parent) as (address, _),
        pytest.raises(VideoError, match=r"too large to be copied.* download it, and give the file"),
    ):
        read_frames(f"{address}/end.mp4", limits=VideoLimits(max_bytes_held=5000))
    assert list(copies.iterdir()) == []


def test_a_copy_that_is_cut_off_is_refused(video: Path, copies: Path) -> None:
    class Cut(Requests):
        def copyfile(self, source: object, outputfile: object) -> None:
            outputfile.write(source.read(4000))  # type: ignore[attr-defined]

    with (
        serving(video.parent, Cut) as (address, _),
        pytest.raises(VideoError, match=r"was cut off: 4000 of \d+ bytes came; .*download it"),
    ):
        read_frames(f"{address}/end.mp4")
    gc.collect()
    assert list(copies.iterdir()) == []


def test_an_address_that_does_not_say_mp4_is_one_line(tmp_path: Path) -> None:
    encode(tmp_path / "end.mp4", seconds=8).rename(tmp_path / "clip")  # more than FFmpeg buffers
    with (
        serving(tmp_path) as (address, _),
        pytest.raises(VideoError, match="download it, and give the file"),
    ):
        read_frames(f"{address}/clip")
