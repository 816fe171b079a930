"""BORIS: what it exports as tables, and its projects.

Friard & Gamba, 2016, "BORIS: a free, versatile open-source event-logging software for
video/audio coding and live observations".
"""

from __future__ import annotations

from pathlib import Path

from actionrnn.datasets.annotations.boris_events import to_marks
from actionrnn.datasets.annotations.boris_project import is_boris_project, read_boris_project
from actionrnn.datasets.annotations.boris_rows import is_boris_table
from actionrnn.datasets.annotations.boris_tables import read_boris_table
from actionrnn.datasets.annotations.marks import Marks, ReadOptions
from actionrnn.datasets.annotations.text import read_text


def is_boris(text: str) -> bool:
    """Whether the text of a file is BORIS's, its list of observations included."""
    return is_boris_project(text) or is_boris_table(text)


def read_boris(file: Path, options: ReadOptions) -> Marks:
    """Read aggregated or tabular events (comma, tab or semicolon), or a project (.boris).

    BORIS counts time over all files that an observation plays in a row and adds the time offset:
    here each mark is on the clock of its own video, that of the first player; a state that runs
    over the border of two files is cut there. The gaps of 1 ms that BORIS leaves between
    exclusive states are closed: the earlier one ends where the next begins. Presses that lack
    their START or STOP are dropped. A stop is the moment of the press: start <= t < end.

    A mark's tier is the behavioural category, its `extra` has `observation`, and, where given,
    `modifiers` (sets divided by `|`), `comment`, `comment stop` and the independent variables. A
    live observation has no video: "". Where a project says that only an interval of an
    observation was coded, that is where somebody looked.

    Raises:
        DatasetError: the file is damaged, has no events, is coded on pictures or by the date, or
            queues files whose lengths neither it nor the videos tell.
        VideoError: a queued video whose length is needed cannot be read.
    """
    text = read_text(file)
    read = read_boris_project if is_boris_project(text) else read_boris_table
    return to_marks(file, read(file, text), options)
