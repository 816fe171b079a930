"""Annotations in any format: which one, a file's content says, or the ending of a new file."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Literal, get_args

from actionrnn.datasets.annotations.activitynet import (
    is_activitynet,
    read_activitynet,
    write_activitynet,
)
from actionrnn.datasets.annotations.boris import is_boris, read_boris
from actionrnn.datasets.annotations.boris_writer import write_boris
from actionrnn.datasets.annotations.clock import (
    from_video_clock,
    span_of,
    to_video_clock,
)
from actionrnn.datasets.annotations.cvat import is_cvat, read_cvat
from actionrnn.datasets.annotations.deepethogram import (
    is_deepethogram,
    read_deepethogram,
    write_deepethogram,
)
from actionrnn.datasets.annotations.elan import is_elan, read_elan
from actionrnn.datasets.annotations.elan_writer import write_elan
from actionrnn.datasets.annotations.frame_labels import (
    MAPPING_FILE,
    is_frame_labels,
    read_frame_labels,
    write_frame_labels,
)
from actionrnn.datasets.annotations.intervals_csv import (
    INTERVALS_CSV,
    is_intervals_csv,
    read_intervals_csv,
    write_intervals_csv,
)
from actionrnn.datasets.annotations.json_values import load_json
from actionrnn.datasets.annotations.kinetics import is_kinetics, read_kinetics
from actionrnn.datasets.annotations.label_studio import read_label_studio, write_label_studio
from actionrnn.datasets.annotations.label_studio_tasks import is_label_studio
from actionrnn.datasets.annotations.marks import Marks, ReadOptions, Span, united
from actionrnn.datasets.annotations.other import refusal
from actionrnn.datasets.annotations.text import read_text
from actionrnn.datasets.annotations.textgrid import is_textgrid, read_textgrid
from actionrnn.datasets.video_names import VideoNames
from actionrnn.errors import DatasetError
from actionrnn.progress import progress_bar
from actionrnn.text import plain

Format = Literal["csv", "boris", "elan", "label-studio", "activitynet", "frames", "deepethogram"]
"""What can be written."""
_FORMAT_OF: dict[str, Format] = {
    ".csv": "csv",
    ".tsv": "boris",
    ".boris": "boris",
    ".eaf": "elan",
    ".txt": "frames",
}
_ONE_FILE_A_VIDEO = ("per-frame text", "DeepEthogram")
_COUNTS_FRAMES = ("label-studio", "frames", "deepethogram")
SUFFIXES = (*_FORMAT_OF, ".json", ".xml", ".textgrid")
"""Of the files in a folder that are looked at, in lower case."""


def read_annotations(path: Path, options: ReadOptions) -> Marks:
    """What a file of annotations says, or all such files of a folder together.

    Args:
        path: a file in one of the formats of `docs/annotations.md`, or a folder of files in one
            format.

    Raises:
        DatasetError: it is missing, of no known format, damaged, or needs an option.
        VideoError: a video that must tell the times of its frames cannot be read.
    """
    if not path.is_dir():
        with progress_bar(f"reading {path.name}", None):  # where frames are counted, videos too
            marks = _with_own_videos(_read_file(path, options), _videos_of(path, options.videos))
        return to_video_clock(marks, videos_of(marks, options.videos))
    files = [file for file in sorted(path.iterdir()) if file.suffix.lower() in SUFFIXES]
    files = [
        file
        for file in files
        if file.is_file() and file.name != MAPPING_FILE and not file.name.startswith(".")
    ]
    if not files:
        raise DatasetError(
            f"{path}: holds no file of annotations; their names end in {', '.join(SUFFIXES)}"
        )
    # not each file has each tier, subject and label
    of_each = replace(options, tiers=(), subjects=(), labels=(), every_tier=bool(options.tiers))
    found = []
    with progress_bar("reading annotations", len(files)) as advance:
        for file in files:
            videos = _videos_of(path, options.videos)
            found.append(_with_own_videos(_read_file(file, of_each), videos))
            advance()
    together = _joined(path, found)
    return to_video_clock(together.chosen(options), videos_of(together, options.videos))


def _read_file(file: Path, options: ReadOptions) -> Marks:
    text = read_text(file)
    if is_boris(text):
        return read_boris(file, options)
    if is_elan(file, text):
        return read_elan(file, options)
    if is_cvat(file, text):
        return read_cvat(file, options)
    if is_textgrid(file, text):
        return read_textgrid(file, options)
    if text.lstrip()[:1] in ("{", "["):
        return _read_json(file, text, options)
    if is_deepethogram(file, text):
        return read_deepethogram(file, options)
    if is_kinetics(text):
        return read_kinetics(file, options)
    if is_intervals_csv(text):
        return read_intervals_csv(file, options)
    if is_frame_labels(file, text):
        return read_frame_labels(file, options)
    raise refusal(file, text)


def _read_json(file: Path, text: str, options: ReadOptions) -> Marks:
    data = load_json(file)
    if is_label_studio(data):
        return read_label_studio(file, options)
    if is_activitynet(data):
        return read_activitynet(file, options)
    raise refusal(file, text)


def videos_of(marks: Marks, videos: Path | None) -> VideoNames:
    """The videos that marks are of, as a training finds them.

    Args:
        videos: their folder; None: that of the file. In the toolkit's own CSV a path means what it
            says; other files may have been written on another machine.
    """
    names = _videos_of(marks.file, videos)
    return VideoNames(names.folder, elsewhere=marks.format != INTERVALS_CSV)


def _videos_of(annotations: Path, videos: Path | None) -> VideoNames:
    folder = annotations if annotations.is_dir() else annotations.parent
    return VideoNames(videos or folder, elsewhere=True)


def _with_own_videos(marks: Marks, videos: VideoNames) -> Marks:
    """The marks of one file, whose paths are of one machine: two of them are two videos."""
    if len(marks.videos) < 2 or marks.format == INTERVALS_CSV:  # in which a path means what it says
        return marks
    try:
        for name in marks.videos:
            videos.has(name)
    except DatasetError as error:
        raise DatasetError(f"{marks.file}: {error}") from None
    for path, names in videos.several_paths.items():
        raise DatasetError(
            f"{marks.file}: {names[0]!r} and {names[1]!r} may both be {path}; put the videos into "
            "folders of these names"
        )
    return marks


def _joined(folder: Path, found: list[Marks]) -> Marks:
    formats = list(dict.fromkeys(marks.format.partition(",")[0] for marks in found))
    if len(formats) > 1:
        raise DatasetError(
            f"{folder}: holds files of several formats ({' and '.join(formats)}); give each its "
            "own folder, or convert them to one"
        )
    looked_at: dict[str, tuple[Span, ...]] = {}
    for marks in found:
        for video, spans in marks.looked_at.items():
            if marks.format in _ONE_FILE_A_VIDEO and video in looked_at:
                raise DatasetError(
                    f"{folder}: several files are of the video {video!r}, among them "
                    f"{marks.file.name}; keep one of them"
                )
            looked_at[video] = united((*looked_at.get(video, ()), *spans))
    seconds = {name: value for marks in found for name, value in marks.duration_seconds.items()}
    notes = [f"{plain(marks.file.name)}: {note}" for marks in found for note in marks.notes]
    if below := sorted(path.name for path in folder.iterdir() if path.is_dir()):
        notes.append(
            f"{len(below)} folders in it are not looked into (the first: {plain(below[0])})"
        )
    together = tuple(
        replace(mark, where=f"{marks.file.name} {mark.where}".strip())
        for marks in found
        for mark in marks.marks
    )
    is_own = all(marks.is_on_video_clock for marks in found)
    return Marks(folder, formats[0], together, looked_at, seconds, tuple(notes), is_own)


def with_paths_from(marks: Marks, folder: Path, videos: Path | None = None) -> Marks:
    """The same marks, with the paths of videos that are found relative to a folder.

    A file in that folder then names them as they lie; names of videos that are not found stay.
    """
    names = videos_of(marks, videos)
    moved: dict[str, str] = {}
    for name in marks.videos:
        if name and names.has(name):
            path = os.path.relpath(names.find(name)[0].resolve(), folder.resolve())
            moved[name] = Path(path).as_posix()

    looked_at: dict[str, tuple[Span, ...]] = {}
    for name, spans in marks.looked_at.items():
        new = moved.get(name, name)
        looked_at[new] = united((*looked_at[new], *spans)) if new in looked_at else spans

    return replace(
        marks,
        file=folder / marks.file.name,
        marks=tuple(replace(one, video=moved.get(one.video, one.video)) for one in marks.marks),
        looked_at=looked_at,
        duration_seconds={
            moved.get(name, name): seconds for name, seconds in marks.duration_seconds.items()
        },
    )


def require_writable(
    file: Path, format_name: Format | None = None, rate_fps: float | None = None
) -> Format:
    """The format in which a file is to be written: the given one, or that of its ending.

    Raises:
        DatasetError: neither is known, or it counts frames and there is no rate.
    """
    found = format_name or _FORMAT_OF.get(file.suffix.lower())
    if found is None:
        raise DatasetError(
            f"{file}: its ending tells no format; say one of {', '.join(get_args(Format))} (--to)"
        )
    if found in _COUNTS_FRAMES and rate_fps is None:
        raise DatasetError(f"{file}: {found} counts frames; say how many a second (--rate-fps)")
    return found


def write_annotations(
    marks: Marks,
    file: Path,
    format_name: Format | None = None,
    *,
    rate_fps: float | None = None,
    videos: Path | None = None,
) -> tuple[str, ...]:
    """Write marks in a format of other tools, where they can be looked at and corrected.

    Args:
        file: is replaced if it exists.
        format_name: None: that of the file's ending.
        rate_fps: frames a second, for formats that count frames.
        videos: the folder of the videos, for formats that need their length; None: the marks'.

    Returns:
        What the format cannot hold and is not written, one line each.

    Raises:
        DatasetError: the format is not known, needs a rate or a length, or cannot hold the marks.
        OSError: the file cannot be written.
    """
    found = require_writable(file, format_name, rate_fps)
    if found == "csv":
        return write_intervals_csv(marks, file)
    names = _videos_of(marks.file, videos)
    marks = from_video_clock(_with_durations(marks, names), names)
    if found == "boris":
        return write_boris(marks, file)
    if found == "elan":
        return write_elan(marks, file)
    if found == "activitynet":
        return write_activitynet(marks, file)
    assert rate_fps is not None
    if found == "label-studio":
        return write_label_studio(marks, file, rate_fps)
    if found == "frames":
        return write_frame_labels(marks, file, rate_fps)
    return write_deepethogram(marks, file, rate_fps)


def _with_durations(marks: Marks, videos: VideoNames) -> Marks:
    """The same marks, with the lengths that their videos declare."""
    known = dict(marks.duration_seconds)
    for name in marks.videos:
        span = None if name in known else span_of(name, videos)
        if span is not None and span[1] is not None:
            known[name] = span[1]
    return replace(marks, duration_seconds=known)
