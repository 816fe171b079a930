"""Decoding in a process of its own: what a hostile video does ends there, and it can be stopped.

this process                                a process for each video
Pipeline  ◄──  Isolation.decode  ◄── socket ──  decode -> scale and cut
"""

from __future__ import annotations

import contextlib
import multiprocessing
import multiprocessing.forkserver
import re
import signal
import socket
import threading
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch  # noqa: F401 before the first video: it needs more memory than one may take
from numpy.typing import NDArray

from actionrnn.config import Sampling, VideoLimits
from actionrnn.errors import VideoError
from actionrnn.features.decode_task import decode_in_messages
from actionrnn.features.decoder_messages import MessageError, Receiver, send
from actionrnn.features.preprocess import Preprocessing
from actionrnn.features.provenance import VideoFile
from actionrnn.video.decode import probe_video
from actionrnn.video.request import FrameSink

_POLL_SECONDS = 0.1
_SHA256 = re.compile("[0-9a-f]{64}")


Messages = Generator[tuple[str, Any], None, None]
Work = Callable[..., Iterator[tuple[str, Any]]]
"""Takes a video's path, more, and the limits, and gives messages; the last is `end` or `failed`."""


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
    """Nobody wants the answer any more."""

    def decode(
        self,
        path: Path,
        sampling: Sampling,
        squares: FrameSink,
        preprocessing: Preprocessing,
        num_threads: int,
    ) -> VideoFile:
        """As `decode_here`, within the bounds; see `Decode`.

        Raises:
            VideoError: the video cannot be used, exceeds a bound, or kills its decoder.
        """
        with contextlib.closing(
            self.messages(
                decode_in_messages, path, sampling, preprocessing, crop=preprocessing.crop
            )
        ) as messages:
            for kind, content in messages:
                if kind == "begin":
                    self._require_short(path, content)
                    squares.begin(content)
                elif kind == "squares":
                    for places, square in zip(*content, strict=True):
                        squares.add(places, square)
        return _source(path, content)

    def messages(self, work: Work, path: Path, *arguments: Any, crop: int = 0) -> Messages:
        """What `work(path, *arguments, limits)` gives in a process of its own, up to `end`.

        Args:
            crop: the side of the squares that it gives; 0: it gives none.

        Raises:
            VideoError: it failed, exceeds a bound, says nonsense, or ended without a word.
        """
        deadline = time.monotonic() + self.most_seconds
        ours, theirs = socket.socketpair()
        ours.settimeout(_POLL_SECONDS)
        given = (theirs, self.limits, self.most_memory_bytes, work, path, *arguments)
        process = _context().Process(target=_work, args=given, daemon=True)
        process.start()
        theirs.close()
        receiver = Receiver(lambda size: self.read(ours, size, path, deadline), crop)
        try:
            kind = ""
            while kind != "end":
                kind, content = receiver.receive()
                if kind == "failed":
                    raise VideoError(content)
                yield kind, content
        except MessageError as error:
            raise _nonsense(path, str(error)) from None
        finally:
            process.kill()
            process.join()
            process.close()
            ours.close()

    def read(self, line: socket.socket, size: int, path: Path, deadline: float) -> bytearray:
        """So many bytes of what a decoder says.

        Raises:
            VideoError: it ended before, the deadline is over, or nobody wants them any more.
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

    def _require_short(self, path: Path, pts_seconds: NDArray[np.float64]) -> None:
        seconds = float(pts_seconds[-1] - pts_seconds[0]) if len(pts_seconds) else 0.0
        if seconds > self.most_video_seconds:
            raise VideoError(
                f"{path}: is {seconds:.0f} s long, {self.most_video_seconds:g} s are read; cut it"
            )


def _source(path: Path, content: dict[str, Any]) -> VideoFile:
    """What a decoder says of the file itself."""
    size_bytes, sha256 = content.get("size_bytes"), content.get("sha256")
    if type(size_bytes) is not int or not (isinstance(sha256, str) and _SHA256.fullmatch(sha256)):
        raise _nonsense(path, "an end without the file's size and sha256")
    return VideoFile(path.name, size_bytes, sha256)


def _nonsense(path: Path, what: str) -> VideoError:
    return VideoError(f"{path}: made its decoder send {what}, so it is damaged; convert it")


def prepare() -> None:
    """Import everything ahead of the first video, in the background."""
    if _context().get_start_method() == "forkserver":
        multiprocessing.forkserver.ensure_running()


@cache
def _context() -> Any:
    """Copies of a process that has imported everything, where the system can fork."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    return context


def _work(
    line: socket.socket,
    limits: VideoLimits,
    most_memory_bytes: int,
    work: Work,
    path: Path,
    *arguments: Any,
) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends this
    _limit_memory(most_memory_bytes)
    with contextlib.suppress(ConnectionError):  # nobody listens any more
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
