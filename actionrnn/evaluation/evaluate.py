"""evaluate(model) -> a report: a trained model is tested on labelled videos."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np

from actionrnn.config import Config, DataConfig
from actionrnn.config_reading import override_config
from actionrnn.datasets.recordings import IGNORE, Dataset
from actionrnn.datasets.sequences import Sequences
from actionrnn.datasets.splits import Fold, describe_split, make_folds, open_dataset
from actionrnn.datasets.stored import FEATURES_FOLDER, load_features
from actionrnn.errors import ActionrnnError, ConfigError, DatasetError
from actionrnn.evaluation.bout_scores import BOUTS_FILE
from actionrnn.evaluation.event_scores import EventScores, count_events, event_scores
from actionrnn.evaluation.predict import (
    FoldPredictions,
    TrainedOn,
    predict_fold,
    predict_steps,
    versions,
)
from actionrnn.evaluation.report import CURVE_FILE, REPORT_FILE, Report, read_curves
from actionrnn.evaluation.report_page import PAGE_FILE, write_report
from actionrnn.evaluation.score_table import SCORES_FILE
from actionrnn.evaluation.step_predictions import StepPredictions
from actionrnn.evaluation.step_scores import (
    StepResults,
    background_of,
    step_report,
    why_no_false_alarms,
)
from actionrnn.evaluation.summary import make_report
from actionrnn.features.imported import imported_store
from actionrnn.features.known import is_imported
from actionrnn.features.provenance import TRAINED_ON
from actionrnn.files import MODEL_FILE, as_path
from actionrnn.model.heads import Head
from actionrnn.model.hub import is_address
from actionrnn.model.model_file import model_file
from actionrnn.model.privacy import EVERY_CLIP, last_part
from actionrnn.model.recognizer import Recognizer, load
from actionrnn.results import results_folder


def evaluate(
    model: str | Path,
    overrides: Sequence[str] = (),
    *,
    weights: str | None = None,
    output: str | Path | None = None,
    tell: Callable[[str], None] = lambda line: None,
) -> Report:
    """Test a model on the test clips of its own data set, or on other clips.

    Only `output` and a store that `data.features` names are written. Features that the model's
    run, or a run next to it, has stored are read there.

    Args:
        model: a model file, the folder of a run, or an address on the hub.
        overrides: `section.key=value`, above all `data.root=...`, `data.split=...` and
            `data.fold=...`. `data.root`, or `data.features` with imported features, names other
            clips: then the model's own `data` section is not used, and every clip is tested and
            is its own group, unless the overrides say otherwise. The layout is then `manifest`
            for a file and `folder` for a folder; a multi-label model of recordings asks for it.
        weights: where the backbone's weights are, if not where they were.
        output: gets `report.json`, `report.html`, `scores.csv`, where whole recordings are
            tested `bouts.csv`, and the features that had to be extracted; None: they are not kept.
        tell: called with lines about what is tested, before the work begins.

    Raises:
        ModelError: the file is not a model.
        ConfigError: an override is wrong, or would change the model itself; or the model does
            not lie in its run's folder, and `data.root` is not given; or it answers several labels
            at once, and the layout of other data is not said.
        DatasetError: the clips cannot be used, or have labels that the model does not know.
        FeatureError: stored features are damaged, or not of the kind that the model was trained
            on.
        ActionrnnError: `output` is the folder of a training, or holds files of others.
    """
    _require_data_only(overrides)
    name, model = model, model_file(model)
    if output is not None and (as_path(output) / MODEL_FILE).exists():
        raise ActionrnnError(
            f"{output}: holds a training's model and report; choose another --output"
        )
    recognizer = load(name, weights=weights)
    other = _other_clips(overrides, recognizer.config.data)
    if other is not None:
        _require_layout(overrides, recognizer)
    data = other or _own_clips(recognizer, overrides)
    if data.root is None and data.features is None:  # the model is not in its run's folder
        where = "data.features=STORE" if is_imported(recognizer.backbone.name) else "data.root=DIR"
        raise ConfigError(f"{name}: say on which clips it shall be tested: {where}")
    for written in (output, data.features):
        _require_elsewhere(written, data.root)
    config = replace(recognizer.config, data=data)
    if (imported := imported_store(data.features)) is not None:
        wanted, where = recognizer.provenance, str(imported.root)
        imported.provenance.require_same(wanted, where, TRAINED_ON)
    dataset = open_dataset(config.data, multi_label=recognizer.multi_label)
    _require_known_labels(dataset, recognizer)
    make_folds(dataset, config.data, training=False)  # before the extraction
    if other is not None:
        tell(f"testing on {_describe(other)}")
    with _folder_for(output) as folder:
        dataset, sequences, skipped = load_features(
            dataset,
            recognizer.backbone,
            config,
            folder,
            run=folder if is_address(name) else model.parent,
            others=_stores_of(recognizer, model) if other is None else (),
        )
        recognizer.require_feature_size(sequences.feature_size, str(dataset.root))
        sequences = _with_classes_of(recognizer, sequences, dataset.labels)
        folds = make_folds(dataset, config.data, training=False)
        results = _predict(
            recognizer,
            sequences,
            folds,
            same_data=_is_same_data(config, recognizer, sequences.fingerprints),
        )
        split = describe_split(dataset, config.data, folds, num_skipped=len(skipped))
        steps = _predict_steps(recognizer, sequences, folds)
        report = make_report(
            recognizer.labels,
            results,
            title=f"{_name_of(name)} on {split}",
            notes=dataset.notes,
            skipped=skipped,
            config=config.to_dict(),
            versions=versions(recognizer.backbone),
            curves=read_curves(model.parent / CURVE_FILE),
            steps=_step_results(recognizer, steps, joined=not sequences.continuous),
            events=_events(recognizer, steps),
            calibration_note=_calibration_note(recognizer),
        )
        if output is not None:
            write_report(report, folder)
    return report


def _calibration_note(recognizer: Recognizer) -> str:
    """Why a test fits no temperature, and at which one the model is."""
    temperature = recognizer.training.get("temperature")
    why = "A temperature is fitted in a training, never on the clips of a test"
    if isinstance(temperature, float):
        return f"{why}; the model's scores are at {temperature:.2f}, that of its training."
    return f"{why}; train with train.calibrate=true for a model at its temperature."


def _predict(
    recognizer: Recognizer, sequences: Sequences, folds: Sequence[Fold], *, same_data: bool
) -> list[FoldPredictions]:
    """The head's answers to the test clips of each fold.

    Args:
        same_data: the clips are of the model's own data set, so that groups of the same name
            are the same people.
    """
    training = recognizer.training
    trained_on = TrainedOn(
        recognizer.provenance,
        videos=training.get("fingerprints", ()),
        groups=training.get("groups", ()) if same_data else (),
    )
    return [
        predict_fold(
            fold.name,
            sequences.subset(fold.test),
            _heads(recognizer),
            trained_on,
        )
        for fold in folds
    ]


def _predict_steps(
    recognizer: Recognizer, sequences: Sequences, folds: Sequence[Fold]
) -> list[StepPredictions]:
    """The answers at the steps of the test recordings; none if nothing has a rate."""
    # as in the training: the tested clips must not choose the rivals' window
    window = recognizer.training.get("window_steps")
    if window is None:  # a model of version 0.1
        sides = [sequences.subset(fold.test).lengths for fold in folds]
        window = int(np.median(np.concatenate(sides)))
    return [
        one
        for fold in folds
        for one in predict_steps(sequences.side(fold.test), _heads(recognizer), window)
    ]


def _step_results(
    recognizer: Recognizer, recordings: Sequence[StepPredictions], *, joined: bool
) -> StepResults | None:
    return step_report(recognizer.labels, recordings, joined=joined) if recordings else None


def _events(recognizer: Recognizer, recordings: Sequence[StepPredictions]) -> EventScores | None:
    """By the thresholds that the model's training chose; None: it chose none."""
    rule, labels = recognizer.event_rule, recognizer.labels
    if rule is None or not recordings:
        return None
    background = background_of(labels, recordings)
    return event_scores(
        [count_events(one, [rule], background) for one in recordings],
        rule,
        no_false_alarms=why_no_false_alarms(labels, recordings),
    )


def _heads(recognizer: Recognizer) -> dict[str, Head]:
    return {str(recognizer.head.config.kind): Head.of(recognizer.head)}


def _with_classes_of(recognizer: Recognizer, test: Sequences, labels: Sequence[str]) -> Sequences:
    """With the model's class indices, for a data set of these labels: it may lack some classes."""
    index_of = {label: index for index, label in enumerate(recognizer.labels)}
    if test.label_sets is not None:
        label_sets = np.zeros((len(test.label_sets), len(index_of)), bool)
        label_sets[:, [index_of[label] for label in labels]] = test.label_sets
        return replace(test, label_sets=label_sets)
    targets = [index_of.get(clip.label, IGNORE) for clip in test.clips]
    return replace(test, targets=np.array(targets, np.int64))


def _require_elsewhere(written: str | Path | None, root: str | None) -> None:
    """Refuse to write below the tested videos: the results would be taken for a class."""
    if written is None or root is None or not Path(root).is_dir():
        return
    if as_path(written).resolve().is_relative_to(Path(root).resolve()):
        raise ActionrnnError(
            f"{written}: lies below data.root ({root}); choose a folder outside of it"
        )


def _is_same_data(config: Config, recognizer: Recognizer, fingerprints: Sequence[str]) -> bool:
    """Whether groups of the same name are the same people.

    By the path where it is known, else if a video of the training is among the tested ones.
    """
    data, known = (one.data.root or one.data.features for one in (config, recognizer.config))
    if data is not None and known is not None:
        return Path(data).resolve() == Path(known).resolve()
    return not set(fingerprints).isdisjoint({*recognizer.training.get("fingerprints", ())} - {""})


def _name_of(model: str | Path) -> str:
    """What a title calls a model: its address, its run, or its file."""
    if is_address(model):
        return str(model)
    return last_part(Path(model).parent if Path(model).name == MODEL_FILE else model)


@contextmanager
def _folder_for(output: str | Path | None) -> Iterator[Path]:
    """Where the report and new features go; without an output, a folder that is then deleted."""
    if output is None:
        with tempfile.TemporaryDirectory(prefix="actionrnn-") as folder:
            yield Path(folder)
        return
    with results_folder(as_path(output), (REPORT_FILE, PAGE_FILE, BOUTS_FILE, SCORES_FILE)):
        yield as_path(output)


def _require_data_only(overrides: Sequence[str]) -> None:
    for override in overrides:
        if not override.startswith("data."):
            raise ConfigError(
                f"{override}: only data.* can be chosen here; the rest is the model's own"
            )


def _other_clips(overrides: Sequence[str], own: DataConfig) -> DataConfig | None:
    """The data section if the overrides name other clips, without the model's own settings."""
    plain = DataConfig(split="none")
    data = override_config(Config(data=plain), overrides).data
    if data.root is None:
        same = None not in (data.features, own.features) and (
            Path(str(data.features)).resolve() == Path(str(own.features)).resolve()
        )
        if same or imported_store(data.features) is None:
            return None
    is_list = data.root is not None and Path(data.root).is_file()
    plain = replace(plain, layout="manifest" if is_list else "folder")
    return override_config(Config(data=plain), overrides).data


def _require_layout(overrides: Sequence[str], recognizer: Recognizer) -> None:
    """Refuse to take recordings whose labels overlap for clips of one label each."""
    is_said = any(override.startswith("data.layout=") for override in overrides)
    if is_said or not recognizer.multi_label or recognizer.config.data.layout != "annotations":
        return
    raise ConfigError(
        "data.root: the model answers several labels at once and was trained on recordings; add "
        "data.layout=annotations, or say data.layout=folder or manifest for clips of one label each"
    )


def _own_clips(recognizer: Recognizer, overrides: Sequence[str]) -> DataConfig:
    """The model's data section with overrides; by default the fold that it was tested on."""
    own = recognizer.config.data
    fold = recognizer.training.get("fold", EVERY_CLIP)
    own = replace(own, split="none") if fold == EVERY_CLIP else replace(own, fold=fold)
    if imported_store(own.features) is None:  # the run's store, which is read, not written
        own = replace(own, features=None)
    return override_config(Config(data=own), overrides).data


def _describe(data: DataConfig) -> str:
    """What is assumed of other clips, in one line."""
    of_list = data.layout in ("manifest", "annotations")
    own = (
        "each video its own group unless the list has groups"
        if of_list
        else "each clip its own group"
    )
    groups = own if data.group_pattern is None else data.group_pattern
    tested = "every clip" if data.split == "none" else f"split {data.split}, fold {data.fold}"
    return (
        f"{data.root or data.features}: data.layout={data.layout}, {tested}, {groups}; nothing of "
        "this comes from the model (data.layout, data.split and data.group_pattern change it)"
    )


def _stores_of(recognizer: Recognizer, model: Path) -> list[Path]:
    """Further stores that may hold the features of the model's own clips."""
    named = recognizer.config.data.features
    return [*([] if named is None else [Path(named)]), model.parent / FEATURES_FOLDER]


def _require_known_labels(dataset: Dataset, recognizer: Recognizer) -> None:
    unknown = sorted(set(dataset.labels) - set(recognizer.labels))
    if unknown:
        raise DatasetError(
            f"{dataset.root}: has labels that the model does not know ({', '.join(unknown[:5])}); "
            f"it knows {', '.join(recognizer.labels[:8])}; leave those clips out"
        )
