"""Several processes train one head: `torchrun --nproc-per-node 4 tools/train.py ...`.

Each process takes its share of every batch; gradients are added up, so that all processes take
the same step. Without torchrun there is one process, and these functions do nothing.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import TypeVar

import torch
from torch import Tensor, distributed, nn

T = TypeVar("T")


def rank() -> int:
    """The number of this process, from 0."""
    return int(os.environ["RANK"]) if _started_by_torchrun() else 0


def is_first() -> bool:
    """Whether this is the process that writes and prints."""
    return rank() == 0


@contextlib.contextmanager
def process_group() -> Iterator[None]:
    """Join the processes that torchrun started, if it did."""
    if not _started_by_torchrun() or _active():
        yield
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    distributed.init_process_group(
        "nccl" if torch.cuda.is_available() else "gloo",
        timeout=timedelta(days=7),  # the others wait while the first one extracts
    )
    try:
        yield
    finally:
        distributed.destroy_process_group()


@contextlib.contextmanager
def first_then_others() -> Iterator[None]:
    """Let the first process do the block before the others do it."""
    if not is_first():
        wait_for_all()
    yield
    if is_first():
        wait_for_all()


def wait_for_all() -> None:
    """Return when every process has called this."""
    if _active():
        distributed.barrier()


def share(items: Sequence[T]) -> list[T]:
    """The part of a batch that is for this process."""
    return list(items[rank() :: _size()])


def add(value: Tensor) -> Tensor:
    """The sum over all processes."""
    if _active():
        distributed.all_reduce(value)
    return value


def add_gradients(module: nn.Module) -> None:
    """Add each parameter's gradient up over all processes."""
    if not _active():
        return
    for parameter in module.parameters():
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
        distributed.all_reduce(parameter.grad)


def _started_by_torchrun() -> bool:
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def _active() -> bool:
    return distributed.is_available() and distributed.is_initialized()


def _size() -> int:
    return distributed.get_world_size() if _active() else 1
