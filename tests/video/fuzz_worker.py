"""Reads the files whose paths come in, a line each, in every way, and answers a line for each.

Run as a script by test_fuzz.py, so that a crash or a hang ends only this process.
"""

from __future__ import annotations

import sys
import traceback
from pathlib import Path

from actionrnn.config import Sampling
from actionrnn.errors import VideoError
from actionrnn.options import VideoLimits
from actionrnn.video.decode import iter_frames, read_frames
from actionrnn.video.probe import probe_video

LIMITS = VideoLimits(max_frame_pixels=2**22, max_bytes_held=2**26)
SAMPLINGS = [
    Sampling(num_frames=4),
    Sampling(rate_fps=10),
    Sampling(keyframes=True),
    Sampling(start_seconds=0.1, end_seconds=0.3),
]
MOST_FRAMES = 500


def read_in_one_way(path: str, way: int) -> str:
    """What came out; a foreign exception is for the caller."""
    try:
        if way == len(SAMPLINGS):
            for count, frame in enumerate(iter_frames(path, limits=LIMITS)):
                frame.rgb  # noqa: B018 - made as it is read
                if count == MOST_FRAMES:
                    break
        elif way == len(SAMPLINGS) + 1:
            probe_video(path, limits=LIMITS)
        elif way == len(SAMPLINGS) + 2:
            read_frames(Path(path).read_bytes(), scale=lambda *_: (32, 24), limits=LIMITS)
        else:
            read_frames(path, SAMPLINGS[way], limits=LIMITS)
    except VideoError:
        return "refused"
    return "read"


def peak_resident_bytes() -> int:
    """Of this program alone; getrusage starts at the peak of the process that forked it."""
    status = Path("/proc/self/status")
    if not status.exists():
        return 0
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def main() -> None:
    num_ways = len(SAMPLINGS) + 3
    for line in sys.stdin:
        path = line.rstrip("\n")
        try:
            # one mutated file takes two of the ways, chosen by its name
            first = sum(path.encode()) % num_ways
            answers = {read_in_one_way(path, way % num_ways) for way in (first, first + 3)}
            answer = " and ".join(sorted(answers))
        except BaseException:
            answer = "foreign: " + repr(traceback.format_exc())
        peak_bytes = peak_resident_bytes()
        print(f"{peak_bytes} {answer}", flush=True)


if __name__ == "__main__":
    main()
