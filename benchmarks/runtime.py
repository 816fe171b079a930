"""What computes the backbone fastest on this machine: PyTorch, ONNX Runtime, OpenVINO.

    python benchmarks/runtime.py --json runtime.json
    pip install onnxruntime onnx openvino   # one that is missing ends the run

The bundled backbone encodes the same frames in two cases, in turns, in one process:

    file     64 frames at once, as `classify` and `extract` do: frames per second count
    stream   one frame, as `stream` does with a camera: the time until its features count

The rival is eager PyTorch in float32; the ratio is its median over that of the runtime, so that
above 1 the runtime is faster. Beside it stands the worst cosine to the rival's features, and the
seconds that loading takes (and compiling, on the first call). The frames are those of real UCF101
clips (beside the checkout, or where ACTIONRNN_REAL_DATA says), else random. As on a CPU with AVX2
alone, for OpenVINO and torch: ONEDNN_MAX_CPU_ISA=AVX2.

    python benchmarks/runtime.py --accuracy features --weizmann WEIZMANN --seeds 5

trains and tests the heads of the built-in data set (`demo`), and of Weizmann (each person left out
in turn), on float32 and on int8 features, which are kept in the folder `features`: the held-out
clips that are named rightly, with each seed.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import numpy as np
from long_recordings import task_of
from numpy.typing import NDArray

from actionrnn.config import BackboneConfig, Config, Precision, Runtime, Sampling
from actionrnn.config_reading import load_config
from actionrnn.datasets.rendered import render_dataset
from actionrnn.datasets.splits import make_folds, open_dataset
from actionrnn.datasets.stored import load_features
from actionrnn.errors import BackboneError
from actionrnn.features.backbone import Backbone, load_backbone
from actionrnn.features.quantise import cosines
from actionrnn.training.fit import fit_head, validate
from actionrnn.video.decode import read_frames

RIVAL = "torch float32"
RUNTIMES: dict[str, tuple[Runtime, Precision]] = {
    RIVAL: ("torch", "float32"),
    "torch auto": ("torch", "auto"),
    "onnx": ("onnx", "float32"),
    "openvino": ("openvino", "auto"),
    "openvino float32": ("openvino", "float32"),
    "openvino int8": ("openvino", "int8"),
    "onnx int8": ("onnx", "int8"),
}
CASES = {"file": 64, "stream": 1}
REAL_DATA = Path(__file__).parents[2] / "shared" / "data"
COMPARED: tuple[Precision, ...] = ("float32", "int8")

Row = dict[str, object]


def load_all() -> dict[str, Backbone]:
    """The backbones whose runtimes are installed, after their first frames."""
    frames = np.zeros((64, 224, 224, 3), np.uint8)
    found = {}
    for name, (runtime, precision) in RUNTIMES.items():
        start = time.perf_counter()
        try:
            backbone = load_backbone(BackboneConfig(runtime=runtime, precision=precision))
        except BackboneError as error:
            sys.exit(f"{name}: {error}")
        for count in CASES.values():
            backbone.encode(frames[:count], padded=count > 1)
        print(f"{name:<16} ready after {time.perf_counter() - start:5.1f} s", flush=True)
        found[name] = backbone
    return found


def compare(backbones: dict[str, Backbone], repeats: int) -> list[Row]:
    """Every case with every runtime, in turns."""
    frames = some_frames(backbones[RIVAL])
    wanted = backbones[RIVAL].encode(frames)
    rows: list[Row] = []
    for case, count in CASES.items():
        calls = {name: encoding(backbone, frames[:count]) for name, backbone in backbones.items()}
        medians = medians_in_turns(calls, repeats * (1 if count > 1 else 10))
        for name, backbone in backbones.items():
            if name == RIVAL:
                continue
            worst = float(cosines(backbone.encode(frames), wanted).min())
            ratio = medians[RIVAL] / medians[name]
            rows.append({"case": f"{case}: {name}", "rival": RIVAL, "ratio": round(ratio, 2)})
            print(f"{case:<7} {name:<16} {ratio:5.2f}x   worst cosine {worst:.5f}")
    return rows


def some_frames(backbone: Backbone) -> NDArray[np.uint8]:
    """64 frames of real clips, else random ones, as the backbone sees them."""
    real = Path(os.environ.get("ACTIONRNN_REAL_DATA", REAL_DATA)) / "ucf101_clips"
    clips = sorted(real.glob("*.avi"))[:4]
    if len(clips) < 4:
        print("random frames")
        return np.random.default_rng(0).integers(0, 256, (64, 224, 224, 3), np.uint8)
    print(f"frames of {', '.join(clip.name for clip in clips)}")
    pictures = [
        picture for clip in clips for picture in read_frames(clip, Sampling(num_frames=16)).data
    ]
    return np.stack([backbone.preprocessing.square(picture) for picture in pictures])


def encoding(backbone: Backbone, frames: NDArray[np.uint8]) -> Callable[[], object]:
    """What is timed."""
    return lambda: backbone.encode(frames, padded=len(frames) > 1)


def medians_in_turns(calls: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Seconds of each call; what else the machine does meets all of them alike."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(repeats):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            times[name].append(time.perf_counter() - start)
    return {name: statistics.median(seconds) for name, seconds in times.items()}


def compare_accuracy(folder: Path, weizmann: Path | None, seeds: int) -> list[Row]:
    """What heads on int8 features lose against those on float32 features."""
    rendered = folder / "rendered"
    render_dataset(rendered)
    worlds = {"built-in": load_config("demo", [f"data.root={rendered}"])}
    if weizmann is not None:
        worlds["Weizmann"] = load_config("weizmann_gru", [f"data.root={weizmann}"])
    rows: list[Row] = []
    for world, config in worlds.items():
        means = []
        for precision in COMPARED:
            found = accuracies(config, precision, folder / precision, seeds)
            means.append(statistics.mean(found))
            rows.append({"case": f"{world}: {precision}", "top1": found})
            each = " ".join(f"{one:.1%}" for one in found)
            print(f"{world:<10} {precision:<8} {means[-1]:.1%}   {each}", flush=True)
        print(f"{world:<10} int8 - float32: {100 * (means[1] - means[0]):+.2f} points")
    return rows


def accuracies(config: Config, precision: Precision, folder: Path, seeds: int) -> list[float]:
    """Of the held-out clips of all folds, with each seed."""
    config = replace(config, backbone=replace(config.backbone, precision=precision, device="cpu"))
    dataset = open_dataset(config.data)
    backbone = load_backbone(config.backbone)
    dataset, sequences, _ = load_features(dataset, backbone, config, folder)
    found = []
    for seed in range(seeds):
        right = total = 0
        for fold in make_folds(dataset, config.data):
            head = fit_head(task_of(sequences, fold, len(dataset.labels), config, seed)).head
            test = sequences.subset(fold.test)
            right += round(validate(head, test, config.train)[1] * len(test))
            total += len(test)
        found.append(right / total)
    return found


def main() -> None:
    """Read the arguments, compare, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--repeats", type=int, default=10, help="of the 64 frames; 10x of one")
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    parser.add_argument("--accuracy", type=Path, metavar="FOLDER", help="compare accuracies")
    parser.add_argument("--weizmann", type=Path, help="the folder of Weizmann's clips")
    parser.add_argument("--seeds", type=int, default=5)
    arguments = parser.parse_args()
    if arguments.accuracy:
        rows = compare_accuracy(arguments.accuracy, arguments.weizmann, arguments.seeds)
    else:
        rows = compare(load_all(), arguments.repeats)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
