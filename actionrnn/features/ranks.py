"""Several processes share one list of videos, and need not talk to each other."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TypeVar

from actionrnn.errors import ConfigError

Item = TypeVar("Item")

# SLURM_NTASKS stands in the batch script, too, which is one process; the step's is srun's alone
_LAUNCHERS = (("RANK", "WORLD_SIZE"), ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS"))


def share_of_rank(items: Sequence[Item]) -> list[Item]:
    """Every n-th item, where torchrun or SLURM's srun started n processes; else all.

    Raises:
        ConfigError: the launcher's variables are no numbers, or impossible.
    """
    for rank_name, size_name in _LAUNCHERS:
        rank, size = os.environ.get(rank_name), os.environ.get(size_name)
        if rank is None or size is None:
            continue
        if not (rank.isdecimal() and size.isdecimal() and int(rank) < int(size)):
            raise ConfigError(
                f"{rank_name} ({rank}) must be a number below {size_name} ({size}); "
                "unset them, or start the processes with torchrun or srun"
            )
        return list(items[int(rank) :: int(size)])
    return list(items)
