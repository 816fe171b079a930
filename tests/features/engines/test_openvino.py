"""OpenVINO: the same features, converted once, and a cache that may be lost."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from actionrnn.config import BackboneConfig, Sampling
from actionrnn.errors import BackboneError
from actionrnn.features.backbone import Backbone, load_backbone
from actionrnn.features.engines import openvino
from actionrnn.features.engines.engine import Job, read_cache
from actionrnn.features.preprocess import Preprocessing
from actionrnn.features.provenance import Provenance
from tests.tiny import small_network

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
    monkeypatch.setattr(openvino, "is_installed", lambda: False)
    assert load(runtime="auto").runtime == "torch"
    with pytest.raises(BackboneError, match=r"not installed; run: pip install 'actionrnn\[openv"):
        load()


def test_float32_gives_the_features_of_torch() -> None:
    ours, torchs = (load(runtime=name, precision="float32") for name in ("openvino", "torch"))
    assert ours.weights_sha256 == torchs.weights_sha256
    sampling = Sampling()
    assert not Provenance.of(ours, sampling).difference(Provenance.of(torchs, sampling))
    np.testing.assert_allclose(features_of(ours), features_of(torchs), rtol=1e-2, atol=1e-3)


def test_what_it_cannot_run_is_refused_with_the_remedy() -> None:
    with pytest.raises(BackboneError, match=r"not on cpu in float16; use runtime torch"):
        load(precision="float16", weights="none")
    assert load(runtime="auto", precision="float16", weights="none").runtime == "torch"


def small_features() -> np.ndarray[Any, Any]:
    job = Job(
        name="small",
        preprocessing=Preprocessing(32, 24, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
        weights_sha256="0" * 64,
        device="cpu",
        precision="float32",
        num_workers=1,
        num_cores=1,
    )
    return openvino.load(job, small_network())(
        np.random.default_rng(0).integers(0, 256, (4, 24, 24, 3), np.uint8)
    )


def test_a_conversion_is_kept_and_used_again(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = small_features()
    (file,) = cache.glob("*.safetensors")
    before = file.stat().st_mtime_ns
    monkeypatch.delattr(openvino, "_convert")
    np.testing.assert_array_equal(small_features(), expected)
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
    expected = small_features()
    (file,) = cache.glob("*.safetensors")
    damage(file)
    assert read_cache(file) is None
    np.testing.assert_array_equal(small_features(), expected)
    assert list(cache.glob("*.safetensors")) == [file]
    assert read_cache(file) is not None


def test_a_compiled_network_is_kept_and_used_again(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = small_features()
    monkeypatch.delattr(openvino, "_read")
    np.testing.assert_array_equal(small_features(), expected)


@pytest.mark.parametrize("damage", [shorten, flip_a_weight, empty, Path.unlink])
def test_a_damaged_or_lost_compiled_network_is_made_again(cache: Path, damage: Any) -> None:
    expected = small_features()
    batch, single = cache.with_name("openvino-compiled").iterdir()
    for file in (batch, single):
        damage(file)
        assert read_cache(file) is None
    np.testing.assert_array_equal(small_features(), expected)
    assert None not in (read_cache(batch), read_cache(single))


def test_a_cache_that_cannot_be_written_only_costs_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert small_features().shape == (4, 128)


def test_it_reports_nothing_over_the_network() -> None:
    code = (
        "from actionrnn.features import backbone\n"
        "backbone.load_backbone()\n"
        "import sys; from openvino.tools.ovc import telemetry_utils as t\n"
        "print(t.tm.__name__, any(m.startswith('openvino_telemetry.') for m in sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True
    )
    assert done.stdout.split() == ["openvino.tools.ovc.telemetry_stub", "False"], done.stderr
