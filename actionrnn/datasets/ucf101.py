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

from actionrnn.datasets.clips import Clip, Dataset, unique_clips
from actionrnn.errors import DatasetError, VideoError
from actionrnn.files import as_path
from actionrnn.video.reading import find_videos

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

    The class folder names the class (`HandstandPushups` holds `v_HandStandPushups_*`
    files); for clips that lie in no class folder, the file's name does.

    Raises:
        DatasetError: the folder is missing, or a file's name is not of UCF101's form.
    """
    root = as_path(root)
    try:
        videos = find_videos(root)
    except VideoError as error:
        raise DatasetError(f"{error} (data.root)") from None
    clips = []
    for path in videos:
        name = parse_name(path.name)
        if name is None:
            raise DatasetError(
                f"{path}: is not named v_<Class>_gNN_cNN as in UCF101; "
                "use data.layout=folder for other names"
            )
        relative = path.relative_to(root)
        label = name.label if path.parent == root else relative.parts[0]
        clips.append(Clip(path, relative.with_suffix("").as_posix(), label, name.group))
    return Dataset(root, unique_clips(clips))


def official_test_groups(split: int) -> frozenset[str]:
    """The groups that are for testing in an official split.

    >>> sorted(official_test_groups(2))
    ['g08', 'g09', 'g10', 'g11', 'g12', 'g13', 'g14']
    """
    if not 1 <= split <= NUM_SPLITS:
        raise DatasetError(f"fold {split}: UCF101 has the official splits 1, 2 and 3")
    first = GROUPS_PER_TEST_SPLIT * (split - 1) + 1
    return frozenset(f"g{group:02d}" for group in range(first, first + GROUPS_PER_TEST_SPLIT))
