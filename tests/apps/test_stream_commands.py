"""The commands that follow a recording: timeline, render, stream, and an early answer."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

import actionrnn
from actionrnn.apps import cli
from actionrnn.apps.render import rewrite
from actionrnn.training.train import TrainingRun
from actionrnn.video.decode import iter_frames


def run_command(*args: object) -> Result:
    result = CliRunner().invoke(cli.main, [str(arg) for arg in args], prog_name="actionrnn")
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture
def uneven(tmp_path: Path) -> Path:
    """Frames at uneven times from 2 s on, odd sizes, and sound."""
    path = tmp_path / "uneven.mkv"
    with av.open(str(path), "w") as container:
        video = container.add_stream("mjpeg", rate=25)
        video.width, video.height, video.pix_fmt = 99, 75, "yuvj420p"
        video.codec_context.time_base = Fraction(1, 1000)
        sound = container.add_stream("aac", rate=16000, layout="mono")
        for number, milliseconds in enumerate([2000, 2040, 2100, 2333, 2340, 2900, 3500]):
            pixels = np.full((75, 99, 3), 30 * number, np.uint8)
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = milliseconds, Fraction(1, 1000)
            container.mux(video.encode(frame))
        for block in range(20):
            samples = np.random.default_rng(block).integers(-999, 999, (1, 1024), np.int16)
            heard = av.AudioFrame.from_ndarray(samples, "s16", "mono")
            heard.sample_rate, heard.pts = 16000, 32000 + 1024 * block
            heard.time_base = Fraction(1, 16000)
            container.mux(sound.encode(heard))
        container.mux(video.encode(None))
        container.mux(sound.encode(None))
    return path


def packets_of(path: Path, kind: str) -> list[tuple[float, bytes]]:
    with av.open(str(path)) as container:
        stream = container.streams.best(kind)
        assert stream is not None
        return [
            (round(float(p.pts * p.time_base), 3), bytes(p))
            for p in container.demux(stream)
            if p.size
        ]


def test_timeline_writes_what_the_endings_say(
    streaming_model: Path, clip: Path, tmp_path: Path
) -> None:
    files = [tmp_path / f"t{ending}" for ending in (".csv", ".json", ".srt", ".vtt", ".html")]
    given = [option for file in files for option in ("--output", file)]
    result = run_command("timeline", clip, "--model", streaming_model, *given)
    assert result.exit_code == 0
    assert all(file.stat().st_size > 0 for file in files)
    found = json.loads(files[1].read_text())
    model = actionrnn.load(streaming_model)
    expected = model.timeline(clip)
    np.testing.assert_allclose(
        [step["scores"] for step in found["steps"]], expected.scores, atol=1e-5
    )
    assert "red" in result.output


@pytest.mark.parametrize("given", [["--html"], ["--html", "other.html"]])
def test_the_page_goes_where_it_is_asked_to(
    streaming_model: Path,
    clip: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    given: list[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_command("timeline", clip, "-m", streaming_model, *given).exit_code == 0
    page = (tmp_path / (given[1] if len(given) > 1 else "ann_red.html")).read_text()
    assert 'src="data:video/mp4;base64,' in page  # this AVI was converted for browsers
    assert "http" not in page.replace("http-equiv", "")
    policy = re.search(r'content="(default-src [^"]*)"', page)
    assert policy is not None
    for tag in ("style", 'script type="module"'):  # each is allowed by its hash alone
        (content,) = re.findall(rf"<{tag}>(.*?)</{tag.split()[0]}>", page, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"-src 'sha256-{digest}'" in policy[1]


def test_a_timeline_of_another_ending_is_a_usage_error(
    streaming_model: Path, clip: Path, tmp_path: Path
) -> None:
    result = run_command("timeline", clip, "-m", streaming_model, "-o", tmp_path / "t.pdf")
    assert result.exit_code == 2
    assert "must end in one of .csv .json .srt .vtt .html" in result.output


def test_a_model_that_needs_the_whole_clip_reads_files_but_no_stream(
    run: TrainingRun, clip: Path, tmp_path: Path
) -> None:
    given = (clip, "-m", run.output / "model.safetensors")
    assert run_command("timeline", *given, "-o", tmp_path / "out.csv").exit_code == 0
    assert len((tmp_path / "out.csv").read_text().splitlines()) == 1 + 4
    assert run_command("render", *given, "-o", tmp_path / "out.mp4").exit_code == 0
    result = run_command("stream", *given, "--record", tmp_path / "out.mkv")
    assert result.exit_code == 1
    assert "cannot stream" in result.output and "folder_example.yaml" in result.output
    assert not (tmp_path / "out.mkv").exists()


def test_a_folder_of_pictures_is_read_as_a_video(
    streaming_model: Path, clip: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number, frame in enumerate(iter_frames(clip)):
        Image.fromarray(frame.rgb).save(folder / f"{number}.png")
    given = (folder, "-m", streaming_model)
    whole = json.loads(run_command("classify", *given, "--json").stdout)
    early = run_command("classify", *given, "--json", "--stop-at-confidence", 1)
    found = json.loads(early.stdout)
    assert found["scores"] == pytest.approx(whole["scores"], abs=2e-2)  # bfloat16
    assert (found["needed_seconds"], found["needed_part"]) == pytest.approx((6 / 25, 0.5), abs=0.05)
    sheet = tmp_path / "sheet.png"
    assert run_command("classify", *given, "--sheet", sheet).exit_code == 0 and sheet.exists()
    assert run_command("timeline", *given, "-o", tmp_path / "out.srt").exit_code == 0
    assert "12 frames" in run_command("render", *given, "-o", tmp_path / "out.mp4").output
    assert len(list(iter_frames(tmp_path / "out.mp4"))) == 12


def test_an_impossible_option_is_one_line(streaming_model: Path, clip: Path) -> None:
    result = run_command("timeline", clip, "-m", streaming_model, "--min-seconds", -1)
    assert result.exit_code == 1
    assert result.output.startswith("error: min_seconds (-1.0): ")


def test_an_early_answer_stops_early(streaming_model: Path, clip: Path) -> None:
    whole = json.loads(run_command("classify", clip, "-m", streaming_model, "--json").stdout)
    first = actionrnn.load(streaming_model).timeline(clip).scores[0].max()
    sure = f"{0.9 * first:.3f}"
    early = run_command(
        "classify", clip, "-m", streaming_model, "--json", "--stop-at-confidence", sure
    )
    never = run_command("classify", clip, "-m", streaming_model, "--stop-at-confidence", 1)
    found = json.loads(early.stdout)
    assert found["stopped_early"] and found["pts_seconds"] < whole["pts_seconds"]
    assert found["needed_part"] == pytest.approx(found["needed_seconds"] / 1.0)
    assert found["scores"][0] >= float(sure)
    assert "never reached 1; looked at 0.75 s of 1.00 s (75%)" in never.stdout


def test_rendering_keeps_times_and_sound(
    streaming_model: Path, uneven: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out.mp4"
    assert run_command("render", uneven, "-m", streaming_model, "-o", output).exit_code == 0
    frames = list(iter_frames(output))
    times = [frame.pts_seconds - 2 for frame in iter_frames(uneven)]  # which begins at 2 s
    assert [frame.pts_seconds for frame in frames] == pytest.approx(times, abs=1e-3)
    assert frames[0].rgb.shape == (76, 100, 3)  # H.264 wants even sizes
    heard, wanted = packets_of(output, "audio"), packets_of(uneven, "audio")
    assert [data for _, data in heard] == [data for _, data in wanted]
    seconds = [seconds + 2 for seconds, _ in heard]
    assert seconds == pytest.approx([seconds for seconds, _ in wanted], abs=1e-3)
    top = [frame.rgb[:20].mean() for frame in frames]
    np.testing.assert_allclose(top, np.arange(7) * 30, atol=4)  # above the panel: as it was
    bottom = frames[-1].rgb[-20:, :90]
    assert bottom.min() < 120 < bottom.max()  # a dark panel with light letters


def test_rendering_elsewhere_is_refused(streaming_model: Path, clip: Path, tmp_path: Path) -> None:
    result = run_command("render", clip, "-m", streaming_model, "-o", tmp_path / "out.avi")
    assert result.exit_code == 1
    assert "must end in .mp4, .mkv, .mov" in result.output


def test_a_rewriting_that_fails_leaves_nothing(uneven: Path, tmp_path: Path) -> None:
    def fail(*_: object) -> np.ndarray:
        raise RuntimeError("drawing failed")

    with pytest.raises(RuntimeError, match="drawing failed"):
        rewrite(uneven, tmp_path / "sub" / "out.mp4", fail)
    assert list((tmp_path / "sub").iterdir()) == []


def test_streaming_a_file_prints_json_lines_and_records(
    streaming_model: Path, clip: Path, tmp_path: Path
) -> None:
    output = tmp_path / "rec.mkv"
    result = run_command("stream", clip, "-m", streaming_model, "--json", "--record", output)
    assert result.exit_code == 0
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert lines[-1]["event"] == "end" and lines[-1]["frames"] == 12
    answers = lines[:-1]
    assert len(answers) == lines[-1]["answers"] >= 1
    assert all(line["label"] == line["labels"][0] for line in answers)
    assert len(list(iter_frames(output))) == 12 - lines[-1]["dropped"]


def test_without_a_screen_there_is_no_window(
    streaming_model: Path, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    result = run_command("stream", clip, "-m", streaming_model, "--window")
    assert result.exit_code == 1
    assert "no display" in result.output


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)]
)
def test_a_signal_ends_it_cleanly(
    streaming_model: Path, tmp_path: Path, number: signal.Signals
) -> None:
    """A pipe that stays open: frames come from standard input until the signal."""
    import imageio_ffmpeg

    feed = subprocess.Popen(
        [
            *(imageio_ffmpeg.get_ffmpeg_exe(), "-v", "quiet", "-re", "-f", "lavfi"),
            *("-i", "testsrc2=size=64x48:rate=25", "-c:v", "mpeg2video", "-f", "mpegts", "-"),
        ],
        stdout=subprocess.PIPE,
    )
    record = tmp_path / "rec.mp4"
    command = ["-m", "actionrnn", "stream", "-", "-m", str(streaming_model), "--json"]
    live = subprocess.Popen(
        [sys.executable, *command, "--record", str(record)],
        stdin=feed.stdout,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_WAIT_POLICY": "passive"},
    )
    try:
        assert live.stdout is not None
        assert "label" in json.loads(live.stdout.readline())
        time.sleep(0.5)
        live.send_signal(number)
        rest, _ = live.communicate(timeout=30)
    finally:
        for process in (live, feed):
            process.kill()
            process.wait()
        assert feed.stdout is not None
        feed.stdout.close()
    assert live.returncode == 0
    assert json.loads(rest.splitlines()[-1])["event"] == "end"
    assert len(list(iter_frames(record))) > 1
