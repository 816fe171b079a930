"""Many videos become many features, one entry each, and nothing is done twice."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from actionrnn import __version__
from actionrnn.config import BackboneConfig, Config, Sampling
from actionrnn.config_reading import parse_config
from actionrnn.errors import FeatureError, VideoError
from actionrnn.features.backbone import Backbone, load_backbone
from actionrnn.features.pipeline import Pace, Pipeline
from actionrnn.features.provenance import Failure, Features, Provenance
from actionrnn.features.store import EntryError, FeatureStore
from actionrnn.features.video_parts import VideoPart, find_sources, share_of_rank
from actionrnn.features.worker import Decode, FrameSpec, decode_and_hash, decode_video
from actionrnn.files import file_sha256, file_state, remove_leftovers
from actionrnn.progress import progress_bar
from actionrnn.video.request import FrameSink
from actionrnn.video.source import Located, VideoSource, find_source


@dataclass(frozen=True)
class Extraction:
    """What an extraction did."""

    store: FeatureStore
    num_extracted: int
    num_skipped: int
    """Entries that were there already, whole and of the same source."""
    failures: list[Failure]
    """The videos that could not be used."""
    num_known_failures: int = 0
    """Those among the failures that failed before, and were not tried again."""
    pace: Pace | None = None
    """How fast it was; None if there was nothing to do."""
    notes: tuple[str, ...] = ()
    """A line for each kind of thing in the folders that was left out."""
    num_frame_folders: int = 0
    """How many of the videos are folders of pictures, whose rate is `sampling.frame_folder_fps`."""


def extract_features(
    path: VideoSource,
    *,
    backbone: Backbone | BackboneConfig | str | None = None,
    num_frames: int | None = None,
    rate_fps: float | None = None,
    frame_folder_fps: float | None = None,
) -> Features:
    """Per-frame features of one video.

    Args:
        path: what `read_frames` takes.
        backbone: a loaded backbone, its configuration or its name.
        num_frames: this many frames, evenly over the clip; or
        rate_fps: this many frames per second; neither: the configuration's default.
        frame_folder_fps: as `Sampling.frame_folder_fps`; None: 25.

    Returns:
        `Features` with values (T, D) and pts_seconds (T,).

    Raises:
        VideoError: the video cannot be used.
        BackboneError: the backbone is unknown, or its weights are not on this machine.
        ConfigError: one of these numbers is impossible.
    """
    sampling = choose_sampling(num_frames, rate_fps, frame_folder_fps=frame_folder_fps)
    loaded = backbone if isinstance(backbone, Backbone) else load_backbone(backbone)
    source = find_source(path)

    def decode(_: Located, spec: FrameSpec, sink: FrameSink) -> None:
        decode_video(source, spec, sink)

    part = VideoPart(str(source), Path(str(source)))
    _, features = next(encode_videos([part], loaded, sampling, decode))
    if isinstance(features, VideoError):
        raise features
    return features


def extract_to_store(
    inputs: Sequence[str | Path],
    output: str | Path,
    *,
    backbone: Backbone | BackboneConfig | str | None = None,
    sampling: Sampling | None = None,
    strict: bool = False,
    retry_failed: bool = False,
    overwrite: bool = False,
) -> Extraction:
    """Features of videos and folders of videos, one entry each, mirroring the folders.

    A video that cannot be used is listed in the store and does not stop the others; while its
    file does not change, later runs list it without trying it again.

    Under `torchrun` or `srun`, each process does its part of the videos; see `share_of_rank`.

    Args:
        strict: stop at the first video that cannot be used.
        retry_failed: try known failures again.
        overwrite: replace features of another origin and those of videos that changed.

    Raises:
        VideoError: no input holds a video; strict: the first video that cannot be used.
        FeatureError: the store holds other features, or those of videos that changed since;
            it cannot be written.
        BackboneError: the backbone is unknown, or its weights are not on this machine.
    """
    found, notes = find_sources(inputs)
    sources = share_of_rank(found)
    loaded = backbone if isinstance(backbone, Backbone) else load_backbone(backbone)
    sampling = sampling or Config().sampling
    store = FeatureStore.create(output, Provenance.of(loaded, sampling), overwrite=overwrite)
    todo = plan(sources, store, strict=strict, retry_failed=retry_failed, overwrite=overwrite)
    done = extract_missing(todo, loaded, sampling)
    return replace(done, notes=notes, num_frame_folders=count_folders(sources))


def extract_missing(todo: Plan, backbone: Backbone, sampling: Sampling) -> Extraction:
    """Compute the entries of a store that are missing, damaged or of a changed source.

    Ctrl-C finishes the videos that are in work, then raises KeyboardInterrupt; the second one
    stops at once.

    Raises:
        FeatureError: the store cannot be written.
        VideoError: the plan is strict, and a video cannot be used.
    """
    failures, sources = todo.failures, todo.sources
    pipeline = Pipeline(sources, backbone, sampling, decode_and_hash)
    with contextlib.ExitStack() as stack:
        stack.enter_context(failures)
        stack.enter_context(_finish_on_interrupt(pipeline.stop))
        advance = stack.enter_context(progress_bar("extracting features", len(sources)))
        for result in stack.enter_context(contextlib.closing(pipeline.run())):
            if result is None:  # nothing came for a moment
                advance(0, note=_note(pipeline.pace, failures))
                continue
            source, features = result
            problem = keep(todo.store, source, features)
            failures.note(source, problem)
            if problem is not None and todo.strict:
                raise problem
            advance(note=_note(pipeline.pace, failures))
    if pipeline.stop.is_set():
        raise KeyboardInterrupt
    return todo.extraction(pipeline.pace if sources else None)


def keep(
    store: FeatureStore, source: VideoPart, result: Features | VideoError
) -> VideoError | EntryError | None:
    """Store what came of one video; why that was not possible.

    Raises:
        FeatureError: the store cannot be written at all.
    """
    if isinstance(result, VideoError):
        # a source with a problem has a key that may be a path elsewhere
        if not source.problem and _can_be_seen(source.path):
            store.remove(source.key)  # of other bytes than the video has now
        return result
    try:
        store.write(source.key, result)
    except EntryError as error:
        return error
    return None


@dataclass(frozen=True)
class Plan:
    """What an extraction has to do."""

    store: FeatureStore
    failures: Failures
    sources: list[VideoPart]
    """Those to extract."""
    num_missing: int
    """With the known failures, which are not tried again."""
    num_whole: int
    strict: bool
    """Stop at the first video that cannot be used."""

    def extraction(self, pace: Pace | None = None) -> Extraction:
        """What was done, once it is."""
        failures = self.failures.listed()
        return Extraction(
            self.store,
            num_extracted=self.num_missing - len(failures),
            num_skipped=self.num_whole,
            failures=failures,
            num_known_failures=self.num_missing - len(self.sources),
            pace=pace,
        )


def plan(
    sources: Sequence[VideoPart],
    store: FeatureStore,
    *,
    strict: bool = False,
    retry_failed: bool = False,
    overwrite: bool = True,
) -> Plan:
    """Clean up behind killed processes, note what is wanted, and see what of it is missing.

    Args:
        strict: stop at the first video that cannot be used.
        retry_failed: try videos again that failed before and did not change since.
        overwrite: replace the features of videos that changed.

    Raises:
        FeatureError: the store cannot be written; not `overwrite`, and a source changed.
        VideoError: strict, and a video failed before.
    """
    remove_leftovers(store.root)
    store.expect(source.key for source in sources)
    failures = Failures(store, sources)
    missing = find_missing(sources, store, overwrite=overwrite)
    failures.forget_all_but(missing)
    todo = []
    for source in missing:
        if retry_failed or not failures.knows(source):
            todo.append(source)
        elif strict:
            raise VideoError(failures.reason(source))
    return Plan(store, failures, todo, len(missing), len(sources) - len(missing), strict)


def find_missing(
    sources: Sequence[VideoPart], store: FeatureStore, *, overwrite: bool
) -> list[VideoPart]:
    """The sources whose entries are missing, damaged or, if `overwrite`, of other bytes.

    Raises:
        FeatureError: not `overwrite`, and a source changed.
    """
    missing = []
    with progress_bar("checking the store", len(sources)) as advance:
        for source in sources:
            presence = store.presence(source.key, source.path)
            if presence == "changed" and not overwrite:
                raise FeatureError(
                    f"{store.root}: the entry {source.key!r} was computed from "
                    f"{_stored_bytes(store, source)}, but {source.path} has {_bytes_now(source)}; "
                    "add --overwrite to extract changed videos anew, or choose another folder"
                )
            if presence != "whole":
                missing.append(source)
            advance()
    return missing


def known_outcome(sources: Sequence[VideoPart], store: FeatureStore) -> list[Failure] | None:
    """The failures among some videos, if a store has the others whole; else None.

    Nothing is written.

    Raises:
        FeatureError: the store's list of failures is damaged.
    """
    failures = Failures(store, sources)
    missing = find_missing(sources, store, overwrite=True)
    failures.forget_all_but(missing)
    return failures.listed() if all(map(failures.knows, missing)) else None


def encode_videos(
    sources: Sequence[VideoPart],
    backbone: Backbone,
    sampling: Sampling,
    decode: Decode = decode_video,
) -> Iterator[tuple[VideoPart, Features | VideoError]]:
    """The features of each video, or why there are none, as they are done."""
    pipeline = Pipeline(sources, backbone, sampling, decode)
    with contextlib.closing(pipeline.run()) as results:
        yield from (result for result in results if result is not None)


def choose_sampling(
    num_frames: int | None,
    rate_fps: float | None,
    *,
    frame_folder_fps: float | None = None,
    stream: int | None = None,
) -> Sampling:
    """The default sampling with what is given; `num_frames` or `rate_fps` replaces its rule.

    Raises:
        ConfigError: both of these are given, or a number is impossible.
    """
    sampling = Config().sampling
    if num_frames is not None or rate_fps is not None:
        rule = {"num_frames": num_frames, "rate_fps": rate_fps}
        sampling = parse_config({"sampling": rule}, source="sampling").sampling
    if frame_folder_fps is not None:
        # a rate that raw video states stays: features do not record what would overrule it
        sampling = replace(sampling, frame_folder_fps=frame_folder_fps)
    return replace(sampling, stream=stream)


def count_folders(sources: Sequence[VideoPart]) -> int:
    """How many of the videos are folders of pictures."""
    return sum(not source.problem and source.path.is_dir() for source in sources)


def _can_be_seen(path: Path) -> bool:
    """Whether a video is where it should be: its disk may be away, and its features still good."""
    try:
        file_state(path)
    except OSError:
        return False
    return True


class Failures:
    """The failures of a store: those of earlier runs, and what becomes of them now.

    As a context it writes them at the end, unless the store itself is what failed.
    """

    def __init__(self, store: FeatureStore, sources: Sequence[VideoPart]) -> None:
        self._store = store
        self._order = {source.key: number for number, source in enumerate(sources)}
        known = {failure.key: failure for failure in store.failures()}
        self._failures = {key: known[key] for key in known if key in self._order}
        self._news: dict[str, Failure | None] = {}
        """What changed in this run; None: the video works now."""

    def knows(self, source: VideoPart) -> bool:
        """Whether it failed before, and its file is as it was."""
        known = self._failures.get(source.key)
        return known is not None and bool(known.state) and known.state == _state(source)

    def reason(self, source: VideoPart) -> str:
        """Why it failed."""
        return self._failures[source.key].reason

    def note(self, source: VideoPart, error: VideoError | EntryError | None) -> None:
        """It failed now, or works; an entry that could not be written is tried again."""
        if error is None:
            if self._failures.pop(source.key, None):
                self._news[source.key] = None
            return
        state = _state(source) if isinstance(error, VideoError) else ""
        failure = Failure(source.key, str(source.path), str(error), state)
        self._failures[source.key] = self._news[source.key] = failure

    def forget_all_but(self, missing: Sequence[VideoPart]) -> None:
        """Videos that failed once have whole entries again: copied, or their disk is back."""
        for key in self._failures.keys() - {source.key for source in missing}:
            del self._failures[key]
            self._news[key] = None

    def listed(self) -> list[Failure]:
        """Those of this run's sources, in their order."""
        return sorted(self._failures.values(), key=lambda failure: self._order[failure.key])

    def __enter__(self) -> Failures:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if not isinstance(error, FeatureError):
            self._store.update_failures(self._news)

    def __len__(self) -> int:
        return len(self._failures)


def _state(source: VideoPart) -> str:
    """What changes when a file does, or the code that could not read it; empty: not known."""
    try:
        return f"{_bytes_now(source)}, actionrnn {__version__}"
    except OSError:
        return ""


def _bytes_now(source: VideoPart) -> str:
    """What a video is now, in few words."""
    return _bytes(file_state(source.path).size_bytes, file_sha256(source.path))


def _stored_bytes(store: FeatureStore, source: VideoPart) -> str:
    """What a video was when its entry was computed."""
    video = store.read(source.key).video
    return "an unknown video" if video is None else _bytes(video.size_bytes, video.sha256)


def _bytes(size_bytes: int, sha256: str) -> str:
    return f"{size_bytes} bytes (sha256 {sha256[:12]})"


def _note(pace: Pace, failures: Failures) -> str:
    failed = f", {len(failures)} failed" if len(failures) else ""
    return f"{pace.frames_per_second:.0f} frames/s{failed}"


@contextlib.contextmanager
def _finish_on_interrupt(stop: threading.Event) -> Iterator[None]:
    """The first Ctrl-C sets the event, the second one interrupts as always."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may handle signals
        return

    def ask(*_: object) -> None:
        stop.set()
        signal.signal(signal.SIGINT, before)
        print("\nfinishing the videos in work; Ctrl-C again stops at once", file=sys.stderr)

    before = signal.signal(signal.SIGINT, ask)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
