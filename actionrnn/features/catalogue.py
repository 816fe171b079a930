"""Which backbones there are, and whether their weights are on this machine."""

from __future__ import annotations

import fnmatch
import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from actionrnn.features.efficientnet_lite0 import FEATURE_SIZE
from actionrnn.features.networks import BUNDLED, build_options, classifier_of

MOST_TIMM_NAMES = 40

HERE, TO_FETCH, UNTRAINED = "here", "to be downloaded", "none published"


@dataclass(frozen=True)
class BackboneEntry:
    """One usable backbone."""

    name: str
    feature_size: int | None
    weights: str
    """`here`, `to be downloaded` or `none published`."""


def list_backbones(search: str | None = None) -> Iterator[BackboneEntry]:
    """The bundled backbone, torchvision's, and those of timm that match `search`.

    Args:
        search: part of a name; `*` stands for anything. None: all but timm's.
    """
    pattern = f"*{(search or '').lower()}*"
    if fnmatch.fnmatch(BUNDLED, pattern):
        yield BackboneEntry(BUNDLED, FEATURE_SIZE, HERE)
    yield from _torchvision(pattern)
    if search is not None:
        yield from _timm(pattern.replace("timm/", ""))


def _torchvision(pattern: str) -> Iterator[BackboneEntry]:
    from torchvision import models

    checkpoints = Path(torch.hub.get_dir()) / "checkpoints"
    for name in models.list_models(module=models):
        if not fnmatch.fnmatch(f"torchvision/{name}", pattern):
            continue
        published = models.get_model_weights(name).DEFAULT
        network = _build(functools.partial(models.get_model, name, **build_options(name)))
        _, classifier = classifier_of(network, len(published.meta["categories"]))
        size = getattr(classifier, "in_features", getattr(classifier, "in_channels", None))
        here = (checkpoints / Path(published.url).name).exists()
        yield BackboneEntry(f"torchvision/{name}", size, HERE if here else TO_FETCH)


def _build(make: Callable[..., nn.Module]) -> nn.Module:
    """The network without memory for its weights, where its code allows that."""
    try:
        with torch.device("meta"):
            return make(weights=None)
    except NotImplementedError:  # the RegNets draw their weights from numbers that they look at
        return make(weights=None)


def _timm(pattern: str) -> Iterator[BackboneEntry]:
    import timm
    from huggingface_hub import try_to_load_from_cache

    for name in timm.list_models(pattern, include_tags=True)[:MOST_TIMM_NAMES]:
        with torch.device("meta"):
            network: Any = timm.create_model(name, num_classes=0)
        repository = network.pretrained_cfg.get("hf_hub_id")
        cached = repository and try_to_load_from_cache(repository, "model.safetensors")
        weights = HERE if isinstance(cached, str) else TO_FETCH if repository else UNTRAINED
        size = getattr(network, "head_hidden_size", None) or network.num_features
        yield BackboneEntry(f"timm/{name}", size, weights)
