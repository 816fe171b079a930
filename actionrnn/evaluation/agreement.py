"""What two annotators agree in: as tables on the terminal, and as files."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import FiniteFloat, NonNegativeFloat
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from actionrnn.evaluation.bootstrap import intervals_note
from actionrnn.evaluation.bout_scores import BoutScores, Kappa, write_bouts
from actionrnn.evaluation.score_table import rows_of_scores, write_scores
from actionrnn.evaluation.step_scores import StepScores
from actionrnn.evaluation.step_tables import COLUMNS, Column, count_text, kappa_text
from actionrnn.files import write_text
from actionrnn.results import replacing, results_folder
from actionrnn.text import plain, printable

AGREEMENT_FILE = "agreement.json"
# not those of a run: both may lie in one folder
AGREEMENT_SCORES_FILE = "agreement_scores.csv"
AGREEMENT_BOUTS_FILE = "agreement_bouts.csv"


@dataclass(frozen=True)
class Agreement:
    """What two annotators agree in."""

    first: str
    """The name of the first's file."""
    second: str
    num_videos: int
    num_groups: int
    """Of videos, which the intervals draw."""
    seconds: NonNegativeFloat
    """At which both looked."""
    kappa: Kappa | None
    """Cohen's, over all labels and none of them; sets of labels where these overlap."""
    kappa_interval: tuple[FiniteFloat, FiniteFloat] | None
    scores: StepScores
    """Of the second, as a model's over steps; see `time_scores`."""
    classes: tuple[BoutScores, ...]
    """Of each label; `bout_scores.write_bouts` writes them as CSV."""
    notes: tuple[str, ...] = ()
    """What was left out, cut or assumed, a line each."""

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return asdict(self)

    def __rich__(self) -> RenderableType:
        return Group(_table(self), _scores_table(self), Text(printable("\n".join(_lines(self)))))


def write_agreement(agreement: Agreement, folder: Path) -> None:
    """Write `agreement.json`, `agreement_scores.csv` and `agreement_bouts.csv` into a folder.

    Raises:
        ActionrnnError: the folder holds files of others with these names, or cannot be written.
    """
    with results_folder(folder, (AGREEMENT_FILE, AGREEMENT_SCORES_FILE, AGREEMENT_BOUTS_FILE)):
        with replacing(folder / AGREEMENT_FILE):
            write_text(folder / AGREEMENT_FILE, json.dumps(agreement.to_dict(), indent=1))
        with replacing(folder / AGREEMENT_SCORES_FILE):
            scores = agreement.scores
            rows = rows_of_scores("time", agreement.second, scores, scores.intervals)
            write_scores(rows, folder / AGREEMENT_SCORES_FILE)
        with replacing(folder / AGREEMENT_BOUTS_FILE):
            write_bouts(agreement.classes, folder / AGREEMENT_BOUTS_FILE)


_COLUMNS = (
    Column("bouts 1", "num_true", count_text),
    Column("bouts 2", "num_predicted", count_text),
    Column("F1", "f1"),
    Column("kappa", "kappa", kappa_text),
    Column("time 1", "true_share"),
    Column("time 2", "predicted_share"),
)


_OF_TIME = (Column("time right", "accuracy"), *COLUMNS[1:])
"""Of both, as of a model's steps."""


def _scores_table(agreement: Agreement) -> Table:
    """A row for each score that is known."""
    table = Table("score", title=Text("2 against 1, over time"), title_justify="left")
    table.add_column("value", justify="right", no_wrap=True)
    table.add_column("95 % interval", justify="right", no_wrap=True)
    for column in _OF_TIME:
        if column.value(agreement.scores) is not None:
            cells = column.cell(agreement.scores), column.interval(agreement.scores)
            table.add_row(column.heading, *cells)
    return table


def _table(agreement: Agreement) -> Table:
    """A row a label, within 80 columns unless labels are long."""
    title = f"1: {plain(agreement.first)}, 2: {plain(agreement.second)}"
    table = Table(title=Text(title), title_justify="left")
    table.add_column("label", overflow="fold")
    for column in _COLUMNS:
        table.add_column(column.heading, justify="right", no_wrap=True)
    for one in agreement.classes:
        table.add_row(Text(printable(one.label)), *(column.cell(one) for column in _COLUMNS))
    return table


def _lines(agreement: Agreement) -> list[str]:
    bounds = agreement.kappa_interval
    interval = "" if bounds is None else f" ({bounds[0]:.2f} to {bounds[1]:.2f})"
    plural = "" if agreement.num_videos == 1 else "s"
    units = "videos" if agreement.num_groups == agreement.num_videos else "groups of videos"
    return [
        f"kappa over all labels {kappa_text(agreement.kappa)}{interval}, over "
        f"{agreement.seconds:.1f} s of {agreement.num_videos} video{plural} at which both looked",
        intervals_note(agreement.num_groups, units),
        *(f"note: {note}" for note in agreement.notes),
    ]
