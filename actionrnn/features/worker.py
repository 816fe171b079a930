"""One video becomes the squares that a backbone sees: in this process, or in another.

    decode_video        in the calling thread
    decode_and_hash     the same, and which file it was: for a store
    decode_in_messages  the same in messages, for a task on another node
    Isolation.decode    in a process of its own: what a hostile video does ends there

this process                                a process for each video
Pipeline  ◄──  Isolation.decode  ◄── socket ──  decode -> scale and cut
"""

from __future__ import annotations

import contextlib
import queue
import signal
import socket
import threading
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from actionrnn.config import Sampling
from actionrnn.errors import VideoError
from actionrnn.features.decoder_messages import (
    SQUARES_IN_A_MESSAGE,
    Message,
    MessageError,
    Receiver,
    send,
)
from actionrnn.features.preprocess import Preprocessing
from actionrnn.features.provenance import VideoFile
from actionrnn.files import FileState, file_sha256, file_state
from actionrnn.options import VideoLimits
from actionrnn.processes import new_process
from actionrnn.video.address import masked
from actionrnn.video.decode import visit_frames
from actionrnn.video.probe import probe_video, read_corrections
from actionrnn.video.request import FrameRequest, FrameSink
from actionrnn.video.source import Located, Source, require_file

MESSAGES_AHEAD = 4
_POLL_SECONDS = 0.1


@dataclass(frozen=True)
class FrameSpec:
    """Which frames of a video are wanted, and in which form."""

    sampling: Sampling
    preprocessing: Preprocessing
    num_threads: int = 1
    """That decode; 0 takes as many as the work is worth."""


Decode = Callable[[Located, FrameSpec, FrameSink], VideoFile | None]
"""Gives a sink the squares of a video; says which file it was, if that is wanted.

Raises VideoError if the video cannot be used."""


def decode_video(
    path: Located, spec: FrameSpec, sink: FrameSink, limits: VideoLimits | None = None
) -> None:
    """Decode a video in this process.

    Args:
        path: a file or folder, which may not change meanwhile; or another source, as it is.

    Raises:
        VideoError: it cannot be used, or it changed meanwhile.
    """

    def square(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
        try:
            return spec.preprocessing.square(rgb)
        except VideoError as error:
            raise VideoError(f"{path}: {error}") from None

    request = FrameRequest(spec.sampling, sink, transform=square, num_threads=spec.num_threads)
    if isinstance(path, Source):
        visit_frames(path, request, limits)
        return
    before = _state_of(path)
    visit_frames(path, request, limits)
    _require_unchanged(path, before)


def decode_and_hash(
    path: Located, spec: FrameSpec, sink: FrameSink, limits: VideoLimits | None = None
) -> VideoFile:
    """Decode a video in this process, and read all of it once more for its checksum.

    Raises:
        VideoError: as `decode_video`; or it is no file.
    """
    path = require_file(path, "stored features name the file that they are of")
    before = _state_of(path)
    decode_video(path, spec, sink, limits)
    with _still_readable(path):
        sha256 = file_sha256(path)
    corrections = read_corrections(path, limits=limits, stream=spec.sampling.stream)
    _require_unchanged(path, before)
    return VideoFile(path.name, before.size_bytes, sha256, corrections)


def _state_of(path: Path) -> FileState:
    try:
        return file_state(path)
    except FileNotFoundError:
        raise VideoError(f"{masked(str(path))}: no such file or folder; check the path") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise VideoError(
            f"{path}: cannot be read ({reason}); check the path and the permissions"
        ) from None


def _require_unchanged(path: Path, before: FileState) -> None:
    """What was decoded must be one file from its first frame to its last."""
    with _still_readable(path):
        now = file_state(path)
    if now != before:
        raise VideoError(f"{path}: changed while it was read; extract it again")


@contextlib.contextmanager
def _still_readable(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise VideoError(f"{path}: vanished while it was read ({error.strerror})") from None


# In messages


def decode_in_messages(
    path: Located,
    spec: FrameSpec,
    limits: VideoLimits | None = None,
    decode: Callable[..., VideoFile | None] = decode_video,
) -> Iterator[Message]:
    """What `decode` gives a sink, in messages of several squares; see `decoder_messages`.

    The last is `end`, with the `VideoFile`'s fields if `decode` gives one, or `failed`.
    """
    waiting: queue.Queue[Message] = queue.Queue(MESSAGES_AHEAD)

    def work() -> None:
        sink = _MessageSink(waiting)
        try:
            file = decode(path, spec, sink, limits)
            sink.flush()
            waiting.put(("end", {} if file is None else file.to_json()))
        except VideoError as error:
            waiting.put(("failed", str(error)))
        except BaseException as error:  # raised where the messages are taken
            waiting.put(("broken", error))

    threading.Thread(target=work, daemon=True).start()
    while True:
        kind, content = waiting.get()
        if kind == "broken":
            raise content
        yield kind, content
        if kind in ("end", "failed"):
            return


class _MessageSink:
    """Takes squares, from several threads at once, and sends some at a time."""

    def __init__(self, messages: queue.Queue[Message]) -> None:
        self._messages = messages
        self._lock = threading.Lock()
        self._held: list[tuple[slice, NDArray[np.uint8]]] = []

    def begin(self, pts_seconds: NDArray[np.float64]) -> None:
        with self._lock:
            self._held = []
            self._messages.put(("begin", pts_seconds))

    def add(self, steps: slice, pixels: NDArray[np.uint8]) -> None:
        with self._lock:
            self._held.append((steps, pixels.copy()))
        if len(self._held) >= SQUARES_IN_A_MESSAGE:
            self.flush()

    def flush(self) -> None:
        """Send what is held."""
        with self._lock:
            if self._held:
                steps, squares = zip(*self._held, strict=True)
                self._messages.put(("squares", (steps, np.stack(squares))))
                self._held = []


# In a process for each video


Work = Callable[..., Iterator[Message]]
"""Takes a video's path, more, and the limits; the last message is `end` or `failed`."""


@dataclass(frozen=True)
class Isolation:
    """What one video may take, in a process of its own."""

    most_seconds: float
    """Of wall clock, with the waiting for the backbone."""
    most_video_seconds: float
    """From the first frame that is looked at to the last."""
    limits: VideoLimits
    """Of every frame, and of what may be opened."""
    most_memory_bytes: int
    """That the process may take for the video (Linux)."""
    stop: threading.Event = field(default_factory=threading.Event)
    """Set when the answer is not wanted any more."""

    def decode(self, path: Located, spec: FrameSpec, sink: FrameSink) -> None:
        """As `decode_video`, within the bounds; in one thread, whatever `spec` says.

        Raises:
            VideoError: the video cannot be used, exceeds a bound, or kills its decoder.
        """
        alone = FrameSpec(spec.sampling, spec.preprocessing)
        with contextlib.closing(
            self.messages(decode_in_messages, path, alone, crop=spec.preprocessing.crop)
        ) as messages:
            for kind, content in messages:
                if kind == "begin":
                    self._require_short(path, content)
                    sink.begin(content)
                elif kind == "squares":
                    for steps, square in zip(*content, strict=True):
                        sink.add(steps, square)

    def messages(
        self, work: Work, path: Located, *arguments: Any, crop: int = 0
    ) -> Generator[Message, None, None]:
        """What `work(path, *arguments, limits)` gives in a process of its own, up to `end`.

        Args:
            crop: the side of the squares that it gives; 0: it gives none.

        Raises:
            VideoError: it failed, exceeds a bound, says nonsense, or ended without a word.
        """
        deadline = time.monotonic() + self.most_seconds
        bounds = (self.limits, self.most_memory_bytes)
        try:
            process, ours = _started(*bounds, work, path, *arguments)
        except OSError as error:
            raise VideoError(
                f"{path}: no process can be started to decode it ({error.strerror}); try again"
            ) from None
        ours.settimeout(_POLL_SECONDS)
        receiver = Receiver(lambda size: self.read(ours, size, path, deadline), crop)
        try:
            kind = ""
            while kind != "end":
                kind, content = receiver.receive()
                if kind == "failed":
                    raise VideoError(content)
                yield kind, content
        except MessageError as error:
            raise VideoError(
                f"{path}: made its decoder send {error}, so it is damaged; convert it"
            ) from None
        finally:
            process.kill()
            process.join()
            process.close()
            ours.close()

    def read(self, line: socket.socket, size: int, path: Located, deadline: float) -> bytearray:
        """Exactly this many bytes of what a decoder says.

        Raises:
            VideoError: it ended before, the deadline is over, or they are not wanted any more.
        """
        content = bytearray(size)
        missing = memoryview(content)
        while missing:
            if self.stop.is_set():
                raise VideoError(f"{path}: was given up")
            if time.monotonic() > deadline:
                raise VideoError(
                    f"{path}: takes longer than {self.most_seconds:g} s; cut or convert it"
                )
            try:
                came = line.recv_into(missing)
            except TimeoutError:
                continue
            except OSError:
                came = 0
            if came == 0:
                raise VideoError(f"{path}: ended its decoder, so it is damaged; convert it")
            missing = missing[came:]
        return content

    def _require_short(self, path: Located, pts_seconds: NDArray[np.float64]) -> None:
        seconds = float(pts_seconds[-1] - pts_seconds[0]) if len(pts_seconds) else 0.0
        if seconds > self.most_video_seconds:
            raise VideoError(
                f"{path}: is {seconds:.0f} s long, {self.most_video_seconds:g} s are read; cut it"
            )


def _started(*given: Any) -> tuple[Any, socket.socket]:
    """A process that does `_work(line, *given)`, and this side of the line.

    Raises:
        OSError: there is none.
    """
    ours, theirs = socket.socketpair()
    try:
        return new_process(_work, theirs, *given), ours
    except BaseException:
        ours.close()
        raise
    finally:
        theirs.close()


def _work(
    line: socket.socket,
    limits: VideoLimits,
    most_memory_bytes: int,
    work: Work,
    path: Located,
    *arguments: Any,
) -> None:
    """What the process does: send the messages of `work`."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends this
    _limit_memory(most_memory_bytes)
    with contextlib.suppress(ConnectionError):  # the parent does not listen any more
        try:
            probe_video(path, limits=limits)  # first of all: it needs no threads, and little memory
            for message in work(path, *arguments, limits):
                send(line, *message)
        except VideoError as error:
            send(line, "failed", str(error))
        except MemoryError:
            mib = most_memory_bytes // 2**20
            send(line, "failed", f"{path}: needs more than {mib} MiB; scale it down")


def _limit_memory(most_bytes: int) -> None:
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        pages = int(Path("/proc/self/statm").read_text().split()[0])
        most = pages * resource.getpagesize() + most_bytes
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
