"""Networks and their weights: the bundled one, torchvision's and timm's; loaded and listed."""

from __future__ import annotations

import contextlib
import difflib
import fnmatch
import functools
import io
import logging
import pickle
import threading
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from actionrnn.errors import BackboneError, first_line
from actionrnn.features.efficientnet_lite0 import (
    FEATURE_SIZE,
    EfficientNetLite0,
    load_bundled_weights,
    load_published_weights,
)
from actionrnn.features.known import BUNDLED, BUNDLED_PREPROCESSING
from actionrnn.features.preprocess import Preprocessing
from actionrnn.features.scaling import Interpolation
from actionrnn.files import utf8_path

MOST_TIMM_NAMES = 40
HERE, TO_FETCH, UNTRAINED = "here", "to be downloaded", "none published"

_one_at_a_time = threading.RLock()


class Normalised(nn.Module):
    """Normalisation and network in one."""

    def __init__(self, network: nn.Module, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.network, self.preprocessing = network, preprocessing

    def forward(self, frames: Tensor) -> Tensor:
        """RGB uint8 (N, crop, crop, 3) -> (N, D)."""
        features: Tensor = self.network(self.preprocessing.normalise(frames))
        return features


def float32_layers(network: nn.Module) -> tuple[nn.Module, ...]:
    """The layers that stay in float32 where the rest does not."""
    return network.float32_layers() if isinstance(network, EfficientNetLite0) else ()


def load_network(name: str, weights: str) -> tuple[nn.Module, Preprocessing]:
    """A network without its classifier, and the preprocessing that its weights were trained with.

    Args:
        name: `efficientnet_lite0`, `torchvision/<name>` or `timm/<name>`.
        weights: `default`, `none` (random) or a local file.

    Raises:
        BackboneError: the name is unknown, or the weights are missing or do not fit.
    """
    library, slash, short = name.partition("/")
    if name == BUNDLED:
        return _load_bundled(weights)
    if slash and library == "torchvision":
        return _load_torchvision(short, weights)
    if slash and library == "timm":
        return _load_timm(short, weights)
    raise BackboneError(
        f"{name!r} is not a backbone; use {BUNDLED}, torchvision/<name> or "
        "timm/<name> (`actionrnn backbones` lists them)"
    )


def _load_bundled(weights: str) -> tuple[nn.Module, Preprocessing]:
    if weights == "none":
        return EfficientNetLite0(), BUNDLED_PREPROCESSING
    if weights == "default":
        return load_bundled_weights(), BUNDLED_PREPROCESSING
    return load_published_weights(_read_weights(Path(weights)), weights), BUNDLED_PREPROCESSING


def _load_torchvision(name: str, weights: str) -> tuple[nn.Module, Preprocessing]:
    from torchvision import models

    if name not in models.list_models(module=models):
        raise BackboneError(
            f"torchvision/{name} is not a classification network of torchvision; "
            "`actionrnn backbones` lists them"
        )
    published = models.get_model_weights(name).DEFAULT
    transform = published.transforms()
    preprocessing = Preprocessing(
        resize=transform.resize_size[0],
        crop=transform.crop_size[0],
        mean=tuple(transform.mean),
        std=tuple(transform.std),
        interpolation=_interpolation(transform.interpolation.value),
    )
    if weights == "default":
        network = _or_offline(
            lambda: models.get_model(name, weights=published), f"torchvision/{name}", published.url
        )
    else:
        network = models.get_model(name, weights=None, **build_options(name))
    _remove_classifier(network, num_classes=len(published.meta["categories"]))
    if weights not in ("default", "none"):
        _load_state(network, Path(weights))
    return network, preprocessing


def _load_timm(name: str, weights: str) -> tuple[nn.Module, Preprocessing]:
    import timm
    from timm.data.config import resolve_model_data_config

    base, _, tag = name.partition(".")
    if not timm.is_model(base):
        near = ", ".join(timm.list_models(f"*{base[:8]}*")[:5]) or "none alike"
        raise BackboneError(f"timm/{name} is not a network of timm (similar names: {near})")
    tagged = timm.list_models(f"{base}.*", include_tags=True)
    if tag and name not in tagged:
        near = ", ".join(difflib.get_close_matches(name, tagged, n=5, cutoff=0)) or f"timm/{base}"
        raise BackboneError(f"timm/{name}: timm/{base} has no such weights (there are: {near})")
    if weights == "default":
        network = _or_offline(
            lambda: timm.create_model(name, pretrained=True, num_classes=0),
            f"timm/{name}",
            "the Hugging Face hub",
        )
    else:
        network = timm.create_model(name, num_classes=0)
        if weights != "none":
            _load_state(network, Path(weights))
    data: dict[str, Any] = resolve_model_data_config(network)  # type: ignore[no-untyped-call]
    crop = data["input_size"][1]
    return network, Preprocessing(
        resize=int(crop / data["crop_pct"]),
        crop=crop,
        mean=data["mean"],
        std=data["std"],
        interpolation=_interpolation(data["interpolation"]),
    )


def _interpolation(name: str) -> Interpolation:
    return "bilinear" if name == "bilinear" else "bicubic"


def _or_offline(load: Callable[[], nn.Module], name: str, source: str) -> nn.Module:
    """Run a library's own loading; a failed download becomes one line with the remedy."""
    remedy = (
        "give a local file: --weights FILE (extract, evaluate, classify) or "
        "backbone.weights=FILE (train)"
    )
    try:
        with quietly():  # a download keeps its progress bar
            return load()
    except OSError as error:  # urllib's, httpx's and the hub's errors are among them
        raise BackboneError(
            f"{name}: its weights are not on this machine and cannot be fetched from {source} "
            f"({first_line(error)}); connect, or {remedy}"
        ) from None
    except (RuntimeError, ValueError, EOFError, pickle.UnpicklingError, SafetensorError) as error:
        raise BackboneError(
            f"{name}: its weights from {source} cannot be used ({first_line(error)}); delete "
            f"them from the library's cache and fetch them again, or {remedy}"
        ) from None


def _load_state(network: nn.Module, file: Path) -> None:
    """Weights of the network, with or without a classifier, from a local file."""
    state = _read_weights(file)
    own = network.state_dict()
    missing = sorted(own.keys() - state.keys())
    wrong = sorted(k for k in own.keys() & state.keys() if own[k].shape != state[k].shape)
    if missing or wrong:
        raise BackboneError(
            f"{file}: does not fit the backbone: {len(missing)} tensors missing, {len(wrong)} of "
            f"another shape (first: {(missing + wrong)[0]}); use the weights of this network"
        )
    network.load_state_dict({key: state[key] for key in own})


def _read_weights(file: Path) -> dict[str, Tensor]:
    if not file.is_file():
        raise BackboneError(
            f"{file}: no such weights file (backbone.weights); give its path, or --weights"
        )
    try:
        if file.suffix == ".safetensors":
            from safetensors.torch import load_file

            with utf8_path(file) as named:
                return load_file(named)
        state = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # truncated, a pickle with code, or no weights at all
        raise BackboneError(
            f"{file}: is not a readable weights file ({first_line(error)})"
        ) from None
    for key in ("state_dict", "model"):
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise BackboneError(f"{file}: holds no state_dict of tensors")
    return state


def build_options(name: str) -> dict[str, bool]:
    """What torchvision wants said when these two are built without weights."""
    return {"init_weights": True} if name in ("googlenet", "inception_v3") else {}


def classifier_of(network: nn.Module, num_classes: int) -> tuple[str, nn.Module]:
    """The name of the layer that gives the class scores, and the layer.

    Raises:
        BackboneError: the network has none.
    """
    for name, module in reversed(list(network.named_modules())):
        width = getattr(module, "out_features", getattr(module, "out_channels", None))
        auxiliary = name.lower().startswith("aux")
        if isinstance(module, nn.Linear | nn.Conv2d) and width == num_classes and not auxiliary:
            return name, module
    raise BackboneError(f"{type(network).__name__}: has no classifier of {num_classes} classes")


def _remove_classifier(network: nn.Module, num_classes: int) -> None:
    name, _ = classifier_of(network, num_classes)
    parent, _, leaf = name.rpartition(".")
    setattr(network.get_submodule(parent), leaf, nn.Identity())


@contextlib.contextmanager
def quietly(level: int = logging.WARNING, *, errors_too: bool = False) -> Iterator[None]:
    """Without logged messages up to a level, warnings, and what is printed, during the block.

    All of that belongs to the whole process. So one thread does it at a time, or the second would
    take the silence of the first for what was before, and leave it behind.

    Args:
        errors_too: nothing reaches the standard error either.
    """
    with _one_at_a_time, contextlib.ExitStack() as stack:
        stack.callback(logging.disable, logging.root.manager.disable)
        logging.disable(level)
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
        if errors_too:
            stack.enter_context(contextlib.redirect_stderr(io.StringIO()))
        yield


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
        search: part of a name; `*` matches anything. None: all but timm's.
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
