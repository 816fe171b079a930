"""What costs more than the tests that need it is made once: networks opened, converted, exported.

A test whose subject is that very work has a cache folder of its own, or takes the wrapper away.
"""

from __future__ import annotations

import copy
import hashlib
import importlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from filelock import FileLock


def wrap_what_is_loaded(folder: Path) -> None:
    """Wrap the functions of the modules that are imported by now.

    Args:
        folder: of the session, for what its processes share.
    """
    for name, wrap in WRAPPERS.items():
        module = sys.modules.get(f"actionrnn.{name}")
        if module is not None and not hasattr(module, "made_once"):
            module.made_once = True  # type: ignore[attr-defined]
            wrap(module, folder)


def read_and_convert_once(backbone: Any, folder: Path) -> None:
    """The bundled network, in each process; ONNX files of any network, in the session."""
    networks: dict[str, Any] = {}
    converted: dict[Any, Any] = {}
    load_network, load_openvino = backbone.load_network, backbone.load_openvino
    network_to_onnx = backbone.network_to_onnx

    def load_network_once(name: str, weights: str) -> Any:
        if (name, weights) != ("efficientnet_lite0", "default"):
            return load_network(name, weights)
        if not networks:
            networks[name] = load_network(name, weights)
        return copy.deepcopy(networks[name])

    def load_openvino_once(job: Any, network: Any) -> Any:
        if job not in converted or not backbone.openvino_can_run(job):
            converted[job] = load_openvino(job, network)
        return converted[job]

    def network_to_onnx_once(network: Any, preprocessing: Any) -> bytes:
        seen = preprocessing.crop, preprocessing.mean, preprocessing.std  # all that the graph has
        key = repr(network), backbone.hash_tensors(network), seen
        return once_a_session(folder, key, lambda: network_to_onnx(network, preprocessing))

    backbone.load_network, backbone.load_openvino = load_network_once, load_openvino_once
    backbone.network_to_onnx = network_to_onnx_once
    sys.modules["actionrnn.features.engines.onnx_export"].network_to_onnx = (  # type: ignore[attr-defined]
        network_to_onnx_once
    )


def open_once(openvino: Any, _: Path) -> None:
    """What the cache folder of the session has; a test with one of its own opens each anew."""
    open_converted, caches = openvino.open_converted, os.environ.get("XDG_CACHE_HOME")
    opened: dict[Any, Any] = {}

    def open_converted_once(job: Any) -> Any:
        if os.environ.get("XDG_CACHE_HOME") != caches or not openvino.can_run(job):
            return open_converted(job)
        if opened.get(job) is None:
            opened[job] = open_converted(job)
        return opened[job]

    openvino.open_converted = open_converted_once


def export_once(export: Any, folder: Path) -> None:
    """Encoders and steps of heads."""
    encoder_to_onnx, step_to_onnx = export.encoder_to_onnx, export.step_to_onnx

    def encoder_to_onnx_once(backbone: Any) -> bytes:
        key = backbone.weights_sha256, backbone.preprocessing, backbone.view_size
        return once_a_session(folder, key, lambda: encoder_to_onnx(backbone))

    def step_to_onnx_once(head: Any) -> bytes:
        from actionrnn.features.torch_backbone import hash_tensors

        key = repr(head), head.config, hash_tensors(head)
        return once_a_session(folder, key, lambda: step_to_onnx(head))

    export.encoder_to_onnx, export.step_to_onnx = encoder_to_onnx_once, step_to_onnx_once


def export_web_once(export_web: Any, folder: Path) -> None:
    """The network of a page, which is the one that OpenVINO converts."""
    importlib.import_module("actionrnn.features.torch_backbone")
    wrap_what_is_loaded(folder)
    onnx_export = sys.modules["actionrnn.features.engines.onnx_export"]
    export_web.network_to_onnx = onnx_export.network_to_onnx  # type: ignore[attr-defined]


def once_a_session(folder: Path, key: object, make: Callable[[], bytes]) -> bytes:
    """What `make` gives, by whichever process needs it first."""
    file = folder / hashlib.sha256(repr(key).encode()).hexdigest()
    with FileLock(f"{file}.lock"):
        if not file.exists():
            content = make()
            file.with_suffix(".part").write_bytes(content)
            file.with_suffix(".part").rename(file)
        return file.read_bytes()


WRAPPERS: dict[str, Callable[[Any, Path], None]] = {
    "features.torch_backbone": read_and_convert_once,
    "features.engines.openvino": open_once,
    "apps.export": export_once,
    "apps.export_web": export_web_once,
}
