"""Fixtures for every test."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real videos; beside the checkout, never part of it."""
    beside = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("ACTIONRNN_REAL_DATA", beside))
    if not folder.is_dir():
        if os.environ.get("CI"):
            pytest.fail(f"{folder}: the real videos are missing, and CI promises them")
        pytest.skip(f"{folder}: no real videos here")
    return folder
