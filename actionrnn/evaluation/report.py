"""The result of an evaluation: its numbers, and their JSON file.

`summary.make_report` computes a report, `report_text` and `report_page` show it.
"""

from __future__ import annotations

import csv
import json
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, FiniteFloat, TypeAdapter, ValidationError

from actionrnn.datasets.recordings import Clip, tested_as
from actionrnn.errors import ActionrnnError
from actionrnn.evaluation.event_scores import EventScores
from actionrnn.evaluation.metrics import ClassResult, Rate, ReliabilityBin
from actionrnn.evaluation.step_scores import StepResults
from actionrnn.features.provenance import Failure
from actionrnn.files import as_path, read_json, write_text
from actionrnn.model.segments import NOTHING

REPORT_FILE = "report.json"
CURVE_FILE = "curve.csv"
MOST_GROUPS_SHOWN = 5


@dataclass(frozen=True)
class FoldResult:
    """One fold's test."""

    group: str
    """The fold's name: the held-out group, or `split 1`, `holdout`, ..."""
    num_clips: int
    top1: Rate
    baseline_mean_pool_top1: Rate | None = None
    baseline_mean_pool_motion_top1: Rate | None = None


@dataclass(frozen=True)
class SeedResult:
    """The same training with one seed."""

    seed: int
    top1: Rate
    baseline_mean_pool_top1: Rate | None = None
    baseline_mean_pool_motion_top1: Rate | None = None


@dataclass(frozen=True)
class ClipResult:
    """One test clip."""

    key: str
    """Its name in the data set; unique."""
    path: str
    label: str
    group: str
    fold: str
    answer: str
    score: float
    """The answer's probability."""
    label_score: float
    """The true class's probability."""
    baseline_answer: str | None = None
    right_by_seed: tuple[bool, ...] = ()
    """Whether each seed's head was right; the first is the report's."""
    start_seconds: float | None = None
    end_seconds: float | None = None
    seen: bool = False
    """The model was trained on this very video."""
    leaked: bool = False
    """The model was trained on other clips of its group."""


@dataclass(frozen=True)
class Horizon:
    """How far back the answer depends on the input, the memory horizon.

    See `metrics.mean_influence`.
    """

    curve: tuple[float, ...]
    """By lag in steps: the influence relative to that of the newest input."""
    half_steps: float
    """The newest inputs that hold half of all influence, mean over clips."""
    mean_steps: float
    """The clips' length."""
    num_clips: int


@dataclass(frozen=True)
class Curve:
    """One fit's losses, epoch by epoch."""

    fold: str
    head: str
    seed: int
    train_loss: tuple[float, ...]
    validation_loss: tuple[float, ...]
    """Empty where no groups were held back."""


@dataclass(frozen=True)
class Calibration:
    """What temperature scaling does to the scores of the test clips; see `model.calibration`."""

    temperature: Annotated[float, Field(gt=0)]
    """That of the model: fitted on all clips that `fitted_on` names."""
    fitted_on: str
    """Which clips, none of which the scored head was trained on. Several folds: the test clips of
    the others, for each fold anew (the model's: of all folds); one: its validation clips, which may
    have chosen the epoch."""
    num_clips: int
    """How many."""
    ece_before: Rate
    """Expected calibration error of the test clips' scores at temperature 1."""
    ece_after: Rate
    """At the temperature that was fitted without the test clip's fold."""
    applied: bool
    """Whether the model and all scores of the report are at it: `train.calibrate`, unless there
    are several folds, and `ece_after` is not below `ece_before`."""


@dataclass(frozen=True)
class Report:
    """An evaluation over the test clips of one or more folds."""

    labels: tuple[str, ...]
    num_clips: int
    top1: Rate
    """The part of the clips whose answer is right; with `multi_label` if it names exactly the
    classes that are true (`answers_of`), and so wherever a field is called top1."""
    top5: Rate | None
    """This and the next two suppose one class a clip: none with `multi_label`."""
    mean_class_accuracy: Rate | None
    baseline_mean_pool_top1: Rate | None
    """Mean-pool + linear over the frames of the same clips, trained alike: it cannot see their
    order. None where it was not trained."""
    folds: tuple[FoldResult, ...]
    confusion: list[list[int]]
    """Rows: true class; columns: the answer; in the order of `labels`."""
    title: str = ""
    notes: tuple[str, ...] = ()
    """What else a reader must know of the data, a line each; see `Dataset.notes`."""
    seen_in_training: int = 0
    """Test clips whose very video the model was trained on."""
    leaked_clips: int = 0
    """Further test clips of whose group the model was trained on other clips."""
    leaked_groups: tuple[str, ...] = ()
    skipped: list[Failure] = field(default_factory=list)
    """Videos that could not be used: `path` and `reason`."""
    config: dict[str, dict[str, Any]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    """The wall time of each stage."""
    seeds: tuple[SeedResult, ...] = ()
    """The accuracy with each seed; all the other numbers are the first seed's."""
    fold_mean_top1: Rate | None = None
    """The mean of the folds' accuracies, as UCF101's three splits are reported; with several."""
    fold_std_top1: FiniteFloat | None = None
    """Their standard deviation."""
    baseline_mean_pool_motion_top1: Rate | None = None
    """Mean-pool + linear with each frame's change beside it, where the head sees that
    (modality: both)."""
    trials: tuple[dict[str, Any], ...] = ()
    """What a search tried in each fold: settings, validation loss and top-1, whether chosen."""
    baseline_shuffled_frames_top1: Rate | None = None
    """The same trained head on the clips' frames in random orders, mean over orders."""
    intervals: dict[str, tuple[FiniteFloat, FiniteFloat] | None] = field(default_factory=dict)
    """95 % bootstrap intervals, by the number's name; `gain_over_mean_pool` is a difference."""
    resampled: str = "clips"
    """What the bootstrap drew: `groups`, or `clips` if each clip is its own group."""
    num_units: int = 0
    """The number of these groups or clips."""
    classes: tuple[ClassResult, ...] = ()
    observed: dict[str, tuple[float, ...]] = field(default_factory=dict)
    """By model: top-1 of the answer so far, after the first 10, 20, ... 100 % of each clip."""
    observed_now: dict[str, tuple[float, ...]] = field(default_factory=dict)
    """The same for the answer of now, that of the step alone."""
    ece: Rate | None = None
    """Expected calibration error, in 15 bins; with `multi_label` that of each class's score for
    each clip, beside whether it is on."""
    reliability: tuple[ReliabilityBin, ...] = ()
    calibration: Calibration | None = None
    """None where `calibration_note` says why."""
    calibration_note: str = ""
    """Why there is no `calibration`, and what to do for one; or why it is not applied though
    `train.calibrate` asks for it: a sentence."""
    horizon: dict[str, Horizon] = field(default_factory=dict)
    """By model."""
    curves: tuple[Curve, ...] = ()
    versions: dict[str, str] = field(default_factory=dict)
    clips: tuple[ClipResult, ...] = ()
    """Every test clip; what `actionrnn compare` pairs."""
    steps: StepResults | None = None
    """How good the answers at each step of whole recordings are; None: not measured."""
    events: EventScores | None = None
    """How good the events of the test recordings are; None: the model has the default thresholds,
    or the clips have no rate."""
    no_events: str = ""
    """Why thresholds that were wanted (`train.event_thresholds`) could not be chosen."""
    multi_label: bool = False
    """Whether a clip may have several classes, or none (`head.multi_label`)."""

    def __post_init__(self) -> None:
        """Refuse what a damaged file may say; the code that reads a report relies on it.

        Raises:
            ValueError: parts that belong together differ in length, or a trial is incomplete.
        """
        num_labels = len(self.labels)
        num_rows = 0 if self.multi_label else num_labels
        if [len(row) for row in self.confusion] != [num_labels] * num_rows:
            raise ValueError(
                f"confusion must have a row and a column for each of {num_labels} labels"
            )
        num_seeds = {len(clip.right_by_seed) for clip in self.clips}
        if len(num_seeds) > 1 or 0 in num_seeds:
            raise ValueError("right_by_seed must have a value for each seed, in every clip")
        for trial in self.trials:
            if not {"fold", "head", "chosen"} <= trial.keys() or type(trial["head"]) is not dict:
                raise ValueError("each of the trials must say fold, head and chosen")
        if self.steps is not None and not self.steps.models:
            raise ValueError("steps must have the scores of a model")
        if self.steps and self.steps.classes:
            classes = [one.label for one in self.steps.classes]
            if classes != list(self.labels):
                raise ValueError("the classes of steps must be the labels, in their order")
        for bars in self.steps.recordings if self.steps else ():
            shown = {run[0] for run in (*bars.truth, *bars.prediction)}
            if not ((bars.truth or bars.span) and shown <= {NOTHING, *range(num_labels)}):
                raise ValueError(f"{bars.name} must have runs, of the {num_labels} labels")
            if bars.span is not None and not shown <= {NOTHING, *bars.lanes}:
                raise ValueError(f"{bars.name} must have a lane for each label of its runs")

    @property
    def head_name(self) -> str:
        """`gru`; `head` where a search chose for each fold."""
        return "head" if self.trials else str(self.config.get("head", {}).get("kind", "head"))

    @property
    def accuracy_name(self) -> str:
        """What `top1` is called: `top-1`, or `exact match` where several classes may be right."""
        return "exact match" if self.multi_label else "top-1"

    @property
    def clip_name(self) -> str:
        """What `num_clips` counts, here and in folds and classes: `clip`, or `part`."""
        layout = self.config.get("data", {}).get("layout")
        return tested_as(layout, multi_label=self.multi_label)

    @property
    def warnings(self) -> list[str]:
        """What makes the score too good, a line each; every output shows them."""
        lines = []
        if self.seen_in_training:
            is_all = self.seen_in_training == self.num_clips
            verdict = "this is no test" if is_all else "the score is too good"
            lines.append(
                f"NOTE: the model was trained on {self.seen_in_training} of these "
                f"{self.num_clips} {self.clip_name}s; {verdict}"
            )
        if self.leaked_clips:
            names = ", ".join(self.leaked_groups[:MOST_GROUPS_SHOWN])
            more = ", ..." if len(self.leaked_groups) > MOST_GROUPS_SHOWN else ""
            lines.append(
                f"GROUP LEAK: {self.leaked_clips} of these {self.num_clips} {self.clip_name}s are "
                f"of groups that the model was trained on ({names}{more}); the score is too good"
            )
        return lines

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        skipped = [failure.to_json() for failure in self.skipped]
        return asdict(self) | {"skipped": skipped}

    def write(self, path: str | Path) -> None:
        """Write the JSON file: one line for each number, and for each row of a list."""
        rows = (f"  {json.dumps(key)}: {_rows(value)}" for key, value in self.to_dict().items())
        write_text(as_path(path), "{\n" + ",\n".join(rows) + "\n}\n")


def read_report(path: str | Path) -> Report:
    """Read a report back: its JSON file, or the folder of a run.

    Raises:
        ActionrnnError: the file is missing, damaged or of another version.
    """
    path = as_path(path)
    file = path / REPORT_FILE if path.is_dir() else path
    try:
        return TypeAdapter(Report).validate_python(read_json(file))
    except OSError as error:
        raise ActionrnnError(
            f"{file}: cannot be read ({error.strerror}); give a run's folder or its {REPORT_FILE}"
        ) from None
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(map(str, problem["loc"])) or "as a whole"
        reason = f"{where}: {problem['msg']}"
    except ValueError as error:
        reason = str(error)
    raise ActionrnnError(
        f"{file}: is not a report of this version ({reason}); evaluate the model again"
    )


def clip_unit(clip: Clip | ClipResult, config: dict[str, Any]) -> tuple[str, ...]:
    """What is independent of the rest: a clip's group; UCF101 numbers its groups in each class."""
    if config.get("data", {}).get("layout") == "ucf101":
        return clip.label, clip.group
    return (clip.group,)


def _rows(value: Any) -> str:
    """A list with one row a line."""
    if not isinstance(value, list | tuple) or not value:
        return json.dumps(value)
    return "[\n    " + ",\n    ".join(map(json.dumps, value)) + "\n  ]"


def read_curves(file: Path) -> tuple[Curve, ...]:
    """The curves of a run; none if the file is missing or damaged."""
    losses: dict[tuple[str, str, int], tuple[list[float], list[float]]] = {}
    try:
        with file.open(newline="", encoding="utf-8", errors="surrogatepass") as opened:
            for row in csv.DictReader(opened):
                fit = row["fold"], row["head"], int(row["seed"])
                training, validation = losses.setdefault(fit, ([], []))
                training.append(float(row["train_loss"]))
                if row["validation_loss"]:
                    validation.append(float(row["validation_loss"]))
    except (OSError, ValueError, KeyError, TypeError, csv.Error):
        return ()
    if not all(math.isfinite(loss) for sides in losses.values() for side in sides for loss in side):
        return ()
    return tuple(Curve(*fit, tuple(a), tuple(b)) for fit, (a, b) in losses.items())
