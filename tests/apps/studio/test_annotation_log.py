"""The log of changes: whatever was done is undone, done again, and read back."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actionrnn.apps.studio.annotation_log import AnnotationLog, History
from actionrnn.apps.studio.operations import checked_ops
from actionrnn.errors import ProjectError

SECONDS = st.integers(0, 40).map(lambda n: n / 4)


@st.composite
def changes(draw: st.DrawFn) -> list[list[dict[str, Any]]]:
    """Changes of a few operations, each of which fits the marks that are there."""
    known: list[str] = []
    found = []
    num_added = 0
    for _ in range(draw(st.integers(1, 8))):
        ops: list[dict[str, Any]] = []
        for _ in range(draw(st.integers(1, 4))):
            start = draw(SECONDS)
            span = {"start": start, "end": start + draw(SECONDS) + 0.25}
            kind = draw(st.sampled_from(["add", "edit", "remove", "look", "unlook", "refuse"]))
            label = {"label": draw(st.sampled_from(["run", "walk", 'läuft, "schnell"']))}
            if kind in ("edit", "remove") and not known:
                kind = "add"
            if kind == "add":
                num_added += 1
                known.append(f"m{num_added:05}")
                ops.append({"op": kind, "id": known[-1], "note": draw(st.text(max_size=5))})
                ops[-1] |= label | span
            elif kind == "edit":
                ops.append({"op": kind, "id": draw(st.sampled_from(known)), **label, **span})
            elif kind == "remove":
                ops.append({"op": kind, "id": known.pop(draw(st.integers(0, len(known) - 1)))})
            elif kind == "refuse":
                ops.append({"op": kind, **label, **span})
            else:
                ops.append({"op": kind, **span})
        found.append(ops)
    return found


def state(history: History) -> object:
    return history.marks, history.looked, history.refused


@given(changes())
def test_all_undone_is_the_beginning_and_all_done_again_the_end(
    many: list[list[dict[str, Any]]],
) -> None:
    history = History()
    states = [(dict(history.marks), history.looked, history.refused)]
    for ops in many:
        history.do(history.step(checked_ops(ops)))
        states.append((dict(history.marks), history.looked, history.refused))
    for before in reversed(states[:-1]):
        history.undo()
        assert state(history) == before
    assert not history.view.can_undo
    for after in states[1:]:
        history.redo()
        assert state(history) == after
    assert not history.view.can_redo


@given(changes(), st.lists(st.sampled_from(["undo", "redo"]), max_size=12))
def test_the_log_read_back_is_the_state(many: list[list[dict[str, Any]]], more: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        read_back(AnnotationLog(Path(folder, "annotations.log")), many, more)


def read_back(log: AnnotationLog, many: list[list[dict[str, Any]]], more: list[str]) -> None:
    for ops in many:
        log.write("videos/a.mp4", checked_ops(ops), "ann", "")
    for one in more:
        try:
            log.write("videos/a.mp4", one, "bob", "")
        except ProjectError as error:
            assert str(error) == f"there is nothing to {one}"
    again = AnnotationLog.open(log.file).of("videos/a.mp4")
    here = log.of("videos/a.mp4")
    assert again.view == here.view
    assert state(again) == state(here)
    while here.view.can_undo:
        here.undo()
        again.undo()
    assert state(again) == state(here)


def test_a_line_that_was_begun_by_a_killed_process_is_cut_off(tmp_path: Path) -> None:
    file = tmp_path / "annotations.log"
    log = AnnotationLog(file)
    log.write("a.mp4", checked_ops([{"op": "look", "start": 0, "end": 3}]), "ann", "")
    whole = file.read_bytes()
    for size_bytes in range(1, len(whole) - 1, 7):
        file.write_bytes(whole + whole[:size_bytes])
        assert AnnotationLog.open(file).of("a.mp4").looked == ((0.0, 3.0),)
        assert file.read_bytes() == whole


def test_a_line_tells_when_who_and_what(tmp_path: Path) -> None:
    log = AnnotationLog(tmp_path / "annotations.log")
    log.write("a.mp4", checked_ops([{"op": "look", "start": 0, "end": 3}]), "ann", "abc")
    (line,) = log.file.read_text().splitlines()
    entry = json.loads(line)
    assert entry.pop("time")
    assert entry == {
        "who": "ann",
        "video": "a.mp4",
        "change": [{"op": "look", "start": 0.0, "end": 3.0}],
        "csv": "abc",
    }


@pytest.mark.parametrize(
    "line",
    ["", "[]", "{}", '{"video": "a", "change": "fly", "csv": ""}'],
)
def test_a_damaged_line_is_refused_with_its_number(tmp_path: Path, line: str) -> None:
    log = AnnotationLog(tmp_path / "annotations.log")
    log.write("a.mp4", checked_ops([{"op": "look", "start": 0, "end": 3}]), "ann", "")
    with log.file.open("a") as file:
        file.write(line + "\n")
    with pytest.raises(ProjectError, match=r"annotations\.log, line 2: is damaged"):
        AnnotationLog.open(log.file)


@pytest.mark.parametrize(
    ("ops", "message"),
    [
        ([], "must be a list"),
        ({"op": "look"}, "must be a list"),
        ([{"op": "fly"}], "must be one of add, edit"),
        (["look"], "must be one of"),
        ([{"op": "look", "start": 1}], "look: has no end"),
        ([{"op": "look", "start": 1, "end": 2, "label": "a"}], "'label' is not known"),
        ([{"op": "look", "start": 2, "end": 1}], r"start \(2\) must be before end \(1\)"),
        ([{"op": "look", "start": 1, "end": 1}], "must be before"),
        ([{"op": "look", "start": True, "end": 2}], "must be a number of seconds"),
        ([{"op": "look", "start": "1", "end": 2}], "must be a number of seconds"),
        ([{"op": "look", "start": float("nan"), "end": 2}], "must be a number of seconds"),
        ([{"op": "look", "start": 0, "end": float("inf")}], "must be a number of seconds"),
        ([{"op": "look", "start": 0, "end": 10**400}], "must be a number of seconds"),
        ([{"op": "add", "label": " ", "start": 0, "end": 1}], "must be a name"),
        ([{"op": "add", "label": "background", "start": 0, "end": 1}], "choose another name"),
        ([{"op": "add", "label": "a\x1bb", "start": 0, "end": 1}], "control characters"),
        ([{"op": "add", "label": "a" * 81, "start": 0, "end": 1}], "longer than 80"),
        ([{"op": "edit", "id": 5, "start": 0}], "must be 4 to 32 of a-z and 0-9"),
        ([{"op": "add", "label": "a", "start": 0, "end": 1, "note": 3}], "note: must be text"),
    ],
)
def test_an_operation_that_is_not_valid_is_refused(ops: object, message: str) -> None:
    with pytest.raises(ProjectError, match=message):
        checked_ops(ops)


def test_an_edit_that_turns_a_mark_round_changes_nothing() -> None:
    history = History()
    add = {"op": "add", "id": "mark", "label": "run", "start": 1, "end": 2}
    history.do(history.step(checked_ops([add])))
    before = history.view
    with pytest.raises(ProjectError, match=r"start \(3\) must be before end \(2\)"):
        history.step(checked_ops([{"op": "edit", "id": "mark", "start": 3}]))
    with pytest.raises(ProjectError, match="is not there any more"):
        history.step(
            checked_ops([{"op": "look", "start": 0, "end": 9}, {"op": "remove", "id": "none"}])
        )
    assert history.view == before


def test_a_renamed_label_is_renamed_in_what_undo_brings_back() -> None:
    history = History()
    add = {"op": "add", "id": "mark", "label": "run", "start": 1, "end": 2}
    history.do(history.step(checked_ops([add])))
    history.do(history.step(checked_ops([{"op": "remove", "id": "mark"}])))
    history.rename({"run": "sprint"})
    history.undo()
    assert [mark.label for mark in history.view.marks] == ["sprint"]


@pytest.mark.parametrize("text", ["my notes", "a\nb\n", "{}\n", '{"time": 1}\nmore'])
def test_a_file_of_others_is_refused_and_left_as_it_is(tmp_path: Path, text: str) -> None:
    file = tmp_path / "annotations.log"
    file.write_text(text)
    with pytest.raises(ProjectError, match="is damaged"):
        AnnotationLog.open(file)
    assert file.read_text() == text
