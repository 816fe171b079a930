"""Whether marks lie within the videos that they are of."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from actionrnn.datasets.annotations.clock import LATE_SECONDS
from actionrnn.datasets.annotations.marks import TOLERATED_SECONDS, Mark, Marks, Span
from actionrnn.datasets.video_names import VideoNames, notes_of_paths
from actionrnn.errors import DatasetError, VideoError
from actionrnn.progress import progress_bar
from actionrnn.text import plain
from actionrnn.video.declared import declared_span


@dataclass(frozen=True)
class _Placed:
    """A mark, and from when to when its video goes."""

    mark: Mark
    span: Span

    @property
    def bounds(self) -> Span:
        start, end = self.mark.start_seconds, self.mark.end_seconds
        return (
            self.span[0] if start is None else start,
            self.span[1] if end is None else end,
        )

    @property
    def early_seconds(self) -> float:
        """How long before the video it begins."""
        return self.span[0] - self.bounds[0]

    @property
    def late_seconds(self) -> float:
        """How long after the video it ends."""
        return self.bounds[1] - self.span[1]

    @property
    def is_outside(self) -> bool:
        """Whether it has no time in common with the video."""
        start, end = self.bounds
        return end < self.span[0] - TOLERATED_SECONDS or start > self.span[1] + TOLERATED_SECONDS

    def __str__(self) -> str:
        start, end = self.bounds
        when = f"at {start:g} s" if self.mark.is_point else f"{start:g}-{end:g} s"
        where = f"{plain(self.mark.where)}: " if self.mark.where else ""
        begin, stop = self.span
        of = f"is {stop:g} s long" if begin == 0 else f"goes from {begin:g} to {stop:g} s"
        return f"{where}{plain(self.mark.label)} {when} of {plain(self.mark.video)}, which {of}"


def misplaced(marks: Marks, videos: VideoNames) -> Iterator[str]:
    """What of the marks does not fit the videos: a line for each kind, with the first of it.

    A video goes as far as it declares, or, where it is not found, as far as the file says.
    """
    spans: dict[str, Span] = {}
    named = [name for name in marks.videos if name]
    missing, unreadable = list[str](), list[str]()
    with progress_bar("looking into the videos", len(named)) as advance:
        for name in named:
            try:
                if not videos.has(name):
                    missing.append(name)
                elif (path := videos.find(name)[0]).is_file():
                    begin, length = declared_span(path)
                    spans[name] = begin, math.inf if length is None else begin + length
            except (DatasetError, VideoError) as error:
                unreadable.append(str(error))
            if name not in spans and name in marks.duration_seconds:
                spans[name] = 0.0, marks.duration_seconds[name]
            advance()
    yield from notes_of_paths(videos)
    if missing:
        yield (
            f"{len(missing)} of {len(named)} videos are not in {videos.folder} (the first: "
            f"{plain(missing[0])}); say where they are (--videos, data.videos)"
        )
    if unreadable:
        yield f"{len(unreadable)} videos cannot be used (the first: {unreadable[0]})"
    yield from _of_times(
        [_Placed(one, spans[one.video]) for one in marks.marks if one.video in spans]
    )


def _of_times(placed: list[_Placed]) -> Iterator[str]:
    outside = [one for one in placed if one.is_outside]
    within = [one for one in placed if not one.is_outside]
    if outside:
        yield (
            f"{len(outside)} marks lie outside of their videos and count nowhere (the first: "
            f"{outside[0]}); write seconds on the clock of the video"
        )
    fitting = {one.mark.video: one for one in within}
    mixed = {one.mark.video: one for one in outside if one.mark.video in fitting}
    if mixed:
        first, begin = next(iter(mixed.values())), next(iter(mixed.values())).span[0]
        hint = ""
        if begin >= LATE_SECONDS and first.bounds[1] <= first.span[1] - begin:
            hint = f"; one that counts from the first frame lacks {begin:g} s"
        yield (
            f"{len(mixed)} videos have marks of several clocks, or of another video: some fit, as "
            f"{fitting[first.mark.video]}, and others do not, as {first}{hint}"
        )
    yield from _cut_off("begin before", "from", [(one.early_seconds, one) for one in within])
    yield from _cut_off("end after", "until", [(one.late_seconds, one) for one in within])


def _cut_off(verb: str, counted: str, placed: Sequence[tuple[float, _Placed]]) -> Iterator[str]:
    """Of marks that are partly outside of their videos, each with the seconds that it is."""
    found = [(seconds, one) for seconds, one in placed if seconds > TOLERATED_SECONDS]
    if found:
        yield (
            f"{len(found)} marks {verb} their videos, by up to "
            f"{max(seconds for seconds, _ in found):.3g} s, and count {counted} there (the first: "
            f"{found[0][1]})"
        )
