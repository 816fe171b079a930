"""Recordings of which somebody labelled a part: the rest masked, or taken for background.

    python benchmarks/partly_labelled.py --data WEIZMANN --json partly.json

Weizmann's clips joined to recordings, see `long_recordings.py`; of each training recording random
stretches that cover a fifth of it are labelled. Groups of three people are left out in turn; their
recordings are labelled completely, and each step of them is scored. A head is trained with
`data.unlabelled=ignore`, where the other steps take no part in the loss, and one with
`background`, which fills them with a class of its own. The ratio is the steps right of the rival
over those of the masked.
"""

from __future__ import annotations

import argparse
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import numpy as np
from long_recordings import Experiment, Joined, in_parts, in_processes, prepare
from numpy.typing import NDArray

from actionrnn.config import Config
from actionrnn.config_reading import load_config
from actionrnn.datasets.recordings import BACKGROUND, IGNORE
from actionrnn.datasets.sequences import Sequences
from actionrnn.model.heads import read_out
from actionrnn.progress import progress_bar
from actionrnn.training.fit import fit_head
from actionrnn.training.fit_state import FitTask

PEOPLE_OUT = 3
LABELLED_PART = 0.2
STRETCH_SECONDS = 10.0
"""Of a labelled stretch: somebody looks at a few seconds here and there."""
MASKED = "masked"
RIVALS = (MASKED, "filled as background")


def labelled_steps(joined: Joined, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Which steps somebody labelled, (T,): stretches in random places."""
    steps = np.zeros(len(joined.targets), bool)
    length = max(1, round(STRETCH_SECONDS / float(np.median(np.diff(joined.pts_seconds)))))
    while steps.mean() < LABELLED_PART:
        begin = int(rng.integers(len(steps)))
        steps[begin : begin + length] = True
    return steps


def as_sequences(
    experiment: Experiment, names: list[str], rival: str, seed: int
) -> tuple[Sequences, int]:
    """The recordings in parts of equal labels, and the number of classes."""
    labels = experiment.dataset.labels
    fill = IGNORE if rival == MASKED else len(labels)
    recordings = {}
    for name in names:
        joined, rng = experiment.recordings[name], np.random.default_rng([seed, *name.encode()])
        targets = np.where(labelled_steps(joined, rng), joined.targets, fill)
        recordings[name] = replace(joined, targets=targets)
    sequences = in_parts(recordings, [*labels, BACKGROUND], experiment.sequences.provenance)
    return sequences, len(labels) + (rival != MASKED)


def run(experiment: Experiment, people: tuple[str, ...], rival: str, seed: int) -> list[int]:
    """Steps right and steps in all, of the people left out."""
    names = [fold.name for fold in experiment.folds if fold.name not in people]
    sequences, num_classes = as_sequences(experiment, names, rival, seed)
    config = experiment.config
    task = FitTask(sequences, num_classes, config.head, replace(config.train, seed=seed), None)
    head = fit_head(task).head
    right = total = 0
    for name in people:
        joined = experiment.recordings[name]
        answers = read_out(head, joined.values).now.argmax(axis=1)
        right += int((answers == joined.targets).sum())
        total += len(joined.targets)
    return [right, total]


def settings(data: Path, overrides: tuple[str, ...]) -> Config:
    return load_config("weizmann_gru", [f"data.root={data}", *overrides])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="the folder of Weizmann's clips")
    parser.add_argument("--minutes", type=float, default=30, help="of all recordings together")
    parser.add_argument("--runs", type=Path, default=Path("runs/long"), help="where features are")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    parser.add_argument("overrides", nargs="*", help="section.key=value, of weizmann_gru")
    given = parser.parse_args()
    experiment = prepare(settings(given.data, tuple(given.overrides)), given.runs, given.minutes)
    names = [fold.name for fold in experiment.folds]
    left_out = [tuple(names[i : i + PEOPLE_OUT]) for i in range(0, len(names), PEOPLE_OUT)]
    jobs = [(p, rival, s) for s in range(given.seeds) for p in left_out for rival in RIVALS]
    found: dict[tuple[str, int], list[int]] = {}
    with progress_bar("training and testing", len(jobs)) as advance:
        for (_, rival, seed), counts in in_processes(jobs, run, experiment):
            sums = found.setdefault((rival, seed), [0, 0])
            found[rival, seed] = [a + b for a, b in zip(sums, counts, strict=True)]
            advance(note=rival)
    rows = summarise(found, given.seeds)
    for row in rows:
        print(f"{row['rival']:<22} {100 * row['accuracy']:.1f} %  of the steps right, by seed "
              + ", ".join(f"{100 * one:.1f}" for one in row["seeds"]))  # fmt: skip
    if given.json:
        given.json.write_text(json.dumps(rows, indent=2) + "\n")


def summarise(found: dict[tuple[str, int], list[int]], seeds: int) -> list[dict[str, Any]]:
    by_seed = {
        rival: [found[rival, seed][0] / found[rival, seed][1] for seed in range(seeds)]
        for rival in RIVALS
    }
    masked = float(np.mean(by_seed[MASKED]))
    return [
        {
            "case": f"Weizmann joined, {LABELLED_PART:.0%} labelled",
            "rival": rival,
            "ratio": float(np.mean(values)) / masked,
            "accuracy": float(np.mean(values)),
            "seeds": values,
        }
        for rival, values in by_seed.items()
    ]


if __name__ == "__main__":
    main()
