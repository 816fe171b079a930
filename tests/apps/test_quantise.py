"""The exported encoder in int8 gives float32's features, on every CPU the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from actionrnn.apps import quantise
from actionrnn.apps.cli import main
from actionrnn.apps.export import Export, export
from actionrnn.features import quantise as network
from actionrnn.features.engines.onnx import open_session
from actionrnn.training.train import TrainingRun

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
pytestmark = pytest.mark.slow  # a backbone is converted


@pytest.fixture(scope="module")
def exported(run: TrainingRun, clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Export:
    return export(run.output, tmp_path_factory.mktemp("int8") / "squares", int8_clips=clips)


@pytest.fixture(scope="module")
def graph(exported: Export) -> Any:
    return onnx.load(str(exported.folder / "encoder.onnx")).graph


def test_features_stay_those_of_float32_and_the_file_is_small(exported: Export) -> None:
    assert exported.int8 is not None
    assert exported.int8.worst_cosine >= 0.98
    assert "layers stay in float32" in str(exported.int8)
    assert sorted(file.name for file in exported.folder.iterdir()) == [
        *("encoder.onnx", "model.json", "reader.zip", "run.py", "step.onnx")
    ]
    assert (exported.folder / "encoder.onnx").stat().st_size < 6e6


def test_kernels_compute_what_the_file_says(exported: Export) -> None:
    """Without the runtime's optimisations the 8 bits are only simulated, in float32."""
    file = exported.folder / "encoder.onnx"
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    simulated = onnxruntime.InferenceSession(str(file), options, ["CPUExecutionProvider"])
    coarse = np.random.default_rng(0).integers(0, 256, (4, 6, 8, 3), np.uint8)
    feed = {"frames": coarse.repeat(20, axis=1).repeat(20, axis=2)}
    [a], [b] = simulated.run(None, feed), open_session(file).run(None, feed)
    cosines = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    assert cosines.min() > 0.98


def test_nothing_is_quantised_before_the_activation_has_cut_it(graph: Any) -> None:
    whole = {
        name for node in graph.node if node.op_type == "DequantizeLinear" for name in node.output
    }
    assert len([node for node in graph.node if node.op_type == "Conv"]) == 49
    assert not [n.name for n in graph.node if n.op_type in ("Clip", "Relu") and n.input[0] in whole]


def test_neighbouring_weights_fit_into_16_bits_with_any_input(graph: Any) -> None:
    """A CPU without VNNI cuts their sum (`VPMADDUBSW`), and nobody would notice here."""
    weights = [
        onnx.numpy_helper.to_array(one).astype(np.int32)
        for one in graph.initializer
        if one.data_type == onnx.TensorProto.INT8 and len(one.dims) == 4 and one.dims[1] > 1
    ]
    assert len(weights) > 20
    for weight in weights:
        pairs = np.moveaxis(weight, 1, -1).reshape(len(weight), -1, 2)
        for sign in (1, -1):
            assert np.maximum(sign * pairs, 0).sum(axis=2).max() * 255 < 2**15
    assert np.abs(weights[-1]).max() > 64  # a bit more than `reduce_range` leaves


def test_features_too_far_from_float32_are_refused(
    run: TrainingRun, clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(network, "LEAST_COSINE", 1.01)
    monkeypatch.setattr(network, "_MOST_TRIALS", 2)
    arguments = ["export", str(run.output), "-o", str(tmp_path / "export"), "--int8", str(clips)]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 1
    assert "even with half of the layers in float32; leave int8 out" in done.output
    assert not (tmp_path / "export").exists()


def test_an_answer_that_changes_too_often_is_refused(
    run: TrainingRun, clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quantise, "MOST_LOST", -0.01)
    arguments = ["export", str(run.output), "-o", str(tmp_path / "export"), "--int8", str(clips)]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 1
    assert "int8 on 4 clips: accuracy" in done.output and "export without --int8" in done.output
    assert not (tmp_path / "export").exists()
