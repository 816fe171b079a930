"""The exported encoder in 8-bit integers, if real clips show that this costs no accuracy.

Every second clip calibrates it (`features.quantise`), the others test it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from actionrnn.errors import ModelError
from actionrnn.features.engines.onnx import open_session
from actionrnn.features.quantise import Feed, cosines, features_of
from actionrnn.features.quantise import quantise as quantise_network
from actionrnn.model.recognizer import Recognizer
from actionrnn.model.scoring import score_sequence
from actionrnn.model.segments import ON
from actionrnn.progress import progress_bar
from actionrnn.video.decode import read_frames
from actionrnn.video.finding import find_videos

MOST_LOST = 0.01
"""The largest accepted loss of accuracy; without labels, the part of the answers that change."""
_CALIBRATION_FRAMES = 128
_FRAMES_TOGETHER = 8


@dataclass(frozen=True)
class Int8Report:
    """What the 8 bits cost, on clips that did not calibrate them."""

    num_clips: int
    accuracy: tuple[float, float] | None
    """In float32 and in int8; None: the clips' folders are not named by the model's labels."""
    changed: float
    """The part of the clips with another answer."""
    largest_difference: float
    """Of a score, from 0 to 1."""
    worst_cosine: float
    """Of a frame's features to those in float32."""
    float32_layers: int
    """So many of the first layers stay in float32."""

    @property
    def lost(self) -> float:
        """The loss of accuracy; without labels, the part of the clips with another answer."""
        return self.changed if self.accuracy is None else self.accuracy[0] - self.accuracy[1]

    def __str__(self) -> str:
        accuracy = "no labels"
        if self.accuracy is not None:
            accuracy = f"accuracy {self.accuracy[0]:.1%} -> {self.accuracy[1]:.1%}"
        return (
            f"int8 on {self.num_clips} clips: {accuracy}, {self.changed:.1%} of the answers "
            f"change, scores by up to {self.largest_difference:.3f}; the worst cosine of a frame's "
            f"features is {self.worst_cosine:.3f}, {self.float32_layers} layers stay in float32"
        )


def quantise(model: Recognizer, encoder: Path, clips: Path) -> Int8Report:
    """Replace an encoder's file by one in int8.

    Args:
        encoder: the exported encoder of this model, in float32.
        clips: a folder of videos, in folders named by their labels if these are known.

    Raises:
        ModelError: there are too few videos, or more than `MOST_LOST` is lost.
        BackboneError: the features are too far from those in float32.
    """
    videos = find_videos(clips).paths
    if len(videos) < 4:
        raise ModelError(f"{clips}: has {len(videos)} videos; --int8 needs at least 4")
    small = encoder.with_name("encoder_int8.onnx")
    with progress_bar("quantising", None):
        feeds = list(_calibration(model, videos[::2]))
        int8 = quantise_network(encoder.read_bytes(), feeds)
    small.write_bytes(int8.content)
    report = _compare(model, encoder, small, videos[1::2], int8.float32_layers)
    if report.lost > MOST_LOST:
        raise ModelError(f"{report}: too much (at most {MOST_LOST:.0%}); export without --int8")
    small.replace(encoder)
    return report


def _calibration(model: Recognizer, videos: Sequence[Path]) -> Iterator[Feed]:
    """A few frames of each video, one by one, from all over it."""
    videos = videos[:: -(-len(videos) // _CALIBRATION_FRAMES)]
    each = max(1, _CALIBRATION_FRAMES // len(videos))
    for video in videos:
        feed = _feed(model, video)
        num_frames = len(feed["frames"])
        count = min(each, num_frames)
        for index in (np.arange(count) * 2 + 1) * num_frames // (2 * count):
            yield {name: values[index : index + 1].copy() for name, values in feed.items()}


def _feed(model: Recognizer, video: Path) -> Feed:
    """The encoder's inputs for a whole video, (T, H, W, 3) each."""
    frames = read_frames(video, model.config.sampling).data
    if model.backbone.preprocessing.modality == "rgb":
        return {"frames": frames}
    return {"frames": frames, "previous": np.concatenate([frames[:1], frames[:-1]])}


def _parts(feed: Feed) -> Iterator[Feed]:
    """A few frames at a time."""
    for at in range(0, len(feed["frames"]), _FRAMES_TOGETHER):
        yield {name: values[at : at + _FRAMES_TOGETHER] for name, values in feed.items()}


def _compare(
    model: Recognizer, encoder: Path, small: Path, videos: Sequence[Path], float32_layers: int
) -> Int8Report:
    sessions = [open_session(file) for file in (encoder, small)]
    scores, worst_cosine = [], 1.0
    with progress_bar("testing int8", len(videos)) as advance:
        for video in videos:
            parts = list(_parts(_feed(model, video)))
            features = [features_of(session, parts) for session in sessions]
            scores.append([score_sequence(model.head, values).so_far[-1] for values in features])
            worst_cosine = min(worst_cosine, float(cosines(*features).min()))
            advance()
    full, less = np.array(scores).transpose(1, 0, 2)  # (N, K) each
    answers, answers_less = _answers(model, full), _answers(model, less)
    labels = [video.parent.name for video in videos]
    accuracy = None
    if set(labels) <= set(model.labels):
        truths = np.array([[one == label for one in model.labels] for label in labels])
        right, right_less = ((one == truths).all(axis=1) for one in (answers, answers_less))
        accuracy = float(right.mean()), float(right_less.mean())
    return Int8Report(
        num_clips=len(videos),
        accuracy=accuracy,
        changed=float((answers != answers_less).any(axis=1).mean()),
        largest_difference=float(np.abs(full - less).max()),
        worst_cosine=worst_cosine,
        float32_layers=float32_layers,
    )


def _answers(model: Recognizer, scores: NDArray[np.float32]) -> NDArray[np.bool_]:
    """What clips of these scores (N, K) are said to be, (N, K): the best class, or all on."""
    if model.multi_label:
        return scores >= ON
    answers: NDArray[np.bool_] = np.arange(scores.shape[1]) == scores.argmax(axis=1)[:, None]
    return answers
