"""What a page needs of a project's videos, and that nothing outside of it is touched."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from actionrnn.apps.studio import videos
from actionrnn.apps.studio.project import Label, Project
from actionrnn.apps.studio.video_files import safe_name
from actionrnn.apps.studio.videos import (
    facts_of,
    frame_times,
    isolation_of,
    kept_copy,
    playable_copy,
    sprite,
    video_id,
)
from actionrnn.errors import ProjectError, VideoError
from actionrnn.video.finding import VIDEO_SUFFIXES
from actionrnn.video.probe import read_frame_times
from tests.tiny import empty, text, write_video

SECONDS = 3


def encode(path: Path, codec: str, pixels: str = "yuv420p", first: int = 0, **options: str) -> Path:
    """Three seconds of 64 x 48 at 10 a second, the picture brighter from frame to frame."""
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream(codec, rate=10)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = 64, 48, pixels
        for index in range(10 * SECONDS):
            grey = np.full((48, 64, 3), 8 * index, np.uint8)
            frame = av.VideoFrame.from_ndarray(grey, format="rgb24")
            frame.pts, frame.time_base = first + index, Fraction(1, 10)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    with Project.create(tmp_path / "project") as project:
        yield project


def test_the_id_is_that_of_the_path() -> None:
    assert video_id("videos/a.mp4") != video_id("videos/b.mp4")
    assert video_id("videos/a.mp4") == "fd630f6fddb7"


@pytest.mark.parametrize(
    ("name", "codec", "pixels", "playable"),
    [
        ("a.mp4", "libx264", "yuv420p", True),
        ("a.mp4", "libx264", "yuv444p", False),
        ("a.mp4", "mpeg4", "yuv420p", False),
        ("a.webm", "libvpx", "yuv420p", True),
        ("a.webm", "libvpx-vp9", "yuv420p", True),
        ("a.avi", "mjpeg", "yuvj420p", False),
        ("a.mkv", "libx264", "yuv420p", False),
    ],
)
def test_facts(tmp_path: Path, name: str, codec: str, pixels: str, playable: bool) -> None:
    facts = facts_of(encode(tmp_path / name, codec, pixels))
    assert facts.playable == playable
    assert (facts.width, facts.height, facts.rate_fps) == (64, 48, 10)
    assert facts.seconds == pytest.approx(SECONDS, abs=0.01)


def test_a_recording_of_a_browser_that_says_no_length_is_read_to_its_end(tmp_path: Path) -> None:
    file = encode(tmp_path / "take.webm", "libvpx", live="1")
    with av.open(str(file)) as container:
        assert not container.duration
    facts = facts_of(file)
    assert facts.seconds == pytest.approx(SECONDS, abs=0.01)
    assert facts.rate_fps == pytest.approx(10, rel=0.01)
    assert facts.playable


def test_thumbnails_are_of_the_times_that_they_say(project: Project) -> None:
    encode(project.folder / "videos" / "a.mkv", "ffv1", "bgr0", first=50)
    (video,) = project.videos()
    assert video.begin == pytest.approx(5, abs=0.01)
    made = sprite(video, project.cache, isolation_of())
    assert (made.tile_width, made.tile_height, len(made.times)) == (96, 72, SECONDS)
    sheet = np.asarray(Image.open(made.file))
    assert sheet.shape == (72, 96 * made.columns, 3)
    for place, seconds in enumerate(made.times):
        tile = sheet[:, 96 * place : 96 * (place + 1)]
        assert tile.mean() == pytest.approx(8 * round((seconds - 5) * 10), abs=3)
    changed = made.file.stat().st_mtime_ns
    assert sprite(video, project.cache, isolation_of()).file.stat().st_mtime_ns == changed


def test_frame_times_are_those_of_the_file(project: Project) -> None:
    encode(project.folder / "videos" / "a.mkv", "ffv1", "bgr0", first=50)
    (video,) = project.videos()
    times = frame_times(video, project.cache, isolation_of())
    assert times == read_frame_times(video.file).tolist()
    assert len(times) == 10 * SECONDS


def test_a_copy_is_playable_and_has_the_same_frames_from_0_on(project: Project) -> None:
    encode(project.folder / "videos" / "a.mkv", "ffv1", "bgr0", first=50)
    (video,) = project.videos()
    assert not video.playable and not kept_copy(video, project.cache).exists()
    copy = playable_copy(video, project.cache, isolation_of())
    assert facts_of(copy).playable
    times = np.array(frame_times(video, project.cache, isolation_of())) - video.begin
    np.testing.assert_allclose(read_frame_times(copy)[: len(times)], times, atol=1e-3)
    assert kept_copy(video, project.cache) == copy


def test_another_file_of_the_same_name_is_looked_at_anew(project: Project) -> None:
    place = project.folder / "videos" / "a.avi"
    write_video(place, 25)
    (video,) = project.videos()
    assert len(frame_times(video, project.cache, isolation_of())) == 25
    write_video(place, 50)
    (video,) = project.videos()
    assert video.seconds == 2
    assert len(frame_times(video, project.cache, isolation_of())) == 50


def test_work_that_is_not_wanted_any_more_ends(project: Project) -> None:
    write_video(project.folder / "videos" / "a.avi", 25)
    (video,) = project.videos()
    stop = threading.Event()
    stop.set()
    with pytest.raises(VideoError, match=r"videos/a\.avi: was given up"):
        playable_copy(video, project.cache, isolation_of(stop=stop))
    assert not kept_copy(video, project.cache).exists()


def test_what_cannot_be_kept_is_not_said_to_be_a_damaged_video(project: Project) -> None:
    write_video(project.folder / "videos" / "a.avi", 25)
    (video,) = project.videos()
    project.cache.place(video.path, video.file, "sprite.jpg").mkdir(parents=True)
    with pytest.raises(VideoError, match=r"videos/a\.avi: what is made of it cannot be written"):
        sprite(video, project.cache, isolation_of())


@pytest.mark.parametrize("make", [empty, text])
def test_a_file_that_is_no_video_is_told_and_left_out(project: Project, make: object) -> None:
    file = make(project.folder / "videos")  # type: ignore[operator]
    assert project.videos() == ()
    (path, why), *_ = project.unreadable().items()
    assert path == f"videos/{file.name}"
    assert str(project.folder) not in why
    with pytest.raises(VideoError, match=f"^{file.name}: "):
        project.add_video(file, file.name)
    assert sorted((project.folder / "videos").iterdir()) == [file]


def test_a_video_is_added_from_a_file_and_from_what_it_holds(
    project: Project, tmp_path: Path
) -> None:
    file = write_video(tmp_path / "a.avi")
    one = project.add_video(file, "a.avi", "ida")
    other = project.add_video(io.BytesIO(file.read_bytes()), "A.AVI")
    third = project.add_video(file, "C:\\clips\\a.avi")
    assert [video.path for video in (one, other, third)] == [
        "videos/a.avi",
        "videos/A-2.avi",
        "videos/a-3.avi",
    ]
    assert [video.group for video in project.videos()] == ["", "", "ida"]
    assert one.file.read_bytes() == file.read_bytes()


@given(st.text(max_size=120), st.sampled_from([".mp4", ".WEBM", "", ".exe", ".mp4/", "\x00.avi"]))
def test_a_name_stays_in_its_folder(stem: str, ending: str) -> None:
    try:
        name = safe_name(f"{stem}{ending}", [])
    except ProjectError:
        return
    path = Path("/project/videos", name)
    assert path.parent == Path("/project/videos") and ".." not in path.parts
    assert not name.startswith(".") and len(name.encode()) <= 90
    assert path.suffix in VIDEO_SUFFIXES
    assert safe_name(name, [name]) != name


@pytest.mark.parametrize("name", ["", "..", "/", "a", ".mp4", "a.mp4/..", "a.txt", "../.avi"])
def test_a_name_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(ProjectError, match="is not the name of a video"):
        safe_name(name, [])


def test_only_folders_that_were_named_are_read(tmp_path: Path) -> None:
    lab = write_video(tmp_path / "lab" / "a.avi").parent
    secret = write_video(tmp_path / "secret" / "b.avi")
    (lab / "link.avi").symlink_to(secret)
    with Project.create(tmp_path / "project", [lab]) as project:
        (project.folder / "videos" / "link.avi").symlink_to(secret)
        assert project.videos() == ()
        assert "lies outside of the project" in project.unreadable()["videos/link.avi"]
        for file in (secret, lab / "link.avi", lab / ".." / "secret" / "b.avi"):
            with pytest.raises(ProjectError, match="lies outside of the project"):
                project.import_video(file)
        video = project.import_video(lab / "a.avi", "ida")
        with pytest.raises(ProjectError, match="is in the project already"):
            project.import_video(lab / "a.avi")
        assert video.path == str(lab / "a.avi")
        project.set_labels([Label("run")], "ann")
        project.change(video.id, [{"op": "add", "label": "run", "start": 0, "end": 0.5}], "ann")
        assert (
            f"{video.path},0.0,0.5,run,ida,"
            in (project.folder / "annotations.csv").read_text().splitlines()
        )
    with Project.open(tmp_path / "project") as project:  # without --videos
        assert project.videos() == ()
        assert "name its folder with --videos" in project.unreadable()[video.path]
        assert ",run,ida," in (project.folder / "annotations.csv").read_text()
    with Project.open(tmp_path / "project", [lab]) as project:
        assert len(project.marks(video.id).marks) == 1
        project.remove_video(video.id, "ann")
        assert project.videos() == ()
    assert (lab / "a.avi").exists()


def test_what_a_killed_process_began_to_write_is_removed(tmp_path: Path) -> None:
    with Project.create(tmp_path / "project") as project:
        begun = project.folder / ".cache" / "studio-new-x"
        begun.mkdir(parents=True)
        (begun / "a.mp4").write_bytes(b"half")
    with Project.open(tmp_path / "project") as project:
        assert not begun.exists()
        assert project.videos() == ()


def test_a_video_with_many_thumbnails_has_no_more_than_the_limit(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(videos, "MOST_TILES", 4)
    write_video(project.folder / "videos" / "a.avi", 250)
    (video,) = project.videos()
    assert len(sprite(video, project.cache, isolation_of()).times) == 4
