"""What events find at a rate of false alarms an hour, by thresholds chosen on other people.

    python benchmarks/events.py --weizmann WEIZMANN --json events.json

Of the ten classes three are drawn to be 'something else': their clips are annotated as background.
Heads are trained with three people left out at a time and answer in recordings of these people, all
clips of each joined in random orders again and again. Thresholds are chosen as
`train.event_thresholds` does: for the people of each head on the recordings of the others. What is
right, and what a false alarm, is said in `actionrnn/evaluation/event_scores.py`. The default
thresholds stand beside them, by which nobody chose anything.

Each draw of classes has a head for each three people and one seed. The clips are few (90, less than
four minutes): joined, they are seen again and again, so that one that is mistaken is a false alarm
each time, and hours say less here than people do, whom the intervals draw.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import numpy as np
import torch
from long_recordings import Experiment, prepare, task_of

from actionrnn.config_reading import load_config
from actionrnn.datasets.recordings import BACKGROUND
from actionrnn.datasets.splits import Fold
from actionrnn.evaluation.event_scores import EventScores, count_events, event_scores
from actionrnn.evaluation.step_predictions import StepPredictions
from actionrnn.model.heads import read_out
from actionrnn.options import EventRule
from actionrnn.progress import progress_bar
from actionrnn.training.event_rules import choose_and_test
from actionrnn.training.fit import fit_head

NUM_ELSE = 3
PEOPLE_OUT = 3
CHOSEN, DEFAULT = "chosen", "default"


def answers(experiment: Experiment, seed: int) -> tuple[list[str], list[list[StepPredictions]]]:
    """The classes of a draw, the last of which is the background, and each fold's recordings."""
    names = experiment.dataset.labels
    drawn = np.random.default_rng(seed).choice(len(names), NUM_ELSE, replace=False).tolist()
    known = [which for which in range(len(names)) if which not in drawn]
    new = np.full(len(names), len(known))
    new[known] = np.arange(len(known))
    sequences = replace(experiment.sequences, targets=new[experiment.sequences.targets])
    folds = []
    for start in range(0, len(experiment.folds), PEOPLE_OUT):
        people = experiment.folds[start : start + PEOPLE_OUT]
        test = tuple(clip for one in people for clip in one.test)
        train = tuple(clip for clip in sequences.clips if clip not in test)
        fold = Fold(", ".join(one.name for one in people), train, test)
        task = task_of(sequences, fold, len(known) + 1, experiment.config, seed)
        head = fit_head(task).head
        folds.append([])
        for one in people:
            joined = experiment.recordings[one.name]
            joined = replace(joined, targets=new[joined.targets])
            scores = {"head": read_out(head, joined.values).now}
            folds[-1].append(joined.predictions(one.name, scores, {}))
    return [*(names[which] for which in known), BACKGROUND], folds


def rows_of(
    labels: Sequence[str], folds: Sequence[Sequence[StepPredictions]], rates: Sequence[float]
) -> list[dict[str, Any]]:
    """Of one draw: by the chosen thresholds at each rate, and by the default ones."""
    rows = []
    for rate in rates:
        found, why_not = choose_and_test(labels, folds, [], rate)
        rows.append({"thresholds": CHOSEN, "rate": rate, **described(found, why_not)})
    recordings = [one for fold in folds for one in fold]
    counts = [count_events(one, [EventRule()], len(labels) - 1) for one in recordings]
    default = event_scores(counts, EventRule())
    return [*rows, {"thresholds": DEFAULT, "rate": None, **described(default, "")}]


def described(found: EventScores | None, why_not: str) -> dict[str, Any]:
    if found is None:
        return {"recall": 0.0, "false_alarms_per_hour": 0.0, "why_not": why_not}
    choice = found.choice
    return {
        "recall": found.recall,
        "precision": found.precision,
        "false_alarms_per_hour": found.false_alarms_per_hour,
        "intervals": found.intervals,
        "num_true": found.num_true,
        "hours": round(found.hours, 3),
        "begin": [rule.begin_threshold for rule in found.tested_rules],
        "end": [rule.end_threshold for rule in found.tested_rules],
        "validation_recall": None if choice is None else choice.recall,
        "validation_false_alarms_per_hour": None
        if choice is None
        else choice.false_alarms_per_hour,
    }


def as_markdown(rows: Sequence[dict[str, Any]]) -> str:
    lines = [
        "| draw | thresholds | recall on test people | precision | false alarms/h there "
        "| where they were chosen: recall | false alarms/h |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        name = row["thresholds"]
        if row["rate"] is not None:
            name += f", {row['rate']:g}/h"
        if "why_not" in row:
            lines.append(f"| {row['seed']} | {name} | {row['why_not']} | | | | |")
            continue
        bounds = row["intervals"]
        recall, precision = (
            f"{row[key]:.1%} ({bounds[key][0]:.1%} to {bounds[key][1]:.1%})"
            for key in ("recall", "precision")
        )
        low, high = bounds["false_alarms_per_hour"]
        alarms = f"{row['false_alarms_per_hour']:.1f} ({low:.1f} to {high:.1f})"
        chosen = "- | -"
        if row["validation_recall"] is not None:
            there = row["validation_false_alarms_per_hour"]
            chosen = f"{row['validation_recall']:.1%} | {there:.1f}"
        lines.append(f"| {row['seed']} | {name} | {recall} | {precision} | {alarms} | {chosen} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weizmann", type=Path, required=True, help="the folder of its clips")
    parser.add_argument(
        "--cache", type=Path, default=Path("runs/events"), help="where features are kept"
    )
    parser.add_argument("--minutes", type=float, default=360, help="of all recordings together")
    parser.add_argument("--seeds", type=int, default=3, help="draws of classes")
    parser.add_argument("--rates", type=float, nargs="*", default=[1.0, 10.0], help="an hour")
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    config = load_config("weizmann_gru", [f"data.root={arguments.weizmann}"])
    experiment = prepare(config, arguments.cache, arguments.minutes)
    rows = []
    with progress_bar("draws of classes", arguments.seeds) as advance:
        for seed in range(arguments.seeds):
            labels, folds = answers(experiment, seed)
            rows += [
                {"seed": seed, "background": sorted({*experiment.dataset.labels} - {*labels})} | row
                for row in rows_of(labels, folds, arguments.rates)
            ]
            if arguments.json:
                arguments.json.write_text(json.dumps(rows, indent=2) + "\n")
            advance()
    print(as_markdown(rows), end="")


if __name__ == "__main__":
    main()
