"""A calibrated model that knows none-of-these says the same, whatever shows its scores.

One temperature and one rate: classify, timeline, stream, live lines, server, webcam, page, rendered
video, export and evaluation.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from websockets.sync.client import connect

import actionrnn
from actionrnn.apps.drawing import make_panel
from actionrnn.apps.live import LiveSession, run_live
from actionrnn.apps.render import ScoreOverlay, render
from actionrnn.apps.timeline_page import write_page
from actionrnn.config import Config
from actionrnn.evaluation.evaluate import evaluate
from actionrnn.model.recognizer import Recognizer
from actionrnn.model.timeline import Timeline
from actionrnn.options import LiveOptions, SegmentRule
from actionrnn.training.train import TrainingRun, train
from actionrnn.video.decode import iter_frames
from actionrnn.video.frame import Frame
from tests.apps.serving import Running, running
from tests.apps.test_serve import message
from tests.tiny import write_video

pytestmark = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")

CLOSE = 1e-4  # what frames one by one, or another engine, change in the backbone's last digits
RATE = 0.3  # of 9 held-out clips nothing can be less usual than 0.1
OPTIONS = (
    "train.calibrate=true",
    "train.label_smoothing=0.3",  # not sure enough of itself: a temperature helps
    "train.none_of_these=true",
    "train.epochs=20",
    "sampling.num_frames=null",
    "sampling.rate_fps=12",
    "backbone.precision=float32",
)


@pytest.fixture(scope="module")
def trained(
    clips: Path, configure: Callable[..., Config], tmp_path_factory: pytest.TempPathFactory
) -> TrainingRun:
    return train(configure(clips, *OPTIONS), tmp_path_factory.mktemp("calibrated") / "run")


@pytest.fixture(scope="module")
def model(trained: TrainingRun) -> Recognizer:
    return actionrnn.load(trained.output)


@dataclass(frozen=True)
class Expected:
    """What the timeline of one clip says."""

    clip: Path
    timeline: Timeline
    is_none: bool
    """Of the whole clip."""
    steps_none: NDArray[np.bool_]
    """Of each step alone, (T,)."""
    around_none: NDArray[np.bool_]
    """Of the half second around each, (T,)."""

    @property
    def by_label(self) -> dict[str, float]:
        """Scores of the whole clip."""
        return dict(zip(self.timeline.labels, self.timeline.so_far[-1].tolist(), strict=True))


@pytest.fixture(scope="module")
def expected(
    model: Recognizer, clips: Path, tmp_path_factory: pytest.TempPathFactory
) -> list[Expected]:
    """Of two clips of the training and of two of something else."""
    none, folder = model.none_of_these, tmp_path_factory.mktemp("else")
    assert none is not None
    found = []
    known = sorted(clips.rglob("*.avi"))[::5]
    for clip in [*known, *(write_video(folder / f"{n}.avi", 25, seed=n) for n in range(2))]:
        timeline = model.timeline(clip)
        steps, around = none.of_steps(timeline.scores), timeline.is_none_of_these(RATE)
        assert steps is not None
        assert around is not None
        is_none = none.of_clip(timeline.so_far[-1]) < RATE
        found.append(Expected(clip, timeline, is_none, steps < RATE, around))
    return found


@pytest.fixture(scope="module")
def server(model: Recognizer) -> Iterator[Running]:
    with running(model, none_rate=RATE) as started:
        yield started


def test_the_clips_tell_a_wrong_road_from_a_right_one(
    trained: TrainingRun, expected: list[Expected]
) -> None:
    """Scores at temperature 1 would be others; some steps are none of these, some are not."""
    temperature = trained.model.training["temperature"]
    for one in expected:
        logits = temperature * np.log(one.timeline.scores)
        plain = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        assert abs(plain - one.timeline.scores).max() > 100 * CLOSE
    for kind in ("is_none", "steps_none", "around_none"):
        said = np.concatenate([np.atleast_1d(getattr(one, kind)) for one in expected])
        assert said.any()
        assert not said.all()


def test_classify(model: Recognizer, expected: list[Expected]) -> None:
    for one in expected:
        found = model.classify(one.clip)
        assert dict(zip(found.labels, found.scores, strict=True)) == pytest.approx(
            one.by_label, abs=CLOSE
        )
        assert found.is_none_of_these(RATE) == one.is_none
        assert found.to_dict(RATE)["none_of_these"] == one.is_none


def test_stream_and_its_events(model: Recognizer, expected: list[Expected]) -> None:
    for one in expected:
        stream = model.stream()
        pushed = [stream.push(frame) for frame in iter_frames(one.clip)]
        scores = np.concatenate([*pushed, stream.finish()])
        np.testing.assert_allclose(scores, one.timeline.scores, atol=CLOSE)
        begun = {
            event.pts_seconds
            for event in one.timeline.events(none_rate=RATE)
            if event.kind == "begin"
        }
        assert begun.isdisjoint(one.timeline.pts_seconds[one.steps_none].tolist())


def test_live_lines(
    model: Recognizer, expected: list[Expected], capsys: pytest.CaptureFixture[str]
) -> None:
    one = next(one for one in expected if one.steps_none.any())
    options = LiveOptions(max_lag_seconds=60)
    run_live(model, str(one.clip), options, LiveSession(as_json=True, none_rate=RATE))
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    answers = [line for line in lines if "label" in line]
    wanted = one.timeline.scores.max(axis=1).tolist()
    assert [line["scores"][0] for line in answers] == pytest.approx(wanted, abs=CLOSE)
    assert [line["none_of_these"] for line in answers] == one.steps_none.tolist()


def test_server(server: Running, expected: list[Expected]) -> None:
    assert server.get("/labels").json()["none_rate"] == RATE
    for one in expected:
        found = server.post("/classify", one.clip).json()
        scores = dict(zip(found["labels"], found["scores"], strict=True))
        assert scores == pytest.approx(one.by_label, abs=CLOSE)
        assert found["none_of_these"] == one.is_none
        whole = server.post("/timeline?format=all", one.clip).json()
        assert whole["prediction"]["none_of_these"] == one.is_none
        scores = np.array([step["scores"] for step in whole["steps"]])
        np.testing.assert_allclose(scores, one.timeline.scores, atol=CLOSE)
        assert covered(whole, one) == one.around_none.tolist()
        segments = one.timeline.segments(SegmentRule(none_rate=RATE))
        assert [part["label"] for part in whole["segments"]] == [part.label for part in segments]


def test_webcam(server: Running, model: Recognizer, expected: list[Expected]) -> None:
    """What it is sent are JPEG files, which differ from the video's frames."""
    one = next(one for one in expected if one.steps_none.any())
    none, found, stream, pushed = model.none_of_these, [], model.stream(), []
    assert none is not None
    with connect(server.address.replace("http", "ws") + "/stream") as live:
        for frame in iter_frames(one.clip):
            sent = message(frame.pts_seconds, frame.data)
            live.send(sent)
            found += json.loads(live.recv(timeout=20))["steps"]
            seen = np.asarray(Image.open(io.BytesIO(sent[8:])))
            pushed.append(stream.push(Frame.from_array(seen, frame.pts_seconds)))
    scores = np.concatenate(pushed)
    np.testing.assert_allclose([step["scores"] for step in found], scores, atol=CLOSE)
    typicality = none.of_steps(scores)
    assert typicality is not None
    assert [step["none_of_these"] for step in found] == (typicality < RATE).tolist()


def test_timeline_page(expected: list[Expected], tmp_path: Path) -> None:
    for one in expected:
        write_page(one.timeline, one.clip, tmp_path / "a.html", SegmentRule(none_rate=RATE))
        data = re.search(r'id="data">(.*?)</script>', (tmp_path / "a.html").read_text())
        assert data is not None
        shown = json.loads(data[1])
        order = [shown["labels"].index(label) for label in one.timeline.labels]
        curves = np.array(shown["curves"]).T[:, order]
        np.testing.assert_allclose(curves, one.timeline.scores, atol=6e-4)  # three digits
        assert covered(shown, one) == one.around_none.tolist()


def covered(shown: dict[str, Any], one: Expected) -> list[bool]:
    """Whether each step lies in a stretch that is none of these, (T,)."""
    parts = shown["none_of_these"]
    return [
        any(part["start_seconds"] - 1e-3 <= time < part["end_seconds"] - 1e-3 for part in parts)
        for time in one.timeline.pts_seconds
    ]


def test_rendered_video(
    model: Recognizer, expected: list[Expected], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[tuple[dict[str, float], str]] = []
    notes: list[str] = []
    original = ScoreOverlay.draw

    def draw(self: ScoreOverlay, frame: np.ndarray, note: str = "") -> np.ndarray:
        drawn = original(self, frame, note)
        shown.append((dict(self.rows), notes[-1]))
        return drawn

    def panel(rows: Any, width: int, height: int, note: str, *, num_on: int | None) -> Any:
        assert num_on == (0 if note else None)  # no label stands out
        notes.append(note)
        return make_panel(rows, width, height, note, num_on=num_on)

    monkeypatch.setattr(ScoreOverlay, "draw", draw)
    monkeypatch.setattr("actionrnn.apps.render.make_panel", panel)
    known = next(one for one in expected if not one.around_none.all())
    none = next(one for one in expected if one.around_none.any())
    for number, one in enumerate((known, none)):
        shown.clear()
        render(model, one.clip, tmp_path / f"{number}.mp4", none_rate=RATE)
        times = [frame.pts_seconds for frame in iter_frames(one.clip)]
        steps = np.searchsorted(one.timeline.pts_seconds, np.array(times) + 1e-4) - 1
        for (rows, note), step in zip(shown, steps, strict=True):
            wanted = dict(zip(model.labels, one.timeline.scores[step].tolist(), strict=True))
            assert rows == pytest.approx(wanted, abs=CLOSE)
            assert note == ("none of these" if one.around_none[step] else "")


class OwnEncoder:
    """The model's own backbone in place of `encoder.onnx`."""

    def __init__(self, model: Recognizer) -> None:
        self.backbone = model.backbone

    def run(self, _: None, views: dict[str, np.ndarray]) -> list[np.ndarray]:
        squares = [self.backbone.preprocessing.square(frame) for frame in views["frames"]]
        return [self.backbone.encode(np.stack(squares), padded=False)]


def test_export(
    trained: TrainingRun,
    model: Recognizer,
    expected: list[Expected],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("onnxruntime")
    from actionrnn.apps.export import export
    from tests.apps.test_export import import_runner

    runner = import_runner(export(trained.output, tmp_path / "export", none_rate=RATE).folder)
    own_scores = runner.timeline(expected[-1].clip)[1]
    np.testing.assert_allclose(own_scores, expected[-1].timeline.scores, atol=CLOSE)
    sessions = {
        "encoder": OwnEncoder(model),
        "step": runner.session("step", runner.Stream.provider),
    }
    monkeypatch.setattr(runner, "session", lambda part, _: sessions[part])
    for one in expected:
        times, scores, so_far = runner.timeline(one.clip)
        np.testing.assert_allclose(scores, one.timeline.scores, atol=CLOSE)
        np.testing.assert_allclose(so_far, one.timeline.so_far, atol=CLOSE)
        assert runner.is_none(so_far[-1:])[0] == one.is_none
        assert runner.is_none(scores, "step").tolist() == one.steps_none.tolist()
        assert runner.is_none_around(times, scores).tolist() == one.around_none.tolist()
        assert runner.answer(so_far[-1]).startswith("none of these; the best is ") == one.is_none


def test_evaluation(trained: TrainingRun, expected: list[Expected], clips: Path) -> None:
    report = evaluate(trained.output, [f"data.root={clips}"])
    scores = {Path(clip.path).name: clip.score for clip in report.clips}
    for one in expected:
        if one.clip.is_relative_to(clips):
            wanted = max(one.by_label.values())
            assert scores[one.clip.name] == pytest.approx(wanted, abs=CLOSE)
    assert report.calibration is None
    temperature = trained.model.training["temperature"]
    assert f"the model's scores are at {temperature:.2f}" in report.calibration_note
