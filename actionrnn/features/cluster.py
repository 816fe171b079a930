"""The same extraction on a Ray cluster (extra: `ray`).

    decode tasks, a CPU each       encoders, a GPU (or CPUs) each      this process
    decode -> scale and cut  ──►  batch -> backbone -> store    ──►   what came of it

Ray places tasks and encoders where the resources are. An encoder gets a few videos at a time, the
more the faster it is; it asks for their frames as a stream, so that a long video is nowhere held
whole, and writes the entries itself. When a node dies, its videos go to others; what is stored
already stays. All nodes must see videos and store under the same paths.
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
from actionrnn.features.extract import Extraction, count_folders, keep, plan
from actionrnn.features.pipeline import Pipeline
from actionrnn.features.provenance import Provenance, VideoFile
from actionrnn.features.store import EntryError, FeatureStore
from actionrnn.features.video_parts import VideoPart, find_sources
from actionrnn.features.worker import (
    MESSAGES_AHEAD,
    FrameSpec,
    decode_and_hash,
    decode_in_messages,
)
from actionrnn.files import as_path
from actionrnn.progress import progress_bar
from actionrnn.video.request import FrameSink
from actionrnn.video.source import Located

MOST_ATTEMPTS = 3
"""At a video whose decoder or encoder dies: by its fault, or with its node."""
MOST_VIDEOS_AT_ONCE = 32
"""In one encoder; fewer towards the end, so that all encoders end together."""
ASSIGNMENTS_AT_ONCE = 2
"""While an encoder ends one, it begins the next."""
RECRUIT_SECONDS = 1.0
"""Between two looks for nodes that have no encoder."""
LOST_SECONDS = 60.0
"""Others may join for this long where every node is lost."""
MOST_FAILED_STARTS = 5
"""Encoders in a row that may die before they work, where no other one works."""

Outcome = VideoError | EntryError | None
"""Why a video has no entry; None: it has one."""


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
        ConfigError: Ray is not installed, or the cluster cannot be reached.
        VideoError, FeatureError, BackboneError: as `extract_to_store`.
    """
    sources, notes = find_sources(inputs)
    root = as_path(output).resolve()
    sources = [replace(source, path=source.path.resolve()) for source in sources]
    with _connected(address):
        encoders = _Encoders(backbone, sampling)
        store = FeatureStore.create(root, encoders.provenance, overwrite=overwrite)
        todo = plan(sources, store, retry_failed=retry_failed, overwrite=overwrite, strict=strict)
        with ExitStack() as stack:
            stack.enter_context(todo.failures)
            advance = stack.enter_context(progress_bar("extracting features", len(todo.sources)))
            for source, error in encoders.extract(todo.sources, store):
                if isinstance(error, VideoError):
                    keep(store, source, error)
                todo.failures.note(source, error)
                if error is not None and strict:
                    raise error
                num_failed = len(todo.failures)
                advance(note=f"{num_failed} failed" if num_failed else "")
    return replace(todo.extraction(), notes=notes, num_frame_folders=count_folders(sources))


@contextmanager
def _connected(address: str) -> Iterator[None]:
    """Join a cluster, or start one on this machine's loopback, for the block."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # nothing is reported
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
class _Node:
    """A node that encoders run on, and what each of them takes of it."""

    node_id: str
    num_encoders: int
    num_cpus: float
    num_gpus: int


def _usable_nodes(nodes: Sequence[dict[str, Any]]) -> list[_Node]:
    """A GPU for each encoder; without GPUs, one on each node. Half of the CPUs are for decoding."""
    living = [(node["NodeID"], node["Resources"]) for node in nodes if node["Alive"]]
    some_gpus = any(resources.get("GPU", 0) >= 1 for _, resources in living)
    usable = []
    for node_id, resources in living:
        count = int(resources.get("GPU", 0)) if some_gpus else int(resources.get("CPU", 0) > 0)
        if count:
            cpus = resources.get("CPU", 0) / 2 / count
            cpus = min(cpus, 1) if some_gpus else cpus
            # Ray takes fractions below 1 only
            usable.append(_Node(node_id, count, cpus if cpus < 1 else cpus // 1, int(some_gpus)))
    return usable


@dataclass(frozen=True)
class _Assignment:
    """Videos that an encoder works on."""

    encoder: Any
    sources: list[VideoPart]


class _Encoders:
    """The encoders of a cluster: given work as they finish it, replaced when they die."""

    def __init__(self, config: BackboneConfig, sampling: Sampling) -> None:
        self._ray = _import_ray()
        errors = self._ray.exceptions
        self._died = errors.RayActorError, errors.ActorUnschedulableError  # at work, at its start
        self._config, self._sampling = config, sampling
        self._node_of: dict[Any, str] = {}
        """Of each encoder."""
        self._starting: dict[Any, Any] = {}
        """Encoders by the reference to their first answer."""
        self._assigned: dict[Any, _Assignment] = {}
        """By the reference to the answer."""
        self._waiting: deque[VideoPart] = deque()
        self._deaths: Counter[str] = Counter()
        """Of encoders, by the keys of the videos that they had."""
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
    ) -> Iterator[tuple[VideoPart, Outcome]]:
        """What becomes of each video, as it is known.

        Raises:
            FeatureError: the store cannot be written, or a node has other weights.
            ConfigError: every node is lost, or no encoder can work on any.
        """
        self._waiting = deque(sources)
        last_encoder = time.monotonic()
        while self._waiting or self._assigned:
            self._recruit()
            expected = [*self._assigned, *self._starting]
            if not expected:  # every node is lost; others may join
                if time.monotonic() - last_encoder > LOST_SECONDS:
                    raise ConfigError(
                        f"--ray: the cluster has lost all of its nodes, and none joined in "
                        f"{LOST_SECONDS:g} s; start nodes, and repeat the same command to continue"
                    )
                time.sleep(RECRUIT_SECONDS)
                continue
            last_encoder = time.monotonic()
            ready, _ = self._ray.wait(expected, num_returns=1, timeout=RECRUIT_SECONDS)
            if ready:
                yield from self._take(ready[0], store)

    def _take(self, answer: Any, store: FeatureStore) -> Iterator[tuple[VideoPart, Outcome]]:
        """An encoder is ready for work, has done some, or died."""
        done = self._assigned.pop(answer, None)
        encoder = done.encoder if done else self._starting.pop(answer)
        try:
            content = self._get(answer)
        except self._died as error:
            self._node_of.pop(encoder, None)
            if done is None:
                self._failed_starts += 1
            if self._failed_starts >= MOST_FAILED_STARTS and not self._assigned:
                raise _no_encoder(error) from None
            for source in done.sources if done else ():
                yield from self._after_death(source, store)
            return
        if done is None:
            self._failed_starts = 0
            remedy = "give every node the same weights and version of actionrnn"
            content.require_same(store.provenance, "a node of the cluster", remedy)
            for _ in range(ASSIGNMENTS_AT_ONCE):
                self._assign(encoder, store)
            return
        for source in done.sources:
            yield source, content[source.key]
        self._assign(encoder, store)

    def _after_death(
        self, source: VideoPart, store: FeatureStore
    ) -> Iterator[tuple[VideoPart, Outcome]]:
        """A video whose encoder died: it may be stored, else it is tried again or given up."""
        self._deaths[source.key] += 1
        if store.presence(source.key, source.path) == "whole":
            yield source, None
        elif self._deaths[source.key] >= MOST_ATTEMPTS:
            yield source, _gave_up(source.path, "its encoder died")
        else:
            self._waiting.append(source)

    def _assign(self, encoder: Any, store: FeatureStore) -> None:
        """Give an encoder its share of the videos that wait: ever fewer."""
        num_waiting = len(self._waiting)
        fair = num_waiting // (2 * ASSIGNMENTS_AT_ONCE * max(1, len(self._node_of)))
        count = min(num_waiting, MOST_VIDEOS_AT_ONCE, max(1, fair))
        sources = [self._waiting.popleft() for _ in range(count)]
        if sources:
            answer = encoder.extract.remote(sources, store)
            self._assigned[answer] = _Assignment(encoder, sources)

    def _recruit(self) -> None:
        """Start encoders where a node has room: at first, for dead ones, on nodes that joined."""
        if time.monotonic() - self._recruited < RECRUIT_SECONDS:
            return
        self._recruited = time.monotonic()
        found = self._ray.nodes()
        num_cpus = sum(node["Resources"].get("CPU", 0) for node in found if node["Alive"])
        nodes = _usable_nodes(found)
        num_encoders = sum(node.num_encoders for node in nodes)
        running = Counter(self._node_of.values())
        for node in nodes:
            for _ in range(node.num_encoders - running[node.node_id]):
                self._start(node, num_decoders=max(2, math.ceil(num_cpus / 2 / num_encoders)))

    def _start(self, node: _Node, num_decoders: int) -> None:
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        encoder = (
            self._ray.remote(_Encoder)
            .options(
                num_cpus=node.num_cpus,
                num_gpus=node.num_gpus,
                max_concurrency=ASSIGNMENTS_AT_ONCE + 1,
                scheduling_strategy=NodeAffinitySchedulingStrategy(node.node_id, soft=False),
            )
            .remote(self._config, self._sampling, num_decoders, min(1.0, node.num_cpus))
        )
        self._node_of[encoder] = node.node_id
        self._starting[encoder.provenance.remote()] = encoder

    def _get(self, answer: Any) -> Any:
        try:
            return self._ray.get(answer)
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

    def extract(self, sources: list[VideoPart], store: FeatureStore) -> dict[str, Outcome]:
        """Compute and store what is missing; what came of each video, by its key."""
        outcomes: dict[str, Outcome] = {source.key: None for source in sources}
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
                outcomes[source.key] = keep(store, source, features)
        return outcomes

    def _decode_elsewhere(self, path: Located, spec: FrameSpec, sink: FrameSink) -> VideoFile:
        """As `decode_and_hash`, in a task that may die: then it is tried again, somewhere else."""
        reason = ""
        for _ in range(MOST_ATTEMPTS):
            try:
                for reference in self._decode.remote(path, spec, decode=decode_and_hash):
                    kind, content = self._ray.get(reference)
                    if kind == "begin":
                        sink.begin(content)
                    elif kind == "squares":
                        for steps, square in zip(*content, strict=True):
                            sink.add(steps, square)
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
        f"--ray: no encoder can work on the cluster's nodes ({reason}); repeat the same command "
        "when that is mended"
    )


def _gave_up(path: Located, reason: str) -> VideoError:
    return VideoError(
        f"{path}: was given up after {MOST_ATTEMPTS} attempts ({reason}); leave it out, or "
        "try again with --retry-failed"
    )
