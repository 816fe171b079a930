"""Which files and folders are videos: one answer for every command. Empty files do, mostly."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actionrnn.errors import VideoError
from actionrnn.video.decode import iter_frames, read_frames
from actionrnn.video.finding import clip_key, clip_keys, find_videos

EncodeVideo = Callable[..., Path]


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def frames(folder: str, count: int = 3, ending: str = "jpg") -> list[str]:
    return [f"{folder}/{number:05d}.{ending}" for number in range(1, count + 1)]


def found(root: Path) -> list[str]:
    return [path.relative_to(root).as_posix() for path in find_videos(root).paths]


def without_videos(root: Path) -> dict[str, tuple[str, bool]]:
    return {
        item.path.relative_to(root).as_posix(): (item.reason, item.may_hide_videos)
        for item in find_videos(root).without_videos
    }


def test_videos_are_found_below_a_folder_in_order(tmp_path: Path) -> None:
    wanted = ["a/2.avi", "a/b/1.MP4", "z.webm"]
    touch(tmp_path, *wanted, "a/.hidden.avi", "notes.txt", "a/2.csv")
    assert found(tmp_path) == wanted
    assert find_videos(tmp_path).notes == ()


def test_a_folder_without_videos_or_none_at_all_is_refused(tmp_path: Path) -> None:
    with pytest.raises(VideoError, match=r"holds no video; looked for .*\.avi"):
        find_videos(tmp_path)
    with pytest.raises(VideoError, match=r"holds no video, only \.doc \.xyz; looked for"):
        find_videos(touch(tmp_path, "a/1.xyz", "2.doc"))
    with pytest.raises(VideoError, match="no such folder"):
        find_videos(tmp_path / "nowhere")


# --- endings


@pytest.mark.parametrize(
    ("ending", "options"),
    [
        ("asf", ""),
        ("vob", ""),
        ("mxf", ""),
        ("m2v", ""),
        ("mpe", "-f mpeg"),
        ("3g2", "-c:v mpeg4"),
        ("h264", ""),
        ("h265", "-f hevc"),
        ("mjpeg", ""),
        ("y4m", ""),
        ("f4v", ""),
        ("dv", "-target pal-dv"),
        ("DIVX", "-f avi"),
        ("nut", ""),
    ],
)
@pytest.mark.filterwarnings("ignore::actionrnn.video.frame_index.AssumedRateWarning")
def test_less_usual_endings_are_found_and_read(
    ffmpeg_encode: EncodeVideo, ending: str, options: str
) -> None:
    path = ffmpeg_encode(f"clip.{ending}", options, seconds=0.2)
    assert path in find_videos(path.parent).paths
    assert len(read_frames(path)) >= 5


@pytest.mark.parametrize("ending", ["dav", "rmvb", "mts", "ogv", "264", "qt"])
def test_endings_that_cannot_be_written_here_are_found(tmp_path: Path, ending: str) -> None:
    assert found(touch(tmp_path, f"a.{ending}")) == [f"a.{ending}"]


@pytest.mark.parametrize("ending", ["bmp", "webp", "tif", "tiff", "ppm", "pgm", "png", "JPG"])
def test_folders_of_pictures_of_each_kind_are_found(tmp_path: Path, ending: str) -> None:
    assert found(touch(tmp_path, *frames("run/1", ending=ending))) == ["run/1"]


def test_files_of_other_endings_are_named_beside_videos(tmp_path: Path) -> None:
    """A class of half .avi and half something else must not lose its half without a word."""
    touch(tmp_path, "README", "run/1.avi", "run/2.xyz", "run/3.xyz", "run/4.srt", "run/5")
    assert find_videos(tmp_path).notes == (
        "left out: files not known to be videos: 2 .xyz, 1 without ending",
    )


# --- pictures


def test_without_videos_each_folder_of_pictures_is_one(tmp_path: Path) -> None:
    touch(tmp_path, *frames("1"), "2/b.png", "2/a.png", "3/deep/x.jpg", "3/notes.txt")
    assert found(tmp_path) == ["1", "2", "3/deep"]
    assert find_videos(tmp_path / "2").paths == (tmp_path / "2",)


def test_beside_videos_numbered_frames_are_one(tmp_path: Path) -> None:
    touch(tmp_path, "run/1.avi", *frames("run/2"), *frames("bend/3", ending="png"), "intro.mp4")
    assert found(tmp_path) == ["bend/3", "intro.mp4", "run/1.avi", "run/2"]


PREVIEWS = {
    "network disk": ["run/@eaDir/ido.avi/SYNOFILE_THUMB_M.jpg", "@eaDir/run/SYNOFILE_THUMB_S.jpg"],
    "hidden": ["run/.thumbnails/1.jpg", "run/.thumbnails/2.jpg", "run/._ido.avi", ".cache/9.avi"],
    "mac archive": ["__MACOSX/run/._ido.avi", "__MACOSX/run/1.jpg", "__MACOSX/run/ido.avi"],
    "bin": ["$RECYCLE.BIN/S-1/$R1.avi", "lost+found/2.avi"],
    "one picture each": ["run/covers of all/ido.jpg", "run/covers of all/daria.jpg"],
    "one folder each": ["run/ido/poster.jpg", "run/daria/poster.jpg"],
    "numbered, of that name": frames("run/thumbs") + frames("bend/Previews") + frames("cover/run"),
    "named as the videos": ["bend/art/1.jpg", "bend/art/2.jpg"],
    "frames of the videos beside": frames("run/ido") + frames("run/daria"),
    "named as files": ["bend/art/1.avi.jpg", "bend/art/2.avi.jpg"],
    "loose": ["cover.jpg", "run/ido.jpg", "run/00001.jpg", "run/00002.jpg"],
}


@pytest.mark.parametrize("kind", PREVIEWS)
def test_pictures_that_lie_beside_videos_are_no_clips(tmp_path: Path, kind: str) -> None:
    videos = ["bend/1.avi", "bend/2.avi", "run/daria.avi", "run/ido.avi"]
    touch(tmp_path, *videos, *PREVIEWS[kind])
    assert found(tmp_path) == videos
    assert not any(lost for path, (_, lost) in without_videos(tmp_path).items() if "/" not in path)
    is_told = any(line.startswith("left out: ") for line in find_videos(tmp_path).notes)
    assert is_told == (kind not in ("network disk", "hidden", "mac archive", "bin"))


def test_what_was_taken_for_previews_is_said_in_one_line(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.avi", "a/x/ann.jpg", "a/y/bob.jpg", *frames("thumbs"), "a/1.jpg")
    assert find_videos(tmp_path).notes == (
        "left out: folders of pictures taken for previews: 3 (thumbs, a/x, a/y)",
        "left out: pictures beside videos: 1 (in a)",
    )


def test_previews_within_a_folder_of_pictures_change_nothing(tmp_path: Path) -> None:
    touch(tmp_path, *frames("run/1"), "run/1/@eaDir/00001.jpg/SYNO_M.jpg", "run/1/thumbs/1.jpg")
    (tmp_path / "run" / "1" / "empty").mkdir()
    assert found(tmp_path) == ["run/1"]


def test_a_folder_is_no_picture_whatever_its_name(tmp_path: Path) -> None:
    touch(tmp_path, "run/1.jpg/notes.txt", "run/2.avi")
    assert found(tmp_path) == ["run/2.avi"]


# --- links and rights


@pytest.fixture
def open_path() -> Iterator[Path]:
    """A folder that users without rights may enter, too."""
    with TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.fixture
def unprivileged() -> Iterator[None]:
    """For root, too, permissions count."""
    if os.name == "nt":
        pytest.skip("has other permissions")
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(65534)
    yield
    if is_root:
        os.seteuid(0)


def lock(path: Path) -> Path:
    path.chmod(0)
    return path


@pytest.fixture
def locked_tree(open_path: Path) -> Path:
    touch(open_path, "bend/2.avi", "run/2.avi", "run/more/2.avi", *frames("walk/1"))
    touch(open_path, "locked/1.jpg")
    (open_path / "locked.avi").write_text("a video")
    link(open_path / "jump", open_path / "locked" / "inside")
    link(open_path / "run" / "3.avi", open_path / "locked" / "3.avi")
    for name in ("run/more", "locked.avi", "locked", "walk/1/00001.jpg"):
        lock(open_path / name)
    return open_path


@pytest.mark.usefixtures("locked_tree", "unprivileged")
def test_folders_that_may_not_be_read_are_named(locked_tree: Path) -> None:
    more = locked_tree / "run" / "more"
    line = f"{more}: cannot be read (Permission denied); change its permissions, or leave it out"
    unreadable = find_videos(locked_tree).unreadable
    assert unreadable[more] == line
    assert set(unreadable) == {locked_tree / name for name in ("run/more", "locked", "jump")}
    with pytest.raises(VideoError, match=r"more: cannot be read \(Permission denied\)"):
        find_videos(more)


@pytest.mark.usefixtures("locked_tree", "unprivileged")
def test_what_may_not_be_read_is_not_told_to_be_encoded_again(locked_tree: Path) -> None:
    (clip,) = [path for path in find_videos(locked_tree).paths if path.name == "1"]
    files = [locked_tree / name for name in ("locked.avi", "locked", "run/3.avi")]
    for path in (*files, clip):
        with pytest.raises(VideoError, match=r"cannot be read \(Permission denied\)") as caught:
            [frame.rgb for frame in iter_frames(path)]
        assert "encode" not in str(caught.value)


def link(path: Path, target: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target)


def test_links_are_followed(tmp_path: Path) -> None:
    elsewhere = touch(tmp_path / "elsewhere", "1.avi", "deep/2.avi", *frames("3", ending="png"))
    root = tmp_path / "root"
    link(root / "run", elsewhere)
    link(root / "bend" / "4.avi", elsewhere / "1.avi")
    assert found(root) == ["bend/4.avi", "run/1.avi", "run/3", "run/deep/2.avi"]
    assert find_videos(root).notes == ()


def test_each_real_folder_is_read_once_under_the_name_that_is_no_link(tmp_path: Path) -> None:
    root = touch(tmp_path, "z/1.avi", "z/deep/2.avi")
    link(root / "a", root / "z")
    link(root / "b", root / "z" / "deep")
    link(root / "z" / "deep" / "up", root)
    assert found(root) == ["z/1.avi", "z/deep/2.avi"]
    assert find_videos(root).notes == (
        f"left out: {root}/a, which is {root}/z, which is read already",
        f"left out: {root}/b, which is {root}/z/deep, which is read already",
        f"left out: {root}/z/deep/up, which is {root}, which is read already",
    )
    assert without_videos(root) == {
        "a": (f"is {root}/z, which is read already", True),
        "b": (f"is {root}/z/deep, which is read already", True),
        "z/deep/up": (f"is {root}, which is read already", False),
    }


def test_links_that_cannot_be_followed_are_named(tmp_path: Path) -> None:
    touch(tmp_path, "run/1.avi")
    link(tmp_path / "bend", tmp_path / "nowhere")
    link(tmp_path / "loop", tmp_path / "loop")
    link(tmp_path / "run" / "notes.txt", tmp_path / "nowhere")
    assert list(find_videos(tmp_path).unreadable.values()) == [
        f"{tmp_path}/bend: is a link that cannot be followed",
        f"{tmp_path}/loop: is a link that cannot be followed",
    ]
    assert without_videos(tmp_path)["bend"] == ("is a link that cannot be followed", True)


@settings(deadline=None, max_examples=40, derandomize=True)
@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.sampled_from("abc"), st.sampled_from(("", *"abc"))),
        max_size=6,
    )
)
def test_no_web_of_links_loops_or_finds_a_file_twice(links: list[tuple[str, str, str]]) -> None:
    with TemporaryDirectory() as folder:
        root = touch(Path(folder), "a/a/1.avi", "b/2.avi", "c/b/3.avi")
        for number, (start, middle, target) in enumerate(links):
            above = root / start / middle
            link((above if above.is_dir() else root / start) / f"l{number}", root / target)
        paths = find_videos(root).paths
        assert {path.resolve() for path in paths} == set(root.resolve().rglob("*.avi"))
        assert len(paths) == 3


# --- what is beside the videos


@pytest.mark.parametrize(
    ("names", "reason", "is_lost"),
    [
        (["x/notes.txt", "x/deep/labels.csv"], "holds .csv .txt", False),
        (["x/1.xyz", "x/notes.txt"], "holds no video, only .xyz", True),
        (["x/clip"], "holds no video, only files without ending", True),
        (["x/ann.jpg", "x/bob.jpg"], "holds pictures, but beside videos only folders of", True),
        (["x/thumbs/ann.jpg"], "holds previews", False),
        (["x/.hidden"], "is empty", True),
    ],
)
def test_a_folder_without_videos_is_named_with_what_it_holds(
    tmp_path: Path, names: list[str], reason: str, is_lost: bool
) -> None:
    touch(tmp_path, "run/1.avi", *names)
    ((path, (said, lost)),) = without_videos(tmp_path).items()
    assert (path, said.startswith(reason), lost) == ("x", True, is_lost)


# --- keys


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ("run/ido.avi", "run/ido"),
        ("run/ido.2.MP4", "run/ido.2"),
        ("2024-05-01 10.15.30", "2024-05-01 10.15.30"),
        ("v1.0/2024-05-01 10.15.30.mp4", "v1.0/2024-05-01 10.15.30"),
        ("run/ido.xyz", "run/ido.xyz"),
    ],
)
def test_a_key_loses_a_known_ending_alone(path: str, key: str) -> None:
    assert clip_key(Path("root", path), Path("root")) == key


NAMES = st.text(st.sampled_from("ab .é"), min_size=1, max_size=4).filter(str.strip)


@settings(deadline=None, max_examples=100, derandomize=True)
@given(st.sets(st.tuples(NAMES, NAMES, st.sampled_from((".avi", ".MP4", ".5", "")))))
def test_keys_are_unique_and_of_the_folders(names: set[tuple[str, str, str]]) -> None:
    root = Path("root")
    paths = sorted({root / f"x{a}" / f"y{b}{ending}" for a, b, ending in names})
    keys = clip_keys(paths, root)
    assert len(set(keys)) == len(paths)
    assert all(
        str(path.relative_to(root)).startswith(key) for path, key in zip(paths, keys, strict=True)
    )
