"""From the frame numbers of a file of annotations to seconds on the video's clock."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from actionrnn.datasets.annotations.marks import ReadOptions
from actionrnn.datasets.video_names import VideoNames
from actionrnn.errors import DatasetError
from actionrnn.video.decode import read_frame_times


class FrameClock:
    """When the frames of a file's videos are shown: by a given rate, or as the videos say.

    A rate is never guessed: it is given, or each frame's own time is read from the video, which
    may well be of a variable rate.
    """

    def __init__(self, file: Path, options: ReadOptions) -> None:
        if options.rate_fps is not None and not options.rate_fps > 0:
            raise DatasetError(f"rate_fps is {options.rate_fps:g}; it must be above 0")
        self._file, self._rate_fps = file, options.rate_fps
        self._videos = VideoNames(options.videos or file.parent, elsewhere=True)
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
            if not (video and self._videos.has(video)):
                raise DatasetError(
                    f"{self._file}: counts frames, and there is no {video or 'video'} in "
                    f"{self._videos.folder} to tell when they are shown; say where the videos "
                    "are, or frames a second by rate_fps"
                )
            times = read_frame_times(self._videos.find(video)[0])
            last_gap = times[-1] - times[-2] if len(times) > 1 else 0.0
            self._times[video] = np.append(times, times[-1] + last_gap)
        return self._times[video]
