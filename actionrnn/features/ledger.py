"""The failures of a store, kept from run to run."""

from __future__ import annotations

from collections.abc import Sequence

from actionrnn import __version__
from actionrnn.errors import FeatureError, VideoError
from actionrnn.features.decoding import VideoPart
from actionrnn.features.provenance import Failure
from actionrnn.features.store import EntryError, FeatureStore
from actionrnn.files import file_sha256, file_state


class Ledger:
    """The failures of a store: those of earlier runs, and what becomes of them now."""

    def __init__(self, store: FeatureStore, sources: Sequence[VideoPart]) -> None:
        self._store = store
        self._order = {source.key: place for place, source in enumerate(sources)}
        known = {failure.key: failure for failure in store.failures()}
        self._failures = {key: known[key] for key in known if key in self._order}
        self._news: dict[str, Failure | None] = {}

    def knows(self, source: VideoPart) -> bool:
        """Whether it failed before, and its file is as it was."""
        known = self._failures.get(source.key)
        return known is not None and bool(known.state) and known.state == _state(source)

    def reason(self, source: VideoPart) -> str:
        """Why it failed."""
        return self._failures[source.key].reason

    def add(self, source: VideoPart, error: VideoError | EntryError) -> None:
        """It failed now; an entry that could not be written is tried again."""
        state = _state(source) if isinstance(error, VideoError) else ""
        failure = Failure(source.key, str(source.path), str(error), state)
        self._failures[source.key] = self._news[source.key] = failure

    def clear(self, source: VideoPart) -> None:
        """It works now."""
        if self._failures.pop(source.key, None):
            self._news[source.key] = None

    def failures(self) -> list[Failure]:
        """Those of this run's sources, in their order."""
        return sorted(self._failures.values(), key=lambda failure: self._order[failure.key])

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """Bring the store's list up to date, unless the store itself is what failed."""
        if not isinstance(error, FeatureError):
            self._store.update_failures(self._news)


def _state(source: VideoPart) -> str:
    """What changes when a file does, or the code that could not read it; empty: not known."""
    try:
        return f"{bytes_now(source)}, actionrnn {__version__}"
    except OSError:
        return ""


def bytes_now(source: VideoPart) -> str:
    """What a video is now, in few words."""
    return _bytes(file_state(source.path).size_bytes, file_sha256(source.path))


def stored_bytes(store: FeatureStore, source: VideoPart) -> str:
    """What a video was when its entry was computed."""
    video = store.read(source.key).video
    return "an unknown video" if video is None else _bytes(video.size_bytes, video.sha256)


def _bytes(size_bytes: int, sha256: str) -> str:
    return f"{size_bytes} bytes (sha256 {sha256[:12]})"
