"""A named pipe that a test fills."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def filled_pipe(path: Path, content: bytes) -> Iterator[Path]:
    """Writes `content` into a new pipe at `path` for whoever reads it, up to the end of the block.

    Who reads only a part breaks the pipe; that, and that nobody came, is no error here.
    """

    def fill() -> None:
        with contextlib.suppress(BrokenPipeError):
            path.write_bytes(content)

    os.mkfifo(path)
    writer = threading.Thread(target=fill, daemon=True)
    writer.start()
    try:
        yield path
    finally:
        # frees a writer that nobody reads; one whose reader stopped midway is not waited for
        for _ in range(100):
            if not writer.is_alive():
                break
            os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK))
            writer.join(0.05)
