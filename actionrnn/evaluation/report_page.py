"""A report as one self-contained HTML page: no network, no fonts, no other file."""

from __future__ import annotations

import base64
import io
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import yaml
from markupsafe import Markup
from PIL import Image

from actionrnn.config import Sampling
from actionrnn.errors import VideoError
from actionrnn.evaluation.bout_scores import BOUTS_FILE, write_bouts
from actionrnn.evaluation.metrics import PERCENTS_OBSERVED, percent
from actionrnn.evaluation.page_templates import page_environment
from actionrnn.evaluation.predict import MEAN_POOL, MEAN_POOL_MOTION
from actionrnn.evaluation.recording_bars import RecordingBars
from actionrnn.evaluation.report import REPORT_FILE, ClipResult, Report
from actionrnn.evaluation.report_plots import (
    Axes,
    Axis,
    Bar,
    Line,
    TimeBars,
    class_colours,
    line_axes,
    percent_text,
    time_bars,
)
from actionrnn.evaluation.report_text import (
    baselines_of,
    headline,
    interval_note,
    interval_text,
    searched,
    seeds_text,
    worst_confusions,
)
from actionrnn.evaluation.report_words import (
    calibration_words,
    early_words,
    horizon_words,
    order_words,
    step_words,
    verdict_words,
)
from actionrnn.evaluation.score_table import SCORES_FILE, rows_of_report, write_scores
from actionrnn.evaluation.step_tables import (
    CLASS_COLUMNS,
    EVENT_COLUMNS,
    FRAME_MAP,
    columns_of,
    detection_columns_of,
    event_lines,
    step_interval_note,
    step_sizes,
)
from actionrnn.files import write_text
from actionrnn.results import replacing
from actionrnn.video.decode import read_frames

PAGE_FILE = "report.html"
MOST_PAIRS = 200
MOST_MISTAKES = 12
FRAMES_EACH = 5
HEIGHT_PIXELS = 90
WIDEST_PIXELS = 240
JPEG_QUALITY = 60

_TEMPLATES = Path(__file__).parent / "page"
_UNTRAINED = {"untrained rnn_tanh": "rnn", "untrained lstm": "lstm", "untrained gru": "gru"}
"""Their classes in the style sheet."""


@dataclass(frozen=True)
class Mistake:
    """A clip with a wrong answer of a high score."""

    clip: ClipResult
    pictures: list[str] = field(default_factory=list)
    """JPEG data URIs, in the order of time."""
    problem: str = ""
    """Why there are no pictures."""


def write_report(report: Report, folder: Path) -> None:
    """Write a report into a folder: JSON, page, `scores.csv` and, with steps, `bouts.csv`.

    Reads the videos of mistakes. A `bouts.csv` of an earlier report does not stay beside a report
    without steps.

    Raises:
        ActionrnnError: the folder has files of these names that were not written this way.
    """
    page = render_page(report, worst_mistakes(report))
    with replacing(folder / REPORT_FILE):
        report.write(folder / REPORT_FILE)
    with replacing(folder / PAGE_FILE):
        write_text(folder / PAGE_FILE, page)
    with replacing(folder / SCORES_FILE):
        write_scores(rows_of_report(report), folder / SCORES_FILE)
    bouts = folder / BOUTS_FILE
    if report.steps is None and not bouts.exists():
        return
    with replacing(bouts):
        if report.steps is None:
            bouts.unlink()
        else:
            write_bouts(report.steps.classes, bouts)


def render_page(report: Report, mistakes: list[Mistake]) -> str:
    """The whole page, as HTML.

    Labels, paths and settings come from other people's files, so all are escaped. The page may
    be mailed, so it names only the last part of the data's and the weights' paths.
    """
    environment = page_environment(_TEMPLATES)
    environment.finalize = _without_folders(report)
    environment.filters |= {"percent": percent, "px": "{:.1f}".format}
    return environment.get_template("report.html").render(
        report=report,
        head=report.head_name,
        clip=report.clip_name,
        mistakes=mistakes,
        warnings=report.warnings,
        baselines_of=baselines_of,
        searched=searched,
        seeds=seeds_text(report),
        interval_note=interval_note(report),
        tiles=_tiles(report),
        gain_interval=interval_text(report, "gain_over_mean_pool", "{:.1f} to {:.1f} points"),
        pairs=worst_confusions(report)[:MOST_PAIRS],
        words={
            "verdict": verdict_words(report),
            "order": order_words(report),
            "early": early_words(report),
            "steps": step_words(report),
            "calibration": calibration_words(report),
            "horizon": horizon_words(report),
        },
        bars=_bars(report),
        charts=_charts(report),
        step_columns=None if report.steps is None else columns_of(report.steps),
        detection_columns=None if report.steps is None else detection_columns_of(report.steps),
        class_columns=CLASS_COLUMNS,
        event_columns=EVENT_COLUMNS,
        event_lines=event_lines(report.events, report.no_events),
        step_sizes=step_sizes,
        step_interval_note=step_interval_note,
        colours=_class_colours(report),
        recordings=_recordings(report),
        config=yaml.safe_dump(report.config, sort_keys=False, allow_unicode=True),
        clips=_clip_rows(report),
        style=Markup((_TEMPLATES / "report.css").read_text(encoding="utf-8")),
        script=Markup((_TEMPLATES / "report.js").read_text(encoding="utf-8")),
    )


def _without_folders(report: Report) -> Callable[[Any], Any]:
    """A Jinja filter that cuts the folders off paths of data, weights and clips; `~` is a home."""
    data, backbone = (report.config.get(part, {}) for part in ("data", "backbone"))
    root = data.get("root") or ""
    clips = [*(clip.path for clip in report.clips), *(one.path for one in report.skipped)]
    paths = [root, data.get("features") or "", backbone.get("weights") or ""]
    paths += [path for path in clips if not PurePath(path).is_relative_to(root)]
    folders = {str(PurePath(path).parent) for path in paths if PurePath(path).is_absolute()}
    longest_first = sorted(folders - {os.sep}, key=len, reverse=True)
    before = [re.escape(folder + os.sep) for folder in longest_first]
    home = re.escape(os.path.expanduser("~"))  # noqa: PTH111 without a home it is `~`
    hidden = re.compile(rf"(?<![\w.-])(?:({'|'.join(before) or '(?!)'})|{home}(?![\w.-]))")

    def shown(value: Any) -> Any:
        if not isinstance(value, str) or isinstance(value, Markup):  # Markup is the page's own
            return value
        return hidden.sub(lambda found: "" if found[1] else "~", value)

    return shown


def _tiles(report: Report) -> list[tuple[str, str, str]]:
    """Name, value and interval of the numbers at the top."""
    tiles = [
        (title, percent(getattr(report, name)), interval_text(report, name, "{:.1f} to {:.1f} %"))
        for title, name in headline(report).items()
    ]
    if report.steps is not None and report.steps.multi_label:
        scores = next(iter(report.steps.models.values()))
        interval = FRAME_MAP.interval(scores)
        tile = FRAME_MAP.heading, FRAME_MAP.cell(scores), interval and f"{interval} %"
        tiles.insert(0, tile)
    return tiles


def _clip_rows(report: Report) -> list[list[Any]]:
    """What a click on a cell shows: true class, answer, key, score of the answer."""
    if report.multi_label:  # no cells
        return []
    index_of = {label: index for index, label in enumerate(report.labels)}
    return [
        [index_of[clip.label], index_of[clip.answer], clip.key, round(clip.score, 3)]
        for clip in report.clips
    ]


def _bars(report: Report) -> list[Bar]:
    bars = [
        (report.head_name, "head", "top1"),
        ("shuffled frames", "shuffled", "baseline_shuffled_frames_top1"),
        (MEAN_POOL, "mean", "baseline_mean_pool_top1"),
        (MEAN_POOL_MOTION, "mean", "baseline_mean_pool_motion_top1"),
    ]
    return [
        Bar(title, style, value, report.intervals.get(name))
        for title, style, name in bars
        if (value := getattr(report, name)) is not None
    ]


def _charts(report: Report) -> dict[str, Axes]:
    """The charts for which the report has numbers."""
    charts = {}
    if report.observed:
        shares = [value / 100 for value in PERCENTS_OBSERVED]
        head = report.head_name
        both = head in report.observed_now
        lines = [
            Line(
                f"{name}, so far" if both and name == head else name,
                _style(name),
                tuple(zip(shares, values, strict=True)),
            )
            for name, values in report.observed.items()
        ]
        if both:
            now = tuple(zip(shares, report.observed_now[head], strict=True))
            lines.insert(1, Line(f"{head}, now", _style(head), now, dashed=True))
        x, y = (
            Axis(label, text=percent_text)
            for label in ("part of the video seen", report.accuracy_name)
        )
        charts["observed"] = line_axes(lines, x, y, fit_y=False)
    if report.reliability:
        x, y = (Axis(label, text=percent_text) for label in ("score of the answer", "part right"))
        charts["reliability"] = Axes(x, y)
    if report.horizon:
        lines = [
            Line(name, _style(name), tuple(enumerate(one.curve)), name in _UNTRAINED)
            for name, one in report.horizon.items()
        ]
        y = Axis("influence (newest = 1)", log=True)
        charts["horizon"] = line_axes(lines, Axis("steps ago"), y)
    if report.curves:
        charts["training"] = line_axes(_losses(report), Axis("epoch"), Axis("loss"))
    return charts


def _class_colours(report: Report) -> dict[int, str]:
    if report.steps is None:
        return {}
    return class_colours(report.steps.recordings, report.labels, report.steps.background)


def _recordings(report: Report) -> list[tuple[RecordingBars, TimeBars]]:
    """Those that are drawn, with their bars."""
    colours = _class_colours(report)
    recordings = () if report.steps is None else report.steps.recordings
    return [(one, time_bars(one, report.labels, colours)) for one in recordings]


def _style(name: str) -> str:
    return "mean" if name in (MEAN_POOL, MEAN_POOL_MOTION) else _UNTRAINED.get(name, "head")


def _losses(report: Report) -> list[Line]:
    """The means over folds and seeds, up to the last epoch that all of them reached."""
    lines = []
    for kind in dict.fromkeys(curve.head for curve in report.curves):
        curves = [curve for curve in report.curves if curve.head == kind]
        style = "mean" if kind.startswith("mean") else "head"
        training = [curve.train_loss for curve in curves]
        validation = [curve.validation_loss for curve in curves if curve.validation_loss]
        for name, losses in (("training", training), ("validation", validation)):
            epochs = min(map(len, losses), default=0)
            if epochs:
                means = np.mean([loss[:epochs] for loss in losses], axis=0).tolist()
                points = tuple(enumerate(means, start=1))
                lines.append(Line(f"{kind}, {name}", style, points, losses is validation))
    return lines


def worst_mistakes(report: Report, most: int = MOST_MISTAKES) -> list[Mistake]:
    """The wrong answers with the highest scores, and frames spread evenly over each clip."""
    wrong = [clip for clip in report.clips if clip.answer != clip.label]
    wrong.sort(key=lambda clip: (-clip.score, clip.key))
    rate = report.config.get("sampling", {}).get("frame_folder_fps", Sampling().frame_folder_fps)
    return [_with_pictures(clip, rate) for clip in wrong[:most]]


def _with_pictures(clip: ClipResult, frame_folder_fps: float) -> Mistake:
    sampling = Sampling(
        num_frames=FRAMES_EACH,
        start_seconds=clip.start_seconds,
        end_seconds=clip.end_seconds,
        frame_folder_fps=frame_folder_fps,
    )
    try:
        frames = read_frames(clip.path, sampling, scale=_thumbnail_size)
    except (VideoError, OSError) as error:
        return Mistake(clip, problem=str(error))
    return Mistake(clip, [_jpeg_uri(picture) for picture in frames.data])


def _thumbnail_size(width: int, height: int) -> tuple[int, int]:
    factor = min(HEIGHT_PIXELS / height, WIDEST_PIXELS / width)
    return max(2, round(width * factor)), max(2, round(height * factor))


def _jpeg_uri(picture: Any) -> str:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=JPEG_QUALITY, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
