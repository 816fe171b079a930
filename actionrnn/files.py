"""Paths that users give, files that are written whole or not at all, and what a file contains."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

MODEL_FILE = "model.safetensors"
"""The model in the folder of a training run."""
CONFIG_FILE = "config.yaml"
"""The run's configuration, with the paths of this machine."""


def as_written(path: str, *, on_windows: bool = os.name == "nt") -> str:
    """The path that a text names: `~` and `~user` are expanded, `file:///a%20b` is `/a b`
    (RFC 8089), on Windows `file:///C:/a` is `C:/a`; any other text is returned as it is.
    """
    if path[:6].lower() != "file:/":
        return os.path.expanduser(path)  # noqa: PTH111 - leaves `~unknown` as it is
    name = os.fsdecode(unquote_to_bytes(path[5:]))
    name = re.sub("^//(localhost)?(?=/)", "", name, flags=re.IGNORECASE)
    return re.sub("^/+(?=[A-Za-z]:)", "", name) if on_windows else name


def as_path(path: str | os.PathLike[str]) -> Path:
    """A path that a user gave, a text as in `as_written`; a Path is returned as it is, unless it
    was made of a `file:///` text.
    """
    text = os.fspath(path)
    is_text = isinstance(path, str) or text[:6].lower() == "file:/"
    return Path(as_written(text)) if is_text else Path(path)


def caches() -> Path:
    """The folder of this package in the user's caches; where there is none, one that cannot be."""
    given = os.environ.get("XDG_CACHE_HOME", "")
    if Path(given).is_absolute():  # its specification says to ignore others
        return Path(given, "actionrnn")
    try:
        return Path.home() / ".cache" / "actionrnn"
    except RuntimeError:  # a user without a home, as in containers
        return Path(os.devnull, "actionrnn")


@contextlib.contextmanager
def atomic_path(path: Path, *, replace: bool = True) -> Iterator[Path]:
    """A temporary path beside `path`, renamed to it when the block ends without error.

    Args:
        path: of the file; its folder is made.
        replace: False: a file that exists by the end of the block is kept.

    Raises:
        FileExistsError: not `replace`, and `path` exists.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = _locked_temporary(path)
    usual = temporary.stat().st_mode
    try:
        yield temporary
        temporary.chmod(stat.S_IMODE(usual))  # safetensors replaces the file by a new one
        if replace:
            temporary.replace(path)
        else:
            _rename_to_new(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
        if handle is not None:
            os.close(handle)


@contextlib.contextmanager
def atomic_folder(folder: Path, *, replace: bool = False) -> Iterator[Path]:
    """A temporary folder beside `folder`, renamed to it when the block ends without error.

    Raises:
        OSError: it cannot be written, or not `replace`, and `folder` exists and is not empty.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = folder.with_name(f".{folder.name[:40]}.{secrets.token_hex(4)}.tmp")
    temporary.mkdir()
    try:
        yield temporary
        if replace and folder.exists():
            shutil.rmtree(folder)
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def is_temporary(path: Path) -> bool:
    """Whether a file or folder has a name that `atomic_path` or `atomic_folder` gives."""
    return re.fullmatch(r"\..+\.[0-9a-f]{8}\.tmp", path.name, re.DOTALL) is not None


def remove_leftovers(folder: Path) -> None:
    """Delete the temporary files of killed processes below a folder.

    Those of running processes are locked, and stay; without locks, all stay.
    """
    for file in filter(is_temporary, folder.rglob(".*.tmp")):
        with contextlib.suppress(OSError):
            handle = os.open(file, os.O_RDWR)
            try:
                if _lock(handle, wait=False):
                    file.unlink()
            finally:
                os.close(handle)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock on an existing file: one process at a time is in such a block."""
    handle = os.open(path, os.O_RDONLY)
    try:
        _lock(handle, wait=True)
        yield
    finally:
        os.close(handle)


def _locked_temporary(path: Path) -> tuple[int | None, Path]:
    """A new file beside `path` that `remove_leftovers` leaves alone while it is open."""
    while True:
        temporary = path.with_name(f".{path.stem[:40]}.{secrets.token_hex(4)}.tmp")
        try:
            handle, is_locked = open_locked(temporary, os.O_EXCL, wait=True)
        except FileExistsError:
            continue
        if is_locked:
            return handle, temporary
        os.close(handle)
        return None, temporary


def _rename_to_new(temporary: Path, path: Path) -> None:
    try:
        path.hardlink_to(temporary)  # of two processes, exactly one succeeds
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        if path.exists():
            raise FileExistsError(path) from None
        temporary.replace(path)


def open_locked(path: Path, flags: int = 0, *, wait: bool) -> tuple[int, bool]:
    """Open a file, made if it does not exist, and lock it until it is closed.

    Args:
        path: its folder exists.
        flags: of `os.open`, added to those for reading and writing.
        wait: until another process releases the file.

    Returns:
        The handle, and whether it is locked; False where the file system has no locks.

    Raises:
        BlockingIOError: not `wait`, and another process holds the lock.
        OSError: the file cannot be opened.
    """
    while True:
        # os.open applies the umask, which cannot be read without changing it for all threads
        handle = os.open(path, os.O_RDWR | os.O_CREAT | flags, 0o666)
        try:
            is_locked = _lock(handle, wait=wait)
        except BlockingIOError:
            os.close(handle)
            raise
        if not is_locked or os.fstat(handle).st_nlink:
            return handle, is_locked
        os.close(handle)  # another process deleted the file before it was locked: make it again


def _lock(handle: int, *, wait: bool) -> bool:
    try:
        import fcntl  # not on Windows
    except ImportError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        raise
    except OSError:
        return False
    return True


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on the disk, where the system can."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def write_text(path: Path, text: str, *, replace: bool = True, durable: bool = False) -> None:
    r"""Write a text file in UTF-8, whole or not at all.

    A byte of a file name that is not UTF-8 is written as `\udce9`. In JSON that is an escape,
    so that `read_json` returns the same name.

    Args:
        path: of the file; its folder is made.
        text: its content.
        replace: False: a file that exists is kept.
        durable: return when it is on the disk, so that it outlives the machine's end.

    Raises:
        FileExistsError: not `replace`, and the file exists.
        OSError: it cannot be written.
    """
    with (
        atomic_path(path, replace=replace) as temporary,
        temporary.open("w", encoding="utf-8", errors="backslashreplace") as file,
    ):
        file.write(text)
        if durable:
            file.flush()
            os.fsync(file.fileno())
    if durable:
        sync_folder(path.parent)


def read_json(path: Path) -> Any:
    """The content of a JSON file.

    Raises:
        OSError: it cannot be read.
        ValueError: it is not JSON.
    """
    try:
        return json.loads(path.read_bytes())
    except RecursionError:
        raise ValueError("nested too deeply") from None


def can_be_a_name(text: str) -> bool:
    """Whether a file can have this name: no NUL, only characters that the system can encode."""
    try:
        return b"\0" not in os.fsencode(text)
    except UnicodeEncodeError:
        return False


@contextlib.contextmanager
def utf8_path(path: Path) -> Iterator[Path]:
    """The path, or a link to it, for libraries that accept names in UTF-8 only (safetensors)."""
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
    """What changes when a file does, or one of the files in a folder."""

    size_bytes: int
    mtime_ns: int
    """When the content changed; a program can set it to any time."""
    ctime_ns: int
    """When the file was last written, renamed or given another `mtime_ns`."""


def file_state(path: Path) -> FileState:
    """The size and times of a file; of a folder, the sum and the newest of its files.

    Raises:
        OSError: a file does not exist, or cannot be accessed.
    """
    stats = [file.stat() for file in _files_of(path)]
    return FileState(
        size_bytes=sum(stat.st_size for stat in stats),
        mtime_ns=max((stat.st_mtime_ns for stat in stats), default=0),
        ctime_ns=max((stat.st_ctime_ns for stat in stats), default=0),
    )


def state_if_there(path: Path) -> FileState | None:
    """`file_state`; None: there is no such file, or it cannot be accessed."""
    with contextlib.suppress(OSError):
        return file_state(path)
    return None


def file_sha256(path: Path) -> str:
    """The sha256 of a file's bytes, in hexadecimal; of a folder, of its files in name order.

    Raises:
        OSError: it cannot be read.
    """
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
