"""Where the features of a training or an evaluation are, and how the missing ones come there.

A run writes into its store, or into the one that `data.features` names. Stores of other
runs are read: where they hold everything, in their place; else what they hold is copied.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from actionrnn.config import BackboneConfig, Config
from actionrnn.datasets.parts import load_parts
from actionrnn.datasets.recordings import BACKGROUND, Dataset
from actionrnn.datasets.sequences import Sequences, load_sequences
from actionrnn.errors import ConfigError, DatasetError, FeatureError
from actionrnn.features.backbone import Backbone
from actionrnn.features.extract import extract_missing, known_outcome, plan
from actionrnn.features.imported import imported_store
from actionrnn.features.known import is_imported
from actionrnn.features.provenance import Failure, Provenance
from actionrnn.features.store import MANIFEST, FeatureStore
from actionrnn.features.video_parts import VideoPart
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
        ConfigError: recordings are to be read whole, and the sampling has no rate.
        DatasetError: no video can be used, or no step of the recordings is labelled.
        FeatureError: the store is of another origin, damaged, or cannot be written.
    """
    if dataset.continuous:
        _require_rate(config)
    if (imported := imported_store(config.data.features)) is not None:
        return _load_imported(dataset, imported)
    sources = _sources(dataset)
    provenance = Provenance.of(backbone, config.sampling)
    if config.data.features is not None:
        own, readable = Path(config.data.features), []
    else:
        names = _store_names(config, provenance)
        own = output / FEATURES_FOLDER / names[0]
        near = [*others, *_beside(output if run is None else run, names)]
        readable = list(_readable([path for path in near if path != own], provenance))
    complete = None if (own / MANIFEST).exists() else _complete(sources, readable)
    if complete is not None:
        store, failures = complete
    else:
        store = FeatureStore.create(own, provenance)
        for other in readable:
            _copy_entries(sources, other, store)
        # a store elsewhere may be another run's: nothing there is replaced
        inside = own.resolve().is_relative_to(output.resolve())
        todo = plan(sources, store, overwrite=inside)
        failures = extract_missing(todo, backbone, config.sampling).failures
    if len(failures) == len(sources):
        reason = failures[0].reason
        raise DatasetError(f"{dataset.root}: no video can be used (the first: {reason})")
    return *_read(dataset, store, failures), failures


def for_imported_features(config: Config) -> Config:
    """Imported features say themselves what they are."""
    store = imported_store(config.data.features)
    if store is None:
        return config
    backbone = BackboneConfig(name=store.provenance.backbone)
    return replace(config, backbone=backbone, sampling=store.provenance.sampling)


def _load_imported(
    dataset: Dataset, store: FeatureStore
) -> tuple[Dataset, Sequences, list[Failure]]:
    there, sources = set(store.keys()), _sources(dataset)
    usable = [source.key for source in sources if source.key in there]
    with progress_bar("checking the store", len(usable)) as advance:
        for key in usable:
            store.read(key)  # nothing else looks at every byte of imported features
            advance()
    absent = [
        Failure(source.key, str(source.path), f"{source.key}: has no entry")
        for source in sources
        if source.key not in there
    ]
    if not usable:
        raise DatasetError(
            f"{store.root}: no clip has features (the first: {absent[0].reason}; the store's "
            f"first: {min(there, default='none')})"
        )
    return *_read(dataset, store, absent), absent


def _sources(dataset: Dataset) -> list[VideoPart]:
    """What is encoded: whole recordings, or each clip for itself."""
    if dataset.continuous:
        return [VideoPart(recording.key, recording.path) for recording in dataset.recordings]
    return [
        VideoPart(clip.key, clip.path, clip.start_seconds, clip.end_seconds)
        for clip in dataset.clips
    ]


def _read(
    dataset: Dataset, store: FeatureStore, failures: Sequence[Failure]
) -> tuple[Dataset, Sequences]:
    """The clips that did not fail, and their features."""
    failed = {failure.key for failure in failures}
    usable = [clip for clip in dataset.clips if dataset.entry_key(clip) not in failed]
    dataset = dataset.keep(usable)
    if dataset.continuous:
        return load_parts(store, dataset)
    return dataset, load_sequences(store, dataset.clips, dataset.labels)


def _require_rate(config: Config) -> None:
    """Refuse a sampling of recordings whose steps are not equally far apart."""
    sampling = config.sampling
    if sampling.rate_fps is not None and not sampling.keyframes:
        return
    remedy = "set sampling.rate_fps=4 sampling.num_frames=null sampling.keyframes=false"
    if is_imported(config.backbone.name):
        remedy = "import the features again with --rate-fps"
    raise ConfigError(
        "data.layout=annotations: needs a fixed number of frames a second, and sampling is "
        f"{sampling}; {remedy}"
    )


def _store_names(config: Config, provenance: Provenance) -> list[str]:
    """One name per data set and provenance, and the one that version 0.1 gave it."""
    root = Path(str(config.data.root)).resolve()
    names = []
    for described in (provenance.to_json(), provenance.to_json_of_0_1()):
        identity = json.dumps([str(root), described], sort_keys=True)
        digest = hashlib.sha256(identity.encode()).hexdigest()[:8]
        names.append(f"{root.stem[:40]}-{config.backbone.name.replace('/', '-')}-{digest}")
    return names


def _beside(run: Path, names: Sequence[str]) -> list[Path]:
    """The stores of these names in a run's folder and in those beside it."""
    found = run.resolve().parent.glob(f"*/{FEATURES_FOLDER}/*/{MANIFEST}")
    return sorted(file.parent for file in found if file.parent.name in names)


def _readable(folders: Sequence[Path], provenance: Provenance) -> Iterator[FeatureStore]:
    """The stores among some folders that hold features of this provenance."""
    for folder in folders:
        try:
            store = FeatureStore.open(folder)
        except FeatureError:  # none, or damaged: of no use here
            continue
        if not store.provenance.difference(provenance):
            yield store


def _complete(
    sources: Sequence[VideoPart], stores: Iterable[FeatureStore]
) -> tuple[FeatureStore, list[Failure]] | None:
    """The first store that has all of these videos, or knows why not, and those failures."""
    for store in stores:
        failures = known_outcome(sources, store)
        if failures is not None:
            return store, failures
    return None


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
    lost = set(found.labels) - set(usable.labels)
    if found.continuous:
        lost.discard(BACKGROUND)  # recordings may be labelled from their first step to their last
    if lost and not failures:
        raise DatasetError(
            f"{found.root}: no step falls into an annotation of class {min(lost)!r}; compare its "
            "start and end with the clock of the videos, or raise sampling.rate_fps"
        )
    if lost:
        raise DatasetError(
            f"{found.root}: class {min(lost)!r} has no video that can be used "
            f"(the first failure: {failures[0].reason}); replace its videos, or take it out"
        )
