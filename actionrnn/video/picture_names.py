"""Which pictures of a folder are the frames of a clip, and in which order, by their names alone.

Names that differ in their numbers alone are a series: `img_1.jpg`, `img_2.jpg`. A clip is one
series; of several, nothing says which is meant, and their order would mix them.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from itertools import groupby, pairwise

from actionrnn.errors import VideoError

PREVIEW = re.compile(r"(thumb|thumbnail|cover|preview|poster)s?", re.IGNORECASE)
"""The name of a picture, without its ending, or of a folder, that is made of a video or for it."""

# Beside frames, of the film whose folder it is: players and Windows write them
_COVER = re.compile(rf"{PREVIEW.pattern}|folder|albumart(small|_.*)?", re.IGNORECASE)

# Times of day: 20240501_235959, 2024-5-1_9-5-59, 01-05-2024 10.59.59, 24-05-01-10-59-59,
# 2024-05-01-10h59m30s, 10-59-30, 0m59s; seconds since 1970: 1311868164_001. `0001_02` and
# `01_02_03` are none, as frames are so numbered.
_DATE = (
    r"(?<!\d)(?:(?:19|20)\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])"
    r"|(?:19|20)\d\d([-_.])\d\d?\1\d\d?|\d\d?([-_.])\d\d?\2(?:(?:19|20)?\d\d))"
)
_TIME = (
    r"(?:(?:[01]\d|2[0-3])[0-5]\d(?:[0-5]\d)?"
    r"|(?:[01]?\d|2[0-3])[-_.:h][0-5]?\d(?:[-_.:m][0-5]?\d)?)"
)
_TIME_ALONE = (
    r"(?<![0-9A-Za-z])(?:\d\d[-:h.][0-5]\d[-:m.][0-5]\d|\d\d?:[0-5]\d(?::[0-5]\d)?)"
    r"|(?<!\d)(?:\d+h[0-5]?\dm(?:[0-5]?\ds)?|\d+m[0-5]?\ds)"
)
_EPOCH = r"(?<!\d)[1-9]\d{8,}(?=[-_ ]\(?\d)"
_CLOCK = re.compile(rf"(?:{_DATE}[-_.T ]*{_TIME}|{_TIME_ALONE}|{_EPOCH})(?!\d)")
_YEAR_LAST = re.compile(r"(?<!\d)(\d\d?)([-_.])(\d\d?)\2((?:19|20)\d\d)(?!\d)")
_MONTHS = 12

# Behind a time that many times has the same few numbers: those of cameras, not of frames.
_MANY_TIMES = 10
_MANY_CAMERAS = 10

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

    Names of several numbers are one clip if the last goes on from each value of those before to
    the next one (`part1_001` ... `part1_100`, `part2_101`), or if they are times. Where it begins
    again (`cam1_001` ... `cam1_100`, `cam2_001`), or many times have the same few numbers, they
    are several series.

    Raises:
        VideoError: the names are of several series, or their numbers leave the order open; the
            folder is not named.
    """
    previews: list[_Name] = []
    parsed: list[_Name] = []
    for name in map(_parse, sorted(names)):
        is_preview = _COVER.fullmatch(name.stem) is not None
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
    keys = _keys(_year_first(parsed))
    ordered = sorted(zip(keys, parsed, strict=True), key=lambda pair: pair[0])
    for (key, one), (next_key, other) in pairwise(ordered):
        if key == next_key:
            raise VideoError(
                f"holds {one.name} and {other.name}, which have the same number; leave one out"
            )
    _require_one_run(ordered)
    return [name.name for _, name in ordered], left_out


def _require_one_run(ordered: Sequence[tuple[Key, _Name]]) -> None:
    """Refuse `cam1_1, cam1_2, cam2_1, cam2_2`: cameras one after the other, no clip of one."""
    changing = [len(set(column)) > 1 for column in zip(*(key for key, _ in ordered), strict=True)]
    if sum(changing) < 2 or _are_times(ordered):
        return
    last = len(changing) - 1 - changing[::-1].index(True)
    runs = [list(run) for _, run in groupby(ordered, key=lambda pair: pair[0][:last])]
    if all(len(run) == 1 for run in runs):
        return
    for run, following in pairwise(runs):
        if following[0][0][last:] <= run[-1][0][last:]:
            raise VideoError(
                f"holds {_first_and_last(run)}, then {_first_and_last(following)}: their last "
                "number begins again, so they are several series; put each into a separate "
                "folder, or give the frames of one clip one number"
            )


def _are_times(ordered: Sequence[tuple[Key, _Name]]) -> bool:
    """Whether each name has a time, they go on from time to time, and at most one number behind
    the times counts.

    Raises:
        VideoError: that number may be a camera's.
    """
    before = {_numbers_before_time(name.stem) for _, name in ordered}
    if None in before or len(before) > 1:
        return False
    [(start, stop)] = before  # type: ignore[misc]
    if not all(one[start:] < other[start:] for (one, _), (other, _) in pairwise(ordered)):
        return False
    behind = [key[stop:] for key, _ in ordered]
    if sum(len(set(column)) > 1 for column in zip(*behind, strict=True)) > 1:
        return False
    _require_one_camera(ordered, stop)
    return True


def _numbers_before_time(stem: str) -> tuple[int, int] | None:
    """How many of its numbers begin before its time, and before that ends; None: it has none."""
    time = _CLOCK.search(stem)
    if time is None:
        return None
    begins = [number.start() for number in _NUMBER.finditer(stem)]
    return sum(at < time.start() for at in begins), sum(at < time.end() for at in begins)


def _require_one_camera(ordered: Sequence[tuple[Key, _Name]], stop: int) -> None:
    """Refuse `T_1, T_2` under many times T: what each time has is not a frame more or less."""
    runs = [list(run) for _, run in groupby(ordered, key=lambda pair: pair[0][:stop])]
    whole = {tuple(key[stop:] for key, _ in run) for run in runs[1:-1]}
    if len(runs) < _MANY_TIMES or len(whole) > 1:
        return
    if 1 < len(runs[1]) < _MANY_CAMERAS:
        raise VideoError(
            f"holds {_first_and_last(runs[1])}, then {_first_and_last(runs[2])}, and the same "
            "numbers under each time, as of several cameras; put each into a separate folder, or "
            "give the frames of one clip one number"
        )


def _first_and_last(run: Sequence[tuple[Key, _Name]]) -> str:
    first, last = run[0][1].name, run[-1][1].name
    return first if len(run) == 1 else f"{first} ... {last}"


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


def _year_first(names: list[_Name]) -> list[_Name]:
    """The names with the numbers of `31-05-2024` in the order 2024, 05, 31.

    Raises:
        VideoError: the first may be the day or the month, on which the order depends.
    """
    dates = [date for name in names if (date := _YEAR_LAST.search(name.stem))]
    if len(dates) < len(names):
        return names
    first, second = ({int(date[place]) for date in dates} for place in (1, 3))
    is_month_first = max(second) > _MONTHS
    if not is_month_first and max(first) <= _MONTHS and len(first) > 1 and len(second) > 1:
        raise VideoError(
            f"has dates like {dates[0][0]}: is the day first, or the month? Write the year first, "
            f"as {dates[0][4]}-12-31"
        )
    order = r"\4\2\1\2\3" if is_month_first else r"\4\2\3\2\1"
    turned = (_YEAR_LAST.sub(order, name.stem, count=1) for name in names)
    return [
        replace(name, numbers=tuple(_NUMBER.findall(stem)))
        for name, stem in zip(names, turned, strict=True)
    ]


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
