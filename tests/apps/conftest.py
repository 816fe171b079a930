"""A clip, files that cannot be used as videos, a model that streams, its server, a browser."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import av
import numpy as np
import pytest

from actionrnn.config import Sampling

if TYPE_CHECKING:
    from playwright.sync_api import Browser

    from actionrnn.model.recognizer import Recognizer
    from actionrnn.training.train import TrainingRun
    from tests.apps.browsing import Browsers
    from tests.apps.serving import Running

BAD_VIDEOS = {  # kind: the reason that is given
    "missing": "no such file",
    "zero-byte": "is empty (0 bytes)",
    "text": "is not a readable video",
    "sound-only": "has no video stream, only audio",
    "truncated": "is truncated or damaged: ",
}


@pytest.fixture(scope="session")
def clip(clips: Path) -> Path:
    """12 frames at 12 a second."""
    return clips / "red" / "ann_red.avi"


@pytest.fixture(params=BAD_VIDEOS)
def bad_video(
    request: pytest.FixtureRequest, make_bad_video: Callable[..., Path]
) -> tuple[Path, str]:
    """A file of each kind, and a part of the reason."""
    return make_bad_video(request.param), BAD_VIDEOS[request.param]


@pytest.fixture
def make_bad_video(clip: Path, tmp_path: Path) -> Callable[..., Path]:
    """A bad file `<folder>/bad.avi` of some kind, by default below tmp_path / "bad"."""

    def make(kind: str, folder: Path | None = None) -> Path:
        path = (folder or tmp_path / "bad") / "bad.avi"
        path.parent.mkdir(parents=True, exist_ok=True)
        if kind == "zero-byte":
            path.write_bytes(b"")
        elif kind == "text":
            path.write_text("This is a text, not a video.\n" * 100)
        elif kind == "sound-only":
            _encode_sound(path)
        elif kind == "truncated":
            whole = clip.read_bytes()
            path.write_bytes(whole[: len(whole) // 2])
        return path

    return make


def _encode_sound(path: Path) -> None:
    with av.open(str(path), "w", format="wav") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        stream.layout = "mono"
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.int16), "s16", "mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


@pytest.fixture(scope="session")
def streaming_model(run: TrainingRun, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The squares' model, with a sampling that can stream."""
    from actionrnn.model.recognizer import load

    model = load(run.output / "model.safetensors")
    config = replace(model.config, sampling=Sampling(num_frames=None, rate_fps=4.0))
    path = tmp_path_factory.mktemp("streaming") / "model.safetensors"
    replace(model, config=config).save(path)
    return path


@pytest.fixture(scope="session")
def model(streaming_model: Path) -> Recognizer:
    """The same, loaded."""
    from actionrnn.model.recognizer import load

    return load(streaming_model)


@pytest.fixture(scope="module")
def server(model: Recognizer) -> Iterator[Running]:
    """It, served on loopback."""
    from tests.apps.serving import running

    with running(model) as started:
        yield started


@pytest.fixture(scope="session")
def walk(real_data: Path) -> Path:
    """A real clip."""
    return real_data / "weizmann" / "walk" / "denis_walk.avi"


@pytest.fixture(scope="module")
def browsers() -> Iterator[Browsers]:
    """Gives Chromium, with a camera; Playwright's event loop occupies the thread until it ends."""
    from tests.apps.browsing import playing, starting

    with playing() as playwright, starting(playwright) as start:
        yield start


@pytest.fixture(scope="module")
def browser(browsers: Browsers, walk: Path, tmp_path_factory: pytest.TempPathFactory) -> Browser:
    """Chromium, whose camera shows that clip."""
    from tests.apps.browsing import encode

    camera = tmp_path_factory.mktemp("camera") / "camera.mjpeg"
    return browsers(encode(walk, camera, "mjpeg", "yuvj420p", times=3))
