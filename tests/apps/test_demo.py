"""The demo: a story of the whole path whose numbers are measured, not written."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from PIL import Image

import actionrnn
from actionrnn.apps import demo
from actionrnn.apps.demo import run_demo
from actionrnn.config import Config
from actionrnn.config_reading import load_config
from actionrnn.datasets import rendered
from actionrnn.results import CHECKSUMS_FILE
from actionrnn.training.train import TrainingRun
from actionrnn.video.decode import read_frames

KEYS = {
    "top1",
    "mean_class_accuracy",
    "num_clips",
    "folds",
    "baseline_mean_pool_top1",
    "confusion",
    "labels",
}


def table_row(text: str, first: str) -> list[str]:
    """The cells of the row of a printed table that begins with a word."""
    lines = [line for line in text.splitlines() if line.startswith("│")]
    cells = [[cell.strip() for cell in line.strip("│ ").split("│")] for line in lines]
    (row,) = [row for row in cells if row[0] == first]
    return row


def run_small_demo(output: Path) -> tuple[TrainingRun, str]:
    """What 2 groups with a clip per class, 2 frames a clip and 2 epochs give and print."""

    def load_small(name: str, overrides: Sequence[str] = ()) -> Config:
        less = ["train.epochs=2", "head.hidden_size=8", "sampling.rate_fps=1.0"]
        return load_config(name, [*overrides, *less, "backbone.device=cpu"])

    printed = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(printed):
        for module in (rendered, demo):
            patch.setattr(module, "NUM_GROUPS", 2)
            patch.setattr(module, "CLIPS_PER_GROUP", 1)
        patch.setattr(demo, "load_config", load_small)
        patch.setenv("COLUMNS", "120")
        run = run_demo(output)
    return run, printed.getvalue()


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> tuple[TrainingRun, str]:
    """A small demo, and the story that it told."""
    return run_small_demo(tmp_path_factory.mktemp("demo") / "run")


def test_the_story_tells_what_is_done(told: tuple[TrainingRun, str]) -> None:
    _, story = told
    assert "1. Rendering 16 clips of 2 figures" in story
    for first, second in rendered.PAIRS:
        assert f"{first}/{second}" in story
    assert "2. Encoding frames with efficientnet_lite0, frozen" in story


def test_the_table_shows_the_reports_numbers(told: tuple[TrainingRun, str]) -> None:
    run, story = told
    report = json.loads((run.output / "report.json").read_text())
    assert report.keys() >= KEYS
    assert f"{report['num_clips']} clips of held-out figures" in story
    assert table_row(story, "lstm")[1] == f"{report['top1']:.1%}"
    assert table_row(story, "mean-pool")[1] == f"{report['baseline_mean_pool_top1']:.1%}"


def test_the_classified_clip_is_a_held_out_one(told: tuple[TrainingRun, str]) -> None:
    run, story = told
    (fold,) = run.folds
    assert not {clip.group for clip in fold.test} & {clip.group for clip in fold.train}
    end = story.split("3. Classifying one held-out clip ")[1]
    (clip,) = [clip for clip in fold.test if clip.path.name in end]
    assert end.startswith(f"({clip.label})")
    answer = actionrnn.load(run.output / "model.safetensors").classify(clip.path)
    for label, score in zip(answer.labels[:3], answer.scores[:3], strict=True):
        assert any(
            line.split()[:2] == [label, f"{score:.1%}"] for line in end.splitlines() if line.strip()
        )


def test_everything_lies_below_the_output_and_is_named(told: tuple[TrainingRun, str]) -> None:
    run, story = told
    files = [
        "model.safetensors",
        "report.html",
        "contact_sheet.png",
        "recording.mp4",
        "recording.png",
    ]
    found = {path.name for path in run.output.iterdir()}
    others = {
        "report.json",
        "bouts.csv",
        "scores.csv",
        "config.yaml",
        "curve.csv",
        "data",
        "features",
    }
    assert found == {*files, *others, CHECKSUMS_FILE}
    assert list(run.output.parent.iterdir()) == [run.output]
    for name in files:
        assert str(run.output / name) in story
    with Image.open(run.output / "contact_sheet.png") as sheet:
        assert (sheet.format, sheet.width) == ("PNG", 1200)
    assert len(list((run.output / "data").rglob("*.avi"))) == 16
    assert len(list((run.output / "features").rglob("*.safetensors"))) == 16


def test_the_recording_is_that_of_held_out_clips_and_its_scores_are_told(
    told: tuple[TrainingRun, str],
) -> None:
    run, story = told
    (fold,) = run.folds
    assert f"4. {len(fold.test)} held-out clips joined to one recording of" in story
    timeline = run.model.timeline(run.output / "recording.mp4")
    seconds = sum(len(read_frames(clip.path).data) for clip in fold.test) / rendered.RATE_FPS
    assert abs(timeline.pts_seconds[-1] + 1 - seconds) <= 1  # one step a second
    assert table_row(story, "one state, kept")[1].endswith("%")
    with Image.open(run.output / "recording.png") as bars:
        assert (bars.format, bars.width) == ("PNG", 1200)


def test_the_output_may_have_any_name(tmp_path: Path) -> None:
    name = "a: b #1 [old] demo [/x]"  # to YAML and to the terminal some of that means something
    run, story = run_small_demo(tmp_path / name)
    assert run.model.training["data"] == "data"
    assert f"model   {tmp_path / name / 'model.safetensors'}" in story
    assert [path.name for path in tmp_path.iterdir()] == [Path(name).parts[0]]


@pytest.mark.slow
def test_order_decides_and_only_the_recurrent_head_sees_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run: TrainingRun = run_demo(tmp_path)
    story = capsys.readouterr().out
    report = json.loads((tmp_path / "report.json").read_text())
    assert report.keys() >= KEYS
    assert report["top1"] >= 0.95
    assert report["baseline_mean_pool_top1"] <= 0.60
    assert len(report["labels"]) >= 8
    assert report["num_clips"] == sum(map(sum, report["confusion"]))
    assert table_row(story, "lstm")[1] == f"{report['top1']:.1%}"
    assert table_row(story, "mean-pool")[1] == f"{report['baseline_mean_pool_top1']:.1%}"
    kept, slid = (
        float(table_row(story, name)[1].rstrip("%"))
        for name in ("one state, kept", "sliding window of 6 steps")
    )
    assert kept >= 90 > slid
    model = actionrnn.load(tmp_path / "model.safetensors")
    tested = run.folds[0].test
    right = sum(model.classify(clip.path).label == clip.label for clip in tested[::8])
    assert len(tested) == report["num_clips"]
    assert right >= 0.75 * len(tested[::8])
