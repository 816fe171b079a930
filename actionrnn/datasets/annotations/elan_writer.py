"""Writes ELAN's files (`.eaf`), so that a timeline can be looked at and corrected in ELAN."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path, PurePosixPath
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from actionrnn.datasets.annotations.marks import Mark, Marks
from actionrnn.errors import DatasetError
from actionrnn.files import write_text
from actionrnn.text import plain

TIER = "labels"
"""The tier of marks that have none."""
_NOT_IN_XML = re.compile("[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_MIME_TYPES = {  # those that ELAN tells apart; it calls every other video `video/*`
    ".mov": "video/quicktime",
    ".mp4": "video/mp4",
    ".mpeg": "video/mpeg",
    ".mpg": "video/mpeg",
}
_XSI = "http://www.w3.org/2001/XMLSchema-instance"
_LINGUISTIC_TYPE = "default-lt"

_Annotation = tuple[int, int, str]
"""Begin and end in milliseconds, and the label."""
_Lane = list[_Annotation]


def write_elan(marks: Marks, file: Path) -> tuple[str, ...]:
    """Write the marks of one video as ELAN Annotation Format 3.0.

    `read_elan` reads the same marks back, with times to the millisecond. A tier of ELAN holds one
    participant and no overlaps: marks of another subject, and marks that overlap, stand on tiers
    of their own. Marks without a tier stand on `labels`. Events without a length, and marks of at
    most 1 ms, become annotations of 1 ms. A video's path is written with forward slashes.

    Returns:
        Notes on what the format cannot hold, or holds in another way.

    Raises:
        DatasetError: the marks are of several videos, or one of them has no end, a time
            before 0, no label, or a character that XML forbids. Nothing is written.
        OSError: the file cannot be written.
    """
    if len(marks.videos) > 1:
        raise DatasetError(
            f"{file}: ELAN holds one video a file, and there are {len(marks.videos)}, "
            f"{plain(marks.videos[0])} and {plain(marks.videos[1])} among them; write a file for "
            "each"
        )
    annotations = [_annotation(file, mark, marks) for mark in marks.marks]
    tiers, moved = _tiers(marks, annotations)
    root = _document(marks.videos[0] if marks.videos else "", file, tiers)
    ElementTree.indent(root, "    ")
    text = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True).decode()
    write_text(file, f"{text}\n")
    return (*_notes(marks, annotations), *moved)


def _annotation(file: Path, mark: Mark, marks: Marks) -> _Annotation:
    """The mark in whole milliseconds, of which it has at least one."""
    if not mark.label.strip():
        raise DatasetError(f"{file}: a mark at {mark.start_seconds} s has no label; give it one")
    for text in (mark.label, mark.tier, mark.subject, mark.video):
        if found := _NOT_IN_XML.search(text):
            raise DatasetError(
                f"{file}: {plain(text)!r} holds the character {found[0]!a}, which ELAN's "
                "files cannot; remove it"
            )
    start = 0.0 if mark.start_seconds is None else mark.start_seconds
    end = mark.end_seconds
    end = marks.duration_seconds.get(mark.video) if end is None else end
    if end is None:
        raise DatasetError(
            f"{file}: {plain(mark.label)!r} from {start:g} s lasts until the end of its video, "
            "whose length is not known; give it an end"
        )
    if not 0 <= start <= end < math.inf:
        raise DatasetError(
            f"{file}: {plain(mark.label)!r} goes from {start:g} to {end:g} s; times in ELAN begin "
            "at 0 and go forward"
        )
    begin_ms = round(1000 * start)
    return begin_ms, max(round(1000 * end), begin_ms + 1), mark.label


def _tiers(
    marks: Marks, annotations: Sequence[_Annotation]
) -> tuple[dict[str, tuple[str, _Lane]], tuple[str, ...]]:
    """By the name of each tier its participant and annotations; and a note on those moved."""
    groups: dict[tuple[str, str], list[_Annotation]] = {}
    for mark, annotation in zip(marks.marks, annotations, strict=True):
        groups.setdefault((mark.tier or TIER, mark.subject), []).append(annotation)
    own: dict[str, tuple[str, _Lane]] = {}
    more: list[tuple[str, str, _Lane]] = []
    for (name, subject), found in groups.items():
        for lane in _lanes(found):
            if name in own:
                more.append((name, subject, lane))
            else:
                own[name] = subject, lane
    added = []
    for name, subject, lane in more:
        free = _free_name(name, own)
        own[free] = subject, lane
        added.append(free)
    if not added:
        return own, ()
    number = sum(len(lane) for _, _, lane in more)
    return own, (
        f"{number} marks overlap others of their tier, or are of another subject, and stand on "
        f"tiers of their own: {', '.join(map(plain, added))}",
    )


def _lanes(annotations: list[_Annotation]) -> list[_Lane]:
    """The annotations on as few lanes as hold them without overlaps."""
    lanes: list[_Lane] = []
    for annotation in sorted(annotations):
        lane = next((lane for lane in lanes if lane[-1][1] <= annotation[0]), None)
        if lane is None:
            lanes.append([annotation])
        else:
            lane.append(annotation)
    return lanes


def _free_name(name: str, taken: dict[str, tuple[str, _Lane]]) -> str:
    number = 2
    while f"{name} {number}" in taken:
        number += 1
    return f"{name} {number}"


def _document(video: str, file: Path, tiers: dict[str, tuple[str, _Lane]]) -> Element:
    root = Element(
        "ANNOTATION_DOCUMENT",
        {
            "AUTHOR": "",
            "DATE": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "FORMAT": "3.0",
            "VERSION": "3.0",
            "xmlns:xsi": _XSI,
            "xsi:noNamespaceSchemaLocation": "http://www.mpi.nl/tools/elan/EAFv3.0.xsd",
        },
    )
    header = SubElement(root, "HEADER", MEDIA_FILE="", TIME_UNITS="milliseconds")
    if video not in ("", file.stem):  # read back from the file's own name
        SubElement(header, "MEDIA_DESCRIPTOR", _media(video))
    time_order = SubElement(root, "TIME_ORDER")
    times_ms = [ms for _, lane in tiers.values() for begin, end, _ in lane for ms in (begin, end)]
    order = sorted(range(len(times_ms)), key=times_ms.__getitem__)
    for slot in order:
        SubElement(
            time_order, "TIME_SLOT", TIME_SLOT_ID=f"ts{slot + 1}", TIME_VALUE=str(times_ms[slot])
        )
    number = 0
    for name, (subject, lane) in tiers.items():
        tier = SubElement(root, "TIER", LINGUISTIC_TYPE_REF=_LINGUISTIC_TYPE)
        tier.set("TIER_ID", name)
        if subject:
            tier.set("PARTICIPANT", subject)
        for _, _, label in lane:
            annotation = SubElement(
                SubElement(tier, "ANNOTATION"),
                "ALIGNABLE_ANNOTATION",
                ANNOTATION_ID=f"a{number + 1}",
                TIME_SLOT_REF1=f"ts{2 * number + 1}",
                TIME_SLOT_REF2=f"ts{2 * number + 2}",
            )
            SubElement(annotation, "ANNOTATION_VALUE").text = label
            number += 1
    SubElement(
        root,
        "LINGUISTIC_TYPE",
        GRAPHIC_REFERENCES="false",
        LINGUISTIC_TYPE_ID=_LINGUISTIC_TYPE,
        TIME_ALIGNABLE="true",
    )
    return root


def _media(video: str) -> dict[str, str]:
    """Where the video is: ELAN looks for a path that is not absolute beside its own file."""
    path = video.replace("\\", "/")
    suffix = PurePosixPath(path).suffix.lower()
    found = {"MIME_TYPE": _MIME_TYPES.get(suffix, "video/*")}
    if re.match("[A-Za-z]:/", path):
        return {"MEDIA_URL": f"file:///{path}", **found}
    if path.startswith("//"):  # a Windows share
        return {"MEDIA_URL": f"file:{path}", **found}
    if path.startswith("/"):
        return {"MEDIA_URL": f"file://{path}", **found}
    return {"MEDIA_URL": f"file:///./{path}", **found, "RELATIVE_MEDIA_URL": f"./{path}"}


def _notes(marks: Marks, annotations: Sequence[_Annotation]) -> list[str]:
    notes = []
    points = sum(mark.is_point for mark in marks.marks)
    short = sum(end == begin + 1 for begin, end, _ in annotations) - points
    blank = sum(mark.label != mark.label.strip() for mark in marks.marks)
    extra = dict.fromkeys(name for mark in marks.marks for name in mark.extra)
    if points:
        notes.append(f"{points} events without a length are written as annotations of 1 ms")
    if short:
        notes.append(
            f"{short} marks are at most 1 ms long and read back as events without a length"
        )
    if blank:
        notes.append(f"{blank} labels have blanks around them, which are not read back")
    if extra:
        notes.append(f"not written, for ELAN has no place for it: {', '.join(map(plain, extra))}")
    if marks.looked_at:
        notes.append("not written, for ELAN has no place for it: where somebody looked")
    return notes
