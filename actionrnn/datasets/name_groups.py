"""Names that say which clips belong together, where no `data.group_pattern` reads them."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from actionrnn.datasets.clips import Clip, Side, group_of
from actionrnn.text import plain

LEAST_GROUPS = 3
"""Fewer say too little: `train_...` and `test_...` are two."""


@dataclass(frozen=True)
class _Form:
    """How some people name their files."""

    pattern: str
    """For `data.group_pattern`: its first bracket is the group."""
    least_grouped: float = 0.5
    """The part of the clips that must then have another one of their class in their group."""
    over_classes: bool = False
    """The bracket finds people or places, who come in several classes."""


_COUNTED = "part|pt|clip|seg|segment|scene|shot|take"
_MERE_NUMBER = re.compile(rf"(?:{_COUNTED}|vid|video|[cdv])?\d+", re.IGNORECASE)

LEAST_NAMED_ALIKE = 0.8
"""The part of the names that must be of one form; the others are groups of their own."""

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


def suggest_pattern(clips: Iterable[Clip]) -> str | None:
    """The pattern that finds groups of several videos in the names, if there is one."""
    videos = list({clip.path: clip for clip in clips}.values())
    for form in _FORMS:
        pattern = _pattern_for(form, videos)
        if pattern is not None and _fits(form, pattern, videos):
            return pattern
    return None


def describe_names(clips: Sequence[Clip], tested_side: Side | None = None) -> Iterator[str]:
    """A line on names that look grouped, if they do.

    Args:
        tested_side: of a division that the data gives; then it must part such a group.
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
        "each clip counts as a group of its own, but by their names some belong together "
        f"({number} to {plain(group)!r}, ...): the score may be memory; try "
        f"'data.group_pattern={pattern}'"
    )


def _pattern_for(form: _Form, clips: Sequence[Clip]) -> str | None:
    """The form's pattern, if most names are of it; one that lets the others be groups."""
    texts = [clip.key if "/" in form.pattern else clip.path.name for clip in clips]
    alike = sum(re.search(form.pattern, text) is not None for text in texts)
    if alike == len(texts):
        return form.pattern
    if alike < LEAST_NAMED_ALIKE * len(texts):
        return None
    anchored = form.pattern[1:] if form.pattern.startswith("^") else f".*?{form.pattern}"
    return f"^(?:{anchored}|(.+)$)"


def _fits(form: _Form, pattern: str, clips: Sequence[Clip]) -> bool:
    """Whether the form finds groups, and enough of them in most classes to divide these."""
    groups = [group_of(clip.path.name, clip.key, pattern) for clip in clips]
    labels_of: dict[str, set[str]] = defaultdict(set)
    groups_of: dict[str, set[str]] = defaultdict(set)
    for group, clip in zip(groups, clips, strict=True):
        labels_of[group].add(clip.label)
        groups_of[clip.label].add(group)
    divisible = sum(len(found) > 1 for found in groups_of.values())
    if len(labels_of) < LEAST_GROUPS or 2 * divisible < len(groups_of):
        return False
    if form.over_classes:
        shared = [
            group
            for group, labels in labels_of.items()
            if len(labels) > 1 and not _MERE_NUMBER.fullmatch(group)
        ]
        return 2 * len(shared) >= len(labels_of)
    # a name that comes once in each class, or folder, is a number that begins anew
    members: dict[tuple[str, str], set[str]] = defaultdict(set)
    for clip, group in zip(clips, groups, strict=True):
        members[clip.label, group].add(clip.key if "/" in pattern else clip.path.name)
    grouped = sum(len(names) for names in members.values() if len(names) > 1)
    return grouped >= max(2, form.least_grouped * len(clips))
