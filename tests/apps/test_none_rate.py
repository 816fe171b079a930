"""--none-rate: classify, timeline and stream say 'none of these'; without it nothing changes."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

import actionrnn
from actionrnn.apps import cli
from actionrnn.model.none_of_these import KINDS, NoneOfThese, Patterns
from tests.apps.test_multi_label import several


def run_command(*args: object) -> Result:
    result = CliRunner().invoke(cli.main, [str(arg) for arg in args], prog_name="actionrnn")
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def write_model(model: Path, file: Path, distance: float) -> Path:
    """The model with 99 held-out answers at this distance."""
    recognizer = actionrnn.load(model)
    count = len(recognizer.labels)
    patterns = Patterns(np.zeros((1, count), np.float32), np.eye(count, dtype=np.float32))
    held_out = dict.fromkeys(KINDS, np.full(99, distance))
    replace(recognizer, none_of_these=NoneOfThese(patterns, held_out)).save(file)
    return file


@pytest.fixture
def surprised(streaming_model: Path, tmp_path: Path) -> Path:
    """A model to which everything is unusual."""
    return write_model(streaming_model, tmp_path / "surprised.safetensors", 0.0)


@pytest.fixture
def calm(streaming_model: Path, tmp_path: Path) -> Path:
    """A model to which nothing is."""
    return write_model(streaming_model, tmp_path / "calm.safetensors", 1e9)


def test_classify_says_it_beside_the_labels(surprised: Path, calm: Path, clip: Path) -> None:
    asked = run_command("classify", clip, "-m", surprised, "--none-rate", 0.05, "--json")
    found = json.loads(asked.output)
    assert (found["none_of_these"], found["typicality"]) == (True, 0.01)
    usual = run_command("classify", clip, "-m", calm, "--none-rate", 0.05, "--json")
    found = json.loads(usual.output)
    assert (found["none_of_these"], found["typicality"]) == (False, 1.0)
    text = run_command("classify", clip, "-m", surprised, "--none-rate", 0.05).output
    assert "none of these: 1.0% of their clips are as unusual" in text
    assert "none of these" not in run_command("classify", clip, "-m", surprised).output
    assert "none of these" not in run_command("classify", clip, "-m", calm).output


def test_the_labels_and_scores_stay(surprised: Path, streaming_model: Path, clip: Path) -> None:
    before, after = (
        json.loads(run_command("classify", clip, "-m", model, "--json").output)
        for model in (streaming_model, surprised)
    )
    assert "typicality" not in before
    assert after == before | {"typicality": 0.01}


def test_a_timeline_has_no_segments_there(surprised: Path, clip: Path, tmp_path: Path) -> None:
    file = tmp_path / "t.json"
    result = run_command("timeline", clip, "-m", surprised, "--none-rate", 0.05, "-o", file)
    assert result.exit_code == 0
    found = json.loads(file.read_text())
    assert found["segments"] == []
    assert {step["typicality"] for step in found["steps"]} == {0.01}
    run_command("timeline", clip, "-m", surprised, "-o", file, "--overwrite")
    assert json.loads(file.read_text())["segments"] != []


def test_a_timeline_keeps_what_is_usual(calm: Path, streaming_model: Path, clip: Path) -> None:
    asked = run_command("timeline", clip, "-m", calm, "--none-rate", 0.05)
    assert asked.output == run_command("timeline", clip, "-m", streaming_model).output != ""


def test_a_stream_says_it_at_each_step(surprised: Path, clip: Path) -> None:
    result = run_command("stream", clip, "-m", surprised, "--json", "--none-rate", 0.05)
    *answers, _ = map(json.loads, result.stdout.splitlines())
    assert answers
    assert {(one["none_of_these"], one["typicality"]) for one in answers} == {(True, 0.01)}
    result = run_command("stream", clip, "-m", surprised, "--json")
    assert "none_of_these" not in result.stdout


@pytest.mark.parametrize("command", ["classify", "timeline", "stream"])
def test_a_model_that_cannot_say_it_is_refused(
    command: str, streaming_model: Path, clip: Path
) -> None:
    as_json = ("--json",) if command == "stream" else ()
    result = run_command(command, clip, "-m", streaming_model, "--none-rate", 0.05, *as_json)
    assert result.exit_code != 0
    assert "train it with train.none_of_these=true" in result.output


def test_an_early_answer_cannot_be_asked_so(surprised: Path, clip: Path) -> None:
    early = ("--none-rate", 0.05, "--stop-at-confidence", 0.9)
    result = run_command("classify", clip, "-m", surprised, *early)
    assert result.exit_code == 2
    assert "--none-rate is of whole videos" in result.output


@pytest.mark.parametrize("rate", [0, -1, 2])
def test_a_rate_lies_between_0_and_1(surprised: Path, clip: Path, rate: float) -> None:
    result = run_command("classify", clip, "-m", surprised, "--none-rate", rate)
    assert result.exit_code == 2
    assert "--none-rate" in result.output


def test_a_damaged_model_is_refused(surprised: Path, clip: Path) -> None:
    data = surprised.read_bytes()
    surprised.write_bytes(data.replace(b"none_of_these.clip", b"none_of_these.clop"))
    result = run_command("classify", clip, "-m", surprised)
    assert result.exit_code != 0
    assert "is damaged (none_of_these.* has" in result.output


@pytest.mark.parametrize("command", ["classify", "timeline"])
def test_a_rate_that_no_answer_can_reach_is_refused(
    command: str, surprised: Path, clip: Path
) -> None:
    """The least typicality of 99 held-out answers is 0.01: nothing would ever be below."""
    result = run_command(command, clip, "-m", surprised, "--none-rate", 0.01)
    assert result.exit_code == 1
    assert "nothing can be less usual than 0.01" in result.stderr


def test_no_event_begins_where_it_is_none_of_these(
    surprised: Path, calm: Path, streaming_model: Path, clip: Path
) -> None:
    asked = ("--events", "--none-rate", 0.05)
    for command in (("timeline",), ("stream", "--max-lag-seconds", 60)):
        plain = events_of(run_command(*command, clip, "-m", streaming_model, "--events"))
        assert plain
        assert events_of(run_command(*command, clip, "-m", surprised, *asked)) == []
        assert events_of(run_command(*command, clip, "-m", calm, *asked)) == plain


def events_of(result: Result) -> list[tuple[str, str, float]]:
    events = [json.loads(line) for line in result.stdout.splitlines()]
    return [(event["event"], event["label"], event["seconds"]) for event in events]


def test_a_stream_without_json_says_it_too(surprised: Path, clip: Path) -> None:
    result = run_command("stream", clip, "-m", surprised, "--none-rate", 0.05)
    assert result.exit_code == 0
    assert "none of these?  " in result.stdout
    assert "none of these" not in run_command("stream", clip, "-m", surprised).stdout


def test_a_page_shows_where(surprised: Path, calm: Path, clip: Path, tmp_path: Path) -> None:
    def shown(model: Path, *rate: object) -> dict[str, list[dict[str, float]]]:
        page = tmp_path / "t.html"
        run_command("timeline", clip, "-m", model, "-o", page, "--overwrite", *rate)
        data = re.search(r'id="data">(.*?)</script>', page.read_text())
        assert data is not None
        found: dict[str, list[dict[str, float]]] = json.loads(data[1])
        return found

    found = shown(surprised, "--none-rate", 0.05)
    assert found["segments"] == []
    [part] = found["none_of_these"]
    assert part["start_seconds"] == 0
    assert part["end_seconds"] == pytest.approx(1, abs=0.01)
    for other in (shown(surprised), shown(calm, "--none-rate", 0.05)):
        assert other["none_of_these"] == []
        assert other["segments"] != []


@pytest.mark.parametrize("command", ["render", "export", "serve"])
def test_what_shows_it_refuses_a_model_that_cannot_say_it(
    command: str, streaming_model: Path, clip: Path, tmp_path: Path
) -> None:
    given: dict[str, tuple[object, ...]] = {
        "render": (clip, "-m", streaming_model, "-o", tmp_path / "out.mp4"),
        "export": (streaming_model, "-o", tmp_path / "out"),
        "serve": ("-m", streaming_model, "--port", 0),
    }
    result = run_command(command, *given[command], "--none-rate", 0.05)
    assert result.exit_code == 1
    assert "train it with train.none_of_these=true" in result.stderr
    assert not list(tmp_path.iterdir())


def test_a_model_of_several_labels_says_it_by_itself(
    streaming_model: Path, clip: Path, tmp_path: Path
) -> None:
    file = tmp_path / "several.safetensors"
    several(actionrnn.load(streaming_model)).save(file)
    result = run_command("timeline", clip, "-m", file, "--none-rate", 0.05)
    assert result.exit_code == 1
    assert "says 'none of these' by itself: no label is on" in result.stderr
