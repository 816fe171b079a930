"""Events of a file and of a live source: the same lines; a webhook gets them, or stops nothing."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result

import actionrnn
from actionrnn.apps import cli
from actionrnn.apps.live import LiveSession, run_live
from actionrnn.config import Config, HeadConfig, Sampling
from actionrnn.datasets.recordings import BACKGROUND
from actionrnn.errors import VideoError
from actionrnn.model.heads import Head
from actionrnn.model.recognizer import Recognizer
from actionrnn.options import EventRule, LiveOptions, WebhookOptions
from actionrnn.video.frame import Frame
from actionrnn.video.live import Arrival, LiveCounts
from tests.apps.webhooks import receiving
from tests.tiny import make_tiny_backbone

LABELS = ("clap", BACKGROUND, "wave")
TIMES = 5 + np.arange(40) / 10
FRAMES = np.random.default_rng(0).integers(0, 256, (40, 40, 40, 3), np.uint8)


def run_command(*args: object) -> Result:
    result = CliRunner().invoke(cli.main, [str(arg) for arg in args], prog_name="actionrnn")
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def lines_of(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")


@pytest.fixture
def given(streaming_model: Path, clip: Path) -> tuple[object, ...]:
    """A clip, a model, and thresholds below the scores of its best class."""
    best = actionrnn.load(streaming_model).timeline(clip).scores.max(axis=1).min()
    sure = f"{0.9 * best:.3f}"
    return clip, "--model", streaming_model, "--begin-threshold", sure, "--end-threshold", sure


# Files


def test_the_events_of_a_file_are_printed(given: tuple[object, ...]) -> None:
    result = run_command("timeline", *given, "--events")
    assert (result.exit_code, result.stderr) == (0, "")
    begin, end = lines_of(result.stdout)
    assert (begin["event"], begin["label"], begin["seconds"], begin["count"]) == (
        "begin",
        "red",
        0.0,
        1,
    )
    assert begin.keys() == {"event", "label", "seconds", "score", "count"}
    assert (end["event"], end["seconds"], end["duration_seconds"]) == ("end", 1.0, 1.0)
    assert run_command("timeline", *given, "--events", "-").stdout == result.stdout
    too_long = run_command("timeline", *given, "--events", "--min-seconds", 2)
    assert (too_long.exit_code, too_long.stdout) == (0, "")


def test_the_events_of_a_file_are_written_beside_the_segments(
    given: tuple[object, ...], tmp_path: Path
) -> None:
    file = tmp_path / "events.jsonl"
    result = run_command("timeline", *given, "--events", file, "-o", tmp_path / "t.csv")
    assert result.exit_code == 0 and "red" in result.stdout
    assert f"wrote {file}" in result.stderr
    assert file.read_text() == run_command("timeline", *given, "--events").stdout
    again = run_command("timeline", *given, "--events", file)
    assert again.exit_code == 1 and "exists already" in again.stderr
    assert run_command("timeline", *given, "--events", file, "--overwrite").exit_code == 0


def test_a_video_is_not_taken_for_the_file_of_events(given: tuple[object, ...], clip: Path) -> None:
    before = clip.read_bytes()
    result = run_command("timeline", *given, "--events", clip, "--overwrite")
    assert result.exit_code == 2 and "must end in one of .jsonl .ndjson" in result.output
    assert clip.read_bytes() == before


# Options


@pytest.mark.parametrize("command", ["timeline", "stream"])
def test_thresholds_that_are_no_hysteresis_are_one_line(
    streaming_model: Path, clip: Path, command: str
) -> None:
    result = run_command(command, clip, "-m", streaming_model, "--events", "--begin-threshold", 0.3)
    assert result.exit_code == 1
    assert result.stderr == (
        "error: end_threshold (0.4) must be at most begin_threshold (0.3); give both\n"
    )


@pytest.mark.parametrize(
    ("command", "option", "value"),
    [
        ("timeline", "--begin-threshold", "0.5"),
        ("timeline", "--end-threshold", "0.5"),
        ("stream", "--begin-threshold", "0.5"),
        ("stream", "--end-threshold", "0.5"),
        ("stream", "--min-seconds", "0.5"),
        ("stream", "--webhook", "http://host/"),
    ],
)
def test_an_option_of_events_needs_them(
    streaming_model: Path, clip: Path, command: str, option: str, value: str
) -> None:
    result = run_command(command, clip, "-m", streaming_model, option, value)
    assert result.exit_code == 2
    assert f"{option} is for events; add --events" in result.stderr


def test_scores_and_events_are_not_mixed(streaming_model: Path, clip: Path) -> None:
    result = run_command("stream", clip, "-m", streaming_model, "--json", "--events")
    assert result.exit_code == 2 and "give one" in result.stderr


def test_a_wrong_webhook_is_refused_before_anything_else(clip: Path) -> None:
    url = "htps://me:secret@host/x"
    result = run_command("stream", clip, "-m", "missing", "--events", "--webhook", url)
    assert result.exit_code == 1 and result.stderr.startswith("error: --webhook: begins with htps")
    assert "secret" not in result.output


# Thresholds of the model


@pytest.fixture
def own_model(streaming_model: Path, clip: Path, tmp_path: Path) -> Path:
    """With thresholds below the scores of its best class."""
    recognizer = actionrnn.load(streaming_model)
    best = recognizer.timeline(clip).scores.max(axis=1).min()
    rule = {"begin_threshold": round(0.9 * float(best), 4), "end_threshold": 0.25}
    training = recognizer.training | {"event_rule": rule | {"min_seconds": 0.0}}
    file = tmp_path / "own.safetensors"
    replace(recognizer, training=training).save(file)
    return file


@pytest.mark.parametrize("command", ["timeline", "stream"])
def test_a_models_own_thresholds_are_used_and_told(
    own_model: Path, streaming_model: Path, clip: Path, command: str
) -> None:
    rule = actionrnn.load(own_model).event_rule
    assert rule is not None
    begin = f"{rule.begin_threshold:g}"
    own = run_command(command, clip, "-m", own_model, "--events")
    assert (
        f"note: events begin at {begin} and end below 0.25: the model's own, chosen for at most "
        "1 false alarm an hour\n"
    ) in own.stderr
    both = "--begin-threshold", begin, "--end-threshold", "0.25"
    given = run_command(command, clip, "-m", streaming_model, "--events", *both)
    assert "note: events" not in given.stderr

    def without_clock(text: str) -> list[dict[str, Any]]:
        return [{**one, "unix_seconds": 0, "score": 0} for one in lines_of(text)]

    assert without_clock(own.stdout) == without_clock(given.stdout) != []


def test_options_go_before_a_models_own_thresholds(own_model: Path, clip: Path) -> None:
    never = run_command("timeline", clip, "-m", own_model, "--events", "--begin-threshold", 1)
    assert (never.exit_code, never.stdout) == (0, "")
    assert never.stderr == (
        "note: events begin at 1 and end below 0.25: one of them the model's own\n"
    )
    low = run_command("timeline", clip, "-m", own_model, "--events", "--begin-threshold", 0.1)
    assert low.exit_code == 1
    assert low.stderr == (
        "error: end_threshold (0.25) must be at most begin_threshold (0.1); give both\n"
    )
    both = "--begin-threshold", 0.9, "--end-threshold", 0.9
    assert run_command("timeline", clip, "-m", own_model, "--events", *both).stderr == ""


# Live


def test_a_stream_gives_the_events_of_the_file_and_posts_them(given: tuple[object, ...]) -> None:
    with receiving() as receiver:
        result = run_command(
            *("stream", *given, "--max-lag-seconds", 60, "--events", "--webhook", receiver.url)
        )
    assert result.exit_code == 0
    found = lines_of(result.stdout)
    assert found == receiver.posts
    assert all(abs(time.time() - event.pop("unix_seconds")) < 100 for event in found)
    expected = lines_of(run_command("timeline", *given, "--events").stdout)
    for event in (*found, *expected):
        event["score"] = pytest.approx(event["score"], abs=2e-2)  # bfloat16
    assert [{**e, "score": 0} for e in found] == [{**e, "score": 0} for e in expected]
    assert "12 frames (0 dropped), 4 answers" in result.stderr
    assert "not delivered" not in result.stderr


def test_a_webhook_that_is_down_stops_nothing(
    given: tuple[object, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    soon = WebhookOptions(first_wait_seconds=0.01, max_attempts=2)
    monkeypatch.setattr("actionrnn.apps.webhook.WebhookOptions", lambda: soon)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    url = f"http://me:secret@127.0.0.1:{port}/hook"
    result = run_command("stream", *given, "--events", "--webhook", url)
    assert result.exit_code == 0
    assert [event["event"] for event in lines_of(result.stdout)] == ["begin", "end"]
    line = result.stderr.splitlines()[-1]
    assert line.startswith(f"warning: webhook http://127.0.0.1:{port}: 2 of 2 events were not ")
    assert "refused" in line and "secret" not in result.output


class FakeSource:
    """Frames that wait already; from the 21st on they are of a second connection."""

    name = "fake"
    problem = ""

    def __init__(self, *_: object, report: Callable[[str], None]) -> None:
        self.counts = LiveCounts()
        self.report = report

    def frames(self) -> Iterator[Arrival | None]:
        for number, (pixels, seconds) in enumerate(zip(FRAMES, TIMES, strict=True)):
            self.counts.frames += 1
            if number == 20:
                self.report("fake: was interrupted")
            frame = Frame.from_array(pixels, seconds)
            yield Arrival(frame, time.monotonic(), 1 if number < 20 else 2)
        yield None
        if self.problem:
            raise VideoError(self.problem)

    def stop(self) -> None:
        """There is nothing to stop."""

    close = stop


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> Recognizer:
    """Untrained, with an answer two steps late; its source is the fake one."""
    monkeypatch.setattr("actionrnn.apps.live.LiveSource", FakeSource)
    backbone = make_tiny_backbone(2)
    torch.manual_seed(2)  # its scores of the background and of waving vary around 0.355
    head_config = HeadConfig(hidden_size=6, projection=False, delay_steps=2)
    config = Config(sampling=Sampling(rate_fps=10.0), head=head_config)
    head = Head(config.head, backbone.feature_size, len(LABELS)).eval()
    return Recognizer(backbone, head.trained(), LABELS, config)


def offline(model: Recognizer, part: slice) -> tuple[np.ndarray, np.ndarray]:
    stream = model.stream()
    frames = map(Frame.from_array, FRAMES[part], TIMES[part])
    return np.concatenate([stream.push(frames), stream.finish()]), TIMES[part]


@pytest.mark.parametrize("anew", [False, True])
@pytest.mark.parametrize("problem", ["", "fake: no picture for 9 s"])
def test_events_of_late_answers_end_with_the_recording(
    model: Recognizer,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    anew: bool,
    problem: str,
) -> None:
    monkeypatch.setattr(FakeSource, "problem", problem)
    rule = EventRule(0.355, 0.355)
    every = actionrnn.EventDetector(LABELS, rule).push(*offline(model, slice(None)))
    assert {event.label for event in every} == {BACKGROUND, "wave"}
    detector = actionrnn.EventDetector(LABELS, rule, {BACKGROUND})
    expected = []
    for part in [slice(0, 20), slice(20, 40)] if anew else [slice(None)]:
        expected += detector.push(*offline(model, part)) + detector.close()
    assert len(expected) > 6

    session, options = LiveSession(events=rule), LiveOptions(reset_on_reconnect=anew)
    if problem:
        with pytest.raises(VideoError, match="no picture"):
            run_live(model, "fake", options, session)
    else:
        run_live(model, "fake", options, session)
    captured = capsys.readouterr()
    found = lines_of(captured.out)
    assert {event["label"] for event in found} == {"wave"}
    for line, event in zip(found, expected, strict=True):
        del line["unix_seconds"]
        about = replace(event, score=0).to_dict()
        assert line.pop("score") == pytest.approx(event.score, abs=1e-4)
        del about["score"]
        assert line == pytest.approx(about)
    assert "fake: was interrupted" in captured.err and "40 frames" in captured.err
