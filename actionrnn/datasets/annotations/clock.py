"""From the frame numbers of a file of annotations to seconds on the video's clock."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from actionrnn.datasets.annotations.marks import ReadOptions
from actionrnn.errors import DatasetError
from actionrnn.video.decode import read_frame_times
from actionrnn.video.finding import VIDEO_SUFFIXES


class FrameClock:
    """When the frames of a file's videos are shown: by a given rate, or as the videos say.

    A rate is never guessed: it is given, or each frame's own time is read from the video, which
    may well be of a variable rate.
    """

    def __init__(self, file: Path, options: ReadOptions) -> None:
        if options.rate_fps is not None and not options.rate_fps > 0:
            raise DatasetError(f"rate_fps is {options.rate_fps:g}; it must be above 0")
        self._file, self._rate_fps = file, options.rate_fps
        self._videos = options.videos or file.parent
        self._times: dict[str, NDArray[np.float64]] = {}

    def seconds(self, video: str, frame: int) -> float:
        """When a frame begins; frames count from 0. The number of frames: when the last one ends.

        Raises:
            DatasetError: no rate is given and the video is not found, or it has fewer frames.
            VideoError: the video cannot be read.
        """
        if self._rate_fps is not None:
            return frame / self._rate_fps
        times = self._frame_times(video)
        if not 0 <= frame < len(times):
            raise DatasetError(
                f"{self._file}: marks frame {frame} of {video}, which has {len(times) - 1} frames; "
                "is it another video, or counted at another rate? say so by rate_fps"
            )
        return float(times[frame])

    def _frame_times(self, video: str) -> NDArray[np.float64]:
        """(frames + 1,): when each begins, and when the last ends."""
        if video not in self._times:
            path = find_video(video, self._videos)
            if path is None:
                raise DatasetError(
                    f"{self._file}: counts frames, and there is no {video or 'video'} in "
                    f"{self._videos} to tell when they are shown; say where the videos are, or "
                    "frames a second by rate_fps"
                )
            times = read_frame_times(path)
            last_gap = times[-1] - times[-2] if len(times) > 1 else 0.0
            self._times[video] = np.append(times, times[-1] + last_gap)
        return self._times[video]


def find_video(name: str, folder: Path) -> Path | None:
    """The video that a file of annotations names, in a folder of videos.

    Tools write paths of the machine on which somebody annotated, with an ending or without; so
    the whole path is tried, then less and less of its beginning, then the same with each ending.
    """
    parts = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".", "..")]
    if not parts:
        return None
    whole = Path(name)
    if whole.is_absolute() and whole.is_file():
        return whole
    for start in range(len(parts)):
        path = folder.joinpath(*parts[start:])
        if path.is_file() and path.suffix.lower() in VIDEO_SUFFIXES:
            return path
        found = sorted(
            other
            for other in (path.parent.iterdir() if path.parent.is_dir() else ())
            if other.suffix.lower() in VIDEO_SUFFIXES and other.stem in (path.name, path.stem)
        )
        if len(found) > 1:
            names = " or ".join(other.name for other in found)
            raise DatasetError(f"{name!r} may be {names} in {folder}; keep one of them")
        if found:
            return found[0]
    return None
