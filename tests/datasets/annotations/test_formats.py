"""A file of any format is known by what it holds, and goes through others and back."""

from __future__ import annotations

import shutil
from collections import Counter
from fractions import Fraction
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from actionrnn.datasets.annotations.formats import (
    Format,
    read_annotations,
    require_writable,
    with_paths_from,
    write_annotations,
)
from actionrnn.datasets.annotations.marks import Mark, Marks, ReadOptions
from actionrnn.errors import DatasetError
from actionrnn.video.probe import read_frame_times
from actionrnn.video.writer import VideoWriter

ENDINGS: dict[Format, str] = {
    "csv": "csv",
    "boris": "tsv",
    "elan": "eaf",
    "label-studio": "json",
    "activitynet": "json",
    "frames": "txt",
    "deepethogram": "csv",
}
RATE_FPS = 25


def write_video(path: Path, begin_seconds: float = 0.0, seconds: float = 4.0) -> Path:
    with VideoWriter(path, time_base=Fraction(1, 1000)) as writer:
        for tick in range(0, round(1000 * seconds), 40):
            writer.write(np.zeros((32, 48, 3), np.uint8), tick)
    if begin_seconds:
        shift_clock(path, begin_seconds)
    return path


def intervals(marks: Marks) -> list[tuple[str, float, float]]:
    found = [(one.label, one.start_seconds or 0.0, one.end_seconds or 0.0) for one in marks.marks]
    return sorted(found, key=lambda one: one[1])


def test_every_format_that_is_written_is_known_again(tmp_path: Path) -> None:
    marks = Marks(
        tmp_path / "made",
        "any",
        (Mark("walk", 0.0, 1.2, "v.mp4"), Mark("run", 1.2, 2.0, "v.mp4")),
        duration_seconds={"v.mp4": 2.0},
    )
    assert set(ENDINGS) == set(get_args(Format))
    for name, ending in ENDINGS.items():
        (tmp_path / name).mkdir()
        file = tmp_path / name / f"v.{ending}"
        write_annotations(marks, file, name, rate_fps=RATE_FPS)
        found = read_annotations(file, ReadOptions(rate_fps=RATE_FPS))
        assert [one[0] for one in intervals(found)] == ["walk", "run"], name
        assert np.allclose([one[1:] for one in intervals(found)], [(0, 1.2), (1.2, 2)]), name


def test_the_ending_tells_the_format_unless_it_may_be_several(tmp_path: Path) -> None:
    assert require_writable(tmp_path / "a.EAF") == "elan"
    assert require_writable(tmp_path / "a.json", "activitynet") == "activitynet"
    with pytest.raises(DatasetError, match=r"a\.json: its ending tells no format; say one of csv"):
        require_writable(tmp_path / "a.json")


@pytest.mark.parametrize("name", ["label-studio", "frames", "deepethogram"])
def test_a_format_that_counts_frames_asks_for_their_rate(tmp_path: Path, name: Format) -> None:
    marks = Marks(tmp_path / "made", "any", (Mark("walk", 0, 1, "v.mp4"),))
    with pytest.raises(DatasetError, match=f"{name} counts frames; say how many a second"):
        write_annotations(marks, tmp_path / "out.json", name)
    assert not (tmp_path / "out.json").exists()


def test_files_of_a_folder_are_read_together(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("SIL\nwalk\nwalk\n")
    (tmp_path / "b.txt").write_text("run\nrun")
    (tmp_path / "mapping.txt").write_text("0 SIL\n1 walk\n2 run\n")
    found = read_annotations(tmp_path, ReadOptions(rate_fps=10, labels=("run", "walk")))
    assert [(one.video, one.label, one.where.split()[0]) for one in found.marks] == [
        ("a", "walk", "a.txt"),
        ("b", "run", "b.txt"),
    ]
    assert found.looked_at == {"a": ((0, 0.3),), "b": ((0, 0.2),)}
    with pytest.raises(DatasetError, match="has no label 'hop'; there are SIL, walk, run"):
        read_annotations(tmp_path, ReadOptions(rate_fps=10, labels=("hop",)))


def test_a_folder_of_several_formats_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("walk\nwalk\n")
    (tmp_path / "b.csv").write_text("path,start,end,label\nb,0,1,run\n")
    with pytest.raises(DatasetError, match=r"several formats \(per-frame text and CSV"):
        read_annotations(tmp_path, ReadOptions(rate_fps=10))
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError, match="holds no file of annotations"):
        read_annotations(tmp_path / "empty", ReadOptions())


@pytest.mark.parametrize("content", ["<xml/>", '{"a": 1}', "no such thing\n", "", "[1, 2"])
def test_what_is_no_annotation_is_refused_in_one_line(tmp_path: Path, content: str) -> None:
    for ending in ("json", "xml", "csv", "txt"):
        file = tmp_path / f"a.{ending}"
        file.write_text(content)
        with pytest.raises(DatasetError, match=rf"a\.{ending}"):
            read_annotations(file, ReadOptions(rate_fps=25))


# Videos whose clock begins late.


def shift_clock(path: Path, seconds: float) -> None:
    """As a recorder that was started long ago writes them."""
    import av

    late = path.with_name("late.ts")
    with av.open(str(path)) as source, av.open(str(late), "w", format="mpegts") as out:
        stream = out.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(source.streams.video[0]):
            if packet.dts is None:
                continue
            ticks = round(seconds / packet.time_base)
            packet.pts += ticks
            packet.dts += ticks
            packet.stream = stream
            out.mux(packet)
    shutil.move(late, path)


def test_a_tool_counts_from_the_first_frame_and_a_csv_by_the_video_s_clock(tmp_path: Path) -> None:
    video = write_video(tmp_path / "v.ts", begin_seconds=50_000)
    begin = read_frame_times(video)[0]
    assert begin > 49_000
    text = f"path,start,end,label\nv.ts,{begin + 1:.3f},{begin + 2:.3f},walk\n"
    (tmp_path / "own.csv").write_text(text)
    own = read_annotations(tmp_path / "own.csv", ReadOptions())
    assert intervals(own) == [("walk", pytest.approx(begin + 1), pytest.approx(begin + 2))]
    write_annotations(own, tmp_path / "v.eaf")
    raw = (tmp_path / "v.eaf").read_text()
    assert 'TIME_VALUE="1' in raw
    found = read_annotations(tmp_path / "v.eaf", ReadOptions())
    assert intervals(found) == [
        ("walk", pytest.approx(begin + 1, abs=0.5), pytest.approx(begin + 2, abs=0.5))
    ]
    assert "1 videos have a clock that begins late" in found.notes[-1]
    (tmp_path / "v.txt").write_text("\n".join(["walk"] * 50 + ["run"] * 50))
    by_frames = read_annotations(tmp_path / "v.txt", ReadOptions())
    assert intervals(by_frames)[0][1] == pytest.approx(begin)
    by_rate = read_annotations(tmp_path / "v.txt", ReadOptions(rate_fps=25))
    assert intervals(by_rate)[0][1] == pytest.approx(begin, abs=0.5)


# Real files.


@pytest.mark.realdata
def test_every_real_file_is_read_or_refused_and_goes_round_trip(
    real_data: Path, tmp_path: Path
) -> None:
    outcome: Counter[str] = Counter()
    for file in sorted((real_data / "annotations").rglob("*")):
        if not file.is_file() or file.name == "README.md":
            continue
        try:
            marks = read_annotations(file, ReadOptions(rate_fps=25))
        except DatasetError:
            outcome["refused"] += 1
            continue
        outcome[marks.format.split(",")[0]] += 1
        copy = tmp_path / "copy.csv"
        write_annotations(marks, copy)
        of_videos = tuple(mark for mark in marks.marks if mark.video)
        if of_videos:
            assert read_annotations(copy, ReadOptions()).marks == of_videos, file
    assert outcome == {
        "ActivityNet": 4,
        "BORIS": 16,
        "CVAT": 2,
        "DeepEthogram": 1,
        "ELAN": 6,
        "Kinetics": 1,
        "Label Studio": 4,
        "Praat TextGrid": 9,
        "per-frame text": 7,
        "refused": 21,
    }


# What files of a folder say of one video.


def test_where_somebody_looked_is_united_over_files_and_spellings(tmp_path: Path) -> None:
    from actionrnn.datasets.annotations.dataset import make_dataset
    from actionrnn.datasets.recordings import BACKGROUND
    from actionrnn.datasets.video_names import VideoNames

    marks = Marks(
        tmp_path,
        "any",
        (Mark("run", 1, 1.5, "a.mp4"),),
        {"a.mp4": ((0, 3), (1.5, 4)), str(tmp_path / "a.mp4"): ((6, 7),), "": ((0, 9),)},
    )
    dataset = make_dataset(marks, VideoNames(tmp_path), background=True)
    (recording,) = dataset.recordings
    background = [one.suffix for one in recording.annotations if one.label == BACKGROUND]
    assert background == ["@0-1", "@1.5-4", "@6-7"]


def test_two_files_with_a_line_a_frame_of_one_video_are_refused(tmp_path: Path) -> None:
    for name in ("v_labels.csv", "v_predictions.csv"):
        (tmp_path / name).write_text(",background,run\n0,1,0\n1,0,1\n")
    with pytest.raises(DatasetError, match=r"several files are of the video 'v'"):
        read_annotations(tmp_path, ReadOptions(rate_fps=10))


def test_files_of_one_tool_are_read_together_whatever_its_version(tmp_path: Path) -> None:
    marks = Marks(tmp_path, "any", (Mark("run", 0, 1, "a.mp4", tier="left"),))
    write_annotations(marks, tmp_path / "a.eaf")
    other = Marks(tmp_path, "any", (Mark("sit", 0, 1, "b.mp4", tier="right"),))
    write_annotations(other, tmp_path / "b.eaf")
    text = (tmp_path / "b.eaf").read_text()
    (tmp_path / "b.eaf").write_text(text.replace('FORMAT="3.0"', 'FORMAT="2.7"'))
    (tmp_path / "._a.eaf").write_bytes(b"\x00\x05\x16\x07")
    (tmp_path / "old").mkdir()
    found = read_annotations(tmp_path, ReadOptions())
    assert [one.label for one in found.marks] == ["run", "sit"]
    assert any("1 folders in it are not looked into (the first: old)" in n for n in found.notes)
    found = read_annotations(tmp_path, ReadOptions(tiers=("right",)))
    assert [one.label for one in found.marks] == ["sit"]
    with pytest.raises(DatasetError, match="has no tier 'up'; there are left, right"):
        read_annotations(tmp_path, ReadOptions(tiers=("up",)))


@pytest.mark.parametrize("count", [60, 94, 106])
def test_a_file_of_another_rate_is_refused_not_read_too_fast(tmp_path: Path, count: int) -> None:
    write_video(tmp_path / "v.mp4")  # 100 frames
    (tmp_path / "v.txt").write_text("\n".join(["walk"] * count))
    with pytest.raises(DatasetError, match=r"which has 100 frames|v has 100 frames.*rate"):
        read_annotations(tmp_path / "v.txt", ReadOptions())


def test_a_file_that_lacks_a_few_frames_is_read_and_that_is_said(tmp_path: Path) -> None:
    write_video(tmp_path / "v.mp4")
    (tmp_path / "v.txt").write_text("\n".join(["walk"] * 98))
    found = read_annotations(tmp_path / "v.txt", ReadOptions())
    assert "2 of 100 frames have no line" in found.notes


# Paths of several machines.


def write_elan(folder: Path, name: str, *marks: Mark) -> None:
    write_annotations(Marks(folder, "any", marks), folder / name)


def test_two_people_s_paths_to_one_video_are_one_recording(tmp_path: Path) -> None:
    from actionrnn.config import DataConfig
    from actionrnn.datasets.splits import open_dataset

    files, videos = tmp_path / "files", tmp_path / "videos"
    files.mkdir(), videos.mkdir()
    write_video(videos / "rec1.mp4")
    write_elan(files, "anna.eaf", Mark("walk", 0, 1, "C:\\Anna\\rec1.mp4"))
    write_elan(files, "ben.eaf", Mark("run", 2, 3, "/home/ben/rec1.mp4"))
    config = DataConfig(root=str(files), videos=str(videos), layout="annotations")
    dataset = open_dataset(config)
    assert len(dataset.recordings) == 1
    assert [clip.key for clip in dataset.clips] == ["rec1@0-1", "rec1@2-3"]
    (note,) = [note for note in dataset.notes if "machines" in note]
    assert note == (
        "1 videos are named by paths of several machines, which are taken for one (the first: "
        "rec1.mp4, by C:/Anna/rec1.mp4 and /home/ben/rec1.mp4)"
    )
    (videos / "old").mkdir()
    shutil.copy(videos / "rec1.mp4", videos / "old" / "rec1.mp4")
    with pytest.raises(DatasetError, match=r"may both be .*2 videos of that name"):
        open_dataset(config)


def test_two_paths_of_one_file_are_two_videos(tmp_path: Path) -> None:
    marks = (Mark("walk", 0, 1, "/cards/1/rec.mp4"), Mark("run", 2, 3, "/cards/2/rec.mp4"))
    write_annotations(Marks(tmp_path, "any", marks), tmp_path / "all.json", "activitynet")
    assert len(read_annotations(tmp_path / "all.json", ReadOptions()).videos) == 2
    write_video(tmp_path / "rec.mp4")
    for path in (tmp_path / "all.json", tmp_path):
        with pytest.raises(DatasetError, match=r"all\.json: .*cards/1.*cards/2.*may both be"):
            read_annotations(path, ReadOptions())


def test_where_both_looked_is_united_when_their_paths_become_one(tmp_path: Path) -> None:
    (tmp_path / "rec.mp4").touch()
    marks = Marks(
        tmp_path, "any", (), {"C:\\Anna\\rec.mp4": ((0, 1),), "/home/ben/rec.mp4": ((2, 3),)}
    )
    assert with_paths_from(marks, tmp_path).looked_at == {"rec.mp4": ((0, 1), (2, 3))}


def test_a_csv_whose_videos_are_missing_keeps_its_paths(tmp_path: Path) -> None:
    """A video of the same name that lies elsewhere is not meant."""
    write_video(tmp_path / "rec.mp4", seconds=1)
    file = tmp_path / "marks.csv"
    file.write_text("path,start,end,label\nx/rec.mp4,0,1,a\ny/rec.mp4,0,1,b\n")
    moved = with_paths_from(read_annotations(file, ReadOptions()), tmp_path / "out")
    assert [one.video for one in moved.marks] == ["x/rec.mp4", "y/rec.mp4"]
