"""What a head trained on clips of some seconds does in an hour, with one state kept for ever.

    python benchmarks/long_recordings.py --data WEIZMANN --json long.json

Leave one person out: for each person a head is trained on the others' clips, and that person's
clips are joined, in random orders again and again, to one recording whose truth is known. It is
sampled and encoded as a stream is: the ticks run on over the seams, and the change at a clip's
first frame is that from the last frame of the clip before. The rivals see the same features:

- mean-pool over a sliding window: the mean of the logits of a head without a state;
- the head started anew for each window: what it says of the window, at each step computed from
  the window's begin;
- two states that are restarted by the clock, the more confident of which answers.

A window is as long as the median training clip. Accuracy is that of the answer at each step, at
that moment; F1@50 is that of the segments, of which one is right if it covers a true one of its
label with an intersection over union of at least one half (Lea et al., CVPR 2017). The ratio is
the accuracy over that of the state that is kept.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from actionrnn.config import Config, HeadConfig, Sampling, SegmentRule, StatePolicy, load_config
from actionrnn.datasets.recordings import Dataset
from actionrnn.datasets.sequences import Sequences, pad
from actionrnn.datasets.splits import Fold, make_folds, open_dataset, train_val_split
from actionrnn.datasets.stored import load_features
from actionrnn.features.backbone import Backbone, load_backbone
from actionrnn.features.provenance import Provenance
from actionrnn.files import atomic_path
from actionrnn.model.heads import Head
from actionrnn.model.recognizer import read_out
from actionrnn.model.segments import Segment, find_segments, step_ends
from actionrnn.model.state_policy import Scorer, with_period
from actionrnn.progress import progress_bar
from actionrnn.training.fit import fit_head
from actionrnn.training.fit_state import FitTask
from actionrnn.video.decode import read_frames
from actionrnn.video.sampling import FrameSampler

RATE_FPS = 25
"""Of Weizmann's clips."""
KEPT = "keep for ever"
PAIRS_AT_ONCE = 128
WINDOWS_AT_ONCE = 256

Picture = tuple[int, int]
"""Which clip, which of its frames."""
Scores = NDArray[np.float32]


@dataclass(frozen=True)
class Joined:
    """The steps of clips that were joined to one recording."""

    values: NDArray[np.float32]
    """Features, (T, D)."""
    targets: NDArray[np.int64]
    """(T,)."""
    pts_seconds: NDArray[np.float64]
    """(T,)."""

    def truth(self, labels: Sequence[str]) -> list[Segment]:
        """Clips of one label that follow one another are one segment."""
        edges = np.flatnonzero(np.diff(self.targets)) + 1
        ends = step_ends(self.pts_seconds)
        return [
            Segment(labels[self.targets[first]], self.pts_seconds[first], ends[stop - 1], 1.0)
            for first, stop in zip([0, *edges], [*edges, len(self.targets)], strict=True)
        ]


@dataclass
class Tally:
    """Of one way to answer, over all recordings."""

    right: int = 0
    steps: int = 0
    hits: int = 0
    found: int = 0
    true: int = 0

    @property
    def accuracy(self) -> float:
        return self.right / self.steps

    @property
    def f1(self) -> float:
        return 2 * self.hits / (self.found + self.true)

    def add(self, other: Tally) -> None:
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)


@dataclass(frozen=True)
class Experiment:
    """The clips to learn from, and a recording to test on for each fold."""

    config: Config
    dataset: Dataset
    sequences: Sequences
    folds: list[Fold]
    recordings: dict[str, Joined]
    """By fold."""


def prepare(config: Config, folder: Path, minutes: float, seed: int = 0) -> Experiment:
    """All features, which are kept in `folder`.

    Args:
        minutes: of all folds' recordings together, at least.
        seed: of the orders in which clips are joined.
    """
    backbone = load_backbone(config.backbone)
    dataset = open_dataset(config.data)
    dataset, sequences, _ = load_features(dataset, backbone, config, folder)
    folds = make_folds(dataset, config.data)
    recordings = {}
    with progress_bar("joining clips", len(folds)) as advance:
        for fold in folds:
            seconds = 60 * minutes / len(folds)
            recordings[fold.name] = _load_joined(
                fold, dataset.labels, _Joiner(backbone, config.sampling, seconds, seed), folder
            )
            advance(note=fold.name)
    # plain arrays, which other processes can be given
    sequences = replace(sequences, values=tuple(sequences.values))
    return Experiment(config, dataset, sequences, folds, recordings)


@dataclass(frozen=True)
class _Joiner:
    """Joins the clips of a fold, in random orders again and again."""

    backbone: Backbone
    sampling: Sampling
    seconds: float
    """The least length of a recording."""
    seed: int

    def key(self, fold: Fold) -> str:
        """Of all that decides the recording's features."""
        described = {
            "provenance": Provenance.of(self.backbone, self.sampling).to_json(),
            "clips": [str(clip.path.resolve()) for clip in fold.test],
            "seconds": self.seconds,
            "seed": self.seed,
        }
        return hashlib.sha256(json.dumps(described).encode()).hexdigest()[:16]

    def join(self, fold: Fold) -> tuple[list[Picture], NDArray[np.float64], NDArray[np.float32]]:
        """The picture and the time of each step, (T,), and its features (T, D)."""
        preprocessing = self.backbone.preprocessing
        pictures = [
            [preprocessing.square(frame) for frame in read_frames(clip.path).data]
            for clip in fold.test
        ]
        shown, times = self._sample([len(clip) for clip in pictures], fold.name)
        pairs = list(zip([None, *shown[:-1]], shown, strict=True))
        place = {pair: number for number, pair in enumerate(dict.fromkeys(pairs))}
        encoded = np.concatenate([*self._encode(list(place), pictures)])
        return shown, times, encoded[[place[pair] for pair in pairs]]

    def _sample(self, lengths: list[int], name: str) -> tuple[list[Picture], NDArray[np.float64]]:
        rng = np.random.default_rng([self.seed, *name.encode()])
        sampler: FrameSampler[Picture] = FrameSampler(self.sampling)
        steps, frame_count = [], 0
        while frame_count < self.seconds * RATE_FPS:
            for clip in rng.permutation(len(lengths)).tolist():
                for frame in range(lengths[clip]):
                    steps += sampler.push((clip, frame), frame_count / RATE_FPS)
                    frame_count += 1
        return [picture for picture, _ in steps], np.array([seconds for _, seconds in steps])

    def _encode(
        self,
        pairs: list[tuple[Picture | None, Picture]],
        pictures: list[list[NDArray[np.uint8]]],
    ) -> Iterator[NDArray[np.float32]]:
        """The features of pictures, each after the one that was shown before it."""
        for start in range(0, len(pairs), PAIRS_AT_ONCE):
            views = [
                self.backbone.preprocessing.views(
                    pictures[clip][frame][None],
                    None if before is None else pictures[before[0]][before[1]],
                )
                for before, (clip, frame) in pairs[start : start + PAIRS_AT_ONCE]
            ]
            yield self.backbone.encode(np.concatenate(views))


def _load_joined(fold: Fold, labels: Sequence[str], joiner: _Joiner, folder: Path) -> Joined:
    file = folder / f"joined-{joiner.key(fold)}.npz"
    if not file.exists():
        shown, times, values = joiner.join(fold)
        targets = [labels.index(fold.test[clip].label) for clip, _ in shown]
        with atomic_path(file) as temporary, temporary.open("wb") as opened:
            np.savez(
                opened,
                values=values.astype(np.float16),  # as a store keeps them
                targets=np.array(targets, np.int64),
                pts_seconds=times,
            )
    with np.load(file) as loaded:
        return Joined(loaded["values"].astype(np.float32), loaded["targets"], loaded["pts_seconds"])


def task_of(
    sequences: Sequences, fold: Fold, num_classes: int, config: Config, seed: int
) -> FitTask:
    """A fit of `config.head` on a fold's training clips, of which it may hold some back."""
    train, validation = train_val_split(fold.train, config.train.validation_fraction, seed)
    return FitTask(
        sequences.subset(train),
        num_classes,
        config.head,
        replace(config.train, seed=seed),
        sequences.subset(validation) if validation else None,
    )


def mean_pool(config: Config) -> Config:
    """A head without a state, trained for what it says of a clip, as in the package."""
    head = HeadConfig(kind="mean", dropout=config.head.dropout)
    return replace(config, head=head, train=replace(config.train, now_weight=0.0))


def median_steps(sequences: Sequences, fold: Fold) -> int:
    return round(float(np.median([len(v) for v in sequences.subset(fold.train).values])))


@torch.inference_mode()
def sliding_mean(head: Head, values: NDArray[np.float32], window: int) -> Scores:
    """The softmax of the mean of the logits of the last `window` steps, (T, K)."""
    logits = head(torch.from_numpy(values)[None])[0].double()
    sums = torch.cat([torch.zeros(1, logits.shape[1]), logits.cumsum(dim=0)])
    stops = torch.arange(1, len(sums))
    starts = (stops - window).clamp(min=0)
    means = (sums[stops] - sums[starts]) / (stops - starts)[:, None]
    return _probabilities(means)


@torch.inference_mode()
def started_anew(head: Head, values: NDArray[np.float32], window: int) -> Scores:
    """What the head says of the last `window` steps alone, at each step, (T, K)."""
    answers = []
    for start in range(0, len(values), WINDOWS_AT_ONCE):
        stops = range(start + 1, min(start + WINDOWS_AT_ONCE, len(values)) + 1)
        windows, lengths = pad([values[max(0, stop - window) : stop] for stop in stops])
        answers.append(head.clip_logits(head(windows, lengths), lengths))
    return _probabilities(torch.cat(answers))


def _probabilities(logits: Tensor) -> Scores:
    probabilities: Scores = logits.softmax(dim=-1).float().numpy()
    return probabilities


def count_hits(found: list[Segment], truth: list[Segment]) -> int:
    """Segments that cover a true one of their label by half or more; each counts once."""
    hits, free = 0, list(truth)
    for segment in found:
        for true in free:
            both = min(segment.end_seconds, true.end_seconds) - max(
                segment.start_seconds, true.start_seconds
            )
            either = max(segment.end_seconds, true.end_seconds) - min(
                segment.start_seconds, true.start_seconds
            )
            if segment.label == true.label and both >= 0.5 * either:
                hits += 1
                free.remove(true)
                break
    return hits


def tally(scores: Scores, recording: Joined, labels: tuple[str, ...]) -> Tally:
    """How good the answers at the steps of a recording are."""
    truth = recording.truth(labels)
    found = find_segments(labels, scores, recording.pts_seconds, SegmentRule())
    return Tally(
        right=int((scores.argmax(axis=1) == recording.targets).sum()),
        steps=len(scores),
        hits=count_hits(found, truth),
        found=len(found),
        true=len(truth),
    )


def run_fold(experiment: Experiment, fold: Fold, seed: int) -> dict[str, Tally]:
    """Train a head and a baseline, and let each rival answer at each step of the recording."""
    sequences, labels = experiment.sequences, experiment.dataset.labels
    config, recording = experiment.config, experiment.recordings[fold.name]
    head, baseline = (
        fit_head(task_of(sequences, fold, len(labels), of, seed)).head
        for of in (config, mean_pool(config))
    )
    window = median_steps(sequences, fold)
    rate_fps = config.sampling.rate_fps
    assert rate_fps is not None
    restarted = Scorer(head, with_period(StatePolicy(kind="restart"), window / rate_fps))
    scores = {
        KEPT: read_out(head, recording.values).now,
        "mean-pool, sliding window": sliding_mean(baseline, recording.values, window),
        "started anew for each window": started_anew(head, recording.values, window),
        "restart, half a training clip": restarted.push(
            recording.values, recording.pts_seconds
        ).now,
    }
    return {rival: tally(each, recording, labels) for rival, each in scores.items()}


def in_processes(
    jobs: Iterable[tuple[Any, ...]], work: Callable[..., Any], shared: Any
) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """`work(shared, *job)` of each job, as they are done: two processes of one thread each."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, context, _start_process, (work, shared)) as pool:
        futures = {pool.submit(_work, job): job for job in jobs}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _start_process(work: Callable[..., Any], shared: Any) -> None:
    global _WORK, _SHARED
    _WORK, _SHARED = work, shared
    torch.set_num_threads(1)


def _work(job: tuple[Any, ...]) -> Any:
    return _WORK(_SHARED, *job)


def summarise(tallies: Mapping[str, Mapping[int, Tally]]) -> list[dict[str, Any]]:
    """Rows for the table and the file, from the tallies of each rival's seeds."""
    kept = np.mean([mine.accuracy for mine in tallies[KEPT].values()])
    rows = []
    for rival, by_seed in tallies.items():
        accuracy, f1 = (
            [getattr(mine, name) for mine in by_seed.values()] for name in ("accuracy", "f1")
        )
        rows.append(
            {
                "case": "an hour of Weizmann's clips",
                "rival": rival,
                "ratio": np.mean(accuracy) / kept,
                "accuracy": np.mean(accuracy),
                "f1_at_50": np.mean(f1),
                "accuracy_of_seeds": accuracy,
                "f1_at_50_of_seeds": f1,
            }
        )
    return rows


def with_spread(values: Sequence[float]) -> str:
    """`91.2 %`, or `91.2 ± 0.4 %` (the standard deviation) of several seeds."""
    spread = f" ± {100 * np.std(values, ddof=1):.1f}" if len(values) > 1 else ""
    return f"{100 * np.mean(values):.1f}{spread} %"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="the folder of Weizmann's clips")
    parser.add_argument("--minutes", type=float, default=60, help="of all recordings together")
    parser.add_argument(
        "--runs", type=Path, default=Path("runs/long"), help="where features are kept"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the first training")
    parser.add_argument("--seeds", type=int, default=1, help="trainings of each head")
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    parser.add_argument("overrides", nargs="*", help="section.key=value, of weizmann_gru")
    arguments = parser.parse_args()
    config = load_config("weizmann_gru", [f"data.root={arguments.data}", *arguments.overrides])
    experiment = prepare(config, arguments.runs, arguments.minutes)
    seeds = range(arguments.seed, arguments.seed + arguments.seeds)
    jobs = [(fold, seed) for seed in seeds for fold in experiment.folds]
    tallies: dict[str, dict[int, Tally]] = {}
    with progress_bar("training and testing", len(jobs)) as advance:
        for (fold, seed), of_fold in in_processes(jobs, run_fold, experiment):
            for rival, mine in of_fold.items():
                tallies.setdefault(rival, {}).setdefault(seed, Tally()).add(mine)
            advance(note=fold.name)
    rows = summarise(tallies)
    print(f"| state | steps right | F1@50 | segments (true {tallies[KEPT][arguments.seed].true}) |")
    print("|---|---|---|---|")
    for row in rows:
        found = np.mean([mine.found for mine in tallies[row["rival"]].values()])
        print(
            f"| {row['rival']} | {with_spread(row['accuracy_of_seeds'])} "
            f"| {with_spread(row['f1_at_50_of_seeds'])} | {found:.0f} |"
        )
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
