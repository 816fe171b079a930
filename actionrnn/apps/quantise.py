"""The exported encoder in 8-bit integers, if real clips show that this costs no accuracy.

Static quantisation of the convolutions and linear layers, the weights per channel (Jacob et al.,
"Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference",
CVPR 2018), by ONNX Runtime. Every second clip calibrates it, the others test it. An activation that
cuts (ReLU, ReLU6) is one with its convolution: the 8 bits hold what it leaves, not what it cuts.
"""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from actionrnn.errors import ModelError
from actionrnn.features.engines.onnx import open_session
from actionrnn.features.networks import quietly
from actionrnn.model.recognizer import Recognizer
from actionrnn.model.scoring import score_sequence
from actionrnn.model.segments import ON
from actionrnn.progress import progress_bar
from actionrnn.video.decode import read_frames
from actionrnn.video.finding import find_videos

MOST_LOST = 0.01
"""The largest accepted loss of accuracy; without labels, the part of the answers that change."""
LEAST_COSINE = 0.99
"""Of a calibrating frame's features to those in float32; other frames' worst was 0.005 less."""
_CALIBRATION_FRAMES = 128
_FRAMES_TOGETHER = 8
_MOST_TRIALS = 24  # numbers of layers in float32
_LAYERS = ("Conv", "Gemm", "MatMul")
_ACTIVATIONS = ("Clip", "Relu")

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
        ModelError: there are too few videos, more than `MOST_LOST` is lost, or the features are
            too far from those in float32.
    """
    videos = find_videos(clips).paths
    if len(videos) < 4:
        raise ModelError(f"{clips}: has {len(videos)} videos; --int8 needs at least 4")
    small = encoder.with_name("encoder_int8.onnx")
    with progress_bar("quantising", None):
        float32_layers = _quantise_file(encoder, small, list(_calibration(model, videos[::2])))
    report = _compare(model, encoder, small, videos[1::2], float32_layers)
    if report.lost > MOST_LOST:
        raise ModelError(f"{report}: too much (at most {MOST_LOST:.0%}); export without --int8")
    small.replace(encoder)
    return report


def _quantise_file(encoder: Path, small: Path, feeds: Sequence[Feed]) -> int:
    """Write the encoder in int8, and say how many of its first layers stay in float32.

    The first layers see few channels of a wide range, and all others build on what they lose: as
    many as needed stay, by the features of the frames that calibrate.
    """
    import onnx
    from onnxruntime.quantization import QDQQuantizer, QuantType

    network = onnx.shape_inference.infer_shapes(onnx.load(str(encoder)))
    ranges = _ranges(encoder, feeds)
    layers = _layers(network.graph)
    activations = [node.name for node in network.graph.node if node.op_type in _ACTIVATIONS]
    exact = _features(open_session(encoder), feeds)
    worst = 0.0
    for count in range(0, len(layers) // 2 + 1, max(1, len(layers) // _MOST_TRIALS)):
        quantised = layers[count:]
        quantizer = QDQQuantizer(
            copy.deepcopy(network),
            per_channel=True,
            reduce_range=False,
            weight_qType=QuantType.QInt8,
            activation_qType=QuantType.QUInt8,
            tensors_range=ranges,
            nodes_to_quantize=[layer.node for layer in quantised] + activations,
            nodes_to_exclude=[],
            op_types_to_quantize=[*_LAYERS, *_ACTIVATIONS],
            extra_options={
                "TensorQuantOverrides": {
                    layer.weights: [
                        {"axis": layer.axis, "quant_type": QuantType.QInt8, "symmetric": True}
                        | {"rmin": -limit, "rmax": limit}
                        for limit in layer.limits
                    ]
                    for layer in quantised
                }
            },
        )
        with quietly():
            quantizer.quantize_model()
        onnx.save(quantizer.model.model, str(small))
        worst = float(_cosines(exact, _features(open_session(small), feeds)).min())
        if worst >= LEAST_COSINE:
            return count
    raise ModelError(
        f"int8: the features of a frame have a cosine of {worst:.3f} to those in float32 (at least "
        f"{LEAST_COSINE}), even with half of the layers in float32; export without --int8"
    )


@dataclass(frozen=True)
class _Layer:
    """A convolution, or a product with a constant matrix."""

    node: str
    weights: str
    axis: int
    """Of the weights' output channels."""
    limits: NDArray[np.float32]
    """The largest weight of each channel that int8 must hold."""


def _layers(graph: Any) -> list[_Layer]:
    """The layers with weights, in their order; the scaling of frames has none."""
    from onnx import numpy_helper

    constants = {one.name: one for one in graph.initializer}
    layers = []
    for node in graph.node:
        if node.op_type not in _LAYERS or node.input[1] not in constants:
            continue
        weights = numpy_helper.to_array(constants[node.input[1]])
        transposed = any(one.name == "transB" and one.i for one in node.attribute)
        axis = 0 if node.op_type == "Conv" or transposed else weights.ndim - 1
        limits = _limits(np.moveaxis(weights, axis, 0))
        layers.append(_Layer(node.name, node.input[1], axis, limits))
    return layers


def _limits(weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """The largest number that int8 must hold, for weights (M, C, ...) of M output channels: (M,).

    A CPU without VNNI adds the products of two neighbouring inputs in 16 bits and cuts what is
    beyond (`VPMADDUBSW`); with free weights that took features from a cosine of 0.99 to 0.95. So
    no two neighbours of one sign may add up to more than 127: every CPU computes the same, and
    less is lost than with 7 bits for all (`reduce_range`). Convolutions of single channels are
    computed otherwise.
    """
    limits: NDArray[np.float32]
    if weights.ndim > 2 and weights.shape[1] == 1:
        limits = np.abs(weights).reshape(len(weights), -1).max(axis=1)
        return limits
    rows = np.moveaxis(weights, 1, -1).reshape(len(weights), -1)  # channels side by side
    pairs = np.pad(rows, ((0, 0), (0, rows.shape[1] % 2))).reshape(len(rows), -1, 2)
    sums = [np.maximum(sign * pairs, 0).sum(axis=2).max(axis=1) for sign in (1, -1)]
    limits = np.maximum(*sums)
    return limits


def _ranges(encoder: Path, feeds: Sequence[Feed]) -> Any:
    """The smallest and largest value of every tensor."""
    from onnxruntime.quantization import CalibrationDataReader, create_calibrator

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._feeds = iter(feeds)

        def get_next(self) -> Any:
            return next(self._feeds, None)

    with tempfile.TemporaryDirectory() as folder:
        types = [*_LAYERS, *_ACTIVATIONS]
        calibrator = create_calibrator(encoder, types, str(Path(folder, "augmented.onnx")))
        calibrator.collect_data(Reader())
        return calibrator.compute_data()


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


def _features(session: Any, feeds: Iterable[Feed]) -> NDArray[np.float32]:
    return np.concatenate([session.run(None, feed)[0] for feed in feeds])


def _cosines(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    same = (a == b).all(axis=1).astype(np.float32)  # where one has no length
    cosines: NDArray[np.float32] = np.divide(
        (a * b).sum(axis=1), lengths, out=same, where=lengths > 0
    )
    return cosines


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
            features = [_features(session, parts) for session in sessions]
            scores.append([score_sequence(model.head, values).so_far[-1] for values in features])
            worst_cosine = min(worst_cosine, float(_cosines(*features).min()))
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
