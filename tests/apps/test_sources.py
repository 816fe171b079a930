"""One argument, every source: each command and call takes a path, an address, a pipe, bytes."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

import actionrnn
from actionrnn.apps import cli
from actionrnn.apps.info import describe
from actionrnn.apps.render import render
from actionrnn.errors import ActionrnnError, VideoError
from actionrnn.model.recognizer import Recognizer
from actionrnn.video.probe import probe_video
from tests.pipes import filled_pipe
from tests.video.servers import encode, serving

SECRET = "hunter2"


@pytest.fixture
def address(clip: Path) -> Iterator[str]:
    with serving(clip.parent) as (place, _):
        yield f"{place.replace('//', f'//me:{SECRET}@')}/{clip.name}?token={SECRET}"


def run_command(*args: object, stdin: bytes | None = None) -> Result:
    given = [str(arg) for arg in args]
    result = CliRunner().invoke(cli.main, given, input=stdin, prog_name="actionrnn")
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert SECRET not in result.output
    return result


@pytest.fixture(params=["address", "-", "pipe"])
def given(
    request: pytest.FixtureRequest, clip: Path, address: str, tmp_path: Path
) -> Iterator[tuple[str, bytes | None]]:
    """What a command is given, and its standard input."""
    if request.param == "address":
        yield address, None
    elif request.param == "-":
        yield "-", clip.read_bytes()
    else:
        with filled_pipe(tmp_path / "pipe", clip.read_bytes()) as pipe:
            yield str(pipe), None


SOURCES: dict[str, Callable[[Path], Any]] = {
    "file address": lambda clip: clip.as_uri(),
    "bytes": lambda clip: clip.read_bytes(),
    "file object": lambda clip: io.BytesIO(clip.read_bytes()),
    "text": str,
}


@pytest.mark.parametrize("kind", SOURCES)
def test_every_call_takes_every_source(
    model: Recognizer, clip: Path, tmp_path: Path, kind: str
) -> None:
    make, expected = SOURCES[kind], model.timeline(clip)
    np.testing.assert_allclose(model.timeline(make(clip)).scores, expected.scores, atol=1e-5)
    early = model.classify(make(clip), stop_at_confidence=0.2)
    assert early.label == model.classify(clip, stop_at_confidence=0.2).label
    features = actionrnn.extract_features(make(clip), backbone=model.backbone, num_frames=3)
    same = actionrnn.extract_features(clip, backbone=model.backbone, num_frames=3)
    np.testing.assert_allclose(features.values, same.values, atol=1e-5)
    assert render(model, make(clip), tmp_path / "out.mp4") == 12


def test_every_command_takes_the_address_of_a_file(
    streaming_model: Path, clip: Path, tmp_path: Path
) -> None:
    named = tmp_path / "a b#1%.avi"
    named.write_bytes(clip.read_bytes())
    address, model = named.as_uri(), ("-m", streaming_model.as_uri())
    assert "%20" in address
    outputs = {name: tmp_path / name for name in ("a.csv", "a.mp4", "a.boris", "store")}
    for command in (
        ("info", address),
        ("classify", address, *model),
        ("timeline", address, *model, "-o", outputs["a.csv"], "--annotations", outputs["a.boris"]),
        ("render", address, *model, "-o", outputs["a.mp4"].as_uri()),
        ("stream", address, *model),
        ("extract", address, "-o", outputs["store"]),
        ("classify", named.parent.as_uri() + "/", *model),
    ):
        result = run_command(*command)
        assert result.exit_code == 0, result.output
    assert all(path.exists() for path in outputs.values())
    assert named.name in outputs["a.boris"].read_text()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([named.name, *outputs])


def test_an_empty_name_is_not_the_current_folder(
    model: Recognizer,
    streaming_model: Path,
    clip: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(clip.parent)
    given = ("", "-m", streaming_model)
    for command in (
        ("info", ""),
        ("classify", *given),
        ("timeline", *given),
        ("render", *given, "-o", tmp_path / "a.mp4"),
        ("stream", *given),
        ("extract", "", "-o", tmp_path / "store"),
    ):
        result = run_command(*command)
        expected = "error: the name of the video is empty; give a path or an address\n"
        assert (result.exit_code, result.output) == (1, expected)
    calls: list[Callable[[str], object]] = [
        model.classify,
        actionrnn.read_frames,
        probe_video,
        lambda path: next(actionrnn.iter_frames(path)),
        lambda path: actionrnn.extract_features(path, backbone=model.backbone),
        lambda path: render(model, path, tmp_path / "a.mp4"),
    ]
    for call in calls:
        with pytest.raises(VideoError, match="name of the video is empty"):
            call("")


def test_an_open_file_is_read(model: Recognizer, clip: Path) -> None:
    with clip.open("rb") as file:
        assert model.classify(file).label == model.classify(clip).label


def test_an_address_is_answered_as_the_file(model: Recognizer, clip: Path, address: str) -> None:
    found, expected = model.timeline(address), model.timeline(clip)
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-5)
    assert found.path.startswith("http://***@127.0.0.1:") and found.path.endswith("ann_red.avi?***")
    assert SECRET not in repr(found) + str(found.prediction()) + str(found.prediction().to_dict())
    features = actionrnn.extract_features(address, backbone=model.backbone, num_frames=3)
    assert len(features.values) == 3


def test_classify_takes_every_source(
    streaming_model: Path, clip: Path, given: tuple[str, bytes | None]
) -> None:
    source, stdin = given
    expected = json.loads(run_command("classify", clip, "-m", streaming_model, "--json").output)
    result = run_command("classify", source, "-m", streaming_model, "--json", stdin=stdin)
    assert result.exit_code == 0
    found = json.loads(result.output)
    assert found["scores"] == pytest.approx(expected["scores"], abs=1e-4)


@pytest.mark.parametrize("option", [["--sheet", "sheet.png"], ["--stop-at-confidence", "0.2"]])
def test_classify_reads_it_again_where_it_must(
    streaming_model: Path,
    given: tuple[str, bytes | None],
    option: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    source, stdin = given
    result = run_command("classify", source, "-m", streaming_model, *option, stdin=stdin)
    assert result.exit_code == 0, result.output
    assert option[0] != "--sheet" or (tmp_path / "sheet.png").stat().st_size > 0


def test_timeline_takes_every_source(
    streaming_model: Path, given: tuple[str, bytes | None], tmp_path: Path
) -> None:
    source, stdin = given
    files = [tmp_path / f"out{ending}" for ending in (".csv", ".json", ".srt", ".html")]
    outputs = [option for file in files for option in ("-o", file)]
    result = run_command("timeline", source, "-m", streaming_model, *outputs, stdin=stdin)
    assert result.exit_code == 0, result.output
    written = "".join(file.read_text() for file in files)
    assert 'src="data:video/mp4;base64,' in written  # the page has the video
    assert SECRET not in written


def test_render_takes_every_source(
    streaming_model: Path, given: tuple[str, bytes | None], tmp_path: Path
) -> None:
    source, stdin = given
    output = tmp_path / "out.mp4"
    result = run_command("render", source, "-m", streaming_model, "-o", output, stdin=stdin)
    assert result.exit_code == 0, result.output
    assert probe_video(output).num_frames == 12


def test_info_takes_every_source(given: tuple[str, bytes | None]) -> None:
    source, stdin = given
    result = run_command("info", source, stdin=stdin)
    assert result.exit_code == 0, result.output
    assert "64 x 48" in result.output and "12 frames" in result.output


def test_what_needs_a_file_says_so(
    streaming_model: Path, given: tuple[str, bytes | None], tmp_path: Path
) -> None:
    source, _ = given
    result = run_command(
        "timeline", source, "-m", streaming_model, "--annotations", tmp_path / "a.boris"
    )
    assert result.exit_code == 1
    assert "must be a file here, as annotations name the file" in result.output
    result = run_command("extract", source, "-o", tmp_path / "store", "--rate-fps", "5")
    assert result.exit_code == 1
    assert "must be a file here, as stored features name the file" in result.output


def test_a_page_of_what_has_no_name_needs_one(streaming_model: Path, address: str) -> None:
    for source in (address, "-"):
        result = run_command("timeline", source, "-m", streaming_model, "--html")
        assert result.exit_code == 2
        assert "give it a FILE" in result.output


@pytest.mark.parametrize(
    "text",
    [
        f"http://me:{SECRET}@127.0.0.1:9/a.mp4",
        f"rtsp://me:x/{SECRET}@127.0.0.1:9/a",
        f"srt://127.0.0.1:9?passphrase={SECRET}{SECRET}",
        f"rtmp://127.0.0.1:9/live/{SECRET}",
        f"rtsp:/me:{SECRET}@127.0.0.1:9/a",
        f"me:{SECRET}@127.0.0.1:9/a",
    ],
)
def test_no_command_shows_a_password_of_an_address_that_fails(
    streaming_model: Path, tmp_path: Path, text: str
) -> None:
    model = ("-m", streaming_model)
    for command in (
        ("info", text),
        ("classify", text, *model, "--json"),
        ("classify", text, *model, "--stop-at-confidence", 0.5),
        ("timeline", text, *model, "-o", tmp_path / "a.csv"),
        ("render", text, *model, "-o", tmp_path / "a.mp4"),
        ("stream", text, *model, "--json", "--give-up-seconds", 0, "--stall-seconds", 0.5),
        ("extract", text, "-o", tmp_path / "store"),
    ):
        result = run_command(*command)  # looks for the password in all that is printed
        assert result.exit_code == 1, result.output


def test_an_input_option_is_a_name_and_a_value(streaming_model: Path) -> None:
    result = run_command("stream", "x", "-m", streaming_model, "--input-option", SECRET)
    assert result.exit_code == 2
    assert "--input-option takes KEY=VALUE" in result.output


def test_bytes_that_are_no_video_are_one_line(model: Recognizer) -> None:
    with pytest.raises(VideoError, match=r"^the given bytes: is not a readable video"):
        model.classify(b"no video" * 100)


def test_what_does_not_exist_is_said_of_its_name() -> None:
    with pytest.raises(ActionrnnError, match=r"^missing\.mp4: no such file or folder"):
        describe("missing.mp4")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes here")
def test_raw_h264_from_a_pipe_has_answers(streaming_model: Path, tmp_path: Path) -> None:
    """As `rpicam-vid -o -` sends it: nothing tells the times."""
    video = encode(tmp_path / "clip.h264", seconds=0.6)
    with filled_pipe(tmp_path / "pipe", video.read_bytes()) as pipe:
        result = run_command("stream", pipe, "-m", streaming_model, "--json")
    assert result.exit_code == 0, result.output
    *answers, end = map(json.loads, result.stdout.splitlines())
    assert answers and (end["frames"], end["connections"]) == (15, 1)


def test_an_error_of_the_system_shows_no_password(monkeypatch: pytest.MonkeyPatch) -> None:
    address = f"rtsp://me:{SECRET}@cam/1"

    def fail(path: str, stream: int | None) -> None:
        raise OSError(5, "Input/output error", address)

    monkeypatch.setattr("actionrnn.apps.info.describe", fail)
    result = run_command("info", address)
    assert (result.exit_code, result.output) == (
        1,
        "error: rtsp://***@cam/***: Input/output error\n",
    )
