"""The sound of a video goes into a copy of it: as it is, converted, or not at all with a word."""

from __future__ import annotations

import warnings
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from actionrnn.apps.render import rewrite

SECONDS = 2


def write_talking(path: Path, codec: str, rate: int = 8000, begin: float = 0.0) -> Path:
    """50 frames at 25 a second, and a tone of 440 Hz that grows louder."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("mpeg4" if path.suffix == ".avi" else "libx264", rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        sound = container.add_stream(codec, rate=rate, layout="mono")
        for number in range(25 * SECONDS):
            picture = np.full((48, 64, 3), 4 * number, np.uint8)
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = number + round(25 * begin), Fraction(1, 25)
            container.mux(video.encode(frame))
            times = np.arange(number * rate // 25, (number + 1) * rate // 25)
            tone = 300 * number * np.sin(2 * np.pi * 440 * times / rate)
            heard = av.AudioFrame.from_ndarray(tone.astype(np.int16)[None], "s16", "mono")
            heard.sample_rate, heard.time_base = rate, Fraction(1, rate)
            heard.pts = int(times[0]) + round(rate * begin)
            container.mux(sound.encode(heard))
        container.mux(video.encode(None))
        container.mux(sound.encode(None))
    return path


def heard_in(path: Path) -> tuple[str, float, NDArray[np.float64]]:
    """The codec, when its sound begins, and its loudness in each fifth of a second."""
    with av.open(str(path)) as container:
        [sound] = container.streams.audio
        frames = list(container.decode(sound))
    samples = np.concatenate([frame.to_ndarray().astype(float).ravel() for frame in frames])
    if frames[0].format.name.startswith("s16"):
        samples /= 2**15
    parts = samples[: SECONDS * sound.rate].reshape(5 * SECONDS, -1)
    return sound.codec_context.name, float(frames[0].time or 0), np.sqrt((parts**2).mean(axis=1))


@pytest.mark.parametrize(
    ("codec", "rate", "given", "ending", "kept"),
    [
        ("pcm_alaw", 8000, ".avi", ".mp4", "aac"),
        ("pcm_mulaw", 8000, ".avi", ".mkv", "aac"),
        ("pcm_mulaw", 8000, ".avi", ".mov", "pcm_mulaw"),
        ("adpcm_ima_wav", 8000, ".avi", ".mkv", "aac"),
        ("libopus", 48000, ".mkv", ".mp4", "opus"),
        ("libopus", 48000, ".mkv", ".mov", "aac"),
        ("pcm_s16le", 44100, ".avi", ".mkv", "pcm_s16le"),
    ],
)
def test_sound_is_copied_or_converted(
    codec: str, rate: int, given: str, ending: str, kept: str, tmp_path: Path
) -> None:
    talking = write_talking(tmp_path / f"talking{given}", codec, rate)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert rewrite(talking, tmp_path / f"out{ending}", lambda frame: frame.rgb) == 50
    _, _, was = heard_in(talking)
    name, begin, loudness = heard_in(tmp_path / f"out{ending}")
    assert name == kept
    assert begin == pytest.approx(0, abs=0.03)
    np.testing.assert_allclose(loudness, was, atol=0.02)


@pytest.mark.parametrize("harm", ["no decoder", "nothing decodable"])
def test_sound_that_cannot_be_read_is_left_out_with_a_word(harm: str, tmp_path: Path) -> None:
    codec = "pcm_alaw" if harm == "no decoder" else "adpcm_ima_wav"
    talking = write_talking(tmp_path / "talking.avi", codec)
    content = bytearray(talking.read_bytes())
    tag = content.rindex(b"strf") + 8  # of the second stream, its format
    content[tag : tag + 2] = b"\x77\x77" if harm == "no decoder" else b"\x55\x00"  # MP3
    talking.write_bytes(content)
    with pytest.warns(UserWarning, match=r"talking\.avi: its sound .* is left out"):
        assert rewrite(talking, tmp_path / "out.mp4", lambda frame: frame.rgb) == 50
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert not container.streams.audio


def test_sound_of_a_clock_that_starts_again_goes_on(tmp_path: Path) -> None:
    """Two recordings of a camera in one file, the second from 0 on again."""
    parts = [write_talking(tmp_path / f"{begin}.ts", "aac", 48000, begin) for begin in (40, 7)]
    joined = tmp_path / "joined.ts"
    joined.write_bytes(b"".join(part.read_bytes() for part in parts))
    assert rewrite(joined, tmp_path / "out.mp4", lambda frame: frame.rgb) == 100
    with av.open(str(tmp_path / "out.mp4")) as container:
        times = [float(frame.time or 0) for frame in container.decode(audio=0)]
    assert times[0] == pytest.approx(0, abs=0.1)
    assert times[-1] == pytest.approx(2 * SECONDS, abs=0.3)
