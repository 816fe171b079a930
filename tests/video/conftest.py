"""Small videos, encoded on the spot."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

EncodeVideo = Callable[..., Path]

MILLISECOND = Fraction(1, 1000)


@pytest.fixture
def encode_video(tmp_path: Path) -> EncodeVideo:
    """Encode RGB pictures (T, H, W, 3) into `name`, shown at `times_ms` or at 25 per second."""

    def encode(
        name: str,
        pictures: NDArray[np.uint8],
        codec: str = "mpeg4",
        times_ms: Sequence[int] | None = None,
    ) -> Path:
        path = tmp_path / name
        with av.open(str(path), "w") as container:
            stream = container.add_stream(codec, rate=25)
            stream.bit_rate = 8_000_000
            stream.height, stream.width = pictures.shape[1:3]
            stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
            if times_ms is not None:
                stream.time_base = stream.codec_context.time_base = MILLISECOND
            for index, picture in enumerate(pictures):
                frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
                frame.time_base = Fraction(1, 25) if times_ms is None else MILLISECOND
                frame.pts = index if times_ms is None else times_ms[index]
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        return path

    return encode
