"""Servers on loopback for the tests of addresses: http, lists of segments, and RTSP."""

from __future__ import annotations

import contextlib
import functools
import http.server
import re
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import imageio_ffmpeg

FFMPEG = imageio_ffmpeg.get_ffmpeg_exe()
PICTURE = "-f lavfi -i testsrc2=size=160x120:rate={rate}:duration={seconds}"
H264 = "-c:v libx264 -preset ultrafast -tune zerolatency -g 5 -pix_fmt yuv420p"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def encode(
    path: Path, options: str = H264, *, rate: float | str = 25, seconds: float = 1.0
) -> Path:
    """A moving picture."""
    picture = PICTURE.format(rate=rate, seconds=seconds)
    command = [FFMPEG, "-v", "error", "-y", *picture.split(), *options.split(), str(path)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    return path


@contextlib.contextmanager
def ffmpeg_sends(to: str, *, seconds: float = 20, rate: int = 25) -> Iterator[None]:
    """An ffmpeg that sends a moving picture in real time."""
    picture = PICTURE.format(rate=rate, seconds=seconds)
    command = [FFMPEG, "-v", "error", "-re", *picture.split(), *to.split()]
    quiet = subprocess.DEVNULL
    sender = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=quiet, stderr=quiet)
    try:
        yield
    finally:
        sender.kill()
        sender.wait()


class Requests(http.server.SimpleHTTPRequestHandler):
    """Serves a folder whole, without ranges; remembers what was asked for."""

    seen: list[tuple[str, dict[str, str]]]

    def do_GET(self) -> None:
        self.seen.append((self.path, {k.lower(): v for k, v in self.headers.items()}))
        super().do_GET()

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextlib.contextmanager
def serving(
    folder: Path, handler: type[Requests] = Requests
) -> Iterator[tuple[str, list[tuple[str, dict[str, str]]]]]:
    """A folder over http: its address, and the requests so far, each with its headers."""
    seen: list[tuple[str, dict[str, str]]] = []
    named = type("Handler", (handler,), {"seen": seen})
    make = functools.partial(named, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), make) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", seen
        finally:
            server.shutdown()


class RtspServer:
    """One H.264 picture for one client at a time, over the transport that it asks for (RFC 2326).

    ffmpeg makes the RTP packets; over TCP they are passed on between the answers (section 10.12).
    """

    def __init__(self) -> None:
        self.transports: list[str] = []
        self._to = ""
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listening.getsockname()[1])
        self._stack = contextlib.ExitStack()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> RtspServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listening.close()
        self._stack.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            connection, _ = self._listening.accept()
            self._stack.enter_context(connection)
            received = b""
            while block := connection.recv(4096):
                received += block
                while b"\r\n\r\n" in received:
                    request, _, received = received.partition(b"\r\n\r\n")
                    self._answer(connection, request.decode())

    def _answer(self, connection: socket.socket, request: str) -> None:
        lines, body = [], ""
        method, number = request.split()[0], re.findall(r"CSeq: *(\d+)", request)[0]
        if method == "OPTIONS":
            lines.append("Public: DESCRIBE, SETUP, PLAY, TEARDOWN")
        if method == "DESCRIBE":
            body = (
                "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=test\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\n"
                "m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=control:track1\r\n"
            )
            lines += ["Content-Type: application/sdp", f"Content-Length: {len(body)}"]
        if method == "SETUP":
            asked = re.findall(r"Transport: *([^\r]*)", request)[0]
            self.transports.append(asked)
            lines.append(f"Transport: {self._set_up(asked, connection)}")
        lines.append("Session: 1")
        head = "\r\n".join(["RTSP/1.0 200 OK", f"CSeq: {number}", *lines])
        connection.sendall(f"{head}\r\n\r\n{body}".encode())
        if method == "PLAY" and self._to:
            self._stack.enter_context(ffmpeg_sends(f"{H264} -bsf:v dump_extra -f rtp {self._to}"))

    def _set_up(self, asked: str, connection: socket.socket) -> str:
        if "TCP" in asked:
            self._pass_on(
                lambda packet: connection.sendall(b"$\0" + len(packet).to_bytes(2, "big") + packet)
            )
            return "RTP/AVP/TCP;unicast;interleaved=0-1"
        if "multicast" in asked:
            return "RTP/AVP;multicast;destination=239.255.42.42;port=5002-5003;ttl=0"  # to nobody
        port = int(re.findall(r"client_port=(\d+)", asked)[0])
        self._to = f"rtp://127.0.0.1:{port}"
        return f"RTP/AVP;unicast;client_port={port}-{port + 1};server_port={free_port() & ~1}-1"

    def _pass_on(self, send: Callable[[bytes], object]) -> None:
        """Have ffmpeg's packets sent otherwise than it can."""
        packets = self._stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        packets.bind(("127.0.0.1", 0))
        packets.settimeout(10)
        self._to = f"rtp://127.0.0.1:{packets.getsockname()[1]}"

        def work() -> None:
            with contextlib.suppress(OSError):
                while packet := packets.recv(65536):
                    send(packet)

        threading.Thread(target=work, daemon=True).start()
