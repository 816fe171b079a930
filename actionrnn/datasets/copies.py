"""The same video under several names: what is learnt from one of them, is known of the others."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from actionrnn.datasets.clips import Clip
from actionrnn.errors import FeatureError, VideoError
from actionrnn.features.store import FeatureStore
from actionrnn.files import file_sha256, file_state
from actionrnn.progress import progress_bar
from actionrnn.text import plain
from actionrnn.video.decode import iter_frames

Copies = list[tuple[Clip, ...]]
"""Each the clips of one content that has several names."""


def find_copies(clips: Sequence[Clip], store: FeatureStore | None = None) -> Copies:
    """The clips whose videos are there several times, byte for byte.

    Parts of one video are no copies of each other. Videos that cannot be read are none either.

    Args:
        store: imported features, which are compared instead of videos.
    """
    if store is not None:
        return _several_names(clips, lambda clip: _stored(store, clip))
    sizes = {path: _size(path) for path in {clip.path for clip in clips}}
    alike = _several_names(clips, lambda clip: sizes[clip.path])
    paths = sorted({clip.path for same_size in alike for clip in same_size})
    digests = dict(_digests(paths))
    doubtful = [clip for clip in clips if clip.path in digests]
    copies = _several_names(doubtful, lambda clip: digests[clip.path])
    # a page that was saved in place of a video says nothing of the groups it lies in
    return [same for same in copies if _is_readable(same[0].path)]


def join_groups(clips: Iterable[Clip], copies: Copies) -> tuple[Clip, ...]:
    """The same clips; groups that share a video are one, called by the first of their names."""
    names: dict[str, str] = {}  # towards the first name

    def first(group: str) -> str:
        while names.get(group, group) != group:
            group = names[group]
        return group

    for same in copies:
        lowest, *others = sorted({first(clip.group) for clip in same})
        names |= dict.fromkeys(others, lowest)
    return tuple(
        clip if first(clip.group) == clip.group else replace(clip, group=first(clip.group))
        for clip in clips
    )


def describe_copies(copies: Copies, num_clips: int, *, joined: bool) -> Iterator[str]:
    """What must be known of them, in one line each.

    Args:
        joined: whether they are of one group.
    """
    if not copies:
        return
    alike = [clips for same in copies for clips in _same_parts(same)]
    if alike:
        one, other = alike[0][:2]
        number = sum(len(clips) - 1 for clips in alike)
        side = "they are of one group" if joined else "the official split may part them"
        yield (
            f"{number} of {num_clips} clips are copies of others "
            f"({plain(one.key)} and {plain(other.key)} are one video); {side}"
        )
    disputed = [pair for pair in map(_two_labels, copies) if pair is not None]
    if disputed:
        one, other = disputed[0]
        yield (
            f"copies disagree on their label, {len(disputed)} in all ({plain(one.key)} is "
            f"{plain(one.label)}, {plain(other.key)} is {plain(other.label)}); correct them, or "
            "take them out"
        )


def _several_names(clips: Iterable[Clip], content_of: Callable[[Clip], Hashable]) -> Copies:
    """By what is known of their content; None: nothing is."""
    by_content: dict[Hashable, list[Clip]] = defaultdict(list)
    for clip in clips:
        content = content_of(clip)
        if content is not None:
            by_content[content].append(clip)
    return [tuple(same) for same in by_content.values() if len({clip.path for clip in same}) > 1]


def _size(path: Path) -> int | None:
    try:
        return file_state(path).size_bytes or None
    except OSError:
        return None


def _digests(paths: Sequence[Path]) -> Iterator[tuple[Path, str]]:
    if not paths:
        return
    with progress_bar("comparing videos of one size", len(paths)) as advance:
        for path in paths:
            with contextlib.suppress(OSError):  # the extraction says why
                yield path, file_sha256(path)
            advance()


def _is_readable(path: Path) -> bool:
    try:
        first = next(iter_frames(path, num_threads=1), None)
        return first is not None and first.rgb.size > 0
    except VideoError:
        return False


def _stored(store: FeatureStore, clip: Clip) -> str | None:
    try:
        video = store.layout(clip.key).video
    except FeatureError:
        return None  # said where it is loaded
    return None if video is None else video.sha256


def _same_parts(same: Sequence[Clip]) -> list[list[Clip]]:
    """Clips of one content that are the same part of it, two at least each."""
    by_part: dict[tuple[float | None, float | None], list[Clip]] = defaultdict(list)
    for clip in same:
        by_part[clip.start_seconds, clip.end_seconds].append(clip)
    return [clips for clips in by_part.values() if len(clips) > 1]


def _two_labels(same: Sequence[Clip]) -> tuple[Clip, Clip] | None:
    """Two of one part of the video that are called differently."""
    for clips in _same_parts(same):
        other = next((clip for clip in clips if clip.label != clips[0].label), None)
        if other is not None:
            return clips[0], other
    return None
