"""Features on disk: a folder that describes itself.

    STORE/_store.json               what the features are: backbone, weights, sampling, ...
    STORE/_keys.json                every clip that was asked for, so that a missing one is seen
    STORE/_failures.json            the videos that could not be used, with the reasons
    STORE/<folder>/<clip>.safetensors
        tensors    features (T, D) float16, pts_seconds (T,) float64
        metadata   "actionrnn": JSON with a sha256 of the entry, its key and its provenance

Every file is written under a temporary name and renamed, so that what is there is whole; nothing in
it depends on when or in which order it was written, so that a run which was killed and started
again ends in the same bytes. docs/store.md has the layout in full.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from actionrnn import __version__
from actionrnn.errors import FeatureError, VideoError
from actionrnn.features.entry import (
    ENDING,
    Entry,
    Layout,
    MappedValues,
    is_shortened,
    layout_of,
    pack,
    path_in_store,
    times_of,
    unpack,
)
from actionrnn.features.provenance import Failure, Features, Provenance
from actionrnn.files import (
    as_path,
    atomic_path,
    can_be_a_name,
    file_sha256,
    file_state,
    locked,
    read_json,
    write_text,
)
from actionrnn.progress import progress_bar
from actionrnn.video.probe import is_read_as_before

FORMAT_VERSION = 2
ENTRIES = "safetensors"
MANIFEST = "_store.json"
KEYS = "_keys.json"
FAILURES = "_failures.json"

_KEYS, _FAILURES = TypeAdapter(list[str]), TypeAdapter(list[Failure])

Presence = Literal["absent", "whole", "changed"]
"""Of an entry: missing, damaged, or of pixels that are made otherwise today; whole; whole, but of
other bytes than its video has now."""

_OF_THE_WHOLE_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EMFILE)
_Item = TypeVar("_Item")
_Read = TypeVar("_Read")


class EntryError(FeatureError):
    """One entry that cannot be written, where others can."""


@dataclass(frozen=True)
class Finding:
    """An entry that is not as it should be."""

    key: str
    problem: str
    """One line, with the file and what to do."""


@dataclass(frozen=True)
class FeatureStore:
    """A folder of stored features; `create` makes or continues one, `open` reads one."""

    root: Path
    provenance: Provenance
    """Of all entries, but that runtime and floating-point precision may differ."""

    @classmethod
    def create(
        cls, root: str | Path, provenance: Provenance, *, overwrite: bool = False
    ) -> FeatureStore:
        """Start a store, or continue the one in the folder.

        Args:
            overwrite: delete the features in the folder if they are of another origin.

        Raises:
            FeatureError: the store holds features of another backbone, other weights,
                preprocessing or sampling; the folder holds other files, lies in another store,
                or cannot be written.
        """
        root = as_path(root)
        store = cls(root, provenance)
        manifest = store.root / MANIFEST
        if not manifest.exists():
            _require_unused(store.root)
        with _writing(root), contextlib.suppress(FileExistsError):  # another was faster
            if manifest.exists() and overwrite and cls.open(root).provenance.difference(provenance):
                cls.open(root)._clear()
            if not manifest.exists():
                write_text(manifest, store._manifest(), replace=False)
        cls.open(root).provenance.require_same(provenance, str(root))
        return store

    @classmethod
    def open(cls, root: str | Path) -> FeatureStore:
        """Read the manifest of a store.

        Raises:
            FeatureError: the folder holds no store, or its manifest cannot be read.
        """
        file = as_path(root) / MANIFEST
        try:
            manifest = read_json(file)
            version, entries = manifest["format_version"], manifest["entries"]
            if (version, entries) == (FORMAT_VERSION, ENTRIES):
                return cls(file.parent, Provenance.from_json(manifest["provenance"]))
        except FileNotFoundError:
            raise FeatureError(
                f"{root}: is not a feature store ({MANIFEST} is missing); make one with "
                "`actionrnn extract VIDEOS --output STORE`"
            ) from None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise FeatureError(f"{file}: is damaged ({error}); delete it, extract again") from None
        if (version, entries) == (FORMAT_VERSION, "npy"):
            raise FeatureError(
                f"{root}: has the format npy of version 0.1; make a store of today's format with "
                f"`actionrnn store import {root} --output NEW`"
            )
        raise FeatureError(
            f"{file}: format version {version} ({entries}) is not known here; extract anew "
            "into another folder"
        )

    def keys(self) -> list[str]:
        """The names of all entries: their paths below the store, without the ending."""
        root = str(self.root)
        paths = (
            os.path.relpath(os.path.join(folder, name), root)  # noqa: PTH118 ten times faster
            for folder, _, names in os.walk(root)
            for name in names
            if name.endswith(ENDING) and not name.startswith("._")  # macOS' own files
        )
        return sorted(map(self.key_of, paths))

    def key_of(self, path: str) -> str:
        """The key of the entry in a file below the store."""
        stem = path.removesuffix(ENDING).replace(os.sep, "/")
        if not is_shortened(stem):
            return stem
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            return layout_of(self.root / path).key
        return stem

    def write(self, key: str, features: Features) -> None:
        """Store the features of one clip, whole or not at all.

        Raises:
            EntryError: the disk does not take this entry, or takes its name for another's.
            FeatureError: the features are of another origin than the store's, or do not say of
                which; the values are not finite or too large for float16; or the folder cannot
                be written.
        """
        provenance = features.provenance
        if provenance is None:
            raise FeatureError(
                f"{key}: its features have no provenance, which a store needs; extract or import "
                "them"
            )
        provenance.require_same(self.provenance, key, "store them in another folder")
        with np.errstate(over="ignore"):
            values = features.values.astype(np.float16)
        if not np.isfinite(values).all():
            raise FeatureError(
                f"{key}: features are not finite in float16 "
                f"(largest {np.abs(features.values).max():g}); use another backbone or weights"
            )
        entry = Entry(key, values, features.pts_seconds, provenance, features.video)
        if not self._is_inside(key):
            folder = self.path_of(key).parent
            raise EntryError(f"{folder}: leads out of the store; replace the link by a folder")
        with _writing(self.root, self.path_of(key)):
            self._require_free(key)
            with atomic_path(self.path_of(key)) as temporary:
                temporary.write_bytes(pack(entry))

    def _is_entry(self, key: str) -> bool:
        try:
            return layout_of(self.path_of(key)).key == key
        except (OSError, ValueError, KeyError, TypeError):
            return False

    def _is_inside(self, key: str) -> bool:
        return self.path_of(key).parent.resolve().is_relative_to(self.root.resolve())

    def _require_free(self, key: str) -> None:
        """A disk may take two keys for one name: `a` and `A`, composed and decomposed letters."""
        file = self.path_of(key)
        if not file.exists():
            return
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            other = layout_of(file).key
            if other != key and self.path_of(other).samefile(file):
                raise EntryError(
                    f"{file}: is the entry {other!r}, as this disk takes both names for one; "
                    "rename one of the videos, or choose another disk"
                )

    def read(self, key: str) -> Features:
        """Load the features of one clip, values as float32, and check every byte.

        Raises:
            FeatureError: the entry is missing or damaged, or has a wrong name.
        """
        file = self.path_of(key)
        try:
            content = file.read_bytes()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            raise FeatureError(f"{file}: no such entry; run the extraction again") from None
        except OSError as error:
            raise FeatureError(f"{file}: cannot be read ({error.strerror})") from None
        try:
            entry = unpack(content)
            if entry.key != key:
                raise ValueError(f"it is the entry {entry.key!r}")
            values = entry.values.astype(np.float32)
            return Features(values, entry.pts_seconds, entry.provenance, entry.video)
        except (OSError, EOFError, TypeError, ValueError, LookupError) as error:
            reason = str(error)
        except (MemoryError, OverflowError, RecursionError) as error:  # no file of this toolkit
            reason = type(error).__name__
        raise FeatureError(f"{file}: is damaged ({reason}); extract again to repair it")

    def layout(self, key: str) -> Layout:
        """What the head of an entry says; the values behind it are not looked at.

        Raises:
            FeatureError: the entry is missing, or its head is damaged.
        """
        return _layout(self.path_of(key), key)

    def times(self, key: str) -> NDArray[np.float64]:
        """The times of an entry's steps in seconds, (T,); the values are not looked at.

        Raises:
            FeatureError: the entry is missing or damaged.
        """
        return _of_head(self.path_of(key), times_of)

    def map(self, keys: Sequence[str]) -> tuple[list[Layout], MappedValues]:
        """The heads of some entries, and their values, which are read when they are used.

        Raises:
            FeatureError: an entry is missing, or its head is damaged.
        """
        files = [self.path_of(key) for key in keys]
        layouts = [_layout(file, key) for file, key in zip(files, keys, strict=True)]
        return layouts, MappedValues(files, layouts)

    def remove(self, key: str) -> None:
        """Delete one entry, if it exists, and not behind a link that leads out of the store."""
        if self._is_inside(key):
            self.path_of(key).unlink(missing_ok=True)

    def presence(self, key: str, source: Path) -> Presence:
        """Whether an entry exists, is whole, and is of this very source.

        A source that was not written, renamed or made to look older since the entry was
        written is taken to be the same; of any other one the content is compared.
        """
        try:
            stored = self.read(key)
            now = file_state(source)
        except (FeatureError, OSError):
            return "absent"
        if stored.provenance is None or stored.provenance.difference(self.provenance):
            return "absent"
        video = stored.video
        if video is None or video.size_bytes != now.size_bytes:
            return "changed"
        if video.corrections is None and _is_read_otherwise(
            source, self.provenance.sampling.stream
        ):
            return "absent"
        if max(now.mtime_ns, now.ctime_ns) < self.path_of(key).stat().st_mtime_ns:
            return "whole"
        if video.sha256 != file_sha256(source):
            return "changed"
        with contextlib.suppress(OSError):  # where nothing can be written: compared every time
            os.utime(self.path_of(key))
        return "whole"

    def path_of(self, key: str) -> Path:
        """The file of one entry.

        Raises:
            FeatureError: the key would lead out of the store.
        """
        path = Path(key)
        is_name = (
            path.name and not path.anchor and ".." not in path.parts and path.as_posix() == key
        )
        if not is_name or not can_be_a_name(key):
            raise FeatureError(f"{key!r}: is not a name of an entry; write <folder>/<clip>")
        return self.root / path_in_store(key)

    def expected_keys(self) -> list[str]:
        """Every clip that was ever asked for: it has an entry, or failed, or is missing."""
        return _read_list(self.root / KEYS, _KEYS)

    def expect(self, keys: Iterable[str]) -> None:
        """Note the clips that are asked for, before they are computed.

        Raises:
            FeatureError: the folder cannot be written.
        """
        with _writing(self.root), locked(self.root / MANIFEST):
            before = self.expected_keys()
            after = sorted({*before, *keys})
            if after != before:
                write_text(self.root / KEYS, json.dumps(after, indent=0) + "\n")

    def failures(self) -> list[Failure]:
        """The videos that could not be used, sorted by their keys."""
        return _read_list(self.root / FAILURES, _FAILURES)

    def update_failures(self, news: Mapping[str, Failure | None]) -> None:
        """Add failures by their key, and take back those that are None.

        Other processes may do so at the same time.

        Raises:
            FeatureError: the folder cannot be written.
        """
        file = self.root / FAILURES
        with _writing(self.root), locked(self.root / MANIFEST):
            before = {failure.key: failure for failure in self.failures()}
            merged = {**before, **news}
            after = {key: merged[key] for key in sorted(merged) if merged[key] is not None}
            if after == before:
                return
            if not after:
                file.unlink(missing_ok=True)
                return
            listed = [failure.to_json() for failure in after.values() if failure is not None]
            write_text(file, json.dumps(listed, indent=2) + "\n")

    def _manifest(self) -> str:
        manifest = {
            "format": "actionrnn features",
            "format_version": FORMAT_VERSION,
            "actionrnn_version": __version__,
            "entries": ENTRIES,
            "provenance": self.provenance.to_json(),
        }
        return json.dumps(manifest, indent=2) + "\n"

    def _clear(self) -> None:
        """Delete all entries, and the manifest last: killed half way, it can be repeated.

        Other files of the ending are left alone: a model may lie in a folder of the store.
        """
        asked_for = set(self.expected_keys())
        for key in self.keys():
            if key in asked_for or self._is_entry(key):
                self.remove(key)
        for name in (KEYS, FAILURES, MANIFEST):
            (self.root / name).unlink(missing_ok=True)


def _layout(file: Path, key: str) -> Layout:
    def read(file: Path) -> Layout:
        layout = layout_of(file)
        if layout.key != key:
            raise ValueError(f"it is the entry {layout.key!r}")
        return layout

    return _of_head(file, read)


def _of_head(file: Path, read: Callable[[Path], _Read]) -> _Read:
    try:
        return read(file)
    except FileNotFoundError:
        raise FeatureError(f"{file}: no such entry; run the extraction again") from None
    except (OSError, TypeError, ValueError, KeyError) as error:
        reason = f"is damaged ({error}); extract again to repair it"
        raise FeatureError(f"{file}: {reason}") from None


def _require_unused(root: Path) -> None:
    """A new store begins in a folder without files, and never inside of another store."""
    around = next((f for f in root.resolve().parents if (f / MANIFEST).exists()), None)
    if around is not None:
        raise FeatureError(
            f"{root}: lies in the feature store {around}; choose a folder outside of it"
        )
    files = (path for path in root.rglob("*") if not path.name.startswith(".") and path.is_file())
    other = next(files, None)
    # a store keeps the list of its clips where its manifest was lost
    if other is not None and not any((root / name).exists() for name in (KEYS, MANIFEST)):
        raise FeatureError(
            f"{root}: holds {other.relative_to(root)} and is not a feature store; choose a new or "
            "empty folder"
        )


def verify_store(store: FeatureStore) -> Iterator[Finding]:
    """Each entry that is missing, truncated, altered, under a wrong name or of another origin.

    A clip is missing if it was asked for once, is not there, and did not fail.

    Raises:
        FeatureError: the store's own lists are damaged.
    """
    present = store.keys()
    failed = {failure.key for failure in store.failures()}
    for key in sorted(set(store.expected_keys()) - set(present) - failed):
        yield Finding(key, f"{store.path_of(key)}: is missing; extract again to repair it")
    with progress_bar("verifying", len(present)) as advance:
        for key in present:
            problem = _problem(store, key)
            if problem:
                yield Finding(key, problem)
            advance()


def _problem(store: FeatureStore, key: str) -> str:
    try:
        provenance = store.read(key).provenance
        if provenance is not None:
            provenance.require_same(store.provenance, str(store.path_of(key)))
    except FeatureError as error:
        return str(error)
    return ""


@contextlib.contextmanager
def _writing(root: Path, entry: Path | None = None) -> Iterator[None]:
    """What the system refuses in the block, as an error of ours.

    Raises:
        EntryError: `entry` alone cannot be written.
        FeatureError: nothing can be written.
        FileExistsError: not of an entry: another process was faster.
    """
    try:
        yield
    except OSError as error:
        if entry is None and isinstance(error, FileExistsError):
            raise
        whole = error.errno in _OF_THE_WHOLE_DISK or not os.access(root, os.W_OK)
        if entry is not None and not whole:
            raise EntryError(
                f"{entry}: cannot be written ({error.strerror}); rename the video, or choose "
                "another folder"
            ) from None
        raise FeatureError(
            f"{root}: cannot be written ({error.strerror}); make room or choose another "
            "folder; what is stored stays, and the same command continues"
        ) from None


def _read_list(file: Path, kind: TypeAdapter[list[_Item]]) -> list[_Item]:
    """What a JSON file holds; nothing where the file does not exist.

    Raises:
        FeatureError: it is damaged.
    """
    try:
        return kind.validate_python(read_json(file))
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:
        reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error
        raise FeatureError(f"{file}: is damaged ({reason}); delete it") from None


def _is_read_otherwise(source: Path, stream: int | None) -> bool:
    """Whether an entry that does not say how its pictures were made was made of other pixels."""
    try:
        return not is_read_as_before(source, stream=stream)
    except VideoError:
        return False  # nothing better can be made of it
