"""`actionrnn serve` under load: eight clients at once for a minute, and the same without a server.

    python benchmarks/serve.py CLIP --model MODEL --json serve.json

The server runs in a process of its own, as a user starts it. Each client uploads the clip to
`/classify` again as soon as it has the answer. Printed are the answers, those that were lost or
differed, the answers a second, and the memory of the server with its decoders, over time. Then
this process classifies the clip as often, one after the other, without any server: the rival.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import httpx

import actionrnn

NUM_CLIENTS = 8
WARM_UP = 8


class Client(threading.Thread):
    """Uploads until the end."""

    def __init__(self, address: str, content: bytes, end: float) -> None:
        super().__init__()
        self.address, self.content, self.end = address, content, end
        self.seconds: list[float] = []
        self.answers: set[str] = set()
        self.problems: list[str] = []

    def run(self) -> None:
        with httpx.Client(timeout=120) as client:
            while time.perf_counter() < self.end:
                start = time.perf_counter()
                try:
                    reply = client.post(self.address, files={"file": ("clip", self.content)})
                    answer = reply.raise_for_status().json()
                except (httpx.HTTPError, ValueError) as error:
                    self.problems.append(repr(error))
                    continue
                self.seconds.append(time.perf_counter() - start)
                self.answers.add(json.dumps([answer["labels"], answer["scores"]]))


def start_server(model: str, *options: str) -> tuple[subprocess.Popen[str], str]:
    """`actionrnn serve` on a free port, and its address."""
    command = [sys.executable, "-m", "actionrnn", "serve", "--model", model, "--port", "0"]
    server = subprocess.Popen([*command, *options], stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    found = re.search(r"http://\S+", server.stdout.readline())
    assert found, "the server did not start"
    return server, found.group()


def memory_mib(pid: int) -> float:
    """Of a process and all below it, each shared page in proportion (PSS, Linux)."""
    mib = 0.0
    with contextlib.suppress(OSError, AttributeError):  # it has ended meanwhile
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        mib += int(re.search(r"Pss:\s+(\d+)", text).group(1)) / 1024  # type: ignore[union-attr]
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            mib += sum(memory_mib(int(child)) for child in children.read_text().split())
    return mib


def load(address: str, content: bytes, seconds: float) -> tuple[list[Client], list[float]]:
    """All clients at once; the server's memory every five seconds."""
    end = time.perf_counter() + seconds
    clients = [Client(f"{address}/classify", content, end) for _ in range(NUM_CLIENTS)]
    for client in clients:
        client.start()
    memory = []
    while time.perf_counter() < end:
        time.sleep(min(5.0, seconds / 4))
        memory.append(memory_mib(SERVER[0]))
    for client in clients:
        client.join()
    return clients, memory


SERVER: list[int] = []


def main() -> None:
    """Read the arguments, load, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("clip", type=Path)
    parser.add_argument("--model", default="runs/demo")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    arguments = parser.parse_args()
    content = arguments.clip.read_bytes()
    server, address = start_server(arguments.model)
    SERVER.append(server.pid)
    try:
        load(address, content, WARM_UP)
        before = memory_mib(server.pid)
        clients, memory = load(address, content, arguments.seconds)
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(20)
    times = [seconds for client in clients for seconds in client.seconds]
    problems = [problem for client in clients for problem in client.problems]
    different = len(set().union(*(client.answers for client in clients)))
    print(f"{len(times)} answers, {len(problems)} lost, {different} different")
    for problem in problems[:3]:
        print(problem)
    rate = len(times) / arguments.seconds
    print(f"{rate:.1f} answers/s; an answer takes {statistics.median(times):.2f} s (median),")
    print(f"{max(times):.2f} s (longest)")
    shown = " ".join(f"{mib:.0f}" for mib in memory)
    print(f"memory with all decoders, MiB: before {before:.0f}; every 5 s {shown}")
    alone = seconds_without_server(arguments.model, arguments.clip, min(len(times), 60))
    ratio = alone * rate
    print(f"{ratio:.2f} x the rate of `model.classify`, one after the other, without a server")
    rows = [{"case": "classify, 8 clients", "rival": "no server", "ratio": round(ratio, 3)}]
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


def seconds_without_server(model: str, clip: Path, repeats: int) -> float:
    """The median of one call."""
    recognizer = actionrnn.load(model)
    recognizer.classify(clip)
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        recognizer.classify(clip)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


if __name__ == "__main__":
    main()
