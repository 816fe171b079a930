"""Posts events to an address, from a thread of its own: whoever has an event never waits for it."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import re
import threading
import urllib.error
import urllib.request
from collections import deque
from collections.abc import Callable
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit, urlunsplit

from actionrnn import __version__
from actionrnn.errors import ConfigError, first_line
from actionrnn.options import WebhookOptions
from actionrnn.text import plain

# What may be otherwise a moment later (RFC 9110, section 15; 429: RFC 6585); the rest of 3xx and
# 4xx is not.
_WORTH_ANOTHER_POST = (408, 425, 429, *range(500, 600))


class Webhook:
    """Posts one JSON object after another, in their order, each until it was answered with 2xx.

    An object is posted again, after waits that double, if there was no answer or the server says
    that it cannot answer now; other answers are final, redirections among them, as a post that
    follows one loses its content. An answer that got lost means that an object comes twice. Of
    more than `queue_size` that wait, the oldest are dropped.

    Args:
        url: http:// or https://; a name and password in it are sent as HTTP's basic
            authentication. Messages name its host alone, since the rest is often a secret.
        options: the waits and bounds.
        report: is called with one line when something was not delivered for the first time, and
            with the sum at the end; also from the posting thread.

    Raises:
        ConfigError: the URL cannot be posted to.
    """

    def __init__(
        self,
        url: str,
        options: WebhookOptions | None = None,
        report: Callable[[str], None] = lambda line: None,
    ) -> None:
        parts = _checked(url)
        netloc = parts.netloc.rpartition("@")[2]
        self.name = f"{parts.scheme}://{netloc}"
        self._options, self._report = options or WebhookOptions(), report
        self._url = urlunsplit((parts.scheme, netloc, parts.path or "/", parts.query, ""))
        self._headers = _headers(parts)
        self._opener = urllib.request.build_opener(_NoRedirection)
        self._waiting: deque[bytes] = deque()
        self._changed = threading.Condition()
        self._is_closing, self._out_of_time = False, threading.Event()
        self._num_posted = self._num_delivered = self._num_dropped = self._num_failed = 0
        self._problem = ""
        self._thread = threading.Thread(target=self._work, name="webhook", daemon=True)

    def post(self, values: dict[str, Any]) -> None:
        """Queue an object that JSON can hold; returns at once."""
        body = json.dumps(values).encode()
        with self._changed:
            if self._num_posted == 0:
                self._thread.start()
            self._num_posted += 1
            self._waiting.append(body)
            is_full = len(self._waiting) > self._options.queue_size
            if is_full:
                self._waiting.popleft()
                self._num_dropped += 1
            is_first = is_full and self._num_dropped == 1
            self._changed.notify()
        if is_first:
            self._report(
                f"webhook {self.name}: is too slow, {self._options.queue_size} events wait; the "
                "oldest are dropped"
            )

    def close(self) -> None:
        """Post what is left, for `flush_seconds` at most; then report what was not delivered."""
        with self._changed:
            self._is_closing = True
            self._changed.notify()
        if self._num_posted == 0:
            return
        self._thread.join(self._options.flush_seconds)
        self._out_of_time.set()
        if line := self._lost():
            self._report(f"webhook {self.name}: {line}")

    def _lost(self) -> str:
        """What was not delivered, and why; empty: everything was."""
        with self._changed:
            num_lost = self._num_posted - self._num_delivered
            if not num_lost:
                return ""
            why = {
                "dropped as too many waited": self._num_dropped,
                "failed": self._num_failed,
                "left at the end": num_lost - self._num_dropped - self._num_failed,
            }
            counts = ", ".join(f"{number} {reason}" for reason, number in why.items() if number)
            last = f"; the last problem: {self._problem}" if self._problem else ""
            of_all = f"{num_lost} of {self._num_posted}"
            return f"{of_all} events were not delivered ({counts}{last})"

    def _work(self) -> None:
        """Post until nothing is left after `close`: what the thread does."""
        while (body := self._next()) is not None:
            is_delivered = self._deliver(body)
            with self._changed:
                self._num_delivered += is_delivered
                self._num_failed += not is_delivered
                is_first = self._num_failed == 1 and not is_delivered and not self._is_closing
            if is_first:
                self._report(
                    f"webhook {self.name}: an event was not delivered ({self._problem}); the "
                    "stream goes on"
                )

    def _next(self) -> bytes | None:
        with self._changed:
            while not self._waiting and not self._is_closing:
                self._changed.wait()
            if not self._waiting or self._out_of_time.is_set():
                return None
            return self._waiting.popleft()

    def _deliver(self, body: bytes) -> bool:
        """Post an object until it is answered; whether it was."""
        wait_seconds = self._options.first_wait_seconds
        for attempts_left in reversed(range(self._options.max_attempts)):
            problem, is_final = self._attempt(body)
            if not problem:
                return True
            self._problem = problem
            if is_final or not attempts_left or self._out_of_time.wait(wait_seconds):
                return False
            wait_seconds *= 2
        return False

    def _attempt(self, body: bytes) -> tuple[str, bool]:
        """Post an object once; why it was not delivered, and whether it never will be."""
        request = urllib.request.Request(self._url, body, self._headers, method="POST")
        try:
            with self._opener.open(request, timeout=self._options.timeout_seconds):
                return "", True
        except urllib.error.HTTPError as error:
            error.close()
            return f"HTTP {error.code}", error.code not in _WORTH_ANOTHER_POST
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", error)
            return plain(getattr(reason, "strerror", None) or first_line(reason)), False
        except Exception as error:  # an error that ends a thread would be lost
            return type(error).__name__, True


class _NoRedirection(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        """Leave a redirection as the answer: urllib follows it with a GET, without the content."""


def _checked(url: str) -> SplitResult:
    """The parts of a URL; messages give no part that may be a password."""
    if re.fullmatch(r"[!-~]+", url) is None:
        raise ConfigError("--webhook: has spaces or letters that no URL has; write them as %..")
    scheme, separator, _ = url.partition("://")
    if not separator or scheme.lower() not in ("http", "https"):
        is_name = separator and re.fullmatch(r"[A-Za-z0-9+.-]+", scheme)
        begin = f"begins with {scheme}://" if is_name else "does not begin with http://"
        raise ConfigError(f"--webhook: {begin}; write http://HOST/PATH or https://HOST/PATH")
    with contextlib.suppress(ValueError):
        parts = urlsplit(url)
        if parts.hostname and (parts.port is None or parts.port > 0):
            return parts
    raise ConfigError(
        "--webhook: its host or port cannot be read; write https://HOST:PORT/PATH, and in a "
        "password / as %2F"
    )


def _headers(parts: SplitResult) -> dict[str, str]:
    headers = {"Content-Type": "application/json", "User-Agent": f"actionrnn/{__version__}"}
    if parts.username is not None:
        user = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        headers["Authorization"] = f"Basic {base64.b64encode(user.encode()).decode()}"
    return headers
