"""Stretches of time less others."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from actionrnn.apps.studio.spans import free_of, without
from actionrnn.datasets.annotations.marks import Span, united

SECONDS = st.integers(0, 40).map(lambda n: n / 4)


@given(
    st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), max_size=6),
    st.integers(0, 20),
    st.integers(0, 20),
)
def test_what_is_free_is_all_that_was_not_seen(pairs: list[Span], start: int, end: int) -> None:
    seen = united(pair for pair in pairs if pair[0] < pair[1])
    left = free_of(seen, start, end)
    moments = {tick for begin, stop in left for tick in range(round(4 * begin), round(4 * stop))}
    expected = {
        tick
        for tick in range(4 * start, 4 * end)
        if not any(4 * begin <= tick < 4 * stop for begin, stop in seen)
    }
    assert moments == expected
    assert all(one[1] < other[0] for one, other in pairwise(left))


@given(*[st.lists(st.tuples(SECONDS, SECONDS)) for _ in range(2)])
def test_what_is_left_is_what_is_in_one_and_not_in_the_other(
    spans: list[tuple[float, float]], taken: list[tuple[float, float]]
) -> None:
    left = without(spans, taken)
    assert all(a < b for a, b in left)
    assert all(one[1] < other[0] for one, other in pairwise(left))
    for quarter in range(48):
        at = quarter / 4 + 0.125

        def covers(many: Any, at: float = at) -> bool:
            return any(a <= at < b for a, b in many)

        assert covers(left) == (covers(spans) and not covers(taken))
