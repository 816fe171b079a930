"""YAML from strangers: no tags, no aliases, whose expansion has no bounds, no deep nesting."""

from __future__ import annotations

from typing import Any

import yaml

DEEPEST = 20
"""Mappings and lists in each other; a configuration has two."""


def load_plain_yaml(text: str) -> Any:
    """The content of a YAML text that says everything once.

    Raises:
        yaml.YAMLError: it is no YAML, has tags or aliases, or is nested too deeply.
    """
    _require_plain(text)
    try:
        return yaml.safe_load(text)
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
