"""The decoding benchmark finds the frames that its rivals find."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from actionrnn.config import Sampling

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "decode.py"


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location("decode_benchmark", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)  # where its dataclasses look
    spec.loader.exec_module(module)
    return module


def test_a_row_says_whether_a_rival_found_the_same_frames(
    benchmark: ModuleType, ffmpeg_encode: Callable[..., Path]
) -> None:
    path = ffmpeg_encode("h264.mp4", "-c:v libx264 -g 10")
    case = benchmark.Case("a video", "4 frames", Sampling(num_frames=4), 1)

    def next_frames(path: Path, places: list[int]) -> object:
        return benchmark.with_pyav(path, [place + 1 for place in places])

    rivals = {"the same": benchmark.with_pyav, "the next": next_frames, "none": None}
    rows = {row.rival: row for row in benchmark.run(case, path, rivals, 1)}
    assert rows["the same"].frames == "same"
    assert rows["the same"].ratio > 0
    assert rows["the next"].frames == "OTHER FRAMES"
    assert rows["none"].frames.startswith("failed: ")
    assert rows["none"].ratio is None


def test_rows_for_others_need_all_rivals_that_are_promised(
    benchmark: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ACTIONRNN_LENT", "1")
    monkeypatch.setattr(
        sys, "argv", ["decode.py", "--json", str(tmp_path / "rows.json"), "--rivals", "PyAV"]
    )
    with pytest.raises(SystemExit, match="--json needs torchcodec"):
        benchmark.main()
