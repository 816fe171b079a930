"""The training curves that a run leaves in `curve.csv`, read back for the report."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from pathlib import Path

CURVE_FILE = "curve.csv"


@dataclass(frozen=True)
class Curve:
    """One fit's losses, epoch by epoch."""

    fold: str
    head: str
    seed: int
    train_loss: tuple[float, ...]
    validation_loss: tuple[float, ...]
    """Empty where no groups were held back."""


def read_curves(file: Path) -> tuple[Curve, ...]:
    """The curves of a run; none if the file is not there or not one of ours."""
    losses: dict[tuple[str, str, int], tuple[list[float], list[float]]] = {}
    try:
        with file.open(newline="", encoding="utf-8", errors="surrogatepass") as opened:
            for row in csv.DictReader(opened):
                name = row["fold"], row["head"], int(row["seed"])
                train, validation = losses.setdefault(name, ([], []))
                train.append(_finite(row["train_loss"]))
                if row["validation_loss"]:
                    validation.append(_finite(row["validation_loss"]))
    except (OSError, ValueError, KeyError, TypeError, csv.Error):
        return ()
    return tuple(
        Curve(*name, tuple(train), tuple(validation))
        for name, (train, validation) in losses.items()
    )


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is no loss that can be drawn")
    return value
