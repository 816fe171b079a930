"""A store for other tools: `.npy` files, HDF5, Parquet or WebDataset shards."""

from __future__ import annotations

import hashlib
import io
import itertools
import json
import os
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from actionrnn.errors import FeatureError, missing_extra
from actionrnn.features.entry import path_in_store
from actionrnn.features.imported import import_h5py
from actionrnn.features.provenance import Features, Provenance
from actionrnn.features.store import FeatureStore
from actionrnn.files import as_path, atomic_folder, atomic_path, write_text
from actionrnn.progress import progress_bar
from actionrnn.text import in_utf8

Target = Literal["npy", "hdf5", "parquet", "webdataset"]

CLIPS_A_SHARD = 1000


def export_store(
    store: FeatureStore, output: str | Path, target: Target, *, clips_a_shard: int = CLIPS_A_SHARD
) -> int:
    r"""Write all entries of a store in another form; how many there were.

    - npy: a folder with `<key>.npy` (T, D) float16 and `provenance.json`
    - hdf5: one file; `<key>/features` (T, D) float16 and `<key>/pts_seconds` (T,)
    - parquet: one table; key, pts_seconds (a list), features (a list of T lists of D float32)
    - webdataset: a folder with `shard-000000.tar`, ...; `<key>.npy` and `<key>.json` a clip,
      where a `.` in the key is a `_` (the key itself is in the JSON)

    HDF5 and Parquet hold UTF-8 alone: a key's byte that is not is written as `\xe9`.

    Raises:
        FeatureError: an entry is damaged, the output exists or cannot be written, or
            a library is missing.
    """
    output = as_path(output)
    if os.path.lexists(output) and (not output.is_dir() or any(output.iterdir())):
        raise FeatureError(f"{output}: exists already; choose another name")
    keys = store.keys()
    if not keys:
        raise FeatureError(f"{store.root}: has no entries; extract or import some first")
    with progress_bar("exporting", len(keys)) as advance:

        def entries() -> Iterator[tuple[str, Features]]:
            for key in keys:
                yield key, store.read(key)
                advance()

        try:
            if target == "webdataset":
                _write_shards(entries(), output, clips_a_shard)
            else:
                _WRITERS[target](entries(), output, store.provenance)
        except OSError as error:
            raise FeatureError(f"{output}: cannot be written ({error.strerror})") from None
    return len(keys)


def _write_npy(
    entries: Iterator[tuple[str, Features]], output: Path, provenance: Provenance
) -> None:
    with atomic_folder(output) as folder:
        for key, features in entries:
            with atomic_path(folder / path_in_store(key, ".npy")) as temporary:
                temporary.write_bytes(_npy(features))
        write_text(folder / "provenance.json", json.dumps(provenance.to_json(), indent=2) + "\n")


def _write_hdf5(
    entries: Iterator[tuple[str, Features]], file: Path, provenance: Provenance
) -> None:
    h5py = import_h5py()
    with atomic_path(file) as temporary, h5py.File(temporary, "w", locking=False) as opened:
        opened.attrs["provenance"] = json.dumps(provenance.to_json())
        for key, features in entries:
            opened[f"{in_utf8(key)}/features"] = _half(features)
            opened[f"{in_utf8(key)}/pts_seconds"] = features.pts_seconds


def _write_parquet(
    entries: Iterator[tuple[str, Features]], file: Path, provenance: Provenance
) -> None:
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError:
        raise FeatureError(missing_extra("Parquet needs pyarrow", "parquet")) from None
    schema = pa.schema(
        {
            "key": pa.string(),
            "pts_seconds": pa.list_(pa.float64()),
            "features": pa.list_(pa.list_(pa.float32())),
        },
        metadata={"provenance": json.dumps(provenance.to_json())},
    )
    with (
        atomic_path(file) as temporary,
        temporary.open("wb") as opened,  # pyarrow itself takes paths in UTF-8 alone
        parquet.ParquetWriter(opened, schema) as writer,
    ):
        for key, features in entries:
            size = features.values.shape[1]
            rows = pa.ListArray.from_arrays(
                np.arange(0, features.values.size + 1, size, dtype=np.int32),
                pa.array(features.values.ravel()),
            )
            clip = pa.ListArray.from_arrays(np.array([0, len(features)], np.int32), rows)
            times = pa.array([features.pts_seconds], pa.list_(pa.float64()))
            writer.write_batch(
                pa.record_batch([pa.array([in_utf8(key)]), times, clip], schema=schema)
            )


def _write_shards(
    entries: Iterator[tuple[str, Features]], output: Path, clips_a_shard: int
) -> None:
    taken: set[str] = set()
    with atomic_folder(output) as folder:
        for number in itertools.count():
            shard = list(itertools.islice(entries, 1))  # so that no shard is empty
            if not shard:
                return
            rest = itertools.islice(entries, clips_a_shard - 1)
            with tarfile.open(folder / f"shard-{number:06d}.tar", "w") as tar:
                for key, features in itertools.chain(shard, rest):
                    name = key.replace(".", "_")
                    if name in taken:  # of `a.b` and `a_b`
                        name = f"{name}~{hashlib.sha256(os.fsencode(key)).hexdigest()}"
                    taken.add(name)
                    described = {"key": key, "pts_seconds": features.pts_seconds.tolist()}
                    if features.provenance is not None:
                        described |= features.provenance.to_json()
                    if features.video is not None:
                        described["source"] = asdict(features.video)
                    _add(tar, f"{name}.npy", _npy(features))
                    _add(tar, f"{name}.json", json.dumps(described).encode())


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))


def _npy(features: Features) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, _half(features))
    return buffer.getvalue()


def _half(features: Features) -> NDArray[np.float16]:
    return features.values.astype(np.float16)


_WRITERS: dict[str, Callable[[Iterator[tuple[str, Features]], Path, Provenance], None]] = {
    "npy": _write_npy,
    "hdf5": _write_hdf5,
    "parquet": _write_parquet,
}
