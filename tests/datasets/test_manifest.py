"""Labelled videos in CSV manifests. No video is opened: empty files do."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actionrnn.config import DataConfig
from actionrnn.datasets.manifest import open_manifest
from actionrnn.datasets.splits import open_dataset
from actionrnn.datasets.tables import DELIMITERS
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
    """Kinetics: the same ten seconds must not be in training and test."""
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


def test_the_same_part_with_two_labels_is_refused(tmp_path: Path) -> None:
    rows = "path,label,start,end\n1.mp4,a,1,2\n1.mp4,b,1.0,2.0\n"
    with pytest.raises(DatasetError, match="lines 2 and 3: 1@1-2 has two labels, 'a' and 'b'"):
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
        ("path,lable\n1.avi,a\n", "path, lable; needed are path and label, possible are group"),
        ("clip,activity\n1,a\n", "has the columns clip, activity; needed are path and label"),
        ("path,Path ,label\n1,2,a\n", "'path' and 'Path' may both be the path: write path over"),
        ("path,label,label\n1,a,b\n", "'label' and 'label' may both be the label: write label"),
        ("video,file,label\n1,2,a\n", "'video' and 'file' may both be the path: write path over"),
        ("path,label,fps,fps\n1,a,2,3\n", "'fps' occurs twice: give each column its own name"),
        ("path,label,start_frame\n1,a,2\n", "'start_frame' may say which part .* write start and"),
        ("path,label\n/,a\n", "line 2: path '/' does not name a file"),
        ("path,label\n../..,a\n", r"line 2: path '\.\./\.\.' does not name a file"),
        ("1.avi 2.avi\n", r"has the columns 1\.avi, 2\.avi; needed are path and label"),
        ("1.avi 30 0\n2.avi 20 1\n", r"has the columns 1\.avi, 30, 0; .* as the first line"),
        ('path,label\n"1.avi,a\n', "line 2: cannot be read as a CSV manifest"),
        ("path,label\n1.avi,a\n,b\n", "line 3: path and label must not be empty"),
        ("path,label\n1.avi,\n", "line 2: path and label must not be empty"),
        ("path,label\n1.avi\n", "line 2: path and label must not be empty"),
        ("path,label,split\n1.avi,a,x\n", "line 2: split 'x' must be train, validation or test"),
        ("path,label\n", "holds no labelled video"),
        ("path,label\n1.avi,a\n1.mp4,b\n", "share the name '1'; rename one"),
        ("path,label\n1.avi,a\n1.avi,b\n", "lines 2 and 3: 1 has two labels, 'a' and 'b'; keep"),
        ("path,label\na/1.avi,a\na/./b/../1.avi,b\n", "lines 2 and 3: a/1 has two labels"),
        ("path,label\na/1.avi,a\na\\1.avi,b\n", "lines 2 and 3: a/1 has two labels"),
        ("path,label,split\n1,a,train\n1,a,test\n", "1 has two splits, 'train' and 'test'"),
        ("path,label,group\n1,a,x\n1,a,y\n", "1 has two groups, 'x' and 'y'"),
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
    with pytest.raises(DatasetError, match=r"clips\.csv: (cannot be read \(|is not text)"):
        open_manifest(file)


ROWS = [("a/1.avi", "bend"), ("a/2.avi", "run")]


def read(folder: Path, text: str | bytes) -> list[tuple[str, str]]:
    """The keys and labels of a list."""
    file = folder / "clips.csv"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return [(clip.key, clip.label) for clip in open_manifest(file).clips]


@pytest.mark.parametrize(
    "text",
    [
        "path,label\na/1.avi,bend\na/2.avi,run\n",
        "Path, Label\na/1.avi, bend\na/2.avi, run\n",
        "PATH;LABEL\na/1.avi;bend\na/2.avi;run\n",
        "label\tpath\nbend\ta/1.avi\nrun\ta/2.avi\n",
        "path  label\na/1.avi  bend\na/2.avi run \n",
        ",path,label\n0,a/1.avi,bend\n1,a/2.avi,run\n",
        "Unnamed: 0,path,label\n0,a/1.avi,bend\n1,a/2.avi,run\n",
        "id,index,path,label\n0,7,a/1.avi,bend\n1,8,a/2.avi,run\n",
        "path,label,\na/1.avi,bend,\na/2.avi,run,\n,,\n",
        "video_path,class\na/1.avi,bend\na/2.avi,run\n",
        "File Name;Category;Subset\na/1.avi;bend;train\na/2.avi;run;dev\n",
        "name,label\na/1.avi,bend\na/2.avi,run\n",
        "class,path,label\n0,a/1.avi,bend\n1,a/2.avi,run\n",
        "a/1.avi bend\na/2.avi run\n",
        "a/1.avi,bend\na/2.avi,run",
        "a/1.avi;bend\r\na/2.avi;run\r\n",
        "a/1.avi\tbend\ra/2.avi\trun\r",
        "\n\npath,label\n\na\\1.avi,bend\na\\2.avi,run\n",
        "path,label\na/1.avi,bend\n./a//2.avi,run\na/1.avi,bend\n",
        "path,label\na/1,bend\na/2,run\n",
        "a/1 bend\na/2 run\n",
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_the_lists_of_others_say_the_same(tmp_path: Path, text: str, encoding: str) -> None:
    (tmp_path / "a").mkdir()
    for name, _ in ROWS:
        (tmp_path / name).touch()
    assert read(tmp_path, text.encode(encoding)) == [("a/1", "bend"), ("a/2", "run")]
    clips = open_manifest(tmp_path / "clips.csv").clips
    assert all(clip.path.is_file() for clip in clips)


def test_labels_may_be_numbers_as_in_kinetics_lists(tmp_path: Path) -> None:
    (tmp_path / "v_x_g01_c01.avi").touch()
    text = "v_x_g01_c01 0\nv_y_g01_c01 12\n"
    assert read(tmp_path, text) == [("v_x_g01_c01", "0"), ("v_y_g01_c01", "12")]


def test_columns_that_mean_nothing_here_are_named(tmp_path: Path) -> None:
    text = "id,path,label,fps,camera\n0,1.avi,a,25,left\n"
    dataset = open_manifest(write_manifest(tmp_path, text))
    (note,) = dataset.notes
    assert note == (
        "the manifest's columns fps, camera are not used; "
        "read are path, label, group, split, start and end"
    )


def test_a_clip_that_is_listed_again_is_one(tmp_path: Path) -> None:
    text = f"path,label\n1.avi,a\n2.avi,b\n./1.avi,a\n{tmp_path}/2.avi,b\n"
    dataset = open_manifest(write_manifest(tmp_path, text))
    assert [clip.key for clip in dataset.clips] == ["1", "2"]
    assert dataset.notes == ("2 rows list a clip again, which counts once (the first: line 4: 1)",)


@pytest.mark.parametrize(
    ("cell", "side"),
    [
        *(("train", "train"), ("Train", "train"), ("training", "train")),
        *(("val", "validation"), ("VALID", "validation"), ("Validation", "validation")),
        *(("dev", "validation"), ("validate", "validation")),
        *(("TEST", "test"), ("testing", "test"), ("", None)),
    ],
)
def test_the_sides_have_the_names_that_others_give_them(
    tmp_path: Path, cell: str, side: str | None
) -> None:
    (clip,) = open_manifest(write_manifest(tmp_path, f"path,label,split\n1,a,{cell}\n")).clips
    assert clip.split == side


def test_a_name_without_its_ending_must_mean_one_file(tmp_path: Path) -> None:
    for name in ("1.avi", "1.mp4", "1.txt", "v.2.avi"):
        (tmp_path / name).touch()
    with pytest.raises(
        DatasetError, match=r"line 2: '1' may be 1\.avi or 1\.mp4; write the ending"
    ):
        read(tmp_path, "path,label\n1,a\n")
    assert read(tmp_path, "path,label\n1.mp4,a\nv.2,b\n") == [("1", "a"), ("v.2", "b")]


def test_a_name_that_holds_a_backslash_is_that_file(tmp_path: Path) -> None:
    (tmp_path / "a\\1.avi").touch()
    (clip,) = open_manifest(write_manifest(tmp_path, "path,label\na\\1.avi,x\n")).clips
    assert clip.path == tmp_path / "a\\1.avi"


def test_rows_without_a_file_are_said_at_once(tmp_path: Path) -> None:
    rows = f"path,label\n1.avi,a\n2.avi,b\n{'x' * 300}.avi,b\n"
    config = DataConfig(layout="manifest", root=str(write_manifest(tmp_path, rows)))
    with pytest.raises(
        DatasetError, match=r"none of the videos of its 3 clips exists \(the first: .*1\.avi"
    ):
        open_dataset(config)
    (tmp_path / "1.avi").touch()
    notes = open_dataset(config).notes
    left_out = "2 of 3 clips are left out, as their files do not exist (the first: 2)"
    assert left_out in notes


def test_a_cell_may_hold_a_line_break(tmp_path: Path) -> None:
    text = 'path,label\n"a\nb.avi",run\n"c"".avi",bend\n'
    assert read(tmp_path, text) == [("a\nb", "run"), ('c"', "bend")]
    with pytest.raises(DatasetError, match="holds control characters"):
        read(tmp_path, 'path,label\n1.avi,"run\n2.avi,bend"\n')


CELLS = st.text(st.sampled_from("abzÄ張 ,;\t'\"|.-_#"), min_size=1, max_size=8).map(
    lambda text: f"x{text}y"
)


@settings(deadline=None, max_examples=60, derandomize=True)
@given(data=st.data())
def test_a_table_is_read_back_however_it_was_written(
    data: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    names = data.draw(st.lists(CELLS, min_size=1, max_size=4, unique=True))
    rows = {
        f"{name}.avi": (
            data.draw(CELLS.filter(lambda text: "\t" not in text)),
            data.draw(CELLS),
            data.draw(st.sampled_from([None, "train", "validation", "test"])),
            data.draw(st.sampled_from([None, 0.0, 1.25])),
        )
        for name in names
    }
    columns = data.draw(st.permutations(["path", "label", "group", "split", "start", "fps"]))
    delimiter = data.draw(st.sampled_from(DELIMITERS))
    capital = data.draw(st.booleans())
    text = io.StringIO()
    end = data.draw(st.sampled_from(["\n", "\r\n", "\r"]))
    quoting = csv.QUOTE_ALL if delimiter == " " else csv.QUOTE_MINIMAL
    writer = csv.writer(text, delimiter=delimiter, lineterminator=end, quoting=quoting)
    writer.writerow([column.title() if capital else column for column in columns])
    for name, (label, group, side, start) in rows.items():
        cells = {"path": name, "label": label, "group": group, "split": side, "start": start}
        writer.writerow([cells.get(column) for column in columns])
    file = tmp_path_factory.getbasetemp() / "drawn.csv"
    file.write_bytes(text.getvalue().encode(data.draw(st.sampled_from(["utf-8", "utf-16"]))))
    found = {
        clip.path.name: (clip.label, clip.group, clip.split, clip.start_seconds)
        for clip in open_manifest(file).clips
    }
    assert found == rows


@settings(deadline=None, max_examples=150, derandomize=True)
@given(content=st.text(st.sampled_from('ab/\\.,;\t "\n\r\0path,label')) | st.binary(max_size=60))
def test_any_content_is_read_or_refused(
    content: str | bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = tmp_path_factory.getbasetemp() / "any.csv"
    for head in (b"", b"path,label\n"):
        file.write_bytes(head + (content if isinstance(content, bytes) else content.encode()))
        try:
            dataset = open_manifest(file)
        except DatasetError as error:
            assert "\n" not in str(error)
        else:
            assert dataset.clips


def test_parts_of_a_video_are_of_one_group_however_it_is_written(tmp_path: Path) -> None:
    rows = f"path,label,start,end\na/1.avi,a,0,1\n{tmp_path}/a/1.avi,b,1,2\na\\1.avi,b,2,3\n"
    clips = open_manifest(write_manifest(tmp_path, rows)).clips
    assert [clip.key for clip in clips] == ["a/1@0-1", "a/1@1-2", "a/1@2-3"]
    assert {clip.group for clip in clips} == {"a/1"}


def test_rows_without_a_group_are_counted_and_the_group_pattern_fills_them(tmp_path: Path) -> None:
    rows = ["path,label,group", "ann_1.avi,run,ann", "bob_1.avi,run,", "cid_1.avi,bend,cid"]
    file = tmp_path / "clips.csv"
    file.write_text("\n".join(rows))
    assert open_manifest(file).notes == ("1 of 3 rows have no group: each is its own group",)
    assert open_manifest(file, "^([a-z]+)_").notes == ()
