"""Names that say which clips belong together, where no `data.group_pattern` reads them."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from actionrnn.datasets.clips import Clip
from actionrnn.plain_text import plain

LEAST_GROUPS = 3
"""Fewer say too little: `train_...` and `test_...` are two."""


@dataclass(frozen=True)
class _Form:
    """How some people name their files."""

    pattern: str
    """For `data.group_pattern`: its first bracket is the group."""
    least_grouped: float = 0.5
    """The part of the clips that must then have another one in their group."""
    over_classes: bool = False
    """The bracket finds people or places, who come in several classes."""


_FORMS = (
    _Form(r"_(g\d+)_c\d+", 0.1),  # v_Archery_g01_c02
    _Form(r"(P\d{3})R\d{3}A\d{3}", 0.1),  # S001C001P003R002A013
    _Form(r"^([^_-]+)[_-]", over_classes=True),  # daria_run_1
    _Form(r"^[^_-]+[_-]([^_.-]+)", over_classes=True),  # run_daria_1
    _Form(  # x and x_flipped
        r"^(.+?)(?:[_-](?:h?flip(?:ped)?|mirror(?:ed)?|aug(?:mented)?)[_-]?\d*)?(?:\.\w+)?$", 0.1
    ),
    _Form(  # x_001, x_part2, x (3)
        r"^(.+?)[ _-]+\(?(?:part|pt|clip|seg|segment|scene|shot)?[ _-]?\d+\)?(?:\.\w+)?$"
    ),
    _Form(r"((?:19|20)\d{2}-?[01]\d-?[0-3]\d)[T _-]?\d{2}[-.:]?\d{2}"),  # 20240501_101530
)


def suggest_pattern(clips: Iterable[Clip]) -> str | None:
    """The pattern that finds groups of several videos in the names, if there is one."""
    videos = list({clip.path: clip for clip in clips}.values())
    return next((form.pattern for form in _FORMS if _fits(form, videos)), None)


def describe_names(clips: Sequence[Clip]) -> Iterator[str]:
    """A line on names that look grouped, if they do."""
    pattern = suggest_pattern(clips)
    if pattern is None:
        return
    group, number = Counter(_groups(pattern, clips)).most_common(1)[0]
    yield (
        "each clip counts as a group of its own, but by their names some belong together "
        f"({number} to {plain(group)!r}, ...): the score may be memory; try "
        f"'data.group_pattern={pattern}'"
    )


def _fits(form: _Form, clips: Sequence[Clip]) -> bool:
    """Whether the form finds groups, and enough of them in most classes to divide these."""
    groups = _groups(form.pattern, clips)
    sizes = Counter(groups)
    grouped = sum(size for size in sizes.values() if size > 1)
    if len(sizes) < LEAST_GROUPS or grouped < max(2, form.least_grouped * len(clips)):
        return False
    groups_of: dict[str, set[str]] = defaultdict(set)
    labels_of: dict[str, set[str]] = defaultdict(set)
    for group, clip in zip(groups, clips, strict=True):
        groups_of[clip.label].add(group)
        labels_of[group].add(clip.label)
    divisible = sum(len(found) > 1 for found in groups_of.values())
    if 2 * divisible < len(groups_of):
        return False
    # mere numbers begin anew in each class
    shared = sum(len(labels) > 1 and not group.isdecimal() for group, labels in labels_of.items())
    return not form.over_classes or 2 * shared >= len(sizes)


def _groups(pattern: str, clips: Sequence[Clip]) -> list[str]:
    """Each clip's; none where not all names are of this form."""
    found = [re.search(pattern, clip.path.name) for clip in clips]
    return [match[1] for match in found if match] if all(found) else []
