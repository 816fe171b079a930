"""The features of a project's videos, computed in a worker; each is kept as soon as it is done."""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from actionrnn.apps.studio.worker import Report, Task
from actionrnn.config import BackboneConfig, Config, Sampling
from actionrnn.datasets.video_names import VideoNames
from actionrnn.features.backbone import Backbone, load_backbone
from actionrnn.features.extract import Failures, keep, plan
from actionrnn.features.known import INT8, Known, find_known
from actionrnn.features.pipeline import Pipeline
from actionrnn.features.provenance import Provenance, VideoFile
from actionrnn.features.store import FeatureStore
from actionrnn.features.video_parts import VideoPart
from actionrnn.features.worker import FrameSpec, decode_and_hash
from actionrnn.options import VideoLimits
from actionrnn.video.request import FrameSink
from actionrnn.video.source import Located

EXTRACT: Task = f"{__name__}:extract"


@dataclass(frozen=True)
class Wanted:
    """Where the features of a project go, and which."""

    store: Path
    backbone: BackboneConfig
    sampling: Sampling
    limits: VideoLimits

    @classmethod
    def of(cls, config: Config, limits: VideoLimits) -> Wanted:
        """Those that a configuration trains with; its `data.features` is the store."""
        return cls(Path(str(config.data.features)), config.backbone, config.sampling, limits)


def extract(
    wanted: Wanted, videos: Sequence[tuple[str, Path]], *, stop: threading.Event, report: Report
) -> None:
    """Compute what a store lacks of some videos; a task of a `Worker`.

    Features of another sampling or backbone that the store holds are deleted: the project was set
    to others.

    Args:
        wanted: the store, and how.
        videos: keys and files.
        stop: the videos that are done by then are kept.
        report: how far each video is, as `report(progress, key=KEY)`; 1: it is stored, or
            `error` says why it cannot be used.

    Raises:
        FeatureError: the store cannot be written.
        BackboneError: the backbone cannot be loaded.
    """
    backbone = loaded_backbone(wanted.backbone)
    provenance = Provenance.of(backbone, wanted.sampling)
    store = FeatureStore.create(wanted.store, provenance, overwrite=True)
    parts = [VideoPart(key, path) for key, path in videos]
    todo = plan(parts, store)
    known = {failure.key: failure.reason for failure in todo.failures.listed()}
    for key in {part.key for part in parts} - {part.key for part in todo.sources}:
        report(1.0, key=key, error=known.get(key, ""))
    with todo.failures as failures:
        _extract(todo.sources, store, failures, backbone, wanted, stop, report)


def _extract(
    parts: Sequence[VideoPart],
    store: FeatureStore,
    failures: Failures,
    backbone: Backbone,
    wanted: Wanted,
    stop: threading.Event,
    report: Report,
) -> None:
    key_of = {part.path: part.key for part in parts}

    def decode(path: Located, spec: FrameSpec, sink: FrameSink) -> VideoFile:
        counted = _Counted(sink, functools.partial(report, key=key_of[Path(str(path))]))
        return decode_and_hash(path, spec, counted, wanted.limits)

    pipeline = Pipeline(parts, backbone, wanted.sampling, decode)
    with contextlib.closing(pipeline.run()) as results:
        for result in results:
            if stop.is_set():
                return
            if result is None:  # nothing came for a moment
                continue
            part, features = result
            problem = keep(store, part, features)
            failures.note(part, problem)
            report(1.0, key=part.key, error="" if problem is None else str(problem))


@functools.cache
def loaded_backbone(config: BackboneConfig) -> Backbone:
    """`load_backbone`, once in a process."""
    return load_backbone(config)


class _Counted:
    """A sink that says how far it is, at each hundredth."""

    def __init__(self, sink: FrameSink, say: Callable[[float], None]) -> None:
        self._sink, self._say = sink, say
        self._steps, self._num, self._said = 1, 0, 0
        self._mutex = threading.Lock()

    def begin(self, pts_seconds: NDArray[np.float64]) -> None:
        self._steps, self._num, self._said = max(1, len(pts_seconds)), 0, 0
        self._sink.begin(pts_seconds)

    def add(self, steps: slice, pixels: NDArray[np.uint8]) -> None:
        self._sink.add(steps, pixels)
        with self._mutex:
            self._num += steps.stop - steps.start
            hundredths = min(99, 100 * self._num // self._steps)
            if hundredths > self._said:
                self._said = hundredths
                self._say(hundredths / 100)


def key_of(folder: Path, path: str) -> str:
    """The key of a video's entry, as a training of the project looks for it.

    Args:
        folder: of the project.
        path: of the video, as in annotations.csv.

    Raises:
        DatasetError: the path does not tell which video it is.
    """
    return VideoNames(folder).find(path)[1]


def ready_keys(wanted: Wanted, files: Mapping[str, Path]) -> set[str]:
    """Those whose features a store has already; none if only the backbone's weights can tell.

    Args:
        wanted: the store, and how.
        files: the videos, by key.

    Raises:
        FeatureError: there is no store, or it is damaged.
    """
    store, backbone = FeatureStore.open(wanted.store), wanted.backbone
    made, known = store.provenance, find_known(backbone)
    if known is None or (made.backbone, made.sampling) != (backbone.name, wanted.sampling):
        return set()
    is_same_network = (made.precision == INT8) == (backbone.precision == INT8)
    if not is_same_network or Known(made.weights_sha256, made.preprocessing) != known:
        return set()
    return {key for key, file in files.items() if store.presence(key, file) == "whole"}
