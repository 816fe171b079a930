"""Events are posted in order, within bounds, and nobody waits for a server that does not answer."""

from __future__ import annotations

import base64
import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from actionrnn.apps.webhook import Webhook
from actionrnn.errors import ConfigError
from actionrnn.options import WebhookOptions
from tests.apps.webhooks import receiving

QUICK = WebhookOptions(
    timeout_seconds=0.3, max_attempts=3, first_wait_seconds=0.01, queue_size=4, flush_seconds=5
)
SHORT = WebhookOptions(timeout_seconds=30, first_wait_seconds=30, queue_size=4, flush_seconds=0.2)


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")


def post_all(url: str, count: int, options: WebhookOptions = QUICK) -> tuple[list[str], float]:
    """The lines that are reported, and the seconds that the longest post took."""
    lines: list[str] = []
    webhook, longest = Webhook(url, options, lines.append), 0.0
    for number in range(count):
        began = time.monotonic()
        webhook.post({"number": number})
        longest = max(longest, time.monotonic() - began)
    webhook.close()
    return lines, longest


@contextlib.contextmanager
def listening(drip: bool = False) -> Iterator[str]:
    """A server that takes connections and never answers, or sends headers for ever."""
    is_over = threading.Event()

    def serve(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            connection.sendall(b"HTTP/1.1 200 OK\r\n")
            while not is_over.wait(0.02):
                connection.sendall(b"x")

    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    serve(server.accept()[0])

        thread = threading.Thread(target=accept, daemon=True)
        if drip:
            thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}/"
        is_over.set()


def test_objects_are_posted_in_their_order() -> None:
    with receiving() as receiver:
        lines, _ = post_all(receiver.url, 4)
    assert lines == []
    assert receiver.posts == [{"number": number} for number in range(4)]
    assert receiver.paths == ["/hook?to=me"] * 4
    assert receiver.headers[0]["Content-Type"] == "application/json"
    assert "Authorization" not in receiver.headers[0]


def test_a_server_that_fails_for_a_moment_gets_it_again() -> None:
    with receiving(lambda number: {1: 503, 2: 429}.get(number, 204)) as receiver:
        lines, _ = post_all(receiver.url, 2)
    assert lines == []
    assert [post["number"] for post in receiver.posts] == [0, 0, 0, 1]


def test_the_attempts_are_bounded_and_the_next_one_has_its_own() -> None:
    with receiving(lambda number: 500 if number <= 3 else 200) as receiver:
        lines, _ = post_all(receiver.url, 2)
    assert [post["number"] for post in receiver.posts] == [0, 0, 0, 1]
    assert lines[-1] == (
        f"webhook http://127.0.0.1:{receiver.port}: 1 of 2 events were not delivered (1 failed; "
        "the last problem: HTTP 500)"
    )


@pytest.mark.parametrize("status", [301, 302, 307, 400, 401, 404])
def test_an_answer_that_is_final_is_not_asked_for_again(status: int) -> None:
    with receiving(lambda number: status) as receiver:
        lines, _ = post_all(receiver.url, 2)
    assert [post["number"] for post in receiver.posts] == [0, 1]
    assert (
        f"2 of 2 events were not delivered (2 failed; the last problem: HTTP {status})"
        in (lines[-1])
    )


def test_the_first_failure_is_said_at_once_and_once() -> None:
    said = threading.Event()
    lines: list[str] = []

    def report(line: str) -> None:
        lines.append(line)
        said.set()

    with receiving(lambda number: 404) as receiver:
        webhook = Webhook(receiver.url, QUICK, report)
        webhook.post({})
        assert said.wait(10)
        assert "an event was not delivered (HTTP 404); the stream goes on" in lines[0]
        webhook.post({})
        webhook.close()
    assert len(lines) == 2 and "2 of 2" in lines[1]


def test_a_server_that_refuses_stops_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    lines, _ = post_all(f"http://127.0.0.1:{port}/", 2)
    assert "2 of 2 events were not delivered (2 failed; the last problem: " in lines[-1]
    assert "refused" in lines[-1]


def test_a_server_that_never_answers_is_left_after_its_time() -> None:
    with listening() as url:
        lines, _ = post_all(url, 1)
    assert lines[-1].endswith("(1 failed; the last problem: timed out)")


@pytest.mark.parametrize("drip", [False, True])
def test_the_end_waits_only_so_long(drip: bool) -> None:
    with listening(drip) as url:
        began = time.monotonic()
        lines, longest = post_all(url, 3, SHORT)
        assert time.monotonic() - began < 15 and longest < 5
    (line,) = lines
    assert line.endswith("3 of 3 events were not delivered (3 left at the end)")


def test_a_wait_for_another_attempt_ends_with_the_run() -> None:
    with receiving(lambda number: 503) as receiver:
        began = time.monotonic()
        lines, _ = post_all(receiver.url, 2, SHORT)
        assert time.monotonic() - began < 15
    assert [post["number"] for post in receiver.posts] == [0]
    assert lines[-1].endswith("(2 left at the end; the last problem: HTTP 503)")


def test_of_too_many_the_oldest_are_dropped_and_counted() -> None:
    may_answer, has_come = threading.Event(), threading.Event()
    lines: list[str] = []

    def answer(number: int) -> int:
        has_come.set()
        may_answer.wait(10)
        return 200

    with receiving(answer) as receiver:
        options = WebhookOptions(timeout_seconds=30, queue_size=4, flush_seconds=30)
        webhook = Webhook(receiver.url, options, lines.append)
        webhook.post({"number": 0})
        assert has_come.wait(10)
        for number in range(1, 11):
            webhook.post({"number": number})
        assert len(lines) == 1 and "4 events wait; the oldest are dropped" in lines[0]
        may_answer.set()
        webhook.close()
    assert [post["number"] for post in receiver.posts] == [0, 7, 8, 9, 10]
    assert lines[1].endswith("6 of 11 events were not delivered (6 dropped as too many waited)")


def test_without_an_event_nothing_is_opened_or_said() -> None:
    with receiving() as receiver:
        assert post_all(receiver.url, 0) == ([], 0.0)
    assert receiver.posts == []


def test_a_password_is_sent_and_never_shown() -> None:
    with receiving(lambda number: 401) as receiver:
        url = receiver.url.replace("://", "://me:p%40ss%2Fword@").replace("?", "?token=hidden&")
        lines, _ = post_all(url, 1)
    sent = receiver.headers[0]["Authorization"].removeprefix("Basic ")
    assert base64.b64decode(sent) == b"me:p@ss/word"
    assert receiver.paths == ["/hook?token=hidden&to=me"]
    assert f"http://127.0.0.1:{receiver.port}: " in lines[-1]
    assert not any(word in lines[-1] for word in ("me:", "p%40", "p@ss", "hidden", "/hook"))


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("htps://host/x", "begins with htps://; write http://HOST/PATH"),
        ("file:///etc/passwd", "begins with file://"),
        ("ftp://me:secret@host/", "begins with ftp://"),
        ("host:8000/secret", "does not begin with http://"),
        ("me:secret@host://x", "does not begin with http://"),
        ("", "has spaces or letters"),
        ("http://host/a secret", "has spaces or letters"),
        ("http://host/\r\nX: secret", "has spaces or letters"),
        ("http://host/secret\u00e9", "has spaces or letters"),
        ("http://", "its host or port cannot be read"),
        ("http:///secret", "its host or port cannot be read"),
        ("http://me:secret@:80/", "its host or port cannot be read"),
        ("http://host:secret/", "its host or port cannot be read"),
        ("http://me:secret/word@host/", "its host or port cannot be read"),
        ("http://host:99999/", "its host or port cannot be read"),
        ("http://[::1/secret", "its host or port cannot be read"),
    ],
)
def test_what_cannot_be_posted_to_is_refused(url: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=r"^--webhook: ") as seen:
        Webhook(url)
    assert reason in str(seen.value)
    assert "secret" not in str(seen.value)


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://hooks.example/services/T0/secret", "https://hooks.example"),
        ("http://me:a@b@host:80/x", "http://host:80"),
        ("HTTP://[::1]:8000", "http://[::1]:8000"),
    ],
)
def test_a_webhook_is_named_by_its_host(url: str, name: str) -> None:
    assert Webhook(url).name == name
