"""Tasks in the place of those that need a backbone or torch: quick, and with faults on demand.

Each worker imports this module, so it imports little itself.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from actionrnn.errors import ModelError, VideoError

if TYPE_CHECKING:
    from actionrnn.apps.studio.extraction import Wanted
    from actionrnn.apps.studio.worker import Report


def extract_nothing(
    wanted: Wanted, videos: Sequence[tuple[str, Path]], *, stop: threading.Event, report: Report
) -> None:
    """Say of each video that it is done, and keep a list of what was asked for."""
    for key, _ in videos:
        report(1.0, key=key)
    with (wanted.store.parent / "asked.txt").open("a") as file:
        file.write(f"{wanted.sampling.rate_fps:g} {' '.join(key for key, _ in videos)}\n")


def extract_and_die(
    wanted: Wanted, videos: Sequence[tuple[str, Path]], *, stop: threading.Event, report: Report
) -> None:
    """As a decoder that a video kills; another video cannot be used."""
    for key, _ in videos:
        if "ann_red" in key:
            time.sleep(0.05)
            os._exit(11)
        report(1.0, key=key, error="ann_blue: cannot be used" if "ann_blue" in key else "")


def extract_slowly(
    wanted: Wanted, videos: Sequence[tuple[str, Path]], *, stop: threading.Event, report: Report
) -> None:
    """Half of the first video, then nothing more until it is stopped."""
    report(0.5, key=videos[0][0])
    stop.wait(60)


def refuse(*_: Any, stop: threading.Event, report: Report) -> None:
    """Fail with a reason."""
    raise VideoError("nothing can be extracted here")


def prepare(*_: Any, stop: threading.Event, report: Report) -> None:
    """There is nothing to load."""


def teach_nothing(folder: Path, *, stop: threading.Event, report: Report) -> str:
    """Report a training and a scoring, and leave no model."""
    report(0.5, "half of it")
    report(0.0, kind="score")
    return "1"


def teach_until_stopped(folder: Path, *, stop: threading.Event, report: Report) -> str:
    """A training that says how far it is, and never ends by itself; each is counted."""
    with (folder / "taught.txt").open("a") as file:
        file.write(".")
    report(0.25, "a quarter")
    stop.wait(60)
    raise ModelError("the training was stopped")


def score_until_stopped(folder: Path, *, stop: threading.Event, report: Report) -> str:
    """A training that is done at once, and a scoring that never ends by itself."""
    with (folder / "taught.txt").open("a") as file:
        file.write(".")
    report(0.1, "without ann", kind="score")
    stop.wait(60)
    raise ModelError("the scoring was stopped")


def export_when_told(
    model: Path, folder: Path, none_rate: float | None, *, stop: threading.Event, report: Report
) -> None:
    """An export that waits for the file `go` beside the model; each begun is counted there."""
    with (model.parent / "begun.txt").open("a") as file:
        file.write(".")
    report(0.5, "writing the network")
    while not model.with_name("go").exists():
        time.sleep(0.02)
    folder.mkdir()
    (folder / "model.json").write_text("{}")


def teach_and_ignore(folder: Path, *, stop: threading.Event, report: Report) -> str:
    """A training that does not listen."""
    report(0.1, "deaf")
    time.sleep(120)
    return "1"


def fail_to_teach(folder: Path, *, stop: threading.Event, report: Report) -> str:
    """A training that is refused."""
    raise ModelError("only red is marked; mark another label")


def crash(*_: Any, stop: threading.Event, report: Report) -> str:
    """An error that nobody expected."""
    raise ZeroDivisionError("a secret of /home/me")


def die(*_: Any, stop: threading.Event, report: Report) -> str:
    """End with the process."""
    os._exit(3)


def add(one: int, other: int, *, stop: threading.Event, report: Report) -> int:
    """A sum, and how far it is."""
    report(0.5, "half", more=[one])
    return one + other


def process_id(*, stop: threading.Event, report: Report) -> int:
    """Which process this is."""
    return os.getpid()
