"""A store that survives anything: SIGKILL, a full disk, files that vanish, two processes."""

from __future__ import annotations

import contextlib
import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from actionrnn.config import Sampling
from actionrnn.errors import FeatureError, VideoError
from actionrnn.features.backbone import Backbone
from actionrnn.features.extract import extract_to_store
from actionrnn.features.provenance import Features
from actionrnn.features.store import FeatureStore
from actionrnn.video.decode import visit_frames
from tests.tiny import tiny_provenance

FOUR = Sampling(num_frames=4)
MakeVideo = Callable[..., Path]
CHECKOUT = Path(__file__).parents[2]
MakeClips = Callable[..., Path]
LABELS = ("blue", "green", "red")
NUM_CLIPS = 60


@pytest.fixture(scope="module")
def videos(make_clips: MakeClips) -> Path:
    """Sixty clips in three folders, and two that cannot be used; to be left as they are."""
    root = make_clips(groups=[f"{number:02d}" for number in range(20)], labels=LABELS)
    (root / LABELS[0] / "empty.avi").touch()
    (root / LABELS[1] / "broken.avi").write_text("no video\n" * 100)
    return root


@pytest.fixture(scope="module", params=[6, pytest.param(30, marks=pytest.mark.slow)])
def seen(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, videos: Path
) -> dict[str, Any]:
    """What came of an extraction that was killed so many times, and of two at once."""
    if not hasattr(os, "fork"):
        pytest.skip("forks")
    folder, num_kills = tmp_path_factory.mktemp("killed"), str(request.param)
    command = [sys.executable, "-m", "tests.features.kill_extraction", str(videos), str(folder)]
    done = subprocess.run(
        [*command, num_kills, "0"], capture_output=True, text=True, timeout=300, cwd=CHECKOUT
    )
    assert done.returncode == 0, done.stderr
    seen: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return {**seen, "wanted_kills": request.param}


def test_killed_at_any_moment_it_ends_in_the_same_bytes(seen: dict[str, Any]) -> None:
    assert seen["kills"] == seen["wanted_kills"]
    assert seen["uninterrupted"] == [NUM_CLIPS, 0, 2]
    assert seen["same_bytes"] == [True] * seen["rounds"]
    assert any(0 < count < NUM_CLIPS for count in seen["entries_at_kills"])


def test_nothing_valid_is_computed_twice(seen: dict[str, Any]) -> None:
    assert seen["computed_twice"] == 0
    for num_whole, num_extracted, num_skipped, num_failed in seen["last_runs"]:
        assert (num_extracted, num_skipped, num_failed) == (NUM_CLIPS - num_whole, num_whole, 2)


def test_two_processes_on_one_store_do_no_harm(seen: dict[str, Any]) -> None:
    for num_extracted, num_skipped, num_failed in seen["both"]:
        assert (num_extracted + num_skipped, num_failed) == (NUM_CLIPS, 2)
    assert seen["both_same_bytes"]


def content(root: Path) -> dict[str, bytes]:
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file()
    }


@contextlib.contextmanager
def mounted(folder: Path, *options: str) -> Iterator[Path]:
    """A small disk of its own, where this machine lets us have one."""
    folder.mkdir(exist_ok=True)
    command = ["mount", *options, str(folder)]
    if sys.platform != "linux" or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("mounting takes root on Linux")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_one_error_and_the_run_goes_on_later(
    tmp_path: Path, videos: Path, tiny_backbone: Backbone
) -> None:
    options: dict[str, Any] = {"backbone": tiny_backbone, "sampling": FOUR}
    tmpfs = ("-t", "tmpfs", "-o", "size=160k", "tmpfs")
    with mounted(tmp_path / "disk", *tmpfs) as disk:
        with pytest.raises(FeatureError, match=r"No space left on device.*same command continues"):
            extract_to_store([videos], disk / "store", **options)
        stored = FeatureStore.open(disk / "store")
        whole = stored.keys()
        assert 0 < len(whole) < NUM_CLIPS
        assert all(len(stored.read(key)) == 4 for key in whole)
        assert not list(disk.rglob("*.tmp"))
        subprocess.run(["mount", "-o", "remount,size=2m", str(disk)], check=True)
        done = extract_to_store([videos], disk / "store", **options)
        assert (done.num_extracted, done.num_skipped) == (NUM_CLIPS - len(whole), len(whole))
        reference = extract_to_store([videos], tmp_path / "reference", **options)
        assert content(disk / "store") == content(reference.store.root)


def test_a_store_that_cannot_be_written_is_one_error_and_can_be_read(
    tmp_path: Path, make_video: MakeVideo, tiny_backbone: Backbone
) -> None:
    options: dict[str, Any] = {"backbone": tiny_backbone, "sampling": FOUR}
    first = make_video("first.avi", 1)
    with mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "size=1m", "tmpfs") as disk:
        extract_to_store([first], disk / "store", **options)
        before = content(disk)
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        os.utime(first)
        done = extract_to_store([first], disk / "store", **options)  # nothing to write
        assert (done.num_extracted, done.num_skipped) == (0, 1)
        for place in ("store", "new"):
            with pytest.raises(FeatureError, match=rf"{place}: cannot be written \(Read-only"):
                extract_to_store([make_video("second.avi", 2)], disk / place, **options)
        assert len(FeatureStore.open(disk / "store").read("first")) == 4
        assert content(disk) == before


def test_a_folder_without_permission_is_one_error(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    store = FeatureStore.create(tmp_path / "store", tiny_provenance())
    store.root.chmod(stat.S_IRUSR | stat.S_IXUSR)
    with pytest.raises(FeatureError, match="cannot be written"):
        store.write("a", Features(np.zeros((1, 2), np.float32), np.zeros(1), tiny_provenance()))


def test_a_video_that_vanishes_midway_is_listed_and_stops_nothing(
    tmp_path: Path, make_video: MakeVideo, tiny_backbone: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [make_video(f"videos/{seed}.avi", seed) for seed in range(4)]

    def decode_and_delete(path: Path, *args: Any, **kwargs: Any) -> None:
        visit_frames(path, *args, **kwargs)
        if path == paths[2]:
            path.unlink()

    monkeypatch.setattr("actionrnn.features.worker.visit_frames", decode_and_delete)
    done = extract_to_store(paths, tmp_path / "store", backbone=tiny_backbone, sampling=FOUR)
    assert done.store.keys() == ["0", "1", "3"]
    (failure,) = done.failures
    assert failure.key == "2"
    assert "vanished while it was read" in failure.reason
    with pytest.raises(VideoError, match="no such file"):
        extract_to_store([paths[2]], tmp_path / "store", backbone=tiny_backbone, sampling=FOUR)
