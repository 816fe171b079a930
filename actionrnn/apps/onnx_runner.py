"""Name the action in videos with an exported model: python run.py VIDEO...

Needs no more than: pip install onnxruntime numpy av
"""

import argparse
import functools
import hashlib
import importlib
import json
import sys
import types
import warnings
from pathlib import Path

import numpy as np
import onnxruntime

HERE = Path(__file__).resolve().parent


def reader(module):
    """A module of reader.zip: Python that reads videos as in training.

    Another export in the same process has its own, under another name.
    """
    packed = HERE / "reader.zip"
    package = f"actionrnn_reader_{hashlib.sha256(packed.read_bytes()).hexdigest()[:16]}"
    if package not in sys.modules:
        sys.modules[package] = types.ModuleType(package)
        sys.modules[package].__path__ = [str(packed / "actionrnn_reader")]
    return importlib.import_module(f"{package}.{module}")


masked = reader("address").masked
Sampling = reader("config").Sampling
visit_frames = reader("decode").visit_frames
is_folder = reader("image_folder").is_folder
VideoError = reader("errors").VideoError
FrameRequest = reader("request").FrameRequest

MODEL = json.loads((HERE / "model.json").read_text(encoding="utf-8"))
DELAY_STEPS = MODEL["step"]["delay_steps"]  # a step is answered when so many more were seen
MULTI_LABEL = MODEL["head"]["multi_label"]  # each label is on or off for itself
ON = 0.5  # from this score on


@functools.cache
def session(part, provider):
    """The network of "encoder" or "step" on a provider.

    Raises:
        SystemExit: the provider does not work here, as without its driver.
    """
    opened = onnxruntime.InferenceSession(HERE / MODEL[part]["file"], providers=[provider])
    if provider not in opened.get_providers():
        sys.exit(f"error: {provider} does not start here; see onnxruntime's message above")
    return opened


class Stream:
    """Sampled frames go in one by one, scores come out; the state carries the rest."""

    provider = "CPUExecutionProvider"

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
        [self.features] = session("encoder", self.provider).run(None, views)
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
        inputs = {"features": self.features, **self.state}
        scores, *state = session("step", self.provider).run(None, inputs)
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


class Answers:
    """Takes a video's sampled frames, in the order of time, and keeps the answers to them."""

    def begin(self, pts_seconds):
        """The times (T,) of the frames that come; again where a damaged video is read anew."""
        self.times, self.stream = pts_seconds, Stream()
        self.scores, self.so_far = [], []

    def add(self, steps, rgb):
        """A frame, with the steps that show it: several, where it is sampled more than once."""
        frame = rgb.copy()
        for _ in range(steps.start, steps.stop):
            self.keep(self.stream.push(frame))

    def keep(self, scores):
        """One step's scores (K,), with those so far; None: it has none yet."""
        if scores is not None:
            self.scores.append(scores)
            self.so_far.append(self.stream.so_far)


def sampling(frame_rate=None):
    """Which frames are looked at, as in training.

    frame_rate: the frames a second of pictures and raw video; None: as in the training.
    """
    chosen = dict(MODEL["sampling"])
    if frame_rate is not None:
        chosen |= {"frame_folder_fps": frame_rate, "overrules_stated_rate": True}
    return Sampling(**chosen)


def timeline(path, frame_rate=None):
    """The times (T,) of the sampled frames, and the scores (T, K) at each and so far.

    The last row of the scores so far is the video's answer. frame_rate: see `sampling`.

    Raises:
        VideoError: the video cannot be used.
    """
    answers = Answers()  # from one thread frames come in order
    visit_frames(path, FrameRequest(sampling(frame_rate), answers, num_threads=1))
    for scores in answers.stream.finish():
        answers.keep(scores)
    return answers.times, np.array(answers.scores), np.array(answers.so_far)


def answer(scores):
    """The best label with its score (of K); with several labels at once, all that are on."""
    shown = [scores.argmax()]
    if MULTI_LABEL:
        shown = [index for index in np.argsort(-scores, kind="stable") if scores[index] >= ON]
    named = ", ".join(f"{MODEL['labels'][index]} ({scores[index]:.1%})" for index in shown)
    if MODEL["none_of_these"] and is_none(scores[None])[0]:
        return f"none of these; the best is {named}"
    return named or f"none (at most {scores.max():.1%})"


def note(message, *_, **__):
    """Tell what was assumed, in one line."""
    print(f"note: {message}", file=sys.stderr)


def rate(text):
    """Frames a second, as --frame-rate has them.

    Raises:
        ValueError: they are not above 0.
    """
    if not 0 < float(text) < float("inf"):
        raise ValueError
    return float(text)


def main():
    """Answer for each video; those that cannot be used are told, and the others answered."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("videos", nargs="+", metavar="VIDEO", help="a file or an address")
    parser.add_argument(
        "--provider",
        default=Stream.provider,
        choices=onnxruntime.get_available_providers(),
        help="what computes, such as CUDAExecutionProvider with onnxruntime-gpu (default: the CPU)",
    )
    parser.add_argument(
        "--frame-rate",
        type=rate,
        metavar="FPS",
        help="the frames a second of what does not say it: pictures, raw .h264 and .mjpeg",
    )
    arguments = parser.parse_args()
    Stream.provider, given = arguments.provider, arguments.frame_rate
    warnings.showwarning = note
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    failed = 0
    for video in arguments.videos:
        try:
            said = answer(timeline(video, given)[2][-1])
        except (VideoError, ImportError) as error:  # folders of pictures need Pillow
            failed = 1
            print(f"error: {error}", file=sys.stderr)
            continue
        if given is None and is_folder(video):
            fps = sampling().frame_folder_fps
            note(
                f"{masked(video)}: does not say the frame rate: {fps:g} frames/s assumed; "
                "--frame-rate sets another"
            )
        print(f"{masked(video)}: {said}", flush=True)
    sys.exit(failed)


if __name__ == "__main__":
    main()
