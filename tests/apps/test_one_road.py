"""One road from a file to scores: what one command answers or refuses, all of them do."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image

from actionrnn.apps.render import ScoreOverlay, render
from actionrnn.apps.serving.analysis import Upload, analyse
from actionrnn.apps.serving.limits import ServeLimits
from actionrnn.config import Config, HeadConfig, Sampling
from actionrnn.errors import VideoError
from actionrnn.features.extract import extract_to_store
from actionrnn.model.heads import Head
from actionrnn.model.recognizer import Recognizer
from actionrnn.video.probe import probe_video
from tests.tiny import empty, make_tiny_backbone, text

LABELS = ("clap", "jump", "wave")
RATE = Sampling(rate_fps=5.0)

Outcome = dict[str, float] | str
"""The score of each label, or the reason of the refusal."""


def encode(path: Path, *, width: int = 64, height: int = 48, frames: int = 30) -> Path:
    """Blurred random pictures at 10 a second, a key frame each second."""
    coarse = np.random.default_rng(0).integers(0, 256, (frames, 4, 4, 3), np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.gop_size, stream.codec_context.bit_rate = 10, 4_000_000
        for index, picture in enumerate(coarse):
            pixels = picture.repeat(-(-height // 4), axis=0).repeat(-(-width // 4), axis=1)
            rgb = np.ascontiguousarray(pixels[:height, :width])
            frame = av.VideoFrame.from_ndarray(rgb, format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, 10)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def truncate(whole: Path, part: float) -> Path:
    path = whole.with_name(f"cut{whole.suffix}")
    path.write_bytes(whole.read_bytes()[: int(part * whole.stat().st_size)])
    return path


def damage(whole: Path) -> Path:
    """All key frames but the first, and what follows them, become noise."""
    content = bytearray(whole.read_bytes())
    begin = len(content) // 3
    noise = np.random.default_rng(1).integers(0, 256, len(content) // 4, np.uint8)
    content[begin : begin + len(noise)] = noise.tobytes()
    path = whole.with_name(f"damaged{whole.suffix}")
    path.write_bytes(content)
    return path


def pictures(folder: Path, *, odd_one: bool = False) -> Path:
    path = folder / "pictures"
    path.mkdir()
    for index in range(30):
        size = (64, 48) if not (odd_one and index == 20) else (48, 64)
        colour = np.random.default_rng(index).integers(0, 256, 3)
        Image.new("RGB", size, tuple(colour.tolist())).save(path / f"frame_{index:03}.png")
    return path


def repeated(folder: Path) -> Path:
    return encode(folder / "short.avi", frames=3)


EVERY = replace(RATE, rate_fps=None)
INPUTS: dict[str, tuple[Callable[[Path], Path], Sampling]] = {
    "avi": (lambda folder: encode(folder / "a.avi"), RATE),
    "mp4": (lambda folder: encode(folder / "a.mp4"), RATE),
    "every frame": (lambda folder: encode(folder / "a.mp4"), EVERY),
    "faster than the video": (repeated, replace(RATE, rate_fps=40.0)),
    "half an avi": (lambda folder: truncate(encode(folder / "a.avi"), 0.45), RATE),
    "most of an avi": (lambda folder: truncate(encode(folder / "a.avi"), 0.8), RATE),
    "half an mkv": (lambda folder: truncate(encode(folder / "a.mkv"), 0.4), RATE),
    "half an mp4": (lambda folder: truncate(encode(folder / "a.mp4"), 0.5), RATE),
    "damaged avi": (lambda folder: damage(encode(folder / "a.avi")), RATE),
    "damaged avi, every frame": (lambda folder: damage(encode(folder / "a.avi")), EVERY),
    "damaged mp4": (lambda folder: damage(encode(folder / "a.mp4")), RATE),
    "tall": (lambda folder: encode(folder / "a.avi", width=32, height=320), RATE),
    "far too tall": (lambda folder: encode(folder / "a.avi", width=16, height=2000), RATE),
    "start": (lambda folder: encode(folder / "a.mp4"), replace(RATE, start_seconds=1.05)),
    "end": (lambda folder: encode(folder / "a.mp4"), replace(RATE, end_seconds=1.05)),
    "nothing chosen": (lambda folder: encode(folder / "a.mp4"), replace(RATE, start_seconds=99)),
    "frames evenly": (lambda folder: encode(folder / "a.mp4"), Sampling(num_frames=4)),
    "more frames than there are": (repeated, Sampling(num_frames=8)),
    "frames evenly until": (
        lambda folder: encode(folder / "a.avi"),
        Sampling(num_frames=4, end_seconds=1.05),
    ),
    "key frames": (lambda folder: encode(folder / "a.mp4"), Sampling(keyframes=True)),
    "pictures": (pictures, RATE),
    "pictures, evenly": (pictures, Sampling(num_frames=4)),
    "pictures, none chosen": (pictures, replace(RATE, start_seconds=99)),
    "pictures of two sizes": (lambda folder: pictures(folder, odd_one=True), EVERY),
    "missing": (lambda folder: folder / "missing.avi", RATE),
    "empty": (empty, RATE),
    "text": (text, RATE),
}
REFUSED = {
    "half an avi": "is truncated or damaged: ",
    "half an mkv": "is truncated or damaged: ",
    "far too tall": "16 x 2000 pixels are too long a frame",
    "nothing chosen": "chooses nothing",
    "pictures, none chosen": "chooses nothing",
    "pictures of two sizes": "a clip's frames have one size",
    "missing": "no such file",
    "empty": "is empty (0 bytes)",
    "text": "is not a readable video",
    "half an mp4": "is not a readable video",
}


def by_classify(model: Recognizer, path: Path, folder: Path) -> np.ndarray:
    prediction = model.classify(path)
    by_label = dict(zip(prediction.labels, prediction.scores, strict=True))
    return np.array([by_label[label] for label in LABELS])


def by_early_answer(model: Recognizer, path: Path, folder: Path) -> np.ndarray:
    """The confidence is never reached."""
    prediction = model.classify(path, stop_at_confidence=1.0)
    by_label = dict(zip(prediction.labels, prediction.scores, strict=True))
    return np.array([by_label[label] for label in LABELS])


def by_timeline(model: Recognizer, path: Path, folder: Path) -> np.ndarray:
    return model.timeline(path).so_far[-1]


def by_server(model: Recognizer, path: Path, folder: Path) -> np.ndarray:
    limits = ServeLimits(request_seconds=60)
    answer = analyse(Upload(path, path.name, limits, threading.Event()), model)
    return answer.timeline.so_far[-1]


def by_training(model: Recognizer, path: Path, folder: Path) -> np.ndarray:
    """The features that a training would store, scored."""
    sampling = model.config.sampling
    done = extract_to_store([path], folder / "store", backbone=model.backbone, sampling=sampling)
    if done.failures:
        raise VideoError(done.failures[0].reason)
    return model.score(done.store.read(done.store.keys()[0])).so_far[-1]


def by_rendering(model: Recognizer, path: Path, folder: Path) -> None:
    """It draws what the timeline says."""
    render(model, path, folder / "out.mp4")


ROADS: dict[str, Callable[[Recognizer, Path, Path], np.ndarray | None]] = {
    "classify --stop-at-confidence": by_early_answer,
    "timeline": by_timeline,
    "render": by_rendering,
    "server": by_server,
    "train": by_training,
}


@pytest.fixture(scope="module")
def make_model() -> Callable[[Sampling], Recognizer]:
    backbone = make_tiny_backbone(2)
    torch.manual_seed(0)
    head = Head(HeadConfig(hidden_size=8), backbone.feature_size, len(LABELS)).trained()

    def make(sampling: Sampling) -> Recognizer:
        return Recognizer(backbone, head, LABELS, Config(sampling=sampling))

    return make


def outcome(
    road: Callable[[Recognizer, Path, Path], np.ndarray | None],
    model: Recognizer,
    path: Path,
    folder: Path,
) -> tuple[np.ndarray | None, str]:
    """The scores (K,), or why there are none."""
    try:
        return road(model, path, folder), ""
    except VideoError as error:
        return None, str(error).replace(f"{path.parent}/", "")


@pytest.mark.parametrize("road", ROADS)
@pytest.mark.parametrize("kind", INPUTS)
def test_all_roads_lead_to_the_same_scores(
    kind: str, road: str, make_model: Callable[[Sampling], Recognizer], tmp_path: Path
) -> None:
    make, sampling = INPUTS[kind]
    path, model = make(tmp_path), make_model(sampling)
    if road == "server" and (path.is_dir() or not path.exists()):
        pytest.skip("an upload is a file")
    expected, reason = outcome(by_classify, model, path, tmp_path)
    assert bool(reason) == (kind in REFUSED) and REFUSED.get(kind, "") in reason, reason
    scores, why = outcome(ROADS[road], model, path, tmp_path)
    assert why == reason
    if scores is not None and expected is not None:
        np.testing.assert_allclose(scores, expected, atol=1e-4)
    if why:
        assert not (tmp_path / "out.mp4").exists()


def test_what_is_drawn_is_what_the_timeline_says(
    make_model: Callable[[Sampling], Recognizer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, model = pictures(tmp_path), make_model(RATE)
    shown = []

    class Overlay(ScoreOverlay):
        def draw(self, frame: np.ndarray, note: str = "") -> np.ndarray:
            shown.append(dict(self.rows))
            return super().draw(frame, note)

    monkeypatch.setattr("actionrnn.apps.render.ScoreOverlay", Overlay)
    assert render(model, path, tmp_path / "out.mp4") == 30
    timeline = model.timeline(path)
    times = np.arange(30) / 25
    steps = np.searchsorted(timeline.pts_seconds, times + 1e-6) - 1
    expected = [dict(zip(LABELS, timeline.scores[step], strict=True)) for step in steps]
    for drawn, scores in zip(shown, expected, strict=True):
        assert drawn == pytest.approx(scores)
    written = probe_video(tmp_path / "out.mp4")
    assert (written.num_frames, written.rate_fps) == (30, 25)
