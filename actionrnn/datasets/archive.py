"""An archive becomes files: listed first, refused if an entry would land outside, then unpacked.

Zip files are read by Python; anything else by the first program of `UNPACKERS` that is installed
and can read it.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import stat
import subprocess
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from actionrnn.datasets.download import require_free_space
from actionrnn.errors import DatasetError
from actionrnn.progress import progress_bar

# Videos hardly shrink in an archive: so much room for each of its bytes.
UNPACKED_RATIO = 1.05
MOST_UNPACKED_RATIO = 20
SMALL_BYTES = 100 * 10**6  # what any disk can take


@dataclass(frozen=True)
class Entry:
    """One name in an archive."""

    name: str
    is_plain: bool
    """A file or a folder: no link, no device."""


@dataclass(frozen=True)
class Unpacker:
    """A program that unpacks archives."""

    program: str
    list_entries: Callable[[str], list[Entry]]
    extract_arguments: Sequence[str]
    """`{archive}` and `{folder}` are filled in."""


class _FailedError(Exception):
    """A program cannot read the archive; another may."""


def find_unpackers() -> list[Unpacker]:
    """The unpacking programs that are installed, the best first.

    Raises:
        DatasetError: there is none; the message says what to install.
    """
    found = [unpacker for unpacker in UNPACKERS if shutil.which(unpacker.program)]
    if not found:
        raise DatasetError(
            "no program that unpacks .rar is installed; install bsdtar (Debian: apt install "
            "libarchive-tools, macOS: it is there), unar, 7z or unrar"
        )
    return found


def unpack(archive: Path, folder: Path) -> None:
    """Unpack an archive into a new folder, which is there only if everything went well.

    Raises:
        DatasetError: the archive is missing or damaged, an entry would land outside the folder
            or is a link, no program can read it, or the disk is too small.
    """
    if not archive.is_file():
        raise DatasetError(f"{archive}: no such archive")
    folder.mkdir(parents=True)
    try:
        require_free_space(folder, int(UNPACKED_RATIO * archive.stat().st_size))
        if zipfile.is_zipfile(archive):
            _unpack_zip(archive, folder)
        else:
            _unpack_by_program(archive.resolve(), folder.resolve())
        _require_plain_files(archive, folder)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def require_inside(archive: Path, entries: Sequence[Entry]) -> None:
    """Refuse entries that would land, or lead, outside the folder that they are unpacked into.

    Raises:
        DatasetError: a name is absolute or climbs up, or an entry is a link or a device.
    """
    for entry in entries:
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


def _unpack_zip(archive: Path, folder: Path) -> None:
    try:
        with zipfile.ZipFile(archive) as opened:
            members = opened.infolist()
            require_inside(archive, [_zip_entry(member) for member in members])
            _require_sane(archive, sum(member.file_size for member in members))
            with progress_bar(f"unpacking {archive.name}", len(members)) as advance:
                for member in members:
                    opened.extract(member, folder)
                    advance()
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise _damaged(archive, str(error)) from None


def _zip_entry(member: zipfile.ZipInfo) -> Entry:
    kind = stat.S_IFMT(member.external_attr >> 16)
    return Entry(member.filename, kind in (0, stat.S_IFREG, stat.S_IFDIR))


def _unpack_by_program(archive: Path, folder: Path) -> None:
    problems = []
    for unpacker in find_unpackers():
        try:
            entries = unpacker.list_entries(str(archive))
            require_inside(archive, entries)
            arguments = unpacker.extract_arguments
            filled = [part.format(archive=archive, folder=folder) for part in arguments]
            _extract([unpacker.program, *filled], archive, folder, len(entries))
        except (_FailedError, OSError, ValueError, LookupError) as error:
            problems.append(f"{unpacker.program}: {error}")
            shutil.rmtree(folder)
            folder.mkdir()
            continue
        return
    raise _damaged(archive, "; ".join(problems))


def _require_sane(archive: Path, unpacked_bytes: int) -> None:
    """Videos hardly shrink: what grows twenty times is made to fill the disk."""
    if unpacked_bytes > MOST_UNPACKED_RATIO * archive.stat().st_size + SMALL_BYTES:
        raise DatasetError(
            f"{archive}: its {archive.stat().st_size} bytes would become {unpacked_bytes}; "
            "get the archive from the data set's own site"
        )


def _extract(command: list[str], archive: Path, folder: Path, num_entries: int) -> None:
    """Run the program, and show how many files are there."""
    with (
        progress_bar("unpacking", num_entries) as advance,
        subprocess.Popen(command, **_PIPES) as process,
    ):
        num_shown, printed = 0, None
        try:
            while printed is None:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    printed, problems = process.communicate(timeout=1)
                unpacked = [path for path in folder.rglob("*") if path.is_file()]
                advance(len(unpacked) - num_shown)
                num_shown = len(unpacked)
                _require_sane(archive, sum(path.lstat().st_size for path in unpacked))
        except BaseException:
            process.kill()
            raise
    if process.returncode:
        raise _FailedError(_last_line(printed + problems) or f"exit code {process.returncode}")


def _require_plain_files(archive: Path, folder: Path) -> None:
    """What really came, whatever the list said."""
    found = [
        Entry(
            name, stat.S_IFMT((Path(parent) / name).lstat().st_mode) in (stat.S_IFREG, stat.S_IFDIR)
        )
        for parent, folders, files in os.walk(folder)
        for name in (*folders, *files)
    ]
    require_inside(archive, found)


def _run(*command: str) -> str:
    done = subprocess.run(command, **_PIPES)
    if done.returncode:
        printed = done.stdout + done.stderr
        raise _FailedError(_last_line(printed) or f"exit code {done.returncode}")
    return str(done.stdout)


def _list_bsdtar(archive: str) -> list[Entry]:
    names = _run("bsdtar", "-tf", archive).splitlines()
    modes = _run("bsdtar", "-tvf", archive).splitlines()
    return [Entry(name, mode[0] in "-d") for name, mode in zip(names, modes, strict=True)]


def _list_unar(archive: str) -> list[Entry]:
    contents = json.loads(_run("lsar", "-json", archive))["lsarContents"]
    return [Entry(item["XADFileName"], not item.get("XADIsLink")) for item in contents]


def _list_7z(program: str, archive: str) -> list[Entry]:
    blocks = _run(program, "l", "-slt", "-ba", "--", archive).split("\n\n")
    found = [dict(re.findall(r"^([\w ]+) = (.*)$", block, re.MULTILINE)) for block in blocks]
    return [
        Entry(block["Path"], not (block.get("Symbolic Link") or block.get("Hard Link")))
        for block in found
        if block
    ]


def _list_unrar(archive: str) -> list[Entry]:
    listed = _run("unrar", "lt", "-p-", "-cfg-", "--", archive)
    found = re.findall(r"^ *Name: (.*)\n *Type: (.*)$", listed, re.MULTILINE)
    return [Entry(name, kind.strip() in ("File", "Directory")) for name, kind in found]


def _last_line(printed: str) -> str:
    lines = [line.strip() for line in printed.splitlines() if line.strip()]
    return lines[-1] if lines else ""


def _damaged(archive: Path, reason: str) -> DatasetError:
    return DatasetError(
        f"{archive}: cannot be unpacked ({reason}); get it again if it is damaged, or install "
        "another of bsdtar, unar, 7z, unrar"
    )


_PIPES: dict[str, Any] = {
    "stdin": subprocess.DEVNULL,  # nobody is there to type a password
    "stdout": subprocess.PIPE,
    "stderr": subprocess.PIPE,
    "text": True,
    "errors": "replace",
}

_EXTRACT_7Z = ("x", "-y", "-bd", "-o{folder}", "--", "{archive}")

UNPACKERS = (
    Unpacker(
        "bsdtar",
        _list_bsdtar,
        ("-x", "--no-same-owner", "--no-same-permissions", "-C", "{folder}", "-f", "{archive}"),
    ),
    Unpacker(
        "unar",
        _list_unar,
        ("-quiet", "-force-overwrite", "-no-directory", "-o", "{folder}", "{archive}"),
    ),
    Unpacker("7zz", partial(_list_7z, "7zz"), _EXTRACT_7Z),
    Unpacker("7z", partial(_list_7z, "7z"), _EXTRACT_7Z),
    Unpacker("unrar", _list_unrar, ("x", "-y", "-idq", "-p-", "-cfg-", "{archive}", "{folder}/")),
)
