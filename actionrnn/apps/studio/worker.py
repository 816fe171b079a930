"""A process beside the server, for work that is long, needs torch, or may crash its decoder.

The server answers meanwhile, and what happens to the process does not happen to it. Tasks are sent
to it; what it says comes back as JSON and is never unpickled, as it may have read a hostile video.
When the server ends, in whatever way, the process ends too.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import multiprocessing
import os
import queue
import signal
import threading
import time
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, Protocol

from actionrnn.errors import ActionrnnError
from actionrnn.processes import new_process
from actionrnn.progress import OnProgress

_POLL_SECONDS = 0.1
_STOP_SECONDS = 3.0
"""After which a task that was told to stop is ended with its process."""


class Report(Protocol):
    """How a task says how far it is."""

    def __call__(self, progress: float, text: str = "", **more: Any) -> None:
        """Tell the server.

        Args:
            progress: 0 to 1.
            text: in words.
            **more: what JSON can hold.
        """


Task = str
"""`module:function`, which the server need not import. It is called as
`function(*arguments, stop=Event, report=Report)`, gives what JSON can hold, and should end soon
after `stop` is set."""


def telling(report: Callable[..., None]) -> OnProgress:
    """A `Report` as an `OnProgress`."""
    return lambda text, part: report(part, text)


class WorkFailedError(ActionrnnError):
    """A task failed, with its reason."""


class WorkerDiedError(ActionrnnError):
    """The process ended in the middle of a task."""


class Worker:
    """Does one task at a time, in a process that is started when it is first needed.

    Args:
        preload: a task whose module it imports when it starts, ahead of the first.
        niceness: by which it stands back behind others.
    """

    def __init__(self, preload: Task, niceness: int = 0) -> None:
        self._preload, self._niceness = preload, niceness
        self._process: Any = None
        self._line: Connection | None = None
        self._mutex = threading.Lock()
        self._is_closed = False

    def run(
        self, task: Task, *arguments: Any, stop: threading.Event, report: Callable[..., None]
    ) -> Any:
        """What a task gives.

        Args:
            task: see `Task`.
            *arguments: of it, before `stop` and `report`.
            stop: when it is set, the task is told to stop, and ended if it does not.
            report: takes what the task reports, as `Report`.

        Raises:
            WorkFailedError: the task raised an error, or there is no process for it; the message
                is for the user.
            WorkerDiedError: the process ended, or did not stop.
        """
        with self._mutex:
            try:
                line = self._started()
            except OSError as error:
                raise WorkFailedError(f"no process can be started ({error.strerror})") from None
            try:
                line.send((task, arguments))
                return self._result(line, stop, report)
            except (EOFError, OSError):
                self._end()
                raise WorkerDiedError("its process ended in the middle; try again") from None

    def close(self) -> None:
        """End the process, also in the middle of a task; there will be no other."""
        self._is_closed = True
        with self._mutex:  # a task that is in work ends with its process
            self._dismiss()

    def _started(self) -> Connection:
        if self._line is not None and self._process.is_alive():
            return self._line
        self._end()
        if self._is_closed:
            raise WorkerDiedError("the studio ends")
        ours, theirs = multiprocessing.Pipe()
        try:
            self._process = new_process(_work, theirs, self._preload, self._niceness)
        except OSError:
            ours.close()
            raise
        finally:
            theirs.close()
        self._line = ours
        return ours

    def _result(self, line: Connection, stop: threading.Event, report: Callable[..., None]) -> Any:
        told: float | None = None
        while True:
            if stop.is_set() and told is None:
                told = time.monotonic()
                line.send(None)
            is_deaf = told is not None and time.monotonic() - told > _STOP_SECONDS
            if is_deaf or self._is_closed:
                raise EOFError
            if not line.poll(_POLL_SECONDS):
                continue
            said = json.loads(line.recv_bytes())
            if "result" in said:
                return said["result"]
            if "failed" in said:
                raise WorkFailedError(said["failed"])
            report(**said["report"])

    def _dismiss(self) -> None:
        """Let a process that does nothing end by itself."""
        if self._line is not None:
            with contextlib.suppress(OSError):
                self._line.send(())
                self._process.join(_STOP_SECONDS)
        self._end()

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._process.close()
        if self._line is not None:
            self._line.close()
        self._process = self._line = None


def _work(line: Connection, preload: Task, niceness: int) -> None:
    """What the process does, until the server hangs up."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the server, which ends this
    with contextlib.suppress(AttributeError, OSError):
        os.nice(niceness)
    tasks: queue.Queue[tuple[Task, tuple[Any, ...]] | tuple[()]] = queue.Queue()
    stop = threading.Event()
    threading.Thread(target=_listen, args=(line, tasks, stop), daemon=True).start()
    _found(preload)
    while given := tasks.get():
        _say(line, **_outcome(line, *given, stop))


def _listen(line: Connection, tasks: queue.Queue[Any], stop: threading.Event) -> None:
    while True:
        try:
            message = line.recv()
        except (EOFError, OSError):
            _end_with_the_server()
            return
        if message is None:
            stop.set()
        else:
            stop.clear()
            tasks.put(message)


def _outcome(
    line: Connection, task: Task, arguments: tuple[Any, ...], stop: threading.Event
) -> dict[str, Any]:
    def report(progress: float, text: str = "", **more: Any) -> None:
        _say(line, report={"progress": progress, "text": text} | more)

    try:
        return {"result": _found(task)(*arguments, stop=stop, report=report)}
    except ActionrnnError as error:
        return {"failed": str(error)}
    except Exception as error:
        traceback.print_exc()
        return {"failed": f"the studio failed ({type(error).__name__}); its log says why"}


def _found(task: Task) -> Callable[..., Any]:
    module, _, name = task.partition(":")
    function: Callable[..., Any] = getattr(importlib.import_module(module), name)
    return function


def _say(line: Connection, **said: Any) -> None:
    try:
        line.send_bytes(json.dumps(said).encode())
    except OSError:
        _end_with_the_server()


def _end_with_the_server() -> None:
    """End all threads at once: nobody waits for what they do."""
    os.kill(os.getpid(), signal.SIGTERM)
