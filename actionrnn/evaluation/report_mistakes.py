"""The worst mistakes of a test, with a few frames of each."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass, field
from typing import Any

from PIL import Image

from actionrnn.config import Sampling
from actionrnn.errors import VideoError
from actionrnn.evaluation.report import ClipResult, Report
from actionrnn.video.decode import read_frames

MOST_MISTAKES = 12
FRAMES_EACH = 5
HEIGHT_PIXELS = 90
WIDEST_PIXELS = 240
JPEG_QUALITY = 60


@dataclass(frozen=True)
class Mistake:
    """A clip that was confidently given a wrong answer."""

    clip: ClipResult
    pictures: list[str] = field(default_factory=list)
    """JPEG data URIs, in the order of time."""
    problem: str = ""
    """Why there are no pictures."""


def worst_mistakes(report: Report, most: int = MOST_MISTAKES) -> list[Mistake]:
    """The wrong answers with the highest scores, and frames spread evenly over each clip."""
    wrong = [clip for clip in report.clips if clip.answer != clip.label]
    wrong.sort(key=lambda clip: (-clip.score, clip.key))
    rate = report.config.get("sampling", {}).get("frame_folder_fps", Sampling().frame_folder_fps)
    return [_with_pictures(clip, rate) for clip in wrong[:most]]


def _with_pictures(clip: ClipResult, frame_folder_fps: float) -> Mistake:
    sampling = Sampling(
        num_frames=FRAMES_EACH,
        start_seconds=clip.start_seconds,
        end_seconds=clip.end_seconds,
        frame_folder_fps=frame_folder_fps,
    )
    try:
        frames = read_frames(clip.path, sampling, scale=_thumbnail_size)
    except (VideoError, OSError) as error:
        return Mistake(clip, problem=str(error))
    return Mistake(clip, [_jpeg_uri(picture) for picture in frames.data])


def _thumbnail_size(width: int, height: int) -> tuple[int, int]:
    factor = min(HEIGHT_PIXELS / height, WIDEST_PIXELS / width)
    return max(2, round(width * factor)), max(2, round(height * factor))


def _jpeg_uri(picture: Any) -> str:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=JPEG_QUALITY, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
