"""Broken files of every kind: no crash, no hang, no foreign exception, bounded memory."""

from __future__ import annotations

import collections
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

EncodeWithFFmpeg = Callable[..., Path]

WORKER = Path(__file__).with_name("fuzz_worker.py")
TIMEOUT_SECONDS = 20.0  # most files take a hundredth of a second
MOST_BYTES = 1500 * 2**20  # resident; torch is not imported, limits are 64 MiB

SEEDS = {  # small files of several codecs in several containers
    "h264.mp4": "-c:v libx264 -g 5",
    "h264_fragments.mp4": "-c:v libx264 -g 5 -movflags frag_keyframe+empty_moov",
    "h264.mkv": "-c:v libx264 -g 5",
    "h264.ts": "-c:v libx264 -g 5",
    "h264.flv": "-c:v libx264 -g 5",
    "h264.h264": "-c:v libx264 -g 5",
    "hevc.mp4": "-c:v libx265 -x265-params log-level=none:keyint=5",
    "mpeg4.avi": "-c:v mpeg4 -bf 2 -g 5",
    "mjpeg.avi": "-c:v mjpeg",
    "mpeg2.mpg": "-c:v mpeg2video -bf 2 -g 5",
    "vp8.webm": "-c:v libvpx -g 5",
    "vp9.webm": "-c:v libvpx-vp9 -g 5 -deadline realtime -cpu-used 8",
    "av1.mp4": "-c:v libaom-av1 -g 5 -cpu-used 8 -usage realtime",
    "ffv1.mkv": "-c:v ffv1",
    "wmv2.wmv": "-c:v wmv2",
    "theora.ogv": "-c:v libtheora",
    "picture.gif": "",
}


class Worker:
    """A process that reads files; started again after it died or hung."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._answers: queue.Queue[str] = queue.Queue()

    def ask(self, path: Path, timeout_seconds: float = TIMEOUT_SECONDS) -> tuple[int, str]:
        """Peak bytes of the process, and read, refused, foreign, crash or hang."""
        process = self._process or self._start()
        assert process.stdin is not None
        process.stdin.write(f"{path}\n")
        process.stdin.flush()
        try:
            line = self._answers.get(timeout=timeout_seconds)
        except queue.Empty:
            self.stop()
            return 0, "hang"
        if not line:
            code = process.wait()
            self.stop()
            return 0, f"crash ({code})"
        peak_bytes, answer = line.rstrip("\n").split(" ", 1)
        return int(peak_bytes), answer

    def stop(self) -> None:
        if self._process is None:
            return
        self._process.kill()
        self._process.communicate()
        self._process = None

    def _start(self) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, str(WORKER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            errors="replace",
            cwd=Path(__file__).parents[2],
            env={"PYTHONPATH": str(Path(__file__).parents[2])},
        )
        self._process, self._answers = process, queue.Queue()
        threading.Thread(target=self._listen, args=(process, self._answers), daemon=True).start()
        return process

    @staticmethod
    def _listen(process: subprocess.Popen[str], answers: queue.Queue[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            answers.put(line)
        answers.put("")


@pytest.fixture
def worker() -> Iterator[Worker]:
    worker = Worker()
    yield worker
    worker.stop()


@pytest.fixture(scope="module")
def seeds(ffmpeg_encode: EncodeWithFFmpeg) -> list[bytes]:
    return [
        ffmpeg_encode(name, options, size="64x48", seconds=0.6).read_bytes()
        for name, options in SEEDS.items()
    ]


def mutated(seeds: list[bytes], rng: np.random.Generator) -> bytes:
    """One of the files, broken in one to three ways."""
    content = np.frombuffer(seeds[rng.integers(len(seeds))], np.uint8).copy()
    for _ in range(rng.integers(1, 4)):
        content = MUTATIONS[rng.integers(len(MUTATIONS))](content, seeds, rng)
        if len(content) == 0:
            break
    return content.tobytes()


Bytes = np.ndarray
Mutation = Callable[[Bytes, list[bytes], np.random.Generator], Bytes]


def place(content: Bytes, rng: np.random.Generator) -> int:
    """Anywhere, but half of the time among the first bytes: headers matter most."""
    return int(rng.integers(min(len(content), 600) if rng.random() < 0.5 else len(content)))


def flip_bits(content: Bytes, seeds: list[bytes], rng: np.random.Generator) -> Bytes:
    for _ in range(int(2 ** rng.integers(0, 8))):
        content[place(content, rng)] ^= 1 << rng.integers(8)
    return content


def cut_the_end(content: Bytes, seeds: list[bytes], rng: np.random.Generator) -> Bytes:
    return content[: place(content, rng) + 1]


def take_out(content: Bytes, seeds: list[bytes], rng: np.random.Generator) -> Bytes:
    start = place(content, rng)
    return np.delete(content, slice(start, start + int(2 ** rng.integers(0, 10))))


def repeat_a_part(content: Bytes, seeds: list[bytes], rng: np.random.Generator) -> Bytes:
    start = place(content, rng)
    part = content[start : start + int(2 ** rng.integers(0, 10))]
    return np.concatenate([content[:start], part, content[start:]])


def write_extreme_numbers(content: Bytes, seeds: list[bytes], rng: np.random.Generator) -> Bytes:
    for _ in range(rng.integers(1, 5)):
        start = place(content, rng)
        content[start : start + int(2 ** rng.integers(0, 4))] = rng.choice([0, 0x7F, 0x80, 0xFF])
    return content


def splice_another_header(content: Bytes, seeds: list[bytes], rng: np.random.Generator) -> Bytes:
    other = np.frombuffer(seeds[rng.integers(len(seeds))], np.uint8)
    start = place(content, rng)
    return np.concatenate([other[: place(other, rng)], content[start:]])


def fill_with_noise(content: Bytes, seeds: list[bytes], rng: np.random.Generator) -> Bytes:
    start = place(content, rng)
    part = content[start : start + int(2 ** rng.integers(2, 9))]
    part[:] = rng.integers(0, 256, len(part))
    return content


MUTATIONS: list[Mutation] = [
    flip_bits,
    flip_bits,
    cut_the_end,
    take_out,
    repeat_a_part,
    write_extreme_numbers,
    splice_another_header,
    fill_with_noise,
]


def fuzz(worker: Worker, seeds: list[bytes], folder: Path, numbers: range) -> None:
    found: collections.Counter[str] = collections.Counter()
    bad = []
    for number in numbers:
        path = folder / f"{number}.bin"
        path.write_bytes(mutated(seeds, np.random.default_rng(number)))
        peak_bytes, answer = worker.ask(path)
        found[answer.split(":")[0]] += 1
        if answer.startswith(("crash", "hang", "foreign")) or peak_bytes > MOST_BYTES:
            bad.append(f"{number}: {answer}, {peak_bytes / 2**20:.0f} MiB")
            worker.stop()
        path.unlink()
    print(dict(found))
    assert not bad, "\n".join(bad)
    assert found["read"] > len(numbers) / 10, found  # the mutations leave something to decode
    assert found["refused"] > len(numbers) / 10, found


def test_hundreds_of_broken_files_are_read_or_refused(
    worker: Worker, seeds: list[bytes], tmp_path: Path
) -> None:
    fuzz(worker, seeds, tmp_path, range(400))


@pytest.mark.slow
def test_thousands_of_broken_files_are_read_or_refused(
    worker: Worker, seeds: list[bytes], tmp_path: Path
) -> None:
    fuzz(worker, seeds, tmp_path, range(1000, 21_000))


def test_the_watch_notices_a_process_that_died(worker: Worker, tmp_path: Path) -> None:
    empty = tmp_path / "empty.mp4"
    empty.touch()
    assert worker.ask(empty)[1] == "refused"
    assert worker._process is not None
    worker._process.send_signal(signal.SIGSTOP)
    assert worker.ask(empty, timeout_seconds=0.5)[1] == "hang"
    assert worker.ask(empty)[1] == "refused"  # by a new process
    worker._process.send_signal(signal.SIGSEGV)
    assert worker.ask(empty)[1] == "crash (-11)"
