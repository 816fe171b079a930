"""ELAN's files (`.eaf`): annotations on tiers, on the clock of a video.

The format: ELAN Annotation Format 3.0, https://www.mpi.nl/tools/elan/EAF_Annotation_Format_3.0.pdf
and EAFv3.0.xsd; older versions differ in nothing that is read here.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path, PurePosixPath
from urllib.parse import unquote
from xml.etree.ElementTree import Element

from actionrnn.datasets.annotations.marks import Mark, Marks, ReadOptions, without_reversed
from actionrnn.datasets.annotations.xml_file import (
    attribute,
    outermost_tag,
    read_xml,
    whole_number,
)
from actionrnn.errors import DatasetError
from actionrnn.text import plain
from actionrnn.video.finding import VIDEO_SUFFIXES

_ROOT = "ANNOTATION_DOCUMENT"
_MILLISECOND = Fraction(1, 1000)
_UNIT_SECONDS = {
    "milliseconds": _MILLISECOND,
    "NTSC-frames": Fraction(1001, 30000),
    "PAL-frames": Fraction(1, 25),
}
_Spans = dict[str, tuple[Fraction, Fraction]]
"""By the id of an annotation: its begin and end in seconds, on the annotations' clock."""


def is_elan(file: Path, text: str) -> bool:
    """Whether a text is ELAN's."""
    return outermost_tag(text) == _ROOT


def read_elan(file: Path, options: ReadOptions = ReadOptions()) -> Marks:
    """The annotations of an ELAN file.

    A mark's tier is ELAN's, its subject the tier's PARTICIPANT, its label the text without the
    blanks around it. The default takes the tiers that do not hang on another one, for a child
    tier divides or repeats its parent's time; any tier is taken by name.

    - ELAN has no events without a length: an annotation of at most 1 ms is read as one.
    - An annotation without text is dropped, unless all of its tier are without: then the tier's
      name is the label.
    - A time slot without a time lies between its neighbours in the tier, at equal shares; so do
      annotations that divide their parent's time without times of their own.
    - The video is the first medium of type video; its TIME_ORIGIN is added to all times. A file
      that names no video is taken to be of a video with its own name.

    Raises:
        DatasetError: the file is damaged, or has no tier, subject or label that was asked for.
    """
    root = read_xml(file, _ROOT)
    tiers = root.findall("TIER")
    video, origin_seconds, notes = _choose_video(file, root)
    ordered = _parents_first(file, tiers)
    times, untimed = _slot_times(file, root, ordered)
    spans, shared = _annotation_spans(file, ordered, times)
    everything = Marks(
        file,
        f"ELAN, format {plain(root.get('FORMAT', 'unknown'))}",
        tuple(
            _mark(tier, annotation, spans, video, origin_seconds)
            for tier in tiers
            for annotation in tier.findall("ANNOTATION/*")
        ),
    )
    taken = everything.chosen(ReadOptions(tiers=options.tiers))
    if not (options.tiers or options.every_tier):
        taken, left_out = _without_child_tiers(taken, tiers)
        notes += left_out
    if untimed:
        notes += (f"{untimed} time slots have no time and lie between their neighbours",)
    names = {mark.tier for mark in taken.marks}
    if number := sum(shared[name] for name in names):
        notes += (f"{number} annotations have no time and share their parent's equally",)
    marks, more = _labelled(taken.marks)
    marks, reversed_note = without_reversed(marks)
    taken = replace(taken, marks=marks, notes=notes + more + reversed_note)
    return taken.chosen(replace(options, tiers=()))


def _choose_video(file: Path, root: Element) -> tuple[str, Fraction, tuple[str, ...]]:
    """The video's path, where on its clock the annotations' begins, and notes."""
    media = root.findall("HEADER/MEDIA_DESCRIPTOR")
    videos = [medium for medium in media if _is_video(medium)]
    if not videos:
        names = ", ".join(plain(_name(medium)) for medium in media)
        note = f"no video is named, only {names}; it is taken to be {plain(file.stem)}"
        return file.stem, Fraction(0), (note,) if media else ()
    chosen, *others = videos
    notes: tuple[str, ...] = ()
    if others:
        names = ", ".join(plain(_name(medium)) for medium in others)
        notes += (f"of {len(videos)} videos, {plain(_name(chosen))} is taken, not {names}",)
    origin_ms = whole_number(file, chosen, "TIME_ORIGIN") if chosen.get("TIME_ORIGIN") else 0
    if origin_ms:
        notes += (f"{origin_ms} ms are added to all times: the video's TIME_ORIGIN",)
    return _path_here(file, chosen), origin_ms * _MILLISECOND, notes


def _is_video(medium: Element) -> bool:
    kind = medium.get("MIME_TYPE", "")
    if kind.startswith(("video/", "audio/")):
        return kind.startswith("video/")
    return PurePosixPath(_name(medium)).suffix.lower() in VIDEO_SUFFIXES


def _path_here(file: Path, medium: Element) -> str:
    """The path that is a file here, as it stands or with `%20` as a blank; else as it stands."""
    written = [medium.get("MEDIA_URL"), medium.get("RELATIVE_MEDIA_URL")]
    paths = [_without_scheme(url) for url in written if url]
    for path in [*paths, *map(unquote, paths)]:
        if (file.parent / path).is_file():
            return path
    return _path(medium)


def _path(medium: Element) -> str:
    return _without_scheme(medium.get("MEDIA_URL") or medium.get("RELATIVE_MEDIA_URL") or "")


def _without_scheme(url: str) -> str:
    """`file:///C:/a.mpg` is C:/a.mpg, `file:///home/a.mpg` is /home/a.mpg, `file:/./a` is a."""
    path = url.removeprefix("file:")
    path = path.removeprefix("//") if path.startswith("///") else path
    return re.sub(r"^/(?=[A-Za-z]:)|^/?\./", "", path)


def _name(medium: Element) -> str:
    return _path(medium).rpartition("/")[2]


def _parents_first(file: Path, tiers: Sequence[Element]) -> list[Element]:
    by_name = {attribute(file, tier, "TIER_ID"): tier for tier in tiers}
    if len(by_name) < len(tiers):
        names = Counter(tier.get("TIER_ID", "") for tier in tiers)
        twice = plain(names.most_common(1)[0][0])
        raise DatasetError(f"{file}: two tiers are called {twice!r}; rename one of them")

    def depth(tier: Element) -> int:
        above = 0
        while (parent := tier.get("PARENT_REF")) is not None:
            if parent not in by_name or above == len(tiers):
                raise DatasetError(
                    f"{file}: the tier {plain(tier.get('TIER_ID', ''))!r} hangs on "
                    f"{plain(parent)!r}, which is no tier above it; export the file again"
                )
            tier, above = by_name[parent], above + 1
        return above

    return sorted(tiers, key=depth)


def _slot_times(
    file: Path, root: Element, tiers: Sequence[Element]
) -> tuple[dict[str, Fraction], int]:
    """When each time slot is, in seconds, and how many of them had no time.

    A slot belongs to the annotations that begin or end there: its neighbours are those of their
    tier, not those in TIME_ORDER, where slots of all tiers lie side by side.
    """
    header = root.find("HEADER")
    unit = "milliseconds" if header is None else header.get("TIME_UNITS", "milliseconds")
    if unit not in _UNIT_SECONDS:
        known = ", ".join(_UNIT_SECONDS)
        raise DatasetError(f"{file}: TIME_UNITS is {plain(unit)!r}; known are {known}")
    slots = {attribute(file, slot, "TIME_SLOT_ID"): slot for slot in root.iter("TIME_SLOT")}
    times = {
        name: whole_number(file, slot, "TIME_VALUE") * _UNIT_SECONDS[unit]
        for name, slot in slots.items()
        if slot.get("TIME_VALUE") is not None
    }
    if untimed := len(slots) - len(times):
        for tier in tiers:
            _interpolate(
                times,
                {
                    attribute(file, annotation, "TIME_SLOT_REF1"): attribute(
                        file, annotation, "TIME_SLOT_REF2"
                    )
                    for annotation in tier.findall("ANNOTATION/ALIGNABLE_ANNOTATION")
                },
            )
    return times, untimed


def _interpolate(times: dict[str, Fraction], next_slot: dict[str, str]) -> None:
    """Time the slots of a chain of annotations that each begin where the one before ends."""
    for begin in [slot for slot in next_slot if slot in times]:
        between: list[str] = []
        end = next_slot[begin]
        while end not in times and end in next_slot and len(between) < len(next_slot):
            between.append(end)
            end = next_slot[end]
        if end in times:
            share = (times[end] - times[begin]) / (len(between) + 1)
            times.update({slot: times[begin] + i * share for i, slot in enumerate(between, 1)})


def _annotation_spans(
    file: Path, tiers: Sequence[Element], times: dict[str, Fraction]
) -> tuple[_Spans, Counter[str]]:
    """All annotations' spans, and by tier the number of those that share a parent's."""
    spans: _Spans = {}
    shared: Counter[str] = Counter()
    for tier in tiers:  # parents first
        siblings: dict[str, list[Element]] = {}
        for annotation in tier.findall("ANNOTATION/*"):
            name = attribute(file, annotation, "ANNOTATION_ID")
            if name in spans:
                raise DatasetError(f"{file}: two annotations have the id {plain(name)!r}")
            if annotation.tag == "ALIGNABLE_ANNOTATION":
                begin, end = (_slot(file, annotation, i, times) for i in (1, 2))
                spans[name] = begin, end
                continue
            parent = attribute(file, annotation, "ANNOTATION_REF")
            if parent not in spans:
                raise DatasetError(
                    f"{file}: the annotation {plain(name)!r} belongs to {plain(parent)!r}, which "
                    "is on no tier above it; export the file again"
                )
            siblings.setdefault(parent, []).append(annotation)
        for parent, children in siblings.items():
            begin, end = spans[parent]
            share = (end - begin) / len(children)
            for i, child in enumerate(_in_order(file, children)):
                spans[child] = begin + i * share, begin + (i + 1) * share
            if len(children) > 1:
                shared[tier.get("TIER_ID", "")] += len(children)
    return spans, shared


def _slot(file: Path, annotation: Element, number: int, times: dict[str, Fraction]) -> Fraction:
    slot = attribute(file, annotation, f"TIME_SLOT_REF{number}")
    if slot not in times:
        raise DatasetError(
            f"{file}: the annotation {plain(annotation.get('ANNOTATION_ID', ''))!r} refers to the "
            f"time slot {plain(slot)!r}, which has no time, nor neighbours in its tier that have; "
            "give it one in ELAN"
        )
    return times[slot]


def _in_order(file: Path, children: Sequence[Element]) -> list[str]:
    """The ids of annotations that divide one parent: each names the one before it."""
    follower = {
        child.get("PREVIOUS_ANNOTATION"): attribute(file, child, "ANNOTATION_ID")
        for child in children
    }
    ordered: list[str] = []
    last: str | None = None
    while last in follower and len(ordered) < len(children):
        last = follower[last]
        ordered.append(last)
    if len(ordered) < len(children):
        parent = plain(attribute(file, children[0], "ANNOTATION_REF"))
        raise DatasetError(
            f"{file}: {len(children)} annotations divide {parent!r}, and their "
            "PREVIOUS_ANNOTATION does not tell their order; export the file again"
        )
    return ordered


def _mark(
    tier: Element, annotation: Element, spans: _Spans, video: str, origin_seconds: Fraction
) -> Mark:
    begin, end = spans[annotation.get("ANNOTATION_ID", "")]
    if 0 <= end - begin <= _MILLISECOND:
        end = begin
    return Mark(
        annotation.findtext("ANNOTATION_VALUE") or "",
        float(begin + origin_seconds),
        float(end + origin_seconds),
        video,
        subject=tier.get("PARTICIPANT", ""),
        tier=tier.get("TIER_ID", ""),
    )


def _without_child_tiers(
    everything: Marks, tiers: Sequence[Element]
) -> tuple[Marks, tuple[str, ...]]:
    children = {tier.get("TIER_ID", "") for tier in tiers if tier.get("PARENT_REF") is not None}
    kept = tuple(mark for mark in everything.marks if mark.tier not in children)
    left_out = Counter(mark.tier for mark in everything.marks if mark.tier in children)
    if not left_out:
        return everything, ()
    names = ", ".join(f"{plain(name)} ({number})" for name, number in left_out.items())
    note = f"tiers that hang on another one are left out, unless asked for by name: {names}"
    return replace(everything, marks=kept), (note,)


def _labelled(marks: Sequence[Mark]) -> tuple[tuple[Mark, ...], tuple[str, ...]]:
    """The marks with labels that are not empty, and notes on what was done for that."""
    with_text = {mark.tier for mark in marks if mark.label.strip()}
    labelled = tuple(
        replace(mark, label=mark.label.strip() or mark.tier)
        for mark in marks
        if mark.label.strip() or mark.tier not in with_text
    )
    blank = sum(mark.label.strip() != mark.label and bool(mark.label.strip()) for mark in marks)
    without = Counter(mark.tier for mark in marks if not mark.label.strip())
    dropped = {name: number for name, number in without.items() if name in with_text}
    points = sum(mark.is_point for mark in labelled)
    notes = []
    if dropped:
        notes.append(f"{_by_tier(dropped)} have no text and are dropped")
    if by_tier := {name: number for name, number in without.items() if name not in with_text}:
        notes.append(f"{_by_tier(by_tier)} have no text and are labelled by their tier")
    if points:
        notes.append(f"{points} annotations of at most 1 ms are read as events without a length")
    if blank:
        notes.append(f"{blank} labels have blanks around them, which are removed")
    return labelled, tuple(notes)


def _by_tier(numbers: dict[str, int]) -> str:
    names = ", ".join(map(plain, numbers))
    return f"{sum(numbers.values())} annotations ({names})"
