"""Which head is best on which kind of data: one change at a time, on the same features.

    python benchmarks/heads.py --weizmann WEIZMANN --markdown heads.md --json heads.json

Each variant is one change of the settings that are shipped, trained and tested by the package on
the same features, clips and seeds as all others. `mean-pool` is the baseline: a classifier of each
frame, whose logits are averaged. Where nothing else is said, a number is the part of the held-out
clips that are classified rightly.

The worlds:

- Weizmann (`weizmann_gru`); one person is left out at a time. The same heads run over the joined
  clips of the person left out, see `long_recordings.py`: steps right, and F1@50 of the segments.
  There mean-pool has a sliding window.
- Rendered worlds (`folder_example`), of the built-in data set's 8 classes (4 movements, each
  forwards and backwards), rendered twice with different figures and places: 48 groups of 2 clips,
  12 of them for testing. A clip is 16 to 22 pictures. Three views of them differ in what tells the
  classes:
  - appearance: the first third of a clip, its steps shuffled. The pose tells (standing or sitting);
    there is no order.
  - order: every third step of the whole clip. Both directions of a movement hold the same pictures,
    so no more than a half can be right without their order. Its held-out clips are joined, too.
  - both: the first half of a clip. It shows other poses forwards and backwards, and their order
    tells, too.
  Each with 4, 15 and 60 training clips a class, of as many groups as there are.
- Feature sizes, with 15 clips a class: 1280 as they are; 64, by a fixed random projection; 4096,
  large and sparse as VGG's are: a fixed random projection, of which each feature keeps what is
  above its 90th percentile, squared, on a scale of its own.

Results are kept in the cache folder, one line each, so an interrupted run goes on where it was.
A result belongs to the settings and to the code of head and training; others are computed anew.
"""

from __future__ import annotations

import argparse
import ast
import functools
import hashlib
import inspect
import json
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any
from unittest import mock

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import numpy as np
import torch
from long_recordings import (
    Experiment,
    Joined,
    in_processes,
    prepare,
    task_of,
    window_steps,
)
from numpy.typing import NDArray
from torch import Tensor, nn

from actionrnn.config import Config, HeadConfig
from actionrnn.config_reading import load_config
from actionrnn.datasets import passages as passages_module
from actionrnn.datasets import rendered as rendered_module
from actionrnn.datasets import sequences as sequences_module
from actionrnn.datasets.recordings import Clip, Dataset, Recording
from actionrnn.datasets.rendered import RATE_FPS as RENDERED_FPS
from actionrnn.datasets.rendered import render_dataset
from actionrnn.datasets.sequences import Sequences
from actionrnn.datasets.splits import Fold, open_dataset
from actionrnn.datasets.stored import load_features
from actionrnn.evaluation import step_scores as step_scores_module
from actionrnn.evaluation.step_scores import step_report
from actionrnn.evaluation.window_baselines import sliding_mean_pool
from actionrnn.features.backbone import load_backbone
from actionrnn.model import heads as heads_module
from actionrnn.model.heads import Head, read_out
from actionrnn.progress import progress_bar
from actionrnn.training import fit as fit_module
from actionrnn.training.fit import fit_head, validate
from actionrnn.training.fit_state import Epoch, FitTask

WEIZMANN = "Weizmann"
FEWER_FOLDS = 3
FEWER = f"{WEIZMANN}, {FEWER_FOLDS} people left out"
RENDER_SEEDS = (0, 1)
NUM_TEST_GROUPS = 12
HELD_OUT = "held-out groups"
VIEWS = ("appearance", "order", "both")
CLIP_COUNTS = (4, 15, 60)
ORDER_STRIDE = 3
FULL_SIZE, SMALL_SIZE, SPARSE_SIZE = 1280, 64, 4096
KEPT_PART = 0.1
"""Of the values of a sparse feature; the others are 0."""
JOINED_MINUTES = 30
QUICK = ("appearance, 4 clips a class", "order, 15 clips a class", "both, 4 clips a class")
LAST_PART = 0.25
"""Of the epochs, over which weights are averaged."""

DEFAULT, BASELINE = "shipped default", "mean-pool"
TOP1, STEPS, F1 = "top-1", "steps right", "F1@50"


class MinGru(nn.Module):
    """minGRU of Feng et al., "Were RNNs All We Needed?" (2024): gates that do not see the state.

    z_t = sigmoid(W_z x_t), h_t = (1 - z_t) h_(t-1) + z_t W_h x_t
    """

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.linear = nn.Linear(input_size, 2 * hidden_size)

    def forward(self, inputs: Tensor) -> tuple[Tensor, None]:
        gates, candidates = self.linear(inputs).chunk(2, dim=-1)
        gates = gates.sigmoid()
        state, states = torch.zeros_like(candidates[:, 0]), []
        for gate, candidate in zip(gates.unbind(1), candidates.unbind(1), strict=True):
            state = state + gate * (candidate - state)
            states.append(state)
        return torch.stack(states, dim=1), None

    def flatten_parameters(self) -> None:
        """What a recurrent layer of torch does for cuDNN."""


class MinGruHead(Head):
    def __init__(self, config: HeadConfig, feature_size: int, num_classes: int) -> None:
        super().__init__(config, feature_size, num_classes)
        self.core = MinGru(self.core.input_size, config.hidden_size)


class WithReLU(Head):
    """A ReLU behind the projection, as in MiniROAD (ICCV 2023)."""

    def __init__(self, config: HeadConfig, feature_size: int, num_classes: int) -> None:
        super().__init__(config, feature_size, num_classes)
        self.projection.append(nn.ReLU())


@dataclass(frozen=True)
class Variant:
    """One change of the shipped settings."""

    head: dict[str, Any] = field(default_factory=dict)
    train: dict[str, Any] = field(default_factory=dict)
    make: type[Head] = Head
    average: bool = False
    """Take the mean of the weights after each of the last epochs."""


MEAN = {"kind": "mean"}
ALL_CLIPS = {"validation_fraction": 0.0}
CLIP_LOSS = {"now_weight": 0.0}
BASELINE_TRAINING = CLIP_LOSS | {"join_clips": 1}

VARIANTS = {
    DEFAULT: Variant(),
    BASELINE: Variant(MEAN, BASELINE_TRAINING),
    "mean-pool, none held back": Variant(MEAN, BASELINE_TRAINING | ALL_CLIPS),
    "mean-pool, inputs as they are": Variant(MEAN | {"input_scaling": "none"}, BASELINE_TRAINING),
    "RNN (tanh)": Variant({"kind": "rnn_tanh"}),
    "LSTM": Variant({"kind": "lstm"}),
    "GRU": Variant({"kind": "gru"}),
    "minGRU": Variant({"kind": "gru"}, make=MinGruHead),
    "residual": Variant({"residual": True}),
    "no residual": Variant({"residual": False}),
    "hidden size 128": Variant({"hidden_size": 128}),
    "hidden size 256": Variant({"hidden_size": 256}),
    "no projection": Variant({"projection": False}),
    "projection with ReLU": Variant(make=WithReLU),
    "loss: clip": Variant(train=CLIP_LOSS),
    "loss: both": Variant(train={"now_weight": 0.5}),
    "loss: steps": Variant(train={"now_weight": 1.0}),
    "clips not joined": Variant(train={"join_clips": 1}),
    "4 clips joined": Variant(train={"join_clips": 4}),
    "8 clips joined": Variant(train={"join_clips": 8}),
    "15 % held back": Variant(train={"validation_fraction": 0.15}),
    "none held back": Variant(train=ALL_CLIPS),
    "averaged": Variant(train=ALL_CLIPS, average=True),
    "inputs: root": Variant({"input_scaling": "sqrt"}),
    "inputs: L2": Variant({"input_scaling": "l2"}),
    "inputs: as they are": Variant({"input_scaling": "none"}),
}
"""By name; the package cannot do those with a class of their own, or averaged."""

HEADS = "heads"
TABLES = {
    HEADS: ("mean-pool", "RNN (tanh)", "LSTM", "GRU", "minGRU"),
    "size and inputs": (
        *("no projection", "projection with ReLU", "residual", "no residual"),
        *("hidden size 128", "hidden size 256"),
        *("inputs: L2", "inputs: as they are", "mean-pool, inputs as they are"),
    ),
    "training": (
        *("clips not joined", "4 clips joined", "loss: clip", "loss: both", "loss: steps"),
        *("15 % held back", "averaged"),
    ),
}
"""Which variants stand beside the shipped default in which table."""
BASELINES = ("mean-pool", "mean-pool, none held back", "mean-pool, inputs as they are")


@dataclass(frozen=True)
class World:
    """Labelled clips of groups, how they are divided, and recordings to test on."""

    labels: tuple[str, ...]
    sequences: Sequences
    folds: Callable[[int], Sequence[Fold]]
    """By seed: where clips are few, each seed trains on others."""
    recordings: Mapping[str, Sequence[tuple[str, Joined]]]
    """By fold, with their names; there may be none."""


@dataclass(frozen=True, eq=False)
class Sources:
    """What the worlds are made of."""

    rendered: Dataset
    sequences: Sequences
    """Of the rendered clips, every frame."""
    weizmann: Experiment | None


def prepare_sources(cache: Path, weizmann: Path | None) -> Sources:
    """Render, and extract what is missing."""
    recordings: list[Recording] = []
    parts = []
    for seed in RENDER_SEEDS:
        root = render_dataset(cache / f"rendered{seed}", seed=seed)
        config = load_config("demo", [f"data.root={root}", f"sampling.rate_fps={RENDERED_FPS}"])
        dataset, sequences, _ = load_features(
            open_dataset(config.data), load_backbone(config.backbone), config, cache
        )
        parts.append(sequences)
        recordings += [
            Recording.trimmed(clip.path, f"{seed}/{clip.key}", clip.label, f"{seed}-{clip.group}")
            for clip in dataset.clips
        ]
    sequences = Sequences(
        tuple(recording.clips[0] for recording in recordings),
        tuple(values for part in parts for values in part.values),
        np.concatenate([part.targets for part in parts]),
        tuple(name for part in parts for name in part.fingerprints),
        parts[0].provenance,
    )
    config = load_config("weizmann_gru", [f"data.root={weizmann}"])
    return Sources(
        Dataset(cache, tuple(recordings)),
        sequences,
        prepare(config, cache, JOINED_MINUTES) if weizmann else None,
    )


def weizmann_world(sources: Sources, people_out: int) -> World:
    experiment = sources.weizmann
    assert experiment is not None
    joined = experiment.recordings
    folds, recordings = [], {}
    for start in range(0, len(experiment.folds), people_out):
        parts = experiment.folds[start : start + people_out]
        test = tuple(clip for part in parts for clip in part.test)
        train = tuple(clip for clip in experiment.sequences.clips if clip not in test)
        folds.append(Fold(", ".join(part.name for part in parts), train, test))
        recordings[folds[-1].name] = [(part.name, joined[part.name]) for part in parts]
    return World(experiment.dataset.labels, experiment.sequences, lambda seed: folds, recordings)


def rendered_world(sources: Sources, view: str, num_clips: int, size: int = FULL_SIZE) -> World:
    """A view of the rendered clips.

    Args:
        num_clips: of each class, for training.
        size: of the features.
    """
    dataset, rng = sources.rendered, np.random.default_rng(0)
    values = tuple(see(view, steps, rng) for steps in resized(sources, size))
    sequences = replace(sources.sequences, values=values)
    groups = rng.permutation(list(dataset.groups)).tolist()
    tested, known = set(groups[:NUM_TEST_GROUPS]), groups[NUM_TEST_GROUPS:]
    test = tuple(clip for clip in dataset.clips if clip.group in tested)

    def folds(seed: int) -> Sequence[Fold]:
        order = np.random.default_rng(seed).permutation(known).tolist()
        train = [
            clip
            for label in dataset.labels
            for clip in one_of_each_group(dataset, label, order)[:num_clips]
        ]
        return [Fold(HELD_OUT, tuple(train), test)]

    joined = [(HELD_OUT, join_groups(sequences.subset(test)))] if view == "order" else []
    return World(dataset.labels, sequences, folds, {HELD_OUT: joined})


def one_of_each_group(dataset: Dataset, label: str, groups: Sequence[str]) -> list[Clip]:
    """A class's clips: one of each group, in the groups' order, then the second of each."""
    of_group: dict[str, list[Clip]] = {group: [] for group in groups}
    for clip in dataset.clips:
        if clip.label == label and clip.group in of_group:
            of_group[clip.group].append(clip)
    return [clip for clips in zip(*of_group.values(), strict=True) for clip in clips]


def see(view: str, steps: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """What a view shows of a clip, (T, D)."""
    if view == "appearance":
        return steps[rng.permutation(len(steps) // 3)]
    return steps[::ORDER_STRIDE] if view == "order" else steps[: len(steps) // 2]


def join_groups(sequences: Sequences) -> Joined:
    """Group after group, the clips of each in a random order."""
    rng = np.random.default_rng(0)
    groups = np.array([clip.group for clip in sequences.clips])
    order = [
        index
        for name in np.unique(groups)
        for index in rng.permutation(np.nonzero(groups == name)[0])
    ]
    values = [sequences.values[index] for index in order]
    targets = [np.full(len(v), sequences.targets[i]) for v, i in zip(values, order, strict=True)]
    times = np.arange(sum(map(len, values))) * ORDER_STRIDE / RENDERED_FPS
    return Joined(np.concatenate(values), np.concatenate(targets), times)


@functools.lru_cache(maxsize=3)
def resized(sources: Sources, size: int) -> tuple[NDArray[np.float32], ...]:
    """The rendered clips' features in another size, (T, size) each; see above."""
    values = sources.sequences.values
    if size == FULL_SIZE:
        return tuple(values)
    rng = np.random.default_rng(size)
    frames = np.concatenate(values)
    frames = (frames - frames.mean(axis=0)) / (frames.std(axis=0) + 1e-6)
    projection = rng.standard_normal((FULL_SIZE, size)).astype(np.float32) / FULL_SIZE**0.5
    frames = frames @ projection
    if size == SPARSE_SIZE:
        threshold = np.quantile(frames[:: len(frames) // 1000], 1 - KEPT_PART, axis=0)
        scale = rng.lognormal(0, 1, size)
        frames = (np.maximum(frames - threshold, 0) ** 2 * scale).astype(np.float32)
    return tuple(np.split(frames, np.cumsum([len(steps) for steps in values])[:-1]))


def worlds() -> dict[str, Callable[[Sources], World]]:
    """By name."""
    found: dict[str, Callable[[Sources], World]] = {}
    for count, name in ((1, WEIZMANN), (FEWER_FOLDS, FEWER)):
        found[name] = functools.partial(weizmann_world, people_out=count)
    for view in VIEWS:
        for count in CLIP_COUNTS:
            found[f"{view}, {count} clips a class"] = functools.partial(
                rendered_world, view=view, num_clips=count
            )
    for view in VIEWS:
        for size, name in ((SMALL_SIZE, "64 features"), (SPARSE_SIZE, "4096 sparse features")):
            found[f"{view}, 15 clips a class, {name}"] = functools.partial(
                rendered_world, view=view, num_clips=15, size=size
            )
    return found


@functools.lru_cache(maxsize=1)
def make_world(sources: Sources, name: str) -> World:
    return worlds()[name](sources)


def fit_variant(task: FitTask, variant: Variant) -> Head:
    """Train by the package, with the variant's class of head in the place of its own."""
    made: list[Head] = []
    weights: list[dict[str, Tensor]] = []

    def make(*given: Any) -> Head:
        made.append(variant.make(*given))
        return made[-1]

    def on_epoch(row: Epoch) -> None:
        if variant.average and row.epoch > (1 - LAST_PART) * task.config.epochs:
            weights.append({name: w.clone() for name, w in made[0].state_dict().items()})

    with mock.patch.object(fit_module, "Head", make):
        head = fit_head(task, on_epoch=on_epoch).head
    if weights:
        head.load_state_dict(
            {name: torch.stack([w[name] for w in weights]).mean(dim=0) for name in weights[0]}
        )
    return head


read_config = functools.cache(load_config)


@dataclass(frozen=True)
class Job:
    """A variant in a world, with one seed."""

    world: str
    variant: Variant
    seed: int

    @property
    def config(self) -> Config:
        """The settings that are shipped for such data, with the variant's change."""
        shipped = "weizmann_gru" if self.world.startswith(WEIZMANN) else "folder_example"
        config = read_config(shipped)
        return replace(
            config,
            head=replace(config.head, **self.variant.head),
            train=replace(config.train, **self.variant.train),
        )

    def key(self, code: str) -> str:
        """Of all that decides the result; two variants may be the same."""
        config = self.config
        decides = {
            "code": code,
            "world": self.world,
            "head": asdict(config.head),
            "train": asdict(config.train),
            "class": self.variant.make.__name__,
            "averaged": self.variant.average,
            "seed": self.seed,
        }
        return hashlib.sha256(json.dumps(decides).encode()).hexdigest()[:16]


def score(sources: Sources, job: Job) -> dict[str, float]:
    """Train a variant on each fold of a world, and test it."""
    world, config = make_world(sources, job.world), job.config
    right = total = 0
    joined = []
    for fold in world.folds(job.seed):
        task = task_of(world.sequences, fold, len(world.labels), config, job.seed)
        head = fit_variant(task, job.variant)
        test = world.sequences.subset(fold.test)
        right += round(validate(head, test, config.train)[1] * len(test))
        total += len(test)
        window = window_steps(world.sequences, fold)
        for name, recording in world.recordings[fold.name]:
            answers = (
                sliding_mean_pool(head, recording.values, window)
                if config.head.kind == "mean"
                else read_out(head, recording.values).now
            )
            joined.append(
                recording.predictions(name, {"head": answers}, {"head": head.delay_steps})
            )
    scores = {TOP1: right / total}
    if not joined:
        return scores
    steps = step_report(world.labels, joined).models["head"]
    return scores | {STEPS: steps.accuracy, F1: steps.f1_at_50 or 0.0}


CODE = (
    *(heads_module, fit_module, passages_module, sequences_module, rendered_module),
    *(MinGru, MinGruHead, WithReLU),
    *(weizmann_world, rendered_world, one_of_each_group, see, join_groups, resized.__wrapped__),
    *(fit_variant, score, step_scores_module, sliding_mean_pool),
)
"""What decides a result beside the settings."""


def code_key() -> str:
    """Of the code of heads, training and worlds, but not of its comments."""
    texts = [inspect.getsource(part) for part in CODE]
    return hashlib.sha256("".join(ast.dump(ast.parse(t)) for t in texts).encode()).hexdigest()


def run_jobs(jobs: Mapping[str, Job], sources: Sources, file: Path) -> dict[str, dict[str, float]]:
    """The scores of all jobs by key: those in the file, and the others, which are added to it."""
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    known = {row["key"]: row["scores"] for row in map(json.loads, lines)}
    missing = [(job, key) for key, job in jobs.items() if key not in known]
    with (
        progress_bar("training heads", len(missing)) as advance,
        file.open("a", encoding="utf-8") as results,
    ):
        for (job, key), (scores, seconds) in in_processes(missing, timed_score, sources):
            known[key] = scores
            row = {"key": key, "world": job.world, "seed": job.seed, "scores": scores}
            results.write(json.dumps(row | {"seconds": seconds}) + "\n")
            results.flush()
            advance(note=job.world)
    return known


def timed_score(sources: Sources, job: Job, _: str) -> tuple[dict[str, float], float]:
    start = time.process_time()
    return score(sources, job), round(time.process_time() - start, 1)


def distinct(names: Sequence[str], code: str) -> list[str]:
    """The variants without those that are the same as an earlier one in all these worlds."""
    found: dict[tuple[str, ...], str] = {}
    for name, variant in VARIANTS.items():
        found.setdefault(tuple(Job(world, variant, 0).key(code) for world in names), name)
    return list(found.values())


ScoresOf = Callable[[str, str, int], Mapping[str, float]]
"""By world, variant and seed."""
BySeed = dict[str, dict[str, list[float]]]
"""The scores of all seeds, by row of the table and variant."""


def collect(
    names: Sequence[str], variants: Sequence[str], seeds: Sequence[int], scores_of: ScoresOf
) -> BySeed:
    found: BySeed = {}
    for world in names:
        for variant in variants:
            for seed in seeds:
                for kind, value in scores_of(world, variant, seed).items():
                    row = found.setdefault(f"{world}: {kind}", {})
                    row.setdefault(variant, []).append(value)
    return found


def as_markdown(found: BySeed) -> str:
    """Tables of percents, means over seeds; the best of a row is bold.

    In the first, how much better the shipped default is than the better baseline, in points: the
    mean of the paired differences and their standard error.
    """
    texts = []
    for title, variants in TABLES.items():
        shown = [
            DEFAULT,
            *(name for name in variants if any(name in row for row in found.values())),
        ]
        beside = title == HEADS
        headings = [title, "seeds", *shown, *(["default - best baseline"] if beside else [])]
        lines = ["| " + " | ".join(headings) + " |", "|---" * len(headings) + "|"]
        for case, row in found.items():
            means = {name: 100 * float(np.mean(row[name])) for name in shown}
            best = f"{max(means.values()):.1f}"
            cells = [f"{mean:.1f}" for mean in means.values()]
            cells = [f"**{cell}**" if cell == best else cell for cell in cells]
            last = [_paired(row)] if beside else []
            lines.append("| " + " | ".join([case, str(len(row[DEFAULT])), *cells, *last]) + " |")
        overall = [np.mean([100 * np.mean(row[name]) for row in found.values()]) for name in shown]
        means_of_all = [f"{mean:.1f}" for mean in overall]
        lines.append("| " + " | ".join(["mean", "", *means_of_all, *([""] * beside)]) + " |")
        texts.append("\n".join(lines) + "\n")
    return "\n".join(texts)


def _paired(row: Mapping[str, Sequence[float]]) -> str:
    """The shipped default less the better of the baselines, seed by seed."""
    baseline = max(
        (row[name] for name in BASELINES if name in row), key=lambda v: float(np.mean(v))
    )
    differences = 100 * (np.array(row[DEFAULT]) - np.array(baseline))
    error = differences.std(ddof=1) / len(differences) ** 0.5 if len(differences) > 1 else math.nan
    return f"{differences.mean():+.1f} ± {error:.1f}"


def as_rows(found: BySeed) -> list[dict[str, Any]]:
    return [
        {
            "case": case,
            "rival": variant,
            "ratio": np.mean(row[DEFAULT]) / max(np.mean(values), 1e-9),
            "score": np.mean(values),
            "baseline": np.mean(row[BASELINE]),
            "seeds": len(values),
        }
        for case, row in found.items()
        for variant, values in row.items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weizmann", type=Path, help="the folder of Weizmann's clips")
    parser.add_argument(
        "--cache", type=Path, default=Path("runs/heads"), help="for all that is made"
    )
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--only", metavar="WORLD", help="those whose name contains this")
    parser.add_argument(
        "--fewer-folds",
        action="store_true",
        help=f"leave {FEWER_FOLDS} people out at a time, for a third of the time",
    )
    parser.add_argument("--quick", action="store_true", help="1 seed, and few worlds")
    parser.add_argument("--markdown", type=Path, help="write the table to this file")
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    arguments = parser.parse_args()
    seeds = range(1 if arguments.quick else arguments.seeds)
    left_out = {
        name
        for name in worlds()
        if WEIZMANN in name
        and (arguments.weizmann is None or (FEWER in name) != arguments.fewer_folds)
    }
    names = [
        name
        for name in (QUICK if arguments.quick else worlds())
        if (arguments.only or "") in name and name not in left_out
    ]
    if not names:
        parser.error(f"--only {arguments.only}: no such world; there are {', '.join(worlds())}")
    arguments.cache.mkdir(parents=True, exist_ok=True)
    needed = arguments.weizmann if any(WEIZMANN in name for name in names) else None
    sources = prepare_sources(arguments.cache, needed)
    code = code_key()
    # the first seed of all comes first: an interrupted run has whole rows
    variants = distinct(names, code)
    jobs = [Job(w, VARIANTS[v], seed) for seed in seeds for w in names for v in variants]
    results = run_jobs(
        {job.key(code): job for job in jobs}, sources, arguments.cache / "results.jsonl"
    )
    found = collect(
        names, variants, seeds, lambda w, v, seed: results[Job(w, VARIANTS[v], seed).key(code)]
    )
    table = as_markdown(found)
    print(table, end="")
    if arguments.markdown:
        arguments.markdown.write_text(table, encoding="utf-8")
    if arguments.json:
        arguments.json.write_text(json.dumps(as_rows(found), indent=2) + "\n")


if __name__ == "__main__":
    main()
