"""The frozen CNN: always in eval mode, never a gradient.

Names: `efficientnet_lite0` (bundled), `torchvision/<name>`, `timm/<name>`.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from actionrnn.config import BackboneConfig, Precision
from actionrnn.errors import BackboneError
from actionrnn.features.efficientnet_lite0 import (
    EfficientNetLite0,
    load_bundled_weights,
    load_published_weights,
)
from actionrnn.features.preprocess import Preprocessing

BUNDLED = "efficientnet_lite0"

# Batches above this gained nothing on a CPU; every batch has exactly this size, so that a
# clip's features do not depend on the clips that share its batch.
BATCH_FRAMES = {"cpu": 16, "cuda": 128}


@dataclass(frozen=True)
class Backbone:
    """A frozen network and all that is needed to feed it."""

    config: BackboneConfig
    network: nn.Module
    preprocessing: Preprocessing
    weights_sha256: str
    """Of the weights as tensors: the same however they were stored."""
    view_size: int
    """Features of one picture."""
    device: torch.device
    dtype: torch.dtype

    @property
    def name(self) -> str:
        """As in the configuration."""
        return self.config.name

    @property
    def feature_size(self) -> int:
        """D, the features of a frame: those of all its views."""
        return self.view_size * self.preprocessing.num_views

    @property
    def batch_frames(self) -> int:
        """The number of frames that `encode` handles at once."""
        return BATCH_FRAMES.get(self.device.type, BATCH_FRAMES["cuda"])

    def provenance(self) -> dict[str, Any]:
        """What decides the features' values, as plain JSON types."""
        return {
            "backbone": self.name,
            "weights_sha256": self.weights_sha256,
            "preprocessing": {
                key: list(value) if isinstance(value, tuple) else value
                for key, value in asdict(self.preprocessing).items()
            },
        }

    @torch.inference_mode()
    def encode(self, frames: NDArray[np.uint8], *, padded: bool = True) -> NDArray[np.float32]:
        """Features of pictures that `preprocessing` has scaled, centred and made views of.

        Args:
            frames: RGB uint8 (N, crop, crop, 3): the `num_views` of each frame in turn.
            padded: compute full batches only, so that a frame's features do not depend on
                their number; a stream does not, as its single frames would cost a batch each.

        Returns:
            float32 (N / num_views, D).
        """
        parts = [
            self._encode_batch(frames[start : start + self.batch_frames], padded)
            for start in range(0, len(frames), self.batch_frames)
        ]
        values = np.concatenate(parts) if parts else np.empty((0, self.view_size), np.float32)
        return values.reshape(-1, self.feature_size)

    def _encode_batch(self, frames: NDArray[np.uint8], padded: bool) -> NDArray[np.float32]:
        count = len(frames)
        if (
            padded and count < self.batch_frames
        ):  # a full batch takes the same arithmetic every time
            padding = ((0, self.batch_frames - count), (0, 0), (0, 0), (0, 0))
            frames = np.pad(frames, padding)
        pixels = torch.from_numpy(np.ascontiguousarray(frames)).to(self.device)
        inputs = self.preprocessing.normalise(pixels).to(_input_dtype(self.network, self.dtype))
        features: Tensor = self.network(inputs)[:count]
        return features.float().cpu().numpy()


def load_backbone(config: BackboneConfig | str | None = None) -> Backbone:
    """Load a frozen backbone with its weights and its own preprocessing.

    Args:
        config: a `BackboneConfig`, or just the backbone's name.

    Raises:
        BackboneError: the name is unknown, the weights are not here or do not fit,
            or the device is not here.
    """
    if not isinstance(config, BackboneConfig):
        config = BackboneConfig(name=config) if config else BackboneConfig()
    library, slash, name = config.name.partition("/")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # weights `none` are random, but the same every time
        if config.name == BUNDLED:
            network, preprocessing = _load_bundled(config.weights)
        elif slash and library == "torchvision":
            network, preprocessing = _load_torchvision(name, config.weights)
        elif slash and library == "timm":
            network, preprocessing = _load_timm(name, config.weights)
        else:
            raise BackboneError(
                f"{config.name!r} is no backbone; use {BUNDLED}, torchvision/<name> or "
                "timm/<name> (`actionrnn backbones` lists them)"
            )
    preprocessing = replace(preprocessing, fit=config.fit, streams=config.streams)
    device = _device(config.device)
    dtype = _dtype(config.precision, device)
    network = network.eval().requires_grad_(False)
    sha256 = _hash_tensors(network)
    network = _cast(network, device, dtype)
    return Backbone(
        config=config,
        network=network,
        preprocessing=preprocessing,
        weights_sha256=sha256,
        view_size=_view_size(network, preprocessing, device, dtype),
        device=device,
        dtype=dtype,
    )


def _load_bundled(weights: str) -> tuple[nn.Module, Preprocessing]:
    preprocessing = Preprocessing(resize=256, crop=224, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
    if weights == "none":
        return EfficientNetLite0(), preprocessing
    if weights == "default":
        return load_bundled_weights(), preprocessing
    return load_published_weights(_read_weights(Path(weights)), weights), preprocessing


def _load_torchvision(name: str, weights: str) -> tuple[nn.Module, Preprocessing]:
    from torchvision import models

    if name not in models.list_models(module=models):
        raise BackboneError(
            f"torchvision/{name} is no classification network of torchvision; "
            "`actionrnn backbones` lists them"
        )
    published = models.get_model_weights(name).DEFAULT
    transform = published.transforms()
    preprocessing = Preprocessing(
        resize=transform.resize_size[0],
        crop=transform.crop_size[0],
        mean=tuple(transform.mean),
        std=tuple(transform.std),
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

    if not timm.is_model(name.split(".")[0]):
        near = ", ".join(timm.list_models(f"*{name.split('.')[0][:8]}*")[:5]) or "none alike"
        raise BackboneError(f"timm/{name} is no network of timm (similar names: {near})")
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
        resize=int(crop / data["crop_pct"]), crop=crop, mean=data["mean"], std=data["std"]
    )


def _or_offline(load: Callable[[], nn.Module], name: str, source: str) -> nn.Module:
    """Run a library's own loading; a failed download becomes one line with the remedy."""
    try:
        return load()
    except Exception as error:  # each library and hub raises its own
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise BackboneError(
            f"{name}: its weights are not on this machine and cannot be fetched from {source} "
            f"({reason}); connect, or give a local file: --weights FILE (extract, evaluate, "
            "classify) or backbone.weights=FILE (train)"
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
        raise BackboneError(f"{file}: no such weights file (backbone.weights); give its path")
    try:
        if file.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(file)
        state = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # truncated, a pickle with code, or no weights at all
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise BackboneError(f"{file}: is no readable weights file ({reason})") from None
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


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise BackboneError(f"device {name!r} is not here ({reason}); use auto or cpu") from None
    return device


def _dtype(precision: Precision, device: torch.device) -> torch.dtype:
    if precision != "auto":
        return {
            "float32": torch.float32,
            "bfloat16": torch.bfloat16,
            "float16": torch.float16,
        }[precision]
    if device.type == "cuda":
        major = torch.cuda.get_device_capability(device)[0]
        return torch.bfloat16 if major >= 8 else torch.float16 if major >= 7 else torch.float32
    if device.type == "cpu":
        can = torch.cpu.get_capabilities()
        return torch.bfloat16 if can.get("avx512_bf16") or can.get("amx_bf16") else torch.float32
    return torch.float32


def _cast(network: nn.Module, device: torch.device, dtype: torch.dtype) -> nn.Module:
    """Convert all layers but those that the network wants exact."""
    exact = network.float32_layers() if isinstance(network, EfficientNetLite0) else ()
    states = [copy.deepcopy(layer.state_dict()) for layer in exact]
    network = network.to(device=device, dtype=dtype)
    for layer, state in zip(exact, states, strict=True):
        layer.to(torch.float32).load_state_dict(state)
    return network.to(memory_format=torch.channels_last)


def _input_dtype(network: nn.Module, dtype: torch.dtype) -> torch.dtype:
    return torch.float32 if isinstance(network, EfficientNetLite0) else dtype


def _hash_tensors(network: nn.Module) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)};".encode())
        digest.update(tensor.contiguous().cpu().numpy().tobytes())
    return digest.hexdigest()


@torch.inference_mode()
def _view_size(
    network: nn.Module, preprocessing: Preprocessing, device: torch.device, dtype: torch.dtype
) -> int:
    side = preprocessing.crop
    blank = torch.zeros(1, 3, side, side, device=device, dtype=_input_dtype(network, dtype))
    features = network(blank)
    if features.ndim != 2:
        raise BackboneError(f"{type(network).__name__}: gives {tuple(features.shape)}, not (N, D)")
    return int(features.shape[1])
