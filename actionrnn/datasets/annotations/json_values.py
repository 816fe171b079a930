"""Values out of a JSON file of annotations, each checked for its type."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from actionrnn.errors import DatasetError, first_line
from actionrnn.files import read_json
from actionrnn.text import plain


def load_json(file: Path) -> Any:
    """The content of a JSON file.

    Raises:
        DatasetError: it cannot be read, or is not JSON: cut off, or of another encoding.
    """
    try:
        return read_json(file)
    except OSError as error:
        raise DatasetError(f"{file}: cannot be read ({error.strerror})") from None
    except ValueError as error:
        reason = first_line(error)
        raise DatasetError(f"{file}: is not JSON ({reason}); is it cut off?") from None


def number(value: object, where: str) -> float:
    """A finite number; `where` begins the message of the DatasetError otherwise."""
    found = _finite(value)
    if found is None:
        raise DatasetError(f"{where} is {shown(value)}; it must be a number")
    return found


def whole_number(value: object, where: str) -> int:
    """A whole number; `where` begins the message of the DatasetError otherwise."""
    found = number(value, where)
    if found != int(found):
        raise DatasetError(f"{where} is {shown(value)}; it must be a whole number")
    return int(found)


def text(value: object, where: str) -> str:
    """A text that is not empty; `where` begins the message of the DatasetError otherwise."""
    if not isinstance(value, str) or not value:
        raise DatasetError(f"{where} is {shown(value)}; it must be a text")
    return value


def sequence(value: object, where: str) -> Sequence[Any]:
    """A list; `where` begins the message of the DatasetError otherwise."""
    if not isinstance(value, list):
        raise DatasetError(f"{where} is {shown(value)}; it must be a list")
    return value


def mapping(value: object, where: str) -> Mapping[str, Any]:
    """An object; `where` begins the message of the DatasetError otherwise."""
    if not isinstance(value, dict):
        raise DatasetError(f"{where} is {shown(value)}; it must be an object")
    return value


def is_positive(value: object) -> bool:
    """Whether it is a finite number above 0."""
    found = _finite(value)
    return found is not None and found > 0


def shown(value: object) -> str:
    """A value as one short line of a message."""
    return plain(repr(value))


def _finite(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        found = float(value)
    except OverflowError:  # JSON's whole numbers have no limit
        return None
    return found if math.isfinite(found) else None
