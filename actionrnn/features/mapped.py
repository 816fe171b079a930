"""The values of many entries without reading them: the files are mapped into memory."""

from __future__ import annotations

import mmap
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from actionrnn.errors import FeatureError
from actionrnn.features.entry import Layout, layout_of
from actionrnn.features.store import FeatureStore

# Linux lets a process have 65,530 mappings; a mapping that stays saves opening the file again.
MOST_MAPPINGS = 32_768


def map_entries(store: FeatureStore, keys: Sequence[str]) -> tuple[list[Layout], MappedValues]:
    """The heads of some entries, and their values, which are read when they are used.

    Raises:
        FeatureError: an entry is missing, or its head is damaged.
    """
    layouts = [read_layout(store, key) for key in keys]
    files = [store.path_of(key) for key in keys]
    return layouts, MappedValues(files, layouts)


class MappedValues(Sequence[NDArray[np.float16]]):
    """`values[i]` is the i-th entry's (T, D), in the file's own pages; to be left as it is.

    Raises:
        FeatureError: the file is gone or too short, or a value in it is not finite.
    """

    def __init__(self, files: Sequence[Path], layouts: Sequence[Layout]) -> None:
        self._files, self._layouts = files, layouts
        self._map = lru_cache(MOST_MAPPINGS)(self._map_anew)

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, index: Any) -> Any:
        return self._map(index)

    def _map_anew(self, index: int) -> NDArray[np.float16]:
        file, layout = self._files[index], self._layouts[index]
        try:
            with file.open("rb", buffering=0) as opened:
                # pages of our own, so that torch may take them for writable
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


def read_layout(store: FeatureStore, key: str) -> Layout:
    """What the head of an entry says; the values behind it are not looked at.

    Raises:
        FeatureError: the entry is missing, or its head is damaged.
    """
    file = store.path_of(key)
    try:
        layout = layout_of(file)
        if layout.key != key:
            raise ValueError(f"it is the entry {layout.key!r}")
        return layout
    except FileNotFoundError:
        raise FeatureError(f"{file}: no such entry; run the extraction again") from None
    except (OSError, TypeError, ValueError, KeyError) as error:
        raise FeatureError(f"{file}: is damaged ({error}); extract again to repair it") from None
