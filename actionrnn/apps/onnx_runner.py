"""Name the action in videos with an exported model: python run.py VIDEO...

Needs no more than: pip install onnxruntime numpy av
"""

import json
import sys
from pathlib import Path

import av
import numpy as np
import onnxruntime

HERE = Path(__file__).parent
MODEL = json.loads((HERE / "model.json").read_text(encoding="utf-8"))
TOLERANCE_SECONDS = 1e-4  # a frame this close to a tick is on it


class Stream:
    """Sampled frames go in one by one, scores come out; the state carries the rest."""

    encoder = onnxruntime.InferenceSession(str(HERE / "encoder.onnx"))
    head = onnxruntime.InferenceSession(str(HERE / "step.onnx"))

    def __init__(self):
        shapes = MODEL["step"]["state"]
        self.state = {name: np.zeros((1, *shape), np.float32) for name, shape in shapes.items()}
        self.previous = None

    def push(self, frame):
        """RGB uint8 (H, W, 3) of any size -> the scores (K,) after it."""
        previous = frame if self.previous is None else self.previous
        known = {"frames": frame[None], "previous": previous[None]}
        [features] = self.encoder.run(
            None, {name: known[name] for name in MODEL["encoder"]["inputs"]}
        )
        scores, *state = self.head.run(None, {"features": features, **self.state})
        self.state, self.previous = dict(zip(self.state, state, strict=True)), frame
        return scores[0]


def decoded(path):
    """Every frame and its time in seconds, in the order of display."""
    with av.open(str(path)) as container:
        for frame in container.decode(container.streams.best("video")):
            yield frame, frame.time


def chosen(times, is_key):
    """The indices that the model's sampling takes of all frames (rising times)."""
    rule = MODEL["sampling"]
    start = -np.inf if rule["start_seconds"] is None else rule["start_seconds"] - TOLERANCE_SECONDS
    end = np.inf if rule["end_seconds"] is None else rule["end_seconds"] - TOLERANCE_SECONDS
    within = np.flatnonzero((times >= start) & (times < end) & (is_key | (not rule["keyframes"])))
    if rule["num_frames"] and len(within):  # the middles of so many equal parts
        return within[
            (2 * np.arange(rule["num_frames"]) + 1) * len(within) // (2 * rule["num_frames"])
        ]
    if rule["rate_fps"] and len(within):  # the frame that is shown at each tick
        left = times[within]
        count = int((left[-1] - left[0] + TOLERANCE_SECONDS) * rule["rate_fps"]) + 1
        ticks = left[0] + np.arange(count) / rule["rate_fps"] + TOLERANCE_SECONDS
        return within[np.searchsorted(left, ticks, side="right") - 1]
    return within


def sampled(path):
    """The frames that the model looks at, RGB as they are shown, and their times."""
    found = [(time, frame.key_frame) for frame, time in decoded(path)]
    times = np.sort([time for time, _ in found])  # some AVI files swap neighbours
    indices = chosen(times, np.array([is_key for _, is_key in found], bool)).tolist()
    for index, (frame, _) in enumerate(decoded(path)):
        while indices and indices[0] == index:
            rgb = frame.to_ndarray(format="rgb24", interpolation="BICUBIC")
            yield np.ascontiguousarray(np.rot90(rgb, frame.rotation // 90)), times[indices.pop(0)]


def timeline(path):
    """The times (T,) and the scores (T, K) after each sampled frame; the last row is the answer."""
    stream = Stream()
    steps = [(seconds, stream.push(frame)) for frame, seconds in sampled(path)]
    return np.array([seconds for seconds, _ in steps]), np.array([scores for _, scores in steps])


if __name__ == "__main__":
    for video in sys.argv[1:]:
        _, scores = timeline(video)
        best = int(scores[-1].argmax())
        print(
            json.dumps(
                {"path": video, "label": MODEL["labels"][best], "score": float(scores[-1][best])}
            )
        )
