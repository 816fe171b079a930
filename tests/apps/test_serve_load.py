"""Eight clients at once for a minute: nothing lost, nothing kept."""

from __future__ import annotations

import sys
import tempfile
import threading
import time
from pathlib import Path

import httpx
import pytest

from tests.apps.serving import PATIENT, Running

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
    pytest.mark.skipif(sys.platform != "linux", reason="memory is read as Linux says it"),
]

SECONDS = 60
MOST_GROWTH_MIB = 60


def memory_mib() -> float:
    pages = Path("/proc/self/statm").read_text().split()[1]
    return int(pages) * 4096 / 2**20


def test_eight_clients_at_once_lose_nothing_and_leave_nothing(
    server: Running, clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    content = (clips / "red" / "ann_red.avi").read_bytes()
    answers: list[str] = []

    def ask(end: float) -> None:
        with httpx.Client(**PATIENT) as client:
            while time.monotonic() < end:
                files = {"file": ("a.avi", content)}
                reply = client.post(f"{server.address}/classify", files=files)
                answers.append(f"{reply.status_code} {reply.json().get('scores')}")

    def load(seconds: float) -> None:
        end = time.monotonic() + seconds
        clients = [threading.Thread(target=ask, args=[end]) for _ in range(8)]
        for client in clients:
            client.start()
        for client in clients:
            client.join()

    load(10)
    before, num_threads = memory_mib(), threading.active_count()
    load(SECONDS)
    assert len(answers) > 50
    assert len(set(answers)) == 1 and answers[0].startswith("200 ")
    assert memory_mib() - before < MOST_GROWTH_MIB
    assert threading.active_count() <= num_threads + 8
    assert list(tmp_path.iterdir()) == []
