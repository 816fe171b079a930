"""What a configuration may hold: bounded numbers, paths, and YAML from other people's files.

YAML is read without tags, without aliases (which can expand without limit) and without deep
nesting. The field decides what a value is: `017`, `on`, `12:30` and `2024-01-01` are text in a
text field, although YAML 1.1 reads them otherwise. Names of version 0.1 are turned into today's.
"""

from __future__ import annotations

import difflib
import functools
import json
import re
from collections.abc import Iterable, Mapping
from types import NoneType
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

import yaml
from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, ValidationError

from actionrnn.errors import ConfigError
from actionrnn.files import as_written
from actionrnn.text import plain, readable

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
HomePath = Annotated[str, AfterValidator(as_written)]
"""A path as text; `~` is the home folder."""
Name = Annotated[str, AfterValidator(readable)]
"""Of a group, spelled as the data set's are."""


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Names = Annotated[tuple[Name, ...], BeforeValidator(_as_list)]
"""One name, or a list of names."""
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
    """A class decorator: the constructor raises ConfigError instead of pydantic's error."""
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
    """A hint for a message: the known name that may have been meant, or all of them."""
    close = difflib.get_close_matches(str(name), list(known), n=1, cutoff=0.5)
    if close:
        return f"did you mean '{prefix}{close[0]}'?"
    return f"known are {', '.join(prefix + key for key in sorted(known))}"


OLD_PREPROCESSING = {
    "fit": ("resize_mode", {"crop": "shortest"}),
    "streams": ("modality", {"appearance": "rgb", "motion": "rgb_diff"}),
}
"""What version 0.1 called fields and values, in configurations, models and stored features."""
_OLD_FORMS: dict[str, dict[str, tuple[str, dict[str, str]]]] = {
    "backbone": {**OLD_PREPROCESSING, "runtime": ("runtime", {"compile": "torch"})},
    "head": {
        "summary": ("temporal_pooling", {}),
        "summary_decay": ("pooling_decay", {}),
        "l2_normalise": ("input_scaling", {"true": "l2", "false": "none"}),
    },
}


def with_new_names(
    section: str, values: Mapping[Any, Any], source: str, renamed: list[str]
) -> dict[Any, Any]:
    """A section under today's names; refused if it gives one setting under both of its names."""
    found: dict[Any, Any] = {}
    for key, value in values.items():
        new, new_value = renamed_field(section, key, value, renamed)
        if new in found:
            raise ConfigError(
                f"{source}: {section}.{new} is given twice, once by a name of version 0.1; "
                "keep one of them"
            )
        found[new] = new_value
    return found


def renamed_field(section: str, key: Any, value: Any, renamed: list[str]) -> tuple[Any, Any]:
    """Today's key and value for those of version 0.1; `renamed` gets a line for each change."""
    new, values = _OLD_FORMS.get(section, {}).get(key, (key, {}))
    found = values.get(str(meaning(value)).lower(), value)
    if (new, found) != (key, value):
        before, after = plain(str(meaning(value))), plain(str(meaning(found)))
        renamed.append(f"{section}.{key}={before} is now {section}.{new}={after}")
    return new, found


DEEPEST = 20
"""Levels of mappings and lists; a configuration has two."""
_NULLS = ("", "~", "null", "Null", "NULL")


class Scalar(str):
    """A value as it is written, without quotes around it; `of_kind` says what it is."""


class _TextLoader(yaml.SafeLoader):
    """Leaves every value as it is written."""

    def construct_yaml_str(self, node: yaml.ScalarNode) -> str:
        return str(node.value) if node.style else Scalar(node.value)


_TextLoader.yaml_implicit_resolvers = {}
_TextLoader.add_constructor("tag:yaml.org,2002:str", _TextLoader.construct_yaml_str)


def load_plain_yaml(text: str) -> Any:
    """The content of a YAML text, its values as they are written (`Scalar`).

    Raises:
        yaml.YAMLError: it is not YAML, has tags or aliases, or is nested too deeply.
    """
    return _load(text, _TextLoader)


_BASED = re.compile(r"[+-]?(?:0[xob].*|[0-9_]*:[0-9_:.]*|[0-9]*_[0-9_.]*)", re.IGNORECASE)
"""YAML's numbers in another base, in sixties or with `_`; in a configuration they are text."""


def of_kind(value: Any, kind: Any) -> Any:
    """What a value of `load_plain_yaml` is in a field of this type.

    >>> of_kind(Scalar("017"), str), of_kind(Scalar("null"), str | None), of_kind(Scalar("1"), int)
    ('017', None, 1)
    """
    if not isinstance(value, Scalar):
        return value
    kinds = set(get_args(kind) or (kind,))
    if NoneType in kinds and value in _NULLS:
        return None
    if get_origin(kind) is not Literal and str not in kinds:
        number = re.fullmatch(r"[+-]?[0-9]{1,18}", value)  # YAML 1.1 reads 010 as 8, and 1:30 as 90
        return int(value) if number else str(value) if _BASED.fullmatch(value) else meaning(value)
    is_number = int in kinds and re.fullmatch(r"[1-9][0-9]{0,17}", value)
    return int(value) if is_number else str(value)


def meaning(value: Any) -> Any:
    """What YAML itself reads a value of `load_plain_yaml` as."""
    if not isinstance(value, Scalar):
        return value
    try:
        found = _load(value, yaml.SafeLoader)
    except yaml.YAMLError:
        return str(value)
    return str(value) if isinstance(found, dict) else found


def _load(text: str, loader: type[yaml.SafeLoader]) -> Any:
    _require_plain(text)
    try:
        return yaml.load(text, loader)
    except ValueError as error:  # a number of thousands of digits, a 31st of June
        raise yaml.YAMLError(str(error)) from None


def _require_plain(text: str) -> None:
    depth = 0
    for event in yaml.parse(text, yaml.SafeLoader):
        if isinstance(event, yaml.AliasEvent):
            raise yaml.YAMLError("aliases (*name) are not read; write the value out")
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            raise yaml.YAMLError(f"nested more than {DEEPEST} levels deep")
