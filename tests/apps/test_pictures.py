"""Files and pages show pictures as a player does: their shape, their stream, their length."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from click.testing import CliRunner

from actionrnn.apps.cli import main
from actionrnn.model.recognizer import Recognizer
from actionrnn.video.declared import declared_span
from actionrnn.video.probe import probe_video
from tests.conftest import encode_square
from tests.video.test_last_frame import recording


@pytest.fixture
def wide(clips: Path, tmp_path: Path) -> Path:
    """A red clip whose pixels are twice as wide as high, in the second of two streams."""
    path = tmp_path / "wide.mp4"
    with av.open(str(clips / "red" / "ann_red.avi")) as before, av.open(str(path), "w") as after:
        pictures = [picture.to_ndarray(format="rgb24") for picture in before.decode(video=0)]
        streams = [after.add_stream("mpeg4", rate=12) for _ in range(2)]
        for stream in streams:
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
            stream.codec_context.sample_aspect_ratio = Fraction(2)
            stream.bit_rate = 2_000_000
        for index, picture in enumerate(pictures):
            for stream, pixels in zip(streams, (np.zeros_like(picture), picture), strict=True):
                frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
                frame.pts, frame.time_base = index, Fraction(1, 12)
                after.mux(stream.encode(frame))
        for stream in streams:
            after.mux(stream.encode(None))
    return path


def run(*arguments: object) -> str:
    done = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert done.exit_code == 0, done.output
    return done.output


def test_a_rendered_video_has_the_shown_shape(
    wide: Path, streaming_model: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out.mp4"
    run("render", wide, "--model", streaming_model, "-o", output)
    info = probe_video(output)
    assert (info.width, info.height, info.corrections) == (128, 48, ())


def test_commands_read_the_stream_that_is_named(
    wide: Path, streaming_model: Path, tmp_path: Path
) -> None:
    given = ("--model", streaming_model, "--json")
    assert run("classify", wide, *given) != run("classify", wide, *given, "--stream", 1)
    drawn = tmp_path / "drawn.mp4"
    run("render", wide, "--model", streaming_model, "-o", drawn, "--stream", 1)
    with av.open(str(drawn)) as container:
        picture = next(container.decode(video=0)).to_ndarray(format="rgb24")
    assert picture[24:].mean() > 60  # the other is black, below the scores
    page = tmp_path / "page.html"
    run("timeline", wide, "--model", streaming_model, "-o", page, "--stream", 1)
    assert "Converted for browsers" in page.read_text(encoding="utf-8")
    rows = run("info", wide, "--stream", 1)
    assert "described here" in rows.splitlines()[-1]
    done = CliRunner().invoke(
        main, ["classify", str(wide), "--model", str(streaming_model), "--stream", "7"]
    )
    assert "its video streams are 0, 1" in done.output


def test_a_timeline_ends_where_a_last_frame_does(model: Recognizer, tmp_path: Path) -> None:
    path = recording(tmp_path / "screen.mkv", sound_seconds=6)
    timeline = model.timeline(path)
    assert timeline.pts_seconds[-1] < 1
    assert timeline.segments()[-1].end_seconds == pytest.approx(6, abs=0.05)
    assert model.classify(path).label == timeline.prediction().label


def test_an_ordinary_timeline_ends_where_its_video_does(model: Recognizer, tmp_path: Path) -> None:
    path = tmp_path / "red.avi"
    encode_square(path, "red", "ann")
    found = model.timeline(path)
    begin, length = declared_span(path)
    assert length is not None and found.end_seconds == begin + length > found.pts_seconds[-1]
