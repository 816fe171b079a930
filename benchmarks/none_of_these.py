"""How well a score tells that none of the classes is seen: AUROC of steps, for kinds of score.

    python benchmarks/none_of_these.py --weizmann WEIZMANN --json none.json

Of the classes three are drawn to be 'something else'. Heads are trained on groups of clips and
tested on the joined clips of other groups, of all classes; each step is scored for being one of the
three.

- unseen: their clips are left out of the training. The scores, higher where none of these:
  - max probability (Hendrycks and Gimpel, ICLR 2017): -max_k log p_k
  - entropy: -sum_k p_k log p_k
  - max logit (Hendrycks et al., ICML 2022): -max_k z_k
  - energy (Liu et al., NeurIPS 2020): -log sum_k exp z_k
  - pattern, Mahalanobis: the package's own, see `actionrnn/model/none_of_these.py`
  - state, Mahalanobis (Lee et al., NeurIPS 2018): of the recurrent state, to the nearest class's
    mean in the training, under one covariance
  - state, nearest (Sun et al., ICML 2022): to the 10th nearest of the training's states, all on the
    unit sphere
  - features: the same of the frame's standardised features, their first 64 principal components
- annotated: the clips of the three are trained on as one class, background; the score is its
  probability.

A number is the mean over folds: each has its own head, and one threshold for all its people.
Smoothed scores are means over half a second around each step, as those of segments. The worlds are
those of `heads.py`: Weizmann, three people left out at a time, and rendered clips, 15 a class. In
the view of order three of these eight classes hold the same pictures as others that are known.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import numpy as np
import torch
from heads import (
    HELD_OUT,
    VIEWS,
    Sources,
    join_groups,
    prepare_sources,
    rendered_world,
    weizmann_world,
)
from heads import World as Clips
from long_recordings import Joined, task_of
from numpy.typing import NDArray

from actionrnn.config import Config
from actionrnn.config_reading import load_config
from actionrnn.datasets.passages import whole_recordings
from actionrnn.datasets.sequences import Sequences
from actionrnn.datasets.splits import Fold
from actionrnn.model.heads import Head
from actionrnn.model.none_of_these import Patterns
from actionrnn.model.segments import smooth_scores
from actionrnn.options import SegmentRule
from actionrnn.progress import progress_bar
from actionrnn.training.fit import fit_head

NUM_ELSE = 3
UNSEEN, ANNOTATED = "unseen", "annotated"
NEAREST = 10
COMPONENTS = 64
SHRINKAGE = 0.1
"""Of a covariance towards a multiple of the identity: features outnumber the clips."""
STEP_BATCH = 1024

Steps = NDArray[np.float32]
"""(T, D)."""


@dataclass(frozen=True)
class Seen:
    """What a head sees at T steps."""

    features: Steps
    """Standardised, (T, D)."""
    states: Steps
    """What the classifier sees, (T, H)."""
    logits: Steps
    """(T, K)."""


@torch.inference_mode()
def look(head: Head, values: Steps) -> Seen:
    """Run a head over one recording."""
    states: list[torch.Tensor] = []
    hook = head.classifier.register_forward_pre_hook(lambda _, given: states.append(given[0][0]))
    standardised = head.standardise(torch.from_numpy(values)[None])
    logits = head.run(standardised)[0]
    hook.remove()
    return Seen(standardised[0].numpy(), states[0].numpy(), logits.numpy())


@dataclass(frozen=True)
class Known:
    """The steps that a head was trained on."""

    seen: Seen
    targets: NDArray[np.int64]
    """(T,)."""

    @classmethod
    def of(cls, head: Head, train: Sequences) -> Known:
        """The clips of each group one after the other, as in a recording."""
        parts, targets = [], []
        for passage in whole_recordings(train).values():
            parts.append(look(head, train.batch([passage]).values[0].numpy()))
            lengths = [len(piece.steps) for piece in passage]
            targets.append(np.repeat(train.targets[[piece.index for piece in passage]], lengths))
        seen = Seen(
            *(
                np.concatenate([getattr(part, name) for part in parts])
                for name in ("features", "states", "logits")
            )
        )
        return cls(seen, np.concatenate(targets))


Scores = NDArray[np.float64]
"""Higher: rather none of the classes, (T,)."""


def log_probabilities(seen: Seen) -> NDArray[np.float64]:
    logits = seen.logits.astype(np.float64)
    return logits - log_sum_exp(logits)[:, None]


def entropy(known: Known, seen: Seen) -> Scores:
    logs = log_probabilities(seen)
    return -(np.exp(logs) * logs).sum(axis=1)


def pattern(known: Known, seen: Seen) -> Scores:
    before, now = (np.exp(log_probabilities(one)) for one in (known.seen, seen))
    return Patterns.of(before.astype(np.float32), known.targets).distances(now.astype(np.float32))


def log_sum_exp(logits: NDArray[np.float64]) -> Scores:
    top = logits.max(axis=1)
    return top + np.log(np.exp(logits - top[:, None]).sum(axis=1))


def mahalanobis(known: Steps, targets: NDArray[np.int64], steps: Steps) -> Scores:
    """The squared distance to the nearest class."""
    means = np.stack([known[targets == which].mean(axis=0) for which in np.unique(targets)])
    residues = known - means[np.searchsorted(np.unique(targets), targets)]
    covariance = residues.T.astype(np.float64) @ residues / len(residues)
    scale = np.trace(covariance) / len(covariance)
    covariance = (1 - SHRINKAGE) * covariance + SHRINKAGE * scale * np.eye(len(covariance))
    whiten = np.linalg.cholesky(np.linalg.inv(covariance))
    distances = [(((steps - mean) @ whiten) ** 2).sum(axis=1) for mean in means]
    return np.min(distances, axis=0)


def nearest_steps(known: Steps, steps: Steps) -> Scores:
    """The distance to the 10th nearest step, all on the unit sphere."""
    known = known / np.linalg.norm(known, axis=1, keepdims=True)
    steps = steps / np.linalg.norm(steps, axis=1, keepdims=True)
    found = []
    for start in range(0, len(steps), STEP_BATCH):
        likeness = steps[start : start + STEP_BATCH] @ known.T
        found.append(-np.partition(likeness, -NEAREST, axis=1)[:, -NEAREST])
    return np.concatenate(found).astype(np.float64)


def components(known: Steps, steps: Steps) -> tuple[Steps, Steps]:
    """Both in the first principal components of what is known."""
    mean = known.mean(axis=0)
    centred = known - mean
    _, vectors = np.linalg.eigh(centred.T @ centred)
    basis = vectors[:, -COMPONENTS:]
    return centred @ basis, (steps - mean) @ basis


def distance_of_features(known: Known, seen: Seen) -> Scores:
    before, now = components(known.seen.features, seen.features)
    return mahalanobis(before, known.targets, now)


SCORES: dict[str, Callable[[Known, Seen], Scores]] = {
    "max probability": lambda known, seen: -log_probabilities(seen).max(axis=1),
    "entropy": entropy,
    "max logit": lambda known, seen: -seen.logits.max(axis=1).astype(np.float64),
    "energy": lambda known, seen: -log_sum_exp(seen.logits.astype(np.float64)),
    "pattern, Mahalanobis": pattern,
    "state, Mahalanobis": lambda known, seen: mahalanobis(
        known.seen.states, known.targets, seen.states
    ),
    "state, nearest": lambda known, seen: nearest_steps(known.seen.states, seen.states),
    "features, Mahalanobis": distance_of_features,
    "features, nearest": lambda known, seen: nearest_steps(
        *components(known.seen.features, seen.features)
    ),
}


def auroc(scores: Scores, is_none: NDArray[np.bool_]) -> float:
    """How often a step of none of the classes has the higher score of two; equal ones count half.

    The Mann-Whitney statistic over the number of pairs.
    """
    _, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[place]  # from 1, the mean of equal ones
    positive = int(is_none.sum())
    above = ranks[is_none].sum() - positive * (positive + 1) / 2
    return float(above / (positive * (len(scores) - positive)))


@dataclass(frozen=True)
class Job:
    """A world, the classes that are 'something else' in it, and whether they are trained on."""

    world: str
    kind: str
    unknown: tuple[int, ...]
    seed: int


@dataclass(frozen=True)
class World:
    clips: Clips
    config: Config


def make_worlds(sources: Sources, views: Sequence[str]) -> dict[str, World]:
    found = {}
    if sources.weizmann is not None:
        found["Weizmann"] = World(weizmann_world(sources, 3), sources.weizmann.config)
    for view in views:
        clips = rendered_world(sources, view, num_clips=15)
        test = clips.sequences.subset(clips.folds(0)[0].test)
        recordings = {HELD_OUT: [(HELD_OUT, join_groups(test))]}
        found[f"rendered, {view}"] = World(
            replace(clips, recordings=recordings), load_config("folder_example")
        )
    return found


def relabelled(clips: Clips, job: Job) -> tuple[Sequences, dict[int, int]]:
    """The sequences with the classes that a head is trained on, by the old ones."""
    known = [index for index in range(len(clips.labels)) if index not in job.unknown]
    index_of = {old: new for new, old in enumerate(known)}
    if job.kind == ANNOTATED:
        index_of |= dict.fromkeys(job.unknown, len(known))
    targets = np.array([index_of.get(int(old), -1) for old in clips.sequences.targets])
    return replace(clips.sequences, targets=targets), index_of


def score(world: World, job: Job) -> dict[str, float]:
    """AUROC by score, raw and smoothed; and how many of the known classes' steps are right."""
    sequences, index_of = relabelled(world.clips, job)
    unknown = {world.clips.labels[index] for index in job.unknown}
    num_classes = max(index_of.values()) + 1
    found: dict[str, list[float]] = {}
    for fold in world.clips.folds(job.seed):
        train = tuple(c for c in fold.train if job.kind == ANNOTATED or c.label not in unknown)
        part = Fold(fold.name, train, fold.test)
        head = fit_head(task_of(sequences, part, num_classes, world.config, job.seed)).head
        joined = [recording for _, recording in world.clips.recordings[fold.name]]
        for name, value in test(head, sequences.subset(train), joined, index_of, job).items():
            found.setdefault(name, []).append(value)
    return {name: float(np.mean(values)) for name, values in found.items()}


def test(
    head: Head, train: Sequences, joined: Sequence[Joined], index_of: Mapping[int, int], job: Job
) -> dict[str, float]:
    seen = [look(head, recording.values) for recording in joined]
    targets = np.concatenate([recording.targets for recording in joined])
    is_none = np.isin(targets, job.unknown)
    wanted = np.array([index_of.get(int(target), -1) for target in targets])
    answers = np.concatenate([one.logits.argmax(axis=1) for one in seen])
    found = {"steps of known classes right": float((answers == wanted)[~is_none].mean())}
    if job.kind == ANNOTATED:
        scores = {"probability of background": [background(one) for one in seen]}
    else:
        known = Known.of(head, train)
        scores = {name: [rate(known, one) for one in seen] for name, rate in SCORES.items()}
    smooth = SegmentRule().smooth_seconds
    for name, parts in scores.items():
        smoothed = [
            smooth_scores(part[:, None].astype(np.float64), recording.pts_seconds, smooth)[:, 0]
            for part, recording in zip(parts, joined, strict=True)
        ]
        found[f"{name}, raw"] = auroc(np.concatenate(parts), is_none)
        found[f"{name}, smoothed"] = auroc(np.concatenate(smoothed), is_none)
    return found


def background(seen: Seen) -> Scores:
    probability: Scores = np.exp(log_probabilities(seen)[:, -1])
    return probability


def make_jobs(worlds: Mapping[str, World], seeds: Sequence[int]) -> list[Job]:
    """A draw of classes for each seed; the draw decides the training's seed, too."""
    return [
        Job(name, kind, tuple(sorted(drawn.tolist())), seed)
        for seed in seeds
        for name, world in worlds.items()
        for drawn in [
            np.random.default_rng(seed).choice(len(world.clips.labels), NUM_ELSE, replace=False)
        ]
        for kind in (UNSEEN, ANNOTATED)
    ]


def as_rows(
    worlds: Mapping[str, World], found: Sequence[tuple[Job, Mapping[str, float]]]
) -> list[dict[str, Any]]:
    rows: dict[tuple[str, str, str], dict[str, Any]] = {}
    for job, scores in found:
        labels = worlds[job.world].clips.labels
        for name, value in scores.items():
            row = rows.setdefault(
                (job.world, job.kind, name),
                {"world": job.world, "kind": job.kind, "score": name, "draws": [], "seeds": []},
            )
            row["draws"].append([labels[index] for index in job.unknown])
            row["seeds"].append(round(value, 4))
    return [row | {"mean": round(float(np.mean(row["seeds"])), 4)} for row in rows.values()]


def as_markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    lines = ["| world | something else is | score | mean | draws |", "|---|---|---|---|---|"]
    for row in rows:
        draws = " ".join(f"{value:.3f}" for value in row["seeds"])
        lines.append(
            f"| {row['world']} | {row['kind']} | {row['score']} | {row['mean']:.3f} | {draws} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weizmann", type=Path, help="the folder of Weizmann's clips")
    parser.add_argument(
        "--cache", type=Path, default=Path("runs/heads"), help="for all that is made"
    )
    parser.add_argument("--seeds", type=int, default=3, help="draws of classes")
    parser.add_argument("--views", nargs="*", default=list(VIEWS), help="of the rendered clips")
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    worlds = make_worlds(prepare_sources(arguments.cache, arguments.weizmann), arguments.views)
    found = []
    jobs = make_jobs(worlds, range(arguments.seeds))
    with progress_bar("training heads", len(jobs)) as advance:
        for job in jobs:
            found.append((job, score(worlds[job.world], job)))
            advance(note=f"{job.world}, {job.kind}")
            if arguments.json:
                arguments.json.write_text(json.dumps(as_rows(worlds, found), indent=2) + "\n")
    print(as_markdown(as_rows(worlds, found)), end="")


if __name__ == "__main__":
    main()
