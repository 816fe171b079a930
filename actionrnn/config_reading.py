"""Configurations from YAML files and from `section.key=value` overrides.

A YAML file holds the sections of `Config`; an override on the command line replaces one field. A
value is read according to its field's type.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_type_hints

import yaml
from pydantic import TypeAdapter, ValidationError

from actionrnn.config import Config
from actionrnn.config_parsing import (
    Scalar,
    first_problem,
    load_plain_yaml,
    meaning,
    nearest,
    of_kind,
    renamed_field,
    with_new_names,
)
from actionrnn.errors import ConfigError
from actionrnn.files import as_path


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> Config:
    """Read a YAML file, then apply overrides such as `train.epochs=5`.

    `path` may also be the bare name of a shipped configuration (`demo`).

    Raises:
        ConfigError: the file is missing or is not YAML; a key, type or value is wrong.
    """
    file = as_path(path) if as_path(path).is_file() else _shipped_config(str(path))
    try:
        sections = load_plain_yaml(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: cannot be read ({error})") from None
    except yaml.YAMLError as error:
        remedy = "; put it in single quotes: '...'" if "escape character" in str(error) else ""
        raise ConfigError(f"{file}: is not YAML ({error}){remedy}") from None
    return parse_config(sections or {}, overrides, source=str(path))


def parse_config(
    sections: Mapping[str, Any], overrides: Sequence[str] = (), *, source: str = "config"
) -> Config:
    """Build a `Config` from nested mappings and `section.key=value` overrides.

    An override's value is taken literally, without escapes; one pair of quotes around it is
    removed, and `null` is None if the field allows it. Names and values of version 0.1 are still
    read; one FutureWarning lists them.

    Raises:
        ConfigError: a key, type or value is wrong; the message names the key.
    """
    if not isinstance(sections, Mapping):
        raise ConfigError(
            f"{source}: must hold sections ({', '.join(get_type_hints(Config))}), not {sections!r}"
        )
    renamed: list[str] = []
    merged: dict[str, Any] = {
        section: with_new_names(str(section), values, source, renamed)
        if isinstance(values, Mapping)
        else values
        for section, values in sections.items()
    }
    for override in overrides:
        section, key, value = _read_override(override)
        values = merged.setdefault(section, {})
        if not isinstance(values, dict):
            raise ConfigError(f"{section} must be a section, not {meaning(values)!r}")
        key, value = renamed_field(section, key, value, renamed)
        values[key] = value
    if renamed:
        warnings.warn(f"{source}: {'; '.join(renamed)}", FutureWarning, stacklevel=2)
    _refuse_unknown_keys(merged, source)
    for section, kind in _kinds(Config).items():
        kinds = _kinds(kind)
        for key, value in merged.get(section, {}).items():
            merged[section][key] = of_kind(value, kinds[key])
    try:
        return _adapter().validate_python(merged)
    except ValidationError as error:
        raise ConfigError(f"{source}: {first_problem(error)}") from None


def override_config(config: Config, overrides: Sequence[str]) -> Config:
    """The same configuration with `section.key=value` overrides applied."""
    return parse_config(config.to_dict(), overrides, source="override")


def shipped_configs() -> dict[str, Path]:
    """The names and paths of the configurations that come with actionrnn."""
    package = Path(__file__).parent
    folder = next(d for d in (package / "configs", package.parent / "configs") if d.is_dir())
    return {file.stem: file for file in sorted(folder.glob("*.yaml"))}


def _shipped_config(name: str) -> Path:
    shipped = shipped_configs()
    if name in shipped:
        return shipped[name]
    raise ConfigError(
        f"{name}: no such file, and not a shipped configuration; shipped are {', '.join(shipped)}"
    )


@functools.cache
def _adapter() -> TypeAdapter[Config]:
    return TypeAdapter(Config)


_kinds = functools.cache(get_type_hints)
"""The fields of a dataclass with their types."""


def _read_override(override: str) -> tuple[str, str, str]:
    """The section, key and value of `section.key=value`."""
    name, equals, text = override.partition("=")
    section, dot, key = name.partition(".")
    if not (equals and dot and section and key):
        raise ConfigError(f"{override!r} is not an override; write section.key=value")
    quoted = len(text) > 1 and text[0] == text[-1] and text[0] in "'\""
    return section, key, text[1:-1] if quoted else text if text == "~" else Scalar(text)


def _refuse_unknown_keys(sections: Mapping[str, Any], source: str) -> None:
    known = _kinds(Config)
    for name, values in sections.items():
        if name not in known:
            raise ConfigError(f"{source}: unknown section {name!r}; {nearest(name, known)}")
        if not isinstance(values, Mapping):
            raise ConfigError(
                f"{source}: {name} must be a section with keys, not {meaning(values)!r}"
            )
        keys = _kinds(known[name])
        for key in values:
            if key not in keys:
                near = nearest(str(key), keys, prefix=f"{name}.")
                raise ConfigError(f"{source}: unknown key '{name}.{key}'; {near}")
