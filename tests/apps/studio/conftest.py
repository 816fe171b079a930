"""Fixtures of the studio's tests in a browser."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.apps.studio.page_steps import Browsers


@pytest.fixture(scope="module")
def browsers() -> Iterator[Browsers]:
    """Chromium for the module; most tests here need none, so it is imported where one does."""
    from tests.apps.studio.page_steps import playing, starting

    with playing() as playwright, starting(playwright) as start:
        yield start
