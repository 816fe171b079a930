"""Files that are either whole or not there."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

MODEL_FILE = "model.safetensors"
"""The model in the folder of a run."""


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`, renamed to it when the block ends without error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem[:40]}.", suffix=".tmp")
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


@dataclass(frozen=True)
class FileState:
    """What changes when a file does, or a file in a folder."""

    size_bytes: int
    mtime_ns: int


def file_state(path: Path) -> FileState:
    """The size and the newest time of a file, or of the files in a folder together."""
    stats = [file.stat() for file in _files_of(path)]
    return FileState(
        size_bytes=sum(stat.st_size for stat in stats),
        mtime_ns=max((stat.st_mtime_ns for stat in stats), default=0),
    )


def file_sha256(path: Path) -> str:
    """The sha256 of a file's bytes, in hexadecimal; of a folder, of its files' bytes in order."""
    digest = hashlib.sha256()
    for part in _files_of(path):
        with part.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def _files_of(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    return sorted(file for file in path.iterdir() if file.is_file())


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current
