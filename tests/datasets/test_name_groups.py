"""Names that look grouped are said to be, with a pattern that groups them."""

from __future__ import annotations

import dataclasses
import re
import shlex
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

from actionrnn.config import DataConfig
from actionrnn.config_reading import parse_config
from actionrnn.datasets.splits import describe_split, make_folds, open_dataset

LABELS = ("bend", "run", "wave")
PEOPLE = ("ann", "bob", "cid", "dee")


def write(root: Path, names: Iterable[str]) -> DataConfig:
    """Empty videos `<label>/<name>`."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return DataConfig(root=str(root))


def names_note(config: DataConfig) -> str | None:
    notes = [note for note in open_dataset(config).notes if "as its own group" in note]
    return notes[0] if notes else None


def suggested(note: str) -> str:
    """The pattern, as it comes from a shell."""
    _, found = note.split("; try ")
    (override,) = shlex.split(found)
    pattern = parse_config({}, [override]).data.group_pattern
    assert pattern is not None
    return pattern


def each(template: str, **values: Iterable[object]) -> list[str]:
    found = [template]
    for name, options in {"label": LABELS, **values}.items():
        found = [one.replace(f"<{name}>", str(o)) for one in found for o in options]
    return found


GROUPED = {
    "ucf101": (
        each("<label>/v_<label>_g0<group>_c0<clip>.avi", group="123", clip="12"),
        {"g01", "g02", "g03"},
    ),
    "weizmann, cut in two": (
        each("<label>/<who>_<label>_<half>.avi", who=PEOPLE, half="12"),
        set(PEOPLE),
    ),
    "kth": (
        each("<label>/person0<who>_<label>_d<part>_uncomp.avi", who="1234", part="123"),
        {f"person0{who}" for who in "1234"},
    ),
    "numbered by telephones": (
        each("<label>/VID_2024050<day>_10<minute>00.mp4", day="123", minute=("10", "12")),
        {f"VID_2024050{day}" for day in "123"},
    ),
    "person behind": (each("<label>/<label>_<who>.mp4", who=PEOPLE), set(PEOPLE)),
    "ntu": (
        each("<label>/S001C001P00<who>R00<take>A013.avi", who="1234", take="12"),
        {f"P00{who}" for who in "1234"},
    ),
    "flipped": (
        each("<label>/<label><n>.mp4", n=range(9)) + each("<label>/<label><n>_flip.mp4", n="12"),
        {f"{label}{n}" for label in LABELS for n in range(9)},
    ),
    "parts": (
        each("<label>/<label>x<n>_part<part>.mp4", n="1234", part="123"),
        {f"{label}x{n}" for label in LABELS for n in "1234"},
    ),
    "numbers": (
        each("<label>/<label>x<n> (<part>).mp4", n="1234", part="123"),
        {f"{label}x{n}" for label in LABELS for n in "1234"},
    ),
    "times of day": (
        each("<label>/2024-05-0<day> 10.<minute>.00.mp4", day="123", minute=("10", "12")),
        {f"2024-05-0{day}" for day in "123"},
    ),
}


@pytest.mark.parametrize("kind", GROUPED)
def test_the_suggested_pattern_gives_the_groups(tmp_path: Path, kind: str) -> None:
    names, groups = GROUPED[kind]
    config = write(tmp_path / "videos", names)
    note = names_note(config)
    assert note is not None
    assert "the score may be memory" in note
    pattern = suggested(note)
    applied = DataConfig(root=config.root, group_pattern=pattern)
    dataset = open_dataset(applied)
    assert set(dataset.groups) == groups
    assert names_note(applied) is None
    assert describe_split(dataset, applied, make_folds(dataset, applied)) == (
        "videos: a holdout of its groups"
    )


RNG = np.random.default_rng(0)
RANDOM_IDS = {
    "eleven characters": ["".join(RNG.choice(list("abcXYZ0189_-"), 11)) for _ in range(90)],
    "hexadecimal": [RNG.bytes(16).hex() for _ in range(90)],
    "uuid": [re.sub(r"(.{8})(.{4})", r"\1-\2-", RNG.bytes(16).hex(), count=1) for _ in range(90)],
    "fourteen digits": [str(RNG.integers(10**13, 10**14)) for _ in range(90)],
    "kinetics": [f"{RNG.bytes(5).hex()}_{n:06d}_{n + 10:06d}" for n in range(90)],
    "numbers in each class": [f"{n // 3:04d}" for n in range(90)],
    "counted in each class": [f"clip_{n // 3:04d}" for n in range(90)],
    "numbers that begin anew": [f"{n // 3:03d}_{LABELS[n % 3]}" for n in range(90)],
    "named by the class": [f"{LABELS[n % 3]}_{n // 3}" for n in range(90)],
    "two words": [f"train_{n}" if n % 2 else f"test_{n}" for n in range(90)],
}


@pytest.mark.parametrize("kind", RANDOM_IDS)
def test_names_that_say_nothing_raise_no_alarm(tmp_path: Path, kind: str) -> None:
    names = [f"{LABELS[n % 3]}/{name}.mp4" for n, name in enumerate(RANDOM_IDS[kind])]
    config = write(tmp_path / "videos", names)
    assert names_note(config) is None
    dataset = open_dataset(config)
    title = describe_split(dataset, config, make_folds(dataset, config))
    assert title == "videos: a random holdout of its clips"


@pytest.mark.realdata
def test_weizmann_is_of_nine_people(real_data: Path) -> None:
    config = DataConfig(root=str(real_data / "weizmann"))
    note = names_note(config)
    assert note is not None
    applied = DataConfig(root=config.root, group_pattern=suggested(note))
    assert len(open_dataset(applied).groups) == 9


def test_whoever_gave_groups_is_not_asked(tmp_path: Path) -> None:
    names = each("<label>/<who>_<label>_<half>.avi", who=PEOPLE, half="12")
    write(tmp_path, names)
    rows = [f"{name},{name.partition('/')[0]},{number % 5}" for number, name in enumerate(names)]
    (tmp_path / "clips.csv").write_text("\n".join(["path,label,group", *rows]))
    config = DataConfig(layout="manifest", root=str(tmp_path / "clips.csv"))
    assert names_note(config) is None
    assert "holdout of its groups" in describe_split(open_dataset(config), config, [])


def test_a_list_of_parts_is_a_holdout_of_videos(tmp_path: Path) -> None:
    rows = [f"{n}.avi,{LABELS[n % 2]},{start},{start + 1}" for n in range(8) for start in range(2)]
    (tmp_path / "clips.csv").write_text("\n".join(["path,label,start,end", *rows]))
    write(tmp_path, [f"{n}.avi" for n in range(8)])
    config = DataConfig(layout="manifest", root=str(tmp_path / "clips.csv"))
    title = describe_split(open_dataset(config), config, [])
    assert title == "clips: a random holdout of its videos"


def test_a_group_that_is_called_like_a_video_is_a_group(tmp_path: Path) -> None:
    rows = [f"{n}{end}.avi,{LABELS[n % 2]},{n}" for n in range(8) for end in ("", "_flip")]
    (tmp_path / "clips.csv").write_text("\n".join(["path,label,group", *rows]))
    write(tmp_path, [f"{n}{end}.avi" for n in range(8) for end in ("", "_flip")])
    config = DataConfig(layout="manifest", root=str(tmp_path / "clips.csv"))
    title = describe_split(open_dataset(config), config, [])
    assert title == "clips: a holdout of its groups"


@pytest.mark.parametrize("tested", ["ann", "1"])
def test_a_given_split_is_doubted_only_where_it_parts_the_groups(
    tmp_path: Path, tested: str
) -> None:
    names = each("<label>/<who>_<label>_<half>.avi", who=PEOPLE, half="12")
    write(tmp_path, names)
    rows = [f"{n},{n.partition('/')[0]},{'test' if tested in n else 'train'}" for n in names]
    (tmp_path / "clips.csv").write_text("\n".join(["path,label,split", *rows]))
    config = DataConfig(layout="manifest", root=str(tmp_path / "clips.csv"))
    assert (names_note(config) is None) == (tested == "ann")


def test_where_nothing_is_divided_nothing_is_said(tmp_path: Path) -> None:
    write(tmp_path, each("<label>/<who>_<label>_<half>.avi", who=PEOPLE, half="12"))
    assert names_note(DataConfig(root=str(tmp_path))) is not None
    assert names_note(DataConfig(root=str(tmp_path), split="none")) is None


@pytest.mark.parametrize(("counts", "said"), [((48, 6, 6), True), ((17, 6, 6), False)])
def test_unequal_classes_are_named(tmp_path: Path, counts: tuple[int, ...], said: bool) -> None:
    names = [
        f"{label}/{n}.avi"
        for label, count in zip(LABELS, counts, strict=True)
        for n in range(count)
    ]
    dataset = open_dataset(write(tmp_path, names))
    notes = [note for note in dataset.notes if "unequal" in note]
    assert bool(notes) == said
    if said:
        assert "(bend has 48 clips, wave 6): look at the mean class accuracy" in notes[0]


def test_people_in_folders_of_their_own_are_found_whatever_their_clips_are_called(
    tmp_path: Path,
) -> None:
    names = each("<label>/<who>/00<n>.avi", who=PEOPLE, n="12")
    config = dataclasses.replace(write(tmp_path, names), label_level=1)
    note = names_note(config)
    assert note is not None
    found = open_dataset(dataclasses.replace(config, group_pattern=suggested(note)))
    assert set(found.groups) == set(PEOPLE)


def test_one_odd_name_hides_nothing(tmp_path: Path) -> None:
    names = each("<label>/<who>_<label>_<half>.avi", who=PEOPLE, half="12")
    config = write(tmp_path, [*names, "run/extra.avi"])
    note = names_note(config)
    assert note is not None
    found = open_dataset(dataclasses.replace(config, group_pattern=suggested(note)))
    assert set(found.groups) == {*PEOPLE, "extra.avi"}
