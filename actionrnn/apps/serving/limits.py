"""The bounds of uploads and webcams, and their defaults."""

from __future__ import annotations

from pydantic.dataclasses import dataclass

from actionrnn.config_parsing import STRICT_KEYS, PositiveFloat, PositiveInt
from actionrnn.options import VideoLimits

CONTAINERS = (
    *("asf", "avi", "dhav", "dv", "flv", "gif", "matroska", "mov", "mxf", "ogg"),
    *("mpeg", "mpegts", "mpegvideo", "ivf", "obu"),
    *("h264", "hevc", "m4v", "mjpeg", "jpeg_pipe", "yuv4mpegpipe"),
)
"""The formats of an upload, by FFmpeg's names: each contains its video. Playlists and stream
descriptions (hls, dash, concat, sdp) are left out: they can name files on the server."""


@dataclass(frozen=True, config=STRICT_KEYS)
class ServeLimits:
    """The bounds of one server; what exceeds one is refused with a message."""

    upload_mb: PositiveFloat = 200.0
    """The largest upload, in millions of bytes; also of the answer of `/playable`."""
    upload_seconds: PositiveFloat = 300.0
    """The longest time in which an upload may arrive."""
    video_seconds: PositiveFloat = 600.0
    """The longest video."""
    frame_megapixels: PositiveFloat = 9.5
    """The largest frame, width x height in millions; 4K has 8.8."""
    decode_mb: PositiveFloat = 3000.0
    """The most memory for decoding one video, in a process of its own (Linux only)."""
    request_seconds: PositiveFloat = 120.0
    """The longest time for one video, from the end of its waiting in the queue to its answer."""
    visitors: PositiveInt = 32
    """The most webcams and requests with a body at once; further ones are told to try again."""
    at_once: PositiveInt = 2
    """How many videos are analysed at once; the others wait in a queue."""
    webcam_message_mb: PositiveFloat = 1.0
    """The largest webcam message (a JPEG file and its time), in millions of bytes."""
    webcam_idle_seconds: PositiveFloat = 30.0
    """The longest time between two pictures of a webcam; then its connection is closed."""

    @property
    def upload_bytes(self) -> int:
        """`upload_mb` in bytes."""
        return int(self.upload_mb * 1e6)

    def video_limits(self) -> VideoLimits:
        """The bounds within which a video is opened."""
        return VideoLimits(max_frame_pixels=self.frame_pixels, containers=CONTAINERS)

    @property
    def frame_pixels(self) -> int:
        """`frame_megapixels` in pixels."""
        return int(self.frame_megapixels * 1e6)

    @property
    def webcam_message_bytes(self) -> int:
        """`webcam_message_mb` in bytes."""
        return int(self.webcam_message_mb * 1e6)
