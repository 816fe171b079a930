"""The same extraction on a Ray cluster (extra: `ray`).

    decode tasks, a CPU each       encoders, a GPU (or CPUs) each      this process
    decode -> scale and cut  ──►  batch -> backbone -> store    ──►   what came of it

Ray places tasks and encoders where the resources are. An encoder gets a few videos at a time, as
many as it is fast; it asks for their frames as a stream, so that a long video is nowhere held
whole, and writes the entries itself. When a node dies, its videos go to others, and those that
are stored already stay. All nodes must see videos and store under the same paths.
"""

from __future__ import annotations

import math
import os
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from actionrnn.config import BackboneConfig, Sampling
from actionrnn.errors import ActionrnnError, ConfigError, VideoError, first_line, missing_extra
from actionrnn.features.backbone import load_backbone
from actionrnn.features.decode_task import MESSAGES_AHEAD, decode_in_messages
from actionrnn.features.decoding import VideoPart
from actionrnn.features.extract import Extraction, find_sources, keep, plan
from actionrnn.features.pipeline import Pipeline
from actionrnn.features.preprocess import Preprocessing
from actionrnn.features.provenance import Provenance, VideoFile
from actionrnn.features.store import EntryError, FeatureStore
from actionrnn.files import as_path
from actionrnn.progress import progress_bar
from actionrnn.video.request import FrameSink

MOST_ATTEMPTS = 3
"""So often a video is tried whose worker dies: by its fault, or with its node."""
MOST_VIDEOS_AT_ONCE = 32
"""In one encoder; fewer towards the end, so that all encoders end together."""
UNITS_AT_ONCE = 2
"""While an encoder ends one lot of videos, it begins the next."""
RECRUIT_SECONDS = 1.0
"""So often nodes are looked for that have no encoder."""
LOST_SECONDS = 60.0
"""So long others may join where every node is lost."""
MOST_FAILED_STARTS = 5
"""So many encoders in a row may die before they work, where no other one works."""


def extract_on_cluster(
    inputs: Sequence[str | Path],
    output: str | Path,
    *,
    backbone: BackboneConfig,
    sampling: Sampling,
    address: str = "local",
    strict: bool = False,
    retry_failed: bool = False,
    overwrite: bool = False,
) -> Extraction:
    """As `extract_to_store`, on a Ray cluster: the same store, byte for byte.

    Args:
        address: of the cluster (`auto`: the one of this machine; `local`: start one).

    Raises:
        ConfigError: Ray is not installed, or there is no such cluster.
        VideoError, FeatureError, BackboneError: as `extract_to_store`.
    """
    sources, notes = find_sources(inputs)
    root = as_path(output).resolve()
    sources = [
        VideoPart(s.key, s.path.resolve(), s.start_seconds, s.end_seconds, s.problem)
        for s in sources
    ]
    with _connected(address):
        crew = _Crew(backbone, sampling)
        store = FeatureStore.create(root, crew.provenance, overwrite=overwrite)
        todo = plan(sources, store, retry_failed=retry_failed, overwrite=overwrite, strict=strict)
        with ExitStack() as stack:
            stack.enter_context(todo.ledger)
            advance = stack.enter_context(progress_bar("extracting features", len(todo.sources)))
            for source, error in crew.extract(todo.sources, store):
                if error is not None:
                    if isinstance(error, VideoError):
                        keep(store, source, error)
                    todo.ledger.add(source, error)
                    if strict:
                        raise error
                else:
                    todo.ledger.clear(source)
                num_failed = len(todo.ledger.failures())
                advance(note=f"{num_failed} failed" if num_failed else "")
    return replace(todo.extraction(), notes=notes)


@contextmanager
def _connected(address: str) -> Iterator[None]:
    """Join a cluster, or start one on this machine's loopback, for the block."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # nothing is reported to anybody
    # under `uv run` Ray would send the working directory, videos and all, to every node
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    ray = _import_ray()
    if ray.is_initialized():
        yield
        return
    local = {"include_dashboard": False, "_node_ip_address": "127.0.0.1"}
    try:
        ray.init(
            address=address,
            log_to_driver=False,
            logging_level="error",
            **(local if address == "local" else {}),
        )
    except Exception as error:  # each stage of connecting raises its own
        reason = first_line(error)
        raise ConfigError(
            f"--ray {address}: no Ray cluster can be used ({reason}); start one with "
            "`ray start --head`, or give its address"
        ) from None
    try:
        yield
    finally:
        ray.shutdown()


def _import_ray() -> Any:
    try:
        import ray
    except ImportError:
        raise ConfigError(missing_extra("Ray is not installed", "ray")) from None
    return ray


@dataclass(frozen=True)
class _Place:
    """Where encoders run, and what each of them takes of the node."""

    node_id: str
    num_encoders: int
    num_cpus: float
    num_gpus: int


def _places(nodes: Sequence[dict[str, Any]]) -> list[_Place]:
    """A GPU for each encoder; without GPUs, one on each node. Half of the CPUs are for decoding."""
    living = [(node["NodeID"], node["Resources"]) for node in nodes if node["Alive"]]
    some_gpus = any(resources.get("GPU", 0) >= 1 for _, resources in living)
    places = []
    for node_id, resources in living:
        count = int(resources.get("GPU", 0)) if some_gpus else int(resources.get("CPU", 0) > 0)
        if count:
            cpus = resources.get("CPU", 0) / 2 / count
            cpus = min(cpus, 1) if some_gpus else cpus
            # Ray takes fractions below 1 only
            places.append(_Place(node_id, count, cpus if cpus < 1 else cpus // 1, int(some_gpus)))
    return places


@dataclass(frozen=True)
class _Unit:
    """Videos that an encoder has."""

    encoder: Any
    sources: list[VideoPart]


class _Crew:
    """The encoders of a cluster: given work as they finish it, replaced when they die."""

    def __init__(self, config: BackboneConfig, sampling: Sampling) -> None:
        self._ray = _import_ray()
        errors = self._ray.exceptions
        self._died = errors.RayActorError, errors.ActorUnschedulableError  # before, on its way
        self._config, self._sampling = config, sampling
        self._node_of: dict[Any, str] = {}
        self._starting: dict[Any, Any] = {}
        self._failed_starts = 0
        self._recruited = 0.0
        self._recruit()
        if not self._starting:
            raise ConfigError("--ray: the cluster has no CPUs to work with; add nodes")
        try:
            self.provenance: Provenance = self._get(next(iter(self._starting)))
        except self._died as error:
            raise _no_encoder(error) from None

    def extract(
        self, sources: Sequence[VideoPart], store: FeatureStore
    ) -> Iterator[tuple[VideoPart, VideoError | EntryError | None]]:
        """What becomes of each video, as it is known.

        Raises:
            FeatureError: the store cannot be written, or a node has other weights.
            ConfigError: every node is lost, or no encoder can work on any.
        """
        waiting, deaths = deque(sources), Counter[str]()
        units: dict[Any, _Unit] = {}
        last_encoder = time.monotonic()

        def give(encoder: Any) -> None:
            if waiting:
                mine = [waiting.popleft() for _ in range(self._share(len(waiting)))]
                units[encoder.extract.remote(mine, store)] = _Unit(encoder, mine)

        while waiting or units:
            self._recruit()
            wanted = [*units, *self._starting]
            if not wanted:  # every node is lost; others may join
                if time.monotonic() - last_encoder > LOST_SECONDS:
                    raise ConfigError(
                        f"--ray: the cluster has lost all of its nodes, and none joined in "
                        f"{LOST_SECONDS:g} s; start nodes, and the same command goes on"
                    )
                time.sleep(RECRUIT_SECONDS)
                continue
            last_encoder = time.monotonic()
            done_now, _ = self._ray.wait(wanted, num_returns=1, timeout=RECRUIT_SECONDS)
            if not done_now:
                continue
            ready = done_now[0]
            unit = units.pop(ready, None)
            encoder = unit.encoder if unit else self._starting.pop(ready)
            try:
                done = self._get(ready)
            except self._died as error:
                self._node_of.pop(encoder, None)
                self._failed_starts += unit is None
                if self._failed_starts >= MOST_FAILED_STARTS and not units:
                    raise _no_encoder(error) from None
                for source in unit.sources if unit else []:
                    deaths[source.key] += 1
                    if store.presence(source.key, source.path) == "whole":
                        yield source, None
                    elif deaths[source.key] >= MOST_ATTEMPTS:
                        yield source, _gave_up(source.path, "its encoder died")
                    else:
                        waiting.append(source)
                continue
            if unit is None:
                self._failed_starts = 0
                done.require_same(store.provenance, "a node of the cluster")
                for _ in range(UNITS_AT_ONCE):
                    give(encoder)
                continue
            for source in unit.sources:
                yield source, done[source.key]
            give(encoder)

    def _share(self, num_waiting: int) -> int:
        """So many videos for the next encoder that asks: ever fewer."""
        fair = num_waiting // (2 * UNITS_AT_ONCE * max(1, len(self._node_of)))
        return min(num_waiting, MOST_VIDEOS_AT_ONCE, max(1, fair))

    def _recruit(self) -> None:
        """Start encoders where a node has room: at first, for dead ones, on nodes that joined."""
        if time.monotonic() - self._recruited < RECRUIT_SECONDS:
            return
        self._recruited = time.monotonic()
        nodes = self._ray.nodes()
        num_cpus = sum(node["Resources"].get("CPU", 0) for node in nodes if node["Alive"])
        places = _places(nodes)
        num_encoders = sum(place.num_encoders for place in places)
        there = Counter(self._node_of.values())
        for place in places:
            for _ in range(place.num_encoders - there[place.node_id]):
                self._start(place, num_decoders=max(2, math.ceil(num_cpus / 2 / num_encoders)))

    def _start(self, place: _Place, num_decoders: int) -> None:
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        encoder = (
            self._ray.remote(_Encoder)
            .options(
                num_cpus=place.num_cpus,
                num_gpus=place.num_gpus,
                max_concurrency=UNITS_AT_ONCE + 1,
                scheduling_strategy=NodeAffinitySchedulingStrategy(place.node_id, soft=False),
            )
            .remote(self._config, self._sampling, num_decoders, min(1.0, place.num_cpus))
        )
        self._node_of[encoder] = place.node_id
        self._starting[encoder.provenance.remote()] = encoder

    def _get(self, reference: Any) -> Any:
        try:
            return self._ray.get(reference)
        except self._ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, ActionrnnError):
                raise error.cause from None
            raise


class _Encoder:
    """Lives on one node: has the backbone, and asks for frames."""

    def __init__(
        self,
        config: BackboneConfig,
        sampling: Sampling,
        num_decoders: int,
        cpus_a_decoder: float,
    ) -> None:
        self._backbone = load_backbone(config)
        self._sampling = sampling
        self._num_decoders = num_decoders
        self._ray = _import_ray()
        self._decode = self._ray.remote(decode_in_messages).options(
            num_cpus=cpus_a_decoder,
            num_returns="streaming",
            scheduling_strategy="SPREAD",
            max_retries=0,  # a retry begins the video anew, which is for the caller to do
            _generator_backpressure_num_objects=MESSAGES_AHEAD,
        )

    def provenance(self) -> Provenance:
        """Of the features that this encoder computes."""
        return Provenance.of(self._backbone, self._sampling)

    def extract(
        self, sources: list[VideoPart], store: FeatureStore
    ) -> dict[str, VideoError | EntryError | None]:
        """Compute and store what is missing; why that was not possible for a video."""
        problems: dict[str, VideoError | EntryError | None] = {s.key: None for s in sources}
        missing = [s for s in sources if store.presence(s.key, s.path) != "whole"]
        pipeline = Pipeline(
            missing,
            self._backbone,
            self._sampling,
            decode=self._decode_elsewhere,
            num_decoders=self._num_decoders,
        )
        with closing(pipeline.run()) as results:
            for result in results:
                if result is None:
                    continue
                source, features = result
                problems[source.key] = keep(store, source, features)
        return problems

    def _decode_elsewhere(
        self,
        path: Path,
        sampling: Sampling,
        squares: FrameSink,
        preprocessing: Preprocessing,
        num_threads: int,
    ) -> VideoFile:
        """As `decode_here`, in a task that may die: then it is tried again, somewhere else."""
        reason = ""
        for _ in range(MOST_ATTEMPTS):
            try:
                for reference in self._decode.remote(path, sampling, preprocessing):
                    kind, content = self._ray.get(reference)
                    if kind == "begin":
                        squares.begin(content)
                    elif kind == "squares":
                        for places, square in zip(*content, strict=True):
                            squares.add(places, square)
                    elif kind == "failed":
                        raise VideoError(content)
                    else:
                        return VideoFile.from_json(content)
            except self._ray.exceptions.RayTaskError:
                raise
            except self._ray.exceptions.RayError as error:  # its worker or its node died
                reason = type(error).__name__
        raise _gave_up(path, f"its decoder died: {reason}")


def _no_encoder(error: Exception) -> ConfigError:
    reason = (str(error).strip() or type(error).__name__).splitlines()[-1]
    return ConfigError(
        f"--ray: no encoder can work on the cluster's nodes ({reason}); the same command goes on "
        "where that is mended"
    )


def _gave_up(path: Path, reason: str) -> VideoError:
    return VideoError(
        f"{path}: was given up after {MOST_ATTEMPTS} attempts ({reason}); leave it out, or "
        "try again with --retry-failed"
    )
