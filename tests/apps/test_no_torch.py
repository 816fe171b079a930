"""Once a network is converted, every road answers where torch cannot be imported."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = {"openvino": "openvino", "onnx": "onnxruntime"}
ABSENT = ("torch", "torchvision", "timm")
LABELS = ("clap", "jump", "wave")
CLOSE = 1e-5

pytestmark = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module", params=PACKAGES)
def runtime(request: pytest.FixtureRequest) -> Any:
    pytest.importorskip(PACKAGES[request.param])
    return request.param


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("no_torch")


@pytest.fixture(scope="module")
def run(folder: Path) -> Run:
    """Python without torch, as have its own processes, with the cache folder of this module.

    Packages that cannot be imported stand before the installed ones.
    """
    for name in ABSENT:
        (folder / "absent").mkdir(exist_ok=True)
        content = f"raise ImportError('{name} is absent')\n"
        (folder / "absent" / f"{name}.py").write_text(content, encoding="utf-8")

    def start(*arguments: object) -> subprocess.CompletedProcess[str]:
        further = {
            "PYTHONPATH": os.pathsep.join([str(folder / "absent"), str(ROOT)]),
            "XDG_CACHE_HOME": str(folder / "cache"),
        }
        return subprocess.run(
            [sys.executable, "-m", *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=300,
            env=os.environ | further,
        )

    return start


@pytest.fixture(scope="module")
def small(folder: Path, session_folder: Path) -> Iterator[tuple[Any, Any]]:
    """timm's small network, which nobody else has: it is converted in no time."""
    from actionrnn.features import torch_backbone
    from actionrnn.features.engines import openvino
    from actionrnn.features.preprocess import Preprocessing
    from tests.once import wrap_what_is_loaded
    from tests.tiny import small_network

    wrap_what_is_loaded(session_folder)  # before it is patched for a while
    made = small_network(), Preprocessing(32, 24, (0.4, 0.5, 0.6), (0.5, 0.25, 0.5))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        patch.setattr(torch_backbone, "load_network", lambda *_: made)
        patch.setattr(torch_backbone, "load_openvino", openvino.load)
        yield made


@pytest.fixture(scope="module")
def model(folder: Path, runtime: Any, small: tuple[Any, Any]) -> Path:
    """Untrained, with that backbone, eight steps a second."""
    import torch

    from actionrnn.config import BackboneConfig, Config, HeadConfig, Sampling
    from actionrnn.features.torch_backbone import hash_tensors
    from actionrnn.model.heads import Head
    from actionrnn.model.recognizer import Recognizer
    from tests.tiny import make_tiny_backbone

    backbone = BackboneConfig("timm/small", device="cpu", precision="float32", runtime=runtime)
    config = Config(backbone=backbone, head=HeadConfig(), sampling=Sampling(rate_fps=8.0))
    torch.manual_seed(0)
    head = Head(config.head, 128, len(LABELS)).trained()
    path = folder / f"{runtime}.safetensors"
    described = replace(  # the file says of the backbone which it is, and holds none
        make_tiny_backbone(2),
        config=backbone,
        preprocessing=small[1],
        weights_sha256=hash_tensors(small[0]),
    )
    Recognizer(described, head, LABELS, config).save(path)
    return path


@pytest.fixture(scope="module")
def video(folder: Path) -> Path:
    from tests.tiny import write_video

    return write_video(folder / "clip.avi")


@pytest.fixture(scope="module")
def answers(run: Run, model: Path, video: Path, folder: Path) -> tuple[dict[str, Any], ...]:
    """With torch, which converts the network, here; and without, in another process."""
    from tests.apps import no_torch

    for name in ("with", "without"):
        (folder / f"{model.stem}_{name}").mkdir()
    wanted = no_torch.answers(model, video, folder / f"{model.stem}_with")
    done = run("tests.apps.no_torch", model, video, folder / f"{model.stem}_without")
    assert done.returncode == 0, done.stderr
    return wanted, json.loads(done.stdout)


def numbers(table: str) -> np.ndarray:
    """Of the rows of a CSV file, without the names in the first."""
    rows = list(csv.reader(table.splitlines()))[1:]
    return np.array([[float(cell) for cell in row if cell not in LABELS] for row in rows])


def test_one_process_had_torch_and_the_other_had_not(answers: tuple[dict[str, Any], ...]) -> None:
    assert [one["has torch"] for one in answers] == [True, False]


@pytest.mark.parametrize("road", ["classify", "early", "isolated", "served", "batch"])
def test_the_scores_are_the_same(answers: tuple[dict[str, Any], ...], road: str) -> None:
    wanted, found = (np.array(one[road]) for one in answers)
    assert wanted.size >= len(LABELS)
    np.testing.assert_allclose(found, wanted, atol=CLOSE)


def test_a_table_and_a_page_are_the_same(answers: tuple[dict[str, Any], ...]) -> None:
    wanted, found = (numbers(one["csv"]) for one in answers)
    assert wanted.size >= 6 * len(LABELS)
    np.testing.assert_allclose(found, wanted, atol=CLOSE)
    pages = [one["page"] for one in answers]
    assert min(pages) > 10_000
    assert pages[1] == pytest.approx(pages[0], rel=0.01)


def test_a_stream_says_the_same(answers: tuple[dict[str, Any], ...]) -> None:
    wanted, found = ([line for line in one["stream"] if "event" not in line] for one in answers)
    assert len(found) == len(wanted) >= 6
    for mine, its in zip(found, wanted, strict=True):
        assert mine["pts_seconds"] == its["pts_seconds"]
        assert mine["label"] == its["label"]
        np.testing.assert_allclose(mine["scores"], its["scores"], atol=CLOSE)


def test_the_roads_agree(answers: tuple[dict[str, Any], ...]) -> None:
    found = answers[1]
    np.testing.assert_allclose(found["served"], found["classify"], atol=CLOSE)
    now = numbers(found["csv"])[:, -len(LABELS) :]
    np.testing.assert_allclose(found["isolated"], now, atol=CLOSE)


def test_a_command_by_itself_needs_no_torch(
    answers: tuple[dict[str, Any], ...], run: Run, model: Path, video: Path
) -> None:
    done = run("actionrnn", "classify", video, "-m", model, "--json")
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(
        json.loads(done.stdout)["scores"], answers[0]["classify"], atol=CLOSE
    )


def test_arrays_are_imported_without_it(run: Run, folder: Path) -> None:
    (folder / "arrays").mkdir()
    np.save(folder / "arrays" / "clip.npy", np.ones((3, 4), np.float32))
    done = run(
        *("actionrnn", "store", "import", folder / "arrays"),
        *("--output", folder / "imported", "--name", "theirs", "--rate-fps", 4),
    )
    assert done.stdout.startswith(f"{folder / 'imported'}: 1 entries"), done.stderr


def test_training_says_what_it_needs(run: Run, folder: Path) -> None:
    config = folder / "train.yaml"
    config.write_text(f"data:\n  root: {json.dumps(str(folder))}\n", encoding="utf-8")
    done = run("actionrnn", "train", config)
    assert done.returncode != 0
    assert "ImportError: torch is absent" in done.stderr
    for command in (["--help"], ["train", "--help"]):
        assert run("actionrnn", *command).returncode == 0


def test_a_network_that_was_not_converted_says_what_it_needs(
    run: Run, model: Path, video: Path
) -> None:
    done = run("actionrnn", "classify", video, "-m", model, "--runtime", "torch")
    assert done.returncode != 0
    assert "torch is absent" in done.stderr
