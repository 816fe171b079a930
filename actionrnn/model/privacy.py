"""What a model may say of its training: no path of a machine, no name of a group.

Groups are people. A model keeps a hash of each name, which is enough to say 'trained on this
group' of a name that is known; whoever can guess a name can check the guess.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import re
import unicodedata
from pathlib import Path
from typing import Any

from actionrnn.config import BackboneConfig, Config, DataConfig

EVERY_CLIP = "every clip"
"""The fold of a model that was trained on all of them."""

_HASHED = re.compile(r"sha256:[0-9a-f]{16}")
_NO_PATHS = ("default", "none")  # of backbone.weights


def last_part(path: str | Path) -> str:
    """The name of a file or folder without where it is; `~` for a home, which a person names.

    >>> last_part("/home/ann/videos/")
    'videos'
    """
    if os.path.abspath(os.path.expanduser(path)) == os.path.expanduser("~"):  # noqa: PTH100, PTH111
        return "~"
    name = re.split(r"[/\\]", str(path).rstrip("/\\"))[-1]
    return name if name not in ("", ".", "..") else Path(path).resolve().name


def hashed_group(name: str) -> str:
    """A group's name as a model keeps it: `sha256:` and 16 digits; one that is hashed stays.

    >>> hashed_group("ann") == hashed_group(hashed_group("ann"))
    True
    """
    if _HASHED.fullmatch(name):
        return name
    normal = unicodedata.normalize("NFC", name)
    return f"sha256:{hashlib.sha256(normal.encode('utf-8', 'surrogatepass')).hexdigest()[:16]}"


def shown_fold(fold: object) -> str:
    """A model's fold in words; a hash would say nothing."""
    return "one group left out" if _HASHED.fullmatch(str(fold)) else f"fold {fold}"


def public_config(config: Config) -> Config:
    """A configuration as a model keeps it: without the paths and patterns of the data."""
    return dataclasses.replace(
        config, data=_public_data(config.data), backbone=_public_backbone(config.backbone)
    )


def public_training(training: dict[str, Any]) -> dict[str, Any]:
    """What a model says of its training: hashes of groups, the last part of the data's path."""
    public = dict(training)
    by_group = training.get("split") == "leave_one_group_out"
    if isinstance(training.get("data"), str):
        public["data"] = last_part(training["data"])
    if "groups" in training:
        public["groups"] = sorted(_hashed(training["groups"]))
    if by_group and isinstance(training.get("fold"), str) and training["fold"] != EVERY_CLIP:
        public["fold"] = hashed_group(training["fold"])
    if isinstance(training.get("scores"), dict):
        scores = public["scores"] = dict(training["scores"])
        for name in ("leaked_groups", *(["tested_on"] if by_group else [])):
            if name in scores:
                scores[name] = _hashed(scores[name])
    return public


def belongs_to(own: Config, config: Config, data: str) -> bool:
    """Whether a run's own configuration is that of a model, which says less; `data`: its data."""
    public = public_config(own)
    place = own.data.root or own.data.features
    return (public.data, public.backbone) == (config.data, config.backbone) and (
        place is not None and last_part(place) == data
    )


def _public_data(data: DataConfig) -> DataConfig:
    """A pattern may name the groups that it finds; a fold may be the group that is left out."""
    fold = data.fold
    if data.split == "leave_one_group_out" and isinstance(fold, str) and fold != "all":
        fold = hashed_group(fold)
    return dataclasses.replace(
        data,
        root=None,
        videos=None,
        tiers=(),
        subjects=(),
        annotators=(),
        features=None,
        group_pattern=None,
        fold=fold,
    )


def _public_backbone(backbone: BackboneConfig) -> BackboneConfig:
    if backbone.weights in _NO_PATHS:
        return backbone
    return dataclasses.replace(backbone, weights=last_part(backbone.weights))


def _hashed(groups: Any) -> list[str]:
    return [hashed_group(str(group)) for group in groups] if isinstance(groups, list) else []
