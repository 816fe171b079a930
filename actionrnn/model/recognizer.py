"""Backbone + head + labels + sampling: a video file becomes an answer.

    file -> read_blocks -> features (n, D) -> Scorer -> scores (n, K) -> Timeline -> Prediction

Every answer for a file takes this road: `classify`, `timeline`, the commands and the server.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from actionrnn import __version__
from actionrnn.config import BackboneConfig, Config, Precision, Runtime, Sampling
from actionrnn.errors import FeatureError, ModelError, VideoError
from actionrnn.features.backbone import Backbone, load_backbone
from actionrnn.features.known import Known
from actionrnn.features.provenance import TRAINED_ON, Features, Provenance
from actionrnn.features.worker import Decode, decode_video
from actionrnn.files import as_path
from actionrnn.model import hub
from actionrnn.model.model_file import (
    ModelInfo,
    read_head,
    read_model_info,
    read_none_of_these,
    with_own_paths,
    write_model,
)
from actionrnn.model.none_of_these import NoneOfThese
from actionrnn.model.reading import read_blocks
from actionrnn.model.scoring import Readouts, Scorer, score_sequence
from actionrnn.model.stream import Stream, StreamBatch
from actionrnn.model.timeline import Prediction, Timeline
from actionrnn.model.trained_head import TrainedHead
from actionrnn.options import EventRule
from actionrnn.progress import progress_bar
from actionrnn.video.declared import declared_span
from actionrnn.video.image_folder import folder_seconds, is_folder
from actionrnn.video.last_frame import end_of
from actionrnn.video.source import Located, Source, VideoSource, as_sampled, find_source


def _name_of(video: Located) -> str:
    return str(video) if isinstance(video, Source) else video.name


@dataclass(frozen=True)
class Recognizer:
    """A trained model: `classify` and `timeline` of files; `save` and `actionrnn.load`."""

    backbone: Backbone
    head: TrainedHead
    labels: tuple[str, ...]
    config: Config
    training: dict[str, Any] = field(default_factory=dict)
    """What it was trained on and how well it did: data set, clips, fold, scores."""
    none_of_these: NoneOfThese | None = None
    """What tells that none of its classes is seen, if it was trained with `train.none_of_these`."""

    @property
    def multi_label(self) -> bool:
        """Whether it says of each label for itself if it is on (`head.multi_label`)."""
        return self.head.config.multi_label

    @property
    def event_rule(self) -> EventRule | None:
        """The thresholds of events that were chosen in its training (`train.event_thresholds`)."""
        chosen = self.training.get("event_rule")
        return None if chosen is None else EventRule(**chosen)

    @property
    def provenance(self) -> Provenance:
        """Of the features that the head takes: it was trained on such, and scores no others."""
        return Provenance.of(self.backbone, self.config.sampling).for_head()

    def reading(
        self, stream: int | None = None, frame_folder_fps: float | None = None
    ) -> Recognizer:
        """The same, reading another video stream of files that have several, or what states no
        times (folders of pictures, raw .h264) at another rate.

        Args:
            stream: as `Sampling.stream`; None: that of the model.
            frame_folder_fps: as `Sampling.frame_folder_fps`, also where raw video states another;
                None: that of the model.

        Raises:
            ConfigError: one of them is impossible.
        """
        changes: dict[str, Any] = {} if stream is None else {"stream": stream}
        if frame_folder_fps is not None:
            changes |= {"frame_folder_fps": frame_folder_fps, "overrules_stated_rate": True}
        if not changes:
            return self
        sampling = replace(self.config.sampling, **changes)
        return replace(self, config=replace(self.config, sampling=sampling))

    def classify(
        self,
        path: VideoSource | Source,
        *,
        stop_at_confidence: float | None = None,
        progress: bool = False,
    ) -> Prediction:
        """The action of one video, or of a folder of pictures.

        Args:
            path: what `read_frames` takes.
            stop_at_confidence: decode hardly further than to the first frame after which the
                best score so far is at least this; the answer's `pts_seconds` says where that was.
                With `head.delay_steps` that frame is so many steps after the one answered for.
            progress: show how far it is, as `timeline`.

        Raises:
            VideoError: the video cannot be used.
        """
        return self.timeline(
            path, stop_at_confidence=stop_at_confidence, progress=progress
        ).prediction()

    def timeline(
        self,
        path: VideoSource | Source,
        *,
        stop_at_confidence: float | None = None,
        decode: Decode = decode_video,
        progress: bool = False,
    ) -> Timeline:
        """The scores at every sampled frame of one video, or of a folder of pictures.

        Args:
            path: what `read_frames` takes.
            stop_at_confidence: end with the first step for which the best score so far is at
                least this.
            decode: in this process, or within the bounds of an `Isolation`.
            progress: show how far it is: a bar in a terminal or a notebook, in a log a line every
                30 s.

        Raises:
            VideoError: the video cannot be used.
        """
        source = find_source(path)
        reading = read_blocks(
            source,
            self.backbone,
            self.config.sampling,
            decode=decode,
            one_by_one=stop_at_confidence is not None,
        )
        with (
            contextlib.closing(reading) as blocks,
            progress_bar(f"reading {_name_of(source)}", None if progress else 0) as advance,
        ):
            num_read = 0
            for block in blocks:
                # backwards where the file is read again
                now = block.first_step + len(block.values)
                advance(now - num_read, total=block.num_steps)
                num_read = now
                if block.first_step == 0:
                    times: list[NDArray[np.float64]] = []
                    scorer, answers = Scorer(self.head), list[Readouts]()
                times.append(block.pts_seconds)
                answers.append(scorer.push(block.values))
                if first_sure(answers[-1], stop_at_confidence) is not None:
                    break
            else:
                answers.append(scorer.finish())
        found, pts_seconds = Readouts.joined(answers), np.concatenate(times)
        sure = first_sure(found, stop_at_confidence)
        num_steps = len(pts_seconds) if sure is None else sure + 1
        start_seconds, end_seconds = 0.0, None
        # a video that is decoded within bounds is not opened outside of them
        if decode is decode_video:
            start_seconds = _start_of(source, float(pts_seconds[0]))
        if stop_at_confidence is None and decode is decode_video:
            end_seconds = _end_of(source, self.config.sampling, pts_seconds)
        last_seen = min(num_steps + self.head.delay_steps, len(pts_seconds)) - 1
        return Timeline(
            self.labels,
            found.now[:num_steps],
            found.so_far[:num_steps],
            pts_seconds[:num_steps],
            str(source),
            seen_seconds=float(pts_seconds[last_seen]),
            end_seconds=end_seconds,
            start_seconds=start_seconds,
            multi_label=self.multi_label,
            none_of_these=self.none_of_these,
            event_rule=self.event_rule,
        )

    def score(self, features: Features, path: str = "") -> Timeline:
        """The scores at every step of features that have been extracted.

        Raises:
            FeatureError: the features are not of the kind that the head was trained on.
        """
        if features.provenance is not None:
            made = features.provenance.for_head()
            made.require_same(self.provenance, path or "the features", TRAINED_ON)
        self.require_feature_size(features.values.shape[1], path or "the features")
        found = score_sequence(self.head, features.values)
        return Timeline(
            self.labels,
            found.now,
            found.so_far,
            features.pts_seconds,
            path,
            multi_label=self.multi_label,
            none_of_these=self.none_of_these,
            event_rule=self.event_rule,
        )

    def require_feature_size(self, size: int, where: str) -> None:
        """Refuse features of another size than those that the head was trained on.

        Raises:
            FeatureError: the sizes differ; both are named.
        """
        if size != self.head.feature_size:
            raise FeatureError(
                f"{where}: has {size} features a step, the model was trained with "
                f"{self.head.feature_size}; give it features of the kind that it was trained on"
            )

    def require_none_of_these(self, rate: float, *, of_steps: bool) -> NoneOfThese:
        """What tells that none of the classes is seen.

        Args:
            rate: of the classes' own that may be lost.
            of_steps: not of whole clips alone.

        Raises:
            ModelError: the model was trained without it, without a sampling rate, or on so few
                held-out clips that nothing can be as unusual as the rate.
        """
        if self.none_of_these is None and self.multi_label:
            raise ModelError(
                "a model of several labels at once says 'none of these' by itself: no label is on "
                "(each score is below the threshold, 0.5); leave the rate out"
            )
        if self.none_of_these is None:
            raise ModelError(
                "the model cannot say 'none of these'; train it with train.none_of_these=true"
            )
        if of_steps and "step" not in self.none_of_these.held_out:
            raise ModelError(
                "the model can say 'none of these' of whole clips alone; train it with "
                "sampling.rate_fps to have it say so at every step"
            )
        held_out = self.none_of_these.held_out["step" if of_steps else "clip"]
        least = 1 / (len(held_out) + 1)
        if rate <= least:
            raise ModelError(
                f"none_rate is {rate:g}, and the model knows {len(held_out)} held-out answers, of "
                f"which nothing can be less usual than {least:.3g}; use a rate above that, or "
                "train with more clips held out"
            )
        return self.none_of_these

    def stream(self) -> Stream:
        """A running recording: `push` frames, get the scores of `timeline`, in constant memory.

        Raises:
            ConfigError: the model's sampling needs the whole clip.
        """
        return Stream(self.backbone, self.head, self.config.sampling)

    def stream_batch(self, num_streams: int) -> StreamBatch:
        """Several running recordings that advance together; see `stream`.

        Args:
            num_streams: at least 1.

        Raises:
            ConfigError: the model's sampling needs the whole clip.
        """
        return StreamBatch([self.stream() for _ in range(num_streams)])

    def save(self, path: str | Path) -> None:
        """Write one .safetensors file that `actionrnn.load` reads; it needs nothing else.

        Raises:
            ModelError: the file cannot be written.
        """
        info = ModelInfo(
            path=as_path(path),
            labels=self.labels,
            config=self.config,
            feature_size=self.head.feature_size,
            provenance=self.provenance,
            training=self.training,
            actionrnn_version=__version__,
        )
        write_model(info, self.head, self.none_of_these)


def load(
    path: str | Path,
    *,
    weights: str | None = None,
    device: str | None = None,
    runtime: Runtime | None = None,
    precision: Precision | None = None,
) -> Recognizer:
    """Load a model; its backbone is loaded with it.

    Where the videos and the weights are, a model does not say: the run's own `config.yaml` does,
    if it lies beside the model.

    Args:
        path: a model file, the folder of a run, or `hf://USER/NAME[@REVISION]` on the hub.
        weights: where the backbone's weights are on this machine, if not where they were.
        device: a torch device instead of the one in the model's configuration.
        runtime: what computes the backbone, instead of the one in the configuration.
        precision: of the backbone, likewise.

    Raises:
        ModelError: the file does not exist or is not a model, or this machine has other weights
            of its backbone than those that it was trained with.
        BackboneError: the backbone's weights are missing.
    """
    info = read_model_info(path)
    whole = info.config if hub.is_address(path) else with_own_paths(info)
    path = info.path
    config = whole.backbone
    given = {"weights": weights, "device": device, "runtime": runtime, "precision": precision}
    changes: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    config = replace(config, **changes)
    backbone = load_backbone(config, _trained_with(info, config))
    wanted = Provenance.of(backbone, whole.sampling).for_head()
    if difference := info.provenance.difference(wanted):
        raise ModelError(
            f"{path}: was trained with {difference}; point --weights at the original weights, set "
            "the precision of its training, or train again"
        )
    head = read_head(info)
    none_of_these = read_none_of_these(info)
    return Recognizer(backbone, head, info.labels, whole, info.training, none_of_these)


def _trained_with(info: ModelInfo, config: BackboneConfig) -> Known | None:
    """The backbone of a model, unless another one is asked for."""
    preprocessing = info.provenance.preprocessing
    own = info.config.backbone.weights, preprocessing.resize_mode, preprocessing.modality
    if config.name != info.provenance.backbone or own != (
        config.weights,
        config.resize_mode,
        config.modality,
    ):
        return None
    return Known(info.provenance.weights_sha256, preprocessing)


def _start_of(video: Located, first_seconds: float) -> float:
    """When a video begins, as it declares; with the first step where it does not."""
    if is_folder(video):
        return 0.0
    with contextlib.suppress(VideoError):
        return min(declared_span(video)[0], first_seconds)  # a live source begins later by now
    return first_seconds


def _end_of(video: Located, sampling: Sampling, pts_seconds: NDArray[np.float64]) -> float | None:
    """When the last step ends; None: the video does not say, or was not read to its end."""
    if sampling.end_seconds is not None:
        return None
    with contextlib.suppress(VideoError):
        if isinstance(video, Path) and is_folder(video):
            return folder_seconds(as_path(video), sampling.frame_folder_fps)
        is_gone = video.is_address if isinstance(video, Source) else not video.is_file()
        if is_gone:
            return None
        return end_of(as_sampled(video, sampling), pts_seconds)
    return None


def first_sure(found: Readouts, confidence: float | None) -> int | None:
    """The first of n steps for which the best score so far is at least this; None: there is none.

    Args:
        confidence: None: nothing is sure enough.
    """
    if confidence is None:
        return None
    is_sure = (found.so_far >= confidence).any(axis=1)  # (n,)
    return int(is_sure.argmax()) if is_sure.any() else None
