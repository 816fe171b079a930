"""A report of two folds."""

from __future__ import annotations

import pytest

from actionrnn.evaluation.report import Report
from actionrnn.evaluation.summary import make_report
from tests.evaluation.reports import LABELS, scored


@pytest.fixture
def report() -> Report:
    """Ann: 2 of 3 right, baseline 1; Bob: 1 of 3, baseline 2."""
    folds = [
        scored("ann", [0, 1, 0], [0, 1, 2], baseline=[0, 0, 0]),
        scored("bob", [0, 0, 1], [0, 2, 2], baseline=[0, 2, 1]),
    ]
    return make_report(LABELS, folds, title="clips", config={"head": {"kind": "gru"}})
