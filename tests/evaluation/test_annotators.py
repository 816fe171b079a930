"""Two annotators: worked out by hand, and against a fine grid of time."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from actionrnn.datasets.annotations.marks import Mark, Marks, Span
from actionrnn.datasets.recordings import BACKGROUND
from actionrnn.errors import ActionrnnError, DatasetError
from actionrnn.evaluation.agreement import Agreement, write_agreement
from actionrnn.evaluation.annotators import compare_annotators, groups_of
from actionrnn.evaluation.bout_scores import write_bouts
from actionrnn.evaluation.step_predictions import StepPredictions
from actionrnn.evaluation.step_scores import step_report

Said = tuple[str, float | None, float | None]

quick = settings(max_examples=60, deadline=None, derandomize=True)


def marks(
    *said: Said,
    name: str = "ann.csv",
    video: str = "a.mp4",
    looked_at: Mapping[str, tuple[Span, ...]] | None = None,
    duration: float | None = None,
    subject: str = "",
) -> Marks:
    return Marks(
        file=Path("/home/lab") / name,
        format="CSV",
        marks=tuple(Mark(label, start, end, video, subject) for label, start, end in said),
        looked_at=looked_at or {},
        duration_seconds={} if duration is None else {video: duration},
    )


def whole(end: float) -> dict[str, tuple[Span, ...]]:
    return {"a.mp4": ((0.0, end),)}


def shown(agreement: Agreement) -> str:
    console = Console(file=io.StringIO(), width=80)
    console.print(agreement)
    return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]


def test_two_annotators_worked_out_by_hand() -> None:
    """100 s. Eat: 10-30 and 60-70 against 15-30 and 80-90. Run: 40-50 by both."""
    ann = marks(("eat", 10, 30), ("eat", 60, 70), ("run", 40, 50), looked_at=whole(100))
    bob = marks(("eat", 15, 30), ("run", 40, 50), ("eat", 80, 90), looked_at=whole(100))
    found = compare_annotators(ann, bob)
    eat, run = found.classes
    assert (eat.label, eat.num_true, eat.num_predicted, eat.num_matched) == ("eat", 2, 2, 1)
    assert (eat.precision, eat.recall, eat.f1) == (0.5, 0.5, 0.5)
    assert (eat.true_seconds, eat.predicted_seconds) == (30, 25)
    assert (eat.true_share, eat.predicted_share) == pytest.approx((0.3, 0.25))
    # both 15 s, neither 60 s
    chance = 0.3 * 0.25 + 0.7 * 0.75
    assert eat.kappa == pytest.approx((0.75 - chance) / (1 - chance))
    assert eat.false_alarms_per_hour == pytest.approx(36)
    assert (run.kappa, run.f1, run.true_share) == (1, 1, 0.1)
    # all: eat 15, run 10, nothing 50; of 30, 10, 60 and 25, 10, 65
    chance = 0.3 * 0.25 + 0.1 * 0.1 + 0.6 * 0.65
    assert found.kappa == pytest.approx((0.75 - chance) / (1 - chance))
    assert (found.seconds, found.num_videos, found.kappa_interval) == (100, 1, None)
    assert found.notes == ()


def test_the_scores_of_a_model_worked_out_by_hand() -> None:
    """The same 100 s. Runs: eat 10-30, run 40-50, eat 60-70 against 15-30, 40-50, 80-90."""
    ann = marks(("eat", 10, 20), ("eat", 20, 30), ("eat", 60, 70), ("run", 40, 50))
    bob = marks(("eat", 15, 30), ("run", 40, 50), ("eat", 80, 90), name="bob.csv")
    found = compare_annotators(ann, bob, looked_at={"a.mp4": [(0, 100)]}).scores
    assert found.accuracy == pytest.approx(0.75)  # eat 15 s, run 10, none of them 50
    assert found.mean_class_accuracy == pytest.approx(np.mean([15 / 30, 10 / 10, 50 / 60]))
    # of 3 and 3 segments two match, at 15 / 20 and at 10 / 10
    assert found.f1_at_10 == found.f1_at_50 == pytest.approx(2 / 3)
    assert found.edit == 1  # eat, run, eat in both
    assert found.delay_seconds == 2.5  # eat 5 s late, run at once, the last eat missed
    assert found.missed == pytest.approx(1 / 3)
    assert found.false_alarms_per_hour == pytest.approx(36)
    assert (found.frame_map, found.segment_map) == (None, None)
    assert set(found.intervals.values()) == {None}


def test_scores_of_overlapping_labels_are_those_of_each_label() -> None:
    """10 s: walk all the time by both; wave 2-6 and 5-9, of which 1 s of 7 is in common."""
    ann = marks(("walk", 0, 10), ("wave", 2, 6), looked_at=whole(10))
    bob = marks(("walk", 0, 10), ("wave", 5, 9), looked_at=whole(10), name="bob.csv")
    found = compare_annotators(ann, bob).scores
    assert found.accuracy == pytest.approx(0.4)  # the sets agree at 0-2, 5-6, 9-10
    assert (found.mean_class_accuracy, found.edit) == (None, None)
    assert (found.f1_at_10, found.f1_at_25) == (1, 0.5)
    assert (found.delay_seconds, found.missed) == (1.5, 0)


def test_where_labels_overlap_each_set_of_them_is_a_thing_to_say() -> None:
    """10 s: walk all the time by both; wave 2-6 and 2-4. Sets: {walk} 6 and 8, both 4 and 2."""
    ann = marks(("walk", 0, 10), ("wave", 2, 6), looked_at=whole(10))
    bob = marks(("walk", 0, 10), ("wave", 2, 4), looked_at=whole(10))
    found = compare_annotators(ann, bob)
    chance = 0.6 * 0.8 + 0.4 * 0.2
    assert found.kappa == pytest.approx((0.8 - chance) / (1 - chance))
    walk, wave = found.classes
    assert walk.kappa is None  # both all the time: chance is all
    assert (walk.f1, wave.f1) == (1, 1)
    assert wave.kappa == pytest.approx(found.kappa)


def test_only_the_time_at_which_both_looked_counts() -> None:
    """10-20 and 30-40: what lies outside is cut, and a mark over the gap is two bouts."""
    ann = marks(("eat", 0, 15), ("run", 18, 35), looked_at={"a.mp4": ((0.0, 20.0), (30.0, 50.0))})
    bob = marks(
        *(("eat", 10, 15), ("eat", 22, 28), ("run", 18, 35)),
        looked_at={"a.mp4": ((10.0, 40.0),)},
        name="bob.csv",
    )
    found = compare_annotators(ann, bob)
    eat, run = found.classes
    assert found.seconds == 20
    assert (eat.kappa, run.kappa, found.kappa) == (1, 1, 1)
    assert (eat.num_true, eat.num_predicted, run.num_true, run.num_matched) == (1, 1, 2, 2)
    assert (eat.true_seconds, run.true_seconds) == (5, 7)
    assert found.notes == (
        "2 marks of ann.csv are cut where not both looked",
        "1 marks of bob.csv are cut where not both looked",
        "1 marks of bob.csv lie where not both looked",
    )


def test_the_caller_may_say_where_both_looked() -> None:
    ann, bob = marks(("eat", 0, 10)), marks(("eat", 0, 30), name="bob.csv")
    found = compare_annotators(ann, bob, looked_at={"a.mp4": [(0, 5), (5, 20)]})
    assert (found.seconds, found.classes[0].kappa) == (20, 0)
    assert found.notes == ("1 marks of bob.csv are cut where not both looked",)


def test_what_is_assumed_of_the_time_is_said_and_then_no_false_alarm_is_counted() -> None:
    ann, bob = marks(("eat", 5, 10)), marks(("eat", 10, 15), name="bob.csv", duration=40)
    known = compare_annotators(ann, bob)
    assert known.seconds == 40
    assert known.notes == (
        "1 videos of which a file does not say where somebody looked are taken as looked at whole",
    )
    assert known.classes[0].false_alarms_per_hour is None
    by_marks = compare_annotators(ann, marks(("eat", 10, 15), name="bob.csv"))
    assert by_marks.seconds == 10
    assert "from the first begin to the last end of all marks" in by_marks.notes[0]
    with pytest.raises(DatasetError, match="none says how long the video is"):
        compare_annotators(ann, marks(("eat", None, None)))
    of_one = compare_annotators(ann, marks(("eat", None, None), looked_at=whole(20)))
    assert (of_one.seconds, of_one.classes[0].predicted_share) == (20, 1)


def test_a_video_goes_as_far_as_it_declares() -> None:
    """Its clock may begin late, and either file may know it by its name."""
    ann = marks(("eat", 1005, 1010), duration=1040)
    bob = marks(("eat", 1010, 1015), name="bob.csv", video="films/a.mp4")
    whole_video = {"films/a.mp4": (1000.0, 1060.0)}
    found = compare_annotators(ann, bob, spans=whole_video)
    assert found.seconds == 60
    assert found.classes[0].kappa == pytest.approx(1 - (10 / 60) / (2 * (5 / 60) * (55 / 60)))
    assert compare_annotators(bob, ann, spans=whole_video).seconds == 60
    # a length that it does not declare is the file's
    assert compare_annotators(ann, bob, spans={"a.mp4": (1000.0, None)}).seconds == 40
    assert compare_annotators(ann, bob, spans={"b.mp4": (0.0, 5.0)}).seconds == 1040
    # where somebody said to have looked, nothing else counts
    said = marks(("eat", 1005, 1010), looked_at={"a.mp4": ((1000.0, 1090.0),)})
    assert compare_annotators(said, bob, spans=whole_video).seconds == 60
    both = marks(("eat", 1010, 1015), name="bob.csv", looked_at={"a.mp4": ((1000.0, 1030.0),)})
    assert compare_annotators(said, both, spans=whole_video).seconds == 30
    # a mark without bounds lasts as long as the video
    every = marks(("eat", None, None))
    assert compare_annotators(every, bob, spans=whole_video).classes[0].true_seconds == 60


def test_points_and_background_are_no_bouts() -> None:
    ann = marks(("eat", 0, 5), ("cough", 7, 7), ("background", 5, 10), looked_at=whole(10))
    bob = marks(("eat", 0, 5), looked_at=whole(10), name="bob.csv")
    found = compare_annotators(ann, bob)
    assert [one.label for one in found.classes] == ["eat"]
    assert found.kappa == 1
    assert found.notes == ("1 points of ann.csv have no length",)


def test_a_label_of_one_alone_and_several_subjects_are_noted() -> None:
    ann = marks(("eat", 0, 5), ("rest", 5, 8), looked_at=whole(10))
    ann = replace(
        ann,
        marks=(*ann.marks, Mark("eat", 6, 9, "a.mp4", "Rex"), Mark("eat", 6, 9, "a.mp4", "Tom")),
    )
    bob = marks(("eat", 0, 5), looked_at=whole(10), name="bob.csv")
    found = compare_annotators(ann, bob)
    eat, rest = found.classes
    assert (rest.kappa, rest.recall, rest.precision) == (0, 0, None)
    assert (eat.num_true, eat.true_seconds) == (3, 8)  # the time counts once
    assert found.notes == (
        "ann.csv: marks of 2 subjects are compared together (Rex, Tom); choose one to compare it "
        "alone",
        "ann.csv: has labels that the other never uses: rest",
    )


def test_videos_are_found_by_their_names() -> None:
    def of(*videos: str, name: str) -> Marks:
        return Marks(
            Path(name),
            "CSV",
            tuple(Mark("eat", 0, 5, video) for video in videos),
            dict.fromkeys(videos, ((0.0, 10.0),)),
        )

    found = compare_annotators(
        of("x/a.mp4", "b.mp4", "c.mp4", name="ann.csv"),
        of("b.mp4", r"D:\films\a.avi", "d.mp4", name="bob.csv"),
    )
    assert (found.num_videos, found.seconds, found.kappa) == (2, 20, 1)
    assert found.notes == (
        "ann.csv: 1 videos are not in the other file and are left out (the first: c.mp4)",
        "bob.csv: 1 videos are not in the other file and are left out (the first: d.mp4)",
    )
    alone = compare_annotators(of("a.mp4", name="ann.csv"), of("", name="bob.eaf"))
    assert alone.notes == ("a.mp4 and the unnamed video are taken for one",)
    with pytest.raises(DatasetError, match=r"no video in common \(a.mp4, b.mp4; c.mp4\)"):
        compare_annotators(of("a.mp4", "b.mp4", name="ann.csv"), of("c.mp4", name="bob.csv"))


def test_what_cannot_be_compared_is_refused() -> None:
    ann = marks(("eat", 0, 5), looked_at=whole(10))
    empty = marks(looked_at=whole(10))
    with pytest.raises(DatasetError, match="mark no interval; nothing to compare"):
        compare_annotators(empty, empty)
    elsewhere = marks(("eat", 0, 5), looked_at={"a.mp4": ((20.0, 30.0),)})
    with pytest.raises(DatasetError, match="there is no time at which both looked"):
        compare_annotators(ann, elsewhere)
    assert compare_annotators(ann, empty).classes[0].kappa == 0  # who marks nothing has looked


def test_intervals_draw_videos_or_their_groups() -> None:
    rng = np.random.default_rng(0)
    files = []
    for _ in range(2):
        said = []
        for video in range(12):
            edges = np.sort(rng.uniform(0, 100, 8)) + 10 * np.arange(8)
            said += [
                Mark("eat", start, end, f"{video}.mp4")
                for start, end in edges.reshape(-1, 2).tolist()
            ]
        looked_at = {f"{video}.mp4": ((0.0, 180.0),) for video in range(12)}
        files.append(Marks(Path("x.csv"), "CSV", tuple(said), looked_at))
    found = compare_annotators(*files)
    low, high = found.kappa_interval or (1, 0)
    assert found.kappa is not None
    assert low < found.kappa < high
    (eat,) = found.classes
    for name in ("kappa", "f1", "precision", "true_share", "false_alarms_per_hour"):
        low, high = eat.intervals[name] or (1, 0)
        assert low < getattr(eat, name) < high
    groups = {f"{video}.mp4": str(video % 3) for video in range(12)}
    assert compare_annotators(*files, groups=groups).num_groups == 3
    assert "over 12 videos" in shown(found)
    assert "over 3 groups of videos" in shown(compare_annotators(*files, groups=groups))


MARKED = st.lists(
    st.tuples(st.sampled_from("abc"), st.integers(0, 20), st.integers(1, 9)), max_size=8
).map(lambda some: [(label, start, start + length) for label, start, length in some])
LOOKED = st.lists(st.tuples(st.integers(0, 20), st.integers(1, 12)), min_size=1, max_size=3).map(
    lambda some: tuple((start, start + length) for start, length in some)
)


@quick
@given(MARKED, MARKED, LOOKED, LOOKED)
def test_it_is_what_a_grid_of_single_seconds_says(
    mine: list[Said], theirs: list[Said], here: tuple[Span, ...], there: tuple[Span, ...]
) -> None:
    counted = [
        second
        for second in range(40)
        if all(any(start <= second < end for start, end in one) for one in (here, there))
    ]
    if not counted or not mine + theirs:
        return
    ann, bob = marks(*mine, looked_at={"a.mp4": here}), marks(*theirs, looked_at={"a.mp4": there})
    found = compare_annotators(ann, bob)

    def states(said: list[Said]) -> list[str]:
        return [
            "".join(sorted({label for label, start, end in said if start <= second < end}))
            for second in counted
        ]

    def kappa(one: list[object], other: list[object]) -> float | None:
        agreed = np.mean([a == b for a, b in zip(one, other, strict=True)])
        chance = sum(one.count(what) * other.count(what) for what in set(one)) / len(one) ** 2
        return None if chance == 1 else (agreed - chance) / (1 - chance)

    one, other = states(mine), states(theirs)
    assert found.seconds == len(counted)
    assert found.kappa == pytest.approx(kappa(list(one), list(other)))
    for label in found.classes:
        a, b = ([label.label in state for state in some] for some in (one, other))
        assert label.kappa == pytest.approx(kappa(list(a), list(b)))
        assert (label.true_seconds, label.predicted_seconds) == (sum(a), sum(b))


LINE = st.lists(st.sampled_from(".ab"), min_size=6, max_size=20)


@quick
@given(st.lists(st.tuples(LINE, LINE), min_size=1, max_size=3))
def test_the_scores_are_those_of_a_model_that_says_the_same(
    videos: list[tuple[list[str], list[str]]],
) -> None:
    """Steps of 10 s, which the rules of a timeline neither smooth nor merge."""
    names = ("a", "b", BACKGROUND)
    files = [Marks(Path(name), "any", ()) for name in ("ann", "bob")]
    recordings, looked_at = [], {}
    for number, lines in enumerate(videos):
        length = min(map(len, lines))
        looked_at[f"{number}"] = [(0.0, 10.0 * length)]
        for place, line in enumerate(lines):
            said = tuple(
                Mark(label, 10.0 * step, 10.0 * step + 10, f"{number}")
                for step, label in enumerate(line[:length])
                if label != "."
            )
            marks_now = files[place].marks + said
            looked = {**files[place].looked_at, f"{number}": ((0.0, 10.0 * length),)}
            files[place] = replace(files[place], marks=marks_now, looked_at=looked)
        true, found = (
            np.array([names.index(BACKGROUND if c == "." else c) for c in line[:length]])
            for line in lines
        )
        recordings.append(
            StepPredictions(
                name=f"{number}",
                group=f"{number}",
                pts_seconds=10.0 * np.arange(length),
                targets=true,
                scores={"bob": np.eye(3, dtype=np.float32)[found]},
            )
        )
    if not files[0].marks + files[1].marks:
        return
    scores = compare_annotators(*files).scores
    expected = step_report(names, recordings).models["bob"]
    for name in ("accuracy", "mean_class_accuracy", "f1_at_10", "f1_at_25", "f1_at_50", "edit"):
        assert getattr(scores, name) == pytest.approx(getattr(expected, name)), name
        assert scores.intervals[name] == pytest.approx(expected.intervals[name]), name
    for name in ("delay_seconds", "missed", "kappa"):
        assert getattr(scores, name) == pytest.approx(getattr(expected, name)), name


@quick
@given(MARKED, MARKED)
def test_who_is_first_means_nothing_to_agreement(mine: list[Said], theirs: list[Said]) -> None:
    if not mine + theirs:
        return
    ann, bob = marks(*mine, looked_at=whole(30)), marks(*theirs, looked_at=whole(30))
    one, other = compare_annotators(ann, bob), compare_annotators(bob, ann)
    assert one.kappa == pytest.approx(other.kappa)
    turned = {label.label: label for label in other.classes}
    for label in one.classes:
        assert label.kappa == pytest.approx(turned[label.label].kappa)
        assert label.true_share == pytest.approx(turned[label.label].predicted_share)
        assert label.num_true == turned[label.label].num_predicted


def test_the_table_fits_a_terminal_and_the_csv_has_all(tmp_path: Path) -> None:
    ann = marks(("eat", 10, 30), ("=run", 40, 50), looked_at=whole(100))
    bob = marks(("eat", 15, 30), looked_at=whole(100), name="bob.csv")
    found = compare_annotators(ann, bob)
    text = shown(found)
    assert max(map(len, text.splitlines())) <= 80
    assert "1: ann.csv, 2: bob.csv" in text
    row = next(line for line in text.splitlines() if "eat" in line)
    assert row.replace("│", " ").split() == ["eat", "1", "1", "100.0%", "0.83", "20.0%", "15.0%"]
    assert "kappa over all labels 0.60, over 100.0 s of 1 video" in text
    write_bouts(found.classes, tmp_path / "bouts.csv")
    rows = list(csv.DictReader((tmp_path / "bouts.csv").read_text().splitlines()))
    assert [row["label"] for row in rows] == ["eat", "=run"]
    assert (rows[0]["true_seconds"], rows[0]["kappa_low"]) == ("20.0", "")
    assert float(rows[0]["recall"]) == 1
    assert rows[1]["precision"] == ""


def test_a_folder_gets_all_of_it_and_no_file_of_others_is_replaced(tmp_path: Path) -> None:
    ann = marks(("eat", 10, 30), looked_at=whole(100))
    bob = marks(("eat", 15, 30), looked_at=whole(100), name="bob.csv")
    found = compare_annotators(ann, bob)
    write_agreement(found, tmp_path / "out")
    write_agreement(found, tmp_path / "out")
    rows = list(
        csv.DictReader((tmp_path / "out" / "agreement_scores.csv").read_text().splitlines())
    )
    assert list(rows[0]) == ["of", "model", "score", "value", "low", "high", "unit"]
    by_name = {row["score"]: (row["value"], row["unit"]) for row in rows}
    assert (by_name["accuracy"], by_name["delay_seconds"]) == (("0.95", "part"), ("5", "s"))
    assert by_name["false_alarms_per_hour"] == ("0", "1/h")
    assert {row["model"] for row in rows} == {"bob.csv"}
    said = json.loads((tmp_path / "out" / "agreement.json").read_text())
    assert said["scores"]["accuracy"] == pytest.approx(0.95)
    assert "eat" in (tmp_path / "out" / "agreement_bouts.csv").read_text()
    (tmp_path / "agreement_scores.csv").write_text("mine")
    with pytest.raises(ActionrnnError, match="is not what actionrnn wrote"):
        write_agreement(found, tmp_path)


def test_groups_are_found_in_names_or_said_by_the_file() -> None:
    said = (Mark("eat", 0, 1, "C:\\x\\ann_1.mp4", extra={"group": "lab"}), Mark("eat", 0, 1, "b_2"))
    file = Marks(Path("a.csv"), "CSV", said, has_sides=True)
    assert list(groups_of(file, None).values()) == ["lab", "b_2"]
    assert list(groups_of(file, "^([a-z]+)_").values()) == ["ann", "b"]
    own = groups_of(replace(file, has_sides=False), None)
    assert list(own.values()) == ["C:/x/ann_1.mp4", "b_2"]
