"""What a number in a configuration may be: no bool, no text, within bounds."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, ConfigDict, Field, ValidationError

STRICT_KEYS = ConfigDict(extra="forbid", coerce_numbers_to_str=True)

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
    return f"{name} ({json.dumps(problem['input'], default=str)}): {text}"
