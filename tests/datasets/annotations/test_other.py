"""A format that is not read is named, with the CSV to write instead; Kinetics is read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from actionrnn.datasets.annotations.activitynet import is_activitynet
from actionrnn.datasets.annotations.deepethogram import is_deepethogram
from actionrnn.datasets.annotations.frame_labels import is_frame_labels
from actionrnn.datasets.annotations.kinetics import is_kinetics, read_kinetics
from actionrnn.datasets.annotations.label_studio_tasks import is_label_studio
from actionrnn.datasets.annotations.marks import ReadOptions
from actionrnn.datasets.annotations.other import refusal
from actionrnn.datasets.annotations.text import read_text
from actionrnn.errors import DatasetError

WANTED = "write CSV with the columns path, start, end, label in seconds (start <= t < end)"
FORMATS = {
    "Bento": "Bento annotation file\nMovie file(s): a.seq\n\nCh1----------\n>attack\n",
    "EPIC-KITCHENS": "narration_id,video_id,start_timestamp,stop_timestamp,verb,noun\n"
    "P01_0,P01,00:00:00.00,00:00:01.89,take,plate\n",
    "Charades": "id,subject,actions,length\nYSKX3,CP6Y,c077 12.10 18.00;c079 11.80 17.30,16.62\n",
    "AVA": "vid,1,0,0.001,0.98,0.94,1,1\nvid,1,0,0.001,0.98,0.94,8,\n",
    "JWatcher": "FirstLineOfData=25\n# Name: a.dat\n5531, g\n",
    "Solomon": "Time,Light,Behaviour\n0,,\n0.04,on,rest\n",
    "VIA": "# Exported using VGG\n# CSV_HEADER = metadata_id,file_list,flags,"
    'temporal_coordinates,spatial_coordinates,metadata\n"1","[""a.mp4""]",0,"[1.3,2.7]","",""\n',
    "50Salads": "53704269 268768513 cut\r\n272435707 379117707 mix\r\n",
}
LISTS = {
    "a list of videos": "video_id,duration,fps,resolution\nP01_01,1652.15,59.94,1920x1080\n",
    "clips without labels": "youtube_id,time_start,time_end,split\nabc,1,11,test\n",
    "a mapping from numbers": "0 SIL\n1 pour\n",
    "bundle": "#bundle\n./data/groundTruth/a.txt\n",
    "files and their activities": "a.txt cereals\nb.txt coffee\n",
    "activities and their labels": "Cheese open,pour\nCoffee open,put,stir\n",
}


@pytest.mark.parametrize("name", FORMATS)
def test_a_known_format_is_named_with_the_rows_to_write(name: str) -> None:
    message = str(refusal(Path("a.txt"), FORMATS[name]))
    assert message.startswith("a.txt: is ")
    assert name in message.split(", which is not read; ")[0]
    assert f"; {WANTED}: " in message


@pytest.mark.parametrize("name", LISTS)
def test_a_list_beside_annotations_is_named_with_what_to_take(name: str) -> None:
    message = str(refusal(Path("a.txt"), LISTS[name]))
    assert name in message
    assert "it does not say what happens when; take the file" in message


@pytest.mark.parametrize("text", ["", "\n", "hello world\n", "{}", "a,b\n1,2\n"])
def test_anything_else_is_unknown(text: str) -> None:
    assert str(refusal(Path("a.txt"), text)) == (
        f"a.txt: is not of a format that is read here; {WANTED}"
    )


# Kinetics

HEADER = "label,youtube_id,time_start,time_end,split"


def write(folder: Path, *rows: str) -> Path:
    file = folder / "val.csv"
    file.write_text("\n".join([HEADER, *rows, ""]), encoding="utf-8")
    return file


def test_clips_of_kinetics_are_read(tmp_path: Path) -> None:
    file = write(tmp_path, "abseiling,yq_M1,38,48,val", '"a, b",-x,0,10,train', "run,z,9,8,val")
    assert is_kinetics(file.read_text())
    marks = read_kinetics(file, ReadOptions())
    first, second = marks.marks
    assert (first.label, first.video, first.start_seconds, first.end_seconds) == (
        "abseiling",
        "yq_M1",
        38.0,
        48.0,
    )
    assert (first.extra, first.where) == ({"split": "val"}, "line 2")
    assert second.label == "a, b"
    assert marks.notes[0].startswith("1 marks end before they begin and are dropped")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("run,z,nine,18,val", "line 2: time_start 'nine' must be a number of seconds"),
        ("run,z,nan,18,val", "time_start 'nan' must be"),
        ("run,z", "line 2: time_start is empty"),
        (",z,1,2,val", "line 2: label is empty"),
    ],
)
def test_damaged_rows_of_kinetics_are_refused(tmp_path: Path, row: str, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        read_kinetics(write(tmp_path, row), ReadOptions())


def test_other_tables_are_not_kinetics(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("path,start,end,label\n")
    with pytest.raises(DatasetError, match="is not of Kinetics' form"):
        read_kinetics(file, ReadOptions())


# All real files: each is taken by at most one reader, and what none takes is named.

READ = {
    "label_studio": ["label_studio"] * 4,
    "activitynet_thumos": ["activitynet"] * 4,
    "mstcn_frames": [""] * 2 + ["frame_labels"] * 4 + [""] * 2 + ["frame_labels"] * 3 + [""] * 6,
    "deepethogram": ["deepethogram"],
    "boris": [""] * 20,
    "elan": [""] * 6,
    "cvat": [""] * 2,
}


def taken_by(file: Path) -> str:
    text = read_text(file)
    try:
        data = json.loads(text)
    except ValueError:
        data = None
    found = {
        "label_studio": is_label_studio(data),
        "activitynet": is_activitynet(data),
        "frame_labels": is_frame_labels(file, text),
        "deepethogram": is_deepethogram(file, text),
        "kinetics": is_kinetics(text),
    }
    return " ".join(name for name, is_it in found.items() if is_it)


@pytest.mark.realdata
@pytest.mark.parametrize("folder", READ)
def test_real_files_are_taken_by_their_own_reader(real_data: Path, folder: str) -> None:
    files = sorted((real_data / "annotations" / folder).rglob("*"))
    assert [taken_by(file) for file in files if file.is_file()] == READ[folder]


@pytest.mark.realdata
def test_real_files_of_other_formats_are_named(real_data: Path) -> None:
    named = {
        "ava": "AVA",
        "bento": "Bento",
        "charades": "Charades",
        "jwatcher": "JWatcher",
        "solomon": "Solomon",
        "epic": "EPIC-KITCHENS",
    }
    for folder, name in named.items():
        file = sorted((real_data / "annotations" / "other" / folder).iterdir())[0]
        assert taken_by(file) == ""
        assert name in str(refusal(file, read_text(file)))
    (kinetics,) = (real_data / "annotations" / "other" / "kinetics").iterdir()
    assert taken_by(kinetics) == "kinetics"
    assert len(read_kinetics(kinetics, ReadOptions()).marks) == 59
    lists = [*(real_data / "annotations" / "mstcn_frames" / "mappings").iterdir()]
    assert all("does not say what happens" in str(refusal(f, read_text(f))) for f in lists)
