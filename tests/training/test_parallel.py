"""Two processes train the head that one trains."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

FIT = """
import sys
import numpy as np
from safetensors.torch import save_file
from actionrnn.config import HeadConfig, TrainConfig
from actionrnn.datasets.clips import Clip
from actionrnn.datasets.sequences import Sequences
from actionrnn.training import parallel
from actionrnn.training.fit import fit_head

rng = np.random.default_rng(0)
targets = np.arange(13) % 2
values = tuple(rng.normal(t, 1, (int(rng.integers(2, 7)), 6)).astype(np.float32) for t in targets)
clips = tuple(Clip(f"{i}", f"{i}", f"{t}", f"{i}") for i, t in enumerate(targets))
sequences = Sequences(clips, values, targets, tuple(map(str, targets)))
head, config = HeadConfig(hidden_size=8, dropout=0.0), TrainConfig(epochs=3, batch_size=4)
with parallel.process_group():
    fit = fit_head(sequences, 2, head, config)
    save_file(fit.head.state_dict(), f"{sys.argv[1]}-{parallel.rank()}.safetensors")
"""


def test_two_processes_take_the_steps_of_one(tmp_path: Path) -> None:
    """Shares of 13 clips in batches of 4 or less: one process sometimes gets more."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    alone = subprocess.Popen([sys.executable, "-c", FIT, tmp_path / "alone"])
    group = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    pair = [
        subprocess.Popen(
            [sys.executable, "-c", FIT, tmp_path / "pair"],
            env={**os.environ, **group, "RANK": str(rank), "LOCAL_RANK": str(rank)},
        )
        for rank in range(2)
    ]
    assert [process.wait(timeout=100) for process in (alone, *pair)] == [0, 0, 0]
    expected = load_file(tmp_path / "alone-0.safetensors")
    first, second = (load_file(tmp_path / f"pair-{rank}.safetensors") for rank in range(2))
    for name, tensor in expected.items():
        np.testing.assert_allclose(first[name], tensor, rtol=1e-4, atol=1e-5, err_msg=name)
        np.testing.assert_array_equal(first[name], second[name], err_msg=name)
