"""The rate of a folder of pictures, which the pictures do not say, is given or assumed aloud."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path

import av
import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

import actionrnn
from actionrnn.apps.cli import main
from actionrnn.apps.render import rewrite
from actionrnn.config import Sampling
from actionrnn.errors import ConfigError, VideoError
from actionrnn.features.store import FeatureStore
from actionrnn.model.recognizer import Recognizer
from actionrnn.video.decode import iter_frames, read_frames
from actionrnn.video.frame_index import AssumedRateWarning
from actionrnn.video.probe import probe_video
from tests.video.servers import encode

ASSUMED = (
    "note: a folder of pictures does not say the frame rate: 25 frames/s assumed; --frame-rate"
)


@pytest.fixture
def folder(clip: Path, tmp_path: Path) -> Path:
    """The clip as pictures."""
    path = tmp_path / "pictures"
    path.mkdir()
    for number, frame in enumerate(iter_frames(clip)):
        Image.fromarray(frame.rgb).save(path / f"{number}.png")
    return path


def run(*arguments: object) -> Result:
    done = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert done.exit_code == 0, done.output
    return done


def scores(done: Result) -> dict[str, float]:
    answer = json.loads(done.stdout)
    return dict(zip(answer["labels"], answer["scores"], strict=True))


def test_at_its_own_rate_a_folder_is_answered_as_its_video(
    clip: Path, folder: Path, streaming_model: Path
) -> None:
    given = ("--model", streaming_model, "--json")
    as_video, as_pictures = run("classify", clip, *given), run("classify", folder, *given)
    assert ASSUMED in as_pictures.stderr and not as_video.stderr
    right = run("classify", folder, *given, "--frame-rate", 12)
    assert not right.stderr
    assert scores(right) == pytest.approx(scores(as_video), abs=1e-4)
    assert json.loads(as_pictures.stdout)["pts_seconds"] < 0.5


def test_timeline_and_render_take_the_rate(
    clip: Path, folder: Path, streaming_model: Path, model: Recognizer, tmp_path: Path
) -> None:
    table, film = tmp_path / "out.json", tmp_path / "out.mp4"
    given = (folder, "--model", streaming_model)
    assert ASSUMED in run("timeline", *given).stderr
    assert ASSUMED in run("render", *given, "-o", tmp_path / "assumed.mp4").stderr
    assert ASSUMED not in run("timeline", *given, "--frame-rate", 12, "-o", table).stderr
    steps = json.loads(table.read_text())["steps"]
    assert [step["pts_seconds"] for step in steps] == [0.0, 0.25, 0.5, 0.75]
    assert ASSUMED not in run("render", *given, "--frame-rate", 12, "-o", film).stderr
    assert (probe_video(film).num_frames, probe_video(film).rate_fps) == (12, 12)
    found = model.reading(frame_folder_fps=12).timeline(folder)
    np.testing.assert_allclose(found.scores, model.timeline(clip).scores, atol=1e-4)


def test_extract_takes_the_rate(folder: Path, tmp_path: Path) -> None:
    given = ("extract", folder, "--rate-fps", 4, "-o")
    assert ASSUMED in run(*given, tmp_path / "assumed").stderr
    done = run(*given, tmp_path / "given", "--frame-rate", 12)
    assert "note:" not in done.stderr
    store = FeatureStore.open(tmp_path / "given")
    assert store.provenance.sampling.frame_folder_fps == 12
    assert store.read("pictures").pts_seconds.tolist() == [0.0, 0.25, 0.5, 0.75]
    features = actionrnn.extract_features(folder, rate_fps=4, frame_folder_fps=12)
    np.testing.assert_allclose(features.values, store.read("pictures").values, atol=5e-3)


def test_a_video_has_its_own_times(clip: Path, streaming_model: Path, tmp_path: Path) -> None:
    given = ("--model", streaming_model, "--json")
    done = run("classify", clip, *given, "--frame-rate", 3)
    assert "note: --frame-rate is for folders of pictures and raw streams" in done.stderr
    assert done.stdout == run("classify", clip, *given).stdout
    done = run("extract", clip, "-o", tmp_path / "store", "--rate-fps", 4, "--frame-rate", 3)
    assert "note: --frame-rate is for folders of pictures and raw streams" in done.stderr


@pytest.mark.filterwarnings("default::actionrnn.video.frame_index.AssumedRateWarning")
def test_raw_video_is_at_the_rate_that_is_given(
    clip: Path, streaming_model: Path, model: Recognizer, tmp_path: Path
) -> None:
    raw = tmp_path / "clip.mjpeg"
    with av.open(str(clip)) as file, av.open(str(raw), "w") as copied:
        pictures = copied.add_stream("mjpeg", rate=12)
        pictures.width, pictures.height, pictures.pix_fmt = 64, 48, "yuvj444p"
        for frame in file.decode(video=0):
            frame.pts = None
            copied.mux(pictures.encode(frame.reformat(format="yuvj444p")))
        copied.mux(pictures.encode(None))
    given = (raw, "-m", streaming_model)
    assumed = "clip.mjpeg: does not say the frame rate: 25 frames/s assumed; --frame-rate"
    files = [tmp_path / name for name in ("a.json", "a.html", "a.mp4")]
    commands = (
        ("classify", *given),
        ("timeline", *given, "-o", files[0], "-o", files[1]),
        ("render", *given, "-o", files[2]),
        ("extract", raw, "-o", tmp_path / "store", "--rate-fps", 4, "--overwrite"),
    )
    for command in commands:
        assert run(*command).stderr.count(assumed) == 1
    for file in files:
        file.unlink()
    for command in commands:
        assert "assumed" not in run(*command, "--frame-rate", 12).stderr
    steps = json.loads(files[0].read_text())["steps"]
    assert [step["pts_seconds"] for step in steps] == [0.0, 0.25, 0.5, 0.75]
    assert [frame.pts_seconds for frame in iter_frames(files[2])] == pytest.approx(
        np.arange(12) / 12, abs=1e-3
    )
    assert FeatureStore.open(tmp_path / "store").read("clip").pts_seconds.tolist() == [
        *(0.0, 0.25, 0.5, 0.75)
    ]
    video = re.findall('base64,([^"]+)', files[1].read_text())[0]
    assert len(read_frames(base64.b64decode(video))) == 12
    assert read_frames(base64.b64decode(video)).pts_seconds[-1] == pytest.approx(11 / 12, abs=1e-3)
    found = model.reading(frame_folder_fps=12).timeline(raw)
    np.testing.assert_allclose(found.pts_seconds, model.timeline(clip).pts_seconds, atol=1e-4)
    with pytest.warns(AssumedRateWarning, match="25 frames/s assumed"):
        assert model.classify(raw).pts_seconds < 0.5


def test_extract_keeps_the_rate_that_raw_video_states(tmp_path: Path) -> None:
    """Features do not record that it was overruled, and would mix."""
    raw = encode(tmp_path / "a.h264", "-c:v libx264 -pix_fmt yuv420p", rate=12)
    done = run("extract", raw, "-o", tmp_path / "store", "--rate-fps", 4, "--frame-rate", 50)
    assert "videos that state their times keep them" in done.stderr
    features = actionrnn.extract_features(raw, rate_fps=4, frame_folder_fps=50)
    for found in (features, FeatureStore.open(tmp_path / "store").read("a")):
        np.testing.assert_allclose(found.pts_seconds, [0, 0.25, 0.5, 0.75], atol=1e-4)


def test_a_timeline_ends_with_the_last_picture(folder: Path, model: Recognizer) -> None:
    for rate_fps in (12, 5):
        timeline = model.reading(frame_folder_fps=rate_fps).timeline(folder)
        assert timeline.segments()[-1].end_seconds == pytest.approx(12 / rate_fps)


def test_several_folders_are_counted(folder: Path, streaming_model: Path) -> None:
    done = run("classify", folder, folder, "--model", streaming_model)
    assert "note: 2 folders do not say the frame rate: 25 frames/s assumed" in done.stderr


def test_a_rate_that_is_none_is_refused(folder: Path, model: Recognizer, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"frame_folder_fps \(-1\.0\): input should be"):
        model.reading(frame_folder_fps=-1.0)
    assert (
        CliRunner().invoke(main, ["classify", "x", "-m", "y", "--frame-rate", "0"]).exit_code == 2
    )
    for rate_fps in (1e-9, 1e9):
        with pytest.raises(VideoError, match=r"pictures: 1e\W\d+ frames/s cannot be written"):
            sampling = Sampling(frame_folder_fps=rate_fps)
            rewrite(folder, tmp_path / "out.mp4", lambda frame: frame.rgb, sampling=sampling)


def test_info_says_what_is_done_to_pictures(folder: Path) -> None:
    rows = dict(line.split("  ", 1) for line in run("info", folder).stdout.splitlines())
    assert rows["frames"].strip() == "12" and rows["size"].strip() == "64 x 48"
    assert rows["rate"].strip() == "not stated: 25 frames/s without --frame-rate"
    assert "pictures" not in rows
    for path in folder.glob("*.png"):
        exif = Image.Exif()
        exif[274] = 6
        Image.open(path).save(path, exif=exif)
    turned = run("info", folder).stdout
    assert "48 x 64" in turned and "turned as its EXIF data says" in turned
