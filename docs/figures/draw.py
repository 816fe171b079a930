"""Draws the figures of docs/how-it-works.md: `python docs/figures/draw.py`.

Plain SVG, so that the same code gives the same bytes everywhere; a test compares them.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from xml.sax.saxutils import escape

TIMES = "\N{MULTIPLICATION SIGN}"
INK, DIM, LINE = "#1c1e21", "#5f6672", "#c4c9d0"
BLUE, ORANGE, GREEN, RED, PURPLE, GREY = (
    "#4c78a8",
    "#f58518",
    "#54a24b",
    "#e45756",
    "#8a6bbf",
    "#8b929b",
)
PALE = {BLUE: "#dbe6f2", ORANGE: "#fde3c8", GREEN: "#dcefd9", RED: "#fadcdb", GREY: "#eceef1"}


class Drawing:
    """An SVG that grows; x to the right, y down."""

    def __init__(self, width: int, height: int, title: str) -> None:
        self.width, self.height, self.title = width, height, title
        self.parts: list[str] = []

    def text(
        self, x: float, y: float, text: str, size: int = 15, fill: str = INK, anchor: str = "middle"
    ) -> None:
        """Its middle line is at y. `_` and one character, or several in braces, stand lower."""
        spans, low = [], False
        for part in _split_low(text):
            shift = ""
            if part[1] != low:
                shift = ' dy="4" font-size="80%"' if part[1] else ' dy="-4"'
                low = part[1]
            spans.append(f"<tspan{shift}>{escape(part[0])}</tspan>")
        self.parts.append(
            f'<text x="{x:g}" y="{y + size * 0.35:g}" font-size="{size}" fill="{fill}" '
            f'text-anchor="{anchor}">{"".join(spans)}</text>'
        )

    def box(
        self, x: float, y: float, width: float, height: float, text: str = "", hue: str = BLUE
    ) -> None:
        """A rounded box around the point (x, y)."""
        self.parts.append(
            f'<rect x="{x - width / 2:g}" y="{y - height / 2:g}" width="{width:g}" '
            f'height="{height:g}" rx="7" fill="{PALE.get(hue, "#ffffff")}" stroke="{hue}" '
            'stroke-width="1.5"/>'
        )
        if text:
            self.text(x, y, text)

    def circle(self, x: float, y: float, text: str, hue: str = GREY) -> None:
        """A small operation."""
        self.parts.append(
            f'<circle cx="{x:g}" cy="{y:g}" r="13" fill="{PALE.get(hue, "#ffffff")}" '
            f'stroke="{hue}" stroke-width="1.5"/>'
        )
        self.text(x, y, text, 14)

    def arrow(self, *points: tuple[float, float], hue: str = INK) -> None:
        """Along the points; the head is at the last."""
        path = " ".join(f"{x:g},{y:g}" for x, y in points)
        self.parts.append(
            f'<polyline points="{path}" fill="none" stroke="{hue}" stroke-width="1.6" '
            f'marker-end="url(#head)"/>'
        )

    def line(self, points: list[tuple[float, float]], hue: str, dashed: bool = False) -> None:
        """A curve."""
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        dash = ' stroke-dasharray="6 5"' if dashed else ""
        self.parts.append(
            f'<polyline points="{path}" fill="none" stroke="{hue}" stroke-width="2.2"{dash}/>'
        )

    def svg(self) -> str:
        """The file's content."""
        return "\n".join(
            [
                f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.height}" '
                f'width="{self.width}" height="{self.height}" role="img" '
                'font-family="system-ui, sans-serif">',
                f"<title>{escape(self.title)}</title>",
                '<defs><marker id="head" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" '
                f'markerHeight="7" orient="auto"><path d="M0 0L10 5L0 10z" fill="{INK}"/>'
                "</marker></defs>",
                f'<rect width="{self.width}" height="{self.height}" rx="10" fill="#ffffff"/>',
                *self.parts,
                "</svg>",
                "",
            ]
        )


def _split_low(text: str) -> list[tuple[str, bool]]:
    parts: list[tuple[str, bool]] = []
    while text:
        before, mark, rest = text.partition("_")
        if before:
            parts.append((before, False))
        if not mark:
            break
        if rest.startswith("{"):
            low, _, text = rest[1:].partition("}")
        else:
            low, text = rest[:1], rest[1:]
        parts.append((low, True))
    return parts


def unfolded() -> Drawing:
    """The recurrence as a loop, and unfolded over four frames."""
    drawing = Drawing(860, 330, "A recurrent head, folded and unfolded over time")

    def column(x: float, index: str) -> None:
        drawing.text(x, 292, f"x_{index}", 18)
        drawing.arrow((x, 276), (x, 192))
        drawing.text(x + 20, 234, "U", 16, BLUE)
        drawing.box(x, 165, 62, 50, f"h_{index}", ORANGE)
        drawing.arrow((x, 140), (x, 68))
        drawing.text(x + 20, 104, "V", 16, GREEN)
        drawing.text(x, 48, f"y_{index}", 18)

    column(105, "t")
    drawing.arrow((136, 165), (176, 165), (176, 216), (44, 216), (44, 165), (73, 165))
    drawing.text(60, 200, "W", 16, RED)
    drawing.text(240, 165, "=", 30, DIM)
    drawing.text(300, 165, "h_0 = 0", 15, DIM)
    for place, index in enumerate("1234"):
        x = 390 + 120 * place
        drawing.arrow((x - 89 if place else 334, 165), (x - 32, 165))
        drawing.text(x - 60 if place else 346, 150, "W", 16, RED)
        column(x, index)
    drawing.arrow((781, 165), (822, 165))
    drawing.text(838, 165, "...", 18)
    drawing.text(430, 20, "the same U, W and V at every step", 14, DIM)
    drawing.text(105, 318, "features of a frame", 12, DIM)
    drawing.text(570, 318, "frames in their order", 12, DIM)
    return drawing


def parallel() -> Drawing:
    """What is computed for all steps at once, and what one after the other."""
    drawing = Drawing(860, 300, "What runs in parallel over time, and what cannot")
    rows = [(60, "x_t W_{xh} + b", BLUE), (150, "h_t", ORANGE), (240, "h_t W_{hy} + b_y", GREEN)]
    for y, label, _ in rows:
        drawing.text(24, y, label, 16, INK, "start")
    drawing.box(430, 60, 420, 44, "one matrix product for all T steps", BLUE)
    for step in range(6):
        x = 255 + 70 * step
        drawing.box(x, 150, 44, 40, f"h_{step + 1}", ORANGE)
        drawing.arrow((x, 82), (x, 129))
        drawing.arrow((x, 170), (x, 217))
        if step < 5:
            drawing.arrow((x + 22, 150), (x + 47, 150))
    drawing.box(430, 240, 420, 44, "one matrix product for all T steps", GREEN)
    drawing.text(665, 60, "parallel", 15, BLUE, "start")
    drawing.text(665, 150, "T steps, each waits", 15, ORANGE, "start")
    drawing.text(665, 240, "parallel", 15, GREEN, "start")
    drawing.text(430, 284, "a stream has T = 1: all three are one small step", 13, DIM)
    return drawing


def cells() -> Drawing:
    """RNN, LSTM and GRU beside each other."""
    drawing = Drawing(860, 340, "RNN, LSTM and GRU")
    for left, title in ((0, "RNN"), (286, "LSTM"), (572, "GRU")):
        drawing.text(left + 143, 24, title, 18)
        drawing.parts.append(
            f'<rect x="{left + 16}" y="44" width="254" height="240" rx="10" fill="none" '
            f'stroke="{LINE}" stroke-dasharray="5 5"/>'
        )
        drawing.text(left + 143, 312, "x_t and h_{t-1} enter each box through U and W", 12, DIM)
    drawing.text(40, 164, "h_{t-1}", 14)
    drawing.arrow((62, 164), (108, 164))
    drawing.box(143, 164, 68, 44, "tanh", ORANGE)
    drawing.arrow((178, 164), (232, 164))
    drawing.text(250, 164, "h_t", 14)

    drawing.text(320, 80, "c_{t-1}", 14)
    drawing.arrow((338, 80), (352, 80))
    drawing.circle(366, 80, TIMES, RED)
    drawing.arrow((380, 80), (412, 80))
    drawing.circle(426, 80, "+")
    drawing.arrow((440, 80), (528, 80))
    drawing.text(546, 80, "c_t", 14)
    drawing.box(366, 180, 56, 38, "forget", RED)
    drawing.arrow((366, 160), (366, 94))
    drawing.box(426, 180, 52, 38, "input", BLUE)
    drawing.arrow((426, 160), (426, 136))
    drawing.circle(426, 122, TIMES, BLUE)
    drawing.arrow((426, 108), (426, 94))
    drawing.box(426, 246, 52, 38, "tanh", ORANGE)
    drawing.arrow((453, 246), (464, 246), (464, 122), (440, 122))
    drawing.box(502, 180, 58, 38, "output", GREEN)
    drawing.arrow((502, 160), (502, 138))
    drawing.circle(502, 124, TIMES, GREEN)
    drawing.text(508, 98, "tanh", 11, DIM, "start")
    drawing.arrow((502, 80), (502, 110))
    drawing.arrow((516, 124), (542, 124), (542, 240))
    drawing.text(542, 256, "h_t", 14)

    drawing.text(612, 90, "h_{t-1}", 14)
    drawing.arrow((634, 90), (668, 90))
    drawing.circle(682, 90, TIMES, RED)
    drawing.arrow((696, 90), (736, 90))
    drawing.circle(750, 90, "+")
    drawing.arrow((764, 90), (800, 90))
    drawing.text(818, 90, "h_t", 14)
    drawing.box(682, 160, 66, 38, "update", RED)
    drawing.arrow((682, 140), (682, 104))
    drawing.text(668, 118, "z", 13, DIM, "end")
    drawing.arrow((716, 160), (736, 145))
    drawing.text(724, 172, "1 - z", 12, DIM, "start")
    drawing.circle(750, 136, TIMES, BLUE)
    drawing.arrow((750, 122), (750, 104))
    drawing.box(768, 214, 58, 38, "tanh", ORANGE)
    drawing.arrow((768, 194), (756, 150))
    drawing.box(660, 246, 58, 38, "reset", GREEN)
    drawing.arrow((690, 246), (718, 246), (718, 214), (738, 214))
    drawing.text(700, 262, "how much of h", 11, DIM, "start")
    return drawing


def frozen() -> Drawing:
    """The backbone is passed once, the head in every epoch."""
    drawing = Drawing(860, 250, "A frozen backbone, and a head that is trained")
    drawing.box(80, 110, 110, 70, "frames", GREY)
    drawing.arrow((136, 110), (184, 110))
    drawing.box(270, 110, 170, 90, "", BLUE)
    drawing.text(270, 94, "CNN backbone", 16)
    drawing.text(270, 118, "3.4 million weights", 13, DIM)
    drawing.text(270, 138, "frozen", 14, BLUE)
    drawing.arrow((356, 110), (404, 110))
    drawing.box(480, 110, 150, 70, "", GREY)
    drawing.text(480, 98, "features (T, 1280)", 15)
    drawing.text(480, 122, "stored, 2.5 KB a frame", 12, DIM)
    drawing.arrow((556, 110), (604, 110))
    drawing.box(690, 110, 170, 90, "", ORANGE)
    drawing.text(690, 94, "recurrent head", 16)
    drawing.text(690, 118, "0.5 million weights", 13, DIM)
    drawing.text(690, 138, "trained", 14, ORANGE)
    drawing.arrow((776, 110), (828, 110))
    drawing.text(270, 190, "once for each frame, whatever is trained", 14, DIM)
    drawing.text(690, 190, "in every epoch: seconds", 14, DIM)
    drawing.text(480, 226, "no gradient goes back into the backbone", 13, RED)
    return drawing


# report.json of `actionrnn demo`, key `horizon`: gradient of the answer with respect to the
# frame so many steps before the last, relative to the last one's
HORIZON = {
    "mean-pool": ((1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0), GREY, True),
    "LSTM, trained": ((1.0, 0.93, 1.055, 1.226, 1.394, 1.567, 1.638), BLUE, False),
    "LSTM, untrained": ((1.0, 0.718, 0.374, 0.241, 0.154, 0.102, 0.071), GREEN, True),
    "GRU, untrained": ((1.0, 0.756, 0.442, 0.306, 0.199, 0.119, 0.077), ORANGE, True),
    "RNN, untrained": ((1.0, 0.778, 0.244, 0.074, 0.022, 0.007, 0.002), RED, True),
}


def horizon() -> Drawing:
    """How far back the answer looks."""
    drawing = Drawing(860, 340, "The memory horizon of the demo's heads")
    left, right, top, bottom = 80, 620, 40, 280

    def at(step: int, value: float) -> tuple[float, float]:
        return left + (right - left) * step / 6, bottom - (bottom - top) * value / 1.75

    for value in (0.0, 0.5, 1.0, 1.5):
        drawing.line([at(0, value), at(6, value)], LINE)
        drawing.text(left - 12, at(0, value)[1], f"{value:g}", 13, DIM, "end")
    for step in range(7):
        drawing.text(at(step, 0)[0], bottom + 18, str(step), 13, DIM)
    drawing.text((left + right) / 2, bottom + 42, "steps before the last frame", 14, DIM)
    drawing.text(left, 18, "how much the answer depends on that frame", 14, DIM, "start")
    ends = sorted((values[-1], name) for name, (values, _, _) in HORIZON.items())
    for place, (_, name) in enumerate(ends):
        values, hue, dashed = HORIZON[name]
        drawing.line([at(step, value) for step, value in enumerate(values)], hue, dashed)
        y = at(0, values[-1])[1] if values[-1] >= 1 else 272 - 24 * place
        drawing.text(right + 14, y, name, 14, hue, "start")
    return drawing


FIGURES: dict[str, Callable[[], Drawing]] = {
    "unfolded.svg": unfolded,
    "parallel.svg": parallel,
    "cells.svg": cells,
    "frozen.svg": frozen,
    "horizon.svg": horizon,
}


def main() -> None:
    """Write all figures beside this file."""
    for name, draw in FIGURES.items():
        (Path(__file__).parent / name).write_text(draw().svg(), encoding="utf-8")


if __name__ == "__main__":
    main()
