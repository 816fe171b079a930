"""Which pictures of a folder are the frames of a clip, and in which order, by their names alone.

Names that differ in their numbers alone are a series: `img_1.jpg`, `img_2.jpg`. A clip is one
series; of several, nothing says which is meant, and their order would mix them.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise

from actionrnn.errors import VideoError

PREVIEW = re.compile(r"(thumb|thumbnail|cover|preview|poster)s?", re.IGNORECASE)
"""The name of a picture, without its ending, or of a folder, that is made of a video or for it."""

# A minus is a sign behind nothing or a separator: in `t_-1` and `-1`, not in `img-1` or `05-01`.
_NUMBER = re.compile(r"(?:(?:^|(?<=[^0-9A-Za-z-]))-)?\d+(?:\.\d+)*")
_MOST_NAMED = 3

Key = tuple[Decimal | tuple[int, ...], ...]


@dataclass(frozen=True)
class _Name:
    name: str
    stem: str
    """Without its ending."""
    series: str
    """The name with `#` for its numbers: `img_#.jpg`."""
    numbers: tuple[str, ...]
    """As they are written."""


def in_order(names: Iterable[str]) -> tuple[list[str], list[str]]:
    """The names of a clip's pictures by their numbers, the first number first; and those left out.

    `frame2.jpg` comes before `frame10.jpg`, `t_-1.png` before `t_0.png`, and `t_2.25.png` before
    `t_2.5.png`, unless what is behind the dots is counted (`shot1.9.png`, `shot1.10.png`). Without
    any number they are sorted as text. Left out are previews (`cover.jpg`) beside other pictures.

    Raises:
        VideoError: the names are of several series, or their numbers leave the order open; the
            folder is not named.
    """
    previews: list[_Name] = []
    parsed: list[_Name] = []
    for name in map(_parse, sorted(names)):
        is_preview = PREVIEW.fullmatch(name.stem) is not None
        (previews if is_preview else parsed).append(name)
    if not parsed:
        parsed, previews = previews, []
    left_out = [name.name for name in previews]
    if not any(name.numbers for name in parsed):
        _require_one_each(parsed)
        return [name.name for name in parsed], left_out
    count = Counter(name.series for name in parsed)
    if len(count) > 1:
        named = ", ".join(f"{series} ({n})" for series, n in count.most_common(_MOST_NAMED))
        more = ", ..." if len(count) > _MOST_NAMED else ""
        raise VideoError(
            f"holds several series of pictures: {named}{more}; a clip is one of them, so put each "
            "into a separate folder"
        )
    keys = _keys(parsed)
    ordered = sorted(zip(keys, parsed, strict=True), key=lambda pair: pair[0])
    for (key, one), (next_key, other) in pairwise(ordered):
        if key == next_key:
            raise VideoError(
                f"holds {one.name} and {other.name}, which have the same number; leave one out"
            )
    return [name.name for _, name in ordered], left_out


def are_numbered(names: Iterable[str]) -> bool:
    """Whether two or more names differ in one number only, as the frames of a clip do; previews
    beside them do not count.

    >>> are_numbered(["frame_01.jpg", "frame_02.jpg"]), are_numbered(["ann.jpg", "bob.jpg"])
    (True, False)
    """
    try:
        frames, _ = in_order(names)
    except VideoError:
        return False
    columns = zip(*(_parse(name).numbers for name in frames), strict=True)
    return len(frames) > 1 and sum(len(set(numbers)) > 1 for numbers in columns) == 1


def _parse(name: str) -> _Name:
    stem, ending = os.path.splitext(name)  # noqa: PTH122 - once for each of many files
    numbers = tuple(_NUMBER.findall(stem))
    return _Name(name, stem, _NUMBER.sub("#", stem).lower() + ending.lower(), numbers)


def _require_one_each(names: Sequence[_Name]) -> None:
    """Refuse `ann.jpg` and `ann.png`: two pictures of one."""
    seen: dict[str, str] = {}
    for name in names:
        if other := seen.get(name.stem):
            raise VideoError(
                f"holds {other} and {name.name}, of which one may be made of the other; "
                "leave one out"
            )
        seen[name.stem] = name.name


def _keys(names: Sequence[_Name]) -> list[Key]:
    """What the names of one series are sorted by."""
    columns = [_values(column) for column in zip(*(name.numbers for name in names), strict=True)]
    return list(zip(*columns, strict=True))


def _values(column: Sequence[str]) -> list[Decimal] | list[tuple[int, ...]]:
    """The values of the numbers in one place of all names.

    Raises:
        VideoError: they are all negative, so that the minus may be a dash.
    """
    negative = [text for text in column if text.startswith("-")]
    if len(negative) == len(column) > 1 and len(set(column)) > 1:
        raise VideoError(
            f"has pictures numbered {negative[0]}, {negative[1]}: a negative number, or a dash? "
            "Rename them without it"
        )
    if any(text.count(".") > 1 for text in column) or _are_counted(column):
        return [tuple(int(part) for part in text.split(".")) for text in column]
    return [Decimal(text) for text in column]


def _are_counted(column: Sequence[str]) -> bool:
    """Whether the numbers behind the dots are counted: 10 follows 9, where 1.10 is less than 1.9.

    >>> _are_counted(["1.8", "1.9", "1.10"]), _are_counted(["0.5", "10.25", "11.0"])
    (True, False)
    """
    pairs = {tuple(text.split(".")) for text in column if "." in text}
    return any(
        len(behind) > 1 and behind.endswith("0") and (whole, str(int(behind) - 1)) in pairs
        for whole, behind in pairs
    )
