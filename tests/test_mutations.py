"""Every file that is read, damaged in hundreds of ways: used, or refused in one line."""

from __future__ import annotations

import copy
import csv
import io
import json
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from rich.console import Console

import actionrnn
from actionrnn.apps.card import make_card
from actionrnn.apps.info import describe
from actionrnn.config import BackboneConfig, Config, DataConfig, HeadConfig, Sampling, TrainConfig
from actionrnn.config_reading import load_config
from actionrnn.datasets.recordings import IGNORE, Recording
from actionrnn.datasets.sequences import Sequences
from actionrnn.datasets.splits import make_folds, open_dataset
from actionrnn.datasets.ucf101 import find_lists
from actionrnn.errors import ActionrnnError
from actionrnn.evaluation.compare import compare_runs
from actionrnn.evaluation.predict import FoldPredictions
from actionrnn.evaluation.report import read_curves, read_report
from actionrnn.evaluation.report_text import render_text
from actionrnn.evaluation.step_predictions import StepPredictions
from actionrnn.evaluation.step_scores import step_report
from actionrnn.evaluation.summary import make_report
from actionrnn.features.backbone import Backbone
from actionrnn.features.imported import import_features
from actionrnn.features.provenance import Failure, Features, VideoFile
from actionrnn.features.store import FeatureStore, verify_store
from actionrnn.model.heads import Head
from actionrnn.model.model_file import read_model_info
from actionrnn.model.recognizer import Recognizer
from actionrnn.training.fit import fit_head
from actionrnn.training.fit_state import FitTask
from actionrnn.video.frame import Frame
from tests.tiny import make_tiny_backbone, tiny_provenance

KEPT = "whole.json"
PER_KIND = 150
LABELS = ("clap", "jump", "wave")

Read = Callable[[Path], object]
"""Reads the example in a folder with the public functions, and uses what came."""


# Examples: each writes one into a folder, and gives the function that reads it


def tiny_backbone() -> Backbone:
    return make_tiny_backbone(2)


def tiny_model() -> Recognizer:
    torch.manual_seed(0)
    config = Config(
        backbone=BackboneConfig(name="tiny"),
        sampling=Sampling(rate_fps=4.0),
        head=HeadConfig(hidden_size=3, dropout=0.0),
    )
    training = {
        "data": "clips",
        "split": "holdout",
        "fold": "holdout",
        "groups": ["ann", "bob"],
        "num_clips": 9,
        "fingerprints": ["a" * 64],
        "scores": {
            "tested_on": ["cid"],
            "seen_in_training": 0,
            "leaked_clips": 1,
            "leaked_groups": ["ann"],
            "num_clips": 3,
            "top1": 0.5,
            "mean_class_accuracy": 0.5,
            "baseline_mean_pool_top1": 0.25,
            "intervals": {"top1": [0.25, 0.75], "mean_class_accuracy": None},
            "intervals_over": "3 groups",
        },
    }
    backbone = tiny_backbone()
    head = Head(config.head, backbone.feature_size, len(LABELS)).eval()
    return Recognizer(backbone, head.trained(), LABELS, config, training)


def a_model(folder: Path) -> Read:
    tiny_model().save(folder / "model.safetensors")
    features = Features(np.zeros((4, 12), np.float32), np.arange(4) / 4)

    def read(folder: Path) -> None:
        model = actionrnn.load(folder)
        model.score(features)
        make_card(read_model_info(folder))
        describe(folder)

    return read


def a_stream(folder: Path) -> Read:
    model, rng = tiny_model(), np.random.default_rng(0)
    pictures = rng.integers(0, 256, (9, 24, 24, 3), np.uint8)

    def frames_at(times: np.ndarray) -> list[Frame]:
        return list(map(Frame.from_array, pictures, times))

    stream = model.stream()
    stream.push(frames_at(np.arange(9) / 10))
    stream.save(folder / "a.stream")

    def read(folder: Path) -> None:
        again = model.stream().restore(folder / "a.stream")
        again.push(frames_at(1 + np.arange(9) / 10))

    return read


def a_fit(folder: Path) -> Read:
    rng, clips = (
        np.random.default_rng(0),
        tuple(Recording.trimmed(Path(n), n, n[0], n).clips[0] for n in ("a1", "b2")),
    )
    values = tuple(rng.normal(size=(3, 4)).astype(np.float32) for _ in clips)
    sequences = Sequences(clips, values, np.array([0, 1]), ("1", "2"), tiny_provenance())
    head, train = HeadConfig(hidden_size=3, dropout=0.0), TrainConfig(epochs=2, batch_size=2)
    task = FitTask(sequences, 2, head, train, validation=sequences)

    def read(folder: Path) -> None:
        state = folder / "fit.safetensors"
        fit_head(task, state_file=state, resume=True)

    def stop(epoch: object, _: bool) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        state = folder / "fit.safetensors"
        fit_head(task, state_file=state, on_epoch=stop)
    return read


def scored(name: str) -> FoldPredictions:
    scores, targets = np.eye(3, dtype=np.float32)[[0, 1, 0]], np.array([0, 1, 2])
    clips = tuple(
        Recording.trimmed(Path("nowhere.avi"), f"{name}{i}", LABELS[i], name).clips[0]
        for i in range(3)
    )
    no = (False,) * 3
    return FoldPredictions(name, scores, targets, scores, clips=clips, seen=no, leaked=no)


def a_report(folder: Path) -> Read:
    folds = [scored("ann"), scored("bob")]
    trial = {"fold": "ann", "head": {"kind": "gru"}, "validation_loss": 0.5, "chosen": True}
    recordings = [
        StepPredictions(
            name=f"{group}.avi",
            group=group,
            pts_seconds=np.arange(40) / 10,
            targets=np.repeat([0, IGNORE, 2, 1], 10),
            scores={"gru": np.eye(3, dtype=np.float32)[np.repeat([0, 1], 20)]},
        )
        for group in ("ann", "bob")
    ]
    report = make_report(
        LABELS,
        folds,
        steps=step_report(LABELS, recordings),
        by_seed={0: folds, 1: folds},
        title="clips",
        config=Config().to_dict(),
        trials=(trial,),
        skipped=[Failure("a", "a.avi", "is empty")],
        seconds={"training": 1.5},
    )
    for name in ("report.json", "whole.json"):
        report.write(folder / name)

    def read(folder: Path) -> None:
        report = read_report(folder)
        comparison = compare_runs([folder, folder / "whole.json"])
        json.dumps(comparison.to_dict(), allow_nan=False)
        console = Console(file=io.StringIO(), width=100)
        console.print(render_text(report), comparison)

    return read


def a_config(folder: Path) -> Read:
    text = yaml.safe_dump(Config(data=DataConfig(root="clips")).to_dict(), sort_keys=False)
    (folder / "config.yaml").write_text(text)
    return lambda folder: load_config(folder / "config.yaml").to_dict()


def a_list(folder: Path) -> Read:
    rows = [
        f"{label}/{group}_{label}.avi,{label},{group},{'test' if group == 'cid' else 'train'},0,1.5"
        for label in LABELS
        for group in ("ann", "bob", "cid")
    ]
    for label in LABELS:
        (folder / label).mkdir()
        for group in ("ann", "bob", "cid"):
            (folder / label / f"{group}_{label}.avi").write_text("a video")
    (folder / "clips.csv").write_text("path,label,group,split,start,end\n" + "\n".join(rows))

    def read(folder: Path) -> None:
        file = str(folder / "clips.csv")
        data = DataConfig(root=file, layout="manifest", split="manifest")
        make_folds(open_dataset(data), data)

    return read


def a_curve(folder: Path) -> Read:
    (folder / "curve.csv").write_text(
        "fold,head,seed,epoch,learning_rate,train_loss,validation_loss,validation_top1\n"
        "ann,gru,0,1,0.001,1.5,1.25,0.5\nann,gru,0,2,0.001,1.0,1.0,0.5\nann,mean,0,1,0.1,1.5,,\n"
    )

    def read(folder: Path) -> None:
        for curve in read_curves(folder / "curve.csv"):
            assert np.isfinite([*curve.train_loss, *curve.validation_loss]).all()

    return read


def official_lists(folder: Path) -> Read:
    for split in (1, 2, 3):
        lines = [f"Run/v_Run_g{group:02d}_c01.avi" for group in range(1, 6)]
        (folder / f"trainlist{split:02d}.txt").write_text("".join(f"{n} 1\r\n" for n in lines))
        (folder / f"testlist{split:02d}.txt").write_text("".join(f"{n}\r\n" for n in lines))

    def read(folder: Path) -> None:
        lists = find_lists(folder)
        assert lists is not None
        lists.disagreements()

    return read


def a_store(folder: Path) -> Read:
    provenance = tiny_provenance()
    store = FeatureStore.create(folder, provenance)
    store.expect(["run/ann", "run/bob", "run/cid"])
    failure = Failure("run/cid", "cid.avi", "is empty", "0 bytes")
    store.update_failures({"run/cid": failure})
    rng, video = np.random.default_rng(0), VideoFile("a.avi", 1, "0" * 64)
    for key in ("run/ann", "run/bob"):
        values = rng.normal(size=(3, 4)).astype(np.float32)
        store.write(key, Features(values, np.arange(3) / 4, provenance, video))

    def read(folder: Path) -> None:
        store = FeatureStore.open(folder)
        list(verify_store(store))
        describe(folder)
        store.expect(["run/ann"])
        store.update_failures({})
        for key in ("run/ann", "run/bob"):
            found = store.layout(key).shape, store.read(key)
            assert found[0] == found[1].values.shape

    return read


def foreign_features(folder: Path) -> Read:
    rng = np.random.default_rng(0)
    np.savez(folder / "clips.npz", **{"run/a": rng.normal(size=(3, 4)).astype(np.float32)})
    np.save(folder / "array.npy", rng.normal(size=(2, 3, 4)).astype(np.float32))
    torch.save({"run/a": torch.ones(3, 4), "run/b": torch.ones(3, 4)}, folder / "run.pt")
    (folder / "names.txt").write_text("run/a\nrun/b\n")

    def read(folder: Path) -> None:
        for name, names in (("clips.npz", None), ("array.npy", folder / "names.txt")):
            import_features(folder / name, folder / "imported" / name, names=names)
        import_features(folder / "run.pt", folder / "imported" / "run.pt")

    return read


EXAMPLES = [
    *(a_model, a_stream, a_fit, a_report, a_config, a_curve, official_lists),
    *(a_store, foreign_features, a_list),
]


# Mutations: each gives the changed bytes of one file

NASTY: list[Any] = [
    *(None, True, -1, 0, 0.5, 2**31, -(2**63), 10**30, 1e308, float("nan"), float("inf")),
    *("", "x", "a\nb", "\0", "\x1b[2J", "/", "..", "é", "\ud800", "9" * 5000),
    *([], {}, [[]], [None], ["x"], {"x": 1}, [0.5] * 3),
]
CELLS = [
    "",
    " ",
    "/",
    "..",
    ".",
    "\0",
    "nan",
    "inf",
    "-1",
    "1e999",
    '"',
    "é",
    "x" * 300,
    "a,b",
    "9" * 5000,
]


def bend_bytes(content: bytes, rng: random.Random) -> bytes:
    """Damage as by a bad disk, a lost connection, an editor or a wrong encoding."""
    place = rng.randrange(len(content))
    if rng.random() < 0.5:
        place = min(place, rng.randrange(400))  # where the descriptions are
    end = place + rng.choice([1, 2, 8, 100])
    return rng.choice(
        [
            content[:place],
            content[:place] + content[end:],
            content[:place] + content[place:end] * 2 + content[end:],
            content[:place]
            + bytes([content[place] ^ 1 << rng.randrange(8)])
            + content[place + 1 :],
            content[:place]
            + rng.choice([b"\0", b"\xff", b"\n", b"\r", b'"', b"9" * 5000, b"[" * 5000]),
            content[:place] + rng.randbytes(8) + content[place + 8 :],
            content.decode("latin-1").encode("utf-16"),
            b"",
        ]
    )


def bend_value(value: Any, rng: random.Random) -> Any:
    """One place of a nested value: taken away, doubled, renamed, or of another kind."""
    value = copy.deepcopy(value)
    holders = [value] if isinstance(value, dict | list) and value else []
    for holder in holders:  # grows as it is walked
        inner = holder.values() if isinstance(holder, dict) else holder
        holders += [one for one in inner if isinstance(one, dict | list) and one]
    if not holders or rng.random() < 0.02:
        return rng.choice(NASTY)
    holder = rng.choice(holders)
    keys = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
    key, action = rng.choice(keys), rng.random()
    if action < 0.6:
        holder[key] = rng.choice(NASTY)
    elif action < 0.8:
        del holder[key]
    elif isinstance(holder, dict):
        holder[rng.choice(["", "x", key + "x"])] = holder[key]
    else:
        holder.append(holder[key])
    return value


def bend_safetensors(content: bytes, rng: random.Random) -> bytes:
    """Another description, or other shapes, dtypes and places of tensors."""
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:start])
    metadata = header.get("__metadata__", {})
    if metadata and rng.random() < 0.7:
        name = "actionrnn" if "actionrnn" in metadata else next(iter(metadata))
        metadata[name] = json.dumps(bend_value(json.loads(metadata[name]), rng))
    else:
        header = bend_value(header, rng)
    head = json.dumps(header).encode()
    return len(head).to_bytes(8, "little") + head + content[start:]


def bend_table(text: str, rng: random.Random) -> str:
    """A cell, a row or the separator of a CSV file, or of a list."""
    rows = list(csv.reader(io.StringIO(text)))
    row = rng.choice(rows)
    action = rng.random()
    if action < 0.5:
        row[rng.randrange(len(row))] = rng.choice(CELLS)
    elif action < 0.6:
        row.pop()
    elif action < 0.7:
        row.append(rng.choice(CELLS))
    elif action < 0.8:
        rows.append(row)
    elif action < 0.9:
        rows.remove(row)
    else:
        return text.replace(",", rng.choice([";", "\t", " ", ", "]))
    out = io.StringIO()
    csv.writer(out).writerows(rows)
    return out.getvalue()


def bend(file: Path, content: bytes, rng: random.Random) -> bytes:
    if rng.random() < 0.35:
        return bend_bytes(content, rng)
    if file.suffix == ".json":
        return json.dumps(bend_value(json.loads(content), rng)).encode()
    if file.suffix in (".safetensors", ".stream"):
        return bend_safetensors(content, rng)
    if file.suffix == ".yaml":
        value = bend_value(yaml.safe_load(content), rng)
        return yaml.safe_dump(value, sort_keys=False, allow_unicode=True).encode(errors="replace")
    if file.suffix in (".csv", ".txt"):
        return bend_table(content.decode(), rng).encode()
    return bend_bytes(content, rng)


def mutated(folder: Path, name: str) -> Iterator[str]:
    """Change one file of a folder at a time; it is whole again afterwards."""
    whole = {file: file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}
    for number in range(PER_KIND):
        rng = random.Random(f"{name} {number}")  # the same on every machine
        file = rng.choice([f for f in whole if f.suffix != ".avi" and f.name != KEPT])
        content = bend(file, whole[file], rng)
        file.write_bytes(content)
        yield f"mutation {number} of {file.name}: {content[:300]!r}"
        for left in folder.rglob("*"):
            if left.is_file() and left not in whole:
                left.unlink()
        for changed, before in whole.items():
            changed.write_bytes(before)


@pytest.fixture
def tiny_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Instead of the backbone that a model names: nothing is fetched from anywhere."""
    backbone = tiny_backbone()
    monkeypatch.setattr("actionrnn.model.recognizer.load_backbone", lambda *_: backbone)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: str(example.__name__))
def test_what_is_damaged_is_used_or_refused_in_one_line(
    example: Callable[[Path], Read], tmp_path: Path, tiny_network: None
) -> None:
    read = example(tmp_path)
    read(tmp_path)
    shutil.rmtree(tmp_path / "imported", ignore_errors=True)
    refused, failed = 0, []
    for mutation in mutated(tmp_path, example.__name__):
        try:
            read(tmp_path)
        except ActionrnnError as error:
            assert "\n" not in str(error), mutation
            refused += 1
        except Exception as error:
            failed.append(f"{type(error).__name__}: {error} at {mutation}")
    assert not failed, "\n".join(failed)
    assert refused or example is a_curve  # the changes reach what reads
