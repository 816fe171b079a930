"""Files that are either whole or not there, and never written over what others wrote."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from actionrnn.errors import ActionrnnError

MODEL_FILE = "model.safetensors"
"""The model in the folder of a run."""
CONFIG_FILE = "config.yaml"
"""Its configuration, with the paths of this machine."""
LEFTOVERS = ".*.tmp"
LEDGER = ".actionrnn"
"""In a folder of results, a line `<sha256>  <name>` for each file that was written there: what a
command may replace. Whoever writes there holds a lock on it."""


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
    usual = temporary.stat().st_mode
    try:
        yield temporary
        temporary.chmod(stat.S_IMODE(usual))  # safetensors puts a file of its own in its place
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
        OSError: it cannot be written, or not `replace`, and `folder` is there and not empty.
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
        f"{path}: is there, and is not what actionrnn wrote; choose another --output, or move it "
        "away"
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
            import fcntl  # not on Windows

            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            raise ActionrnnError(
                f"{file.parent}: another command is writing there; wait until it ends, or choose "
                "another --output"
            ) from None
        except (ImportError, OSError):  # no locks here
            return handle
        if os.fstat(handle).st_nlink:  # else the one before has just taken it away
            return handle
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
        temporary = path.with_name(f".{path.stem[:40]}.{secrets.token_hex(4)}.tmp")
        try:  # the system takes the umask off, which only the whole process could be asked for
            handle = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        except FileExistsError:
            continue
        if not _lock(handle, wait=True):
            os.close(handle)
            return None, temporary
        if os.fstat(handle).st_nlink:  # nobody took it for a leftover before it was locked
            return handle, temporary
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


def can_be_a_name(text: str) -> bool:
    """Whether a file can be called so: without a NUL, in characters that the system can write."""
    try:
        return b"\0" not in os.fsencode(text)
    except UnicodeEncodeError:
        return False


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
