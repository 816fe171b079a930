"""Small videos, encoded on the spot, and the ffmpeg command as the second opinion."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import imageio_ffmpeg
import numpy as np
import pytest
from numpy.typing import NDArray

EncodeVideo = Callable[..., Path]
Decoded = tuple[NDArray[np.uint8], list[float]]

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


@pytest.fixture(scope="module")
def ffmpeg_encode(tmp_path_factory: pytest.TempPathFactory) -> EncodeVideo:
    """Encode a moving test picture with the ffmpeg command and its `options`."""
    folder = tmp_path_factory.mktemp("encoded")

    def encode(
        name: str,
        options: str,
        *,
        size: str = "96x64",
        seconds: float = 2.0,
        source: Path | None = None,
        before: str = "",
    ) -> Path:
        path = folder / name
        picture = f"-f lavfi -i testsrc2=size={size}:rate=25:duration={seconds}"
        given = [*before.split(), *(["-i", str(source)] if source else picture.split())]
        run_ffmpeg(*given, *options.split(), str(path))
        return path

    return encode


@pytest.fixture(scope="session")
def ffmpeg_decode() -> Callable[..., Decoded]:
    """Frames (T, H, W, 3) and times of a file as the ffmpeg command gives them."""
    return decode_with_ffmpeg


def decode_with_ffmpeg(
    path: Path, stream: str = "0:v:0", *, filters: str = "", bits: int = 8
) -> Decoded:
    log, raw = run_ffmpeg(
        *("-copyts", "-i", str(path), "-map", stream, "-fps_mode", "passthrough"),
        *("-vf", f"{filters}{',' * bool(filters)}showinfo", "-f", "rawvideo"),
        *("-pix_fmt", "rgb24" if bits == 8 else "rgb48le", "-"),
    )
    times = [float(time) for time in re.findall(r"pts_time:\s*([-\d.]+)", log)]
    width, height = re.findall(r"Output #0.*?rawvideo.*?, (\d+)x(\d+)", log, re.DOTALL)[0]
    kind = np.uint8 if bits == 8 else np.uint16
    return np.frombuffer(raw, kind).reshape(-1, int(height), int(width), 3), times


def run_ffmpeg(*arguments: str) -> tuple[str, bytes]:
    """The log and the output of the ffmpeg command: another build of another version."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-hide_banner", "-y", *arguments]
    done = subprocess.run(command, capture_output=True, timeout=120)
    log = done.stderr.decode(errors="replace")
    assert done.returncode == 0, log[-2000:]
    return log, done.stdout
