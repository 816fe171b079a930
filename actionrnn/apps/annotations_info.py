"""What is in a file of annotations: how often, how long, by whom."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator

from rich.table import Table

from actionrnn.datasets.annotations.marks import Mark, Marks
from actionrnn.text import plain


def table_of(marks: Marks) -> Table:
    """A row for each label: its bouts, points, seconds and subjects."""
    table = Table()
    table.add_column("label")
    for heading in ("bouts", "points", "seconds", "mean s"):
        table.add_column(heading, justify="right")
    table.add_column("subjects")
    by_label: dict[str, list[Mark]] = {}
    for mark in marks.marks:
        by_label.setdefault(mark.label, []).append(mark)
    for label in sorted(by_label):
        table.add_row(*_row(label, by_label[label]))
    return table


def _row(label: str, marks: list[Mark]) -> list[str]:
    bouts = [mark for mark in marks if not mark.is_point]
    seconds = [_length(mark) for mark in bouts]
    known = [one for one in seconds if math.isfinite(one)]
    subjects = sorted({plain(mark.subject) for mark in marks if mark.subject})
    total = f"{sum(known):.1f}" if len(known) == len(bouts) else f"> {sum(known):.1f}"
    mean = f"{sum(known) / len(known):.2f}" if known else ""
    return [
        plain(label),
        str(len(bouts)),
        str(len(marks) - len(bouts)),
        total if bouts else "",
        mean,
        ", ".join(subjects),
    ]


def _length(mark: Mark) -> float:
    """In seconds; infinite if a bound is the video's own."""
    if mark.start_seconds is None or mark.end_seconds is None:
        return math.inf
    return mark.end_seconds - mark.start_seconds


def lines_of(marks: Marks) -> Iterator[str]:
    """Videos, tiers, where somebody looked, and the reader's notes, a line each."""
    videos, shown = marks.videos, 3
    names = ", ".join(plain(name) or "(not named)" for name in videos[:shown])
    more = f", and {len(videos) - shown} more" if len(videos) > shown else ""
    yield f"videos    {len(videos)}: {names}{more}"
    tiers = Counter(mark.tier for mark in marks.marks if mark.tier)
    if tiers:
        yield "tiers     " + ", ".join(f"{plain(name)} ({n})" for name, n in tiers.items())
    looked = sum(end - begin for spans in marks.looked_at.values() for begin, end in spans)
    if marks.looked_at:
        yield f"looked at {looked:.1f} s of {len(marks.looked_at)} videos"
    yield from (f"note      {note}" for note in marks.notes)
