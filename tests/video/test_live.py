"""Live sources: loopback streams that are cut, webcams, files in real time, broken clocks."""

from __future__ import annotations

import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import numpy as np
import pytest

from actionrnn.errors import VideoError
from actionrnn.options import LiveOptions
from actionrnn.video.live import Arrival, LiveSource
from actionrnn.video.live_clocks import LagGuard, SteadyClock

QUICK = LiveOptions(
    stall_seconds=2, give_up_seconds=8, first_wait_seconds=0.1, longest_wait_seconds=0.4
)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def serve() -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Start an ffmpeg that serves a moving picture as MPEG-TS over TCP in real time."""
    running: list[subprocess.Popen[bytes]] = []

    def start(port: int, seconds: float = 20, size: str = "160x120") -> subprocess.Popen[bytes]:
        source = f"-re -f lavfi -i testsrc2=size={size}:rate=25:duration={seconds}"
        codec = "-c:v libx264 -preset ultrafast -tune zerolatency -g 10 -pix_fmt yuv420p"
        command = f"-v error {source} {codec} -f mpegts tcp://127.0.0.1:{port}?listen=1"
        server = subprocess.Popen(
            [imageio_ffmpeg.get_ffmpeg_exe(), *command.split()], stderr=subprocess.DEVNULL
        )
        running.append(server)
        return server

    yield start
    for server in running:
        server.kill()
        server.wait()


def collect(
    source: LiveSource, until: Callable[[list[Arrival]], bool], most_seconds: float = 20
) -> list[Arrival]:
    found: list[Arrival] = []
    end = time.monotonic() + most_seconds
    try:
        for arrival in source.frames():
            if arrival is not None:
                found.append(arrival)
            if until(found) or time.monotonic() > end:
                break
    finally:
        source.close()
    return found


def test_a_stream_that_is_cut_and_comes_back(serve: Callable[..., Any]) -> None:
    port, lines = free_port(), list[str]()
    server = serve(port)
    source = LiveSource(f"tcp://127.0.0.1:{port}", QUICK, report=lines.append)

    def go_on(found: list[Arrival]) -> bool:
        if len(found) == 15 and server.poll() is None:
            server.kill()
            serve(port, size="320x240")
        return sum(arrival.connection > found[0].connection for arrival in found) >= 15

    found = collect(source, go_on)
    times = np.array([arrival.frame.pts_seconds for arrival in found])
    assert len({arrival.connection for arrival in found}) == 2
    assert (np.diff(times) >= 0).all()
    assert np.diff(times).max() < 1  # the interruption leaves no hole
    assert {arrival.frame.rgb.shape for arrival in found} == {(120, 160, 3), (240, 320, 3)}
    assert any("opening it again" in line for line in lines)


def test_a_source_that_never_answers_is_given_up_in_one_line() -> None:
    options = LiveOptions(give_up_seconds=0.5, first_wait_seconds=0.1)
    source = LiveSource(f"tcp://127.0.0.1:{free_port()}", options)
    begin = time.monotonic()
    with pytest.raises(
        VideoError, match=r"no picture for \d+ s \(cannot be opened.*refused.*check the source"
    ):
        collect(source, lambda found: False)
    assert time.monotonic() - begin < 10


def test_a_server_that_sends_garbage_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        stop = threading.Event()

        def send() -> None:
            while not stop.is_set():
                try:
                    connection, _ = server.accept()
                    with connection:
                        connection.sendall(np.random.default_rng(0).bytes(200_000))
                except OSError:
                    pass

        sender = threading.Thread(target=send, daemon=True)
        sender.start()
        options = LiveOptions(stall_seconds=1, give_up_seconds=1, first_wait_seconds=0.2)
        source = LiveSource(f"tcp://127.0.0.1:{server.getsockname()[1]}", options)
        with pytest.raises(VideoError, match="no picture for"):
            collect(source, lambda found: False)
        stop.set()
    sender.join(timeout=5)


def test_a_server_that_falls_silent_is_opened_again() -> None:
    """It accepts, and sends nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        options = LiveOptions(stall_seconds=0.3, give_up_seconds=1, first_wait_seconds=0.1)
        source = LiveSource(f"tcp://127.0.0.1:{server.getsockname()[1]}", options)
        with pytest.raises(VideoError, match="no picture for"):
            collect(source, lambda found: False)
    assert source.counts.connections >= 2


def test_a_file_is_played_in_real_time_to_its_end(clips: Path) -> None:
    source = LiveSource(str(clips / "red" / "ann_red.avi"))
    begin = time.monotonic()
    found = collect(source, lambda found: False)
    assert len(found) + source.counts.dropped == 12
    assert time.monotonic() - begin >= 11 / 12  # 12 frames, 12 a second
    assert found[0].frame.rgb.shape == (48, 64, 3)


def test_a_file_that_is_missing_is_said_at_once() -> None:
    with pytest.raises(VideoError, match="no such file"):
        LiveSource("missing.mp4")


def test_who_is_too_slow_sees_fewer_frames_but_no_old_ones(clips: Path) -> None:
    options = LiveOptions(max_lag_seconds=0.2)
    source = LiveSource(str(clips / "red" / "ann_red.avi"), options)
    delays = []
    for arrival in source.frames():
        if arrival is not None:
            delays.append(time.monotonic() - arrival.arrived)
            time.sleep(0.3)
    assert source.counts.dropped > 0
    assert len(delays) + source.counts.dropped == source.counts.frames == 12
    assert np.median(delays) < 0.45  # waited at most 0.2 s, and while this thread slept


def test_a_camera_is_opened_again_when_it_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    import cv2

    opened = []

    class Camera:
        def __init__(self, number: int) -> None:
            opened.append(number)
            self.left = 3

        def isOpened(self) -> bool:  # noqa: N802
            return len(opened) != 2

        def read(self) -> tuple[bool, Any]:
            self.left -= 1
            time.sleep(0.01)
            return self.left >= 0, np.full((4, 6, 3), (1, 2, 3), np.uint8)

        def release(self) -> None:
            pass

    monkeypatch.setattr(cv2, "VideoCapture", Camera)
    lines: list[str] = []
    source = LiveSource("camera:7", QUICK, report=lines.append)
    found = collect(source, lambda found: len(found) >= 6)
    assert opened[:3] == [7, 7, 7]
    assert found[0].frame.rgb[0, 0].tolist() == [3, 2, 1]  # OpenCV's BGR
    assert "unplugged" in lines[0] and "no such camera" in lines[1]


def test_no_camera_is_one_line() -> None:
    options = LiveOptions(give_up_seconds=0, first_wait_seconds=0.1)
    with pytest.raises(VideoError, match=r"camera:99: no picture .*no such camera"):
        collect(LiveSource("camera:99", options), lambda found: False)


def test_the_clock_goes_on_over_every_jump() -> None:
    clock = SteadyClock()
    assert [clock.steady(t) for t in (5.0, 5.1, 5.2)] == [5.0, 5.1, 5.2]
    assert clock.steady(5.15) == 5.2  # a little disorder stands still
    assert clock.steady(5.3) == pytest.approx(5.3)
    assert clock.steady(0.0) == pytest.approx(5.4)  # it begins again
    assert clock.steady(0.1) == pytest.approx(5.5)
    assert clock.steady(1000.0) == pytest.approx(5.6)  # it leaps
    assert clock.steady(1000.1) == pytest.approx(5.7)
    clock.restart()
    assert clock.steady(77.0) == pytest.approx(5.8)
    assert clock.steady(77.1) == pytest.approx(5.9)


def test_a_decoder_that_is_late_leaves_out_what_it_may() -> None:
    guard = LagGuard(0.5)
    assert guard.lag(10.0, now=100.0) == 0
    assert guard.lag(11.0, now=100.5) == 0  # earlier than ever: the new measure
    assert guard.lag(12.0, now=102.5) == pytest.approx(1.0)
    assert guard.level(0.1, before_key_frame=False) == "DEFAULT"
    assert guard.level(1.0, before_key_frame=False) == "NONREF"
    assert guard.level(2.0, before_key_frame=False) == "NONKEY"
    assert guard.level(0.1, before_key_frame=False) == "NONKEY"  # what refers to it is missing
    assert guard.level(0.1, before_key_frame=True) == "DEFAULT"
