"""One label a line for each frame, as MS-TCN reads it (Breakfast, 50Salads, GTEA).

https://github.com/yabufarha/ms-tcn: `groundTruth/<video>.txt` holds the labels, `mapping.txt`
beside that folder a number for each. Nothing tells the frame rate; labels have no blanks.
"""

from __future__ import annotations

import itertools
from collections import Counter
from pathlib import Path

from actionrnn.datasets.annotations.clock import FrameClock
from actionrnn.datasets.annotations.marks import Mark, Marks, ReadOptions
from actionrnn.datasets.annotations.text import read_text
from actionrnn.datasets.annotations.writing import frame_runs
from actionrnn.errors import DatasetError
from actionrnn.files import write_text
from actionrnn.text import plain

MAPPING_FILE = "mapping.txt"
FILLER = "background"
"""The label of a frame that has none, where a format needs one."""


def is_frame_labels(file: Path, text: str) -> bool:
    """Whether a text is one label a line: single words, of which some are repeated at once.

    A list of names, each on its own line, repeats none.
    """
    lines = _lines(text)
    return (
        file.suffix.lower() == ".txt"
        and any(first == second for first, second in itertools.pairwise(lines))
        and all(len(line.split()) == 1 and not set(line) & set(",;") for line in lines)
    )


def read_frame_labels(file: Path, options: ReadOptions) -> Marks:
    """The runs of equal labels in a file of one label a frame, half open.

    The video is the file's stem. Background labels (SIL, background, null) are labels as others.
    All frames that have a line were looked at. A `mapping.txt` in the file's folder, or in the
    folder above, is compared; labels that it lacks are named in a note.

    Raises:
        DatasetError: it cannot be read, a line is empty or has blanks, there is neither a rate nor
            the video, or the video has fewer frames.
        VideoError: the video cannot be read.
    """
    labels = _lines(read_text(file))
    if not labels:
        raise DatasetError(f"{file}: is empty; one label a frame is expected, each on its line")
    for number, label in enumerate(labels, start=1):
        if len(label.split()) != 1:
            raise DatasetError(
                f"{file}, line {number}: is {plain(label)!r}; one label without blanks is expected"
            )
    video, clock = file.stem, FrameClock(file, options)
    marks, first = [], 0
    for label, run in itertools.groupby(labels):
        stop = first + len(list(run))
        start, end = clock.seconds(video, first), clock.seconds(video, stop)
        where = f"lines {first + 1}-{stop}"
        marks.append(Mark(label, start, end, video, where=where))
        first = stop
    fewer = clock.require_count(video, len(labels))
    span = (clock.seconds(video, 0), clock.seconds(video, len(labels)))
    return Marks(
        file,
        "per-frame text",
        tuple(marks),
        looked_at={video: (span,)},
        duration_seconds={video: span[1]},
        notes=(*_compare_with_mapping(file, labels), *fewer),
        is_on_video_clock=options.rate_fps is None,
    ).chosen(options)


def read_mapping(file: Path) -> dict[str, int]:
    """The number of each label in a `mapping.txt` (`<number> <label>` a line).

    Raises:
        DatasetError: it cannot be read, a line is of another form, or names something twice.
    """
    numbers: dict[str, int] = {}
    for line_number, line in enumerate(_lines(read_text(file)), start=1):
        parts = line.split()
        where = f"{file}, line {line_number}"
        if len(parts) != 2 or not (parts[0].isascii() and parts[0].isdigit()):
            raise DatasetError(f"{where}: is {plain(line)!r}; '<number> <label>' is expected")
        number, label = int(parts[0]), parts[1]
        if label in numbers or number in numbers.values():
            raise DatasetError(f"{where}: {plain(line)!r} repeats a number or a label")
        numbers[label] = number
    return numbers


def write_frame_labels(
    marks: Marks,
    file: Path,
    rate_fps: float,
    duration_seconds: float | None = None,
    filler: str = FILLER,
) -> tuple[str, ...]:
    """Write one label a line for each frame of the one video that the marks are of.

    Bounds go to the nearest frame: times are kept to 1 / (2 rate_fps) seconds.

    Args:
        rate_fps: lines a second; readers must be told, the file does not say.
        duration_seconds: of the video; None: as the marks tell.
        filler: the label of a frame that has none. Readers take it for a label as others.

    Returns:
        What was left out, cut or filled.

    Raises:
        DatasetError: several videos, no duration, labels that overlap, or that have blanks.
        OSError: it cannot be written.
    """
    on_frames = frame_runs(marks, rate_fps, duration_seconds)
    lines: list[str | None] = [None] * on_frames.num_frames
    for run in on_frames.runs:
        _require_word(run.label, marks)
        for frame in range(run.first, run.stop):
            other = lines[frame]
            if other not in (None, run.label):
                raise DatasetError(
                    f"{marks.file}: {plain(run.label)} and {plain(str(other))} overlap at "
                    f"{frame / rate_fps:g} s, and a frame has one label here; choose some of the "
                    "labels, tiers or subjects, or write a format of intervals"
                )
            lines[frame] = run.label
    _require_word(filler, marks)
    write_text(file, "".join(f"{line or filler}\n" for line in lines))
    filled = lines.count(None)
    note = f"{filled} of {len(lines)} frames have no label and are written as {filler}"
    return (*on_frames.notes, *([note] if filled else []))


def _lines(text: str) -> list[str]:
    """The lines, of any line end; one at the end of the file may be missing, or be repeated."""
    return text.replace("\r\n", "\n").replace("\r", "\n").rstrip("\n").split("\n") if text else []


def _require_word(label: str, marks: Marks) -> None:
    if len(label.split()) != 1:
        raise DatasetError(
            f"{marks.file}: the label {plain(label)!r} is not one word, and labels of per-frame "
            "text have no blanks; rename it"
        )


def _compare_with_mapping(file: Path, labels: list[str]) -> tuple[str, ...]:
    folders = (file.parent, file.absolute().parent.parent)
    path = next((path for folder in folders if (path := folder / MAPPING_FILE).is_file()), None)
    if path is None:
        return ()
    try:
        known = read_mapping(path)
    except DatasetError as error:
        return (f"not compared with a mapping: {error}",)
    lacking = Counter(label for label in labels if label not in known)
    if not lacking:
        return ()
    names = ", ".join(f"{plain(label)} ({count} frames)" for label, count in lacking.items())
    return (f"labels that {path} lacks: {names}",)
