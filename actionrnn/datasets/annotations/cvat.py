"""CVAT's XML, version 1.1: tracks of objects in a video, and tags of its frames.

The format: https://docs.cvat.ai/docs/dataset_management/formats/format-cvat/, and its source,
cvat/apps/dataset_manager/formats/cvat.py.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree.ElementTree import Element

from actionrnn.datasets.annotations.clock import FrameClock
from actionrnn.datasets.annotations.marks import Mark, Marks, ReadOptions
from actionrnn.datasets.annotations.xml_file import (
    attribute,
    outermost_tag,
    read_xml,
    whole_number,
)
from actionrnn.errors import DatasetError
from actionrnn.text import plain

LABEL_TIER = "label"
"""The tier of the labels of tracks and tags; each attribute is a tier of its own name."""
_ROOT = "annotations"
_CHOICES = ("select", "radio", "checkbox")
_NOT_SET = ("", "__undefined__")
_OLD_ATTRIBUTE = re.compile(r"([@~])(\w+)=(.*?):", re.DOTALL)  # ~select=action:standing,walking
_FRAME_NAME = re.compile(r"frame_([0-9]{1,15})(\.\w+)?")


@dataclass(frozen=True)
class _Task:
    video: str
    step: int
    """Frames from one frame that was annotated to the next."""
    start_frame: int
    stop_frame: int | None
    """The last frame; None: the file does not say."""

    def end_of(self, frame: int) -> int:
        """Where the frames end for which a shape on this frame stands."""
        end = frame + self.step
        return end if self.stop_frame is None else max(frame + 1, min(end, self.stop_frame + 1))


@dataclass(frozen=True)
class _Attribute:
    kind: str
    """select, radio, checkbox, number or text; empty: the file does not declare it."""
    is_mutable: bool
    """Whether it may change from frame to frame."""


@dataclass(frozen=True)
class _State:
    """An object or a tag over frames in which nothing of it changes."""

    owner: str
    """The track; empty for tags."""
    label: str
    task: _Task
    start_frame: int
    end_frame: int
    values: Mapping[str, str]


def is_cvat(file: Path, text: str) -> bool:
    """Whether a text is CVAT's XML."""
    return outermost_tag(text) == _ROOT


def read_cvat(file: Path, options: ReadOptions = ReadOptions()) -> Marks:
    """The labels and attributes of a CVAT file (for video 1.1, or tags for images 1.1).

    A run of frames with the same value is one mark. Each attribute is a tier, its values are the
    labels; a checkbox that is set has its own name as label. The labels of tracks and tags are the
    tier `label`. The subject is the track (`track 0`). The default takes of each track the choices
    (select, radio, checkbox) that are declared as mutable, or its label where none is declared, and
    of each tag its label; all others are taken by naming the tier.

    Frames count from 0 in the video, also where the task has a step: a shape or tag stands for all
    frames up to the next step. A track is in view from a shape until the next one that is outside,
    or until its last shape; attributes hold until the next shape.

    The video is the task's source, else the task's name, else the file's stem.

    Raises:
        DatasetError: the file is damaged; there is neither a rate nor the video; or it has no
            tier, subject or label that was asked for.
        VideoError: the video cannot be read.
    """
    root = read_xml(file, _ROOT)
    tasks = _read_tasks(file, root)
    tracks, notes = _track_states(file, root, tasks)
    tags, tag_notes = _tag_states(file, root, tasks)
    declared = _declared_attributes(root)
    clock = FrameClock(file, options)
    found = [
        (mark, is_default)
        for states in (*tracks, *tags)
        for mark, is_default in _marks(states, declared, clock)
    ]
    notes += tag_notes + _task_notes(tasks)
    if unset := sum(mark.label in _NOT_SET for mark, _ in found):
        notes += (f"{unset} runs of values that are empty or __undefined__ are dropped",)
    found = [(mark, is_default) for mark, is_default in found if mark.label not in _NOT_SET]
    if options.tiers or options.every_tier:
        taken = tuple(mark for mark, _ in found)
    else:
        taken = tuple(mark for mark, is_default in found if is_default)
        if left_out := Counter(mark.tier for mark, is_default in found if not is_default):
            names = ", ".join(f"{plain(name)} ({n})" for name, n in left_out.items())
            notes += (f"left out, unless asked for as tiers: {names}",)
    kind = "tags of images" if tags and not tracks else "tracks of a video"
    return Marks(
        file,
        f"CVAT, {kind}",
        taken,
        notes=notes,
        is_on_video_clock=options.rate_fps is None,
    ).chosen(options)


def _read_tasks(file: Path, root: Element) -> dict[str, _Task]:
    """By their ids; a file without any has one of which nothing is known."""
    elements = [
        element
        for path in ("meta/task", "meta/job", "meta/project/tasks/task")
        for element in root.findall(path)
    ]
    source = root.findtext("meta/source") or ""
    tasks = {}
    for element in elements:
        names = (element.findtext("source"), source, element.findtext("name"), file.stem)
        video = next(name for name in names if name)
        frame_filter = element.findtext("frame_filter") or "step=1"
        step = re.fullmatch(r"step=([0-9]{1,9})", frame_filter.strip())
        if step is None or int(step[1]) == 0:
            raise DatasetError(
                f"{file}: frame_filter is {plain(frame_filter)!r}; a step (step=3) is expected"
            )
        tasks[element.findtext("id") or ""] = _Task(
            video,
            int(step[1]),
            _frame_of_meta(file, element, "start_frame") or 0,
            _frame_of_meta(file, element, "stop_frame"),
        )
    return tasks or {"": _Task(source or file.stem, 1, 0, None)}


def _frame_of_meta(file: Path, task: Element, name: str) -> int | None:
    text = (task.findtext(name) or "").strip()
    if not text:
        return None
    if not re.fullmatch("[0-9]{1,15}", text):
        raise DatasetError(f"{file}: {name} is {plain(text)!r}; a frame's number is expected")
    return int(text)


def _task_of(file: Path, element: Element, tasks: Mapping[str, _Task]) -> _Task:
    name = element.get("task_id")
    if name is None and len(tasks) == 1:
        return next(iter(tasks.values()))
    if name is None:
        raise DatasetError(
            f"{file}: holds {len(tasks)} tasks, and a {element.tag} without task_id; export each "
            "task by itself"
        )
    if name not in tasks:
        raise DatasetError(
            f"{file}: a {element.tag} is of the task {plain(name)!r}, which <meta> does not "
            "describe; export the file again"
        )
    return tasks[name]


def _task_notes(tasks: Mapping[str, _Task]) -> tuple[str, ...]:
    return tuple(
        f"{plain(task.video)} was annotated from frame {task.start_frame}"
        + ("" if task.stop_frame is None else f" to {task.stop_frame}")
        + ": nobody looked at what lies outside"
        for task in tasks.values()
        if task.start_frame
    )


def _declared_attributes(root: Element) -> dict[tuple[str, str], _Attribute]:
    """By label and name, as the file's head declares them."""
    declared = {}
    for label in root.iter("label"):
        name = label.findtext("name") or ""
        for element in label.findall("attributes/attribute"):
            if (own_name := element.findtext("name")) is not None:
                kind = element.findtext("input_type") or ""
                is_mutable = (element.findtext("mutable") or "").strip().lower() == "true"
                declared[name, own_name] = _Attribute(kind.strip(), is_mutable)
            elif old := _OLD_ATTRIBUTE.match((element.text or "").strip()):
                declared[name, old[3]] = _Attribute(old[2], old[1] == "~")
    return declared


def _track_states(
    file: Path, root: Element, tasks: Mapping[str, _Task]
) -> tuple[list[list[_State]], tuple[str, ...]]:
    """The states of each track that is ever in view, and notes."""
    tracks = [
        _states_of_track(file, track, f"track {track.get('id', index)}", tasks)
        for index, track in enumerate(root.findall("track"))
    ]
    notes: tuple[str, ...] = ()
    if without := tracks.count([]):
        notes += (f"{without} tracks are never in view and are skipped",)
    states = [state for track in tracks for state in track]
    if held := sum(state.end_frame - state.start_frame > state.task.step for state in states):
        notes += (
            f"{held} times a track has no shape for longer than a step, and is taken to stay in "
            "view as it was",
        )
    return [track for track in tracks if track], notes


def _states_of_track(
    file: Path, track: Element, owner: str, tasks: Mapping[str, _Task]
) -> list[_State]:
    """From each shape to the next one, where the object is in view; in order."""
    task, label = _task_of(file, track, tasks), attribute(file, track, "label")
    shapes = [shape for shape in track if shape.get("frame") is not None]
    shapes.sort(key=lambda shape: _frame_of(file, shape))
    starts = [_frame_of(file, shape) for shape in shapes]
    ends = [*starts[1:], *(task.end_of(frame) for frame in starts[-1:])]
    states = []
    values: dict[str, str] = {}
    hidden: dict[str, bool] = {}
    for shape, start, end in zip(shapes, starts, ends, strict=True):
        values = values | _values(file, shape)
        is_outside = _is_outside(shape, hidden)
        if start < end and not is_outside:
            states.append(_State(owner, label, task, start, end, values))
    return states


def _frame_of(file: Path, shape: Element) -> int:
    frame = whole_number(file, shape, "frame")
    if frame < 0:
        raise DatasetError(f"{file}: a {shape.tag} is on the frame {frame}; they begin at 0")
    return frame


def _is_outside(shape: Element, hidden: dict[str, bool]) -> bool:
    """Whether an object is out of view from here; a skeleton is when all of its points are.

    Args:
        hidden: of each point of a skeleton, whether it was at the last shape; brought up to date.
    """
    points = [point for point in shape if point.get("outside") is not None]
    if shape.get("outside") is not None or not points:
        return shape.get("outside") == "1"
    hidden.update({point.get("label", ""): point.get("outside") == "1" for point in points})
    return all(hidden.values())


def _tag_states(
    file: Path, root: Element, tasks: Mapping[str, _Task]
) -> tuple[list[list[_State]], tuple[str, ...]]:
    """The states of each label that frames are tagged with, and notes."""
    tags: dict[tuple[_Task, str], list[_State]] = {}
    shapes = 0
    for image in root.findall("image"):
        shapes += sum(shape.tag != "tag" for shape in image)
        for tag in image.findall("tag"):
            task, label = _task_of(file, image, tasks), attribute(file, tag, "label")
            frame = _frame_of_name(file, attribute(file, image, "name"))
            state = _State("", label, task, frame, task.end_of(frame), _values(file, tag))
            tags.setdefault((task, label), []).append(state)
    if not shapes:
        return list(tags.values()), ()
    note = f"{shapes} shapes in single images are not read; export them as CVAT for video 1.1"
    return list(tags.values()), (note,)


def _frame_of_name(file: Path, name: str) -> int:
    found = _FRAME_NAME.fullmatch(re.split(r"[/\\]", name)[-1])
    if found is None:
        raise DatasetError(
            f"{file}: tags the image {plain(name)!r}, which is no frame of a video "
            "(frame_000123); make the task of the video itself"
        )
    return int(found[1])


def _values(file: Path, element: Element) -> dict[str, str]:
    return {
        attribute(file, child, "name"): (child.text or "").strip()
        for child in element.findall("attribute")
    }


def _marks(
    states: Sequence[_State],
    declared: Mapping[tuple[str, str], _Attribute],
    clock: FrameClock,
) -> Iterator[tuple[Mark, bool]]:
    """The marks of one track, or of one label's tags; and whether the default takes them."""
    owner, label, video = states[0].owner, states[0].label, states[0].task.video
    changing = {
        name
        for (other, name), found in declared.items()
        if owner and other == label and found.is_mutable and found.kind in _CHOICES
    }
    checkboxes = {name for (_, name), found in declared.items() if found.kind == "checkbox"}
    for (tier, value), spans in _spans(states).items():
        is_default = tier in changing or (tier == LABEL_TIER and not changing)
        if tier in checkboxes:
            if value.lower() == "false":
                continue
            value = tier if value.lower() == "true" else value
        for start, end in spans:
            start_seconds, end_seconds = (clock.seconds(video, frame) for frame in (start, end))
            yield Mark(value, start_seconds, end_seconds, video, owner, tier), is_default


def _spans(states: Sequence[_State]) -> dict[tuple[str, str], list[tuple[int, int]]]:
    """By tier and value the spans of frames that have it; those that touch are made one."""
    names = dict.fromkeys(name for state in states for name in state.values)
    spans: dict[tuple[str, str], list[tuple[int, int]]] = {}
    for state in sorted(states, key=lambda state: state.start_frame):
        values = [(LABEL_TIER, state.label)] + [
            (name, state.values.get(name, "")) for name in names
        ]
        for value in values:
            known = spans.setdefault(value, [])
            if known and state.start_frame <= known[-1][1]:
                known[-1] = known[-1][0], max(known[-1][1], state.end_frame)
            else:
                known.append((state.start_frame, state.end_frame))
    return spans
