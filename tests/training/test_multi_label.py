"""A head for overlapping labels, from a CSV to a report."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

import actionrnn
from actionrnn.apps.card import make_card
from actionrnn.apps.info import describe
from actionrnn.config import Config
from actionrnn.datasets.recordings import BACKGROUND
from actionrnn.errors import ConfigError, DatasetError
from actionrnn.evaluation.compare import compare_runs
from actionrnn.evaluation.evaluate import evaluate
from actionrnn.evaluation.report_page import PAGE_FILE
from actionrnn.evaluation.report_text import render_text
from actionrnn.model.model_file import read_model_info
from actionrnn.training.train import TrainingRun, train
from tests.tiny import write_recording

GROUPS = ("ann", "bob", "cid")
SHOWN = [("grey", 1), ("red", 2), ("purple", 2), ("blue", 2), ("grey", 2), ("red", 2)]
"""Colours and seconds of each recording; purple is red and blue, grey is neither."""
ON = {"red": ("red", "purple"), "blue": ("blue", "purple")}


def write_world(root: Path) -> Path:
    rows = []
    for seed, group in enumerate(GROUPS):
        colours = [colour for colour, seconds in SHOWN for _ in range(8 * seconds)]
        write_recording(root / f"{group}_1.mkv", colours, seed=seed)
        for label, shown in ON.items():
            begin = 0
            for colour, seconds in SHOWN:
                if colour in shown:
                    rows.append(f"{group}_1.mkv,{begin},{begin + seconds},{label}")
                begin += seconds
    (root / "labels.csv").write_text("\n".join(["path,start,end,label", *rows]))
    return root / "labels.csv"


@pytest.fixture(scope="module")
def config(configure: Callable[..., Config], tmp_path_factory: pytest.TempPathFactory) -> Config:
    return configure(
        write_world(tmp_path_factory.mktemp("overlaps")),
        "data.layout=annotations",
        "data.unlabelled=background",
        "data.fold=bob",
        "sampling.num_frames=null",
        "sampling.rate_fps=4",
        "head.multi_label=true",
        "train.window_steps=16",
        "train.state_warmup_steps=4",
        "train.epochs=60",
    )


@pytest.fixture(scope="module")
def trained(config: Config, tmp_path_factory: pytest.TempPathFactory) -> TrainingRun:
    """To be left as it is."""
    return train(config, tmp_path_factory.mktemp("runs") / "several")


def test_overlapping_labels_are_learned(trained: TrainingRun) -> None:
    report = trained.report
    assert report.labels == ("blue", "red")
    assert report.multi_label
    assert report.steps is not None
    head, window, mean_pool = report.steps.models.values()
    assert head.frame_map is not None
    assert head.frame_map > 0.95
    assert [one.label for one in report.steps.classes if one.frame_ap] == ["blue", "red"]
    assert head.accuracy > 0.8
    for rival in (window, mean_pool):
        assert rival.frame_map is not None
    assert report.top1 > 0.8
    tested = {clip.key: clip.label for clip in report.clips}
    assert tested["bob_1@3-5"] == "blue + red"
    assert tested["bob_1@-1"] == BACKGROUND
    assert trained.model.training["scores"]["frame_map"] > 0.95
    page = (trained.output / PAGE_FILE).read_text()
    assert "mAP of steps" in page


def shown(what: object) -> str:
    console = Console(file=io.StringIO(), width=200)
    console.print(what)
    return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]


def test_what_is_trained_and_tested_on_are_parts_in_every_output(trained: TrainingRun) -> None:
    """Each recording has 7 annotations, background included, which cut it into 6 parts."""
    assert (len(trained.folds[0].known), len(trained.folds[0].test)) == (14, 7)
    model = trained.output / "model.safetensors"
    card = make_card(read_model_info(model))
    rows = describe(model)
    page = (trained.output / PAGE_FILE).read_text()
    assert "12 parts of 2 groups" in card and "On 6 parts:" in card
    assert rows["trained on"].endswith("12 parts in 2 groups")
    assert rows["scores"].endswith("on 6 held-out parts")
    assert "6 test parts, 2 classes" in page
    assert sum(map(int, re.findall(r"(\d+) classes of parts: score", page))) == 2 * 6
    outputs = [
        shown(render_text(trained.report)),
        shown(compare_runs([trained.output] * 2)),
        page,
        card,
    ]
    for text in outputs:
        assert "parts" in text
        assert not re.search(r"\d (test |held-out )?clips|(all|of the|mean over|[│>]) *clips", text)


def test_an_evaluation_gives_the_numbers_of_the_training(trained: TrainingRun) -> None:
    report, own = evaluate(trained.output), trained.report
    assert report.top1 == own.top1
    assert report.clips[0].answer == own.clips[0].answer
    assert report.steps is not None
    assert own.steps is not None
    for ours, theirs in zip(report.steps.classes, own.steps.classes, strict=True):
        assert ours.frame_ap == pytest.approx(theirs.frame_ap)


def test_one_fold_says_why_there_is_no_temperature(trained: TrainingRun) -> None:
    assert trained.report.calibration is None
    note = trained.report.calibration_note
    assert "one fold without validation clips; set train.validation_fraction" in note
    assert trained.report.ece is not None
    assert note in (trained.output / PAGE_FILE).read_text()
    assert "never on the clips of a test" in evaluate(trained.output).calibration_note


def test_folds_calibrate_each_other(config: Config, tmp_path: Path) -> None:
    folds = replace(config, data=replace(config.data, fold="all"))
    both = [
        train(
            replace(
                folds, train=replace(folds.train, epochs=15, calibrate=one, label_smoothing=0.6)
            ),
            tmp_path / name,
        )
        for name, one in (("plain", False), ("scaled", True))
    ]
    plain, scaled = (run.report for run in both)
    found = scaled.calibration
    assert found is not None
    assert plain.calibration == replace(found, applied=False)
    assert (plain.ece, scaled.ece) == (found.ece_before, found.ece_after)
    assert scaled.top1 == plain.top1
    before, after = (run.model.head.tensors["classifier.weight"] for run in both)
    assert np.allclose(before, after * found.temperature, atol=1e-6)
    assert both[1].model.training["temperature"] == found.temperature
    assert "at temperature" in (tmp_path / "scaled" / PAGE_FILE).read_text()


def test_a_head_of_several_labels_needs_no_none_of_these(config: Config, tmp_path: Path) -> None:
    wanted = replace(config, train=replace(config.train, none_of_these=True))
    with pytest.raises(ConfigError, match="says it by itself: no label is on; set it to false"):
        train(wanted, tmp_path)


def test_other_recordings_may_lack_some_labels(trained: TrainingRun, tmp_path: Path) -> None:
    data = Path(str(trained.model.config.data.root or trained.report.config["data"]["root"]))
    rows = [line for line in data.read_text().splitlines() if not line.endswith("blue")]
    other = data.with_name("red.csv")
    other.write_text("\n".join(rows))
    layout = ("data.layout=annotations", "data.unlabelled=background")
    report = evaluate(trained.output, [f"data.root={other}", *layout])
    assert report.labels == ("blue", "red")
    assert report.steps is not None
    assert [one.label for one in report.steps.classes if one.frame_ap is not None] == ["red"]


@pytest.mark.parametrize("as_file", [True, False])
def test_other_recordings_ask_for_their_layout(trained: TrainingRun, as_file: bool) -> None:
    data = Path(str(trained.report.config["data"]["root"]))
    with pytest.raises(ConfigError, match=r"several labels at once .*data\.layout=annotations"):
        evaluate(trained.output, [f"data.root={data if as_file else data.parent}"])


def test_a_timeline_has_overlapping_segments(trained: TrainingRun) -> None:
    model = actionrnn.load(trained.output)
    video = Path(trained.report.clips[0].path)
    timeline = model.timeline(video)
    assert timeline.multi_label
    segments = timeline.segments()
    both = [
        (one.label, other.label)
        for one in segments
        for other in segments
        if one.start_seconds < other.start_seconds < one.end_seconds
    ]
    assert ("red", "blue") in both


def test_one_class_at_a_time_refuses_them(config: Config, tmp_path: Path) -> None:
    single = replace(config, head=replace(config.head, multi_label=False))
    with pytest.raises(DatasetError, match=r"overlap.*head\.multi_label=true"):
        train(single, tmp_path / "run")


def test_trimmed_clips_have_one_label_each(
    clips: Path, configure: Callable[..., Config], tmp_path: Path
) -> None:
    overrides = ("head.multi_label=true", "data.fold=bob", "train.label_smoothing=0")
    run = train(configure(clips, *overrides), tmp_path / "run")
    assert run.report.multi_label
    assert (run.report.num_clips, run.report.clip_name) == (3, "clip")
    assert run.report.top1 >= 2 / 3  # exactly its own class is on
    assert evaluate(run.output).top1 == run.report.top1
