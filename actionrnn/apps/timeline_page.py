"""A timeline as one HTML page: the video, and below it the segments and the score curves."""

from __future__ import annotations

import base64
import os
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from markupsafe import Markup

from actionrnn.apps.render import rewrite
from actionrnn.config import Sampling
from actionrnn.errors import VideoError
from actionrnn.evaluation.page_templates import page_environment
from actionrnn.files import write_text
from actionrnn.model.segments import stretches_of
from actionrnn.model.timeline import Timeline
from actionrnn.options import SegmentRule
from actionrnn.text import plain
from actionrnn.video.image_folder import is_folder
from actionrnn.video.source import Located, Source, as_sampled, container_of, open_stream

PAGES = Path(__file__).with_name("page")
"""The folder of the pages' files; `timeline.js` and `style.css` are the server's, too."""

# A video up to this size is embedded in the page; the page refers to a larger one by its path.
LARGEST_EMBEDDED_BYTES = 24_000_000

# A file that browsers do not play is converted to H.264 if it is not longer than this.
LONGEST_CONVERTED_SECONDS = 600

# The codecs that browsers play, and the media type, by container.
_PLAYABLE = {
    ".mp4": ({"h264", "av1"}, "video/mp4"),
    ".m4v": ({"h264"}, "video/mp4"),
    ".webm": ({"vp8", "vp9", "av1"}, "video/webm"),
}

_MAX_CURVES = 6  # as many as `timeline.js` has colours
_MAX_POINTS = 2000


def write_page(
    timeline: Timeline,
    video: Located,
    output: Path,
    rule: SegmentRule,
    *,
    sampling: Sampling | None = None,
) -> None:
    """Write a timeline and its video as one HTML file, which loads nothing from the network.

    A video over `LARGEST_EMBEDDED_BYTES` stays outside: the page refers to it by its relative
    path.

    Args:
        timeline: the scores; the page shows six curves, those of the segments' labels first,
            then those with the highest peaks.
        video: what was scored; for a folder of pictures the page has no video. What is no file
            here (an address, standard input) is converted as a file that browsers do not play.
        output: where the page is written; an existing file is replaced.
        rule: how the segments are made from the scores.
        sampling: of the scores; where it names a stream the video is converted, as a browser
            plays its own choice.

    Raises:
        VideoError: the video cannot be read, or is on another drive than the page.
        OSError: the page cannot be written.
    """
    address, note = _video_address(video, output, sampling or Sampling())
    page = (
        page_environment(PAGES)
        .get_template("timeline.html")
        .render(
            title=plain(_title(video)),
            video=address,
            note=note,
            data={"start_seconds": timeline.start_seconds} | _page_data(timeline, rule),
            style=Markup((PAGES / "style.css").read_text(encoding="utf-8")),
            component=Markup((PAGES / "timeline.js").read_text(encoding="utf-8")),
        )
    )
    write_text(output, page)


def _page_data(timeline: Timeline, rule: SegmentRule) -> dict[str, Any]:
    """What `TimelineView.show` in `timeline.js` takes."""
    segments = timeline.segments(rule)
    in_segment = np.isin(timeline.labels, [segment.label for segment in segments])
    shown = np.lexsort((-timeline.scores.max(axis=0), ~in_segment))[:_MAX_CURVES]
    times, curves = _thinned(timeline.pts_seconds, timeline.scores[:, shown])
    return {
        "labels": [plain(timeline.labels[index]) for index in shown],
        "times": [round(time, 3) for time in times.tolist()],
        "curves": [[round(float(score), 3) for score in curve] for curve in curves.T],
        "segments": [
            {
                "label": plain(segment.label),
                "start_seconds": round(segment.start_seconds, 3),
                "end_seconds": round(segment.end_seconds, 3),
                "score": round(segment.score, 3),
            }
            for segment in segments
        ],
        "none_of_these": none_stretches(timeline, rule.none_rate),
    }


def none_stretches(timeline: Timeline, none_rate: float) -> list[dict[str, float]]:
    """From when to when the steps look like none of the labels; 0: it was not asked."""
    is_none = timeline.is_none_of_these(none_rate) if none_rate else None
    if is_none is None:
        return []
    return [
        {"start_seconds": round(start, 3), "end_seconds": round(end, 3)}
        for start, end in stretches_of(is_none, timeline.pts_seconds, timeline.end_seconds)
    ]


def _title(video: Located) -> str:
    return str(video) if isinstance(video, Source) else video.name


def _video_address(video: Located, output: Path, sampling: Sampling) -> tuple[str, str]:
    """The video's URI for the page (empty: none), and a note."""
    if is_folder(video):
        return "", "The scores are of a folder of pictures, so this page has no video."
    with open_stream(as_sampled(video, sampling)) as stream:
        codec, container = stream.codec_context.name, container_of(stream)
        seconds = (container.duration or 0) / 1e6
        sounds = {s.codec_context.name for s in container.streams.audio}
    suffix = "" if isinstance(video, Source) else video.suffix.lower()
    codecs, kind = _PLAYABLE.get(suffix, (set(), ""))
    is_playable = sampling.stream is None and codec in codecs
    if isinstance(video, Path) and is_playable and sounds <= {"aac", "mp3", "opus", "vorbis"}:
        if video.stat().st_size <= LARGEST_EMBEDDED_BYTES:
            return _embedded(video, kind), ""
        note = "The video is not in this page: keep both files together."
        return _reference(video, output), note
    if seconds <= LONGEST_CONVERTED_SECONDS:
        with tempfile.TemporaryDirectory() as folder:
            converted = Path(folder, "video.mp4")
            rewrite(
                video,
                converted,
                lambda frame: frame.rgb,
                sound=False,
                sampling=sampling,
            )
            if converted.stat().st_size <= LARGEST_EMBEDDED_BYTES:
                note = "Converted for browsers, without sound."
                return _embedded(converted, "video/mp4"), note
    if isinstance(video, Source):
        return "", f"The scores are of {video}, which is not in this page."
    note = f"Browsers may not play this file ({codec} in {video.suffix}); convert it to .mp4."
    return _reference(video, output), note


def _embedded(video: Path, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(video.read_bytes()).decode()}"


def _reference(video: Path, output: Path) -> str:
    try:
        relative = os.path.relpath(video.resolve(), output.resolve().parent)
    except ValueError:  # another drive
        raise VideoError(f"{video}: put the page on the same drive, beside the video") from None
    return quote(os.fsencode(Path(relative).as_posix()))


def _thinned(times: np.ndarray, curves: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """At most `_MAX_POINTS` of N times and curves (N, K): each the maximum of its interval."""
    if len(times) <= _MAX_POINTS:
        return times, curves
    edges = np.linspace(0, len(times), _MAX_POINTS + 1).astype(int)[:-1]
    return times[edges], np.maximum.reduceat(curves, edges, axis=0)
