"""UCF101 from nothing: download, unpack, put in order, verify.

    DIR/UCF101.rar            from the data set's site, or where --archive says
    DIR/UCF-101/<Class>/v_<Class>_gNN_cNN.avi
    DIR/ucfTrainTestlist/     the published lists

What is done is not done again: a tree that is complete needs no archive, an archive that is here
no download.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from actionrnn.datasets.archive import UNPACKED_RATIO, find_unpackers, unpack
from actionrnn.datasets.download import RemoteFile, download, require_free_space
from actionrnn.datasets.ucf101 import parse_name
from actionrnn.datasets.ucf101_lists import LISTS_FOLDER, find_lists
from actionrnn.datasets.ucf101_tree import TreeCheck, check_tree, find_clips
from actionrnn.errors import DatasetError

# Sizes as the site gives them; TensorFlow Datasets records the lists' sha256, too.
VIDEOS = RemoteFile(
    "https://www.crcv.ucf.edu/datasets/human-actions/ucf101/UCF101.rar",
    size_bytes=6_932_971_618,
)
LISTS = RemoteFile(
    "https://www.crcv.ucf.edu/data/UCF101/UCF101TrainTestSplits-RecognitionTask.zip",
    size_bytes=113_943,
    sha256="5c0d1a53b8ed364a2ac830a73f405e51bece7d98ce1254fd19ed4a36b224bd27",
)

VIDEOS_FOLDER = "UCF-101"
UNPACKING_FOLDER = ".actionrnn-unpacking"
LIST_NAME = re.compile(r"classInd\.txt|(train|test)list0[1-3]\.txt")


def prepare_ucf101(
    folder: str | Path,
    *,
    archive: str | Path | None = None,
    fetch: bool = False,
    decode_videos: bool = False,
) -> TreeCheck:
    """Bring UCF101 into a folder as far as it is not there, and verify it.

    Args:
        archive: the videos, packed (.rar, .zip, .tar); by default `<folder>/UCF101.rar`.
        fetch: download what is missing.
        decode_videos: decode the first frame of each clip to see whether it can be read.

    Raises:
        DatasetError: a download or an archive failed; the disk is too small; no unpacking
            program is installed.
    """
    folder = Path(folder)
    if fetch and find_lists(folder) is None:
        _fetch_lists(folder)
    check = _check(folder, decode_videos)
    packed = Path(archive) if archive else folder / _file_name(VIDEOS)
    if not check.lacks_clips or not (archive or fetch or packed.exists()):
        return check
    if archive is None and fetch:
        _fetch_videos(packed)
    _unpack_videos(packed, folder, check)
    return _check(folder, decode_videos)


def find_root(folder: Path) -> Path:
    """Where the class folders are or will be: `<folder>/UCF-101`, or the folder itself."""
    below = folder / VIDEOS_FOLDER
    if below.is_dir():
        return below
    is_root = any(folder.glob("v_*_g*_c*")) or any(folder.glob("*/v_*_g*_c*"))
    return folder if is_root else below


def _check(folder: Path, decode_videos: bool) -> TreeCheck:
    return check_tree(find_root(folder), find_lists(folder), decode_videos=decode_videos)


def _fetch_lists(folder: Path) -> None:
    packed = folder / _file_name(LISTS)
    download(LISTS, packed)
    with _unpacked(packed, folder) as unpacked:
        found = [path for path in unpacked.rglob("*") if LIST_NAME.fullmatch(path.name)]
        (folder / LISTS_FOLDER).mkdir(exist_ok=True)
        for path in found:
            if not (folder / LISTS_FOLDER / path.name).exists():
                path.replace(folder / LISTS_FOLDER / path.name)


def _fetch_videos(packed: Path) -> None:
    find_unpackers()  # before hours of downloading
    size_bytes = VIDEOS.size_bytes or 0
    here_bytes = sum(file.stat().st_size for file in packed.parent.glob(f"{packed.name}*"))
    missing_bytes = max(0, size_bytes - here_bytes)
    require_free_space(packed.parent, missing_bytes + int(UNPACKED_RATIO * size_bytes))
    download(VIDEOS, packed)


def _unpack_videos(packed: Path, folder: Path, check: TreeCheck) -> None:
    """Each clip that is missing goes to its class's folder, a broken one is replaced."""
    root = find_root(folder)
    broken = {item.partition(" (")[0] for item in (*check.empty, *check.unreadable)}
    places = {path.name.casefold(): path for path in find_clips(root)}
    with _unpacked(packed, folder) as unpacked:
        found = find_clips(unpacked)
        if not found:
            raise DatasetError(
                f"{packed}: holds no v_<Class>_gNN_cNN video; give UCF101's own archive"
            )
        for path in found:
            name = parse_name(path.name)
            assert name is not None
            place = places.get(path.name.casefold(), root / name.label / path.name)
            if place.exists() and place.relative_to(root).as_posix() not in broken:
                continue
            place.parent.mkdir(parents=True, exist_ok=True)
            path.replace(place)


@contextmanager
def _unpacked(packed: Path, folder: Path) -> Iterator[Path]:
    """The content of an archive, on the disk of `folder`, for the while of the block."""
    unpacked = folder / UNPACKING_FOLDER
    shutil.rmtree(unpacked, ignore_errors=True)  # of a run that was killed
    try:
        unpack(packed, unpacked)
        yield unpacked
    except OSError as error:
        raise DatasetError(f"{folder}: cannot be written ({error.strerror})") from None
    finally:
        shutil.rmtree(unpacked, ignore_errors=True)


def _file_name(remote: RemoteFile) -> str:
    return remote.url.rpartition("/")[2]
