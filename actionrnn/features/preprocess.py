"""uint8 frames become what the backbone was trained on.

Scaling is done by the decoder, inside its colour conversion (`scaled_size`);
cropping and normalising are done here. Training, files and streams share this.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from einops import rearrange
from numpy.typing import NDArray
from torch import Tensor

from actionrnn.config import Fit


@dataclass(frozen=True)
class Preprocessing:
    """How frames are scaled, cropped and normalised; stored with features and models."""

    resize: int
    """Pixels of the shorter side after scaling (fit `crop`)."""
    crop: int
    """Pixels of the square that the backbone sees."""
    mean: tuple[float, float, float]
    """Subtracted per channel, on a scale of 0 to 1."""
    std: tuple[float, float, float]
    """Divided by per channel."""
    fit: Fit = "crop"
    """crop: the centre; squash: the whole frame."""

    def scaled_size(self, width: int, height: int) -> tuple[int, int]:
        """The (width, height) to which the decoder scales a frame.

        >>> Preprocessing(256, 224, (0, 0, 0), (1, 1, 1)).scaled_size(320, 240)
        (341, 256)
        """
        if self.fit == "squash":
            return self.crop, self.crop
        shorter = min(width, height)
        return width * self.resize // shorter, height * self.resize // shorter

    def centre(self, frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Cut the square out of scaled frames: (T, H, W, 3) -> (T, crop, crop, 3)."""
        height, width = frames.shape[1:3]
        top, left = round((height - self.crop) / 2), round((width - self.crop) / 2)
        return frames[:, top : top + self.crop, left : left + self.crop]

    def normalise(self, frames: Tensor) -> Tensor:
        """uint8 (N, H, W, 3) -> float32 (N, 3, H, W), in channels-last memory."""
        pixels = rearrange(frames, "n h w c -> n c h w").float()
        scale = torch.tensor([1 / (255 * s) for s in self.std], device=frames.device)
        shift = torch.tensor(
            [-m / s for m, s in zip(self.mean, self.std, strict=True)], device=frames.device
        )
        return pixels * scale.view(1, 3, 1, 1) + shift.view(1, 3, 1, 1)
