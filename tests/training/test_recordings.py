"""Recordings with annotations, from a CSV to a report: trained on whole, tested part by part."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from actionrnn.apps.card import make_card
from actionrnn.config import Config
from actionrnn.datasets.recordings import BACKGROUND, IGNORE
from actionrnn.datasets.sequences import Sequences
from actionrnn.errors import ConfigError, DatasetError
from actionrnn.evaluation.evaluate import evaluate
from actionrnn.model.model_file import read_model_info
from actionrnn.training import experiment
from actionrnn.training.fit import Fit, fit_head
from actionrnn.training.fit_state import FitTask
from actionrnn.training.train import TrainingRun, train
from tests.tiny import write_recording

GROUPS = ("ann", "bob", "cid")
SHOWN = [("grey", 1), ("red", 2), ("blue", 2), ("grey", 2), ("red", 1), ("grey", 1)]
"""Colours and seconds of each recording; grey is not labelled."""
STEPS = 2 * 9

ConfigureRecordings = Callable[..., Config]


@pytest.fixture(scope="module")
def labels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recording for each group, and a CSV that says when it is red and when blue."""
    root = tmp_path_factory.mktemp("recordings")
    rows = []
    for seed, group in enumerate(GROUPS):
        colours: list[str] = []
        for colour, seconds in SHOWN:
            begin = len(colours) // 8
            colours += [colour] * (8 * seconds)
            if colour != "grey":
                rows.append(f"{group}_1.mkv,{begin},{begin + seconds},{colour}")
        write_recording(root / f"{group}_1.mkv", colours, seed=seed)
    # the order of the rows says nothing
    (root / "labels.csv").write_text("\n".join(["path,start,end,label", *rows[::-1]]))
    return root / "labels.csv"


@pytest.fixture(scope="module")
def configure_recordings(labels: Path, configure: Callable[..., Config]) -> ConfigureRecordings:
    def make(*overrides: str) -> Config:
        return configure(
            labels,
            "data.layout=annotations",
            "sampling.num_frames=null",
            "sampling.rate_fps=2",
            "train.window_steps=8",
            "train.state_warmup_steps=4",
            "train.epochs=60",
            "train.learning_rate=0.005",
            "head.dropout=0",  # learned for certain, whatever the processor's arithmetic
            *overrides,
        )

    return make


@pytest.fixture(scope="module")
def ignoring(
    configure_recordings: ConfigureRecordings, tmp_path_factory: pytest.TempPathFactory
) -> TrainingRun:
    """Each group left out in turn; to be left as it is."""
    return train(configure_recordings(), tmp_path_factory.mktemp("runs") / "ignoring")


@pytest.fixture
def tasks(monkeypatch: pytest.MonkeyPatch) -> list[FitTask]:
    """What was trained on what."""
    seen: list[FitTask] = []

    def note(task: FitTask, *args: object, **options: object) -> Fit:
        seen.append(task)
        return fit_head(task, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(experiment, "fit_head", note)
    return seen


def steps_of(sequences: Sequences, target: int) -> int:
    return int(sequences.lengths[sequences.targets == target].sum())


def test_time_without_a_label_is_not_tested(ignoring: TrainingRun) -> None:
    report = ignoring.report
    assert report.labels == ("blue", "red")
    tested = {clip.key: clip.label for clip in report.clips if clip.group == "bob"}
    assert tested == {"bob_1@1-3": "red", "bob_1@3-5": "blue", "bob_1@7-8": "red"}
    assert report.num_clips == 3 * len(GROUPS)
    assert [fold.name for fold in ignoring.folds] == list(GROUPS)


def test_each_labelled_step_of_the_test_recordings_is_scored(ignoring: TrainingRun) -> None:
    steps = ignoring.report.steps
    assert steps is not None
    assert not steps.joined
    assert (steps.num_recordings, steps.num_groups) == (len(GROUPS), len(GROUPS))
    assert (steps.num_steps, steps.num_unlabelled_steps) == (10 * len(GROUPS), 8 * len(GROUPS))
    assert steps.background is None
    head, window, mean_pool = steps.models
    assert (head, window.split(",")[0], mean_pool.split(",")[0]) == ("gru", "gru", "mean-pool")
    names = [recording.name for recording in steps.recordings]
    assert names == [f"{group}_1" for group in GROUPS]


def test_whole_recordings_are_trained_on(
    configure_recordings: ConfigureRecordings,
    ignoring: TrainingRun,
    tasks: list[FitTask],
) -> None:
    config = configure_recordings(
        "data.fold=bob", "train.epochs=1", "train.validation_fraction=0.15"
    )
    train(config, ignoring.output.parent / "whole")
    head, baseline = tasks
    for task in (head, baseline):
        assert task.sequences.continuous
        assert task.validation is not None
        assert task.validation.continuous
        sides = [{*side.recordings} for side in (task.sequences, task.validation)]
        assert sorted(map(sorted, sides)) == [["ann_1"], ["cid_1"]]
        for side in (task.sequences, task.validation):
            counts = [steps_of(side, target) for target in (0, 1, IGNORE)]
            assert counts == [4, 6, 8]
            (parts,) = side.recordings.values()
            times = np.concatenate([side.pts_seconds[part] for part in parts])
            np.testing.assert_allclose(times, np.arange(STEPS) / 2, atol=1e-3)


def test_background_is_a_class(
    configure_recordings: ConfigureRecordings,
    ignoring: TrainingRun,
    tasks: list[FitTask],
) -> None:
    config = configure_recordings("data.unlabelled=background", "data.fold=bob")
    run = train(config, ignoring.output.parent / "background")
    assert run.report.labels == (BACKGROUND, "blue", "red")
    assert run.report.num_clips == 6
    assert run.report.top1 >= 0.8  # chance: a third
    for task in tasks:
        assert task.sequences.continuous
        assert IGNORE not in task.sequences.targets
    assert run.report.steps is not None
    assert run.report.steps.background == BACKGROUND
    assert run.report.steps.num_unlabelled_steps == 0
    assert evaluate(run.output).top1 >= 0.8


def test_thresholds_of_events_are_chosen_on_the_recordings_of_others(
    configure_recordings: ConfigureRecordings, ignoring: TrainingRun
) -> None:
    # in so few seconds a rate that is met needs no luck
    wanted = ("train.event_thresholds=true", "train.false_alarms_per_hour=10000")
    config = configure_recordings("data.unlabelled=background", *wanted)
    report = train(config, ignoring.output.parent / "events").report
    assert (report.events is None) != (report.no_events == "")
    assert report.events is not None
    assert report.events.num_true == 3 * len(GROUPS)
    assert report.events.num_groups == len(report.events.tested_rules) == len(GROUPS)
    with pytest.raises(ConfigError, match=r"false alarms need a class background"):
        train(
            configure_recordings("train.event_thresholds=true"),
            ignoring.output.parent / "refused",
        )


def test_the_card_tells_the_precision_of_steps_with_its_interval(ignoring: TrainingRun) -> None:
    assert ignoring.report.steps is not None
    head = ignoring.report.steps.models["gru"]
    assert head.frame_map is not None
    bounds = head.intervals["frame_map"]
    assert bounds is not None
    row = f"| mAP of steps | {head.frame_map:.1%} | {bounds[0]:.1%} to {bounds[1]:.1%} |"
    assert row in make_card(read_model_info(ignoring.output))


def test_the_baseline_sees_the_frames_of_a_recording_alone(
    configure_recordings: ConfigureRecordings, tasks: list[FitTask], tmp_path: Path
) -> None:
    """Of features that hold each frame and its change, which only the head and another see."""
    config = configure_recordings("backbone.modality=both", "data.fold=bob", "train.epochs=1")
    train(config, tmp_path / "run")
    assert all(task.sequences.continuous for task in tasks)
    assert [task.sequences.feature_size for task in tasks] == [2560, 1280, 2560]


def test_the_model_is_evaluated_on_its_own_recordings(ignoring: TrainingRun, labels: Path) -> None:
    report = evaluate(ignoring.output)
    assert report.num_clips == report.seen_in_training == 3 * len(GROUPS)
    assert report.top1 == 1
    again = evaluate(ignoring.output, ["data.fold=bob", "data.split=leave_one_group_out"])
    assert {clip.group for clip in again.clips} == {"bob"}


def test_the_model_is_evaluated_on_clips_and_on_other_recordings(
    ignoring: TrainingRun, tmp_path: Path
) -> None:
    colours = ["grey"] * 8 + ["blue"] * 16 + ["red"] * 16
    write_recording(tmp_path / "x.mkv", colours, seed=9)
    file = tmp_path / "others.csv"
    file.write_text("path,start,end,label\nx.mkv,1,3,blue\nx.mkv,3.5,5,red\n")
    for override in ("data.layout=manifest", "data.layout=annotations"):
        report = evaluate(ignoring.output, [f"data.root={file}", override])
        assert [clip.key for clip in report.clips] == ["x@1-3", "x@3.5-5"]
        assert report.top1 == 1
        assert report.seen_in_training == 0
    with pytest.raises(DatasetError, match=r"labels that the model does not know \(background\)"):
        evaluate(
            ignoring.output,
            [f"data.root={file}", "data.layout=annotations", "data.unlabelled=background"],
        )


def test_settings_are_searched_on_recordings_that_are_held_back(
    configure_recordings: ConfigureRecordings, ignoring: TrainingRun
) -> None:
    config = configure_recordings("data.fold=bob", "train.epochs=2", "train.search=2")
    run = train(config, ignoring.output.parent / "searched")
    losses = [trial["validation_loss"] for trial in run.report.trials]
    assert len(losses) == 2
    assert np.isfinite(losses).all()


def test_an_unfinished_fit_is_not_resumed_with_other_labels(
    labels: Path,
    configure_recordings: ConfigureRecordings,
    ignoring: TrainingRun,
    tasks: list[FitTask],
    tmp_path: Path,
) -> None:
    """Neither with a bound that was moved, nor with a label that was changed."""
    text = labels.read_text(encoding="utf-8").replace("\n", f"\n{labels.parent}/")
    (store,) = (ignoring.output / "features").iterdir()
    file = tmp_path / "labels.csv"
    common = f"data.root={file}", f"data.features={store}", "data.fold=bob", "train.epochs=1"
    found = []
    for written, other in (("", ""), ("1,3,red", "1,2.5,red"), ("7,8,red", "7,8,blue")):
        file.write_text(text.replace(written, other))
        train(configure_recordings(*common), tmp_path / f"run{len(found)}")
        found.append(tasks[0].identity()["clips"])
        tasks.clear()
    assert len({*found}) == 3


def test_groups_may_have_annotations_of_other_lengths(
    labels: Path, configure_recordings: ConfigureRecordings, tmp_path: Path
) -> None:
    """Each fold's scores of steps are in one table, whatever its clips' median length."""
    rows = labels.read_text(encoding="utf-8").replace("\n", f"\n{labels.parent}/")
    rows = rows.replace("bob_1.mkv,1,3", "bob_1.mkv,1,2").replace("bob_1.mkv,3,5", "bob_1.mkv,3,4")
    (tmp_path / "labels.csv").write_text(rows)
    config = configure_recordings(f"data.root={tmp_path / 'labels.csv'}", "train.epochs=1")
    run = train(config, tmp_path / "run")
    assert run.report.steps is not None
    again = evaluate(run.output, ["data.split=leave_one_group_out"])
    assert again.steps is not None
    assert [*again.steps.models] == [*run.report.steps.models][:2]


def test_frames_spread_evenly_are_no_steps_of_a_recording(
    configure_recordings: ConfigureRecordings, tmp_path: Path
) -> None:
    config = configure_recordings("sampling.rate_fps=null", "sampling.num_frames=8")
    with pytest.raises(ConfigError, match=r"sampling is 8 frames evenly; set sampling\.rate_fps=4"):
        train(config, tmp_path / "run")
    assert not [*tmp_path.rglob("*.safetensors")]


def test_notes_on_the_annotations_are_printed_and_reported(
    labels: Path,
    configure_recordings: ConfigureRecordings,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    rows = labels.read_text(encoding="utf-8").replace("\n", f"\n{labels.parent}/")
    rows += f"\n{labels.parent}/bob_1.mkv,90,95,red"
    (tmp_path / "labels.csv").write_text(rows)
    config = configure_recordings(f"data.root={tmp_path / 'labels.csv'}", "train.epochs=1")
    run = train(config, tmp_path / "run")
    printed = capsys.readouterr().err
    for wanted in ("1 of 10 annotations are left out", "1 annotations end after the last frame"):
        assert sum(wanted in note for note in run.report.notes) == 1
        assert printed.count(wanted) == 1
