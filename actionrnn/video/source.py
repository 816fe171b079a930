"""Opens a path, address, file object or bytes as a video stream, or says why it cannot."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, TypeGuard
from urllib.parse import urlsplit

import av
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from actionrnn.config import Sampling
from actionrnn.errors import VideoError
from actionrnn.files import as_path
from actionrnn.options import VideoLimits
from actionrnn.video.address import is_address, masked
from actionrnn.video.download import LocalCopy, copy_if_needed
from actionrnn.video.raw import RAW_RATE, RawRate

VideoSource = str | os.PathLike[str] | bytes | IO[bytes]
"""Anything that a video is read from; "-" is standard input."""

# The longest wait for an address: for the connection, and for each packet.
OPEN_TIMEOUT_SECONDS = 10.0
READ_TIMEOUT_SECONDS = 10.0

# For untrusted files: other files that a video names (QuickTime's references) are not opened.
_ALONE = {"protocol_whitelist": "file", "enable_drefs": "0", "use_absolute_path": "0"}

_DASH_HEAD_BYTES = 4096

_BLOCK_BYTES = 1 << 20

_EMPTY = "the name of the video is empty; give a path or an address"

# av.logging.set_level is left alone: by default FFmpeg's log is dropped, and any level set there
# calls Python from the decoder's threads, which can deadlock.


@dataclass(frozen=True)
class Source:
    """A video that can be opened as often as needed."""

    name: str
    """For errors; without a password."""
    target: str | bytes
    """What FFmpeg opens, or the content itself."""
    is_address: bool
    """Whether it comes over a network, where waiting has a limit."""
    limits: VideoLimits
    size_bytes: int
    """0: not known."""
    stream: int | None = None
    """The number of the video stream that is read; None: `open_stream` chooses."""
    raw_rate: RawRate = RAW_RATE
    """Of a stream that states neither times nor a rate."""
    copy: LocalCopy | None = None
    """The file's copy on this machine, kept for as long as this is."""

    def __str__(self) -> str:
        return self.name


Located = Path | Source
"""A file or folder by its path; or what is no file here: an address, or content that was read."""


def find_source(source: VideoSource | Source) -> Located:
    """What can be read more than once: pipes, standard input and file objects are read whole.

    Raises:
        VideoError: it is empty, or larger than the limits.
    """
    if not is_path(source):
        return locate(source)
    path = as_path(source)
    return locate(path) if is_pipe(path) else path


def is_path(source: object) -> TypeGuard[str | os.PathLike[str]]:
    """Whether it names a file or folder: no address, no "-", no content, no empty text."""
    if not isinstance(source, str | os.PathLike):
        return False
    return source not in ("", "-") and not is_address(os.fspath(source))


def require_file(source: VideoSource | Source, purpose: str) -> Path:
    """The path of a file or folder.

    Args:
        purpose: why it must be one, to end "as ..." in the error.

    Raises:
        VideoError: it is an address, a pipe, standard input, bytes or a file object.
    """
    if is_path(source) and not is_pipe(as_path(source)):
        return as_path(source)
    is_name = isinstance(source, str | os.PathLike | Source)
    name = source if is_name else getattr(source, "name", "the content")
    if name == "":
        raise VideoError(_EMPTY)
    if name == "-":
        name = "standard input"
    raise VideoError(
        f"{masked(str(name))}: must be a file here, as {purpose}; save it, and give its path"
    )


def is_pipe(path: Path) -> bool:
    """Whether something is there that can be read once: a named pipe, a device."""
    with contextlib.suppress(OSError, ValueError):
        is_other = path.exists() and not path.is_file() and not path.is_dir()
        return is_other and os.access(path, os.R_OK)
    return False


def locate(source: VideoSource | Source, limits: VideoLimits | None = None) -> Source:
    """Find what is to be opened; standard input, pipes and file objects are read whole.

    Args:
        limits: for all that is read of this source; None: `VideoLimits()`, or those that a
            `Source` has.

    Raises:
        VideoError: it is missing, empty, a folder, or larger than the limits.
    """
    if isinstance(source, Source):
        return source if limits is None else replace(source, limits=limits)
    limits = limits or VideoLimits()
    if isinstance(source, bytes | bytearray | memoryview):
        return _content("the given bytes", bytes(source), limits)
    if not isinstance(source, str | os.PathLike):
        name = getattr(source, "name", None)
        return _read_whole(name if isinstance(name, str) else "the file object", source, limits)
    text = os.fspath(source)
    if text == "":
        raise VideoError(_EMPTY)
    if text == "-":
        return _read_whole("standard input", sys.stdin.buffer, limits)
    if is_address(text):
        text = text.strip()
        copy = copy_if_needed(text, OPEN_TIMEOUT_SECONDS, limits.max_bytes_held)
        if copy is not None:
            path, size_bytes = copy.path, copy.path.stat().st_size
            return Source(masked(text), f"file:{path}", False, limits, size_bytes, copy=copy)
        return Source(masked(text), text, True, limits, 0)
    return _file(as_path(source), limits)


def as_sampled(
    path: VideoSource | Source, sampling: Sampling, limits: VideoLimits | None = None
) -> Source:
    """`locate`, with the stream and the assumed rate that a sampling says.

    Raises:
        VideoError: as `locate`.
    """
    source = locate(path, limits)
    rate = RawRate(sampling.frame_folder_fps, sampling.overrules_stated_rate)
    return replace(source, stream=sampling.stream, raw_rate=rate)


@contextlib.contextmanager
def open_stream(
    source: VideoSource | Source,
    num_threads: int = 0,
    *,
    timeout_seconds: float | None = None,
    options: dict[str, str] | None = None,
) -> Iterator[VideoStream]:
    """The source's video stream, closed afterwards: of several, that which the source names, or
    the first of those that the file marks as default.

    Args:
        source: a path, an address, an open binary file, bytes, or "-".
        num_threads: threads of the decoder; 0: the decoder chooses.
        timeout_seconds: the longest wait for an address, to be opened, and for each packet;
            None: `OPEN_TIMEOUT_SECONDS` and `READ_TIMEOUT_SECONDS`.
        options: for FFmpeg's demuxer and protocols.

    Raises:
        VideoError: the source is missing, empty, not a video, too large, or has sound only, or
            has no such stream.
    """
    source = locate(source)
    with open_container(source, timeout_seconds, options) as container:
        stream = _chosen_stream(container, source)
        stream.thread_type = "AUTO"
        stream.codec_context.thread_count = num_threads
        stream.codec_context.options = {"max_pixels": str(source.limits.max_frame_pixels)}
        if rate := source.raw_rate.counted(stream):
            stream.time_base = 1 / rate  # a tick is the number of a frame
        yield stream


def decode_packet(
    source: Source, stream: VideoStream, packet: av.Packet[VideoStream] | None
) -> list[av.VideoFrame]:
    """The pictures that a packet completes; none if it is damaged.

    Args:
        packet: None: what the decoder still holds.

    Raises:
        VideoError: a picture is larger than the limits.
    """
    context = stream.codec_context
    had_size = context.width > 0
    try:
        return context.decode(packet)
    except (av.FFmpegError, OSError):
        # a decoder that refuses too large a picture keeps its size, or sets the size to 0
        require_pixels(context.width, context.height, source)
        if had_size and context.width <= 0:
            raise VideoError(
                f"{source.name}: is too large: its frames change their size midway, to none or to "
                f"more than {source.limits.max_frame_pixels} pixels; scale it down"
            ) from None
        return []


def container_of(stream: VideoStream) -> InputContainer:
    """The container that a stream was opened from."""
    container = stream.container
    assert isinstance(container, InputContainer)
    return container


def is_live(stream: VideoStream) -> bool:
    """Whether the source cannot be read twice: a stream of unknown length."""
    return (container_of(stream).size or 0) <= 0


def why_unreadable(error: OSError) -> str:
    """Why the system does not let us read a file or folder, and the remedy, for a message."""
    remedy = "change its permissions, or leave it out"
    if not isinstance(error, PermissionError):
        remedy = "see whether its disk is still there, or leave it out"
    return f"cannot be read ({error.strerror or error}); {remedy}"


def require_pixels(width: int, height: int, source: Source) -> None:
    """Raise a VideoError if a frame of this size is larger than the source's limits."""
    most = source.limits.max_frame_pixels
    if width * height > most:
        raise VideoError(
            f"{source.name}: is too large: {width} x {height} pixels a frame, at most {most} "
            "are read; scale it down, or raise VideoLimits.max_frame_pixels"
        )


def open_container(
    source: Source,
    timeout_seconds: float | None = None,
    options: dict[str, str] | None = None,
) -> InputContainer:
    """Open a source, whatever streams it has; the caller closes it. `open_stream` tells the rest.

    Raises:
        VideoError: it cannot be opened.
    """
    # what it takes for a stream that states none; it ignores it elsewhere
    options = {"framerate": str(source.raw_rate.exact)} | (options or {})
    target: Any = source.target
    if isinstance(target, bytes):
        target = io.BytesIO(target)
    opening = timeout_seconds or OPEN_TIMEOUT_SECONDS
    reading = timeout_seconds or READ_TIMEOUT_SECONDS
    timeout = (opening, reading) if source.is_address else None
    if source.is_address and str(source.target).lower().startswith("rtsp:"):
        options.setdefault("rtsp_transport", "tcp")  # packets lost on the way are broken frames
    if source.limits.containers:
        options |= _ALONE | {"format_whitelist": ",".join(source.limits.containers)}
    try:
        container = av.open(target, options=options, metadata_errors="replace", timeout=timeout)
    except (av.FFmpegError, OSError, ValueError, MemoryError) as error:
        raise VideoError(f"{source.name}: {_why_not_opened(source, error, opening)}") from None
    assert isinstance(container, InputContainer)
    return container


def _why_not_opened(source: Source, error: Exception, timeout_seconds: float) -> str:
    if not source.limits.containers and _is_dash(source):
        return (
            "is a DASH manifest (.mpd), which is not read here; give the address of one of the "
            "video files that it names, or of the same video as HLS (.m3u8), or download the video"
        )
    if isinstance(error, PermissionError) and not source.is_address:
        return why_unreadable(error)
    reason = getattr(error, "strerror", None) or str(error)
    if source.is_address:
        reason = reason.replace(str(source.target), source.name)
    if isinstance(error, av.ExitError):
        reason = f"no answer within {timeout_seconds:g} s"
    if source.limits.containers and isinstance(error, av.ArgumentError):
        return "is not in a format that is read here; convert it to .mp4"
    if source.is_address:
        return f"cannot be opened ({reason}); check the address, and that the server is up"
    return f"is not a readable video ({reason}); re-encode it, or leave it out if it is damaged"


def _is_dash(source: Source) -> bool:
    """Whether what could not be opened is a list of DASH, by its content or its address."""
    if source.is_address:
        return urlsplit(str(source.target)).path.lower().endswith(".mpd")
    content = source.target
    file = None if isinstance(content, bytes) else Path(str(content).removeprefix("file:"))
    if file is not None and file.is_file():  # a pipe would wait for somebody to write into it
        with contextlib.suppress(OSError), file.open("rb") as opened:
            content = opened.read(_DASH_HEAD_BYTES)
    return b"<MPD" in content[:_DASH_HEAD_BYTES] if isinstance(content, bytes) else False


def video_streams(container: InputContainer) -> list[VideoStream]:
    """The streams that are videos, cover pictures left out, in the file's order."""
    cover = Disposition.attached_pic
    return [stream for stream in container.streams.video if not stream.disposition & cover]


def _chosen_stream(container: InputContainer, source: Source) -> VideoStream:
    videos = video_streams(container)
    if not videos:
        found = ", ".join(sorted({s.type for s in container.streams if s.type != "video"}))
        cover = "a cover picture" if container.streams.video else ""
        only = " and ".join(filter(None, [found, cover]))
        raise VideoError(
            f"{source.name}: has no video stream, only {only or 'nothing'}; leave it out"
        )
    stream = min(videos, key=_rank)
    if source.stream is not None:
        named = [video for video in videos if video.index == source.stream]
        if not named:
            numbers = ", ".join(str(video.index) for video in videos)
            raise VideoError(
                f"{source.name}: has no video stream {source.stream}; its video streams are "
                f"{numbers}"
            )
        stream = named[0]
    context = stream.codec_context
    if context is None:
        raise VideoError(f"{source.name}: there is no decoder for its codec; re-encode it")
    if stream.disposition & Disposition.dependent:
        raise VideoError(
            f"{source.name}: is a photo in tiles (HEIC, AVIF), which are not put together here; "
            "save it as .jpg"
        )
    if context.name == "webp" and context.width <= 0:
        raise VideoError(
            f"{source.name}: is an animated WebP, which is not decoded here; convert it to .gif, "
            ".png or .mp4"
        )
    require_pixels(context.width, context.height, source)
    return stream


def _rank(stream: VideoStream) -> tuple[bool, bool, bool, int]:
    """The smallest is read: a stream that can be, that moves, that is the default, the first."""
    is_known = stream.codec_context is not None and stream.codec_context.width > 0
    is_still = stream.frames == 1 and not stream.duration  # the title picture of an AVIF film
    return not is_known, is_still, not stream.disposition & Disposition.default, stream.index


def _file(path: Path, limits: VideoLimits) -> Source:
    try:
        if not path.exists():
            raise VideoError(f"{masked(str(path))}: no such file")
        if path.is_dir():
            raise VideoError(f"{path}: is a folder, not a video file")
        if not path.is_file():  # a pipe
            with path.open("rb") as pipe:
                return _read_whole(str(path), pipe, limits)
        size_bytes = path.stat().st_size
    except OSError as error:
        raise VideoError(f"{masked(str(path))}: {why_unreadable(error)}") from None
    except ValueError as error:
        raise VideoError(f"{masked(str(path))}: cannot be read ({error})") from None
    if size_bytes == 0:
        raise VideoError(f"{path}: is empty (0 bytes); copy or download it again")
    return Source(str(path), f"file:{path}", False, limits, size_bytes)


def _read_whole(name: str, file: IO[bytes], limits: VideoLimits) -> Source:
    blocks, size_bytes = [], 0
    try:
        while block := file.read(_BLOCK_BYTES):
            if not isinstance(block, bytes):
                raise VideoError(f"{name}: gives text, not bytes; open it with mode 'rb'")
            blocks.append(block)
            size_bytes += len(block)
            if size_bytes > limits.max_bytes_held:
                raise VideoError(
                    f"{name}: is too large: more than {limits.max_bytes_held} bytes; save it as "
                    "a file and give its path, or raise VideoLimits.max_bytes_held"
                )
    except (OSError, ValueError, AttributeError) as error:
        raise VideoError(f"{name}: cannot be read ({error})") from None
    return _content(name, b"".join(blocks), limits)


def _content(name: str, content: bytes, limits: VideoLimits) -> Source:
    if not content:
        raise VideoError(f"{name}: is empty (0 bytes); copy or download it again")
    return Source(name, content, False, limits, len(content))
