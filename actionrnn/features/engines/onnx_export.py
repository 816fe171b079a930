"""Networks as ONNX files, for the engine and for exports.

A model that is exported has its preprocessing as tensor operations (`Encoder`): the scaling of
`Preprocessing.square`, separable, antialiased, rows after columns, rounded to uint8 in between, as
`features/scaling.py` does it. Each output pixel is a weighted sum of input pixels, so each axis is
one matrix product, and the cut of the square is a choice of the matrix's rows: whatever the frame's
size, the matrices have `crop` rows.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from actionrnn.errors import BackboneError
from actionrnn.features.engines.engine import Engine, Job, write_cache
from actionrnn.features.engines.onnx import (
    OnnxEngine,
    cached_network,
    fits,
    num_threads,
    open_converted,
    refused,
    require_installed,
)
from actionrnn.features.networks import Normalised, quietly
from actionrnn.features.preprocess import MOTION_GAIN, Preprocessing

OPSET = 18
"""Operations that every ONNX Runtime since 1.14 knows."""

_CUBIC_A = -0.5  # Keys 1981; what Pillow and antialiasing torch take
_MOST_DIGITS = 22  # of a weight behind the binary point, if it fits into 16 bits with its sign
_EDGE_PIXELS = 4  # of the scaled axis, whose weights the picture's edge cuts off
_RADIUS = {"bicubic": 2.0, "bilinear": 1.0}


def load(job: Job, network: nn.Module) -> Engine:
    """Export the network, or take the export from the cache, and open it.

    Raises:
        BackboneError: the extra is not installed, or ONNX cannot express or run the network.
    """
    if not fits(job):
        raise BackboneError(
            f"runtime onnx runs on the cpu in float32, not on {job.device} in {job.precision}; "
            "use runtime torch"
        )
    require_installed()
    if (found := open_converted(job)) is not None:
        return found
    content = network_to_onnx(network, job.preprocessing)
    write_cache(cached_network(job), {"model": np.frombuffer(content, np.uint8)})
    return OnnxEngine(content, num_threads(job))


def network_to_onnx(network: nn.Module, preprocessing: Preprocessing) -> bytes:
    """A network with its normalisation: uint8 (N, crop, crop, 3) -> (N, D).

    Raises:
        BackboneError: ONNX cannot express it.
    """
    crop = preprocessing.crop
    return to_onnx(
        Normalised(network, preprocessing),
        {"frames": torch.zeros(2, crop, crop, 3, dtype=torch.uint8)},
        ["features"],
        {"frames": {0: torch.export.Dim("batch")}},
    )


@torch.inference_mode()
def to_onnx(
    module: nn.Module, inputs: dict[str, Any], outputs: Sequence[str], dynamic: dict[str, Any]
) -> bytes:
    """A module as an ONNX file's bytes.

    Args:
        inputs: an example of each argument by its name, or a dictionary of such.
        outputs: the names of the results.
        dynamic: which dimensions of each argument may vary, as `torch.export` takes it.

    Raises:
        BackboneError: ONNX cannot express it.
    """
    names = [
        name
        for argument, example in inputs.items()
        for name in (example if isinstance(example, dict) else [argument])
    ]
    buffer = io.BytesIO()
    # it tells of its progress, and warns of what its own parts will lose one day
    with quietly(logging.ERROR, errors_too=True):
        try:
            program = torch.onnx.export(
                module.eval(),
                kwargs=inputs,
                input_names=names,
                output_names=list(outputs),
                opset_version=OPSET,
                dynamo=True,
                dynamic_shapes=dynamic,
                verbose=False,
            )
            assert program is not None
            program.save(buffer)  # type: ignore[arg-type]
        except Exception as error:  # torch has a dozen kinds of them
            raise refused(error) from None
    return _without_notes(buffer.getvalue())


def _without_notes(content: bytes) -> bytes:
    """Without what the exporter notes of each operation: the files, on this machine, it is from."""
    import onnx

    model = onnx.load_from_string(content)
    noted = [model, model.graph, *model.functions, *model.graph.node, *model.graph.initializer]
    noted += [*model.graph.input, *model.graph.output, *model.graph.value_info]
    noted += [node for function in model.functions for node in function.node]
    for part in noted:
        part.ClearField("doc_string")
        part.ClearField("metadata_props")
    stripped: bytes = model.SerializeToString()
    return stripped


class Encoder(nn.Module):
    """uint8 frames of any size -> features; with a motion stream it sees the frames before, too."""

    def __init__(self, network: nn.Module, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.network, self.preprocessing = network, preprocessing

    def forward(self, frames: Tensor, previous: Tensor | None = None) -> Tensor:
        """(N, H, W, 3), and each one's frame before in the same shape -> (N, D)."""
        square = squares(frames, self.preprocessing)
        views = square
        if previous is not None:
            change = (square - squares(previous, self.preprocessing)).abs()
            motion = change.clamp_max(255 // MOTION_GAIN) * MOTION_GAIN
            views = motion
            if self.preprocessing.modality == "both":  # in turn: frame, change, frame, change
                views = torch.stack([square, motion], dim=1).flatten(0, 1)
        features: Tensor = self.network(self.preprocessing.normalise(views))
        return features.reshape(frames.shape[0], -1)


def squares(frames: Tensor, preprocessing: Preprocessing) -> Tensor:
    """What the backbone sees: uint8 (N, H, W, 3) -> whole numbers in float32 (N, crop, crop, 3)."""
    height, width = (frames.new_full((), side, dtype=torch.float64) for side in frames.shape[1:3])
    shorter = torch.minimum(height, width)
    columns, column_unit = _weights(width, shorter, frames.shape[2], preprocessing)  # (crop, W)
    rows, row_unit = _weights(height, shorter, frames.shape[1], preprocessing)  # (crop, H)
    pixels = frames.float().permute(0, 3, 1, 2)  # (N, 3, H, W)
    narrow = _rounded(pixels @ columns.T, column_unit)  # (N, 3, H, crop)
    return _rounded(rows @ narrow, row_unit).permute(0, 2, 3, 1)


def _weights(
    side: Tensor, shorter: Tensor, num_pixels: int, given: Preprocessing
) -> tuple[Tensor, Tensor]:
    """Row i: the weights of an axis's pixels in the square's i-th pixel, (crop, num_pixels).

    They are whole numbers, as torch scales uint8; the second result is the number that means 1.
    """
    scaled: Tensor
    if given.resize_mode == "squash":
        scaled, offset = torch.full_like(side, given.crop), torch.zeros_like(side)
    else:
        scaled = torch.floor(side * given.resize / shorter)
        offset = torch.round((scaled - given.crop) / 2)
    step = side / scaled
    chosen = torch.arange(given.crop, dtype=torch.float64) + offset
    weights = _real_weights(chosen, step, num_pixels, given)
    begin = torch.arange(_EDGE_PIXELS, dtype=torch.float64)
    edges = torch.cat([begin, scaled - 1 - begin])
    largest = torch.maximum(
        weights.max(), _real_weights(edges, step, num_pixels, given).max()
    )  # of the whole axis: it decides the precision
    digits = torch.floor(torch.log2((2**15 - 0.5) / largest)).clamp_max(_MOST_DIGITS)
    unit = torch.exp2(digits)
    return torch.floor(weights * unit + 0.5).float(), unit.float()


def _real_weights(chosen: Tensor, step: Tensor, num_pixels: int, given: Preprocessing) -> Tensor:
    """The same for chosen pixels of the scaled axis, (n, num_pixels), each row summing to 1."""
    spread = step.clamp_min(1)  # a smaller picture averages: that is the antialiasing
    centres = (chosen + 0.5) * step
    radius = _RADIUS[given.interpolation] * spread
    pixels = torch.arange(num_pixels, dtype=torch.float64)
    first = torch.floor(centres - radius + 0.5)[:, None]
    stop = torch.floor(centres + radius + 0.5)[:, None]
    distance = ((pixels + 0.5 - centres[:, None]) / spread).abs()
    weights = _cubic(distance) if given.interpolation == "bicubic" else (1 - distance).clamp_min(0)
    weights = torch.where((pixels >= first) & (pixels < stop), weights, 0)
    return weights / weights.sum(dim=1, keepdim=True)


def _cubic(x: Tensor) -> Tensor:
    near = ((_CUBIC_A + 2) * x - (_CUBIC_A + 3)) * x * x + 1
    far = (((x - 5) * x + 8) * x - 4) * _CUBIC_A
    return torch.where(x < 1, near, torch.where(x < 2, far, 0))


def _rounded(sums: Tensor, unit: Tensor) -> Tensor:
    return torch.floor(sums / unit + 0.5).clamp(0, 255)
