"""UCF101's layout and its official splits.

Soomro, Zamir and Shah, "UCF101: A Dataset of 101 Human Actions Classes From Videos in
The Wild", CRCV-TR-12-01, 2012. Clips are `<Class>/v_<Class>_gNN_cNN.avi`; a group is one
scene's 4 to 7 clips of a class. The official test split k holds the groups 7(k-1)+1 ... 7k of
every class, as a test checks against the published lists.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from actionrnn.datasets.class_folders import Folders, find_sides, require_no_class_lost
from actionrnn.datasets.clips import Clip, Dataset, unique_clips
from actionrnn.errors import DatasetError, VideoError
from actionrnn.files import as_path
from actionrnn.video.finding import clip_keys, find_videos

NAME_PATTERN = re.compile(r"^v_(?P<label>[^_]+)_g(?P<group>\d+)_c(?P<clip>\d+)(\.\w+)?$")
NUM_CLASSES = 101
NUM_GROUPS = 25
NUM_CLIPS = 13_320
NUM_SPLITS = 3
GROUPS_PER_TEST_SPLIT = 7

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
    """Read a clip's file or folder name; None if it is not of UCF101's form.

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

    The file's name says the class, and a folder that it lies in must agree with it
    (`HandstandPushups` holds `v_HandStandPushups_*` files). Folders called train, val and test
    are the division; then the groups are `<Class>/g01`, as g01 of two classes are two scenes.

    Raises:
        DatasetError: the folder is missing, a file's name is not of UCF101's form or of another
            class than its folder, or a class folder has no video.
    """
    root = as_path(root)
    try:
        found = find_videos(root)
    except VideoError as error:
        raise DatasetError(f"{error} (data.root)") from None
    folders = [path.parent.relative_to(root).parts for path in found.paths]
    sides, notes = find_sides(root, folders, named=True)
    clips = []
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
        clips.append(Clip(path, key, name.label, group, side))
    notes += require_no_class_lost(found, 2 if sides else 1)
    return Dataset(root, unique_clips(clips), notes)


def _require_agreement(path: Path, name: Ucf101Name, folders: Folders) -> None:
    """Refuse a clip of which no folder is called as its class."""
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
