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
DELAY_STEPS = MODEL["step"]["delay_steps"]  # a step is answered when so many more were seen
MULTI_LABEL = MODEL["head"]["multi_label"]  # each label is on or off for itself
ON = 0.5  # from this score on
CLOSE_SECONDS = 1e-4  # a frame this close to a tick is on it


class Stream:
    """Sampled frames go in one by one, scores come out; the state carries the rest."""

    encoder = onnxruntime.InferenceSession(HERE / MODEL["encoder"]["file"])
    head = onnxruntime.InferenceSession(HERE / MODEL["step"]["file"])

    def __init__(self):
        self.state = {
            name: np.zeros((1, *value["shape"]), value["type"])
            for name, value in MODEL["step"]["state"].items()
        }
        self.previous = self.features = None
        self.unanswered = 0

    def push(self, frame):
        """RGB uint8 (H, W, 3) of any size -> the scores (K,) of this moment.

        With a delay: of the step DELAY_STEPS before; None: there is no such step yet.
        """
        previous = frame if self.previous is None else self.previous
        views = {"frames": frame[None], "previous": previous[None]}
        views = {name: views[name] for name in MODEL["encoder"]["inputs"]}
        [self.features] = self.encoder.run(None, views)
        self.previous = frame
        self.unanswered = min(self.unanswered + 1, DELAY_STEPS + 1)
        scores = self.step()
        if self.unanswered <= DELAY_STEPS:
            return None
        self.unanswered -= 1
        return scores

    def finish(self):
        """After the last frame, yields the scores (K,) of each step that waits for its answer."""
        for step in range(DELAY_STEPS if self.unanswered else 0):
            scores = self.step()
            if step >= DELAY_STEPS - self.unanswered:
                yield scores
        self.unanswered = 0

    def step(self):
        """The head's step with the last features."""
        scores, *state = self.head.run(None, {"features": self.features, **self.state})
        self.state = dict(zip(self.state, state, strict=True))
        return scores[0]

    @property
    def so_far(self):
        """The scores (K,) of the whole video up to the last step that is answered."""
        logits = self.state["so_far"][0]
        if MULTI_LABEL:
            return np.exp(-np.logaddexp(0, -logits))  # the sigmoid, without overflow
        weights = np.exp(logits - logits.max())
        return weights / weights.sum()


def is_none(scores, kind="clip"):
    """Whether answers (N, K) look like those for none of the labels, (N,).

    kind: "clip", of `so_far` at a video's end; "step", of single steps.
    """
    return distances(scores) > MODEL["none_of_these"]["farthest"][kind]


def is_none_around(times, scores):
    """The same of the half second around each step of a `timeline`, (T,), which tells more."""
    half = MODEL["none_of_these"]["stretch_seconds"] / 2
    begins = np.searchsorted(times, times - half, side="left")
    stops = np.searchsorted(times, times + half, side="right")
    sums = np.concatenate([[0], distances(scores).cumsum()])
    means = (sums[stops] - sums[begins]) / (stops - begins)
    return means > MODEL["none_of_these"]["farthest"]["stretch"]


def distances(scores):
    """How far answers (N, K) are from those for the nearest label, squared, (N,)."""
    none = MODEL["none_of_these"]
    means, whitening = np.array(none["means"]), np.array(none["whitening"])
    logarithms = np.log(np.maximum(scores, none["smallest_score"]).astype(np.float64))
    squares = [(((logarithms - mean) @ whitening) ** 2).sum(axis=1) for mean in means]
    return np.min(squares, axis=0)


def decoded(path):
    """Every frame, in the order of display."""
    with av.open(str(path)) as container:
        yield from container.decode(container.streams.best("video"))


def chosen(times, num_frames, rate_fps, **_):
    """Which frames the model's sampling takes: the middles of equal parts, or those at ticks."""
    if num_frames:
        return (2 * np.arange(num_frames) + 1) * len(times) // (2 * num_frames)
    if not rate_fps:
        return np.arange(len(times))
    count = int((times[-1] - times[0] + CLOSE_SECONDS) * rate_fps) + 1
    ticks = times[0] + np.arange(count) / rate_fps + CLOSE_SECONDS
    return np.searchsorted(times, ticks, side="right") - 1


def timeline(path):
    """The times (T,) of the sampled frames, and the scores (T, K) at each and so far.

    The last row of the scores so far is the video's answer.
    """
    times = np.sort([frame.time for frame in decoded(path)])  # some AVI files swap neighbours
    indices, stream, scores, so_far = chosen(times, **MODEL["sampling"]), Stream(), [], []
    for index, frame in enumerate(decoded(path)):
        for _ in range(np.count_nonzero(indices == index)):
            rgb = frame.to_ndarray(format="rgb24", interpolation="BICUBIC")
            answer = stream.push(np.ascontiguousarray(np.rot90(rgb, frame.rotation // 90)))
            if answer is not None:
                scores.append(answer)
                so_far.append(stream.so_far)
    for answer in stream.finish():
        scores.append(answer)
        so_far.append(stream.so_far)
    return times[indices], np.array(scores), np.array(so_far)


def answer(scores):
    """The best label with its score (of K); with several labels at once, all that are on."""
    shown = [scores.argmax()]
    if MULTI_LABEL:
        shown = [index for index in np.argsort(-scores, kind="stable") if scores[index] >= ON]
    named = ", ".join(f"{MODEL['labels'][index]} ({scores[index]:.1%})" for index in shown)
    if MODEL["none_of_these"] and is_none(scores[None])[0]:
        return f"none of these; the best is {named}"
    return named or f"none (at most {scores.max():.1%})"


if __name__ == "__main__":
    for video in sys.argv[1:]:
        print(f"{video}: {answer(timeline(video)[2][-1])}")
