"""A picture of one classified clip: its frames, and the scores as they grow."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from actionrnn.config import Sampling
from actionrnn.files import as_path, atomic_path
from actionrnn.model.segments import labels_on
from actionrnn.model.timeline import Timeline
from actionrnn.text import in_utf8
from actionrnn.video.decode import visit_frames
from actionrnn.video.request import FrameRequest
from actionrnn.video.source import Located

MAX_COLUMNS = 6
MAX_FRAMES = 12
MAX_CURVES = 4
FRAME_PIXELS = 480  # of the longer side of a frame; the sheet shows less

Pixels = NDArray[np.uint8]


def write_contact_sheet(
    timeline: Timeline,
    sampling: Sampling,
    output: str | Path,
    *,
    video: Located | None = None,
    truth: str | None = None,
) -> None:
    """Write a PNG: frames with time and best label, and below the score of the top classes.

    Args:
        timeline: the scores (T, K) of a video; the frames that are shown are read again.
        sampling: the one that chose the steps.
        video: the video; None: the file `timeline.path`.
        truth: the true label, if it is known.

    Raises:
        VideoError: the video cannot be used any more.
    """
    shown = _ShownFrames()
    request = FrameRequest(sampling, shown, scale=_small, pick=shown.pick)
    visit_frames(video or timeline.path, request)
    figure = _draw(shown.rgb, timeline, _title(timeline, truth))
    with atomic_path(as_path(output)) as temporary:
        figure.savefig(temporary, format="png", dpi=100)


def _draw(frames: dict[int, Pixels], timeline: Timeline, title: str) -> Figure:
    """The frames (H, W, 3) of some steps above the curves."""
    rows = -(-len(frames) // MAX_COLUMNS)
    columns = -(-len(frames) // rows)
    figure = Figure(figsize=(12, 2 * rows + 3), layout="constrained")
    figure.suptitle(title, fontsize=13, parse_math=False)
    grid = figure.add_gridspec(rows + 1, columns, height_ratios=[*[1.0] * rows, 1.5])
    for cell, (step, rgb) in enumerate(sorted(frames.items())):
        axes = figure.add_subplot(grid[divmod(cell, columns)])
        axes.imshow(rgb)
        axes.set_axis_off()
        title = f"{timeline.pts_seconds[step]:.2f} s   {_labels_at(timeline, step)}"
        axes.set_title(title, fontsize=9, parse_math=False)
    curves = figure.add_subplot(grid[rows, :])
    scores = timeline.so_far
    order = np.argsort(-scores.max(axis=0), kind="stable")[:MAX_CURVES]
    lines = [curves.plot(timeline.pts_seconds, scores[:, i], "o-", ms=3)[0] for i in order]
    curves.set(xlabel="seconds", ylabel="score so far", ylim=(0, 1.02))
    curves.grid(alpha=0.3)
    names = [timeline.labels[index] for index in order]
    legend = curves.legend(
        lines, names, loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False
    )
    for text in legend.get_texts():
        text.set_parse_math(False)
    FigureCanvasAgg(figure)
    return figure


def _labels_at(timeline: Timeline, step: int) -> str:
    """The best label of a step with its score; of a multi-label model all that are on."""
    scores = timeline.scores[step]
    if not timeline.multi_label:
        return f"{timeline.labels[scores.argmax()]} {scores.max():.0%}"
    rows = labels_on(timeline.labels, scores)
    return "\n".join(f"{label} {score:.0%}" for label, score in rows) or "none"


class _ShownFrames:
    """Picks a few frames, the first and the last among them, and keeps them."""

    def pick(self, num_steps: int) -> list[int]:
        """The steps of these frames."""
        steps = np.linspace(0, num_steps - 1, min(num_steps, MAX_FRAMES)).round().astype(int)
        self._steps = [int(step) for step in np.unique(steps)]
        return self._steps

    def begin(self, pts_seconds: NDArray[np.float64]) -> None:
        self.rgb: dict[int, Pixels] = {}

    def add(self, steps: slice, pixels: Pixels) -> None:
        for step in self._steps[steps]:
            self.rgb[step] = pixels.copy()


def _small(width: int, height: int) -> tuple[int, int]:
    factor = min(1.0, FRAME_PIXELS / max(width, height))
    return max(1, round(width * factor)), max(1, round(height * factor))


def _title(timeline: Timeline, truth: str | None) -> str:
    answer = timeline.prediction()
    rows = [(answer.label, answer.scores[0])]
    if timeline.multi_label:
        rows = labels_on(timeline.labels, timeline.so_far[-1])
    named = ", ".join(f"{label} ({score:.1%})" for label, score in rows) or "none"
    title = f"{in_utf8(Path(timeline.path).name)}: {named}"
    return title if truth is None else f"{title}, truth: {truth}"
