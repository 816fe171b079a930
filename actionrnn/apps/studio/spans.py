"""What is left of stretches of time when others are taken out of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from actionrnn.datasets.annotations.marks import Span, united


def without(spans: Iterable[Span], taken: Iterable[Span]) -> tuple[Span, ...]:
    """What is left of some stretches, in order, after others are taken out."""
    cuts = united(taken)
    return tuple(left for begin, end in united(spans) for left in free_of(cuts, begin, end))


def free_of(taken: Sequence[Span], start: float, end: float) -> list[Span]:
    """What is left of start to end without the time that is taken, in order.

    Args:
        taken: rising, without overlaps (`united`).
    """
    left, reached = [], start
    for begin, stop in taken:
        if begin >= end:
            break
        if begin > reached:
            left.append((reached, begin))
        reached = max(reached, stop)
    if reached < end:
        left.append((reached, end))
    return left
