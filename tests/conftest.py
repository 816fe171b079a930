"""Fixtures for every test: the real videos, a tiny labelled data set, a model trained on it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from tests.once import wrap_what_is_loaded

if TYPE_CHECKING:
    from actionrnn.config import Config
    from actionrnn.training.train import TrainingRun

# Waiting threads sleep instead of spinning: ten times faster where others use the machine too.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # before torch is imported
if "PYTEST_XDIST_WORKER" in os.environ:  # the cores are taken: more threads only cost
    os.environ.setdefault("OMP_NUM_THREADS", "1")


def imitate_a_cpu(parts: Sequence[str]) -> None:
    """Compute as other machines do: `avx2` (no AVX-512), `float32` (no bfloat16), `torch` (no
    OpenVINO). How many threads there are, OMP_NUM_THREADS says.
    """
    unknown = set(parts) - {"avx2", "float32", "torch"}
    assert not unknown, f"ACTIONRNN_TEST_CPU: {unknown}"
    if "avx2" in parts:
        for name in ("ATEN_CPU_CAPABILITY", "MKL_ENABLE_INSTRUCTIONS", "ONEDNN_MAX_CPU_ISA"):
            os.environ[name] = "avx2"  # read when torch is loaded
    if "torch" in parts:
        sys.modules["openvino"] = None  # type: ignore[assignment]  # as if it were not installed
    if "float32" in parts:
        from actionrnn.features import machine

        machine._cpu_has_bfloat16 = lambda: False


imitate_a_cpu(os.environ.get("ACTIONRNN_TEST_CPU", "").split())

# The same examples on every machine, however slow it is, and nothing left behind.
settings.register_profile("actionrnn", derandomize=True, deadline=None, database=None)
settings.load_profile("actionrnn")

COLOURS = {"blue": (30, 40, 220), "green": (30, 200, 40), "red": (220, 30, 40)}
CELLS = {"blue": (48, 8), "green": (8, 64), "red": (8, 8)}  # stripes and squares: their features
# lie far apart, so that any processor's arithmetic tells the classes from each other
GROUPS = ("ann", "bob", "cid")
FRAMES = 12

MakeClips = Callable[..., Path]


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real videos; beside the checkout, never part of it."""
    beside = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("ACTIONRNN_REAL_DATA", beside))
    if not folder.is_dir():
        if os.environ.get("CI"):
            pytest.fail(f"{folder}: the real videos are missing, and CI promises them")
        pytest.skip(f"{folder}: no real videos here")
    return folder


@pytest.fixture(scope="session")
def session_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all processes of this session share."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "shared"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session", autouse=True)
def modules_are_compiled_once(session_folder: Path) -> None:
    """Not in each of the hundreds of processes, where Python may not write beside its modules."""
    if os.environ.pop("PYTHONDONTWRITEBYTECODE", ""):
        os.environ["PYTHONPYCACHEPREFIX"] = str(session_folder / "bytecode")


@pytest.fixture(autouse=True)
def networks_are_made_once(session_folder: Path) -> None:
    """Not in each test: to read and convert one takes longer than what a test does with it."""
    wrap_what_is_loaded(session_folder)


@pytest.fixture(scope="session")
def make_clips(tmp_path_factory: pytest.TempPathFactory) -> MakeClips:
    """Squares that move: `<root>/<colour>/<group>_<colour>.avi`, 12 frames of 64 x 48 each.

    Before stripes or a chessboard of their colour, with noise that each clip has for its own.
    """

    def make(groups: Sequence[str] = GROUPS, labels: Sequence[str] = tuple(COLOURS)) -> Path:
        root = tmp_path_factory.mktemp("clips")
        for label in labels:
            (root / label).mkdir()
            for group in groups:
                encode_square(root / label / f"{group}_{label}.avi", label, group)
        return root

    return make


@pytest.fixture(scope="session")
def clips(make_clips: MakeClips) -> Path:
    """3 classes x 3 groups; to be left as it is."""
    return make_clips()


@pytest.fixture(scope="session")
def configure() -> Callable[..., Config]:
    """The configuration that trains on such clips."""
    from actionrnn.config_reading import parse_config

    def make(root: Path, *overrides: str) -> Config:
        sections = {
            "data": {
                "root": str(root),
                "group_pattern": "^([a-z0-9]+)_",
                "split": "leave_one_group_out",
            },
            "sampling": {"num_frames": 4, "rate_fps": None},
            "backbone": {"device": "cpu"},
            "head": {"kind": "gru", "hidden_size": 16, "dropout": 0.2},
            "train": {"epochs": 30, "batch_size": 4, "learning_rate": 0.01},
        }
        return parse_config(sections, overrides)

    return make


@pytest.fixture(scope="session")
def run(
    clips: Path, configure: Callable[..., Config], tmp_path_factory: pytest.TempPathFactory
) -> TrainingRun:
    """Trained on `clips`, one group left out in turn; its folder is to be left as it is."""
    from actionrnn.training.train import train

    return train(configure(clips), tmp_path_factory.mktemp("runs") / "squares")


@pytest.fixture(scope="session")
def run_without_bob(clips: Path, configure: Callable[..., Config], run: TrainingRun) -> TrainingRun:
    """Trained on `clips` without those of one group, with the features of `run`."""
    from actionrnn.training.train import train

    config = configure(clips, "data.fold=bob", "train.epochs=10")
    return train(config, run.output.parent / "without_bob")


def encode_square(path: Path, label: str, group: str) -> None:
    import av
    import numpy as np

    rng = np.random.default_rng([*group.encode(), *label.encode()])
    rows, columns = np.indices((48, 64))
    height, width = CELLS[label]
    coloured = (rows // height + columns // width) % 2 == 1
    background = np.where(coloured[..., None], COLOURS[label], 230) + rng.integers(
        -10, 11, (48, 64, 3)
    )
    background = background.clip(0, 255).astype(np.uint8)
    top, step = int(rng.integers(4, 20)), int(rng.integers(2, 4))
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=12)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuvj420p"
        for index in range(FRAMES):
            picture = background.copy()
            picture[top : top + 24, step * index : step * index + 24] = COLOURS[label]
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, 12)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


@pytest.fixture
def no_checksum(monkeypatch: pytest.MonkeyPatch) -> None:
    """No file may be read for its checksum."""

    def refuse(path: Path) -> str:
        raise AssertionError(f"{path} was read for its checksum")

    for name, module in [*sys.modules.items()]:
        if name.startswith("actionrnn.") and hasattr(module, "file_sha256"):
            monkeypatch.setattr(module, "file_sha256", refuse)
