"""Archives: what is unpacked, what is refused, and what then is left on the disk: nothing."""

from __future__ import annotations

import functools
import io
import stat
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import rarfile

from actionrnn.datasets.archive import SMALL_BYTES, require_rar_program, unpack
from actionrnn.errors import DatasetError

NAMES = ["UCF-101/YoYo/v_YoYo_g01_c01.avi", "UCF-101/YoYo/v_YoYo_g01_c02.avi"]
OUTSIDE = ["../out.avi", "/out.avi", "a/../../out.avi", "..\\out.avi", "C:\\out.avi", "C:out.avi"]
LINK, DEVICE = stat.S_IFLNK | 0o777, stat.S_IFCHR | 0o600

MakeArchive = Callable[..., Path]


def make_zip(path: Path, names: Sequence[str], special: int = 0) -> Path:
    """Files that hold their own names; `special` is the mode of another entry, `special`."""
    with zipfile.ZipFile(path, "w") as opened:
        for name in names:
            opened.writestr(name, name)
        if special:
            info = zipfile.ZipInfo("special")
            info.external_attr = special << 16
            opened.writestr(info, "/etc/passwd")
    return path


def make_tar(path: Path, names: Sequence[str], special: int = 0, mode: str = "w") -> Path:
    with tarfile.open(path, mode) as opened:  # type: ignore[call-overload]
        for name in names:
            info = tarfile.TarInfo(name)
            info.size = len(name)
            opened.addfile(info, io.BytesIO(name.encode()))
        if special:
            info = tarfile.TarInfo("special")
            info.type = tarfile.SYMTYPE if special == LINK else tarfile.CHRTYPE
            info.linkname = "/etc/passwd"
            opened.addfile(info)
    return path


def vint(number: int) -> bytes:
    """A number as RAR 5 writes it: 7 bits a byte, the lowest first."""
    low, rest = number & 0x7F, number >> 7
    return bytes([low | 0x80]) + vint(rest) if rest else bytes([low])


def rar_block(kind: int, fields: bytes, data: bytes = b"", extra: bytes = b"") -> bytes:
    flags = (1 if extra else 0) | (2 if data else 0)
    sizes = (vint(len(extra)) if extra else b"") + (vint(len(data)) if data else b"")
    header = vint(kind) + vint(flags) + sizes + fields + extra
    sized = vint(len(header)) + header
    return zlib.crc32(sized).to_bytes(4, "little") + sized + data


def rar_file(
    name: str,
    content: bytes,
    *,
    mode: int = stat.S_IFREG | 0o644,
    method: int = 0,
    size_bytes: int | None = None,
    record: bytes = b"",
) -> bytes:
    """A file's block; method 0 stores the content, others have it compressed."""
    fields = [vint(4), vint(len(content) if size_bytes is None else size_bytes), vint(mode)]
    fields += [zlib.crc32(content).to_bytes(4, "little"), vint(method << 7), vint(1)]
    fields += [vint(len(name.encode())), name.encode()]
    extra = vint(len(record)) + record if record else b""
    return rar_block(2, b"".join(fields), content, extra)


def rar_of(*files: bytes, is_solid: bool = False) -> bytes:
    main, end = rar_block(1, vint(4 if is_solid else 0)), rar_block(5, vint(0))
    return b"Rar!\x1a\x07\x01\x00" + main + b"".join(files) + end


def make_rar(path: Path, names: Sequence[str], special: int = 0) -> Path:
    files = [rar_file(name, name.encode()) for name in names]
    if special:
        target = b"/etc/passwd"
        redirection = vint(5) + vint(1) + vint(0) + vint(len(target)) + target
        record = redirection if special == LINK else b""
        files.append(rar_file("special", b"", mode=special, record=record))
    path.write_bytes(rar_of(*files))
    return path


FORMATS = {
    ".zip": make_zip,
    ".tar": make_tar,
    ".tar.gz": functools.partial(make_tar, mode="w:gz"),
    ".tar.bz2": functools.partial(make_tar, mode="w:bz2"),
    ".rar": make_rar,
}


@pytest.fixture(params=FORMATS)
def make(request: pytest.FixtureRequest, tmp_path: Path) -> MakeArchive:
    """Makes an archive of each format."""
    return functools.partial(FORMATS[request.param], tmp_path / f"a{request.param}")


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that is all of PATH."""
    folder = tmp_path / "programs"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setattr(rarfile, "CURRENT_SETUP", None)
    return folder


def install_unrar(folder: Path, printed: bytes) -> None:
    """A program that prints the content of every file."""
    file = folder / "unrar"
    file.write_text(
        f"#!{sys.executable}\nimport sys\nif sys.argv[1] == 'p':\n"
        f"    sys.stdout.buffer.write({printed!r})\n"
    )
    file.chmod(0o755)


def files_below(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): path.read_text()
        for path in folder.rglob("*")
        if path.is_file()
    }


def require_refused(archive: Path, reason: str) -> None:
    """The archive is refused, and nothing is written anywhere."""
    folder = archive.parent
    before = sorted(folder.rglob("*"))
    with pytest.raises(DatasetError, match=reason):
        unpack(archive, folder / "new")
    assert sorted(folder.rglob("*")) == before


def test_an_archive_is_unpacked(make: MakeArchive, tmp_path: Path, programs: Path) -> None:
    """Stored files of a RAR archive need no program either."""
    unpack(make(NAMES), tmp_path / "new")
    assert files_below(tmp_path / "new") == {name: name for name in NAMES}


@pytest.mark.parametrize("name", ["a/b..c.avi", "..a/b.avi", "a/...", "./a.avi"])
def test_names_with_dots_stay_inside(make: MakeArchive, tmp_path: Path, name: str) -> None:
    unpack(make([name]), tmp_path / "new")
    assert list(files_below(tmp_path / "new").values()) == [name]


@pytest.mark.parametrize("name", OUTSIDE)
def test_an_entry_that_would_land_outside_is_refused_before_any_is_unpacked(
    make: MakeArchive, name: str
) -> None:
    require_refused(make([*NAMES, name]), r"its entry .*out\.avi' would land outside")


@pytest.mark.parametrize("special", [LINK, DEVICE])
def test_links_and_devices_are_refused(make: MakeArchive, special: int) -> None:
    require_refused(make(NAMES, special=special), "'special' is a link or a device")


@pytest.mark.parametrize("place", [0.2, 0.5])
def test_a_damaged_archive_is_refused_and_leaves_nothing(make: MakeArchive, place: float) -> None:
    archive = make(NAMES)
    content = bytearray(archive.read_bytes())
    index = content.index(NAMES[0].encode()) if archive.suffix == ".tar" else len(content) * place
    content[int(index)] ^= 0xFF
    archive.write_bytes(content)
    require_refused(archive, r"a\.(zip|tar|rar).*: cannot be unpacked \(.*get it again|is not a ")


def test_half_an_archive_is_refused_and_leaves_nothing(make: MakeArchive) -> None:
    archive = make([f"{index}.avi" for index in range(80)])
    content = archive.read_bytes()
    archive.write_bytes(content[: len(content) // 2])
    require_refused(archive, "cannot be unpacked|is not a .rar, .zip or .tar archive")


def test_a_missing_archive_is_one_line(tmp_path: Path) -> None:
    require_refused(tmp_path / "a.rar", r"a\.rar: no such archive")


def test_another_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.rar").write_bytes(b"<html>404 Not Found</html>")
    require_refused(tmp_path / "a.rar", r"a\.rar: is not a \.rar, \.zip or \.tar archive; get it")


def test_a_zip_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "UCF101.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as opened:
        opened.writestr("v_YoYo_g01_c01.avi", bytes(SMALL_BYTES + 30 * 10**6))
    require_refused(path, "would become 130000000; get the archive")


def test_a_rar_bomb_is_refused_before_a_program_starts(tmp_path: Path, programs: Path) -> None:
    bomb = rar_file(NAMES[0], b"packed", method=3, size_bytes=SMALL_BYTES + 30 * 10**6)
    (tmp_path / "a.rar").write_bytes(rar_of(bomb))
    require_refused(tmp_path / "a.rar", "would become 130000000; get the archive")


def test_a_rar_archive_with_a_password_is_refused(tmp_path: Path) -> None:
    encryption = vint(1) + vint(0) + vint(0) + bytes([15]) + bytes(32)
    (tmp_path / "a.rar").write_bytes(rar_of(rar_file("a.avi", b"a", record=encryption)))
    require_refused(tmp_path / "a.rar", r"cannot be unpacked \(it has a password\)")


def test_a_solid_rar_archive_is_refused(tmp_path: Path) -> None:
    """Each of thousands of files would need all before it to be unpacked again."""
    (tmp_path / "a.rar").write_bytes(rar_of(rar_file("a.avi", b"a"), is_solid=True))
    require_refused(tmp_path / "a.rar", r"is a solid archive; unpack it by hand")


@pytest.fixture
def compressed(tmp_path: Path) -> Path:
    """A RAR archive of a compressed file, which a program must unpack: it holds `content`."""
    path = tmp_path / "a.rar"
    header = rar_file(NAMES[0], b"content", method=3)
    path.write_bytes(rar_of(header))
    return path


def test_without_any_program_it_says_what_to_install(compressed: Path, programs: Path) -> None:
    reason = r"no program that unpacks \.rar is installed; install unar \(.*, unrar, 7z or bsdtar"
    require_refused(compressed, reason)
    with pytest.raises(DatasetError, match=reason):
        require_rar_program()


def test_an_installed_program_unpacks(compressed: Path, programs: Path) -> None:
    install_unrar(programs, b"content")
    require_rar_program()
    unpack(compressed, compressed.parent / "new")
    assert files_below(compressed.parent / "new") == {NAMES[0]: "content"}


@pytest.mark.parametrize("printed", [b"", b"cont", b"another", b"content and more"])
def test_a_program_that_fails_is_noticed(compressed: Path, programs: Path, printed: bytes) -> None:
    install_unrar(programs, printed)
    if printed.startswith(b"content"):  # what is beyond the declared size is never written
        unpack(compressed, compressed.parent / "new")
        assert files_below(compressed.parent / "new") == {NAMES[0]: "content"}
        return
    require_refused(compressed, r"cannot be unpacked \(.*install unrar or unar")
