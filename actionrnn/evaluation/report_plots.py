"""The report's plots: small SVG pictures whose colours come from the page's style sheet.

So they follow a dark page, and its script can react to a click on a cell, which the pictures of
a plotting library do not offer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from markupsafe import Markup, escape

from actionrnn.evaluation.bootstrap import Interval
from actionrnn.evaluation.metrics import ReliabilityBin

WIDTH, HEIGHT = 440, 270
LEFT, RIGHT, TOP, BOTTOM = 62, 22, 12, 42
LOG_FLOOR = 1e-4


@dataclass(frozen=True)
class Series:
    """One line of a chart."""

    name: str
    style: str
    """Its class in the style sheet: head, mean, shuffled, rnn, lstm, gru."""
    points: tuple[tuple[float, float], ...]
    dashed: bool = False


def percent_text(value: float) -> str:
    """`80 %`."""
    return f"{100 * value:.0f} %"


def plain_text(value: float) -> str:
    """`0.5`, `12`."""
    return f"{value:g}"


@dataclass(frozen=True)
class Axis:
    """One side of a chart: what it measures, from where to where."""

    label: str
    bounds: tuple[float, float] = (0, 1)
    text: Callable[[float], str] = plain_text
    """How a tick is written."""
    log: bool = False
    """Decades are equally far apart; values below `LOG_FLOOR` are left out."""

    @property
    def ticks(self) -> list[float]:
        """Where lines and numbers are drawn."""
        return _decades(self.bounds) if self.log else nice_ticks(*self.bounds)

    def part(self, value: float) -> float:
        """How far along the axis a value is: 0 at its beginning, 1 at its end."""
        low, high = map(self._scaled, self.bounds)
        return (self._scaled(value) - low) / ((high - low) or 1)

    def _scaled(self, value: float) -> float:
        return math.log10(max(value, LOG_FLOOR)) if self.log else value


@dataclass(frozen=True)
class Axes:
    """From values to pixels."""

    x: Axis
    y: Axis

    def place(self, x: float, y: float) -> tuple[float, float]:
        """The pixel of a point."""
        width, height = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
        return LEFT + width * self.x.part(x), HEIGHT - BOTTOM - height * self.y.part(y)


def line_chart(series: Sequence[Series], x: Axis, y: Axis, *, fit_y: bool = True) -> Markup:
    """Lines over a common axis, with a legend below.

    Args:
        x: its bounds become those of the points.
        fit_y: y's bounds become those of the points, too, from 0 on or in whole decades.
    """
    xs = [point[0] for one in series for point in one.points]
    ys = [point[1] for one in series for point in one.points]
    if fit_y and y.log:
        low = 10 ** math.floor(math.log10(max(LOG_FLOOR, min(ys))))
        y = replace(y, bounds=(low, 10 ** math.ceil(math.log10(max(*ys, 10 * low)))))
    elif fit_y:
        y = replace(y, bounds=(0, 1.05 * max(ys)))
    axes = Axes(replace(x, bounds=(min(xs), max(xs))), y)
    parts = [*_frame(axes)]
    for one in series:
        shown = [point for point in one.points if not y.log or point[1] >= LOG_FLOOR]
        places = " ".join("{:.1f},{:.1f}".format(*axes.place(*point)) for point in shown)
        dashes = " dashed" if one.dashed else ""
        parts.append(f'<polyline class="line {one.style}{dashes}" points="{places}"/>')
    return _svg(parts, f"{y.label} by {x.label}") + _legend(series)


def reliability_chart(bins: Sequence[ReliabilityBin]) -> Markup:
    """Accuracy beside confidence: a dot's area grows with its clips; the ideal line is dashed."""
    axes = Axes(
        Axis("score of the answer", text=percent_text), Axis("part right", text=percent_text)
    )
    parts = [*_frame(axes)]
    (x1, y1), (x2, y2) = axes.place(0, 0), axes.place(1, 1)
    parts.append(f'<line class="ideal" x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}"/>')
    most = max(part.num_clips for part in bins)
    for part in bins:
        x, y = axes.place(part.confidence, part.accuracy)
        _, ideal = axes.place(part.confidence, part.confidence)
        parts.append(
            f'<line class="gap" x1="{x:.1f}" x2="{x:.1f}" y1="{y:.1f}" y2="{ideal:.1f}"/>'
            f'<circle class="dot head" cx="{x:.1f}" cy="{y:.1f}" '
            f'r="{3 + 7 * math.sqrt(part.num_clips / most):.1f}"><title>{part.num_clips} clips: '
            f"score {part.confidence:.1%}, right {part.accuracy:.1%}</title></circle>"
        )
    return _svg(parts, "reliability curve")


def interval_chart(rows: Sequence[tuple[str, str, float, Interval | None]]) -> Markup:
    """Bars from 0 to 100 % with 95 % whiskers: (name, style, value, interval) each."""
    left, right, row_height = 128, 62, 34
    height, wide = row_height * len(rows) + 26, WIDTH - left - right
    parts = []
    for tick in (0, 0.25, 0.5, 0.75, 1):
        x = left + wide * tick
        parts.append(
            f'<line class="grid" x1="{x}" x2="{x}" y1="4" y2="{height - 20}"/>'
            f'<text class="tick" x="{x}" y="{height - 5}" text-anchor="middle">'
            f"{percent_text(tick)}</text>"
        )
    for number, (name, style, value, interval) in enumerate(rows):
        middle = 6 + row_height * number + row_height / 2 - 4
        parts.append(
            f'<text x="{left - 8}" y="{middle + 4}" text-anchor="end">{escape(name)}</text>'
            f'<rect class="bar {style}" x="{left}" y="{middle - 9}" height="18" '
            f'width="{wide * value:.1f}"/>'
            f'<text class="value" x="{WIDTH - 4}" y="{middle + 4}" text-anchor="end">'
            f"{value:.1%}</text>"
        )
        if interval is not None:
            low, high = (left + wide * bound for bound in interval)
            parts.append(
                f'<path class="whisker" d="M{low:.1f} {middle}H{high:.1f}M{low:.1f} {middle - 5}v10'
                f'M{high:.1f} {middle - 5}v10"/>'
            )
    return _svg(parts, "accuracy with 95 % intervals", height=height)


def confusion_chart(confusion: Sequence[Sequence[int]], labels: Sequence[str]) -> Markup:
    """The confusion matrix; only cells that hold clips are drawn, and each can be clicked."""
    cell = 30 if len(labels) <= 20 else 12
    letters = max(map(len, labels))
    margin = min(170, 14 + round(letters * (6.6 if cell > 12 else 5.4)))
    side = cell * len(labels)
    size = margin + side + 6
    parts = [f'<rect class="paper" x="{margin}" y="4" width="{side}" height="{side}"/>']
    for index, label in enumerate(labels):
        y = 4 + cell * (index + 0.5)
        x = margin + cell * (index + 0.5)
        shown = label if len(label) <= 26 else label[:25] + "…"
        parts.append(
            f'<path class="grid" d="M{margin} {y + cell / 2}h{side}M{x + cell / 2} 4v{side}"/>'
            f'<text x="{margin - 5}" y="{y + 3}" text-anchor="end">{escape(shown)}</text>'
            f'<text transform="translate({x + 3} {side + 9}) rotate(-90)" text-anchor="end">'
            f"{escape(shown)}</text>"
        )
    for true, row in enumerate(confusion):
        total = sum(row)
        for given, count in enumerate(row):
            if not count:
                continue
            kind = "right" if true == given else "wrong"
            x, y = margin + cell * given, 4 + cell * true
            opacity = 0.25 + 0.75 * count / total
            number = ""
            if cell > 12:
                number = (
                    f'<text class="count" x="{x + cell / 2}" y="{y + cell / 2 + 4}" '
                    f'text-anchor="middle">{count}</text>'
                )
            parts.append(
                f'<g class="cell {kind}" data-true="{true}" data-given="{given}">'
                f'<rect x="{x + 0.5}" y="{y + 0.5}" width="{cell - 1}" height="{cell - 1}" '
                f'fill-opacity="{opacity:.2f}"/>{number}<title>{escape(labels[true])} → '
                f"{escape(labels[given])}: {count} of {total}</title></g>"
            )
    small = "" if cell > 12 else " small"
    return Markup(
        f'<svg class="confusion{small}" role="img" aria-label="confusion matrix" '
        f'width="{size}" height="{size}" viewBox="0 0 {size} {size}">{"".join(parts)}</svg>'
    )


def nice_ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Round numbers between two bounds.

    >>> nice_ticks(0, 1)
    [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    """
    if high <= low:
        return [low]
    rough = (high - low) / (most - 1)
    power = 10 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [round(number * step, 10) for number in range(first, last + 1)]


def _decades(bounds: tuple[float, float]) -> list[float]:
    first, last = (round(math.log10(bound)) for bound in bounds)
    return [10.0**power for power in range(first, last + 1)]


def _frame(axes: Axes) -> Iterable[str]:
    """Grid, ticks and labels."""
    floor = HEIGHT - BOTTOM
    for tick in axes.y.ticks:
        _, y = axes.place(axes.x.bounds[0], tick)
        yield f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        yield (
            f'<text class="tick" x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">'
            f"{axes.y.text(tick)}</text>"
        )
    for tick in axes.x.ticks:
        x, _ = axes.place(tick, axes.y.bounds[0])
        yield (
            f'<text class="tick" x="{x:.1f}" y="{floor + 16}" text-anchor="middle">'
            f"{axes.x.text(tick)}</text>"
        )
    middle = (LEFT + WIDTH - RIGHT) / 2
    yield f'<line class="axis" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{floor}" y2="{floor}"/>'
    yield f'<text x="{middle}" y="{HEIGHT - 6}" text-anchor="middle">{escape(axes.x.label)}</text>'
    yield (
        f'<text transform="translate(11 {(TOP + floor) / 2}) rotate(-90)" text-anchor="middle">'
        f"{escape(axes.y.label)}</text>"
    )


def _svg(parts: Iterable[str], description: str, height: int = HEIGHT) -> Markup:
    return Markup(
        f'<svg class="plot" role="img" aria-label="{escape(description)}" '
        f'viewBox="0 0 {WIDTH} {height}">{"".join(parts)}</svg>'
    )


def _legend(series: Sequence[Series]) -> Markup:
    keys = "".join(
        f'<span><i class="key {one.style}{" dashed" if one.dashed else ""}"></i>'
        f"{escape(one.name)}</span>"
        for one in series
    )
    return Markup(f'<p class="legend">{keys}</p>')
