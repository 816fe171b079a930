"""Where videos come from: paths, file objects, bytes, pipes and addresses, and their limits."""

from __future__ import annotations

import functools
import http.server
import io
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from actionrnn.config import Sampling
from actionrnn.errors import VideoError
from actionrnn.options import VideoLimits
from actionrnn.video import source as opening
from actionrnn.video.decode import iter_frames, read_frames
from actionrnn.video.probe import probe_video
from tests.pipes import filled_pipe
from tests.video.servers import serving

FFmpegEncode = Callable[..., Path]


@pytest.fixture(scope="module")
def video(ffmpeg_encode: FFmpegEncode) -> Path:
    return ffmpeg_encode("video.mp4", "-c:v libx264 -g 10 -movflags faststart", seconds=1.0)


@pytest.fixture
def address(video: Path) -> Iterator[str]:
    """The video's folder, served over http."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

    handler = functools.partial(Quiet, directory=str(video.parent))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def same(path: Path, other: object) -> None:
    for sampling in (Sampling(), Sampling(num_frames=4), Sampling(rate_fps=5, end_seconds=0.7)):
        expected = read_frames(path, sampling)
        frames = read_frames(other, sampling)  # type: ignore[arg-type]
        np.testing.assert_array_equal(frames.data, expected.data)
        np.testing.assert_array_equal(frames.pts_seconds, expected.pts_seconds)
        if hasattr(other, "seek"):
            other.seek(0)


def test_bytes_and_file_objects_are_read_like_the_file(video: Path) -> None:
    same(video, str(video))
    same(video, video.read_bytes())
    same(video, io.BytesIO(video.read_bytes()))
    with video.open("rb") as file:
        same(video, file)


def test_probing_and_streaming_take_bytes_too(video: Path) -> None:
    info = probe_video(video.read_bytes())
    assert (info.num_frames, info.codec, info.size_bytes) == (25, "h264", video.stat().st_size)
    assert len(list(iter_frames(io.BytesIO(video.read_bytes())))) == 25


def test_standard_input_is_read(video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with video.open("rb") as file:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(file))
        assert len(read_frames("-", Sampling(num_frames=4))) == 4


def test_a_named_pipe_is_read(video: Path, tmp_path: Path) -> None:
    with filled_pipe(tmp_path / "pipe", video.read_bytes()) as pipe:
        frames = read_frames(pipe)
    np.testing.assert_array_equal(frames.data, read_frames(video).data)


def test_an_address_is_read_like_the_file(video: Path, address: str) -> None:
    same(video, f"{address}/{video.name}")
    assert len(list(iter_frames(f"{address}/{video.name}"))) == 25


def test_a_stream_of_unknown_length_is_kept_until_the_wanted_end(
    ffmpeg_encode: FFmpegEncode,
) -> None:
    """A server that tells no size and cannot jump."""
    listening = socket.create_server(("127.0.0.1", 0))
    stream = ffmpeg_encode("live.ts", "-c:v libx264 -g 10", seconds=1.0)

    def serve() -> None:
        connection, _ = listening.accept()
        with connection:
            connection.recv(4096)
            connection.sendall(b"HTTP/1.0 200 OK\r\nContent-Type: video/mp2t\r\n\r\n")
            connection.sendall(stream.read_bytes())

    thread = threading.Thread(target=serve)
    thread.start()
    place = f"http://127.0.0.1:{listening.getsockname()[1]}/live.ts"
    first = float(read_frames(stream).pts_seconds[0])
    frames = read_frames(place, Sampling(rate_fps=5, end_seconds=first + 0.6))
    thread.join()
    listening.close()
    assert len(frames) == 3


@pytest.mark.parametrize("scheme", ["http", "rtsp"])
def test_a_dead_address_is_told_without_its_password(scheme: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    place = f"{scheme}://user:secret@127.0.0.1:{port}/a.mp4"
    with pytest.raises(VideoError, match=r"cannot be opened .*; check the address") as caught:
        read_frames(place)
    assert "secret" not in str(caught.value)
    assert f"{scheme}://***@127.0.0.1:{port}/a.mp4" in str(caught.value)


def test_a_silent_server_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "OPEN_TIMEOUT_SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(VideoError, match=r"no answer within 0\.5 s"):
            read_frames(f"http://127.0.0.1:{port}/a.mp4")


def test_a_file_opened_as_text_is_refused(video: Path) -> None:
    with (
        video.open(encoding="latin-1") as file,
        pytest.raises(VideoError, match="gives text, not bytes; open it with mode 'rb'"),
    ):
        read_frames(file)  # type: ignore[arg-type]


def test_a_closed_file_object_is_refused(video: Path) -> None:
    file = video.open("rb")
    file.close()
    with pytest.raises(VideoError, match="cannot be read"):
        read_frames(file)


@pytest.mark.parametrize("content", [b"", b"no video" * 100])
def test_bytes_that_are_no_video_are_refused(content: bytes) -> None:
    with pytest.raises(VideoError, match=r"the given bytes: (is empty|is not a readable video)"):
        read_frames(content)


@pytest.mark.parametrize("name", ["a\0b.mp4", "x" * 5000])
def test_impossible_names_are_refused(name: str) -> None:
    with pytest.raises(VideoError):
        read_frames(name)


def test_more_bytes_than_the_limit_are_refused(video: Path) -> None:
    limits = VideoLimits(max_bytes_held=1000)
    with pytest.raises(VideoError, match=r"is too large: more than 1000 bytes; .*max_bytes_held"):
        read_frames(io.BytesIO(video.read_bytes()), limits=limits)


def test_frames_that_take_too_much_memory_are_refused(video: Path) -> None:
    limits = VideoLimits(max_bytes_held=10 * 96 * 64 * 3)
    assert len(read_frames(video, Sampling(num_frames=10), limits=limits)) == 10
    with pytest.raises(VideoError, match=r"25 frames of 96 x 64 take .*sample fewer"):
        read_frames(video, limits=limits)
    assert len(list(iter_frames(video, limits=limits))) == 25


@pytest.mark.parametrize("name", ["large.mp4", "large.avi", "large.gif"])
def test_too_large_a_frame_is_refused(ffmpeg_encode: FFmpegEncode, name: str) -> None:
    path = ffmpeg_encode(name, "", size="160x120", seconds=0.2)
    assert read_frames(path, Sampling(num_frames=1)).data.shape == (1, 120, 160, 3)
    for read in (read_frames, probe_video, lambda *args, **more: list(iter_frames(*args, **more))):
        with pytest.raises(VideoError, match=r"is too large: 160 x 120 pixels a frame"):
            read(path, limits=VideoLimits(max_frame_pixels=160 * 120 - 1))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("grown.ts", "-c:v libx264 -g 5 -bf 0"),
        ("grown.h264", "-c:v libx264 -g 5"),
        ("grown.mjpeg", ""),
        ("grown.mpg", "-c:v mpeg2video"),
    ],
)
@pytest.mark.parametrize("sampling", [Sampling(), Sampling(rate_fps=5)])
@pytest.mark.filterwarnings("ignore::actionrnn.video.frame_index.AssumedRateWarning")
def test_a_frame_that_is_too_large_later_on_is_refused(
    ffmpeg_encode: FFmpegEncode, tmp_path: Path, name: str, options: str, sampling: Sampling
) -> None:
    """Not left out as if it were damaged."""
    small = ffmpeg_encode(f"small_{name}", options, size="96x64", seconds=1.6)
    large = ffmpeg_encode(f"large_{name}", options, size="640x480", seconds=0.8)
    grown = tmp_path / name
    grown.write_bytes(small.read_bytes() + large.read_bytes())
    assert read_frames(grown, sampling).data.shape[1:] == (64, 96, 3)
    limits = VideoLimits(max_frame_pixels=640 * 480 - 1)
    for read in (read_frames, lambda path, _, **more: list(iter_frames(path, **more))):
        with pytest.raises(VideoError, match=rf"{name}: is too large: ") as caught:
            read(grown, sampling, limits=limits)
        assert "\n" not in str(caught.value)


ALONE = VideoLimits(containers=("avi", "mov", "mpegts"))


@pytest.mark.parametrize("target", [str, lambda path: path.read_bytes()])
def test_only_the_containers_of_the_limits_are_read(
    video: Path, ffmpeg_encode: FFmpegEncode, target: Callable[[Path], str | bytes]
) -> None:
    assert probe_video(target(video), limits=ALONE).num_frames == 25
    other = ffmpeg_encode("other.mkv", "-c:v libx264", seconds=0.4)
    assert probe_video(target(other)).num_frames == 10
    with pytest.raises(VideoError, match=r"is not in a format that is read here; convert it"):
        probe_video(target(other), limits=ALONE)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("list.m3u8", "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{video}\n#EXT-X-ENDLIST\n"),
        ("list.ffconcat", "ffconcat version 1.0\nfile {video.name}\n"),
        ("list.txt", "ffconcat version 1.0\nfile {video.name}\n"),
    ],
)
def test_a_list_of_files_is_read_only_where_it_may_be(
    ffmpeg_encode: FFmpegEncode, name: str, text: str
) -> None:
    """FFmpeg's defaults follow it."""
    video = ffmpeg_encode("other.ts", "-c:v libx264", seconds=0.4)
    file = video.parent / name
    file.write_text(text.format(video=video))
    assert probe_video(file).num_frames == 10
    with pytest.raises(VideoError, match=r"is not in a format that is read here; convert it"):
        probe_video(file, limits=ALONE)


def test_a_dash_manifest_is_named(tmp_path: Path) -> None:
    path = tmp_path / "stream.mpd"
    path.write_text('<?xml version="1.0"?>\n<MPD xmlns="urn:mpeg:dash:schema:mpd:2011"></MPD>\n')
    with serving(tmp_path) as (place, _):
        for source in (path, path.read_bytes(), f"{place}/stream.mpd?token=1"):
            with pytest.raises(
                VideoError, match=r"^[^\n]*: is a DASH manifest \(\.mpd\)"
            ) as caught:
                read_frames(source)
            assert "HLS (.m3u8), or download" in str(caught.value)
    path.write_text("no video")
    with pytest.raises(VideoError, match="is not a readable video"):
        read_frames(path)
