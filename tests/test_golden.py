"""The numbers of version 0.1 on real clips: whatever is rebuilt, they stay.

`tests/golden/numbers.json` holds what `found` gave then, in float32 on torch, with a head whose
weights are drawn. `python -m tests.test_golden` writes it anew, for a change that is meant.
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import actionrnn
from actionrnn.config import BackboneConfig
from actionrnn.config_reading import parse_config

FILE = Path(__file__).parent / "golden" / "numbers.json"
TOLERANCE = 2e-3
"""Of scores and features, in units of the features' own spread: other CPUs round otherwise."""

CLIPS = (
    "weizmann/run/ido_run.avi",  # MPEG-4
    "weizmann/wave1/eli_wave1.avi",
    "ucf101_clips/v_Basketball_g01_c01.avi",  # XviD, packed B-frames
    "clips/SOX5yA1l24A.mp4",  # H.264 with sound
    "odd_videos/testsrc2_vp9.webm",
    "odd_videos/nasa_13013_rotated.mp4",
    "odd_videos/test_non_zero_start.mp4",
    "odd_videos/animated.gif",
)
LABELS = ("bend", "jack", "run", "wave")


def model(**changes: Any) -> actionrnn.Recognizer:
    """A recogniser whose head is drawn from one seed."""
    sections = {
        "sampling": {"rate_fps": 4.0, "num_frames": None},
        "backbone": {"runtime": "torch", "precision": "float32", "device": "cpu"},
        "head": {"kind": "gru", "hidden_size": 8, "input_scaling": "none", "projection": False},
    }
    for name, value in changes.items():
        section, _, key = name.partition("__")
        sections[section][key] = value
    config = parse_config(sections)
    backbone = actionrnn.load_backbone(config.backbone)
    with torch.random.fork_rng():
        torch.manual_seed(7)
        head = actionrnn.Head(config.head, backbone.feature_size, len(LABELS))
    return actionrnn.Recognizer(backbone, head.trained(), LABELS, config)


def rounded(values: Any) -> Any:
    return np.round(np.asarray(values, np.float64), 5).tolist()


def described(features: actionrnn.Features) -> dict[str, Any]:
    """Some of the features' numbers: eight of each step, and what all of them come to."""
    values = features.values
    return {
        "shape": list(values.shape),
        "pts_seconds": rounded(features.pts_seconds),
        "some": rounded(values[:, ::160]),
        "mean": rounded(values.mean(axis=1)),
        "std": rounded(values.std(axis=1)),
    }


def answer(prediction: actionrnn.Prediction) -> dict[str, float]:
    return dict(zip(prediction.labels, rounded(prediction.scores), strict=True))


def streamed(recognizer: actionrnn.Recognizer, path: Path) -> dict[str, Any]:
    stream, scores, times = recognizer.stream(), [], []
    for frame in actionrnn.iter_frames(path):
        stream.push(frame)
        scores += stream.so_far.tolist()
        times += stream.pts_seconds.tolist()
    return {"pts_seconds": rounded(times), "scores": rounded(scores)}


def stored(root: Path, clips: list[Path]) -> dict[str, Any]:
    """What a store holds, but for what the arithmetic of a CPU decides."""
    backbone = BackboneConfig(runtime="torch", precision="float32", device="cpu")
    done = actionrnn.extract_to_store(clips, root, backbone=backbone)
    entries = {}
    for file in sorted(root.rglob("*.safetensors")):
        content = file.read_bytes()
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        metadata = json.loads(header.pop("__metadata__")["actionrnn"])
        assert len(metadata.pop("sha256")) == 64
        entries[file.relative_to(root).as_posix()] = {"tensors": header, "metadata": metadata}
    lists = {
        file.name: json.loads(file.read_text(encoding="utf-8")) for file in root.glob("_*.json")
    }
    return {"extracted": done.num_extracted, "entries": entries, "lists": lists}


def reported(folder: Path) -> dict[str, Any]:
    """A training on drawn features: every number of its report."""
    rng = np.random.default_rng(3)
    source = folder / "arrays"
    for place, label in enumerate(LABELS):
        for group in range(6):
            for clip in range(2):
                file = source / label / f"g{group}_c{clip}.npy"
                file.parent.mkdir(parents=True, exist_ok=True)
                values = rng.normal(size=(6 + group, 12)).astype(np.float32)
                values[:, place] += 4  # so far apart that any arithmetic tells them apart
                np.save(file, values)
    from actionrnn.features.imported import import_features

    import_features(source, folder / "store", name="drawn", rate_fps=4)
    config = parse_config(
        {
            "data": {
                "features": str(folder / "store"),
                "group_pattern": "^(g[0-9]+)_",
                "split": "leave_one_group_out",
            },
            "head": {
                "hidden_size": 8,
                "dropout": 0.0,
                "residual": False,
                "projection": False,
                "input_scaling": "none",
            },
            "train": {
                "epochs": 25,
                "batch_size": 8,
                "learning_rate": 0.02,
                "now_weight": 0.0,
                "join_clips": 1,
                "validation_fraction": 0.15,
            },
        }
    )
    run = actionrnn.train(config, folder / "run")
    report = json.loads((folder / "run" / "report.json").read_text(encoding="utf-8"))
    for key in ("seconds", "versions", "config", "curves", "steps", "observed_now"):
        report.pop(key)
    assert run.model.labels == LABELS
    return {"keys": sorted(report), "report": _without_paths(report)}


def _without_paths(report: dict[str, Any]) -> dict[str, Any]:
    for clip in report["clips"]:
        clip.pop("path")
    kept = ("labels", "num_clips", "top1", "folds", "confusion", "num_units", "resampled", "clips")
    return {name: report[name] for name in kept}


def found(data: Path, folder: Path) -> dict[str, Any]:
    """Everything that must stay."""
    clips = [data / name for name in CLIPS]
    streaming, counting = model(), model(sampling__rate_fps=None, sampling__num_frames=5)
    motion = model(sampling__rate_fps=2.0, backbone__modality="both", head__kind="lstm")
    numbers: dict[str, Any] = {"clips": {}}
    for name, path in zip(CLIPS, clips, strict=True):
        timeline = streaming.timeline(path)
        numbers["clips"][name] = {
            "features": described(
                actionrnn.extract_features(path, backbone=streaming.backbone, rate_fps=4)
            ),
            "timeline": {
                "pts_seconds": rounded(timeline.pts_seconds),
                "scores": rounded(timeline.so_far),
            },
            "prediction": answer(timeline.prediction()),
            "stream": streamed(streaming, path),
            "five frames": answer(counting.classify(path)),
            "changes": rounded(motion.timeline(path).so_far),
        }
    numbers["store"] = stored(folder / "extracted", clips[:3])
    numbers["training"] = reported(folder)
    return numbers


def compare(before: Any, now: Any, where: str = "") -> list[str]:
    """Where two of these differ by more than rounding."""
    if isinstance(before, dict) and isinstance(now, dict):
        different = [f"{where}: {key}" for key in before.keys() ^ now.keys()]
        return different + [
            line
            for key in before.keys() & now.keys()
            for line in compare(before[key], now[key], f"{where}/{key}")
        ]
    if isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        return [
            line
            for place, pair in enumerate(zip(before, now, strict=True))
            for line in compare(*pair, f"{where}/{place}")
        ]
    if isinstance(before, float) and isinstance(now, float):
        return (
            []
            if abs(before - now) <= TOLERANCE * max(1.0, abs(before))
            else [f"{where}: {before} is now {now}"]
        )
    return [] if before == now else [f"{where}: {before!r} is now {now!r}"]


@pytest.mark.slow
@pytest.mark.realdata
def test_the_numbers_are_those_of_before(real_data: Path, tmp_path: Path) -> None:
    before = json.loads(FILE.read_text(encoding="utf-8"))
    now = json.loads(json.dumps(found(real_data, tmp_path)))
    assert compare(before, now) == []


def test_the_comparison_sees_a_difference() -> None:
    assert compare({"a": [1.0, 2.0]}, {"a": [1.0, 2.01]}) == ["/a/1: 2.0 is now 2.01"]
    assert compare({"a": [1.0]}, {"a": [1.0, 2.0]}) and compare({"a": 1}, {"b": 1})
    assert compare({"a": [1.0]}, {"a": [1.0005]}) == []


if __name__ == "__main__":
    data = Path(
        os.environ.get("ACTIONRNN_REAL_DATA", Path(__file__).parents[2] / "shared" / "data")
    )
    with tempfile.TemporaryDirectory() as folder:
        FILE.write_text(json.dumps(found(data, Path(folder))) + "\n", encoding="utf-8")
