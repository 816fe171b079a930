"""How long one short clip takes from an empty prompt: the command, not the model.

    uv run --with transformers python benchmarks/startup.py --json startup.json

Each case is a whole process, started in turns with its rivals:

    import torch     python -c "import torch": what everything on torch waits for
    transformers     a video-classification pipeline with a random, small VideoMAE

`classify` of a clip of 2 seconds has its network converted and in the cache, and Python's modules
compiled, as after any first use. warm: all files are in the machine's memory; cold: they were put
out of it before, as after a start of the machine (Linux; needs no rights). The server is timed from
its first line to its first answer. Printed are seconds, processor seconds and the largest memory of
each process (medians); the ratio is that of the seconds, and of the memory in its own
rows.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np

TORCH, PIPELINE = "import torch", "transformers pipeline"
RIVAL_SCRIPT = """
import sys
import av
import numpy as np
from transformers import pipeline
with av.open(sys.argv[2]) as container:  # its own reader needs an FFmpeg of the system's
    frames = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
print(pipeline("video-classification", model=sys.argv[1])(frames)[0]["label"])
"""
RIVAL_MODEL = """
import sys
from transformers import VideoMAEConfig, VideoMAEForVideoClassification, VideoMAEImageProcessor
config = VideoMAEConfig(
    hidden_size=192, num_hidden_layers=4, num_attention_heads=3, intermediate_size=768,
)
VideoMAEForVideoClassification(config).save_pretrained(sys.argv[1])
VideoMAEImageProcessor().save_pretrained(sys.argv[1])
"""
OUR_MODEL = """
import sys
from actionrnn.config import Config, HeadConfig
from actionrnn.features.backbone import load_backbone
from actionrnn.model.heads import Head
from actionrnn.model.recognizer import Recognizer
backbone, config = load_backbone(), Config(head=HeadConfig())
head = Head(config.head, backbone.feature_size, 3).trained()
Recognizer(backbone, head, ("clap", "jump", "wave"), config).save(sys.argv[1])
"""


class Run(NamedTuple):
    """One process, from its start to its end."""

    seconds: float
    cpu_seconds: float
    megabytes: float


def write_clip(path: Path) -> Path:
    """Encode 2 seconds of 320 x 240 at 25 frames a second, as UCF101's clips are."""
    coarse = np.random.default_rng(0).integers(0, 256, (50, 15, 20, 3), np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        for index, picture in enumerate(coarse):
            pixels = picture.repeat(16, axis=0).repeat(16, axis=1)
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def run(command: Sequence[str]) -> Run:
    """Start a process and wait for it; one that fails ends the benchmark."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert process.stderr is not None
    said = process.stderr.read().decode(errors="replace")
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - start
    if status:
        sys.exit(f"{command[:4]} failed:\n{said[-2000:]}")
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, KiB on Linux
    megabytes = usage.ru_maxrss * unit / 1e6
    return Run(seconds, usage.ru_utime + usage.ru_stime, megabytes)


def forget_files() -> None:
    """Put Python's files and the cached networks out of the machine's memory."""
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "actionrnn"
    folders = {sysconfig.get_path(name) for name in ("purelib", "platlib", "stdlib")}
    for folder in [*map(Path, folders), *map(Path, sys.path), caches]:
        for file in folder.rglob("*") if folder.is_dir() else ():
            try:
                opened = os.open(file, os.O_RDONLY)
            except OSError:
                continue
            os.posix_fadvise(opened, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(opened)


def first_answer(model: Path, clip: Path) -> float:
    """The seconds from the first line of a new server to its answer for a clip."""
    import httpx

    command = [sys.executable, "-m", "actionrnn", "serve", "-m", str(model), "--port", "0"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        found = re.search(r"http://\S+", server.stdout.readline())
        if found is None:
            sys.exit("the server did not start")
        start = time.perf_counter()
        address = found.group().rstrip("/").split("?")[0]
        reply = httpx.post(
            f"{address}/classify", files={"file": (clip.name, clip.read_bytes())}, timeout=120
        )
        reply.raise_for_status()
        return time.perf_counter() - start
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(30)


def measure(
    commands: dict[str, Sequence[str]], repeats: int, before: Callable[[], None]
) -> dict[str, Run]:
    """The medians of each command, in turns."""
    runs: dict[str, list[Run]] = {name: [] for name in commands}
    for _ in range(repeats):
        for name, command in commands.items():
            before()
            runs[name].append(run(command))
    return {
        name: Run(*(statistics.median(part) for part in zip(*found, strict=True)))
        for name, found in runs.items()
    }


def cpu_features() -> str:
    """Of this machine, as far as they matter here."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return "unknown"
    name = re.search(r"model name\s*: (.*)", text)
    flags = [flag for flag in ("avx2", "avx512f", "avx512_bf16", "amx_tile") if flag in text]
    return f"{name.group(1) if name else 'CPU'}: {', '.join(flags)}"


def main() -> None:
    """Print the table, and write the rows."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    arguments = parser.parse_args()
    if importlib.util.find_spec("transformers") is None:
        sys.exit("transformers is not installed; uv run --with transformers " + sys.argv[0])
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # each process would compile torch anew
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clip, model = write_clip(folder / "clip.avi"), folder / "model.safetensors"
        # not in this process: a new one counts the memory of the one that starts it for its own
        run([sys.executable, "-c", OUR_MODEL, str(model)])  # its network gets into the cache
        run([sys.executable, "-c", RIVAL_MODEL, str(folder / "rival")])
        ours = "classify"
        commands: dict[str, Sequence[str]] = {
            ours: [sys.executable, "-m", "actionrnn", "classify", str(clip), "-m", str(model)],
            TORCH: [sys.executable, "-c", "import torch"],
            PIPELINE: [sys.executable, "-c", RIVAL_SCRIPT, str(folder / "rival"), str(clip)],
        }
        cases: dict[str, Callable[[], None]] = {"warm": lambda: None}
        if hasattr(os, "posix_fadvise"):
            cases["cold"] = forget_files
        print(f"{os.cpu_count()} cores, {cpu_features()}; {arguments.repeats} runs each")
        print(f"{'':<6} {'':<22} {'seconds':>8} {'CPU s':>7} {'MB':>6} {'ratio':>6}")
        for case, before in cases.items():
            found = measure(commands, arguments.repeats, before)
            for rival, taken in found.items():
                ratio = taken.seconds / found[ours].seconds
                print(
                    f"{case:<6} {rival:<22} {taken.seconds:>8.2f} {taken.cpu_seconds:>7.2f} "
                    f"{taken.megabytes:>6.0f} {ratio:>6.2f}",
                    flush=True,
                )
                if rival == ours:
                    continue
                rows.append({"case": f"classify, {case}", "rival": rival, "ratio": ratio})
                memory = taken.megabytes / found[ours].megabytes
                rows.append({"case": f"memory, {case}", "rival": rival, "ratio": memory})
        answers = [first_answer(model, clip) for _ in range(arguments.repeats)]
        print(f"the server's first answer: {statistics.median(answers):.2f} s (goal: under 1)")
        rows.append(
            {
                "case": "the server's first answer",
                "rival": "one second",
                "ratio": 1 / statistics.median(answers),
            }
        )
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
