"""BORIS's projects (.boris): JSON that holds every observation, with its videos and their lengths.

The form is that of project format 7.0, which BORIS 7 to 9 write; a project does not say which
presses begin a state and which end it: they alternate.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from actionrnn.datasets.annotations.boris_events import (
    POINT,
    Bout,
    Coded,
    Observation,
    Press,
    pair,
)
from actionrnn.datasets.annotations.marks import Span
from actionrnn.errors import DatasetError
from actionrnn.text import plain

_FORMAT = "BORIS, project"


def is_boris_project(text: str) -> bool:
    """Whether a text looks like a project of BORIS; it may still be damaged."""
    return text.lstrip().startswith("{") and all(
        f'"{key}"' in text for key in ("behaviors_conf", "observations", "subjects_conf")
    )


def read_boris_project(file: Path, text: str) -> Coded:
    """Read the events of all observations; those on pictures are left out with a note.

    Raises:
        DatasetError: it is damaged, older than BORIS 4, or has observations on pictures alone.
    """
    try:
        project = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DatasetError(f"{file}: is not valid JSON ({error}); save it again") from None
    behaviours = _behaviours(file, project)
    presses: list[Press] = []
    notes: list[str] = []
    looked_at: list[tuple[Observation, Span]] = []
    unknown: list[str] = []
    observations = _part(file, project, "observations")
    for name, content in observations.items():
        if not isinstance(content, dict) or not isinstance(content.get("events"), list):
            raise DatasetError(f"{file}: observation {plain(name)!r} has no list of events")
        if content.get("type") == "IMAGES":
            continue
        observation, told = _observation(file, name, content)
        notes += told
        looked_at += _interval(observation, content)
        bouts = _bouts(file, observation, content)
        unknown += [bout.label for bout in bouts if bout.label not in behaviours]
        for bout in sorted(bouts, key=lambda bout: bout.start):
            if bout.label in behaviours:
                kind, tier = behaviours[bout.label]
                presses.append(Press(replace(bout, tier=tier), kind))
    paired, alone = pair(presses)
    notes += [*_left_out(file, observations, unknown), *alone]
    return Coded(_FORMAT, paired, notes, looked_at)


def _behaviours(file: Path, project: object) -> dict[str, tuple[str, str]]:
    """By its code: what a press of each behaviour is, and its category."""
    found = {}
    for one in _part(file, project, "behaviors_conf").values():
        is_state = _text(file, one, "type").startswith("State")
        tier = str(one.get("category") or "")
        found[_text(file, one, "code")] = "" if is_state else POINT, tier
    return found


def _left_out(
    file: Path, observations: Mapping[str, Mapping[str, Any]], unknown: Sequence[str]
) -> list[str]:
    """Notes of pictures, and of behaviours that are not defined."""
    pictures = sum(content.get("type") == "IMAGES" for content in observations.values())
    if pictures and pictures == len(observations):
        raise DatasetError(
            f"{file}: is coded on pictures, which have no clock; write path, start, end and label "
            "as CSV"
        )
    notes = []
    if pictures:
        notes.append(f"{pictures} observations are coded on pictures, without a clock: left out")
    if unknown:
        notes.append(
            f"{len(unknown)} events of {len({*unknown})} behaviours that the project does not "
            f"define are dropped (the first: {plain(unknown[0])!r})"
        )
    return notes


def _observation(
    file: Path, name: str, content: Mapping[str, Any]
) -> tuple[Observation, list[str]]:
    offset = _seconds(f"{file}, observation {plain(name)!r}", content.get("time offset") or 0)
    kind = content.get("type")
    if kind == "LIVE":
        return Observation(name, offset_seconds=offset), []
    players = content.get("file")
    are_lists = isinstance(players, dict) and all(isinstance(one, list) for one in players.values())
    if kind != "MEDIA" or not isinstance(players, dict) or not are_lists:
        raise DatasetError(
            f"{file}: observation {plain(name)!r} is of type {kind!r} with the media "
            f"{plain(str(players))}; open it in BORIS 7 or newer and save it"
        )
    playing = {player: tuple(map(str, names)) for player, names in players.items() if names}
    if not playing:
        raise DatasetError(f"{file}: observation {plain(name)!r} plays no media file")
    info = _dict(content.get("media_info"))
    first, *others = sorted(playing, key=lambda player: (len(player), player))
    files = playing[first]
    known = _dict(info.get("length"))
    lengths = tuple(
        _seconds(f"{file}, length of {one}", known[one]) if one in known else None for one in files
    )
    notes = []
    if others:
        offsets = _dict(info.get("offset"))
        shown = ", ".join(
            f"player #{player} {', '.join(playing[player])!r} (offset {offsets.get(player, 0)} s)"
            for player in others
        )
        notes.append(
            f"observation {plain(name)!r} also plays {shown}; the marks are on the clock of "
            f"player #{first}"
        )
    if content.get("media_creation_date_as_offset"):
        offset += _creation(file, name, info, files)
    return Observation(name, files, lengths, offset), notes


def _creation(file: Path, name: str, info: Mapping[str, Any], files: tuple[str, ...]) -> float:
    """The date of the one media file, in seconds, which BORIS has added to every time."""
    dates = _dict(info.get("media_creation_time"))
    if len(files) != 1 or len(dates) != 1:
        raise DatasetError(
            f"{file}: observation {plain(name)!r} counts time from the creation of each of "
            f"{len(files)} media files, of which {len(dates)} dates are known; code one file an "
            "observation, or write path, start, end and label as CSV"
        )
    return _seconds(f"{file}, creation of {files[0]}", next(iter(dates.values())))


def _interval(
    observation: Observation, content: Mapping[str, Any]
) -> list[tuple[Observation, Span]]:
    """Where the observation was to be coded; BORIS writes 0 to 0 for everywhere."""
    match content.get("observation time interval"):
        case [int() | float() as begin, int() | float() as end] if begin < end < math.inf:
            offset = observation.offset_seconds  # the interval is on the clock without it
            return [(observation, (begin + offset, end + offset))]
    return []


def _bouts(file: Path, observation: Observation, content: Mapping[str, Any]) -> list[Bout]:
    """The presses: [time, subject, behaviour, modifiers, comment], in newer versions the frame."""
    variables = _dict(content.get("independent_variables"))
    known = {str(name): str(value) for name, value in variables.items()}
    bouts = []
    for number, event in enumerate(content["events"], start=1):
        where = f"observation {plain(observation.name)!r}, event {number}"
        match event:
            case [time, str(subject), str(label), str(modifiers), str(comment), *_] if label:
                seconds = _seconds(f"{file}, {where}", time)
            case _:
                raise DatasetError(
                    f"{file}, {where}: {plain(str(event))} is not [time, subject, behaviour, "
                    "modifiers, comment]"
                )
        sets = "|".join(one.strip() for one in modifiers.split("|"))
        extra = {**known, "modifiers": sets, "comment": comment}
        extra = {key: value for key, value in extra.items() if value}
        bouts.append(Bout(observation, label, seconds, seconds, False, subject, "", extra, where))
    return bouts


def _dict(value: object) -> dict[str, Any]:
    """What is missing in old projects, or null, is empty."""
    return value if isinstance(value, dict) else {}


def _part(file: Path, project: object, key: str) -> dict[str, Any]:
    part = project.get(key) if isinstance(project, dict) else None
    if not isinstance(part, dict):
        raise DatasetError(f"{file}: has no {key!r}; is it a project of BORIS?")
    return part


def _text(file: Path, behaviour: object, key: str) -> str:
    value = behaviour.get(key) if isinstance(behaviour, dict) else None
    if not isinstance(value, str):
        raise DatasetError(f"{file}: a behaviour has the {key} {plain(str(value))}, not a text")
    return value


def _seconds(place: str, value: object) -> float:
    try:
        if isinstance(value, (int, float, str)) and math.isfinite(float(value)):
            return float(value)
    except ValueError:
        pass
    raise DatasetError(f"{place}: {plain(str(value))!r} is no number of seconds")
