"""No command writes over a file that it did not write, and what it advises works."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from actionrnn.apps import cli
from actionrnn.training.train import TrainingRun


def run_command(*args: object) -> Result:
    result = CliRunner().invoke(cli.main, [str(arg) for arg in args], prog_name="actionrnn")
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def assert_one_error(result: Result, reason: str) -> None:
    assert (result.exit_code, result.stdout) == (1, "")
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: ")
    assert reason in line


@pytest.mark.parametrize(
    ("command", "option", "name"),
    [
        ("timeline", "--output", "t.csv"),
        ("timeline", "--output", "t.json"),
        ("timeline", "--output", "t.srt"),
        ("timeline", "--output", "t.vtt"),
        ("timeline", "--output", "t.html"),
        ("timeline", "--html", "page.html"),
        ("render", "--output", "scores.mp4"),
        ("stream", "--record", "scores.mkv"),
        ("classify", "--sheet", "sheet.png"),
        ("card", "--output", "CARD.md"),
    ],
)
def test_a_file_that_is_there_stays_unless_it_may_be_replaced(
    streaming_model: Path, clip: Path, tmp_path: Path, command: str, option: str, name: str
) -> None:
    file = tmp_path / name
    file.write_bytes(b"mine")
    inputs = [streaming_model] if command == "card" else [clip, "--model", streaming_model]
    args = (command, *inputs, option, file)
    assert_one_error(run_command(*args), f"{file}: exists already; choose another name, or add")
    assert file.read_bytes() == b"mine"
    assert run_command(*args, "--overwrite").exit_code == 0
    assert file.read_bytes() != b"mine"
    assert list(tmp_path.iterdir()) == [file]


def test_the_page_with_no_name_of_its_own_replaces_nothing(
    streaming_model: Path, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ann_red.html").write_text("mine")
    result = run_command("timeline", clip, "--model", streaming_model, "--html")
    assert_one_error(result, "ann_red.html: exists already")


@pytest.mark.parametrize(("command", "option"), [("render", "--output"), ("stream", "--record")])
def test_a_video_is_never_written_over_itself(
    streaming_model: Path, make_mp4: Callable[[], Path], command: str, option: str
) -> None:
    video = make_mp4()
    before = video.read_bytes()
    result = run_command(command, video, "-m", streaming_model, option, video, "--overwrite")
    assert_one_error(result, f"{video}: is the file that is read; choose another name")
    assert video.read_bytes() == before


@pytest.fixture
def make_mp4(clip: Path, tmp_path: Path) -> Callable[[], Path]:
    def make() -> Path:
        (tmp_path / "clip.mp4").write_bytes(clip.read_bytes())  # its content says what it is
        return tmp_path / "clip.mp4"

    return make


def test_features_go_into_no_folder_of_videos(clip: Path, tmp_path: Path) -> None:
    (tmp_path / "a.avi").write_bytes(clip.read_bytes())
    (tmp_path / "a.json").write_text('{"notes": "mine"}')
    args = ("extract", tmp_path, "--output", tmp_path, "--num-frames", 2)
    assert_one_error(run_command(*args), "and is not a feature store; choose a new or empty folder")
    assert {path.name for path in tmp_path.iterdir()} == {"a.avi", "a.json"}
    assert json.loads((tmp_path / "a.json").read_text()) == {"notes": "mine"}


def test_an_evaluation_replaces_its_own_report_and_no_other(
    run_without_bob: TrainingRun, tmp_path: Path
) -> None:
    args = ("evaluate", run_without_bob.output, "--output", tmp_path)
    for _ in range(2):
        assert run_command(*args).exit_code == 0
    (tmp_path / "report.html").write_text("mine")
    assert_one_error(run_command(*args), "report.html: is not what actionrnn wrote")
    assert (tmp_path / "report.html").read_text() == "mine"


def test_an_export_replaces_an_export_as_it_was_written(
    model_export: Path, run_without_bob: TrainingRun
) -> None:
    args = ("export", run_without_bob.output, "--output", model_export)
    for name in ("run.py", "notes.md"):
        before = (model_export / name).read_bytes() if (model_export / name).exists() else None
        (model_export / name).write_text("# mine\n")
        assert_one_error(run_command(*args), f"holds {name}, which is not of an export")
        assert (model_export / name).read_text() == "# mine\n"
        if before is None:
            (model_export / name).unlink()
        else:
            (model_export / name).write_bytes(before)


def test_an_export_is_replaced_whose_runner_was_imported(
    model_export: Path, run_without_bob: TrainingRun
) -> None:
    args = ("export", run_without_bob.output, "--output", model_export)
    compiled = model_export / "__pycache__"
    compiled.mkdir()
    (compiled / "run.cpython-311.pyc").write_bytes(b"bytecode")
    (compiled / "mine.pyc").write_bytes(b"mine")
    assert_one_error(run_command(*args), "holds __pycache__, which is not of an export")
    (compiled / "mine.pyc").unlink()
    assert run_command(*args).exit_code == 0
    assert not compiled.exists()


@pytest.fixture
def model_export(
    run_without_bob: TrainingRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """An export, the conversions of which are words: they take seconds."""
    for name in ("encoder_to_onnx", "step_to_onnx"):
        monkeypatch.setattr(f"actionrnn.apps.export.{name}", lambda *_: b"a network")
    for _ in range(2):  # the second one replaces the first
        args = ("export", run_without_bob.output, "--output", tmp_path / "export")
        assert run_command(*args).exit_code == 0
    return tmp_path / "export"


def test_an_export_of_features_does_not_replace_a_link(clips: Path, tmp_path: Path) -> None:
    """Its disk may be away."""
    store, link = tmp_path / "store", tmp_path / "exported.h5"
    run_command("extract", clips / "red", "--output", store, "--num-frames", 2)
    link.symlink_to(tmp_path / "away" / "features.h5")
    result = run_command("store", "export", store, "--to", "hdf5", "--output", link)
    assert_one_error(result, "exported.h5: exists already; choose another name")
    assert link.is_symlink()


@pytest.mark.parametrize("target", ["npy", "webdataset"])
def test_an_interrupted_export_of_features_can_be_repeated(
    clips: Path, tmp_path: Path, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, output = tmp_path / "store", tmp_path / "exported"
    run_command("extract", clips / "red", "--output", store, "--num-frames", 2)
    args = ("store", "export", store, "--to", target, "--output", output)

    def interrupt(features: object) -> bytes:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("actionrnn.features.exported._npy", interrupt)
        assert run_command(*args).exit_code == 130
    assert [path.name for path in tmp_path.iterdir()] == ["store"]
    assert run_command(*args).exit_code == 0


COMMANDS_THAT_GO_ON = {"demo": ["demo"], "extract": ["extract", "x.avi", "-o", "store"]}


@pytest.mark.parametrize("command", [*COMMANDS_THAT_GO_ON, "info"])
def test_an_interruption_says_what_is_true(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    for name in ("apps.demo.run_demo", "features.extract.extract_to_store", "apps.info.describe"):
        monkeypatch.setattr(f"actionrnn.{name}", interrupt)
    result = run_command(*COMMANDS_THAT_GO_ON.get(command, [command, "clip.avi"]))
    again = "; run the same command again to continue" if command in COMMANDS_THAT_GO_ON else ""
    assert (result.exit_code, result.stderr) == (130, f"interrupted{again}\n")


WAITS_IN_THE_EXTRACTION = """
import sys, time
from actionrnn.apps.cli import main
from actionrnn.features.store import FeatureStore

def wait(*_):
    print("extracting", flush=True)
    time.sleep(600)

FeatureStore.write = wait
main(sys.argv[1:])
"""


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGKILL])
def test_a_training_that_is_ended_while_it_extracts_goes_on_with_resume(
    make_clips: Callable[..., Path], tmp_path: Path, end: signal.Signals
) -> None:
    """Also: while it runs, a second one into its folder is refused."""
    root, output = make_clips(("ann", "bob"), ("blue", "red")), tmp_path / "run"
    config = tmp_path / "config.yaml"
    config.write_text("backbone: {device: cpu}\nsampling: {num_frames: 2, rate_fps: null}\n")
    args = ["train", config, f"data.root={root}", "train.epochs=1", "--output", output]
    command = [sys.executable, "-c", WAITS_IN_THE_EXTRACTION, *map(str, args)]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # started in the background, this process may have been told to ignore Ctrl-C
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.readline() == "extracting\n"
        assert_one_error(run_command(*args), "another command is writing there")
        process.send_signal(end)
        if end is signal.SIGINT:
            assert process.stderr.readline() == "\n"
            assert process.stderr.readline().startswith("finishing the videos in work")
            process.send_signal(end)
        said = process.communicate(timeout=300)[1]
    if end is signal.SIGINT:
        assert process.returncode == 130
        assert said == "interrupted; run the same command again with --resume to continue\n"
    assert run_command(*args, "--resume").exit_code == 0
    assert (output / "model.safetensors").exists()
    assert_one_error(run_command(*args, "--resume"), "holds no unfinished training")
