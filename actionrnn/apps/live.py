"""Scores or events of a live source: a line that updates, JSON lines, a window, a recording."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from actionrnn.apps.render import ScoreOverlay, container_format
from actionrnn.apps.webhook import Webhook
from actionrnn.datasets.recordings import BACKGROUND
from actionrnn.errors import ActionrnnError, VideoError
from actionrnn.files import atomic_path
from actionrnn.model.events import Event, EventDetector
from actionrnn.model.recognizer import Recognizer
from actionrnn.model.segments import ON
from actionrnn.model.stream import Scores
from actionrnn.options import EventRule, LiveOptions
from actionrnn.text import plain
from actionrnn.video.frame import Frame
from actionrnn.video.live import Arrival, LiveSource
from actionrnn.video.writer import VideoWriter

_RATE_WINDOW_SECONDS = 2.0
_LINE_SECONDS = 0.1  # between two updates of a terminal's line
_LOG_SECONDS = 1.0  # between two lines in a log
_RECORD_TICK = Fraction(1, 1000)
_KEYS_TO_CLOSE = (ord("q"), 27)


@dataclass
class LiveSession:
    """What a live run shows and records."""

    as_json: bool = False
    events: EventRule | None = None
    """Print what begins and what ends, by this rule, in place of the scores."""
    webhook: Webhook | None = None
    """Post these events, too; it is closed with the run."""
    show_window: bool = False
    record: Path | None = None
    top: int = 3
    none_rate: float | None = None
    """Say 'none of these' of steps whose typicality is below this; no event begins there."""


def run_live(model: Recognizer, address: str, options: LiveOptions, session: LiveSession) -> None:
    """Score a source until it ends, is given up, or a signal stops the run.

    Raises:
        VideoError: the source was given up, or the recording cannot be written.
        ConfigError: the model's sampling needs the whole clip.
        ModelError: `none_rate` is given, and the model was trained without.
        ActionrnnError: there is no display for the window.
    """
    rate = session.none_rate
    none = None if rate is None else model.require_none_of_these(rate, of_steps=True)
    if session.show_window:
        _require_screen()
    stream = model.stream()
    overlay = ScoreOverlay(model.labels, multi_label=model.multi_label)
    detector = EventDetector(model.labels, session.events, {BACKGROUND})
    blank = Frame.from_array(np.zeros((64, 64, 3), np.uint8), 0.0)
    model.stream().push(blank)  # the first call of all is slow
    printer = _Printer(model, session)
    source = LiveSource(address, options, report=printer.interrupted)
    newest: Arrival | None = None

    def answer(scores: Scores) -> None:
        typicality = None if none is None else none.of_steps(scores)
        is_none = None if typicality is None or rate is None else typicality < rate
        overlay.update(scores, is_none)
        for step, seconds in enumerate(stream.pts_seconds.tolist()):
            assert newest is not None  # there is no answer without a frame
            usual = None if typicality is None else float(typicality[step])
            printer.answer(seconds, scores[step], newest, source, usual)
        printer.events(detector.push(scores, stream.pts_seconds, is_none))

    def finish() -> None:
        answer(stream.finish())
        printer.events(detector.close())

    with contextlib.ExitStack() as stack:
        stack.enter_context(_stopped_by_signals(source.stop))
        if session.webhook is not None:
            stack.callback(session.webhook.close)
        stack.callback(printer.end, source)
        stack.callback(source.close)
        stack.callback(finish)
        recorder = stack.enter_context(_recorder(session.record))
        for arrival in source.frames():
            if arrival is None:
                printer.waiting()
                continue
            frame = arrival.frame
            is_new = newest is not None and arrival.connection != newest.connection
            if is_new and options.reset_on_reconnect:
                finish()
            newest = arrival
            answer(stream.push(frame))
            if session.show_window or session.record:
                drawn = overlay.draw(frame.rgb, printer.age_note(frame))
                recorder(drawn, frame.pts_seconds)
                if session.show_window and _show(drawn, source.name):
                    source.stop()


class _Printer:
    """Prints the answers or the events: JSON lines, or on a terminal one line that is updated."""

    def __init__(self, model: Recognizer, session: LiveSession) -> None:
        self._labels, self._session = model.labels, session
        self._is_late, self._multi_label = model.head.delay_steps > 0, model.multi_label
        self._answered_seconds: float | None = None
        self._began = time.monotonic()
        self._answers = 0
        self._recent: deque[tuple[float, int]] = deque()
        """Of each answer of the last seconds: when it came, and the frames so far."""
        self._last_frame = self._began
        self._worst_delay = 0.0
        self._printed = 0.0
        self._line = ""

    def answer(
        self,
        seconds: float,
        scores: NDArray[np.float32],
        newest: Arrival,
        source: LiveSource,
        typicality: float | None = None,
    ) -> None:
        """Print the scores (K,) of one step.

        Args:
            seconds: when the step was.
            newest: the frame that made the answer known.
            typicality: of the step, if 'none of these' is to be said.
        """
        now = self._last_frame = time.monotonic()
        self._answers, self._answered_seconds = self._answers + 1, seconds
        age_seconds = newest.frame.pts_seconds - seconds if self._is_late else 0.0
        delay_seconds = now - newest.arrived + age_seconds
        self._worst_delay = max(self._worst_delay, delay_seconds)
        self._recent.append((now, source.counts.frames))
        while now - self._recent[0][0] > _RATE_WINDOW_SECONDS:
            self._recent.popleft()
        if self._session.events is not None:
            return
        num_on = int((scores >= ON).sum()) if self._multi_label else 0
        best = np.argsort(-scores, kind="stable")[: max(self._session.top, num_on)]
        none = {} if typicality is None else self._none_of_these(typicality)
        if self._session.as_json:
            self._print_json(
                {
                    "pts_seconds": round(seconds, 4),
                    "unix_seconds": round(time.time(), 3),
                    "label": self._labels[best[0]],
                    "labels": [self._labels[index] for index in best],
                    "scores": [round(float(scores[index]), 6) for index in best],
                    **self._on(best[:num_on]),
                    "delay_seconds": round(delay_seconds, 4),
                    "dropped": source.counts.dropped,
                    **none,
                }
            )
            return
        top = "none of these?  " if none.get("none_of_these") else ""
        top += "  ".join(f"{plain(self._labels[i])} {scores[i]:.0%}" for i in best)
        if age := self.age_note(newest.frame):
            top += f"  ({age})"
        rates = ""
        if len(self._recent) > 1:
            (first, frames), (last, latest) = self._recent[0], self._recent[-1]
            passed = max(last - first, 1e-3)
            rates = f"{(latest - frames) / passed:.0f} frames/s, "
            rates += f"{(len(self._recent) - 1) / passed:.1f} answers/s, "
        dropped = f"{source.counts.dropped} dropped"
        self._print_line(f"{_clock(now - self._began)}  {top}  | {rates}{dropped}")

    def events(self, events: list[Event]) -> None:
        """Print events, and post them; nothing where the scores are printed."""
        if self._session.events is None:
            return
        for event in events:
            values = event.to_dict() | {"unix_seconds": round(time.time(), 3)}
            if self._session.webhook is not None:
                self._session.webhook.post(values)
            self._print_json(values)

    def _on(self, best: NDArray[np.intp]) -> dict[str, Any]:
        """Of a multi-label model: the labels that are on, best first; they are maybe none."""
        return {"on": [self._labels[index] for index in best]} if self._multi_label else {}

    def _none_of_these(self, typicality: float) -> dict[str, Any]:
        assert self._session.none_rate is not None
        is_none = typicality < self._session.none_rate
        return {"none_of_these": is_none, "typicality": round(typicality, 6)}

    def age_note(self, frame: Frame) -> str:
        """How long before this frame the step was that was answered last; empty: at once."""
        if not self._is_late or self._answered_seconds is None:
            return ""
        return f"{frame.pts_seconds - self._answered_seconds:.1f} s ago"

    def waiting(self) -> None:
        """Report that no frame comes."""
        now = time.monotonic()
        silent = now - self._last_frame
        is_line = not self._session.as_json and self._session.events is None
        if is_line and silent > 1:
            self._print_line(f"{_clock(now - self._began)}  no frame for {silent:.0f} s")

    def interrupted(self, reason: str) -> None:
        """Report that the source is opened again."""
        if self._session.as_json:
            self._print_json({"event": "interrupted", "reason": reason})
            return
        self._end_line()
        print(plain(reason), file=sys.stderr, flush=True)

    def end(self, source: LiveSource) -> None:
        """Print the totals."""
        counts, seconds = source.counts, time.monotonic() - self._began
        if self._session.as_json:
            self._print_json(
                {
                    "event": "end",
                    "seconds": round(seconds, 3),
                    "frames": counts.frames,
                    "dropped": counts.dropped,
                    "answers": self._answers,
                    "connections": counts.connections,
                    "longest_delay_seconds": round(self._worst_delay, 4),
                }
            )
            return
        self._end_line()
        delay = f", at most {self._worst_delay * 1000:.0f} ms after its frame"
        print(
            f"{seconds:.1f} s: {counts.frames} frames ({counts.dropped} dropped), "
            f"{self._answers} answers{delay if self._answers else ''}",
            file=sys.stderr,
            flush=True,
        )

    def _print_line(self, line: str) -> None:
        now, is_terminal = time.monotonic(), sys.stdout.isatty()
        if now - self._printed < (_LINE_SECONDS if is_terminal else _LOG_SECONDS):
            return
        self._printed = now
        if not is_terminal:
            print(line, flush=True)
            return
        columns = os.get_terminal_size().columns
        self._line = line[: max(0, columns - 1)]
        print(f"\r{self._line}\x1b[K", end="", flush=True)

    def _end_line(self) -> None:
        if self._line:
            print(flush=True)
            self._line = ""

    @staticmethod
    def _print_json(values: dict[str, Any]) -> None:
        print(json.dumps(values), flush=True)


@contextlib.contextmanager
def _recorder(path: Path | None) -> Iterator[Callable[[NDArray[np.uint8], float], None]]:
    """A function that records a frame at its time; without a path it does nothing."""
    if path is None:
        yield lambda frame, seconds: None
        return
    container, begin = container_format(path), None
    with (
        atomic_path(path) as temporary,
        VideoWriter(temporary, time_base=_RECORD_TICK, container=container) as writer,
    ):

        def record(frame: NDArray[np.uint8], seconds: float) -> None:
            nonlocal begin
            begin = seconds if begin is None else begin
            writer.write(frame, round((seconds - begin) / _RECORD_TICK))

        yield record
        if begin is None:
            raise VideoError(f"{path}: is not written, as no frame came")


@contextlib.contextmanager
def _stopped_by_signals(stop: Callable[[], None]) -> Iterator[None]:
    """SIGINT and SIGTERM end the run as the end of its source does."""

    def handle(number: int, frame: FrameType | None) -> None:
        stop()

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _require_screen() -> None:
    if sys.platform.startswith("linux") and not (
        os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    ):
        raise ActionrnnError("--window: there is no display (DISPLAY is not set); leave it out")


def _show(frame: NDArray[np.uint8], title: str) -> bool:
    """Show a frame; whether the window was closed."""
    import cv2

    cv2.imshow(title, frame[..., ::-1])
    return cv2.waitKey(1) & 0xFF in _KEYS_TO_CLOSE


def _clock(seconds: float) -> str:
    whole = int(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}"
