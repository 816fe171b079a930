"""Safetensors files with metadata: texts, and objects as JSON.

They are written whole or not at all, and may have names that are not UTF-8, which safetensors
alone does not accept.
"""

from __future__ import annotations

import contextlib
import errno
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save, save_file

from actionrnn.errors import first_line
from actionrnn.files import atomic_path, utf8_path

Tensors = Mapping[str, NDArray[Any]]


def write_tensors(path: Path, tensors: Tensors, metadata: Mapping[str, Any]) -> None:
    """Write a file whole or not at all, replacing an existing one.

    Args:
        path: its folder is made.
        tensors: by name, of any shapes.
        metadata: by name; texts are stored as they are, anything else as JSON.

    Raises:
        OSError: it cannot be written.
    """
    with atomic_path(path) as temporary:
        try:
            save_file(_stored(tensors), temporary, metadata=_texts(metadata))
        except SafetensorError as error:  # a full disk, say
            raise OSError(errno.EIO, first_line(error)) from None


def pack_tensors(tensors: Tensors, metadata: Mapping[str, Any]) -> bytes:
    """The bytes of the file that `write_tensors` would write."""
    return save(_stored(tensors), _texts(metadata))


def read_metadata(path: Path) -> dict[str, str]:
    """The metadata, by name; the tensors are not read.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is not a safetensors file.
    """
    with _opened(path) as file:
        return dict(file.metadata() or {})


def read_description(path: Path, name: str) -> dict[str, Any]:
    """The metadata of one name, which must be a JSON object.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is not a safetensors file, or has no such object.
    """
    try:
        described = json.loads(read_metadata(path)[name])
    except (KeyError, RecursionError) as error:
        raise ValueError(f"{name}: {type(error).__name__}") from None
    if not isinstance(described, dict):
        raise ValueError(f"{name} must be an object")
    return described


def read_shapes(path: Path) -> dict[str, Sequence[int]]:
    """The shape of each tensor; no memory is taken for them, however large they are said to be.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is not a safetensors file.
    """
    with _opened(path) as file:
        return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118


def read_tensors(path: Path) -> dict[str, NDArray[Any]]:
    """All tensors by name.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is not a safetensors file.
    """
    with _opened(path) as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        with utf8_path(path) as named, safe_open(named, framework="np") as file:
            yield file
    except (SafetensorError, AttributeError, TypeError) as error:  # or numbers NumPy does not have
        raise ValueError(str(error)) from None


def _stored(tensors: Tensors) -> dict[str, NDArray[Any]]:
    """The tensors as safetensors needs them: it writes the memory as it lies there."""
    return {name: np.asarray(tensor, order="C") for name, tensor in tensors.items()}


def _texts(metadata: Mapping[str, Any]) -> dict[str, str]:
    return {
        name: value if isinstance(value, str) else json.dumps(value)
        for name, value in metadata.items()
    }
