"""project.yaml: the labels of a project and its settings, and what is trained by them."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints

import yaml
from pydantic import Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from actionrnn.apps.studio.operations import checked_label
from actionrnn.config import (
    BackboneConfig,
    Config,
    DataConfig,
    Modality,
    Sampling,
    TrainConfig,
)
from actionrnn.config_parsing import (
    STRICT_KEYS,
    PositiveFloat,
    first_problem,
    load_plain_yaml,
    meaning,
    nearest,
    of_kind,
)
from actionrnn.config_reading import parse_config
from actionrnn.datasets.annotations.intervals_csv import read_intervals_csv
from actionrnn.datasets.annotations.marks import Mark, ReadOptions
from actionrnn.datasets.recordings import BACKGROUND
from actionrnn.errors import ConfigError, ProjectError
from actionrnn.files import write_text

PROJECT_FILE = "project.yaml"
ANNOTATIONS_FILE = "annotations.csv"
FEATURES_FOLDER = "features"
RUNS_FOLDER = "runs"

KEYS = "1234567890abdhjkmpqrtvwxyz"
"""The keys that labels may have, in the order in which those that say none get them; the other
letters are commands of the page."""
COLOURS = (
    *("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00"),
    *("#882255", "#999933", "#44aa99", "#aa4499"),
)
"""Of labels that say none. Most eyes tell them apart: Okabe and Ito, "Color Universal Design"
(2008), then Paul Tol's muted scheme."""
TRAINING: Mapping[str, Mapping[str, Any]] = {
    "head": {"hidden_size": 128},
    "train": {"batch_size": 4, "learning_rate": 2e-3, "state_warmup_steps": 16},
}
"""How a project's head is trained where project.yaml says nothing else. Ten labelled minutes take a
third of the time that the defaults take or less, and score the same."""
LEAST_EPOCHS, MOST_EPOCHS = 12, 100
LEAST_UPDATES = 80
"""Steps of the optimiser, for which there are more epochs where little is marked: the order of
actions is learned late."""
_IN_CONFIG = ("backbone", "head", "train")
_SET_ELSEWHERE = {"backbone": {"modality": "modality"}, "head": {"multi_label": "multi_label"}}
"""What is a setting, and so not read in `config`."""


@dataclass(frozen=True, config=STRICT_KEYS)
class Label:
    """An action that is taught."""

    name: str
    key: str = ""
    """The one character that begins and ends a mark of it; empty: none."""
    colour: str = ""
    """`#rrggbb`."""


@dataclass(frozen=True, config=STRICT_KEYS)
class Settings:
    """What the page lets a person choose."""

    rate_fps: PositiveFloat = 4.0
    """Steps a second; features are extracted anew for another rate."""
    multi_label: Annotated[bool, Field(strict=True)] = False
    """Several labels at once, or none."""
    modality: Modality = BackboneConfig.modality
    """As `backbone.modality`; features are extracted anew for another one."""


@dataclass(frozen=True)
class ProjectFile:
    """The content of a project.yaml."""

    labels: tuple[Label, ...] = ()
    settings: Settings = field(default_factory=Settings)
    videos: tuple[str, ...] = ()
    """Paths of videos that lie outside of the project."""
    config: Mapping[str, Any] = field(default_factory=dict)
    """Sections of a configuration, for what is no setting: backbone, head and train."""


def is_project(folder: str | Path) -> bool:
    """Whether a folder is a project."""
    return Path(folder, PROJECT_FILE).is_file()


def read_project_file(folder: Path) -> ProjectFile:
    """Read and check the project.yaml of a folder.

    Raises:
        ProjectError: it cannot be read, or holds what is not known or not valid.
    """
    file = folder / PROJECT_FILE
    try:
        content = load_plain_yaml(file.read_text(encoding="utf-8")) or {}
    except (OSError, UnicodeDecodeError) as error:
        raise ProjectError(f"{file}: cannot be read ({error})") from None
    except yaml.YAMLError as error:
        raise ProjectError(f"{file}: is not YAML ({error})") from None
    try:
        return _parsed(content)
    except (ProjectError, ConfigError) as error:
        raise ProjectError(f"{file}: {error}") from None


def _parsed(content: Any) -> ProjectFile:
    known = list(get_type_hints(ProjectFile))
    if not isinstance(content, Mapping):
        raise ProjectError(f"must hold {', '.join(known)}, not {meaning(content)!r}")
    for name in content:
        if name not in known:
            raise ProjectError(f"unknown section {str(name)!r}; {nearest(str(name), known)}")
    labels = _of_type(content, "labels", list)
    config = _of_type(content, "config", Mapping)
    _require_own_config(config)
    return ProjectFile(
        checked_labels(
            _section(Label, one, f"labels, number {number}") for number, one in enumerate(labels, 1)
        ),
        _section(Settings, _of_type(content, "settings", Mapping), "settings"),
        tuple(map(str, _of_type(content, "videos", list))),
        config,
    )


def _of_type(content: Mapping[Any, Any], name: str, kind: type) -> Any:
    """A section, or an empty one where the file has none."""
    value = content.get(name)
    if value is None or meaning(value) is None:
        return {} if kind is Mapping else []
    if not isinstance(value, kind):
        noun = "a list" if kind is list else "a section with keys"
        raise ProjectError(f"{name}: must be {noun}, not {meaning(value)!r}")
    return value


def _section(kind: Any, values: Any, name: str) -> Any:
    if not isinstance(values, Mapping):
        raise ProjectError(f"{name}: must have {', '.join(get_type_hints(kind))}")
    kinds = get_type_hints(kind)
    for key in values:
        if key not in kinds:
            raise ProjectError(f"{name}: unknown key {str(key)!r}; {nearest(str(key), kinds)}")
    try:
        return TypeAdapter(kind).validate_python(
            {key: of_kind(value, kinds[key]) for key, value in values.items()}
        )
    except ValidationError as error:
        raise ProjectError(f"{name}: {first_problem(error).removeprefix(': ')}") from None


def settings_of(values: Mapping[str, Any], before: Settings) -> Settings:
    """Settings with some fields changed, checked.

    Raises:
        ProjectError: a field is not known, or a value not valid.
    """
    return _section(Settings, {**asdict(before), **values}, "settings")  # type: ignore[no-any-return]


def checked_labels(labels: Iterable[Label]) -> tuple[Label, ...]:
    """Labels with normal names, and with keys and colours where they say none.

    Raises:
        ProjectError: a name, key or colour is not valid, or two labels share a name or a key.
    """
    given = list(labels)
    taken = {label.key for label in given if label.key}
    found: list[Label] = []
    for label in given:
        name = checked_label(label.name)
        if any(other.name == name for other in found):
            raise ProjectError(f"label {name!r}: is there twice")
        if label.key and any(other.key == label.key for other in found):
            raise ProjectError(f"label {name!r}: its key {label.key!r} is another label's, too")
        if label.key and (len(label.key) > 1 or label.key not in KEYS):
            raise ProjectError(
                f"label {name!r}: its key {label.key!r} must be one of {KEYS}; the other letters "
                "are commands"
            )
        if label.colour and not re.fullmatch("#[0-9a-fA-F]{6}", label.colour):
            raise ProjectError(f"label {name!r}: its colour {label.colour!r} must be #rrggbb")
        key = label.key or next((key for key in KEYS if key not in taken), "")
        taken.add(key)
        found.append(Label(name, key, label.colour or COLOURS[len(found) % len(COLOURS)]))
    return tuple(found)


def _require_own_config(config: Mapping[str, Any]) -> None:
    for section, values in config.items():
        if section not in _IN_CONFIG:
            raise ProjectError(
                f"config: holds {', '.join(_IN_CONFIG)}, not {str(section)!r}; what the project "
                "says itself is not written there"
            )
        for key, setting in _SET_ELSEWHERE.get(section, {}).items():
            if isinstance(values, Mapping) and key in values:
                raise ProjectError(
                    f"config.{section}.{key}: is settings.{setting} here; write it there"
                )
    parse_config(dict(config), source="config")


def write_project_file(folder: Path, content: ProjectFile) -> None:
    """Write project.yaml, whole or not at all; it is on the disk then. Comments are not kept.

    Raises:
        ProjectError: it cannot be written.
    """
    labels = [asdict(label) for label in content.labels]
    plain = {"labels": labels, "settings": asdict(content.settings)}
    if content.videos:
        plain["videos"] = list(content.videos)
    if content.config:
        plain["config"] = _plain(content.config)
    text = yaml.safe_dump(plain, sort_keys=False, allow_unicode=True)
    try:
        write_text(folder / PROJECT_FILE, text, durable=True)
    except OSError as error:
        raise ProjectError(
            f"{folder / PROJECT_FILE}: cannot be written ({error.strerror})"
        ) from None


def _plain(value: Any) -> Any:
    """Without the marks of how a value was written."""
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return meaning(value)


def project_config(folder: Path, overrides: Sequence[str] = ()) -> Config:
    """What a training of a project's annotations.csv takes.

    Each group of recordings is left out once for the score, where each class is in several.

    Args:
        folder: of the project.
        overrides: `section.key=value`, which go before what the project says.

    Raises:
        ProjectError: project.yaml cannot be used, or nothing is marked.
        ConfigError: an override cannot be used.
        DatasetError: annotations.csv cannot be read.
    """
    if not (folder / ANNOTATIONS_FILE).is_file():
        raise ProjectError(f"{folder}: nothing is marked yet; mark something, then train")
    return make_config(folder, read_project_file(folder), overrides)


def make_config(folder: Path, content: ProjectFile, overrides: Sequence[str] = ()) -> Config:
    """`project_config` of a project.yaml that is read already."""
    sections = {
        name: {**TRAINING.get(name, {}), **content.config.get(name, {})} for name in _IN_CONFIG
    }
    config = parse_config(sections, source="config")
    settings = content.settings
    annotations = folder / ANNOTATIONS_FILE
    marks: Sequence[Mark] = ()
    if annotations.is_file():
        marks = read_intervals_csv(annotations, ReadOptions()).marks
    split: Literal["leave_one_group_out", "none"] = "none"
    if _can_be_tested(marks, multi_label=settings.multi_label):
        split = "leave_one_group_out"
    train, given = config.train, content.config.get("train", {})
    if "epochs" not in given:
        train = replace(train, epochs=_num_epochs(marks, settings.rate_fps, train))
    if "none_of_these" not in given:  # it is known by what is left out
        train = replace(train, none_of_these=split != "none" and not settings.multi_label)
    config = replace(
        config,
        data=DataConfig(
            layout="annotations",
            root=str(annotations),
            features=str(folder / FEATURES_FOLDER),
            split=split,
        ),
        sampling=Sampling(rate_fps=settings.rate_fps),
        backbone=replace(config.backbone, modality=settings.modality),
        head=replace(config.head, multi_label=settings.multi_label),
        train=train,
    )
    return parse_config(config.to_dict(), overrides, source="override")


def _can_be_tested(marks: Iterable[Mark], *, multi_label: bool) -> bool:
    """Whether each class is in several groups, so that one of them can be left out."""
    groups: dict[str, set[str]] = {}
    for row in marks:
        if not row.is_point and not (multi_label and row.label == BACKGROUND):
            groups.setdefault(row.label, set()).add(row.extra.get("group") or row.video)
    return bool(groups) and all(len(names) > 1 for names in groups.values())


def _num_epochs(marks: Iterable[Mark], rate_fps: float, train: TrainConfig) -> int:
    """So many that there are `LEAST_UPDATES`, as far as the marked time tells the windows."""
    seconds: dict[str, float] = {}
    for row in marks:
        if row.start_seconds is not None and row.end_seconds is not None:
            length = row.end_seconds - row.start_seconds
            seconds[row.video] = seconds.get(row.video, 0.0) + length
    windows = sum(math.ceil(one * rate_fps / train.window_steps) for one in seconds.values())
    updates = max(1, math.ceil(windows / train.batch_size))
    return min(MOST_EPOCHS, max(LEAST_EPOCHS, math.ceil(LEAST_UPDATES / updates)))


def next_run(folder: Path) -> Path:
    """The folder of a project's next training: `runs/1`, `runs/2`, ..."""
    runs = folder / RUNS_FOLDER
    names = [path.name for path in runs.iterdir()] if runs.is_dir() else []
    return runs / str(1 + max((int(name) for name in names if name.isdecimal()), default=0))
