"""Which clips a fold does not train on: they choose the epoch, and what else is fitted to them."""

from __future__ import annotations

from collections.abc import Sequence

from actionrnn.config import Config, TrainConfig
from actionrnn.datasets.recordings import Clip
from actionrnn.datasets.splits import Fold, train_val_split
from actionrnn.errors import ConfigError
from actionrnn.training.event_rules import require_background


def require_held_out(config: Config, folds: Sequence[Fold], labels: Sequence[str]) -> None:
    """Refuse before the training what could not be measured in the end.

    Raises:
        ConfigError: a temperature, none-of-these or thresholds of events are wanted, and there are
            no clips that are not trained on, or only one class; none-of-these of a head that says
            so by itself; thresholds without a background.
    """
    train = config.train
    if train.event_thresholds:
        require_background(config, labels)
    if train.none_of_these and config.head.multi_label:
        raise ConfigError(
            "train.none_of_these: a head of several labels (head.multi_label=true) says it by "
            "itself: no label is on; set it to false"
        )
    wanted = {
        "calibrate": train.calibrate,
        "none_of_these": train.none_of_these,
        "event_thresholds": train.event_thresholds,
    }
    reason = why_not_held_out(config, folds, labels) if any(wanted.values()) else ""
    if reason:
        name = next(name for name, is_wanted in wanted.items() if is_wanted)
        raise ConfigError(f"train.{name}: {reason}")


def why_not_held_out(config: Config, folds: Sequence[Fold], labels: Sequence[str]) -> str:
    """Why nothing can be fitted on clips that are not trained on, and the remedy; empty: it can."""
    if len(labels) < 2 and not config.head.multi_label:
        return f"needs several classes, and there is {', '.join(labels)} alone"
    if len(folds) > 1 or divided(folds[0], config.train)[1]:
        return ""
    return (
        "needs clips that are not trained on, and there is one fold without validation clips; set "
        "train.validation_fraction=0.15 (with more groups if none of them can be held back), or "
        "train several folds (data.split=leave_one_group_out)"
    )


def divided(fold: Fold, config: TrainConfig) -> tuple[tuple[Clip, ...], tuple[Clip, ...]]:
    """A fold's clips that train, and those that choose the epoch."""
    if fold.validation:
        return fold.train, fold.validation
    return train_val_split(fold.train, config.validation_fraction, config.seed)
