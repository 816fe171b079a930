"""Training curves for TensorBoard."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from actionrnn.errors import ConfigError
from actionrnn.text import plain
from actionrnn.training import parallel
from actionrnn.training.fit import Epoch
from actionrnn.training.fit_state import file_name

FOLDER = "tensorboard"


@contextmanager
def curve_log(output: Path, tensorboard: bool) -> Iterator[Callable[[str, Epoch], None]]:
    """Yield a function that takes a fit's name and one row of its curve.

    Each fit has a folder of its own; what an earlier training of that name left there is hidden.

    Raises:
        ConfigError: TensorBoard is wanted and not installed.
    """
    if not tensorboard or not parallel.is_first():
        yield lambda name, epoch: None
        return
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise ConfigError("--tensorboard: is not installed; pip install tensorboard") from None
    writers: dict[str, Any] = {}

    def log(name: str, epoch: Epoch) -> None:
        if name not in writers:
            folder = output / FOLDER / file_name(name)
            writers[name] = SummaryWriter(str(folder), purge_step=0)
            writers[name].add_text("fit", plain(name))
        for tag in ("learning_rate", "train_loss", "validation_loss", "validation_top1"):
            value = getattr(epoch, tag)
            if value is not None:
                writers[name].add_scalar(tag, value, epoch.epoch)

    try:
        yield log
    finally:
        for writer in writers.values():
            writer.close()
