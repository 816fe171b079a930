"""From the marks of a file to a data set of recordings that are annotated as a whole."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from actionrnn.datasets.annotations.marks import Mark, Marks, Span, united
from actionrnn.datasets.grouping import group_of
from actionrnn.datasets.recordings import (
    BACKGROUND,
    Annotation,
    Dataset,
    Recording,
    Side,
    begin_of,
    end_of,
)
from actionrnn.datasets.tables import side_in
from actionrnn.datasets.video_names import VideoNames, names_a_file, notes_of_paths
from actionrnn.errors import DatasetError
from actionrnn.text import plain


@dataclass
class _Video:
    """A video, and the marks that make its annotations."""

    path: Path
    key: str
    looked_at: tuple[Span, ...] | None = None
    """Where somebody looked; None: nobody said."""
    marks: list[Mark] = field(default_factory=list)

    @property
    def marked(self) -> dict[Annotation, Mark]:
        """Its annotations, each with the first mark that says so."""
        found: dict[Annotation, Mark] = {}
        for mark in self.marks:
            annotation = Annotation(mark.label, mark.start_seconds, mark.end_seconds)
            found.setdefault(annotation, mark)
        return found


def make_dataset(
    marks: Marks,
    videos: VideoNames,
    group_pattern: str | None = None,
    *,
    background: bool = False,
    multi_label: bool = False,
) -> Dataset:
    """The recordings that the marks are of, with their annotations.

    Points have no length and are no annotations; a mark that is there twice counts once. Where the
    format has them (`Marks.has_sides`), a mark's `group` and `split` are its recording's.

    Args:
        videos: where the videos lie.
        group_pattern: finds the group of a recording that has none, in the video's name.
        background: what no mark covers is the class `BACKGROUND`, where somebody looked
            (`Marks.looked_at`) or, if nobody said where, everywhere; else it is unlabelled.
        multi_label: marks of one video may overlap. `BACKGROUND` is then no class, but says that
            somebody looked and saw none of the classes.

    Raises:
        DatasetError: marks of one video overlap and may not, or give it several groups or splits;
            a mark names no video; or nothing is marked.
    """
    found = _by_video(marks, videos)
    recordings = []
    for video in found:
        if marks.has_sides:
            _require_one_side(video, marks.file)
        if not multi_label:
            _require_no_overlap(video, marks.file)
        says = video.marks[0] if video.marks and marks.has_sides else None
        group = says.extra.get("group") if says else None
        recording = Recording(
            video.path,
            video.key,
            group or group_of(video.path.name, video.key, group_pattern),
            _side(marks.file, says) if says else None,
            tuple(video.marked),
        )
        if background:
            recording = recording.with_background(video.looked_at)
        recordings.append(recording)
    if not recordings:
        raise DatasetError(f"{marks.file}: holds no interval with a label ({marks.format})")
    notes = (*marks.notes, *_notes(marks, found), *notes_of_paths(videos))
    if multi_label:
        notes = (*notes, *_multi_label_notes(found, background))
    return Dataset(marks.file, tuple(recordings), notes, continuous=True, multi_label=multi_label)


def _by_video(marks: Marks, videos: VideoNames) -> Sequence[_Video]:
    found: dict[Path, _Video] = {}
    for mark in marks.marks:
        if mark.is_point or not mark.video:
            continue
        if not names_a_file(mark.video):
            raise DatasetError(f"{_at(marks.file, mark)}: {mark.video!r} does not name a video")
        try:
            path, key = videos.find(mark.video)
        except DatasetError as error:
            raise DatasetError(f"{_at(marks.file, mark)}: {error}") from None
        found.setdefault(path, _Video(path, key)).marks.append(mark)
    for name, spans in marks.looked_at.items():
        if name:
            path, key = videos.find(name)
            video = found.setdefault(path, _Video(path, key))  # where nobody found anything, too
            video.looked_at = united((*(video.looked_at or ()), *spans))
    return list(found.values())


def _at(file: Path, *marks: Mark) -> str:
    """Where marks stand in a file, as far as it is known: `a.csv, line 2 and line 4`."""
    places = " and ".join(mark.where for mark in marks if mark.where)
    return f"{file}, {places}" if places else str(file)


def _side(file: Path, mark: Mark) -> Side | None:
    try:
        return side_in(mark.extra.get("split", ""))
    except DatasetError as error:
        raise DatasetError(f"{_at(file, mark)}: {error}") from None


def _require_one_side(video: _Video, file: Path) -> None:
    """Refuse marks of one video that do not agree on its group and split."""
    for first, mark in itertools.pairwise(video.marks):
        for what in ("group", "split"):
            one, other = first.extra.get(what, ""), mark.extra.get(what, "")
            if one != other:
                raise DatasetError(
                    f"{_at(file, first, mark)}: {video.key} has two {what}s, {one!r} and "
                    f"{other!r}; a recording is used as a whole: give it one"
                )


def _require_no_overlap(video: _Video, file: Path) -> None:
    """Refuse marks of one video that label the same time."""
    ordered = sorted(video.marked.items(), key=lambda item: begin_of(item[0]))
    for (one, mark), (other, other_mark) in itertools.pairwise(ordered):
        if end_of(one) > begin_of(other):
            raise DatasetError(
                f"{_at(file, mark, other_mark)}: {video.key}{one.suffix} ({_described(mark)}) and "
                f"{video.key}{other.suffix} ({_described(other_mark)}) overlap; a moment has one "
                "label: choose by data.subjects, data.tiers or data.labels, end one where the "
                "other begins, take one out, or train with head.multi_label=true, where both count"
            )


def _described(mark: Mark) -> str:
    """Its label, and whose and where it is, to tell what can be chosen."""
    whose = {"subject": mark.subject, "tier": mark.tier}
    return ", ".join([repr(mark.label), *(f"{k} {plain(v)}" for k, v in whose.items() if v)])


def _notes(marks: Marks, videos: Sequence[_Video]) -> Iterator[str]:
    points = [mark for mark in marks.marks if mark.is_point]
    if points:
        first = points[0]
        yield (
            f"{len(points)} marks are points without a length, and take no part (the first: "
            f"{plain(first.label)} at {first.start_seconds:g} s)"
        )
    nameless = sum(not mark.video for mark in marks.marks)
    if nameless:
        yield f"{nameless} marks are of no video, as in live observations, and take no part"
    number = sum(len(video.marks) - len(video.marked) for video in videos)
    if number:
        yield f"{number} marks are there again, which counts once"


def _multi_label_notes(videos: Sequence[_Video], background: bool) -> Iterator[str]:
    marks = [mark for video in videos for mark in video.marks]
    subjects = sorted({mark.subject for mark in marks if mark.subject})
    if len(subjects) > 1:
        yield (
            f"{len(subjects)} subjects ({', '.join(map(plain, subjects))}) count together: a label "
            "is on while any of them has it; data.subjects chooses"
        )
    if not background and all(mark.label != BACKGROUND for mark in marks):
        yield (
            "what no mark covers counts as not looked at, so nothing teaches that no class is on; "
            f"data.unlabelled=background does, and so do marks of the label {BACKGROUND}"
        )
