"""UCF101's published train and test lists, and whether they agree with the group rule.

The lists have CRLF line ends; a training list has the class number behind each name:

    trainlist01.txt   ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi 1
    testlist01.txt    ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from actionrnn.datasets.ucf101 import (
    NUM_CLIPS,
    NUM_SPLITS,
    official_test_groups,
    parse_name,
)
from actionrnn.errors import DatasetError

LISTS_FOLDER = "ucfTrainTestlist"


@dataclass(frozen=True)
class OfficialLists:
    """The clips of each split as published: `<Class>/v_<Class>_gNN_cNN`."""

    folder: Path
    train: dict[int, frozenset[str]]
    test: dict[int, frozenset[str]]

    @property
    def clips(self) -> frozenset[str]:
        """Every clip that is named anywhere."""
        return frozenset().union(*self.train.values(), *self.test.values())

    def sizes(self) -> str:
        """How many clips are for training and for testing in each split."""
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
    """The lists in `folder` or in its `ucfTrainTestlist`; None if one of the six is not there.

    Raises:
        DatasetError: a list cannot be read, or holds something else.
    """
    for place in (folder / LISTS_FOLDER, folder):
        files = {
            (side, split): place / f"{side}list{split:02d}.txt"
            for side in ("train", "test")
            for split in range(1, NUM_SPLITS + 1)
        }
        if all(file.is_file() for file in files.values()):
            read = {key: frozenset(_read_list(file)) for key, file in files.items()}
            train, test = (
                {split: read[side, split] for split in range(1, NUM_SPLITS + 1)}
                for side in ("train", "test")
            )
            return OfficialLists(place, train, test)
    return None


def _read_list(file: Path) -> Iterator[str]:
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{file}: cannot be read ({error})") from None
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        name = line.split()[0]
        if "/" not in name or parse_name(name.rpartition("/")[2]) is None:
            raise DatasetError(
                f"{file}, line {number}: {line.strip()!r} is no <Class>/v_<Class>_gNN_cNN.avi; "
                "get the list from the data set's site"
            )
        yield name.rpartition(".")[0]


def _group_of(name: str) -> str | None:
    parsed = parse_name(name.rpartition("/")[2])
    return parsed.group if parsed else None
