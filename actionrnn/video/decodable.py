"""How much of a video can be decoded, against the length that it declares."""

from __future__ import annotations

from dataclasses import dataclass

from av.video.stream import VideoStream

from actionrnn.errors import VideoError
from actionrnn.video.declared import declared_seconds
from actionrnn.video.frame_index import FrameIndex, frame_ticks, time_base_of
from actionrnn.video.last_frame import shown_until
from actionrnn.video.source import Source, container_of

# A damaged video is used if at least this part of the frames that it declares can be decoded.
LEAST_DECODABLE_FRACTION = 0.5


@dataclass(frozen=True)
class DeclaredLength:
    """What a file declares about its length, to tell how much of it can be decoded."""

    num_frames: int
    """0: not declared."""
    end_seconds: float
    """0: not declared."""
    frame_seconds: float
    """How long a frame is shown."""
    container: str

    @classmethod
    def of(cls, source: Source, stream: VideoStream) -> DeclaredLength:
        """What the file of an open stream declares."""
        return cls(
            int(stream.frames or 0),
            declared_seconds(stream) or 0.0,
            float(frame_ticks(source, stream) * time_base_of(stream)),
            container_of(stream).format.name,
        )

    def enough(self, source: Source, index: FrameIndex) -> bool:
        """Whether these frames represent the whole clip."""
        if len(index) == 0:
            return False
        if self.num_frames:
            return len(index) >= LEAST_DECODABLE_FRACTION * self.num_frames
        least_seconds = LEAST_DECODABLE_FRACTION * self.end_seconds
        last_seconds = float(index.pts_seconds[-1])
        if last_seconds + self.frame_seconds >= least_seconds or self.end_seconds < 0.1:
            return True
        end = shown_until(source, last_seconds)  # the last frame may stand still for long
        return end is not None and end >= least_seconds

    def require_enough(self, source: Source, index: FrameIndex) -> None:
        """Raise a VideoError that says how much can be decoded, if that is too little."""
        if len(index) == 0:
            raise nothing_decodable(source)
        if self.enough(source, index):
            return
        if self.container == "gif" and len(index) == 1:
            raise VideoError(
                f"{source.name}: does not say how long its {self.num_frames} frames are shown, and "
                "such a GIF cannot be taken apart here; write it with a time for each frame "
                "(Pillow: duration=40)"
            )
        found = f"{len(index)} of {self.num_frames} frames"
        if not self.num_frames:
            found = f"{float(index.pts_seconds[-1]):.2f} of {self.end_seconds:.2f} s"
        remedy = "download it, and give the file" if source.is_address else "get the whole file"
        raise VideoError(
            f"{source.name}: is truncated or damaged: {found} can be decoded "
            f"(at least {LEAST_DECODABLE_FRACTION:.0%} are needed); {remedy}"
        )


def nothing_decodable(source: Source) -> VideoError:
    """What is raised where not one frame comes."""
    remedy = "re-encode it or leave it out"
    if source.is_address:  # an index at the end, and a server that cannot jump there
        remedy = "download it, and give the file"
    return VideoError(f"{source.name}: no frame can be decoded; {remedy}")
