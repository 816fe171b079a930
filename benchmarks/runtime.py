"""What computes the backbone fastest on this machine: PyTorch, ONNX Runtime, OpenVINO.

    python benchmarks/runtime.py --json runtime.json
    pip install onnxruntime onnx openvino   # one that is missing ends the run

The bundled backbone encodes the same random frames in two cases, in turns, in one process:

    file     64 frames at once, as `classify` and `extract` do: frames per second count
    stream   one frame, as `stream` does with a camera: the time until its features count

The rival is eager PyTorch in float32; the ratio is its median over that of the runtime, so that
above 1 the runtime is faster. Beside it stands the worst cosine to the rival's features, and the
seconds that loading takes (and compiling, on the first call).
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import numpy as np
from numpy.typing import NDArray

from actionrnn.config import BackboneConfig, Precision, Runtime
from actionrnn.errors import BackboneError
from actionrnn.features.backbone import Backbone, load_backbone

RIVAL = "torch float32"
RUNTIMES: dict[str, tuple[Runtime, Precision]] = {
    RIVAL: ("torch", "float32"),
    "torch auto": ("torch", "auto"),
    "onnx": ("onnx", "float32"),
    "openvino": ("openvino", "auto"),
}
CASES = {"file": 64, "stream": 1}

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
    frames = np.random.default_rng(0).integers(0, 256, (64, 224, 224, 3), np.uint8)
    frames = np.ascontiguousarray(frames)
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


def cosines(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    """Of the rows."""
    result: NDArray[np.float32] = (a * b).sum(1) / np.linalg.norm(a, axis=1)
    return result / np.linalg.norm(b, axis=1)


def main() -> None:
    """Read the arguments, compare, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--repeats", type=int, default=10, help="of the 64 frames; 10x of one")
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    arguments = parser.parse_args()
    rows = compare(load_all(), arguments.repeats)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
