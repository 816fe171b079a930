"""A video file becomes frames, each with the time at which it is shown.

Times come from the stream's time base, never from index / frame rate.
"""

from __future__ import annotations

import contextlib
import heapq
import os
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.video.reformatter import Interpolation, VideoReformatter
from av.video.stream import VideoStream
from numpy.typing import NDArray

from actionrnn.config import Sampling
from actionrnn.errors import VideoError
from actionrnn.video.frame_folder import Scale, is_picture, iter_frame_folder, read_frame_folder
from actionrnn.video.frames import Frame, Frames
from actionrnn.video.sampling import choose_frames

VIDEO_SUFFIXES = frozenset(
    {".3gp", ".avi", ".flv", ".gif", ".m2ts", ".m4v", ".mkv", ".mov"}
    | {".mp4", ".mpeg", ".mpg", ".mts", ".ogv", ".ts", ".webm", ".wmv"}
)

# A broken video is used if at least this part of the frames that it declares can be decoded.
LEAST_DECODABLE_FRACTION = 0.5

# AVI files with packed B-frames give neighbouring frames swapped times; the decoder's order is
# right. The smallest of this many times in a row belongs to the first of the frames.
REORDER_DEPTH_FRAMES = 4

# FFmpeg's flags ACCURATE_RND and FULL_CHR_H_INT, which older PyAV has no names for: scaled
# colours are rounded exactly. Not where nothing is scaled: there the default gives the very
# pixels that the ffmpeg command gives.
_EXACT = int(Interpolation.BICUBIC) | 0x40000 | 0x2000

# av.logging.set_level is left alone: by default FFmpeg's log is dropped, and any level set there
# calls Python from the decoder's threads, which can deadlock.


@dataclass(frozen=True)
class VideoInfo:
    """What a file declares about its video; only its first frame is decoded."""

    path: Path
    container: str
    codec: str
    width: int
    """Pixels, as shown: rotation is applied."""
    height: int
    rate_fps: float | None
    duration_seconds: float | None
    num_frames: int
    """Frames in the file, counted by their packets."""
    size_bytes: int


def find_videos(folder: str | Path) -> list[Path]:
    """Every video below `folder`, sorted, what is hidden left out.

    A video is a file with a known ending, or a folder that holds pictures (.jpg, .png) and
    neither videos nor folders; `folder` itself may be one.

    Raises:
        VideoError: the folder is missing or holds no video.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise VideoError(f"{folder}: no such folder")
    videos: list[Path] = []
    for parent, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found = [name for name in files if _is_video_name(name)]
        videos += [Path(parent, name) for name in found]
        if not found and not folders and any(map(is_picture, files)):
            videos.append(Path(parent))
    if not videos:
        known = " ".join(sorted(VIDEO_SUFFIXES))
        raise VideoError(f"{folder}: holds no video; looked for {known}, and folders of pictures")
    return sorted(videos)


def _is_video_name(name: str) -> bool:
    return Path(name).suffix.lower() in VIDEO_SUFFIXES and not name.startswith(".")


def probe_video(path: str | Path) -> VideoInfo:
    """Codec, size, rate and length of a video file.

    Raises:
        VideoError: the file is missing, empty, no video, or has sound only.
    """
    path = Path(path)
    ticks = _packet_ticks(path)
    with open_stream(path) as stream:
        first = next(_decoded(stream), None)
        turned = first is not None and round(first.rotation / 90) % 2 == 1
        width, height = stream.width, stream.height
        return VideoInfo(
            path=path,
            container=stream.container.format.name,
            codec=stream.codec_context.name,
            width=height if turned else width,
            height=width if turned else height,
            rate_fps=float(stream.average_rate) if stream.average_rate else None,
            duration_seconds=_declared_seconds(stream),
            num_frames=len(ticks),
            size_bytes=path.stat().st_size,
        )


def read_frames(
    path: str | Path,
    sampling: Sampling | None = None,
    *,
    scale: Scale | None = None,
    num_threads: int = 0,
) -> Frames:
    """The frames of a video that `sampling` chooses (default: every frame).

    Args:
        path: a video file, or a folder of pictures.
        scale: from the shown width and height to the wanted ones; scaling is part of the
            colour conversion and costs next to nothing.
        num_threads: of the decoder; 0 leaves it to the decoder.

    Returns:
        `Frames`, RGB uint8 (T, H, W, 3) with `pts_seconds` (T,).

    Raises:
        VideoError: the file is missing, empty, no video, has sound only, has no frame where
            `sampling` looks, or so little of it can be decoded that the frames would not
            stand for the clip.
    """
    path, sampling = Path(path), sampling or Sampling()
    if path.is_dir():
        return read_frame_folder(path, sampling, scale=scale)
    with open_stream(path) as stream:
        declared = _Declared.of(stream)

    def decode_chosen(ticks: NDArray[np.int64]) -> Frames | None:
        times = _seconds(ticks, declared.time_base)
        wanted = ticks[choose_frames(times, sampling)]
        if len(wanted) == 0:
            raise VideoError(
                f"{path}: {sampling} chooses nothing; "
                f"its frames are at {times[0]:.3f} to {times[-1]:.3f} s"
            )
        pictures = _decode_at(path, set(wanted.tolist()), scale, num_threads)
        if not pictures or not pictures.keys() >= set(wanted.tolist()):
            return None
        data = np.stack([pictures[tick] for tick in wanted.tolist()])
        return Frames(data, _seconds(wanted, declared.time_base))

    ticks = _packet_ticks(path)  # (T,) of the frames that ought to come
    if declared.enough(ticks):
        frames = decode_chosen(ticks)
        if frames is not None:
            return frames
    ticks = _decodable_ticks(path, num_threads)  # (T,) of the frames that really come
    declared.require_enough(path, ticks)
    frames = decode_chosen(ticks)
    if frames is None:
        raise VideoError(f"{path}: decodes differently each time; re-encode it or leave it out")
    return frames


def iter_frames(
    path: str | Path, *, scale: Scale | None = None, num_threads: int = 0
) -> Iterator[Frame]:
    """Every frame of a video, one at a time, in constant memory.

    Raises:
        VideoError: the file is missing, empty, no video, or has sound only.
    """
    if Path(path).is_dir():
        yield from iter_frame_folder(Path(path), scale=scale)
        return
    to_rgb = _Converter(scale)
    with open_stream(Path(path), num_threads) as stream:
        time_base = stream.time_base or Fraction(1, 1000)
        for picture, tick in _timed_frames(stream):
            yield Frame(to_rgb(picture), float(tick * time_base))


@contextlib.contextmanager
def open_stream(path: Path, num_threads: int = 0) -> Iterator[VideoStream]:
    """The best video stream of a file, closed afterwards.

    Raises:
        VideoError: the file is missing, empty, no video, or has sound only.
    """
    _require_file(path)
    try:
        container = av.open(f"file:{path}", metadata_errors="replace")
    except (av.FFmpegError, OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise VideoError(
            f"{path}: is not a readable video ({reason}); "
            "re-encode it, or leave it out if it is damaged"
        ) from None
    with container:
        stream = container.streams.best("video")
        if stream is None:
            found = ", ".join(sorted({s.type for s in container.streams})) or "nothing"
            raise VideoError(f"{path}: has no video stream, only {found}")
        assert isinstance(stream, VideoStream)
        stream.thread_type = "AUTO"
        stream.codec_context.thread_count = num_threads
        yield stream


def _require_file(path: Path) -> None:
    if not path.exists():
        raise VideoError(f"{path}: no such file")
    if path.is_dir():
        raise VideoError(f"{path}: is a folder, not a video file")
    if path.stat().st_size == 0:
        raise VideoError(f"{path}: is empty (0 bytes)")


def _packet_ticks(path: Path) -> NDArray[np.int64]:
    """The times of all frames that will be shown, sorted, in ticks; decodes nothing."""
    with open_stream(path) as stream:
        found = []
        with contextlib.suppress(av.FFmpegError):  # a truncated file ends here
            for packet in _container(stream).demux(stream):
                tick = packet.pts if packet.pts is not None else packet.dts
                if packet.size and tick is not None and not packet.is_discard:
                    found.append(tick)
    return np.array(sorted(found), np.int64)


def _decodable_ticks(path: Path, num_threads: int) -> NDArray[np.int64]:
    with open_stream(path, num_threads) as stream:
        return np.array([tick for _, tick in _timed_frames(stream)], np.int64)


def _decode_at(
    path: Path, wanted: set[int], scale: Scale | None, num_threads: int
) -> dict[int, NDArray[np.uint8]]:
    """The pictures shown at the wanted ticks; stops after the last of them."""
    pictures: dict[int, NDArray[np.uint8]] = {}
    to_rgb = _Converter(scale)
    with open_stream(path, num_threads) as stream:
        for picture, tick in _timed_frames(stream):
            if tick in wanted and tick not in pictures:
                pictures[tick] = to_rgb(picture)
                if len(pictures) == len(wanted):
                    break
    return pictures


def _timed_frames(stream: VideoStream) -> Iterator[tuple[av.VideoFrame, int]]:
    """Decoded frames in the order of display, each with its time in ticks, rising."""
    pending: deque[av.VideoFrame] = deque()
    ticks: list[int] = []
    rate = stream.average_rate or stream.guessed_rate or 25
    frame_ticks = max(1, round(1 / (rate * (stream.time_base or Fraction(1, 1000)))))
    newest = -frame_ticks
    for picture in _decoded(stream):
        known = picture.pts if picture.pts is not None else picture.dts
        newest = known if known is not None else newest + frame_ticks
        pending.append(picture)
        heapq.heappush(ticks, newest)
        if len(pending) == REORDER_DEPTH_FRAMES:
            yield pending.popleft(), heapq.heappop(ticks)
    while pending:
        yield pending.popleft(), heapq.heappop(ticks)


def _decoded(stream: VideoStream) -> Iterator[av.VideoFrame]:
    """Decode on past damaged packets, and until a truncated file ends."""
    packets = _container(stream).demux(stream)
    while True:
        try:
            packet = next(packets)
        except (StopIteration, av.FFmpegError):
            return
        with contextlib.suppress(av.FFmpegError):
            yield from packet.decode()


class _Converter:
    """Decoder's frame -> RGB array as it is shown, scaled on the way."""

    def __init__(self, scale: Scale | None) -> None:
        self._scale = scale
        self._reformatter = VideoReformatter()  # keeps its tables from frame to frame

    def __call__(self, picture: av.VideoFrame) -> NDArray[np.uint8]:
        quarter_turns = round(picture.rotation / 90) % 4
        width, height = picture.width, picture.height
        if self._scale is not None:
            turned = quarter_turns % 2 == 1
            shown = self._scale(height, width) if turned else self._scale(width, height)
            width, height = shown[::-1] if turned else shown
        scaled = (width, height) != (picture.width, picture.height)
        rgb = self._reformatter.reformat(
            picture,
            width=width,
            height=height,
            format="rgb24",
            interpolation=_EXACT if scaled else Interpolation.BICUBIC,
            threads=1,
        ).to_ndarray()
        rgb = rgb.astype(np.uint8, copy=False)
        return np.ascontiguousarray(np.rot90(rgb, quarter_turns)) if quarter_turns else rgb


def _container(stream: VideoStream) -> InputContainer:
    container = stream.container
    assert isinstance(container, InputContainer)
    return container


def _seconds(ticks: NDArray[np.int64], time_base: Fraction) -> NDArray[np.float64]:
    return ticks * time_base.numerator / time_base.denominator


def _declared_seconds(stream: VideoStream) -> float | None:
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    container_ticks = _container(stream).duration
    return container_ticks / av.time_base if container_ticks else None


@dataclass(frozen=True)
class _Declared:
    """What a file says it holds: the measure of what of it can be decoded."""

    time_base: Fraction
    num_frames: int
    """0 where the file does not say."""
    end_seconds: float
    """0 where the file does not say."""

    @classmethod
    def of(cls, stream: VideoStream) -> _Declared:
        time_base = stream.time_base or Fraction(1, 1000)
        return cls(time_base, int(stream.frames or 0), _declared_seconds(stream) or 0.0)

    def enough(self, ticks: NDArray[np.int64]) -> bool:
        """Whether these frames stand for the whole clip."""
        if len(ticks) == 0:
            return False
        if self.num_frames:
            return len(ticks) >= LEAST_DECODABLE_FRACTION * self.num_frames
        last = float(ticks[-1] * self.time_base)
        return last >= LEAST_DECODABLE_FRACTION * self.end_seconds or self.end_seconds < 0.1

    def require_enough(self, path: Path, ticks: NDArray[np.int64]) -> None:
        """Raise a VideoError that says how much was readable, if it is too little."""
        if len(ticks) == 0:
            raise VideoError(f"{path}: no frame can be decoded; re-encode it or leave it out")
        if self.enough(ticks):
            return
        found = f"{len(ticks)} of {self.num_frames} frames"
        if not self.num_frames:
            found = f"{float(ticks[-1] * self.time_base):.2f} of {self.end_seconds:.2f} s"
        raise VideoError(
            f"{path}: is truncated or damaged: {found} can be decoded "
            f"(at least {LEAST_DECODABLE_FRACTION:.0%} are needed); get the whole file"
        )
