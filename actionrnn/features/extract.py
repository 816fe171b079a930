"""Many videos become many features, one entry each, and nothing is done twice."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from actionrnn.config import BackboneConfig, Config, Sampling, parse_config
from actionrnn.errors import FeatureError, VideoError
from actionrnn.features.backbone import Backbone, load_backbone
from actionrnn.features.decoding import VideoPart as VideoPart
from actionrnn.features.ledger import Ledger, bytes_now, stored_bytes
from actionrnn.features.pipeline import Pace, Pipeline
from actionrnn.features.provenance import Failure, Features, Provenance
from actionrnn.features.ranks import share_of_rank
from actionrnn.features.store import EntryError, FeatureStore
from actionrnn.files import as_path, remove_leftovers
from actionrnn.progress import progress_bar
from actionrnn.video.finding import clip_key, find_videos
from actionrnn.video.image_folder import is_folder
from actionrnn.video.source import why_unreadable


@dataclass(frozen=True)
class Extraction:
    """What an extraction did."""

    store: FeatureStore
    num_extracted: int
    num_skipped: int
    """Entries that were there already, whole and of the same source."""
    failures: list[Failure]
    """The videos that could not be used."""
    num_known_failures: int = 0
    """Those among the failures that failed before, and were not tried again."""
    pace: Pace | None = None
    """How fast it went; None if there was nothing to do."""
    notes: tuple[str, ...] = ()
    """A line for each kind of thing in the folders that was left out."""


def extract_features(
    path: str | Path,
    *,
    backbone: Backbone | BackboneConfig | str | None = None,
    num_frames: int | None = None,
    rate_fps: float | None = None,
) -> Features:
    """Per-frame features of one video.

    Args:
        path: a video file.
        backbone: a loaded backbone, its configuration or its name.
        num_frames: so many frames, evenly over the clip; or
        rate_fps: so many frames per second; neither: the configuration's default.

    Returns:
        `Features` with values (T, D) and pts_seconds (T,).

    Raises:
        VideoError: the video cannot be used.
        BackboneError: the backbone or its weights are not here.
        ConfigError: num_frames or rate_fps is impossible.
    """
    sampling = choose_sampling(num_frames, rate_fps)
    loaded = backbone if isinstance(backbone, Backbone) else load_backbone(backbone)
    path = as_path(path)
    source = VideoPart(path.name, path)
    _, features = next(encode_videos([source], loaded, sampling))
    if isinstance(features, VideoError):
        raise features
    return features


def extract_to_store(
    inputs: Sequence[str | Path],
    output: str | Path,
    *,
    backbone: Backbone | BackboneConfig | str | None = None,
    sampling: Sampling | None = None,
    strict: bool = False,
    retry_failed: bool = False,
    overwrite: bool = False,
) -> Extraction:
    """Features of videos and folders of videos, one entry each, mirroring the folders.

    A video that cannot be used is listed in the store and does not stop the others; while its
    file does not change, later runs list it without trying it again.

    Under `torchrun` or `srun`, each process does its part of the videos; see `share_of_rank`.

    Args:
        strict: stop at the first video that cannot be used.
        retry_failed: try known failures again.
        overwrite: replace features of another origin and those of videos that changed.

    Raises:
        VideoError: no input holds a video; strict: the first video that cannot be used.
        FeatureError: the store holds other features, or those of videos that changed since;
            it cannot be written.
        BackboneError: the backbone or its weights are not here.
    """
    found, notes = find_sources(inputs)
    sources = share_of_rank(found)
    loaded = backbone if isinstance(backbone, Backbone) else load_backbone(backbone)
    sampling = sampling or Config().sampling
    store = FeatureStore.create(output, Provenance.of(loaded, sampling), overwrite=overwrite)
    done = extract_missing(
        sources,
        store,
        loaded,
        sampling,
        strict=strict,
        retry_failed=retry_failed,
        overwrite=overwrite,
    )
    return replace(done, notes=notes)


def extract_missing(
    sources: Sequence[VideoPart],
    store: FeatureStore,
    backbone: Backbone,
    sampling: Sampling,
    *,
    strict: bool = False,
    retry_failed: bool = False,
    overwrite: bool = True,
) -> Extraction:
    """Compute the entries of a store that are missing, damaged or of a changed source.

    Ctrl-C finishes the videos that are in work, then raises KeyboardInterrupt; the second one
    stops at once.

    Raises:
        FeatureError: the store cannot be written; not `overwrite`, and a source changed.
        VideoError: strict, and a video cannot be used.
    """
    todo = plan(sources, store, strict=strict, retry_failed=retry_failed, overwrite=overwrite)
    ledger, to_do = todo.ledger, todo.sources
    pace: Pace | None = None
    with contextlib.ExitStack() as stack:
        stack.enter_context(ledger)
        stop = stack.enter_context(_finish_on_interrupt())
        advance = stack.enter_context(progress_bar("extracting features", len(to_do)))
        pipeline = Pipeline(to_do, backbone, sampling, stop)
        for result in stack.enter_context(contextlib.closing(pipeline.run())):
            if result is None:
                advance(0, note=_note(pipeline.pace, ledger))
                continue
            source, features = result
            problem = keep(store, source, features)
            if problem is None:
                ledger.clear(source)
            else:
                ledger.add(source, problem)
                if strict:
                    raise problem
            advance(note=_note(pipeline.pace, ledger))
        pace = pipeline.pace if to_do else None
    if stop.is_set():
        raise KeyboardInterrupt
    return todo.extraction(pace)


def keep(
    store: FeatureStore, source: VideoPart, result: Features | VideoError
) -> VideoError | EntryError | None:
    """Store what came of one video; why that was not possible.

    Raises:
        FeatureError: the store cannot be written at all.
    """
    if isinstance(result, VideoError):
        if not source.problem:  # its key may be a path elsewhere
            store.remove(source.key)  # of a video that could be read once
        return result
    try:
        store.write(source.key, result)
    except EntryError as error:
        return error
    return None


@dataclass(frozen=True)
class Plan:
    """What an extraction has to do."""

    store: FeatureStore
    ledger: Ledger
    sources: list[VideoPart]
    """Those to extract."""
    num_missing: int
    """With the known failures, which are not tried again."""
    num_whole: int

    def extraction(self, pace: Pace | None = None) -> Extraction:
        """What was done, once it is."""
        failures = self.ledger.failures()
        return Extraction(
            self.store,
            num_extracted=self.num_missing - len(failures),
            num_skipped=self.num_whole,
            failures=failures,
            num_known_failures=self.num_missing - len(self.sources),
            pace=pace,
        )


def plan(
    sources: Sequence[VideoPart],
    store: FeatureStore,
    *,
    strict: bool,
    retry_failed: bool,
    overwrite: bool,
) -> Plan:
    """Clean up behind killed processes, note what is wanted, and see what of it is missing.

    Raises:
        FeatureError: the store cannot be written; not `overwrite`, and a source changed.
        VideoError: strict, and a video failed before.
    """
    remove_leftovers(store.root)
    store.expect(source.key for source in sources)
    ledger = Ledger(store, sources)
    missing = find_missing(sources, store, overwrite=overwrite)
    known = [] if retry_failed else [source for source in missing if ledger.knows(source)]
    if strict and known:
        raise VideoError(ledger.reason(known[0]))
    to_do = [source for source in missing if source not in known]
    return Plan(store, ledger, to_do, len(missing), len(sources) - len(missing))


def find_missing(
    sources: Sequence[VideoPart], store: FeatureStore, *, overwrite: bool
) -> list[VideoPart]:
    """The sources whose entries are missing, damaged or, if `overwrite`, of other bytes.

    Raises:
        FeatureError: not `overwrite`, and a source changed.
    """
    missing = []
    with progress_bar("checking the store", len(sources)) as advance:
        for source in sources:
            presence = store.presence(source.key, source.path)
            if presence == "changed" and not overwrite:
                raise FeatureError(
                    f"{store.root}: the entry {source.key!r} was computed from "
                    f"{stored_bytes(store, source)}, but {source.path} has {bytes_now(source)}; "
                    "add --overwrite to extract changed videos anew, or choose another folder"
                )
            if presence != "whole":
                missing.append(source)
            advance()
    return missing


def known_outcome(sources: Sequence[VideoPart], store: FeatureStore) -> list[Failure] | None:
    """The failures among some videos, if a store has the others whole; else None.

    Nothing is written.

    Raises:
        FeatureError: the store's list of failures is damaged.
    """
    ledger = Ledger(store, sources)
    missing = find_missing(sources, store, overwrite=True)
    return ledger.failures() if all(map(ledger.knows, missing)) else None


def encode_videos(
    sources: Sequence[VideoPart], backbone: Backbone, sampling: Sampling
) -> Iterator[tuple[VideoPart, Features | VideoError]]:
    """The features of each video, or why there are none, as they are done."""
    pipeline = Pipeline(sources, backbone, sampling)
    with contextlib.closing(pipeline.run()) as results:
        yield from (result for result in results if result is not None)


def choose_sampling(num_frames: int | None, rate_fps: float | None) -> Sampling:
    """The sampling of two options, at most one of them given.

    Raises:
        ConfigError: both are given, or one is not above 0.
    """
    if num_frames is None and rate_fps is None:
        return Config().sampling
    given = {"num_frames": num_frames, "rate_fps": rate_fps}
    return parse_config({"sampling": given}, source="sampling").sampling


def find_sources(inputs: Sequence[str | Path]) -> tuple[list[VideoPart], tuple[str, ...]]:
    """The videos behind files and folders, with keys that mirror the folders; and notes.

    A key has no ending (`run/ido`), but where it would stand for two files of one folder
    (`ido.avi`, `ido.mp4`); where it would stand for files of two given folders, the folder's name
    is put before it. An input that is missing or holds no video is a source with a problem, and so
    is a folder that may not be read.

    Raises:
        VideoError: no input holds a video.
    """
    found: dict[Path, Path] = {}  # video -> below which folder
    problems: list[VideoPart] = []
    notes: list[str] = []
    for item in map(as_path, inputs):
        try:
            if not is_folder(item):
                found[_existing(item)] = item.parent
                continue
            below = find_videos(item)
        except VideoError as error:
            problems.append(VideoPart(str(item), item, problem=str(error)))
            continue
        found |= dict.fromkeys(below.paths, item.parent if below.paths == (item,) else item)
        problems += [
            VideoPart(str(path), path, problem=why) for path, why in below.unreadable.items()
        ]
        notes += below.notes
    if problems and not found:
        raise VideoError(problems[0].problem)
    sources = [VideoPart(key, path) for path, key in _keys(found).items()]
    return [*sources, *problems], tuple(notes)


def _keys(found: Mapping[Path, Path]) -> dict[Path, str]:
    """For each video, below its folder, the shortest name that it shares with no other."""
    once: dict[str, Path] = {}
    for path in found:
        once.setdefault(os.path.abspath(path), path)  # noqa: PTH100 keeps links
    names = {path: _names(path, found[path]) for path in once.values()}
    rank = dict.fromkeys(names, 0)
    while True:
        keys = {path: names[path][rank[path]] for path in names}
        count = Counter(keys.values())
        shared = [path for path, key in keys.items() if count[key] > 1]
        if not shared:
            return keys
        for path in shared:
            rank[path] = min(rank[path] + 1, len(names[path]) - 1)


def _names(path: Path, base: Path) -> list[str]:
    """`x`, `x.mp4`, `a/x`, `a/x.mp4`, ... up to the whole path."""
    short, long = clip_key(path, base), path.relative_to(base).as_posix()
    above = Path(os.path.abspath(base)).parts[1:]  # noqa: PTH100
    folders = ["/".join((*above[len(above) - i :], "")) for i in range(len(above) + 1)]
    return [folder + name for folder in folders for name in (short, long)]


def _existing(path: Path) -> Path:
    try:
        if path.exists():
            return path
    except OSError as error:
        raise VideoError(f"{path}: {why_unreadable(error)}") from None
    raise VideoError(f"{path}: no such file or folder; check the path")


def _note(pace: Pace, ledger: Ledger) -> str:
    num_failed = len(ledger.failures())
    failed = f", {num_failed} failed" if num_failed else ""
    return f"{pace.frames_per_second:.0f} frames/s{failed}"


@contextlib.contextmanager
def _finish_on_interrupt() -> Iterator[threading.Event]:
    """The first Ctrl-C sets the event, the second one interrupts as always."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def ask(*_: object) -> None:
        stop.set()
        signal.signal(signal.SIGINT, before)
        print("\nfinishing the videos in work; Ctrl-C again stops at once", file=sys.stderr)

    before = signal.signal(signal.SIGINT, ask)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)
