"""What visitors may take: each bound is documented here, each default lives here."""

from __future__ import annotations

from pydantic.dataclasses import dataclass

from actionrnn.config import VideoLimits
from actionrnn.config_parsing import STRICT_KEYS, PositiveFloat, PositiveInt

CONTAINERS = (
    *("asf", "avi", "dhav", "dv", "flv", "gif", "matroska", "mov", "mxf", "ogg"),
    *("mpeg", "mpegts", "mpegvideo", "ivf", "obu"),
    *("h264", "hevc", "m4v", "mjpeg", "jpeg_pipe", "yuv4mpegpipe"),
)
"""The formats of an upload, as FFmpeg calls them: each holds its video itself. Playlists and
descriptions of streams (hls, dash, concat, sdp) name files of the server, and are not read."""


@dataclass(frozen=True, config=STRICT_KEYS)
class ServeLimits:
    """The bounds of one server."""

    upload_mb: PositiveFloat = 200.0
    """Of one upload; more is refused while it comes in."""
    upload_seconds: PositiveFloat = 300.0
    """Until an upload has come in."""
    video_seconds: PositiveFloat = 600.0
    """The length of a video."""
    frame_megapixels: PositiveFloat = 9.5
    """Width x height of a frame, in millions; 4K has 8.8."""
    decode_mb: PositiveFloat = 3000.0
    """Memory that decoding one video may take, in a process of its own."""
    request_seconds: PositiveFloat = 120.0
    """From when a video's turn comes to its answer; then its decoding is ended."""
    visitors: PositiveInt = 32
    """Requests and webcams at once; the next one is told to come back."""
    at_once: PositiveInt = 2
    """Videos in work; the others wait for their turn."""
    webcam_message_mb: PositiveFloat = 1.0
    """Of one webcam picture (JPEG)."""
    webcam_idle_seconds: PositiveFloat = 30.0
    """A webcam that sends nothing for so long loses its place."""

    @property
    def upload_bytes(self) -> int:
        """In bytes."""
        return int(self.upload_mb * 1e6)

    def video_limits(self) -> VideoLimits:
        """What a video is opened within."""
        return VideoLimits(max_frame_pixels=self.frame_pixels, containers=CONTAINERS)

    @property
    def frame_pixels(self) -> int:
        """In pixels."""
        return int(self.frame_megapixels * 1e6)

    @property
    def webcam_message_bytes(self) -> int:
        """In bytes."""
        return int(self.webcam_message_mb * 1e6)
