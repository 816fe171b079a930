"""The exported encoder in 8-bit integers, where real clips show that it costs nothing.

Static quantisation of the convolutions and linear layers, the weights per channel (Jacob et al.,
"Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference",
CVPR 2018), by ONNX Runtime. Every second clip calibrates it, the others are the test.
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
from actionrnn.model.recognizer import Recognizer, step_scores
from actionrnn.video.decode import read_frames
from actionrnn.video.finding import find_videos

MOST_LOST = 0.01
"""The part of the test clips that may get a wrong answer for a right (or another) one."""
_CALIBRATION_FRAMES = 256
_FRAMES_TOGETHER = 8

Feed = dict[str, NDArray[np.uint8]]


@dataclass(frozen=True)
class Int8Report:
    """What the 8 bits cost, on clips that did not calibrate them."""

    num_clips: int
    accuracy: tuple[float, float] | None
    """In float32 and in int8; None: the clips have no known labels."""
    changed: float
    """The part of the clips with another answer."""
    largest_difference: float
    """Of a score."""

    @property
    def lost(self) -> float:
        """The part of the clips that is lost."""
        return self.changed if self.accuracy is None else self.accuracy[0] - self.accuracy[1]

    def __str__(self) -> str:
        accuracy = "no labels"
        if self.accuracy is not None:
            accuracy = f"accuracy {self.accuracy[0]:.1%} -> {self.accuracy[1]:.1%}"
        return (
            f"int8 on {self.num_clips} clips: {accuracy}, {self.changed:.1%} of the answers "
            f"change, scores by up to {self.largest_difference:.3f}"
        )


def quantise(model: Recognizer, encoder: Path, inputs: Sequence[str], clips: Path) -> Int8Report:
    """Replace an encoder's file by one in int8.

    Args:
        inputs: the encoder's: `frames`, and `previous` if it sees motion.
        clips: a folder of videos, in folders named by their labels if these are known.

    Raises:
        ModelError: there are too few videos, or more than `MOST_LOST` is lost.
    """
    videos = find_videos(clips).paths
    if len(videos) < 4:
        raise ModelError(f"{clips}: has {len(videos)} videos; --int8 needs at least 4")
    small = encoder.with_name("encoder_int8.onnx")
    _quantise_file(encoder, small, model, inputs, videos[::2])
    report = _compare(model, encoder, small, inputs, videos[1::2])
    if report.lost > MOST_LOST:
        raise ModelError(f"{report}: too much (at most {MOST_LOST:.0%}); export without --int8")
    small.replace(encoder)
    return report


def _quantise_file(
    encoder: Path, small: Path, model: Recognizer, inputs: Sequence[str], videos: Sequence[Path]
) -> None:
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._feeds = _spread(model, inputs, videos)

        def get_next(self) -> Any:
            return next(self._feeds, None)

    with quietly():  # it advises a preparation that changes nothing here
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


def _spread(model: Recognizer, inputs: Sequence[str], videos: Sequence[Path]) -> Iterator[Feed]:
    """A few frames of each video, one by one."""
    each = max(1, _CALIBRATION_FRAMES // len(videos))
    for video in videos:
        feed = _feed(model, inputs, video)
        places = np.linspace(0, len(feed["frames"]) - 1, min(each, len(feed["frames"])))
        for place in places.astype(int).tolist():
            yield {name: values[place : place + 1] for name, values in feed.items()}


def _feed(model: Recognizer, inputs: Sequence[str], video: Path) -> Feed:
    frames = read_frames(video, model.config.sampling).data
    known = {"frames": frames, "previous": np.concatenate([frames[:1], frames[:-1]])}
    return {name: known[name] for name in inputs}


def _compare(
    model: Recognizer, encoder: Path, small: Path, inputs: Sequence[str], videos: Sequence[Path]
) -> Int8Report:
    sessions = [open_session(file) for file in (encoder, small)]
    scores: list[list[NDArray[np.float32]]] = [[], []]
    for video in videos:
        feed = _feed(model, inputs, video)
        for session, found in zip(sessions, scores, strict=True):
            parts = [
                session.run(None, {k: v[at : at + _FRAMES_TOGETHER] for k, v in feed.items()})[0]
                for at in range(0, len(feed["frames"]), _FRAMES_TOGETHER)
            ]
            found.append(step_scores(model.head, np.concatenate(parts))[-1])
    full, less = np.stack(scores[0]), np.stack(scores[1])
    answers, answers_less = full.argmax(axis=1), less.argmax(axis=1)
    labels = [video.parent.name for video in videos]
    accuracy = None
    if set(labels) <= set(model.labels):
        targets = np.array([model.labels.index(label) for label in labels])
        accuracy = float((answers == targets).mean()), float((answers_less == targets).mean())
    return Int8Report(
        num_clips=len(videos),
        accuracy=accuracy,
        changed=float((answers != answers_less).mean()),
        largest_difference=float(np.abs(full - less).max()),
    )
