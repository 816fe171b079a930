"""uint8 frames become what the backbone was trained on.

As the weights' official transform does it, from the frame as every player shows it: scale with
an antialiased filter, cut the centre, normalise. Training, files and streams share this.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from einops import rearrange
from numpy.typing import NDArray
from pydantic.dataclasses import dataclass

from actionrnn.config import Modality, ResizeMode
from actionrnn.errors import VideoError
from actionrnn.features.scaling import Interpolation, scaled

if TYPE_CHECKING:
    from torch import Tensor

MOTION_GAIN = 3
"""Changes between frames are small; amplified, the backbone sees them as a picture."""

# A frame this many times longer than wide would take gigabytes once its shorter side is scaled.
LARGEST_ASPECT = 100


@dataclass(frozen=True)
class Preprocessing:
    """How frames are scaled, cropped and normalised; stored with features and models."""

    resize: int
    """Pixels of the shorter side after scaling (`shortest`)."""
    crop: int
    """Pixels of the square that the backbone sees."""
    mean: tuple[float, float, float]
    """Subtracted per channel, on a scale of 0 to 1."""
    std: tuple[float, float, float]
    """Divided by per channel."""
    resize_mode: ResizeMode = "shortest"
    """shortest: scale the shorter side, cut the centre; squash: the whole frame."""
    interpolation: Interpolation = "bicubic"
    """The filter that scales."""
    modality: Modality = "rgb"
    """What the backbone sees of each frame: the frame, its change, or both."""

    @property
    def num_views(self) -> int:
        """Pictures that the backbone encodes for one frame."""
        return 2 if self.modality == "both" else 1

    def scaled_size(self, width: int, height: int) -> tuple[int, int]:
        """The (width, height) to which a frame is scaled.

        >>> Preprocessing(256, 224, (0, 0, 0), (1, 1, 1)).scaled_size(320, 240)
        (341, 256)
        """
        if self.resize_mode == "squash":
            return self.crop, self.crop
        shorter = min(width, height)
        return width * self.resize // shorter, height * self.resize // shorter

    def square(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """What the backbone sees of one frame: (H, W, 3) of any size -> (crop, crop, 3).

        The pixels are Pillow's, which the official transforms use, within three levels.

        Raises:
            VideoError: the frame is too long for its width to be scaled.
        """
        height, width = picture.shape[:2]
        wide, high = self.scaled_size(width, height)
        if max(wide, high) > LARGEST_ASPECT * min(wide, high):
            raise VideoError(
                f"{width} x {height} pixels are too long a frame to cut a square from; use "
                "resize_mode squash, or leave it out"
            )
        top, left = round((high - self.crop) / 2), round((wide - self.crop) / 2)
        cut = slice(top, top + self.crop), slice(left, left + self.crop)
        if (wide, high) == (width, height):
            return picture[cut]
        return scaled(picture, (wide, high), self.interpolation, cut)

    def views(
        self, frames: NDArray[np.uint8], previous: NDArray[np.uint8] | None = None
    ) -> NDArray[np.uint8]:
        """The pictures that the backbone encodes: the frames, their changes, or both in turn.

        A change is |frame - the frame before| x `MOTION_GAIN`, cut off at white: the RGB
        difference of Wang et al. (Temporal Segment Networks, ECCV 2016) without its sign.

        Args:
            frames: centred, (T, H, W, 3).
            previous: the frame before the first, (H, W, 3); None: nothing has changed yet.

        Returns:
            (T x num_views, H, W, 3).
        """
        if self.modality == "rgb":
            return frames
        first = frames[0] if previous is None else previous
        before = np.concatenate([first[None], frames[:-1]])
        change = np.maximum(frames, before) - np.minimum(frames, before)
        motion: NDArray[np.uint8] = np.minimum(change, 255 // MOTION_GAIN) * np.uint8(MOTION_GAIN)
        if self.modality == "rgb_diff":
            return motion
        views: NDArray[np.uint8] = np.stack([frames, motion], axis=1)  # (T, 2, H, W, 3)
        return views.reshape(2 * len(frames), *frames.shape[1:])

    def normalise(self, frames: Tensor) -> Tensor:
        """uint8 (N, H, W, 3) -> float32 (N, 3, H, W), in channels-last memory."""
        import torch

        pixels = rearrange(frames, "n h w c -> n c h w").float()
        scale = torch.tensor([1 / (255 * s) for s in self.std], device=frames.device)
        shift = torch.tensor(
            [-m / s for m, s in zip(self.mean, self.std, strict=True)], device=frames.device
        )
        return pixels * scale.view(1, 3, 1, 1) + shift.view(1, 3, 1, 1)
