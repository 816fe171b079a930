"""The models of a project: the newest, what it says of stored features, and it with its backbone.

Timelines need the head alone, which is a few matrices: no backbone, no torch, no decoding.
"""

from __future__ import annotations

import contextlib
import functools
import threading
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from actionrnn.apps.studio.extraction import key_of
from actionrnn.apps.studio.project import Project, ProjectVideo
from actionrnn.apps.studio.project_config import FEATURES_FOLDER, RUNS_FOLDER
from actionrnn.apps.studio.proposals import NONE_RATE
from actionrnn.datasets.recordings import BACKGROUND
from actionrnn.errors import FeatureError, ModelError
from actionrnn.features.store import FeatureStore
from actionrnn.files import MODEL_FILE, read_json, state_if_there
from actionrnn.model.model_file import ModelInfo, read_head, read_model_info, read_none_of_these
from actionrnn.model.none_of_these import Kind, NoneOfThese
from actionrnn.model.recognizer import Recognizer, load
from actionrnn.model.scoring import score_sequence
from actionrnn.model.timeline import Timeline
from actionrnn.model.trained_head import TrainedHead
from actionrnn.options import EventRule

TAUGHT_FILE = "taught.json"
"""In the folder of a run that the page has trained: how long it took, and what took no part."""
SCORES_FILE = "studio.json"
"""Beside it: how good the model is, as far as that is known."""
_MOST_TIMELINES = 500


@dataclass(frozen=True)
class TaughtModel:
    """A model of a project, without its backbone."""

    path: Path
    mtime: float
    """When it was written."""
    info: ModelInfo
    head: TrainedHead
    none_of_these: NoneOfThese | None

    @property
    def run(self) -> str:
        """The name of its run."""
        return self.path.parent.name

    def to_json(self) -> dict[str, Any]:
        """As the page shows it."""
        taught: dict[str, Any] = {}
        with contextlib.suppress(OSError, ValueError):  # it was trained by the command line
            taught = read_json(self.path.with_name(TAUGHT_FILE))
        return {
            "run": self.run,
            "trained_at": round(self.mtime, 3),
            "seconds": taught.get("seconds", 0.0),
            "notes": taught.get("notes", []),
            "labels": [label for label in self.info.labels if label != BACKGROUND],
            "score_labels": list(self.info.labels),
            "multi_label": self.info.config.head.multi_label,
            "rate_fps": self.info.config.sampling.rate_fps,
            "delay_steps": self.head.delay_steps,
            "can_stream": self.info.config.sampling.num_frames is None,
            "none_rate": none_rate_of(self.none_of_these, "step"),
        }

    def timeline(self, store: FeatureStore, key: str, video: ProjectVideo) -> Timeline:
        """What it says of a video whose features are stored.

        Raises:
            FeatureError: there are none, or of another kind than it was trained on, or of another
                file.
        """
        if store.presence(key, video.file) == "changed":
            raise FeatureError(f"{video.path}: was replaced; wait until it is read again")
        features = store.read(key)
        if features.provenance is not None:
            wanted, remedy = self.info.provenance, "train again"
            features.provenance.for_head().require_same(wanted, video.path, remedy)
        found = score_sequence(self.head, features.values)
        rule = self.info.training.get("event_rule")
        return Timeline(
            self.info.labels,
            found.now,
            found.so_far,
            features.pts_seconds,
            video.path,
            start_seconds=video.begin,
            end_seconds=max(video.end, float(features.pts_seconds[-1])),
            multi_label=self.info.config.head.multi_label,
            none_of_these=self.none_of_these,
            event_rule=None if rule is None else EventRule(**rule),
        )


def none_rate_of(none: NoneOfThese | None, *kinds: Kind) -> float | None:
    """The part of the classes' own steps, stretches or clips that may be called 'none of these'.

    None: it cannot be told, as of some too few held-out ones are known.
    """
    known = [0 if none is None else len(none.held_out.get(kind, ())) for kind in kinds]
    return NONE_RATE if NONE_RATE * (min(known) + 1) > 1 else None


class Models:
    """The models in the runs of a project; safe to use from several threads.

    Args:
        project: whose they are.
    """

    def __init__(self, project: Project) -> None:
        self._project = project
        self._mutex, self._loading = threading.Lock(), threading.Lock()
        self._newest: TaughtModel | None = None
        self._timelines: dict[tuple[Any, ...], Timeline] = {}
        self._loaded: Recognizer | None = None

    def newest(self) -> TaughtModel | None:
        """The model that was written last, by this page or by `actionrnn train`; None: none was.

        A file that is no model is passed over.
        """
        for mtime, path in reversed(self._files()):
            with self._mutex:
                known = self._newest
                if known is not None and (known.path, known.mtime) == (path, mtime):
                    return known
                try:
                    self._newest = _read(path, mtime)
                except ModelError:
                    continue
                return self._newest
        return None

    def require_newest(self) -> TaughtModel:
        """The same.

        Raises:
            ModelError: there is none.
        """
        newest = self.newest()
        if newest is None:
            raise ModelError("there is no model yet; train one")
        return newest

    def timeline(self, video: ProjectVideo) -> Timeline:
        """What the newest model says of a video, of its stored features.

        Raises:
            ModelError: there is no model.
            FeatureError: the video has no features yet, or of another kind.
        """
        model = self.require_newest()
        store = FeatureStore.open(self._project.folder / FEATURES_FOLDER)
        key = key_of(self._project.folder, video.path)
        states = state_if_there(store.path_of(key)), state_if_there(video.file)
        name = (model.path, model.mtime, video.id, *states)
        found = self._timelines.get(name)
        if found is None:
            found = model.timeline(store, key, video)
            with self._mutex:
                if len(self._timelines) >= _MOST_TIMELINES:
                    self._timelines.clear()
                self._timelines[name] = found
        return found

    def recognizer(self) -> Recognizer:
        """The newest model with its backbone, which is loaded the first time and takes seconds.

        Raises:
            ModelError, BackboneError: there is none, or it cannot be loaded.
        """
        newest = self.require_newest()
        with self._loading:
            known, own = self._loaded, newest.info
            if (
                known is None
                or known.config.backbone != own.config.backbone
                or known.provenance.difference(own.provenance)
            ):
                known = load(newest.path)
            self._loaded = replace(  # another head on the backbone that is there
                known,
                head=newest.head,
                labels=own.labels,
                config=replace(own.config, backbone=known.config.backbone),
                training=own.training,
                none_of_these=newest.none_of_these,
            )
            return self._loaded

    def _files(self) -> list[tuple[float, Path]]:
        """The model files and when they were written, the newest last."""
        found = []
        for path in (self._project.folder / RUNS_FOLDER).glob(f"*/{MODEL_FILE}"):
            state = state_if_there(path)
            if state is not None and not path.parent.name.startswith("."):  # being written
                found.append((state.mtime_ns / 1e9, path))
        return sorted(found)


@functools.lru_cache(maxsize=4)
def _read(path: Path, mtime: float) -> TaughtModel:
    info = read_model_info(path)
    return TaughtModel(path, mtime, info, read_head(info), read_none_of_these(info))


def timeline_json(timeline: Timeline, most_points: int) -> dict[str, Any]:
    """As the page draws it.

    Args:
        timeline: of one video.
        most_points: of more steps, each point is the highest score of some side by side, so that
            no peak is lost.
    """
    times, scores = _thinned(timeline.pts_seconds, timeline.scores, most_points)
    return {
        "times": np.round(times, 4).tolist(),
        "labels": list(timeline.labels),
        "scores": np.round(scores.T.astype(np.float64), 4).tolist(),
    }


def _thinned(
    times: NDArray[np.float64], scores: NDArray[np.float32], most: int
) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    if len(times) <= most:
        return times, scores
    starts = np.arange(most) * len(times) // most
    return times[starts], np.maximum.reduceat(scores, starts, axis=0)
