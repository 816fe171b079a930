"""Training a head from stored features, beside the usual loop.

    python benchmarks/train.py --json train.json
    python benchmarks/train.py --device cuda

A store of UCF101 split 1's shape (9,537 clips x 16 frames x 1280 features, random numbers) is
written, then one epoch is trained by, in turns:

- this toolkit (`fit_head`), from the mapped store;
- the limit: forward, backward and optimiser alone, on one batch in memory;
- the usual loop: a `Dataset` that loads one .npy per clip, `DataLoader` with its defaults,
  and the same maths: head, loss, clipping, optimiser, batch size.

Clips are trained on one by one (`train.join_clips=1`) and as they are by default, joined: the limit
and the usual loop know only single clips, and fewer and longer rows cost more in the recurrence.

At last an epoch of an hour of annotated video at 4 steps a second, which has no rival.

The ratio is the rival's median time over ours; for the limit it is the part of our time that
is forward, backward and optimiser. Ours includes the statistics of all features, once a training.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils import data

from actionrnn.config import Config, Sampling
from actionrnn.config_reading import load_config
from actionrnn.datasets.parts import load_parts
from actionrnn.datasets.recordings import Annotation, Dataset, Recording
from actionrnn.datasets.sequences import Sequences, load_sequences
from actionrnn.features.backbone import load_backbone
from actionrnn.features.provenance import Features, Provenance
from actionrnn.features.store import FeatureStore
from actionrnn.model.heads import Head, last_step
from actionrnn.training.fit import autocast, fit_head
from actionrnn.training.fit_state import FitTask

NUM_CLIPS, NUM_FRAMES, FEATURE_SIZE, NUM_CLASSES = 9537, 16, 1280, 101
RATE_FPS = 4
LABELS = tuple(f"class{index:03d}" for index in range(NUM_CLASSES))


class NpyFiles(data.Dataset[tuple[Tensor, int]]):
    """One file per clip, loaded when it is wanted."""

    def __init__(self, files: list[Path], targets: list[int]) -> None:
        self.files, self.targets = files, targets

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return torch.from_numpy(np.load(self.files[index])).float(), self.targets[index]


def write_data(folder: Path, num_clips: int) -> tuple[Sequences, NpyFiles]:
    rng = np.random.default_rng(0)
    provenance = Provenance.of(load_backbone("imported/random"), Sampling())
    store = FeatureStore.create(folder / "store", provenance)
    times = np.arange(NUM_FRAMES, dtype=np.float64)
    clips, files, targets = [], [], []
    (folder / "npy").mkdir()
    for index in range(num_clips):
        values = rng.standard_normal((NUM_FRAMES, FEATURE_SIZE), np.float32)
        label = LABELS[index % NUM_CLASSES]
        clips.append(
            Recording.trimmed(
                Path(f"{index}.avi"), f"{label}/{index:05d}", label, str(index)
            ).clips[0]
        )
        store.write(clips[-1].key, Features(values, times, provenance))
        files.append(folder / "npy" / f"{index:05d}.npy")
        np.save(files[-1], values.astype(np.float16))
        targets.append(index % NUM_CLASSES)
    start = time.perf_counter()
    sequences = load_sequences(store, clips, LABELS)
    print(f"the store was opened in {time.perf_counter() - start:.1f} s", flush=True)
    return sequences, NpyFiles(files, targets)


def make_step(config: Config, device: str) -> Callable[[Tensor, Tensor], None]:
    """One step of the usual loop: our head, loss, clipping and optimiser."""
    head = Head(config.head, FEATURE_SIZE, NUM_CLASSES).train().to(device)
    train = config.train
    optimiser = torch.optim.AdamW(
        head.parameters(), lr=train.learning_rate, weight_decay=train.weight_decay
    )

    def step(values: Tensor, targets: Tensor) -> None:
        lengths = torch.full((len(values),), values.shape[1])
        values, targets, lengths = values.to(device), targets.to(device), lengths.to(device)
        with autocast(torch.device(device), train.precision):
            logits = last_step(head.so_far(head(values, lengths)), lengths)
        loss = F.cross_entropy(logits.float(), targets, label_smoothing=train.label_smoothing)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(head.parameters(), train.clip_norm)
        optimiser.step()
        loss.item()

    return step


def run_ours(config: Config, sequences: Sequences, device: str) -> None:
    one_epoch = replace(config.train, epochs=1)
    fit_head(FitTask(sequences, NUM_CLASSES, config.head, one_epoch), device=device)


def run_limit(config: Config, num_clips: int, device: str) -> None:
    step, size = make_step(config, device), config.train.batch_size
    values, targets = torch.randn(size, NUM_FRAMES, FEATURE_SIZE), torch.arange(size) % NUM_CLASSES
    values, targets = values.to(device), targets.to(device)
    for start in range(0, num_clips, size):
        count = min(size, num_clips - start)
        step(values[:count], targets[:count])


def run_usual(config: Config, files: NpyFiles, device: str) -> None:
    step = make_step(config, device)
    for values, targets in data.DataLoader(files, batch_size=config.train.batch_size, shuffle=True):
        step(values, targets)


def measure(
    name: str,
    config: Config,
    sequences: Sequences,
    files: NpyFiles,
    arguments: argparse.Namespace,
) -> list[dict[str, str | float]]:
    device = arguments.device
    jobs: dict[str, Callable[[], None]] = {
        "ours": lambda: run_ours(config, sequences, device),
        "limit": lambda: run_limit(config, len(files), device),
        "usual loop": lambda: run_usual(config, files, device),
    }
    seconds: dict[str, list[float]] = {job: [] for job in jobs}
    for _ in range(arguments.repeats):
        for job, run in jobs.items():
            start = time.perf_counter()
            run()
            seconds[job].append(time.perf_counter() - start)
    ours = statistics.median(seconds["ours"])
    ratios = {job: statistics.median(seconds[job]) / ours for job in ("limit", "usual loop")}
    print(
        f"{name:<26} forward, backward, optimiser {ratios['limit']:4.0%} of our time   "
        f"usual loop {ratios['usual loop']:4.2f}x our time",
        flush=True,
    )
    return [{"case": name, "rival": job, "ratio": round(r, 3)} for job, r in ratios.items()]


def write_hour(folder: Path) -> Sequences:
    """Six recordings of ten minutes; of each ten seconds five are labelled."""
    rng = np.random.default_rng(0)
    provenance = Provenance.of(load_backbone("imported/random"), Sampling(rate_fps=RATE_FPS))
    store = FeatureStore.create(folder / "hour", provenance)
    times, recordings = np.arange(600 * RATE_FPS) / RATE_FPS, []
    for number in range(6):
        parts = [Annotation(LABELS[at // 10 % 8], at, at + 5.0) for at in range(0, 600, 10)]
        name = f"r{number}"
        recordings.append(Recording(Path(f"{name}.mp4"), name, name, None, tuple(parts)))
        values = rng.standard_normal((len(times), FEATURE_SIZE), np.float32)
        store.write(name, Features(values, times, provenance))
    dataset = Dataset(folder, tuple(recordings), continuous=True)
    return load_parts(store, dataset)[1]


def print_hour(config: Config, folder: Path, arguments: argparse.Namespace) -> None:
    sequences, seconds = write_hour(folder), []
    for _ in range(arguments.repeats):
        start = time.perf_counter()
        run_ours(config, sequences, arguments.device)
        seconds.append(time.perf_counter() - start)
    print(
        f"an hour of annotated video at {RATE_FPS} steps a second, GRU {config.head.hidden_size}: "
        f"an epoch takes {statistics.median(seconds):.2f} s (goal: under 2)"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    parser.add_argument("--clips", type=int, default=NUM_CLIPS, help="clips in the store")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--device", default="cpu", help="any of torch's, for all of them")
    arguments = parser.parse_args()
    config = load_config("ucf101_efficientnet_lite0_gru")
    small = replace(
        config,
        head=replace(config.head, hidden_size=Config().head.hidden_size),
        train=replace(config.train, batch_size=Config().train.batch_size),
    )
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        sequences, files = write_data(Path(temporary), arguments.clips)
        for case in (config, small):
            name = f"GRU {case.head.hidden_size}, batch {case.train.batch_size}"
            alone = replace(case, train=replace(case.train, join_clips=1))
            rows += measure(name, alone, sequences, files, arguments)
            rows += measure(f"{name}, joined", case, sequences, files, arguments)
        hour = replace(small, head=replace(small.head, hidden_size=128))
        print_hour(hour, Path(temporary), arguments)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
