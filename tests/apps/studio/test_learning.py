"""A model at once; how good it is; what would make it better."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from actionrnn.apps.studio.advice import (
    Curve,
    curve_sizes,
    enough,
    forecast,
    harmful_takes,
    held_out_answers,
)
from actionrnn.apps.studio.counts import Counts, counts_of, scored_labels
from actionrnn.apps.studio.learning import (
    StoppedError,
    Taught,
    learn,
    make_experiment,
    teach,
)
from actionrnn.apps.studio.scores import SCORES_FILE, Scores, score
from actionrnn.config import Config, Sampling
from actionrnn.datasets.recordings import IGNORE, Annotation
from actionrnn.errors import DatasetError, FeatureError
from actionrnn.evaluation.step_predictions import StepPredictions
from actionrnn.features.provenance import Features, VideoFile
from actionrnn.features.store import FeatureStore
from actionrnn.files import file_sha256
from actionrnn.model.model_file import read_model_info, read_none_of_these
from actionrnn.model.scoring import score_sequence
from actionrnn.training.experiment import Experiment, FitSpec
from tests.apps.studio.taught import CONFIG, LABELS, Take, make_recordings, right
from tests.tiny import make_tiny_backbone, tiny_provenance, write_video

BACKBONE = make_tiny_backbone(2)
MIXED = right("jump", "wave", "run", "wave", "jump", "run")


def experiment_of(
    folder: Path, takes: Sequence[Sequence[Take]], groups: Sequence[str] | None = None
) -> Experiment:
    dataset, sequences = make_recordings(takes, groups=groups)
    return make_experiment(CONFIG, dataset, sequences, folder / "runs" / "1")


def learned(experiment: Experiment) -> Taught:
    return learn(experiment, BACKBONE, threading.Event(), lambda text, part: None)


def all_scores(taught: Taught) -> list[Scores]:
    return list(score(taught, threading.Event(), lambda text, part: None))


@pytest.fixture(scope="module")
def four(tmp_path_factory: pytest.TempPathFactory) -> tuple[Taught, list[Scores]]:
    """Four recordings of three labels, of which one is in the first alone."""
    takes = [MIXED, *[[take for take in MIXED if take[0] != "run"] for _ in range(3)]]
    taught = learned(experiment_of(tmp_path_factory.mktemp("four"), takes))
    return taught, all_scores(taught)


def test_the_model_is_there_before_it_is_tested(tmp_path: Path) -> None:
    told: list[tuple[str, float]] = []
    experiment = experiment_of(tmp_path, [MIXED] * 2)
    taught = learn(experiment, BACKBONE, threading.Event(), lambda *one: told.append(one))
    info = read_model_info(taught.model_path)
    assert info.labels == taught.labels == LABELS
    assert "scores" not in info.training
    assert taught.labelled_seconds == pytest.approx(2 * 6 * 3)
    assert told[-1] == ("the model is ready", 1.0)
    assert [part for _, part in told] == sorted(part for _, part in told)
    assert json.loads(json.dumps(taught.to_dict()))["run"] == "1"


def test_it_learns_from_all_that_is_marked(tmp_path: Path) -> None:
    experiment = experiment_of(tmp_path, [right("jump", "run"), right("wave", "run", "wave")])
    head = learned(experiment).heads["every clip", "head", 0].trained()
    seen = np.eye(12, dtype=np.float32)[[0] * 8 + [1] * 8 + [2] * 8]
    answers = score_sequence(head, seen).now.argmax(axis=1)
    assert answers[[7, 15, 23]].tolist() == [0, 1, 2]


def test_one_label_alone_teaches_nothing(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="only jump is marked; mark another label"):
        experiment_of(tmp_path, [right("jump", "jump"), right("jump")])


def test_a_stopped_training_leaves_nothing(tmp_path: Path) -> None:
    experiment, stop = experiment_of(tmp_path, [MIXED] * 2), threading.Event()
    with pytest.raises(StoppedError):
        learn(experiment, BACKBONE, stop, lambda text, part: stop.set())
    assert not experiment.output.exists()


def test_stopped_scores_leave_the_model(tmp_path: Path) -> None:
    taught, stop = learned(experiment_of(tmp_path, [MIXED] * 2)), threading.Event()
    stop.set()
    with pytest.raises(StoppedError):
        list(score(taught, stop, lambda text, part: None))
    assert read_model_info(taught.model_path).labels == LABELS


def test_of_one_recording_there_is_no_number(tmp_path: Path) -> None:
    [scores] = all_scores(learned(experiment_of(tmp_path, [MIXED])))
    assert scores.steps is None
    assert scores.why_not.startswith("a second recording is needed")
    assert scores.complete
    assert scores.enough.startswith("Mark a second")


def test_people_are_left_out_as_a_whole(tmp_path: Path) -> None:
    experiment = experiment_of(tmp_path, [MIXED] * 3, groups=["ann", "ann", "bob"])
    assert [fold.name for fold in experiment.folds] == ["ann", "bob"]
    assert {clip.video_key for clip in experiment.folds[0].test} == {"r0", "r1"}
    [scores] = all_scores(learned(experiment_of(tmp_path, [MIXED] * 2, groups=["ann", "ann"])))
    assert scores.why_not.startswith("a second group is needed")


def test_copies_in_several_groups_are_named(tmp_path: Path) -> None:
    experiment = experiment_of(tmp_path, [right("jump", "wave")] * 3)
    copied = tuple(
        "same" if print_ != "r2" else print_ for print_ in experiment.sequences.fingerprints
    )
    sequences = replace(experiment.sequences, fingerprints=copied)
    first = next(
        score(
            learned(replace(experiment, sequences=sequences)),
            threading.Event(),
            lambda text, part: None,
        )
    )
    assert [note for note in first.notes if "copies" in note] == [
        "r0.mp4, r1.mp4: copies of one file in several recordings, so that the score is too good; "
        "give them one group"
    ]


def test_one_person_in_two_spellings_is_asked_about(tmp_path: Path) -> None:
    groups = ["Anna", "anna", "Bob", "Bo B", "Cid"]
    experiment = experiment_of(tmp_path, [right("jump", "wave")] * 5, groups=groups)
    first = next(score(learned(experiment), threading.Event(), lambda text, part: None))
    assert [note for note in first.notes if "the same person" in note] == [
        "groups Anna and anna: the same person or place? Then the score is too good; give their "
        "videos one spelling",
        "groups Bo B and Bob: the same person or place? Then the score is too good; give their "
        "videos one spelling",
    ]


def test_held_out_recordings_give_the_score(four: tuple[Taught, list[Scores]]) -> None:
    _, found = four
    first, last = found[0], found[-1]
    assert first.steps is not None
    assert first.steps.value > 0.9
    assert first.steps.low is not None
    assert first.steps.low <= first.steps.value
    assert first.steps.baseline is not None
    assert first.steps.num_recordings == 4
    assert first.confusion is not None
    assert np.sum(first.confusion.counts) == (6 + 3 * 4) * 12
    assert [one.num for one in first.per_label] == [8, 2, 8]
    assert (first.curve, first.enough, first.complete) == ((), "", False)
    assert [one.recordings for one in last.curve] == [1, 2, 3]
    assert last.curve[-1].value == pytest.approx(first.steps.value)
    assert last.enough
    assert last.complete


def test_a_label_of_one_recording_alone_is_left_out_and_named(
    four: tuple[Taught, list[Scores]],
) -> None:
    taught, [first, *_] = four
    assert scored_labels(taught.experiment.dataset) == ("jump", "wave")
    assert any(note.startswith("run: in one of the recordings alone") for note in first.notes)
    assert first.per_label[1].recall == 0
    assert first.steps is not None
    assert first.steps.value > 0.9


def test_what_was_told_last_is_kept_beside_the_model(four: tuple[Taught, list[Scores]]) -> None:
    taught, found = four
    kept = json.loads((taught.model_path.parent / SCORES_FILE).read_text())
    assert kept == json.loads(json.dumps(found[-1].to_dict()))


def test_the_tested_model_knows_what_is_none_of_its_labels(tmp_path: Path) -> None:
    taught = learned(experiment_of(tmp_path, [MIXED] * 3))
    before = taught.model_path.read_bytes()
    generator = score(taught, threading.Event(), lambda text, part: None)
    next(generator)
    assert taught.model_path.read_bytes() == before
    next(generator)
    info = read_model_info(taught.model_path)
    assert info.training["scores"]["num_clips"] == 18
    assert (taught.model_path.parent / "report.json").exists()
    assert read_none_of_these(info) is not None


def test_labels_that_may_be_on_together_are_scored_by_f1(tmp_path: Path) -> None:
    dataset, sequences = make_recordings([MIXED] * 2)
    sequences = replace(sequences, label_sets=np.eye(3, dtype=bool))
    longer = replace(CONFIG.train, epochs=60)  # learned for certain, however it begins
    config = replace(CONFIG, head=replace(CONFIG.head, multi_label=True), train=longer)
    dataset = replace(dataset, multi_label=True)
    experiment = make_experiment(config, dataset, sequences, tmp_path / "runs" / "1")
    last = all_scores(learned(experiment))[-1]
    assert last.steps is not None
    assert last.steps.value > 0.8
    assert last.steps.unit.startswith("F1")
    assert last.confusion is None
    assert last.complete


def test_looked_at_time_alone_teaches_nothing(tmp_path: Path) -> None:
    dataset, sequences = make_recordings([MIXED] * 2)
    nothing = [
        replace(one, annotations=(Annotation("background", 0.0, 3.0),))
        for one in dataset.recordings
    ]
    dataset = replace(dataset, recordings=tuple(nothing), multi_label=True)
    with pytest.raises(DatasetError, match="no action is marked"):
        make_experiment(CONFIG, dataset, sequences, tmp_path)


def predictions_of(experiment: Experiment) -> list[StepPredictions]:
    """Of the heads that each group is left out of."""
    head = experiment.config.head
    return [
        one
        for fold in experiment.folds
        for one in held_out_answers(experiment, FitSpec(fold, head, 0), threading.Event())
    ]


def harms_of(experiment: Experiment) -> list[tuple[str, str, float, float]]:
    found = harmful_takes(
        experiment, predictions_of(experiment), threading.Event(), lambda part: None
    )
    return [(one.video, one.label, one.start, one.end) for one in found if one.gain >= 0.01]


@pytest.mark.slow
def test_a_take_that_shows_another_label_does_harm(tmp_path: Path) -> None:
    """There is more of it than of what it shows: with it, that is not learned."""
    good = right("jump", "wave")
    takes = [[*good, ("wave", "jump", 6)], good, good]
    assert harms_of(experiment_of(tmp_path, takes)) == [("r0", "wave", 6.0, 24.0)]


def test_takes_that_show_what_they_say_do_none(tmp_path: Path) -> None:
    assert harms_of(experiment_of(tmp_path, [right("jump", "wave", "run")] * 3)) == []


def curve_of(*values: float, noise: float = 0.0) -> Curve:
    """A curve over six recordings, which differ by `noise`; trained on 1, 2, ... of them."""
    rng = np.random.default_rng(1)
    counts = []
    for value in values:
        right = (1000 * (value + rng.normal(0, noise, (6, 1)))).clip(0, 1000).round()
        counts.append(Counts(right, np.full((6, 1), 1000.0), tuple("abcdef")))
    return Curve(tuple(range(1, len(values) + 1)), tuple(counts))


def test_a_rising_curve_says_where_to() -> None:
    curve = curve_of(0.4, 0.576, 0.653, 0.7)  # the error falls as 0.6 / sqrt(n)
    gain, low, high = forecast(curve)
    assert 0.7 + gain == pytest.approx(1 - 0.6 / 6**0.5, abs=0.002)
    assert low <= gain <= high
    assert enough(curve, 6).startswith(
        "With 2 more recordings it would likely rise from 70 % to 75 %"
    )


def test_a_flat_curve_says_that_more_brings_little() -> None:
    assert enough(curve_of(0.8, 0.8, 0.8), 6).startswith("More of the same brings little")


def test_a_curve_within_its_noise_promises_nothing() -> None:
    text = enough(curve_of(0.5, 0.5, 0.5, noise=0.3), 6)
    assert text.startswith("It is not clear whether more help")


def test_few_recordings_promise_nothing() -> None:
    three = curve_of(0.4, 0.6, 0.7)
    few = Curve(three.sizes, tuple(one.of_groups(("a", "b", "c")) for one in three.counts))
    assert enough(few, 3).startswith("Too few recordings to tell")
    assert enough(None, 2).startswith("Two recordings say nothing")
    assert enough(None, 1).startswith("Mark a second")


@pytest.mark.parametrize("most", range(2, 60))
def test_the_curve_begins_with_one_and_ends_before_all(most: int) -> None:
    sizes = curve_sizes(most)
    assert sizes == sorted(set(sizes))
    assert sizes[0] == 1
    assert sizes[-1] < most
    assert len(sizes) <= 4


def test_the_value_is_the_mean_over_labels_that_several_have() -> None:
    dataset, _ = make_recordings([MIXED, right("jump", "wave")])
    answers = np.eye(3, dtype=np.float32)[[0, 0, 2, 2, 2, 1]]
    one = StepPredictions(
        "r0", "r0", np.arange(6) / 4, np.array([0, 2, 2, 2, IGNORE, 1]), {"head": answers}
    )
    counts = counts_of([one], "head", dataset)
    assert counts.right.tolist() == [[1, 2]]
    assert counts.whole.tolist() == [[1, 3]]
    assert counts.value == pytest.approx((1 + 2 / 3) / 2)


def test_of_several_labels_it_is_f1() -> None:
    dataset, _ = make_recordings([right("jump", "wave")] * 2)
    dataset = replace(dataset, multi_label=True)
    sets = np.array([[False, False], [True, False], [True, True]])
    answers = np.array([[0.9, 0.9], [0.9, 0.1], [0.1, 0.1], [0.9, 0.9]], np.float32)
    one = StepPredictions(
        "r0",
        "r0",
        np.arange(4) / 4,
        np.array([2, 1, 1, IGNORE]),
        {"head": answers},
        label_sets=sets,
    )
    counts = counts_of([one], "head", dataset)
    assert counts.right.tolist() == [[4, 2]]
    assert counts.whole.tolist() == [[5, 2]]


class Folder:
    """A project as far as it is taught: annotations.csv and the features of some videos."""

    def __init__(self, root: Path, videos: Sequence[str], sampling: Sampling) -> None:
        self.root = root
        self.sampling = sampling
        rows = ["path,start,end,label"]
        for name in ("a", "b", "c"):
            write_video(root / "videos" / f"{name}.avi", 5)
            rows += [f"videos/{name}.avi,0,3,jump", f"videos/{name}.avi,3,6,wave"]
        (root / "annotations.csv").write_text("\n".join(rows) + "\n")
        if not videos:
            return
        store = FeatureStore.create(root / "features", tiny_provenance())
        for number, name in enumerate(videos):
            values = np.random.default_rng(number).normal(0, 0.3, (24, 12)).astype(np.float32)
            values[:12, 0] += 1
            values[12:, 1] += 1
            file = root / "videos" / f"{name}.avi"
            video = VideoFile(file.name, file.stat().st_size, file_sha256(file), ())
            features = Features(values, np.arange(24) / 4, tiny_provenance(), video)
            store.write(f"videos/{name}", features)

    def config(self) -> Config:
        data = replace(
            CONFIG.data,
            root=str(self.root / "annotations.csv"),
            features=str(self.root / "features"),
        )
        return replace(CONFIG, data=data, sampling=self.sampling)

    def next_run(self) -> Path:
        return self.root / "runs" / "3"


def taught_folder(
    root: Path, videos: Sequence[str], sampling: Sampling = CONFIG.sampling
) -> Taught:
    project = Folder(root, videos, sampling)
    return teach(project, threading.Event(), lambda text, part: None, BACKBONE)


def test_a_project_is_taught_from_its_folder(tmp_path: Path) -> None:
    taught = taught_folder(tmp_path, ["a", "b", "c"])
    assert taught.model_path == tmp_path / "runs" / "3" / "model.safetensors"
    assert taught.labels == ("jump", "wave")
    assert taught.labelled_seconds == 18


def test_videos_that_are_still_read_take_no_part_and_are_counted(tmp_path: Path) -> None:
    taught = taught_folder(tmp_path, ["a", "c"])
    assert taught.labelled_seconds == 12
    assert "marked videos that have not been read yet, and take no part: 1" in taught.notes


def test_features_of_a_file_that_was_replaced_take_no_part(tmp_path: Path) -> None:
    project = Folder(tmp_path, ["a", "b", "c"], CONFIG.sampling)
    write_video(tmp_path / "videos" / "b.avi", 7)
    taught = teach(project, threading.Event(), lambda text, part: None, BACKBONE)
    assert taught.labelled_seconds == 12
    assert "marked videos that have not been read yet, and take no part: 1" in taught.notes


def test_without_features_there_is_nothing_to_learn(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no marked video has been read yet"):
        taught_folder(tmp_path, [])


def test_features_of_other_settings_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FeatureError, match="wait until the videos are read again"):
        taught_folder(tmp_path, ["a", "b"], Sampling(rate_fps=8.0))
