"""Writes RGB frames to an H.264 file, each shown at its own time, with the sound of another."""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.audio.stream import AudioStream
from av.packet import Packet
from numpy.typing import NDArray

from actionrnn.video.sound import sound_of, warn_of_loss
from actionrnn.video.source import Source

# FFmpeg's formats of the files that can be written, by their endings.
CONTAINERS = {".mp4": "mp4", ".mkv": "matroska", ".mov": "mov"}

_HD_LINES = 720  # players assume BT.709 colours from this height on, BT.601 below
_COLOURS = {True: ("itu709", 1), False: ("itu601", 6)}  # swscale's name, H.264's number


class VideoWriter:
    """Writes a video file; frames of another size than the first one's are scaled to it.

    Args:
        path: ends in one of `CONTAINERS`, or `container` is given.
        time_base: seconds a tick of the frames' times.
        rate_fps: the nominal rate, which players display; it moves no frame.
        sound: a video whose sound is written, too, converted if the container does not hold it;
            None: no sound.
        begin_seconds: subtracted from all times.
        container: the format, if the path's ending does not say it (a temporary file).
    """

    def __init__(
        self,
        path: Path,
        *,
        time_base: Fraction,
        rate_fps: Fraction = Fraction(25),
        sound: Source | None = None,
        begin_seconds: float = 0.0,
        container: str | None = None,
    ) -> None:
        self._time_base, self._rate_fps = time_base, rate_fps
        self._begin_seconds = begin_seconds
        self._begin_tick = round(begin_seconds / time_base)
        self._container = av.open(str(path), "w", format=container)
        self._video: Any = None
        self._size = (0, 0)
        self._last_tick: int | None = None
        self._sound_source = sound
        self._sound: Iterator[Packet[AudioStream]] = iter(())
        self._packet: Packet[AudioStream] | None = None

    def write(self, rgb: NDArray[np.uint8], tick: int) -> None:
        """Show a frame (H, W, 3) from `tick` on, at least one tick after the last frame."""
        tick -= self._begin_tick
        if self._video is None:
            self._start(rgb.shape[1], rgb.shape[0])
        if self._last_tick is not None:
            tick = max(tick, self._last_tick + 1)
        self._last_tick = tick
        frame = av.VideoFrame.from_ndarray(self._fitted(rgb), format="rgb24")
        colours, _ = _COLOURS[self._size[1] >= _HD_LINES]
        frame = frame.reformat(format="yuv420p", dst_colorspace=colours)
        frame.pts, frame.time_base = tick, self._time_base
        self._container.mux(self._video.encode(frame))
        self._write_sound_until(float(tick * self._time_base))  # interleaved, as players need it

    def close(self) -> None:
        """Write what the encoder holds, the rest of the sound, and the end of the file."""
        try:
            if self._video is not None:
                self._container.mux(self._video.encode(None))
                self._write_sound_until(math.inf)
        finally:
            self._container.close()

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _write_sound_until(self, seconds: float) -> None:
        while self._packet is not None:
            if float((self._packet.pts or 0) * self._packet.time_base) > seconds:
                return
            try:
                self._container.mux(self._packet)
            except (av.FFmpegError, ValueError) as error:
                assert self._sound_source is not None
                warn_of_loss(self._sound_source, error)
                self._sound = iter(())
            self._packet = next(self._sound, None)

    def _start(self, width: int, height: int) -> None:
        options = {"crf": "20", "preset": "veryfast"}
        video = self._container.add_stream("libx264", rate=self._rate_fps, options=options)
        video.width, video.height = width + width % 2, height + height % 2
        video.pix_fmt = "yuv420p"
        context = video.codec_context
        context.time_base = video.time_base = self._time_base
        _, number = _COLOURS[height >= _HD_LINES]
        context.color_primaries = context.color_trc = context.colorspace = number
        context.color_range = 1
        self._video, self._size = video, (video.width, video.height)
        if self._sound_source is not None:
            self._sound = sound_of(self._sound_source, self._container, self._begin_seconds)
            self._packet = next(self._sound, None)

    def _fitted(self, rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Scaled to the first frame's size; the last line and column are doubled if it is odd.

        (H.264 with half the chroma lines and columns needs an even size.)
        """
        width, height = self._size
        high, wide = rgb.shape[:2]
        if high + high % 2 != height or wide + wide % 2 != width:
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format="rgb24")
            return frame.reformat(width, height).to_ndarray().astype(np.uint8, copy=False)
        if (high, wide) == (height, width):
            return np.ascontiguousarray(rgb)
        return np.pad(rgb, ((0, height - high), (0, width - wide), (0, 0)), mode="edge")
