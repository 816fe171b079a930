"""Labelled videos in CSV manifests. No video is opened: empty files do."""

from __future__ import annotations

from pathlib import Path

import pytest

from actionrnn.datasets.manifest import open_manifest
from actionrnn.errors import DatasetError


def write_manifest(folder: Path, text: str) -> Path:
    file = folder / "clips.csv"
    file.write_text(text, encoding="utf-8")
    return file


def test_a_manifest_names_path_label_group_and_split(tmp_path: Path) -> None:
    rows = "path,label,group,split\nb/2.avi,run, daria ,test\na/1.avi,bend,ido,train\n"
    dataset = open_manifest(write_manifest(tmp_path, rows))
    found = [(c.path, c.key, c.label, c.group, c.split) for c in dataset.clips]
    assert found == [
        (tmp_path / "a/1.avi", "a/1", "bend", "ido", "train"),
        (tmp_path / "b/2.avi", "b/2", "run", "daria", "test"),
    ]


def test_parts_of_a_video_are_clips_of_one_group(tmp_path: Path) -> None:
    """Kinetics: the same ten seconds must not stand in training and test."""
    parts = ["v/1.mp4,run,0,10.5", "v/1.mp4,bend,10.5,", "v/1.mp4,run,,3", "w.mp4,run,,"]
    rows = "\n".join(["path,label,start,end", *parts])
    clips = open_manifest(write_manifest(tmp_path, rows)).clips
    assert [(c.key, c.group, c.start_seconds, c.end_seconds) for c in clips] == [
        ("v/1@-3", "v/1", None, 3.0),
        ("v/1@0-10.5", "v/1", 0.0, 10.5),
        ("v/1@10.5-", "v/1", 10.5, None),
        ("w", "w", None, None),
    ]
    assert len({clip.path for clip in clips}) == 2


def test_the_pattern_sees_the_name_of_a_part_s_video(tmp_path: Path) -> None:
    rows = "path,label,start,end\nann_1.mp4,a,0,1\nann_1.mp4,b,1,2\n"
    clips = open_manifest(write_manifest(tmp_path, rows), "^([a-z]+)_").clips
    assert {clip.group for clip in clips} == {"ann"}


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        ("2,1", r"line 2: start \(2\) must be less than end \(1\)"),
        ("2,2", r"line 2: start \(2\) must be less than end \(2\)"),
        ("0:10,", "line 2: start '0:10' must be a number of seconds"),
        (",nan", "line 2: end 'nan' must be a number of seconds"),
        (",inf", "line 2: end 'inf' must be a number of seconds"),
    ],
)
def test_an_impossible_part_is_refused(tmp_path: Path, cells: str, reason: str) -> None:
    rows = f"path,label,start,end\n1.mp4,a,{cells}\n2.mp4,b,,\n"
    with pytest.raises(DatasetError, match=reason):
        open_manifest(write_manifest(tmp_path, rows))


def test_the_same_part_twice_is_refused(tmp_path: Path) -> None:
    rows = "path,label,start,end\n1.mp4,a,1,2\n1.mp4,b,1.0,2.0\n"
    with pytest.raises(DatasetError, match="share the name '1@1-2'"):
        open_manifest(write_manifest(tmp_path, rows))


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_a_manifest_from_a_spreadsheet_is_read(tmp_path: Path, newline: str, mark: str) -> None:
    rows = [mark + "label,path", '"walk, then run",1.avi', "bend,2.avi", ""]
    file = tmp_path / "clips.csv"
    file.write_bytes(newline.join(rows).encode())
    assert open_manifest(file).labels == ("bend", "walk, then run")


def test_a_manifest_without_groups_takes_the_pattern_or_the_clip(tmp_path: Path) -> None:
    file = write_manifest(tmp_path, "path,label,group\nx_1.avi,a,\ny_1.avi,b,own\n")
    assert [clip.group for clip in open_manifest(file).clips] == ["x_1", "own"]
    assert [clip.group for clip in open_manifest(file, "^([a-z])_").clips] == ["x", "own"]


def test_a_manifest_may_point_elsewhere_but_its_keys_stay_inside(tmp_path: Path) -> None:
    """A key names a file below the feature store."""
    elsewhere = tmp_path / "elsewhere" / "1.avi"
    file = write_manifest(tmp_path, f"path,label\n{elsewhere},a\n../../up/2.avi,b\n./3.avi,b\n")
    clips = open_manifest(file).clips
    assert elsewhere in [clip.path for clip in clips]
    for clip in clips:
        assert not Path(clip.key).is_absolute()
        assert ".." not in Path(clip.key).parts


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "has the columns none; needed are path and label"),
        ("path\n1.avi\n", "has the columns path; needed are path and label"),
        (
            "path,label,colour\n1.avi,a,red\n",
            "path, label, colour; .* possible are group, split, start and end",
        ),
        ("path,label\n1.avi,a\n,b\n", "line 3: path and label must not be empty"),
        ("path,label\n1.avi,\n", "line 2: path and label must not be empty"),
        ("path,label\n1.avi\n", "line 2: path and label must not be empty"),
        ("path,label,split\n1.avi,a,validation\n", "line 2: split 'validation' must be train or"),
        ("path,label\n", "holds no labelled video"),
        ("path,label\n1.avi,a\n1.mp4,b\n", "share the name '1'; rename one"),
        ("path,label\n1.avi,a\n1.avi,b\n", "share the name '1'; rename one"),
    ],
)
def test_a_manifest_of_another_form_is_refused_in_one_line(
    tmp_path: Path, text: str, reason: str
) -> None:
    with pytest.raises(DatasetError, match=reason) as caught:
        open_manifest(write_manifest(tmp_path, text))
    assert "\n" not in str(caught.value)


def test_a_row_with_too_many_cells_is_refused(tmp_path: Path) -> None:
    """A name with a comma and no quotes must not be cut without a word."""
    rows = "path,label\n1.avi,walk, then run\n2.avi,bend\n"
    with pytest.raises(DatasetError, match="line 2"):
        open_manifest(write_manifest(tmp_path, rows))


def test_a_line_is_counted_as_an_editor_counts_it(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="line 4: path and label"):
        open_manifest(write_manifest(tmp_path, "path,label\n1.avi,a\n\n,b\n"))


@pytest.mark.parametrize("content", [b"path,label\n\xff\xfe,a\n", None])
def test_a_manifest_that_cannot_be_read_is_refused(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "clips.csv"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(DatasetError, match=r"clips\.csv: cannot be read as a CSV manifest"):
        open_manifest(file)
