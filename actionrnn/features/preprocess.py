"""uint8 frames become what the backbone was trained on.

As the weights' official transform does it, from the frame as every player shows it: scale with
an antialiased filter, cut the centre, normalise. Training, files and streams share this.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
from einops import rearrange
from numpy.typing import NDArray
from pydantic.dataclasses import dataclass

from actionrnn.config import Modality, ResizeMode
from actionrnn.errors import VideoError

if TYPE_CHECKING:
    from torch import Tensor

MOTION_GAIN = 3
"""Changes between frames are small; amplified, the backbone sees them as a picture."""

Interpolation = Literal["bicubic", "bilinear"]

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
        if (wide, high) != (width, height):
            picture = self._scaled(picture, wide, high)
        square: NDArray[np.uint8] = self.centre(picture[None])[0]
        return square

    def centre(self, frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Cut the square out of scaled frames: (T, H, W, 3) -> (T, crop, crop, 3)."""
        height, width = frames.shape[1:3]
        top, left = round((height - self.crop) / 2), round((width - self.crop) / 2)
        return frames[:, top : top + self.crop, left : left + self.crop]

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

    def _scaled(self, picture: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
        import torch  # here: commands that only look into a store need not wait for it
        from torch.nn import functional as F

        if not (picture.flags.c_contiguous and picture.flags.writeable):
            picture = picture.copy()
        pixels = rearrange(torch.from_numpy(picture), "h w c -> 1 c h w")
        # on uint8 in channels-last memory this is vectorised, and rounds as Pillow does
        scaled = F.interpolate(
            pixels, (height, width), mode=self.interpolation, antialias=True, align_corners=False
        )
        resized: NDArray[np.uint8] = rearrange(scaled, "1 c h w -> h w c").numpy()
        return resized
