"""A real Ray cluster of several nodes on this machine gives the store of one process."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from actionrnn.config import BackboneConfig, Sampling
from actionrnn.errors import ConfigError, FeatureError
from actionrnn.features import cluster
from actionrnn.features.cluster import MOST_ATTEMPTS, extract_on_cluster
from actionrnn.features.extract import Extraction

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


BACKBONE = BackboneConfig(weights="none", precision="float32", runtime="torch")


class RayActorError(Exception):
    """As Ray's."""


@dataclass(frozen=True, eq=False)
class Handle:
    """Of an encoder."""

    extract: Any
    provenance: Any


class StandIn:
    """As much of Ray as the cluster needs, in this thread: nodes and encoders die as they are told.

    Args:
        nodes_alive: at the first look, the second, ...; the last stays.
        encoders: what each encoder that is started does: `works`, `dies` with its first videos,
            `fails` before it works, or `differs` in its weights; the last stays.
    """

    def __init__(self, nodes_alive: list[list[str]], encoders: list[str]) -> None:
        self.nodes_alive, self.encoders = nodes_alive, encoders
        self.exceptions = SimpleNamespace(
            RayActorError=RayActorError,
            ActorUnschedulableError=type("ActorUnschedulableError", (Exception,), {}),
            RayTaskError=type("RayTaskError", (Exception,), {}),
            RayError=type("RayError", (Exception,), {}),
        )
        self.started: list[str] = []

    def is_initialized(self) -> bool:
        return True

    def nodes(self) -> list[dict[str, Any]]:
        alive = self.nodes_alive.pop(0) if len(self.nodes_alive) > 1 else self.nodes_alive[0]
        return [{"NodeID": name, "Resources": {"CPU": 2.0}, "Alive": True} for name in alive]

    def remote(self, made: Any) -> Any:
        if isinstance(made, type):
            return SimpleNamespace(options=lambda **_: _method(partial(self._start, made)))
        return SimpleNamespace(options=lambda **_: _method(made))

    def _start(self, made: Any, *arguments: Any) -> Any:
        fate = self.encoders.pop(0) if len(self.encoders) > 1 else self.encoders[0]
        self.started.append(fate)
        encoder = made(*arguments)

        def extract(*given: Any) -> Any:
            return (
                partial(_raise, RayActorError())
                if fate == "dies"
                else partial(encoder.extract, *given)
            )

        def provenance() -> Any:
            reason = RayActorError("it died\nBackboneError: the weights are not here")
            if fate == "differs":
                return replace(encoder.provenance(), weights_sha256="0" * 64)
            return partial(_raise, reason) if fate == "fails" else encoder.provenance

        return Handle(_method(extract), _method(provenance))

    def wait(self, references: list[Any], **_: Any) -> tuple[list[Any], list[Any]]:
        return references[:1], references[1:]

    def get(self, reference: Any) -> Any:
        return reference() if callable(reference) else reference


def _method(function: Callable[..., Any]) -> Any:
    return SimpleNamespace(remote=function)


def _raise(error: Exception) -> None:
    raise error


@pytest.fixture
def on_stand_in(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, clips: Path
) -> Callable[[StandIn], Extraction]:
    """Extract from `clips` on a stand-in of Ray, where a minute is a tenth of a second."""

    def extract(ray: StandIn) -> Extraction:
        monkeypatch.setitem(sys.modules, "ray", ray)
        strategies = SimpleNamespace(NodeAffinitySchedulingStrategy=lambda *_, **__: None)
        monkeypatch.setitem(sys.modules, "ray.util", SimpleNamespace())
        monkeypatch.setitem(sys.modules, "ray.util.scheduling_strategies", strategies)
        monkeypatch.setattr(cluster, "RECRUIT_SECONDS", 0.01)
        monkeypatch.setattr(cluster, "LOST_SECONDS", 0.1)
        sampling = Sampling(num_frames=2)
        return extract_on_cluster([clips], tmp_path / "store", backbone=BACKBONE, sampling=sampling)

    return extract


def test_the_stand_in_extracts(on_stand_in: Callable[[StandIn], Extraction]) -> None:
    done = on_stand_in(StandIn([["a", "b"]], ["works"]))
    assert (done.num_extracted, done.failures) == (9, [])


def test_a_node_that_joins_goes_on_where_all_were_lost(
    on_stand_in: Callable[[StandIn], Extraction],
) -> None:
    ray = StandIn([["a"], [], [], ["b"]], ["dies", "works"])
    done = on_stand_in(ray)
    assert (done.num_extracted, done.failures) == (9, [])
    assert ray.started == ["dies", "works"]


def test_where_every_node_is_lost_for_long_that_is_an_error(
    on_stand_in: Callable[[StandIn], Extraction],
) -> None:
    with pytest.raises(ConfigError, match="has lost all of its nodes, and none joined in"):
        on_stand_in(StandIn([["a"], []], ["dies"]))


@pytest.mark.parametrize("encoders", [["fails"], ["dies", "fails"]])
def test_where_no_encoder_can_work_the_reason_is_named(
    on_stand_in: Callable[[StandIn], Extraction], encoders: list[str]
) -> None:
    reason = r"no encoder can work .*BackboneError: the weights are not here"
    with pytest.raises(ConfigError, match=reason):
        on_stand_in(StandIn([["a"]], encoders))


def test_a_node_with_other_weights_is_refused_and_the_store_is_not_blamed(
    on_stand_in: Callable[[StandIn], Extraction],
) -> None:
    with pytest.raises(FeatureError, match=r"a node of the cluster: .*; give every node the same"):
        on_stand_in(StandIn([["a", "b"]], ["dies", "differs"]))


def test_without_ray_the_remedy_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clips: Path
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match=r"pip install 'actionrnn\[ray\]'"):
        extract_on_cluster(
            [clips], tmp_path / "store", backbone=BackboneConfig(), sampling=Sampling(num_frames=4)
        )
    assert not (tmp_path / "store").exists()
