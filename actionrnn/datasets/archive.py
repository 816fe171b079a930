"""An archive becomes files: listed first, refused if an entry would land outside, then unpacked.

Zip and tar files are read by Python; RAR files by `rarfile`, which runs an installed unpacking
program (unrar, unar, 7z or bsdtar) for entries that are compressed.
"""

from __future__ import annotations

import lzma
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO, Any

import rarfile

from actionrnn.datasets.download import require_free_space
from actionrnn.errors import DatasetError
from actionrnn.progress import progress_bar

# Videos hardly shrink in an archive: bytes on the disk for each byte of it.
UNPACKED_RATIO = 1.05
MOST_UNPACKED_RATIO = 20
SMALL_BYTES = 100 * 10**6  # any disk has room for this

_DAMAGED = (
    rarfile.Error,
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    RuntimeError,  # a password, or a compression that zipfile does not know
    ValueError,
)


@dataclass(frozen=True)
class ArchivedFile:
    """One name in an archive."""

    name: str
    size_bytes: int
    is_folder: bool
    is_plain: bool
    """A file or a folder; False for a link or a device."""
    open: Callable[[], IO[bytes] | None]


def unpack(archive: Path, folder: Path) -> None:
    """Unpack a .rar, .zip or .tar archive into a new folder; a failure leaves no folder.

    Raises:
        DatasetError: the archive is missing or damaged, an entry would land outside the folder
            or is a link, the unpacked files would fill the disk, or no program that unpacks .rar
            is installed.
        OSError: the folder cannot be written.
    """
    if not archive.is_file():
        raise DatasetError(f"{archive}: no such archive")
    folder.mkdir(parents=True)
    try:
        require_free_space(folder, int(UNPACKED_RATIO * archive.stat().st_size))
        _unpack_into(archive, folder)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def require_rar_program() -> None:
    """Look for a program that unpacks RAR files.

    Raises:
        DatasetError: none is installed; the message says what to install.
    """
    try:
        rarfile.tool_setup(force=True)
    except rarfile.RarCannotExec:
        raise DatasetError(
            "no program that unpacks .rar is installed; install unar (Debian: apt install unar, "
            "macOS: brew install unar), unrar, 7z or bsdtar"
        ) from None


def _require_inside(archive: Path, entries: Sequence[ArchivedFile]) -> None:
    """Refuse names that are absolute or climb up, and links and devices, before any is written."""
    for entry in entries:
        # a name is read as both systems do, as the archive may come from either
        paths = PurePosixPath(entry.name), PureWindowsPath(entry.name)
        if any(path.anchor or ".." in path.parts for path in paths):
            raise DatasetError(
                f"{archive}: its entry {entry.name!r} would land outside the folder; "
                "get the archive from the data set's own site"
            )
        if not entry.is_plain:
            raise DatasetError(
                f"{archive}: its entry {entry.name!r} is a link or a device, not a file; "
                "get the archive from the data set's own site"
            )


def _unpack_into(archive: Path, folder: Path) -> None:
    try:
        with _opened(archive) as entries:
            _require_inside(archive, entries)
            _require_sane_size(archive, sum(entry.size_bytes for entry in entries))
            with progress_bar(f"unpacking {archive.name}", len(entries)) as advance:
                for entry in entries:
                    _write(entry, folder.joinpath(*PurePosixPath(entry.name).parts))
                    advance()
    except (*_DAMAGED, OSError) as error:
        if isinstance(error, rarfile.RarCannotExec):
            require_rar_program()
        if isinstance(error, OSError) and error.errno is not None:  # the disk's, not the data's
            raise
        raise DatasetError(
            f"{archive}: cannot be unpacked ({error}); get it again if it is damaged; if it is "
            "not, install unrar or unar, or unpack it by hand"
        ) from None


def _write(entry: ArchivedFile, path: Path) -> None:
    if entry.is_folder:
        path.mkdir(parents=True, exist_ok=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    packed = entry.open()
    assert packed is not None  # only a tar file's links and devices have no content
    with packed, path.open("wb") as file:
        shutil.copyfileobj(packed, file)


def _require_sane_size(archive: Path, unpacked_bytes: int) -> None:
    """Refuse what grows twenty times: videos hardly shrink, so it is made to fill the disk.

    No more is written than the entries declare: each reader ends at the declared size.
    """
    if unpacked_bytes > MOST_UNPACKED_RATIO * archive.stat().st_size + SMALL_BYTES:
        raise DatasetError(
            f"{archive}: its {archive.stat().st_size} bytes would become {unpacked_bytes}; "
            "get the archive from the data set's own site"
        )


@contextmanager
def _opened(archive: Path) -> Iterator[list[ArchivedFile]]:
    """The entries of an archive, which can be read within the block."""
    if rarfile.is_rarfile(archive):
        with rarfile.RarFile(archive, errors="strict") as rar:
            if rar.needs_password():
                raise rarfile.PasswordRequired("it has a password")
            if rar.is_solid():  # each of its files needs all before it to be unpacked again
                raise DatasetError(
                    f"{archive}: is a solid archive; unpack it by hand (`unrar x`), and give the "
                    "folder"
                )
            yield [_entry(rar, member, _is_plain_rar(member)) for member in rar.infolist()]
    elif zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as zipped:
            yield [
                _entry(zipped, member, _is_plain_mode(member.external_attr >> 16))
                for member in zipped.infolist()
            ]
    elif tarfile.is_tarfile(archive):
        with tarfile.open(archive) as tar:
            entries = [_tar_entry(tar, member) for member in tar.getmembers()]
            _require_tar_end(tar)
            yield entries
    else:
        raise DatasetError(
            f"{archive}: is not a .rar, .zip or .tar archive; get it again, or unpack it by hand"
        )


def _entry(opened: Any, member: Any, is_plain: bool) -> ArchivedFile:
    """Of a RAR or zip file: `rarfile` has the interface of `zipfile`."""
    name, size_bytes = member.filename, member.file_size
    return ArchivedFile(name, size_bytes, member.is_dir(), is_plain, partial(opened.open, member))


def _is_plain_rar(member: Any) -> bool:
    """Whether it is neither a link, which has a `file_redir` in RAR 5, nor a device."""
    is_unix = member.host_os == rarfile.RAR_OS_UNIX
    return not member.file_redir and (not is_unix or _is_plain_mode(member.mode))


def _is_plain_mode(mode: int) -> bool:
    return stat.S_IFMT(mode) in (0, stat.S_IFREG, stat.S_IFDIR)  # 0: the archive does not say


def _tar_entry(tar: tarfile.TarFile, member: tarfile.TarInfo) -> ArchivedFile:
    is_plain = member.isreg() or member.isdir()
    opener = partial(tar.extractfile, member)
    return ArchivedFile(member.name, member.size, member.isdir(), is_plain, opener)


def _require_tar_end(tar: tarfile.TarFile) -> None:
    """Refuse a cut or damaged list, which `tarfile` takes for the end: that is a block of zeros."""
    assert tar.fileobj is not None
    tar.fileobj.seek(tar.offset)
    if tar.fileobj.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise tarfile.ReadError("it ends too early")
