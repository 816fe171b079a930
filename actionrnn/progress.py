"""A progress bar on stderr for long work; silent where stderr is not a terminal."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Literal

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from actionrnn.text import printable

Unit = Literal["steps", "bytes"]


@contextlib.contextmanager
def progress_bar(
    description: str, total: int | None, unit: Unit = "steps"
) -> Iterator[Callable[..., None]]:
    """Yield `advance(steps=1, note="")`, which moves the bar and sets the text behind it.

    Args:
        description: what is done; left of the bar.
        total: steps or bytes in all; None: not known; 0: no bar.
        unit: "bytes" shows sizes and the rate of the transfer.
    """
    console = Console(stderr=True)
    counts = (
        [MofNCompleteColumn()] if unit == "steps" else [DownloadColumn(), TransferSpeedColumn()]
    )
    columns = (
        TextColumn("{task.description:<24}"),
        BarColumn(bar_width=28),
        *counts,
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", markup=False),
    )
    quiet = not console.is_terminal or total == 0
    with Progress(*columns, console=console, disable=quiet) as progress:
        task = progress.add_task(description, total=total, note="")

        def advance(steps: int = 1, note: str = "") -> None:
            progress.update(task, advance=steps, note=printable(note))

        yield advance
