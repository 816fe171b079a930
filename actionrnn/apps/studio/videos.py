"""The videos of a project: where they lie, what they are, and what a page needs to show them.

What can be made anew (sizes, frame times, thumbnails, playable copies) lies in `.cache/`, by the
size and time of the video's file, so that another file of the same name gets its own.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from actionrnn.apps.serving.limits import CONTAINERS
from actionrnn.config import Sampling
from actionrnn.errors import VideoError
from actionrnn.features.decoder_messages import Message
from actionrnn.features.worker import Isolation
from actionrnn.files import atomic_path, file_state, read_json, write_text
from actionrnn.options import VideoLimits
from actionrnn.video.declared import declared_span
from actionrnn.video.decode import visit_frames
from actionrnn.video.probe import probe_video, read_frame_times
from actionrnn.video.request import FrameRequest
from actionrnn.video.source import container_of, locate, open_stream

CACHE_FOLDER = ".cache"
MOST_TILES = 300
"""Thumbnails of one video; a short one has one a second."""
TILE_HEIGHT = 72
TILE_COLUMNS = 20

_PLAYED = {  # by the ending of the file, what Chromium, Firefox and Safari play
    **dict.fromkeys((".mp4", ".m4v", ".mov"), frozenset({"h264", "av1", "libdav1d"})),
    ".webm": frozenset({"vp8", "vp9", "libvpx", "libvpx-vp9", "av1", "libdav1d"}),
}
_PLAYED_PIXELS = ("yuv420p", "yuvj420p")


@dataclass(frozen=True)
class Facts:
    """What a video file says of itself."""

    begin: float
    """Its clock at the first frame; players show 0 there."""
    seconds: float
    width: int
    height: int
    rate_fps: float
    """The average."""
    playable: bool
    """Whether browsers play the file itself."""

    @property
    def end(self) -> float:
        """Where its clock ends."""
        return self.begin + self.seconds


@dataclass(frozen=True)
class ProjectVideo:
    """A video of a project."""

    id: str
    path: str
    """As in annotations.csv: `videos/a.mp4`, or the absolute path of a file elsewhere."""
    file: Path
    group: str
    """Empty: the video is its own."""
    seconds: float
    width: int
    height: int
    rate_fps: float
    begin: float = 0.0
    """Where its clock begins: a player's time is the video's less this."""
    playable: bool = True

    @property
    def name(self) -> str:
        """Its file's name."""
        return PurePosixPath(self.path).name

    @property
    def end(self) -> float:
        """Where its clock ends."""
        return self.begin + self.seconds


def video_id(path: str) -> str:
    """12 hexadecimal digits for a path.

    >>> video_id("videos/a.mp4")
    'fd630f6fddb7'
    """
    return hashlib.sha256(path.encode("utf-8", "surrogateescape")).hexdigest()[:12]


def isolation_of(
    limits: VideoLimits | None = None,
    stop: threading.Event | None = None,
    most_seconds: float = 4 * 3600.0,
) -> Isolation:
    """The bounds of one video of a project, which may be hours long.

    Args:
        limits: the largest frame, and the formats; None: usual frames, and formats that cannot
            name other files.
        stop: set when the work is not wanted any more.
        most_seconds: that the work may take.
    """
    return Isolation(
        most_seconds=most_seconds,
        most_video_seconds=math.inf,
        limits=limits or VideoLimits(containers=CONTAINERS),
        most_memory_bytes=4 * 2**30,
        stop=stop or threading.Event(),
    )


def facts_of(file: Path, limits: VideoLimits | None = None) -> Facts:
    """Look at a video; it is read to its end where it does not say how long it is.

    Raises:
        VideoError: it cannot be used.
    """
    info = probe_video(file, limits=limits)
    begin, seconds = declared_span(locate(file, limits))
    rate_fps = info.rate_fps
    if seconds is None or seconds <= 0 or rate_fps is None:
        times = read_frame_times(locate(file, limits))
        begin = float(times[0])
        usual = float(np.median(np.diff(times))) if len(times) > 1 else 0.04
        seconds = float(times[-1] - times[0]) + usual
        rate_fps = rate_fps or (1 / usual if usual > 0 else 25.0)
    with open_stream(locate(file, limits)) as stream:
        pixels = stream.codec_context.pix_fmt
        is_whole = len(container_of(stream).streams.video) == 1
    playable = (
        is_whole and info.codec in _PLAYED.get(file.suffix.lower(), ()) and pixels in _PLAYED_PIXELS
    )
    return Facts(begin, seconds, info.width, info.height, rate_fps, playable)


class Cache:
    """What is known of the videos, in memory and in `.cache/`.

    Args:
        folder: of the project.
        read_only: keep nothing new in `.cache/`.
    """

    def __init__(self, folder: Path, *, read_only: bool = False) -> None:
        self.folder = folder / CACHE_FOLDER
        self._read_only = read_only
        self._facts: dict[Path, Facts | VideoError] = {}

    def place(self, path: str, file: Path, name: str) -> Path:
        """Where something is kept that is made of a video as it is now.

        Raises:
            VideoError: the video is not there.
        """
        try:
            state = file_state(file)
        except OSError as error:
            raise VideoError(f"{path}: cannot be read ({error.strerror})") from None
        return self.folder / video_id(path) / f"{state.size_bytes:x}-{state.mtime_ns:x}-{name}"

    def facts(self, path: str, file: Path) -> Facts:
        """`facts_of` a video, once.

        Raises:
            VideoError: it cannot be used.
        """
        kept = self.place(path, file, "facts.json")
        if kept not in self._facts:
            self._facts[kept] = self._read(kept) or self._look(kept, path, file)
        facts = self._facts[kept]
        if isinstance(facts, VideoError):
            raise facts
        return facts

    def _read(self, kept: Path) -> Facts | None:
        try:
            values = read_json(kept)
            return Facts(**{one.name: values[one.name] for one in fields(Facts)})
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _look(self, kept: Path, path: str, file: Path) -> Facts | VideoError:
        try:
            facts = facts_of(file)
        except VideoError as error:
            return VideoError(str(error).replace(str(file), path))
        if self._read_only:
            return facts
        with contextlib.suppress(OSError):  # a folder that cannot be written: looked at each time
            write_json(kept, asdict(facts))
            state = kept.name.removesuffix("facts.json")
            for old in kept.parent.iterdir():  # of another file of this name
                if not old.name.startswith((state, ".")):
                    old.unlink()
        return facts


def write_json(file: Path, content: Any) -> None:
    """Write JSON, whole or not at all."""
    write_text(file, json.dumps(content))


def frame_times(video: ProjectVideo, cache: Cache, isolation: Isolation) -> list[float]:
    """When each frame of a video is shown, in seconds on its clock; kept.

    Raises:
        VideoError: it cannot be used.
    """
    kept = cache.place(video.path, video.file, "times.json")
    _made(kept, video, isolation, _write_times)
    times: list[float] = read_json(kept)
    return times


def _write_times(path: Path, target: Path, limits: VideoLimits) -> Iterator[Message]:
    write_json(target, read_frame_times(locate(path, limits)).tolist())
    yield "end", {}


@dataclass(frozen=True)
class Sprite:
    """Thumbnails of a video in one JPEG file, in rows."""

    file: Path
    tile_width: int
    tile_height: int
    columns: int
    times: list[float]
    """When each is shown, in seconds on the video's clock."""


def sprite(video: ProjectVideo, cache: Cache, isolation: Isolation) -> Sprite:
    """Thumbnails of a video, evenly over it; kept.

    Raises:
        VideoError: it cannot be used.
    """
    kept = cache.place(video.path, video.file, "sprite.json")
    picture = kept.with_suffix(".jpg")
    number = max(1, min(MOST_TILES, math.ceil(video.seconds)))
    _made(kept, video, isolation, _write_sprite, number)
    values = read_json(kept)
    return Sprite(picture, **values)


def _write_sprite(path: Path, target: Path, number: int, limits: VideoLimits) -> Iterator[Message]:
    tiles = _Tiles()
    request = FrameRequest(Sampling(num_frames=number), tiles, scale=_tile_size)
    visit_frames(locate(path, limits), request)
    shown = [tiles.rgb[step] for step in sorted(tiles.rgb)]
    times = [float(tiles.pts_seconds[step]) for step in sorted(tiles.rgb)]
    height, width, _ = shown[0].shape
    sheet = np.zeros((-(-len(shown) // TILE_COLUMNS) * height, TILE_COLUMNS * width, 3), np.uint8)
    for place, rgb in enumerate(shown):
        row, column = divmod(place, TILE_COLUMNS)
        top, left = row * height, column * width
        part = rgb[:height, :width]  # a video may change its size midway
        sheet[top : top + part.shape[0], left : left + part.shape[1]] = part
    with atomic_path(target.with_suffix(".jpg")) as temporary:
        Image.fromarray(sheet).save(temporary, "JPEG", quality=75)
    values = {"tile_width": width, "tile_height": height, "columns": TILE_COLUMNS, "times": times}
    write_json(target, values)
    yield "end", {}


class _Tiles:
    """Keeps all frames that come, by their steps."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def begin(self, pts_seconds: NDArray[np.float64]) -> None:
        self.pts_seconds = pts_seconds
        self.rgb: dict[int, NDArray[np.uint8]] = {}

    def add(self, steps: slice, pixels: NDArray[np.uint8]) -> None:
        with self._lock:
            self.rgb[steps.start] = pixels.copy()


def _tile_size(width: int, height: int) -> tuple[int, int]:
    return max(1, min(4 * TILE_HEIGHT, round(width * TILE_HEIGHT / height))), TILE_HEIGHT


def playable_copy(video: ProjectVideo, cache: Cache, isolation: Isolation) -> Path:
    """The video as an .mp4 file that browsers play, from 0 on as all players show it; kept.

    Raises:
        VideoError: it cannot be used, or written as .mp4.
    """
    kept = kept_copy(video, cache)
    _made(kept, video, isolation, _write_copy)
    return kept


def kept_copy(video: ProjectVideo, cache: Cache) -> Path:
    """Where `playable_copy` writes; the file is there once it was made."""
    return cache.place(video.path, video.file, "playable.mp4")


def _write_copy(path: Path, target: Path, limits: VideoLimits) -> Iterator[Message]:
    from actionrnn.apps.render import rewrite  # slow to import, and thumbnails need it not

    rewrite(path, target, lambda frame: frame.rgb, limits=limits)
    yield "end", {}


def _made(
    kept: Path,
    video: ProjectVideo,
    isolation: Isolation,
    work: Callable[..., Iterator[Message]],
    *arguments: Any,
) -> None:
    """Let a process of its own write a file, if it is not there."""
    if kept.exists():
        return
    try:
        for _ in isolation.messages(_written, video.file, work, kept, *arguments):
            continue
    except VideoError as error:
        raise VideoError(str(error).replace(str(video.file), video.path)) from None


def _written(
    path: Path, work: Callable[..., Iterator[Message]], target: Path, *arguments: Any
) -> Iterator[Message]:
    """What `work` does; that there is no room for it is not the video's fault."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield from work(path, target, *arguments)
    except OSError as error:
        raise VideoError(
            f"{path}: what is made of it cannot be written ({error.strerror})"
        ) from None
