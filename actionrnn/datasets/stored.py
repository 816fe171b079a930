"""Where the features of a training or an evaluation are, and how the missing ones come there.

A run writes into a store of its own, or into the one that `data.features` names. Stores of other
runs are read: where they hold everything, in their place; else what they hold is copied.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from actionrnn.config import BackboneConfig, Config, Sampling
from actionrnn.datasets.recordings import Dataset
from actionrnn.datasets.sequences import Sequences, load_sequences
from actionrnn.errors import DatasetError, FeatureError
from actionrnn.features.backbone import Backbone
from actionrnn.features.extract import VideoPart, extract_missing, known_outcome, provenance_of
from actionrnn.features.imported import imported_store
from actionrnn.features.store import IDENTITY, MANIFEST, Failure, FeatureStore
from actionrnn.files import atomic_path
from actionrnn.progress import progress_bar

FEATURES_FOLDER = "features"


def load_features(
    dataset: Dataset,
    backbone: Backbone,
    config: Config,
    output: Path,
    *,
    others: Iterable[Path] = (),
    run: Path | None = None,
) -> tuple[Dataset, Sequences, list[Failure]]:
    """Extract what is missing; the usable clips, their features, and what was left out.

    Args:
        output: new features go to `<output>/features/`, where `data.features` is null.
        others: further stores that may be read, of the same clips.
        run: the folder of the run whose stores, and those of the runs beside it, may be read;
            None: `output`.

    Raises:
        DatasetError: no video can be used.
        FeatureError: the store is of another origin, damaged, or cannot be written.
    """
    if (imported := imported_store(config.data.features)) is not None:
        return _load_imported(dataset, imported)
    sources = [
        VideoPart(clip.key, clip.path, clip.start_seconds, clip.end_seconds)
        for clip in dataset.clips
    ]
    provenance = provenance_of(backbone, config.sampling)
    if config.data.features is not None:
        own, readable = Path(config.data.features), []
    else:
        name = _store_name(config, provenance)
        own = output / FEATURES_FOLDER / name
        near = [*others, *_beside(output if run is None else run, name)]
        readable = list(_readable([path for path in near if path != own], provenance))
    # a store elsewhere may be another run's: nothing there is replaced
    named = not own.resolve().is_relative_to(output.resolve())
    store, failures = _find_or_extract(
        sources, own, readable, backbone, config.sampling, overwrite=not named
    )
    failed = {failure["key"] for failure in failures}
    usable = tuple(clip for clip in dataset.clips if clip.key not in failed)
    if not usable:
        reason = failures[0]["reason"]
        raise DatasetError(f"{dataset.root}: no video can be used (the first: {reason})")
    dataset = dataset.keep(usable)
    return dataset, load_sequences(store, dataset.clips, dataset.labels), failures


def for_imported_features(config: Config) -> Config:
    """Imported features say themselves what they are."""
    store = imported_store(config.data.features)
    if store is None:
        return config
    backbone = BackboneConfig(name=store.provenance["backbone"])
    return replace(config, backbone=backbone, sampling=Sampling(**store.provenance["sampling"]))


def _load_imported(
    dataset: Dataset, store: FeatureStore
) -> tuple[Dataset, Sequences, list[Failure]]:
    there = set(store.keys())
    usable = tuple(clip for clip in dataset.clips if clip.key in there)
    with progress_bar("checking the store", len(usable)) as advance:
        for clip in usable:
            store.read(clip.key)  # nothing else looks at every byte of imported features
            advance()
    absent = [
        {"key": clip.key, "path": str(clip.path), "reason": f"{clip.key}: has no entry"}
        for clip in dataset.clips
        if clip.key not in there
    ]
    if not usable:
        raise DatasetError(
            f"{store.root}: no clip has features (the first: {absent[0]['reason']}; the store's "
            f"first: {min(there, default='none')})"
        )
    dataset = dataset.keep(usable)
    return dataset, load_sequences(store, dataset.clips, dataset.labels), absent


def _store_name(config: Config, provenance: dict[str, Any]) -> str:
    """One name per data set and provenance."""
    root = Path(str(config.data.root)).resolve()
    identity = json.dumps([str(root), provenance], sort_keys=True)
    digest = hashlib.sha256(identity.encode()).hexdigest()[:8]
    return f"{root.stem[:40]}-{config.backbone.name.replace('/', '-')}-{digest}"


def _beside(run: Path, name: str) -> list[Path]:
    """The stores of this name in a run's folder and in those beside it."""
    found = run.resolve().parent.glob(f"*/{FEATURES_FOLDER}/*/{MANIFEST}")
    return sorted(file.parent for file in found if file.parent.name == name)


def _readable(folders: Sequence[Path], provenance: dict[str, Any]) -> Iterator[FeatureStore]:
    """The stores among some folders that hold such features."""
    for folder in folders:
        try:
            store = FeatureStore.open(folder)
        except FeatureError:  # none, or damaged: of no use here
            continue
        if all(store.provenance.get(part) == provenance[part] for part in IDENTITY):
            yield store


def _find_or_extract(
    sources: Sequence[VideoPart],
    own: Path,
    readable: Sequence[FeatureStore],
    backbone: Backbone,
    sampling: Sampling,
    *,
    overwrite: bool,
) -> tuple[FeatureStore, list[Failure]]:
    if not (own / MANIFEST).exists():
        for other in readable:
            failures = known_outcome(sources, other)
            if failures is not None:
                return other, failures
    store = FeatureStore.create(own, provenance_of(backbone, sampling))
    for other in readable:
        _copy_entries(sources, other, store)
    done = extract_missing(sources, store, backbone, sampling, overwrite=overwrite)
    return store, done.failures


def _copy_entries(sources: Sequence[VideoPart], other: FeatureStore, store: FeatureStore) -> None:
    """Take over what another store has of these very videos, and this one lacks."""
    for source in sources:
        mine = store.path_of(source.key)
        if mine.exists() or other.presence(source.key, source.path) != "whole":
            continue
        with atomic_path(mine) as temporary:
            # with its time, which tells whether the video was written since
            shutil.copy2(other.path_of(source.key), temporary)


def require_no_class_lost(found: Dataset, usable: Dataset, failures: Sequence[Failure]) -> None:
    """Refuse a data set of which a whole class cannot be used.

    Raises:
        DatasetError: the class is named, and why.
    """
    lost = sorted(set(found.labels) - set(usable.labels))
    if lost:
        raise DatasetError(
            f"{found.root}: class {lost[0]!r} has no video that can be used "
            f"(the first failure: {failures[0]['reason']}); replace its videos, or take it out"
        )
