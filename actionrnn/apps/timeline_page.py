"""A timeline as one page: the video, the curves of the best classes below it, click to seek."""

from __future__ import annotations

import base64
import os
import tempfile
from pathlib import Path
from urllib.parse import quote

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from actionrnn.apps.render import rewrite
from actionrnn.config import SegmentRule
from actionrnn.errors import VideoError
from actionrnn.files import write_text
from actionrnn.model.recognizer import Timeline
from actionrnn.text import plain
from actionrnn.video.source import container_of, open_stream

# A video up to this size is put into the page; a larger one stays beside it.
LARGEST_EMBEDDED_BYTES = 24_000_000

# What browsers play: codecs by container.
_PLAYABLE = {
    ".mp4": ({"h264", "av1"}, "video/mp4"),
    ".m4v": ({"h264"}, "video/mp4"),
    ".webm": ({"vp8", "vp9", "av1"}, "video/webm"),
}

# A file that browsers do not play is put into the page as H.264, if it is not longer than this.
LONGEST_CONVERTED_SECONDS = 600

_MOST_CURVES = 6
_MOST_POINTS = 2000


def write_page(timeline: Timeline, video: Path, output: Path, rule: SegmentRule) -> None:
    """Write one HTML file that needs no network; a large video is referred to, not embedded.

    Raises:
        VideoError: the video cannot be read.
        OSError: the page cannot be written.
    """
    address, start_seconds, note = _video_address(video, output)
    shown = np.argsort(-timeline.scores.max(axis=0), kind="stable")[:_MOST_CURVES]
    segments = timeline.segments(rule)
    colours = {plain(timeline.labels[which]): place for place, which in enumerate(shown.tolist())}
    times, curves = _thinned(timeline.pts_seconds, timeline.scores[:, shown])
    data = {
        "start": start_seconds,
        "end": max([float(timeline.pts_seconds[-1]), *(s.end_seconds for s in segments)]),
        "labels": list(colours),
        "times": [round(time, 3) for time in times.tolist()],
        "curves": [[round(float(score), 3) for score in curve] for curve in curves.T],
        "segments": [
            {
                "label": plain(segment.label),
                "colour": colours.get(plain(segment.label), -1),
                "start": round(segment.start_seconds, 3),
                "end": round(segment.end_seconds, 3),
                "score": round(segment.score, 3),
            }
            for segment in segments
        ],
    }
    page = _environment().get_template("timeline_page.html")
    title = plain(video.name)
    write_text(output, page.render(title=title, video=address, note=note, data=data))


def _environment() -> Environment:
    """Escapes everything; `tojson` leaves nothing that could end the script."""
    return Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        keep_trailing_newline=True,
    )


def _video_address(video: Path, output: Path) -> tuple[str, float, str]:
    """The video for the page, the time of its beginning, and what to know about it."""
    with open_stream(video) as stream:
        codec, container = stream.codec_context.name, container_of(stream)
        begin = (container.start_time or 0) / 1e6
        seconds = (container.duration or 0) / 1e6
        sounds = {s.codec_context.name for s in container.streams.audio}
    codecs, kind = _PLAYABLE.get(video.suffix.lower(), (set(), ""))
    if codec in codecs and sounds <= {"aac", "mp3", "opus", "vorbis"}:
        if video.stat().st_size <= LARGEST_EMBEDDED_BYTES:
            return _embedded(video, kind), begin, ""
        return _reference(video, output), begin, "The video stays beside this page: keep both."
    if seconds <= LONGEST_CONVERTED_SECONDS:
        with tempfile.TemporaryDirectory() as folder:
            converted = Path(folder, "video.mp4")
            rewrite(video, converted, lambda frame: frame.rgb, sound=False)
            if converted.stat().st_size <= LARGEST_EMBEDDED_BYTES:
                return _embedded(converted, "video/mp4"), begin, "Converted to H.264, no sound."
    note = f"Browsers may not play this file ({codec} in {video.suffix}); convert it to .mp4."
    return _reference(video, output), begin, note


def _embedded(video: Path, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(video.read_bytes()).decode()}"


def _reference(video: Path, output: Path) -> str:
    try:
        relative = os.path.relpath(video.resolve(), output.resolve().parent)
    except ValueError:  # another drive
        raise VideoError(f"{video}: put the page on the same drive, beside the video") from None
    return quote(os.fsencode(Path(relative).as_posix()))


def _thinned(times: np.ndarray, curves: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """At most `_MOST_POINTS` points, each the highest of its stretch: no peak is lost."""
    if len(times) <= _MOST_POINTS:
        return times, curves
    edges = np.linspace(0, len(times), _MOST_POINTS + 1).astype(int)[:-1]
    return times[edges], np.maximum.reduceat(curves, edges, axis=0)
