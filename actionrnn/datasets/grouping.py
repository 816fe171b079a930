"""Which clips belong together: by `data.group_pattern`, by their content, by their names.

What is learnt from one clip of a group is known of the others, so a group is never split.
"""

from __future__ import annotations

import contextlib
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from actionrnn.datasets.recordings import Clip, Dataset, Recording, Side
from actionrnn.errors import DatasetError, FeatureError, VideoError
from actionrnn.features.store import FeatureStore
from actionrnn.files import file_sha256, file_state
from actionrnn.progress import progress_bar
from actionrnn.text import plain
from actionrnn.video.decode import iter_frames

Copies = list[tuple[Clip, ...]]
"""For each content that has several names, the clips of it."""


def group_of(name: str, key: str, pattern: str | None) -> str:
    """What the pattern's first bracket finds in a file's name; without a pattern, the key.

    A pattern with a `/` is searched in the key, which includes the folders above the file.

    Raises:
        DatasetError: the name does not match, or the bracket finds nothing.
    """
    if pattern is None:
        return key
    match = re.search(pattern, key if "/" in pattern else name)
    group = next((found for found in match.groups() if found), None) if match else None
    if group is None:
        raise DatasetError(
            f"{name}: does not match data.group_pattern {pattern!r}; "
            "its first bracket must find the clip's group"
        )
    return group


# The same content under several names.


def find_copies(dataset: Dataset, store: FeatureStore | None = None) -> Copies:
    """The clips whose videos exist several times, byte for byte.

    Parts of one video are not copies of each other. Videos that cannot be read are left out.

    Args:
        store: imported features, which are compared instead of videos.
    """
    clips = dataset.clips
    if store is not None:
        return _several_names(clips, lambda clip: _stored_sha256(store, dataset.entry_key(clip)))
    sizes = {path: _size_bytes(path) for path in {clip.path for clip in clips}}
    same_size = _several_names(clips, lambda clip: sizes[clip.path])
    digests = dict(_digests(sorted({clip.path for same in same_size for clip in same})))
    compared = [clip for clip in clips if clip.path in digests]
    copies = _several_names(compared, lambda clip: digests[clip.path])
    # an error page saved in place of several videos says nothing about their groups
    return [same for same in copies if _is_readable(same[0].path)]


def join_groups(recordings: Iterable[Recording], copies: Copies) -> tuple[Recording, ...]:
    """The same recordings; groups that share a video become one, under their first name."""
    parent: dict[str, str] = {}  # of a joined group, one that sorts before it

    def first(group: str) -> str:
        while group in parent:
            group = parent[group]
        return group

    for same in copies:
        lowest, *others = sorted({first(clip.group) for clip in same})
        parent |= dict.fromkeys(others, lowest)
    return tuple(replace(recording, group=first(recording.group)) for recording in recordings)


def describe_copies(copies: Copies, dataset: Dataset, *, joined: bool) -> Iterator[str]:
    """Notes on the copies, in one line each.

    Args:
        joined: whether their groups were joined.
    """
    same_parts = [clips for same in copies for clips in _same_parts(same)]
    if same_parts:
        one = same_parts[0][0]
        other = next(clip for clip in same_parts[0] if clip.path != one.path)
        number = sum(clip.path != clips[0].path for clips in same_parts for clip in clips)
        side = "they are of one group" if joined else "the official split may part them"
        yield (
            f"{number} of {len(dataset.clips)} {dataset.clips_name} are copies of others "
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
    """The clips by their content, where several files have it; a content of None is unknown."""
    by_content: dict[Hashable, list[Clip]] = defaultdict(list)
    for clip in clips:
        content = content_of(clip)
        if content is not None:
            by_content[content].append(clip)
    return [tuple(same) for same in by_content.values() if len({clip.path for clip in same}) > 1]


def _size_bytes(path: Path) -> int | None:
    try:
        return file_state(path).size_bytes or None
    except OSError:
        return None


def _digests(paths: Sequence[Path]) -> Iterator[tuple[Path, str]]:
    if not paths:
        return
    with progress_bar("comparing videos of one size", len(paths)) as advance:
        for path in paths:
            with contextlib.suppress(OSError):  # the extraction will say why
                yield path, file_sha256(path)
            advance()


def _is_readable(path: Path) -> bool:
    try:
        first = next(iter_frames(path, num_threads=1), None)
        return first is not None and first.rgb.size > 0
    except VideoError:
        return False


def _stored_sha256(store: FeatureStore, key: str) -> str | None:
    try:
        video = store.layout(key).video
    except FeatureError:
        return None  # reported when the features are loaded
    return None if video is None else video.sha256


def _same_parts(same: Sequence[Clip]) -> list[list[Clip]]:
    """The clips of one content by their part of it, where several have the same part."""
    by_part: dict[tuple[float | None, float | None], list[Clip]] = defaultdict(list)
    for clip in same:
        by_part[clip.start_seconds, clip.end_seconds].append(clip)
    return [clips for clips in by_part.values() if len({clip.path for clip in clips}) > 1]


def _two_labels(same: Sequence[Clip]) -> tuple[Clip, Clip] | None:
    """Two clips of the same part whose labels differ."""
    for clips in _same_parts(same):
        labels: dict[Path, set[str]] = defaultdict(set)
        for clip in clips:
            labels[clip.path].add(clip.label)
        known = labels[clips[0].path]
        other = next((clip for clip in clips if labels[clip.path] != known), None)
        if other is not None:
            return clips[0], other
    return None


# Names that look grouped, where no pattern reads them.

LEAST_GROUPS = 3  # `train_...` and `test_...` are two
LEAST_NAMED_ALIKE = 0.8  # part of the names that must be of one form; the others stay alone

_COUNTED = "part|pt|clip|seg|segment|scene|shot|take"
_MERE_NUMBER = re.compile(rf"(?:{_COUNTED}|vid|video|[cdv])?\d+", re.IGNORECASE)


@dataclass(frozen=True)
class _Form:
    """A usual way to name files."""

    pattern: str
    """For `data.group_pattern`: its first bracket is the group."""
    least_grouped: float = 0.5
    """The part of the clips that must share a group with another one of their class."""
    over_classes: bool = False
    """The bracket finds people or places, which occur in several classes."""


_FORMS = (
    _Form(r"([^/]+)/[^/]+$"),  # the folders of people in those of the classes
    _Form(r"_(g\d+)_c\d+", 0.1),  # v_Archery_g01_c02
    _Form(r"(P\d{3})R\d{3}A\d{3}", over_classes=True),  # S001C001P003R002A013
    _Form(r"^([^_-]+)[_-]", over_classes=True),  # daria_run_1
    _Form(r"^[^_-]+[_-]([^_.-]+)", over_classes=True),  # run_daria_1
    _Form(  # x and x_flipped
        r"^(.+?)(?:[_-](?:h?flip(?:ped)?|mirror(?:ed)?|aug(?:mented)?)[_-]?\d*)?(?:\.\w+)?$", 0.1
    ),
    _Form(rf"^(.+?)[ _-]+\(?(?:{_COUNTED})?[ _-]?\d+\)?(?:\.\w+)?$"),  # x_001, x_part2, x (3)
    _Form(r"((?:19|20)\d{2}-?[01]\d-?[0-3]\d)[T _-]?\d{2}[-.:]?\d{2}"),  # 20240501_101530
)


def describe_names(clips: Sequence[Clip], tested_side: Side | None = None) -> Iterator[str]:
    """A line on names that look grouped, if they do.

    Args:
        tested_side: of a split that the data gives; then it must part such a group.
    """
    pattern = suggest_pattern(clips)
    if pattern is None:
        return
    groups = [group_of(clip.path.name, clip.key, pattern) for clip in clips]
    if tested_side is not None:
        pairs = list(zip(groups, clips, strict=True))
        tested = {group for group, clip in pairs if clip.split == tested_side}
        if tested.isdisjoint(group for group, clip in pairs if clip.split != tested_side):
            return
    group, number = Counter(groups).most_common(1)[0]
    yield (
        "each clip counts as its own group, but by their names some belong together "
        f"({number} to {plain(group)!r}, ...): the score may be memory; try "
        f"'data.group_pattern={pattern}'"
    )


def suggest_pattern(clips: Iterable[Clip]) -> str | None:
    """The first pattern that finds groups of several videos in the names; None: there is none."""
    videos = list({clip.path: clip for clip in clips}.values())
    for form in _FORMS:
        pattern = _pattern_for(form, videos)
        if pattern is not None and _fits(form, pattern, videos):
            return pattern
    return None


def _searched(pattern: str, clip: Clip) -> str:
    return clip.key if "/" in pattern else clip.path.name


def _pattern_for(form: _Form, clips: Sequence[Clip]) -> str | None:
    """The form's pattern, if most names are of it; the others become groups of one clip."""
    texts = [_searched(form.pattern, clip) for clip in clips]
    alike = sum(re.search(form.pattern, text) is not None for text in texts)
    if alike == len(texts):
        return form.pattern
    if alike < LEAST_NAMED_ALIKE * len(texts):
        return None
    anchored = form.pattern[1:] if form.pattern.startswith("^") else f".*?{form.pattern}"
    return f"^(?:{anchored}|(.+)$)"


def _fits(form: _Form, pattern: str, clips: Sequence[Clip]) -> bool:
    """Whether the pattern finds groups, and enough of them in most classes to split these."""
    labels_of: dict[str, set[str]] = defaultdict(set)
    groups_of: dict[str, set[str]] = defaultdict(set)
    members: dict[tuple[str, str], set[str]] = defaultdict(set)
    for clip in clips:
        group = group_of(clip.path.name, clip.key, pattern)
        labels_of[group].add(clip.label)
        groups_of[clip.label].add(group)
        members[clip.label, group].add(_searched(pattern, clip))
    splittable = sum(len(groups) > 1 for groups in groups_of.values())
    if len(labels_of) < LEAST_GROUPS or 2 * splittable < len(groups_of):
        return False
    if form.over_classes:
        shared = [
            group
            for group, labels in labels_of.items()
            if len(labels) > 1 and not _MERE_NUMBER.fullmatch(group)
        ]
        return 2 * len(shared) >= len(labels_of)
    # a name that occurs once in each class, or folder, is a number that starts again there
    grouped = sum(len(names) for names in members.values() if len(names) > 1)
    return grouped >= max(2, form.least_grouped * len(clips))
