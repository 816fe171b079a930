"""Two actions of one figure at once: per-frame mAP of a multi-label head, beside mean-pool.

    python benchmarks/multi_label.py --json multi.json

A rendered figure walks towards the camera and away from it, and raises its arms and lowers them;
both are drawn for themselves, so that they overlap, meet and pause as chance has it. Two labels:
`Walk`, either way, and `RaiseArms`, which the lowering is not. Four labels: `Approach`, `WalkAway`,
`RaiseArms`, `LowerArms`. A group is one figure in one place; whole groups are held out. A picture
alone cannot tell an action from its reverse, nor from a pause: that takes a state. The rivals are
heads without one, trained alike: mean-pool of a single frame, and of a window that slides over the
last steps.

mAP is the mean over labels of the average precision of the scores of now, over all steps of the
held-out recordings (`actionrnn/evaluation/step_scores.py`).
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import numpy as np

from actionrnn.config import Config, HeadConfig
from actionrnn.config_reading import parse_config
from actionrnn.datasets.rendered import (
    HEIGHT,
    OVERSAMPLING,
    PAIRS,
    RATE_FPS,
    WIDTH,
    Pose,
    draw_figure,
    make_group,
)
from actionrnn.datasets.sequences import Sequences
from actionrnn.datasets.splits import Fold, make_folds, open_dataset
from actionrnn.datasets.stored import load_features
from actionrnn.evaluation.predict import predict_steps
from actionrnn.evaluation.step_predictions import StepPredictions
from actionrnn.evaluation.step_scores import step_report
from actionrnn.evaluation.window_baselines import sliding_mean_pool
from actionrnn.features.backbone import load_backbone
from actionrnn.files import atomic_path
from actionrnn.model.heads import Head
from actionrnn.progress import progress_bar
from actionrnn.training.fit import fit_head
from actionrnn.training.fit_state import FitTask
from actionrnn.video.writer import VideoWriter

WALK, ARMS = ("Approach", "WalkAway"), ("RaiseArms", "LowerArms")
LABELS = {
    "two": {"Approach": "Walk", "WalkAway": "Walk", "RaiseArms": "RaiseArms"},
    "four": {label: label for label in (*WALK, *ARMS)},
}
"""What each move is called; a move without a name is no action."""
SETTINGS = ("backbone.modality=both", "train.batch_size=8", "train.now_weight=1")
"""Beside the defaults: motion decides, the steps alone are scored, and 48 recordings of a window
each are two batches of 32 an epoch: too few steps of the optimiser."""
Move = tuple[str, float, float]
"""Label, begin and end in seconds."""


def main() -> None:
    """Render, extract, train for each seed, print and write."""
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("--groups", type=int, default=64)
    options.add_argument("--seconds", type=float, default=24.0, help="of each recording")
    options.add_argument("--seeds", type=int, default=3)
    options.add_argument("--folder", type=Path, help="keeps recordings and features")
    options.add_argument("--json", type=Path)
    options.add_argument("overrides", nargs="*", metavar="section.key=value")
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.folder or Path(temporary)
        render_world(folder, given.groups, given.seconds)
        rows = [row for labels in LABELS for row in run(folder, labels, given)]
    print_rows(rows)
    if given.json is not None:
        with atomic_path(given.json) as file:
            file.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


def run(folder: Path, labels: str, given: argparse.Namespace) -> list[dict[str, Any]]:
    """The scores of each model and seed, with two or four labels."""
    data = {
        "layout": "annotations",
        "root": str(folder / f"{labels}.csv"),
        "unlabelled": "background",
        "features": str(folder / "features"),
    }
    config = parse_config(
        {"data": data, "head": {"multi_label": True}}, [*SETTINGS, *given.overrides]
    )
    dataset = open_dataset(config.data, multi_label=True)
    dataset, sequences, _ = load_features(dataset, load_backbone(config.backbone), config, folder)
    folds = make_folds(dataset, config.data)
    rows = []
    for seed in range(given.seeds):
        recordings = [one for fold in folds for one in answers(config, sequences, fold, seed)]
        found = step_report(dataset.labels, recordings)
        head, aps = next(iter(found.models)), {one.label: one.frame_ap for one in found.classes}
        for name, scores in found.models.items():
            rows.append(
                {
                    "labels": labels,
                    "seed": seed,
                    "model": name,
                    "frame_map": scores.frame_map,
                    "exact_match": scores.accuracy,
                    "f1_at_50": scores.f1_at_50,
                    "frame_aps": aps if name == head else None,
                    "steps": found.num_steps,
                    "recordings": found.num_recordings,
                }
            )
    return rows


def answers(config: Config, sequences: Sequences, fold: Fold, seed: int) -> list[StepPredictions]:
    """What the head and the heads without a state answer at the steps of held-out recordings."""
    test, window = sequences.side(fold.test), int(np.median(sequences.subset(fold.train).lengths))
    # the frame's own features alone: what shows its change has seen the frame before
    num_features = sequences.feature_size // (2 if config.backbone.modality == "both" else 1)
    mean = HeadConfig(kind="mean", dropout=config.head.dropout, multi_label=True)
    head = trained(config, config.head, sequences.side(fold.train), seed)
    frames = trained(config, mean, sequences.first_features(num_features).side(fold.train), seed)
    moving = trained(config, mean, sequences.side(fold.train), seed)
    found = []
    for one in predict_steps(test, {"head": head}, window):
        indices = test.recordings[one.name]
        values = np.concatenate([test.values[index] for index in indices])
        first = values[:, :num_features]
        scores = {
            f"{config.head.kind}, one state": one.scores["head"],
            "mean-pool, one frame": sliding_mean_pool(frames, first, 1),
            f"mean-pool, {window} frames": sliding_mean_pool(frames, first, window),
            "mean-pool + motion, one step": sliding_mean_pool(moving, values, 1),
            f"mean-pool + motion, {window} steps": sliding_mean_pool(moving, values, window),
        }
        found.append(replace(one, scores=scores, delay_steps={}))
    return found


def trained(config: Config, head: HeadConfig, sequences: Sequences, seed: int) -> Head:
    """A head after all epochs, for the answers at single steps if it has no state."""
    train = replace(config.train, seed=seed)
    if head.kind == "mean":
        train = replace(train, now_weight=1.0)
    num_classes = sequences.sets(0).shape[1]
    with progress_bar(f"training {head.kind}, seed {seed}", train.epochs) as advance:
        task = FitTask(sequences, num_classes, head, train)
        return fit_head(task, on_epoch=lambda _: advance()).head


def render_world(folder: Path, num_groups: int, seconds: float) -> None:
    """A recording of each group, and CSVs of what happens when; a recording that exists is kept."""
    moves_of = {}
    with progress_bar("rendering", num_groups) as advance:
        for group in range(num_groups):
            rng = np.random.default_rng([7, group])
            walk, arms = (list(draw_moves(pair, seconds, rng)) for pair in (WALK, ARMS))
            video = folder / f"group{group:02}.mp4"
            if not video.exists():
                write_recording(video, walk, arms, seconds, rng)
            moves_of[video.name] = [*walk, *arms]
            advance()
    for name, names in LABELS.items():
        rows = [
            [video, f"{begin:.3f}", f"{end:.3f}", names[label]]
            for video, moves in moves_of.items()
            for label, begin, end in moves
            if label in names
        ]
        with (
            atomic_path(folder / f"{name}.csv") as temporary,
            temporary.open("w", newline="", encoding="utf-8") as file,
        ):
            csv.writer(file).writerows([["path", "start", "end", "label"], *rows])


def draw_moves(pair: tuple[str, str], seconds: float, rng: np.random.Generator) -> Iterator[Move]:
    """There and back in turn, each in 1.5 to 3 s, with pauses of up to 3 s."""
    begin, turn = float(rng.uniform(0, 3)), 0
    while True:
        end = begin + rng.uniform(1.5, 3)
        if end > seconds - 0.5:
            return
        yield pair[turn % 2], begin, end
        begin, turn = end + max(0.0, rng.uniform(-0.5, 3)), turn + 1


def progress_at(moves: Sequence[Move], pair: tuple[str, str], time: float) -> float:
    """How far the first action of a pair is done, 0 to 1."""
    done = 0.0
    for label, begin, end in moves:
        part = float(np.clip((time - begin) / (end - begin), 0, 1))
        smooth = part * part * (3 - 2 * part)
        if part > 0:
            done = smooth if label == pair[0] else 1 - smooth
    return done


def write_recording(
    path: Path,
    walk: Sequence[Move],
    arms: Sequence[Move],
    seconds: float,
    rng: np.random.Generator,
) -> None:
    """Render and encode one figure in one place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure, place = make_group(rng)
    ground_x, mirror = rng.uniform(0.42, 0.58) * WIDTH, bool(rng.random() < 0.5)
    assert place.size == (WIDTH * OVERSAMPLING, HEIGHT * OVERSAMPLING)
    with (
        atomic_path(path) as temporary,
        VideoWriter(
            temporary,
            time_base=Fraction(1, RATE_FPS),
            rate_fps=Fraction(RATE_FPS),
            container="mp4",
        ) as writer,
    ):
        for number in range(round(seconds * RATE_FPS)):
            time = number / RATE_FPS
            picture = place.copy()
            draw_figure(picture, figure, pose_at(walk, arms, time), ground_x, mirror)
            writer.write(np.asarray(picture.reduce(OVERSAMPLING)), number)


def pose_at(walk: Sequence[Move], arms: Sequence[Move], time: float) -> Pose:
    """Legs and distance of the walk, the arms of the other."""
    walking = PAIRS[WALK](progress_at(walk, WALK, time))
    return replace(walking, arms=PAIRS[ARMS](progress_at(arms, ARMS, time)).arms)


def print_rows(rows: Sequence[dict[str, Any]]) -> None:
    """Mean and spread over the seeds of each model."""
    first = rows[0]
    print(f"{first['recordings']} held-out recordings, {first['steps']} steps")
    for labels, model in dict.fromkeys((row["labels"], row["model"]) for row in rows):
        of_model = [row for row in rows if (row["labels"], row["model"]) == (labels, model)]
        maps = [100 * row["frame_map"] for row in of_model]
        exact = np.mean([100 * row["exact_match"] for row in of_model])
        f1 = np.mean([100 * row["f1_at_50"] for row in of_model])
        each = ", ".join(f"{value:.1f}" for value in maps)
        scores = f"mAP {np.mean(maps):5.1f} ({each}), exact {exact:.1f}, F1@50 {f1:.1f}"
        print(f"{labels:5} {model:36} {scores}")


if __name__ == "__main__":
    main()
