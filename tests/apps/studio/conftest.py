"""What the processes of the studio's tests share."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session", autouse=True)
def torch_is_imported_once() -> None:
    """Not in each studio's process: they are copies of one that has what a training needs."""
    from actionrnn.features import worker

    worker.prepare("actionrnn.apps.studio.teaching")
