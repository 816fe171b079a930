"""How many frames a second Label Studio counted: given, in the set-up, or told by key frames."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from actionrnn.datasets.annotations.clock import FrameClock
from actionrnn.datasets.annotations.json_values import is_positive, shown
from actionrnn.datasets.annotations.label_studio_tasks import Answer
from actionrnn.datasets.annotations.marks import ReadOptions
from actionrnn.errors import DatasetError

_SAME_RATE = 1e-3  # relative: 29.97 stands for 30000 / 1001
_SAME_KEYS = 1e-6  # relative: key frames hold the rate to the last digits


class Rates:
    """Frames a second of each answer, as the user or the file says; never as the video has it."""

    def __init__(self, file: Path, options: ReadOptions) -> None:
        self._file, self._options = file, options
        self._clocks: dict[int, FrameClock] = {}
        self.notes: list[str] = []
        """What was assumed."""

    def clock(self, answer: Answer) -> FrameClock:
        """The times of the frames of an answer.

        Raises:
            DatasetError: nobody says the rate, the file says several, or what is given is none.
        """
        if id(answer) not in self._clocks:
            options = replace(self._options, rate_fps=self._rate(answer))
            self._clocks[id(answer)] = FrameClock(self._file, options)
        return self._clocks[id(answer)]

    def _rate(self, answer: Answer) -> float:
        told, given = _told_rates(answer), self._options.rate_fps
        names = " and ".join(dict.fromkeys(f"{rate:g}" for rate in told))
        if given is not None:
            if any(abs(rate / given - 1) > _SAME_RATE for rate in told):
                self._note(
                    f"frames are counted at {given:g} a second as given; the file says {names}"
                )
            return given
        if not told:
            hint = (
                f" (a task says fps = {shown(answer.data['fps'])})" if "fps" in answer.data else ""
            )
            raise DatasetError(
                f"{self._file}: counts frames at the frameRate of the <Video> tag in the set-up of "
                "Label Studio, and does not hold it: 24 unless somebody changed it, whatever the "
                f"video has; say it by rate_fps{hint}"
            )
        if max(told) / min(told) - 1 > _SAME_RATE:
            raise DatasetError(f"{self._file}: says {names} frames a second; choose by rate_fps")
        self._note(f"frames are counted at {told[0]:g} a second, as the file says")
        return told[0]

    def _note(self, note: str) -> None:
        if note not in self.notes:
            self.notes.append(note)


def _told_rates(answer: Answer) -> list[float]:
    """By the set-up, and by the key frames of rectangles, where these agree among themselves."""
    texts = [tag.rate for tag in answer.tags.values()]
    values = [answer.data.get(t.removeprefix("$")) if t.startswith("$") else t for t in texts]
    rates = []
    for value in values:
        try:
            rate = float(str(value))
        except ValueError:
            continue
        if 0 < rate < math.inf:
            rates.append(rate if rate >= 1 else 1 / rate)  # below 1: seconds a frame
    for region in answer.regions:
        value = region.get("value")
        keys = value.get("sequence") if isinstance(value, dict) else None
        rates += _rate_of_keys(keys if isinstance(keys, list) else [])
    return rates


def _rate_of_keys(keys: Sequence[Any]) -> list[float]:
    """Label Studio writes time = frame / frameRate into each key frame."""
    found = [
        key["frame"] / key["time"]
        for key in keys
        if isinstance(key, dict) and all(is_positive(key.get(name)) for name in ("frame", "time"))
    ]
    if len(found) < 2 or max(found) / min(found) - 1 > _SAME_KEYS:
        return []
    return [found[-1]]
