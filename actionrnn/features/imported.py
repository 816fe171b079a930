"""Features that this toolkit did not compute, taken into a store.

They come as a folder of `.npy`, `.npz` or `.pt` files, as one array (N, T, D) with a list of
names, or as HDF5. Nothing is unpickled but what torch's `weights_only` lets through.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from pickle import UnpicklingError
from tokenize import TokenError
from typing import Any

import numpy as np
from numpy.typing import NDArray

from actionrnn.config import Sampling
from actionrnn.errors import FeatureError, first_line, missing_extra
from actionrnn.features.backbone import load_backbone
from actionrnn.features.known import IMPORTED, is_imported
from actionrnn.features.provenance import Features, Provenance, VideoFile
from actionrnn.features.store import MANIFEST, FeatureStore
from actionrnn.files import as_path, read_json
from actionrnn.progress import progress_bar

SUFFIXES = (".npy", ".npz", ".pt", ".pth")
HDF5_SUFFIXES = (".h5", ".hdf5")
MOST_UNPACKED_RATIO = 100
MOST_ROUNDED = 0.1
"""Of a feature's deviation: what rounding to float16 may take of it."""
SMALL_BYTES = 64 * 2**20  # what any machine can unpack

_UNREADABLE = (
    *(OSError, ValueError, EOFError, RuntimeError, KeyError, MemoryError),
    *(zipfile.BadZipFile, UnpicklingError, TokenError),  # numpy reads a head as Python
)

Named = tuple[str, NDArray[Any], NDArray[np.float64] | None]
"""A clip's key, its values (T, D), and its times (T,) if they are known."""


def import_features(
    source: str | Path,
    output: str | Path,
    *,
    name: str = "features",
    names: str | Path | None = None,
    rate_fps: float | None = None,
) -> FeatureStore:
    """Take others' features into a store that a head can be trained on.

    A store of version 0.1 in the format npy becomes one of today's format; it knows its names,
    times and origin itself, so that the options are not looked at.

    Args:
        source: a folder of files with one clip (T, D) each; a file with one array (N, T, D), or
            with one array (T, D) per clip (`.npz`, `.pt`, HDF5); a store of version 0.1.
        name: what the features are, such as `i3d-rgb`: features of two names are never mixed.
        names: for an array (N, T, D), a text file with N keys, one a line.
        rate_fps: steps per second; None: times count steps.

    Raises:
        FeatureError: there is nothing to import, or it has another shape, or is not finite, or
            what varies in it is lost in the store's half precision.
    """
    source = as_path(source)
    if is_npy_store(source):
        return _convert(source, output)
    absent = load_backbone(IMPORTED + name)
    provenance = Provenance.of(absent, Sampling(rate_fps=rate_fps))
    store: FeatureStore | None = None
    keys: dict[str, str] = {}
    size = 0
    _require_kept(source, names)
    with progress_bar("importing", None) as advance:
        for name_there, values, times, origin in _read_all(source, names):
            key = _key(name_there)
            array = _as_steps(values, f"{origin}: {key}")
            if key in keys:
                raise FeatureError(f"{origin} and {keys[key]} share the key {key!r}; rename one")
            if size and array.shape[1] != size:
                raise FeatureError(
                    f"{origin}: {key} has {array.shape[1]} features a step, those before it "
                    f"{size}; import them into two stores"
                )
            keys[key], size = str(origin), array.shape[1]
            if times is None:
                times = np.arange(len(array)) / (rate_fps or 1.0)
            store = store or FeatureStore.create(output, provenance)
            sha256 = hashlib.sha256(array.tobytes()).hexdigest()
            source_file = VideoFile(origin.name, array.nbytes, sha256)
            features = Features(array, times, provenance, source_file)
            _require_no_other(store, key, features)
            store.write(key, features)
            advance()
    if store is None:
        raise FeatureError(f"{source}: holds no features; give .npy, .npz, .pt or HDF5 files")
    store.expect(keys)
    return store


def _require_no_other(store: FeatureStore, key: str, features: Features) -> None:
    """Refuse to write over features that were imported from elsewhere, or to mix two sizes."""
    if not store.path_of(key).exists():
        return
    there = store.read(key)
    sizes = there.values.shape[1], features.values.shape[1]
    if sizes[0] != sizes[1] or there.video != features.video:
        raise FeatureError(
            f"{store.root}: has other features of {key!r}; choose another --output, or delete the "
            "store"
        )


def _require_kept(source: Path, names: str | Path | None) -> None:
    """Refuse features whose variation is rounded away where 16 bits hold a number.

    A half has 11 binary digits: 3000.5 is 3000 there, and 1e-8 is 0.
    """
    count = 0
    mean, spread, lost = np.zeros(()), np.zeros(()), np.zeros(())  # become (D,)
    for key, values, _, origin in _read_all(source, names):
        array = _as_steps(values, f"{origin}: {key}").astype(np.float64)
        if mean.ndim and array.shape[1] != len(mean):
            return  # said where it is read
        with np.errstate(over="ignore", invalid="ignore"):
            lost = lost + np.square(array.astype(np.float16) - array).sum(0)
            before, count = count, count + len(array)
            shift = array.mean(0) - mean
            mean = mean + shift * (len(array) / count)
            spread = spread + np.square(array - array.mean(0)).sum(0)
            spread = spread + np.square(shift) * (before * len(array) / count)
    varies, rounded = spread > 0, lost > MOST_ROUNDED**2 * spread
    if 2 * np.sum(rounded & varies) > np.sum(varies):
        raise FeatureError(
            f"{source}: most features vary by less than 16 bits can hold beside their size "
            "(a store holds float16); subtract their mean and divide by their deviation first"
        )


def imported_store(folder: str | Path | None) -> FeatureStore | None:
    """The store of imported features in a folder; None if it holds something else."""
    if folder is None or not (as_path(folder) / MANIFEST).exists():
        return None
    store = FeatureStore.open(folder)
    return store if is_imported(store.provenance.backbone) else None


def is_npy_store(folder: Path) -> bool:
    """Whether a folder is a store of version 0.1 in the format npy."""
    try:
        manifest = read_json(folder / MANIFEST)
        return manifest["entries"] == "npy" and isinstance(manifest["provenance"], dict)
    except (OSError, ValueError, LookupError, TypeError):
        return False


def _convert(source: Path, output: str | Path) -> FeatureStore:
    """A store of version 0.1 in the format npy: `<clip>.npy` (T, D), `<clip>.json` beside it."""
    try:
        provenance = Provenance.from_json(read_json(source / MANIFEST)["provenance"])
    except ValueError as error:
        raise FeatureError(f"{source / MANIFEST}: is damaged ({error})") from None
    old = FeatureStore(source, provenance)  # its lists are today's
    store = FeatureStore.create(output, provenance)
    files = sorted(file for file in source.rglob("*.npy") if not file.name.startswith("._"))
    with progress_bar("importing", len(files)) as advance:
        for file in files:
            key, features = _read_npy_entry(file)
            _require_no_other(store, key, features)
            store.write(key, features)
            advance()
    store.expect(old.expected_keys())
    store.update_failures({failure.key: failure for failure in old.failures()})
    return store


def _read_npy_entry(file: Path) -> tuple[str, Features]:
    try:
        content, text = file.read_bytes(), file.with_suffix(".json").read_bytes()
        described = json.loads(text)
        key, sha256 = described.pop("key"), described.pop("sha256")
        blanked = text.replace(sha256.encode(), b"0" * len(sha256), 1)
        if hashlib.sha256(blanked + content).hexdigest() != sha256:
            raise ValueError("its bytes are not those that were written")
        times = np.array(described.pop("pts_seconds"), np.float64)
        values = np.load(io.BytesIO(content), allow_pickle=False)
        video = VideoFile.from_json(described.pop("source")) if "source" in described else None
        provenance = Provenance.from_json(described)
        return key, Features(values.astype(np.float32), times, provenance, video)
    except (*_UNREADABLE, TypeError, AttributeError) as error:
        raise FeatureError(f"{file}: is damaged ({error}); extract its video anew") from None


def _read_all(
    source: Path, names: str | Path | None
) -> Iterator[tuple[str, NDArray[Any], NDArray[np.float64] | None, Path]]:
    if source.is_dir():
        files = sorted(file for file in source.rglob("*") if file.suffix in SUFFIXES)
        for file in files:
            key = file.relative_to(source).with_suffix("").as_posix()
            clips = list(_arrays_of(file))
            if len(clips) != 1:
                raise FeatureError(f"{file}: holds {len(clips)} arrays, one a file is needed")
            _, values, times = clips[0]
            yield key, values, times, file
        return
    if not source.is_file():
        raise FeatureError(f"{source}: no such file or folder; check the path")
    for key, values, times in _arrays_of(source):
        if names is None and values.ndim <= 2 and key:
            yield key, values, times, source
            continue
        listed = _read_names(names, source, len(values))
        for place, clip in enumerate(listed):
            yield clip, values[place], None, source


def _arrays_of(file: Path) -> Iterator[Named]:
    """The arrays of a file with their names; one without a name has an empty one."""
    try:
        if file.suffix == ".npy":
            yield "", np.load(file, mmap_mode="r", allow_pickle=False), None
        elif file.suffix == ".npz":
            _require_sane_zip(file)
            # opened here: np.load leaves a damaged one open
            with file.open("rb") as opened, np.load(opened, allow_pickle=False) as arrays:
                yield from _named(dict(arrays))
        elif file.suffix in (".pt", ".pth"):
            _require_sane_zip(file)
            import torch  # takes seconds, and no other format needs it

            yield from _named(torch.load(file, map_location="cpu", weights_only=True))
        elif file.suffix in HDF5_SUFFIXES:
            yield from _hdf5_arrays(file)
        else:
            raise FeatureError(
                f"{file}: is not a {', '.join((*SUFFIXES, *HDF5_SUFFIXES))} file; convert it"
            )
    except _UNREADABLE as error:
        reason = first_line(error)
        raise FeatureError(f"{file}: cannot be read ({reason}); nothing is unpickled") from None


def _require_sane_zip(file: Path) -> None:
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as opened:
            _require_sane(file, sum(entry.file_size for entry in opened.infolist()))


def _require_sane(file: Path, unpacked_bytes: int) -> None:
    """Features hardly shrink: a file that claims to grow a hundred times is something else."""
    if unpacked_bytes > MOST_UNPACKED_RATIO * file.stat().st_size + SMALL_BYTES:
        raise ValueError(f"its {file.stat().st_size} bytes would become {unpacked_bytes}")


def _named(content: Any) -> Iterator[Named]:
    if not isinstance(content, dict):
        yield "", _array(content), None
        return
    times = content.get("pts_seconds")
    if "features" in content:
        yield "", _array(content["features"]), None if times is None else _array(times)
        return
    for key, value in content.items():
        yield "" if len(content) == 1 and _array(value).ndim == 3 else key, _array(value), None


def _array(value: Any) -> NDArray[Any]:
    is_tensor = hasattr(value, "numpy")  # of torch, bfloat16 perhaps
    return value.float().numpy() if is_tensor else np.asarray(value)


def _hdf5_arrays(file: Path) -> Iterator[Named]:
    h5py = import_h5py()
    found: list[str] = []
    with h5py.File(file, "r") as opened:
        opened.visititems(
            lambda name, item: found.append(name) if isinstance(item, h5py.Dataset) else None
        )
        _require_sane(file, sum(opened[name].nbytes for name in found))
        for name in found:
            folder, _, last = name.rpartition("/")
            if last == "pts_seconds":
                continue
            beside = opened.get(f"{folder}/pts_seconds") if last == "features" else None
            alone = len(found) == 1 and opened[name].ndim == 3
            key = "" if alone else folder if last == "features" else name
            yield key, opened[name][()], None if beside is None else beside[()]


def import_h5py() -> Any:
    """The library for HDF5, or how to get it."""
    try:
        import h5py
    except ImportError:
        raise FeatureError(missing_extra("HDF5 needs h5py", "hdf5")) from None
    return h5py


def _read_names(names: str | Path | None, source: Path, count: int) -> Sequence[str]:
    if names is None:
        raise FeatureError(
            f"{source}: holds one array of {count} clips; give their names, one a line: "
            "--names FILE"
        )
    try:
        lines = as_path(names).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise FeatureError(f"{names}: cannot be read ({error}); give a text file") from None
    keys = [line.strip() for line in lines if line.strip()]
    if len(keys) != count:
        raise FeatureError(f"{names}: has {len(keys)} names, and {source} has {count} clips")
    return keys


def _key(name: str) -> str:
    """`run/ido` of `run/ido.avi`; what follows another dot is part of the name.

    Never a path out of the store.
    """
    path = Path(*(part for part in Path(name.strip("/")).parts if part != ".."))
    if not path.name or "\0" in name:
        raise FeatureError(f"{name!r} is not a name for a clip; rename it")
    known = path.suffix.lower() in (".avi", ".mp4", ".mkv", ".webm", ".mov", ".npy", ".pt")
    return (path.with_suffix("") if known else path).as_posix()


def _as_steps(values: NDArray[Any], where: str) -> NDArray[np.float32]:
    if values.ndim == 1:  # one vector for the whole clip
        values = values[None]
    if values.ndim != 2 or not values.size:
        raise FeatureError(f"{where} has the shape {values.shape}, needed is (T, D)")
    if not np.issubdtype(values.dtype, np.number) or np.iscomplexobj(values):
        raise FeatureError(f"{where} holds {values.dtype}, needed are numbers")
    return np.ascontiguousarray(values, np.float32)
