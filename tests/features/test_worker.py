"""Decoding in a process of its own: the same features, within bounds, whatever the video does."""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
import pickle
import signal
import struct
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actionrnn.config import Sampling
from actionrnn.errors import VideoError
from actionrnn.features import worker
from actionrnn.features.backbone import Backbone
from actionrnn.features.decoder_messages import MessageError, Receiver
from actionrnn.features.extract import encode_videos
from actionrnn.features.pipeline import Pipeline
from actionrnn.features.provenance import Features
from actionrnn.features.video_parts import VideoPart
from actionrnn.features.worker import FrameSpec, Isolation, decode_in_messages
from actionrnn.options import VideoLimits
from actionrnn.processes import prepare
from tests.features import hostile_decoder

EVERY = Sampling(rate_fps=12)
BOUNDS = Isolation(
    most_seconds=60,
    most_video_seconds=60,
    limits=VideoLimits(max_frame_pixels=10**6),
    most_memory_bytes=2 * 10**9,
)


def encode(path: Path, backbone: Backbone, isolation: Isolation) -> Features:
    pipeline = Pipeline([VideoPart("clip", path)], backbone, EVERY, isolation.decode)
    (result,) = [found for found in pipeline.run() if found is not None]
    if isinstance(result[1], VideoError):
        raise result[1]
    return result[1]


@pytest.fixture
def clip(clips: Path) -> Path:
    return clips / "red" / "ann_red.avi"


def test_the_features_are_the_same(clip: Path, tiny_backbone: Backbone) -> None:
    [(_, expected)] = encode_videos([VideoPart("clip", clip)], tiny_backbone, EVERY)
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


@pytest.mark.parametrize(
    ("step", "error"),
    [
        ("multiprocessing.process.BaseProcess.start", OSError(errno.EAGAIN, "no")),
        ("multiprocessing.process.BaseProcess.start", EOFError("unexpected EOF")),
        ("socket.socketpair", OSError(errno.EMFILE, "no")),
    ],
)
def test_a_decoder_that_cannot_be_started_is_an_error(
    clip: Path,
    tiny_backbone: Backbone,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
    error: Exception,
) -> None:
    def refuse(*_: object) -> None:
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(step, refuse)
        with pytest.raises(VideoError, match="no process can be started to decode it"):
            encode(clip, tiny_backbone, BOUNDS)
    encode(clip, tiny_backbone, BOUNDS)


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


class Attack:
    """Unpickling it makes a file."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> Any:
        return (open, (str(self.file), "w"))


def framed(described: object, body: bytes = b"") -> bytes:
    """A message as a decoder sends it."""
    text = json.dumps(described).encode()
    return struct.pack("<I", len(text)) + text + body


def begin(*times: float) -> bytes:
    return framed({"kind": "begin", "num_frames": len(times)}, np.array(times).tobytes())


def squares(*places: object) -> bytes:
    return framed({"kind": "squares", "steps": places}, bytes(len(places) * CROP * CROP * 3))


CROP = 32
END = framed({"kind": "end", "content": {}})
WHOLE = begin(0.0, 0.5) + squares([0, 1], [1, 2]) + END


def hear(content: bytes, tmp_path: Path, *, stays: bool = False, **changes: Any) -> int:
    """How many squares were taken of a decoder that sends this."""
    bounds = replace(BOUNDS, **changes)
    path = tmp_path / "clip.avi"
    num_squares = 0
    receiver = bounds.messages(hostile_decoder.work, path, content, stays, crop=CROP)
    for kind, taken in receiver:
        if kind == "squares":
            num_squares += len(taken[0])
    return num_squares


@pytest.fixture
def taken_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """Decoders that send what they are told to."""
    monkeypatch.setattr(worker, "_work", hostile_decoder.say)


@pytest.mark.usefixtures("taken_over")
def test_what_a_decoder_says_is_taken(tmp_path: Path) -> None:
    assert hear(WHOLE, tmp_path) == 2
    assert hear(begin(1.0) + WHOLE, tmp_path) == 2  # it began anew
    assert hear(begin(0, 0, 0) + squares([1, 3]) + squares([0, 1]) + END, tmp_path) == 2


@pytest.mark.usefixtures("taken_over")
def test_nothing_of_a_decoder_is_unpickled(tmp_path: Path) -> None:
    victim = tmp_path / "was here"
    pickled = pickle.dumps(Attack(victim))
    for content in (
        pickled,
        struct.pack("!i", len(pickled)) + pickled,
        struct.pack("<I", len(pickled)) + pickled,
    ):
        with pytest.raises(VideoError, match=r"clip\.avi: (made|ended) its decoder"):
            hear(content, tmp_path)
    assert not victim.exists()


def receiver_of(content: bytes) -> Receiver:
    """Of a decoder that sends this, and ends."""
    line = io.BytesIO(content)

    def read(size: int) -> bytearray:
        assert size < 10**8
        came = bytearray(line.read(size))
        if len(came) < size:
            raise EOFError
        return came

    return Receiver(read, CROP)


NONSENSE = {
    "nothing": b"",
    "half a length": b"\x07\0",
    "half a message": WHOLE[:40],
    "half a square": (begin(0.0) + squares([0, 1]))[:-1],
    "garbage": b"\xff" * 1000,
    "a huge length": struct.pack("<I", 2**32 - 1) + b"{}",
    "no JSON": struct.pack("<I", 4) + b"\xff{}}",
    "deep JSON": struct.pack("<I", 60_000) + b"[" * 60_000,
    "a huge number": struct.pack("<I", 60_000) + b"9" * 60_000,
    "a list": framed([]),
    "no kind": framed({}),
    "another kind": framed({"kind": ["begin"]}),
    "a huge video": framed({"kind": "begin", "num_frames": 2**60}),
    "no frames": begin(),
    "less than no frames": framed({"kind": "begin", "num_frames": -1}),
    "true frames": framed({"kind": "begin", "num_frames": True}, bytes(8)),
    "no number of frames": framed({"kind": "begin", "num_frames": "1"}, bytes(8)),
    "half a frame": framed({"kind": "begin", "num_frames": 1.5}, bytes(12)),
    "no times": begin(float("nan")),
    "falling times": begin(1.0, 0.0),
    "squares first": squares([0, 1]),
    "no squares": begin(0.0) + squares(),
    "too many squares": begin(*[0.0] * 99) + squares(*[[n, n + 1] for n in range(99)]),
    "a square behind the end": begin(0.0) + squares([0, 2]),
    "a square before the first": begin(0.0) + squares([-1, 1]),
    "a square of no place": begin(0.0) + squares([0, 0]),
    "a square without a place": begin(0.0) + squares(0),
    "a place that is no number": begin(0.0) + squares([0, "1"]),
    "a square that came before": begin(0.0, 0.0) + squares([0, 1], [0, 2]),
    "an end before the squares": begin(0.0, 0.0) + squares([0, 1]) + END,
    "an end before all": END,
    "an end without content": begin(0.0) + squares([0, 1]) + framed({"kind": "end"}),
    "a failure without a reason": framed({"kind": "failed", "reason": 7}),
    "an endless reason": framed({"kind": "failed", "reason": "x" * 5000}),
}


@pytest.mark.parametrize("kind", NONSENSE)
def test_nonsense_of_a_decoder_is_refused(kind: str) -> None:
    receiver = receiver_of(NONSENSE[kind])
    with pytest.raises((MessageError, EOFError)) as seen:
        while receiver.receive()[0] not in ("end", "failed"):
            continue
    assert "\n" not in str(seen.value) and len(str(seen.value)) < 100


@pytest.mark.usefixtures("taken_over")
@pytest.mark.parametrize("kind", ["nothing", "garbage", "half a square", "a huge video"])
def test_nonsense_ends_the_decoder_in_one_line(tmp_path: Path, kind: str) -> None:
    with pytest.raises(VideoError, match=r"clip\.avi: (made|ended) its decoder") as seen:
        hear(NONSENSE[kind], tmp_path, stays=kind in ("garbage", "a huge video"))
    assert "\n" not in str(seen.value) and len(str(seen.value)) < 300


@pytest.mark.usefixtures("taken_over")
@pytest.mark.parametrize("content", [b"\x07", begin(0.0), WHOLE[:-1]])
def test_a_decoder_that_stops_in_a_message_is_ended_in_time(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(VideoError, match=r"takes longer than 0\.5 s"):
        hear(content, tmp_path, stays=True, most_seconds=0.5)


@pytest.mark.usefixtures("taken_over")
def test_a_reason_cannot_act_on_a_terminal(tmp_path: Path) -> None:
    with pytest.raises(VideoError) as seen:
        hear(framed({"kind": "failed", "reason": "a\x1b[2J\nb"}), tmp_path)
    assert str(seen.value) == r"a\x1b[2J b"


def test_a_video_is_not_read_again_for_a_checksum(
    clip: Path, tiny_backbone: Backbone, no_checksum: None
) -> None:
    spec = FrameSpec(EVERY, tiny_backbone.preprocessing)
    *_, last = decode_in_messages(clip, spec)
    assert last == ("end", {})


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.data())
def test_a_message_that_is_changed_anywhere_is_taken_or_refused(data: st.DataObject) -> None:
    content = bytearray(WHOLE)
    for _ in range(data.draw(st.integers(1, 3))):
        head = st.integers(0, 60) | st.integers(0, len(content) - 1)
        content[data.draw(head)] = data.draw(st.integers(0, 255))
    receiver = receiver_of(content)
    with contextlib.suppress(MessageError, EOFError):
        while receiver.receive()[0] not in ("end", "failed"):
            continue


def decoders() -> set[int]:
    """Processes of this one's forkserver."""
    prepare()
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
