"""An exported model, run by its own runner, gives PyTorch's scores."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from types import ModuleType
from typing import Any

import av
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from numpy.typing import NDArray
from PIL import Image

import actionrnn
from actionrnn.apps.cli import main
from actionrnn.apps.export import export, step_to_onnx
from actionrnn.config import HeadConfig, HeadKind, Sampling
from actionrnn.errors import ModelError, VideoError
from actionrnn.features.engines.onnx import open_session
from actionrnn.files import file_sha256
from actionrnn.model.heads import Head, read_out
from actionrnn.model.recognizer import Recognizer
from actionrnn.training.train import TrainingRun
from actionrnn.video.decode import iter_frames, read_frames
from actionrnn.video.frame import Frames
from tests.tiny import empty, text, write_video

pytest.importorskip("onnxruntime")

CLOSE = 1e-3
TYPES = {"tensor(float)": np.float32, "tensor(double)": np.float64}
KINDS: list[HeadKind] = ["rnn_tanh", "rnn_relu", "lstm", "gru", "mean"]


@pytest.fixture(scope="session")
def exported(run: TrainingRun, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model of `run`, exported; to be left as it is."""
    return export(run.output, tmp_path_factory.mktemp("export") / "squares").folder


@pytest.fixture(scope="session")
def model(run: TrainingRun) -> Recognizer:
    """The same model in PyTorch."""
    return actionrnn.load(run.output, runtime="torch", precision="float32", device="cpu")


@pytest.fixture(scope="session")
def runner(exported: Path) -> ModuleType:
    return import_runner(exported)


def import_runner(folder: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("exported_runner", folder / "run.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def require_same_timeline(runner: ModuleType, model: Recognizer, clip: Path) -> None:
    pts_seconds, scores, so_far = runner.timeline(clip)
    wanted = model.timeline(clip)
    np.testing.assert_allclose(pts_seconds, wanted.pts_seconds, atol=1e-6)
    np.testing.assert_allclose(scores, wanted.scores, atol=CLOSE)
    np.testing.assert_allclose(so_far, wanted.so_far, atol=CLOSE)


def test_the_runner_gives_the_same_scores(
    runner: ModuleType, model: Recognizer, clips: Path
) -> None:
    for clip in sorted(clips.rglob("*.avi"))[::4]:
        require_same_timeline(runner, model, clip)


def test_the_runner_answers_deep_and_damaged_videos_as_the_model_does(
    runner: ModuleType, model: Recognizer, tmp_path: Path
) -> None:
    clip = write_hdr(tmp_path / "deep.mp4")
    require_same_timeline(runner, model, clip)
    content = bytearray(clip.read_bytes())
    middle = len(content) // 2
    content[middle : middle + len(content) // 5] = bytes(len(content) // 5)
    clip.write_bytes(content)
    require_same_timeline(runner, model, clip)


def write_hdr(path: Path) -> Path:
    """Noise in 10 bits that says it is HDR (PQ)."""
    rng = np.random.default_rng(0)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"g": "10", "crf": "30"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p10le"
        context = stream.codec_context
        context.color_primaries, context.color_trc, context.colorspace = 9, 16, 9
        for _ in range(60):
            picture = rng.integers(0, 256, (48, 64, 3), np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def test_without_a_rate_the_runner_does_not_say_none_of_these(runner: ModuleType) -> None:
    assert runner.MODEL["none_of_these"] is None
    unusual = np.full(len(runner.MODEL["labels"]), 1 / len(runner.MODEL["labels"]))
    assert runner.answer(unusual).endswith(" (33.3%)")
    assert "none of these" not in runner.answer(unusual)


@pytest.mark.realdata
def test_the_runner_gives_the_same_scores_on_real_clips(
    runner: ModuleType, model: Recognizer, real_data: Path
) -> None:
    weizmann = sorted((real_data / "weizmann").rglob("*.avi"))[::30]
    ucf101 = sorted((real_data / "ucf101_clips").rglob("*.avi"))[::8]
    assert weizmann
    assert ucf101
    for clip in [*weizmann, *ucf101]:
        require_same_timeline(runner, model, clip)


@pytest.mark.realdata
def test_the_runner_answers_odd_videos_as_the_model_does(
    runner: ModuleType, model: Recognizer, real_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first of each size with its scores; of the others the pictures that would be encoded."""
    answered, sizes = 0, set()
    for file in sorted((real_data / "odd_videos").iterdir()):
        try:
            frames = read_frames(file, model.config.sampling)
        except VideoError as error:
            with pytest.raises(runner.VideoError) as refused:
                runner.timeline(file)
            assert str(refused.value) == str(error)
            continue
        answered += 1
        if (size := frames.data.shape[1:]) in sizes:
            with monkeypatch.context() as patch:
                require_same_frames(runner, file, frames, patch)
            continue
        sizes.add(size)
        wanted = model.timeline(file)
        pts_seconds, scores, so_far = runner.timeline(file)
        np.testing.assert_array_equal(pts_seconds, wanted.pts_seconds, str(file))
        np.testing.assert_allclose(scores, wanted.scores, atol=CLOSE, err_msg=str(file))
        assert so_far[-1].argmax() == wanted.so_far[-1].argmax()
    assert answered > 30
    assert len(sizes) > 10


def require_same_frames(
    runner: ModuleType, clip: Path, frames: Frames, patch: pytest.MonkeyPatch
) -> None:
    patch.setattr(runner.Stream, "push", lambda _, frame: frame)
    pts_seconds, pictures, _ = runner.timeline(clip)
    np.testing.assert_allclose(pts_seconds, frames.pts_seconds, atol=1e-6, err_msg=str(clip))
    assert np.abs(pictures.astype(int) - frames.data).max() <= 2, clip


@pytest.mark.realdata
@pytest.mark.parametrize("rate_fps", [4.0, None])
def test_the_runner_samples_as_the_model_does(
    runner: ModuleType, real_data: Path, rate_fps: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    sampling = Sampling(rate_fps=rate_fps)
    monkeypatch.setitem(runner.MODEL, "sampling", dataclasses.asdict(sampling))
    clip = sorted((real_data / "ucf101_clips").rglob("*.avi"))[0]
    require_same_frames(runner, clip, read_frames(clip, sampling), monkeypatch)


def test_the_encoder_takes_any_number_and_size_of_frames(exported: Path, model: Recognizer) -> None:
    encoder = open_session(exported / "encoder.onnx")
    rng = np.random.default_rng(0)
    for num_frames, height, width in [(1, 224, 224), (5, 120, 200), (2, 300, 240)]:
        frames = rng.integers(0, 256, (num_frames, height, width, 3), np.uint8)
        [features] = encoder.run(None, {"frames": frames})
        squares = np.stack([model.backbone.preprocessing.square(frame) for frame in frames])
        cosines = cosine(features, model.backbone.encode(squares))
        assert cosines.min() > 0.9999


def cosine(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    products: NDArray[np.float32] = (a * b).sum(axis=1) / lengths
    return products


@pytest.mark.parametrize(
    "kind", ["gru", *(pytest.param(k, marks=pytest.mark.slow) for k in KINDS if k != "gru")]
)
@pytest.mark.parametrize("delay", [0, pytest.param(3, marks=pytest.mark.slow)])
def test_steps_of_several_streams_are_those_of_the_whole_sequence(
    kind: HeadKind, delay: int
) -> None:
    torch.manual_seed(0)
    config = HeadConfig(kind=kind, hidden_size=8, num_layers=2, delay_steps=delay)
    head = Head(config, 12, 3).eval()
    if head.residual is not None:  # it starts as zeros
        torch.nn.init.normal_(head.residual.weight)
    session = open_session(step_to_onnx(head))
    values = np.random.default_rng(0).normal(size=(3, 9, 12)).astype(np.float32)
    state: dict[str, Any] = {
        given.name: np.zeros((3, *given.shape[1:]), TYPES[given.type])
        for given in session.get_inputs()
        if given.name != "features"
    }
    state["steps"] += 2**24  # where single precision stops to count
    found = []
    steps = [*range(9), *[8] * head.delay_steps]
    for step in steps:
        scores, *new = session.run(None, {"features": values[:, step], **state})
        state = dict(zip(state, new, strict=True))
        found.append(scores)
    wanted = np.stack([read_out(head, sequence).now for sequence in values], axis=1)
    np.testing.assert_allclose(np.stack(found[head.delay_steps :]), wanted, atol=1e-5)
    assert (state["steps"] == 2**24 + len(steps)).all()


def test_the_runner_answers_as_late_as_the_model(
    model: Recognizer, clips: Path, tmp_path: Path
) -> None:
    config = dataclasses.replace(
        model.config.head, hidden_size=8, temporal_differences=True, delay_steps=2
    )
    torch.manual_seed(0)
    head = Head(config, model.head.feature_size, len(model.labels)).eval()
    assert head.residual is not None
    torch.nn.init.normal_(head.residual.weight, std=0.01)
    sampling = Sampling(rate_fps=6.0)
    late = dataclasses.replace(
        model,
        head=head.trained(),
        config=dataclasses.replace(model.config, head=config, sampling=sampling),
    )
    late.save(tmp_path / "late.safetensors")
    folder = export(tmp_path / "late.safetensors", tmp_path / "export").folder
    described = json.loads((folder / "model.json").read_text(encoding="utf-8"))["step"]
    assert described["delay_steps"] == 2
    assert described["state"]["residual"]["shape"] == [2, len(model.labels)]
    runner = import_runner(folder)
    numbers = []
    for clip in (clips / "red" / "ann_red.avi", write_video(tmp_path / "short.avi", count=3)):
        require_same_timeline(runner, late, clip)
        numbers.append(len(late.timeline(clip).pts_seconds))
    assert numbers[0] > 2 > numbers[1] > 0


def test_the_runner_names_the_action(exported: Path, clips: Path, model: Recognizer) -> None:
    clip = clips / "red" / "ann_red.avi"
    command = [sys.executable, str(exported / "run.py"), str(clip)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    prediction = model.classify(clip)
    said = re.fullmatch(rf"{re.escape(str(clip))}: (\w+) \((\d+\.\d)%\)\n", done.stdout)
    assert said is not None, done.stdout
    assert said[1] == prediction.labels[0]
    assert float(said[2]) == pytest.approx(100 * prediction.scores[0], abs=0.05 + 100 * CLOSE)


NOT_NEEDED = ("actionrnn", "torch", "pydantic", "yaml", "PIL")


def test_the_runner_needs_nothing_of_this_toolkit(
    exported: Path, clips: Path, tmp_path: Path
) -> None:
    """And answers the videos that it can read, with one line for each of the others."""
    clip, pictures = clips / "red" / "ann_red.avi", tmp_path / "pictures"
    raw = write_raw_h264(tmp_path / "raw.h264")
    pictures.mkdir()
    (pictures / "1.png").write_bytes(b"")
    given = [tmp_path / "no.avi", pictures, tmp_path, empty(tmp_path), text(tmp_path), raw, clip]
    hidden = f"import sys; sys.modules.update(dict.fromkeys({NOT_NEEDED}))"
    code = (
        f"{hidden}; import runpy; runpy.run_path({str(exported / 'run.py')!r}, run_name='__main__')"
    )
    command = [sys.executable, "-c", code, *map(str, given)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    answers, errors = done.stdout.splitlines(), done.stderr.splitlines()
    assert [line.rpartition(": ")[0] for line in answers] == [str(raw), str(clip)]
    assert len(errors) == 5, done.stderr
    assert all(line.startswith("error: ") for line in errors)
    assert [line.split(": ")[-1].split(";")[0] for line in errors[:1]] == ["no such file"]


def test_the_runner_says_which_rate_it_assumes_or_is_given(
    exported: Path, clips: Path, tmp_path: Path
) -> None:
    pictures, ticks = tmp_path / "me@home", write_raw_h264(tmp_path / "ticks.h264", 90000)
    pictures.mkdir()
    for number, frame in enumerate(iter_frames(clips / "red" / "ann_red.avi")):
        Image.fromarray(frame.rgb).save(pictures / f"{number}.png")
    command = [sys.executable, str(exported / "run.py"), str(ticks), str(pictures)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    said = "does not say the frame rate: 25 frames/s assumed; --frame-rate"
    notes = done.stderr.splitlines()
    assert [note.partition(said)[0] for note in notes] == [
        f"note: {ticks}: ",
        f"note: {pictures}: ",
    ]
    answered = [line.rpartition(": ")[0] for line in done.stdout.splitlines()]
    assert answered == [str(ticks), str(pictures)]
    again = [*command, "--frame-rate", "12"]
    assert subprocess.run(again, capture_output=True, text=True, timeout=60).stderr == ""
    refused = subprocess.run([*command, "--frame-rate", "0"], capture_output=True, text=True)
    assert refused.returncode == 2 and "invalid rate value: '0'" in refused.stderr


@pytest.mark.filterwarnings("ignore:.* frames/s")
def test_the_runner_keeps_a_rate_that_the_model_was_given(
    model: Recognizer, tmp_path: Path
) -> None:
    given = model.reading(frame_folder_fps=12)
    given.save(tmp_path / "given.safetensors")
    runner = import_runner(export(tmp_path / "given.safetensors", tmp_path / "export").folder)
    raw = write_raw_h264(tmp_path / "a.h264")
    require_same_timeline(runner, given, raw)
    assert runner.timeline(raw)[0][-1] > 1  # of 20 frames; it states 25


def write_raw_h264(path: Path, rate: int = 25) -> Path:
    """A stream without a container, and so without times."""
    with av.open(str(path), "w", format="h264") as container:
        stream = container.add_stream("libx264", rate=rate)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for level in range(0, 200, 10):
            picture = np.full((48, 64, 3), level, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def test_the_runner_names_its_providers(exported: Path, clips: Path) -> None:
    command = [sys.executable, str(exported / "run.py"), str(clips / "red" / "ann_red.avi")]
    for options, code, said in [
        (["--provider", "CPUExecutionProvider"], 0, "ann_red.avi: "),
        (["--provider", "NoSuchProvider"], 2, "choose from"),
        (["--help"], 0, "--provider"),
    ]:
        done = subprocess.run([*command, *options], capture_output=True, text=True, timeout=60)
        assert done.returncode == code, done.stderr
        assert said in done.stdout + done.stderr


def test_two_exports_in_one_process_have_a_reader_each(exported: Path, tmp_path: Path) -> None:
    other = shutil.copytree(exported, tmp_path / "other")
    with zipfile.ZipFile(other / "reader.zip", "a") as packed:
        packed.writestr("actionrnn_reader/only_here.py", "")
    one, two = import_runner(exported), import_runner(other)
    for runner, another in ((one, two), (two, one)):
        with pytest.raises(runner.VideoError, match=r"^missing\.mp4: no such file"):
            runner.timeline("missing.mp4")
        assert not issubclass(runner.VideoError, another.VideoError)
    two.reader("only_here")
    with pytest.raises(ModuleNotFoundError):
        one.reader("only_here")


def test_the_description_tells_the_files_and_what_goes_in(exported: Path) -> None:
    described = json.loads((exported / "model.json").read_text(encoding="utf-8"))
    assert described["labels"] == ["blue", "green", "red"]
    assert sorted(described["files"]) == ["encoder.onnx", "reader.zip", "run.py", "step.onnx"]
    for part in ("encoder", "step"):
        session = open_session(exported / described[part]["file"])
        assert [given.name for given in session.get_inputs()] == described[part]["inputs"]
        assert [given.name for given in session.get_outputs()] == described[part]["outputs"]
    state = described["step"]["state"]
    for tensors in (session.get_inputs()[1:], session.get_outputs()[1:]):
        for (name, said), given in zip(state.items(), tensors, strict=True):
            assert given.name.removeprefix("new_") == name
            assert given.shape[1:] == said["shape"]
            assert np.dtype(TYPES[given.type]).name == said["type"]


def test_no_file_tells_where_it_was_made(exported: Path, run: TrainingRun) -> None:
    package = Path(actionrnn.__file__).parents[1]
    written = [*json.loads((exported / "model.json").read_text())["files"], "model.json"]
    contents = {exported / name: (exported / name).read_bytes() for name in written}
    del contents[exported / "reader.zip"]
    with zipfile.ZipFile(exported / "reader.zip") as packed:
        contents |= {Path(name).with_suffix(""): packed.read(name) for name in packed.namelist()}
    for file, content in contents.items():
        content = content.replace(b"run.py", b"")
        for place in (package, run.output.parent, run.folds[0].train[0].path.parents[2]):
            assert str(place).encode() not in content, file.name
        assert b".py" not in content, file.name
        assert b"site-packages" not in content, file.name


def test_a_folder_of_something_else_is_not_replaced(run: TrainingRun, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ModelError, match=r"holds mine\.txt, which is not of an export"):
        export(run.output, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_what_fails_leaves_nothing(
    run: TrainingRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> bytes:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("actionrnn.apps.export.encoder_to_onnx", fail)
    with pytest.raises(ModelError, match="No space left on device"):
        export(run.output, tmp_path / "export")
    assert list(tmp_path.iterdir()) == []


def test_two_exports_to_one_place_do_not_mix(
    run: TrainingRun, run_without_bob: TrainingRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second begins and ends while the first is within, and the first takes its place."""
    folder, running = tmp_path / "export", [b"first"]

    def encode(*_: object) -> bytes:
        if running == [b"first"]:
            running.append(b"second")
            export(run_without_bob.output, folder)
            assert (folder / "encoder.onnx").read_bytes() == b"second"
        return running.pop()

    monkeypatch.setattr("actionrnn.apps.export.encoder_to_onnx", encode)
    monkeypatch.setattr("actionrnn.apps.export.step_to_onnx", lambda _: b"step")
    export(run.output, folder)
    assert (folder / "encoder.onnx").read_bytes() == b"first"
    described = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    for name, said in described["files"].items():
        assert file_sha256(folder / name) == said["sha256"]
    assert [path.name for path in tmp_path.iterdir()] == ["export"]


def test_without_the_extra_the_remedy_is_named(
    run: TrainingRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("actionrnn.features.engines.onnx.is_installed", lambda: False)
    done = CliRunner().invoke(main, ["export", str(run.output), "-o", str(tmp_path / "export")])
    assert done.exit_code == 1
    assert "pip install 'actionrnn[onnx]'" in done.output


def test_classify_with_onnx_gives_the_same(
    run: TrainingRun, model: Recognizer, clips: Path
) -> None:
    clip = clips / "green" / "bob_green.avi"
    arguments = ["classify", str(clip), "--model", str(run.output), "--runtime", "onnx", "--json"]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0, done.output
    found = json.loads(done.output)
    prediction = model.classify(clip)
    assert found["labels"] == list(prediction.labels)
    np.testing.assert_allclose(found["scores"], prediction.scores, atol=CLOSE)
