"""A list with train, validation and test clips, from the command line to report and model."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import actionrnn
from actionrnn.apps.card import make_card
from actionrnn.apps.cli import main
from actionrnn.apps.info import describe
from actionrnn.config import Config
from actionrnn.evaluation.report import read_report
from actionrnn.model.model_file import read_model_info
from actionrnn.training.train import TrainingRun

SIDES = {"ann": "Train", "cid": "val", "bob": "test"}
SETTINGS = (
    "data.group_pattern=null",
    "sampling.rate_fps=4",
    "train.epochs=3",
    "train.validation_fraction=0",
    "train.patience_epochs=null",
    "head.hidden_size=8",
    "backbone.device=cpu",
)
COLUMN_NOTE = (
    "the manifest's columns camera are not used; read are path, label, group, split, start and end"
)


@pytest.fixture(scope="module")
def trained(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    """A run on a list of all clips; cid's choose the epoch, bob's are tested."""
    folder = tmp_path_factory.mktemp("list")
    rows = [
        f"{path};{path.parent.name};{SIDES[path.name[:3]]};left" for path in clips.rglob("*.avi")
    ]
    (folder / "clips.csv").write_text("\n".join(["Path;Label;Split;camera", *rows]))
    root = ("data.layout=manifest", f"data.root={folder / 'clips.csv'}")
    run = folder / "run"
    done = CliRunner().invoke(
        main, ["train", "folder_example", *root, *SETTINGS, "--output", str(run)]
    )
    assert done.exit_code == 0, done.output
    return run, done


def test_the_test_clips_are_those_that_the_list_names(trained: tuple[Path, Result]) -> None:
    report = read_report(trained[0])
    assert {Path(clip.path).name[:3] for clip in report.clips} == {"bob"}
    assert (report.num_clips, report.seen_in_training) == (3, 0)
    assert report.title == "clips: its own test clips"
    assert report.folds[0].group == "given"


def test_the_validation_clips_choose_the_epoch(trained: tuple[Path, Result]) -> None:
    """No groups are held back for it: all of the training clips train."""
    with (trained[0] / "curve.csv").open() as opened:
        curve = list(csv.DictReader(opened))
    assert len(curve) == 2 * 3
    right = {float(row["validation_top1"]) for row in curve}
    assert right <= {0, 1 / 3, 2 / 3, 1}
    training = read_model_info(trained[0]).training
    assert training["num_clips"] == len(training["fingerprints"]) == 6
    assert training["split"] == "given"
    assert training["scores"]["tested_on"] == ["given"]


def test_the_notes_are_said_before_the_work_and_in_every_output(
    trained: tuple[Path, Result],
) -> None:
    run, done = trained
    assert done.stderr.startswith(f"note: {COLUMN_NOTE}\n")
    assert f"note: {COLUMN_NOTE}" in " ".join(done.stdout.split())
    assert read_report(run).notes == (COLUMN_NOTE,)
    page = (run / "report.html").read_text(encoding="utf-8")
    assert COLUMN_NOTE.replace("'", "&#39;") in page
    assert describe(run)["note 1"] == COLUMN_NOTE
    assert COLUMN_NOTE.encode() not in (run / "model.safetensors").read_bytes()


def test_the_model_is_tested_on_the_same_clips_again(trained: tuple[Path, Result]) -> None:
    report = actionrnn.evaluate(trained[0])
    assert (report.num_clips, report.seen_in_training) == (3, 0)
    assert report.top1 == read_report(trained[0]).top1
    assert report.notes == (COLUMN_NOTE,)
    everything = actionrnn.evaluate(trained[0], ["data.split=none", "data.fold=all"])
    assert (everything.num_clips, everything.seen_in_training) == (9, 6)
    unused = "the data's own split (3 train, 3 validation, 3 test) is not used"
    assert everything.notes[1].startswith(unused)


def test_a_report_of_the_first_version_has_no_notes(
    trained: tuple[Path, Result], tmp_path: Path
) -> None:
    old = json.loads((trained[0] / "report.json").read_text())
    del old["notes"]
    (tmp_path / "report.json").write_text(json.dumps(old))
    assert read_report(tmp_path).notes == ()


def test_a_search_is_judged_by_the_validation_clips(
    trained: tuple[Path, Result], tmp_path: Path
) -> None:
    """The training side alone is one group a class: nothing could be held back of it."""
    config = read_report(trained[0]).config
    features = next((trained[0] / "features").iterdir())
    root = ("data.layout=manifest", f"data.root={config['data']['root']}")
    settings = (*root, *SETTINGS, f"data.features={features}", "train.search=2")
    done = CliRunner().invoke(
        main, ["train", "folder_example", *settings, "--output", str(tmp_path / "run")]
    )
    assert done.exit_code == 0, done.output
    trials = read_report(tmp_path / "run").trials
    assert [trial["fold"] for trial in trials] == ["given", "given"]


@pytest.mark.parametrize(
    ("seen", "in_info", "in_card"),
    [
        (0, "on 25 held-out clips", "On 25 clips:"),
        (
            4,
            "on 25 clips, 4 of which it was trained on",
            "On 25 clips, 4 of which it was TRAINED on: the score is too good:",
        ),
        (
            25,
            "on 25 clips, 25 of which it was trained on",
            "On 25 clips, 25 of which it was TRAINED on: no test:",
        ),
    ],
)
def test_info_and_card_count_the_clips_that_were_trained_on(
    run: TrainingRun, tmp_path: Path, seen: int, in_info: str, in_card: str
) -> None:
    """Four of 25 were said to be all of them."""
    scores = {**run.model.training["scores"], "num_clips": 25, "seen_in_training": seen}
    model = replace(run.model, training={**run.model.training, "scores": scores})
    model.save(tmp_path / "model.safetensors")
    assert describe(tmp_path / "model.safetensors")["scores"].endswith(in_info)
    assert in_card in make_card(read_model_info(tmp_path / "model.safetensors"))


def test_copies_are_of_one_side_and_said(
    make_clips: Callable[..., Path], configure: Callable[..., Config], tmp_path: Path
) -> None:
    """Five copies lay on both sides of a holdout."""
    root = make_clips(("ann", "bob", "cid"), ("blue", "red"))
    for label in ("blue", "red"):
        shutil.copyfile(root / label / f"ann_{label}.avi", root / label / f"dee_{label}.avi")
    config = configure(root, "data.group_pattern=null", "data.split=holdout", "train.epochs=1")
    report = actionrnn.train(config, tmp_path / "run").report
    assert report.seen_in_training == 0
    assert report.title.endswith("a random holdout of its clips")
    assert any(note.startswith("2 of 8 clips are copies of others") for note in report.notes)
