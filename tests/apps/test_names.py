"""Names that people have: through every command and every file that is written."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from actionrnn.apps import cli
from actionrnn.config import Config
from actionrnn.errors import ModelError
from actionrnn.evaluation.report import read_report
from actionrnn.features.store import FeatureStore
from actionrnn.model.model_file import read_model_info
from actionrnn.progress import progress_bar
from actionrnn.training.train import TrainingRun, train

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="others refuse such names")

COMPOSED, DECOMPOSED = "clapp\u00e9", "clappe\u0301"
LATIN_1 = b"caf\xe9"
NAMES = (b"ann_1.2", b"b\xe9b_1.2", b"[red]cid_1.2", b"dan_" + b"x" * 247)
"""The last is too long for the name of an entry."""


def run_command(*args: object) -> Result:
    """Run in this process; an exception other than an exit is a failure."""
    result = CliRunner().invoke(cli.main, [str(arg) for arg in args], prog_name="actionrnn")
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture(scope="module")
def named(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes, one of them in two folders whose names are spelled in two ways."""
    root = tmp_path_factory.mktemp("named")
    for place, name in enumerate(NAMES):
        for label, colour in (
            (LATIN_1, "blue"),
            ((COMPOSED, DECOMPOSED)[place % 2].encode(), "green"),
        ):
            folder = Path(os.fsdecode(os.fsencode(root) + b"/" + label))
            folder.mkdir(exist_ok=True)
            video = clips / colour / f"{('ann', 'bob', 'cid')[place % 3]}_{colour}.avi"
            content = video.read_bytes() + bytes([place])  # no two are copies
            (folder / os.fsdecode(name + b".avi")).write_bytes(content)
    return root


@pytest.fixture(scope="module")
def trained(
    named: Path, configure: Callable[..., Config], tmp_path_factory: pytest.TempPathFactory
) -> TrainingRun:
    overrides = ["train.epochs=1", "data.group_pattern='^(.+?)_'", "data.layout=folder"]
    overrides += ["sampling.num_frames=null", "sampling.rate_fps=2"]
    return train(configure(named, *overrides), tmp_path_factory.mktemp("runs") / "named")


def first_video(named: Path) -> Path:
    return named / os.fsdecode(LATIN_1) / os.fsdecode(b"b\xe9b_1.2.avi")


def test_a_class_spelled_in_two_ways_is_one(trained: TrainingRun) -> None:
    assert trained.model.labels == ("caf\\xe9", COMPOSED)
    assert trained.report.num_clips == 2 * len(NAMES)
    assert [fold.name for fold in trained.folds] == ["[red]cid", "ann", "b\\xe9b", "dan"]


def test_a_model_of_a_class_spelled_in_two_ways_is_refused(
    trained: TrainingRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    object.__setattr__(trained.model, "labels", (DECOMPOSED, COMPOSED))
    try:
        trained.model.save(tmp_path / "model.safetensors")
    finally:
        object.__setattr__(trained.model, "labels", trained.report.labels)
    with pytest.raises(ModelError, match="two of its labels are one, spelled in two ways"):
        read_model_info(tmp_path / "model.safetensors")


def test_the_report_is_read_back_as_it_was_written(trained: TrainingRun, named: Path) -> None:
    again = read_report(trained.output)
    assert again.clips == trained.report.clips
    assert all(Path(clip.path).is_file() for clip in again.clips)
    assert str(first_video(named)) in {clip.path for clip in again.clips}
    assert "b\\udce9b" in (trained.output / "report.html").read_text("utf-8")


def test_every_command_takes_every_name(
    trained: TrainingRun, named: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run, video = trained.output, first_video(named)
    latin = os.fsdecode(LATIN_1)
    store = next((run / "features").iterdir())
    commands = [
        ("evaluate", run, "--output", f"{latin}/report"),
        ("compare", run, f"{latin}/report"),
        ("info", run),
        ("info", named),
        ("info", video),
        ("info", store),
        *(("info", file) for file in store.rglob("dan*.safetensors")),
        ("store", "verify", store),
        ("card", run, "--output", f"{latin}.md"),
        ("classify", named, "--model", run),
        ("classify", video, "--model", run, "--sheet", f"{latin}.png"),
        (
            *("timeline", video, "--model", run, "--html"),
            *("-o", f"{latin}.json", "-o", f"{latin}.vtt", "-o", f"{latin}.csv"),
        ),
        ("render", video, "--model", run, "--output", f"{latin}.mp4"),
        *(
            ("store", "export", store, "--to", target, "--output", f"{latin}.{target}")
            for target in ("npy", "hdf5", "parquet", "webdataset")
        ),
    ]
    for command in commands:
        result = run_command(*command)
        assert result.exit_code == 0, (command, result.output)
        assert "\x1b" not in result.output
    copied = Path(f"{latin}.run")
    shutil.copytree(run, copied)
    assert run_command("classify", video, "--model", copied).exit_code == 0
    assert json.loads(Path(f"{latin}.json").read_text())["path"] == str(video)
    assert read_report(f"{latin}/report").num_clips == 2 * len(NAMES)
    exported = list(Path(f"{latin}.npy").rglob("*.npy"))
    assert len(exported) == len(FeatureStore.open(store).keys())
    assert "[red]cid_1" in run_command("info", named / latin / "[red]cid_1.2.avi").stdout


def test_a_store_that_an_earlier_version_left_beside_is_used(
    trained: TrainingRun, configure: Callable[..., Config], named: Path
) -> None:
    store = next((trained.output / "features").iterdir())
    assert "\\udce9" in (store / "_keys.json").read_text()
    config = trained.report.config["data"]
    overrides = ["train.epochs=1", f"data.group_pattern='{config['group_pattern']}'"]
    overrides += ["sampling.num_frames=null", "sampling.rate_fps=2", "data.fold=ann"]
    train(configure(named, *overrides), trained.output.parent / "beside")
    assert not (trained.output.parent / "beside" / "features").exists()


def test_an_interrupted_training_goes_on(
    trained: TrainingRun,
    configure: Callable[..., Config],
    named: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from actionrnn.training import train as module

    overrides = ["train.epochs=1", "data.group_pattern='^(.+?)_'", "data.fold='[red]cid'"]
    overrides += ["sampling.num_frames=null", "sampling.rate_fps=2"]
    output = trained.output.parent / os.fsdecode(LATIN_1)
    with monkeypatch.context() as patched:
        patched.setattr(module, "write_report", lambda *_: (_ for _ in ()).throw(SystemExit))
        with pytest.raises(SystemExit):
            train(configure(named, *overrides), output)
    done = train(configure(named, *overrides), output, resume=True)
    assert read_report(output).clips == done.report.clips


@pytest.mark.parametrize("encoding", ["latin-1", "utf-8"])
def test_a_name_that_a_terminal_cannot_show_ends_nothing(named: Path, encoding: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "actionrnn", "info", str(named)],
        capture_output=True,
        timeout=60,
        env={**os.environ, "PYTHONIOENCODING": encoding},
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"caf" in done.stdout


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_brackets_in_the_text_behind_the_bar_are_no_markup(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "200")
    terminal = Terminal()
    with redirect_stderr(terminal), progress_bar("[b]training", 2) as advance:
        advance(note="[red]cid [/] \x1b]0;title\x07 caf\udce9")
    assert "[b]training" in terminal.getvalue()
    assert r"[red]cid [/] \x1b]0;title\x07 caf\xe9" in terminal.getvalue()


# --- the home folder


def parameters(command: click.Command) -> Iterator[click.Parameter]:
    for child in getattr(command, "commands", {}).values():
        yield from parameters(child)
    yield from command.params


NO_PATHS = {"overrides", "backbone", "search", "host", "token", "repository", "name", "address"} | {
    "allow_host",
    "allow_origin",
    *("tiers", "subjects", "labels", "annotators", "webhook", "input_options", "group_pattern"),
}


def test_every_parameter_that_is_text_is_a_path_or_known_to_be_none() -> None:
    for parameter in parameters(cli.main):
        assert type(parameter.type) is not click.Path, parameter
        if isinstance(parameter.type, click.types.StringParamType):
            assert parameter.name in NO_PATHS, parameter


@pytest.mark.parametrize(
    "command",
    [
        ("extract", "~/videos", "--output=~/new/store"),
        ("store", "verify", "~/store"),
        ("store", "export", "~/store", "--to=npy", "--output=~/new/npy"),
        ("store", "import", "~/new/npy", "--output=~/new/imported"),
        ("train", "~/config.yaml", "--output=~/new/run", "data.root=~/videos"),
        ("evaluate", "~/run", "data.root=~/videos", "--output=~/new/report"),
        ("compare", "~/run", "~/new/report"),
        ("classify", "~/videos", "--model=~/run", "--weights=~/weights"),
        ("card", "~/run", "--output=~/new/card.md"),
        ("info", "~/videos"),
        ("render", "~/video.avi", "--model=~/run", "--output=~/new/drawn.mp4"),
        ("timeline", "~/video.avi", "--model=~/run", "-o~/new/t.csv", "--html=~/new/t.html"),
    ],
    ids=lambda command: command[0],
)
def test_a_tilde_is_the_home_folder(
    home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, command: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(home))
    result = run_command(*command)
    if "--weights=~/weights" in command:
        assert f"{home}/weights" in result.output
    else:
        assert result.exit_code == 0, result.output
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def home(
    clips: Path, streaming_model: Path, run: TrainingRun, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A home folder with one of everything."""
    folder = tmp_path_factory.mktemp("home")
    (folder / "videos").symlink_to(clips)
    (folder / "video.avi").symlink_to(clips / "red" / "ann_red.avi")
    (folder / "run").mkdir()
    (folder / "run" / "model.safetensors").symlink_to(streaming_model)
    (folder / "run" / "report.json").symlink_to(run.output / "report.json")
    (folder / "store").symlink_to(next((run.output / "features").iterdir()))
    text = "train: {epochs: 1}\nsampling: {rate_fps: 2}\nbackbone: {device: cpu}\n"
    (folder / "config.yaml").write_text(text)
    return folder


def test_a_tilde_in_python_and_in_a_manifest_is_the_home_folder(
    home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import actionrnn
    from actionrnn.datasets.manifest import open_manifest

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(home))
    assert len(actionrnn.read_frames("~/video.avi")) == 12
    assert len(FeatureStore.open("~/store").keys()) == 9
    assert actionrnn.load_config("~/config.yaml").train.epochs == 1
    model = actionrnn.load("~/run")
    model.save("~/saved.safetensors")
    assert model.classify("~/video.avi").path == str(home / "video.avi")
    manifest = home / "list.csv"
    manifest.write_text("path,label\n~/video.avi,red\n")
    (clip,) = open_manifest("~/list.csv").clips
    assert clip.path == home / "video.avi"
    assert "~" not in clip.key
    assert (home / "saved.safetensors").is_file()
    assert list(tmp_path.iterdir()) == []
