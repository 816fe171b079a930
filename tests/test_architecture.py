"""The import rules: folders in the order in which the data flows, no circle, no private parts."""

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
    "config_parsing",
    "config_reading",
    "options",
    "results",
    "tensor_file",
    "text",
    "files",
    "processes",
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


def import_graph(sources: dict[str, str]) -> dict[str, set[str]]:
    """Of each module those that it imports, lazily and for types alone as well."""
    graph: dict[str, set[str]] = {}
    for module, source in sources.items():
        parents = {name.rpartition(".")[0] for name in imported_modules(source)}
        graph[module] = {
            name for name in {*imported_modules(source), *parents} if name in sources
        } - {module, "actionrnn"}  # the version comes from the package itself
    return graph


def circles(graph: dict[str, set[str]]) -> set[frozenset[str]]:
    """The sets of modules that import each other, directly or through others."""

    def reachable(module: str) -> set[str]:
        seen: set[str] = set()
        waiting = [module]
        while waiting:
            new = graph.get(waiting.pop(), set()) - seen
            seen |= new
            waiting += new
        return seen

    reach = {module: reachable(module) for module in graph}
    return {
        frozenset(other for other in reach[module] if module in reach[other])
        for module in graph
        if module in reach[module]
    }


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def private_parts_of_others(source: str) -> set[str]:
    """Private names that are imported, or taken from an object, and not defined in `source`."""
    nodes = list(ast.walk(ast.parse(source)))
    own = {
        node.name
        for node in nodes
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
    }
    own |= {
        node.attr if isinstance(node, ast.Attribute) else node.id
        for node in nodes
        if isinstance(node, ast.Attribute | ast.Name) and isinstance(node.ctx, ast.Store)
        if isinstance(node, ast.Name) or is_self(node.value)
    }
    taken = {
        node.attr
        for node in nodes
        if isinstance(node, ast.Attribute) and is_private(node.attr) and not is_self(node.value)
    }
    imported = {
        alias.name
        for node in nodes
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if is_private(alias.name) or any(map(is_private, (node.module or "").split(".")))
    }
    return imported | (taken - own)


def is_self(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id in ("self", "cls")


def test_no_modules_import_each_other() -> None:
    sources = {name: path.read_text(encoding="utf-8") for name, path in MODULES.items()}
    assert circles(import_graph(sources)) == set()


@pytest.mark.parametrize("module", MODULES)
def test_a_module_takes_no_private_part_of_another(module: str) -> None:
    found = private_parts_of_others(MODULES[module].read_text(encoding="utf-8"))
    assert found == set()


@pytest.mark.parametrize(
    "late",
    [
        "from p.a import f",
        "import p.a",
        "from p import a",
        "def late():\n    from p.a import f",
        "if TYPE_CHECKING:\n    from p.a import F",
    ],
)
def test_a_circle_is_seen(late: str) -> None:
    sources = {"p.a": "from p.b import g", "p.b": "import p.c", "p.c": late, "p.d": "import p.a"}
    assert circles(import_graph(sources)) == {frozenset({"p.a", "p.b", "p.c"})}
    assert circles(import_graph(sources | {"p.c": "import numpy"})) == set()


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("from p.a import _f", {"_f"}),
        ("from p import a\na._f()", {"_f"}),
        ("def f(stream): return stream._steps", {"_steps"}),
        ("def f(stream): stream._steps = 1", {"_steps"}),
        ("class A:\n    def f(self, other: 'A'): self._x = other._x", set()),
        ("class A:\n    def _f(self): self._f()\n    def g(self, b): b._f()", set()),
        ("from p.a import f as _f\n_f(f.__name__)", set()),
    ],
)
def test_private_parts_are_seen(source: str, found: set[str]) -> None:
    assert private_parts_of_others(source) == found


def test_every_module_has_its_place_in_the_rule() -> None:
    homes = {module.split(".")[1] for module in MODULES if module not in FRONT_DOORS}
    assert homes == {*FOLDERS, *SHARED}


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("actionrnn.video.decode", "from actionrnn.features.provenance import Features"),
        ("actionrnn.features.store", "import actionrnn.model.heads"),
        ("actionrnn.model.heads", "def late():\n    from actionrnn.apps import cli"),
        ("actionrnn.datasets.folders", "from actionrnn import training"),
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
        ("actionrnn.model.heads", "from actionrnn.features.provenance import Features"),
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
