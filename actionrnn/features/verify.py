"""Every byte of a store, looked at again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from actionrnn.errors import FeatureError
from actionrnn.features.store import FeatureStore, require_same
from actionrnn.progress import progress_bar


@dataclass(frozen=True)
class Finding:
    """An entry that is not as it should be."""

    key: str
    problem: str
    """One line, with the file and what to do."""


def verify_store(store: FeatureStore) -> Iterator[Finding]:
    """Each entry that is missing, truncated, altered, under a wrong name or of another origin.

    A clip is missing if it was asked for once, is not there, and did not fail.

    Raises:
        FeatureError: the store's own lists are damaged.
    """
    present = store.keys()
    failed = {failure.get("key") for failure in store.failures()}
    for key in sorted(set(store.expected_keys()) - set(present) - failed):
        yield Finding(key, f"{store.path_of(key)}: is missing; extract again to repair it")
    with progress_bar("verifying", len(present)) as advance:
        for key in present:
            problem = _problem(store, key)
            if problem:
                yield Finding(key, problem)
            advance()


def _problem(store: FeatureStore, key: str) -> str:
    try:
        features = store.read(key)
        require_same(features.provenance, store.provenance, str(store.path_of(key)))
    except FeatureError as error:
        return str(error)
    return ""
