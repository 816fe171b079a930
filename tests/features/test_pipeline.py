"""Each frame gets the one before it, in whatever order they come; the slower side is named."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from actionrnn.config import BackboneConfig, Sampling
from actionrnn.features.backbone import Backbone
from actionrnn.features.pipeline import FramePairs, Pipeline
from actionrnn.features.video_parts import VideoPart
from actionrnn.features.worker import FrameSpec

PLACES = [slice(0, 1), slice(1, 3), slice(3, 4), slice(4, 5), slice(5, 8)]
SHOWN = [0, 1, 1, 2, 3, 4, 4, 4]


def picture(index: int) -> np.ndarray:
    return np.full((2, 2, 3), index, np.uint8)


@pytest.mark.parametrize("seed", range(20))
def test_each_place_comes_once_with_what_is_shown_before_it(seed: int) -> None:
    pairs, found = FramePairs(), {}
    for index in np.random.default_rng(seed).permutation(len(PLACES)).tolist():
        for places, frame, before in pairs.add(PLACES[index], picture(index)):
            for place in range(places.start, places.stop):
                assert place not in found
                found[place] = (frame[0, 0, 0], None if before is None else before[0, 0, 0])
    expected = zip(SHOWN, [None, *SHOWN[:-1]], strict=True)
    assert [found[place] for place in range(len(SHOWN))] == list(expected)


def test_a_buffer_that_is_written_over_does_no_harm() -> None:
    pairs, buffer = FramePairs(), picture(1)
    pairs.add(slice(0, 1), buffer)
    buffer[:] = 9
    ((_, _, before),) = pairs.add(slice(1, 2), picture(2))
    assert before is not None and (before == 1).all()


@pytest.mark.parametrize(("num_workers", "frames_ahead"), [(1, 1), (4, 1), (1, 256)])
@pytest.mark.parametrize(
    ("decode_seconds", "encode_seconds", "bound"),
    [(0.5, 0.01, "decoding"), (0, 0.1, "the backbone")],
)
def test_the_slower_side_is_named_however_many_threads_it_has(
    tiny_backbone: Backbone,
    monkeypatch: pytest.MonkeyPatch,
    num_workers: int,
    frames_ahead: int,
    decode_seconds: float,
    encode_seconds: float,
    bound: str,
) -> None:
    """Many decoders wait for a short backbone at once: together longer than it waited for them.
    Or all frames are decoded before the backbone has seen a few.
    """
    num_decoders = 16
    all_have_decoded = threading.Barrier(num_decoders, timeout=60)

    def decode(path: Any, spec: FrameSpec, sink: Any) -> None:
        time.sleep(decode_seconds)
        side, count = spec.preprocessing.crop, tiny_backbone.batch_frames
        all_have_decoded.wait()
        sink.begin(np.arange(count) / 4)
        for step in range(count):
            sink.add(slice(step, step + 1), np.zeros((side, side, 3), np.uint8))

    def encode(backbone: Backbone, pictures: np.ndarray) -> np.ndarray:
        time.sleep(encode_seconds)
        return np.zeros((len(pictures), backbone.view_size), np.float32)

    monkeypatch.setattr(Backbone, "encode_batch", encode)
    monkeypatch.setattr(Backbone, "num_workers", num_workers)
    backbone = replace(tiny_backbone, config=BackboneConfig(name="tiny", frames_ahead=frames_ahead))
    videos = [VideoPart(f"{number}", Path(f"{number}.avi")) for number in range(num_decoders)]
    pipeline = Pipeline(videos, backbone, Sampling(rate_fps=4), decode, num_decoders)
    assert sum(result is not None for result in pipeline.run()) == num_decoders
    assert pipeline.pace.bound == bound
