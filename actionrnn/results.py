"""What a command may write over: what was written there by a command, and nothing else."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from actionrnn.errors import ActionrnnError
from actionrnn.files import file_sha256, lock

LEDGER = ".actionrnn"
"""In a folder of results, a line `<sha256>  <name>` for each file that was written there: what a
command may replace. Whoever writes there holds a lock on it."""


def require_new(path: Path, *, overwrite: bool = False, source: Path | None = None) -> None:
    """Refuse to write a file that a user names where there is one.

    Args:
        overwrite: a file may be there (--overwrite).
        source: the file that is read, which is never written over.

    Raises:
        ActionrnnError: `path` is taken; the message says how to go on.
    """
    if not os.path.lexists(path):
        return
    if source is not None and source.exists() and path.exists() and path.samefile(source):
        raise ActionrnnError(f"{path}: is the file that is read; choose another name")
    if path.is_dir():
        raise ActionrnnError(f"{path}: is a folder; name a file")
    if not overwrite:
        raise ActionrnnError(f"{path}: is there already; choose another name, or add --overwrite")


@contextlib.contextmanager
def results_folder(folder: Path, names: Iterable[str]) -> Iterator[None]:
    """Make a folder of results, and keep others from writing there while the block runs.

    A folder that was made for it, and in which nothing was written, is taken away again. Where
    the file system has no locks, others are not kept out.

    Args:
        names: the files that will be written, each within `replacing`.

    Raises:
        ActionrnnError: another process writes there, a file under one of the names was not
            written there by actionrnn, or the folder cannot be made.
    """
    for name in names:
        _require_own(folder / name)
    is_new, ledger = not folder.exists(), folder / LEDGER
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = _open_locked(ledger)
    except OSError as error:
        raise ActionrnnError(
            f"{folder}: cannot be written ({error.strerror}); choose another --output"
        ) from None
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            if not ledger.stat().st_size:
                ledger.unlink()
            if is_new:
                folder.rmdir()  # if it is empty
        os.close(handle)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[None]:
    """The block writes `path`, whole or not at all, into a folder of results.

    Raises:
        ActionrnnError: what is there was not written this way.
    """
    _require_own(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    _note(path, _BEING_WRITTEN)  # a process that dies in the block leaves a file of its own
    try:
        yield
    finally:
        _note(path, file_sha256(path) if path.is_file() else _NOT_THERE)


_BEING_WRITTEN, _NOT_THERE = "-", "0"


def _note(path: Path, sha256: str) -> None:
    with (path.parent / LEDGER).open("a", encoding="utf-8") as ledger:
        ledger.write(f"{sha256}  {path.name}\n")


def _require_own(path: Path) -> None:
    if not os.path.lexists(path) or (path.is_file() and _is_own(path)):
        return
    raise ActionrnnError(
        f"{path}: is there, and is not what actionrnn wrote (by the {LEDGER} beside it); choose "
        "another --output, or move it away"
    )


def _is_own(path: Path) -> bool:
    try:
        lines = (path.parent / LEDGER).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return False
    known = [
        sha256 for sha256, _, name in (line.partition("  ") for line in lines) if name == path.name
    ]
    return known[-1:] == [_BEING_WRITTEN] or file_sha256(path) in known


def _open_locked(file: Path) -> int:
    """Open a file, made if it is not there, and lock it until it is closed.

    Raises:
        ActionrnnError: another holds it.
    """
    while True:
        handle = os.open(file, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            has_locks = lock(handle, wait=False)
        except BlockingIOError:
            os.close(handle)
            raise ActionrnnError(
                f"{file.parent}: another command is writing there; wait until it ends, or choose "
                "another --output"
            ) from None
        if not has_locks or os.fstat(handle).st_nlink:  # else it has just been taken away
            return handle
        os.close(handle)
