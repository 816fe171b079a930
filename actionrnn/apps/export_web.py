"""A model becomes a static web page: a folder that any web server serves, without a network.

index.html     the page: a video file or the webcam in, scores out
encoder.onnx   what the backbone sees of a frame -> features; the page scales and cuts the frames
step.onnx      features (1, D) and the state -> scores (1, K) and the new state
model.json     labels, sampling, preprocessing, state, sizes, checksums, versions
ort*           onnxruntime-web, for the processor and for WebGPU
"""

from __future__ import annotations

import dataclasses
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch

from actionrnn.apps import onnxruntime_web
from actionrnn.apps.export import (
    ENCODER,
    HEAD_WRITTEN,
    LOADED,
    NETWORK_WRITTEN,
    STEP,
    load_exact,
    new_export,
    none_of_these,
    step_to_onnx,
    write_description,
)
from actionrnn.apps.timeline_page import PAGES
from actionrnn.config import Sampling
from actionrnn.errors import ConfigError
from actionrnn.features.backbone import Backbone
from actionrnn.features.engines.onnx_export import network_to_onnx
from actionrnn.features.preprocess import MOTION_GAIN
from actionrnn.files import as_path
from actionrnn.model.heads import Head
from actionrnn.model.recognizer import Recognizer
from actionrnn.progress import OnProgress, silent
from actionrnn.video.frame import Frame

_CHECK_WIDTH, _CHECK_HEIGHT = 320, 240
_RGB = np.arange(3)

_OWN = Path(__file__).with_name("web")
_SHARED = ("common.js", "icon.svg", "live.js", "style.css", "timeline.js")


def export_web(
    model: str | Path,
    output: str | Path,
    *,
    weights: str | None = None,
    none_rate: float | None = None,
    onnxruntime_web_folder: Path | None = None,
    on_progress: OnProgress = silent,
) -> Path:
    """Write a model as a web page into a folder, whole or not at all; see `export.export`.

    Args:
        model: a model file, or the folder of a run.
        output: a new folder, an empty one, or one that holds an unchanged export.
        weights: the backbone's weights on this machine, if they are not where they were.
        none_rate: the page also says 'none of these', wrongly of this part of the classes' own;
            None: it does not.
        onnxruntime_web_folder: the unpacked npm package; None: it is fetched with npm, once.
        on_progress: is told each step.

    Returns:
        The folder.

    Raises:
        ConfigError: the model's sampling is not a rate, which live pictures need.
        ModelError, BackboneError: as `export.export`; onnxruntime-web cannot be fetched.
    """
    output = as_path(output)
    on_progress("loading the model", 0.0)
    recognizer = load_exact(model, output, weights)
    _require_rate(recognizer.config.sampling)
    none = None if none_rate is None else _none_of_these(recognizer, none_rate)
    on_progress("fetching onnxruntime-web", LOADED)
    runtime = onnxruntime_web.files(onnxruntime_web_folder)
    with new_export(output) as folder:
        on_progress("writing the network", LOADED)
        (folder / ENCODER).write_bytes(view_encoder_to_onnx(recognizer.backbone))
        on_progress("writing the head", NETWORK_WRITTEN)
        (folder / STEP).write_bytes(step_to_onnx(Head.of(recognizer.head)))
        on_progress("copying the page", HEAD_WRITTEN)
        for file in (*_OWN.iterdir(), *(PAGES / name for name in _SHARED)):
            shutil.copyfile(file, folder / file.name)
        for name, content in runtime.items():
            # many servers do not say of .mjs that it is JavaScript, and then browsers refuse it
            (folder / name.replace(".mjs", ".js")).write_bytes(content)
        encoder = _described_encoder(recognizer)
        write_description(recognizer, folder, encoder, none, check=_check(recognizer))
    return output


def view_encoder_to_onnx(backbone: Backbone) -> bytes:
    """An ONNX graph from what the backbone sees of frames to its features, (V, D).

    Its input is uint8 (V, crop, crop, 3), cut and scaled: on a processor this takes a browser less
    time than the frames' matrix products in `export.encoder_to_onnx`.

    Raises:
        BackboneError: ONNX cannot express the network.
    """
    assert backbone.network is not None  # torch has loaded it
    network = backbone.network.to(memory_format=torch.contiguous_format)
    return network_to_onnx(network, backbone.preprocessing)


def _described_encoder(model: Recognizer) -> dict[str, Any]:
    seen = model.backbone.preprocessing
    return {
        "file": ENCODER,
        "inputs": ["frames"],
        "input_shape": [seen.num_views, seen.crop, seen.crop, 3],
        "input_type": "uint8 RGB",
        "outputs": ["features"],
        "output_shape": [seen.num_views, model.head.feature_size // seen.num_views],
        "precision": "float32",
        "preprocessing": dataclasses.asdict(seen) | {"motion_gain": MOTION_GAIN},
    }


def _check(model: Recognizer) -> dict[str, Any]:
    """A frame that the page makes itself, and its scores, which each browser must find again."""
    x, y, colour = np.arange(_CHECK_WIDTH)[:, None], np.arange(_CHECK_HEIGHT)[:, None, None], _RGB
    frame = (((2 * colour + 1) * x + (3 - colour) * y) % 256).astype(np.uint8)
    stream = model.stream()
    scores = [*stream.push(Frame.from_array(frame, 0.0)), *stream.finish()]
    return {"width": _CHECK_WIDTH, "height": _CHECK_HEIGHT, "scores": scores[0].tolist()}


def _require_rate(sampling: Sampling) -> None:
    only_a_rate = Sampling(
        rate_fps=sampling.rate_fps,
        frame_folder_fps=sampling.frame_folder_fps,
        overrules_stated_rate=sampling.overrules_stated_rate,
    )
    if sampling.rate_fps is None or sampling != only_a_rate:
        raise ConfigError(
            f"sampling ({sampling}) does not fit a page, which takes so many frames a second of "
            "all that it sees; train with sampling.num_frames=null sampling.rate_fps=4, as in "
            "configs/folder_example.yaml"
        )


def _none_of_these(model: Recognizer, none_rate: float) -> dict[str, Any]:
    """The same in JSON, which has no infinity: what nothing is farther than is left out."""
    found = none_of_these(model, none_rate)
    return found | {"farthest": {k: v for k, v in found["farthest"].items() if math.isfinite(v)}}
