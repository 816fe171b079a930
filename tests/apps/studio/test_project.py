"""A project is a folder: what is changed is on the disk, and what others write there is taken."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from actionrnn.apps.studio.project import ConflictError, Label, Project, Settings
from actionrnn.errors import ProjectError
from tests.tiny import write_video


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
        project.refuse(b.id, "walk", 3, 4, "ann")
        before = project.marks(a.id), project.marks(b.id), project.refused(b.id)
    with Project.open(folder) as project:
        assert before == (project.marks(a.id), project.marks(b.id), project.refused(b.id))
        assert project.undo(a.id, "ann").marks == ()


def test_a_second_server_is_refused(project: Project) -> None:
    with pytest.raises(ProjectError, match="is open in another studio"):
        Project.open(project.folder)
    project.close()
    Project.open(project.folder).close()


def test_overlapping_marks_are_refused_unless_several_labels_are_wanted(project: Project) -> None:
    a, _ = project.videos()
    project.change(a.id, [add("run", 1, 3)], "ann")
    message = "videos/a.avi: run 1-3 s and walk 2-4 s overlap"
    with pytest.raises(ConflictError, match=message):
        project.change(a.id, [add("walk", 2, 4)], "ann")
    assert len(project.marks(a.id).marks) == 1
    project.change(a.id, [add("walk", 3, 4)], "ann")  # touches it
    project.set_settings(multi_label=True)
    project.change(a.id, [add("walk", 1, 2)], "ann")
    with pytest.raises(ConflictError, match="overlap"):
        project.set_settings(multi_label=False)
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
