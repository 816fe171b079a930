"""Files as version 0.1 wrote them, made of today's."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.numpy import save_file


def in_old_form(provenance: dict[str, Any]) -> dict[str, Any]:
    """The JSON of a provenance as version 0.1 wrote it."""
    names = {"resize_mode": "fit", "modality": "streams"}
    values = {"shortest": "crop", "rgb": "appearance", "rgb_diff": "motion"}
    preprocessing = {
        names.get(name, name): values.get(value, value) if name in names else value
        for name, value in provenance["preprocessing"].items()
    }
    return {**provenance, "preprocessing": preprocessing}


def rewrite_store(root: Path) -> None:
    """Make of a store what version 0.1 would have written."""
    manifest = json.loads((root / "_store.json").read_text())
    manifest["provenance"] = in_old_form(manifest["provenance"])
    (root / "_store.json").write_text(json.dumps(manifest, indent=2) + "\n")
    for file in root.rglob("*.safetensors"):
        with safe_open(file, framework="np") as entry:
            described = json.loads(entry.metadata()["actionrnn"])
            tensors = {name: entry.get_tensor(name) for name in entry.keys()}  # noqa: SIM118
        times = file.stat().st_atime_ns, file.stat().st_mtime_ns
        sealed = described | {"sha256": "0" * 64}
        save_file(tensors, file, metadata={"actionrnn": json.dumps(in_old_form(sealed))})
        content = file.read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        file.write_bytes(content.replace(b"0" * 64, digest.encode(), 1))
        os.utime(file, ns=times)


def rewrite_metadata(path: Path, name: str, described: dict[str, Any], **renamed: str) -> None:
    """Give a safetensors file another description, and some of its tensors other names."""
    with safe_open(path, framework="np") as file:
        tensors = {renamed.get(key, key): file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    save_file(tensors, path, metadata={name: json.dumps(described)})


def read_metadata(path: Path, name: str) -> dict[str, Any]:
    """The description in a safetensors file."""
    with safe_open(path, framework="np") as file:
        described: dict[str, Any] = json.loads(file.metadata()[name])
    return described
