"""Training: one head a fold and one model, from video files to a report; nothing done twice."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from actionrnn.config import Config
from actionrnn.config_reading import load_config
from actionrnn.datasets import rendered
from actionrnn.errors import (
    ActionrnnError,
    BackboneError,
    ConfigError,
    DatasetError,
    FeatureError,
)
from actionrnn.features.imported import import_features
from actionrnn.features.provenance import Features
from actionrnn.features.store import FeatureStore, verify_store
from actionrnn.model.privacy import hashed_group
from actionrnn.model.recognizer import load
from actionrnn.results import CHECKSUMS_FILE
from actionrnn.training import fit
from actionrnn.training import train as training
from actionrnn.training.fit_state import can_resume
from actionrnn.training.train import TrainingRun, train

Configure = Callable[..., Config]
MakeClips = Callable[..., Path]

SHORT = "train.epochs=2"
SCORES = (
    "labels",
    "num_clips",
    "top1",
    "top5",
    "mean_class_accuracy",
    "baseline_mean_pool_top1",
    "folds",
    "confusion",
)


def read_report(run: TrainingRun) -> dict[str, object]:
    report: dict[str, object] = json.loads((run.output / "report.json").read_text())
    return report


def tensors(run: TrainingRun) -> dict[str, np.ndarray]:
    return dict(load_file(run.output / "model.safetensors"))


def files_below(folder: Path) -> dict[str, int]:
    """Each file and when it was written."""
    return {
        path.relative_to(folder).as_posix(): path.stat().st_mtime_ns
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_a_run_leaves_a_model_a_report_and_its_configuration(run: TrainingRun) -> None:
    names = {path.name for path in run.output.iterdir()}
    files = {
        "model.safetensors",
        "report.json",
        "report.html",
        "config.yaml",
        "curve.csv",
        "scores.csv",
    }
    assert names == {*files, "features", CHECKSUMS_FILE}


def test_the_configuration_beside_the_model_reads_back_equal(
    run: TrainingRun, clips: Path, configure: Configure
) -> None:
    assert load_config(run.output / "config.yaml") == configure(clips)


def test_the_report_holds_what_is_promised(run: TrainingRun) -> None:
    report = read_report(run)
    assert report.keys() >= set(SCORES)
    assert report["labels"] == ["blue", "green", "red"]
    assert report["num_clips"] == 9
    assert [fold["group"] for fold in report["folds"]] == ["ann", "bob", "cid"]  # type: ignore[attr-defined]
    assert [fold["num_clips"] for fold in report["folds"]] == [3, 3, 3]  # type: ignore[attr-defined]
    assert report["seen_in_training"] == 0
    assert report["skipped"] == []
    assert report["config"] == run.model.config.to_dict()


def test_the_written_report_is_the_returned_one(run: TrainingRun) -> None:
    assert read_report(run) == json.loads(json.dumps(run.report.to_dict()))


def test_the_numbers_agree_with_the_confusion(run: TrainingRun) -> None:
    confusion = np.array(run.report.confusion)
    assert confusion.sum(axis=1).tolist() == [3, 3, 3]
    assert run.report.top1 == pytest.approx(np.trace(confusion) / 9)
    assert run.report.mean_class_accuracy == pytest.approx((np.diag(confusion) / 3).mean())
    assert run.report.top1 == pytest.approx(np.mean([fold.top1 for fold in run.report.folds]))
    assert run.report.baseline_mean_pool_top1 == pytest.approx(
        np.mean([fold.baseline_mean_pool_top1 for fold in run.report.folds])
    )


def test_each_stage_has_its_time(run: TrainingRun) -> None:
    assert list(run.report.seconds) == ["finding clips", "features", "training"]
    assert all(seconds >= 0 for seconds in run.report.seconds.values())


def test_the_folds_are_the_groups(run: TrainingRun) -> None:
    assert [fold.name for fold in run.folds] == ["ann", "bob", "cid"]
    for fold in run.folds:
        assert {clip.group for clip in fold.test} == {fold.name}
        assert {clip.group for clip in fold.train} == {"ann", "bob", "cid"} - {fold.name}


def test_with_several_folds_the_model_has_seen_every_clip(run: TrainingRun, clips: Path) -> None:
    training = load(run.output / "model.safetensors").training
    assert training["fold"] == "every clip"
    assert training["groups"] == sorted(map(hashed_group, ["ann", "bob", "cid"]))
    assert training["num_clips"] == len(set(training["fingerprints"])) == 9
    assert training["data"] == clips.name


def test_with_one_fold_the_model_has_not_seen_its_group(run_without_bob: TrainingRun) -> None:
    training = load(run_without_bob.output / "model.safetensors").training
    assert training["fold"] == hashed_group("bob")
    assert training["groups"] == sorted(map(hashed_group, ["ann", "cid"]))
    assert training["num_clips"] == len(training["fingerprints"]) == 6
    assert [fold.group for fold in run_without_bob.report.folds] == ["bob"]
    assert run_without_bob.report.num_clips == 3


def test_the_model_file_tells_the_reports_scores(run: TrainingRun) -> None:
    scores = load(run.output / "model.safetensors").training["scores"]
    assert scores == {
        "tested_on": [hashed_group(name) for name in ("ann", "bob", "cid")],
        "seen_in_training": 0,
        "leaked_clips": 0,
        "leaked_groups": [],
        "num_clips": 9,
        "top1": run.report.top1,
        "mean_class_accuracy": run.report.mean_class_accuracy,
        "baseline_mean_pool_top1": run.report.baseline_mean_pool_top1,
        "intervals": {name: list(bounds) for name, bounds in run.report.intervals.items()},
        "intervals_over": "3 groups",
    }


def test_the_saved_model_answers_as_the_returned_one(run: TrainingRun, clips: Path) -> None:
    path = clips / "red" / "ann_red.avi"
    saved = load(run.output / "model.safetensors")
    assert saved.classify(path) == run.model.classify(path)


def test_a_second_run_extracts_nothing_and_gives_the_same(
    run: TrainingRun, clips: Path, configure: Configure
) -> None:
    features = run.output / "features"
    before = files_below(features)
    one, other = (train(configure(clips, SHORT), run.output.parent / name) for name in "ab")
    assert sum(name.endswith(".safetensors") for name in before) >= 9
    assert files_below(features) == before
    assert not (one.output / "features").exists()
    assert not (other.output / "features").exists()
    first, second = read_report(one), read_report(other)
    assert {key: second[key] for key in SCORES} == {key: first[key] for key in SCORES}
    assert other.model.training == one.model.training
    expected, found = tensors(one), tensors(other)
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        np.testing.assert_array_equal(found[name], tensor, err_msg=name)


def test_another_seed_gives_another_model(
    run: TrainingRun, clips: Path, configure: Configure
) -> None:
    config = configure(clips, "data.fold=bob", SHORT)
    first = train(config, run.output.parent / "seed0")
    other = train(
        configure(clips, "data.fold=bob", SHORT, "train.seed=1"), run.output.parent / "seed1"
    )
    assert any((tensors(other)[name] != tensor).any() for name, tensor in tensors(first).items())


def test_a_changed_video_is_extracted_anew_and_the_others_are_not(
    make_clips: MakeClips, configure: Configure, tmp_path: Path
) -> None:
    root = make_clips(("ann", "bob"), ("blue", "red"))
    features = tmp_path / "run" / "features"
    config = configure(root, "data.fold=1", SHORT, f"data.features={features}")
    train(config, tmp_path / "run")
    before = files_below(features)
    other = make_clips(("eve",), ("red",)) / "red" / "eve_red.avi"
    shutil.copy(other, root / "red" / "bob_red.avi")
    train(config, tmp_path / "run")
    after = files_below(features)
    assert after.keys() == before.keys()
    assert {name for name in after if after[name] != before[name]} == {"red/bob_red.safetensors"}
    with pytest.raises(FeatureError, match="was computed from"):  # of another run: read alone
        (root / "red" / "bob_red.avi").write_bytes(other.read_bytes() + b"x")
        train(config, tmp_path / "another")


def test_parts_of_videos_are_trained_on_and_one_that_is_not_there_is_left_out_alone(
    clips: Path, configure: Configure, tmp_path: Path
) -> None:
    rows = [
        f"{clips}/{label}/{group}_{label}.avi,{label},{start},{end}"
        for label in ("blue", "red")
        for group in ("ann", "bob", "cid")
        for start, end in ((0, 0.5), (0.5, 1))
    ]
    rows.append(f"{clips}/red/ann_red.avi,red,7,8")
    manifest = tmp_path / "clips.csv"
    manifest.write_text("\n".join(["path,label,start,end", *rows]))
    config = configure(manifest, "data.layout=manifest", SHORT)
    report = train(config, tmp_path / "run").report
    assert report.num_clips == 12
    (skipped,) = report.skipped
    assert skipped.key.endswith("red/ann_red@7-8")
    assert "chooses nothing" in skipped.reason


def test_a_bad_video_is_left_out_and_reported(
    make_clips: MakeClips, configure: Configure, tmp_path: Path
) -> None:
    root = make_clips(("ann", "bob", "cid"), ("blue", "red"))
    bad = root / "red" / "cid_red.avi"
    bad.write_bytes(b"")
    done = train(configure(root, SHORT), tmp_path / "run")
    (skipped,) = json.loads((tmp_path / "run" / "report.json").read_text())["skipped"]
    reason = f"{bad}: is empty (0 bytes); copy or download it again"
    assert (skipped["key"], skipped["path"], skipped["reason"]) == ("red/cid_red", str(bad), reason)
    assert done.report.num_clips == 5
    assert [fold.num_clips for fold in done.report.folds] == [2, 2, 1]
    assert done.model.training["num_clips"] == 5


def test_a_repaired_video_takes_part_again(
    make_clips: MakeClips, configure: Configure, tmp_path: Path
) -> None:
    root = make_clips(("ann", "bob", "cid"), ("blue", "red"))
    bad = root / "red" / "cid_red.avi"
    whole = bad.read_bytes()
    bad.write_bytes(b"")
    assert train(configure(root, SHORT), tmp_path / "run").report.num_clips == 5
    bad.write_bytes(whole)
    report = train(configure(root, SHORT), tmp_path / "run").report
    assert (report.num_clips, report.skipped) == (6, [])


def test_without_any_usable_video_there_is_no_model(
    make_clips: MakeClips, configure: Configure, tmp_path: Path
) -> None:
    root = make_clips(("ann", "bob"), ("blue", "red"))
    for path in root.rglob("*.avi"):
        path.write_text("no video")
    with pytest.raises(DatasetError, match=r"no video can be used \(the first: .*ann_blue\.avi"):
        train(configure(root), tmp_path / "run")
    assert {path.name for path in (tmp_path / "run").iterdir()} == {"features"}


def test_a_class_whose_bad_video_leaves_one_group_is_an_error(
    make_clips: MakeClips, configure: Configure, tmp_path: Path
) -> None:
    root = make_clips(("ann", "bob"), ("blue", "red"))
    (root / "red" / "bob_red.avi").write_bytes(b"")
    with pytest.raises(DatasetError, match="class 'red' has one group only"):
        train(configure(root), tmp_path / "run")
    assert {path.name for path in (tmp_path / "run").iterdir()} == {"features"}


def test_a_class_of_one_group_is_an_error_before_anything_is_written(
    make_clips: MakeClips, configure: Configure, tmp_path: Path
) -> None:
    root = make_clips(("ann", "bob"), ("blue", "red"))
    (root / "red" / "bob_red.avi").unlink()
    with pytest.raises(DatasetError, match=r"class 'red' has one group only \(ann\)"):
        train(configure(root), tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("override", "error", "reason"),
    [
        ("data.root=null", DatasetError, r"data\.root is not set"),
        ("data.root=nowhere", DatasetError, "nowhere: no such folder"),
        ("data.layout=ucf101", DatasetError, "is not named v_<Class>_gNN_cNN"),
        ("data.layout=manifest", DatasetError, "cannot be read"),
        ("data.split=manifest", DatasetError, "has no split"),
        ("data.fold=zoe", DatasetError, r"data\.fold=zoe: no such fold; there are 1 \.\.\. 3"),
        ("data.fold=4", DatasetError, "no such fold"),
        ('data.group_pattern="^(x+)_"', DatasetError, r"does not match data\.group_pattern"),
        ("backbone.name=no-such", BackboneError, "is not a backbone"),
        ("backbone.weights=nowhere.pth", BackboneError, r"nowhere\.pth: no such weights file"),
        ("backbone.device=abacus", BackboneError, "'abacus' cannot be used"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_written(
    clips: Path,
    configure: Configure,
    tmp_path: Path,
    override: str,
    error: type[Exception],
    reason: str,
) -> None:
    with pytest.raises(error, match=reason):
        train(configure(clips, override), tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_features_of_another_sampling_are_refused_by_name(
    clips: Path, configure: Configure, run: TrainingRun, tmp_path: Path
) -> None:
    (store,) = (run.output / "features").glob(f"{clips.name}-*")
    before = files_below(store)
    config = configure(clips, f"data.features={store}", "sampling.num_frames=5")
    with pytest.raises(FeatureError, match=r"sampling\.num_frames 4, wanted is 5; choose"):
        train(config, tmp_path / "run")
    assert files_below(store) == before
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        (
            ("backbone.name=torchvision/squeezenet1_1", "backbone.weights=none"),
            "backbone efficientnet_lite0, wanted is torchvision/squeezenet1_1",
        ),
        (("backbone.weights=none",), r"weights_sha256 [0-9a-f]{64}, wanted is [0-9a-f]{64}"),
        (
            ("backbone.resize_mode=squash",),
            r"preprocessing\.resize_mode shortest, wanted is squash",
        ),
    ],
)
def test_features_of_another_backbone_are_refused_by_name(
    clips: Path,
    configure: Configure,
    run: TrainingRun,
    tmp_path: Path,
    overrides: tuple[str, ...],
    reason: str,
) -> None:
    (store,) = (run.output / "features").glob(f"{clips.name}-*")
    with pytest.raises(FeatureError, match=reason):
        train(configure(clips, f"data.features={store}", *overrides), tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_by_default_each_sampling_has_features_of_its_own(
    make_clips: MakeClips, configure: Configure, tmp_path: Path
) -> None:
    root = make_clips(("ann", "bob"), ("blue", "red"))
    for num_frames in (2, 3):
        train(
            configure(root, "data.fold=1", SHORT, f"sampling.num_frames={num_frames}"),
            tmp_path / "run",
        )
    stores = list((tmp_path / "run" / "features").iterdir())
    assert len(stores) == 2
    assert all(len(list(store.rglob("*.safetensors"))) == 4 for store in stores)


def test_training_on_everything_says_that_its_score_is_no_test(
    clips: Path, configure: Configure, run: TrainingRun
) -> None:
    config = configure(clips, "data.split=none", "train.validation_fraction=0")
    done = train(config, run.output.parent / "everything")
    assert done.report.seen_in_training == done.report.num_clips == 9
    assert done.model.training["num_clips"] == 9
    assert done.report.top1 == 1
    for path in clips.rglob("*.avi"):
        answer = done.model.classify(path)
        assert (answer.label, answer.scores[0] > 0.6) == (path.parent.name, True)  # 0.92 and more


@pytest.mark.parametrize("kind", ["rnn_tanh", "rnn_relu", "lstm", "mean"])
def test_every_kind_of_head_can_be_trained(
    clips: Path, configure: Configure, run: TrainingRun, kind: str
) -> None:
    config = configure(clips, "data.fold=bob", SHORT, f"head.kind={kind}")
    done = train(config, run.output.parent / kind)
    assert load(done.output / "model.safetensors").config.head.kind == kind


def test_a_killed_training_resumes_to_the_same_bits(
    run: TrainingRun,
    clips: Path,
    configure: Configure,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = configure(clips, "data.fold=bob", "train.epochs=6")
    config = replace(config, data=replace(config.data, features=str(tmp_path / "features")))
    whole = train(config, tmp_path / "whole")
    calls = []
    save = fit.save_fit_state

    def save_five_times(*arguments: Any) -> None:
        if len(calls) == 5:
            raise KeyboardInterrupt
        calls.append(1)
        save(*arguments)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(fit, "save_fit_state", save_five_times)
        train(config, tmp_path / "killed")
    assert not (tmp_path / "killed" / "model.safetensors").exists()
    resumed = train(config, tmp_path / "killed", resume=True)
    for name, tensor in tensors(whole).items():
        np.testing.assert_array_equal(tensors(resumed)[name], tensor, err_msg=name)
    curves = [(tmp_path / name / "curve.csv").read_text() for name in ("whole", "killed")]
    assert curves[0] == curves[1]
    assert not (tmp_path / "killed" / "unfinished").exists()


def test_only_an_unfinished_training_of_the_same_settings_is_resumed(
    run: TrainingRun, clips: Path, configure: Configure, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="holds no unfinished training; leave --resume out"):
        train(configure(clips), run.output, resume=True)
    unfinished = tmp_path / "unfinished"
    unfinished.mkdir()
    described = json.dumps(configure(clips, "head.hidden_size=99").to_dict())
    (unfinished / "config.json").write_text(described)
    with pytest.raises(ConfigError, match=r"head.hidden_size \(16\): .* was started with 99"):
        train(configure(clips), tmp_path, resume=True)


def test_a_training_that_version_0_1_started_has_the_same_settings(
    clips: Path, configure: Configure, tmp_path: Path
) -> None:
    config = configure(clips, "data.fold=bob", "train.epochs=1")
    described = config.to_dict()
    assert described["backbone"].pop("resize_mode") == "shortest"
    described["backbone"]["fit"] = "crop"
    (tmp_path / "unfinished").mkdir()
    (tmp_path / "unfinished" / "config.json").write_text(json.dumps(described))
    with pytest.warns(FutureWarning, match=r"backbone\.fit=crop is now backbone\.resize_mode"):
        train(config, tmp_path, resume=True)
    assert (tmp_path / "model.safetensors").exists()


def test_several_seeds_are_told_one_by_one(
    run: TrainingRun, clips: Path, configure: Configure
) -> None:
    config = configure(clips, "data.fold=bob", SHORT, "train.seeds=2", "train.seed=4")
    report = train(config, run.output.parent / "seeds").report
    assert [seed.seed for seed in report.seeds] == [4, 5]
    assert report.seeds[0].top1 == report.top1
    assert report.seeds[0].baseline_mean_pool_top1 == report.baseline_mean_pool_top1


def test_motion_beside_the_frames_has_a_baseline_with_and_one_without_it(
    clips: Path, configure: Configure, tmp_path: Path
) -> None:
    run = train(configure(clips, SHORT, "backbone.modality=both"), tmp_path / "run")
    report = read_report(run)
    assert report["baseline_mean_pool_motion_top1"] is not None
    assert run.model.head.feature_size == run.model.backbone.feature_size == 2 * 1280
    with (run.output / "curve.csv").open() as file:
        heads = {line.split(",")[1] for line in file.read().splitlines()[1:]}
    assert heads == {"gru", "mean-pool", "mean-pool + motion"}
    again = load(run.output / "model.safetensors")
    path = next(clips.rglob("*.avi"))
    assert again.classify(path).scores == run.model.classify(path).scores


def test_a_search_chooses_for_each_fold_and_the_model_is_of_the_chosen_kind(
    clips: Path, configure: Configure, tmp_path: Path
) -> None:
    run = train(configure(clips, SHORT, "train.search=3"), tmp_path / "run")
    trials = run.report.trials
    assert [trial["fold"] for trial in trials] == [
        *["ann"] * 3,
        *["bob"] * 3,
        *["cid"] * 3,
        *["every clip"] * 3,
    ]
    assert sum(trial["chosen"] for trial in trials) == 4
    chosen = next(t["head"] for t in trials if t["chosen"] and t["fold"] == "every clip")
    loaded = load(run.output / "model.safetensors")
    assert loaded.config.to_dict()["head"] == chosen
    assert read_report(run)["trials"] == json.loads(json.dumps(trials))


def test_the_folds_have_a_mean_and_a_spread(run: TrainingRun) -> None:
    report, values = run.report, [fold.top1 for fold in run.report.folds]
    mean = sum(values) / 3
    assert report.fold_mean_top1 == pytest.approx(mean)
    spread = (sum((value - mean) ** 2 for value in values) / 2) ** 0.5
    assert report.fold_std_top1 == pytest.approx(spread)


@pytest.mark.parametrize(
    "name", ["model.safetensors", "report.html", "config.yaml", "curve.csv", "unfinished/a.txt"]
)
def test_files_of_others_in_the_output_are_never_replaced(
    clips: Path, configure: Configure, run: TrainingRun, tmp_path: Path, name: str
) -> None:
    output = tmp_path / "mine"
    (output / name).parent.mkdir(parents=True)
    (output / name).write_text("mine")
    before = files_below(tmp_path)
    with pytest.raises(ActionrnnError, match=r"choose another --output, or move it away"):
        train(configure(clips, SHORT), output)
    assert files_below(tmp_path) == before
    assert (output / name).read_text() == "mine"


def test_a_folder_with_files_beside_a_note_of_its_name_is_not_deleted(
    clips: Path, configure: Configure, tmp_path: Path
) -> None:
    unfinished = tmp_path / "unfinished"
    unfinished.mkdir()
    for name in ("config.json", "thoughts.txt"):
        (unfinished / name).write_text("mine")
    with pytest.raises(ActionrnnError, match="unfinished: exists, and is not of an unfinished"):
        train(configure(clips, SHORT), tmp_path)
    assert (unfinished / "thoughts.txt").read_text() == "mine"


@pytest.mark.parametrize("name", ["holdout-gru-seed-0-12", "holdout-gru-seed-0-8a622d5ccaf4"])
def test_a_training_starts_over_where_an_unfinished_one_is(
    run: TrainingRun, clips: Path, configure: Configure, tmp_path: Path, name: str
) -> None:
    unfinished = tmp_path / "unfinished"
    unfinished.mkdir()
    for file in ("config.json", f"{name}.safetensors", f".{name}.8a622d5c.tmp"):
        (unfinished / file).write_text("of a killed process")
    train(configure(clips, "train.epochs=1", "data.fold=bob"), tmp_path)
    assert not unfinished.exists()


def test_a_training_replaces_its_own_files_until_they_are_changed(
    clips: Path, configure: Configure, run: TrainingRun
) -> None:
    output = run.output.parent / "twice"
    for _ in range(2):
        train(configure(clips, "data.fold=bob", "train.epochs=1"), output)
    text = (output / "config.yaml").read_text()
    (output / "config.yaml").write_text(text + "# what I changed\n")
    with pytest.raises(ActionrnnError, match=r"config\.yaml: is not what actionrnn"):
        train(configure(clips, "data.fold=bob", "train.epochs=1"), output)
    assert (output / "config.yaml").read_text().endswith("# what I changed\n")


def test_two_trainings_at_once_do_not_share_a_folder(
    clips: Path,
    configure: Configure,
    run: TrainingRun,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    output, config = run.output.parent / "both", configure(clips, "data.fold=bob", SHORT)
    refused = []
    load_features = training.load_features

    def begin_another(*arguments: Any, **named: Any) -> Any:
        monkeypatch.undo()
        with pytest.raises(ActionrnnError, match="another command is writing there") as caught:
            train(config, output)
        refused.append(caught)
        return load_features(*arguments, **named)

    monkeypatch.setattr(training, "load_features", begin_another)
    first = train(config, output)
    assert len(refused) == 1
    assert first.model.training == load(output / "model.safetensors").training


def test_what_is_interrupted_while_features_are_extracted_can_be_resumed(
    make_clips: MakeClips, configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = configure(make_clips(("ann", "bob"), ("blue", "red")), "data.fold=1", SHORT)
    write = FeatureStore.write
    written: list[str] = []

    def write_two(store: FeatureStore, key: str, features: Features) -> None:
        if len(written) == 2:
            raise KeyboardInterrupt
        written.append(key)
        write(store, key, features)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(FeatureStore, "write", write_two)
        train(config, tmp_path / "run")
    assert can_resume(tmp_path / "run")
    before = files_below(tmp_path / "run" / "features")
    resumed = train(config, tmp_path / "run", resume=True)
    after = files_below(tmp_path / "run" / "features")
    assert sum(name.endswith(".safetensors") for name in before) == 2
    assert sum(name.endswith(".safetensors") for name in after) == 4
    assert all(after[name] == before[name] for name in before if name.endswith(".safetensors"))
    assert not can_resume(tmp_path / "run")
    whole = train(config, tmp_path / "whole")
    for name, tensor in tensors(whole).items():
        np.testing.assert_array_equal(tensors(resumed)[name], tensor, err_msg=name)


def test_the_store_of_another_run_is_read_and_never_written(
    make_clips: MakeClips, configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With one clip more, the second run has a store of its own, for which it extracts that one."""
    root = make_clips(("ann", "bob"), ("blue", "red"))
    config = configure(root, "data.fold=1", SHORT)
    train(config, tmp_path / "first")
    before = files_below(tmp_path / "first")
    shutil.copy(root / "red" / "bob_red.avi", root / "red" / "cid_red.avi")
    written: list[str] = []
    write = FeatureStore.write

    def note(store: FeatureStore, key: str, features: Features) -> None:
        written.append(key)
        write(store, key, features)

    monkeypatch.setattr(FeatureStore, "write", note)
    second = train(config, tmp_path / "second")
    assert written == ["red/cid_red"]
    assert files_below(tmp_path / "first") == before
    (store,) = (second.output / "features").iterdir()
    assert list(verify_store(FeatureStore.open(store))) == []
    assert len(FeatureStore.open(store).keys()) == 5


def test_features_of_several_sizes_or_origins_are_no_training_data(
    clips: Path, configure: Configure, run: TrainingRun, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    for number, size in enumerate((4, 4, 5)):
        source = tmp_path / f"part{number}"
        for label in ("falls", "rises"):
            (source / label).mkdir(parents=True)
            np.save(source / label / f"{number}.npy", rng.normal(size=(3, size)))
        import_features(source, tmp_path / "store", name="mine")
    config = load_config("folder_example", [f"data.features={tmp_path / 'store'}", SHORT])
    with pytest.raises(FeatureError, match=r"has 5 features a step, .* has 4"):
        train(config, tmp_path / "run")
    for label in ("falls", "rises"):
        (tmp_path / "store" / label / "2.safetensors").unlink()
    other = import_features(tmp_path / "part0", tmp_path / "other", name="theirs")
    shutil.copy(other.path_of("falls/0"), tmp_path / "store" / "falls" / "0.safetensors")
    with pytest.raises(FeatureError, match="backbone imported/theirs, wanted is imported/mine"):
        train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_built_in_data_set_is_drawn_by_a_training_that_names_it(
    configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("NUM_GROUPS", 2), ("CLIPS_PER_GROUP", 1)):
        monkeypatch.setattr(rendered, name, value)
    overrides = ["data.layout=rendered", "data.group_pattern=null", "data.split=holdout", SHORT]
    report = train(configure(tmp_path / "data", *overrides), tmp_path / "run").report
    assert (len(report.labels), report.num_clips) == (8, 8)
