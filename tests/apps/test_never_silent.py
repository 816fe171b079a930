"""Every command that may take long says on stderr how far it is, where that is no terminal."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from actionrnn import progress
from actionrnn.training.train import TrainingRun
from tests.apps.test_cli import run_command


@pytest.fixture
def model(run: TrainingRun, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.0)
    return run.output


def said_by(*args: object) -> str:
    """What a command says on stderr; what it prints is free of it."""
    done = run_command(*args)
    assert done.exit_code == 0, done.output
    assert not re.search(r"\d in \d+ s", done.stdout)
    assert "\x1b" not in done.stderr
    return done.stderr


def test_one_video_is_counted_in_steps_several_in_videos(clips: Path, model: Path) -> None:
    one, other = clips / "red" / "ann_red.avi", clips / "blue" / "ann_blue.avi"
    assert re.search(
        r"^reading ann_red.avi: \d of 4 \(\d+%\) in \d+ s",
        said_by("classify", one, "-m", model),
        re.M,
    )
    said = said_by("classify", one, other, "--json", "-m", model)
    assert re.search(r"^classifying: [012] of 2 \(\d+%\) in \d+ s", said, re.M)
    assert "reading" not in said
    early = said_by("classify", one, "--stop-at-confidence", 0.9, "-m", model)
    assert "reading ann_red.avi: " in early


def test_a_video_that_failed_is_counted(tmp_path: Path, clips: Path, model: Path) -> None:
    (tmp_path / "empty.avi").touch()
    done = run_command(
        "classify", tmp_path / "empty.avi", clips / "red" / "ann_red.avi", "-m", model
    )
    assert done.exit_code == 1
    assert re.findall("classifying: .*", done.stderr)[-1].startswith("classifying: 2 of 2 (100%)")
    assert done.stderr.splitlines()[-1].endswith(": 1 failed")


def test_timeline_and_render_tell_how_far_they_are(
    tmp_path: Path, clips: Path, model: Path
) -> None:
    video = clips / "red" / "ann_red.avi"
    assert "reading ann_red.avi: " in said_by("timeline", video, "-m", model)
    said = said_by("render", video, "-m", model, "--output", tmp_path / "out.mp4")
    assert "reading ann_red.avi: " in said and "writing out.mp4: " in said


def test_extract_and_store_tell_how_far_they_are(tmp_path: Path, clips: Path, model: Path) -> None:
    store = tmp_path / "store"
    assert "extracting features: " in said_by("extract", clips, "--output", store)
    assert "verifying: " in said_by("store", "verify", store)
    exported = said_by("store", "export", store, "--to", "npy", "--output", tmp_path / "npy")
    assert "exporting: " in exported
    assert "importing: " in said_by(
        "store", "import", tmp_path / "npy", "--output", tmp_path / "new"
    )


def test_train_and_evaluate_tell_how_far_they_are(tmp_path: Path, clips: Path, model: Path) -> None:
    said = said_by(
        *("train", "folder_example", f"data.root={clips}", "data.group_pattern=^([a-z0-9]+)_"),
        *("train.epochs=2", "sampling.rate_fps=4", "--output", tmp_path / "run"),
    )
    for doing in ("extracting features", "training", "testing "):
        assert f"{doing}" in said
    assert re.search(r"^training: \d+ of \d+ \(\d+%\) in \d+ s", said, re.M)
    assert "testing " in said_by("evaluate", tmp_path / "run", "--json")
