"""UCF101: its names, its layout, its official splits and the published lists of them.

Soomro, Zamir and Shah, "UCF101: A Dataset of 101 Human Actions Classes From Videos in
The Wild", CRCV-TR-12-01, 2012. Clips are `<Class>/v_<Class>_gNN_cNN.avi`; a group is one
scene's 4 to 7 clips of a class. The official test split k holds the groups 7(k-1)+1 ... 7k of
every class, as a test checks against the published lists. These have CRLF line ends; a training
list has the class number behind each name:

    trainlist01.txt   ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi 1
    testlist01.txt    ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from actionrnn.datasets.folders import (
    Folders,
    find_labelled_videos,
    find_sides,
    notes_unless_class_lost,
)
from actionrnn.datasets.recordings import Dataset, Recording
from actionrnn.errors import DatasetError
from actionrnn.files import as_path
from actionrnn.video.finding import clip_keys

NAME_PATTERN = re.compile(r"^v_(?P<label>[^_]+)_g(?P<group>\d+)_c(?P<clip>\d+)(\.\w+)?$")
NUM_CLASSES = 101
NUM_GROUPS = 25
NUM_CLIPS = 13_320
NUM_SPLITS = 3
GROUPS_PER_TEST_SPLIT = 7
LISTS_FOLDER = "ucfTrainTestlist"

# the one class whose folder is not written as its files are
_FOLDER_OF_LABEL = {"HandStandPushups": "HandstandPushups"}


@dataclass(frozen=True)
class Ucf101Name:
    """What a clip's name says."""

    stem: str
    """`v_<Class>_gNN_cNN`."""
    label: str
    """The class, written as its folder is."""
    group: str
    """`g01` ... `g25`."""
    clip: int


def parse_name(name: str) -> Ucf101Name | None:
    """Read a clip's file or folder name; None if it does not have UCF101's form.

    >>> parse_name("v_HandStandPushups_g01_c02.avi")
    Ucf101Name(stem='v_HandStandPushups_g01_c02', label='HandstandPushups', group='g01', clip=2)
    """
    match = NAME_PATTERN.match(name)
    if match is None:
        return None
    label = _FOLDER_OF_LABEL.get(match["label"], match["label"])
    return Ucf101Name(
        name.partition(".")[0], label, f"g{int(match['group']):02d}", int(match["clip"])
    )


def open_ucf101(root: str | Path) -> Dataset:
    """A folder in UCF101's layout; groups are `g01`, `g02`, ...

    The file's name says the class, and a folder above it must agree
    (`HandstandPushups` holds `v_HandStandPushups_*` files). Folders called train, val and test
    are the split; then the groups are `<Class>/g01`, as g01 of two classes are two scenes.

    Raises:
        DatasetError: the folder is missing, a file's name does not have UCF101's form or is of
            another class than its folder, or a class folder has no video.
    """
    root = as_path(root)
    found = find_labelled_videos(root)
    folders = [path.parent.relative_to(root).parts for path in found.paths]
    sides, notes = find_sides(root, folders, named=True)
    recordings = []
    for path, key, above in zip(found.paths, clip_keys(found.paths, root), folders, strict=True):
        name = parse_name(path.name)
        if name is None:
            raise DatasetError(
                f"{path}: is not named v_<Class>_gNN_cNN as in UCF101; "
                "use data.layout=folder for other names"
            )
        side = sides.get(above[0]) if above else None
        _require_agreement(path, name, above[1:] if side else above)
        group = f"{name.label}/{name.group}" if side else name.group
        recordings.append(Recording.trimmed(path, key, name.label, group, side))
    notes += notes_unless_class_lost(found, 2 if sides else 1)
    return Dataset(root, tuple(recordings), notes)


def _require_agreement(path: Path, name: Ucf101Name, folders: Folders) -> None:
    """Refuse a clip if none of its folders has its class's name."""
    if folders and not any(folder.casefold() == name.label.casefold() for folder in folders):
        raise DatasetError(
            f"{path}: its name says {name.label}, its folder {folders[-1]}; move or rename it, or "
            "use data.layout=folder to take the folders' names"
        )


def official_test_groups(split: int) -> frozenset[str]:
    """The groups that are for testing in an official split.

    >>> sorted(official_test_groups(2))
    ['g08', 'g09', 'g10', 'g11', 'g12', 'g13', 'g14']
    """
    if not 1 <= split <= NUM_SPLITS:
        raise DatasetError(f"fold {split}: UCF101 has the official splits 1, 2 and 3")
    first = GROUPS_PER_TEST_SPLIT * (split - 1) + 1
    return frozenset(f"g{group:02d}" for group in range(first, first + GROUPS_PER_TEST_SPLIT))


@dataclass(frozen=True)
class OfficialLists:
    """The clips of each split as published: `<Class>/v_<Class>_gNN_cNN`."""

    folder: Path
    train: dict[int, frozenset[str]]
    test: dict[int, frozenset[str]]

    @property
    def clips(self) -> frozenset[str]:
        """Every clip that a list names."""
        return frozenset().union(*self.train.values(), *self.test.values())

    def sizes(self) -> str:
        """The number of training and test clips of each split: `9537/3783, ...`."""
        return ", ".join(f"{len(self.train[k])}/{len(self.test[k])}" for k in sorted(self.train))

    def disagreements(self) -> list[str]:
        """What is not as published, one line each: clips that are lost, or on the wrong side."""
        found = []
        if len(self.clips) != NUM_CLIPS:
            found.append(f"the lists name {len(self.clips)} clips, not {NUM_CLIPS}")
        for split in sorted(self.train):
            held_out = official_test_groups(split)
            expected_test = {name for name in self.clips if _group_of(name) in held_out}
            wrong = (expected_test ^ self.test[split]) | (
                (self.clips - expected_test) ^ self.train[split]
            )
            found += [
                f"split {split}: {name} is not listed as its group says" for name in sorted(wrong)
            ]
        return found


def find_lists(folder: Path) -> OfficialLists | None:
    """The lists in `folder` or its `ucfTrainTestlist`; None if one of the six is missing.

    Raises:
        DatasetError: a list cannot be read, or holds something else.
    """
    for place in (folder / LISTS_FOLDER, folder):
        train, test = (
            {split: place / f"{side}list{split:02d}.txt" for split in range(1, NUM_SPLITS + 1)}
            for side in ("train", "test")
        )
        if all(file.is_file() for file in (*train.values(), *test.values())):
            return OfficialLists(place, _read_lists(train), _read_lists(test))
    return None


def _read_lists(files: dict[int, Path]) -> dict[int, frozenset[str]]:
    return {split: frozenset(_read_list(file)) for split, file in files.items()}


def _read_list(file: Path) -> Iterator[str]:
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{file}: cannot be read ({error})") from None
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        name = line.split()[0]
        if "/" not in name or _group_of(name) is None:
            raise DatasetError(
                f"{file}, line {number}: {line.strip()!r} is not <Class>/v_<Class>_gNN_cNN.avi; "
                "get the list from the data set's site"
            )
        yield name.rpartition(".")[0]


def _group_of(name: str) -> str | None:
    parsed = parse_name(name.rpartition("/")[2])
    return parsed.group if parsed else None
