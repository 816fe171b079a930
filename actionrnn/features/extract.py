"""Many videos become many features: threads decode, the backbone gets full batches."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from actionrnn import __version__
from actionrnn.config import BackboneConfig, Config, Sampling
from actionrnn.errors import FeatureError, VideoError
from actionrnn.features.backbone import Backbone, load_backbone
from actionrnn.features.store import FeatureStore, Format
from actionrnn.features.types import Features
from actionrnn.files import file_sha256, file_state
from actionrnn.progress import progress_bar
from actionrnn.video.frames import Frames
from actionrnn.video.reading import find_videos, read_frames

DECODER_THREADS = min(4, os.cpu_count() or 1)

# Clips are encoded together in groups of this many batches, so that short clips fill them.
GROUP_BATCHES = 8


@dataclass(frozen=True)
class Source:
    """A video, or a part of one, and the name of its entry in a store."""

    key: str
    path: Path
    start_seconds: float | None = None
    end_seconds: float | None = None
    """The part that is the clip; None: from the first frame, to the last."""

    def sampling(self, sampling: Sampling) -> Sampling:
        """Where to look in the video: in the clip's part, if it is only a part."""
        if self.start_seconds is None and self.end_seconds is None:
            return sampling
        return replace(sampling, start_seconds=self.start_seconds, end_seconds=self.end_seconds)


@dataclass(frozen=True)
class Extraction:
    """What an extraction did."""

    store: FeatureStore
    num_extracted: int
    num_skipped: int
    """Entries that were there already, whole and of the same source."""
    failures: list[dict[str, str]]
    """`key`, `path` and `reason` of each video that could not be used."""


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
    source = Source(Path(path).name, Path(path))
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
    format: Format = "safetensors",
) -> Extraction:
    """Features of videos and folders of videos, one entry each, mirroring the folders.

    A video that cannot be used is listed in the store and does not stop the others.

    Raises:
        VideoError: an input is missing, or a folder holds no video.
        FeatureError: the store holds other features, or cannot be written.
        BackboneError: the backbone or its weights are not here.
    """
    sources = find_sources(inputs)
    loaded = backbone if isinstance(backbone, Backbone) else load_backbone(backbone)
    sampling = sampling or Config().sampling
    store = FeatureStore.create(output, provenance_of(loaded, sampling), format)
    return extract_missing(sources, store, loaded, sampling)


def extract_missing(
    sources: Sequence[Source], store: FeatureStore, backbone: Backbone, sampling: Sampling
) -> Extraction:
    """Compute the entries of a store that are missing, damaged or of a changed source.

    Raises:
        FeatureError: the store cannot be written.
    """
    missing = [
        source
        for source in sources
        if not (source.path.exists() and store.holds(source.key, source.path))
    ]
    failures: list[dict[str, str]] = []
    with progress_bar("extracting features", len(missing)) as advance:
        for source, features in encode_videos(missing, backbone, sampling):
            if isinstance(features, VideoError):
                store.remove(source.key)  # of a video that could be read once
                failures.append(
                    {"key": source.key, "path": str(source.path), "reason": str(features)}
                )
            else:
                store.write(source.key, features)
            advance(note=f"{len(failures)} failed" if failures else "")
    tried = {source.key for source in sources}
    earlier = [failure for failure in store.failures() if failure.get("key") not in tried]
    store.write_failures(earlier + failures)
    num_extracted = len(missing) - len(failures)
    return Extraction(store, num_extracted, len(sources) - len(missing), failures)


def encode_videos(
    sources: Iterable[Source], backbone: Backbone, sampling: Sampling
) -> Iterator[tuple[Source, Features | VideoError]]:
    """The features of each video, or why there are none, in the order of `sources`."""
    provenance = provenance_of(backbone, sampling)
    group: list[tuple[Source, Frames | VideoError]] = []
    num_frames = 0
    for source, frames in _decode_ahead(sources, backbone, sampling):
        group.append((source, frames))
        num_frames += 0 if isinstance(frames, VideoError) else len(frames)
        if num_frames >= GROUP_BATCHES * backbone.batch_frames:
            yield from _encode_group(group, backbone, provenance)
            group, num_frames = [], 0
    yield from _encode_group(group, backbone, provenance)


def provenance_of(backbone: Backbone, sampling: Sampling) -> dict[str, Any]:
    """What the features of this backbone and sampling are, as plain JSON types."""
    return {
        **backbone.provenance(),
        "sampling": asdict(sampling),
        "precision": str(backbone.dtype).removeprefix("torch."),
        "actionrnn_version": __version__,
    }


def choose_sampling(num_frames: int | None, rate_fps: float | None) -> Sampling:
    """The sampling of two options, at most one of them given.

    Raises:
        ConfigError: both are given, or one is not above 0.
    """
    if num_frames is None and rate_fps is None:
        return Config().sampling
    from actionrnn.config import parse_config

    given = {"num_frames": num_frames, "rate_fps": rate_fps}
    return parse_config({"sampling": given}, source="sampling").sampling


def find_sources(inputs: Sequence[str | Path]) -> list[Source]:
    """The videos behind files and folders, with keys that mirror the folders.

    Raises:
        VideoError: an input is missing, or a folder holds no video.
        FeatureError: two videos would share one entry.
    """
    sources: dict[str, Source] = {}
    for item in map(Path, inputs):
        if not item.exists():
            raise VideoError(f"{item}: no such file or folder")
        videos = find_videos(item) if item.is_dir() else [item]
        base = item.parent if videos == [item] else item
        for path in videos:
            key = path.relative_to(base).with_suffix("").as_posix()
            if key in sources and sources[key].path != path:
                raise FeatureError(
                    f"{sources[key].path} and {path} would share the entry {key!r}; "
                    "rename one, or extract them into two stores"
                )
            sources[key] = Source(key, path)
    return list(sources.values())


def _decode_ahead(
    sources: Iterable[Source], backbone: Backbone, sampling: Sampling
) -> Iterator[tuple[Source, Frames | VideoError]]:
    """Decode in threads, a few clips ahead of the backbone, in order."""
    waiting: deque[tuple[Source, Future[Frames | VideoError]]] = deque()
    pool = ThreadPoolExecutor(DECODER_THREADS, thread_name_prefix="decode")
    try:
        for source in sources:
            waiting.append((source, pool.submit(_decode, source, backbone, sampling)))
            if len(waiting) > 2 * DECODER_THREADS:
                done, future = waiting.popleft()
                yield done, future.result()
        while waiting:
            done, future = waiting.popleft()
            yield done, future.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _decode(source: Source, backbone: Backbone, sampling: Sampling) -> Frames | VideoError:
    preprocessing = backbone.preprocessing
    try:
        frames = read_frames(
            source.path,
            source.sampling(sampling),
            scale=preprocessing.scaled_size,
            num_threads=1,
        )
    except VideoError as error:
        return error
    return Frames(preprocessing.centre(frames.data), frames.pts_seconds)


def _encode_group(
    group: list[tuple[Source, Frames | VideoError]], backbone: Backbone, provenance: dict[str, Any]
) -> Iterator[tuple[Source, Features | VideoError]]:
    views = backbone.preprocessing.views
    decoded = [views(frames.data) for _, frames in group if isinstance(frames, Frames)]
    values = backbone.encode(np.concatenate(decoded)) if decoded else np.empty((0, 0), np.float32)
    start = 0
    for source, frames in group:
        if isinstance(frames, VideoError):
            yield source, frames
            continue
        stop = start + len(frames)
        described = {**provenance, "source": _describe(source.path)}
        yield source, Features(values[start:stop].copy(), frames.pts_seconds, described)
        start = stop


def _describe(path: Path) -> dict[str, Any]:
    state = file_state(path)
    return {
        "name": path.name,
        "size_bytes": state.size_bytes,
        "mtime_ns": state.mtime_ns,
        "sha256": file_sha256(path),
    }
