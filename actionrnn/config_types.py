"""What a value in a configuration may be: a number within bounds, a path."""

from __future__ import annotations

import difflib
import functools
import json
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, ValidationError

from actionrnn.errors import ConfigError
from actionrnn.files import at_home
from actionrnn.text import readable

_T = TypeVar("_T")

STRICT_KEYS = ConfigDict(extra="forbid", coerce_numbers_to_str=True)

LONGEST_SHOWN = 200
"""Characters of a value in a message."""

PositiveInt = Annotated[int, Field(ge=1, le=2**20, strict=True)]
Count = Annotated[int, Field(ge=0, lt=2**31, strict=True)]


def _no_bool(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError(f"must be a number, not {str(value).lower()}")
    return value


Number = Annotated[float, BeforeValidator(_no_bool)]
PositiveFloat = Annotated[Number, Field(gt=0, allow_inf_nan=False)]
NonNegativeFloat = Annotated[Number, Field(ge=0, allow_inf_nan=False)]
FiniteFloat = Annotated[Number, Field(allow_inf_nan=False)]
HomePath = Annotated[str, AfterValidator(at_home)]
"""A path as text; `~` is the home folder."""
Name = Annotated[str, AfterValidator(readable)]
"""Of a group, spelled as the data set's are."""
Probability = Annotated[Number, Field(ge=0, lt=1)]
Part = Annotated[Number, Field(gt=0, le=1)]


def first_problem(error: ValidationError) -> str:
    """The first thing that is wrong, in one line with its value."""
    problem = error.errors()[0]
    steps = [str(step) for step in problem["loc"] if isinstance(step, str)]
    name = ".".join(steps[:2])
    text = problem["msg"].removeprefix("Value error, ")
    text = text[:1].lower() + text[1:]
    if isinstance(problem["input"], Mapping) or problem["type"] == "value_error":
        return f"{name}: {text}"
    value = json.dumps(problem["input"], default=str)
    shown = value if len(value) <= LONGEST_SHOWN else value[:LONGEST_SHOWN] + "..."
    return f"{name} ({shown}): {text}"


def with_own_errors(kind: type[_T]) -> type[_T]:
    """Make the constructor raise ConfigError."""
    validate = kind.__init__

    @functools.wraps(validate)
    def init(self: _T, *values: Any, **fields: Any) -> None:
        try:
            validate(self, *values, **fields)
        except ValidationError as error:
            problem = f"{kind.__name__}.{first_problem(error)}".replace(".: ", ": ", 1)
            raise ConfigError(problem) from None

    kind.__init__ = init  # type: ignore[assignment, method-assign]
    return kind


def nearest(name: str, known: Iterable[str], prefix: str = "") -> str:
    """The known name that may have been meant, or all of them."""
    close = difflib.get_close_matches(str(name), list(known), n=1, cutoff=0.5)
    if close:
        return f"did you mean '{prefix}{close[0]}'?"
    return f"known are {', '.join(prefix + key for key in sorted(known))}"
