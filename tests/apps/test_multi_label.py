"""What every command shows of a model that may say several labels at once."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from actionrnn.apps.card import make_card
from actionrnn.apps.cli import main
from actionrnn.apps.drawing import make_panel
from actionrnn.apps.info import describe
from actionrnn.apps.render import ScoreOverlay
from actionrnn.apps.timeline_files import FORMATS
from actionrnn.model.model_file import read_model_info
from actionrnn.model.recognizer import Recognizer
from actionrnn.model.segments import Segment
from actionrnn.model.timeline import Timeline
from actionrnn.options import SegmentRule
from tests.apps.serving import Running, running

LABELS = ("walk", "wave", "hop")
RULE = SegmentRule(smooth_seconds=0, min_seconds=0)
LANES = ("########........", "....########....", "................")
"""At four steps a second: walk from 0 to 2 s, wave from 1 to 3 s."""


@pytest.fixture
def timeline() -> Timeline:
    scores = np.array([[0.9 if one == "#" else 0.1 for one in lane] for lane in LANES], np.float32)
    return Timeline(LABELS, scores.T, scores.T, np.arange(16) / 4, "a.mp4", multi_label=True)


def written(timeline: Timeline, ending: str) -> str:
    return FORMATS[ending](timeline, timeline.segments(RULE))


def test_csv_names_all_that_is_on(timeline: Timeline) -> None:
    rows = list(csv.reader(io.StringIO(written(timeline, ".csv"))))[1:]
    expected = ["walk"] * 4 + ["walk + wave"] * 4 + ["wave"] * 4 + [""] * 4
    assert [row[1] for row in rows] == expected


def test_json_has_segments_that_overlap(timeline: Timeline) -> None:
    found = json.loads(written(timeline, ".json"))["segments"]
    assert [(one["label"], one["start_seconds"], one["end_seconds"]) for one in found] == [
        ("walk", 0.0, 2.0),
        ("wave", 1.0, 3.0),
    ]


@pytest.mark.parametrize(("ending", "point"), [(".srt", ","), (".vtt", ".")])
def test_subtitles_show_both_at_once_and_never_two_cues(
    timeline: Timeline, ending: str, point: str
) -> None:
    blocks = [block for block in written(timeline, ending).split("\n\n") if "-->" in block]
    cues = [re.sub(r"^\d+\n", "", block).strip().split("\n") for block in blocks]
    times = [cue[0].replace(point, ":") for cue in cues]
    assert times == [
        "00:00:00:000 --> 00:00:01:000",
        "00:00:01:000 --> 00:00:02:000",
        "00:00:02:000 --> 00:00:03:000",
    ]
    assert [cue[1:] for cue in cues] == [["walk 90%"], ["walk 90%", "wave 90%"], ["wave 90%"]]


@given(
    st.lists(st.tuples(st.sampled_from(LABELS), st.integers(0, 9), st.integers(1, 9)), max_size=8)
)
def test_cues_show_each_segment_all_the_time_and_nothing_else(
    drawn: list[tuple[str, int, int]],
) -> None:
    segments = sorted(
        (
            Segment(label, float(start), float(start + length), 0.5)
            for label, start, length in drawn
        ),
        key=lambda segment: segment.start_seconds,
    )
    empty = np.empty((0, 3), np.float32)
    text = FORMATS[".srt"](Timeline(LABELS, empty, empty, np.empty(0)), segments)
    shown: dict[int, list[str]] = {}
    for block in text.split("\n\n"):
        if not block.strip():
            continue
        _, times, *lines = block.strip().split("\n")
        begin, end = (int(one[6:8]) for one in times.split(" --> "))
        for second in range(begin, end):
            assert second not in shown  # cues do not overlap
            shown[second] = [line.removesuffix(" 50%") for line in lines]
    for second in range(20):
        running = [s.label for s in segments if s.start_seconds <= second < s.end_seconds]
        assert sorted(shown.get(second, [])) == sorted(running)


# On frames.


def test_all_that_is_on_is_drawn() -> None:
    labels = ("a", "b", "c", "d", "e", "f")
    scores = np.array([[0.9, 0.8, 0.1, 0.7, 0.6, 0.2]], np.float32)
    overlay = ScoreOverlay(labels, multi_label=True)
    overlay.update(scores)
    assert [label for label, _ in overlay.rows] == ["a", "b", "d", "e"]
    overlay.update(0.1 * scores)
    assert len(overlay.rows) == 3  # the nearest, though none is on
    one = ScoreOverlay(labels)
    one.update(scores)
    assert [label for label, _ in one.rows] == ["a", "b", "d"]


def test_a_panel_has_a_row_for_each_that_is_on_or_counts_the_rest() -> None:
    rows = [(f"label {number}", 0.9) for number in range(8)]
    three, eight = make_panel(rows, 640, 480), make_panel(rows, 640, 480, num_on=8)
    assert eight.pixels.shape[0] > 2 * three.pixels.shape[0]
    assert eight.top >= 0
    for height in (48, 120):
        panel = make_panel(rows, 160, height, num_on=8)
        assert panel.top >= 0 and panel.top + len(panel.pixels) <= height
    orange = (make_panel(rows[:2], 640, 480, num_on=0).pixels[..., :3] == (255, 196, 61)).all(
        axis=2
    )
    assert not orange.any()  # nothing is on: nothing stands out


# Models.


def several(model: Recognizer) -> Recognizer:
    """The same weights, but each label answered for itself."""
    config = replace(model.config.head, multi_label=True)
    head = replace(model.head, config=config)
    return replace(model, head=head, config=replace(model.config, head=config))


@pytest.fixture(scope="module")
def saved(model: Recognizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("several") / "model.safetensors"
    several(model).save(path)
    return path


def test_an_export_answers_each_label_for_itself(saved: Path, clips: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    import actionrnn
    from actionrnn.apps.export import export
    from tests.apps.test_export import import_runner, require_same_timeline

    runner = import_runner(export(saved, tmp_path / "export").folder)
    model = actionrnn.load(saved, runtime="torch", precision="float32", device="cpu")
    clip = clips / "red" / "ann_red.avi"
    require_same_timeline(runner, model, clip)
    assert abs(model.timeline(clip).scores.sum(axis=1) - 1).max() > 1e-2
    index = {label: number for number, label in enumerate(model.labels)}
    scores = np.zeros(3)
    scores[index["red"]], scores[index["blue"]] = 0.9, 0.6
    assert runner.answer(scores) == "red (90.0%), blue (60.0%)"
    assert runner.answer(0.5 * scores) == "none (at most 45.0%)"


def test_the_words_of_a_model_do_not_suppose_one_class(saved: Path) -> None:
    rows = describe(saved)
    assert ", multi-label" in rows["head"]
    assert rows["scores"].startswith("exact match ")
    card = make_card(read_model_info(saved))
    assert "may be on at once" in card
    assert "There is no class for" not in card
    assert "| exact match |" in card
    assert "top-1" not in card


def test_the_commands_show_it(saved: Path, clips: Path, tmp_path: Path) -> None:
    clip = str(clips / "red" / "ann_red.avi")

    def run(*arguments: str) -> str:
        result = CliRunner().invoke(main, [*arguments, "--model", str(saved)])
        assert result.exit_code == 0, result.output
        return result.stdout

    described = json.loads(run("classify", clip, "--json"))
    assert described["scores"] == sorted(described["scores"], reverse=True)
    run("classify", clip, "--sheet", str(tmp_path / "sheet.png"))
    outputs = [str(tmp_path / f"t{ending}") for ending in (".csv", ".srt", ".html")]
    run("timeline", clip, *(part for one in outputs for part in ("-o", one)), "--threshold", "0")
    assert " + " in Path(outputs[0]).read_text()  # at a threshold of 0 all labels are on
    assert Path(outputs[1]).read_text().count("\n1\n") == 0
    data = re.search(r'id="data">(.*?)</script>', Path(outputs[2]).read_text())
    assert data is not None
    assert {part["label"] for part in json.loads(data[1])["segments"]} == {"red", "blue", "green"}
    run("render", clip, "-o", str(tmp_path / "r.mp4"))


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_stream_says_what_is_on(saved: Path, clips: Path) -> None:
    result = CliRunner().invoke(
        main, ["stream", str(clips / "red" / "ann_red.avi"), "--model", str(saved), "--json"]
    )
    assert result.exit_code == 0, result.output
    answers = [json.loads(line) for line in result.stdout.splitlines()]
    answers = [one for one in answers if "label" in one]
    assert answers
    for one in answers:
        known = [
            label for label, score in zip(one["labels"], one["scores"], strict=True) if score >= 0.5
        ]
        assert one["on"] == known


@pytest.fixture
def server_of_several(model: Recognizer) -> Iterator[Running]:
    with running(several(model)) as started:
        yield started


def test_the_server_says_that_scores_stand_alone(server_of_several: Running) -> None:
    assert server_of_several.get("/labels").json()["multi_label"] is True
