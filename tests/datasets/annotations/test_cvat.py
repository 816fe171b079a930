"""CVAT's XML: which frames a shape stands for, and which of labels and attributes are taken."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from actionrnn.datasets.annotations.cvat import is_cvat, read_cvat
from actionrnn.datasets.annotations.marks import Mark, Marks, ReadOptions
from actionrnn.errors import DatasetError
from actionrnn.video.decode import read_frames
from actionrnn.video.writer import VideoWriter


def declared(name: str, kind: str, *, mutable: bool = True) -> str:
    return (
        f"<attribute><name>{name}</name><mutable>{mutable}</mutable>"
        f"<input_type>{kind}</input_type><values>a\nb</values></attribute>"
    )


def label(name: str, *attributes: str) -> str:
    return f"<label><name>{name}</name><attributes>{''.join(attributes)}</attributes></label>"


def box(frame: int | str, *, outside: int = 0, **values: str) -> str:
    inner = "".join(f'<attribute name="{name}">{text}</attribute>' for name, text in values.items())
    return f'<box frame="{frame}" outside="{outside}" keyframe="1" xtl="1">{inner}</box>'


def track(*shapes: str, label: str = "person", attributes: str = 'id="0"') -> str:
    return f'<track {attributes} label="{label}">{"".join(shapes)}</track>'


def task(*labels: str, more: str = "") -> str:
    return (
        f"<task><id>5</id><name>walks</name>{more}<labels>{''.join(labels)}</labels></task>"
        "<source>a.mp4</source>"
    )


def write_cvat(folder: Path, *items: str, meta: str | None = None) -> Path:
    file = folder / "labels.xml"
    meta = task() if meta is None else meta
    file.write_text(
        f"<annotations><version>1.1</version><meta>{meta}</meta>{''.join(items)}</annotations>",
        encoding="utf-8",
    )
    return file


def read_frames_of(file: Path, *tiers: str) -> Marks:
    """At one frame a second, so that seconds are frames."""
    return read_cvat(file, ReadOptions(rate_fps=1.0, tiers=tiers))


def spans(marks: Iterable[Mark]) -> list[tuple[str, float | None, float | None]]:
    return [(mark.label, mark.start_seconds, mark.end_seconds) for mark in marks]


def test_a_track_lasts_until_it_is_outside_or_has_its_last_shape(tmp_path: Path) -> None:
    file = write_cvat(
        tmp_path,
        track(box(12), box(10), box(11), box(13, outside=1), box(20), box(21)),
        track(box(7), attributes=""),
    )
    marks = read_frames_of(file)
    assert marks.marks == (
        Mark("person", 10, 13, "a.mp4", subject="track 0", tier="label"),
        Mark("person", 20, 22, "a.mp4", subject="track 0", tier="label"),
        Mark("person", 7, 8, "a.mp4", subject="track 1", tier="label"),
    )
    assert marks.notes == ()
    assert marks.format == "CVAT, tracks of a video"


def test_a_shape_stands_for_all_frames_of_a_step(tmp_path: Path) -> None:
    more = "<start_frame>10</start_frame><stop_frame>20</stop_frame>"
    more += "<frame_filter>step=3</frame_filter>"
    file = write_cvat(
        tmp_path,
        track(box(10), box(13, outside=1), box(16, outside=1)),
        track(box(13), box(16), attributes='id="1"'),
        track(box(19), attributes='id="2"'),
        meta=task(more=more),
    )
    marks = read_frames_of(file)
    # The last ends with the task: frame 21 was not looked at, and may not be there.
    assert spans(marks.marks) == [("person", 10, 13), ("person", 13, 19), ("person", 19, 21)]
    assert marks.notes == (
        "a.mp4 was annotated from frame 10 to 20: nobody looked at what lies outside",
    )


def test_between_key_frames_a_track_stays_as_it_was(tmp_path: Path) -> None:
    meta = task(label("person", declared("action", "select")))
    file = write_cvat(
        tmp_path,
        track(box(0, action="walk"), box(5), box(10, action="run"), box(12, outside=1)),
        meta=meta,
    )
    marks = read_frames_of(file)
    assert spans(marks.marks) == [("walk", 0, 10), ("run", 10, 12)]
    assert marks.notes[0].startswith("3 times a track has no shape for longer than a step")


OLD = "".join(
    f"<attribute>{text}</attribute>"
    for text in ("@text=id:", "~select=action:standing,walking", "~checkbox=looks:false")
)


@pytest.mark.parametrize(
    "head",
    [
        label("person", OLD),
        label(
            "person",
            declared("id", "text", mutable=False),
            declared("action", "radio"),
            declared("looks", "checkbox"),
        ),
    ],
    ids=["old", "new"],
)
def test_choices_by_frame_are_taken_and_the_rest_is_named(tmp_path: Path, head: str) -> None:
    frames = [("walking", "false"), ("walking", "true"), ("standing", "true"), ("", "false")]
    boxes = [box(i, id="p7", action=a, looks=b) for i, (a, b) in enumerate(frames)]
    boxes.append(box(4, id="p7", action="__undefined__", looks="false"))
    boxes.append(box(5, id="p7", action="walking", looks="false"))
    file = write_cvat(
        tmp_path,
        track(*boxes),
        track(box(2, id="x"), label="dog", attributes='id="1"'),
        meta=task(head, label("dog")),
    )
    marks = read_frames_of(file)
    assert [
        (mark.tier, *span) for mark, span in zip(marks.marks, spans(marks.marks), strict=True)
    ] == [
        ("action", "walking", 0, 2),
        ("action", "walking", 5, 6),
        ("looks", "looks", 1, 3),
        ("action", "standing", 2, 3),
        ("label", "dog", 2, 3),
    ]
    assert marks.notes == (
        "2 runs of values that are empty or __undefined__ are dropped",
        "left out, unless asked for as tiers: label (1), id (2)",
    )
    asked = read_frames_of(file, "label", "id")
    assert spans(asked.marks) == [("person", 0, 6), ("p7", 0, 6), ("dog", 2, 3), ("x", 2, 3)]
    with pytest.raises(DatasetError, match="no tier 'gait'; there are label, id, action, looks"):
        read_frames_of(file, "gait")


def test_what_is_taken_does_not_hang_on_what_happens_in_one_video(tmp_path: Path) -> None:
    """Else one video of a set would give `person`, and another one `walking`."""
    head = label("person", declared("action", "select"), declared("sex", "select", mutable=False))
    steady = write_cvat(tmp_path, track(box(0, action="walking", sex="m")), meta=task(head))
    assert [mark.label for mark in read_frames_of(steady).marks] == ["walking"]


def test_tracks_that_are_never_in_view_are_skipped(tmp_path: Path) -> None:
    file = write_cvat(tmp_path, track(), track(box(3, outside=1)), track(box(1)))
    marks = read_frames_of(file)
    assert len(marks.marks) == 1
    assert marks.notes == ("2 tracks are never in view and are skipped",)


def test_a_skeleton_is_in_view_as_long_as_one_of_its_points(tmp_path: Path) -> None:
    def skeleton(frame: int, **outside: int) -> str:
        points = (f'<points label="{name}" outside="{out}"/>' for name, out in outside.items())
        return f'<skeleton frame="{frame}">{"".join(points)}</skeleton>'

    shapes = [skeleton(0, hand=0, foot=0), skeleton(1, hand=1), skeleton(2, foot=1)]
    file = write_cvat(tmp_path, track(*shapes, skeleton(3, hand=0)))
    assert spans(read_frames_of(file).marks) == [("person", 0, 2), ("person", 3, 4)]


def image(frame: int | str, *labels: str, more: str = "") -> str:
    name = f"frame_{frame:06d}" if isinstance(frame, int) else frame
    tags = "".join(f'<tag label="{name}" source="manual"></tag>' for name in labels)
    return f'<image id="1" name="{name}" width="9" height="9">{tags}{more}</image>'


def test_tags_of_frames_in_a_row_are_one_mark(tmp_path: Path) -> None:
    file = write_cvat(
        tmp_path,
        image(106, "walk"),
        image(100, "walk"),
        image(102, "walk", "wave"),
        image("clip/frame_000104.PNG", more=box(0)),
        meta=task(more="<frame_filter>step=2</frame_filter>"),
    )
    marks = read_frames_of(file)
    assert marks.format == "CVAT, tags of images"
    assert sorted(marks.marks, key=str) == [
        Mark("walk", 100, 104, "a.mp4", tier="label"),
        Mark("walk", 106, 108, "a.mp4", tier="label"),
        Mark("wave", 102, 104, "a.mp4", tier="label"),
    ]
    assert marks.notes == (
        "1 shapes in single images are not read; export them as CVAT for video 1.1",
    )


def test_attributes_of_tags_are_taken_when_asked_for(tmp_path: Path) -> None:
    def tagged(frame: int, speed: str) -> str:
        inner = f'<attribute name="speed">{speed}</attribute>'
        return image(frame, more=f'<tag label="walk">{inner}</tag>')

    file = write_cvat(
        tmp_path,
        tagged(0, "slow"),
        tagged(1, "fast"),
        meta=task(label("walk", declared("speed", "select"))),
    )
    marks = read_frames_of(file)
    assert spans(marks.marks) == [("walk", 0, 2)]
    assert marks.notes == ("left out, unless asked for as tiers: speed (2)",)
    assert spans(read_frames_of(file, "speed").marks) == [("slow", 0, 1), ("fast", 1, 2)]


def test_a_tagged_image_that_is_no_frame_is_refused(tmp_path: Path) -> None:
    file = write_cvat(tmp_path, image("cat.jpg", "walk"))
    with pytest.raises(DatasetError, match=r"'cat.jpg', which is no frame of a video"):
        read_frames_of(file)


@pytest.mark.parametrize(
    ("meta", "video"),
    [
        ("<task><name>walks</name><source>x/b.mp4</source></task>", "x/b.mp4"),
        ("<task><name>walks</name></task><source>b.mp4</source>", "b.mp4"),
        ("<task><name>walks</name></task>", "walks"),
        ("<job><id>3</id></job>", "labels"),
        ("", "labels"),
    ],
)
def test_the_video_is_the_source_or_the_name_of_the_task(
    tmp_path: Path, meta: str, video: str
) -> None:
    assert read_frames_of(write_cvat(tmp_path, track(box(0)), meta=meta)).videos == (video,)


def test_a_project_has_a_video_for_each_task(tmp_path: Path) -> None:
    meta = "".join(
        f"<task><id>{i}</id><source>{name}.mp4</source><frame_filter>step={i}</frame_filter></task>"
        for i, name in ((1, "a"), (2, "b"))
    )
    meta = f"<project><tasks>{meta}</tasks></project>"
    tracks = [track(box(4), attributes=f'id="0" task_id="{i}"') for i in (1, 2)]
    marks = read_frames_of(write_cvat(tmp_path, *tracks, meta=meta))
    assert [(mark.video, mark.end_seconds) for mark in marks.marks] == [("a.mp4", 5), ("b.mp4", 6)]
    with pytest.raises(DatasetError, match="holds 2 tasks, and a track without task_id"):
        read_frames_of(write_cvat(tmp_path, track(box(4)), meta=meta))
    with pytest.raises(DatasetError, match="a track is of the task '7', which <meta> does not"):
        read_frames_of(write_cvat(tmp_path, track(attributes='task_id="7"'), meta=meta))


def test_the_video_tells_when_its_frames_are_shown(tmp_path: Path) -> None:
    times_ms = [0, 100, 150, 400, 800]
    with VideoWriter(tmp_path / "a.mp4", time_base=Fraction(1, 1000)) as writer:
        for ms in times_ms:
            writer.write(np.zeros((32, 48, 3), np.uint8), ms)
    shown = read_frames(tmp_path / "a.mp4").pts_seconds
    file = write_cvat(tmp_path, track(box(1), box(2), box(3, outside=1)))
    (mark,) = read_cvat(file).marks
    assert (mark.start_seconds, mark.end_seconds) == pytest.approx((shown[1], shown[3]))
    late = write_cvat(tmp_path, track(box(9)))
    with pytest.raises(DatasetError, match=r"marks frame 9 of a.mp4, which has 5 frames"):
        read_cvat(late)
    (tmp_path / "a.mp4").unlink()
    with pytest.raises(DatasetError, match=r"there is no a.mp4 in .*annotation_rate_fps"):
        read_cvat(file)


def test_a_file_without_anything_has_no_marks(tmp_path: Path) -> None:
    assert read_frames_of(write_cvat(tmp_path)).marks == ()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("</annotations>", "", "is no whole XML"),
        ('frame="4"', 'frame="x"', r"frame is 'x' in <box frame=.x. .*whole number"),
        ('frame="4"', 'frame="-4"', "a box is on the frame -4"),
        ('label="person"', "", r"<track id=.0.> has no label"),
        ('name="action"', "", r"<attribute> has no name"),
        ("step=1", "step=0", "frame_filter is 'step=0'; a step"),
        ("step=1", "every other", "frame_filter is 'every other'"),
        ("<stop_frame>9<", "<stop_frame>nan<", "stop_frame is 'nan'"),
    ],
)
def test_damage_is_one_line(tmp_path: Path, old: str, new: str, message: str) -> None:
    more = "<stop_frame>9</stop_frame><frame_filter>step=1</frame_filter>"
    file = write_cvat(tmp_path, track(box(4, action="run")), meta=task(more=more))
    read_frames_of(file)
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(DatasetError, match=message) as error:
        read_frames_of(file)
    assert str(error.value).startswith(str(file))
    assert "\n" not in str(error.value)


def test_the_format_is_told_by_the_outermost_element(tmp_path: Path) -> None:
    assert is_cvat(tmp_path, write_cvat(tmp_path, track(box(1))).read_text(encoding="utf-8"))
    for other in ("", "<annotation/>", "<ANNOTATION_DOCUMENT/>", "frame,label\n", "{}", "\0"):
        assert not is_cvat(tmp_path, other)


@pytest.mark.realdata
def test_files_that_cvat_wrote(real_data: Path) -> None:
    folder = real_data / "annotations" / "cvat"
    stepped = read_frames_of(folder / "video_1.1_frame_step.xml")
    assert spans(stepped.marks) == [("II", 10, 13), ("hgkf", 10, 13), ("II", 13, 16)]
    jaad = read_frames_of(folder / "jaad_video_0008_per_frame_attributes.xml")
    assert jaad.videos == ("data/video_0008.mp4",)
    assert Counter(mark.tier for mark in jaad.marks) == {
        "occlusion": 10,
        "look": 3,
        "action": 2,
        "cross": 1,
    }
    action = [mark for mark in jaad.marks if mark.tier == "action"]
    assert spans(action) == [("walking", 0, 86), ("standing", 86, 112)]
    labels = read_frames_of(folder / "jaad_video_0008_per_frame_attributes.xml", "label")
    assert spans(labels.marks) == [("ped", 49, 150), ("pedestrian", 0, 112)]
