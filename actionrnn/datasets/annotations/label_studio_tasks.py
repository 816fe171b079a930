"""Who answered what in a JSON file of Label Studio, in each of the forms that it writes.

`[task, ...]` with `annotations` and `predictions` (an export), one task, the body of a webhook
(`annotation`, `task`, `project`), `[prediction, ...]` without tasks, and JSON-MIN, which has a row
for each annotation with its regions under the control's name. See
https://labelstud.io/guide/task_format and https://labelstud.io/guide/export.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from actionrnn.datasets.annotations.json_values import mapping, sequence
from actionrnn.datasets.annotations.marks import ReadOptions
from actionrnn.errors import DatasetError
from actionrnn.text import plain
from actionrnn.video.finding import VIDEO_SUFFIXES

_ANSWERS = {"annotations": False, "completions": False, "predictions": True}
"""Under which names a task holds answers, and whether these are a model's; `completions` are the
annotations of versions before 1.0."""
_REGION_KEYS = ("ranges", "sequence", "channel")
_UPLOADED = re.compile(r"/data/upload/(?:\d+/)?(?:[0-9a-f]{8}-)?(.+)")


@dataclass(frozen=True)
class VideoTag:
    """A <Video> of a project's set-up."""

    key: str
    """Of the task's data: where the video's address is."""
    rate: str
    """As it is written: frames a second, seconds a frame (below 1), `$key`; empty: the default."""


@dataclass(frozen=True)
class Answer:
    """What one person, or one model, said about one task."""

    task: str
    """Its id, for messages."""
    by: str
    """The annotator's id, or the model's version."""
    regions: Sequence[Any]
    data: Mapping[str, Any]
    """The task's: addresses of its videos, and whatever else was imported."""
    tags: Mapping[str, VideoTag] = field(default_factory=dict)
    """By name, those of the set-up; empty: the file does not hold it."""
    is_prediction: bool = False
    is_cancelled: bool = False

    def tag(self, name: object) -> VideoTag | None:
        """The <Video> that a region is of."""
        only = next(iter(self.tags.values())) if len(self.tags) == 1 else None
        return self.tags.get(str(name), only)


def is_label_studio(data: object) -> bool:
    """Whether the content of a JSON file is tasks, or answers, of Label Studio."""
    if isinstance(data, dict):
        return _is_webhook(data) or _is_task(data)
    if not isinstance(data, list) or not data:
        return False
    if not all(isinstance(item, dict) for item in data):
        return False
    if all(_is_task(item) or _is_answer(item) for item in data):
        return True
    return all("id" in row for row in data) and any(map(_controls, data))  # JSON-MIN


def answers_in(data: Any, file: Path) -> list[Answer]:
    """Every answer in a file for which `is_label_studio` holds, in its order.

    Raises:
        DatasetError: a part of it has another type than Label Studio's.
    """
    if isinstance(data, dict):
        data = [_task_of_webhook(data) if _is_webhook(data) else data]
    answers: list[Answer] = []
    for position, item in enumerate(data, start=1):
        if _is_task(item):
            answers += _answers_of_task(item, position, file)
        elif _is_answer(item):
            answers.append(_answer(item, "", {}, {}, "model_version" in item, file))
        else:
            answers.append(_answer_of_row(item, position))
    return answers


def number_of_tasks(data: Any) -> int:
    """How many tasks a file has, answered or not, for which `is_label_studio` holds."""
    if isinstance(data, dict):
        return 1
    return len({str(item.get("id", i)) for i, item in enumerate(data) if not _is_answer(item)})


def chosen_answers(
    answers: Sequence[Answer], options: ReadOptions, file: Path
) -> tuple[list[Answer], list[str]]:
    """One answer for each task, and notes of the others.

    Cancelled ones are left out; predictions count only where the file has no annotations.

    Raises:
        DatasetError: several for one task and no choice, or a choice that nobody is.
    """
    kept = [answer for answer in answers if not answer.is_cancelled]
    people = [answer for answer in kept if not answer.is_prediction]
    taken = people or kept
    notes = []
    if len(kept) < len(answers):
        notes.append(f"{len(answers) - len(kept)} cancelled annotations are left out")
    if people and len(people) < len(kept):
        notes.append(f"{len(kept) - len(people)} predictions are left out: there are annotations")
    if taken and not people:
        notes.append(f"there are no annotations: {len(taken)} predictions are read")
    if options.annotators:
        known = dict.fromkeys(answer.by for answer in taken)
        unknown = next((name for name in options.annotators if name not in known), None)
        if unknown is not None:
            shown = ", ".join(plain(name) or "(none)" for name in known)
            raise DatasetError(f"{file}: has no annotator {unknown!r}; there are {shown}")
        others = len(taken)
        taken = [answer for answer in taken if answer.by in options.annotators]
        if len(taken) < others:
            notes.append(f"{others - len(taken)} answers of other annotators are left out")
    _require_one_each(taken, options, file)
    return taken, notes


def video_of(answer: Answer, to_name: object) -> str:
    """The video's name in an answer's data, without what Label Studio puts before it.

    Empty: the data name none, or several and the set-up does not tell.
    """
    return _file_name(address_of(answer, to_name))


def address_of(answer: Answer, to_name: object) -> str:
    """The video's address in an answer's data; empty: as for `video_of`."""
    tag = answer.tag(to_name)
    if tag is not None and isinstance(answer.data.get(tag.key), str):
        return str(answer.data[tag.key])
    texts = {key: value for key, value in answer.data.items() if isinstance(value, str)}
    videos = {
        value
        for value in texts.values()
        if Path(_file_name(value)).suffix.lower() in VIDEO_SUFFIXES
    }
    return videos.pop() if len(videos) == 1 else texts.get("video", "")


def _is_webhook(data: Mapping[str, Any]) -> bool:
    return isinstance(data.get("annotation"), dict) and isinstance(data.get("task"), dict)


def _is_task(item: Mapping[str, Any]) -> bool:
    return isinstance(item.get("data"), dict) and any(
        isinstance(item.get(name), list) for name in _ANSWERS
    )


def _is_answer(item: Mapping[str, Any]) -> bool:
    regions = item.get("result")
    return isinstance(regions, list) and all(
        isinstance(region, dict) and "value" in region for region in regions
    )


def _controls(item: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Of a row of JSON-MIN: the regions by the name of their control."""
    return {
        name: value
        for name, value in item.items()
        if isinstance(value, list)
        and value
        and all(isinstance(part, dict) and any(k in part for k in _REGION_KEYS) for part in value)
    }


def _task_of_webhook(body: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "data": {},
        **body["task"],
        "annotations": [body["annotation"]],
        "project": body.get("project"),
    }


def _answers_of_task(task: Mapping[str, Any], position: int, file: Path) -> Iterator[Answer]:
    name = str(task.get("id", f"number {position}"))
    project = task.get("project")
    setup = project.get("label_config") if isinstance(project, dict) else None
    tags = _video_tags(setup) if isinstance(setup, str) else {}
    for key, is_prediction in _ANSWERS.items():
        for item in sequence(task.get(key) or [], f"{file}: {key} of task {name}"):
            found = mapping(item, f"{file}: {key} of task {name}: an entry")
            yield _answer(found, name, task["data"], tags, is_prediction, file)


def _answer(
    item: Mapping[str, Any],
    task: str,
    data: Mapping[str, Any],
    tags: Mapping[str, VideoTag],
    is_prediction: bool,
    file: Path,
) -> Answer:
    by = item.get("model_version") if is_prediction else item.get("completed_by")
    if isinstance(by, dict):
        by = by.get("id", by.get("email"))
    regions = sequence(item.get("result"), f"{file}: result of task {task or '(none)'}")
    is_cancelled = bool(item.get("was_cancelled"))
    return Answer(task, _as_name(by), regions, data, tags, is_prediction, is_cancelled)


def _answer_of_row(row: Mapping[str, Any], position: int) -> Answer:
    regions = [
        {"from_name": control, "value": value}
        for control, values in _controls(row).items()
        for value in values
    ]
    task = str(row.get("id", f"number {position}"))
    return Answer(task, _as_name(row.get("annotator")), regions, row)


def _as_name(value: object) -> str:
    return "" if value is None else str(value)


def _video_tags(setup: str) -> dict[str, VideoTag]:
    """The <Video> tags of a set-up by name; none if it is no XML."""
    try:
        root = ElementTree.fromstring(setup.strip())
    except ElementTree.ParseError:
        return {}
    found = {}
    for element in root.iter():
        if element.tag.lower() == "video":
            attributes = {name.lower(): value for name, value in element.attrib.items()}
            key = attributes.get("value", "").removeprefix("$")
            tag = VideoTag(key, attributes.get("framerate", "").strip())
            found[attributes.get("name", "")] = tag
    return found


def _require_one_each(answers: Sequence[Answer], options: ReadOptions, file: Path) -> None:
    by_task = defaultdict(list)
    for answer in answers:
        by_task[answer.task].append(answer.by)
    for task, names in by_task.items():
        counts = Counter(names)
        twice = [name for name, count in counts.items() if count > 1]
        which = f"task {plain(task)}" if task else "it"
        if twice:
            raise DatasetError(
                f"{file}: {which} has {counts[twice[0]]} answers by "
                f"{plain(twice[0]) or '(nobody named)'}; delete all but one"
            )
        if len(counts) > 1 and not options.annotators:
            shown = ", ".join(plain(name) or "(nobody named)" for name in counts)
            raise DatasetError(
                f"{file}: {which} has {len(counts)} answers, by {shown}; choose one by annotators"
            )


def _file_name(address: str) -> str:
    """A video's address without what Label Studio puts before its name or path.

    `/data/upload/1/3d3ad63e-a.mp4` is `a.mp4`, `/data/local-files/?d=b/a.mp4` is `b/a.mp4`.
    """
    try:
        parts = urlsplit(address)
        queries = parse_qs(parts.query)
    except ValueError:
        return address
    if parts.path.rstrip("/").endswith("/data/local-files") and queries.get("d"):
        return queries["d"][0]
    uploaded = _UPLOADED.search(parts.path)
    if uploaded:
        return unquote(uploaded[1])
    return unquote(parts.path) if parts.scheme in ("http", "https") else address
