"""Each kind of live source on loopback: how its frames come, and by which clock."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest

from actionrnn.errors import VideoError
from actionrnn.options import LiveOptions, Transport
from actionrnn.video.live import Arrival, LiveSource
from actionrnn.video.live_clocks import Pace
from tests.pipes import filled_pipe
from tests.video.servers import (
    H264,
    Requests,
    RtspServer,
    encode,
    ffmpeg_sends,
    free_port,
    serving,
)

# shorter than a segment, as the default is for segments of six seconds
QUICK = LiveOptions(
    stall_seconds=0.4, give_up_seconds=2, first_wait_seconds=0.1, max_lag_seconds=0.3
)
SEGMENT_SECONDS = 0.6
NUM_SEGMENTS = 5


def follow(
    source: LiveSource, most_frames: int = 10_000, most_seconds: float = 15
) -> list[Arrival]:
    found: list[Arrival] = []
    end = time.monotonic() + most_seconds
    try:
        for arrival in source.frames():
            if arrival is not None:
                arrival.frame.rgb  # noqa: B018 a decoder's picture is kept for a while only
                found.append(arrival)
            if len(found) >= most_frames or time.monotonic() > end:
                break
    finally:
        source.close()
    return found


def times_of(found: list[Arrival]) -> np.ndarray:
    return np.array([arrival.frame.pts_seconds for arrival in found])


def arrivals_of(found: list[Arrival]) -> np.ndarray:
    return np.array([arrival.arrived for arrival in found])


@pytest.fixture(scope="module")
def segments(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished list of segments, 15 frames each."""
    folder = tmp_path_factory.mktemp("segments")
    options = f"{H264} -g 15 -f hls -hls_time {SEGMENT_SECONDS} -hls_list_size 0"
    encode(folder / "all.m3u8", options, seconds=NUM_SEGMENTS * SEGMENT_SECONDS)
    return folder


class GrowingList(Requests):
    """A live list: a segment more every 0.6 s, three at a time; at last it says that it is over."""

    began = 0.0
    fails_between = (0.0, 0.0)
    """Seconds from its begin on in which it does not answer."""
    ends = True

    def do_GET(self) -> None:  # noqa: N802
        age = time.monotonic() - type(self).began
        if self.fails_between[0] <= age < self.fails_between[1]:
            self.seen.append((f"failed {self.path}", {}))
            self.send_error(503)
            return
        if not self.path.endswith("live.m3u8"):
            super().do_GET()
            return
        self.seen.append((self.path, {}))
        count = min(NUM_SEGMENTS, 1 + int(age / SEGMENT_SECONDS))
        first = max(0, count - 3)
        lines = ["#EXTM3U", "#EXT-X-VERSION:3", "#EXT-X-TARGETDURATION:1"]
        lines.append(f"#EXT-X-MEDIA-SEQUENCE:{first}")
        for number in range(first, count):
            lines += [f"#EXTINF:{SEGMENT_SECONDS},", f"all{number}.ts"]
        if self.ends and count == NUM_SEGMENTS:
            lines.append("#EXT-X-ENDLIST")
        body = "\n".join([*lines, ""]).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/vnd.apple.mpegurl")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def test_a_list_of_segments_is_followed_on_one_connection_to_its_end(segments: Path) -> None:
    handler = type("Handler", (GrowingList,), {"began": time.monotonic()})
    with serving(segments, handler) as (address, seen):
        source = LiveSource(f"{address}/live.m3u8", QUICK)
        found = follow(source)
    assert len(found) == source.counts.frames == 15 * NUM_SEGMENTS
    assert (source.counts.connections, source.counts.dropped) == (1, 0)
    np.testing.assert_allclose(np.diff(times_of(found)), 0.04, atol=1e-3)
    assert len({arrival.frame.rgb.tobytes() for arrival in found}) == len(found)  # nothing twice
    wall = np.diff(arrivals_of(found))
    assert wall.sum() > 0.9 * len(found) / 25  # in real time, not in bursts
    requests = [path for path, _ in seen if path.endswith(".ts")]
    assert requests[:NUM_SEGMENTS] == [f"/all{number}.ts" for number in range(NUM_SEGMENTS)]


def test_a_list_whose_server_was_away_goes_on_where_it_was(segments: Path) -> None:
    """Its client begins anew with the segments that the list holds: those were seen."""
    handler = type(
        "Handler", (GrowingList,), {"began": time.monotonic(), "fails_between": (2.0, 2.9)}
    )
    with serving(segments, handler) as (address, _):
        source = LiveSource(f"{address}/live.m3u8", QUICK)
        found = follow(source)
    assert source.counts.connections > 1
    assert len({arrival.frame.rgb.tobytes() for arrival in found}) == len(found)
    assert 15 * (NUM_SEGMENTS - 1) <= len(found) <= 15 * NUM_SEGMENTS
    assert (np.diff(times_of(found)) >= 0).all()


def test_a_file_on_a_server_plays_once_in_real_time(tmp_path: Path) -> None:
    encode(tmp_path / "clip.mp4", f"{H264} -movflags faststart", seconds=0.8)
    with serving(tmp_path) as (address, _):
        source = LiveSource(f"{address}/clip.mp4", QUICK)
        found = follow(source)
    assert (len(found), source.counts.connections) == (20, 1)
    np.testing.assert_allclose(np.diff(times_of(found)), 0.04, atol=1e-3)
    assert 0.7 < np.ptp(arrivals_of(found)) < 3


def test_a_file_on_a_server_that_breaks_off_is_no_whole_one(tmp_path: Path) -> None:
    encode(tmp_path / "clip.mp4", f"{H264} -movflags faststart", seconds=8)

    class Cut(Requests):
        def copyfile(self, source: object, outputfile: object) -> None:
            outputfile.write(source.read(40_000))  # type: ignore[attr-defined]

    with serving(tmp_path, Cut) as (address, _):
        source = LiveSource(f"{address}/clip.mp4", QUICK)
        with pytest.raises(VideoError, match=r"was interrupted"):
            follow(source)
    assert source.counts.connections == 1  # it would begin anew


@pytest.mark.parametrize("rate", [5, 50])
def test_mjpeg_takes_the_time_of_its_arrival(rate: int) -> None:
    port = free_port()
    to = "-c:v mjpeg -f mpjpeg -content_type multipart/x-mixed-replace;boundary=ffmpeg -listen 1 "
    with ffmpeg_sends(f"{to} http://127.0.0.1:{port}/", rate=rate):
        source = LiveSource(f"http://127.0.0.1:{port}/", LiveOptions(first_wait_seconds=0.1))
        found = follow(source, most_frames=int(1.5 * rate) + 10)
    times, arrivals = times_of(found), arrivals_of(found)
    np.testing.assert_allclose(np.diff(times), np.diff(arrivals), atol=0.1)
    assert np.median(np.diff(times)[-rate:]) == pytest.approx(1 / rate, rel=0.5)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes here")
def test_raw_h264_from_a_pipe_takes_the_time_of_its_arrival(tmp_path: Path) -> None:
    pipe = tmp_path / "camera"
    os.mkfifo(pipe)
    with ffmpeg_sends(f"{H264} -y -f h264 {pipe}", seconds=2):
        found = follow(LiveSource(str(pipe), QUICK))
    assert len(found) == 50
    np.testing.assert_allclose(np.diff(times_of(found)), np.diff(arrivals_of(found)), atol=0.1)
    assert np.median(np.diff(times_of(found))[-25:]) == pytest.approx(0.04, rel=0.5)


@pytest.mark.parametrize("name", ["clip.h264", "clip.mjpeg"])
def test_a_raw_file_is_played_at_its_own_rate(tmp_path: Path, name: str) -> None:
    options = {"clip.h264": H264, "clip.mjpeg": "-c:v mjpeg"}[name]
    found = follow(LiveSource(str(encode(tmp_path / name, options, seconds=0.6)), QUICK))
    np.testing.assert_allclose(np.diff(times_of(found)), [0.04] * 14, atol=1e-3)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes here")
def test_a_pipe_without_a_picture_is_an_error(tmp_path: Path) -> None:
    """Not an end like any other: packets came, and none was a picture."""
    whole = encode(tmp_path / "whole.h264")
    nal_units = whole.read_bytes().split(b"\0\0\1")
    headers = [unit for unit in nal_units if unit and unit[0] & 31 in (7, 8)]
    content = b"".join(b"\0\0\1" + unit for unit in headers * 50)
    with (
        filled_pipe(tmp_path / "pipe", content) as pipe,
        pytest.raises(VideoError, match=r"pipe: .*(no|without a) picture|pipe: .*video"),
    ):
        follow(LiveSource(str(pipe), QUICK))


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_rtsp_by_tcp_and_udp(transport: Transport) -> None:
    options = LiveOptions(transport=transport, first_wait_seconds=0.1)
    with RtspServer() as server:
        source = LiveSource(f"rtsp://127.0.0.1:{server.port}/cam", options)
        found = follow(source, most_frames=30)
    assert len(found) == 30
    assert ("TCP" in server.transports[0]) == (transport == "tcp")
    assert np.median(np.diff(times_of(found))) == pytest.approx(0.04, abs=0.002)


def test_rtsp_by_multicast_is_asked_for() -> None:
    """Where the loopback interface passes none on, nothing more can be seen."""
    options = LiveOptions(transport="multicast", stall_seconds=0.5, give_up_seconds=0)
    with RtspServer() as server, pytest.raises(VideoError, match="no picture for"):
        follow(LiveSource(f"rtsp://127.0.0.1:{server.port}/cam", options))
    assert "multicast" in server.transports[0]


def test_input_options_reach_the_server(tmp_path: Path) -> None:
    encode(tmp_path / "clip.ts", seconds=0.4)
    given = {"user_agent": "camera viewer", "headers": "X-Key: 17\r\n", "cookies": "a=b; path=/"}
    with serving(tmp_path) as (address, seen):
        options = LiveOptions(input_options=given)
        assert len(follow(LiveSource(f"{address}/clip.ts", options))) == 10
    _, headers = seen[-1]
    assert (headers["user-agent"], headers["x-key"]) == ("camera viewer", "17")
    assert headers["cookie"] == "a=b"


@pytest.mark.parametrize(
    "address",
    [
        "rtsp://me:hunter2@127.0.0.1:{port}/cam",
        "http://127.0.0.1:{port}/cam?user=me&pwd=hunter2",
        "http://me:hun@ter2@127.0.0.1:{port}/list.m3u8",
        "http://me:hun/ter2@127.0.0.1:{port}/cam",
        "rtmp://127.0.0.1:{port}/live/hunter2",
        "tcp://127.0.0.1:{port}?key=hunter2",
    ],
)
def test_no_line_of_a_source_that_fails_shows_its_password(address: str) -> None:
    lines: list[str] = []
    options = LiveOptions(give_up_seconds=0.3, stall_seconds=0.3, first_wait_seconds=0.1)
    source = LiveSource(address.format(port=free_port()), options, report=lines.append)
    with pytest.raises(VideoError) as caught:
        follow(source)
    said = "\n".join([*lines, str(caught.value), source.name])
    assert not any(part in said for part in ("hunter2", "ter2", "hun"))


def test_the_pace_is_that_of_the_first_frame() -> None:
    pace = Pace()
    assert pace.due(50.0, now=100.0, source_waited=3.0) == 100.0
    assert pace.due(50.04, now=100.01, source_waited=0.0) == pytest.approx(100.04)
    # a decoder that is late is late: the frame was due before
    assert pace.due(50.08, now=101.0, source_waited=0.0) == pytest.approx(100.08)
    # a source that is late moves all that follows
    assert pace.due(50.12, now=104.12, source_waited=5.0) == pytest.approx(104.12)
    assert pace.due(50.16, now=104.13, source_waited=0.0) == pytest.approx(104.16)


@pytest.mark.parametrize("leap", [-1000.0, 1000.0])
def test_the_pace_begins_anew_where_the_clock_does(leap: float) -> None:
    pace = Pace()
    pace.due(2000.0, now=100.0, source_waited=0.0)
    assert pace.due(2000.0 + leap, now=100.04, source_waited=0.0) == pytest.approx(100.04)
