"""Finds the videos below a folder, by the same rules for every command.

A video is a file with a known ending, or a folder of pictures. Where a tree holds video files,
a folder of pictures is a video only if the pictures are numbered frames: covers and thumbnails
lie beside videos, too. Hidden names and folders of other programs (`@eaDir`) are not read.
"""

from __future__ import annotations

import os
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from actionrnn.errors import VideoError
from actionrnn.progress import progress_bar
from actionrnn.video.image_folder import is_picture, picture_names
from actionrnn.video.picture_names import PREVIEW, are_numbered
from actionrnn.video.source import why_unreadable


def _suffixes(names: str) -> frozenset[str]:
    return frozenset(f".{name}" for name in names.split())


VIDEO_SUFFIXES = _suffixes(
    "264 265 266 3g2 3gp amv asf avc avi avs2 avs3 cavs dav dif dirac divx dv dvr-ms f4v flv gif "
    "gxf h261 h263 h264 h265 h266 hevc ifv ismv ivf kux m1v m2p m2t m2ts m2v m4v mj2 mjpeg mjpg "
    "mk3d mkv mov mp4 mp4v mpe mpeg mpg mpv mts mxf nsv nut nuv obu ogm ogv psp qt rm rmvb trp ts "
    "vc1 vob vro vvc webm wmv wtv xvid y4m"
)
_OTHER_DATA_SUFFIXES = _suffixes(  # certainly not videos, so leaving them out needs no note
    "7z aac ass bz2 csv db doc docx flac gz h5 hdf5 htm html ini ipynb json jsonl lnk lock log m4a "
    "mat md mp3 npy npz odt ogg onnx opus parquet pdf pkl pt pth py rar rtf safetensors sh srt sub "
    "tar tex tgz toml tsv txt url vtt wav wma xls xlsx xml yaml yml zip"
)
_FOLDERS_OF_PROGRAMS = frozenset(  # of network disks, bins and archives, in lower case
    {"@eadir", "@recycle", "@recently-snapshot", "#recycle", "#snapshot", "$recycle.bin"}
    | {"__macosx", "__pycache__", "lost+found", "system volume information"}
)
_MOST_NAMED = 3


@dataclass(frozen=True)
class FolderWithoutVideos:
    """A folder in which no video was found, beside folders or files with videos."""

    path: Path
    reason: str
    """What it holds instead, or why it cannot be read."""
    may_hide_videos: bool
    """Whether it may hold videos that were not recognised; not if it holds documents or
    previews."""


@dataclass(frozen=True)
class FoundVideos:
    """The videos below a folder, and what had to be left out."""

    root: Path
    paths: tuple[Path, ...]
    """Sorted."""
    unreadable: Mapping[Path, str]
    """Folders that cannot be read and links that cannot be followed, each with a message."""
    notes: tuple[str, ...]
    """A line for each kind of thing that was left out, and that the user may miss."""
    without_videos: tuple[FolderWithoutVideos, ...]
    """The highest such folders."""


def find_videos(folder: str | Path) -> FoundVideos:
    """Every video below `folder`, which may be a folder of pictures itself.

    Links are followed; each real folder is read once.

    Raises:
        VideoError: the folder is missing, cannot be read, or holds no video.
    """
    root = Path(folder)
    if not root.is_dir():
        raise VideoError(f"{root}: no such folder")
    with progress_bar(f"looking for videos in {root.name}", None):
        folders = _read_tree(root)
        if folders[0].problem:
            raise VideoError(f"{root}: {folders[0].problem}")
        _find_clips(folders)
    paths = sorted(path for folder in folders for path in folder.clips())
    unreadable = {
        folder.path: f"{folder.path}: {folder.problem}"
        for folder in folders
        if folder.problem and folder.copy_of is None
    }
    if not paths:
        raise VideoError(f"{root}: holds no video{_what_else(folders, unreadable.values())}")
    return FoundVideos(
        root,
        tuple(paths),
        unreadable,
        notes=tuple(_notes(root, folders)),
        without_videos=tuple(_without_videos(folders)),
    )


def clip_key(path: Path, root: Path) -> str:
    """The name of a video relative to a folder above it: `run/ido` for `run/ido.avi`.

    Only a known ending is removed: the folder of pictures `2024-05-01 10.15.30` keeps its name.
    """
    relative = path.relative_to(root).as_posix()
    stem, ending = os.path.splitext(relative)  # noqa: PTH122 - once for each of many files
    return stem if ending.lower() in VIDEO_SUFFIXES else relative


def clip_keys(paths: Sequence[Path], root: Path) -> list[str]:
    """A unique key for each of a folder's videos.

    Where two would share one (`ido.avi`, `ido.mp4`), both keep their endings.
    """
    keys = [clip_key(path, root) for path in paths]
    count = Counter(keys)
    return [
        key if count[key] == 1 else path.relative_to(root).as_posix()
        for path, key in zip(paths, keys, strict=True)
    ]


@dataclass
class _Folder:
    """What was found in one folder."""

    path: Path
    parent: _Folder | None
    is_link: bool = False
    problem: str = ""
    """Why it was not read."""
    copy_of: Path | None = None
    """The other name under which it was read before."""
    videos: list[str] = field(default_factory=list)
    num_pictures: int = 0
    others: Counter[str] = field(default_factory=Counter)
    """The number of other files by their endings."""
    children: list[_Folder] = field(default_factory=list)
    is_clip: bool = False
    """Whether its pictures are the frames of a video."""
    has_clips: bool = False
    """Whether a video is in it, or below."""

    @property
    def is_loop(self) -> bool:
        return any(folder.path == self.copy_of for folder in self.above())

    @property
    def unknown(self) -> Counter[str]:
        """The number of files that may be videos of an unknown kind, by their endings."""
        if self.is_clip:
            return Counter()
        known = _OTHER_DATA_SUFFIXES if self.parent else _OTHER_DATA_SUFFIXES | {""}  # README
        return Counter({e: count for e, count in self.others.items() if e not in known})

    @cached_property
    def video_names(self) -> frozenset[str]:
        """The names of the videos directly in it, with and without their endings."""
        return frozenset(self.videos) | {Path(name).stem for name in self.videos}

    @property
    def has_preview_name(self) -> bool:
        return self.parent is not None and bool(PREVIEW.fullmatch(self.path.name))

    @property
    def is_preview(self) -> bool:
        return self.has_preview_name or any(folder.has_preview_name for folder in self.above())

    def clips(self) -> Iterator[Path]:
        if self.is_clip:
            yield self.path
        yield from (self.path / name for name in self.videos)

    def above(self) -> Iterator[_Folder]:
        """The folders that contain it, the nearest first."""
        folder = self.parent
        while folder is not None:
            yield folder
            folder = folder.parent

    def below(self) -> Iterator[_Folder]:
        """Itself and every folder below."""
        todo = [self]
        while todo:
            folder = todo.pop()
            yield folder
            todo += reversed(folder.children)


def _read_tree(root: Path) -> list[_Folder]:
    """All folders, each after the one that contains it.

    A folder that several names lead to is read under the one that is not a link.
    """
    todo, links = deque([_Folder(root, None)]), deque[_Folder]()  # links are followed last
    folders: list[_Folder] = []
    known: dict[tuple[int, int], Path] = {}
    while todo or links:
        folder = todo.popleft() if todo else links.popleft()
        folders.append(folder)
        if folder.problem:
            continue
        try:
            stat = folder.path.stat()
            first = known.setdefault((stat.st_dev, stat.st_ino), folder.path)
            if first is not folder.path:
                folder.copy_of, folder.problem = first, f"is {first}, which is read already"
                continue
            folder.children = _look_into(folder)
        except OSError as error:
            folder.problem = why_unreadable(error)
            continue
        links.extend(child for child in folder.children if child.is_link)
        todo.extend(child for child in folder.children if not child.is_link)
    return folders


def _look_into(folder: _Folder) -> list[_Folder]:
    """Count a folder's entries by kind; return its sub-folders, sorted.

    The listing says what an entry is; only links cost another access to the disk.
    """
    below = []
    with os.scandir(folder.path) as entries:
        for entry in entries:
            name = entry.name
            if name.startswith(".") or name.lower() in _FOLDERS_OF_PROGRAMS:
                continue
            suffix = os.path.splitext(name)[1].lower()  # noqa: PTH122
            if _is_folder(entry):
                below.append(_Folder(folder.path / name, folder, is_link=entry.is_symlink()))
            elif suffix in VIDEO_SUFFIXES:
                folder.videos.append(name)
            elif is_picture(name):
                folder.num_pictures += 1
            elif suffix not in _OTHER_DATA_SUFFIXES and _is_broken_link(entry):
                problem = "is a link that cannot be followed"
                below.append(_Folder(folder.path / name, folder, problem=problem))
            else:
                folder.others[suffix] += 1
    return sorted(below, key=lambda child: child.path.name)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself, or into a folder without permission
        return False


def _is_broken_link(entry: os.DirEntry[str]) -> bool:
    return entry.is_symlink() and not os.path.exists(entry.path)  # noqa: PTH110 - never raises


def _find_clips(folders: Sequence[_Folder]) -> None:
    """Decide for each folder whether it is a video, and whether there are videos below it."""
    beside_videos = any(folder.videos for folder in folders)
    for folder in reversed(folders):  # children before their parents
        has_clips_below = any(child.has_clips for child in folder.children)
        if folder.num_pictures and not folder.videos and not has_clips_below:
            folder.is_clip = not folder.has_preview_name and (
                not beside_videos or _are_frames(folder)
            )
        folder.has_clips = folder.is_clip or bool(folder.videos) or has_clips_below


def _are_frames(folder: _Folder) -> bool:
    """Whether pictures in a tree that holds videos are frames, and not previews of the videos."""
    if folder.is_preview:
        return False
    pictures = picture_names(folder.path)
    if not are_numbered(pictures):
        return False

    def is_named_as_a_video(name: str) -> bool:
        return any(name in parent.video_names for parent in folder.above())

    return not is_named_as_a_video(folder.path.name) and not all(
        is_named_as_a_video(Path(name).stem) for name in pictures
    )


def _without_videos(folders: Sequence[_Folder]) -> Iterator[FolderWithoutVideos]:
    for folder in folders:
        parent = folder.parent
        if parent is None or not parent.has_clips or parent.is_clip or folder.has_clips:
            continue
        yield FolderWithoutVideos(folder.path, *_why_without(folder))


def _why_without(folder: _Folder) -> tuple[str, bool]:
    """What a folder holds instead of videos, and whether that may be a mistake."""
    below = list(folder.below())
    for child in below:
        if child.problem and not child.is_loop:
            where = "" if child is folder else f"holds {child.path.name}, which "
            return where + child.problem, True
    if folder.is_loop:
        return folder.problem, False
    pictured = [child for child in below if child.num_pictures]
    if any(not child.is_preview for child in pictured):
        return "holds pictures, but beside videos only folders of numbered frames are read", True
    unknown = {ending for child in below for ending in child.unknown}
    if unknown:
        return f"holds no video, only {_endings(unknown)}", True
    endings = {ending for child in below for ending in child.others}
    if pictured:
        return "holds previews", False
    return (f"holds {_endings(endings)}", False) if endings else ("is empty", True)


def _notes(root: Path, folders: Sequence[_Folder]) -> Iterator[str]:
    pictured = [folder for folder in folders if folder.num_pictures and not folder.is_clip]
    loose = [folder for folder in pictured if folder.has_clips]
    previews = [folder for folder in pictured if not folder.has_clips]
    if previews:
        some = _some(root, previews)
        yield f"left out: folders of pictures taken for previews: {len(previews)} ({some})"
    if loose:
        number = sum(folder.num_pictures for folder in loose)
        yield f"left out: pictures beside videos: {number} (in {_some(root, loose)})"
    unknown = sum((folder.unknown for folder in folders), Counter[str]())
    if unknown:
        counts = (
            f"{count} {ending or 'without ending'}" for ending, count in unknown.most_common()
        )
        yield f"left out: files not known to be videos: {', '.join(counts)}"
    for folder in folders:
        if folder.copy_of is not None:
            yield f"left out: {folder.path}, which {folder.problem}"


def _some(root: Path, folders: Sequence[_Folder]) -> str:
    names = [folder.path.relative_to(root).as_posix() for folder in folders[:_MOST_NAMED]]
    return ", ".join(names) + (", ..." if len(folders) > _MOST_NAMED else "")


def _endings(endings: Iterable[str]) -> str:
    return " ".join(sorted(ending or "files without ending" for ending in endings))


def _what_else(folders: Sequence[_Folder], unreadable: Iterable[str]) -> str:
    endings = {ending for folder in folders for ending in folder.others}
    only = f", only {_endings(endings)}" if endings else ""
    first = next((f" ({line})" for line in unreadable), only)
    return f"{first}; looked for .avi .mp4 .webm and other usual endings, and folders of pictures"
