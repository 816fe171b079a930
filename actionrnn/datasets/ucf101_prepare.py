"""UCF101 from nothing: download, unpack, put in order, verify.

    DIR/UCF101.rar            from the data set's site, or where --archive says
    DIR/UCF-101/<Class>/v_<Class>_gNN_cNN.avi
    DIR/ucfTrainTestlist/     the published lists

Nothing is done twice: a complete tree needs no archive, an archive on the disk no download. With
the published lists, each missing clip is named. Without them, the names are compared with what is
known: 101 classes of the groups 1 to 25, each with the clips 1 to n, n from 4 to 7; 13,320 in all.
"""

from __future__ import annotations

import os
import re
import shutil
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from actionrnn.datasets.archive import UNPACKED_RATIO, require_rar_program, unpack
from actionrnn.datasets.download import RemoteFile, download, require_free_space
from actionrnn.datasets.ucf101 import (
    LISTS_FOLDER,
    NUM_CLASSES,
    NUM_CLIPS,
    NUM_GROUPS,
    OfficialLists,
    Ucf101Name,
    find_lists,
    parse_name,
)
from actionrnn.errors import DatasetError, VideoError
from actionrnn.progress import progress_bar
from actionrnn.video.decode import iter_frames
from actionrnn.video.finding import find_videos

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
LEAST_CLIPS_PER_GROUP = 4
MOST_LINES_SHOWN = 20


@dataclass(frozen=True)
class TreeCheck:
    """What a folder holds of UCF101, and what it lacks."""

    root: Path
    num_classes: int
    num_clips: int
    lists: OfficialLists | None
    missing: tuple[str, ...]
    """Missing clips, or whole groups and classes."""
    extra: tuple[str, ...]
    """Videos that are not UCF101's, occur twice, or are in another class's folder."""
    empty: tuple[str, ...]
    """Files of zero bytes."""
    unreadable: tuple[str, ...]
    """Files that end too early, or cannot be decoded."""
    misplaced: tuple[str, ...]
    """Where the lists contradict the group rule."""

    @property
    def lacks_clips(self) -> bool:
        """Whether the archive would bring something."""
        return self.num_clips < NUM_CLIPS or bool(self.missing or self.empty or self.unreadable)

    @property
    def is_complete(self) -> bool:
        """Whether this is UCF101, nothing less and nothing more."""
        return not (self.lacks_clips or self.extra or self.misplaced)

    def __str__(self) -> str:
        lists = "not found" if self.lists is None else f"{self.lists.folder}: {self.lists.sizes()}"
        lines = [
            f"{self.root}: {self.num_clips} of {NUM_CLIPS} clips, "
            f"{self.num_classes} of {NUM_CLASSES} classes",
            f"official lists: {lists}",
        ]
        for name in ("missing", "extra", "empty", "unreadable", "misplaced"):
            found = getattr(self, name)
            lines += [f"{name}: {item}" for item in found[:MOST_LINES_SHOWN]]
            if len(found) > MOST_LINES_SHOWN:
                lines.append(f"{name}: ... and {len(found) - MOST_LINES_SHOWN} more")
        return "\n".join(lines)


def prepare_ucf101(
    folder: str | Path,
    *,
    archive: str | Path | None = None,
    fetch: bool = False,
    decode_videos: bool = False,
) -> TreeCheck:
    """Bring what is missing of UCF101 into a folder, and verify it.

    Args:
        archive: the packed videos (.rar, .zip, .tar); by default `<folder>/UCF101.rar`.
        fetch: download what is missing.
        decode_videos: decode the first frame of each clip: a minute or two.

    Raises:
        DatasetError: a download or an archive failed; the disk is too small; no program that
            unpacks .rar is installed.
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


def _find_root(folder: Path) -> Path:
    """Where the class folders are or will be: `<folder>/UCF-101`, or the folder itself."""
    below = folder / VIDEOS_FOLDER
    if below.is_dir():
        return below
    is_root = any(folder.glob("v_*_g*_c*")) or any(folder.glob("*/v_*_g*_c*"))
    return folder if is_root else below


def _check(folder: Path, decode_videos: bool) -> TreeCheck:
    return check_tree(_find_root(folder), find_lists(folder), decode_videos=decode_videos)


def _fetch_lists(folder: Path) -> None:
    packed = folder / _file_name(LISTS)
    download(LISTS, packed)
    with _unpacked(packed, folder) as unpacked:
        (folder / LISTS_FOLDER).mkdir(exist_ok=True)
        for path in unpacked.rglob("*"):
            target = folder / LISTS_FOLDER / path.name
            if LIST_NAME.fullmatch(path.name) and not target.exists():
                path.replace(target)


def _fetch_videos(packed: Path) -> None:
    require_rar_program()  # before hours of downloading
    present_bytes = sum(file.stat().st_size for file in packed.parent.glob(f"{packed.name}*"))
    missing_bytes = max(0, VIDEOS.size_bytes - present_bytes)
    require_free_space(packed.parent, missing_bytes + int(UNPACKED_RATIO * VIDEOS.size_bytes))
    download(VIDEOS, packed)


def _unpack_videos(packed: Path, folder: Path, check: TreeCheck) -> None:
    """Put each missing clip into its class's folder, and replace the broken ones."""
    root = _find_root(folder)
    broken = {item.partition(" (")[0] for item in (*check.empty, *check.unreadable)}
    present = {path.name.casefold(): path for path in _find_clips(root)}
    with _unpacked(packed, folder) as unpacked:
        found = _find_clips(unpacked)
        if not found:
            raise DatasetError(
                f"{packed}: holds no v_<Class>_gNN_cNN video; give UCF101's own archive"
            )
        for path in found:
            target = root / _name_of(path).label / path.name
            target = present.get(path.name.casefold(), target)
            if target.exists() and _relative(root, target) not in broken:
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            path.replace(target)


@contextmanager
def _unpacked(packed: Path, folder: Path) -> Iterator[Path]:
    """The content of an archive, on the disk of `folder`, deleted after the block."""
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


def check_tree(
    root: Path, lists: OfficialLists | None = None, *, decode_videos: bool = False
) -> TreeCheck:
    """Compare a folder with what UCF101 must be.

    Each file's header is read, which shows a download or copy that ended early.

    Args:
        lists: the published lists; they name each clip.
        decode_videos: decode the first frame of each clip, too: a minute or two.
    """
    clips, extra = _sort_out(root, _find_videos(root))
    if lists is not None:
        expected = {name.rpartition("/")[2].casefold(): name for name in lists.clips}
        unknown = clips.keys() - expected.keys()
        extra += [f"{_relative(root, clips.pop(stem))} (is in no list)" for stem in unknown]
        missing = list(_missing_of(expected, clips))
    else:
        missing = list(_gaps(clips.values()))
    empty = [path for path in clips.values() if path.is_file() and not path.stat().st_size]
    whole = sorted(set(clips.values()) - set(empty))
    return TreeCheck(
        root=root,
        num_classes=len({name.label for name in map(_name_of, clips.values())}),
        num_clips=len(clips),
        lists=lists,
        missing=tuple(sorted(missing)),
        extra=tuple(sorted(extra)),
        empty=tuple(sorted(_relative(root, path) for path in empty)),
        unreadable=tuple(_broken(root, whole, decode_videos)),
        misplaced=tuple(lists.disagreements()) if lists else (),
    )


def _find_clips(root: Path) -> list[Path]:
    """The videos below a folder that have names as UCF101's; maybe none."""
    return [path for path in _find_videos(root) if parse_name(path.name) is not None]


def _find_videos(root: Path) -> Sequence[Path]:
    try:
        return find_videos(root).paths
    except VideoError:
        return ()


def _sort_out(root: Path, videos: Sequence[Path]) -> tuple[dict[str, Path], list[str]]:
    """The clips by lower-case stem, and what cannot be one of them."""
    clips: dict[str, Path] = {}
    extra = []
    for path in videos:
        name = parse_name(path.name)
        folder = path.relative_to(root).parts[0]
        if name is None:
            extra.append(f"{_relative(root, path)} (is not named v_<Class>_gNN_cNN)")
        elif path.parent != root and folder.casefold() != name.label.casefold():
            extra.append(f"{_relative(root, path)} (is in another class's folder)")
        elif name.stem.casefold() in clips:
            extra.append(f"{_relative(root, path)} (occurs twice)")
        else:
            clips[name.stem.casefold()] = path
    return clips, extra


def _missing_of(expected: Mapping[str, str], clips: Mapping[str, Path]) -> Iterator[str]:
    """The names of the expected clips that are missing; one line for a class without any."""
    names_of: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for stem, name in expected.items():
        names_of[name.partition("/")[0]].append((stem, name))
    for label, names in names_of.items():
        missing = [name for stem, name in names if stem not in clips]
        if len(missing) == len(names):
            yield f"{label}/* (all {len(names)} clips)"
        else:
            yield from missing


def _gaps(clips: Iterable[Path]) -> Iterator[str]:
    """What the names alone show to be missing."""
    numbers: dict[str, dict[str, set[int]]] = defaultdict(lambda: defaultdict(set))
    for name in map(_name_of, clips):
        numbers[name.label][name.group].add(name.clip)
    if len(numbers) < NUM_CLASSES:
        yield f"{NUM_CLASSES - len(numbers)} of {NUM_CLASSES} classes"
    for label, groups in numbers.items():
        for group in (f"g{number:02d}" for number in range(1, NUM_GROUPS + 1)):
            if group not in groups:
                yield f"{label}/v_{label}_{group}_*"
                continue
            most = max(LEAST_CLIPS_PER_GROUP, *groups[group])
            for number in set(range(1, most + 1)) - groups[group]:
                yield f"{label}/v_{label}_{group}_c{number:02d}"


def _broken(root: Path, paths: Sequence[Path], decode_videos: bool) -> list[str]:
    """The paths that cannot be used, each with the reason in brackets."""
    check = partial(_why_broken, decode_videos=decode_videos)
    found = []
    with (
        ThreadPoolExecutor(os.cpu_count() or 1) as pool,
        progress_bar("checking the videos", len(paths)) as advance,
    ):
        for path, reason in zip(paths, pool.map(check, paths), strict=True):
            if reason is not None:
                found.append(f"{_relative(root, path)} ({reason})")
            advance(note=f"{len(found)} unreadable" if found else "")
    return found


def _why_broken(path: Path, *, decode_videos: bool) -> str | None:
    if path.suffix.lower() == ".avi":
        with path.open("rb") as file:
            header = file.read(12)
        declared_bytes = int.from_bytes(header[4:8], "little") + 8
        size_bytes = path.stat().st_size
        if header[:4] != b"RIFF" or header[8:] != b"AVI ":
            return "is not an AVI file"
        if size_bytes < declared_bytes:
            return f"{size_bytes} of {declared_bytes} bytes"
    if not decode_videos:
        return None
    try:
        first = next(iter_frames(path, num_threads=1), None)
        if first is None:
            return "no frame can be decoded"
        first.rgb  # noqa: B018 - the pixels are made only when they are asked for
    except VideoError as error:
        return str(error).removeprefix(f"{path}: ")
    return None


def _name_of(path: Path) -> Ucf101Name:
    name = parse_name(path.name)
    assert name is not None
    return name


def _relative(root: Path, path: Path) -> str:
    return path.relative_to(root).as_posix()
