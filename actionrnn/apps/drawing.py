"""Scores drawn onto a frame: a dark panel with the best labels, readable at any size."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

_SMALLEST_LETTER_PIXELS = 11
_PANEL = (0, 0, 0, 165)
_TEXT = (255, 255, 255, 255)
_BEST = (255, 196, 61, 255)
_BAR = (120, 170, 255, 255)
_TRACK = (255, 255, 255, 60)


@dataclass(frozen=True)
class Panel:
    """A picture with transparency, and where it lies on the frame."""

    pixels: NDArray[np.uint8]
    """(h, w, 4)."""
    top: int
    left: int


def make_panel(
    rows: Sequence[tuple[str, float]],
    width: int,
    height: int,
    note: str = "",
    *,
    num_on: int | None = None,
) -> Panel:
    """The panel for frames of this size; draw it on all frames until the scores change.

    Args:
        rows: label and score, best first; as many as there is room for are shown, at most 3.
        note: a line in small letters below them.
        num_on: of a multi-label model, the first rows that are on: all of them are shown and
            stand out; those that no frame of this height has room for are counted in the note.
            None: the first row alone stands out.
    """
    letter = max(_SMALLEST_LETTER_PIXELS, round(min(height * 0.042, width * 0.04)))
    font, small = _font(letter), _font(max(9, round(0.75 * letter)))
    line, edge = round(1.5 * letter), round(0.6 * letter)
    most = max(1, min(3, round(0.32 * height) // line))
    standing_out = 1 if num_on is None else num_on
    if standing_out > most:
        room = max(1, (height - edge) // line - 1)  # and a line for the note
        most = min(standing_out, room)
        if most < standing_out:
            more = f"and {standing_out - most} more"
            note = f"{more}, {note}" if note else more
    rows = list(rows)[:most]
    wide = min(width - 2 * edge, 22 * letter)
    lines = len(rows) * line + (line if note else 0)
    image = Image.new("RGBA", (max(8, wide), lines + edge), (0, 0, 0, 0))
    draw = ImageDraw.Draw(image)
    draw.rounded_rectangle((0, 0, image.width - 1, image.height - 1), edge, fill=_PANEL)
    percent_wide = round(draw.textlength("100%", font=font))
    bar_wide = 0 if wide < 16 * letter else 6 * letter
    for number, (label, score) in enumerate(rows):
        stands_out = number < standing_out
        top, ink = edge // 2 + number * line, _BEST if stands_out else _TEXT
        right = wide - edge
        draw.text((right, top + line / 2), f"{score:.0%}", fill=ink, font=font, anchor="rm")
        right -= percent_wide + edge
        if bar_wide:
            track = (right - bar_wide, top + 0.35 * line, right, top + 0.65 * line)
            draw.rectangle(track, fill=_TRACK)
            filled = (track[0], track[1], track[0] + score * bar_wide, track[3])
            draw.rectangle(filled, fill=_BEST if stands_out else _BAR)
            right -= bar_wide + edge
        text = _shortened(draw, label, font, right - edge)
        draw.text((edge, top + line / 2), text, fill=ink, font=font, anchor="lm")
    if note:
        text = _shortened(draw, note, small, wide - 2 * edge)
        draw.text((edge, lines - line / 2 + edge / 2), text, fill=_TEXT, font=small, anchor="lm")
    pixels: NDArray[np.uint8] = np.asarray(image)[: max(0, height - edge), :width]
    top = max(0, height - edge - len(pixels))
    return Panel(pixels, top, min(edge, max(0, width - pixels.shape[1])))


def draw_panel(frame: NDArray[np.uint8], panel: Panel) -> NDArray[np.uint8]:
    """A copy of a frame (H, W, 3) with the panel on it."""
    drawn: NDArray[np.uint8] = frame.copy()
    high, wide = panel.pixels.shape[:2]
    part = drawn[panel.top : panel.top + high, panel.left : panel.left + wide]
    cut = panel.pixels[: part.shape[0], : part.shape[1]].astype(np.uint16)
    alpha = cut[..., 3:]
    part[:] = ((255 - alpha) * part + alpha * cut[..., :3]) // 255
    return drawn


def _shortened(
    draw: ImageDraw.ImageDraw, text: str, font: ImageFont.FreeTypeFont, width: float
) -> str:
    if draw.textlength(text, font=font) <= width:
        return text
    while text and draw.textlength(text + "…", font=font) > width:
        text = text[:-1]
    return text + "…"


@functools.cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which comes with matplotlib and knows most alphabets."""
    import matplotlib

    path = Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")
    return ImageFont.truetype(str(path), size)
