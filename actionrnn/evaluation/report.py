"""What an evaluation found: numbers for the terminal, JSON and the HTML page."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, FiniteFloat, TypeAdapter, ValidationError
from rich.console import RenderableType

from actionrnn.datasets.clips import Clip
from actionrnn.errors import ActionrnnError
from actionrnn.evaluation.curves import Curve
from actionrnn.evaluation.metrics import ClassResult, ReliabilityBin
from actionrnn.evaluation.report_table import render_report
from actionrnn.files import as_path, read_json, write_text

REPORT_FILE = "report.json"

Rate = Annotated[float, Field(ge=0, le=1)]


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
    """Its name within the data set."""
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
    """How far back the answer depends on the input; see `metrics.mean_influence`."""

    curve: tuple[float, ...]
    """By lag in steps: the influence relative to that of the newest input."""
    half_steps: float
    """The newest inputs that hold half of all influence, mean over clips."""
    mean_steps: float
    """The clips' length."""
    num_clips: int


@dataclass(frozen=True)
class Report:
    """An evaluation over the test clips of one or more folds."""

    labels: tuple[str, ...]
    num_clips: int
    top1: Rate
    top5: Rate
    mean_class_accuracy: Rate
    baseline_mean_pool_top1: Rate | None
    """Mean-pool + linear over the frames of the same clips, trained alike: it cannot see their
    order. None where it was not trained."""
    folds: tuple[FoldResult, ...]
    confusion: list[list[int]]
    """Rows: true class; columns: the answer; in the order of `labels`."""
    title: str = ""
    notes: tuple[str, ...] = ()
    """What else must be known of the data, in one line each; see `Dataset.notes`."""
    seen_in_training: int = 0
    """Test clips whose very video the model was trained on."""
    leaked_clips: int = 0
    """Further test clips of whose group the model was trained on other clips."""
    leaked_groups: tuple[str, ...] = ()
    skipped: list[dict[str, str]] = field(default_factory=list)
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
    (streams: both)."""
    trials: tuple[dict[str, Any], ...] = ()
    """What a search tried in each fold: settings, validation loss and top-1, whether chosen."""
    baseline_shuffled_frames_top1: Rate | None = None
    """The same trained head on the clips' frames in random orders, mean over orders."""
    intervals: dict[str, tuple[FiniteFloat, FiniteFloat] | None] = field(default_factory=dict)
    """95 % bootstrap intervals, by the number's name; `gain_over_mean_pool` is a difference."""
    resampled: str = "clips"
    """What the bootstrap drew: `groups`, or `clips` where each clip is a group of its own."""
    num_units: int = 0
    """How many of those there are."""
    classes: tuple[ClassResult, ...] = ()
    observed: dict[str, tuple[float, ...]] = field(default_factory=dict)
    """By model: top-1 after the first 10, 20, ... 100 % of each clip."""
    ece: Rate | None = None
    """Expected calibration error, in 15 bins."""
    reliability: tuple[ReliabilityBin, ...] = ()
    horizon: dict[str, Horizon] = field(default_factory=dict)
    """By model: the memory horizon."""
    curves: tuple[Curve, ...] = ()
    versions: dict[str, str] = field(default_factory=dict)
    clips: tuple[ClipResult, ...] = ()
    """Every test clip; what `actionrnn compare` pairs."""

    def __post_init__(self) -> None:
        """Refuse what a damaged file may say: no other code looks at these again.

        Raises:
            ValueError: what belongs together has different lengths, or a trial says too little.
        """
        sides = [len(self.labels)] * len(self.labels)
        if [len(row) for row in self.confusion] != sides:
            raise ValueError(
                f"confusion must have a row and a column for each of {len(sides)} labels"
            )
        if len({len(clip.right_by_seed) for clip in self.clips}) > 1:
            raise ValueError("right_by_seed must have as many values in each of the clips")
        if any(not clip.right_by_seed for clip in self.clips):
            raise ValueError("right_by_seed must have a value for each seed")
        for trial in self.trials:
            if not {"fold", "head", "chosen"} <= trial.keys() or not isinstance(
                trial["head"], dict
            ):
                raise ValueError("each of the trials must say fold, head and chosen")

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return asdict(self)

    def write(self, path: str | Path) -> None:
        """Write the JSON file: one line for each number, and for each row of a list."""
        rows = (f"  {json.dumps(key)}: {_rows(value)}" for key, value in self.to_dict().items())
        write_text(as_path(path), "{\n" + ",\n".join(rows) + "\n}\n")

    def __rich__(self) -> RenderableType:
        return render_report(self)


def read_report(path: str | Path) -> Report:
    """Read a report back: its JSON file, or the folder of a run.

    Raises:
        ActionrnnError: there is none, or it is damaged or of another version.
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
        f"{file}: is no report of this version ({reason}); evaluate the model again"
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
