"""A project is a folder: what is changed is on the disk, and what others write there is taken."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import example, given, settings
from hypothesis import strategies as st

from actionrnn.apps.cli import main
from actionrnn.apps.studio.project import ConflictError, Label, Project, Settings
from actionrnn.apps.studio.project_config import project_config
from actionrnn.config_reading import load_config
from actionrnn.datasets.splits import open_dataset
from actionrnn.errors import ProjectError
from actionrnn.model.recognizer import load
from actionrnn.text import readable
from tests.tiny import write_recording, write_video


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten seconds."""
    return write_video(tmp_path_factory.mktemp("video") / "a.avi", 250)


@pytest.fixture
def folder(tmp_path: Path, video: Path) -> Path:
    """A project with the labels run and walk, and the videos a and b."""
    folder = tmp_path / "project"
    with Project.create(folder, labels=[Label("run"), Label("walk")]) as project:
        for name in ("a.avi", "b.avi"):
            (folder / "videos" / name).write_bytes(video.read_bytes())
        assert len(project.videos()) == 2
    return folder


@pytest.fixture
def project(folder: Path) -> Iterator[Project]:
    with Project.open(folder) as project:
        yield project


def csv_of(folder: Path) -> list[str]:
    return (folder / "annotations.csv").read_text().splitlines()


def add(label: str, start: float, end: float, **more: str) -> dict[str, object]:
    return {"op": "add", "label": label, "start": start, "end": end, **more}


def test_a_change_is_in_the_file_at_once(project: Project) -> None:
    a, _ = project.videos()
    assert (a.path, a.seconds, a.width, a.height, a.rate_fps) == ("videos/a.avi", 10.0, 64, 48, 25)
    marks = project.change(
        a.id, [add("run", 1, 2.5, note='fast, "very"'), {"op": "look", "start": 0, "end": 4}], "ann"
    )
    assert csv_of(project.folder) == [
        "path,start,end,label,group,note",
        "videos/a.avi,0.0,1.0,background,,",
        'videos/a.avi,1.0,2.5,run,,"fast, ""very"""',
        "videos/a.avi,2.5,4.0,background,,",
    ]
    assert marks.looked == ((0.0, 4.0),)
    assert marks.can_undo
    assert project.undo(a.id, "ann").marks == ()
    assert csv_of(project.folder) == ["path,start,end,label"]
    assert project.redo(a.id, "bob").marks == marks.marks


def test_all_is_there_again_after_it_was_closed(folder: Path) -> None:
    with Project.open(folder) as project:
        a, b = project.videos()
        project.change(a.id, [add("run", 1, 2)], "ann")
        project.change(b.id, [add("walk", 3, 4) | {"op": "refuse"}], "ann")
        before = project.marks(a.id), project.marks(b.id), project.refused(b.id)
    with Project.open(folder) as project:
        assert before == (project.marks(a.id), project.marks(b.id), project.refused(b.id))
        assert project.undo(a.id, "ann").marks == ()


def test_a_second_server_is_refused(project: Project) -> None:
    with pytest.raises(ProjectError, match="is open in another studio"):
        Project.open(project.folder)
    project.close()
    Project.open(project.folder).close()


def test_the_project_can_be_seen_beside_the_one_who_has_it(project: Project) -> None:
    a, b = project.videos()
    ops = [add("run", 1, 3), {"op": "look", "start": 2, "end": 5}]
    marks = project.change(a.id, ops, "ann")
    files = sorted(project.folder.rglob("*"))
    with Project.open(project.folder, read_only=True) as other:
        assert other.marks(a.id) == marks
        assert other.config() == project.config()
        assert (marks.marked_seconds, marks.looked_seconds) == (2, 4)
        assert other.marks(b.id).looked_seconds == 0
        changes: list[Callable[[], object]] = [
            lambda: other.undo(a.id, "bob"),
            lambda: other.change(a.id, [add("run", 5, 6)], "bob"),
            lambda: other.set_settings({"multi_label": True}),
            lambda: other.set_group(a.id, "ida", "bob"),
            lambda: other.remove_video(a.id, "bob"),
            lambda: other.add_video(a.file, "c.avi"),
        ]
        for change in changes:
            with pytest.raises(ProjectError, match="open for reading alone"):
                change()
    assert sorted(project.folder.rglob("*")) == files
    assert project.marks(a.id) == marks


def test_an_id_of_the_page_is_taken_once(project: Project) -> None:
    a, _ = project.videos()
    (mark,) = project.change(a.id, [add("run", 1, 3, id="abcd1234")], "ann").marks
    assert mark.id == "abcd1234"
    with pytest.raises(ConflictError, match="mark 'abcd1234': is there already"):
        project.change(a.id, [add("run", 4, 5, id="abcd1234")], "ann")


def test_overlapping_marks_are_refused_unless_several_labels_are_wanted(project: Project) -> None:
    a, _ = project.videos()
    project.change(a.id, [add("run", 1, 3)], "ann")
    message = "videos/a.avi: run 1-3 s and walk 2-4 s overlap"
    with pytest.raises(ConflictError, match=message):
        project.change(a.id, [add("walk", 2, 4)], "ann")
    assert len(project.marks(a.id).marks) == 1
    project.change(a.id, [add("walk", 3, 4)], "ann")  # touches it
    project.set_settings({"multi_label": True})
    project.change(a.id, [add("walk", 1, 2)], "ann")
    with pytest.raises(ConflictError, match="overlap"):
        project.set_settings({"multi_label": False})
    assert project.settings == Settings(multi_label=True)


def test_an_old_revision_is_refused(project: Project) -> None:
    a, _ = project.videos()
    old = project.marks(a.id).revision
    project.change(a.id, [add("run", 1, 3)], "ann", base_revision=old)
    with pytest.raises(ConflictError, match="was changed meanwhile"):
        project.change(a.id, [add("run", 4, 5)], "bob", base_revision=old)


def test_what_others_write_into_the_file_is_taken(project: Project) -> None:
    a, b = project.videos()
    marks = project.change(a.id, [add("run", 1, 3), add("walk", 5, 6)], "ann")
    kept = marks.marks[0]
    (project.folder / "annotations.csv").write_text(
        "path;label;start;end;observer;group\n"
        "videos/a.avi;run;1;3;;ida\n"
        "./videos/a.avi;walk;5,5;7;eve;ida\n"
        "videos/b.avi;jump;;;;\n"
        "videos/gone.mp4;run;0;1;eve;\n"
        "videos/b.avi;look;2;2;eve;\n"
    )
    marks = project.marks(a.id)
    assert marks.marks[0] == kept
    assert [(m.label, m.start, m.end) for m in marks.marks] == [("run", 1, 3), ("walk", 5.5, 7)]
    assert not marks.can_undo
    assert [(m.label, m.start, m.end) for m in project.marks(b.id).marks] == [("jump", 0, 10)]
    assert [label.name for label in project.labels] == ["run", "walk", "jump"]
    assert project.video(a.id).group == "ida"
    project.change(a.id, [{"op": "edit", "id": marks.marks[1].id, "end": 8}], "ann")
    assert csv_of(project.folder) == [
        "path,start,end,label,group,note,observer",
        "videos/a.avi,1.0,3.0,run,ida,,",
        "videos/a.avi,5.5,8.0,walk,ida,,eve",
        "videos/b.avi,0.0,10.0,jump,,,",
        "videos/gone.mp4,0.0,1.0,run,,,eve",
        "videos/b.avi,2.0,2.0,look,,,eve",
    ]


def test_what_was_acknowledged_outlives_twenty_kills(folder: Path) -> None:
    if not hasattr(os, "fork"):
        pytest.skip("forks")
    command = [sys.executable, "-m", "tests.apps.studio.kill_labelling", str(folder), "20", "0"]
    root = Path(__file__).parents[3]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=root)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found.pop("acknowledged") >= 20
    assert found == {"kills": 20, "lost": 0, "csv_differs": 0}


def test_a_change_that_is_in_the_log_alone_comes_into_the_file(folder: Path) -> None:
    """As after the end of the machine between the two writes."""
    file = folder / "annotations.csv"
    with Project.open(folder) as project:
        a, _ = project.videos()
        project.change(a.id, [add("run", 1, 2)], "ann")
        before = file.read_bytes()
        (mark,) = project.marks(a.id).marks
        project.change(a.id, [{"op": "remove", "id": mark.id}], "ann")
        after = file.read_bytes()
    file.write_bytes(before)
    with Project.open(folder) as project:
        assert project.marks(a.id).marks == ()
        assert file.read_bytes() == after
        assert project.undo(a.id, "ann").marks == (mark,)


def test_the_side_that_people_gave_a_video_is_that_of_all_of_its_rows(project: Project) -> None:
    a, b = project.videos()
    file = project.folder / "annotations.csv"
    rows = "videos/a.avi,1,3,run,test\nvideos/b.avi,1,3,run,train\n"
    file.write_text(f"path,start,end,label,split\n{rows}")
    project.change(a.id, [add("walk", 5, 6), {"op": "look", "start": 0, "end": 1}], "ann")
    project.change(b.id, [{"op": "look", "start": 4, "end": 5}], "ann")
    assert csv_of(project.folder) == [
        "path,start,end,label,group,split,note",
        "videos/a.avi,0.0,1.0,background,,test,",
        "videos/a.avi,1.0,3.0,run,,test,",
        "videos/a.avi,5.0,6.0,walk,,test,",
        "videos/b.avi,1.0,3.0,run,,train,",
        "videos/b.avi,4.0,5.0,background,,train,",
    ]
    assert len(open_dataset(project.config().data).recordings) == 2
    project.remove_video(a.id, "ann")
    aside = (project.folder / ".removed" / "a.avi.csv").read_text().splitlines()
    assert aside[2] == "videos/a.avi,1.0,3.0,run,,test,"


def test_several_people_change_a_project_at_once(folder: Path) -> None:
    with Project.open(folder) as project:
        ids = [video.id for video in project.videos()]

        def label(person: int) -> None:
            for number in range(10):
                start = person * 2 + number / 6
                ops = [add("run", start, start + 0.1, note=f"{person} {number}")]
                project.change(ids[person % 2], ops, str(person))

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(label, range(4)))
    with Project.open(folder) as project:
        notes = [mark.note for one in ids for mark in project.marks(one).marks]
        assert sorted(notes) == sorted(f"{p} {n}" for p in range(4) for n in range(10))


def test_a_lost_file_is_written_again(folder: Path) -> None:
    file = folder / "annotations.csv"
    with Project.open(folder) as project:
        a, _ = project.videos()
        project.change(a.id, [add("run", 1, 2)], "ann")
        text = csv_of(folder)
        file.unlink()
        assert len(project.marks(a.id).marks) == 1
        assert csv_of(folder) == text
    file.write_text("")
    with Project.open(folder) as project:
        assert len(project.marks(a.id).marks) == 1
        assert csv_of(folder) == text


@pytest.mark.parametrize("is_marked", [True, False])
def test_a_file_that_somebody_is_writing_is_not_written_over(
    project: Project, is_marked: bool
) -> None:
    a, _ = project.videos()
    project.marks(a.id)
    if is_marked:
        project.change(a.id, [add("run", 1, 2)], "ann")
    with (project.folder / "annotations.csv").open("w") as file:  # empty for now
        for ask in (lambda: project.marks(a.id), lambda: project.set_group(a.id, "ann", "ann")):
            with pytest.raises(ProjectError, match="is empty"):
                ask()
        file.write(f"path,start,end,label,group\n{a.path},3,4,walk,\nother.avi,1,2,walk,\n")
    assert [mark.label for mark in project.marks(a.id).marks] == ["walk"]
    project.change(a.id, [add("run", 5, 6)], "ann")
    assert [row.split(",")[0] for row in csv_of(project.folder)[1:]] == [
        a.path,
        a.path,
        "other.avi",
    ]


def test_a_video_that_gets_the_name_of_a_removed_one_has_none_of_its_columns(
    project: Project, video: Path
) -> None:
    a, _ = project.videos()
    (project.folder / "annotations.csv").write_text(
        f"path,start,end,label,split,weather\n{a.path},1,2,run,test,\n{a.path},3,4,background,test,dry\n"
    )
    assert len(project.marks(a.id).marks) == 1
    project.remove_video(a.id, "ann")
    assert project.add_video(video, "a.avi").id == a.id
    project.change(a.id, [add("run", 5, 6), {"op": "look", "start": 3, "end": 4}], "ann")
    assert csv_of(project.folder) == [
        "path,start,end,label,group,note",
        f"{a.path},3.0,4.0,background,,",
        f"{a.path},5.0,6.0,run,,",
    ]


STRANGE = st.text(st.sampled_from(",;\"'=+-@.\\ äß日é\u0301\t|#~ab1"), min_size=1, max_size=8)
NAMES = STRANGE.map(str.strip).filter(lambda name: name and "\t" not in name and name[0] != ".")


@given(
    file_name=NAMES.filter(lambda name: name not in ("~",)),
    rows=st.lists(st.tuples(NAMES, st.integers(0, 9), st.integers(1, 9), STRANGE), max_size=6),
    looked=st.lists(st.tuples(st.integers(0, 9), st.integers(1, 9)), max_size=3),
    group=st.one_of(st.just(""), NAMES),
)
@settings(max_examples=30)
@example(file_name="a..", rows=[("=1+2", 0, 5, "..")], looked=[(3, 4)], group="=cmd|' /C calc'!A0")
@example(file_name='a,"b"', rows=[('a,"b"', 0, 5, "line\nbreak")], looked=[], group="")
def test_the_file_alone_gives_the_same_marks(
    video: Path,
    file_name: str,
    rows: list[tuple[str, int, int, str]],
    looked: list[tuple[int, int]],
    group: str,
) -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place, "project")
        labels = [Label(name) for name in dict.fromkeys(readable(row[0]) for row in rows)]
        with Project.create(folder, settings=Settings(multi_label=True), labels=labels) as project:
            (folder / "videos" / f"{file_name}.avi").write_bytes(video.read_bytes())
            (one,) = project.videos()
            for label, start, seconds, note in rows:
                with contextlib.suppress(ConflictError):  # the same label twice at once
                    end = min(10.0, start + seconds / 7)
                    project.change(one.id, [add(label, start / 3, end, note=note)], "ann")
            for start, seconds in looked:
                ops = [{"op": "look", "start": start / 3, "end": start + seconds / 7}]
                project.change(one.id, ops, "ann")
            project.set_group(one.id, group, "ann")
            before = project.marks(one.id)
        (folder / "annotations.log").unlink()
        with Project.open(folder) as project:
            again = project.marks(one.id)
            assert again.looked == before.looked
            assert [replace(m, id="") for m in again.marks] == [
                replace(m, id="") for m in before.marks
            ]
            if again.looked:
                assert project.video(one.id).group == readable(group)


def test_a_label_is_renamed_with_its_marks(project: Project) -> None:
    a, b = project.videos()
    project.change(a.id, [add("run", 1, 2)], "ann")
    project.change(b.id, [add("run", 1, 2)], "ann")
    project.set_labels([Label("sprint", "p", "#00ff00"), Label("walk")], "ann", {"run": "sprint"})
    assert [m.label for v in (a, b) for m in project.marks(v.id).marks] == ["sprint", "sprint"]
    assert csv_of(project.folder)[1] == "videos/a.avi,1.0,2.0,sprint,,"
    with pytest.raises(ProjectError, match=r"'sprint': videos/a\.avi has marks of it"):
        project.set_labels([Label("walk")], "ann")
    assert [(label.name, label.key) for label in project.labels] == [("sprint", "p"), ("walk", "1")]


def test_a_label_does_not_get_the_name_of_other_marks(project: Project) -> None:
    """As nothing would tell the two apart again."""
    a, _ = project.videos()
    project.change(a.id, [add("run", 1, 2), add("walk", 3, 4)], "ann")
    with pytest.raises(ProjectError, match=r"'walk': videos/a\.avi has marks of it"):
        project.set_labels([Label("walk")], "ann", {"run": "walk"})
    swapped = {"run": "walk", "walk": "run"}
    project.set_labels([Label("run"), Label("walk")], "ann", swapped)
    assert [mark.label for mark in project.marks(a.id).marks] == ["walk", "run"]


def test_labels_and_settings_of_an_old_revision_are_refused(project: Project) -> None:
    old = project.settings_revision
    project.set_settings({"rate_fps": 4.0}, old)
    assert project.settings_revision == old  # nothing is another
    project.set_labels([Label("run"), Label("walk"), Label("hop")], "ann", base_revision=old)
    with pytest.raises(ConflictError, match="were changed meanwhile"):
        project.set_labels([Label("run"), Label("walk")], "bob", base_revision=old)
    with pytest.raises(ConflictError, match="were changed meanwhile"):
        project.set_settings({"multi_label": True}, old)
    new = project.settings_revision
    file = project.folder / "project.yaml"
    file.write_text(file.read_text().replace("hop", "jump"))
    with pytest.raises(ConflictError, match="were changed meanwhile"):
        project.set_settings({"multi_label": True}, new)
    assert [label.name for label in project.labels] == ["run", "walk", "jump"]
    assert project.settings == Settings()


def test_overlapping_marks_of_others_do_not_hold_other_settings_back(project: Project) -> None:
    a, _ = project.videos()
    rows = f"{a.path},1,3,run\n{a.path},2,4,walk\n"
    (project.folder / "annotations.csv").write_text(f"path,start,end,label\n{rows}")
    assert project.set_settings({"rate_fps": 8.0}).rate_fps == 8
    project.set_settings({"multi_label": True})
    with pytest.raises(ConflictError, match="overlap"):
        project.set_settings({"multi_label": False})


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([Label("run"), Label("run")], "'run': is there twice"),
        ([Label("run", "1"), Label("walk", "1")], "its key '1' is another label's"),
        ([Label("run", "12")], "its key '12' must be one of 1234567890abd"),
        ([Label("run", "s")], "its key 's' must be one of"),
        ([Label("run", "", "red")], "its colour 'red' must be #rrggbb"),
        ([Label("")], "must be a name"),
        ([Label("background")], "choose another name"),
    ],
)
def test_labels_that_are_not_valid_are_refused(
    project: Project, labels: list[Label], message: str
) -> None:
    with pytest.raises(ProjectError, match=message):
        project.set_labels(labels, "ann")
    assert [label.name for label in project.labels] == ["run", "walk"]


@pytest.mark.parametrize(
    ("op", "message"),
    [
        (add("fly", 1, 2), "label 'fly': is not one of the project's"),
        (add("run", 9, 10.2), "lies outside of videos/a.avi, which goes from 0 to 10 s"),
        (add("run", -1, 2), "lies outside"),
        ({"op": "remove", "id": "nope"}, "mark 'nope': is not there any more"),
    ],
)
def test_a_change_that_is_not_valid_changes_nothing(
    project: Project, op: dict[str, object], message: str
) -> None:
    a, _ = project.videos()
    with pytest.raises(ProjectError, match=message):
        project.change(a.id, [add("run", 1, 2), op], "ann")
    assert project.marks(a.id).revision == 0
    assert not (project.folder / "annotations.log").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("labels: run", "labels: must be a list, not 'run'"),
        ("labels: [run]", "labels, number 1: must have name, key, colour"),
        ("labels: [{name: run, keys: 1}]", "unknown key 'keys'; did you mean 'key'?"),
        ("labels: [{name: run}, {name: run}]", "'run': is there twice"),
        ("labels: [{key: 1}]", "labels, number 1: name"),
        ("setings: {}", "unknown section 'setings'; did you mean 'settings'?"),
        ("settings: {rate_fps: 0}", "rate_fps (0): input should be greater than 0"),
        ("settings: {rate_fps: fast}", "rate_fps"),
        ("settings: {multi_label: 3}", "multi_label"),
        ("videos: a.mp4", "videos: must be a list"),
        ("config: {data: {root: /etc}}", "config: holds backbone, head, train, not 'data'"),
        ("config: {head: {multi_label: true}}", "is settings.multi_label here"),
        ("config: {train: {epoch: 3}}", "unknown key 'train.epoch'"),
        ("[", "is not YAML"),
        ("\n", "is empty"),
        ("- 1", "must hold labels, settings, videos, config"),
        ("labels: &a []\nvideos: *a", "aliases"),
    ],
)
def test_a_project_file_that_is_not_valid_is_refused_in_one_line(
    folder: Path, text: str, message: str
) -> None:
    (folder / "project.yaml").write_text(text)
    with pytest.raises(ProjectError) as caught:
        Project.open(folder)
    assert "project.yaml" in str(caught.value) and message in str(caught.value)
    (folder / "project.yaml").write_text("labels: [{name: 017, key: 3}]")
    with Project.open(folder) as project:  # the lock was given back
        assert project.labels == (Label("017", "3", "#0072b2"),)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("videos/a.avi,3,2,run,", "line 2: start (3) must not be after end (2)"),
        ("videos/a.avi,x,2,run,", "line 2: start 'x' must be a number"),
        ("videos/a.avi,1,2,,", "line 2: path and label must not be empty"),
        ("..,1,2,run,", "line 2: '..' does not name a video"),
        ("videos/a.avi,1,2,run,x\nvideos/a.avi,3,4,run,y", "line 3: videos/a.avi has the group"),
    ],
)
def test_a_row_that_is_not_valid_is_refused_and_nothing_is_lost(
    project: Project, row: str, message: str
) -> None:
    a, _ = project.videos()
    project.change(a.id, [add("run", 1, 2)], "ann")
    file = project.folder / "annotations.csv"
    good = file.read_text()
    file.write_text(f"path,start,end,label,group\n{row}\n")
    with pytest.raises(ProjectError) as caught:
        project.change(a.id, [add("run", 5, 6)], "ann")
    assert message in str(caught.value)
    file.write_text(good)
    assert len(project.change(a.id, [add("run", 5, 6)], "ann").marks) == 2


def test_a_video_that_was_taken_out_lies_aside_with_its_rows(project: Project) -> None:
    a, _ = project.videos()
    project.change(a.id, [add("run", 1, 2, note="fast")], "ann")
    project.remove_video(a.id, "ann")
    assert [video.path for video in project.videos()] == ["videos/b.avi"]
    aside = project.folder / ".removed"
    assert sorted(path.name for path in aside.iterdir()) == ["a.avi", "a.avi.csv"]
    assert "videos/a.avi,1.0,2.0,run,,fast" in (aside / "a.avi.csv").read_text()
    assert csv_of(project.folder) == ["path,start,end,label"]
    with pytest.raises(ProjectError, match="no such video"):
        project.marks(a.id)
    again = project.add_video(aside / "a.avi", "a.avi")
    assert again.path == "videos/a.avi"
    assert project.marks(again.id).marks == ()
    project.remove_video(again.id, "ann")
    assert sorted(path.name for path in aside.iterdir()) == ["a-2.avi", "a.avi", "a.avi.csv"]


def test_the_marks_of_a_video_that_is_gone_are_kept(project: Project, video: Path) -> None:
    a, b = project.videos()
    marks = project.change(a.id, [add("run", 1, 2)], "ann").marks
    a.file.unlink()
    project.change(b.id, [add("walk", 1, 2)], "ann")
    assert "videos/a.avi,1.0,2.0,run,," in csv_of(project.folder)
    assert project.add_video(video, "a.avi").path == "videos/a-2.avi"
    a.file.write_bytes(video.read_bytes())
    assert project.marks(a.id).marks == marks


def test_a_project_is_made_of_a_folder_with_videos_once(tmp_path: Path, video: Path) -> None:
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "a.avi").write_bytes(video.read_bytes())
    with pytest.raises(ProjectError, match=r"is no project, as it has no project\.yaml"):
        Project.open(tmp_path)
    with Project.create(tmp_path) as project:
        assert [one.path for one in project.videos()] == ["videos/a.avi"]
    with pytest.raises(ProjectError, match="is a project already"):
        Project.create(tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("annotations.csv", "subject;score\n1;2\n", "annotations.csv"),
        ("annotations.csv", "path,start,end,label\nvideos/a.avi,x,2,run\n", "line 2"),
        ("annotations.csv", "path,start,end,label\nvideos/a.avi,1,2,back\tflip\n", "line 2"),
        ("annotations.log", "2024-01-01 annotated by me\n", "annotations.log, line 1: is damaged"),
    ],
)
def test_of_a_folder_whose_files_cannot_be_read_no_project_is_made(
    tmp_path: Path, video: Path, name: str, content: str, message: str
) -> None:
    (tmp_path / "mine" / "videos").mkdir(parents=True)
    (tmp_path / "mine" / "videos" / "a.avi").write_bytes(video.read_bytes())
    (tmp_path / "mine" / name).write_text(content)
    before = sorted(tmp_path.rglob("*"))
    done = CliRunner().invoke(main, ["studio", str(tmp_path / "mine"), "--no-browser"])
    assert done.exit_code == 1 and message in done.output, done.output
    assert len(done.output.splitlines()) == 1
    assert sorted(tmp_path.rglob("*")) == before
    assert (tmp_path / "mine" / name).read_text() == content


def test_a_folder_of_videos_that_is_not_there_makes_no_project(tmp_path: Path) -> None:
    with pytest.raises(ProjectError, match="no such folder"):
        Project.create(tmp_path / "p", [tmp_path / "gone"])
    assert not (tmp_path / "p").exists()


def test_nothing_is_trained_before_anything_is_marked(folder: Path) -> None:
    done = CliRunner().invoke(main, ["train", str(folder)])
    assert done.exit_code == 1
    assert "nothing is marked yet" in done.output
    assert not (folder / "runs").exists()


@pytest.mark.parametrize("groups", [("ida", "ida"), ("ida", "")])
def test_a_project_of_few_groups_is_trained(tmp_path: Path, groups: tuple[str, str]) -> None:
    """One group leaves nothing to test on; of two, each may know a label that the other lacks."""
    folder = tmp_path / "project"
    colours = (("red", "blue"), ("red", "grey"))
    with Project.create(
        folder, labels=[Label(name) for name in ("red", "blue", "grey")]
    ) as project:
        for name, (first, second) in zip("ab", colours, strict=True):
            write_recording(folder / "videos" / f"{name}.mkv", [first] * 16 + [second] * 16)
        for one, group, (first, second) in zip(project.videos(), groups, colours, strict=True):
            project.change(one.id, [add(first, 0, 2), add(second, 2, 4)], "ann")
            project.set_group(one.id, group, "ann")
    done = CliRunner().invoke(main, ["train", str(folder), "train.epochs=2"])
    assert done.exit_code == 0, done.output
    assert load(folder / "runs" / "1").labels == ("blue", "grey", "red")


def test_actionrnn_train_trains_a_project(tmp_path: Path) -> None:
    folder = tmp_path / "project"
    with Project.create(folder, labels=[Label("red"), Label("blue")]) as project:
        for name in ("a", "b"):
            write_recording(folder / "videos" / f"{name}.mkv", ["red"] * 24 + ["blue"] * 24)
        assert project.unreadable() == {}
        for one in project.videos():
            ops = [add("red", 0, 3), add("blue", 3, 6)]
            project.change(one.id, ops, "ann")
            project.set_group(one.id, one.name, "ann")
    file = folder / "project.yaml"
    file.write_text(file.read_text() + "config: {head: {hidden_size: 8}, train: {epochs: 2}}\n")
    done = CliRunner().invoke(main, ["train", str(folder), "train.epochs=3"])
    assert done.exit_code == 0, done.output
    assert (folder / "runs" / "1" / "model.safetensors").is_file()
    assert (folder / "features" / "videos" / "a.safetensors").is_file()
    with Project.open(folder) as project:
        assert project.next_run() == folder / "runs" / "2"
        config = project.config()
    assert (config.head.hidden_size, config.train.epochs) == (8, 2)
    assert config.data.split == "leave_one_group_out"
    written = load_config(folder / "runs" / "1" / "config.yaml")
    assert written.train.epochs == 3
    assert written.data.root == str(folder / "annotations.csv")


def test_the_less_is_marked_the_more_epochs_there_are(project: Project) -> None:
    a, b = project.videos()
    project.change(a.id, [add("run", 0, 2)], "")
    little = project.config().train
    assert little.epochs == 80  # one window, one step of the optimiser an epoch
    project.set_settings({"rate_fps": 1000})  # as if there were two hours of it
    project.change(b.id, [add("walk", 0, 9)], "")
    assert project.config().train.epochs == 12
    assert project_config(project.folder, ["train.epochs=3"]).train.epochs == 3


def test_what_others_wrote_outlives_a_video_that_is_added(project: Project, video: Path) -> None:
    """With a group, which is written into annotations.csv."""
    a, _ = project.videos()
    project.change(a.id, [add("run", 1, 2)], "ann")
    file = project.folder / "annotations.csv"
    file.write_text(file.read_text() + f"{a.path},3,4,walk,,\n")
    project.add_video(video, "c.avi", "ida")
    assert [mark.label for mark in project.marks(a.id).marks] == ["run", "walk"]
    broken = file.read_text() + f"{a.path},x,y,walk,,\n"
    file.write_text(broken)
    with pytest.raises(ProjectError, match="line"):
        project.add_video(video, "d.avi", "ida")
    assert file.read_text() == broken
    assert not (project.folder / "videos" / "d.avi").exists()


def test_a_change_that_is_taken_back_in_the_file_is_taken_back(project: Project) -> None:
    a, _ = project.videos()
    file = project.folder / "annotations.csv"
    project.change(a.id, [add("run", 1, 2)], "ann")
    before = file.read_text()
    project.change(a.id, [add("run", 3, 4)], "ann")
    file.write_text(before)
    assert len(project.marks(a.id).marks) == 1
    assert file.read_text() == before


def test_what_others_write_into_the_project_file_is_taken(project: Project) -> None:
    file = project.folder / "project.yaml"
    file.write_text(file.read_text() + "config:\n  head: {hidden_size: 32}\n")
    assert project.config().head.hidden_size == 32
    project.set_labels([*project.labels, Label("jump")], "ann")
    assert "hidden_size: 32" in file.read_text()
    good = file.read_text()
    file.write_text(good + "more: 1\n")
    with pytest.raises(ProjectError, match="more"):
        project.set_settings({"rate_fps": 2.0})
    assert file.read_text() == good + "more: 1\n"


def test_files_of_others_in_the_folder_are_left_alone(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    others = [folder / ".notes.tmp", folder / ".cache" / "new-book" / "a.txt"]
    for file in others:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("mine")
    killed = folder / ".annotations.0123abcd.tmp"
    killed.write_text("half")
    with Project.create(folder):
        assert all(file.read_text() == "mine" for file in others)
        assert not killed.exists()


def test_rows_of_a_video_that_was_taken_out_twice_are_both_kept(
    tmp_path: Path, video: Path
) -> None:
    with Project.create(tmp_path / "p", [video.parent], labels=[Label("run")]) as project:
        for start in (1, 3):
            one = project.import_video(video)
            project.change(one.id, [add("run", start, start + 1)], "ann")
            project.remove_video(one.id, "ann")
        kept = sorted((project.folder / ".removed").glob("*.csv"))
        assert sorted(",1.0,2.0," in file.read_text() for file in kept) == [False, True]


def test_a_line_that_the_disk_has_no_room_for_leaves_nothing(project: Project) -> None:
    """A file may grow to a bound here, as on a full disk: a part of the line is written first."""
    resource = pytest.importorskip("resource", reason="no bounds of files on this system")
    a, _ = project.videos()
    project.change(a.id, [add("run", 1, 2)], "ann")
    log = project.folder / "annotations.log"
    before = log.read_bytes()
    handled = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    bounds = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 20, bounds[1]))
    try:
        with pytest.raises(ProjectError, match="the change was not made"):
            project.change(a.id, [add("run", 3, 4)], "ann")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, bounds)
        signal.signal(signal.SIGXFSZ, handled)
    assert log.read_bytes() == before
    assert len(project.change(a.id, [add("run", 3, 4)], "ann").marks) == 2


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="a system without pipes")
def test_what_is_no_video_file_does_not_stop_the_project(project: Project) -> None:
    place = project.folder / "videos"
    (place / "circle.avi").symlink_to("circle.avi")
    (place / "nothing.avi").symlink_to(project.folder / "gone")
    (place / "device.avi").symlink_to("/dev/zero")
    os.mkfifo(place / "pipe.avi")
    assert [video.name for video in project.videos()] == ["a.avi", "b.avi"]
    assert {Path(path).stem for path in project.unreadable()} == {
        "circle",
        "nothing",
        "device",
        "pipe",
    }
    a, _ = project.videos()
    assert len(project.change(a.id, [add("run", 1, 2)], "ann").marks) == 1


def test_two_files_that_differ_in_the_ending_alone_are_not_mixed_up(
    project: Project, video: Path
) -> None:
    """Their features, and their classes in a training, would have one name."""
    (project.folder / "videos" / "a.mkv").write_bytes(video.read_bytes())
    assert [one.name for one in project.videos()] == ["a.avi", "b.avi"]
    assert project.unreadable() == {
        "videos/a.mkv": "videos/a.mkv: its features would have the name of those of videos/a.avi; "
        "rename one of the two"
    }


def test_files_elsewhere_whose_features_would_have_one_name_are_not_mixed_up(
    project: Project, tmp_path: Path, video: Path
) -> None:
    """As those of the folders /videos and PROJECT/videos; here ../lab and ../../lab."""
    folders = [tmp_path / "lab", tmp_path.parent / "lab"]
    for folder in folders:
        folder.mkdir()
        (folder / "c.avi").write_bytes(video.read_bytes())
    file = project.folder / "project.yaml"
    file.write_text(file.read_text() + "videos: [../lab/c.avi, ../../lab/c.avi]\n")
    project.close()
    with Project.open(project.folder, folders) as opened:
        assert [one.path for one in opened.videos()][:1] == ["../lab/c.avi"]
        (problem,) = opened.unreadable().values()
        assert problem.startswith("../../lab/c.avi: its features would have the name of those of")
        assert opened.add_video(video, "c.avi").name == "c-2.avi"


def test_a_video_is_taken_in_once_by_whatever_link(tmp_path: Path, video: Path) -> None:
    lab = tmp_path / "lab"
    lab.mkdir()
    (lab / "a.avi").write_bytes(video.read_bytes())
    (lab / "again").symlink_to(lab)
    with Project.create(tmp_path / "p", [lab]) as project:
        one = project.import_video(lab / "a.avi")
        for name in ("a.avi", "again/a.avi", "again/again/a.avi"):
            with pytest.raises(ProjectError, match="already, as"):
                project.import_video(lab / name)
        assert [video.id for video in project.videos()] == [one.id]
