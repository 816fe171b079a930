"""DeepEthogram's CSV: a row a frame, a column a behaviour, any number of them at once.

https://github.com/jbohnslav/deepethogram/blob/master/docs/file_structure.md: the first column
numbers the frames from 0; 1 is present, 0 absent, -1 not looked at; `background` is 1 where no
behaviour is. Nothing tells the frame rate.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from actionrnn.datasets.annotations.clock import FrameClock
from actionrnn.datasets.annotations.marks import Mark, Marks, ReadOptions
from actionrnn.datasets.annotations.text import read_text
from actionrnn.datasets.annotations.writing import frame_runs
from actionrnn.errors import DatasetError
from actionrnn.files import write_text
from actionrnn.text import plain

BACKGROUND = "background"
_INDEX_NAMES = ("", "Unnamed: 0")  # the second: pandas read and wrote it once more
_STATES = {"1": 1, "0": 0, "-1": -1, "1.0": 1, "0.0": 0, "-1.0": -1}
_SUFFIXES = ("_labels", "_predictions")


def is_deepethogram(file: Path, text: str) -> bool:
    """Whether a text begins with DeepEthogram's header, and a row of 1, 0, -1."""
    try:
        rows = csv.reader(io.StringIO(text, newline=""))
        header, first = next(rows, []), next(rows, [])
    except csv.Error:
        return False
    return (
        len(header) > 2
        and header[0] in _INDEX_NAMES
        and BACKGROUND in header[1:]
        and set(first[1:]) <= set(_STATES)
    )


def read_deepethogram(file: Path, options: ReadOptions) -> Marks:
    """The runs of each behaviour, half open; they overlap as the behaviours do.

    The video is the file's stem without `_labels` or `_predictions`, as DeepEthogram names them.
    A frame with a -1 anywhere was not looked at: what else its row says is dropped with a note.
    `background` is what is left where no behaviour is, and no label.

    Raises:
        DatasetError: it cannot be read, is of another form, a cell is none of 1, 0, -1, a frame is
            missing, there is neither a rate nor the video, or the video has fewer frames.
        VideoError: the video cannot be read.
    """
    names, states = _read_states(file)
    is_seen = (states != -1).all(axis=1)
    is_background = states[:, names.index(BACKGROUND)] == 1
    behaviours = [index for index, name in enumerate(names) if name != BACKGROUND]
    is_on = (states[:, behaviours] == 1) & is_seen[:, None]
    lost = int(((states[:, behaviours] == 1) & ~is_seen[:, None]).any(axis=1).sum())
    video, clock = _video(file), FrameClock(file, options)

    def seconds(run: tuple[int, int]) -> tuple[float, float]:
        return clock.seconds(video, run[0]), clock.seconds(video, run[1])

    found = sorted(
        (run, column) for column in range(len(behaviours)) for run in _runs(is_on[:, column])
    )
    marks = tuple(
        Mark(names[behaviours[column]], *seconds(run), video, where=f"frames {run[0]}-{run[1] - 1}")
        for run, column in found
    )
    notes = [
        f"{is_background[is_seen].sum()} frames of {BACKGROUND} are no marks: it is what no "
        "behaviour holds"
    ]
    disagree = int((is_background == is_on.any(axis=1))[is_seen].sum())
    if disagree:
        notes.append(f"{disagree} frames have {BACKGROUND} and a behaviour, or neither; the "
                     "behaviours count")  # fmt: skip
    if not is_seen.all():
        notes.append(f"{(~is_seen).sum()} of {len(is_seen)} frames were not looked at (-1)")
    if lost:
        notes.append(f"{lost} of these have a behaviour beside the -1, which is dropped")
    gaps = sum(_single_gaps(is_on[:, column]) for column in range(len(behaviours)))
    if gaps:
        notes.append(f"{gaps} gaps of a single frame divide a behaviour; they are kept")
    return Marks(
        file,
        "DeepEthogram",
        marks,
        looked_at={video: tuple(seconds(run) for run in _runs(is_seen))},
        duration_seconds={video: clock.seconds(video, len(states))},
        notes=(*notes, *clock.require_count(video, len(states))),
        is_on_video_clock=options.rate_fps is None,
    ).chosen(options)


def write_deepethogram(
    marks: Marks, file: Path, rate_fps: float, duration_seconds: float | None = None
) -> tuple[str, ...]:
    """Write a row for each frame of the one video that the marks are of.

    Bounds go to the nearest frame: times are kept to 1 / (2 rate_fps) seconds; marks of one label
    that touch or overlap become one. Frames that nobody looked at are -1; if the marks do not say
    where somebody looked, all count as looked at.

    Args:
        rate_fps: rows a second; readers must be told, the file does not say.
        duration_seconds: of the video; None: as the marks tell.

    Returns:
        What was left out, cut or assumed.

    Raises:
        DatasetError: several videos, no duration, or a label without a name.
        OSError: it cannot be written.
    """
    on_frames = frame_runs(marks, rate_fps, duration_seconds)
    names = list(dict.fromkeys(mark.label for mark in marks.marks if mark.label != BACKGROUND))
    if not all(names):
        raise DatasetError(f"{marks.file}: a label is empty; a column needs a name")
    states = np.zeros((on_frames.num_frames, 1 + len(names)), np.int8)
    notes, dropped = list(on_frames.notes), 0
    for run in on_frames.runs:
        if run.label == BACKGROUND:
            dropped += 1
        else:
            states[run.first : run.stop, 1 + names.index(run.label)] = 1
    states[:, 0] = ~states.any(axis=1)
    if dropped:
        notes.append(f"{dropped} marks of {BACKGROUND} are written as what no behaviour holds")
    if on_frames.video in marks.looked_at:
        is_seen = np.zeros(len(states), bool)
        for first, stop in on_frames.frames_of(marks.looked_at[on_frames.video], rate_fps):
            is_seen[first:stop] = True
        lost = int((states[~is_seen, 1:] == 1).any(axis=1).sum())
        if lost:
            notes.append(f"not written: {lost} frames with a label where nobody looked (-1)")
        states[~is_seen] = -1
    elif states[:, 0].any():
        notes.append(
            f"{states[:, 0].sum()} frames have no label and are written as {BACKGROUND}: nobody "
            "said where they looked"
        )
    write_text(file, _as_csv(["", BACKGROUND, *names], states))
    return tuple(notes)


def _read_states(file: Path) -> tuple[list[str], NDArray[np.int8]]:
    """The names of the columns, and (frames, columns) of 1, 0, -1."""
    text = read_text(file)
    if not is_deepethogram(file, text):
        raise DatasetError(
            f"{file}: is not of DeepEthogram's form (frame numbers, {BACKGROUND}, behaviours)"
        )
    reader = csv.reader(io.StringIO(text, newline=""))
    names = next(reader)[1:]
    if len(set(names)) < len(names):
        raise DatasetError(f"{file}: two columns have one name in {plain(', '.join(names))}")
    rows: list[list[int]] = []
    try:
        for cells in reader:
            if cells:
                rows.append(_row(cells, names, len(rows), f"{file}, line {reader.line_num}"))
    except csv.Error as error:
        raise DatasetError(f"{file}, line {reader.line_num}: {error}") from None
    if not rows:
        raise DatasetError(f"{file}: holds no frame below its header")
    return names, np.array(rows, np.int8)


def _row(cells: list[str], names: list[str], frame: int, where: str) -> list[int]:
    if len(cells) != 1 + len(names):
        raise DatasetError(f"{where}: has {len(cells)} cells, the header {1 + len(names)}")
    if cells[0] not in (str(frame), f"{frame}.0"):
        raise DatasetError(f"{where}: is frame {plain(cells[0])!r}; {frame} is expected")
    for name, cell in zip(names, cells[1:], strict=True):
        if cell not in _STATES:
            raise DatasetError(
                f"{where}: {plain(name)} is {plain(cell)!r}; 1 (present), 0 (absent) or -1 (not "
                "looked at) is expected"
            )
    return [_STATES[cell] for cell in cells[1:]]


def _video(file: Path) -> str:
    ending = next((ending for ending in _SUFFIXES if file.stem.endswith(ending)), "")
    return file.stem.removesuffix(ending) or file.stem


def _runs(is_on: NDArray[np.bool_]) -> Iterator[tuple[int, int]]:
    """(first, stop) of each run of True."""
    edges = np.flatnonzero(np.diff(is_on, prepend=False, append=False))
    return ((int(first), int(stop)) for first, stop in edges.reshape(-1, 2))


def _single_gaps(is_on: NDArray[np.bool_]) -> int:
    """The number of single frames without it between two with it."""
    return int((is_on[:-2] & ~is_on[1:-1] & is_on[2:]).sum())


def _as_csv(header: list[str], states: Iterable[Iterable[int]]) -> str:
    lines = io.StringIO(newline="")
    writer = csv.writer(lines)
    writer.writerow(header)
    writer.writerows([index, *row] for index, row in enumerate(states))
    return lines.getvalue()
