"""Two processes train the head that one trains."""

from __future__ import annotations

import socket
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from tests.forking import fork_each

IMPORTS = """
import os
import sys

import numpy as np
import torch._dynamo  # an optimiser's first step would
from safetensors.torch import save_file

from actionrnn.config import HeadConfig, TrainConfig
from actionrnn.datasets.recordings import Recording
from actionrnn.datasets.sequences import Sequences
from actionrnn.training import parallel
from actionrnn.training.fit import fit_head
from actionrnn.training.fit_state import FitTask
from tests.tiny import tiny_provenance
"""
FIT = """
rng = np.random.default_rng(0)
targets = np.arange(13) % 2
values = tuple(rng.normal(t, 1, (int(rng.integers(2, 7)), 6)).astype(np.float32) for t in targets)
recordings = [Recording.trimmed(f"{i}", f"{i}", f"{t}", f"{i}") for i, t in enumerate(targets)]
clips = tuple(recording.clips[0] for recording in recordings)
sequences = Sequences(clips, values, targets, tuple(map(str, targets)), tiny_provenance())
head, config = HeadConfig(hidden_size=8, dropout=0.0), TrainConfig(epochs=3, batch_size=4)
with parallel.process_group():
    fit = fit_head(FitTask(sequences, 2, head, config))
    name = f"{os.environ['OUTPUT']}-{parallel.rank()}.safetensors"
    save_file(fit.head.state_dict(), f"{sys.argv[1]}/{name}")
"""


def test_two_processes_take_the_steps_of_one(tmp_path: Path) -> None:
    """Shares of 13 clips in batches of 4 or less: one process sometimes gets more."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    group = {"OUTPUT": "pair", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    pair = [group | {"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(2)]
    assert fork_each(IMPORTS, FIT, [{"OUTPUT": "alone"}, *pair], tmp_path) == [0, 0, 0]
    expected = load_file(tmp_path / "alone-0.safetensors")
    first, second = (load_file(tmp_path / f"pair-{rank}.safetensors") for rank in range(2))
    for name, tensor in expected.items():
        np.testing.assert_allclose(first[name], tensor, rtol=1e-4, atol=1e-5, err_msg=name)
        np.testing.assert_array_equal(first[name], second[name], err_msg=name)
