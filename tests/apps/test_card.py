"""A model's card says what the file knows, and shows a stranger's words as words."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from actionrnn.apps.card import make_card, weights_licence
from actionrnn.apps.cli import main
from actionrnn.model.model_file import read_model_info
from actionrnn.training.train import TrainingRun


def test_the_card_has_labels_data_scores_and_licence(run_without_bob: TrainingRun) -> None:
    done = CliRunner().invoke(main, ["card", str(run_without_bob.output)])
    assert done.exit_code == 0, done.output
    front, _, body = done.output.removeprefix("---\n").partition("---\n")
    described = yaml.safe_load(front)
    assert described["library_name"] == "actionrnn"
    info = read_model_info(run_without_bob.output)
    top1 = info.training["scores"]["top1"]
    assert described["model-index"][0]["results"][0]["metrics"][0]["value"] == round(top1, 4)
    for words in ("blue, green, red", f"| top-1 | {top1:.1%} |", "Apache-2.0", "## Limits"):
        assert words in body
    assert f"{run_without_bob.folds[0].train[0].path.parents[1].name}: 6 clips" in body


def test_it_says_what_the_model_says_where_nothing_of_its_classes_is_seen(
    run_without_bob: TrainingRun,
) -> None:
    info = read_model_info(run_without_bob.output)
    assert "Train with `train.none_of_these=true`" in make_card(info)
    train = replace(info.config.train, none_of_these=True)
    asked = make_card(replace(info, config=replace(info.config, train=train)))
    assert "`--none-rate 0.05` says 'none of these'" in asked
    for card in (make_card(info), asked):
        assert "There is no class for none of these: a score can be above all others" in card
    with_background = make_card(replace(info, labels=("background", *info.labels[1:])))
    assert "the class `background` has the highest" in with_background
    assert "There is no class for" not in with_background


def test_it_is_written_to_a_file(run_without_bob: TrainingRun, tmp_path: Path) -> None:
    card = tmp_path / "README.md"
    done = CliRunner().invoke(main, ["card", str(run_without_bob.output), "-o", str(card)])
    assert done.exit_code == 0, done.output
    assert card.read_text(encoding="utf-8") == make_card(read_model_info(run_without_bob.output))


@pytest.mark.parametrize("label", ["<script>alert(1)</script>", "a](http://x) [b", "\x1b[31mred"])
def test_a_label_is_shown_as_text(run_without_bob: TrainingRun, label: str) -> None:
    info = read_model_info(run_without_bob.output)
    card = make_card(replace(info, labels=(label, *info.labels[1:])))
    assert "<script" not in card
    assert not re.search(r"(?<!\\)\]\(http", card)
    assert "\x1b" not in card


@pytest.mark.parametrize(
    ("backbone", "words"),
    [
        ("efficientnet_lite0", "Apache-2.0"),
        ("torchvision/resnet50", "BSD-3-Clause"),
        ("timm/resnet18.a1_in1k", "apache-2.0"),
        ("timm/no_such_network", "not said by timm"),
        ("imported/i3d", "not known here"),
    ],
)
def test_the_licence_of_the_weights(backbone: str, words: str) -> None:
    assert words in weights_licence(backbone)
