"""Stretches of time are joined, and taken from each other."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from actionrnn.datasets.annotations.marks import Span, united, without

SECONDS = st.integers(0, 40).map(lambda n: n / 4)
SPANS = st.lists(st.tuples(SECONDS, SECONDS))


def covers(spans: Iterable[Span], seconds: float) -> bool:
    return any(begin <= seconds < end for begin, end in spans)


@given(SPANS, SPANS)
def test_what_is_left_is_what_is_in_one_and_not_in_the_other(
    spans: list[Span], taken: list[Span]
) -> None:
    left = without(spans, taken)
    assert all(begin < end for begin, end in left)
    assert all(one[1] < other[0] for one, other in itertools.pairwise(left))
    for quarter in range(48):
        at = quarter / 4 + 0.125
        assert covers(left, at) == (covers(spans, at) and not covers(taken, at))


@given(SPANS)
def test_the_same_time_is_in_united_spans(spans: list[Span]) -> None:
    joined = united(spans)
    assert all(one[1] < other[0] for one, other in itertools.pairwise(joined))
    for quarter in range(48):
        at = quarter / 4 + 0.125
        assert covers(joined, at) == covers(spans, at)
