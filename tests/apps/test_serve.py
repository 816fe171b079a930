"""The HTTP API: the same numbers as in Python, within bounds, and nothing of the server's own."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import socket
import struct
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

import actionrnn
from actionrnn.apps.serving.analysis import Upload, make_playable
from actionrnn.apps.serving.limits import ServeLimits
from actionrnn.apps.serving.server import load_model
from actionrnn.apps.timeline_page import PAGES
from actionrnn.errors import VideoError
from actionrnn.features.worker import Isolation
from actionrnn.model.recognizer import Recognizer
from actionrnn.model.stream import Stream
from actionrnn.video.decode import iter_frames, read_frames
from actionrnn.video.frame import Frame
from actionrnn.video.probe import probe_video
from tests.apps.serving import PATIENT, Running, running
from tests.apps.test_cli import run_command

MakeBadVideo = Callable[..., Path]
pytestmark = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")


def jpeg(picture: np.ndarray) -> bytes:
    target = io.BytesIO()
    Image.fromarray(picture).save(target, "JPEG", quality=95)
    return target.getvalue()


def message(seconds: float, picture: np.ndarray) -> bytes:
    return struct.pack("<d", seconds) + jpeg(picture)


def huge_jpeg() -> bytes:
    """A few bytes whose head says that they are 60,000 x 60,000 pixels."""
    content = jpeg(np.zeros((8, 8, 3), np.uint8))
    place = content.index(b"\xff\xc0") + 5
    return content[:place] + struct.pack(">HH", 60_000, 60_000) + content[place + 4 :]


def wait_until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.02)


def test_classify_gives_the_numbers_of_python(
    server: Running, model: Recognizer, clip: Path
) -> None:
    answer = server.post("/classify?top=2", clip).json()
    assert answer.pop("took_seconds") > 0
    expected = model.classify(clip).top(2).to_dict()
    assert answer == expected | {"path": clip.name}


def test_timeline_gives_the_numbers_of_python(
    server: Running, model: Recognizer, clip: Path
) -> None:
    answer = server.post("/timeline", clip).json()
    expected = model.timeline(clip)
    assert answer["labels"] == list(expected.labels)
    assert [step["pts_seconds"] for step in answer["steps"]] == pytest.approx(expected.pts_seconds)
    scores = [step["scores"] for step in answer["steps"]]
    np.testing.assert_allclose(scores, expected.scores, atol=2e-2)  # bfloat16, frame by frame
    assert [s["label"] for s in answer["segments"]] == [s.label for s in expected.segments()]


@pytest.mark.parametrize(
    ("format", "begin", "kind"),
    [
        ("csv", "pts_seconds,segment,blue,green,red\n", "text/csv"),
        ("srt", "1\n00:00:00,000 --> ", "application/x-subrip"),
        ("vtt", "WEBVTT\n", "text/vtt"),
    ],
)
def test_timeline_formats(server: Running, clip: Path, format: str, begin: str, kind: str) -> None:
    answer = server.post(f"/timeline?format={format}", clip)
    assert answer.text.startswith(begin)
    assert answer.headers["content-type"].startswith(kind)
    whole = server.post("/timeline?format=all", clip).json()
    assert whole["files"][format] == answer.text
    assert whole["prediction"]["labels"] == server.post("/classify", clip).json()["labels"]


def test_what_browsers_cannot_play_is_converted(
    server: Running, clip: Path, tmp_path: Path
) -> None:
    answer = server.post("/playable", clip)
    assert answer.headers["content-type"] == "video/mp4"
    (tmp_path / "played.mp4").write_bytes(answer.content)
    found, expected = read_frames(tmp_path / "played.mp4"), read_frames(clip)
    np.testing.assert_allclose(found.pts_seconds, expected.pts_seconds, atol=1e-3)
    assert np.abs(found.data.astype(int) - expected.data).mean() < 8
    assert probe_video(tmp_path / "played.mp4").codec == "h264"


def test_labels_health_and_description(server: Running, model: Recognizer) -> None:
    told = server.get("/labels").json()
    assert told["labels"] == list(model.labels)
    assert (told["rate_fps"], told["can_stream"]) == (4.0, True)
    assert server.get("/health").json() == {"status": "ok", "version": actionrnn.__version__}
    paths = server.get("/openapi.json").json()["paths"]
    assert set(paths) == {"/classify", "/timeline", "/playable", "/health", "/labels"}
    assert server.get("/docs").status_code == 404


def test_the_page_loads_nothing_foreign(server: Running) -> None:
    page = server.get("/")
    assert "default-src 'self'" in page.headers["content-security-policy"]
    scripts = sorted(file.name for file in PAGES.glob("*.js"))
    assert {"app.js", "webcam.js"} <= set(scripts)
    for name in ("", *(f"page/{script}" for script in scripts)):
        text = server.get(f"/{name}").text
        assert "//" not in text.replace("// ", "").replace("http://www.w3.org/2000/svg", ""), name
        assert "innerHTML" not in text
    assert server.get("/page/style.css").text.count("url(") == 0


def test_a_bad_video_is_one_line_without_our_folders(
    server: Running, bad_video: tuple[Path, str]
) -> None:
    path, reason = bad_video
    if not path.exists():
        pytest.skip("cannot be uploaded")
    if "only audio" in reason:  # a .wav inside
        reason = "is not in a format that is read here"
    answer = server.post("/classify", path)
    assert answer.status_code == 422
    problem = answer.json()["error"]
    assert problem.startswith(path.name) and reason in problem
    assert tempfile.gettempdir() not in problem and "\n" not in problem


def test_nothing_is_left_behind(
    server: Running, clip: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert server.post("/classify", clip).status_code == 200
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video")
    assert server.post("/classify", broken).status_code == 422
    broken.unlink()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "kwargs",
    [
        {"data": {"file": "/etc/passwd"}},
        {"data": {"path": "/etc/passwd"}},
        {"params": {"file": "/etc/passwd"}, "files": {"other": b"x"}},
        {"json": {"file": "/etc/passwd"}},
    ],
)
def test_a_path_is_no_video(server: Running, kwargs: dict[str, Any]) -> None:
    answer = httpx.post(f"{server.address}/classify", **PATIENT, **kwargs)
    assert answer.status_code == 422
    assert "root:" not in answer.text and "-F file=@clip.mp4" in answer.json()["error"]


def test_only_one_file_is_taken(server: Running, clip: Path) -> None:
    several = [("file", ("a.avi", clip.read_bytes())), ("more", ("b.avi", bytes(10)))]
    answer = httpx.post(f"{server.address}/classify", files=several, **PATIENT)
    assert answer.status_code == 400
    assert "Too many files" in answer.json()["error"]


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "x\x1b[2J.avi", "", "a/b.avi"])
def test_a_file_name_is_only_shown(server: Running, clip: Path, name: str) -> None:
    with clip.open("rb") as file:
        answer = httpx.post(f"{server.address}/classify", files={"file": (name, file)}, **PATIENT)
    if not name:  # then it is no file
        assert answer.status_code == 400
        return
    shown = answer.json()["path"]
    assert answer.status_code == 200
    assert "/" not in shown and "\x1b" not in shown


def test_the_pages_files_are_all_that_is_read(server: Running) -> None:
    for path in ("/page/../app.py", "/page/%2e%2e/app.py", "/page/..%2fapp.py", "/etc/passwd"):
        with socket.create_connection(("127.0.0.1", int(server.address.rsplit(":", 1)[1]))) as raw:
            raw.sendall(
                f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()
            )
            reply = b"".join(iter(lambda: raw.recv(65536), b""))
        assert reply.startswith(b"HTTP/1.1 404"), path


def test_uploads_are_bounded_while_they_come_in(model: Recognizer, clip: Path) -> None:
    with running(model, ServeLimits(upload_mb=0.001)) as server:
        answer = server.post("/classify", clip)  # its length is declared
        assert answer.status_code == 413
        assert answer.json()["error"].startswith("the upload is larger than 0.001 MB")
        sent = 0

        def endless() -> Iterator[bytes]:
            nonlocal sent
            yield b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
            while sent < 50_000_000:
                sent += 10_000
                yield bytes(10_000)

        kind = {"content-type": "multipart/form-data; boundary=x"}
        try:
            answer = httpx.post(
                f"{server.address}/classify", content=endless(), headers=kind, timeout=30
            )
            assert answer.status_code == 413
        except httpx.TransportError:  # it hung up before all was sent
            pass
        assert sent < 50_000_000
        assert server.get("/health").status_code == 200


def test_a_slow_upload_is_ended(model: Recognizer) -> None:
    with running(model, ServeLimits(upload_seconds=0.3)) as server:
        port = int(server.address.rsplit(":", 1)[1])
        with socket.create_connection(("127.0.0.1", port)) as raw:
            raw.sendall(
                b"POST /classify HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n"
                b"Content-Type: multipart/form-data; boundary=x\r\n\r\n--x\r\n"
            )
            raw.settimeout(20)
            assert raw.recv(65536).startswith(b"HTTP/1.1 408")


def test_long_and_large_videos_are_refused(model: Recognizer, clip: Path) -> None:
    limits = ServeLimits(video_seconds=0.5)
    with running(model, limits) as server:
        for path in ("/classify", "/playable"):
            assert "is 1 s long, 0.5 s are read" in server.post(path, clip).json()["error"]
    with running(model, ServeLimits(frame_megapixels=0.001)) as server:
        assert "64 x 48" in server.post("/classify", clip).json()["error"]
    with running(model, ServeLimits(request_seconds=1e-6)) as server:
        assert "takes longer than" in server.post("/classify", clip).json()["error"]


@pytest.mark.parametrize("path", ["/classify", "/playable"])
def test_a_video_that_grows_midway_is_held_to_the_bounds(
    model: Recognizer, tmp_path: Path, path: str
) -> None:
    grown = tmp_path / "grown.mjpeg"
    small, large = (jpeg(np.zeros((size, size, 3), np.uint8)) for size in (64, 640))
    grown.write_bytes(20 * small + 20 * large)
    with running(model, ServeLimits(frame_megapixels=0.1)) as server:
        answer = server.post(path, grown)
        assert answer.status_code == 422
        assert "grown.mjpeg: is too large" in answer.json()["error"]


def test_a_video_that_does_not_say_how_long_it_is_is_bounded(
    model: Recognizer, tmp_path: Path
) -> None:
    path = tmp_path / "silent.mjpeg"
    path.write_bytes(25 * jpeg(np.zeros((64, 64, 3), np.uint8)))
    with running(model, ServeLimits(video_seconds=0.5)) as server:
        for route in ("/classify", "/playable"):
            assert "s long, 0.5 s are read" in server.post(route, path).json()["error"]


def test_what_is_sent_for_a_browser_is_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(_: Isolation, __: object, ___: Path, target: Path, *____: object) -> Iterator[Any]:
        target.write_bytes(bytes(2_000_000))
        yield "end", {}

    monkeypatch.setattr(Isolation, "messages", write)
    limits = ServeLimits(upload_mb=1)
    upload = Upload(tmp_path / "video", "clip.avi", limits, threading.Event())
    with pytest.raises(VideoError, match=r"clip\.avi: has 2 MB as \.mp4, 1 MB are sent"):
        make_playable(upload)


def test_a_token_is_needed_where_one_is_set(model: Recognizer, clip: Path) -> None:
    with running(model, token="s3cret") as server:
        assert server.get("/").status_code == server.get("/health").status_code == 200
        for path in ("/labels", "/labels?token=wrong", "/openapi.json"):
            assert server.get(path).status_code == 401
        assert server.post("/classify", clip).status_code == 401
        assert (
            server.post("/classify", clip, headers={"Authorization": "Bearer no"}).status_code
            == 401
        )
        good = {"Authorization": "Bearer s3cret"}
        assert server.post("/classify", clip, headers=good).status_code == 200
        assert server.get("/labels?token=s3cret").status_code == 200
        with pytest.raises(ConnectionClosed), connect(stream_of(server)) as live:
            live.recv(timeout=20)
        with connect(stream_of(server) + "?token=s3cret") as live:
            live.send(message(0.0, np.zeros((8, 8, 3), np.uint8)))
            assert "steps" in json.loads(live.recv(timeout=20))


def stream_of(server: Running) -> str:
    return server.address.replace("http", "ws") + "/stream"


def test_foreign_pages_and_foreign_names_are_refused(server: Running, clip: Path) -> None:
    assert (
        server.post("/classify", clip, headers={"Origin": "http://evil.example"}).status_code == 403
    )
    assert server.get("/labels", headers={"Host": "evil.example"}).status_code == 400
    own = {"Origin": server.address}
    assert server.post("/classify", clip, headers=own).status_code == 200


def test_a_visitor_too_many_is_told_to_come_back(model: Recognizer, clip: Path) -> None:
    with running(model, ServeLimits(visitors=1)) as server:
        with connect(stream_of(server)) as live:
            live.send(message(0.0, np.zeros((8, 8, 3), np.uint8)))
            live.recv(timeout=20)
            answer = server.post("/classify", clip)
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
            with pytest.raises(ConnectionClosed) as closed, connect(stream_of(server)) as other:
                other.recv(timeout=20)
            assert closed.value.rcvd is not None and closed.value.rcvd.code == 1013
        # it has gone: its place is free
        wait_until(lambda: server.post("/classify", clip).status_code == 200)


def test_who_goes_away_frees_the_place_and_stops_the_work(
    model: Recognizer, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, ended = threading.Event(), threading.Event()

    def endless(self: Isolation, path: Path, *_: object) -> dict[str, Any]:
        begun.set()
        try:
            with silent_line() as line:
                self.read(line, 1, path, time.monotonic() + 60)
        finally:
            ended.set()
        raise AssertionError("it was given up")

    monkeypatch.setattr(Isolation, "decode", endless)
    with running(model, ServeLimits(visitors=1)) as server:
        with pytest.raises(httpx.ReadTimeout), clip.open("rb") as file:
            httpx.post(f"{server.address}/classify", files={"file": file}, timeout=1.0)
        assert begun.is_set()
        assert ended.wait(20)
        monkeypatch.undo()
        wait_until(lambda: server.post("/classify", clip).status_code == 200)


@contextlib.contextmanager
def silent_line() -> Iterator[socket.socket]:
    """To a decoder that says nothing."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(0.1)
        yield ours


def test_the_webcam_gives_the_numbers_of_a_stream(
    server: Running, model: Recognizer, clip: Path
) -> None:
    stream, found, expected = model.stream(), [], []
    with connect(stream_of(server)) as live, connect(stream_of(server)) as other:
        for frame in iter_frames(clip):
            sent = message(frame.pts_seconds, frame.data)
            live.send(sent)
            found += json.loads(live.recv(timeout=20))["steps"]
            other.send(message(frame.pts_seconds, 255 - frame.data))  # a state of its own
            other.recv(timeout=20)
            seen = np.asarray(Image.open(io.BytesIO(sent[8:])))
            scores = stream.push(Frame.from_array(seen, frame.pts_seconds))
            expected += zip(stream.pts_seconds.tolist(), scores, strict=True)
    assert len(found) == len(expected) > 1
    for step, (seconds, scores) in zip(found, expected, strict=True):
        assert step["pts_seconds"] == pytest.approx(seconds)
        assert step["scores"] == pytest.approx(scores.tolist(), abs=1e-5)


@pytest.mark.parametrize(
    ("sent", "problem"),
    [
        (b"", "too short for a time"),
        (struct.pack("<d", 0.0) + b"GIF89a no jpeg", "is not a JPEG"),
        (struct.pack("<d", float("nan")) + jpeg(np.zeros((8, 8, 3), np.uint8)), "is not a time"),
        (message(0.0, np.zeros((3200, 3200, 3), np.uint8)), "pixels are too many"),
        (message(0.0, np.zeros((1, 200, 3), np.uint8)), "200 x 1 pixels are too long"),
        (message(0.0, np.zeros((200, 1, 3), np.uint8)), "1 x 200 pixels are too long"),
        (struct.pack("<d", 0.0) + huge_jpeg(), "pixels are too many"),
        ("text", "binary messages"),
    ],
)
def test_nonsense_from_a_webcam_is_answered_in_one_line(
    server: Running, sent: bytes | str, problem: str
) -> None:
    with connect(stream_of(server)) as live:
        live.send(sent)
        assert problem in json.loads(live.recv(timeout=20))["error"]
        with pytest.raises(ConnectionClosed):
            live.recv(timeout=20)


def test_a_webcam_whose_clock_leaps_is_not_worked_on(server: Running) -> None:
    picture = np.zeros((8, 8, 3), np.uint8)
    with connect(stream_of(server)) as live:
        live.send(message(0.0, picture))
        assert len(json.loads(live.recv(timeout=20))["steps"]) == 1
        live.send(message(59.0, picture))
        assert len(json.loads(live.recv(timeout=20))["steps"]) == 236
        live.send(message(59.0 + 61.0, picture))  # else 244 steps, or 100,000
        assert "more than 60 s later" in json.loads(live.recv(timeout=20))["error"]


@pytest.mark.parametrize("error", [RuntimeError, KeyError])
def test_a_webcam_is_told_when_the_server_fails(
    server: Running, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    def fail(*_: object) -> None:
        raise error("out of memory in /srv/secret")

    monkeypatch.setattr(Stream, "push", fail)
    with connect(stream_of(server)) as live:
        live.send(message(0.0, np.zeros((8, 8, 3), np.uint8)))
        problem = json.loads(live.recv(timeout=20))["error"]
        assert "the server failed" in problem and "secret" not in problem


def test_an_answer_that_fails_is_json_without_our_folders(
    server: Running, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("out of memory in /srv/secret")

    monkeypatch.setattr(Recognizer, "timeline", fail)
    answer = server.post("/classify", clip)
    assert answer.status_code == 500
    assert "the server failed" in answer.json()["error"] and "secret" not in answer.text


@pytest.mark.parametrize("path", ["/", "/health", "/labels", "/page/app.js", "/nowhere"])
def test_every_answer_has_the_headers_of_the_page(server: Running, path: str) -> None:
    headers = server.get(path).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert "default-src 'self'" in headers["content-security-policy"]


def test_a_webcam_message_is_bounded_and_a_silent_one_is_ended(model: Recognizer) -> None:
    limits = ServeLimits(webcam_idle_seconds=0.3, webcam_message_mb=0.01)
    with running(model, limits) as server:
        with connect(stream_of(server)) as live:
            assert "no picture came for 0.3 s" in json.loads(live.recv(timeout=20))["error"]
        with connect(stream_of(server)) as live:
            live.send(bytes(20_000))
            with pytest.raises(ConnectionClosed):
                live.recv(timeout=20)


def test_a_model_that_needs_the_whole_clip_says_so(run: Any, clip: Path) -> None:
    with running(run.model) as server:
        assert server.get("/labels").json()["can_stream"] is False
        with connect(stream_of(server)) as live:
            assert "cannot stream" in json.loads(live.recv(timeout=20))["error"]


def test_a_port_that_is_taken_is_one_line(streaming_model: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run_command("serve", "--model", streaming_model, "--port", port)
    assert done.exit_code == 1
    assert done.stderr.startswith(f"error: 127.0.0.1:{port} cannot be served on (")


def test_wrong_options_are_one_line(streaming_model: Path) -> None:
    done = run_command("serve", "--model", streaming_model, "--upload-mb", -1)
    assert (done.exit_code, done.stderr.count("\n")) == (1, 1)
    assert "upload_mb" in done.stderr
    done = run_command("serve", "--model", "missing.safetensors", "--port", 0)
    assert done.exit_code == 1 and "no such model file" in done.stderr


def test_the_extra_is_named_where_it_is_missing(
    streaming_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    done = run_command("serve", "--model", streaming_model, "--port", 0)
    assert (done.exit_code, done.stderr.count("\n")) == (1, 1)
    assert "pip install 'actionrnn[serve]'" in done.stderr


def test_without_a_model_it_takes_the_demos(
    streaming_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Path] = []

    def make(output: Path) -> None:
        made.append(output)
        output.mkdir(parents=True)
        shutil.copy(streaming_model, output / "model.safetensors")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("actionrnn.apps.demo.run_demo", make)
    for _ in range(2):  # the second time it is there
        assert load_model(None, None).labels == ("blue", "green", "red")
    assert made == [Path("runs/demo")]
