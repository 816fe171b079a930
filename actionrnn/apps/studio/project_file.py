"""project.yaml: the labels of a project and its settings."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable, Mapping
from dataclasses import asdict, field
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import yaml
from pydantic import Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from actionrnn.apps.studio.operations import checked_label
from actionrnn.config import BackboneConfig, Modality
from actionrnn.config_parsing import (
    STRICT_KEYS,
    PositiveFloat,
    first_problem,
    load_plain_yaml,
    meaning,
    nearest,
    of_kind,
)
from actionrnn.config_reading import parse_config
from actionrnn.errors import ConfigError, ProjectError
from actionrnn.files import FileState, state_if_there, write_text

PROJECT_FILE = "project.yaml"

KEYS = "1234567890abdhjkmpqrtvwxyz"
"""The keys that labels may have, in the order in which those that say none get them; the other
letters are commands of the page."""
COLOURS = (
    *("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00"),
    *("#882255", "#999933", "#44aa99", "#aa4499"),
)
"""Of labels that say none. Most eyes tell them apart: Okabe and Ito, "Color Universal Design"
(2008), then Paul Tol's muted scheme."""
CONFIG_SECTIONS = ("backbone", "head", "train")
_SET_ELSEWHERE = {"backbone": {"modality": "modality"}, "head": {"multi_label": "multi_label"}}
"""What is a setting, and so not read in `config`."""


@dataclass(frozen=True, config=STRICT_KEYS)
class Label:
    """An action that is taught."""

    name: str
    key: str = ""
    """The one character that begins and ends a mark of it; empty: none."""
    colour: str = ""
    """`#rrggbb`."""


@dataclass(frozen=True, config=STRICT_KEYS)
class Settings:
    """What the page lets a person choose."""

    rate_fps: PositiveFloat = 4.0
    """Steps a second; features are extracted anew for another rate."""
    multi_label: Annotated[bool, Field(strict=True)] = False
    """Several labels at once, or none."""
    modality: Modality = BackboneConfig.modality
    """As `backbone.modality`; features are extracted anew for another one."""


@dataclass(frozen=True)
class ProjectFile:
    """The content of a project.yaml."""

    labels: tuple[Label, ...] = ()
    settings: Settings = field(default_factory=Settings)
    videos: tuple[str, ...] = ()
    """Paths of videos that lie outside of the project."""
    config: Mapping[str, Any] = field(default_factory=dict)
    """Sections of a configuration, for what is no setting: backbone, head and train."""


def is_project(folder: str | Path) -> bool:
    """Whether a folder is a project."""
    return Path(folder, PROJECT_FILE).is_file()


def read_project_file(folder: Path) -> ProjectFile:
    """Read and check the project.yaml of a folder.

    Raises:
        ProjectError: it cannot be read, or holds what is not known or not valid.
    """
    file = folder / PROJECT_FILE
    try:
        text = file.read_text(encoding="utf-8")
        content = load_plain_yaml(text) or {}
    except (OSError, UnicodeDecodeError) as error:
        raise ProjectError(f"{file}: cannot be read ({error})") from None
    except yaml.YAMLError as error:
        raise ProjectError(f"{file}: is not YAML ({error})") from None
    if not text.strip():  # somebody is writing it, or it was lost
        raise ProjectError(
            f"{file}: is empty; write it again, or delete it, and the studio makes one"
        )
    try:
        return _parsed(content)
    except (ProjectError, ConfigError) as error:
        raise ProjectError(f"{file}: {error}") from None


def _parsed(content: Any) -> ProjectFile:
    known = list(get_type_hints(ProjectFile))
    if not isinstance(content, Mapping):
        raise ProjectError(f"must hold {', '.join(known)}, not {meaning(content)!r}")
    for name in content:
        if name not in known:
            raise ProjectError(f"unknown section {str(name)!r}; {nearest(str(name), known)}")
    labels = _of_type(content, "labels", list)
    config = _of_type(content, "config", Mapping)
    _require_own_config(config)
    return ProjectFile(
        checked_labels(
            _section(Label, one, f"labels, number {number}") for number, one in enumerate(labels, 1)
        ),
        _section(Settings, _of_type(content, "settings", Mapping), "settings"),
        tuple(map(str, _of_type(content, "videos", list))),
        config,
    )


def _of_type(content: Mapping[Any, Any], name: str, kind: type) -> Any:
    """A section, or an empty one where the file has none."""
    value = content.get(name)
    if value is None or meaning(value) is None:
        return {} if kind is Mapping else []
    if not isinstance(value, kind):
        noun = "a list" if kind is list else "a section with keys"
        raise ProjectError(f"{name}: must be {noun}, not {meaning(value)!r}")
    return value


def _section(kind: Any, values: Any, name: str) -> Any:
    if not isinstance(values, Mapping):
        raise ProjectError(f"{name}: must have {', '.join(get_type_hints(kind))}")
    kinds = get_type_hints(kind)
    for key in values:
        if key not in kinds:
            raise ProjectError(f"{name}: unknown key {str(key)!r}; {nearest(str(key), kinds)}")
    try:
        return TypeAdapter(kind).validate_python(
            {key: of_kind(value, kinds[key]) for key, value in values.items()}
        )
    except ValidationError as error:
        raise ProjectError(f"{name}: {first_problem(error).removeprefix(': ')}") from None


def settings_of(values: Mapping[str, Any], before: Settings) -> Settings:
    """Settings with some fields changed, checked.

    Raises:
        ProjectError: a field is not known, or a value not valid.
    """
    return _section(Settings, {**asdict(before), **values}, "settings")  # type: ignore[no-any-return]


def checked_labels(labels: Iterable[Label]) -> tuple[Label, ...]:
    """Labels with normal names, and with keys and colours where they say none.

    Raises:
        ProjectError: a name, key or colour is not valid, or two labels share a name or a key.
    """
    given = list(labels)
    taken = {label.key for label in given if label.key}
    found: list[Label] = []
    for label in given:
        name = checked_label(label.name)
        if any(other.name == name for other in found):
            raise ProjectError(f"label {name!r}: is there twice")
        if label.key and any(other.key == label.key for other in found):
            raise ProjectError(f"label {name!r}: its key {label.key!r} is another label's, too")
        if label.key and (len(label.key) > 1 or label.key not in KEYS):
            raise ProjectError(
                f"label {name!r}: its key {label.key!r} must be one of {KEYS}; the other letters "
                "are commands"
            )
        if label.colour and not re.fullmatch("#[0-9a-fA-F]{6}", label.colour):
            raise ProjectError(f"label {name!r}: its colour {label.colour!r} must be #rrggbb")
        key = label.key or next((key for key in KEYS if key not in taken), "")
        taken.add(key)
        found.append(Label(name, key, label.colour or COLOURS[len(found) % len(COLOURS)]))
    return tuple(found)


def _require_own_config(config: Mapping[str, Any]) -> None:
    for section, values in config.items():
        if section not in CONFIG_SECTIONS:
            raise ProjectError(
                f"config: holds {', '.join(CONFIG_SECTIONS)}, not {str(section)!r}; what the "
                "project says itself is not written there"
            )
        for key, setting in _SET_ELSEWHERE.get(section, {}).items():
            if isinstance(values, Mapping) and key in values:
                raise ProjectError(
                    f"config.{section}.{key}: is settings.{setting} here; write it there"
                )
    parse_config(dict(config), source="config")


def write_project_file(folder: Path, content: ProjectFile) -> None:
    """Write project.yaml, whole or not at all; it is on the disk then. Comments are not kept.

    Raises:
        ProjectError: it cannot be written.
    """
    labels = [asdict(label) for label in content.labels]
    plain = {"labels": labels, "settings": asdict(content.settings)}
    if content.videos:
        plain["videos"] = list(content.videos)
    if content.config:
        plain["config"] = _plain(content.config)
    text = yaml.safe_dump(plain, sort_keys=False, allow_unicode=True)
    try:
        write_text(folder / PROJECT_FILE, text, durable=True)
    except OSError as error:
        raise ProjectError(
            f"{folder / PROJECT_FILE}: cannot be written ({error.strerror})"
        ) from None


class KeptProjectFile:
    """The project.yaml of a folder, read again once somebody else has written it.

    Args:
        folder: of the project.
        content: of the file, where it is known already.
        read_only: leave it as it is, and as it was at the beginning.
    """

    def __init__(
        self, folder: Path, content: ProjectFile | None = None, *, read_only: bool = False
    ) -> None:
        self._folder, self._read_only = folder, read_only
        self._content = content
        self._state: FileState | None = None
        self._mutex = threading.RLock()

    @property
    def content(self) -> ProjectFile:
        """What it holds; a file that is gone holds what it held.

        Raises:
            ProjectError: it cannot be read, or is not valid.
        """
        with self._mutex:
            if self._content is not None and self._read_only:
                return self._content
            state = state_if_there(self._folder / PROJECT_FILE)
            if self._content is None or state not in (None, self._state):
                self._content, self._state = read_project_file(self._folder), state
            return self._content

    def save(self, content: ProjectFile) -> None:
        """Write the file anew.

        Raises:
            ProjectError: it cannot be written.
        """
        with self._mutex:
            write_project_file(self._folder, content)
            self._content = content
            self._state = state_if_there(self._folder / PROJECT_FILE)


def _plain(value: Any) -> Any:
    """Without the marks of how a value was written."""
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return meaning(value)
