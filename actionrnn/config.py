"""The configuration: the documentation and the default of every setting.

`config_reading` makes one of YAML files and overrides. This module does not import torch.
"""

from __future__ import annotations

import dataclasses
import re
import warnings
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator
from pydantic.dataclasses import dataclass

from actionrnn.config_parsing import (
    STRICT_KEYS,
    Count,
    FiniteFloat,
    HomePath,
    Name,
    Names,
    Number,
    Part,
    PositiveFloat,
    PositiveInt,
    Probability,
    with_own_errors,
)

Layout = Literal["folder", "ucf101", "manifest", "annotations", "rendered"]
Unlabelled = Literal["background", "ignore"]
LabelLevel = Annotated[int, Field(ge=1, strict=True)] | Literal["last"]
Split = Annotated[
    Literal["auto", "holdout", "leave_one_group_out", "official", "given", "none"],
    BeforeValidator(lambda value: "given" if value == "manifest" else value),  # until 0.1
]
ResizeMode = Literal["shortest", "squash"]
Modality = Literal["rgb", "rgb_diff", "both"]
Precision = Literal["auto", "float32", "bfloat16", "float16", "int8"]
Runtime = Literal["auto", "torch", "openvino", "onnx"]
ClassWeights = Literal["none", "balanced"]
InputScaling = Literal["sqrt", "l2", "none"]
HeadKind = Literal["rnn_tanh", "rnn_relu", "lstm", "gru", "mean"]
TemporalPooling = Literal["last", "running_mean", "exponential_mean"]

ONLY_OF_VERSION_0_1 = ("temporal_pooling", "pooling_decay")
"""Fields of `HeadConfig` that are read from its models and configurations, and not offered."""
MOST_RECURRENT_WEIGHTS = 2**27
"""Of one gate of a head, so that loading a downloaded model cannot exhaust the memory; usual heads
have 0.1 % of it."""


@with_own_errors
@dataclass(frozen=True, config=STRICT_KEYS)
class Sampling:
    """Which frames of a video are used. Without num_frames and rate_fps: every frame."""

    num_frames: Annotated[int, Field(ge=1, strict=True)] | None = None
    """This many frames, evenly spread over the whole clip, whatever its length. The clip's end must
    be known, so a model trained this way cannot follow a live source."""
    rate_fps: PositiveFloat | None = None
    """This many frames per second: at each tick the frame that is shown then. It works on live
    sources; longer clips give more frames."""
    start_seconds: FiniteFloat | None = None
    """Only frames from this time on, by the video's own clock; null: from the first."""
    end_seconds: FiniteFloat | None = None
    """Only frames before this time, by the video's own clock; null: to the last."""
    keyframes: bool = False
    """Decode only the key frames, which is many times faster. The encoder chose where they are
    (often seconds apart), so each sampled frame may be older than asked for."""
    frame_folder_fps: PositiveFloat = 25.0
    """The frame rate of what states neither times nor a rate: a folder of pictures, raw .h264 or
    .mjpeg. UCF101's paper says 25; some of its files have 29.97."""
    overrules_stated_rate: bool = False
    """Take `frame_folder_fps` for raw video that states another rate, too; its headers may be
    wrong. `--frame-rate` does, except for `extract`. Features of both kinds are not mixed."""
    stream: Annotated[int, Field(ge=0, strict=True)] | None = None
    """The video stream that is read of a file with several, by the number that `actionrnn info`
    and ffprobe show; null: the first of those that the file marks as default."""

    @model_validator(mode="after")
    def _one_rule(self) -> Sampling:
        if self.num_frames is not None and self.rate_fps is not None:
            raise ValueError(
                f"num_frames ({self.num_frames}) and rate_fps ({self.rate_fps:g}) "
                "exclude each other; set one of them to null"
            )
        return self

    @model_validator(mode="after")
    def _start_before_end(self) -> Sampling:
        start, end = self.start_seconds, self.end_seconds
        if start is not None and end is not None and start >= end:
            raise ValueError(f"start_seconds ({start:g}) must be less than end_seconds ({end:g})")
        return self

    def __str__(self) -> str:
        noun = "key frame" if self.keyframes else "frame"
        text = f"every {noun}"
        if self.num_frames is not None:
            text = f"{self.num_frames} {noun}s evenly"
        elif self.rate_fps is not None:
            text = f"{self.rate_fps:g} {noun}s/s"
        start = "" if self.start_seconds is None else f" from {self.start_seconds:g} s"
        end = "" if self.end_seconds is None else f" until {self.end_seconds:g} s"
        stream = "" if self.stream is None else f" of stream {self.stream}"
        return text + start + end + stream


@dataclass(frozen=True, config=STRICT_KEYS)
class DataConfig:
    """Which labelled videos, and how they are split into training and test."""

    layout: Layout = "folder"
    """folder: one folder per class; ucf101: files v_<Class>_gNN_cNN, in class folders or not;
    manifest: a CSV file with the columns path and label, and optionally group, split, start and
    end (seconds); annotations: what happens when in whole recordings, as CSV or in the formats of
    BORIS, ELAN and others (docs/annotations.md): they are trained on step by step, with the state
    kept from one part to the next; rendered: the
    built-in data set, made when it is needed. A folder that holds only pictures (.jpg, .png, ...)
    is a video."""
    root: HomePath | None = None
    """The folder of the videos; for a manifest, the CSV file; for annotations, their file, or the
    folder of such files."""
    videos: HomePath | None = None
    """annotations: the folder of the videos; null: that of the file of annotations."""
    annotation_rate_fps: PositiveFloat | None = None
    """annotations: frames a second, for formats that count frames. null: the times of the video's
    own frames, where these are what was counted; a format with a clock of its own asks for it."""
    tiers: Names = ()
    """annotations: take these tiers (ELAN), categories (BORIS) or attributes (CVAT) alone; empty:
    what is unambiguous, and a note names the rest."""
    subjects: Names = ()
    """annotations: take these subjects alone; empty: all."""
    labels: Names = ()
    """annotations: take these labels (BORIS: behaviours) alone; empty: all."""
    annotators: Names = ()
    """annotations: take the answers of these people or models alone (Label Studio); empty: the only
    ones that there are."""
    unlabelled: Unlabelled = "ignore"
    """annotations: what the time of a recording is that no row covers. ignore: not known; its steps
    carry the state on, and take no part in the loss and the scores, for recordings where nobody
    looked everywhere. background: a class of its own, `background`, for recordings that were
    labelled completely: the model learns to say that nothing of interest happens, and what
    somebody overlooked is taught and counted as wrong. With head.multi_label it is no class: there
    every class is off, and with ignore alone the model hardly learns when nothing is on. It has no
    effect on the other layouts."""
    label_level: LabelLevel | None = None
    """folder: which folder above a clip names its class: 1 is the first below the root (or below
    train, val, test), last the one that holds the clip. null: the first, or an error that asks
    for this setting if the classes could as well be deeper."""
    group_pattern: str | None = None
    """A regular expression whose first bracket is the clip's group (the person, the scene). It
    is searched in the file's name or, if it contains a `/`, in the path below the root without
    the file's ending. Clips of one group are never on both sides of a split, so the score holds
    for new groups. null: each clip is its own group, and clips of one person may be in
    training and in testing."""
    split: Split = "auto"
    """auto: given if any clip has a side, else holdout; given: the sides that the data names (a
    manifest's column `split`; folders called train, val and test), where validation chooses the
    epoch; holdout: a random part of the groups, the same in every run, whatever the training's
    seed; leave_one_group_out: each group in turn, so as many trainings as groups; official:
    UCF101's three splits; none: everything is for training (train) or for testing (evaluate)."""
    fold: Annotated[int, Field(ge=1, strict=True)] | Name = "all"
    """Which fold of the split: its group's name, else its number from 1; or all. With one fold,
    the model is trained on its training clips; with all, the model is trained on every clip."""
    test_fraction: Annotated[Number, Field(gt=0, lt=1)] = 0.25
    """holdout: the part of the groups that is for testing."""
    allow_group_leak: Annotated[bool, Field(strict=True)] = False
    """Accept a split with clips of one group in training and in testing
    (--allow-group-leak). The score is then too good, and every output says so."""
    features: HomePath | None = None
    """The folder of the stored features; null: `features` in the run's folder (for evaluate: in
    --output), or that of another run beside it if it has them all."""

    @model_validator(mode="after")
    def _pattern_has_a_group(self) -> DataConfig:
        if self.group_pattern is None:
            return self
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                brackets = re.compile(self.group_pattern).groups
        except (re.error, FutureWarning, RecursionError, OverflowError) as error:
            raise ValueError(f"group_pattern ({self.group_pattern}): {error}") from None
        if not brackets:
            raise ValueError(f"group_pattern ({self.group_pattern}) needs a bracket: (...)")
        return self


@dataclass(frozen=True, config=STRICT_KEYS)
class BackboneConfig:
    """The frozen CNN that turns a frame into a feature vector."""

    name: str = "efficientnet_lite0"
    """efficientnet_lite0 (bundled), torchvision/<name> or timm/<name>."""
    weights: HomePath = "default"
    """default: the library's pretrained weights; none: random weights (for tests);
    anything else: the path of a .safetensors or .pth file."""
    resize_mode: ResizeMode = "shortest"
    """shortest: scale the shorter side, then cut out the centre, as the weights were trained;
    squash: the whole frame, distorted to a square, so that nothing at the edge is lost."""
    modality: Modality = "rgb"
    """rgb: the frame; rgb_diff: its amplified change from the frame sampled before, for actions
    that differ by their motion; both: both, for twice the work and twice the features."""
    precision: Precision = "auto"
    """auto: bfloat16 (float16 on older GPUs) where the hardware is fast at it, else float32.
    It is recorded with features, and not compared: those of any of these fit each other.
    int8: the network is quantised, for a CPU that has no bfloat16: it computes 1.5 times as fast as
    in float32, and each feature is off by a few per cent. Its features fit int8 features alone:
    a store, and a model trained on them, take no others. It needs the extra `onnx`."""
    device: str = "auto"
    """auto: cuda if available, else cpu; or any torch device."""
    runtime: Runtime = "auto"
    """auto: OpenVINO on a CPU if it is installed, else torch; onnx: ONNX Runtime on a CPU."""
    frames_ahead: PositiveInt = 256
    """Decoded frames that may wait for the backbone (150 KB each at 224 pixels). It bounds an
    extraction's memory, whatever the videos' lengths; at least two batches may wait."""


@dataclass(frozen=True, config=STRICT_KEYS)
class HeadConfig:
    """The recurrent head that turns feature vectors into scores."""

    kind: HeadKind = "gru"
    """rnn_tanh, rnn_relu, lstm, gru, or mean (the order-blind baseline)."""
    hidden_size: PositiveInt = 256
    """The size of the recurrent state. Larger fits more, and needs more clips."""
    num_layers: PositiveInt = 1
    """Stacked recurrent layers."""
    dropout: Probability = 0.5
    """Dropout on the input features, between layers and before the classifier, in training."""
    residual: Annotated[bool, Field(strict=True)] = True
    """Let the classifier see each frame's own features beside the state, so that what one frame
    gives away need not pass through the recurrence. false: the state alone, as in version 0.1."""
    projection: Annotated[bool, Field(strict=True)] = True
    """Put a linear layer to hidden_size and LayerNorm (Ba et al., 2016) before the recurrent layer.
    It learns order from fewer clips and from large features, and takes less arithmetic.
    false: the recurrent layer reads the features themselves, as in version 0.1."""
    temporal_pooling: TemporalPooling = "running_mean"
    """How the answer so far, which is the clip's in the end, is made of the logits of all steps:
    their mean. last and exponential_mean are what heads of version 0.1 could be."""
    pooling_decay: Probability = 0.9
    """exponential_mean: the weight of the past at each step."""
    input_scaling: InputScaling = "sqrt"
    """What is done to features before they are standardised. sqrt: the root of each, with its
    sign, so that a few large values do not drown the rest, as in large and sparse features (VGG);
    l2: each frame's feature vector is scaled to length 1, which takes out contrast; none."""
    temporal_differences: Annotated[bool, Field(strict=True)] = False
    """Give the head x_t - x_(t-1) as well as x_t. It helps if motion decides."""
    delay_steps: Annotated[int, Field(ge=0, le=1000, strict=True)] = 0
    """Answer for a step when this many further steps have been seen; at a recording's end its last
    frame stands in for them. An action is often clearer a moment after it began, but a live
    answer comes later by delay_steps / sampling.rate_fps seconds. 0: at once. `mean`, which
    has no state, always answers at once."""
    multi_label: Annotated[bool, Field(strict=True)] = False
    """Several classes at once, or none: each is answered for itself, by a sigmoid in place of the
    softmax, and trained by binary cross-entropy, the mean over classes. Annotations may then
    overlap. A score is the probability that its class is on, the scores sum to anything, and
    classes from 0.5 on count as on. false: exactly one class at each moment."""

    @model_validator(mode="after")
    def _fits_a_machine(self) -> HeadConfig:
        if self.num_layers * self.hidden_size**2 > MOST_RECURRENT_WEIGHTS:
            raise ValueError(
                f"hidden_size ({self.hidden_size}) x hidden_size x num_layers "
                f"({self.num_layers}) must be at most {MOST_RECURRENT_WEIGHTS}"
            )
        return self

    def __str__(self) -> str:
        text = f"{self.kind}, {self.num_layers} x {self.hidden_size}, {self.temporal_pooling}"
        text += ", multi-label" if self.multi_label else ""
        is_late = self.delay_steps > 0 and self.kind != "mean"
        return f"{text}, answers {self.delay_steps} steps later" if is_late else text


@dataclass(frozen=True, config=STRICT_KEYS)
class TrainConfig:
    """How the head is trained. The backbone is never trained."""

    epochs: PositiveInt = 60
    """Passes over the training clips. The learning rate's schedule spans all of them."""
    batch_size: PositiveInt = 32
    """Clips, or windows of recordings, per step of the optimiser."""
    learning_rate: Annotated[Number, Field(gt=0, le=1e37)] = 1e-3
    """AdamW's highest learning rate. If it is far too high, the fit ends with an error."""
    weight_decay: Annotated[Number, Field(ge=0, le=1e37)] = 1e-2
    """AdamW's weight decay."""
    warmup_fraction: Probability = 0.1
    """The part of all steps in which the rate rises linearly; then it falls as a cosine."""
    now_weight: Annotated[Number, Field(ge=0, le=1)] = 0.5
    """The weight in the loss of the answers at the single steps; the rest is that of the clip's
    answer. 0: only the clip's answer is trained, and a timeline reacts late; 1: only the steps.
    The mean-pool baselines beside the head are trained for the clip's answer alone."""
    join_clips: PositiveInt = 8
    """Up to this many clips of one group (those alone in their group: with one another) are trained
    on one after another, with one state, so that the head learns to leave an action behind when the
    next begins. 1: each clip alone, and a timeline of a long recording reacts late."""
    window_steps: PositiveInt = 128
    """layout annotations: recordings are trained on in windows of this many steps. Longer ones
    train the state over more time, and need more memory."""
    state_warmup_steps: Count = 32
    """layout annotations: the steps before each window that lead the state there; they do not
    count in the loss."""
    label_smoothing: Probability = 0.1
    """The probability mass that is spread over all classes: scores become less extreme. With
    head.multi_label over on and off of each class: 0.1 teaches 0.95 and 0.05."""
    class_weights: ClassWeights = "none"
    """none: all clips count alike, so frequent classes dominate the training loss; balanced: clips
    of rare classes count more, so all classes have the same weight. With head.multi_label the
    steps at which a class is on weigh as much as those at which it is off, so that rare classes
    score higher than they are likely. The validation loss is the same either way."""
    clip_norm: PositiveFloat = 1.0
    """The largest norm of the gradient; a longer one is scaled down to it."""
    crop_fraction: Part = 1.0
    """Augmentation: each epoch sees a random stretch of every clip, at least this part of it."""
    keep_fraction: Part = 1.0
    """Augmentation: ... and of that stretch a random subset of the steps, at least this part."""
    ema_decay: Probability = 0.0
    """Decay of the exponential moving average of the weights over steps, which is what is
    validated and saved; 0: the weights themselves."""
    validation_fraction: Probability = 0.0
    """The part of the training groups that is held back to choose the best epoch; never of the
    test groups. 0: all groups are trained on, and the last epoch is taken, which is better where
    groups are few (docs/heads.md)."""
    patience_epochs: PositiveInt | None = None
    """Stop if the validation loss has not fallen for this many epochs; null: never. Without
    validation clips (`validation_fraction`) it has no effect."""
    calibrate: Annotated[bool, Field(strict=True)] = False
    """Divide the model's logits by the temperature that makes its scores right as often as they
    say. It is fitted on clips that were not trained on: with several folds on their test clips
    (each fold's score is reported at the temperature of the others), with one on its validation
    clips. If that does not lower the calibration error of several folds, none is applied. The order
    of the labels stays; thresholds mean something else then. One for all labels of
    head.multi_label. false: the report says what it would do."""
    none_of_these: Annotated[bool, Field(strict=True)] = False
    """Give the model what it needs to tell that none of its classes is seen (--none-rate): how far
    the answers for clips that were not trained on are from those that were. These clips are the
    test clips of several folds, or one fold's validation clips. No answer changes by it. Not for
    head.multi_label, where none is that no label is on."""
    event_thresholds: Annotated[bool, Field(strict=True)] = False
    """Give the model the thresholds by which --events begin and end an action: those that find most
    actions with at most `false_alarms_per_hour`, in recordings that were not trained on. With
    several folds these are their test recordings (each fold is tested by the thresholds of the
    others), with one its validation recordings. Needs time in which none of the classes is seen:
    a class `background`, or head.multi_label."""
    false_alarms_per_hour: PositiveFloat = 1.0
    """What `event_thresholds` may bring on these recordings. They should be longer than one false
    alarm takes at this rate: in less time there must be none at all. Lower: fewer events, right
    ones too."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """auto: bfloat16 on a GPU that supports it, else float32."""
    search: Count = 0
    """Head settings to try first, on held-back training groups (docs/training.md); each costs one
    more fit per fold. 0: none."""
    seed: Count = 0
    """Determines initial weights, order, dropout, augmentation and the held-back groups."""
    seeds: PositiveInt = 1
    """Repeat the training with seed, seed + 1, ...; the report gives mean and spread, the model
    is the first seed's."""


@dataclass(frozen=True, config=STRICT_KEYS)
class Config:
    """All settings of an experiment."""

    data: DataConfig = dataclasses.field(default_factory=DataConfig)
    sampling: Sampling = dataclasses.field(default_factory=lambda: Sampling(rate_fps=4.0))
    backbone: BackboneConfig = dataclasses.field(default_factory=BackboneConfig)
    head: HeadConfig = dataclasses.field(default_factory=HeadConfig)
    train: TrainConfig = dataclasses.field(default_factory=TrainConfig)

    def to_dict(self) -> dict[str, Any]:
        """The plain dictionary that `parse_config` reads back."""
        return dataclasses.asdict(self, dict_factory=_with_lists)


def _with_lists(items: list[tuple[str, Any]]) -> dict[str, Any]:
    """As JSON and YAML read them back."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in items}
