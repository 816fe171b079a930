"""The page: whole, self-contained, harmless whatever the names, small at 101 classes."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from actionrnn.datasets.recordings import IGNORE, Recording
from actionrnn.errors import ActionrnnError
from actionrnn.evaluation.bootstrap import Interval
from actionrnn.evaluation.metrics import ReliabilityBin
from actionrnn.evaluation.predict import FoldPredictions
from actionrnn.evaluation.recording_bars import RecordingBars
from actionrnn.evaluation.report import Report
from actionrnn.evaluation.report_page import (
    render_page,
    worst_mistakes,
    write_report,
)
from actionrnn.evaluation.report_plots import class_colours, clock, nice_ticks, time_bars
from actionrnn.evaluation.report_words import (
    calibration_words,
    early_words,
    horizon_words,
    order_words,
    verdict_words,
)
from actionrnn.evaluation.step_predictions import StepPredictions
from actionrnn.evaluation.step_scores import step_report
from actionrnn.evaluation.summary import make_report
from actionrnn.features.provenance import Failure
from actionrnn.training.train import TrainingRun

EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'&"


class Tags(HTMLParser):
    """Every tag with its attributes, and that all are closed again."""

    EMPTY = ("meta", "img", "br")

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def make(labels: tuple[str, ...], num_clips: int, name: str = "clip") -> Report:
    """A report on random answers."""
    rng = np.random.default_rng(0)
    targets = rng.integers(0, len(labels), num_clips)
    logits = rng.normal(size=(num_clips, len(labels))) + 3 * np.eye(len(labels))[targets]
    scores = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    clips = tuple(
        Recording.trimmed(
            Path(f"/videos/{name}{row}.avi"), f"{name}{row}", labels[target], f"g{row % 25}"
        ).clips[0]
        for row, target in enumerate(targets)
    )
    no = (False,) * num_clips
    fold = FoldPredictions(
        name, scores.astype(np.float32), targets, clips=clips, seen=no, leaked=no
    )
    return make_report(labels, [fold, fold], title=name, config={"data": {"root": name}})


def test_a_training_leaves_a_page_with_every_part(run: TrainingRun) -> None:
    page = (run.output / "report.html").read_text()
    Tags(page)
    for heading in (
        "What did the recurrence bring?",
        "How early does it know?",
        "Fold by fold",
        "Which classes are confused?",
        "Class by class",
        "Can the scores be believed?",
        "How far back does it remember?",
        "How did the training go?",
        "How was this made?",
    ):
        assert f"<h2>{heading}</h2>" in page
    assert ("<h2>The worst mistakes</h2>" in page) == (run.report.top1 < 1)
    for value in (run.report.top1, run.report.baseline_mean_pool_top1):
        assert f"{value:.1%}" in page


def test_nothing_is_fetched_from_anywhere(run: TrainingRun) -> None:
    page = (run.output / "report.html").read_text()
    for tag, attributes in Tags(page).tags:
        assert tag not in ("link", "iframe", "object", "embed", "base"), tag
        assert (attributes.get("src") or "data:image/jpeg;base64,")[
            :23
        ] == "data:image/jpeg;base64,"
        assert "href" not in attributes
    assert not re.search(r"https?://|url\(|@import", page)


def test_only_the_pages_own_script_may_run(run: TrainingRun) -> None:
    page = (run.output / "report.html").read_text()
    (script,) = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in page.replace("&#43;", "+")
    assert "default-src 'none'" in page


def test_names_of_strangers_do_nothing() -> None:
    report = make((EVIL, f"{EVIL}2", "run"), 40, EVIL)
    report = replace(report, skipped=[Failure("a", EVIL, EVIL)], versions={EVIL: EVIL})
    page = render_page(report, worst_mistakes(report))
    tags = Tags(page).tags
    assert [tag for tag, _ in tags].count("script") == 3
    assert all(name[:2] != "on" for _, attributes in tags for name in attributes)
    assert not any(attributes.get("src") == "x" for _, attributes in tags)
    assert "alert(1)" in page  # shown, as text


def test_the_clips_behind_each_cell_are_on_the_page() -> None:
    report = make(("bend", "run"), 12)
    page = render_page(report, [])
    (text,) = re.findall(r'id="clips">(.*?)</script>', page)
    clips = json.loads(text)
    counts = np.zeros((2, 2), int)
    for true, given, *_ in clips:
        counts[true, given] += 1
    assert counts.tolist() == report.confusion
    cells = re.findall(r'<g class="cell \w+" data-true="(\d)" data-given="(\d)">', page)
    assert {(int(true), int(given)) for true, given in cells} == {
        *map(tuple, np.argwhere(counts).tolist())
    }


def test_a_page_of_ucf101s_size_stays_small(tmp_path: Path) -> None:
    labels = tuple(f"SomeLongishAction{number:03d}" for number in range(101))
    write_report(
        make(labels, 3783 // 2, "SomeLongishAction/v_SomeLongishAction_g01_c01_"), tmp_path
    )
    assert (tmp_path / "report.html").stat().st_size < 1.5e6
    assert (tmp_path / "report.json").stat().st_size < 3e6


def test_mistakes_come_with_frames_or_with_the_reason_why_not(
    run: TrainingRun, clips: Path
) -> None:
    wrong = [replace(clip, answer="none") for clip in run.report.clips]
    wrong[0] = replace(wrong[0], path="/nowhere.avi")
    mistakes = worst_mistakes(replace(run.report, clips=tuple(wrong)), most=20)
    assert [mistake.clip.score for mistake in mistakes] == sorted(
        (clip.score for clip in wrong), reverse=True
    )
    for mistake in mistakes:
        if mistake.clip.path == "/nowhere.avi":
            assert (mistake.pictures, mistake.problem) == ([], "/nowhere.avi: no such file")
            continue
        assert len(mistake.pictures) == 5
        data = base64.b64decode(mistake.pictures[0].removeprefix("data:image/jpeg;base64,"))
        with Image.open(io.BytesIO(data)) as picture:
            assert picture.size == (120, 90)  # of 64 x 48


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [(0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]), (1, 40, [10, 20, 30, 40]), (0, 0, [0])],
)
def test_ticks_are_round_numbers(low: float, high: float, ticks: list[float]) -> None:
    assert nice_ticks(low, high) == ticks


def test_a_dot_below_the_ideal_line_is_a_model_that_is_too_sure() -> None:
    report = make(("bend", "run"), 12)
    page = render_page(replace(report, reliability=(ReliabilityBin(10, 0.9, 0.5),)), [])
    (dot,) = re.findall(r'<circle .*?cy="([\d.]+)"', page)
    ((top, bottom),) = re.findall(r'class="gap".*?y1="([\d.]+)" y2="([\d.]+)"', page)
    assert float(dot) == float(top) > float(bottom)  # y grows downwards


@pytest.fixture
def report(run: TrainingRun) -> Report:
    """A report to be changed."""
    return replace(run.report, top1=0.8, baseline_mean_pool_top1=0.7, num_units=30)


@pytest.mark.parametrize(
    ("bounds", "num_units", "said"),
    [
        ((0.04, 0.16), 30, "10.0 points better than a mean over frames (95 % interval +4.0 to +16"),
        ((0.04, 0.16), 30, "): more than luck."),
        ((0.04, 0.16), 9, "): probably more than luck."),
        ((0.0, 0.2), 30, "): which may be luck."),
        (None, 1, "The gru is 10.0 points better than a mean over frames."),
    ],
)
def test_a_gain_is_called_luck_if_its_interval_reaches_zero(
    report: Report, bounds: Interval | None, num_units: int, said: str
) -> None:
    intervals = {"gain_over_mean_pool": bounds}
    assert said in verdict_words(replace(report, intervals=intervals, num_units=num_units))


def test_a_head_that_is_worse_is_called_worse(report: Report) -> None:
    worse = replace(report, top1=0.6, intervals={"gain_over_mean_pool": (-0.2, -0.05)})
    assert "10.0 points worse" in verdict_words(worse)
    assert "order brought nothing" in verdict_words(replace(report, top1=0.7))
    assert verdict_words(replace(report, baseline_mean_pool_top1=None)) == ""


@pytest.mark.parametrize(
    ("shuffled", "said"),
    [
        (0.5, "It uses the frames' order: shuffling the test clips' frames costs 30.0 points."),
        (0.82, "It does not need the frames' order: shuffled, it scores +2.0 points."),
    ],
)
def test_shuffling_shows_whether_order_is_used(report: Report, shuffled: float, said: str) -> None:
    assert order_words(replace(report, baseline_shuffled_frames_top1=shuffled)) == said


def test_nine_tenths_of_the_final_accuracy_are_found(report: Report) -> None:
    values = (0.1, 0.2, 0.5, 0.73, 0.7, 0.75, 0.78, 0.8, 0.8, 0.8)
    said = early_words(replace(report, observed={"gru": values}))
    assert said.startswith("After the first 40 % of the video")
    assert said.endswith("after the first 10 %, 10.0% are right.")


def test_every_run_has_something_to_say(run: TrainingRun) -> None:
    for words in (calibration_words, horizon_words):
        assert words(run.report).endswith(".")


def with_steps(report: Report, name: str = "clip") -> Report:
    """Two recordings of 6 s: 2 s of the first label, 2 s unlabelled, 2 s of the second one."""
    targets = np.repeat([0, IGNORE, 1], 20)
    scores = np.eye(len(report.labels), dtype=np.float32)[np.repeat([0, 1], [30, 30])]
    recordings = [
        StepPredictions(name, group, np.arange(60) / 10, targets, {"gru": scores, name: scores})
        for group in ("ann", "bob")
    ]
    return replace(report, steps=step_report(report.labels, recordings, report.labels[0]))


def test_truth_and_prediction_are_bars_over_time() -> None:
    report = with_steps(make(("rest", "run"), 12))
    page = render_page(report, [])
    Tags(page)
    assert "<h2>Does it know what happens now?</h2>" in page
    assert page.count('aria-label="truth of clip"') == 2
    bars = re.findall(r'<svg class="bar-of-time".*?</svg>', page, re.DOTALL)[:2]
    truth, prediction = (
        re.findall(r'<rect x="(.*?)%" width="(.*?)%".*?<title>(.*?)</title>', bar) for bar in bars
    )
    assert truth == [
        ("0.000", "33.333", "rest, 0:00 to 0:02"),
        ("66.667", "33.333", "run, 0:04 to 0:06"),
    ]
    assert prediction == [
        ("0.000", "50.000", "rest, 0:00 to 0:03"),
        ("50.000", "50.000", "run, 0:03 to 0:06"),
    ]
    uncounted = r'class="uncounted" x="33.333%" width="33.333%"'
    assert [len(re.findall(uncounted, bar)) for bar in bars] == [0, 1]
    assert "2 recordings, 80 labelled steps (40 unlabelled ones do not count)" in page
    assert "At 100.0% of the steps the gru&#39;s answer of that moment is right" in page


def test_bouts_are_a_table_on_the_page_and_a_csv_file_beside_it(tmp_path: Path) -> None:
    report = with_steps(make(("rest", "run"), 12))
    write_report(report, tmp_path)
    page = (tmp_path / "report.html").read_text()
    Tags(page)
    assert "Bouts and time of each class, gru" in page
    assert "Detection, of all classes but rest" in page
    rows = list(csv.DictReader((tmp_path / "bouts.csv").read_text().splitlines()))
    assert [row["label"] for row in rows] == ["rest", "run"]
    assert [(row["num_true"], row["num_matched"]) for row in rows] == [("", ""), ("2", "2")]
    assert [row["true_share"] for row in rows] == ["0.5", "0.5"]
    assert rows[1]["false_alarms_per_hour"] == "0"
    assert 0 < float(rows[1]["recall_low"]) < float(rows[1]["recall_high"]) == 1
    write_report(replace(report, steps=None), tmp_path)
    assert not (tmp_path / "bouts.csv").exists()  # it would be taken for this report's


def test_the_numbers_of_head_and_baselines_are_a_csv_file(tmp_path: Path) -> None:
    report = with_steps(make(("rest", "run"), 12))
    write_report(report, tmp_path)
    text = (tmp_path / "scores.csv").read_text()
    rows = list(csv.DictReader(text.splitlines()))
    assert list(rows[0]) == ["of", "model", "score", "value", "low", "high", "unit"]
    assert len({(row["of"], row["model"], row["score"]) for row in rows}) == len(rows)
    found = {(row["of"], row["model"], row["score"]): row for row in rows}
    top1 = found["clips", report.head_name, "top1"]
    assert float(top1["value"]) == pytest.approx(report.top1, rel=1e-5)
    assert report.steps is not None
    for model, scores in report.steps.models.items():
        for name, bounds in scores.intervals.items():
            if (value := getattr(scores, name)) is None:
                assert ("steps", model, name) not in found
                continue
            row = found["steps", model, name]
            known = ["" if bounds is None else f"{bound:.6g}" for bound in bounds or (0, 0)]
            assert [row["value"], row["low"], row["high"]] == [f"{value:.6g}", *known]
    units = {row["score"]: row["unit"] for row in rows}
    assert (units["delay_seconds"], units["false_alarms_per_hour"]) == ("s", "1/h")
    assert (units["accuracy"], units["kappa"]) == ("part", "-1 to 1")


def test_no_csv_of_scores_has_noise_of_floats(tmp_path: Path) -> None:
    """393 steps of 1 / 25 s, added up, are 15.719999999999999 s."""
    report = make(("rest", "run"), 12)
    targets = np.repeat([0, 1], 393)
    scores = np.eye(2, dtype=np.float32)[targets]
    recordings = [
        StepPredictions(name, name, np.cumsum(np.full(786, 0.04)), targets, {"gru": scores})
        for name in ("ann", "bob")
    ]
    steps = step_report(report.labels, recordings, report.labels[0])
    write_report(replace(report, steps=steps), tmp_path)
    rows = list(csv.DictReader((tmp_path / "bouts.csv").read_text().splitlines()))
    assert [row["true_seconds"] for row in rows] == ["31.44", "31.44"]
    for name in ("bouts.csv", "scores.csv"):
        assert not re.search(r"\d\.\d{9}", (tmp_path / name).read_text())


def test_a_bouts_csv_of_somebody_else_stays(tmp_path: Path) -> None:
    (tmp_path / "bouts.csv").write_text("mine")
    for report in (with_steps(make(("rest", "run"), 12)), make(("rest", "run"), 12)):
        with pytest.raises(ActionrnnError, match=r"bouts\.csv: is not what actionrnn wrote"):
            write_report(report, tmp_path)
    assert (tmp_path / "bouts.csv").read_text() == "mine"


def test_without_steps_there_are_no_bars() -> None:
    page = render_page(make(("bend", "run"), 12), [])
    assert "what happens now" not in page
    assert '<svg class="bar-of-time"' not in page


def test_strangers_names_of_labels_and_recordings_do_nothing_in_the_bars() -> None:
    page = render_page(with_steps(make((EVIL, f"{EVIL}2"), 12), EVIL), [])
    tags = Tags(page).tags
    assert [tag for tag, _ in tags].count("script") == 3
    assert all(name[:2] != "on" for _, attributes in tags for name in attributes)
    assert not any(attributes.get("src") == "x" for _, attributes in tags)


def test_each_class_that_is_shown_has_its_own_colour() -> None:
    labels = tuple(f"class {number}" for number in range(101))
    runs = tuple((number, number, number + 1) for number in range(0, 101, 2))
    bars = RecordingBars("a", "a", 1, 101, runs, ((-1, 0.0, 101.0),))
    colours = class_colours([bars], labels, "class 4")
    assert list(colours) == list(range(0, 101, 2))
    assert len(set(colours.values())) == 51
    assert class_colours([bars], labels, "class 4")[4] != class_colours([bars], labels, None)[4]


def test_a_recording_that_is_shown_in_part_says_until_when() -> None:
    runs = ((0, 10.0, 75.0),)
    bars = RecordingBars("a", "a", 1, 75.0, runs, runs)
    whole, part = (
        time_bars(one, ("run",), {0: "#000"}) for one in (bars, replace(bars, end_seconds=80.0))
    )
    assert (whole.shown_end, part.shown_end) == (None, "1:15")
    assert [text for _, text in whole.ticks] == ["0:20", "0:40", "1:00"]


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00"), (59.96, "1:00"), (3599.5, "59:59.5"), (-1.5, "-0:01.5")]
)
def test_times_read_as_on_a_clock(seconds: float, text: str) -> None:
    assert clock(seconds) == text


def test_the_head_is_shown_with_both_answers(report: Report) -> None:
    values = (0.5,) * 10
    both = replace(report, observed={"gru": values}, observed_now={"gru": values})
    page = render_page(both, [])
    assert 'dashed"></i>gru, now</span>' in page
    assert '"></i>gru, so far</span>' in page
    old = render_page(replace(both, observed_now={}), [])
    assert "gru, now" not in old
