"""Frames out of videos: this toolkit beside torchcodec, decord, OpenCV and plain PyAV.

    python benchmarks/decode.py --json decode.json
    pip install torchcodec decord    # the rivals; one that is missing ends the run

All run in one process, in turns; the ratio is the rival's median over ours, so above 1 this
toolkit is faster. Each rival's frames are compared with ours; one that cannot read a video has a
row that says so. The long videos are encoded on the spot by the ffmpeg command of imageio-ffmpeg,
and kept where --videos says. `--quick` takes short ones, and under three minutes on two cores.
"""

from __future__ import annotations

import argparse
import functools
import importlib.util
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import av  # first: the others bring FFmpeg libraries of their own
import imageio_ffmpeg
import numpy as np
from numpy.typing import NDArray

from actionrnn.config import Sampling
from actionrnn.video.decode import read_frames
from actionrnn.video.frame_index import read_frame_index
from actionrnn.video.sampling import choose_frames
from actionrnn.video.source import locate, open_stream

Pictures = NDArray[np.uint8]
Rival = Callable[[Path, list[int]], Pictures]

UCF101_CLIPS = {
    "UCF101": "ucf101_clips/v_ApplyEyeMakeup_g01_c01.avi",
    "UCF101, no B-frames": "ucf101_clips/v_Basketball_g01_c01.avi",
}
REAL_DATA = Path(__file__).parents[2] / "shared" / "data"

# Two colour conversions of one picture differ by less, two neighbouring pictures by more.
SAME_PICTURE_MEAN_DIFFERENCE = 2.5

# Without them a table says nothing.
NEEDED_RIVALS = ("torchcodec", "torchcodec, all cores", "decord")

# Of the videos that are made here, with `--quick`. (VP9: with two key frames.)
QUICK_LENGTHS = {"1080p": 0.05, "long 1080p": 0.05, "HEVC": 0.3, "VP9": 0.3}
QUICK_REPEATS = 5  # at most; of the short clips, where one run says nothing


@dataclass(frozen=True)
class Encoding:
    """A video that is made on the spot: a moving test picture with noise."""

    size: str
    rate_fps: int
    seconds: float
    codec: str
    container: str

    def options(self) -> str:
        return (
            f"-f lavfi -i testsrc2=size={self.size}:rate={self.rate_fps}:duration={self.seconds:g},"
            f"noise=alls=6:allf=t {self.codec} -pix_fmt yuv420p"
        )


ENCODINGS = {
    "1080p": Encoding("1920x1080", 30, 60, "-c:v libx264", "mp4"),
    "HEVC": Encoding(
        "1280x720", 30, 20, "-c:v libx265 -preset fast -x265-params log-level=none", "mp4"
    ),
    "VP9": Encoding(
        *("1280x720", 30, 20),
        "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -row-mt 1 -b:v 4M",
        "webm",
    ),
    "UCF101": Encoding("320x240", 25, 7, "-c:v mpeg4 -bf 2 -q:v 5", "avi"),
    "UCF101, no B-frames": Encoding("320x240", 25, 6, "-c:v mpeg4 -q:v 5", "avi"),
}


@dataclass(frozen=True)
class Case:
    """One job that all are given."""

    video: str
    job: str
    sampling: Sampling
    repeats: int
    rivals_sampling: Sampling | None = None
    """Where ours is approximate: the exact job that the rivals do."""

    @property
    def name(self) -> str:
        return f"{self.video}, {self.job}"

    def shortened(self) -> Case:
        """The same job in the short video of `--quick`."""
        start, length = self.sampling.start_seconds, QUICK_LENGTHS.get(self.video, 1.0)
        sampling = replace(self.sampling, start_seconds=start and start * length)
        return replace(self, sampling=sampling, repeats=min(self.repeats, QUICK_REPEATS))


CASES = [
    Case("UCF101", "16 uniform frames", Sampling(num_frames=16), 21),
    Case("UCF101", "4 frames/s", Sampling(rate_fps=4), 21),
    Case("UCF101", "every frame", Sampling(), 21),
    Case("UCF101, no B-frames", "16 uniform frames", Sampling(num_frames=16), 21),
    Case("1080p", "16 uniform frames", Sampling(num_frames=16), 3),
    Case("1080p", "4 frames/s", Sampling(rate_fps=4), 1),
    Case("long 1080p", "16 uniform frames", Sampling(num_frames=16), 1),
    Case("long 1080p", "4 frames/s at its end", Sampling(rate_fps=4, start_seconds=580), 1),
    Case("HEVC", "16 uniform frames", Sampling(num_frames=16), 3),
    Case("HEVC", "4 frames/s", Sampling(rate_fps=4), 3),
    Case("VP9", "16 uniform frames", Sampling(num_frames=16), 3),
    Case("VP9", "4 frames/s", Sampling(rate_fps=4), 3),
    Case(
        *("1080p", "16 key frames, approximate", Sampling(num_frames=16, keyframes=True), 3),
        rivals_sampling=Sampling(num_frames=16),
    ),
]


@dataclass(frozen=True)
class Row:
    """One rival in one case."""

    case: str
    rival: str
    ratio: float | None
    """The rival's median over ours; None: the rival failed."""
    cpu_ratio: float | None
    """The same of processor time: what is left of the ratio on a busy machine."""
    ours_seconds: float
    rival_seconds: float | None
    frames: str
    """Whether the rival found the same ones, or why it failed."""


def with_torchcodec(path: Path, places: list[int]) -> Pictures:
    from torchcodec.decoders import VideoDecoder

    decoder = VideoDecoder(str(path), dimension_order="NHWC")
    return decoder.get_frames_at(places).data.numpy()


def with_torchcodec_threads(path: Path, places: list[int]) -> Pictures:
    from torchcodec.decoders import VideoDecoder

    decoder = VideoDecoder(str(path), dimension_order="NHWC", num_ffmpeg_threads=0)
    return decoder.get_frames_at(places).data.numpy()


def with_decord(path: Path, places: list[int]) -> Pictures:
    import decord

    return decord.VideoReader(str(path)).get_batch(places).asnumpy()


def with_opencv(path: Path, places: list[int]) -> Pictures:
    import cv2

    capture, wanted, pictures = cv2.VideoCapture(str(path)), set(places), []
    for place in range(max(places) + 1):
        if not capture.grab():
            break
        if place in wanted:
            pictures.append(cv2.cvtColor(capture.retrieve()[1], cv2.COLOR_BGR2RGB))
    capture.release()
    return np.stack(pictures)


def with_pyav(path: Path, places: list[int]) -> Pictures:
    wanted, pictures = set(places), []
    with av.open(str(path)) as container:
        stream = container.streams.best("video")
        stream.thread_type = "AUTO"
        for place, frame in enumerate(container.decode(stream)):
            if place in wanted:
                pictures.append(frame.to_ndarray(format="rgb24"))
            if place == max(places):
                break
    return np.stack(pictures)


RIVALS: dict[str, tuple[str, Rival]] = {
    "torchcodec": ("torchcodec", with_torchcodec),
    "torchcodec, all cores": ("torchcodec", with_torchcodec_threads),
    "decord": ("decord", with_decord),
    "OpenCV": ("cv2", with_opencv),
    "plain PyAV": ("av", with_pyav),
}


def load_rivals(chosen: str) -> dict[str, Rival]:
    """Those whose name holds `chosen`; one that cannot be loaded ends the run."""
    loaded = {}
    for name, (module, read) in RIVALS.items():
        if chosen not in name:
            continue
        try:
            importlib.import_module("torchcodec.decoders" if module == "torchcodec" else module)
        except (ImportError, RuntimeError, OSError) as error:
            reason = str(error).splitlines()[0]
            sys.exit(f"{name}: cannot be loaded ({reason}); install it, or choose --rivals")
        loaded[name] = read
    return loaded


def video_of(name: str, folder: Path, *, quick: bool) -> Path:
    """The video of a case, encoded if it is not there yet."""
    if name in UCF101_CLIPS:
        clip = Path(os.environ.get("ACTIONRNN_REAL_DATA", REAL_DATA)) / UCF101_CLIPS[name]
        if clip.is_file():
            return clip
    if name == "long 1080p":
        short = video_of("1080p", folder, quick=quick)
        return encoded(short.with_stem(f"long_{short.stem}"), f"-stream_loop 9 -i {short} -c copy")
    encoding = ENCODINGS[name]
    if quick:
        length = QUICK_LENGTHS.get(name, 1.0)
        encoding = replace(encoding, seconds=encoding.seconds * length)
    path = folder / f"{name}_{encoding.seconds:g}_s.{encoding.container}"
    return encoded(path, encoding.options())


def encoded(path: Path, options: str) -> Path:
    if path.exists():
        return path
    print(f"encoding {path.name} ...", flush=True)
    part = path.with_stem(f"{path.stem}_part")
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", *options.split(), str(part)]
    subprocess.run(command, check=True)
    return part.rename(path)


def places_of(path: Path, sampling: Sampling) -> list[int]:
    """The wanted frames as the rivals want to be asked: by their place."""
    source = locate(path)
    with open_stream(source) as stream:
        index = read_frame_index(source, stream)
    return choose_frames(index.pts_seconds, sampling, index.is_keyframe).tolist()


@dataclass(frozen=True)
class Timing:
    """Of one call: by the clock, and of all its threads together."""

    seconds: float
    cpu_seconds: float


def timed(job: Callable[[], Pictures]) -> tuple[Pictures, Timing]:
    start, cpu_start = time.perf_counter(), time.process_time()
    pictures = job()
    return pictures, Timing(time.perf_counter() - start, time.process_time() - cpu_start)


def median(timings: list[Timing]) -> Timing:
    return Timing(
        statistics.median(timing.seconds for timing in timings),
        statistics.median(timing.cpu_seconds for timing in timings),
    )


def run(case: Case, path: Path, rivals: dict[str, Rival], repeats: int) -> list[Row]:
    places = places_of(path, case.rivals_sampling or case.sampling)
    ours_timings: list[Timing] = []
    timings: dict[str, list[Timing]] = {name: [] for name in rivals}
    verdicts: dict[str, str] = {}
    failed: set[str] = set()
    for _ in range(repeats):
        ours, timing = timed(lambda: read_frames(path, case.sampling).data)
        ours_timings.append(timing)
        for name, read in rivals.items():
            if name in failed:
                continue
            try:
                theirs, timing = timed(functools.partial(read, path, places))
            except Exception as error:
                failed.add(name)
                verdicts[name] = f"failed: {str(error).splitlines()[0]}"
                continue
            timings[name].append(timing)
            verdicts.setdefault(name, verdict_on(case, ours, theirs))
            del theirs
        del ours
    mine = median(ours_timings)
    rows = []
    for name in rivals:
        theirs_median = None if name in failed else median(timings[name])
        rows.append(
            Row(
                case.name,
                name,
                ratio=theirs_median and theirs_median.seconds / mine.seconds,
                cpu_ratio=theirs_median and theirs_median.cpu_seconds / mine.cpu_seconds,
                ours_seconds=mine.seconds,
                rival_seconds=theirs_median and theirs_median.seconds,
                frames=verdicts[name],
            )
        )
    return rows


def verdict_on(case: Case, ours: Pictures, theirs: Pictures) -> str:
    if case.rivals_sampling:
        return "exact, ours are approximate"
    same = ours.shape == theirs.shape and all(
        np.abs(a.astype(np.int16) - b).mean() < SAME_PICTURE_MEAN_DIFFERENCE
        for a, b in zip(ours, theirs, strict=True)
    )
    return "same" if same else "OTHER FRAMES"


def print_row(row: Row) -> None:
    ours = f"ours {1000 * row.ours_seconds:9.1f} ms"
    if row.rival_seconds is None:
        print(f"{row.case:40} {row.rival:22} {'':21} {ours}   {row.frames}", flush=True)
        return
    print(
        f"{row.case:40} {row.rival:22} {row.ratio:6.2f} x (cpu {row.cpu_ratio:5.2f})"
        f"   {ours}   rival {1000 * row.rival_seconds:9.1f} ms   {row.frames}",
        flush=True,
    )


def cpu_features() -> str:
    """What of this processor decides how fast the decoders are."""
    try:
        flags = set(re.findall(r"\b(?:avx\w*|amx\w*)", Path("/proc/cpuinfo").read_text()))
    except OSError:
        flags = set()
    return f"{os.cpu_count()} cores, {' '.join(sorted(flags)) or 'features not known'}"


def lend_torchcodec_the_libraries_of_pyav() -> None:
    """Start again with FFmpeg's libraries where torchcodec looks: it brings none."""
    libraries = Path(av.__file__).parent.with_name("av.libs")
    if "ACTIONRNN_LENT" in os.environ or not libraries.is_dir():
        return
    if importlib.util.find_spec("torchcodec") is None:
        return
    folder = Path(tempfile.gettempdir()) / f"actionrnn_ffmpeg_{os.getuid()}"
    folder.mkdir(exist_ok=True)
    for library in libraries.glob("lib*.so.*"):
        short = re.sub(r"-[0-9a-f]{8}(\.so\.\d+).*", r"\1", library.name)
        if not (folder / short).exists():
            (folder / short).symlink_to(library)
    paths = [str(folder), os.environ.get("LD_LIBRARY_PATH", "")]
    lent = {"ACTIONRNN_LENT": "1", "LD_LIBRARY_PATH": ":".join(filter(None, paths))}
    os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **lent})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    parser.add_argument("--only", default="", help="only cases whose name holds this")
    parser.add_argument("--rivals", default="", help="only rivals whose name holds this")
    parser.add_argument("--repeats", type=int, help="of each case, instead of its own number")
    parser.add_argument("--videos", type=Path, help="keep the encoded videos in this folder")
    parser.add_argument("--quick", action="store_true", help="each case in short videos")
    arguments = parser.parse_args()
    lend_torchcodec_the_libraries_of_pyav()
    rivals = load_rivals(arguments.rivals)
    if arguments.json and not rivals.keys() >= set(NEEDED_RIVALS):
        sys.exit(f"--json needs {' and '.join(NEEDED_RIVALS)}; leave out --rivals, or --json")
    print(f"{cpu_features()}, av {av.__version__}")
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.videos or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        for case in CASES:
            if arguments.only not in case.name:
                continue
            path = video_of(case.video, folder, quick=arguments.quick)
            chosen = case.shortened() if arguments.quick else case
            for row in run(chosen, path, rivals, arguments.repeats or chosen.repeats):
                print_row(row)
                rows.append(row)
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(row) for row in rows], indent=2) + "\n")


if __name__ == "__main__":
    main()
