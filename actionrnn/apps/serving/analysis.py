"""One uploaded video becomes scores, within the server's bounds."""

from __future__ import annotations

import contextlib
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from actionrnn.apps.serving.limits import ServeLimits
from actionrnn.errors import VideoError
from actionrnn.features.decoding import Source
from actionrnn.features.extract import provenance_of
from actionrnn.features.isolated import IsolatedDecode
from actionrnn.features.pipeline import Pipeline
from actionrnn.recurrent.recognizer import Prediction, Recognizer, Timeline
from actionrnn.stream_config import StatePolicy


@dataclass(frozen=True)
class Answer:
    """What is known of one video."""

    prediction: Prediction
    """As `classify` gives it."""
    timeline: Timeline
    """Under the state policy of `timeline`."""
    took_seconds: float

    def summary(self, top: int) -> dict[str, Any]:
        """Plain JSON types, as of `classify --json`, and the time that it took."""
        took = {"took_seconds": round(self.took_seconds, 3)}
        return self.prediction.top(top).to_dict() | took


def analyse(
    model: Recognizer, path: Path, name: str, limits: ServeLimits, stop: threading.Event
) -> Answer:
    """Decode in a process of its own, encode, and score a video that a visitor calls `name`.

    Raises:
        VideoError: it cannot be used, exceeds a bound, or nobody waits for it any more.
    """
    start = time.perf_counter()
    decode = IsolatedDecode(
        most_seconds=limits.request_seconds,
        most_video_seconds=limits.video_seconds,
        most_frame_pixels=limits.frame_pixels,
        most_memory_bytes=int(limits.decode_mb * 1e6),
        stop=stop,
    )
    sampling = model.config.sampling
    made = provenance_of(model.backbone, sampling)
    pipeline = Pipeline([Source(name, path)], model.backbone, sampling, made, decode=decode)
    with contextlib.closing(pipeline.run()) as results:
        _, features = next(result for result in results if result is not None)
    if isinstance(features, VideoError):
        raise VideoError(str(features).replace(str(path), name))  # nobody learns of our folders
    whole = model.score(features, name)
    long = model.score(features, name, StatePolicy())
    return Answer(whole.prediction(), long, time.perf_counter() - start)
