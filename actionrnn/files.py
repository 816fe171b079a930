"""Files that are either whole or not there."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MODEL_FILE = "model.safetensors"
"""The model in the folder of a run."""
LEFTOVERS = ".*.tmp"


def at_home(path: str) -> str:
    """The path with the home folder for a leading `~` (or `~user`); any other text as it is."""
    return os.path.expanduser(path)  # noqa: PTH111 leaves an unknown user's alone


def as_path(path: str | os.PathLike[str]) -> Path:
    """A path that a person gave: in a text `~` is the home folder, a Path is taken as it is."""
    return Path(at_home(path)) if isinstance(path, str) else Path(path)


@contextlib.contextmanager
def atomic_path(path: Path, *, replace: bool = True) -> Iterator[Path]:
    """A temporary path beside `path`, renamed to it when the block ends without error.

    Raises:
        FileExistsError: not `replace`, and `path` is there at the end.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = _locked_temporary(path)
    try:
        yield temporary
        temporary.chmod(0o666 & ~_umask())
        if replace:
            temporary.replace(path)
        else:
            _rename_to_new(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
        if handle is not None:
            os.close(handle)


def remove_leftovers(folder: Path) -> None:
    """Delete the temporary files of killed processes; those of living ones are locked."""
    for file in folder.rglob(LEFTOVERS):
        with contextlib.suppress(OSError):
            handle = os.open(file, os.O_RDWR)
            try:
                if _lock(handle, wait=False):
                    file.unlink()
            finally:
                os.close(handle)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Keep other processes that do the same out while the block runs; `path` is a file."""
    handle = os.open(path, os.O_RDONLY)
    try:
        _lock(handle, wait=True)
        yield
    finally:
        os.close(handle)


def _locked_temporary(path: Path) -> tuple[int | None, Path]:
    """A new file beside `path` that `remove_leftovers` leaves alone while it is open."""
    while True:
        handle, name = tempfile.mkstemp(
            dir=path.parent, prefix=f".{path.stem[:40]}.", suffix=".tmp"
        )
        if not _lock(handle, wait=True):
            os.close(handle)
            return None, Path(name)
        if os.fstat(handle).st_nlink:  # nobody took it for a leftover before it was locked
            return handle, Path(name)
        os.close(handle)


def _rename_to_new(temporary: Path, path: Path) -> None:
    try:
        path.hardlink_to(temporary)  # of two processes one succeeds
    except FileExistsError:
        raise
    except OSError:  # a file system without links
        if path.exists():
            raise FileExistsError(path) from None
        temporary.replace(path)


def _lock(handle: int, *, wait: bool) -> bool:
    """Lock an open file until it is closed; whether that worked.

    A file system without locks keeps nobody out, and then nothing counts as a leftover.
    """
    try:
        import fcntl  # not on Windows
    except ImportError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:
        return False
    return True


def write_text(path: Path, text: str, *, replace: bool = True) -> None:
    r"""Write a text file whole or not at all; a name's byte that is not UTF-8 as `\udce9`.

    In JSON that is an escape, so that `read_json` gives the very name again.

    Raises:
        FileExistsError: not `replace`, and it is there.
    """
    with atomic_path(path, replace=replace) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def read_json(path: Path) -> Any:
    """What a JSON file holds, names that are not UTF-8 as well.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no JSON.
    """
    try:
        return json.loads(path.read_bytes())
    except RecursionError:
        raise ValueError("nested too deeply") from None


@contextlib.contextmanager
def utf8_path(path: Path) -> Iterator[Path]:
    """The path, or a link to it, for libraries that take names in UTF-8 alone (safetensors)."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        with tempfile.TemporaryDirectory() as folder:
            link = Path(folder, "link")
            link.symlink_to(path.absolute())
            yield link
    else:
        yield path


@dataclass(frozen=True)
class FileState:
    """What changes when a file does, or a file in a folder."""

    size_bytes: int
    mtime_ns: int
    """When its content changed, as it says itself."""
    ctime_ns: int
    """When it was last written, renamed or made to look older, as the system says."""


def file_state(path: Path) -> FileState:
    """The size and the newest time of a file, or of the files in a folder together."""
    stats = [file.stat() for file in _files_of(path)]
    return FileState(
        size_bytes=sum(stat.st_size for stat in stats),
        mtime_ns=max((stat.st_mtime_ns for stat in stats), default=0),
        ctime_ns=max((stat.st_ctime_ns for stat in stats), default=0),
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
