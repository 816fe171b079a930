"""A picture of one classified clip: its frames, and the scores as they grow."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from actionrnn.files import as_path, atomic_path
from actionrnn.model.recognizer import Timeline
from actionrnn.text import in_utf8
from actionrnn.video.frame import Frames

MOST_COLUMNS = 6
MOST_FRAMES = 12
MOST_CURVES = 4


def draw_contact_sheet(
    frames: Frames, timeline: Timeline, output: str | Path, *, truth: str | None = None
) -> None:
    """Write a PNG: frames with time and best label, and below the score of the top classes.

    Args:
        frames: the frames of the timeline's steps, (T, H, W, 3).
        timeline: the scores (T, K) at the same times.
        truth: the true label, if it is known.
    """
    shown = np.unique(np.linspace(0, len(frames) - 1, min(len(frames), MOST_FRAMES)).round())
    rows = -(-len(shown) // MOST_COLUMNS)
    columns = -(-len(shown) // rows)
    figure = Figure(figsize=(12, 2 * rows + 3), layout="constrained")
    figure.suptitle(_title(timeline, truth), fontsize=13, parse_math=False)
    grid = figure.add_gridspec(rows + 1, columns, height_ratios=[*[1.0] * rows, 1.5])
    for place, step in enumerate(shown.astype(int)):
        axes = figure.add_subplot(grid[divmod(place, columns)])
        axes.imshow(frames.data[step])
        axes.set_axis_off()
        best = timeline.scores[step].argmax()
        label = f"{timeline.labels[best]} {timeline.scores[step, best]:.0%}"
        title = f"{timeline.pts_seconds[step]:.2f} s   {label}"
        axes.set_title(title, fontsize=9, parse_math=False)
    curves = figure.add_subplot(grid[rows, :])
    order = np.argsort(-timeline.scores.max(axis=0), kind="stable")[:MOST_CURVES]
    lines = [curves.plot(timeline.pts_seconds, timeline.scores[:, i], "o-", ms=3)[0] for i in order]
    curves.set(xlabel="seconds", ylabel="score so far", ylim=(0, 1.02))
    curves.grid(alpha=0.3)
    names = [timeline.labels[index] for index in order]
    legend = curves.legend(
        lines, names, loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False
    )
    for text in legend.get_texts():
        text.set_parse_math(False)
    FigureCanvasAgg(figure)
    with atomic_path(as_path(output)) as temporary:
        figure.savefig(temporary, format="png", dpi=100)


def _title(timeline: Timeline, truth: str | None) -> str:
    answer = timeline.prediction()
    title = f"{in_utf8(Path(timeline.path).name)}: {answer.label} ({answer.scores[0]:.1%})"
    return title if truth is None else f"{title}, truth: {truth}"
