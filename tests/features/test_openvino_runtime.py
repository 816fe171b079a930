"""OpenVINO: the same features, converted once, and a cache that may be lost."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from actionrnn.config import BackboneConfig
from actionrnn.errors import BackboneError
from actionrnn.features import openvino_runtime
from actionrnn.features.backbone import Backbone, load_backbone

pytest.importorskip("openvino")


def load(**fields: Any) -> Backbone:
    return load_backbone(BackboneConfig(**{"device": "cpu", "runtime": "openvino", **fields}))


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "actionrnn" / "openvino"


def features_of(backbone: Backbone) -> np.ndarray[Any, Any]:
    frames = np.random.default_rng(0).integers(0, 256, (3, 224, 224, 3), np.uint8)
    return backbone.encode(frames)


def test_auto_takes_it_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load(runtime="auto").runtime == "openvino"
    assert load(runtime="torch").runtime == "torch"
    monkeypatch.setattr(openvino_runtime, "is_installed", lambda: False)
    assert load(runtime="auto").runtime == "torch"
    with pytest.raises(BackboneError, match=r"not installed; run: pip install 'actionrnn\[openv"):
        load()


def test_float32_gives_the_features_of_torch() -> None:
    ours, torchs = (load(runtime=name, precision="float32") for name in ("openvino", "torch"))
    assert ours.weights_sha256 == torchs.weights_sha256
    assert ours.provenance() == torchs.provenance()
    np.testing.assert_allclose(features_of(ours), features_of(torchs), rtol=1e-2, atol=1e-3)


def test_what_it_cannot_run_is_refused_with_the_remedy() -> None:
    with pytest.raises(BackboneError, match=r"not on cpu in float16; use runtime torch"):
        load(precision="float16", weights="none")
    assert load(runtime="auto", precision="float16", weights="none").runtime == "torch"


def test_a_conversion_is_kept_and_used_again(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = features_of(load(weights="none"))
    (file,) = cache.iterdir()
    before = file.stat().st_mtime_ns
    monkeypatch.delattr(openvino_runtime, "_convert")
    np.testing.assert_array_equal(features_of(load(weights="none")), expected)
    assert file.stat().st_mtime_ns == before


def shorten(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def flip_a_weight(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[-1000] ^= 0xFF
    file.write_bytes(content)


def empty(file: Path) -> None:
    file.write_bytes(b"")


@pytest.mark.parametrize("damage", [shorten, flip_a_weight, empty, Path.unlink])
def test_a_damaged_or_lost_conversion_is_made_again(cache: Path, damage: Any) -> None:
    expected = features_of(load(weights="none"))
    (file,) = cache.iterdir()
    damage(file)
    assert not openvino_runtime.is_whole(file)
    np.testing.assert_array_equal(features_of(load(weights="none")), expected)
    assert list(cache.iterdir()) == [file]
    assert openvino_runtime.is_whole(file)


def test_a_cache_that_cannot_be_written_only_costs_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert features_of(load(weights="none")).shape == (3, 1280)


def test_it_reports_nothing_over_the_network() -> None:
    code = (
        "from actionrnn.features import openvino_runtime as o, backbone\n"
        "backbone.load_backbone()\n"
        "import sys; from openvino.tools.ovc import telemetry_utils as t\n"
        "print(t.tm.__name__, any(m.startswith('openvino_telemetry.') for m in sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True
    )
    assert done.stdout.split() == ["openvino.tools.ovc.telemetry_stub", "False"], done.stderr
