"""A file is read step by step, in the order of time, with a bounded number of frames waiting."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from actionrnn.config import Sampling
from actionrnn.errors import BackboneError, VideoError
from actionrnn.features.backbone import Backbone
from actionrnn.features.extract import VideoPart, encode_videos
from actionrnn.model.reading import FeatureBlock, read_blocks

SIDE = 24
EVERY = Sampling()

Decode = Callable[..., Any]


def square(step: int) -> np.ndarray:
    return np.full((SIDE, SIDE, 3), 2 * step, np.uint8)


def decoder(add_all: Callable[[Any], None], steps: int) -> Decode:
    """A way of decoding that gives squares as `add_all` says."""

    def decode(path: Path, sampling: Any, sink: Any, *_: Any) -> dict[str, Any]:
        sink.begin(np.arange(steps) / 10)
        add_all(sink)
        return {}

    return decode


def read(backbone: Backbone, decode: Decode, **options: Any) -> Iterator[FeatureBlock]:
    return read_blocks(Path("a.avi"), backbone, EVERY, decode=decode, **options)


def steps_of(blocks: list[FeatureBlock]) -> list[int]:
    """Which square each step shows, told from its features."""
    values = np.concatenate([block.values for block in blocks])
    return np.rint((values[:, 0] + 1) * 255 / 4).astype(int).tolist()


@pytest.mark.parametrize("modality", ["rgb", "rgb_diff", "both"])
@pytest.mark.parametrize("sampling", [EVERY, Sampling(rate_fps=31.0), Sampling(num_frames=20)])
@pytest.mark.parametrize("one_by_one", [False, True])
def test_the_features_are_those_of_an_extraction(
    tiny_backbone: Backbone, clips: Path, modality: Any, sampling: Sampling, one_by_one: bool
) -> None:
    path = clips / "red" / "ann_red.avi"
    preprocessing = replace(tiny_backbone.preprocessing, modality=modality)
    backbone = replace(tiny_backbone, preprocessing=preprocessing)
    [(_, expected)] = encode_videos([VideoPart("a", path)], backbone, sampling)
    assert not isinstance(expected, VideoError)
    blocks = list(read_blocks(path, backbone, sampling, one_by_one=one_by_one))
    values = np.concatenate([block.values for block in blocks])
    np.testing.assert_allclose(values, expected.values, atol=1e-6)
    times = np.concatenate([block.pts_seconds for block in blocks])
    np.testing.assert_array_equal(times, expected.pts_seconds)
    firsts = np.cumsum([0, *(len(block.values) for block in blocks)])[:-1]
    assert [block.first_step for block in blocks] == firsts.tolist()


def test_frames_of_several_threads_come_in_order(tiny_backbone: Backbone) -> None:
    def add_all(sink: Any) -> None:
        def stretch(first: int) -> None:
            for step in range(first, first + 25):
                sink.add(slice(step, step + 1), square(step))

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(stretch, [75, 50, 25, 0]))

    blocks = list(read(tiny_backbone, decoder(add_all, 100)))
    assert steps_of(blocks) == list(range(100))


def test_a_decoder_waits_for_a_caller_who_is_slow(tiny_backbone: Backbone) -> None:
    added: list[int] = []

    def add_all(sink: Any) -> None:
        for step in range(100):
            added.append(step)
            sink.add(slice(step, step + 1), square(step))

    with contextlib.closing(read(tiny_backbone, decoder(add_all, 100), one_by_one=True)) as blocks:
        for number, _ in zip(range(10), blocks, strict=False):
            assert max(added) <= number + 3
    assert max(added) < 15  # closed, it ends
    assert not any(thread.name == "decode" for thread in threading.enumerate())


def test_where_decoding_begins_anew_so_do_the_steps(tiny_backbone: Backbone) -> None:
    def add_all(sink: Any) -> None:
        for step in (0, 1, 2, 5):  # 3 does not come: all that came is void
            sink.add(slice(step, step + 1), square(60))
        sink.begin(np.arange(4) / 10)
        for step in range(4):
            sink.add(slice(step, step + 1), square(step))

    blocks = list(read(tiny_backbone, decoder(add_all, 6), one_by_one=True))
    last_begin = max(n for n, block in enumerate(blocks) if block.first_step == 0)
    assert steps_of(blocks[last_begin:]) == [0, 1, 2, 3]


@pytest.mark.parametrize("error", [VideoError("a.avi: is damaged"), RuntimeError("a bug")])
def test_what_the_decoder_raises_the_caller_gets(tiny_backbone: Backbone, error: Exception) -> None:
    def fail(sink: Any) -> None:
        raise error

    with pytest.raises(type(error), match=str(error)):
        list(read(tiny_backbone, decoder(fail, 3)))


def test_a_backbone_that_fails_is_one_line_and_ends_the_decoder(
    tiny_backbone: Backbone, clips: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("CUDA out of memory\nand where")

    monkeypatch.setattr(Backbone, "encode", fail)
    path = clips / "red" / "ann_red.avi"
    with pytest.raises(BackboneError, match=r"tiny: failed on 12 frames \(CUDA out of memory\);"):
        list(read_blocks(path, tiny_backbone, EVERY))
    assert not any(thread.name == "decode" for thread in threading.enumerate())
