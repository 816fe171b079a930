"""The fits of one training: each fold and seed, head and baseline, resumable one by one."""

from __future__ import annotations

import csv
import dataclasses
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import TypeAdapter, ValidationError

from actionrnn.config import Config, HeadConfig
from actionrnn.datasets.clips import Clip
from actionrnn.datasets.sequences import Sequences
from actionrnn.datasets.splits import hold_back
from actionrnn.errors import ActionrnnError, ConfigError
from actionrnn.evaluation.report import CURVE_FILE
from actionrnn.files import atomic_path, replacing, write_text
from actionrnn.progress import progress_bar
from actionrnn.training import parallel
from actionrnn.training.fit import DivergedError, Epoch, Fit, fit_head
from actionrnn.training.fit_state import file_name

STATES = "unfinished"
NOTE = "config.json"
"""Beside the states: the settings of the training."""

_NOTE = TypeAdapter(dict[str, dict[str, Any]])

Purpose = Literal["head", "mean-pool", "mean-pool + motion", "trial"]

Log = Callable[[str, Epoch], None]
"""Gets the fit's name and one row of its curve."""


@dataclass(frozen=True)
class FitSpec:
    """One head to train."""

    fold: str
    clips: Sequence[Clip]
    """The training side of the fold."""
    head: HeadConfig
    seed: int
    purpose: Purpose = "head"
    trial: int = 0
    """Of a search, from 1."""
    validation: Sequence[Clip] = ()
    """Clips that choose the epoch; none: a part of the groups of `clips` is held back."""
    num_features: int | None = None
    """The head sees only the first so many features; None: all."""

    @property
    def name(self) -> str:
        """`split 1, gru, seed 0`, or `split 1, trial 3 (lstm)`."""
        if self.trial:
            return f"{self.fold}, trial {self.trial} ({self.head.kind})"
        return f"{self.fold}, {self.model}, seed {self.seed}"

    @property
    def model(self) -> str:
        """`gru`, or `mean-pool` of a baseline."""
        return self.head.kind if self.purpose == "head" else self.purpose


def run_fits(
    specs: Sequence[FitSpec],
    sequences: Sequences,
    num_classes: int,
    config: Config,
    output: Path,
    *,
    device: torch.device,
    resume: bool = False,
    log: Log = lambda name, epoch: None,
) -> list[Fit | None]:
    """Train every head; with `resume` each goes on from its saved state, if there is one.

    Returns:
        a fit for each; None for a trial that diverged.

    Raises:
        DivergedError: the loss of a fit that is no trial is not finite.
        ModelError: a state is damaged, or of other clips, features or settings.
    """
    fits: list[Fit | None] = []
    doing = "searching" if all(spec.trial for spec in specs) else "training"
    with progress_bar(doing, len(specs) * config.train.epochs) as advance:
        for spec in specs:
            rows: list[Epoch] = []

            def on_epoch(epoch: Epoch, name: str = spec.name, rows: list[Epoch] = rows) -> None:
                rows.append(epoch)
                advance(note=f"{name}: {describe(epoch)}")
                log(name, epoch)

            kept, held_back = spec.clips, spec.validation
            if not held_back:
                kept, held_back = hold_back(spec.clips, config.train.validation_fraction, spec.seed)
            seen = sequences.first_features(spec.num_features)
            try:
                fit = fit_head(
                    seen.subset(kept),
                    num_classes,
                    spec.head,
                    dataclasses.replace(config.train, seed=spec.seed),
                    name=spec.name,
                    validation=seen.subset(held_back) if held_back else None,
                    device=device,
                    state_file=output / STATES / f"{file_name(spec.name)}.safetensors",
                    resume=resume,
                    on_epoch=on_epoch,
                )
            except DivergedError:
                if not spec.trial:
                    raise
                fit = None
            advance(config.train.epochs - len(rows))
            fits.append(fit)
    if parallel.is_first() and doing == "training":
        _write_curves(output / CURVE_FILE, specs, fits)
    return fits


@contextmanager
def resumable(config: Config, output: Path, resume: bool) -> Iterator[None]:
    """Keep the states of unfinished fits below `output` until everything is done.

    What is interrupted in the block can be resumed, also before the first state is there.

    Raises:
        ConfigError: there is nothing to resume, or it was started with other settings.
        ActionrnnError: the folder of the states is there, and of something else.
    """
    folder, note = output / STATES, output / STATES / NOTE
    wanted = json.dumps(config.to_dict(), indent=1)
    if resume:
        _require_same_settings(note, wanted)
    if parallel.is_first() and not resume:
        _remove_states(folder)
        write_text(note, wanted)
    parallel.wait_for_all()
    try:
        yield
    except ActionrnnError:
        if parallel.is_first() and not resume and list(folder.iterdir()) == [note]:
            shutil.rmtree(folder, ignore_errors=True)  # there is nothing to go on with
        raise
    parallel.wait_for_all()
    if parallel.is_first():
        shutil.rmtree(folder, ignore_errors=True)


def can_resume(output: Path) -> bool:
    """Whether an unfinished training is there."""
    return (output / STATES / NOTE).exists()


def _remove_states(folder: Path) -> None:
    """Of an earlier training; a folder without a training's note is somebody else's."""
    if folder.exists() and not (folder / NOTE).exists() and any(folder.iterdir()):
        raise ActionrnnError(
            f"{folder}: is there, and is not of an unfinished training; choose another --output, "
            "or move it away"
        )
    shutil.rmtree(folder, ignore_errors=True)


def describe(epoch: Epoch) -> str:
    """A row of the curve in a few words."""
    text = f"loss {epoch.train_loss:.3f}"
    if epoch.validation_top1 is None:
        return text
    return f"{text}, validation {epoch.validation_loss:.3f} ({epoch.validation_top1:.1%})"


def _require_same_settings(note: Path, wanted: str) -> None:
    if not note.exists():
        raise ConfigError(f"{note.parent.parent}: holds no unfinished training; leave --resume out")
    try:
        started = _NOTE.validate_json(note.read_bytes())
    except (OSError, ValidationError):
        raise ConfigError(f"{note}: is damaged; leave --resume out to start again") from None
    for section, values in json.loads(wanted).items():
        for key, value in values.items():
            before = started.get(section, {}).get(key)
            if before != value:
                raise ConfigError(
                    f"{section}.{key} ({value}): the training was started with {before}; "
                    "resume with the same settings, or leave --resume out"
                )


def _write_curves(file: Path, specs: Sequence[FitSpec], fits: Sequence[Fit | None]) -> None:
    columns = ["fold", "head", "seed", *(field.name for field in dataclasses.fields(Epoch))]
    with (
        replacing(file),
        atomic_path(file) as temporary,
        temporary.open("w", newline="", encoding="utf-8", errors="surrogatepass") as opened,
    ):
        writer = csv.writer(opened)
        writer.writerow(columns)
        for spec, fit in zip(specs, fits, strict=True):
            for epoch in fit.curve if fit else ():
                writer.writerow([spec.fold, spec.model, spec.seed, *dataclasses.astuple(epoch)])
