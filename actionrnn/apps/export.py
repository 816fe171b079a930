"""A model becomes two ONNX files, their description and a runner: a folder without PyTorch.

encoder.onnx   uint8 frames of any size (and the frames before) -> features (N, D)
step.onnx      features (N, D) and the state -> scores (N, K) and the new state
model.json     labels, sampling, inputs, outputs, sizes, checksums, versions
run.py         names the action in videos, with onnxruntime, numpy and av
reader.zip     reads the videos for it, by the same code as here
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import shutil
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from actionrnn import __version__
from actionrnn.apps.exported_reader import zipped_reader
from actionrnn.apps.quantise import Int8Report, quantise
from actionrnn.errors import ModelError
from actionrnn.features.backbone import Backbone
from actionrnn.features.engines.onnx import require_installed, versions
from actionrnn.features.engines.onnx_export import OPSET, Encoder, to_onnx
from actionrnn.features.known import INT8
from actionrnn.files import as_path, atomic_folder, file_sha256
from actionrnn.model.heads import Head, State
from actionrnn.model.model_file import read_model_info
from actionrnn.model.none_of_these import SMALLEST, STRETCH_SECONDS
from actionrnn.model.recognizer import Recognizer, load
from actionrnn.progress import OnProgress, silent

ENCODER, STEP, DESCRIPTION = "encoder.onnx", "step.onnx", "model.json"
RUNNER, READER = "run.py", "reader.zip"
FORMAT = "actionrnn export"
FORMAT_VERSION = 2

LARGEST_SIDE = 16384
"""Pixels of a frame's side that the encoder takes."""

LOADED, NETWORK_WRITTEN, HEAD_WRITTEN = 0.1, 0.8, 0.95
"""The parts of an export that are done by then, by the time that they take."""


@dataclasses.dataclass(frozen=True)
class Export:
    """What `export` wrote."""

    folder: Path
    int8: Int8Report | None
    """What int8 costs; None: the encoder is in float32."""


def export(
    model: str | Path,
    output: str | Path,
    *,
    weights: str | None = None,
    int8_clips: Path | None = None,
    none_rate: float | None = None,
    on_progress: OnProgress = silent,
) -> Export:
    """Write a model as ONNX into a folder, whole or not at all; an earlier export is replaced.

    Args:
        model: a model file, or the folder of a run.
        output: a new folder, an empty one, or one that holds an unchanged export.
        weights: the backbone's weights on this machine, if they are not where they were.
        int8_clips: a folder of videos; the encoder is quantised to int8 with one half of them,
            and tested on the other. None: it stays in float32.
        none_rate: the runner also says 'none of these', wrongly of this part of the classes' own
            clips; None: it does not.
        on_progress: is told each step.

    Raises:
        ModelError: the model cannot be loaded, was trained on int8 features, cannot say 'none of
            these', int8 costs too much, or the output cannot be written or holds anything else.
        BackboneError: the extra `onnx` is not installed, ONNX cannot express the backbone, or its
            int8 features are too far from those in float32.
    """
    output = as_path(output)
    on_progress("loading the model", 0.0)
    recognizer = load_exact(model, output, weights)
    none = None if none_rate is None else none_of_these(recognizer, none_rate)
    int8 = None
    with new_export(output) as folder:
        on_progress("writing the network", LOADED)
        (folder / ENCODER).write_bytes(encoder_to_onnx(recognizer.backbone))
        on_progress("writing the head", NETWORK_WRITTEN)
        (folder / STEP).write_bytes(step_to_onnx(Head.of(recognizer.head)))
        on_progress("copying the runner", HEAD_WRITTEN)
        shutil.copyfile(Path(__file__).with_name("onnx_runner.py"), folder / RUNNER)
        (folder / READER).write_bytes(zipped_reader())
        if int8_clips is not None:
            on_progress("quantising the network", HEAD_WRITTEN)
            int8 = quantise(recognizer, folder / ENCODER, int8_clips)
        encoder = {
            "file": ENCODER,
            "inputs": _encoder_inputs(recognizer.backbone),
            "input_shape": ["N", "height", "width", 3],
            "input_type": "uint8 RGB",
            "outputs": ["features"],
            "output_shape": ["N", recognizer.head.feature_size],
            "precision": "float32" if int8 is None else "int8",
            "int8_test": None if int8 is None else dataclasses.asdict(int8),
            "largest_side": LARGEST_SIDE,
        }
        write_description(recognizer, folder, encoder, none)
    return Export(output, int8)


def load_exact(model: str | Path, output: Path, weights: str | None) -> Recognizer:
    """The model in float32, if it can be exported into a folder.

    Raises:
        ModelError: it cannot be loaded, was trained on int8 features, or the folder holds
            anything but an unchanged export.
        BackboneError: the extra `onnx` is not installed.
    """
    require_installed()
    _require_free(output)
    if read_model_info(model).provenance.precision == INT8:
        raise ModelError(
            f"{model}: was trained on int8 features, and the exported encoder computes others; "
            "train it with backbone.precision=float32, and export with --int8"
        )
    return load(model, weights=weights, device="cpu", runtime="torch", precision="float32")


@contextlib.contextmanager
def new_export(output: Path) -> Iterator[Path]:
    """An empty folder that takes the place of an earlier export when the block ends.

    Raises:
        ModelError: it cannot be written, or the place holds anything but an unchanged export.
    """
    try:
        with atomic_folder(output, replace=True) as folder:
            yield folder
            _require_free(output)  # it may have been written while this was computed
    except OSError as error:
        raise ModelError(f"{output}: cannot be written ({error.strerror})") from None


def none_of_these(model: Recognizer, none_rate: float) -> dict[str, Any]:
    """What tells that none of the classes is seen, as model.json has it.

    Raises:
        ModelError: the model was not trained for that, or the rate is too low.
    """
    none = model.require_none_of_these(none_rate, of_steps=False)
    return {
        "none_rate": none_rate,
        "means": none.patterns.means.tolist(),
        "whitening": none.patterns.whitening.tolist(),
        "smallest_score": SMALLEST,
        # a greater distance is none of these
        "farthest": {kind: none.farthest(kind, none_rate) for kind in none.held_out},
        "stretch_seconds": STRETCH_SECONDS,
    }


def write_description(
    model: Recognizer,
    folder: Path,
    encoder: dict[str, Any],
    none: dict[str, Any] | None,
    **more: Any,
) -> None:
    """Write model.json: the model, and the files that are in the folder.

    Args:
        encoder: how it is called.
        none: of `none_of_these`; None: it is not said.
        more: what else it says, in JSON's types.
    """
    files = {
        file.name: {"size_bytes": file.stat().st_size, "sha256": file_sha256(file)}
        for file in sorted(folder.iterdir())
    }
    state = _initial_state(Head.of(model.head))
    described = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "labels": model.labels,
        "sampling": dataclasses.asdict(model.config.sampling),
        "encoder": encoder,
        "step": {
            "file": STEP,
            "inputs": ["features", *state],
            "outputs": ["scores", *(f"new_{name}" for name in state)],
            "output_shape": ["N", len(model.labels)],
            # the scores are those of so many steps before, and mean nothing until there are such
            "delay_steps": model.head.delay_steps,
            # zeros before the first frame; the results go in again, in this order
            "state": {
                name: {
                    "shape": list(value.shape[1:]),
                    "type": str(value.dtype).removeprefix("torch."),
                }
                for name, value in state.items()
            },
        },
        "head": dataclasses.asdict(model.head.config),
        "none_of_these": none,
        **more,
        "backbone": model.provenance.to_json(),
        "files": files,
        "versions": {"actionrnn": __version__, "opset": OPSET, **versions()},
    }
    text = json.dumps(described, indent=2, ensure_ascii=False) + "\n"
    (folder / DESCRIPTION).write_text(text, encoding="utf-8")


def encoder_to_onnx(backbone: Backbone) -> bytes:
    """An ONNX graph from N frames of any one size, uint8 (N, H, W, 3), to features (N, D).

    It contains the preprocessing: scaling, cropping, normalisation.

    Raises:
        BackboneError: ONNX cannot express the network.
    """
    names = _encoder_inputs(backbone)
    sides = [torch.export.Dim(side, min=2, max=LARGEST_SIDE) for side in ("height", "width")]
    shape = {0: torch.export.Dim("batch"), 1: sides[0], 2: sides[1]}
    inputs = {name: torch.zeros(2, 240, 320, 3, dtype=torch.uint8) for name in names}
    assert backbone.network is not None  # torch has loaded it
    network = backbone.network.to(memory_format=torch.contiguous_format)
    module = Encoder(network, backbone.preprocessing)
    return to_onnx(module, inputs, ["features"], dict.fromkeys(names, shape))


def step_to_onnx(head: Head) -> bytes:
    """An ONNX graph of one step: features (N, D) and state to scores (N, K) and new state.

    The scores are those of now (`Head.scores`, with the sigmoid of a multi-label head), with a
    delay those of `delay_steps` steps before; the state's `so_far` (N, K) are the logits of the
    whole video up to that step.
    """
    state = _initial_state(head)
    inputs = {"features": torch.zeros(2, head.feature_size), "state": state}
    batch = {0: torch.export.Dim("batch")}
    outputs = ["scores", *(f"new_{name}" for name in state)]
    dynamic = {"features": batch, "state": dict.fromkeys(state, batch)}
    return to_onnx(_Step(head), inputs, outputs, dynamic)


class _Step(nn.Module):
    def __init__(self, head: Head) -> None:
        super().__init__()
        self.head = head

    def forward(self, features: Tensor, state: State) -> tuple[Tensor, ...]:
        logits, new = self.head.step(features, state)
        return self.head.scores(logits), *(new[name] for name in state)


def _initial_state(head: Head) -> State:
    """The state that this head reads: only differences need the features before."""
    state = head.initial_state(batch_size=2)
    if not head.config.temporal_differences:
        del state["previous"]
    return state


def _encoder_inputs(backbone: Backbone) -> list[str]:
    moves = backbone.preprocessing.modality != "rgb"
    return ["frames", "previous"] if moves else ["frames"]


def _require_free(output: Path) -> None:
    """Refuse a folder that holds anything but an export as it was written."""
    if not output.exists():
        return
    if not output.is_dir():
        raise ModelError(f"{output}: is a file; choose another name")
    known = _files_of_export(output)
    for file in sorted(output.iterdir()):
        if _is_bytecode(file, known):
            continue
        if file.name not in known or not file.is_file() or file_sha256(file) != known[file.name]:
            raise ModelError(
                f"{output}: holds {file.name}, which is not of an export or was changed since; "
                "choose another folder"
            )


def _is_bytecode(folder: Path, known: Collection[str]) -> bool:
    """What Python leaves where the runner is imported, and nothing else."""
    return folder.name == "__pycache__" and all(
        file.suffix == ".pyc" and f"{file.name.split('.')[0]}.py" in known
        for file in folder.iterdir()
    )


def _files_of_export(folder: Path) -> dict[str, str]:
    """The files of the export in a folder with their sha256; empty if it is not an export."""
    file = folder / DESCRIPTION
    try:
        described = json.loads(file.read_text(encoding="utf-8"))
        if described["format"] != FORMAT:
            return {}
        known = {name: str(file["sha256"]) for name, file in described["files"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}
    return {**known, DESCRIPTION: file_sha256(file)}
