"""The demo on the built-in data set: render, extract, train, evaluate, classify."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

from actionrnn.apps.contact_sheet import write_contact_sheet
from actionrnn.apps.joined_recording import follow, join_clips, write_bars
from actionrnn.config_reading import load_config
from actionrnn.datasets.rendered import (
    CLIPS_PER_GROUP,
    NUM_GROUPS,
    PAIRS,
    RATE_FPS,
    render_dataset,
)
from actionrnn.evaluation.metrics import percent
from actionrnn.evaluation.report import Report
from actionrnn.evaluation.report_page import PAGE_FILE
from actionrnn.files import MODEL_FILE, as_path
from actionrnn.results import replacing, results_folder
from actionrnn.training.train import OUTPUTS, TrainingRun, train

SHEET_FILE = "contact_sheet.png"
RECORDING_FILE = "recording.mp4"
BARS_FILE = "recording.png"
RECORDING_SECONDS = 120


def run_demo(output: str | Path, *, seed: int = 0) -> TrainingRun:
    """Do everything once, with its files below `output`, and explain it on the terminal.

    Args:
        output: gets `data/`, `features/`, `model.safetensors`, `report.json`,
            `report.html`, `contact_sheet.png`, `recording.mp4` and `recording.png`.
        seed: of the rendering and the training; the held-out groups are always the same.
    """
    output, console, start = as_path(output), Console(), time.perf_counter()
    videos = output / "data"
    config = load_config("demo", [f"train.seed={seed}"])
    data = replace(config.data, root=str(videos), features=str(output / "features"))
    config = replace(config, data=data)
    pairs = ", ".join(f"{a}/{b}" for a, b in PAIRS)
    console.print(
        f"1. Rendering {2 * len(PAIRS) * NUM_GROUPS * CLIPS_PER_GROUP} clips of "
        f"{NUM_GROUPS} figures. The classes come in time-reversed pairs ({pairs}): "
        "a pair has the same frames and differs only in their order.",
        highlight=False,
    )
    with results_folder(output, (*OUTPUTS, SHEET_FILE, RECORDING_FILE, BARS_FILE)):
        render_dataset(videos, seed=seed)
    console.print(
        f"2. Encoding frames with {config.backbone.name}, frozen, trained on ImageNet "
        f"({config.sampling}); then training the {config.head.kind} and, for comparison, the "
        "mean-pool baseline, which ignores their order. Both are tested on held-out figures.",
        highlight=False,
    )
    run = train(config, output)
    console.print(_scores(run.report))
    clip = run.folds[0].test[0]
    timeline, truth = run.model.timeline(clip.path), clip.label  # read from its file again
    console.print(
        f"3. Classifying one held-out clip ({truth}):\n{timeline.prediction().top(3)}",
        markup=False,
        highlight=False,
    )
    sheet = output / SHEET_FILE
    with replacing(sheet):
        write_contact_sheet(timeline, config.sampling, sheet, truth=truth)
    _follow_recording(run, console)
    console.print(
        f"\nmodel   {output / MODEL_FILE}\nreport  {output / PAGE_FILE}\nsheet   {sheet}\n"
        f"bars    {output / BARS_FILE}\n"
        f"{time.perf_counter() - start:.0f} s in all. Next:\n"
        f"  actionrnn classify VIDEO --model {output / MODEL_FILE}\n"
        f"  actionrnn timeline {output / RECORDING_FILE} --model {output / MODEL_FILE}\n"
        f"  actionrnn info {output / MODEL_FILE}",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )
    return run


def _follow_recording(run: TrainingRun, console: Console) -> None:
    """Join held-out clips to one recording; print and draw how one kept state follows it."""
    clips, video = run.folds[0].test, run.output / RECORDING_FILE
    with replacing(video):
        recording = join_clips(clips, video, seconds=RECORDING_SECONDS, rate_fps=RATE_FPS)
    console.print(
        f"\n4. {len(recording.truth)} held-out clips joined to one recording of "
        f"{recording.seconds:.0f} s, {video}. The model answers at each step what happens now, "
        "with one state, kept from the first frame to the last; a sliding window encodes and runs "
        "all of its frames anew for each answer.",
        markup=False,
        highlight=False,
    )
    rate_fps = run.model.config.sampling.rate_fps
    assert rate_fps is not None
    window = round(rate_fps * recording.seconds / len(recording.truth))  # a mean clip
    answers = follow(run.model, recording, window)
    with replacing(run.output / BARS_FILE):
        results = write_bars(run.output / BARS_FILE, run.model.labels, answers)
    table = Table()
    table.add_column("")
    for heading in ("steps right", "F1@50", "frames per answer"):
        table.add_column(heading, justify="right")
    for (name, scores), cost in zip(results.models.items(), (1, window), strict=True):
        table.add_row(name, percent(scores.accuracy), percent(scores.f1_at_50), str(cost))
    console.print(table)


def _scores(report: Report) -> Table:
    table = Table(title=f"{report.num_clips} clips of held-out figures", title_justify="left")
    table.add_column("head")
    table.add_column("top-1", justify="right")
    table.add_column("input")
    assert report.baseline_mean_pool_top1 is not None
    table.add_row(report.config["head"]["kind"], f"{report.top1:.1%}", "frames in order")
    table.add_row("mean-pool", f"{report.baseline_mean_pool_top1:.1%}", "the mean of the frames")
    return table
