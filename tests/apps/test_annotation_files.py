"""`annotations info` and `convert`, and a timeline for the tools in which people correct it."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

import actionrnn
from actionrnn.apps import cli
from actionrnn.datasets.annotations.formats import read_annotations
from actionrnn.datasets.annotations.marks import ReadOptions
from actionrnn.video.writer import VideoWriter

ROWS = "path,start,end,label,subject\nv.mp4,0,1.5,walk,ann\nv.mp4,2,2,hop,ann\nv.mp4,2,3,run,bob\n"


def run_command(*args: object) -> Result:
    result = CliRunner().invoke(cli.main, [str(arg) for arg in args], prog_name="actionrnn")
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    file = tmp_path / "labels.csv"
    file.write_text(ROWS)
    return file


def test_info_counts_bouts_points_and_seconds(rows: Path) -> None:
    said = run_command("annotations", "info", rows).stdout
    cells = {line.split()[1]: line.split() for line in said.splitlines() if line.startswith("│")}
    assert cells["walk"][3:10:2] == ["1", "0", "1.5", "1.50"]
    assert cells["hop"][3:6:2] == ["0", "1"]
    assert "videos    1: v.mp4" in said


def test_info_names_what_does_not_fit_the_videos(rows: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    said = run_command("annotations", "info", rows, "--videos", tmp_path / "empty").stdout
    assert f"problem   1 of 1 videos are not in {tmp_path / 'empty'} (the first: v.mp4)" in said
    rows.write_text(ROWS + "v.mp4,9,8,run,bob\n")
    result = run_command("annotations", "info", rows)
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert "line 5: start (9) must not be after end (8)" in result.stderr


def test_convert_goes_there_and_back(rows: Path, tmp_path: Path) -> None:
    there, back = tmp_path / "v.boris", tmp_path / "back.csv"
    assert run_command("annotations", "convert", rows, there).stdout.startswith(str(there))
    assert run_command("annotations", "convert", there, back, "--subject", "ann").exit_code == 0
    found = read_annotations(back, ReadOptions()).marks
    assert [(one.label, one.start_seconds, one.end_seconds) for one in found] == [
        ("walk", 0, 1.5),
        ("hop", 2, 2),
    ]


@pytest.mark.parametrize(
    ("target", "extra", "reason"),
    [
        ("out.json", (), "its ending tells no format; say one of csv"),
        ("out.json", ("--to", "label-studio"), "counts frames; say how many a second"),
        ("labels.csv", ("--overwrite",), "is the file that is read"),
        ("there.eaf", (), "exists already"),
        ("out.eaf", ("--label", "sit"), "has no label 'sit'; there are walk, hop, run"),
    ],
)
def test_what_cannot_be_converted_leaves_nothing(
    rows: Path, tmp_path: Path, target: str, extra: tuple[str, ...], reason: str
) -> None:
    (tmp_path / "there.eaf").touch()
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    result = run_command("annotations", "convert", rows, tmp_path / target, *extra)
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert reason in result.stderr
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("name", ["out.boris", "out.eaf", "out.csv", "out.tsv"])
def test_a_timeline_opens_in_other_tools(
    streaming_model: Path, clips: Path, tmp_path: Path, name: str
) -> None:
    clip, file = clips / "red" / "ann_red.avi", tmp_path / name
    result = run_command("timeline", clip, "--model", streaming_model, "--annotations", file)
    assert result.exit_code == 0
    segments = actionrnn.load(streaming_model).timeline(clip).segments()
    found = read_annotations(file, ReadOptions()).marks
    assert [one.label for one in found] == [one.label for one in segments]
    for mark, segment in zip(found, segments, strict=True):
        assert mark.start_seconds == pytest.approx(segment.start_seconds, abs=1e-3)
        assert mark.end_seconds == pytest.approx(segment.end_seconds, abs=1e-3)
        assert Path(mark.video).name == clip.name


def test_a_format_that_needs_more_is_refused_before_the_video_is_read(
    streaming_model: Path, tmp_path: Path
) -> None:
    args = ("timeline", tmp_path / "none.mp4", "--model", streaming_model, "--annotations")
    result = run_command(*args, tmp_path / "out.json")
    assert "its ending tells no format" in result.stderr


def test_two_annotators_are_compared_whatever_their_tools(rows: Path, tmp_path: Path) -> None:
    other = tmp_path / "v.eaf"
    other_rows = tmp_path / "other.csv"
    other_rows.write_text(ROWS.replace("0,1.5,walk", "0.5,1.5,walk"))
    assert run_command("annotations", "convert", other_rows, other).exit_code == 0
    said = json.loads(run_command("annotations", "compare", rows, other, "--json").stdout)
    assert said["num_videos"] == 1
    assert 0 < said["kappa"] < 1
    out = tmp_path / "out"
    text = run_command("annotations", "compare", rows, other, "--output", out).stdout
    assert "walk" in text
    assert "time right" in text
    assert {path.name for path in out.glob("*.*")} >= {
        *("agreement.json", "agreement_scores.csv", "agreement_bouts.csv")
    }
    assert "other.csv" not in (out / "agreement_scores.csv").read_text()
    scores = (out / "agreement_scores.csv").read_text()
    assert f"time,v.eaf,accuracy,{said['scores']['accuracy']:.4f}"[:-1] in scores
    result = run_command("annotations", "compare", rows, other, "--group-pattern", "(x)")
    assert "does not match data.group_pattern" in result.stderr


def test_two_annotators_are_compared_over_all_of_the_video(rows: Path, tmp_path: Path) -> None:
    video = write_film(tmp_path / "films" / "v.mp4")
    other = tmp_path / "other.csv"
    other.write_text("path,start,end,label\nD:\\films\\v.mp4,0,1.5,walk\n")
    known = ("--videos", video.parent, "--json")
    by_marks, whole = (
        json.loads(run_command("annotations", "compare", rows, other, *options).stdout)
        for options in (("--json",), known)
    )
    assert (by_marks["seconds"], whole["seconds"]) == (3, pytest.approx(4, abs=0.05))
    assert by_marks["kappa"] < whole["kappa"]  # both saw nothing in the last second
    assert "1 videos of which neither that nor their length is known" in by_marks["notes"][-1]
    assert "(--videos)" in by_marks["notes"][-1]
    assert whole["notes"][-1].endswith("looked at whole")
    swapped = json.loads(run_command("annotations", "compare", other, rows, *known).stdout)
    assert swapped["seconds"] == whole["seconds"]


def write_film(path: Path) -> Path:
    """Of 4 seconds."""
    path.parent.mkdir()
    with VideoWriter(path, time_base=Fraction(1, 1000)) as writer:
        for tick in range(0, 4000, 40):
            writer.write(np.zeros((32, 48, 3), np.uint8), tick)
    return path


def test_a_converted_file_names_the_videos_as_they_lie(rows: Path, tmp_path: Path) -> None:
    video = write_film(tmp_path / "films" / "v.mp4")
    target = tmp_path / "other" / "v.csv"
    run_command("annotations", "convert", rows, target, "--videos", video.parent)
    assert {one.video for one in read_annotations(target, ReadOptions()).marks} == {
        "../films/v.mp4"
    }


def test_a_target_among_the_sources_is_refused(rows: Path, tmp_path: Path) -> None:
    for name in ("labels.csv", "new.csv"):
        result = run_command("annotations", "convert", tmp_path, tmp_path / name, "--overwrite")
        assert result.exit_code == 1
        assert "among the files that are read" in result.stderr
    assert rows.read_text() == ROWS
