"""Writes marks for BORIS: as a project, which BORIS opens, or as the table that it exports.

BORIS imports observations from projects alone; of tables it takes presses that are pasted into an
open observation (import_observations.py of BORIS 9.15). So a project (.boris) is what a person
corrects in BORIS, a table (.csv, .tsv) what scripts that read BORIS's exports take.
"""

from __future__ import annotations

import csv
import datetime
import io
import json
import string
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from actionrnn.datasets.annotations.boris_rows import (
    LIVE,
    NO_CATEGORY,
    NO_SUBJECT,
    NOT_AVAILABLE,
)
from actionrnn.datasets.annotations.marks import Mark, Marks, without_reversed
from actionrnn.errors import DatasetError
from actionrnn.files import write_text
from actionrnn.text import plain

_DELIMITERS = {".csv": ",", ".tsv": "\t"}
_OWN = ("observation", "modifiers", "comment", "comment stop")
"""What a mark has besides independent variables."""
SCORE = "score"
"""Of a prediction: no variable of the observation, for which BORIS has a place."""
_KEYS = string.ascii_lowercase + string.digits
_PROJECT_FORMAT = "7.0"


@dataclass(frozen=True)
class _Timed:
    """A mark that BORIS can hold: its times in whole milliseconds."""

    mark: Mark
    start: int
    end: int

    @property
    def observation(self) -> str:
        name = self.mark.video.replace("\\", "/").rsplit("/", 1)[-1]
        return self.mark.extra.get("observation") or name.rpartition(".")[0] or name or LIVE

    @property
    def variables(self) -> dict[str, str]:
        kept_out = (*_OWN, SCORE)
        return {name: value for name, value in self.mark.extra.items() if name not in kept_out}


def write_boris(marks: Marks, file: Path) -> tuple[str, ...]:
    """Write a project (.boris) or BORIS's aggregated events (.csv, .tsv), in milliseconds.

    Each video of an observation is an observation of its own. A bound that is the video's own is
    0, or the video's length. An interval shorter than half a millisecond becomes one millisecond.
    `read_boris` gives the same marks back to a millisecond (a gap of just 1 ms between two states
    is one that it closes), with the name of the observation in `extra`.

    A project holds one kind and one category for each behaviour, and independent variables for
    each observation; presses alternate, so that states of the same subject, behaviour and
    modifiers must not overlap. The table holds all of that.

    Returns:
        what could not be written, one line each.

    Raises:
        DatasetError: another ending, the end of a video of unknown length, or, in a project, a
            behaviour that is both state and point, or states that overlap themselves.
        OSError: the file cannot be written.
    """
    suffix = file.suffix.lower()
    if suffix != ".boris" and suffix not in _DELIMITERS:
        raise DatasetError(f"{file}: name it .boris (a project), .csv or .tsv (a table)")
    timed, notes = _timed(marks, file)
    if marks.looked_at and suffix != ".boris":
        notes.append("where somebody looked is not written; a project (.boris) holds an interval")
    if suffix == ".boris":
        project, told = _project(marks, timed, file)
        text = json.dumps(project, ensure_ascii=False, indent=1)
        notes += told
    else:
        text = _table(marks, timed, _DELIMITERS[suffix])
    write_text(file, text)
    if scores := sum(SCORE in one.mark.extra for one in timed):
        notes.append(f"not written: the scores of {scores} marks")
    return tuple(notes)


def _timed(marks: Marks, file: Path) -> tuple[list[_Timed], list[str]]:
    """The marks with a label, in milliseconds, and notes of what is left out or changed."""
    forward, told = without_reversed(marks.marks)
    named = [mark for mark in forward if mark.label.strip()]
    notes = [*told]
    if len(named) < len(forward):
        notes.append(f"{len(forward) - len(named)} marks have no label and are left out")
    timed = []
    widened = 0
    for mark in named:
        start, end = mark.start_seconds, mark.end_seconds
        end = marks.duration_seconds.get(mark.video) if end is None else end
        if end is None:
            raise DatasetError(
                f"{file}: {plain(mark.label)} lasts to the end of {mark.video!r}, and nothing says "
                "when that is; write its end into the annotations"
            )
        first, last = round(1000 * (start or 0.0)), round(1000 * end)
        if first == last and not mark.is_point:
            last, widened = first + 1, widened + 1
        timed.append(_Timed(mark, first, last))
    if widened:
        notes.append(f"{widened} marks are shorter than a millisecond and last one")
    return timed, notes


def _table(marks: Marks, timed: Sequence[_Timed], delimiter: str) -> str:
    """The columns of BORIS 9's aggregated events."""
    variables = [*dict.fromkeys(name for one in timed for name in one.variables)]
    width = max((_modifiers(one.mark).count("|") + 1 for one in timed), default=0)
    numbers = range(1, width + 1)
    out = io.StringIO()
    writer = csv.writer(out, delimiter=delimiter, lineterminator="\r\n")
    writer.writerow(
        [
            *("Observation id", "Observation date", "Description", "Observation type", "Source"),
            *("Time offset (s)", "Coding duration", "Media duration (s)", "FPS (frame/s)"),
            *variables,
            *("Subject", "Observation duration by subject by observation", "Behavior"),
            *("Behavioral category", *(f"Modifier #{number}" for number in numbers)),
            *("Behavior type", "Start (s)", "Stop (s)", "Duration (s)", "Media file name"),
            *("Image index start", "Image index stop", "Image file path start"),
            *("Image file path stop", "Comment start", "Comment stop"),
        ]
    )
    for one in timed:
        mark = one.mark
        duration = marks.duration_seconds.get(mark.video)
        modifiers = _modifiers(mark).split("|")
        kind, lasts = ("POINT", NOT_AVAILABLE) if mark.is_point else ("STATE", None)
        writer.writerow(
            [
                *(one.observation, "", "", "Media file" if mark.video else LIVE),
                f"player #1:{mark.video}" if mark.video else NOT_AVAILABLE,
                *("0.0", NOT_AVAILABLE),
                *(NOT_AVAILABLE if duration is None else f"{duration:.3f}", NOT_AVAILABLE),
                *(one.variables.get(name, "") for name in variables),
                *(mark.subject or NO_SUBJECT, NOT_AVAILABLE),
                *(mark.label, mark.tier or NO_CATEGORY),
                *([*modifiers, *[""] * width][:width]),
                *(kind, _seconds(one.start), _seconds(one.end)),
                lasts or _seconds(one.end - one.start),
                *(mark.video or NOT_AVAILABLE, NOT_AVAILABLE, NOT_AVAILABLE, "", ""),
                *(mark.extra.get("comment", ""), mark.extra.get("comment stop", "")),
            ]
        )
    return out.getvalue()


def _project(marks: Marks, timed: Sequence[_Timed], file: Path) -> tuple[dict[str, Any], list[str]]:
    behaviours, notes = _behaviours(timed, file)
    by_place: dict[tuple[str, str], list[_Timed]] = {}
    for one in timed:
        by_place.setdefault((one.observation, one.mark.video), []).append(one)
    for video in marks.looked_at:
        if all(video != known for _, known in by_place):
            by_place[_Timed(Mark("", 0, 0, video), 0, 0).observation, video] = []
    now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S")
    observations: dict[str, Any] = {}
    for (name, video), of_place in by_place.items():
        unique = name
        while unique in observations:  # BORIS's names are unique
            unique = f"{name} ({len(observations)})"
        _require_alternating(of_place, file)
        content, told = _observation(marks, unique, video, of_place)
        observations[unique] = {"date": now, **content}
        notes += told
    subjects = dict.fromkeys(one.mark.subject for one in timed if one.mark.subject)
    variables = dict.fromkeys(name for one in timed for name in one.variables)
    return {
        "time_format": "hh:mm:ss",
        "project_date": now,
        "project_name": file.stem,
        "project_description": "",
        "project_format_version": _PROJECT_FORMAT,
        "subjects_conf": {
            str(index): {"key": "", "name": name, "description": ""}
            for index, name in enumerate(subjects)
        },
        "behaviors_conf": {str(index): one for index, one in enumerate(behaviours)},
        "observations": observations,
        "behavioral_categories": [
            *dict.fromkeys(one["category"] for one in behaviours if one["category"])
        ],
        "independent_variables": {
            str(index): {
                "label": name,
                "description": "",
                "type": "text",
                "default value": "",
                "possible values": "",
            }
            for index, name in enumerate(variables)
        },
        "coding_map": {},
        "behaviors_coding_map": [],
        "converters": {},
    }, notes


def _behaviours(timed: Sequence[_Timed], file: Path) -> tuple[list[dict[str, Any]], list[str]]:
    """What each label is in BORIS's ethogram, with a key to press for the first 36."""
    kinds: dict[str, bool] = {}
    tiers: dict[str, dict[str, None]] = {}
    for one in timed:
        mark = one.mark
        if kinds.setdefault(mark.label, mark.is_point) != mark.is_point:
            raise DatasetError(
                f"{file}: {plain(mark.label)} has a length in one mark and none in another, and a "
                "behaviour in BORIS is a state or a point; write .csv or .tsv"
            )
        tiers.setdefault(mark.label, {})[mark.tier] = None
    several = [label for label, of_label in tiers.items() if len(of_label) > 1]
    notes = []
    if several:
        notes.append(
            f"{len(several)} labels are in several tiers, and a behaviour in BORIS has one "
            f"category: the first is taken (the first label: {plain(several[0])})"
        )
    return [
        {
            "type": "Point event" if is_point else "State event",
            "key": _KEYS[index : index + 1],
            "code": label,
            "description": "",
            "color": "",
            "category": next(iter(tiers[label])),
            "modifiers": {},
            "excluded": "",
            "coding map": "",
        }
        for index, (label, is_point) in enumerate(kinds.items())
    ], notes


def _require_alternating(timed: Sequence[_Timed], file: Path) -> None:
    """Refuse states whose presses would be paired otherwise than they are."""
    by_key: dict[tuple[str, str, str], list[_Timed]] = {}
    for one in timed:
        if not one.mark.is_point:
            key = one.mark.subject, one.mark.label, _modifiers(one.mark)
            by_key.setdefault(key, []).append(one)
    for of_key in by_key.values():
        for one, other in pairwise(sorted(of_key, key=lambda one: (one.start, one.end))):
            if one.end > other.start:
                raise DatasetError(
                    f"{file}: {plain(one.mark.label)} at {_seconds(one.start)} and at "
                    f"{_seconds(other.start)} s in {one.mark.video!r} overlap, which a project of "
                    "BORIS cannot hold; write .csv or .tsv"
                )


def _observation(
    marks: Marks, name: str, video: str, timed: Sequence[_Timed]
) -> tuple[dict[str, Any], list[str]]:
    variables = timed[0].variables if timed else {}
    notes = []
    if any(one.variables != variables for one in timed):
        notes.append(
            f"observation {plain(name)!r}: columns differ between marks, and a project has them "
            "once for an observation: those of its first mark are taken"
        )
    presses = sorted(press for one in timed for press in _presses(one))
    length = marks.duration_seconds.get(video)
    spans = marks.looked_at.get(video, ())
    if len(spans) > 1:
        notes.append(f"{video}: somebody looked at {len(spans)} parts; BORIS has none or one")
    return {
        "file": {"1": [video]} if video else {},
        "type": "MEDIA" if video else "LIVE",
        "description": "",
        "time offset": 0.0,
        "events": [[time / 1000, *rest] for time, _, *rest in presses],
        "observation time interval": list(spans[0]) if len(spans) == 1 else [0, 0],
        "independent_variables": variables,
        "visualize_spectrogram": False,
        "visualize_waveform": False,
        "close_behaviors_between_videos": False,
        "scan_sampling_time": 0,
        "media_info": {
            "length": {} if length is None else {video: length},
            "fps": {},
            "hasVideo": {},  # BORIS looks for what is missing when it opens the observation
            "hasAudio": {},
            "offset": {"1": 0.0} if video else {},
        },
    }, notes


def _presses(one: _Timed) -> list[tuple[int, int, str, str, str, str]]:
    """(ms, order, subject, behaviour, modifiers, comment); a STOP comes before the next START."""
    mark = one.mark
    fixed = mark.subject, mark.label, _modifiers(mark)
    begin = (one.start, 1, *fixed, mark.extra.get("comment", ""))
    if mark.is_point:
        return [begin]
    return [begin, (one.end, 0, *fixed, mark.extra.get("comment stop", ""))]


def _modifiers(mark: Mark) -> str:
    return mark.extra.get("modifiers", "")


def _seconds(milliseconds: int) -> str:
    return f"{milliseconds / 1000:.3f}"
