"""Tensors with JSON beside them come back as they were, under any name, or are refused."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from actionrnn.tensor_file import (
    pack_tensors,
    read_description,
    read_metadata,
    read_shapes,
    read_tensors,
    write_tensors,
)

TENSORS = {"weight": np.arange(6.0).reshape(2, 3).T, "steps": np.array(7)}
METADATA = {"about": {"labels": ["café", "b\udce9"]}, "sha256": "12e4"}


@pytest.mark.parametrize("name", [b"a.safetensors", b"caf\xe9"])
def test_what_is_written_is_read(tmp_path: Path, name: bytes) -> None:
    path = tmp_path / os.fsdecode(name)
    write_tensors(path, TENSORS, METADATA)
    assert read_description(path, "about") == METADATA["about"]
    assert read_metadata(path)["sha256"] == "12e4"
    assert read_shapes(path) == {"weight": (3, 2), "steps": ()}
    for key, tensor in read_tensors(path).items():
        np.testing.assert_array_equal(tensor, TENSORS[key])
        assert tensor.dtype == TENSORS[key].dtype
    assert list(tmp_path.iterdir()) == [path]


def test_packed_is_what_is_written(tmp_path: Path) -> None:
    write_tensors(tmp_path / "a", TENSORS, {"about": {}})
    assert (tmp_path / "a").read_bytes() == pack_tensors(TENSORS, {"about": {}})


@pytest.mark.parametrize("content", [b"", b"nothing of this kind", b"\xff" * 64])
def test_another_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a"
    path.write_bytes(content)
    for read in (read_metadata, read_shapes, read_tensors):
        with pytest.raises(ValueError):
            read(path)
    with pytest.raises(OSError):
        read_tensors(tmp_path / "nowhere")


@pytest.mark.parametrize("text", ["[1]", "{", "[" * 100_000])
def test_a_description_is_an_object(tmp_path: Path, text: str) -> None:
    write_tensors(tmp_path / "a", {}, {"about": text})
    for name in ("about", "other"):
        with pytest.raises(ValueError):
            read_description(tmp_path / "a", name)
