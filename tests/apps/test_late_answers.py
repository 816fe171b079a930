"""Of a live source, an answer that comes later is shown with the time that it is for."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from actionrnn.apps.live import LiveSession, run_live
from actionrnn.apps.render import ScoreOverlay
from actionrnn.config import Config, HeadConfig, Sampling
from actionrnn.errors import VideoError
from actionrnn.model.heads import Head
from actionrnn.model.recognizer import Recognizer
from actionrnn.options import LiveOptions
from actionrnn.video.frame import Frame
from actionrnn.video.live import Arrival, LiveCounts
from tests.tiny import make_tiny_backbone

LABELS = ("clap", "jump", "wave")
RATE_FPS = 10.0
TIMES = 5 + np.arange(12) / RATE_FPS
FRAMES = np.random.default_rng(0).integers(0, 256, (12, 40, 40, 3), np.uint8)


def make_model(delay: int) -> Recognizer:
    backbone = make_tiny_backbone(2)
    torch.manual_seed(0)
    config = Config(
        sampling=Sampling(rate_fps=RATE_FPS), head=HeadConfig(hidden_size=6, delay_steps=delay)
    )
    head = Head(config.head, backbone.feature_size, len(LABELS)).eval()
    return Recognizer(backbone, head.trained(), LABELS, config)


class FakeSource:
    """Frames that wait already; from the sixth on they are of a second connection."""

    name = "fake"
    problem = ""

    def __init__(self, *_: object, report: Callable[[str], None]) -> None:
        self.counts = LiveCounts()

    def frames(self) -> Iterator[Arrival | None]:
        for number, (pixels, seconds) in enumerate(zip(FRAMES, TIMES, strict=True)):
            self.counts.frames += 1
            frame = Frame.from_array(pixels, seconds)
            yield Arrival(frame, time.monotonic(), 1 if number < 6 else 2)
        yield None
        if self.problem:
            raise VideoError(self.problem)

    def stop(self) -> None:
        """There is nothing to stop."""

    close = stop


@pytest.fixture(autouse=True)
def source(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("actionrnn.apps.live.LiveSource", FakeSource)


def answers_of(
    model: Recognizer, capsys: pytest.CaptureFixture[str], options: LiveOptions | None = None
) -> list[dict[str, object]]:
    run_live(model, "fake", options or LiveOptions(), LiveSession(as_json=True, top=3))
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def offline(model: Recognizer, part: slice) -> list[dict[str, float]]:
    """Of each step, the score of each label."""
    stream = model.stream()
    frames = map(Frame.from_array, FRAMES[part], TIMES[part])
    scores = np.concatenate([stream.push(frames), stream.finish()])
    return [dict(zip(LABELS, row.tolist(), strict=True)) for row in scores]


@pytest.mark.parametrize("delay", [0, 3, 20])
@pytest.mark.parametrize("anew", [False, True])
def test_each_step_is_answered_once_under_its_own_time(
    delay: int, anew: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    model = make_model(delay)
    *answers, end = answers_of(model, capsys, LiveOptions(reset_on_reconnect=anew))
    assert end["answers"] == len(answers) == len(TIMES)
    assert [line["pts_seconds"] for line in answers] == pytest.approx(TIMES.tolist(), abs=1e-4)
    parts = [slice(0, 6), slice(6, 12)] if anew else [slice(0, 12)]
    expected = [row for part in parts for row in offline(model, part)]
    for line, scores in zip(answers, expected, strict=True):
        found = dict(zip(line["labels"], line["scores"], strict=True))  # type: ignore[call-overload]
        assert found == pytest.approx(scores, abs=1e-5)


def test_the_delay_of_an_answer_counts_the_steps_that_it_waited_for(
    capsys: pytest.CaptureFixture[str],
) -> None:
    *answers, end = answers_of(make_model(3), capsys)
    waited = [3 / RATE_FPS] * 10 + [2 / RATE_FPS, 1 / RATE_FPS]
    # the last three are known at the end, after the last frame
    waited[9:] = [2 / RATE_FPS, 1 / RATE_FPS, 0]
    for line, seconds in zip(answers, waited, strict=True):
        assert seconds - 1e-3 <= line["delay_seconds"]  # type: ignore[operator]
    assert end["longest_delay_seconds"] >= 3 / RATE_FPS - 1e-3  # type: ignore[operator]


@pytest.mark.parametrize("delay", [0, 3])
def test_what_is_drawn_says_how_old_it_is(
    delay: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, notes, shown = make_model(delay), [], []

    class Overlay(ScoreOverlay):
        def draw(self, frame: np.ndarray, note: str = "") -> np.ndarray:
            notes.append(note)
            shown.append(dict(self.rows))
            return super().draw(frame, note)

    monkeypatch.setattr("actionrnn.apps.live.ScoreOverlay", Overlay)
    run_live(model, "fake", LiveOptions(), LiveSession(record=tmp_path / "out.mp4"))
    assert notes == ([""] * 12 if delay == 0 else [""] * 3 + ["0.3 s ago"] * 9)
    expected = [{}] * delay + offline(model, slice(0, 12))[: 12 - delay]
    for drawn, scores in zip(shown, expected, strict=True):
        assert drawn == pytest.approx(scores, abs=1e-5)


def test_a_line_says_how_old_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    for delay, age in ((0, False), (3, True)):
        run_live(make_model(delay), "fake", LiveOptions(), LiveSession())
        first = capsys.readouterr().out.splitlines()[0]
        assert ("(0.3 s ago)" in first) == age, first


def test_a_source_that_is_given_up_is_answered_to_its_end(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakeSource, "problem", "fake: no picture for 9 s")
    with pytest.raises(VideoError, match="no picture"):
        answers_of(make_model(3), capsys)
    *answers, end = map(json.loads, capsys.readouterr().out.splitlines())
    assert end["answers"] == len(answers) == len(TIMES)


def test_a_model_without_a_state_is_never_late(capsys: pytest.CaptureFixture[str]) -> None:
    model = make_model(0)
    head = replace(model.config.head, kind="mean", delay_steps=3)
    mean = Head(head, model.backbone.feature_size, len(LABELS)).eval()
    run_live(replace(model, head=mean.trained()), "fake", LiveOptions(), LiveSession())
    assert "ago" not in capsys.readouterr().out
