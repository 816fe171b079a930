"""Extract in child processes, kill them with SIGKILL at random moments, and start again; then
let two of them extract into one store at once.

    python -m tests.features.kill_extraction VIDEOS FOLDER NUM_KILLS SEED

Prints one JSON object with what was seen. Children are forked before anything was computed, so
that none of them imports torch anew.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sys
import time
from pathlib import Path

from actionrnn.config import Sampling
from actionrnn.features.extract import extract_to_store
from actionrnn.features.store import FeatureStore
from tests.tiny import make_tiny_backbone


def extract(videos: Path, store: Path, result: Path) -> int:
    """Start an extraction in a child that leaves its summary in `result`; its process id."""
    result.unlink(missing_ok=True)
    child = os.fork()
    if child:
        return child
    try:
        done = extract_to_store(
            [videos], store, backbone=make_tiny_backbone(4), sampling=Sampling(num_frames=4)
        )
        result.write_text(json.dumps([done.num_extracted, done.num_skipped, len(done.failures)]))
    finally:
        os._exit(0)


def content(root: Path) -> dict[str, bytes]:
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file()
    }


def whole_entries(root: Path) -> dict[str, tuple[int, int]]:
    """The valid entries, and what changes when one is written again."""
    if not (root / "_store.json").exists():
        return {}
    store = FeatureStore.open(root)
    entries = {}
    for key in store.keys():  # noqa: SIM118
        store.read(key)  # fails on one that is not whole
        stat = store.path_of(key).stat()
        entries[key] = stat.st_ino, stat.st_ctime_ns
    return entries


def main() -> None:
    videos, folder, num_kills = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    rng = random.Random(int(sys.argv[4]))
    reference, store, result = folder / "reference", folder / "store", folder / "result.json"
    started = time.perf_counter()
    os.waitpid(extract(videos, reference, result), 0)
    seconds = time.perf_counter() - started
    seen = {"kills": 0, "rounds": 0, "computed_twice": 0, "entries_at_kills": []}
    seen["uninterrupted"] = json.loads(result.read_text())
    seen["last_runs"], seen["same_bytes"] = [], []
    before: dict[str, tuple[int, int]] = {}
    while seen["kills"] < num_kills or store.exists():
        child = extract(videos, store, result)
        if seen["kills"] < num_kills:
            time.sleep(rng.uniform(0, seconds))
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        after = whole_entries(store)
        seen["computed_twice"] += sum(after.get(key) != before[key] for key in before)
        if os.WIFSIGNALED(status):
            seen["kills"] += 1
            seen["entries_at_kills"].append(len(after))
            before = after
            continue
        seen["rounds"] += 1
        seen["last_runs"].append([len(before), *json.loads(result.read_text())])
        seen["same_bytes"].append(content(store) == content(reference))
        shutil.rmtree(store)
        before = {}
    both = folder / "both"
    children = [extract(videos, both, folder / f"{name}.json") for name in "ab"]
    for child in children:
        os.waitpid(child, 0)
    seen["both"] = [json.loads((folder / f"{name}.json").read_text()) for name in "ab"]
    seen["both_same_bytes"] = content(both) == content(reference)
    print(json.dumps(seen))


if __name__ == "__main__":
    main()
