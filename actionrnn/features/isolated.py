"""Decoding in a process of its own: what a hostile video does ends there, and it can be stopped.

this process                              a process for each video
Pipeline  ◄──  Isolation.decode  ◄── pipe ──  decode -> scale and cut
"""

from __future__ import annotations

import contextlib
import multiprocessing
import multiprocessing.forkserver
import signal
import threading
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from functools import cache
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from actionrnn.config import Sampling, VideoLimits
from actionrnn.errors import VideoError
from actionrnn.features.decode_task import decode_in_messages
from actionrnn.features.preprocess import Preprocessing
from actionrnn.video.album import Visitor
from actionrnn.video.reading import probe_video

_POLL_SECONDS = 0.1


Messages = Generator[tuple[str, Any], None, None]
Work = Callable[..., Iterator[tuple[str, Any]]]
"""Takes a video's path and more, and gives messages; the last is `end`, or `failed`."""


@dataclass(frozen=True)
class Isolation:
    """What one video may take, in a process of its own."""

    most_seconds: float
    """Of wall clock, with the waiting for the backbone."""
    most_video_seconds: float
    """From the first frame that is looked at to the last."""
    most_frame_pixels: int
    most_memory_bytes: int
    """That the process may take for the video (Linux)."""
    stop: threading.Event = field(default_factory=threading.Event)
    """Nobody wants the answer any more."""

    def decode(
        self,
        path: Path,
        sampling: Sampling,
        squares: Visitor,
        preprocessing: Preprocessing,
        num_threads: int,
    ) -> dict[str, Any]:
        """As `decode_here`, within the bounds; see `Decode`.

        Raises:
            VideoError: the video cannot be used, exceeds a bound, or kills its decoder.
        """
        with contextlib.closing(
            self.messages(decode_in_messages, path, sampling, preprocessing)
        ) as messages:
            for kind, content in messages:
                if kind == "begin":
                    self._require_short(path, content)
                    squares.begin(content)
                elif kind == "squares":
                    for places, square in zip(*content, strict=True):
                        squares.add(places, square)
                else:
                    described: dict[str, Any] = content
        return described

    def messages(self, work: Work, path: Path, *arguments: Any) -> Messages:
        """What `work(path, *arguments)` gives in a process of its own, up to `end`.

        Raises:
            VideoError: it failed, exceeds a bound, or ended without a word.
        """
        deadline = time.monotonic() + self.most_seconds
        reader, writer = _context().Pipe(duplex=False)
        bounds = (self.most_frame_pixels, self.most_memory_bytes)
        given = (writer, *bounds, work, path, *arguments)
        process = _context().Process(target=_work, args=given, daemon=True)
        process.start()
        writer.close()
        try:
            kind = ""
            while kind != "end":
                kind, content = self._next(reader, path, deadline)
                if kind == "failed":
                    raise VideoError(content)
                yield kind, content
        finally:
            process.kill()
            process.join()
            process.close()
            reader.close()

    def _next(self, reader: Connection, path: Path, deadline: float) -> Any:
        while not self.stop.is_set():
            if time.monotonic() > deadline:
                raise VideoError(
                    f"{path}: takes longer than {self.most_seconds:g} s; cut or convert it"
                )
            if not reader.poll(_POLL_SECONDS):
                continue
            with contextlib.suppress(EOFError, OSError):
                return reader.recv()
            raise VideoError(f"{path}: ended its decoder, so it is damaged; convert it")
        raise VideoError(f"{path}: was given up")

    def _require_short(self, path: Path, pts_seconds: NDArray[np.float64]) -> None:
        seconds = float(pts_seconds[-1] - pts_seconds[0]) if len(pts_seconds) else 0.0
        if seconds > self.most_video_seconds:
            raise VideoError(
                f"{path}: is {seconds:.0f} s long, {self.most_video_seconds:g} s are read; cut it"
            )


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
    writer: Connection,
    most_frame_pixels: int,
    most_memory_bytes: int,
    work: Work,
    path: Path,
    *arguments: Any,
) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends this
    _limit_memory(most_memory_bytes)
    with contextlib.suppress(BrokenPipeError):  # nobody listens any more
        try:
            probe_video(path, limits=VideoLimits(max_frame_pixels=most_frame_pixels))
            for message in work(path, *arguments):
                writer.send(message)
        except VideoError as error:
            writer.send(("failed", str(error)))
        except MemoryError:
            mib = most_memory_bytes // 2**20
            writer.send(("failed", f"{path}: needs more than {mib} MiB; scale it down"))


def _limit_memory(most_bytes: int) -> None:
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        pages = int(Path("/proc/self/statm").read_text().split()[0])
        most = pages * resource.getpagesize() + most_bytes
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
