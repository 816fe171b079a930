"""A trained model on its own held-out clips, and on other folders."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

import actionrnn
from actionrnn.config import BackboneConfig, Config, DataConfig
from actionrnn.config_reading import load_config
from actionrnn.errors import ActionrnnError, ConfigError, DatasetError, FeatureError, ModelError
from actionrnn.evaluation.report import Report
from actionrnn.features.backbone import load_backbone
from actionrnn.features.imported import import_features
from actionrnn.features.store import FeatureStore
from actionrnn.model.heads import Head
from actionrnn.model.recognizer import Recognizer
from actionrnn.results import CHECKSUMS_FILE
from actionrnn.training.train import TrainingRun, train

Configure = Callable[..., Config]
MakeClips = Callable[..., Path]


def evaluate(run: TrainingRun, *overrides: str) -> Report:
    return actionrnn.evaluate(run.output / "model.safetensors", overrides)


def test_by_default_the_models_own_held_out_clips_are_tested(run_without_bob: TrainingRun) -> None:
    report = evaluate(run_without_bob)
    assert [fold.group for fold in report.folds] == ["bob"]
    assert report.num_clips == 3
    assert report.seen_in_training == 0


def test_the_scores_are_those_of_the_training(run_without_bob: TrainingRun) -> None:
    trained, tested = run_without_bob.report, evaluate(run_without_bob)
    for score in ("labels", "top1", "top5", "mean_class_accuracy", "confusion"):
        assert getattr(tested, score) == getattr(trained, score), score
    assert [fold.top1 for fold in tested.folds] == [fold.top1 for fold in trained.folds]


def test_a_test_trains_no_baseline(run_without_bob: TrainingRun) -> None:
    assert evaluate(run_without_bob).baseline_mean_pool_top1 is None


def test_the_features_of_the_training_are_used_again(run_without_bob: TrainingRun) -> None:
    def written() -> dict[Path, int]:
        files = run_without_bob.output.parent.rglob("*")
        return {path: path.stat().st_mtime_ns for path in files if path.is_file()}

    before = written()
    evaluate(run_without_bob)
    assert written() == before


def test_a_fold_is_found_by_its_name_even_if_that_is_a_number(
    make_clips: MakeClips, configure: Configure, tmp_path: Path
) -> None:
    """The groups sort as 1, 10, 2, but 2 is a name before it is a number."""
    root = make_clips(("1", "10", "2"), ("blue", "red"))
    for number, group in ((2, "2"), (3, "2"), (10, "10")):
        run = train(
            configure(root, f"data.fold={number}", "train.epochs=1"), tmp_path / str(number)
        )
        assert [fold.group for fold in run.report.folds] == [group]
        report = evaluate(run)
        assert [fold.group for fold in report.folds] == [group]
        assert report.seen_in_training == 0


def test_a_model_trained_on_every_clip_is_not_tested_on_them_unnoticed(run: TrainingRun) -> None:
    report = evaluate(run)
    assert report.num_clips == report.seen_in_training == 9


def test_another_fold_shows_the_clips_that_were_trained_on(run_without_bob: TrainingRun) -> None:
    report = evaluate(run_without_bob, "data.fold=all")
    assert [fold.group for fold in report.folds] == ["ann", "bob", "cid"]
    assert report.seen_in_training == 6


def test_another_folder_is_tested_whole(
    run_without_bob: TrainingRun, make_clips: MakeClips
) -> None:
    other = make_clips(("dee", "eve"), ("blue", "red"))
    report = evaluate(run_without_bob, f"data.root={other}")
    assert report.labels == ("blue", "green", "red")
    assert report.num_clips == 4
    assert [len(row) for row in report.confusion] == [3, 3, 3]
    assert [sum(row) for row in report.confusion] == [2, 0, 2]
    assert report.seen_in_training == 0
    assert report.config["data"]["root"] == str(other)


def test_another_folders_answers_are_those_of_classify(
    run_without_bob: TrainingRun, make_clips: MakeClips
) -> None:
    other = make_clips(("dee", "eve"), ("blue", "red"))
    report = evaluate(run_without_bob, f"data.root={other}")
    for tested in report.clips:
        answer = run_without_bob.model.classify(other / f"{tested.key}.avi")
        scores = dict(zip(answer.labels, answer.scores, strict=True))
        # an evaluation's features were stored, as float16
        assert tested.score == pytest.approx(scores[tested.answer], abs=1e-2)
        assert tested.label_score == pytest.approx(scores[tested.label], abs=1e-2)
    right = sum(tested.answer == tested.label for tested in report.clips)
    assert report.top1 == pytest.approx(right / 4)


def test_trained_clips_are_known_again_under_other_names(
    run_without_bob: TrainingRun, clips: Path, make_clips: MakeClips
) -> None:
    other = make_clips(("dee",), ("blue", "red"))
    shutil.copyfile(clips / "red" / "ann_red.avi", other / "red" / "x1_copy.avi")
    shutil.copyfile(clips / "blue" / "cid_blue.avi", other / "blue" / "x2_copy.avi")
    shutil.copyfile(clips / "blue" / "bob_blue.avi", other / "blue" / "x3_copy.avi")  # held out
    report = evaluate(run_without_bob, f"data.root={other}")
    assert (report.num_clips, report.seen_in_training) == (5, 2)


def test_a_bad_video_is_left_out_and_reported(
    run_without_bob: TrainingRun, make_clips: MakeClips
) -> None:
    other = make_clips(("dee", "eve"), ("blue", "red"))
    bad = other / "red" / "eve_red.avi"
    bad.write_bytes(b"")
    report = evaluate(run_without_bob, f"data.root={other}")
    assert report.num_clips == 3
    reason = f"{bad}: is empty (0 bytes); copy or download it again"
    (skipped,) = report.skipped
    assert (skipped.key, skipped.path, skipped.reason) == ("red/eve_red", str(bad), reason)


def test_labels_that_the_model_does_not_know_are_named(
    run: TrainingRun, make_clips: MakeClips
) -> None:
    other = make_clips(("dee",), ("blue", "red"))
    (other / "red").rename(other / "scarlet")
    with pytest.raises(DatasetError, match=r"does not know \(scarlet\); it knows blue, green, red"):
        evaluate(run, f"data.root={other}")


@pytest.mark.parametrize(
    "override",
    ["head.kind=lstm", "head.hidden_size=32", "sampling.num_frames=8", "backbone.weights=none"],
)
def test_the_model_itself_cannot_be_overridden(run: TrainingRun, override: str) -> None:
    with pytest.raises(ConfigError, match=rf"{override}: only data\.\* can be chosen here"):
        evaluate(run, override)


@pytest.mark.parametrize(
    ("override", "error", "reason"),
    [
        ("data.rooot=x", ConfigError, r"did you mean 'data\.root'\?"),
        ("data.root=nowhere", DatasetError, "nowhere: no such folder"),
        ("data.fold=zoe", DatasetError, r"data\.fold=zoe: no such fold"),
    ],
)
def test_a_wrong_choice_of_clips_is_an_error(
    run_without_bob: TrainingRun, override: str, error: type[Exception], reason: str
) -> None:
    with pytest.raises(error, match=reason):
        evaluate(run_without_bob, override)


def test_what_is_no_model_is_an_error(clips: Path) -> None:
    with pytest.raises(ModelError, match="is not an actionrnn model"):
        actionrnn.evaluate(clips / "red" / "ann_red.avi")


def write_manifest(file: Path, rows: list[tuple[Path, str, str, str]]) -> Path:
    lines = ["path,label,group,split", *(",".join(map(str, row)) for row in rows)]
    file.write_text("\n".join(lines))
    return file


def test_a_manifest_with_nothing_to_train_on_can_be_tested(
    run_without_bob: TrainingRun, clips: Path, tmp_path: Path
) -> None:
    rows = [(clips / label / f"bob_{label}.avi", label, "bob", "test") for label in ("blue", "red")]
    file = write_manifest(tmp_path / "clips.csv", rows)
    chosen = (f"data.root={file}", "data.layout=manifest", "data.split=manifest")
    report = evaluate(run_without_bob, *chosen)
    assert (report.num_clips, report.seen_in_training, report.leaked_clips) == (2, 0, 0)


def test_clips_of_one_class_alone_can_be_tested(
    run_without_bob: TrainingRun, make_clips: MakeClips
) -> None:
    other = make_clips(("dee", "eve"), ("red",))
    report = evaluate(run_without_bob, f"data.root={other}")
    assert (report.num_clips, len(report.labels)) == (2, 3)
    assert [one.num_clips for one in report.classes] == [0, 0, 2]


def test_further_clips_of_trained_people_are_a_leak(
    make_clips: MakeClips, configure: Configure, tmp_path: Path
) -> None:
    """Trained without a video that could not be read then, of somebody else who could."""
    root = make_clips(("ann", "bob", "cid"), ("blue", "red"))
    hidden = root / "red" / "ann_red.avi"
    kept = hidden.read_bytes()
    hidden.write_bytes(b"")
    run = train(configure(root, "data.fold=bob", "train.epochs=1"), tmp_path / "run")
    hidden.write_bytes(kept)
    report = evaluate(run, "data.split=none", "data.fold=all")
    assert (report.num_clips, report.seen_in_training, report.leaked_clips) == (6, 3, 1)
    assert report.leaked_groups == ("ann",)


def test_what_the_head_does_with_its_frames_is_found_anew(run_without_bob: TrainingRun) -> None:
    trained, tested = run_without_bob.report, evaluate(run_without_bob)
    assert tested.observed["gru"] == trained.observed["gru"]
    assert tested.observed["gru"][-1] == tested.top1
    assert tested.baseline_shuffled_frames_top1 == trained.baseline_shuffled_frames_top1
    found, expected = tested.horizon["gru"], trained.horizon["gru"]
    assert found.curve == pytest.approx(expected.curve, rel=1e-2)  # float32, each in its own order
    assert found.half_steps == pytest.approx(expected.half_steps, rel=1e-2)
    assert found.num_clips == expected.num_clips
    assert tested.horizon.keys() == trained.horizon.keys() - {"mean-pool"}
    assert trained.horizon["mean-pool"].curve == pytest.approx([1] * 4)
    assert tested.curves == trained.curves
    assert len(tested.curves[0].train_loss) == 10


def test_beside_a_model_that_was_moved_nothing_is_written(
    run_without_bob: TrainingRun, tmp_path: Path
) -> None:
    home = tmp_path / "models"
    home.mkdir()
    shutil.copy(run_without_bob.output / "model.safetensors", home / "mine.safetensors")
    shutil.copy(run_without_bob.output / "config.yaml", home)
    report = actionrnn.evaluate(home / "mine.safetensors")
    assert report.top1 == run_without_bob.report.top1
    assert {path.name for path in home.iterdir()} == {"mine.safetensors", "config.yaml"}
    assert [path.name for path in tmp_path.iterdir()] == ["models"]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def rendered_model(run_without_bob: TrainingRun, tmp_path: Path) -> Path:
    """A model whose own data set is the built-in one."""
    data = DataConfig(layout="rendered", root=str(tmp_path / "drawn"))
    config = replace(run_without_bob.model.config, data=data)
    training = {**run_without_bob.model.training, "data": "drawn"}
    file = tmp_path / "runs" / "demo" / "model.safetensors"
    replace(run_without_bob.model, config=config, training=training).save(file)
    file.with_name("config.yaml").write_text(yaml.safe_dump(config.to_dict()))
    return file


def test_an_evaluation_draws_nothing(
    rendered_model: Path, make_clips: MakeClips, tmp_path: Path
) -> None:
    """A demo's model on somebody's folder, on an empty one, and on its own that was deleted."""
    theirs, empty = make_clips(("dee", "eve"), ("blue", "red")), tmp_path / "empty"
    empty.mkdir()
    before = contents(theirs)
    report = actionrnn.evaluate(rendered_model, [f"data.root={theirs}"])
    assert (report.num_clips, contents(theirs)) == (4, before)
    for overrides in ([f"data.root={empty}", "data.layout=rendered"], []):
        with pytest.raises(DatasetError):
            actionrnn.evaluate(rendered_model, overrides)
    assert list(empty.iterdir()) == []
    assert not (tmp_path / "drawn").exists()


def test_nothing_is_taken_from_the_models_own_data_for_other_clips(
    run_without_bob: TrainingRun, make_clips: MakeClips, tmp_path: Path
) -> None:
    other = make_clips(("dee", "eve"), ("blue", "red"))
    told: list[str] = []
    report = actionrnn.evaluate(run_without_bob.output, [f"data.root={other}"], tell=told.append)
    expected = Config(data=DataConfig(root=str(other), split="none")).to_dict()["data"]
    assert report.config["data"] == expected
    (line,) = told
    assert line.startswith(f"testing on {other}: data.layout=folder, every clip, each clip its own")
    rows = [(path, path.parent.name, "x", "test") for path in other.rglob("*.avi")]
    manifest = write_manifest(tmp_path / "clips.csv", rows)
    report = actionrnn.evaluate(run_without_bob.output, [f"data.root={manifest}"])
    assert (report.config["data"]["layout"], report.num_clips) == ("manifest", 4)
    told.clear()
    actionrnn.evaluate(run_without_bob.output, tell=told.append)
    assert told == []


@pytest.mark.parametrize("keep", [False, True])
def test_the_run_that_is_tested_is_not_written_to(
    make_clips: MakeClips,
    configure: Configure,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    keep: bool,
) -> None:
    root = make_clips(("ann", "bob"), ("blue", "red"))
    features = tmp_path / "runs" / "mine" / "features"  # a store, as the demo has it
    config = configure(root, "data.fold=1", "train.epochs=1", f"data.features={features}")
    run = train(config, tmp_path / "runs" / "mine")
    other = make_clips(("dee",), ("blue", "red"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    before = contents(tmp_path), contents(root), contents(other)
    output = tmp_path / "tested" if keep else None
    actionrnn.evaluate(run.output, [f"data.root={other}"], output=output)
    shutil.copy(root / "red" / "bob_red.avi", root / "red" / "new_red.avi")
    assert actionrnn.evaluate(run.output, ["data.fold=all"], output=output).num_clips == 5
    (root / "red" / "new_red.avi").unlink()
    if output is not None:
        stores = list((output / "features").iterdir())
        assert {path.name for path in output.iterdir()} == {
            *("report.json", "report.html", "scores.csv", "features", CHECKSUMS_FILE)
        }
        assert sorted(len(FeatureStore.open(store).keys()) for store in stores) == [2, 5]
        shutil.rmtree(output)
    assert (contents(tmp_path), contents(root), contents(other)) == before


def test_a_model_from_the_hub_leaves_nothing_beside_itself(
    run_without_bob: TrainingRun,
    make_clips: MakeClips,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cache, other = tmp_path / "cache", make_clips(("dee",), ("blue", "red"))
    cache.mkdir()
    shutil.copy(run_without_bob.output / "model.safetensors", cache)
    monkeypatch.setattr("actionrnn.model.hub.fetch", lambda _: cache / "model.safetensors")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"hf://me/squares: say on which clips"):
        actionrnn.evaluate("hf://me/squares")
    assert actionrnn.evaluate("hf://me/squares", [f"data.root={other}"]).num_clips == 2
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")] == [
        *("cache", "cache/model.safetensors")
    ]


def test_the_folder_of_a_training_keeps_the_report_of_the_training(
    run_without_bob: TrainingRun,
) -> None:
    before = contents(run_without_bob.output)
    with pytest.raises(ActionrnnError, match="holds a training's model and report"):
        actionrnn.evaluate(run_without_bob.output, output=run_without_bob.output)
    assert contents(run_without_bob.output) == before


def import_ramps(folder: Path, size: int, name: str, rate_fps: float | None = None) -> Path:
    """A store of 2 classes x 4 clips of (5, size)."""
    rng = np.random.default_rng(size)
    for label in ("falls", "rises"):
        (folder / "source" / label).mkdir(parents=True)
        for number in range(4):
            ramp = np.linspace(*((-1, 1) if label == "rises" else (1, -1)), 5)
            values = np.column_stack([ramp, rng.normal(size=(5, size - 1)) / 10])
            np.save(folder / "source" / label / f"{label}{number}.npy", values)
    import_features(folder / "source", folder / "store", name=name, rate_fps=rate_fps)
    return folder / "store"


def test_imported_features_must_be_of_the_models_kind(tmp_path: Path) -> None:
    store = import_ramps(tmp_path / "own", 4, "i3d")
    settings = [f"data.features={store}", "train.epochs=2", "head.hidden_size=8"]
    run = train(load_config("folder_example", settings), tmp_path / "run")
    for name, size, kind, rate_fps, reason in (
        ("more", 6, "i3d", None, "has 6 features a step, the model was trained with 4"),
        ("fewer", 3, "i3d", None, "has 3 features a step, the model was trained with 4"),
        ("kind", 4, "slowfast", None, "backbone imported/slowfast, wanted is imported/i3d"),
        ("rate", 4, "i3d", 25.0, "sampling.rate_fps 25.0, wanted is None"),
    ):
        other = import_ramps(tmp_path / name, size, kind, rate_fps)
        with pytest.raises(FeatureError, match=f"{reason}.*; give"):
            evaluate(run, f"data.features={other}")
    same = import_ramps(tmp_path / "same", 4, "i3d")
    assert evaluate(run, f"data.features={same}").num_clips == 8
    assert evaluate(run, f"data.features={store}").num_clips == run.report.num_clips  # held out
    with pytest.raises(FeatureError, match="backbone imported/i3d, wanted is efficientnet_lite0"):
        actionrnn.evaluate(replace_backbone(run, tmp_path / "elsewhere"), [f"data.features={same}"])


def replace_backbone(run: TrainingRun, folder: Path) -> Path:
    """A model file that was trained with the bundled backbone."""
    backbone = load_backbone("efficientnet_lite0")
    head = Head(run.model.head.config, backbone.feature_size, len(run.model.labels))
    config = replace(run.model.config, backbone=BackboneConfig(), data=DataConfig(root="gone"))
    path = folder / "model.safetensors"
    Recognizer(backbone, head.trained(), run.model.labels, config).save(path)
    return path


def test_a_folder_of_the_same_name_is_not_the_data_of_a_model_that_was_moved(
    make_clips: MakeClips, configure: Configure, tmp_path: Path
) -> None:
    """Groups are called alike in many data sets; a video that was trained on tells them apart."""
    for number, name in enumerate(("own", "other")):
        (tmp_path / name).mkdir()
        shutil.copytree(make_clips(("ann", "bob"), ("blue", "red")), tmp_path / name / "videos")
        for file in (tmp_path / name / "videos").rglob("*.avi"):
            file.write_bytes(file.read_bytes() + bytes([number]))
    run = train(configure(tmp_path / "own" / "videos", "train.epochs=1"), tmp_path / "run")
    (tmp_path / "moved").mkdir()
    model = shutil.copy(run.output / "model.safetensors", tmp_path / "moved")
    for name, seen in (("own", 4), ("other", 0)):
        root = tmp_path / name / "videos"
        overrides = [f"data.root={root}", "data.group_pattern=^([a-z]+)_"]
        report = actionrnn.evaluate(model, overrides)
        assert (report.seen_in_training, report.leaked_clips) == (seen, 0)


def test_a_damaged_entry_of_imported_features_is_refused(tmp_path: Path) -> None:
    store = import_ramps(tmp_path, 4, "i3d")
    entry = next(store.rglob("rises0.safetensors"))
    content = bytearray(entry.read_bytes())
    content[-40] ^= 1
    entry.write_bytes(bytes(content))
    settings = [f"data.features={store}", "train.epochs=1"]
    with pytest.raises(FeatureError, match=r"rises0\.safetensors: is damaged"):
        train(load_config("folder_example", settings), tmp_path / "run")


def test_a_run_is_evaluated_from_anywhere_and_on_its_own_clips(
    make_clips: MakeClips, configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A relative data.root means the folder of the training, not one of that name elsewhere."""
    shutil.copytree(make_clips(("ann", "bob"), ("blue", "red")), tmp_path / "here" / "videos")
    shutil.copytree(make_clips(("dee",), ("blue", "red")), tmp_path / "there" / "videos")
    monkeypatch.chdir(tmp_path / "here")
    run = train(configure(Path("videos"), "data.fold=1", "train.epochs=1"), tmp_path / "run")
    monkeypatch.chdir(tmp_path / "there")
    assert evaluate(run).clips[0].key == run.report.clips[0].key


def test_nothing_is_written_below_what_is_tested(
    run_without_bob: TrainingRun, make_clips: MakeClips
) -> None:
    other = make_clips(("dee",), ("blue", "red"))
    before = contents(other)
    for overrides, output in (([], other / "out"), ([f"data.features={other / 'f'}"], None)):
        with pytest.raises(ActionrnnError, match=r"lies below data\.root"):
            actionrnn.evaluate(
                run_without_bob.output, [f"data.root={other}", *overrides], output=output
            )
    assert contents(other) == before


def test_the_features_of_another_run_are_not_replaced(
    make_clips: MakeClips, configure: Configure, tmp_path: Path
) -> None:
    root = make_clips(("ann", "bob"), ("blue", "red"))
    features = tmp_path / "store"
    config = configure(root, "data.fold=1", "train.epochs=1", f"data.features={features}")
    run = train(config, tmp_path / "run")
    before, other = contents(features), tmp_path / "other"
    shutil.copytree(root, other)
    for file in other.rglob("*.avi"):
        file.write_bytes(file.read_bytes() + b"x")
    with pytest.raises(FeatureError, match="was computed from"):
        evaluate(run, f"data.root={other}", f"data.features={features}")
    assert {
        name: content for name, content in contents(features).items() if "_keys" not in name
    } == {name: content for name, content in before.items() if "_keys" not in name}
