"""The operations that change the marks of a video, checked as they come from outside."""

from __future__ import annotations

import math
import re
import secrets
from collections.abc import Mapping
from typing import Any

from actionrnn.datasets.recordings import BACKGROUND
from actionrnn.errors import ProjectError
from actionrnn.text import is_harmless, plain, readable

Op = Mapping[str, Any]
"""One operation: `{"op": "add", "label": "run", "start": 1.0, "end": 2.5}`."""
LONGEST_LABEL = 80
"""Also of a group's name."""
LONGEST_NOTE = 2000

_ID = re.compile("[a-z0-9]{4,32}")
_FIELDS: dict[str, tuple[frozenset[str], frozenset[str]]] = {
    "add": (frozenset({"label", "start", "end"}), frozenset({"id", "note"})),
    "edit": (frozenset({"id"}), frozenset({"label", "start", "end", "note"})),
    "remove": (frozenset({"id"}), frozenset()),
    "look": (frozenset({"start", "end"}), frozenset()),
    "unlook": (frozenset({"start", "end"}), frozenset()),
    "refuse": (frozenset({"label", "start", "end"}), frozenset()),
}
"""The fields that each operation must have, and may have."""


class ConflictError(ProjectError):
    """A change that does not fit what others changed meanwhile, or another mark."""


def checked_label(label: object) -> str:
    """A label's name in its normal spelling.

    Raises:
        ProjectError: it is empty, too long, has control characters, or is `background`.
    """
    if not isinstance(label, str) or not (name := readable(label).strip()):
        raise ProjectError(f"label {label!r}: must be a name")
    if len(name) > LONGEST_LABEL:
        raise ProjectError(f"label {plain(name)!r}: is longer than {LONGEST_LABEL} characters")
    if not is_harmless(name):
        raise ProjectError(f"label {name!r}: holds control characters; write it without")
    if name == BACKGROUND:
        raise ProjectError(
            f"label {BACKGROUND!r}: is what is looked at and not marked; choose another name"
        )
    return name


def checked_group(group: str | None) -> str:
    """A group's name in its normal spelling; empty: none.

    Raises:
        ProjectError: it is too long, or has control characters.
    """
    name = readable(group or "").strip()
    if not is_harmless(name) or len(name) > LONGEST_LABEL:
        raise ProjectError(
            f"group {plain(name)!r}: must be at most {LONGEST_LABEL} usual characters"
        )
    return name


def new_id() -> str:
    """An id for a mark."""
    return secrets.token_hex(6)


def checked_ops(ops: object) -> list[dict[str, Any]]:
    """Operations from outside in the form of the log; marks that are added get an id.

    Raises:
        ProjectError: an operation is not known, or a field of it missing, unknown or not valid.
    """
    if not isinstance(ops, list | tuple) or not ops:
        raise ProjectError(f"ops {ops!r}: must be a list of operations")
    return [_checked_op(op) for op in ops]


def _checked_op(op: object) -> dict[str, Any]:
    kind = op.get("op") if isinstance(op, Mapping) else None
    if not isinstance(op, Mapping) or not isinstance(kind, str) or kind not in _FIELDS:
        raise ProjectError(f"operation {op!r}: its `op` must be one of {', '.join(_FIELDS)}")
    needed, possible = _FIELDS[kind]
    if missing := sorted(needed - op.keys()):
        raise ProjectError(f"{kind}: has no {missing[0]}")
    if unknown := sorted(map(str, op.keys() - needed - possible - {"op"})):
        raise ProjectError(f"{kind}: {unknown[0]!r} is not known here")
    found: dict[str, Any] = {"op": kind}
    if kind == "add":
        found["id"] = op["id"] if "id" in op else new_id()
    elif "id" in op:
        found["id"] = op["id"]
    if "id" in found and not (isinstance(found["id"], str) and _ID.fullmatch(found["id"])):
        raise ProjectError(f"{kind}: id {found['id']!r} must be 4 to 32 of a-z and 0-9")
    if "label" in op:
        found["label"] = checked_label(op["label"])
    found |= {name: _seconds(op[name], name) for name in ("start", "end") if name in op}
    if {"start", "end"} <= found.keys():
        require_length(found["start"], found["end"])
    if "note" in op:
        found["note"] = _checked_note(op["note"])
    return found


def _seconds(value: object, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not _is_finite(value):
        raise ProjectError(f"{name} {value!r}: must be a number of seconds")
    return float(value) + 0.0  # never -0.0


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer of hundreds of digits
        return False


def require_length(start: float, end: float) -> None:
    """Refuse an interval that ends where it begins, or before.

    Raises:
        ProjectError: it does.
    """
    if not start < end:
        raise ProjectError(f"start ({start:g}) must be before end ({end:g})")


def _checked_note(note: object) -> str:
    if not isinstance(note, str) or len(note) > LONGEST_NOTE:
        raise ProjectError(f"note: must be text of at most {LONGEST_NOTE} characters")
    text = readable(note).replace("\r\n", "\n").replace("\r", "\n").strip()
    return "".join(c for c in text if c == "\n" or is_harmless(c))
