"""The configuration: shipped files, overrides, and the messages for what is wrong."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import itertools
import tempfile
from pathlib import Path
from typing import Any, get_type_hints

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

import actionrnn.config
from actionrnn.config import (
    ONLY_OF_VERSION_0_1,
    BackboneConfig,
    Config,
    DataConfig,
    HeadConfig,
    Sampling,
)
from actionrnn.config_reading import load_config, override_config, parse_config, shipped_configs
from actionrnn.errors import ConfigError

SHIPPED = sorted(shipped_configs())
SECTIONS = get_type_hints(Config)


def write_yaml(folder: Path, text: str) -> Path:
    file = folder / "config.yaml"
    file.write_text(text, encoding="utf-8")
    return file


def test_the_demo_and_the_weizmann_configurations_are_shipped() -> None:
    assert {"demo", "weizmann_gru"} <= set(SHIPPED)


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_configuration_states_every_field_of_every_section(name: str) -> None:
    stated = yaml.safe_load(shipped_configs()[name].read_text(encoding="utf-8"))
    assert list(stated) == list(SECTIONS)
    for section, kind in SECTIONS.items():
        names = [field.name for field in dataclasses.fields(kind)]
        offered = [name for name in names if name not in ONLY_OF_VERSION_0_1]
        assert list(stated[section]) == offered, section


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_configuration_loads_by_name_and_by_path_as_written(name: str) -> None:
    path = shipped_configs()[name]
    config = load_config(name)
    assert config == load_config(path) == load_config(str(path))
    for section, stated in yaml.safe_load(path.read_text(encoding="utf-8")).items():
        for key, value in stated.items():
            found = getattr(getattr(config, section), key)
            assert (list(found) if isinstance(found, tuple) else found) == value, f"{section}.{key}"


@pytest.mark.parametrize("section", SECTIONS)
def test_each_field_is_followed_by_its_documentation(section: str) -> None:
    tree = ast.parse(inspect.getsource(actionrnn.config))
    (body,) = (
        node.body
        for node in tree.body
        if isinstance(node, ast.ClassDef) and node.name == SECTIONS[section].__name__
    )
    documented = {
        field.target.id
        for field, after in itertools.pairwise(body)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(after, ast.Expr)
        and isinstance(after.value, ast.Constant)
        and str(after.value.value).strip()
    }
    assert documented == {field.name for field in dataclasses.fields(SECTIONS[section])}


@pytest.mark.parametrize("text", ["", "{}", "# only a comment\n"])
def test_an_empty_file_is_the_defaults(tmp_path: Path, text: str) -> None:
    assert load_config(write_yaml(tmp_path, text)) == Config()


def test_the_default_sampling_is_four_frames_per_second() -> None:
    assert Config().sampling == Sampling(rate_fps=4.0)


@pytest.mark.parametrize("name", SHIPPED)
def test_to_dict_is_plain_and_reads_back_to_the_same_configuration(name: str) -> None:
    config = load_config(name)
    through_yaml = yaml.safe_load(yaml.safe_dump(config.to_dict()))
    assert parse_config(through_yaml) == config


def test_a_configuration_cannot_be_changed_in_place() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Config().train.epochs = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    ("override", "section", "key", "value"),
    [
        ("train.epochs=5", "train", "epochs", 5),
        ("train.learning_rate=1e-3", "train", "learning_rate", 1e-3),  # YAML reads 1e-3 as text
        ("train.learning_rate=2", "train", "learning_rate", 2.0),
        ("head.temporal_differences=true", "head", "temporal_differences", True),
        ("head.kind=rnn_tanh", "head", "kind", "rnn_tanh"),
        ("data.root=some/where", "data", "root", "some/where"),
        ("data.root=a=b", "data", "root", "a=b"),
        ("data.root=2024", "data", "root", "2024"),
        ("data.root=null", "data", "root", None),
        ("data.fold=3", "data", "fold", 3),
        ("data.fold=daria", "data", "fold", "daria"),
        ("data.group_pattern=^([a-z]+)_", "data", "group_pattern", "^([a-z]+)_"),
        ('data.group_pattern="_(g\\d+)_"', "data", "group_pattern", r"_(g\d+)_"),
        (r"data.group_pattern='_(g\d+)_'", "data", "group_pattern", r"_(g\d+)_"),
        ("data.root=2024-01-01", "data", "root", "2024-01-01"),
        ("data.root=12:30", "data", "root", "12:30"),
        ("data.root=on", "data", "root", "on"),
        ("data.root=1e5", "data", "root", "1e5"),
        ("data.root=[a, b]", "data", "root", "[a, b]"),
        ("data.root='null'", "data", "root", "null"),
        ("data.root='a", "data", "root", "'a"),
        ("data.fold=017", "data", "fold", "017"),
        ("data.fold='3'", "data", "fold", "3"),
        ("data.fold=1_000", "data", "fold", "1_000"),
        ("backbone.weights=none", "backbone", "weights", "none"),
        ("train.patience_epochs=null", "train", "patience_epochs", None),
    ],
)
def test_an_override_sets_one_field_and_leaves_the_rest(
    override: str, section: str, key: str, value: object
) -> None:
    before = load_config("demo")
    after = override_config(before, [override])
    found = getattr(getattr(after, section), key)
    assert found == value
    assert type(found) is type(value)
    restored = dataclasses.replace(
        getattr(after, section), **{key: getattr(getattr(before, section), key)}
    )
    assert dataclasses.replace(after, **{section: restored}) == before


TEXTS = st.text(st.characters(), min_size=1).filter(lambda text: not text.startswith("~"))
"""Also what cannot be written in UTF-8: names of files have it."""


@settings(deadline=None, derandomize=True, max_examples=200)
@given(TEXTS)
def test_any_text_for_a_text_is_taken_as_it_is(text: str) -> None:
    assert parse_config({}, [f"data.root='{text}'"]).data.root == text
    assert parse_config({}, [f'backbone.name="{text}"']).backbone.name == text
    quoted = len(text) > 1 and text[0] == text[-1] and text[0] in "'\""
    if not quoted and text.lower() != "null":
        assert parse_config({}, [f"data.root={text}"]).data.root == text


@settings(deadline=None, derandomize=True, max_examples=100)
@given(TEXTS)
def test_any_text_survives_the_file_that_it_is_written_to(text: str) -> None:
    config = parse_config({}, [f"data.root='{text}'", f"backbone.name='{text}'"])
    with tempfile.TemporaryDirectory() as folder:
        file = write_yaml(Path(folder), yaml.safe_dump(config.to_dict(), sort_keys=False))
        assert load_config(file) == config


@pytest.mark.parametrize(
    "text", ["on", "2024-01-01", "12:30", "017", "1e5", "0x10", "1_000", ".inf", "=", "<<", "yes"]
)
def test_a_text_in_a_file_is_not_what_yaml_makes_of_it(tmp_path: Path, text: str) -> None:
    data = load_config(write_yaml(tmp_path, f"data:\n  root: {text}\n  fold: {text}\n")).data
    assert (data.root, data.fold) == (text, text)


@pytest.mark.parametrize("nothing", ["null", "~", ""])
def test_nothing_in_a_file_is_none_where_the_field_may_be_that(
    tmp_path: Path, nothing: str
) -> None:
    assert load_config(write_yaml(tmp_path, f"data:\n  root: {nothing}\n")).data.root is None


def test_a_pattern_in_double_quotes_is_told_to_take_single_ones(tmp_path: Path) -> None:
    file = write_yaml(tmp_path, 'data:\n  group_pattern: "_(g\\d+)_"\n')
    with pytest.raises(ConfigError, match=r"escape character .* put it in single quotes"):
        load_config(file)
    write_yaml(tmp_path, "data:\n  group_pattern: '_(g\\d+)_'\n")
    assert load_config(file).data.group_pattern == r"_(g\d+)_"


@pytest.mark.parametrize("key", ["data.root", "data.features", "backbone.weights"])
def test_a_tilde_is_the_home_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    section, field = key.split(".")
    file = write_yaml(tmp_path, f"{section}:\n  {field}: ~/x\n")
    for config in (
        parse_config({}, [f"{key}=~/x"]),
        load_config(file),
        load_config("~/config.yaml"),
    ):
        assert getattr(getattr(config, section), field) == f"{tmp_path}/x"
    whole = parse_config({}, [f"{key}=~"])
    assert getattr(getattr(whole, section), field) == str(tmp_path)


def test_a_tilde_of_nobody_is_a_name() -> None:
    assert parse_config({}, ["data.root=~$draft"]).data.root == "~$draft"


def test_the_last_of_two_overrides_counts() -> None:
    assert parse_config({}, ["train.epochs=5", "train.epochs=7"]).train.epochs == 7


def test_overrides_are_applied_to_a_file(tmp_path: Path) -> None:
    file = write_yaml(tmp_path, "train: {epochs: 3, seed: 4}\n")
    config = load_config(file, ["train.epochs=9"])
    assert (config.train.epochs, config.train.seed) == (9, 4)


def test_overrides_do_not_change_the_callers_mapping() -> None:
    sections = {"train": {"epochs": 3}}
    parse_config(sections, ["train.epochs=5", "data.fold=2"])
    assert sections == {"train": {"epochs": 3}}


@pytest.mark.parametrize("override", ["epochs=5", "train.epochs", "=5", ".epochs=5", "train.=5"])
def test_an_override_of_another_form_is_refused(override: str) -> None:
    with pytest.raises(ConfigError, match=r"is not an override; write section\.key=value"):
        parse_config({}, [override])


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"train": {"epoch": 3}}, r"unknown key 'train\.epoch'; did you mean 'train\.epochs'\?"),
        ({"head": {"hiden_size": 3}}, r"'head\.hiden_size'; did you mean 'head\.hidden_size'\?"),
        ({"trian": {}}, r"unknown section 'trian'; did you mean 'train'\?"),
        ({"zzz": {}}, r"unknown section 'zzz'; known are backbone, data, head, sampling, train"),
        ({"sampling": {"zzz": 1}}, r"known are sampling\.end_seconds, .*sampling\.rate_fps"),
        ({"train": {7: 3}}, r"unknown key 'train\.7'"),
    ],
)
def test_an_unknown_name_is_answered_with_the_nearest(
    sections: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_config(sections)


def test_an_unknown_key_in_an_override_is_answered_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"did you mean 'backbone\.weights'\?"):
        parse_config({}, ["backbone.weight=x.pth"])


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.epochs=ten", r'train\.epochs \("ten"\): .*integer'),
        ("train.epochs=2.5", r"train\.epochs \(2\.5\): .*integer"),
        ("train.epochs=true", r"train\.epochs \(true\): .*integer"),
        ("train.epochs=null", r"train\.epochs \(null\): .*integer"),
        ("train.learning_rate=fast", r'train\.learning_rate \("fast"\): .*number'),
        ("head.temporal_differences=perhaps", r"head\.temporal_differences .*boolean"),
        ("train.epochs=[5, 6]", r"train\.epochs .*integer"),
        ("head.kind=transformer", r"head\.kind .*'rnn_tanh', 'rnn_relu', 'lstm', 'gru' or 'mean'"),
        ("data.layout=tree", r"data\.layout .*'manifest', 'annotations' or 'rendered'"),
    ],
)
def test_a_value_of_the_wrong_type_is_named_with_its_key(override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_config({}, [override])


@pytest.mark.parametrize(
    "override",
    [
        "train.epochs=0",
        "train.batch_size=-1",
        "train.learning_rate=0",
        "train.learning_rate=.nan",
        "train.learning_rate=.inf",
        "train.weight_decay=-0.1",
        "train.warmup_fraction=1",
        "train.label_smoothing=-0.1",
        "train.clip_norm=0",
        "train.seed=-1",
        "head.dropout=1.0",
        "head.dropout=-0.5",
        "head.dropout=.nan",
        "head.pooling_decay=1",
        "head.hidden_size=0",
        "head.num_layers=0",
        "sampling.num_frames=0",
        "sampling.rate_fps=0",
        "sampling.rate_fps=-4",
        "sampling.frame_folder_fps=0",
        "data.test_fraction=0",
        "data.test_fraction=1",
        "data.test_fraction=.nan",
    ],
)
def test_an_impossible_value_is_refused_by_name(override: str) -> None:
    name = override.partition("=")[0]
    with pytest.raises(ConfigError, match=name.replace(".", r"\.") + r" \("):
        parse_config({"sampling": {"rate_fps": None}}, [override])


def test_two_sampling_rules_exclude_each_other() -> None:
    with pytest.raises(
        ConfigError, match=r"num_frames \(8\) and rate_fps \(4\) exclude each other"
    ):
        parse_config({"sampling": {"num_frames": 8, "rate_fps": 4}})


@pytest.mark.parametrize("end", [1, 2])
def test_a_range_must_not_end_before_it_begins(end: int) -> None:
    with pytest.raises(ConfigError, match=rf"start_seconds \(2\) must be less .* \({end}\)"):
        parse_config({"sampling": {"start_seconds": 2, "end_seconds": end}})


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [("^[a-z]+_", r"needs a bracket: \(\.\.\.\)"), ("([a-z", "group_pattern")],
)
def test_a_group_pattern_must_be_a_regular_expression_with_a_bracket(
    pattern: str, reason: str
) -> None:
    with pytest.raises(ConfigError, match=reason):
        parse_config({"data": {"group_pattern": pattern}})


@pytest.mark.parametrize(
    ("sampling", "text"),
    [
        (Sampling(), "every frame"),
        (Sampling(num_frames=16), "16 frames evenly"),
        (Sampling(rate_fps=12.5), "12.5 frames/s"),
        (Sampling(keyframes=True), "every key frame"),
        (Sampling(rate_fps=2, start_seconds=1.5), "2 frames/s from 1.5 s"),
        (
            Sampling(num_frames=8, keyframes=True, start_seconds=0, end_seconds=10),
            "8 key frames evenly from 0 s until 10 s",
        ),
    ],
)
def test_a_sampling_names_itself_in_words(sampling: Sampling, text: str) -> None:
    assert str(sampling) == text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("train: [unclosed", "is not YAML"),
        ("- a\n- list\n", "must hold sections"),
        ("just text", "must hold sections"),
        ("train: 5\n", "train must be a section with keys, not 5"),
        ("train:\n", "train must be a section with keys, not None"),
    ],
)
def test_a_file_of_another_form_is_refused_in_one_line(
    tmp_path: Path, text: str, message: str
) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        load_config(write_yaml(tmp_path, text))
    assert "\n" not in str(caught.value)
    assert "config.yaml" in str(caught.value)


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_bytes(b"\xff\xfe\x00train")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(file)


def test_a_folder_in_place_of_a_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        load_config(tmp_path)


def test_a_missing_file_is_answered_with_the_shipped_names() -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.yaml: no such file.*shipped are .*demo"):
        load_config("nowhere.yaml")


def test_a_section_that_is_no_section_cannot_be_overridden() -> None:
    with pytest.raises(ConfigError, match="train must be a section"):
        parse_config({"train": 5}, ["train.epochs=3"])


def test_the_first_wrong_value_is_named_with_its_source() -> None:
    with pytest.raises(ConfigError, match=r"^my\.yaml: train\.epochs \(0\)"):
        parse_config({"train": {"epochs": 0}}, source="my.yaml")


def test_a_section_can_be_built_directly() -> None:
    assert DataConfig(layout="ucf101", root="videos").split == "auto"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"num_frames": 0}, r"^Sampling\.num_frames \(0\): "),
        ({"num_frames": 4, "rate_fps": 2.0}, r"^Sampling: num_frames \(4\) and rate_fps \(2\)"),
    ],
)
def test_an_impossible_sampling_is_our_own_error(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Sampling(**fields)


OLD_FORMS = {
    "backbone": {"fit": "crop", "streams": "motion", "runtime": "compile"},
    "head": {"summary": "last", "summary_decay": 0.5},
}


def test_names_and_values_of_version_0_1_are_read_with_one_line_that_says_so() -> None:
    with pytest.warns(FutureWarning) as told:
        config = parse_config(OLD_FORMS, ["backbone.fit=squash"], source="my.yaml")
    (message,) = [str(one.message) for one in told]
    assert message.startswith("my.yaml: backbone.fit=crop is now backbone.resize_mode=shortest; ")
    assert "head.summary=last is now head.temporal_pooling=last" in message
    backbone = BackboneConfig(resize_mode="squash", modality="rgb_diff", runtime="torch")
    assert config.backbone == backbone
    assert config.head == HeadConfig(temporal_pooling="last", pooling_decay=0.5)


def test_an_override_in_the_words_of_0_1_replaces_what_the_file_says_in_todays() -> None:
    sections = {"backbone": {"modality": "both"}, "head": {"temporal_pooling": "last"}}
    with pytest.warns(FutureWarning, match="streams=appearance is now backbone.modality=rgb$"):
        config = parse_config(sections, ["backbone.streams=appearance"])
    assert config.backbone.modality == "rgb"


def test_an_old_value_of_any_text_is_told_in_one_harmless_line() -> None:
    """It may come from a downloaded model."""
    told = r"^config: backbone\.fit=x \[2J-+… is now backbone\.resize_mode=x \[2J-+…$"
    with pytest.warns(FutureWarning, match=told), pytest.raises(ConfigError):
        parse_config({"backbone": {"fit": f"x\x1b[2J{'-' * 100}"}})


@pytest.mark.parametrize(
    ("section", "values"),
    [
        ("backbone", {"fit": "crop", "resize_mode": "squash"}),
        ("head", {"temporal_pooling": "running_mean", "summary": "last"}),
    ],
)
def test_a_setting_under_its_old_and_its_new_name_is_refused(
    section: str, values: dict[str, str]
) -> None:
    with pytest.raises(ConfigError, match=r"my\.yaml: .* is given twice, once by a name of"):
        parse_config({section: values}, source="my.yaml")


@pytest.mark.parametrize(("text", "epochs"), [("010", 10), ("7", 7), ("+3", 3)])
def test_a_whole_number_is_read_as_it_is_written(text: str, epochs: int) -> None:
    assert parse_config({}, [f"train.epochs={text}"]).train.epochs == epochs


@pytest.mark.parametrize("text", ["1:30", "0x10", "1_0", "0o7"])
def test_numbers_to_other_bases_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"train\.epochs"):
        parse_config({}, [f"train.epochs={text}"])
