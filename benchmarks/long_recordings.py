"""What a head trained on clips of some seconds does in an hour, by what becomes of its state.

    python benchmarks/long_recordings.py --data WEIZMANN --json long.json

Leave one person out: for each person a model is trained on the others, and that person's clips
are joined, in random orders again and again, to one recording whose truth is known. All policies
see the same recordings with the same models. Accuracy is that of the answer at each step, at that
moment; F1@50 is that of the timeline's segments, of which one is right if it covers a true one of
its label with an intersection over union of at least one half (Lea et al., CVPR 2017).
The ratio is the accuracy over that of a state that is kept for ever.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from actionrnn.config import SegmentRule, StatePolicy, load_config
from actionrnn.model.recognizer import Recognizer, load
from actionrnn.model.segments import Segment, find_segments
from actionrnn.progress import progress_bar
from actionrnn.training.train import MODEL_FILE, train
from actionrnn.video.decode import read_frames
from actionrnn.video.frame import Frame

RATE_FPS = 25

POLICIES = {
    "keep for ever": StatePolicy(kind="keep"),
    "restart, half a training clip (default)": StatePolicy(),
    **{
        f"restart, {seconds:g} s": StatePolicy(kind="restart", period_seconds=seconds)
        for seconds in (0.5, 1, 3)
    },
    **{
        f"forget, half-life {steps} steps": StatePolicy(kind="forget", half_life_steps=steps)
        for steps in (2, 3, 12)
    },
}


class RememberingBackbone:
    """A backbone that encodes the same picture once: the joined clips come again and again."""

    def __init__(self, backbone: Any) -> None:
        self._backbone = backbone
        self._known: dict[bytes, np.ndarray] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backbone, name)

    def encode(self, frames: np.ndarray, **_: Any) -> np.ndarray:
        keys = [hashlib.blake2b(frame.data, digest_size=16).digest() for frame in frames]
        new = {key: place for place, key in enumerate(keys) if key not in self._known}
        if new:
            alone = replace(
                self._backbone,
                preprocessing=replace(self._backbone.preprocessing, modality="rgb_diff"),
            )  # one picture after another, whatever they show
            values = alone.encode(frames[list(new.values())])
            self._known.update(zip(new, values, strict=True))
        encoded = np.stack([self._known[key] for key in keys])
        return encoded.reshape(-1, self._backbone.feature_size)


@dataclass(frozen=True)
class Recording:
    """Clips one after another."""

    clips: list[tuple[str, np.ndarray]]
    """Label and frames (T, H, W, 3)."""
    order: list[int]

    def pieces(self) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
        """Label, frames and times of each clip."""
        begin = 0
        for number in self.order:
            label, frames = self.clips[number]
            yield label, frames, (begin + np.arange(len(frames))) / RATE_FPS
            begin += len(frames)

    def truth(self) -> list[Segment]:
        found: list[Segment] = []
        for label, _, times in self.pieces():
            start, end = float(times[0]), float(times[-1]) + 1 / RATE_FPS
            if found and found[-1].label == label:
                start = found.pop().start_seconds
            found.append(Segment(label, start, end, 1.0))
        return found


@dataclass
class Tally:
    """Of one policy over all recordings."""

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


def make_recording(data: Path, person: str, seconds: float, scale: Any, seed: int) -> Recording:
    files = sorted(data.glob(f"*/{person}_*"))
    clips = [(file.parent.name, read_frames(file, scale=scale).data) for file in files]
    rng, order, length = np.random.default_rng([seed, *person.encode()]), [], 0.0
    while length < seconds:
        order += rng.permutation(len(clips)).tolist()
        length = sum(len(clips[number][1]) for number in order) / RATE_FPS
    return Recording(clips, order)


def run_policy(
    model: Recognizer, recording: Recording, policy: StatePolicy
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    stream, scores, times, labels = model.stream(policy), [], [], []
    for label, frames, pts_seconds in recording.pieces():
        scores.append(stream.push(map(Frame.from_array, frames, pts_seconds)))
        times.append(stream.pts_seconds)
        labels += [label] * len(scores[-1])
    return np.concatenate(scores), np.concatenate(times), labels


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


def tally(
    tallies: dict[str, Tally], model: Recognizer, recording: Recording, rules: dict[str, Any]
) -> None:
    truth = recording.truth()
    for name, policy in POLICIES.items():
        scores, times, labels = run_policy(model, recording, policy)
        best = scores.argmax(axis=1)
        for rule_name, rule in rules.items():
            mine = tallies.setdefault(name + rule_name, Tally())
            mine.right += sum(model.labels[b] == t for b, t in zip(best, labels, strict=True))
            mine.steps += len(labels)
            found = find_segments(model.labels, scores, times, rule)
            mine.hits += count_hits(found, truth)
            mine.found += len(found)
            mine.true += len(truth)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="the folder of Weizmann's clips")
    parser.add_argument("--minutes", type=float, default=60, help="of all recordings together")
    parser.add_argument(
        "--runs", type=Path, default=Path("runs/long"), help="where models are kept"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rules", action="store_true", help="try other rules for segments, too")
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    parser.add_argument("overrides", nargs="*", help="section.key=value, of weizmann_gru")
    arguments = parser.parse_args()
    rules: dict[str, SegmentRule] = {"": SegmentRule()}
    if arguments.rules:
        rules |= {
            f" | smooth {smooth:g} min {least:g}": SegmentRule(
                smooth_seconds=smooth, min_seconds=least
            )
            for smooth in (0, 0.5, 1, 1.5)
            for least in (0, 0.5, 1)
        }
    people = sorted({file.stem.split("_")[0] for file in arguments.data.glob("*/*_*")})
    tallies: dict[str, Tally] = {}
    with progress_bar("recordings", len(people)) as advance:
        for person in people:
            file = arguments.runs / person / MODEL_FILE
            if not file.exists():
                given = [f"data.root={arguments.data}", f"data.fold={person}"]
                config = load_config("weizmann_gru", [*given, *arguments.overrides])
                train(config, arguments.runs / person)
            model = load(file)
            model = replace(model, backbone=RememberingBackbone(model.backbone))
            recording = make_recording(
                arguments.data,
                person,
                60 * arguments.minutes / len(people),
                model.backbone.preprocessing.scaled_size,
                arguments.seed,
            )
            tally(tallies, model, recording, rules)
            advance(note=person)
    kept = tallies["keep for ever"].accuracy
    rows = []
    print(f"{'policy':58} accuracy  F1@50  segments (true {tallies['keep for ever'].true})")
    for name, mine in tallies.items():
        print(f"{name:58} {mine.accuracy:8.1%} {mine.f1:6.1%}  {mine.found}")
        rows.append(
            {
                "case": "an hour of Weizmann's clips",
                "rival": name,
                "ratio": mine.accuracy / kept,
                "accuracy": mine.accuracy,
                "f1_at_50": mine.f1,
            }
        )
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
