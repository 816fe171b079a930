"""How far long work is, on stderr: a bar in a terminal or a notebook, else a line now and then.

terminal                        extracting features ━━━━╺━━━ 420 of 1000 (42%), 14/s, 41 s left
Jupyter, Colab                  the same, as the page's own bar
SLURM, nohup, Docker, CI        the same as a line every 30 s
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any, Literal, TextIO

from markupsafe import escape
from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from actionrnn.text import printable

SECONDS_BETWEEN_LINES = 30.0
SECONDS_BETWEEN_PICTURES = 0.5  # of a notebook's bar; shorter work shows none

Unit = Literal["steps", "bytes"]

OnProgress = Callable[[str, float], None]
"""Gets what is done now, in words, and which part of the whole is done, 0 to 1."""


def silent(text: str, part: float) -> None:
    """Tells nobody how far the work is: an `OnProgress`."""


class Meter:
    """What is done of some work, since when, and the words for it.

    Args:
        description: what is done.
        total: steps or bytes in all; None: not known.
        clock: gives seconds.
    """

    def __init__(
        self,
        description: str,
        total: int | None,
        unit: Unit = "steps",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.description, self.total = description, total
        self.done = 0
        self._unit, self._clock, self._started = unit, clock, clock()
        self._num_skipped, self._note = 0, ""
        self._lock = threading.Lock()

    def advance(
        self,
        steps: int = 1,
        note: str = "",
        *,
        skipped: bool = False,
        total: int | None = None,
    ) -> None:
        """Count what was done.

        Args:
            note: stands behind the numbers until the next call.
            skipped: these steps took no time, as they were done before or are not needed: they
                say nothing about the rate.
            total: becomes known, or changes.
        """
        with self._lock:
            self.done += steps
            self._num_skipped += steps if skipped else 0
            self._note = printable(note).replace("\n", " ")
            self.total = self.total if total is None else total

    def __str__(self) -> str:
        """Such as `extracting features: 420 of 1000 (42%) in 30 s, 14/s, 41 s left: NOTE`."""
        return f"{printable(self.description)}: {self.words()}"

    def words(self) -> str:
        """What is done, the rate, the time left, and the note."""
        with self._lock:
            seconds = self._clock() - self._started
            rate = (self.done - self._num_skipped) / seconds if seconds > 0 else 0.0
            count = f"{self._count()} in " if self.done or self.total else ""
            words = count + _duration(seconds)
            if rate > 0:
                words += f", {self._per_time(rate)}"
                if self.total is not None and self.done < self.total:
                    words += f", {_duration((self.total - self.done) / rate)} left"
            return f"{words}: {self._note}" if self._note else words

    def _count(self) -> str:
        done, unit = str(self.done), ""
        total = str(self.total)
        if self._unit == "bytes":
            done, unit = f"{self.done / 1e6:.1f}", " MB"
            total = f"{(self.total or 0) / 1e6:.1f}"
        if not self.total:
            return f"{done}{unit}"
        return f"{done} of {total}{unit} ({100 * self.done // self.total}%)"

    def _per_time(self, rate: float) -> str:
        if self._unit == "bytes":
            return f"{rate / 1e6:.1f} MB/s"
        per_time = next((a for a in ((rate, "s"), (60 * rate, "min")) if a[0] >= 1), None)
        value, time_unit = per_time or (3600 * rate, "h")
        return f"{value:.0f}/{time_unit}" if value >= 10 else f"{value:.1f}/{time_unit}"


def _duration(seconds: float) -> str:
    """Such as `41 s`, `12 min`, `3 h 20 min`."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"


@contextlib.contextmanager
def progress_bar(
    description: str, total: int | None, unit: Unit = "steps"
) -> Iterator[Callable[..., None]]:
    """Show how far the block's work is; yields `Meter.advance`, which the work calls.

    Args:
        description: what is done.
        total: steps or bytes in all; None: not known; 0: nothing is shown.
        unit: "bytes" shows sizes.
    """
    meter = Meter(description, total, unit)
    with _shown(meter, sys.stderr):
        yield meter.advance


def _shown(meter: Meter, stream: TextIO | None) -> AbstractContextManager[object]:
    if meter.total == 0 or stream is None:
        return contextlib.nullcontext()
    display = _notebook_display()
    if display is not None:
        return _repeated(_notebook_bar(meter, display), SECONDS_BETWEEN_PICTURES)
    # not rich's own test, which takes a log for a terminal where FORCE_COLOR is set
    if stream.isatty() and not Console(file=stream).is_dumb_terminal:
        return _terminal_bar(meter, stream)
    return _repeated(lambda: print(meter, file=stream, flush=True), SECONDS_BETWEEN_LINES)


def _terminal_bar(meter: Meter, stream: TextIO) -> Live:
    """A bar that is gone at the end; what is printed meanwhile stands above it."""

    def draw() -> Table:
        bar = ProgressBar(meter.total, meter.done, width=28, pulse=meter.total is None)
        row = Table.grid(padding=(0, 1))
        row.add_row(Text(printable(meter.description)), bar, Text(meter.words(), no_wrap=True))
        return row

    return Live(
        get_renderable=draw,
        console=Console(file=stream),
        redirect_stdout=sys.stdout is not None and sys.stdout.isatty(),  # no file, no pipe
        transient=True,
        refresh_per_second=10,
    )


def _notebook_display() -> Callable[..., Any] | None:
    """IPython's `display`, if this runs in the kernel of a notebook."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    if not hasattr(shell, "kernel"):
        return None
    from IPython.display import display

    return display  # type: ignore[no-any-return]


def _notebook_bar(meter: Meter, display: Callable[..., Any]) -> Callable[[], None]:
    """A function that shows the bar in the cell's output, or draws it anew there."""
    name, is_there = uuid.uuid4().hex, False

    def show() -> None:
        nonlocal is_there
        length = f' value="{meter.done}" max="{meter.total}"' if meter.total else ""
        page = f"<progress{length}></progress> {escape(str(meter))}"
        content = {"text/plain": str(meter), "text/html": page}
        display(content, raw=True, display_id=name, update=is_there)
        is_there = True

    return show


@contextlib.contextmanager
def _repeated(show: Callable[[], None], seconds: float) -> Iterator[None]:
    """Call `show` every so many seconds; and at the end, if the block took that long."""
    ended = threading.Event()

    def repeat() -> None:
        is_shown = False
        # a log that was closed or is full ends no work
        with contextlib.suppress(OSError, ValueError):
            while not ended.wait(seconds):
                show()
                is_shown = True
            if is_shown:
                show()

    thread = threading.Thread(target=repeat, name="progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
