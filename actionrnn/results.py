"""Refuses to write over a user's files: a command replaces only what a command wrote there."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from actionrnn.errors import ActionrnnError
from actionrnn.files import file_sha256, open_locked

CHECKSUMS_FILE = ".actionrnn"
"""In a folder of results, a line `<sha256>  <name>` for each file that a command wrote there, and
so may replace. The process that writes there holds a lock on it."""

_BEING_WRITTEN, _NOT_THERE = "-", "0"  # in place of a sha256


def require_new(path: Path, *, overwrite: bool = False, source: Path | None = None) -> None:
    """Refuse to write over an existing file that a user has named as output.

    Args:
        path: the output.
        overwrite: replace an existing file (--overwrite).
        source: the input, which is never written over, even with `overwrite`.

    Raises:
        ActionrnnError: `path` exists, and may not be replaced; the message says what to do.
    """
    if not os.path.lexists(path):
        return
    if source is not None and source.exists() and path.exists() and path.samefile(source):
        raise ActionrnnError(f"{path}: is the file that is read; choose another name")
    if path.is_dir():
        raise ActionrnnError(f"{path}: is a folder; name a file")
    if not overwrite:
        raise ActionrnnError(f"{path}: exists already; choose another name, or add --overwrite")


@contextlib.contextmanager
def results_folder(folder: Path, names: Iterable[str]) -> Iterator[None]:
    """Make a folder of results, and keep other commands from writing there during the block.

    A new folder in which nothing was written is removed again. Where the file system has no
    locks, other commands are not kept out.

    Args:
        folder: is made if it does not exist.
        names: the files that will be written, each within `replacing`.

    Raises:
        ActionrnnError: another process writes there, a file with one of the names was not
            written there by actionrnn, or the folder cannot be made.
    """
    for name in names:
        _require_own(folder / name)
    is_new, checksums = not folder.exists(), folder / CHECKSUMS_FILE
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle, _ = open_locked(checksums, wait=False)
    except BlockingIOError:
        raise ActionrnnError(
            f"{folder}: another command is writing there; wait until it ends, or choose "
            "another --output"
        ) from None
    except OSError as error:
        raise ActionrnnError(
            f"{folder}: cannot be written ({error.strerror}); choose another --output"
        ) from None
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            if not checksums.stat().st_size:
                checksums.unlink()
            if is_new:
                folder.rmdir()  # fails if it is not empty
        os.close(handle)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[None]:
    """Record that the block writes `path`, whole or not at all, into a folder of results.

    Raises:
        ActionrnnError: `path` exists, and was not written this way.
    """
    _require_own(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    _note(path, _BEING_WRITTEN)  # if the process dies in the block, the file counts as written
    try:
        yield
    finally:
        _note(path, file_sha256(path) if path.is_file() else _NOT_THERE)


def _note(path: Path, sha256: str) -> None:
    with (path.parent / CHECKSUMS_FILE).open("a", encoding="utf-8") as checksums:
        checksums.write(f"{sha256}  {path.name}\n")


def _require_own(path: Path) -> None:
    if not os.path.lexists(path) or (path.is_file() and _is_own(path)):
        return
    raise ActionrnnError(
        f"{path}: is not what actionrnn wrote (by {CHECKSUMS_FILE} in its folder); choose "
        "another --output, or move it away"
    )


def _is_own(path: Path) -> bool:
    try:
        lines = (
            (path.parent / CHECKSUMS_FILE)
            .read_text(encoding="utf-8", errors="replace")
            .splitlines()
        )
    except OSError:
        return False
    known = [
        sha256 for sha256, _, name in (line.partition("  ") for line in lines) if name == path.name
    ]
    return known[-1:] == [_BEING_WRITTEN] or file_sha256(path) in known
