"""Labelled clips of which only the features are there: their keys say what they are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from actionrnn.config import DataConfig
from actionrnn.datasets.clips import Clip, Dataset, unique_clips
from actionrnn.datasets.folder import clip_in_folder, open_manifest
from actionrnn.datasets.ucf101 import clip_of_ucf101
from actionrnn.errors import DatasetError


def open_stored(keys: Sequence[str], config: DataConfig) -> Dataset:
    """The data set behind a store's keys, laid out as videos would be.

    `ucf101`: `[<Class>/]v_<Class>_gNN_cNN`; `folder`: `<label>/...`; `manifest`: the rows of
    the CSV file, found by their path without its ending, or by its name alone.

    Raises:
        DatasetError: a key is not of this layout, or no row has features.
    """
    root = Path(str(config.features))
    if config.layout == "manifest":
        return _manifest(keys, config)
    make = clip_of_ucf101 if config.layout == "ucf101" else clip_in_folder
    clips = [make(root, root / key, config.group_pattern) for key in keys]
    return Dataset(root, unique_clips(clips))
