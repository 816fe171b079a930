"""What would make a model better: more recordings, or fewer takes that do harm.

Both are measured by training again and testing on recordings that were left out; nothing is
guessed from the training itself.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from actionrnn.apps.studio.counts import Counts, Floats, counts_of
from actionrnn.apps.studio.learning import fit
from actionrnn.datasets.recordings import IGNORE
from actionrnn.datasets.splits import Fold
from actionrnn.evaluation.bootstrap import NUM_RESAMPLES, TAIL
from actionrnn.evaluation.predict import predict_steps
from actionrnn.evaluation.report_plots import percent_text
from actionrnn.evaluation.step_predictions import StepPredictions
from actionrnn.training.experiment import Experiment, FitSpec

HEAD = "head"
"""Its name in `StepPredictions.scores`."""
CURVE_FOLDS = 6
"""Groups that are left out in turn for the curve; more cost time, and say little more."""
MOST_SIZES = 4
"""Points of the curve before its last."""
MORE_RECORDINGS = 2
"""What the curve is asked about."""
LEAST_GAIN = 0.01
"""A part of the score that is worth a word."""
LITTLE_GAIN = 0.03
"""With at most so much in sight, more recordings are not worth the work."""
FEWEST_FOLDS = 4
"""With fewer groups a forecast is none."""

MOST_SUSPECTS = 3
TRAININGS = 6
"""With and without a take: it does harm if every one of them is better without it. Of a take that
makes no difference this is said by chance once in 2**6 = 64 times, of any of three suspects in less
than 5 % of trainings."""
HARM_FOLDS = 4
"""Groups on which a suspect is tested."""

Tell = Callable[[float], None]
"""Gets the part that is done."""


@dataclass(frozen=True)
class CurvePoint:
    """The score after a training on so many groups of recordings."""

    recordings: int
    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Harm:
    """A take with which the others are recognised worse."""

    video: str
    """Its recording's key; `Scores` has the project's id of the video."""
    name: str
    label: str
    start: float
    end: float
    gain: float
    """How much higher the score of the others is without it, 0 to 1: the mean over trainings."""


@dataclass(frozen=True)
class Curve:
    """The counts of each size, of the same tested recordings."""

    sizes: tuple[int, ...]
    counts: tuple[Counts, ...]

    def points(self) -> tuple[CurvePoint, ...]:
        """For a plot."""
        found = []
        for size, counts in zip(self.sizes, self.counts, strict=True):
            value, interval = counts.value, counts.interval
            if value is not None:
                found.append(CurvePoint(size, value, *(interval or (None, None))))
        return tuple(found)


def held_out_answers(
    experiment: Experiment, spec: FitSpec, stop: threading.Event
) -> list[StepPredictions]:
    """A head's answers for what its fold leaves out."""
    head = fit(experiment, spec, stop)
    return predict_steps(experiment.sequences.side(spec.fold.test), {HEAD: head}, window=1)


def learning_curve(
    experiment: Experiment, whole: Counts, stop: threading.Event, tell: Tell
) -> Curve | None:
    """The score by the number of groups that are trained on.

    For each group that is left out, the others come in a random order, and a head is trained on the
    first of them, on the first two, ...: nested subsets, each fold with an order of its own.

    Args:
        whole: the counts where all but one are trained on, which are the curve's last point.

    Returns:
        None with fewer than three groups.
    """
    num_groups, config = len(experiment.folds), experiment.config
    if num_groups < 3:
        return None
    folds = evenly(experiment.folds, CURVE_FOLDS)
    sizes = curve_sizes(num_groups - 1)
    found: dict[int, list[StepPredictions]] = {size: [] for size in sizes}
    for number, fold in enumerate(folds):
        others = sorted({clip.group for clip in fold.train})
        order = np.random.default_rng([config.train.seed, number]).permutation(others).tolist()
        for place, size in enumerate(sizes):
            tell((number + place / len(sizes)) / len(folds))
            train = tuple(clip for clip in fold.train if clip.group in order[:size])
            spec = FitSpec(replace(fold, train=train), config.head, config.train.seed)
            found[size] += held_out_answers(experiment, spec, stop)
    counts = [counts_of(found[size], HEAD, experiment.dataset) for size in sizes]
    last = whole.of_groups([fold.name for fold in folds])
    return Curve((*sizes, num_groups - 1), (*counts, last))


def curve_sizes(most: int) -> list[int]:
    """How many groups are trained on before all `most` of them: from 1, evenly by their ratio."""
    sizes = np.geomspace(1, most, MOST_SIZES + 1).round().astype(int).tolist()
    return sorted(set(sizes) - {most})


def enough(curve: Curve | None, num_groups: int, noun: str = "recordings") -> str:
    """Whether more recordings would help, in one sentence.

    The errors are taken to fall as a power of the number of groups (Hestness et al., "Deep Learning
    Scaling is Predictable, Empirically", 2017), from the last point on; the interval is that of the
    bootstrap over the groups that were tested.

    Args:
        noun: what the groups are called.
    """
    if num_groups < 2:
        return f"Mark a second one of the {noun}: only what was left out tells how good it is."
    if curve is None or curve.counts[-1].value is None:
        return f"Two {noun} say nothing about how many are enough; a third one begins to."
    now = curve.counts[-1].value
    gain, low, high = forecast(curve)
    more = f"{MORE_RECORDINGS} more {noun}"
    if len(set(curve.counts[-1].groups)) < FEWEST_FOLDS:
        return f"Too few {noun} to tell whether more of them help; {FEWEST_FOLDS} begin to tell."
    if low > 0 and gain >= LEAST_GAIN:
        return (
            f"With {more} it would likely rise from {percent_text(now)} to "
            f"{percent_text(now + gain)} (95 %: {percent_text(now + low)} to "
            f"{percent_text(now + high)})."
        )
    if high <= LITTLE_GAIN:
        most = f"{100 * max(0.0, high):.1f} %"
        return f"More of the same brings little: {more} would add {most} at most."
    return (
        f"It is not clear whether more help: with {more} it would be between "
        f"{percent_text(now + low)} and {percent_text(now + high)}, and is {percent_text(now)} now."
    )


def forecast(curve: Curve) -> tuple[float, float, float]:
    """What `MORE_RECORDINGS` more would add to the last value, with its 95 % interval."""
    groups = sorted(set(curve.counts[-1].groups))
    rng = np.random.default_rng(0)  # the same sentence each time
    draws = rng.multinomial(len(groups), np.full(len(groups), 1 / len(groups)), NUM_RESAMPLES)
    times = np.concatenate([np.ones((1, len(groups))), draws.astype(np.float64)])
    values = np.stack([_resampled(counts, groups, times) for counts in curve.counts])  # (S, R)
    sizes = np.log(np.array(curve.sizes, np.float64))
    errors = np.log(np.maximum(1 - values, 1e-3))
    centred = sizes - sizes.mean()
    slopes = (centred[:, None] * errors).sum(axis=0) / (centred**2).sum()
    ratio = (curve.sizes[-1] + MORE_RECORDINGS) / curve.sizes[-1]
    gains = (1 - values[-1]) * (1 - ratio**slopes)
    low, high = np.nanquantile(gains[1:], [TAIL, 1 - TAIL])
    return float(gains[0]), float(low), float(high)


def _resampled(counts: Counts, groups: Sequence[str], times: Floats) -> Floats:
    """The value for each draw of groups, (R,), from how often each was drawn, (R, G)."""
    drawn = times[:, [groups.index(group) for group in counts.groups]]  # (R, N)
    with np.errstate(invalid="ignore"):  # a label that a draw leaves out does not count
        values: Floats = np.nanmean((drawn @ counts.right) / (drawn @ counts.whole), axis=1)
    return values


def harmful_takes(
    experiment: Experiment,
    predictions: Sequence[StepPredictions],
    stop: threading.Event,
    tell: Tell,
) -> Iterator[Harm]:
    """The takes without which the others are recognised better, as they are found.

    Suspects are the takes that the heads which were not trained on them recognise least. With and
    without each of them heads are trained on the same seeds, and tested on groups that are not the
    take's: it does harm if the score is higher without it for each of `TRAININGS` seeds, and by
    `LEAST_GAIN` on average. So it is compared with the noise of training; another choice of
    recordings to test on may say otherwise.

    Args:
        predictions: of the first seed's heads for the groups that they leave out.
    """
    if len(experiment.folds) < 3:
        return  # without the take's own group one alone is left to test on
    chosen = suspects(experiment, predictions)
    known: dict[tuple[str, int], Counts] = {}
    for number, index in enumerate(chosen):
        gains: list[float] = []
        for trial in range(TRAININGS):
            tell((number + trial / TRAININGS) / len(chosen))
            gains.append(_gain(experiment, index, trial, known, stop))
            if gains[-1] <= 0:
                break
        gain = float(np.mean(gains))
        if min(gains) > 0 and gain >= LEAST_GAIN:
            clip, times = experiment.sequences.clips[index], experiment.sequences.pts_seconds[index]
            start, end = clip.start_seconds, clip.end_seconds
            yield Harm(
                clip.video_key,
                clip.recording.path.name,
                clip.label,
                float(times[0]) if start is None else start,
                float(times[-1]) if end is None else end,
                gain,
            )


def suspects(experiment: Experiment, predictions: Sequence[StepPredictions]) -> list[int]:
    """The sequences whose truth the held-out answers deny most, the worst first."""
    sequences = experiment.sequences
    found: list[tuple[float, int]] = []
    for one in predictions:
        first = 0
        for index in sequences.recordings[one.name]:
            behind = first + int(sequences.lengths[index])
            target = int(sequences.targets[index])
            if target != IGNORE:
                score = _score_of_truth(one.scores[HEAD][first:behind], target, one.label_sets)
                found.append((score, index))
            first = behind
    return [index for score, index in sorted(found)[:MOST_SUSPECTS] if score < 0.5]


def _score_of_truth(
    scores: NDArray[np.float32], target: int, label_sets: NDArray[np.bool_] | None
) -> float:
    """The mean probability of the truth; of several labels, of the one that it denies most."""
    if label_sets is None:
        return float(scores[:, target].mean())
    return float(np.where(label_sets[target], scores, 1 - scores).mean(axis=0).min())


def _gain(
    experiment: Experiment,
    index: int,
    trial: int,
    known: dict[tuple[str, int], Counts],
    stop: threading.Event,
) -> float:
    """How much higher the score is without a take.

    Args:
        known: the counts with it, by fold and trial; what is missing is added.
    """
    sequences, config = experiment.sequences, experiment.config
    targets = sequences.targets.copy()
    targets[index] = IGNORE
    without = replace(experiment, sequences=replace(sequences, targets=targets))
    group = sequences.clips[index].group
    folds = evenly([fold for fold in experiment.folds if fold.name != group], HARM_FOLDS)
    seed = config.train.seed + trial

    def counts(which: Experiment, fold: Fold) -> Counts:
        answers = held_out_answers(which, FitSpec(fold, config.head, seed), stop)
        return counts_of(answers, HEAD, experiment.dataset)

    for fold in folds:
        if (fold.name, trial) not in known:
            known[fold.name, trial] = counts(experiment, fold)
    before = joined([known[fold.name, trial] for fold in folds]).value
    after = joined([counts(without, fold) for fold in folds]).value
    return 0.0 if before is None or after is None else after - before


def joined(counts: Sequence[Counts]) -> Counts:
    """Of all their recordings."""
    return Counts(
        np.concatenate([one.right for one in counts]),
        np.concatenate([one.whole for one in counts]),
        tuple(group for one in counts for group in one.groups),
    )


def evenly(folds: Sequence[Fold], most: int) -> list[Fold]:
    """At most so many of them, spread over all."""
    places = np.linspace(0, len(folds) - 1, min(most, len(folds))).round().astype(int)
    return [folds[place] for place in places.tolist()]
