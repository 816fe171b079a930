"""`actionrnn prepare ucf101`: what is printed, and the exit code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from actionrnn.apps.cli import main
from actionrnn.datasets import ucf101_prepare
from actionrnn.datasets.ucf101_prepare import TreeCheck


def prepare(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["prepare", "ucf101", *map(str, arguments)])


def check_of(root: Path, num_clips: int, **problems: tuple[str, ...]) -> TreeCheck:
    kinds = ("missing", "extra", "empty", "unreadable", "misplaced")
    return TreeCheck(root, 101, num_clips, None, **{kind: problems.get(kind, ()) for kind in kinds})


def test_nothing_there_says_what_is_missing_and_how_to_get_it(tmp_path: Path) -> None:
    result = prepare(tmp_path / "ucf101")
    assert result.exit_code == 1
    assert "0 of 13320 clips" in result.stdout
    assert "missing: 101 of 101 classes" in result.stdout
    assert "--download" in result.stderr
    assert not (tmp_path / "ucf101").exists()


def test_a_complete_tree_says_how_to_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found: dict[str, Any] = {}

    def answer(folder: Path, **options: Any) -> TreeCheck:
        found.update(options, folder=folder)
        return check_of(folder / "UCF-101", 13_320)

    monkeypatch.setattr(ucf101_prepare, "prepare_ucf101", answer)
    result = prepare(tmp_path, "--download", "--archive", "a.rar", "--check-videos")
    assert result.exit_code == 0
    assert found == {
        "folder": tmp_path,
        "archive": Path("a.rar"),
        "fetch": True,
        "decode_videos": True,
    }
    last = result.stdout.splitlines()[-1]
    assert f"data.root={tmp_path / 'UCF-101'}" in last


def test_an_extra_clip_exits_1_though_no_download_would_help(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check = check_of(tmp_path, 13_320, extra=("YoYo/mine.avi",))
    monkeypatch.setattr(ucf101_prepare, "prepare_ucf101", lambda *_, **__: check)
    result = prepare(tmp_path)
    assert result.exit_code == 1
    assert "extra: YoYo/mine.avi" in result.stdout
    assert result.stderr == ""


def test_a_missing_archive_is_one_line(tmp_path: Path) -> None:
    result = prepare(tmp_path / "ucf101", "--archive", tmp_path / "no.rar")
    assert result.exit_code == 1
    (line,) = result.stderr.splitlines()
    assert line == f"error: {tmp_path / 'no.rar'}: no such archive"
