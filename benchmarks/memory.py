"""The most memory that a long 1080p file takes, and whether it grows with the length (Linux).

    python benchmarks/memory.py --json memory.json
    python benchmarks/memory.py --minutes 2 10          # quicker

One minute of 1080p is encoded on the spot and repeated to each length. Each job is a process of its
own, with those that it starts: memory is their proportional set size together, looked at 5 times a
second. The server is measured while it answers one uploaded file. Beside it the common way:
OpenCV, each sampled frame transformed and kept, then one call of the network for 16 at a time; it
grows with the length, and is measured at the shortest one alone.

The ratio is a rival's peak over ours at the shortest length; one rival is ours at the longest.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import imageio_ffmpeg
from serve import memory_mib, start_server

OUR_MODEL = """
import sys
from actionrnn.config import Config, HeadConfig, Sampling
from actionrnn.features.backbone import load_backbone
from actionrnn.model.heads import Head
from actionrnn.model.recognizer import Recognizer
config = Config(head=HeadConfig(), sampling=Sampling(rate_fps=float(sys.argv[2])))
backbone = load_backbone()
head = Head(config.head, backbone.feature_size, 3).trained()
Recognizer(backbone, head, ("clap", "jump", "wave"), config).save(sys.argv[1])
"""

COMMON_WAY = """
import sys
import cv2
import timm
import torch
from PIL import Image
from timm.data import create_transform, resolve_model_data_config
network = timm.create_model("tf_efficientnet_lite0", num_classes=0).eval()
transform = create_transform(**resolve_model_data_config(network))
capture, inputs, index = cv2.VideoCapture(sys.argv[1]), [], 0
every = round(capture.get(cv2.CAP_PROP_FPS) / float(sys.argv[2]))
while capture.grab():
    if index % every == 0:
        _, picture = capture.retrieve()
        inputs.append(transform(Image.fromarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB))))
    index += 1
with torch.inference_mode():
    features = [network(torch.stack(inputs[i : i + 16])) for i in range(0, len(inputs), 16)]
print(torch.cat(features).shape)
"""


def encode(folder: Path, minutes: list[int]) -> dict[int, Path]:
    """A moving pattern of 1080p at 25 frames a second, of each length."""
    ffmpeg, minute = imageio_ffmpeg.get_ffmpeg_exe(), folder / "minute.mp4"
    source = "testsrc=size=1920x1080:rate=25:duration=60"
    options = "-c:v libx264 -preset veryfast -crf 30 -pix_fmt yuv420p -g 50"
    command = [ffmpeg, "-v", "error", "-y", "-f", "lavfi", "-i", source, *options.split()]
    subprocess.run([*command, str(minute)], check=True)
    videos = {}
    for length in minutes:
        videos[length] = folder / f"{length}min.mp4"
        repeat = ["-stream_loop", str(length - 1), "-i", str(minute), "-c", "copy"]
        subprocess.run([ffmpeg, "-v", "error", "-y", *repeat, str(videos[length])], check=True)
    return videos


@contextmanager
def watched(root: int) -> Iterator[list[float]]:
    """The peak so far in MiB, in the only place of a list."""
    peak, done = [0.0], threading.Event()

    def watch() -> None:
        while not done.wait(0.2):
            peak[0] = max(peak[0], memory_mib(root))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield peak
    finally:
        done.set()
        thread.join()


def run(command: list[str]) -> float:
    """The peak of a command."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    with watched(process.pid) as peak:
        process.wait()
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return peak[0]


def serve(video: Path, model: Path) -> float:
    """The server's peak while it answers one upload."""
    bounds = [f"--{name}=100000" for name in ("video-seconds", "request-seconds", "upload-mb")]
    server, address = start_server(str(model), *bounds)
    try:
        upload = ["curl", "-sSf", "-o", os.devnull, "-F", f"file=@{video}"]
        with watched(server.pid) as peak:
            subprocess.run([*upload, f"{address}/timeline"], check=True)
    finally:
        server.terminate()
        server.wait(20)
    return peak[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    parser.add_argument("--minutes", type=int, nargs="+", default=[10, 120])
    parser.add_argument("--rate-fps", type=float, default=1.0)
    arguments = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        rate = str(arguments.rate_fps)
        videos, model = encode(folder, arguments.minutes), folder / "model.safetensors"
        subprocess.run([sys.executable, "-c", OUR_MODEL, str(model), rate], check=True)
        ours = [sys.executable, "-m", "actionrnn"]
        jobs: dict[str, Callable[[Path], float]] = {
            "classify": lambda video: run([*ours, "classify", str(video), "-m", str(model)]),
            "timeline": lambda video: run(
                [*ours, "timeline", str(video), "-m", str(model), "-o", str(video) + ".csv"]
            ),
            "extract": lambda video: run(
                [*ours, "extract", str(video), "-o", str(video) + ".store", "--rate-fps", rate]
            ),
            "serve": lambda video: serve(video, model),
        }
        shortest = videos[min(videos)]
        common = run([sys.executable, "-c", COMMON_WAY, str(shortest), rate])
        print(f"common way, {min(videos)} min   {common:7.0f} MiB")
        for name, job in jobs.items():
            peaks = {}
            for length, video in videos.items():
                start = time.perf_counter()
                peaks[length] = job(video)
                took = time.perf_counter() - start
                print(f"{name}, {length} min   {peaks[length]:7.0f} MiB   {took:.0f} s", flush=True)
            rivals = {
                f"common way, {min(videos)} min": common,
                f"ours, {max(videos)} min": peaks[max(videos)],
            }
            for rival, peak in rivals.items():
                rows.append({"case": name, "rival": rival, "ratio": peak / peaks[min(videos)]})
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
