"""Archives: what is refused, and which program is taken."""

from __future__ import annotations

import io
import json
import shutil
import stat
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from actionrnn.datasets import archive as module
from actionrnn.datasets.archive import SMALL_BYTES, Entry, find_unpackers, require_inside, unpack
from actionrnn.errors import DatasetError

NAMES = ["UCF-101/YoYo/v_YoYo_g01_c01.avi", "UCF-101/YoYo/v_YoYo_g01_c02.avi"]
OUTSIDE = ["../out.avi", "/out.avi", "a/../../out.avi", "..\\out.avi", "C:\\out.avi", "C:out.avi"]


def make_zip(path: Path, names: list[str], links: tuple[str, ...] = ()) -> Path:
    with zipfile.ZipFile(path, "w") as opened:
        for name in names:
            opened.writestr(name, name)
        for name in links:
            info = zipfile.ZipInfo(name)
            info.external_attr = (stat.S_IFLNK | 0o777) << 16
            opened.writestr(info, "/etc/passwd")
    return path


def make_tar(path: Path, names: list[str], links: tuple[str, ...] = ()) -> Path:
    with tarfile.open(path, "w") as opened:
        for name in names:
            info = tarfile.TarInfo(name)
            info.size = len(name)
            opened.addfile(info, io.BytesIO(name.encode()))
        for name in links:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
            opened.addfile(info)
    return path


def files_below(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): path.read_text()
        for path in folder.rglob("*")
        if path.is_file()
    }


# A program of our own that reads zip files and behaves as another one does.
FAKE = """#!{python}
import sys, zipfile, json
listing, archive, folder = {listing!r}, [a for a in sys.argv if a.endswith(".rar")][0], sys.argv[-1]
with zipfile.ZipFile(archive.replace(".rar", ".zip.hidden")) as opened:
    names = opened.namelist()
    if {fails!r}:
        sys.exit("not a RAR archive that I know")
    if listing == "lsar":
        print(json.dumps({{"lsarContents": [{{"XADFileName": name}} for name in names]}}))
    elif listing == "unrar" and sys.argv[1] == "lt":
        print("UNRAR 6.21 freeware\\n\\nArchive: " + archive)
        for name in names:
            print(f"\\n        Name: {{name}}\\n        Type: File\\n        Size: 3")
    elif listing == "unrar":
        opened.extractall(folder)
    else:
        opened.extractall(sys.argv[sys.argv.index("-o") + 1])
"""


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that is all of PATH."""
    folder = tmp_path / "programs"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def install(folder: Path, program: str, listing: str, fails: bool = False) -> None:
    file = folder / program
    file.write_text(FAKE.format(python=sys.executable, listing=listing, fails=fails))
    file.chmod(0o755)


@pytest.fixture
def rar(tmp_path: Path) -> Path:
    """Not really one: the fake programs read the zip file beside it."""
    make_zip(tmp_path / "UCF101.zip.hidden", NAMES)
    path = tmp_path / "UCF101.rar"
    path.write_bytes(b"Rar!\x1a\x07\x01\x00" + bytes(100))
    return path


def test_a_zip_file_is_unpacked(tmp_path: Path) -> None:
    unpack(make_zip(tmp_path / "a.zip", NAMES), tmp_path / "new")
    assert files_below(tmp_path / "new") == {name: name for name in NAMES}


@pytest.mark.parametrize("name", OUTSIDE)
def test_an_entry_that_would_land_outside_is_refused_before_any_is_unpacked(
    tmp_path: Path, name: str
) -> None:
    archive = make_zip(tmp_path / "a.zip", [*NAMES, name])
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(DatasetError, match=r"its entry .*out\.avi' would land outside"):
        unpack(archive, tmp_path / "new")
    assert sorted(tmp_path.rglob("*")) == before


def test_a_link_in_a_zip_file_is_refused(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "a.zip", NAMES, links=("UCF-101/link",))
    with pytest.raises(DatasetError, match="'UCF-101/link' is a link or a device"):
        unpack(archive, tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("name", ["a/b..c.avi", "..a/b.avi", "a/...", "./a.avi"])
def test_names_with_dots_are_no_climbing(tmp_path: Path, name: str) -> None:
    require_inside(tmp_path / "a.zip", [Entry(name, True)])


def test_a_damaged_zip_file_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "a.zip", NAMES)
    content = bytearray(archive.read_bytes())
    content[60] ^= 0xFF
    archive.write_bytes(content)
    with pytest.raises(DatasetError, match=r"a\.zip: cannot be unpacked \(.*get it again"):
        unpack(archive, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_missing_archive_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"a\.rar: no such archive"):
        unpack(tmp_path / "a.rar", tmp_path / "new")


def test_without_any_program_it_says_what_to_install(
    rar: Path, tmp_path: Path, programs: Path
) -> None:
    with pytest.raises(DatasetError, match=r"install bsdtar .*unar, 7z or unrar"):
        unpack(rar, tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("program", ["unar", "unrar"])
def test_the_program_that_is_there_is_taken(
    rar: Path, tmp_path: Path, programs: Path, program: str
) -> None:
    install(programs, program, listing=program)
    if program == "unar":
        install(programs, "lsar", listing="lsar")
    assert [found.program for found in find_unpackers()] == [program]
    unpack(rar, tmp_path / "new")
    assert files_below(tmp_path / "new") == {name: name for name in NAMES}


def test_a_program_that_cannot_read_it_makes_way_for_the_next(
    rar: Path, tmp_path: Path, programs: Path
) -> None:
    install(programs, "7z", listing="7z", fails=True)
    install(programs, "unrar", listing="unrar")
    unpack(rar, tmp_path / "new")
    assert files_below(tmp_path / "new") == {name: name for name in NAMES}


def test_if_no_program_can_read_it_each_says_why(rar: Path, tmp_path: Path, programs: Path) -> None:
    install(programs, "7z", listing="7z", fails=True)
    install(programs, "unrar", listing="unrar", fails=True)
    with pytest.raises(DatasetError, match=r"7z: not a RAR .*unrar: not a RAR .*get it again"):
        unpack(rar, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_listed_entry_outside_is_refused_before_the_program_unpacks(
    rar: Path, tmp_path: Path, programs: Path
) -> None:
    make_zip(tmp_path / "UCF101.zip.hidden", ["../out.avi"])
    install(programs, "unrar", listing="unrar")
    with pytest.raises(DatasetError, match="would land outside"):
        unpack(rar, tmp_path / "new")


def test_a_zip_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "UCF101.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as opened:
        opened.writestr("v_YoYo_g01_c01.avi", bytes(SMALL_BYTES + 30 * 10**6))
    with pytest.raises(DatasetError, match=r"would become 130000000; get the archive"):
        unpack(path, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_program_that_fills_the_disk_is_ended(
    rar: Path, tmp_path: Path, programs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(programs, "unrar", listing="unrar")
    script = (programs / "unrar").read_text()
    grow = "import time\n        open(folder + '/a.avi', 'wb').write(bytes(5000)); time.sleep(600)"
    (programs / "unrar").write_text(script.replace("opened.extractall(folder)", grow))
    monkeypatch.setattr("actionrnn.datasets.archive.SMALL_BYTES", 1000)
    with pytest.raises(DatasetError, match="would become 5000; get the archive"):
        unpack(rar, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_links_are_seen_in_what_the_programs_print(monkeypatch: pytest.MonkeyPatch) -> None:
    unrar = "   Name: a b/c\n   Type: File\n\n   Name: l\n   Type: Unix symbolic link\n"
    seven = "Path = a b/c\nSymbolic Link = \n\nPath = l\nSymbolic Link = /etc\n\n"
    lsar = json.dumps(
        {"lsarContents": [{"XADFileName": "a b/c"}, {"XADFileName": "l", "XADIsLink": 1}]}
    )
    printed = {"unrar": unrar, "7z": seven, "7zz": seven, "lsar": lsar}
    monkeypatch.setattr(module, "_run", lambda program, *arguments: printed[program])
    for unpacker in module.UNPACKERS:
        if unpacker.program != "bsdtar":
            assert unpacker.list_entries("a.rar") == [Entry("a b/c", True), Entry("l", False)]


needs_bsdtar = pytest.mark.skipif(shutil.which("bsdtar") is None, reason="bsdtar is not installed")


@needs_bsdtar
def test_bsdtar_unpacks(tmp_path: Path) -> None:
    unpack(make_tar(tmp_path / "a.tar", NAMES), tmp_path / "new")
    assert files_below(tmp_path / "new") == {name: name for name in NAMES}


@needs_bsdtar
@pytest.mark.parametrize("name", ["../out.avi", "/out.avi"])
def test_bsdtar_lists_what_would_land_outside(tmp_path: Path, name: str) -> None:
    with pytest.raises(DatasetError, match="would land outside"):
        unpack(make_tar(tmp_path / "a.tar", [name]), tmp_path / "new")
    assert not (tmp_path / "out.avi").exists()


@needs_bsdtar
def test_bsdtar_lists_links(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="'link' is a link or a device"):
        unpack(make_tar(tmp_path / "a.tar", NAMES, links=("link",)), tmp_path / "new")


@needs_bsdtar
def test_bsdtar_refuses_half_an_archive(tmp_path: Path) -> None:
    archive = make_tar(tmp_path / "a.tar", NAMES)
    archive.write_bytes(archive.read_bytes()[:700])
    with pytest.raises(DatasetError, match=r"bsdtar: .*get it again"):
        unpack(archive, tmp_path / "new")
    assert not (tmp_path / "new").exists()
