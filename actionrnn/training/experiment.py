"""One experiment: which heads are trained on which clips, how they are tested, and the model.

`train.train` finds the clips and their features and makes an `Experiment` of them; its methods
are the steps of the training, in the order in which they stand. `fit.fit_head` trains one head.
"""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from actionrnn.config import Config, HeadConfig
from actionrnn.datasets.recordings import Dataset
from actionrnn.datasets.sequences import Sequences
from actionrnn.datasets.splits import Fold, describe_split
from actionrnn.evaluation.event_scores import EventScores
from actionrnn.evaluation.predict import (
    MEAN_POOL,
    MEAN_POOL_MOTION,
    FoldPredictions,
    TrainedOn,
    predict_fold,
    predict_steps,
)
from actionrnn.evaluation.report import CURVE_FILE, Report
from actionrnn.evaluation.step_predictions import StepPredictions
from actionrnn.evaluation.step_scores import StepResults, step_report
from actionrnn.evaluation.summary import make_report
from actionrnn.features.backbone import Backbone
from actionrnn.files import atomic_path
from actionrnn.model.calibration import calibrated
from actionrnn.model.heads import Head
from actionrnn.model.none_of_these import NoneOfThese
from actionrnn.model.privacy import EVERY_CLIP, public_training
from actionrnn.model.recognizer import Recognizer
from actionrnn.progress import progress_bar
from actionrnn.results import replacing
from actionrnn.training import parallel
from actionrnn.training.calibrate import Temperatures, from_other_folds, from_validation
from actionrnn.training.describe import describe_training
from actionrnn.training.event_rules import choose_and_test
from actionrnn.training.fit import DivergedError, Fit, fit_head
from actionrnn.training.fit_state import STATES, Epoch, FitTask, file_name
from actionrnn.training.held_out import divided, why_not_held_out
from actionrnn.training.none_of_these import HeldOut, fit_none_of_these

Purpose = Literal["head", "mean-pool", "mean-pool + motion"]

Heads = Mapping[tuple[str, Purpose, int], Head]
"""Trained heads by fold, purpose and seed."""

Log = Callable[[str, Epoch], None]
"""Gets the fit's name and one row of its curve."""


@dataclass(frozen=True)
class FitSpec:
    """One head to train, in the experiment's terms."""

    fold: Fold
    """Its training clips are learned from, and its validation clips choose the epoch. If it has
    none of these, some groups of its training clips are held back for that."""
    head: HeadConfig
    seed: int
    purpose: Purpose = "head"
    trial: int = 0
    """In a search, from 1; else 0."""
    num_features: int | None = None
    """The head sees only the first N features of each step; None: all."""

    @property
    def name(self) -> str:
        """`split 1, gru, seed 0`, or `split 1, trial 3 (lstm)`."""
        if self.trial:
            return f"{self.fold.name}, trial {self.trial} ({self.head.kind})"
        return f"{self.fold.name}, {self.model}, seed {self.seed}"

    @property
    def model(self) -> str:
        """`gru`, or `mean-pool` for a baseline."""
        return self.head.kind if self.purpose == "head" else self.purpose


@dataclass(frozen=True)
class Experiment:
    """What is trained on what, and how.

    The order of use: `fit` the heads, `report` on them, make the `model`. Before that,
    `search.search_heads` may choose the head settings of each fold.
    """

    config: Config
    dataset: Dataset
    folds: Sequence[Fold]
    """Each is trained on and tested."""
    sequences: Sequences
    """The features of the data set's clips."""
    device: torch.device
    """Where the heads are trained and tested."""
    output: Path
    """Gets the training curves, and the states of unfinished fits."""
    resume: bool = False
    """Each fit starts from its saved state, if it has one."""
    log: Log = lambda name, epoch: None

    @property
    def seeds(self) -> range:
        """Of the fits. The model and, but for `Report.seeds`, the report are the first seed's."""
        return range(self.config.train.seed, self.config.train.seed + self.config.train.seeds)

    @property
    def model_fold(self) -> Fold:
        """What the model is trained on: the only fold, else every clip."""
        return self.folds[0] if len(self.folds) == 1 else Fold(EVERY_CLIP, self.dataset.clips, ())

    @property
    def trained_folds(self) -> list[Fold]:
        """All that is trained on: each fold's training side, and the model's."""
        return list(self.folds) if len(self.folds) == 1 else [*self.folds, self.model_fold]

    @property
    def window_steps(self) -> int:
        """The median length of what is learned from, which windows beside a kept state have."""
        folds = self.folds or [self.model_fold]
        sides = [self.sequences.subset(fold.train).lengths for fold in folds]
        return int(np.median(np.concatenate(sides)))

    def fit(self, chosen: Mapping[str, HeadConfig] | None = None) -> Heads:
        """Train head and baselines for each fold and seed, and the model's head.

        Args:
            chosen: the settings that a search chose, by fold; other folds use `config.head`.

        Raises:
            DivergedError: a loss or a weight is not finite.
            ModelError: a saved state is damaged, or of other clips, features or settings.
        """
        specs = self.specs(chosen or {})
        return {
            (spec.fold.name, spec.purpose, spec.seed): fit.head
            for spec, fit in zip(specs, self.run(specs), strict=True)
            if fit
        }

    def run(self, specs: Sequence[FitSpec]) -> list[Fit | None]:
        """Train the head of each spec, and write the curves unless all are trials of a search.

        Returns:
            a fit for each spec; None for a trial that diverged.

        Raises:
            DivergedError: a fit other than a trial diverged.
            ModelError: a saved state is damaged, or of other clips, features or settings.
        """
        is_search = all(spec.trial for spec in specs)
        doing = "searching" if is_search else "training"
        # torchrun's other processes do the same
        num_epochs = len(specs) * self.config.train.epochs if parallel.is_first() else 0
        with progress_bar(doing, num_epochs) as advance:
            fits = [self._fit_one(spec, advance) for spec in specs]
        if parallel.is_first() and not is_search:
            _write_curves(self.output / CURVE_FILE, specs, fits)
        return fits

    def report(self, heads: Heads, **further: Any) -> Report:
        """Test the heads: the first seed's answers clip by clip, every seed's accuracy.

        Args:
            further: fields of `Report` that only the caller knows: `skipped`, `versions`, ...
        """
        first = self.config.train.seed
        by_seed = {
            seed: [self._predict(fold, heads, seed) for fold in self.folds] for seed in self.seeds
        }
        calibration, no_calibration = None, ""
        if reason := why_not_held_out(self.config, self.folds, self.dataset.labels):
            no_calibration = f"A temperature {reason}."
        else:
            temperatures = self._temperatures(heads, by_seed[first])
            wanted, helps = self.config.train.calibrate, temperatures.helps
            calibration = temperatures.describe(by_seed[first], applied=wanted and helps)
            if wanted and not helps:
                no_calibration = (
                    "No temperature is applied: the calibration error is not lower with those "
                    f"fitted on the {temperatures.fitted_on}."
                )
            if calibration.applied:
                by_seed[first] = temperatures.apply(by_seed[first])
                heads = self._calibrated(heads, temperatures)
        split = describe_split(
            self.dataset,
            self.config.data,
            self.folds,
            num_skipped=len(further.get("skipped", ())),
        )
        steps = [self._predict_steps(fold, heads) for fold in self.folds]
        events, no_events = self._events(heads, steps)
        return make_report(
            self.dataset.labels,
            by_seed[first],
            by_seed=by_seed,
            calibration=calibration,
            calibration_note=no_calibration,
            steps=self._step_results(steps),
            events=events,
            no_events=no_events,
            title=split,
            notes=self.dataset.notes,
            config=self.config.to_dict(),
            **further,
        )

    def model(self, heads: Heads, report: Report | None, backbone: Backbone) -> Recognizer:
        """The first seed's head of the only fold, or the one trained on every clip.

        Args:
            report: None: it was not tested, and says nothing of how good it is.
        """
        head = heads[self.model_fold.name, "head", self.config.train.seed]
        config = replace(self.config, head=head.config)  # a search may have chosen another
        if report is not None and report.calibration and report.calibration.applied:
            temperature = report.calibration.temperature
            head = calibrated(head, temperature)
            heads = {key: calibrated(one, temperature) for key, one in heads.items()}
        described = describe_training(
            config, self.dataset, self.sequences, self.model_fold, report, self.window_steps
        )
        training = public_training(described)
        none_of_these = self._none_of_these(head, heads) if config.train.none_of_these else None
        return Recognizer(
            backbone,
            head.trained(),
            self.dataset.labels,
            config,
            training,
            none_of_these=none_of_these,
        )

    def specs(self, chosen: Mapping[str, HeadConfig]) -> list[FitSpec]:
        """All heads and baselines that `fit` trains, given what a search chose, by fold."""
        specs = []
        for seed in self.seeds:
            # the model is of the first seed: further ones are for the folds' scores alone
            folds = self.trained_folds if seed == self.config.train.seed else self.folds
            specs += [FitSpec(f, chosen.get(f.name, self.config.head), seed) for f in folds]
        given = self.config.head
        mean = HeadConfig(
            kind="mean",
            dropout=given.dropout,
            input_scaling=given.input_scaling,
            multi_label=given.multi_label,
        )
        # A baseline that cannot see order must not see which frame came before: of features that
        # hold each frame and its change, the frame is the first half.
        has_motion = self.config.backbone.modality == "both"
        frame_features = self.sequences.feature_size // 2 if has_motion else None
        for seed in self.seeds:
            for fold in self.folds:
                specs.append(FitSpec(fold, mean, seed, MEAN_POOL, num_features=frame_features))
                if has_motion:
                    specs.append(FitSpec(fold, mean, seed, MEAN_POOL_MOTION))
        return specs

    def _fit_one(self, spec: FitSpec, advance: Callable[..., None]) -> Fit | None:
        epochs, done = self.config.train.epochs, 0

        def on_epoch(epoch: Epoch, is_new: bool) -> None:
            nonlocal done
            done += 1
            advance(note=f"{spec.name}: {_describe_epoch(epoch)}", skipped=not is_new)
            self.log(spec.name, epoch)

        try:
            fit = fit_head(
                self.task(spec),
                self.device,
                state_file=self.output / STATES / f"{file_name(spec.name)}.safetensors",
                resume=self.resume,
                on_epoch=on_epoch,
            )
        except DivergedError:
            if not spec.trial:
                raise
            fit = None  # one bad setting does not end a search
        advance(epochs - done, skipped=True)  # those before which it stopped
        return fit

    def task(self, spec: FitSpec) -> FitTask:
        """A fit with its clips divided into those that train and those that choose the epoch."""
        config = replace(self.config.train, seed=spec.seed)
        if spec.purpose != "head":
            # a baseline at its best: trained for what it says of the clip, not of single frames;
            # and without a state there is none to lead anywhere
            config = replace(config, now_weight=0.0, state_warmup_steps=0)
        train, validation = divided(spec.fold, config)
        seen = self.sequences.first_features(spec.num_features)
        return FitTask(
            seen.side(train),
            len(self.dataset.labels),
            spec.head,
            config,
            seen.side(validation) if validation else None,
            spec.name,
        )

    def _temperatures(self, heads: Heads, predictions: Sequence[FoldPredictions]) -> Temperatures:
        """For the first seed's heads, if clips are held out.

        Args:
            predictions: of the first seed's heads, by fold.
        """
        if len(predictions) > 1:
            return from_other_folds(predictions)
        [fold], config = self.folds, self.config.train
        validation = divided(fold, config)[1]
        head = heads[fold.name, "head", config.seed]
        return from_validation(head, self.sequences.subset(validation))

    def _none_of_these(self, head: Head, heads: Heads) -> NoneOfThese:
        """For the model's head, from the first seed's heads of the folds."""
        held_out = []
        for fold in self.folds:
            trained, validation = divided(fold, self.config.train)
            clips = fold.test if len(self.folds) > 1 else validation
            held_out.append(
                HeldOut(
                    heads[fold.name, "head", self.config.train.seed],
                    trained=self.sequences.side(trained),
                    clips=self.sequences.subset(clips),
                    recordings=self.sequences.side(clips),
                )
            )
        trained = divided(self.model_fold, self.config.train)[0]
        return fit_none_of_these(head, self.sequences.side(trained), held_out)

    def _calibrated(self, heads: Heads, temperatures: Temperatures) -> Heads:
        """With the folds' heads of the first seed at their temperatures."""
        changed = dict(heads)
        for fold, temperature in zip(self.folds, temperatures.folds, strict=True):
            key: tuple[str, Purpose, int] = fold.name, "head", self.config.train.seed
            changed[key] = calibrated(heads[key], temperature)
        return changed

    def _predict(self, fold: Fold, heads: Heads, seed: int) -> FoldPredictions:
        return predict_fold(
            fold.name,
            self.sequences.subset(fold.test),
            self._tested(heads, fold, seed),
            TrainedOn(
                self.sequences.provenance,
                videos=self.sequences.subset(fold.known).fingerprints,
                groups=[clip.group for clip in fold.known],
            ),
            diagnostics=seed == self.config.train.seed,
        )

    def _predict_steps(self, fold: Fold, heads: Heads) -> list[StepPredictions]:
        """The first seed's answers; none where the sampling has no rate."""
        tested = self._tested(heads, fold, self.config.train.seed)
        return predict_steps(self.sequences.side(fold.test), tested, self.window_steps)

    def _step_results(self, steps: Sequence[Sequence[StepPredictions]]) -> StepResults | None:
        """Of the answers in each fold."""
        recordings = [one for fold in steps for one in fold]
        if not recordings:
            return None
        joined = not self.sequences.continuous
        return step_report(self.dataset.labels, recordings, joined=joined)

    def _events(
        self, heads: Heads, steps: Sequence[Sequence[StepPredictions]]
    ) -> tuple[EventScores | None, str]:
        """With the thresholds that are wanted; or None, and why there are none."""
        train = self.config.train
        if not train.event_thresholds:
            return None, ""
        validation: list[StepPredictions] = []
        if len(self.folds) == 1:
            [fold] = self.folds
            held_out = self.sequences.side(divided(fold, train)[1])
            head = heads[fold.name, "head", train.seed]
            validation = predict_steps(held_out, {"head": head}, window=1)
        return choose_and_test(self.dataset.labels, steps, validation, train.false_alarms_per_hour)

    def _tested(self, heads: Heads, fold: Fold, seed: int) -> dict[str, Head]:
        """The fold's heads by their names in the report, the tested one first."""
        name = "head" if self.config.train.search else self.config.head.kind
        tested: dict[str, Head] = {name: heads[fold.name, "head", seed]}
        for (of_fold, purpose, of_seed), head in heads.items():
            if (of_fold, of_seed) == (fold.name, seed) and purpose != "head":
                tested[purpose] = head
        return tested


def _describe_epoch(epoch: Epoch) -> str:
    text = f"loss {epoch.train_loss:.3f}"
    if epoch.validation_top1 is None:
        return text
    return f"{text}, validation {epoch.validation_loss:.3f} ({epoch.validation_top1:.1%})"


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
                writer.writerow(
                    [spec.fold.name, spec.model, spec.seed, *dataclasses.astuple(epoch)]
                )
