"""Praat's TextGrid: intervals and points on tiers, in its long and its short form.

The format: https://www.fon.hum.uva.nl/praat/manual/TextGrid_file_formats.html. Only free-standing
numbers, texts in quotes and flags in <> count, in their order; words such as `xmin =` do not, nor
what stands behind an exclamation mark.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path

from actionrnn.datasets.annotations.marks import Mark, Marks, ReadOptions, without_reversed
from actionrnn.datasets.annotations.text import read_text
from actionrnn.errors import DatasetError
from actionrnn.text import plain

_HEAD = re.compile(r'\s*(File type\s*=\s*)?"ooTextFile"\s+(Object class\s*=\s*)?"TextGrid"')
_TOKEN = re.compile(
    r"""
      "(?P<text>(?:[^"]|"")*)"
    | ![^\n\r]*                                                     # a comment
    | (?P<flag><[^>\s]*>)
    | (?P<number>[-+]?[0-9]+(?:\.[0-9]*)?(?:[eE][-+]?[0-9]+)?)[^\s!]*   # 2.8s is 2.8
    | \S+                                                           # a word
    """,
    re.VERBOSE,
)


def is_textgrid(file: Path, text: str) -> bool:
    """Whether a text is a TextGrid of Praat."""
    return _HEAD.match(text) is not None


def read_textgrid(file: Path, options: ReadOptions = ReadOptions()) -> Marks:
    """The intervals and points of a TextGrid.

    Intervals without text are gaps, and no marks. The file names no video: it is taken to be the
    one with its own name.

    Raises:
        DatasetError: the file is damaged, or has no tier or label that was asked for.
    """
    text = read_text(file)
    head = _HEAD.match(text)
    if head is None:
        raise DatasetError(f"{file}: does not begin as a TextGrid; save it in Praat as text")
    values = _Values(file, text, head.end())
    values.number()
    values.number()
    marks: list[Mark] = []
    if values.flag() == "<exists>":
        for _ in range(values.count()):
            marks += _read_tier(file, values)
    kept, notes = without_reversed(marks)
    return Marks(file, "Praat TextGrid", kept, notes=notes).chosen(options)


def _read_tier(file: Path, values: _Values) -> Iterator[Mark]:
    kind, name = values.text(), values.text()
    if kind not in ("IntervalTier", "TextTier"):
        raise DatasetError(
            f"{file}: the tier {plain(name)!r} is a {plain(kind)!r}; save it in Praat as text, "
            "with tiers of intervals or points"
        )
    values.number()
    values.number()
    for _ in range(values.count()):
        start = values.number()
        end = values.number() if kind == "IntervalTier" else start
        label = values.text().strip()
        if label:
            yield Mark(label, start, end, video=file.stem, tier=name)


class _Values:
    """The values of a TextGrid, read one after the other."""

    def __init__(self, file: Path, text: str, start: int) -> None:
        self._file, self._text = file, text
        self._tokens = (token for token in _TOKEN.finditer(text, start) if token.lastgroup)

    def number(self) -> float:
        text = self._next("number")
        if not math.isfinite(float(text)):
            raise DatasetError(f"{self._file}: holds the number {plain(text)}; save it again")
        return float(text)

    def count(self) -> int:
        return int(self.number())  # a negative one is 0 to Praat, and to range

    def text(self) -> str:
        return self._next("text").replace('""', '"')

    def flag(self) -> str:
        return self._next("flag")

    def _next(self, kind: str) -> str:
        token = next(self._tokens, None)
        if token is None:
            raise DatasetError(
                f"{self._file}: ends where a {kind} is expected; is it whole? save it in Praat "
                "again"
            )
        if token.lastgroup != kind:
            line = self._text.count("\n", 0, token.start()) + 1
            raise DatasetError(
                f"{self._file}, line {line}: {plain(token[0])} where a {kind} is expected; save "
                "it in Praat again"
            )
        return token[kind]
