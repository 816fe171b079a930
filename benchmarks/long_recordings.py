"""What a head trained on clips of some seconds does in an hour, with one state kept for ever.

    python benchmarks/long_recordings.py --data WEIZMANN --json long.json

Leave one person out: for each person a head is trained on the others' clips, and that person's
clips are joined, in random orders again and again, to one recording whose truth is known. It is
sampled and encoded as a stream is: the ticks run on over the seams, and the change at a clip's
first frame is that from the last frame of the clip before. The rivals see the same features:

- mean-pool over a sliding window: the mean of the logits of a head without a state;
- the head started anew for each window: what it says of the last steps alone, which costs as many
  times more as a window has steps.

A window is half as long as the median training clip: with whole ones the rivals are worse. What
the columns mean is said in `actionrnn/evaluation/step_scores.py`. The ratio is the accuracy over
that of the kept state.
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

from actionrnn.config import Config, HeadConfig, Sampling
from actionrnn.config_reading import load_config
from actionrnn.datasets.recordings import (
    IGNORE,
    UNLABELLED,
    Annotation,
    Clip,
    Dataset,
    Recording,
)
from actionrnn.datasets.sequences import Sequences
from actionrnn.datasets.splits import Fold, make_folds, open_dataset, train_val_split
from actionrnn.datasets.stored import load_features
from actionrnn.evaluation.step_predictions import StepPredictions
from actionrnn.evaluation.step_scores import StepResults, StepScores, step_report
from actionrnn.evaluation.window_baselines import restarted_per_window, sliding_mean_pool
from actionrnn.features.backbone import Backbone, load_backbone
from actionrnn.features.machine import num_cores
from actionrnn.features.provenance import Provenance
from actionrnn.files import atomic_path
from actionrnn.model.heads import read_out
from actionrnn.progress import progress_bar
from actionrnn.training.fit import fit_head
from actionrnn.training.fit_state import FitTask
from actionrnn.video.decode import read_frames
from actionrnn.video.sampling import FrameSampler

RATE_FPS = 25
"""Of Weizmann's clips."""
KEPT = "keep for ever"
WINDOW_PART = 0.5
"""Of the median training clip: a rival's window. A whole clip is worse for all of them."""
PAIRS_AT_ONCE = 128

COLUMNS = {
    "accuracy": "steps right",
    "f1_at_10": "F1@10",
    "f1_at_25": "F1@25",
    "f1_at_50": "F1@50",
    "edit": "edit score",
    "delay_seconds": "delay in s",
}
"""Fields of `StepScores`; all but the delay in percent."""

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

    def __getitem__(self, steps: slice) -> Joined:
        """Some of its steps."""
        return Joined(self.values[steps], self.targets[steps], self.pts_seconds[steps])

    def predictions(
        self, name: str, scores: Mapping[str, Scores], delay_steps: Mapping[str, int]
    ) -> StepPredictions:
        """With what models answer at its steps, and how much later."""
        return StepPredictions(name, name, self.pts_seconds, self.targets, scores, delay_steps)


def in_parts(
    recordings: Mapping[str, Joined], labels: Sequence[str], provenance: Provenance
) -> Sequences:
    """Recordings whose targets may be IGNORE, cut into parts of one target each.

    Args:
        labels: by target.
    """
    clips, parts = [], []
    for name, joined in recordings.items():
        cuts = np.flatnonzero(np.diff(joined.targets)) + 1
        for begin, stop in zip([0, *cuts], [*cuts, len(joined.targets)], strict=True):
            part = joined[begin:stop]
            label = UNLABELLED if part.targets[0] == IGNORE else labels[part.targets[0]]
            bounds = part.pts_seconds[[0, -1]].tolist()
            clips.append(Clip(Recording(Path(name), name, name), Annotation(label, *bounds)))
            parts.append(part)
    return Sequences(
        tuple(clips),
        tuple(part.values for part in parts),
        np.array([part.targets[0] for part in parts], np.int64),
        tuple(clip.video_key for clip in clips),
        provenance,
        pts_seconds=tuple(part.pts_seconds for part in parts),
    )


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
    given = config.head
    head = HeadConfig(kind="mean", dropout=given.dropout, input_scaling=given.input_scaling)
    return replace(config, head=head, train=replace(config.train, now_weight=0.0))


def window_steps(sequences: Sequences, fold: Fold) -> int:
    lengths = [len(values) for values in sequences.subset(fold.train).values]
    return max(1, round(WINDOW_PART * float(np.median(lengths))))


def run_fold(experiment: Experiment, fold: Fold, seed: int) -> StepPredictions:
    """Train a head and a baseline, and let each rival answer at each step of the recording."""
    sequences, labels = experiment.sequences, experiment.dataset.labels
    recording = experiment.recordings[fold.name]
    head, baseline = (
        fit_head(task_of(sequences, fold, len(labels), config, seed)).head
        for config in (experiment.config, mean_pool(experiment.config))
    )
    window = window_steps(sequences, fold)
    scores = {
        KEPT: read_out(head, recording.values).now,
        "mean-pool, sliding window": sliding_mean_pool(baseline, recording.values, window),
        "started anew for each window": restarted_per_window(head, recording.values, window),
    }
    return recording.predictions(fold.name, scores, {KEPT: head.delay_steps})


def in_processes(
    jobs: Iterable[tuple[Any, ...]], work: Callable[..., Any], shared: Any
) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """`work(shared, *job)` of each job, as they are done: on each core a process of one thread."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(num_cores(), context, _start_process, (work, shared)) as pool:
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


def summarise(results: Sequence[StepResults], minutes: float) -> list[dict[str, Any]]:
    """A row for each rival, from the results of each seed."""
    rows, length = [], "an hour" if minutes == 60 else f"{minutes:g} minutes"
    for rival in results[0].models:
        scores = [of_seed.models[rival] for of_seed in results]
        kept = [of_seed.models[KEPT] for of_seed in results]
        rows.append(
            {
                "case": f"{length} of Weizmann's clips",
                "rival": rival,
                "ratio": mean_of(scores, "accuracy") / mean_of(kept, "accuracy"),
                **{name: mean_of(scores, name) for name in COLUMNS},
                "seeds": [{name: getattr(each, name) for name in COLUMNS} for each in scores],
            }
        )
    return rows


def mean_of(scores: Sequence[StepScores], name: str) -> float:
    return float(np.mean([getattr(each, name) for each in scores]))


def as_markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """Means over seeds, with the standard deviation where there are several."""
    lines = ["| state | " + " | ".join(COLUMNS.values()) + " |", "|---" * (len(COLUMNS) + 1) + "|"]
    for row in rows:
        cells = []
        for name in COLUMNS:
            unit = 1 if name == "delay_seconds" else 100
            values = [unit * seed[name] for seed in row["seeds"]]
            digits = 2 if unit == 1 else 1
            spread = f" ± {np.std(values, ddof=1):.{digits}f}" if len(values) > 1 else ""
            cells.append(f"{np.mean(values):.{digits}f}{spread}")
        lines.append(f"| {row['rival']} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


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
    found: dict[int, dict[str, StepPredictions]] = {seed: {} for seed in seeds}
    with progress_bar("training and testing", len(jobs)) as advance:
        for (fold, seed), predictions in in_processes(jobs, run_fold, experiment):
            found[seed][fold.name] = predictions
            advance(note=fold.name)
    labels, names = experiment.dataset.labels, [fold.name for fold in experiment.folds]
    rows = summarise(
        [step_report(labels, [of_seed[name] for name in names]) for of_seed in found.values()],
        arguments.minutes,
    )
    print(as_markdown(rows))
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
