"""A network in int8 computes what it does in float32, whatever the last digits of a machine."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from actionrnn.errors import BackboneError
from actionrnn.features import quantise as module
from actionrnn.features.quantise import Feed, cosines, features_of, quantise

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from actionrnn.features.engines.onnx import open_session  # noqa: E402

CHANNELS = (3, 16, 16, 32)


def network(nudge: float = 1.0) -> bytes:
    """Three convolutions, the second of single channels, each but the last with ReLU, and a mean.

    Args:
        nudge: all weights times this.
    """
    random = np.random.default_rng(0)
    helper, numpy_helper, one = onnx.helper, onnx.numpy_helper, onnx.TensorProto
    nodes = [
        helper.make_node("Cast", ["frames"], ["cast"], to=one.FLOAT),
        helper.make_node("Transpose", ["cast"], ["maps0"], perm=[0, 3, 1, 2]),
    ]
    constants = []
    for index, (wide, out) in enumerate(itertools.pairwise(CHANNELS)):
        groups = 16 if index == 1 else 1
        shape = (out, wide // groups, 3, 3)
        scale = 1 / np.sqrt(np.prod(shape[1:])) / (100 if index == 0 else 1)
        weights = random.normal(0, scale, shape) * nudge
        values = {f"w{index}": weights, f"b{index}": random.normal(0, 0.1, out)}
        constants += [numpy_helper.from_array(v.astype("f4"), k) for k, v in values.items()]
        inputs = [f"maps{index}", *values]
        nodes += [
            helper.make_node("Conv", inputs, [f"conv{index}"], f"conv{index}", group=groups),
            helper.make_node("Relu", [f"conv{index}"], [f"maps{index + 1}"], f"relu{index}"),
        ]
    nodes[-1:] = [
        helper.make_node("ReduceMean", ["conv2"], ["features"], axes=[2, 3], keepdims=0),
    ]
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("frames", one.UINT8, ["batch", 16, 16, 3])],
        [helper.make_tensor_value_info("features", one.FLOAT, ["batch", CHANNELS[-1]])],
        constants,
    )
    opset = [helper.make_opsetid("", 17)]
    content: bytes = helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString()
    return content


def feeds(count: int, seed: int = 0) -> list[Feed]:
    random = np.random.default_rng(seed)
    return [{"frames": random.integers(0, 256, (1, 16, 16, 3), np.uint8)} for _ in range(count)]


def initialisers(content: bytes, kind: int) -> list[NDArray[Any]]:
    graph = onnx.load_from_string(content).graph
    return [onnx.numpy_helper.to_array(one) for one in graph.initializer if one.data_type == kind]


def test_other_frames_have_the_features_of_float32() -> None:
    small = quantise(network(), feeds(16))
    assert small.float32_layers < 2
    assert initialisers(small.content, onnx.TensorProto.INT8)
    other = feeds(8, seed=1)
    exact = features_of(open_session(network()), other)
    assert cosines(exact, features_of(open_session(small.content), other)).min() > 0.98


def test_the_mean_of_each_feature_stays() -> None:
    """The bias takes off what rounded weights add; here the rounding is coarse."""
    content, calibrating = network(), feeds(16)
    exact = features_of(open_session(content), calibrating).mean(axis=0)
    small = quantise(content, calibrating).content
    off = features_of(open_session(small), calibrating).mean(axis=0) - exact
    assert np.abs(off).max() < 0.01 * np.abs(exact).max()


def test_the_last_digits_of_a_machine_change_no_weight_and_no_scale() -> None:
    same, nudged = (quantise(network(nudge), feeds(8)).content for nudge in (1.0, 1 + 1e-6))
    int8, uint8 = onnx.TensorProto.INT8, onnx.TensorProto.UINT8
    for kind in (int8, uint8):  # the weights; the zeros of the ranges
        for a, b in zip(initialisers(same, kind), initialisers(nudged, kind), strict=True):
            np.testing.assert_array_equal(a, b)
    scales = [
        [one for one in initialisers(content, onnx.TensorProto.FLOAT) if one.ndim == 0]
        for content in (same, nudged)
    ]
    assert scales[0] and scales[0] == scales[1]


def test_features_too_far_from_float32_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LEAST_COSINE", 1.01)
    with pytest.raises(BackboneError, match=r"at least 1\.01\), even with half of the layers"):
        quantise(network(), feeds(2))


def test_the_cosine_of_nothing_is_that_of_the_same() -> None:
    nothing, some = np.zeros((1, 3), np.float32), np.ones((1, 3), np.float32)
    assert cosines(nothing, nothing).tolist() == [1.0]
    assert cosines(nothing, some).tolist() == [0.0]
    assert cosines(some, -2 * some).tolist() == pytest.approx([-1.0])
