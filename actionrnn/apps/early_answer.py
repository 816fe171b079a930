"""An answer before the video's end, and how much of the video it needed."""

from __future__ import annotations

import json
from pathlib import Path

from actionrnn.recurrent.recognizer import Recognizer
from actionrnn.video.following import declared_span


def describe_early_answer(
    recognizer: Recognizer, path: Path, confidence: float, *, top: int, as_json: bool
) -> str:
    """Classify until `confidence` is reached: the answer as text, or as one JSON object.

    Raises:
        VideoError: the video cannot be used.
        ConfigError: the model's sampling needs the whole clip.
    """
    prediction = recognizer.classify(path, stop_at_confidence=confidence).top(top)
    start_seconds, duration_seconds = declared_span(path)
    needed = prediction.pts_seconds - start_seconds
    part = min(1.0, needed / duration_seconds) if duration_seconds else None
    is_early = prediction.scores[0] >= confidence
    if as_json:
        described = {"stopped_early": is_early, "needed_seconds": needed, "needed_part": part}
        return json.dumps(prediction.to_dict() | described)
    of_all = "" if part is None else f" of {duration_seconds:.2f} s ({part:.0%})"
    verdict = "needed" if is_early else f"never reached {confidence:g}; looked at"
    return f"{prediction}\n  {verdict} {needed:.2f} s{of_all}"
