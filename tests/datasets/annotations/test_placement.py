"""What does not fit the videos is named before anybody trains on it."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from actionrnn.datasets.annotations.formats import read_annotations, videos_of
from actionrnn.datasets.annotations.marks import ReadOptions
from actionrnn.datasets.annotations.placement import misplaced
from actionrnn.video.writer import VideoWriter


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    folder = tmp_path / "videos"
    folder.mkdir()
    with VideoWriter(folder / "v.mp4", time_base=Fraction(1, 1000)) as writer:
        for tick in range(0, 4000, 40):
            writer.write(np.zeros((32, 48, 3), np.uint8), tick)
    return folder


def problems(folder: Path, *rows: str) -> list[str]:
    file = folder / "labels.csv"
    file.write_text("\n".join(["path,start,end,label", *rows]))
    marks = read_annotations(file, ReadOptions(videos=folder))
    found = list(misplaced(marks, videos_of(marks, folder)))
    assert not any("\n" in line for line in found)
    return found


def test_marks_within_their_video_are_no_problem(videos: Path) -> None:
    rows = ["v.mp4,0,1,run", "v.mp4,-0.05,4.05,run", "v.mp4,,,run", "v.mp4,4,4,hop", "v,1,2,run"]
    assert problems(videos, *rows) == []


def test_marks_outside_of_their_video_are_named_with_its_length(videos: Path) -> None:
    rows = ["v.mp4,5,6,run", "v.mp4,70,80,run", "v.mp4,9,9,hop", "v.mp4,-3,-2,run"]
    assert problems(videos, *rows) == [
        "4 marks lie outside of their videos and count nowhere (the first: line 2: run 5-6 s of "
        "v.mp4, which is 4 s long); write seconds on the clock of the video"
    ]


def test_marks_that_begin_before_or_end_after_their_video_are_named(videos: Path) -> None:
    rows = ["v.mp4,-2.5,1,run", "v.mp4,-1,1,run", "v.mp4,3,4.2,walk", "v.mp4,3,7,run"]
    assert problems(videos, *rows) == [
        "2 marks begin before their videos, by up to 2.5 s, and count from there (the first: line "
        "2: run -2.5-1 s of v.mp4, which is 4 s long)",
        "2 marks end after their videos, by up to 3 s, and count until there (the first: line 4: "
        "walk 3-4.2 s of v.mp4, which is 4 s long)",
    ]


def test_marks_of_several_clocks_are_named(videos: Path) -> None:
    found = problems(videos, "v.mp4,1,2,run", "v.mp4,1000,2000,walk")
    assert [line.split(" (")[0] for line in found[:1]] == [
        "1 marks lie outside of their videos and count nowhere"
    ]
    assert found[1] == (
        "1 videos have marks of several clocks, or of another video: some fit, as line 2: run 1-2 "
        "s of v.mp4, which is 4 s long, and others do not, as line 3: walk 1000-2000 s of v.mp4, "
        "which is 4 s long"
    )


def test_missing_ambiguous_and_unreadable_videos_are_named(videos: Path) -> None:
    (videos / "broken.mp4").write_bytes(b"no video")
    for name in ("two.mp4", "two.avi"):
        (videos / name).touch()
    rows = ["v.mp4,0,1,run", "absent.mp4,0,1,run", "gone,0,1,run", "broken.mp4,0,1,run"]
    missing, unusable = problems(videos, *rows)
    assert missing == (
        f"2 of 4 videos are not in {videos} (the first: absent.mp4); say where they are "
        "(--videos, data.videos)"
    )
    assert unusable.startswith("1 videos cannot be used (the first: ")
    assert "broken.mp4" in unusable
    (unusable,) = problems(videos, "two,0,1,run")
    assert "'two' may be two.avi or two.mp4; write the ending" in unusable


def test_without_the_video_its_length_is_that_of_the_file(tmp_path: Path) -> None:
    from actionrnn.datasets.annotations.marks import Mark, Marks
    from actionrnn.datasets.video_names import VideoNames

    marks = Marks(
        tmp_path / "a.tsv", "any", (Mark("run", 9, 12, "v.mp4"),), duration_seconds={"v.mp4": 10}
    )
    _, late = misplaced(marks, VideoNames(tmp_path, elsewhere=True))
    assert "end after their videos, by up to 2 s" in late
    assert "v.mp4, which is 10 s long" in late


def test_a_broken_video_does_not_stop_the_reading_of_the_others(videos: Path) -> None:
    from actionrnn.datasets.annotations.formats import write_annotations
    from actionrnn.datasets.annotations.marks import Mark, Marks

    (videos / "broken.mp4").write_bytes(b"no video")
    made = Marks(videos, "any", (Mark("run", 0, 1, "broken.mp4"), Mark("run", 0, 1, "v.mp4")))
    write_annotations(made, videos / "a.json", "activitynet")
    assert len(read_annotations(videos / "a.json", ReadOptions()).marks) == 2
