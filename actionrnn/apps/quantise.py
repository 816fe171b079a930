"""The exported encoder in 8-bit integers, if real clips show that this costs no accuracy.

Static quantisation of the convolutions and linear layers, the weights per channel (Jacob et al.,
"Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference",
CVPR 2018), by ONNX Runtime. Every second clip calibrates it, the others test it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from actionrnn.errors import ModelError
from actionrnn.features.engines.onnx import open_session
from actionrnn.features.networks import quietly
from actionrnn.model.recognizer import Recognizer, read_out
from actionrnn.model.segments import ON
from actionrnn.progress import progress_bar
from actionrnn.video.decode import read_frames
from actionrnn.video.finding import find_videos

MOST_LOST = 0.01
"""The largest accepted loss of accuracy; without labels, the part of the answers that change."""
_CALIBRATION_FRAMES = 256
_FRAMES_TOGETHER = 8

Feed = dict[str, NDArray[np.uint8]]


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
            f"change, scores by up to {self.largest_difference:.3f}"
        )


def quantise(model: Recognizer, encoder: Path, clips: Path) -> Int8Report:
    """Replace an encoder's file by one in int8.

    Args:
        encoder: the exported encoder of this model, in float32.
        clips: a folder of videos, in folders named by their labels if these are known.

    Raises:
        ModelError: there are too few videos, or more than `MOST_LOST` is lost.
    """
    videos = find_videos(clips).paths
    if len(videos) < 4:
        raise ModelError(f"{clips}: has {len(videos)} videos; --int8 needs at least 4")
    small = encoder.with_name("encoder_int8.onnx")
    _quantise_file(model, encoder, small, videos[::2])
    report = _compare(model, encoder, small, videos[1::2])
    if report.lost > MOST_LOST:
        raise ModelError(f"{report}: too much (at most {MOST_LOST:.0%}); export without --int8")
    small.replace(encoder)
    return report


def _quantise_file(model: Recognizer, encoder: Path, small: Path, videos: Sequence[Path]) -> None:
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._feeds = _calibration(model, videos)

        def get_next(self) -> Any:
            return next(self._feeds, None)

    # quietly: it advises a preparation that changes nothing here
    with progress_bar("quantising", None), quietly():
        quantize_static(
            str(encoder),
            str(small),
            Reader(),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["Conv", "Gemm", "MatMul"],
            nodes_to_exclude=_without_weights(onnx.load(str(encoder)).graph),
            per_channel=True,
        )


def _without_weights(graph: Any) -> list[str]:
    """Products of two computed matrices: the scaling of frames, which must stay exact."""
    constants = {weight.name for weight in graph.initializer}
    return [n.name for n in graph.node if n.op_type == "MatMul" and not constants & set(n.input)]


def _calibration(model: Recognizer, videos: Sequence[Path]) -> Iterator[Feed]:
    """A few frames of each video, one by one."""
    each = max(1, _CALIBRATION_FRAMES // len(videos))
    for video in videos:
        feed = _feed(model, video)
        num_frames = len(feed["frames"])
        chosen = np.linspace(0, num_frames - 1, min(each, num_frames)).astype(int).tolist()
        for index in chosen:
            yield {name: values[index : index + 1] for name, values in feed.items()}


def _feed(model: Recognizer, video: Path) -> Feed:
    """The encoder's inputs for a whole video, (T, H, W, 3) each."""
    frames = read_frames(video, model.config.sampling).data
    if model.backbone.preprocessing.modality == "rgb":
        return {"frames": frames}
    return {"frames": frames, "previous": np.concatenate([frames[:1], frames[:-1]])}


def _compare(model: Recognizer, encoder: Path, small: Path, videos: Sequence[Path]) -> Int8Report:
    sessions = [open_session(file) for file in (encoder, small)]
    scores = []
    with progress_bar("testing int8", len(videos)) as advance:
        for video in videos:
            feed = _feed(model, video)
            scores.append([_clip_scores(model, session, feed) for session in sessions])
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
    )


def _answers(model: Recognizer, scores: NDArray[np.float32]) -> NDArray[np.bool_]:
    """What clips of these scores (N, K) are said to be, (N, K): the best class, or all on."""
    if model.multi_label:
        return scores >= ON
    answers: NDArray[np.bool_] = np.arange(scores.shape[1]) == scores.argmax(axis=1)[:, None]
    return answers


def _clip_scores(model: Recognizer, session: Any, feed: Feed) -> NDArray[np.float32]:
    features = [
        session.run(None, {k: v[at : at + _FRAMES_TOGETHER] for k, v in feed.items()})[0]
        for at in range(0, len(feed["frames"]), _FRAMES_TOGETHER)
    ]
    scores: NDArray[np.float32] = read_out(model.head, np.concatenate(features)).so_far[-1]
    return scores
