"""A stream's step beside the usual way: a window of 16 frames encoded anew at every answer.

    python benchmarks/stream.py --json stream.json
    python benchmarks/stream.py --device cuda

All run in one process, in turns, on the same backbone, precision and head. The window scales,
cuts and encodes its 16 frames at each answer, or (`kept scaled`) only encodes them. A file is
decoded and its frames pushed, or its timeline is asked for, which gives the same numbers. The
ratio is the window's median over ours, so above 1 the stream is faster. The 1080p video is encoded
on the spot by the ffmpeg command of imageio-ffmpeg; UCF101's clip is taken from
$ACTIONRNN_REAL_DATA, if it is there.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # before torch is imported

import av
import imageio_ffmpeg
import numpy as np
import torch

from actionrnn.config import BackboneConfig, Config, HeadConfig, Sampling
from actionrnn.features.backbone import Backbone, load_backbone
from actionrnn.model.heads import Head, read_out
from actionrnn.model.recognizer import Recognizer
from actionrnn.video.decode import iter_frames
from actionrnn.video.frame import Frame

WINDOW_FRAMES = 16
REAL_DATA = Path(__file__).parents[2] / "shared" / "data"
UCF101_CLIP = "ucf101_clips/v_Basketball_g01_c01.avi"
MOVING = "testsrc2=size={size}:rate=25:duration={seconds},noise=alls=6:allf=t"
NUM_CLASSES = 101

HEADS = {
    "gru": HeadConfig(kind="gru", hidden_size=512),
    "lstm": HeadConfig(kind="lstm", hidden_size=512),
    "tiny gru": HeadConfig(kind="gru", hidden_size=16),
}


@dataclass(frozen=True)
class Row:
    """One case."""

    case: str
    rival: str
    ratio: float
    """The rival's median over ours."""
    cpu_ratio: float
    """The same of processor time: what is left of the ratio on a busy machine."""
    ours_ms: float
    rival_ms: float


class WindowWay:
    """The usual way to run a clip model on a stream: every answer from a window of its own.

    Args:
        keeps_squares: scale and cut each frame once only; as a rule all 16 are, each time.
    """

    def __init__(self, model: Recognizer, *, keeps_squares: bool = False) -> None:
        self._model = model
        self._head = Head.of(model.head)
        self._keeps_squares = keeps_squares
        self._window: deque[np.ndarray] = deque(maxlen=WINDOW_FRAMES)

    def push(self, frame: np.ndarray) -> np.ndarray:
        backbone = self._model.backbone
        square = backbone.preprocessing.square
        self._window.append(square(frame) if self._keeps_squares else frame)
        squares = self._window if self._keeps_squares else map(square, self._window)
        views = backbone.preprocessing.views(np.stack(list(squares)))
        return read_out(self._head, backbone.encode(views, padded=False)).so_far[-1]


def make_model(backbone: Backbone, head: HeadConfig, rate_fps: float) -> Recognizer:
    torch.manual_seed(0)
    config = Config(sampling=Sampling(rate_fps=rate_fps), head=head)
    trained = Head(head, backbone.feature_size, NUM_CLASSES).eval()
    return Recognizer(backbone, trained.trained(), tuple(map(str, range(NUM_CLASSES))), config)


@dataclass(frozen=True)
class Timing:
    """Of one call: by the clock, and of all its threads together."""

    seconds: float
    cpu_seconds: float


def timed(job: Callable[[], object], per: float = 1.0) -> Timing:
    begin, cpu_begin = time.perf_counter(), time.process_time()
    job()
    cpu_seconds = time.process_time() - cpu_begin
    return Timing((time.perf_counter() - begin) / per, cpu_seconds / per)


def per_step(backbone: Backbone, name: str, repeats: int, *, keeps_squares: bool) -> Row:
    """A decoded frame of 320 x 240: ours encodes it, the window all 16."""
    model = make_model(backbone, HEADS[name], rate_fps=25)
    frames = np.random.default_rng(0).integers(0, 256, (WINDOW_FRAMES, 240, 320, 3), np.uint8)
    stream, window = model.stream(), WindowWay(model, keeps_squares=keeps_squares)
    ours, rivals = [], []
    for number in range(WINDOW_FRAMES + repeats):
        frame = frames[number % WINDOW_FRAMES]
        mine = timed(lambda: stream.push(Frame.from_array(frame, number / 25)))  # noqa: B023
        theirs = timed(lambda: window.push(frame))  # noqa: B023
        if number >= WINDOW_FRAMES:  # the window is full
            ours.append(mine)
            rivals.append(theirs)
    kept = ", frames kept scaled" if keeps_squares else ""
    return row(f"per step, {name} head, beside a window of {WINDOW_FRAMES}{kept}", ours, rivals)


def row(case: str, ours: list[Timing], rivals: list[Timing]) -> Row:
    mine, theirs = (statistics.median(t.seconds for t in times) for times in (ours, rivals))
    cpu, rivals_cpu = (statistics.median(t.cpu_seconds for t in ts) for ts in (ours, rivals))
    return Row(case, "sliding window", theirs / mine, rivals_cpu / cpu, 1000 * mine, 1000 * theirs)


def head_step(name: str, backbone: Backbone, repeats: int) -> str:
    head = make_model(backbone, HEADS[name], rate_fps=4).head
    rng = np.random.default_rng(0)
    features = rng.normal(size=(1, backbone.feature_size)).astype(np.float32)
    state, times = None, []
    for _ in range(repeats):
        begin = time.perf_counter()
        _, state = head.step(features, state)
        times.append(time.perf_counter() - begin)
    return f"the {name} head's own step: {1000 * statistics.median(times):.3f} ms (goal: under 1)"


def on_a_file(
    backbone: Backbone, name: str, path: Path, rate_fps: float, repeats: int
) -> Iterator[Row]:
    """Decoding, scaling, encoding and head for the whole file, per second of video.

    Each frame is decoded and pushed, as of a camera; or the same numbers are asked of the file
    (`timeline`), so that frames that no answer needs are not decoded.
    """
    model = make_model(backbone, HEADS["gru"], rate_fps)
    frames = list(iter_frames(path))
    seconds = frames[-1].pts_seconds - frames[0].pts_seconds + 1 / 25
    del frames

    def ours() -> None:
        stream = model.stream()
        for frame in iter_frames(path):
            stream.push(frame)

    def timeline() -> None:
        model.timeline(path)

    def rivals() -> None:
        window, next_tick = WindowWay(model), 0.0
        for frame in iter_frames(path):
            if frame.pts_seconds >= next_tick - 1e-4:
                window.push(frame.rgb)
                next_tick += 1 / rate_fps

    ways = (ours, timeline, rivals)
    turns = [[timed(way, seconds) for way in ways] for _ in range(repeats)]
    pushed, asked, theirs = map(list, zip(*turns, strict=True))
    print_latency(model, path, rate_fps)
    case = f"{name}, a second of video with {rate_fps:g} answers, beside a window"
    yield row(f"{case}, pushed", pushed, theirs)
    yield row(f"{case}, by timeline", asked, theirs)


def print_latency(model: Recognizer, path: Path, rate_fps: float) -> None:
    stream, pushes, answers = model.stream(), [], []
    for frame in iter_frames(path):
        begin = time.perf_counter()
        scores = stream.push(frame)
        pushes.append(time.perf_counter() - begin)
        if len(scores):
            answers.append(pushes[-1])
    for what, times in (("pushed frame", pushes), ("answer", answers)):
        median, p99 = np.quantile(times, [0.5, 0.99]) * 1000
        print(
            f"  {path.name}, {rate_fps:g} answers/s: a {what} takes {median:.2f} ms "
            f"(median), {p99:.2f} ms (p99), {len(times) / sum(times):.0f} a second"
        )


def eight_streams(backbone: Backbone, path: Path) -> str:
    """Eight videos of 320 x 240 side by side, 4 answers a second each."""
    model = make_model(backbone, HEADS["gru"], rate_fps=4)
    batch, count = model.stream_batch(8), 0
    begin = time.perf_counter()
    followed = [iter_frames(path) for _ in range(8)]
    for frames in zip(*followed, strict=True):
        scores = batch.push(frames)
        count += sum(map(len, scores))
    seconds = time.perf_counter() - begin
    video_seconds = frames[0].pts_seconds
    return (
        f"8 streams of 320 x 240, 4 answers/s each: a second of all takes "
        f"{seconds / video_seconds:.2f} s, {count / seconds:.0f} answers/s (goal: under 1 s)"
    )


def live(backbone: Backbone, path: Path) -> str:
    """The file in real time, through the very path of `actionrnn stream`."""
    from actionrnn.video.live import LiveSource

    model = make_model(backbone, HEADS["gru"], rate_fps=8)
    stream, source, delays, steps = model.stream(), LiveSource(str(path)), [], 0
    for arrival in source.frames():
        if arrival is None:
            continue
        steps += len(stream.push(arrival.frame))
        delays.append(time.monotonic() - arrival.arrived)
    counts = source.counts
    return (
        f"live {path.name}: {counts.frames} frames, {counts.dropped} dropped, {steps} answers, "
        f"delay {1000 * np.median(delays):.0f} ms (median), {1000 * max(delays):.0f} ms (longest)"
    )


def memory_mb(way: str) -> float:
    """What a way adds to the peak of a process's memory, in a process of its own."""
    command = [sys.executable, __file__, "--memory-of", way]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def print_memory_of(way: str) -> None:
    backbone = load_backbone(BackboneConfig(device="cpu"))
    model = make_model(backbone, HEADS["gru"], rate_fps=25)
    side = backbone.preprocessing.crop
    frame = np.zeros((side, side, 3), np.uint8)
    stream, window = model.stream(), WindowWay(model)
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew (Linux)
    before = _status_kb("VmRSS")
    for number in range(WINDOW_FRAMES + 4):
        if way == "window":
            window.push(frame)
        else:
            stream.push(Frame.from_array(frame, number / 25))
    print((_status_kb("VmHWM") - before) / 1024)


def _status_kb(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(name)).split()[1])


def make_video(folder: Path, size: str, seconds: int) -> Path:
    path = folder / f"{size}.mp4"
    source = MOVING.format(size=size, seconds=seconds)
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-f", "lavfi", "-i", source]
    subprocess.run([*command, "-c:v", "libx264", "-pix_fmt", "yuv420p", str(path)], check=True)
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    parser.add_argument("--only", default="", help="only cases whose name holds this")
    parser.add_argument("--repeats", type=int, default=60, help="steps of each way")
    parser.add_argument("--device", default="cpu", help="of the backbone, any of torch's")
    parser.add_argument("--memory-of", choices=["stream", "window"], help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.memory_of:
        print_memory_of(arguments.memory_of)
        return
    backbone = load_backbone(BackboneConfig(device=arguments.device))
    on_cpu = arguments.device == "cpu"
    where = f"{os.cpu_count()} cores" if on_cpu else arguments.device
    print(f"{backbone.name} in {backbone.precision}, {where}, av {av.__version__}")
    rows = []

    def add(made: Row) -> None:
        print(
            f"{made.case:76} {made.ratio:5.1f} x (cpu {made.cpu_ratio:4.1f})  "
            f"ours {made.ours_ms:8.2f}  window {made.rival_ms:8.2f} ms",
            flush=True,
        )
        rows.append(made)

    for name in HEADS:
        if arguments.only in "per step":
            for keeps_squares in (False, True):
                add(per_step(backbone, name, arguments.repeats, keeps_squares=keeps_squares))
            print("  " + head_step(name, backbone, 10 * arguments.repeats))
    if arguments.only in "memory" and on_cpu and Path("/proc/self/clear_refs").exists():
        ours, window = (memory_mb(way) for way in ("stream", "window"))
        print(f"peak memory beside the model's: stream {ours:.1f} MB, window {window:.1f} MB")
    with tempfile.TemporaryDirectory() as temporary:
        if arguments.only in "1080p file":
            video = make_video(Path(temporary), "1920x1080", 12)
            for made in on_a_file(backbone, "1080p file", video, 8, repeats=3):
                add(made)
            print("  " + live(backbone, video))
        if arguments.only in "UCF101 clip":
            clip = Path(os.environ.get("ACTIONRNN_REAL_DATA", REAL_DATA)) / UCF101_CLIP
            if not clip.is_file():
                clip = make_video(Path(temporary), "320x240", 7)
            for made in on_a_file(backbone, "UCF101 clip", clip, 4, repeats=3):
                add(made)
            print("  " + eight_streams(backbone, clip))
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(made) for made in rows], indent=2) + "\n")


if __name__ == "__main__":
    main()
