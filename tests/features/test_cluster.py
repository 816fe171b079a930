"""A real Ray cluster of several nodes on this machine gives the store of one process."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from actionrnn.errors import ConfigError
from actionrnn.features.cluster import MOST_ATTEMPTS, extract_on_cluster

SCRIPT = Path(__file__).with_name("extract_on_ray.py")
NUM_CLIPS = 60

needs_ray = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="the extra `ray` is not installed"
)


@pytest.fixture(scope="module")
def seen(
    tmp_path_factory: pytest.TempPathFactory, make_clips: Callable[..., Path]
) -> dict[str, Any]:
    """What came of an extraction that lost a node, and of one with a video that kills workers."""
    videos = make_clips(
        groups=[f"{number:02d}" for number in range(20)], labels=("blue", "green", "red")
    )
    (videos / "killer.avi").write_bytes((videos / "red" / "00_red.avi").read_bytes())
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(videos), str(tmp_path_factory.mktemp("ray"))],
        capture_output=True,
        text=True,
        timeout=500,
        env={**os.environ, "OMP_WAIT_POLICY": "passive"},
    )
    assert done.returncode == 0, done.stderr
    seen: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return seen


@pytest.mark.slow
@needs_ray
def test_a_node_that_dies_loses_nothing_and_repeats_nothing(seen: dict[str, Any]) -> None:
    assert seen["nodes"] == 3
    assert seen["nodes_left"] == 2
    assert seen["one_process"] == [NUM_CLIPS, 0, 0]
    assert seen["node_lost"] == [NUM_CLIPS, 0, 0]
    assert 0 < seen["stored_at_death"] < NUM_CLIPS
    assert seen["computed_twice"] == 0
    assert seen["node_lost_same_bytes"]


@pytest.mark.slow
@needs_ray
def test_a_video_that_kills_its_worker_is_listed_after_some_attempts(seen: dict[str, Any]) -> None:
    assert seen["killer"] == [NUM_CLIPS, 0, 1]
    assert seen["attempts"] == MOST_ATTEMPTS
    (failure,) = seen["killer_failures"]
    assert failure["key"] == "killer"
    assert f"given up after {MOST_ATTEMPTS} attempts" in failure["reason"]
    assert seen["killer_same_entries"]


def test_without_ray_the_remedy_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clips: Path
) -> None:
    from actionrnn.config import BackboneConfig, Sampling

    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match=r"pip install 'actionrnn\[ray\]'"):
        extract_on_cluster(
            [clips], tmp_path / "store", backbone=BackboneConfig(), sampling=Sampling(num_frames=4)
        )
    assert not (tmp_path / "store").exists()
