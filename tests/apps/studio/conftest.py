"""What the processes of the studio's tests share."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session", autouse=True)
def torch_is_imported_once() -> None:
    """Not in each studio's process: they are copies of one that has what a training needs.

    Unless such copies were made before, in another file of this process.
    """
    from actionrnn.apps.studio.jobs import Tasks
    from actionrnn.processes import prepare

    prepare(Tasks().teach.partition(":")[0])
