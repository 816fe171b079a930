"""What silences other libraries leaves the process as it was, whoever else does so."""

from __future__ import annotations

import logging
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from actionrnn.features.quiet import quietly


def process_state() -> tuple[Any, ...]:
    return sys.stdout, sys.stderr, logging.root.manager.disable, [*warnings.filters]


def test_nothing_is_heard_meanwhile(capsys: pytest.CaptureFixture[str]) -> None:
    with quietly(errors_too=True):
        print("printed")
        print("printed", file=sys.stderr)
        logging.getLogger("some library").warning("logged")
        warnings.warn("warned", stacklevel=1)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("error", [None, RuntimeError])
def test_two_threads_at_once_leave_everything_as_it_was(error: type[Exception] | None) -> None:
    before, both_want = process_state(), threading.Event()

    def first() -> None:
        with quietly(errors_too=True):
            both_want.wait(0.3)  # the second one would be within by then
            if error is not None:
                raise error

    def second() -> None:
        with quietly(logging.ERROR):
            both_want.set()
            running[0].exception(60)  # it leaves after the first

    with ThreadPoolExecutor(2) as pool:
        running = [pool.submit(first)]
        running.append(pool.submit(second))
    assert [type(one.exception()) for one in running] == [error or type(None), type(None)]
    assert process_state() == before
