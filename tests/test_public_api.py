"""The public names: all of them there, documented, and imported on first use alone."""

from __future__ import annotations

import ast
import importlib
import inspect
import subprocess
import sys
from pathlib import Path
from types import FunctionType
from typing import Any

import pytest

import actionrnn

NAMES = sorted(actionrnn.__all__)


def public_members(kind: type) -> dict[str, Any]:
    """The functions and properties that a class of this package defines under public names."""
    return {
        name: member
        for name, member in vars(kind).items()
        if not name.startswith("_")
        and isinstance(member, property | classmethod | staticmethod | FunctionType)
    }


MEMBERS = [
    (name, member)
    for name in NAMES
    if inspect.isclass(getattr(actionrnn, name))
    for member in public_members(getattr(actionrnn, name))
]


def test_the_names_are_sorted_and_each_stands_once() -> None:
    assert actionrnn.__all__ == sorted(set(actionrnn.__all__))


def test_the_promised_names_are_there() -> None:
    assert {"extract_features", "load", "train", "evaluate", "Recognizer"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_importable_from_its_home(name: str) -> None:
    home = importlib.import_module(f"actionrnn.{actionrnn._HOME_OF[name]}")
    value = getattr(actionrnn, name)
    assert value is getattr(home, name)
    assert value.__module__ == home.__name__  # where it is defined, not a detour


def test_each_name_has_one_home() -> None:
    assert sorted(actionrnn._HOME_OF) == NAMES


def test_type_checkers_are_told_the_same_homes() -> None:
    tree = ast.parse(inspect.getsource(actionrnn))
    (block,) = [
        node
        for node in tree.body
        if isinstance(node, ast.If)
        and isinstance(node.test, ast.Name)
        and node.test.id == "TYPE_CHECKING"
    ]
    told = {
        alias.name: str(node.module).removeprefix("actionrnn.")
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert told == actionrnn._HOME_OF


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_documented(name: str) -> None:
    documentation = getattr(actionrnn, name).__doc__ or ""
    assert documentation.strip()
    assert not documentation.startswith(f"{name}(")  # not the one that dataclasses make


@pytest.mark.parametrize(("name", "member"), MEMBERS, ids=map(".".join, MEMBERS))
def test_a_member_is_documented(name: str, member: str) -> None:
    defined = vars(getattr(actionrnn, name))[member]
    assert (defined.__doc__ or "").strip()


@pytest.mark.parametrize("name", NAMES)
def test_the_signatures_are_typed(name: str) -> None:
    value = getattr(actionrnn, name)
    if inspect.isfunction(value):
        parameters = inspect.signature(value).parameters
        assert value.__annotations__.keys() == {*parameters, "return"}


def test_dir_lists_the_public_names() -> None:
    assert sorted(dir(actionrnn)) == sorted([*NAMES, "__version__"])


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match=r"^module 'actionrnn' has no attribute 'lode'$"):
        actionrnn.lode  # noqa: B018
    assert not hasattr(actionrnn, "recogniser")


def test_a_star_import_gives_the_public_names() -> None:
    names: dict[str, Any] = {}
    exec("from actionrnn import *", names)
    assert set(names) - {"__builtins__"} == set(NAMES)


def test_the_version_is_the_installed_one() -> None:
    from importlib.metadata import version

    assert actionrnn.__version__ == version("actionrnn")


def test_the_package_says_that_it_is_typed() -> None:
    assert (Path(actionrnn.__file__).parent / "py.typed").is_file()


@pytest.mark.parametrize(
    "program",
    ["import actionrnn", "from actionrnn import load_config, VideoError; load_config('demo')"],
)
def test_importing_loads_no_torch(program: str) -> None:
    check = f"import sys; {program}; print({{'torch', 'av', 'cv2'}} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "set()\n", "")
