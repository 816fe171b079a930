"""Label in a child process, kill it with SIGKILL at random moments, and look what is there.

    python -m tests.apps.studio.kill_labelling PROJECT NUM_KILLS SEED

Prints one JSON object with what was seen. Children are forked, so that none imports anew.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import Any

from actionrnn.apps.studio.project import Project


def seen(project: Project, video: str) -> list[Any]:
    """All of a video, as JSON returns it."""
    view = project.marks(video)
    marks = [[m.id, m.label, m.start, m.end, m.note] for m in view.marks]
    return [view.revision, marks, [list(span) for span in view.looked], view.can_undo]


def label(folder: Path, told: int, seed: int) -> None:
    """Change a video until the end, and tell each state once it was acknowledged."""
    rng = random.Random(seed)
    with Project.open(folder) as project:
        video = project.videos()[0].id
        while True:
            view = project.marks(video)
            if view.can_undo and rng.random() < 0.2:
                project.undo(video, "ann")
            elif view.marks and rng.random() < 0.3:
                project.change(video, [{"op": "remove", "id": rng.choice(view.marks).id}], "ann")
            else:
                start = rng.uniform(0, 9)
                span = {"start": start, "end": start + rng.uniform(0.1, 1)}
                ops = [{"op": "add", "label": "run", **span}, {"op": "look", **span}]
                try:
                    project.change(video, ops, "ann")
                except Exception:  # they would overlap
                    continue
            os.write(told, json.dumps(seen(project, video)).encode() + b"\n")


def main() -> None:
    folder, num_kills, seed = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    rng = random.Random(seed)
    found: dict[str, Any] = {"kills": 0, "acknowledged": 0, "lost": 0, "csv_differs": 0}
    for kill in range(num_kills):
        read, told = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(read)
            try:
                label(folder, told, seed + kill)
            finally:
                os._exit(1)
        os.close(told)
        with os.fdopen(read, "rb") as pipe:
            first = pipe.readline()
            time.sleep(rng.uniform(0, 0.1))
            os.kill(child, signal.SIGKILL)
            *states, _ = [first, *pipe.read().split(b"\n")]
        found["kills"] += os.WIFSIGNALED(os.waitpid(child, 0)[1])
        lines = [json.loads(line) for line in states if line]
        found["acknowledged"] += len(lines)
        with Project.open(folder) as project:
            now = seen(project, project.videos()[0].id)
            last = lines[-1]
            found["lost"] += not (now == last or now[0] == last[0] + 1)
        log = (folder / "annotations.log").read_bytes()
        (folder / "annotations.log").unlink()
        with Project.open(folder) as project:  # of annotations.csv alone
            _, marks, looked, _ = seen(project, project.videos()[0].id)
            same = [mark[1:] for mark in marks] == [mark[1:] for mark in now[1]]
            found["csv_differs"] += not (same and looked == now[2])
        (folder / "annotations.log").write_bytes(log)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
