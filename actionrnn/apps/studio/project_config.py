"""What a training of a project takes: project.yaml, and what is marked so far."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from actionrnn.apps.studio.project_file import CONFIG_SECTIONS, ProjectFile, read_project_file
from actionrnn.config import Config, DataConfig, Sampling, TrainConfig
from actionrnn.config_reading import parse_config
from actionrnn.datasets.annotations.intervals_csv import read_intervals_csv
from actionrnn.datasets.annotations.marks import Mark, ReadOptions
from actionrnn.datasets.recordings import BACKGROUND
from actionrnn.errors import ProjectError

ANNOTATIONS_FILE = "annotations.csv"
FEATURES_FOLDER = "features"
RUNS_FOLDER = "runs"

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
    config = base_config(folder, content)
    marks: Sequence[Mark] = ()
    if (folder / ANNOTATIONS_FILE).is_file():
        marks = read_intervals_csv(folder / ANNOTATIONS_FILE, ReadOptions()).marks
    split: Literal["leave_one_group_out", "none"] = "none"
    if _can_be_tested(marks, multi_label=content.settings.multi_label):
        split = "leave_one_group_out"
    train, given = config.train, content.config.get("train") or {}
    if "epochs" not in given:
        train = replace(train, epochs=_num_epochs(marks, content.settings.rate_fps, train))
    if "none_of_these" not in given:  # it is known by what is left out
        none_of_these = split != "none" and not content.settings.multi_label
        train = replace(train, none_of_these=none_of_these)
    config = replace(config, data=replace(config.data, split=split), train=train)
    return parse_config(config.to_dict(), overrides, source="override")


def base_config(folder: Path, content: ProjectFile) -> Config:
    """`make_config` less what depends on the marks: the split, the epochs, none-of-these."""
    sections = {
        name: {**TRAINING.get(name, {}), **(content.config.get(name) or {})}
        for name in CONFIG_SECTIONS
    }
    config, settings = parse_config(sections, source="config"), content.settings
    return replace(
        config,
        data=DataConfig(
            layout="annotations",
            root=str(folder / ANNOTATIONS_FILE),
            features=str(folder / FEATURES_FOLDER),
        ),
        sampling=Sampling(rate_fps=settings.rate_fps),
        backbone=replace(config.backbone, modality=settings.modality),
        head=replace(config.head, multi_label=settings.multi_label),
    )


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
