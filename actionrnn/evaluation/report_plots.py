"""What the report's plots show, in pixels; `page/plots.html` draws them as SVG.

SVG within the page takes its colours from the page's style sheet, in a dark page as well, and its
cells can be clicked; the pictures of a plotting library offer neither.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, NamedTuple

from actionrnn.evaluation.bootstrap import Interval
from actionrnn.evaluation.recording_bars import RecordingBars, Run
from actionrnn.model.segments import NOTHING

LOG_FLOOR = 1e-4

CLASS_COLOURS = (
    *("#5b8fc9", "#f58518", "#54a24b", "#e45756", "#b279a2", "#eeca3b"),
    *("#72b7b2", "#ff9da6", "#9d755d"),
)
"""Of the first classes in the bars over time; readable dark text fits on each, and each is seen
on white and on black."""
BACKGROUND_COLOUR = "#a9adb3"
GOLDEN_DEGREES = 137.508
"""Between the hues of further classes: each new one falls into the widest gap."""
BAR_PIXELS = 940
"""The width of a bar on a wide screen, and LETTER_PIXELS that of a letter: what fits is named."""
LETTER_PIXELS = 7


class Bar(NamedTuple):
    """One bar of the chart of accuracies."""

    name: str
    style: str
    value: float
    """0 to 1."""
    interval: Interval | None


@dataclass(frozen=True)
class Line:
    """One line of a chart."""

    name: str
    style: str
    """Its class in the style sheet: head, mean, shuffled, rnn, lstm, gru."""
    points: tuple[tuple[float, float], ...]
    dashed: bool = False


def percent_text(value: float) -> str:
    """`80 %`."""
    return f"{100 * value:.0f} %"


@dataclass(frozen=True)
class Axis:
    """One side of a chart: what it measures, from where to where."""

    label: str
    bounds: tuple[float, float] = (0, 1)
    text: Callable[[float], str] = "{:g}".format
    """How a tick is written."""
    log: bool = False
    """Decades have equal distances; values below `LOG_FLOOR` are left out."""

    @property
    def ticks(self) -> list[float]:
        """Where grid lines and numbers are drawn."""
        if not self.log:
            return nice_ticks(*self.bounds)
        first, last = (round(math.log10(bound)) for bound in self.bounds)
        return [10.0**power for power in range(first, last + 1)]

    def part(self, value: float) -> float:
        """How far along the axis a value is: 0 at its beginning, 1 at its end."""
        low, high = map(self._scaled, self.bounds)
        return (self._scaled(value) - low) / ((high - low) or 1)

    def _scaled(self, value: float) -> float:
        return math.log10(max(value, LOG_FLOOR)) if self.log else value


@dataclass(frozen=True)
class Axes:
    """A chart's axes and lines, and the pixels where they are drawn."""

    x: Axis
    y: Axis
    lines: tuple[Line, ...] = ()

    width: ClassVar[int] = 440
    height: ClassVar[int] = 270
    left: ClassVar[int] = 62
    right: ClassVar[int] = 418
    top: ClassVar[int] = 12
    floor: ClassVar[int] = 228

    def pixel(self, x: float, y: float) -> tuple[float, float]:
        """The pixel of a point; pixels count from the top."""
        column = self.left + (self.right - self.left) * self.x.part(x)
        return column, self.floor - (self.floor - self.top) * self.y.part(y)

    def polyline(self, line: Line) -> str:
        """A line's pixels, as SVG writes them."""
        shown = [point for point in line.points if not self.y.log or point[1] >= LOG_FLOOR]
        return " ".join("{:.1f},{:.1f}".format(*self.pixel(*point)) for point in shown)


def line_axes(lines: Sequence[Line], x: Axis, y: Axis, *, fit_y: bool = True) -> Axes:
    """Lines over common axes.

    Args:
        lines: at least one.
        x: its bounds become those of the points.
        fit_y: y's bounds become those of the points, too, from 0 on or in whole decades.
    """
    xs = [point[0] for one in lines for point in one.points]
    ys = [point[1] for one in lines for point in one.points]
    if fit_y and y.log:
        low = 10 ** math.floor(math.log10(max(LOG_FLOOR, min(ys))))
        y = replace(y, bounds=(low, 10 ** math.ceil(math.log10(max(*ys, 10 * low)))))
    elif fit_y:
        y = replace(y, bounds=(0, 1.05 * max(ys)))
    return Axes(replace(x, bounds=(min(xs), max(xs))), y, tuple(lines))


def nice_ticks(low: float, high: float) -> list[float]:
    """At most six round numbers between two bounds.

    >>> nice_ticks(0, 1)
    [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    """
    if high <= low:
        return [low]
    rough = (high - low) / 5
    power = 10 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [round(number * step, 10) for number in range(first, last + 1)]


@dataclass(frozen=True)
class Block:
    """One coloured stretch of a bar, in per cent of the bar's width."""

    left: float
    width: float
    colour: str
    title: str
    """Its label and times."""
    text: str
    """The label where it fits, else nothing."""
    top: float = 0
    """Where it begins, from the top, in per cent of the bar's height; with several lanes."""
    height: float = 100


@dataclass(frozen=True)
class TimeBars:
    """What was true in one recording and what was predicted, over the same time."""

    truth: tuple[Block, ...]
    prediction: tuple[Block, ...]
    uncounted: tuple[Block, ...]
    """Where nobody labelled it."""
    ticks: tuple[tuple[float, str], ...]
    """Per cent of the width, and the time."""
    shown_end: str | None
    """The time at which the bars end before the recording does."""
    num_lanes: int = 1
    """In each bar; with several, each label has its own."""


def class_colours(
    recordings: Sequence[RecordingBars], labels: Sequence[str], background: str | None
) -> dict[int, str]:
    """A colour for each class that the recordings' bars show, in the order of the labels."""
    shown = {
        run[0] for one in recordings for run in (*one.truth, *one.prediction) if run[0] != NOTHING
    }
    colours: dict[int, str] = {}
    for which in sorted(shown):
        place = len(colours) - (BACKGROUND_COLOUR in colours.values())
        if labels[which] == background:
            colours[which] = BACKGROUND_COLOUR
        elif place < len(CLASS_COLOURS):
            colours[which] = CLASS_COLOURS[place]
        else:
            colours[which] = f"hsl({GOLDEN_DEGREES * place % 360:.0f} 55% 64%)"
    return colours


def time_bars(one: RecordingBars, labels: Sequence[str], colours: dict[int, str]) -> TimeBars:
    """The blocks of one recording's two bars; where labels may overlap, a lane for each label."""
    low, high = one.span or (one.truth[0][1], one.truth[-1][2])
    axis = Axis("", bounds=(low, high))
    lane_of, num_lanes = {which: lane for lane, which in enumerate(one.lanes)}, len(one.lanes) or 1

    def block(run: Run) -> Block:
        which, start, end = run
        label = "unlabelled" if which == NOTHING else labels[which]
        left, width = 100 * axis.part(start), 100 * (axis.part(end) - axis.part(start))
        fits = which != NOTHING and LETTER_PIXELS * (len(label) + 1) <= width / 100 * BAR_PIXELS
        title = f"{label}, {clock(start)} to {clock(end)}"
        top, height = 0.0, 100.0
        if which in lane_of:
            top, height = 100 * lane_of[which] / num_lanes, 100 / num_lanes
        return Block(left, width, colours.get(which, ""), title, label if fits else "", top, height)

    return TimeBars(
        truth=tuple(block(run) for run in one.truth if run[0] != NOTHING),
        prediction=tuple(block(run) for run in one.prediction if run[0] != NOTHING),
        uncounted=tuple(block(run) for run in one.truth if run[0] == NOTHING),
        ticks=tuple((100 * axis.part(tick), clock(tick)) for tick in _clock_ticks(low, high)),
        shown_end=clock(high) if high < one.end_seconds else None,
        num_lanes=num_lanes,
    )


def _clock_ticks(low: float, high: float) -> list[float]:
    """Round seconds, minutes or hours."""
    span = high - low
    unit = 3600 if span > 4 * 3600 else 60 if span > 4 * 60 else 1
    return [unit * tick for tick in nice_ticks(low / unit, high / unit)]


def clock(seconds: float) -> str:
    """A time in a recording, to a tenth of a second where that says something.

    >>> clock(5.25), clock(65), clock(3725.5)
    ('0:05.2', '1:05', '1:02:05.5')
    """
    tenths = round(abs(seconds) * 10)
    hours, minutes = tenths // 36000, tenths // 600 % 60
    front = f"{hours}:{minutes:02}" if hours else f"{minutes}"
    tenth = f".{tenths % 10}" if tenths % 10 else ""
    return f"{'-' if seconds < 0 and tenths else ''}{front}:{tenths // 10 % 60:02}{tenth}"
