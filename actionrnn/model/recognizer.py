"""Backbone + head + labels + sampling: a video file becomes an answer.

    file -> read_blocks -> features (n, D) -> Scorer -> scores (n, K) -> Timeline -> Prediction

Every answer for a file takes this road: `classify`, `timeline`, the commands and the server.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from actionrnn import __version__
from actionrnn.config import Clock, Config, EventRule, Precision, Runtime, Sampling, SegmentRule
from actionrnn.errors import FeatureError, ModelError, VideoError
from actionrnn.features.backbone import Backbone, load_backbone
from actionrnn.features.provenance import TRAINED_ON, Features, Provenance
from actionrnn.features.worker import Decode, decode_video
from actionrnn.files import as_path
from actionrnn.model import hub
from actionrnn.model.events import Event, find_events
from actionrnn.model.heads import Head
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
from actionrnn.model.scoring import Readouts, Scorer
from actionrnn.model.segments import Segment, find_lane_segments, find_segments
from actionrnn.model.stream import Stream, StreamBatch
from actionrnn.progress import progress_bar
from actionrnn.text import printable
from actionrnn.video.image_folder import is_folder
from actionrnn.video.last_frame import end_of
from actionrnn.video.source import Located, Source, VideoSource, declared_span, find_source


@dataclass(frozen=True)
class Prediction:
    """The answer for one clip."""

    labels: tuple[str, ...]
    """Best first."""
    scores: tuple[float, ...]
    """Their probabilities, summing to 1 over all classes; of a multi-label model, each that of its
    class alone."""
    pts_seconds: float
    """The time of the last frame that the answer rests on."""
    path: str = ""
    typicality: float | None = None
    """The part of held-out clips of the model's classes whose answers are at least as unusual: a
    low one says that the video shows none of these. None: the model does not know."""

    @property
    def label(self) -> str:
        """The best label."""
        return self.labels[0]

    def top(self, count: int) -> Prediction:
        """The same, with the best `count` labels only."""
        return replace(self, labels=self.labels[:count], scores=self.scores[:count])

    def is_none_of_these(self, none_rate: float) -> bool:
        """Whether the video looks like none of the classes.

        Args:
            none_rate: the part of clips of the classes of which this may be said wrongly.
        """
        return self.typicality is not None and self.typicality < none_rate

    def to_dict(self, none_rate: float | None = None) -> dict[str, Any]:
        """Plain JSON types; `typicality` where the model knows it.

        Args:
            none_rate: also say with `none_of_these` what `is_none_of_these` says at this rate.
        """
        known: dict[str, Any] = {}
        if self.typicality is not None:
            known["typicality"] = round(self.typicality, 6)
        if none_rate is not None:
            known["none_of_these"] = self.is_none_of_these(none_rate)
        return known | {
            "path": self.path,
            "label": self.label,
            "labels": list(self.labels),
            "scores": [round(score, 6) for score in self.scores],
            "pts_seconds": round(self.pts_seconds, 6),
        }

    def __str__(self) -> str:
        width = max(map(len, self.labels))
        rows = [
            f"  {label:<{width}}  {score:6.1%}  {'#' * round(30 * score)}".rstrip()
            for label, score in zip(self.labels, self.scores, strict=True)
        ]
        return "\n".join([printable(self.path or "prediction"), *rows])


@dataclass(frozen=True)
class Timeline:
    """What a model says at every step of a video: of that moment, and of the video so far."""

    labels: tuple[str, ...]
    scores: NDArray[np.float32]
    """Probabilities of now, (T, K), in the order of `labels`: what happens at each step."""
    so_far: NDArray[np.float32]
    """Probabilities of the whole video up to each step, (T, K): `Head.scores` of the mean of the
    logits of now. The last row is the video's answer."""
    pts_seconds: NDArray[np.float64]
    """(T,)."""
    path: str = ""
    seen_seconds: float | None = None
    """The time of the last frame that the last answer rests on; None: that of the last step. It
    is later where the video was not read to its end, and the head has a delay."""
    end_seconds: float | None = None
    """When the last step ends, where the video says it and was read to its end; None: after the
    usual time of a step."""
    start_seconds: float = 0.0
    """When the video begins, on the clock of these times; players show 0 there. The clocks of
    transport streams and cameras may begin anywhere."""
    multi_label: bool = False
    """Whether several labels may be on at once: then segments of different labels overlap."""
    none_of_these: NoneOfThese | None = None
    """The model's."""
    event_rule: EventRule | None = None
    """The model's; see `Recognizer.event_rule`."""

    def on_clock(self, clock: Clock) -> Timeline:
        """The same with times by a player's clock, which is 0 where the video begins.

        Args:
            clock: file: unchanged.
        """
        if clock == "file" or self.start_seconds == 0:
            return self
        seen, end = self.seen_seconds, self.end_seconds
        return replace(
            self,
            pts_seconds=self.pts_seconds - self.start_seconds,
            seen_seconds=None if seen is None else seen - self.start_seconds,
            end_seconds=None if end is None else end - self.start_seconds,
            start_seconds=0.0,
        )

    @functools.cached_property
    def typicality(self) -> NDArray[np.float64] | None:
        """How usual the half second around each step is for the model's classes, (T,).

        The part of held-out half seconds of these that are at least as unusual; None: the model
        does not know.
        """
        if self.none_of_these is None:
            return None
        return self.none_of_these.of_recording(self.scores, self.pts_seconds)

    def is_none_of_these(self, none_rate: float) -> NDArray[np.bool_] | None:
        """Whether the half second around each step looks like none of the classes, (T,).

        None: the model does not know.

        Args:
            none_rate: the part of the classes' own time of which this may be said wrongly.
        """
        return None if self.typicality is None else self.typicality < none_rate

    def segments(self, rule: SegmentRule | None = None) -> list[Segment]:
        """From when to when which action; see `SegmentRule`."""
        if self.multi_label:
            return find_lane_segments(
                self.labels, self.scores, self.pts_seconds, rule, self.end_seconds
            )
        is_asked = rule is not None and rule.none_rate > 0
        typicality = self.typicality if is_asked else None
        return find_segments(
            self.labels, self.scores, self.pts_seconds, rule, typicality, self.end_seconds
        )

    def events(
        self,
        rule: EventRule | None = None,
        *,
        ignored: Collection[str] = (),
        none_rate: float | None = None,
    ) -> list[Event]:
        """What began and what ended, as an `EventDetector` of a stream says it; see `EventRule`.

        Args:
            rule: None: the model's, or the default rule if it has none.
            ignored: labels that are no actions, such as the background.
            none_rate: nothing begins at steps that look like none of the classes, each by its own
                scores, as a stream knows them; this part of the classes' own steps is lost so.
        """
        rule = rule or self.event_rule
        is_none = None
        if none_rate is not None and self.none_of_these is not None:
            typicality = self.none_of_these.of_steps(self.scores)
            is_none = None if typicality is None else typicality < none_rate
        return find_events(self.labels, self.scores, self.pts_seconds, rule, ignored, is_none)

    def prediction(self) -> Prediction:
        """The answer for the whole video."""
        answer = self.so_far[-1]
        order = np.argsort(-answer, kind="stable")
        seen_seconds = self.pts_seconds[-1] if self.seen_seconds is None else self.seen_seconds
        return Prediction(
            labels=tuple(self.labels[index] for index in order),
            scores=tuple(float(answer[index]) for index in order),
            pts_seconds=float(seen_seconds),
            path=self.path,
            typicality=None if self.none_of_these is None else self.none_of_these.of_clip(answer),
        )

    def __repr__(self) -> str:
        return f"Timeline(scores={self.scores.shape}, path={self.path!r})"


def _name_of(video: Located) -> str:
    return str(video) if isinstance(video, Source) else video.name


@dataclass(frozen=True)
class Recognizer:
    """A trained model: `classify` and `timeline` of files; `save` and `actionrnn.load`."""

    backbone: Backbone
    head: Head
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
        """The same, reading another video stream of files that have several, or folders of
        pictures at another rate.

        Args:
            stream: as `Sampling.stream`; None: that of the model.
            frame_folder_fps: as `Sampling.frame_folder_fps`; None: that of the model.

        Raises:
            ConfigError: one of them is impossible.
        """
        given = {"stream": stream, "frame_folder_fps": frame_folder_fps}
        changes: dict[str, Any] = {k: value for k, value in given.items() if value is not None}
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
            str(source if isinstance(source, Source) else path),
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
            features.provenance.require_same(self.provenance, path or "the features", TRAINED_ON)
        self.require_feature_size(features.values.shape[1], path or "the features")
        found = read_out(self.head, features.values)
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
    backbone = load_backbone(config)
    if difference := info.provenance.difference(Provenance.of(backbone, whole.sampling)):
        raise ModelError(
            f"{path}: was trained with {difference}; point --weights at the original weights, or "
            "train again"
        )
    head = read_head(info).to(backbone.device)
    none_of_these = read_none_of_these(info)
    return Recognizer(backbone, head, info.labels, whole, info.training, none_of_these)


def _start_of(video: Located, first_seconds: float) -> float:
    """When a video begins, as it declares; with the first step where it does not."""
    if is_folder(video):
        return 0.0
    with contextlib.suppress(VideoError):
        return min(declared_span(video)[0], first_seconds)  # a live source begins later by now
    return first_seconds


def _end_of(video: Located, sampling: Sampling, pts_seconds: NDArray[np.float64]) -> float | None:
    """When the last step ends; None: the video does not say, or was not read to its end."""
    is_gone = video.is_address if isinstance(video, Source) else not video.is_file()
    if is_gone or sampling.end_seconds is not None:
        return None
    with contextlib.suppress(VideoError):
        return end_of(video, pts_seconds, stream=sampling.stream)
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


@torch.inference_mode()
def read_out(head: Head, values: NDArray[np.float32]) -> Readouts:
    """The answers for every step of one sequence of features (T, D)."""
    head.eval()
    logits = head(torch.from_numpy(np.ascontiguousarray(values))[None].to(head.mean.device))
    now, so_far = (head.scores(part)[0].cpu().numpy() for part in (logits, head.so_far(logits)))
    return Readouts(now, so_far)
