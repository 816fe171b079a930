"""One clip's features as a file: laid out as docs/store.md says, under a checksum.

The sha256 in an entry's description is that of all its bytes with the sha256 itself blanked, so
that it finds a flipped bit wherever it is; the key beside it finds an entry under a wrong name.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

from actionrnn.errors import FeatureError
from actionrnn.features.provenance import Provenance, VideoFile

ENDING = ".safetensors"

_BLANK = b"0" * 64
_SHA256 = re.compile(rb'sha256\\?": \\?"([0-9a-f]{64})')  # within a string, quotes are escaped
_OWN_FIELDS = ("sha256", "key", "pts_seconds")
_DTYPES = {"F16": np.float16, "F64": np.float64}
_HEADER_LENGTH_BYTES = 8
MOST_HEAD_BYTES = 2**24
"""Of a file's description: a thousandth is usual."""
_LONGEST_NAME_BYTES = 255  # on every usual disk
_SHORTENED = re.compile(r"~[0-9a-f]{64}$")
# Linux lets a process have 65,530 mappings; a mapping that stays saves opening the file again.
MOST_MAPPINGS = 32_768


@dataclass(frozen=True)
class Layout:
    """Where an entry's numbers are, and what they are."""

    shape: tuple[int, int]
    """(T, D)."""
    offset_bytes: int
    """Where the T x D values begin in the entry's file: float16, row after row."""
    key: str
    provenance: Provenance
    video: VideoFile | None
    """What the features were computed from."""
    sha256: str
    """Of all that the entry holds, as it says itself."""


@dataclass(frozen=True)
class Entry:
    """The content of one entry."""

    key: str
    values: NDArray[np.float16]
    """(T, D)."""
    pts_seconds: NDArray[np.float64]
    """(T,)."""
    provenance: Provenance
    video: VideoFile | None = None
    """What the features were computed from."""


def path_in_store(key: str, ending: str = ENDING) -> str:
    """Where an entry lies below its store: its key and the ending.

    A name that is too long for a disk is cut and gets a `~` and its sha256; the key is in the
    entry.
    """
    *folders, name = key.split("/")
    short = [_short(folder, _LONGEST_NAME_BYTES) for folder in folders]
    return "/".join([*short, _short(name, _LONGEST_NAME_BYTES - len(ending)) + ending])


def is_shortened(path: str) -> bool:
    """Whether a path of `path_in_store`, without its ending, is not the key."""
    return "~" in path and any(_SHORTENED.search(name) for name in path.split("/"))


def _short(name: str, most_bytes: int) -> str:
    content = os.fsencode(name)
    if len(content) <= most_bytes and not _SHORTENED.search(name):
        return name
    return f"{name[:30]}~{hashlib.sha256(content).hexdigest()}"


def pack(entry: Entry) -> bytes:
    """The entry as one file."""
    metadata = {"actionrnn": json.dumps(_description(entry))}
    tensors: dict[str, NDArray[Any]] = {
        "features": entry.values,
        "pts_seconds": entry.pts_seconds,
    }
    return _sealed(save(tensors, metadata))


def unpack(content: bytes) -> Entry:
    """Read what `pack` wrote.

    Raises:
        ValueError: it is not that, to the bit.
    """
    _require_whole(content)
    header, start = _header(content)
    described = json.loads(header["__metadata__"]["actionrnn"])

    def tensor(name: str) -> NDArray[Any]:
        said = header[name]
        offset = start + said["data_offsets"][0]
        array: NDArray[Any] = np.ndarray(said["shape"], _DTYPES[said["dtype"]], content, offset)
        return np.array(array)

    values, pts_seconds = tensor("features"), tensor("pts_seconds")
    return Entry(described["key"], values, pts_seconds, *_origin(described))


def layout_of(file: Path) -> Layout:
    """What the head of an entry's file says; the values behind it are not looked at.

    Raises:
        OSError, ValueError, KeyError, TypeError: it is missing, or not an entry.
    """
    try:
        header, start = _header(_read_head(file))
        described = json.loads(header["__metadata__"]["actionrnn"])
        features = header["features"]
        if features["dtype"] != "F16":
            raise ValueError(f"its features are {features['dtype']}, not F16")
        num_frames, size = features["shape"]
        return Layout(
            (num_frames, size),
            start + int(features["data_offsets"][0]),
            described["key"],
            *_origin(described),
            str(described["sha256"]),
        )
    except (AttributeError, RecursionError) as error:
        raise ValueError(str(error)) from None


def times_of(file: Path) -> NDArray[np.float64]:
    """The times of an entry's steps, (T,); the values beside them are not looked at.

    Raises:
        OSError, ValueError, KeyError, TypeError: it is missing, or not an entry.
    """
    header, start = _header(_read_head(file))
    said = header["pts_seconds"]
    if said["dtype"] != "F64" or said["shape"] != header["features"]["shape"][:1]:
        raise ValueError(f"its times are {said['dtype']} of shape {said['shape']}")
    (count,) = said["shape"]
    times = np.fromfile(file, np.float64, count, offset=start + int(said["data_offsets"][0]))
    if len(times) < count:
        raise ValueError(f"it has {len(times)} of its {count} times")
    return times


def _read_head(file: Path) -> bytes:
    with file.open("rb", buffering=0) as opened:
        content = opened.read(4096)  # enough for most
        end = _HEADER_LENGTH_BYTES + int.from_bytes(content[:_HEADER_LENGTH_BYTES], "little")
        if end > MOST_HEAD_BYTES:
            raise ValueError(f"its head should have {end} bytes")
        if end > len(content):
            opened.seek(0)
            content = opened.read(end)
    return content


def _header(content: bytes) -> tuple[dict[str, Any], int]:
    """The header, and where the tensors begin."""
    start = _HEADER_LENGTH_BYTES + int.from_bytes(content[:_HEADER_LENGTH_BYTES], "little")
    header: dict[str, Any] = json.loads(content[_HEADER_LENGTH_BYTES:start])
    return header, start


def _description(entry: Entry) -> dict[str, Any]:
    source = {} if entry.video is None else {"source": entry.video.to_json()}
    return {"sha256": _BLANK.decode(), "key": entry.key, **entry.provenance.to_json(), **source}


def _origin(described: dict[str, Any]) -> tuple[Provenance, VideoFile | None]:
    rest = {name: value for name, value in described.items() if name not in _OWN_FIELDS}
    source = rest.pop("source", None)
    video = None if source is None else VideoFile.from_json(source)
    return _provenance(json.dumps(rest)), video


@lru_cache(16)
def _provenance(text: str) -> Provenance:
    """Of a store's thousands of entries, nearly all say the same: it is read once."""
    return Provenance.from_json(json.loads(text))


def _sealed(described: bytes) -> bytes:
    """Put the sha256 of everything into the description's first place for one."""
    match = _SHA256.search(described)
    assert match is not None
    digest = hashlib.sha256(described).hexdigest()
    return described[: match.start(1)] + digest.encode() + described[match.end(1) :]


def _require_whole(described: bytes) -> None:
    match = _SHA256.search(described)
    if match is None:
        raise ValueError("it has no checksum")
    hashed = hashlib.sha256(described[: match.start(1)])
    for part in (_BLANK, memoryview(described)[match.end(1) :]):
        hashed.update(part)
    if hashed.hexdigest().encode() != match[1]:
        raise ValueError("its bytes are not those that were written")


class MappedValues(Sequence[NDArray[np.float16]]):
    """`values[i]` is the i-th entry's (T, D), in the file's own pages; to be left as it is.

    Raises:
        FeatureError: the file is gone or too short, or a value in it is not finite.
    """

    def __init__(self, files: Sequence[Path], layouts: Sequence[Layout]) -> None:
        self.files, self._layouts = files, layouts
        self._map = lru_cache(MOST_MAPPINGS)(self._map_anew)

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: Any) -> Any:
        return self._map(index)

    def _map_anew(self, index: int) -> NDArray[np.float16]:
        file, layout = self.files[index], self._layouts[index]
        try:
            with file.open("rb", buffering=0) as opened:
                # private pages, so that torch may take them for writable
                pages = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_COPY)
            values: NDArray[np.float16] = np.ndarray(
                layout.shape, np.float16, pages, layout.offset_bytes
            )
            if not np.isfinite(values).all():
                raise ValueError("a value is not finite")
            return values
        except (OSError, TypeError, ValueError) as error:
            raise FeatureError(
                f"{file}: is damaged ({error}); extract again to repair it"
            ) from None
