"""What it brings to look where the model is least sure: simulated annotators.

    python benchmarks/proposals.py --data WEIZMANN --json proposals.json

Weizmann's clips joined to recordings, see `long_recordings.py`; every second step of them. An
annotator labels the recordings of six people, some seconds at a time; whatever is looked at is
labelled as it is. After every two places a head is trained on all that is labelled so far, and its
timeline of the other three people is scored. Counted are the seconds that were looked at until
F1@50 is 0.9 or more for the first time; all of them where it never is.

- guided: the next place is `next_place`, where the model is least sure;
- from left to right: the recordings one after another, each from its beginning;
- in random places: of the same length.

All begin with the same first places, from left to right. The seed draws who is left out, the order
of the recordings and the random places. The ratio is the rival's seconds over those of the guided.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import numpy as np
from long_recordings import Joined, in_parts, in_processes, prepare
from numpy.typing import NDArray

from actionrnn.apps.studio.proposals import LOOK_SECONDS, next_place
from actionrnn.config import HeadConfig, TrainConfig
from actionrnn.config_reading import load_config
from actionrnn.datasets.annotations.marks import Span, united, without
from actionrnn.datasets.recordings import IGNORE
from actionrnn.evaluation.segment_metrics import matched_segments, segments_of
from actionrnn.features.provenance import Provenance
from actionrnn.model.heads import Head, read_out
from actionrnn.model.segments import shown_labels
from actionrnn.model.timeline import Timeline
from actionrnn.progress import progress_bar
from actionrnn.training.fit import fit_head
from actionrnn.training.fit_state import FitTask

GUIDED = "guided"
LEFT_TO_RIGHT = "from left to right"
RANDOM = "in random places"
RIVALS = (GUIDED, LEFT_TO_RIGHT, RANDOM)
WANTED_F1 = 0.9
PEOPLE_OUT = 3
PLACES_A_ROUND = 2
EVERY = 2
"""Steps: of 12.5 a second, 6.25 are left."""
HEAD = HeadConfig(hidden_size=128)
TRAIN = TrainConfig(
    epochs=12, learning_rate=2e-3, batch_size=8, window_steps=64, state_warmup_steps=16
)
STUDENT = {2: 12.71, 3: 4.30, 4: 3.18, 5: 2.78, 6: 2.57, 7: 2.45, 8: 2.36, 9: 2.31, 10: 2.26}
"""Student's t that leaves 2.5 % on a side, by the number of seeds."""

Looked = dict[str, tuple[Span, ...]]


@dataclass(frozen=True)
class Pool:
    """Recordings by person, and whose features they are."""

    recordings: Mapping[str, Joined]
    labels: tuple[str, ...]
    provenance: Provenance
    seconds: float
    """Of each recording that may be looked at."""


@dataclass(frozen=True)
class Trained:
    """A head of the labels that were seen so far."""

    head: Head
    classes: NDArray[np.int64]

    def scores(self, joined: Joined) -> NDArray[np.float32]:
        """Of now, a column for each class that was seen."""
        return read_out(self.head, joined.values).now


def train(pool: Pool, to_label: Mapping[str, Joined], looked: Looked, seed: int) -> Trained:
    """On the steps that were looked at; the others are unlabelled."""
    recordings = {}
    for name, joined in to_label.items():
        targets = np.full(len(joined.targets), IGNORE, np.int64)
        for start, end in looked.get(name, ()):
            inside = (joined.pts_seconds >= start) & (joined.pts_seconds < end)
            targets[inside] = joined.targets[inside]
        if (targets != IGNORE).any():
            recordings[name] = replace(joined, targets=targets)
    sequences = in_parts(recordings, pool.labels, pool.provenance)
    is_seen = sequences.targets != IGNORE
    classes = np.unique(sequences.targets[is_seen])
    places = np.where(is_seen, np.searchsorted(classes, sequences.targets), IGNORE)
    sequences = replace(sequences, targets=places)
    task = FitTask(sequences, len(classes), HEAD, replace(TRAIN, seed=seed), None)
    return Trained(fit_head(task).head, classes)


def f1_at_50(trained: Trained, recordings: Sequence[Joined]) -> float:
    """Of the timelines of people who were left out."""
    hits = total = 0
    for joined in recordings:
        shown = trained.classes[shown_labels(trained.scores(joined), joined.pts_seconds)]
        found, true = (segments_of(what, joined.targets) for what in (shown, joined.targets))
        hits += int(matched_segments(found, true, (50,))[0])
        total += len(found) + len(true)
    return 2 * hits / total


def free_places(pool: Mapping[str, Joined], looked: Looked) -> list[tuple[str, float, float]]:
    """All that was not looked at, cut into places, from left to right."""
    found = []
    for name, joined in pool.items():
        whole = (0.0, float(joined.pts_seconds[-1]))
        for start, end in without([whole], looked.get(name, ())):
            edges = [*np.arange(start, end - 0.5, LOOK_SECONDS).tolist(), end]
            found += [(name, a, b) for a, b in itertools.pairwise(edges)]
    return found


def choose(
    rival: str,
    pool: Mapping[str, Joined],
    looked: Looked,
    labels: Sequence[str],
    trained: Trained | None,
    rng: np.random.Generator,
) -> tuple[str, float, float] | None:
    """Which video, from when to when; None: all was looked at."""
    places = free_places(pool, looked)
    if not places:
        return None
    if rival == RANDOM and trained is not None:
        return places[int(rng.integers(len(places)))]
    if rival == GUIDED and trained is not None:
        names = tuple(labels[which] for which in trained.classes)
        timelines = {}
        for name, joined in pool.items():
            scores = trained.scores(joined)
            timelines[name] = Timeline(names, scores, scores, joined.pts_seconds)
        place = next_place(timelines, looked)
        return None if place is None else (place.video, place.seconds, place.end)
    return places[0]


def run(pool: Pool, rival: str, seed: int) -> list[tuple[float, float]]:
    """Seconds looked at and F1@50, after each training until it is as wanted."""
    rng = np.random.default_rng(seed)
    people = rng.permutation(sorted(pool.recordings)).tolist()
    out, own = people[:PEOPLE_OUT], people[PEOPLE_OUT:]
    held_out = [pool.recordings[name] for name in out]
    to_label = {}
    for name in own:
        joined = pool.recordings[name]
        to_label[name] = joined[: int(np.searchsorted(joined.pts_seconds, pool.seconds))]
    looked: Looked = {}
    trained: Trained | None = None
    curve: list[tuple[float, float]] = []
    while not curve or curve[-1][1] < WANTED_F1:
        for _ in range(PLACES_A_ROUND):
            place = choose(rival, to_label, looked, pool.labels, trained, rng)
            if place is None:
                break
            name, start, end = place
            looked[name] = united((*looked.get(name, ()), (start, end)))
        seconds = sum(end - start for spans in looked.values() for start, end in spans)
        if curve and seconds <= curve[-1][0]:
            break
        trained = train(pool, to_label, looked, seed)
        curve.append((seconds, f1_at_50(trained, held_out)))
    return curve


def summarise(
    curves: Mapping[tuple[str, int], list[tuple[float, float]]], seeds: int, pool_seconds: float
) -> list[dict[str, Any]]:
    """A row for each rival."""
    needed = {
        rival: np.array([seconds_needed(curves[rival, s], pool_seconds) for s in range(seeds)])
        for rival in RIVALS
    }
    return [
        {
            "case": f"seconds looked at until F1@50 >= {WANTED_F1:g}, Weizmann joined",
            "rival": rival,
            "ratio": float(values.mean() / needed[GUIDED].mean()),
            "seconds": float(values.mean()),
            "half_interval": half_interval(values),
            "ratio_half_interval": half_interval(values / needed[GUIDED]),
            "never": sum(curves[rival, s][-1][1] < WANTED_F1 for s in range(seeds)),
            "seeds": values.tolist(),
            "curves": [curves[rival, s] for s in range(seeds)],
        }
        for rival, values in needed.items()
    ]


def seconds_needed(curve: Sequence[tuple[float, float]], most: float) -> float:
    """All that there are where the score was never reached."""
    return curve[-1][0] if curve[-1][1] >= WANTED_F1 else most


def half_interval(values: NDArray[np.float64]) -> float | None:
    """Of the 95 % interval of the mean, by Student's t; None of one seed, or of more than ten."""
    if len(values) not in STUDENT:
        return None
    return float(STUDENT[len(values)] * values.std(ddof=1) / len(values) ** 0.5)


def as_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """A table."""
    lines = ["| annotator | seconds until 0.9 (95 %) | by seed | ratio | never |", "|---" * 5 + "|"]
    for row in rows:
        half = row["half_interval"]
        spread = "" if half is None else f" ± {half:.0f}"
        by_seed = ", ".join(f"{one:.0f}" for one in row["seeds"])
        lines.append(
            f"| {row['rival']} | {row['seconds']:.0f}{spread} | {by_seed} | {row['ratio']:.2f} "
            f"| {row['never']} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="the folder of Weizmann's clips")
    parser.add_argument("--minutes", type=float, default=30, help="of all recordings together")
    parser.add_argument("--seconds", type=float, default=60, help="that may be labelled of each")
    parser.add_argument("--runs", type=Path, default=Path("runs/long"), help="where features are")
    parser.add_argument("--seeds", type=int, default=5, help="repetitions")
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    parser.add_argument("overrides", nargs="*", help="section.key=value, of weizmann_gru")
    given = parser.parse_args()
    config = load_config("weizmann_gru", [f"data.root={given.data}", *given.overrides])
    experiment = prepare(config, given.runs, given.minutes)
    recordings = {name: joined[::EVERY] for name, joined in experiment.recordings.items()}
    provenance = experiment.sequences.provenance
    pool = Pool(recordings, experiment.dataset.labels, provenance, given.seconds)
    jobs = [(rival, seed) for seed in range(given.seeds) for rival in RIVALS]
    curves = {}
    with progress_bar("labelling", len(jobs)) as advance:
        for (rival, seed), curve in in_processes(jobs, run, pool):
            curves[rival, seed] = curve
            advance(note=f"{rival}, seed {seed}: {curve[-1][0]:.0f} s, F1@50 {curve[-1][1]:.2f}")
    num_people = len(recordings) - PEOPLE_OUT
    rows = summarise(curves, given.seeds, num_people * given.seconds)
    print(as_text(rows))
    if given.json:
        given.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
