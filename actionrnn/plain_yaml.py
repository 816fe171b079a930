"""YAML from strangers: no tags, no aliases, whose expansion has no bounds, no deep nesting.

What a value is depends on its field: `017`, `on`, `12:30` and `2024-01-01` are text where the
field is one, whatever YAML 1.1 makes of them.
"""

from __future__ import annotations

import re
from types import NoneType
from typing import Any, Literal, get_args, get_origin

import yaml

DEEPEST = 20
"""Mappings and lists in each other; a configuration has two."""
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
    """The content of a YAML text that says everything once, its values as they are written.

    Raises:
        yaml.YAMLError: it is no YAML, has tags or aliases, or is nested too deeply.
    """
    return _load(text, _TextLoader)


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
        return meaning(value)
    is_number = int in kinds and re.fullmatch(r"[1-9][0-9]{0,17}", value)
    return int(value) if is_number else str(value)


def meaning(value: Any) -> Any:
    """What YAML itself takes a value of `load_plain_yaml` for."""
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
