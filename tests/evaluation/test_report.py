"""What an evaluation found, and its JSON file."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from actionrnn.datasets.recordings import Recording
from actionrnn.errors import ActionrnnError
from actionrnn.evaluation.report import Report, read_report
from actionrnn.evaluation.step_predictions import StepPredictions
from actionrnn.evaluation.step_scores import StepResults, step_report
from actionrnn.evaluation.summary import make_report
from tests.evaluation.reports import LABELS, scored, shown


def test_folds_are_pooled(report: Report) -> None:
    assert report.num_clips == 6
    assert report.top1 == pytest.approx(3 / 6)
    assert report.baseline_mean_pool_top1 == pytest.approx(3 / 6)
    assert report.confusion == [[2, 0, 0], [0, 1, 0], [2, 1, 0]]
    assert report.mean_class_accuracy == pytest.approx((1 + 1 + 0) / 3)
    assert report.top5 == 1


def test_each_fold_has_its_own_numbers(report: Report) -> None:
    ann, bob = report.folds
    assert (ann.group, ann.num_clips, bob.group, bob.num_clips) == ("ann", 3, "bob", 3)
    assert (ann.top1, bob.top1) == pytest.approx((2 / 3, 1 / 3))
    assert ann.baseline_mean_pool_top1 == pytest.approx(1 / 3)
    assert bob.baseline_mean_pool_top1 == pytest.approx(2 / 3)


def test_folds_of_unequal_size_count_by_their_clips() -> None:
    folds = [scored("ann", [0], [0]), scored("bob", [0, 0, 0], [1, 1, 1])]
    assert make_report(LABELS, folds).top1 == 0.25


def test_json(report: Report, tmp_path: Path) -> None:
    path = tmp_path / "deep" / "report.json"
    report.write(path)
    read = json.loads(path.read_text())
    assert read["labels"] == list(LABELS)
    assert read["num_clips"] == 6
    assert read["top1"] == read["baseline_mean_pool_top1"] == 0.5
    assert read["mean_class_accuracy"] == pytest.approx(2 / 3)
    assert read["confusion"] == [[2, 0, 0], [0, 1, 0], [2, 1, 0]]
    assert [fold["group"] for fold in read["folds"]] == ["ann", "bob"]
    assert [fold["top1"] for fold in read["folds"]] == pytest.approx([2 / 3, 1 / 3])
    assert read["config"] == {"head": {"kind": "gru"}}
    assert read == json.loads(json.dumps(report.to_dict()))


def test_a_gain_of_nothing_is_bound_on_both_sides() -> None:
    answers, targets = [0, 1, 0, 2, 2, 1], [0, 1, 2, 2, 1, 1]
    report = make_report(LABELS, [scored("ann", answers, targets, baseline=answers)])
    unseen = 1 - 0.025 ** (1 / 6)
    assert report.intervals["gain_over_mean_pool"] == pytest.approx((-unseen, unseen))
    assert "against mean-pool +0.0 points (-45.9 to 45.9)" in shown(report)


def test_without_a_baseline_there_is_none() -> None:
    report = make_report(LABELS, [scored("ann", [0], [0])])
    assert report.baseline_mean_pool_top1 is None
    assert report.folds[0].baseline_mean_pool_top1 is None
    assert "ann 1 100.0% -" in shown(report)


def with_clips(people: str, answers: list[int], targets: list[int], **rest: Any) -> Report:
    """Clips of people a, b, ...; each letter is one clip's group."""
    one = scored("fold", answers, targets)
    clips = tuple(
        Recording.trimmed(
            Path(f"/videos/{row}.avi"), f"{LABELS[target]}/{row}", LABELS[target], person
        ).clips[0]
        for row, (person, target) in enumerate(zip(people, targets, strict=True))
    )
    no = (False,) * len(clips)
    return make_report(LABELS, [replace(one, clips=clips, seen=no, leaked=no)], **rest)


def test_groups_are_resampled_where_they_are_known() -> None:
    """Three clips each: ann is always right, bob never."""
    report = with_clips("aaabbb", [0] * 6, [0, 0, 0, 1, 1, 1])
    assert (report.resampled, report.num_units) == ("groups", 2)
    assert report.intervals["top1"] == (0, 1)
    assert "bootstrap intervals over 2 groups" in shown(report)


def test_ucf101_numbers_its_groups_anew_in_each_class() -> None:
    ucf101 = {"data": {"layout": "ucf101"}}
    report = with_clips("aaabbb", [0] * 6, [0, 0, 1, 1, 2, 2], config=ucf101)
    assert report.num_units == 4  # clap a, jump a, jump b, wave b


def test_one_group_has_no_interval_and_that_is_said() -> None:
    report = with_clips("aaa", [0, 1, 0], [0, 1, 1])
    assert report.intervals["top1"] is None
    assert "no 95 % intervals: one group alone says nothing of others" in shown(report)


def test_each_clip_is_listed_with_its_answer() -> None:
    clip = with_clips("ab", [0, 2], [0, 1]).clips[1]
    assert (clip.key, clip.label, clip.answer, clip.group) == ("jump/1", "jump", "wave", "b")
    assert (clip.path, clip.score, clip.label_score) == ("/videos/1.avi", 1, 0)
    assert clip.right_by_seed == (False,)


@pytest.mark.parametrize("where", ["folder", "file"])
def test_a_written_report_reads_back_equal(report: Report, tmp_path: Path, where: str) -> None:
    for one in (report, with_clips("aabb", [0, 1, 2, 0], [0, 1, 2, 2])):
        one.write(tmp_path / "report.json")
        assert read_report(tmp_path if where == "folder" else tmp_path / "report.json") == one


@pytest.fixture
def steps() -> StepResults:
    """Two recordings of 4 s; the head is late by half a second, the baseline never changes."""
    targets = np.repeat([0, 1], 20)
    late, never = np.repeat([0, 1], [25, 15]), np.zeros(40, int)
    one_hot = np.eye(3, dtype=np.float32)
    scores = {"gru": one_hot[late], "mean-pool, 1 s": one_hot[never]}
    return step_report(
        LABELS,
        [
            StepPredictions(f"{name}.avi", name, np.arange(40) / 10, targets, scores)
            for name in ("ann", "bob")
        ],
    )


def test_the_scores_of_steps_are_kept_and_shown(
    report: Report, steps: StepResults, tmp_path: Path
) -> None:
    whole = replace(report, steps=steps, observed_now={"gru": (0.5,) * 10})
    whole.write(tmp_path / "report.json")
    assert read_report(tmp_path) == whole
    text = shown(whole)
    assert "model ┃ steps right ┃ mean class ┃ F1@50 ┃ edit ┃ delay ┃" in text
    assert "gru 87.5% 87.5% 100.0% 100.0% 0.25 s" in text
    assert "mean-pool, 1 s 50.0% 50.0% 66.7% 50.0% 0.00 s" in text
    assert "2 recordings, 80 labelled steps, 4 true segments" in text
    assert (
        "95 % bootstrap intervals over 2 groups (fewer than 10: a rough guess); gru: steps" in text
    )
    assert "steps right" not in shown(report)
    # clap 20 of 25; jump 15 of 15 and then 20 of 40; kappa (0.875 - 0.5) / 0.5
    assert steps.models["gru"].frame_map == pytest.approx((0.8 + 0.75 + 0.25 / 2) / 2)
    assert "gru: mAP of steps 83." in text
    assert "kappa 0.75 (" in text
    assert "false alarms are not counted: there is no class background" in text


def test_a_report_from_before_the_steps_were_scored_is_read(report: Report, tmp_path: Path) -> None:
    report.write(tmp_path / "report.json")
    known = json.loads((tmp_path / "report.json").read_text())
    assert known.pop("steps") is None
    assert known.pop("observed_now") == {}
    (tmp_path / "report.json").write_text(json.dumps(known))
    assert read_report(tmp_path) == report


def test_a_report_from_before_bouts_were_scored_is_read(
    report: Report, steps: StepResults, tmp_path: Path
) -> None:
    replace(report, steps=steps).write(tmp_path / "report.json")
    known = json.loads((tmp_path / "report.json").read_text())
    for name in ("classes", "no_false_alarms"):
        del known["steps"][name]
    further = [name for name in known["steps"]["models"]["gru"] if "map" in name]
    for scores in known["steps"]["models"].values():
        for name in (*further, "kappa", "false_alarms_per_hour"):
            del scores[name]
            scores["intervals"].pop(name, None)
    (tmp_path / "report.json").write_text(json.dumps(known))
    old = read_report(tmp_path)
    assert old.steps is not None
    assert old.steps.models["gru"].accuracy == steps.models["gru"].accuracy
    assert "kappa" not in shown(old)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda steps: steps["classes"].pop(), "the labels, in their order"),
        (lambda steps: steps["models"]["gru"].update(kappa=-1.5), "greater than or equal to -1"),
        (lambda steps: steps["recordings"][0]["truth"][0].__setitem__(0, 3), "of the 3 labels"),
        (lambda steps: steps["recordings"][0]["truth"].clear(), "must have runs"),
        (lambda steps: steps["models"].clear(), "the scores of a model"),
        (lambda steps: steps["models"]["gru"].update(edit=1.5), "less than or equal to 1"),
    ],
)
def test_damaged_scores_of_steps_are_refused(
    report: Report, steps: StepResults, tmp_path: Path, change: Any, reason: str
) -> None:
    file = tmp_path / "report.json"
    replace(report, steps=steps).write(file)
    known = json.loads(file.read_text())
    change(known["steps"])
    file.write_text(json.dumps(known))
    with pytest.raises(ActionrnnError, match=f"is not a report of this version .*{reason}"):
        read_report(file)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"labels": 3}', "null", "\x00"])
def test_what_is_no_report_is_refused_in_one_line(tmp_path: Path, text: str) -> None:
    file = tmp_path / "report.json"
    file.write_text(text)
    with pytest.raises(ActionrnnError, match=r"report\.json: is not a report of this version"):
        read_report(file)
    with pytest.raises(ActionrnnError, match="cannot be read"):
        read_report(tmp_path / "nowhere")


def test_clips_that_were_trained_on_and_leaking_groups_are_told() -> None:
    one = with_clips("aab", [0, 1, 2], [0, 1, 2])
    clips = tuple(
        Recording.trimmed(Path(clip.path), clip.key, clip.label, clip.group).clips[0]
        for clip in one.clips
    )
    fold = scored("fold", [0, 1, 2], [0, 1, 2])
    fold = replace(fold, clips=clips, seen=(True, False, False), leaked=(False, True, False))
    report = make_report(LABELS, [fold])
    assert (report.seen_in_training, report.leaked_clips) == (1, 1)
    assert report.leaked_groups == ("a",)
    assert "NOTE: the model was trained on 1 of these 3 clips; the score is too good" in shown(
        report
    )
    assert "GROUP LEAK: 1 of these 3 clips are of groups that the model was" in shown(report)
    assert "LEAK" not in shown(one)
