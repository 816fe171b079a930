"""Reading stored features for training: this toolkit's store beside `.npy` files and HDF5.

    python benchmarks/store.py --json store.json
    pip install h5py

A store of UCF101's size (13,320 clips x 16 frames x 1280 features in float16, random numbers) is
written, and beside it the same features as one `.npy` a clip and as one HDF5 file with a data set
a clip. Then, in turns, in one process:

    open        until it is known which clips are there and how long each is
    batches     one epoch of shuffled batches of 128 clips, padded, in float32
    limit       forward, backward and optimiser of a GRU on one such batch that is ready:
                what a head can use on this machine

The ratio is the rival's median over ours; for the limit, how many times faster the batches come
than the head can use them. All files are in the page cache, as they are from the second epoch on.
`--cold` has the kernel drop them before each epoch (Linux, root).
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import h5py
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from actionrnn.config import HeadConfig, Sampling
from actionrnn.datasets.recordings import Clip, Recording
from actionrnn.datasets.sequences import Piece, Sequences, load_sequences
from actionrnn.features.backbone import load_backbone
from actionrnn.features.provenance import Features, Provenance
from actionrnn.features.store import FeatureStore
from actionrnn.model.heads import Head, last_step

NUM_FRAMES, FEATURE_SIZE, NUM_CLASSES, BATCH_CLIPS = 16, 1280, 101, 128
LABELS = tuple(f"class{index:03d}" for index in range(NUM_CLASSES))
HEAD = HeadConfig(kind="gru", hidden_size=512)
Batches = Iterator[Tensor]
DROP_CACHES = Path("/proc/sys/vm/drop_caches")


def write_data(folder: Path, num_clips: int) -> list[Clip]:
    """The same features three times."""
    rng = np.random.default_rng(0)
    provenance = Provenance.of(load_backbone("imported/random"), Sampling())
    store = FeatureStore.create(folder / "store", provenance)
    times = np.arange(NUM_FRAMES, dtype=np.float64)
    (folder / "npy").mkdir()
    clips = []
    file = h5py.File(folder / "features.h5", "w")
    for index in range(num_clips):
        values = rng.standard_normal((NUM_FRAMES, FEATURE_SIZE), np.float32)
        label = LABELS[index % NUM_CLASSES]
        clips.append(
            Recording.trimmed(
                Path(f"{index}.avi"), f"{label}/{index:05d}", label, str(index)
            ).clips[0]
        )
        store.write(clips[-1].key, Features(values, times, provenance))
        half = values.astype(np.float16)
        np.save(folder / "npy" / f"{index:05d}.npy", half)
        file[f"{index:05d}"] = half
    file.close()
    return clips


def order_of(num_clips: int, seed: int) -> list[NDArray[np.intp]]:
    shuffled = np.random.default_rng(seed).permutation(num_clips)
    return np.array_split(shuffled, max(1, num_clips // BATCH_CLIPS))


def ours(sequences: Sequences, seed: int) -> Batches:
    for indices in order_of(len(sequences), seed):
        yield sequences.batch([[Piece(i, np.arange(NUM_FRAMES))] for i in indices]).values


def npy_files(files: list[Path], seed: int) -> Batches:
    for indices in order_of(len(files), seed):
        yield torch.from_numpy(np.stack([np.load(files[index]) for index in indices])).float()


def hdf5(file: h5py.File, names: list[str], seed: int) -> Batches:
    for indices in order_of(len(names), seed):
        yield torch.from_numpy(np.stack([file[names[index]][:] for index in indices])).float()


def step_seconds(batch: Tensor, repeats: int) -> float:
    """Median time of one training step on a batch that is ready."""
    head = Head(HEAD, FEATURE_SIZE, NUM_CLASSES).train()
    optimiser = torch.optim.AdamW(head.parameters())
    targets = torch.zeros(len(batch), dtype=torch.long)
    lengths = torch.full((len(batch),), batch.shape[1])

    def step() -> None:
        loss = F.cross_entropy(last_step(head.so_far(head(batch, lengths)), lengths), targets)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(head.parameters(), 1.0)
        optimiser.step()

    step()
    return statistics.median(seconds(step) for _ in range(3 * repeats))


def seconds(job: Callable[[], object]) -> float:
    start = time.perf_counter()
    job()
    return time.perf_counter() - start


def consume(batches: Batches) -> None:
    for batch in batches:
        batch[0, 0, 0].item()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    parser.add_argument("--clips", type=int, default=13_320)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--cold", action="store_true", help="drop the page cache before an epoch")
    arguments = parser.parse_args()
    if arguments.cold and not os.access(DROP_CACHES, os.W_OK):
        parser.error("--cold takes root on Linux")
    with tempfile.TemporaryDirectory() as folder:
        rows = measure(Path(folder), arguments.clips, arguments.repeats, arguments.cold)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=2) + "\n")


def measure(folder: Path, num_clips: int, repeats: int, cold: bool) -> list[dict[str, object]]:
    clips = write_data(folder, num_clips)
    size_bytes = num_clips * NUM_FRAMES * FEATURE_SIZE * 2
    print(f"{num_clips} clips x {NUM_FRAMES} x {FEATURE_SIZE} float16, {size_bytes / 1e9:.2f} GB")

    def open_ours() -> Sequences:
        store = FeatureStore.open(folder / "store")
        keys = set(store.keys())  # as one who does not know what is there
        return load_sequences(store, [clip for clip in clips if clip.key in keys], LABELS)

    files = sorted((folder / "npy").glob("*.npy"))
    opened = h5py.File(folder / "features.h5")
    openings: dict[str, Callable[[], object]] = {
        "ours": open_ours,
        ".npy one by one": lambda: [len(np.load(file, mmap_mode="r")) for file in files],
        "HDF5": lambda: [len(opened[name]) for name in opened],
    }
    readers: dict[str, Callable[[int], Batches]] = {
        "ours": functools.partial(ours, open_ours()),
        ".npy one by one": functools.partial(npy_files, files),
        "HDF5": functools.partial(hdf5, opened, list(opened)),
    }
    times: dict[str, dict[str, list[float]]]
    times = {name: {"open": [], "batches": []} for name in readers}
    for repeat in range(repeats):
        for name, read in readers.items():
            if cold:
                os.sync()
                DROP_CACHES.write_text("3\n")
            times[name]["open"].append(seconds(openings[name]))
            times[name]["batches"].append(seconds(functools.partial(consume, read(repeat))))
    batch = next(readers["ours"](0))
    limit = step_seconds(batch, repeats) * len(order_of(num_clips, 0))
    return table(times, limit, num_clips)


def table(
    times: dict[str, dict[str, list[float]]], limit_seconds: float, num_clips: int
) -> list[dict[str, object]]:
    median = {
        name: {case: statistics.median(values) for case, values in cases.items()}
        for name, cases in times.items()
    }
    head = f"{HEAD.kind} {HEAD.hidden_size} head"
    rows = [
        {"case": case, "rival": name, "ratio": round(value / median["ours"][case], 3)}
        for name, cases in median.items()
        for case, value in cases.items()
        if name != "ours"
    ]
    ratio = limit_seconds / median["ours"]["batches"]
    rows.append({"case": "batches", "rival": f"{head}, limit", "ratio": round(ratio, 3)})
    for name, cases in median.items():
        rate = f"{num_clips / cases['batches']:.0f} clips/s"
        print(f"{name:18} open {cases['open']:6.2f} s   epoch {cases['batches']:6.2f} s   {rate}")
    print(f"a {head} needs {limit_seconds:.2f} s for an epoch")
    for row in rows:
        print(f"{row['case']:10} {row['rival']:20} {row['ratio']:7.2f} x")
    return rows


if __name__ == "__main__":
    main()
