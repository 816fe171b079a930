"""Clips joined to one recording whose truth is known: how well one kept state follows it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from actionrnn.datasets.recordings import Clip
from actionrnn.evaluation.step_predictions import StepPredictions
from actionrnn.evaluation.step_scores import StepResults, step_report
from actionrnn.evaluation.window_baselines import restarted_per_window
from actionrnn.features.extract import extract_features
from actionrnn.files import atomic_path
from actionrnn.model.heads import Head
from actionrnn.model.recognizer import Recognizer
from actionrnn.model.segments import step_ends
from actionrnn.video.decode import read_frames
from actionrnn.video.writer import VideoWriter

KEPT = "one state, kept"
MILLISECONDS = Fraction(1, 1000)

Bar = list[tuple[str, float, float]]
"""Label, start and end in seconds."""


@dataclass(frozen=True)
class JoinedRecording:
    """A video of clips, one after another."""

    path: Path
    truth: Bar
    """The clips: of what label, from when to when."""

    @property
    def seconds(self) -> float:
        """How long it is."""
        return self.truth[-1][2]


def join_clips(
    clips: Sequence[Clip], path: Path, *, seconds: float, rate_fps: int, seed: int = 0
) -> JoinedRecording:
    """Write one video of clips in random order, as many as it takes to last so long.

    Args:
        path: an .mp4 file, which is replaced.
        rate_fps: of the clips.

    Raises:
        VideoError: a clip cannot be used.
    """
    order = np.random.default_rng(seed).permutation(len(clips))
    truth: Bar = []
    with (
        atomic_path(path) as temporary,
        VideoWriter(
            temporary, time_base=MILLISECONDS, rate_fps=Fraction(rate_fps), container="mp4"
        ) as writer,
    ):
        num_frames = 0
        for index in order:
            begin = num_frames
            for rgb in read_frames(clips[index].path).data:
                writer.write(rgb, _tick(num_frames, rate_fps))
                num_frames += 1
            bounds = (_tick(count, rate_fps) / 1000 for count in (begin, num_frames))
            truth.append((clips[index].label, *bounds))
            if num_frames >= seconds * rate_fps:
                break
    return JoinedRecording(path, truth)


def _tick(num_frames: int, rate_fps: int) -> int:
    """When a frame is shown, in whole milliseconds."""
    return round(1000 * num_frames / rate_fps)


def follow(model: Recognizer, recording: JoinedRecording, window: int) -> StepPredictions:
    """The answers at each step, of one kept state and of a window that slides over the steps.

    Args:
        model: one that samples at a rate.
        window: in steps.

    Raises:
        VideoError: the recording cannot be used.
    """
    rate_fps = model.config.sampling.rate_fps
    features = extract_features(recording.path, backbone=model.backbone, rate_fps=rate_fps)
    starts = np.array([start for _, start, _ in recording.truth])
    clip_of = np.searchsorted(starts, features.pts_seconds + 1e-6, side="right") - 1
    classes = np.array([model.labels.index(label) for label, *_ in recording.truth])
    timeline = model.score(features)
    return StepPredictions(
        name=recording.path.name,
        group=recording.path.name,
        pts_seconds=features.pts_seconds,
        targets=classes[clip_of],
        scores={
            KEPT: timeline.scores,
            window_name(window): restarted_per_window(Head.of(model.head), features.values, window),
        },
        delay_steps={KEPT: model.head.delay_steps},
    )


def window_name(window: int) -> str:
    """What a table calls the rival."""
    return f"sliding window of {window} steps"


def write_bars(path: Path, labels: Sequence[str], predictions: StepPredictions) -> StepResults:
    """Draw truth and prediction over time as a PNG; returns the scores."""
    results = step_report(labels, [predictions])
    [bars] = results.recordings
    figure = Figure(figsize=(12, 3.2), layout="constrained")
    axes: Axes = figure.add_subplot()
    colours = [f"C{index}" for index in range(len(labels))]
    rows = {"truth": bars.truth, KEPT: bars.prediction}
    for row, runs in enumerate(rows.values()):
        for label, start, end in runs:
            axes.broken_barh([(start, end - start)], (-row - 0.4, 0.8), color=colours[label])
    wrong = wrong_stretches(predictions)
    axes.broken_barh(wrong, (-len(rows) + 0.35, 0.25), color="black")
    axes.set_yticks([0, -1, -1.5], [*rows, "steps wrong"])
    axes.set(xlim=(0, bars.end_seconds), ylim=(-1.75, 0.5), xlabel="seconds")
    score = results.models[KEPT]
    axes.set_title(
        f"{predictions.name}: {score.accuracy:.1%} of the steps right, F1@50 {score.f1_at_50:.1%}",
        parse_math=False,
    )
    patches = [Patch(color=colour) for colour in colours]
    legend = figure.legend(patches, labels, loc="outside right center", frameon=False)
    for text in legend.get_texts():
        text.set_parse_math(False)
    FigureCanvasAgg(figure)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=100)
    return results


def wrong_stretches(predictions: StepPredictions) -> list[tuple[float, float]]:
    """Start and length, in seconds, of each step whose answer of now is wrong."""
    answers: NDArray[np.int64] = predictions.scores[KEPT].argmax(axis=1)
    ends = step_ends(predictions.pts_seconds)
    return [
        (float(predictions.pts_seconds[step]), float(ends[step] - predictions.pts_seconds[step]))
        for step in np.flatnonzero(answers != predictions.targets)
    ]
