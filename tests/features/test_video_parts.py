"""A list of videos shared by processes that do not talk to each other."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from actionrnn.errors import ConfigError
from actionrnn.features.video_parts import share_of_rank
from tests.forking import fork_each

LAUNCHERS = [("RANK", "WORLD_SIZE"), ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS")]

IMPORTS = """
import os
import sys

import actionrnn.features.extract
from actionrnn.apps.cli import main
"""
EXTRACT = """
videos, folder = sys.argv[1:]
store = folder + "/" + os.environ["STORE"]
main(["extract", videos, "-o", store, "--num-frames", "4", "--runtime", "torch"])
"""


@pytest.fixture(autouse=True)
def no_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    for names in LAUNCHERS:
        for name in names:
            monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("names", LAUNCHERS)
@pytest.mark.parametrize("size", [1, 2, 5, 30])
def test_every_item_is_in_one_share(
    monkeypatch: pytest.MonkeyPatch, names: tuple[str, str], size: int
) -> None:
    shares = []
    for rank in range(size):
        monkeypatch.setenv(names[0], str(rank))
        monkeypatch.setenv(names[1], str(size))
        shares.append(share_of_rank(range(23)))
    assert sorted(item for share in shares for item in share) == list(range(23))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_without_a_launcher_all_is_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    assert share_of_rank("abc") == ["a", "b", "c"]
    monkeypatch.setenv("SLURM_PROCID", "0")  # the batch script: one process, whatever its tasks
    monkeypatch.setenv("SLURM_NTASKS", "8")
    assert share_of_rank("abc") == ["a", "b", "c"]


@pytest.mark.parametrize("rank", ["2", "-1", "x"])
def test_an_impossible_rank_is_one_line(monkeypatch: pytest.MonkeyPatch, rank: str) -> None:
    monkeypatch.setenv("RANK", rank)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match=rf"RANK \({rank}\) must be a number below"):
        share_of_rank("abc")


def test_processes_at_once_make_the_store_of_one(
    tmp_path: Path, make_video: Callable[..., Path]
) -> None:
    """Real processes, one folder: the same bytes as one process writes."""
    for seed in range(7):
        make_video(f"videos/{'ab'[seed % 2]}/{seed}.avi", seed, count=8)
    (tmp_path / "videos" / "a" / "broken.avi").write_bytes(b"no video")

    ranks = [{"STORE": "shared", "RANK": str(rank), "WORLD_SIZE": "3"} for rank in range(3)]
    places = tmp_path / "videos", tmp_path
    *codes, alone = fork_each(IMPORTS, EXTRACT, [*ranks, {"STORE": "alone"}], *places)
    assert sorted(codes) == [0, 0, 1]  # the broken video is in one share
    assert alone == 1

    def content(folder: str) -> dict[str, bytes]:
        root = tmp_path / folder
        return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}

    assert content("shared") == content("alone")
