"""Long work is never silent: a bar where a person looks, lines in a log, in words that are true."""

from __future__ import annotations

import io
import re
import sys
import time
import types
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest

from actionrnn import progress
from actionrnn.progress import Meter, progress_bar


class Clock:
    """Stands still until it is set."""

    seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """For `redirect_stderr`: no terminal, and a line every 10 ms."""
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.01)
    return io.StringIO()


def wait_for(stream: io.StringIO, text: str) -> None:
    deadline = time.monotonic() + 30
    while text not in stream.getvalue():
        assert time.monotonic() < deadline, stream.getvalue()
        time.sleep(0.002)


@pytest.mark.parametrize(
    ("total", "done", "seconds", "words"),
    [
        (1000, 420, 30, "420 of 1000 (42%) in 30 s, 14/s, 41 s left"),
        (1000, 0, 30, "0 of 1000 (0%) in 30 s"),
        (1000, 999, 5400, "999 of 1000 (99%) in 90 min, 11/min, 5 s left"),
        (50, 2, 3600, "2 of 50 (4%) in 60 min, 2.0/h, 24 h 0 min left"),
        (3, 3, 2, "3 of 3 (100%) in 2 s, 1.5/s"),
        (2, 3, 2, "3 of 2 (150%) in 2 s, 1.5/s"),
        (None, 90, 30, "90 in 30 s, 3.0/s"),
        (None, 0, 120, "2 min"),
    ],
)
def test_a_line_says_what_is_done_how_fast_and_how_long_it_takes(
    total: int | None, done: int, seconds: float, words: str
) -> None:
    clock = Clock()
    meter = Meter("extracting", total, clock=clock)
    meter.advance(done)
    clock.seconds += seconds
    assert str(meter) == f"extracting: {words}"


def test_bytes_are_shown_as_megabytes() -> None:
    clock = Clock()
    meter = Meter("UCF101.rar", 6_900_000_000, "bytes", clock)
    meter.advance(690_000_000)
    clock.seconds += 60
    assert meter.words() == "690.0 of 6900.0 MB (10%) in 60 s, 11.5 MB/s, 9 min left"


def test_what_was_done_before_says_nothing_about_the_rate() -> None:
    """A resumed training has 900 of 1000 epochs at once; the others take their time."""
    clock = Clock()
    meter = Meter("training", 1000, clock=clock)
    meter.advance(900, skipped=True)
    clock.seconds += 10
    assert meter.words() == "900 of 1000 (90%) in 10 s"  # no time left is known
    meter.advance(10)
    assert meter.words() == "910 of 1000 (91%) in 10 s, 1.0/s, 90 s left"


def test_a_total_may_become_known_and_the_note_is_one_harmless_line() -> None:
    clock = Clock()
    meter = Meter("reading \x1b[31m", None, clock=clock)
    meter.advance(5, "caf\udce9\nfailed", total=10)
    clock.seconds += 1
    told = str(meter)
    assert told == r"reading \x1b[31m: 5 of 10 (50%) in 1 s, 5.0/s, 1 s left: caf\xe9 failed"


def test_a_log_gets_a_line_now_and_then_also_while_one_step_takes_long(log: io.StringIO) -> None:
    with redirect_stderr(log), progress_bar("training", 10) as advance:
        wait_for(log, "training: 0 of 10 (0%) in 0 s\n")  # no step is done yet
        advance(3, note="loss 0.5")
        wait_for(log, "training: 3 of 10 (30%)")
    for line in log.getvalue().splitlines():
        assert re.fullmatch(r"training: [03] of 10 \((0|30)%\) in \d+ s.*", line), line
    assert log.getvalue().endswith("left: loss 0.5\n")
    assert "\x1b" not in log.getvalue() and "\r" not in log.getvalue()


def test_the_usual_time_between_lines_is_half_a_minute() -> None:
    assert progress.SECONDS_BETWEEN_LINES == 30


def test_short_work_leaves_no_line_and_no_work_none_at_all(
    log: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    with redirect_stderr(log), progress_bar("checking", 0):
        time.sleep(0.05)
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 30.0)
    with redirect_stderr(log), progress_bar("checking", 3) as advance:
        advance(3)
    assert log.getvalue() == ""


def test_colours_that_are_forced_make_no_terminal_of_a_log(
    log: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    with redirect_stderr(log), progress_bar("training", 2):
        wait_for(log, "training: 0 of 2")
    assert "\x1b" not in log.getvalue()


@pytest.mark.parametrize("broken", [OSError(28, "No space left on device"), ValueError("closed")])
def test_a_log_that_cannot_be_written_ends_no_work(
    log: io.StringIO, monkeypatch: pytest.MonkeyPatch, broken: Exception
) -> None:
    tried = []

    def write(_: str) -> int:
        tried.append(True)
        raise broken

    monkeypatch.setattr(log, "write", write)
    with redirect_stderr(log), progress_bar("training", 2) as advance:
        deadline = time.monotonic() + 30
        while not tried:
            assert time.monotonic() < deadline
        advance(2)


def test_without_any_stderr_nothing_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)  # as of a program without a console
    with progress_bar("training", 2) as advance:
        advance(2)


def test_an_error_within_the_work_is_raised_and_the_lines_end(log: io.StringIO) -> None:
    with (
        pytest.raises(KeyboardInterrupt),
        redirect_stderr(log),
        progress_bar("training", 2),
    ):
        wait_for(log, "training: ")
        raise KeyboardInterrupt
    told = log.getvalue()
    time.sleep(0.05)
    assert log.getvalue() == told


def test_a_terminal_gets_a_bar_and_what_is_piped_stays_in_the_pipe(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    terminal, pipe = Terminal(), io.StringIO()
    with redirect_stderr(terminal), redirect_stdout(pipe):
        with progress_bar("classifying", 4) as advance:
            advance(3, note="1 failed")
            print("an answer")
            print("a warning", file=sys.stderr)
        assert (sys.stderr, sys.stdout) == (terminal, pipe)
    assert pipe.getvalue() == "an answer\n"
    assert "3 of 4 (75%)" in terminal.getvalue() and "1 failed" in terminal.getvalue()
    assert "a warning" in terminal.getvalue() and "an answer" not in terminal.getvalue()


def test_a_terminal_that_cannot_move_its_cursor_gets_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.01)
    terminal = Terminal()
    with redirect_stderr(terminal), progress_bar("training", 2):
        wait_for(terminal, "training: 0 of 2 (0%) in 0 s\n")
    assert "\x1b" not in terminal.getvalue()


# --- notebooks


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch, log: io.StringIO) -> list[dict[str, Any]]:
    """What a notebook's kernel is told to display."""
    calls: list[dict[str, Any]] = []

    def display(content: dict[str, str], **options: Any) -> None:
        calls.append({**content, **options})

    package, module = types.ModuleType("IPython"), types.ModuleType("IPython.display")
    shell = types.SimpleNamespace(kernel=object())
    monkeypatch.setattr(package, "get_ipython", lambda: shell, raising=False)
    monkeypatch.setattr(module, "display", display, raising=False)
    monkeypatch.setitem(sys.modules, "IPython", package)
    monkeypatch.setitem(sys.modules, "IPython.display", module)
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_PICTURES", 0.01)
    return calls


def test_a_notebook_gets_a_bar_that_moves(shown: list[dict[str, Any]], log: io.StringIO) -> None:
    with redirect_stderr(log), progress_bar("training", 10) as advance:
        deadline = time.monotonic() + 30
        while not shown:
            assert time.monotonic() < deadline
        advance(4, note="loss <0.5>")
    first, last = shown[0], shown[-1]
    assert (first["update"], first["raw"]) == (False, True)
    assert {one["display_id"] for one in shown} == {first["display_id"]}
    assert last["update"] and '<progress value="4" max="10"></progress>' in last["text/html"]
    assert "loss &lt;0.5&gt;" in last["text/html"] and "loss <0.5>" in last["text/plain"]
    assert log.getvalue() == ""


def test_two_bars_of_a_notebook_are_two(shown: list[dict[str, Any]]) -> None:
    for name in ("training", "testing"):
        with progress_bar(name, None):
            deadline = time.monotonic() + 30
            while not any(name in one["text/plain"] for one in shown):
                assert time.monotonic() < deadline
    assert len({one["display_id"] for one in shown}) == 2
    assert all("<progress></progress>" in one["text/html"] for one in shown)  # of no known length


def test_ipython_in_a_terminal_is_no_notebook(
    shown: list[dict[str, Any]], log: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    ipython = sys.modules["IPython"]
    for shell in (None, types.SimpleNamespace()):
        monkeypatch.setattr(ipython, "get_ipython", lambda shell=shell: shell)
        log.truncate(0)
        with redirect_stderr(log), progress_bar("training", 2):
            wait_for(log, "training: ")
    assert shown == []


def test_a_file_is_a_log(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.01)
    file = tmp_path / "slurm.out"
    with (
        file.open("w") as stream,
        redirect_stderr(stream),
        progress_bar("training", 2) as advance,
    ):
        deadline = time.monotonic() + 30
        while not file.read_text():  # written at once, not when the job ends
            assert time.monotonic() < deadline
        advance(2)
    assert file.read_text().splitlines()[-1].startswith("training: 2 of 2 (100%) in 0 s, ")
