"""Times count from a video's beginning, as players show it, or are the file's own."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from actionrnn.apps.cli import main
from actionrnn.model.recognizer import Recognizer
from actionrnn.video.declared import declared_span
from actionrnn.video.decode import iter_frames
from actionrnn.video.probe import read_frame_times
from tests.apps.serving import Running
from tests.tiny import write_recording, write_video
from tests.video.test_last_frame import recording
from tests.video.test_sound import write_talking

BEGIN = 50_000.0
CLOCKS = ((), ("--clock", "file"))


@pytest.fixture(scope="module")
def late(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A broadcast of two seconds, with sound that begins a little before the picture."""
    return write_talking(tmp_path_factory.mktemp("late") / "late.ts", "aac", 48000, BEGIN)


@pytest.fixture(scope="module")
def begin(late: Path) -> float:
    """When it begins, which ffmpeg subtracts."""
    seconds, _ = declared_span(late)
    assert BEGIN - 0.1 < seconds <= BEGIN
    return seconds


def run_command(*arguments: Any) -> str:
    done = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert done.exit_code == 0, done.output
    return done.stdout


def test_timelines(
    late: Path, begin: float, streaming_model: Path, model: Recognizer, tmp_path: Path
) -> None:
    by_file = model.timeline(late)  # Python has the file's own times
    assert by_file.pts_seconds[0] == read_frame_times(late)[0]
    for clock, moved in zip(CLOCKS, (begin, 0.0), strict=True):
        names = [f"{len(clock)}.{ending}" for ending in ("csv", "json", "srt", "vtt", "html")]
        outputs = [word for name in names for word in ("-o", tmp_path / name)]
        shown = run_command("timeline", late, "-m", streaming_model, *outputs, *clock)
        table, described, srt, vtt, page = [(tmp_path / name).read_text() for name in names]
        times = by_file.pts_seconds - moved
        rows = list(csv.DictReader(table.splitlines()))
        np.testing.assert_allclose([float(row["pts_seconds"]) for row in rows], times, atol=1e-5)
        found = json.loads(described)
        assert found["start_seconds"] == pytest.approx(begin - moved)
        np.testing.assert_allclose([s["pts_seconds"] for s in found["steps"]], times, atol=1e-5)
        first = found["segments"][0]["start_seconds"]
        assert float(shown.split()[0]) == pytest.approx(first, abs=0.006)
        assert found["segments"][-1]["end_seconds"] == pytest.approx(BEGIN + 2 - moved, abs=0.1)
        hour = "00:00:00" if moved else "13:53:20"
        assert srt.startswith(f"1\n{hour},")
        assert vtt.startswith(f"WEBVTT\n\n{hour}.")
        assert f'"start_seconds": {found["start_seconds"]:g}' in page.replace(".0,", ",")


def test_answers_and_events(
    late: Path, begin: float, streaming_model: Path, model: Recognizer
) -> None:
    by_file = model.classify(late).pts_seconds
    for clock, moved in zip(CLOCKS, (begin, 0.0), strict=True):
        given = ("-m", streaming_model, *clock)
        found = json.loads(run_command("classify", late, "--json", *given))
        assert found["pts_seconds"] == pytest.approx(by_file - moved, abs=1e-5)
        early = ("--stop-at-confidence", 1)
        found = json.loads(run_command("classify", late, "--json", *early, *given))
        assert 0 < found["needed_seconds"] < 2
        assert found["pts_seconds"] + moved - begin == pytest.approx(found["needed_seconds"])
        some = ("--events", "--begin-threshold", 0.01, "--end-threshold", 0.01)
        event = json.loads(run_command("timeline", late, *some, *given).splitlines()[0])
        assert event["seconds"] == pytest.approx(BEGIN - moved, abs=0.6)


@pytest.mark.parametrize("ending", [".mp4", ".mkv"])
def test_rendered_videos(
    late: Path, begin: float, streaming_model: Path, tmp_path: Path, ending: str
) -> None:
    output = tmp_path / f"out{ending}"
    run_command("render", late, "-m", streaming_model, "-o", output)
    assert declared_span(output)[0] == pytest.approx(0, abs=0.03)
    wanted = read_frame_times(late) - begin
    np.testing.assert_allclose(read_frame_times(output), wanted, atol=2e-3)
    run_command("render", late, "-m", streaming_model, "-o", output, "--overwrite", *CLOCKS[1])
    np.testing.assert_allclose(read_frame_times(output), wanted + begin, atol=2e-3)


def test_annotations_are_on_the_tools_clock_whatever_is_shown(
    late: Path, streaming_model: Path, tmp_path: Path
) -> None:
    texts = []
    for clock in CLOCKS:
        file = tmp_path / f"{len(clock)}" / "late.boris"
        file.parent.mkdir()
        arguments = ("timeline", late, "-m", streaming_model, "--annotations", file, *clock)
        run_command(*arguments)
        texts.append(re.sub(r'date": .*', "", file.read_text()))
    assert texts[0] == texts[1]
    assert "50000" not in texts[0]


def test_the_server_has_a_players_clock(
    late: Path, begin: float, server: Running, model: Recognizer
) -> None:
    found = server.post("/timeline", late).json()
    assert "steps" in found, found
    times = model.timeline(late).pts_seconds - begin
    np.testing.assert_allclose([s["pts_seconds"] for s in found["steps"]], times, atol=1e-5)
    assert found["start_seconds"] == 0
    answer = server.post("/classify", late).json()
    assert answer["pts_seconds"] == pytest.approx(times[-1], abs=1e-5)


def test_on_the_server_a_last_step_ends_as_everywhere(
    late: Path, server: Running, model: Recognizer, tmp_path: Path
) -> None:
    frozen = recording(tmp_path / "frozen.mkv", sound_seconds=6)
    ends = []
    for video in (frozen, late):
        found = server.post("/timeline", video).json()
        ends.append(found["segments"][-1]["end_seconds"])
        expected = model.timeline(video).on_clock("player").segments()[-1].end_seconds
        assert ends[-1] == pytest.approx(expected, abs=1e-5)
    assert ends == pytest.approx([6, 2], abs=0.1)


def test_pictures_and_videos_from_0_on_stay_as_they_are(
    clips: Path, streaming_model: Path, tmp_path: Path
) -> None:
    clip = clips / "red" / "ann_red.avi"
    tables = []
    for clock in CLOCKS:
        run_command("timeline", clip, "-m", streaming_model, "-o", tmp_path / "t.csv", *clock)
        tables.append((tmp_path / "t.csv").read_text())
        (tmp_path / "t.csv").unlink()
    assert tables[0] == tables[1]


def test_a_video_of_one_frame_has_a_subtitle_that_lasts(
    streaming_model: Path, tmp_path: Path
) -> None:
    one = write_video(tmp_path / "one.avi", count=1)
    run_command("timeline", one, "-m", streaming_model, "-o", tmp_path / "one.srt")
    start, _, end = (tmp_path / "one.srt").read_text().splitlines()[1].split()
    assert start == "00:00:00,000" < end


def test_a_picture_that_begins_after_the_sound_does_so_everywhere(
    streaming_model: Path, tmp_path: Path
) -> None:
    """0 is where the first of the streams begins, as in every player."""
    silent = write_recording(tmp_path / "silent.mkv", ["red"] * 8, [5 + n / 8 for n in range(8)])
    assert next(iter_frames(silent)).pts_seconds == 5
    run_command("timeline", silent, "-m", streaming_model, "-o", tmp_path / "t.srt")
    assert "00:00:00,000" in (tmp_path / "t.srt").read_text()
