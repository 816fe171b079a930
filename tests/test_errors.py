"""What every error keeps to."""

from __future__ import annotations

import inspect

import pytest

import actionrnn
from actionrnn import errors

KINDS = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, errors.ActionrnnError)
]


@pytest.mark.parametrize("kind", KINDS)
def test_a_message_is_one_line_whatever_it_was_made_of(kind: type[errors.ActionrnnError]) -> None:
    assert str(kind("a.avi:  is\n\tbroken\r\n ")) == "a.avi: is broken"


@pytest.mark.parametrize("kind", KINDS)
def test_every_error_is_an_actionrnn_error_and_public(kind: type[errors.ActionrnnError]) -> None:
    assert issubclass(kind, actionrnn.ActionrnnError)
    assert getattr(actionrnn, kind.__name__) is kind


@pytest.mark.parametrize("kind", KINDS)
def test_the_module_lists_every_error(kind: type[errors.ActionrnnError]) -> None:
    assert kind.__name__ in (errors.__doc__ or "")
