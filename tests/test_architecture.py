"""The import rule: the folders stand in the order in which the data flows."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import actionrnn

PACKAGE = Path(actionrnn.__file__).parent
FOLDERS = ("video", "features", "model", "datasets", "evaluation", "training", "apps")
SHARED = (
    "errors",
    "config",
    "config_types",
    "stream_config",
    "text",
    "plain_yaml",
    "files",
    "progress",
)
OUTSIDE = ("tools", "tests", "benchmarks")
FRONT_DOORS = ("actionrnn", "actionrnn.__main__")  # they lead to everything

MODULES = {
    ".".join(("actionrnn", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(
        ".__init__"
    ): path
    for path in sorted(PACKAGE.rglob("*.py"))
}


def imported_modules(source: str) -> list[str]:
    """Every imported module, also within functions; `from a import b` counts as `a.b`."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute here"
            found += [f"{node.module}.{alias.name}" for alias in node.names]
    return found


def forbidden_imports(module: str, source: str) -> list[str]:
    """The imports that `module` must not have."""
    if module in FRONT_DOORS:
        return [name for name in imported_modules(source) if name.split(".")[0] in OUTSIDE]
    home = module.split(".")[1]
    reachable = FOLDERS[: FOLDERS.index(home) + 1] if home in FOLDERS else ()
    allowed = {*reachable, *SHARED, "__version__"}
    return [
        name
        for name in imported_modules(source)
        if name.split(".")[0] in OUTSIDE
        or (name.split(".")[0] == "actionrnn" and (*name.split("."), "")[1] not in allowed)
    ]


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_only_what_stands_before_it(module: str) -> None:
    assert forbidden_imports(module, MODULES[module].read_text(encoding="utf-8")) == []


def test_every_module_has_its_place_in_the_rule() -> None:
    homes = {module.split(".")[1] for module in MODULES if module not in FRONT_DOORS}
    assert homes == {*FOLDERS, *SHARED}


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("actionrnn.video.decode", "from actionrnn.features.types import Features"),
        ("actionrnn.features.store", "import actionrnn.model.heads"),
        ("actionrnn.model.heads", "def late():\n    from actionrnn.apps import cli"),
        ("actionrnn.datasets.folder", "from actionrnn import training"),
        ("actionrnn.training.fit", "from actionrnn import load"),  # through the front door
        ("actionrnn.training.fit", "import actionrnn"),
        ("actionrnn.config", "from actionrnn.video.frame import Frame"),
        ("actionrnn.errors", "if TYPE_CHECKING:\n    from actionrnn.apps.cli import main"),
        ("actionrnn.apps.cli", "from tests.conftest import GROUPS"),
        ("actionrnn.apps.cli", "import benchmarks.decode"),
        ("actionrnn", "import tools.train"),
    ],
)
def test_the_rule_sees_a_forbidden_import(module: str, source: str) -> None:
    assert len(forbidden_imports(module, f"import numpy\n{source}")) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("actionrnn.video.decode", "from actionrnn.video.frame import Frame"),
        ("actionrnn.video.decode", "from actionrnn.errors import VideoError"),
        ("actionrnn.model.heads", "from actionrnn.features.types import Features"),
        ("actionrnn.apps.cli", "from actionrnn.training import train"),
        ("actionrnn.config", "from actionrnn import __version__, errors"),
        ("actionrnn", "from actionrnn.apps.cli import main"),
        ("actionrnn.video.decode", "import toolstash, features"),  # others' packages
    ],
)
def test_the_rule_lets_the_rest_through(module: str, source: str) -> None:
    assert forbidden_imports(module, source) == []


@pytest.mark.parametrize("module", MODULES)
def test_a_module_says_what_it_is(module: str) -> None:
    assert ast.get_docstring(ast.parse(MODULES[module].read_text(encoding="utf-8")))


def test_the_documents_draw_the_same_order() -> None:
    document = PACKAGE.parent / "docs" / "architecture.md"
    assert " < ".join(FOLDERS) in document.read_text(encoding="utf-8")
