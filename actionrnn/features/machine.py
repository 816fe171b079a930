"""What of this machine a backbone may use, found out without torch where that is possible."""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

from actionrnn.config import BackboneConfig
from actionrnn.features.known import INT8

# Batches at once on a CPU, each in a few threads: that beats all threads in one batch by a fifth.
# On a GPU one, as all is computed in one thread.
MOST_CPU_WORKERS = 8


def num_cores() -> int:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def num_workers(device: str) -> int:
    """How many threads should use a backbone on this device at once."""
    return min(MOST_CPU_WORKERS, num_cores()) if device == "cpu" else 1


def cpu_precision(config: BackboneConfig) -> str:
    """The precision on a CPU: bfloat16 where it has instructions for it, else float32."""
    if config.precision != "auto":
        return config.precision
    return "bfloat16" if config.runtime != "onnx" and _cpu_has_bfloat16() else "float32"


def is_cpu(config: BackboneConfig) -> bool:
    """Whether it is computed on the CPU, without asking torch; False: only that can tell."""
    if config.device != "auto":
        return config.device == "cpu"
    return config.runtime == "onnx" or config.precision == INT8 or not _has_nvidia_driver()


def _has_nvidia_driver() -> bool:
    """Whether torch could have a GPU: only it knows, but without a driver it need not be asked."""
    try:
        ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return False
    return True


_LIMITS_WITHOUT_BFLOAT16 = ("SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX512_CORE", "AVX512_CORE_VNNI")
"""Of oneDNN, which OpenVINO and torch compute with: what `ONEDNN_MAX_CPU_ISA` may say."""


def _cpu_has_bfloat16() -> bool:
    if os.environ.get("ONEDNN_MAX_CPU_ISA", "").upper() in _LIMITS_WITHOUT_BFLOAT16:
        return False
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        if sys.platform == "darwin":  # no Mac has such a CPU
            return False
        import torch

        can = torch.cpu.get_capabilities()
        return bool(can.get("avx512_bf16") or can.get("amx_bf16"))
    flags = next((line.split() for line in lines if line.startswith("flags")), [])
    return "avx512_bf16" in flags or "amx_bf16" in flags
