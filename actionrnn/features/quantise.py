"""An ONNX network in 8-bit integers, close to what it computes in float32.

Static quantisation of the convolutions and linear layers, the weights per channel (Jacob et al.,
"Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference",
CVPR 2018), by ONNX Runtime's quantiser. An activation that cuts (ReLU, ReLU6) is one with its
convolution: the 8 bits hold what it leaves, not what it cuts. What rounded weights change in the
mean of a channel is taken off its bias (Nagel et al., "Data-Free Quantization Through Weight
Equalization and Bias Correction", ICCV 2019).
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from actionrnn.errors import BackboneError
from actionrnn.features.engines.onnx import open_session
from actionrnn.features.networks import quietly

LEAST_COSINE = 0.99
"""Of a calibrating frame's features to those in float32; other frames' worst was 0.005 less."""
_MOST_TRIALS = 24  # numbers of layers in float32
_LAYERS = ("Conv", "Gemm", "MatMul")
_ACTIVATIONS = ("Clip", "Relu")
_LARGEST = 127  # of int8, with either sign
_STEPS_OF_A_RANGE = 64  # in an octave, half of them used

Feed = dict[str, NDArray[np.uint8]]


@dataclass(frozen=True)
class Int8Network:
    """A quantised network."""

    content: bytes
    """Of the ONNX file."""
    float32_layers: int
    """So many of the first layers stay in float32."""


def quantise(content: bytes, feeds: Sequence[Feed]) -> Int8Network:
    """Quantise a network that is an ONNX file with the outputs' first axis that of the frames.

    The first layers see few channels of a wide range, and all others build on what they lose: as
    many as needed stay in float32, by the features of the frames that calibrate.

    Args:
        feeds: the inputs that calibrate, a frame each.

    Raises:
        BackboneError: with half of the layers in float32 the features still are too far from
            those in float32.
    """
    import onnx

    network = onnx.shape_inference.infer_shapes(onnx.load_from_string(content))
    layers, seen = _layers(network.graph), _seen(network, feeds)
    exact = features_of(open_session(content), feeds)
    worst = 0.0
    for count in range(0, len(layers) // 2 + 1, max(1, len(layers) // _MOST_TRIALS)):
        small = _with_int8_layers(network, layers[count:], seen)
        worst = float(cosines(exact, features_of(open_session(small), feeds)).min())
        if worst >= LEAST_COSINE:
            return Int8Network(small, count)
    raise BackboneError(
        f"int8: the features of a frame have a cosine of {worst:.3f} to those in float32 (at least "
        f"{LEAST_COSINE}), even with half of the layers in float32; leave int8 out"
    )


def features_of(session: Any, feeds: Iterable[Feed]) -> NDArray[np.float32]:
    """The first output for all feeds, (N, D)."""
    return np.concatenate([session.run(None, feed)[0] for feed in feeds])


def cosines(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    """Of the rows of (N, D), (N,); 1 where both have no length, 0 where one has none."""
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    same = (a == b).all(axis=1).astype(np.float32)
    found: NDArray[np.float32] = np.divide(
        (a * b).sum(axis=1), lengths, out=same, where=lengths > 0
    )
    return found


@dataclass(frozen=True)
class _Layer:
    """A convolution, or a product with a constant matrix."""

    node: str
    input: str
    weights: str
    bias: str
    """Empty: it has none, or one that is not constant."""
    axis: int
    """Of the weights' output channels."""
    limits: NDArray[np.float32]
    """The largest weight of each channel that int8 must hold."""


@dataclass
class _Seen:
    """Of a tensor, in all frames that calibrate."""

    smallest: float
    largest: float
    means: NDArray[np.float64]
    """Of each channel (axis 1)."""


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
        bias = next((name for name in node.input[2:] if name in constants), "")
        layers.append(_Layer(node.name, node.input[0], node.input[1], bias, axis, limits))
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


def _seen(network: Any, feeds: Sequence[Feed]) -> dict[str, _Seen]:
    """What the inputs and outputs of layers and activations are."""
    import onnx

    types = (*_LAYERS, *_ACTIVATIONS)
    nodes = [node for node in network.graph.node if node.op_type in types]
    constants = {one.name for one in network.graph.initializer}
    names = {name for node in nodes for name in (node.input[0], *node.output)} - constants
    named = sorted(names - {one.name for one in network.graph.output})
    told = copy.deepcopy(network)
    told.graph.output.extend(onnx.ValueInfoProto(name=name) for name in named)
    outputs = [one.name for one in told.graph.output]
    session = open_session(told.SerializeToString())
    found: dict[str, _Seen] = {}
    for feed in feeds:
        for name, values in zip(outputs, session.run(None, feed), strict=True):
            channels = values if values.ndim > 1 else values.reshape(1, -1)
            means = channels.mean(axis=(0, *range(2, values.ndim)), dtype=np.float64)
            one = found.setdefault(name, _Seen(0.0, 0.0, np.zeros_like(means)))
            one.smallest = min(one.smallest, float(values.min()))
            one.largest = max(one.largest, float(values.max()))
            one.means += means / len(feeds)
    return found


def _with_int8_layers(network: Any, layers: Sequence[_Layer], seen: dict[str, _Seen]) -> bytes:
    """The same with these layers in int8."""
    from onnxruntime.quantization import CalibrationMethod, QDQQuantizer, QuantType
    from onnxruntime.quantization.calibrate import TensorData, TensorsData

    network = copy.deepcopy(network)
    _correct_biases(network.graph, layers, seen)
    ranges = {name: (_steady(one.smallest), _steady(one.largest)) for name, one in seen.items()}
    data = {
        name: TensorData(lowest=np.float32(low), highest=np.float32(high))
        for name, (low, high) in ranges.items()
    }
    activations = [node.name for node in network.graph.node if node.op_type in _ACTIVATIONS]
    quantizer = QDQQuantizer(
        network,
        per_channel=True,
        reduce_range=False,
        weight_qType=QuantType.QInt8,
        activation_qType=QuantType.QUInt8,
        tensors_range=TensorsData(CalibrationMethod.MinMax, data),
        nodes_to_quantize=[layer.node for layer in layers] + activations,
        nodes_to_exclude=[],
        op_types_to_quantize=[*_LAYERS, *_ACTIVATIONS],
        extra_options={
            "TensorQuantOverrides": {
                layer.weights: [
                    {"axis": layer.axis, "quant_type": QuantType.QInt8, "symmetric": True}
                    | {"rmin": -limit, "rmax": limit}
                    for limit in layer.limits
                ]
                for layer in layers
            }
        },
    )
    with quietly():
        quantizer.quantize_model()
    content: bytes = quantizer.model.model.SerializeToString()
    return content


def _correct_biases(graph: Any, layers: Sequence[_Layer], seen: dict[str, _Seen]) -> None:
    """Take off each bias what rounding the weights adds to the channel's mean."""
    from onnx import numpy_helper

    constants = {one.name: one for one in graph.initializer}
    for layer in layers:
        weights = numpy_helper.to_array(constants[layer.weights])
        if not layer.bias or layer.axis != 0 or weights.ndim < 3:
            continue
        scale = (layer.limits / _LARGEST).reshape(-1, *[1] * (weights.ndim - 1))
        steps = np.divide(weights, scale, out=np.zeros_like(weights), where=scale > 0)
        lost = weights - steps.round().clip(-_LARGEST, _LARGEST) * scale
        lost = lost.reshape(*weights.shape[:2], -1).sum(axis=2)  # (M, C / groups)
        means = seen[layer.input].means.reshape(-1, weights.shape[1])  # (groups, C / groups)
        means = means.repeat(len(weights) // len(means), axis=0)  # (M, C / groups)
        bias = constants[layer.bias]
        corrected = numpy_helper.to_array(bias) + (lost * means).sum(axis=1)
        bias.CopyFrom(numpy_helper.from_array(corrected.astype(np.float32), layer.bias))


def _steady(limit: float) -> float:
    """A range's end, a little further out, where the last digits of a machine do not show."""
    mantissa, exponent = np.frexp(abs(limit))
    return float(np.sign(limit) * np.ldexp(np.ceil(mantissa * _STEPS_OF_A_RANGE), exponent - 6))
