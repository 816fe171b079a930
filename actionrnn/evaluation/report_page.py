"""A report as one HTML page that needs nothing else: no network, no fonts, no other file."""

from __future__ import annotations

import base64
import hashlib
import io
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from PIL import Image

from actionrnn.config import Sampling
from actionrnn.errors import VideoError
from actionrnn.evaluation import report_plots as plots
from actionrnn.evaluation.bootstrap import Interval
from actionrnn.evaluation.metrics import PERCENTS_OBSERVED
from actionrnn.evaluation.predict import MEAN_POOL, MEAN_POOL_MOTION
from actionrnn.evaluation.report import (
    FEW_UNITS,
    REPORT_FILE,
    ClipResult,
    Report,
    baselines_of,
    interval_note,
    percent,
    searched,
    seeds_text,
    worst_confusions,
)
from actionrnn.evaluation.report_plots import Axis, Series
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
_STYLES = {MEAN_POOL: "mean", "rnn_tanh": "rnn", "rnn_relu": "rnn", "lstm": "lstm", "gru": "gru"}


@dataclass(frozen=True)
class Mistake:
    """A clip that was confidently given a wrong answer."""

    clip: ClipResult
    pictures: list[str] = field(default_factory=list)
    """JPEG data URIs, in the order of time."""
    problem: str = ""
    """Why there are no pictures."""


def write_report(report: Report, folder: Path) -> None:
    """Write `report.json` and `report.html` into a folder; reads the videos of mistakes.

    Raises:
        ActionrnnError: the folder has files of these names that were not written this way.
    """
    page = render_page(report, worst_mistakes(report))
    with replacing(folder / REPORT_FILE):
        report.write(folder / REPORT_FILE)
    with replacing(folder / PAGE_FILE):
        write_text(folder / PAGE_FILE, page)


def render_page(report: Report, mistakes: list[Mistake]) -> str:
    """The whole page. Labels, paths and settings come from strangers: all are escaped.

    It may be mailed: of the data's and the weights' paths it names the last part.
    """
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_without_folders(report),
    )
    environment.filters["percent"] = percent
    script = (_TEMPLATES / "report.js").read_text(encoding="utf-8")
    digest = hashlib.sha256(script.encode()).digest()
    return environment.get_template("report.html").render(
        report=report,
        head=report.head_name,
        mistakes=mistakes,
        warnings=report.warnings,
        baselines_of=baselines_of,
        searched=searched,
        seeds=seeds_text(report) if len(report.seeds) > 1 else "",
        interval_note=interval_note(report),
        tiles=_tiles(report),
        gain_interval=interval_words(report, "gain_over_mean_pool").replace(" %", " points"),
        pairs=worst_confusions(report)[:MOST_PAIRS],
        words={
            "verdict": verdict_words(report),
            "order": order_words(report),
            "early": early_words(report),
            "calibration": calibration_words(report),
            "horizon": horizon_words(report),
        },
        plots=_plots(report),
        config=yaml.safe_dump(report.config, sort_keys=False, allow_unicode=True),
        clips=_clip_rows(report),
        style=Markup((_TEMPLATES / "report.css").read_text(encoding="utf-8")),
        script=Markup(script),
        script_hash=base64.b64encode(digest).decode(),
    )


def _without_folders(report: Report) -> Callable[[Any], Any]:
    """A filter that cuts the folders off paths of data, weights and clips; a home is `~`."""
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
        if not isinstance(value, str) or isinstance(value, Markup):  # Markup is our own
            return value
        return hidden.sub(lambda found: "" if found[1] else "~", value)

    return shown


def _tiles(report: Report) -> list[tuple[str, str, str]]:
    """Name, value and interval of the first numbers that one sees."""
    names = {"top-1": "top1", "top-5": "top5", "mean class accuracy": "mean_class_accuracy"}
    return [
        (title, percent(getattr(report, name)), interval_words(report, name))
        for title, name in names.items()
    ]


def _clip_rows(report: Report) -> list[list[Any]]:
    """What a click on a cell shows: true class, answer, key, score of the answer."""
    place = {label: index for index, label in enumerate(report.labels)}
    return [
        [place[clip.label], place[clip.answer], clip.key, round(clip.score, 3)]
        for clip in report.clips
    ]


def _plots(report: Report) -> dict[str, Markup]:
    found = {
        "baselines": _baseline_plot(report),
        "confusion": plots.confusion_chart(report.confusion, report.labels),
    }
    if report.observed:
        found["observed"] = _observed_plot(report)
    if report.reliability:
        found["reliability"] = plots.reliability_chart(report.reliability)
    if report.horizon:
        found["horizon"] = _horizon_plot(report)
    if report.curves:
        found["training"] = _training_plot(report)
    return found


def _baseline_plot(report: Report) -> Markup:
    rows = [
        (report.head_name, "head", "top1"),
        ("shuffled frames", "shuffled", "baseline_shuffled_frames_top1"),
        (MEAN_POOL, "mean", "baseline_mean_pool_top1"),
        (MEAN_POOL_MOTION, "mean", "baseline_mean_pool_motion_top1"),
    ]
    known = [row for row in rows if getattr(report, row[2]) is not None]
    return plots.interval_chart(
        [
            (title, style, getattr(report, name), report.intervals.get(name))
            for title, style, name in known
        ]
    )


def _style(name: str) -> str:
    if name in (MEAN_POOL, MEAN_POOL_MOTION):
        return "mean"
    return _STYLES.get(name.removeprefix("untrained "), "head") if " " in name else "head"


def _observed_plot(report: Report) -> Markup:
    shares = [value / 100 for value in PERCENTS_OBSERVED]
    lines = [
        Series(name, _style(name), tuple(zip(shares, values, strict=True)))
        for name, values in report.observed.items()
    ]
    x = Axis("part of the video seen", text=plots.percent_text)
    return plots.line_chart(lines, x, Axis("top-1", text=plots.percent_text), fit_y=False)


def _horizon_plot(report: Report) -> Markup:
    lines = [
        Series(name, _style(name), tuple(enumerate(one.curve)), dashed=name.startswith("untrained"))
        for name, one in report.horizon.items()
    ]
    return plots.line_chart(lines, Axis("steps ago"), Axis("influence (newest = 1)", log=True))


def _training_plot(report: Report) -> Markup:
    """The mean over folds and seeds, as far as each epoch was reached by all of them."""
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
                lines.append(Series(f"{kind}, {name}", style, points, losses is validation))
    return plots.line_chart(lines, Axis("epoch"), Axis("loss"))


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


def interval_words(report: Report, name: str) -> str:
    """`78.9 to 93.3 %`; empty without an interval."""
    bounds = report.intervals.get(name)
    return "" if bounds is None else f"{100 * bounds[0]:.1f} to {100 * bounds[1]:.1f} %"


def verdict_words(report: Report) -> str:
    """What the recurrent head brought over a mean over frames."""
    if report.baseline_mean_pool_top1 is None:
        return ""
    head, gain = report.head_name, 100 * (report.top1 - report.baseline_mean_pool_top1)
    if head == "mean":
        return "The head is itself the mean over frames: it cannot see order."
    if gain == 0:
        return f"The {head} is as good as a mean over frames: order brought nothing here."
    better = "better" if gain > 0 else "worse"
    bounds = report.intervals.get("gain_over_mean_pool")
    if bounds is None:
        return f"The {head} is {abs(gain):.1f} points {better} than a mean over frames."
    between = f"95 % interval {100 * bounds[0]:+.1f} to {100 * bounds[1]:+.1f}"
    probably = "probably " if report.num_units < FEW_UNITS else ""
    sure = f"{probably}more than luck" if _excludes_zero(bounds) else "which may be luck"
    than = f"The {head} is {abs(gain):.1f} points {better} than a mean over frames"
    return f"{than} ({between}): {sure}."


def order_words(report: Report) -> str:
    """Whether the head uses the order of the frames."""
    shuffled = report.baseline_shuffled_frames_top1
    if shuffled is None:
        return ""
    lost = 100 * (report.top1 - shuffled)
    if lost < 1:
        return f"It does not need the frames' order: shuffled, it scores {-lost:+.1f} points."
    return f"It uses the frames' order: shuffling the test clips' frames costs {lost:.1f} points."


def early_words(report: Report) -> str:
    """How soon the answer is nearly as good as at the end."""
    values = report.observed.get(report.head_name)
    if not values:
        return ""
    enough = next(
        percent
        for percent, value in zip(PERCENTS_OBSERVED, values, strict=True)
        if value >= 0.9 * values[-1]
    )
    return (
        f"After the first {enough} % of the video the {report.head_name} has reached nine tenths "
        f"of its final accuracy; after the first 10 %, {values[0]:.1%} are right."
    )


def calibration_words(report: Report) -> str:
    """Whether the scores promise too much or too little."""
    if not report.reliability or report.ece is None:
        return ""
    promised = sum(part.num_clips * part.confidence for part in report.reliability)
    promised /= report.num_clips
    side = "too sure of itself" if promised > report.top1 else "less sure than it could be"
    return (
        f"On average an answer has the score {promised:.1%}, and {report.top1:.1%} are right: the "
        f"model is {side}. Expected calibration error: {report.ece:.1%}."
    )


def horizon_words(report: Report) -> str:
    """How far back the answer reaches."""
    one = report.horizon.get(report.head_name)
    if one is None:
        return ""
    rate = report.config.get("sampling", {}).get("rate_fps")
    seconds = f" ({one.half_steps / rate:.1f} s)" if rate else ""
    mean = report.horizon.get(MEAN_POOL)
    beside = "" if mean is None else f"; for a mean over frames it is {mean.half_steps:.1f}"
    return (
        f"Half of all influence on the {report.head_name}'s answer comes from the newest "
        f"{one.half_steps:.1f} of {one.mean_steps:.1f} steps{seconds}{beside}."
    )


def _excludes_zero(bounds: Interval) -> bool:
    return bounds[0] > 0 or bounds[1] < 0
