"""A running stream as one safetensors file: its state, its clock and its last pictures."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from actionrnn.errors import ModelError
from actionrnn.files import atomic_path, utf8_path
from actionrnn.model.recognizer import Recognizer
from actionrnn.model.state_policy import LongState
from actionrnn.model.stream import Square, Stream, StreamSteps
from actionrnn.video.sampling import FrameSampler, SamplerState

FORMAT = "actionrnn stream"


def save_stream(stream: Stream, path: Path) -> None:
    """Write a stream whole or not at all.

    Raises:
        ModelError: the file cannot be written.
    """
    memory, cut = stream._steps, stream.model.backbone.preprocessing.square
    held = memory.sampler.held
    found = {
        "picture.held": None if held in (None, memory.last) else held.cut(cut),
        "picture.last": None if memory.last is None else memory.last.cut(cut),
        "features.last": memory.last_features,
        "colours.last": memory.state.colours,
    }
    tensors = {name: torch.from_numpy(value) for name, value in found.items() if value is not None}
    for name, value in (memory.state.rows or {}).items():
        tensors[f"state.{name}"] = value.cpu().contiguous()
    described = {
        "format": FORMAT,
        "identity": identity_of(stream),
        "clock": _finite(asdict(memory.sampler.state)),
        "births": memory.state.births,
        "held_is_last": held is memory.last,
        "last_repeats": memory.last_repeats,
    }
    try:
        with atomic_path(path) as temporary:
            save_file(tensors, temporary, metadata={"stream": json.dumps(described)})
    except OSError as error:
        raise ModelError(f"{path}: cannot be written ({error.strerror})") from None


def restore_stream(stream: Stream, path: Path) -> None:
    """Give a stream the memory of a saved one.

    Raises:
        ModelError: there is no such file, it is no stream, or one of another model.
    """
    if not path.is_file():
        raise ModelError(f"{path}: no such stream file; write one with Stream.save")
    try:
        with utf8_path(path) as named, safe_open(named, framework="pt") as file:
            described = json.loads((file.metadata() or {})["stream"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if described["format"] != FORMAT or not isinstance(described["identity"], dict):
            raise KeyError("format")
        _require_same(described["identity"], identity_of(stream), path)
        steps = _rebuild(stream.model, described, tensors)
    except (SafetensorError, OSError, KeyError, ValueError, TypeError, OverflowError) as error:
        raise ModelError(f"{path}: is no whole stream file ({error})") from None
    stream.reset()
    stream._steps = steps


def identity_of(stream: Stream) -> dict[str, Any]:
    """What must be the same for a state to mean the same."""
    model, digest = stream.model, hashlib.sha256()
    for name, tensor in sorted(model.head.state_dict().items()):
        digest.update(f"{name} {tuple(tensor.shape)};".encode())
        digest.update(tensor.cpu().contiguous().numpy().tobytes())
    described = {
        **model.backbone.provenance(),
        "head_sha256": digest.hexdigest(),
        "sampling": asdict(model.config.sampling),
        "policy": asdict(stream.policy),
    }
    identity: dict[str, Any] = json.loads(json.dumps(described))
    return identity


def _require_same(saved: dict[str, Any], here: dict[str, Any], path: Path) -> None:
    for part, value in here.items():
        if saved.get(part) != value:
            raise ModelError(
                f"{path}: was saved with {part} {saved.get(part)}, this stream has {value}; "
                "restore it into a stream of the same model and policy"
            )


def _rebuild(
    model: Recognizer, described: dict[str, Any], tensors: dict[str, torch.Tensor]
) -> StreamSteps:
    arrays = {name: tensor.numpy() for name, tensor in tensors.items() if "." in name}
    last = _square(arrays.get("picture.last"))
    sampler: FrameSampler[Square] = FrameSampler(model.config.sampling)
    clock = described["clock"]
    first, held = clock["first_seconds"], clock["held_seconds"]
    sampler.restore(
        SamplerState(
            first_seconds=None if first is None else _seconds(first),
            next_tick=int(clock["next_tick"]),
            held_seconds=-np.inf if held is None else _seconds(held),
        )
    )
    sampler.held = last if described["held_is_last"] else _square(arrays.get("picture.held"))
    device = model.head.mean.device
    rows = {
        name.removeprefix("state."): tensor.to(device)
        for name, tensor in tensors.items()
        if name.startswith("state.")
    }
    state = LongState(
        rows=rows or None,
        births=[_seconds(birth) for birth in described["births"]],
        colours=arrays.get("colours.last"),
    )
    repeats = bool(described["last_repeats"])
    return StreamSteps(sampler, state, last, repeats, arrays.get("features.last"))


def _square(pixels: Any) -> Square | None:
    return None if pixels is None else Square(pixels=pixels)


def _seconds(value: Any) -> float:
    seconds = float(value)
    if not np.isfinite(seconds):
        raise ValueError(f"{value} is no time")
    return seconds


def _finite(values: dict[str, Any]) -> dict[str, Any]:
    """JSON has no infinity."""
    return {k: None if v in (np.inf, -np.inf) else v for k, v in values.items()}
