"""Which hosts a server answers under, and whose pages may use it: at home and behind a proxy."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
import uvicorn
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from actionrnn.apps.serving.access import AllowedNames, hosts_of
from actionrnn.errors import ConfigError
from actionrnn.model.recognizer import Recognizer
from tests.apps.serving import Running, running
from tests.apps.test_cli import run_command

pytestmark = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")

PROXIED = AllowedNames.parse(["localhost", "Example.com"], ["https://example.com:8443"])


def status(names: AllowedNames, host: str | None, origin: str | None = None) -> int:
    given = {"host": host, "origin": origin}
    problem = names.refusal(Headers({k: v for k, v in given.items() if v is not None}))
    return problem[0] if problem else 200


@pytest.mark.parametrize(
    ("host", "origin", "expected"),
    [
        ("example.com", None, 200),
        ("example.com:443", "https://example.com", 200),
        ("example.com", "https://example.com:443", 200),
        ("EXAMPLE.com.", "https://Example.COM", 200),
        ("example.com", "HTTPS://example.com", 200),
        ("example.com:80", "http://example.com", 200),
        ("example.com", "http://example.com", 200),
        ("localhost:7860", "http://localhost:7860", 200),
        ("localhost:7860", "https://example.com:8443", 200),  # allowed, whatever the host
        ("example.com", "https://example.com:8444", 403),
        ("example.com:443", "http://example.com", 403),
        ("example.com", "https://www.example.com", 403),
        ("example.com", "https://example.com.evil.example", 403),
        ("localhost:7860", "http://localhost", 403),  # another server of the same machine
        ("localhost:7860", "http://localhost:7861", 403),
        ("localhost:7860", "null", 403),
        ("localhost:7860", "", 403),
        ("localhost:7860", "file://", 403),
        ("localhost:7860", "chrome-extension://localhost:7861", 403),
        ("localhost:7860", "http://[::1", 403),
        ("localhost:7860", "http://localhost:99999", 403),
        ("localhost:7860", "http://user@localhost:7860", 403),
        ("localhost:7860", "http://localhost:7860/page", 403),
        ("evil.example", None, 400),
        ("evil.example", "http://evil.example", 400),
        ("localhost.evil.example", None, 400),
        ("localhost@evil.example", None, 400),
        ("user@localhost", None, 400),
        ("localhost/x", None, 400),
        ("[::1", None, 400),
        ("localhost:x", None, 400),
        ("", None, 400),
        (None, None, 400),
    ],
)
def test_hosts_and_origins(host: str | None, origin: str | None, expected: int) -> None:
    assert status(PROXIED, host, origin) == expected


@pytest.mark.parametrize(
    ("told", "address", "good", "bad"),
    [
        ("::1", "::1", ["[::1]", "[0:0:0:0:0:0:0:1]:7860", "localhost"], ["evil.example", "::1"]),
        ("127.0.0.1", "127.0.0.1", ["127.0.0.1:7860", "localhost"], ["evil.example", "[::1]"]),
        ("localhost", "127.0.0.1", ["127.0.0.1", "localhost"], ["evil.example"]),
        ("127.1", "127.0.0.1", ["127.0.0.1", "127.1"], ["evil.example"]),
    ],
)
def test_on_loopback_it_has_its_hosts_of(
    told: str, address: str, good: list[str], bad: list[str]
) -> None:
    names = AllowedNames.parse(hosts_of(told, address))
    assert [status(names, host) for host in good] == [200] * len(good)
    assert [status(names, host) for host in bad] == [400] * len(bad)


def test_on_a_network_it_has_every_name_and_no_foreign_pages() -> None:
    names = AllowedNames.parse(hosts_of("0.0.0.0", "0.0.0.0"))
    assert status(names, "any.example", "https://any.example") == 200
    assert status(names, "any.example", "https://evil.example") == 403


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.text(max_size=40), st.text(max_size=40))
def test_nonsense_is_refused_in_one_line(host: str, origin: str) -> None:
    given = [(b"host", host.encode("utf-8", "replace")), (b"origin", origin.encode())]
    problem = PROXIED.refusal(Headers(raw=given))
    assert problem is not None and problem[0] in (400, 403)
    assert problem[1].isprintable()


@pytest.mark.parametrize("text", ["", "https://example.com", "a b/c", "a:x", "user@host"])
def test_what_is_no_host_is_said_at_the_start(text: str) -> None:
    with pytest.raises(
        ConfigError, match=r"--allow-host .* is not a host name; write example\.com"
    ):
        AllowedNames.parse([text])


@pytest.mark.parametrize("text", ["", "example.com", "null", "https://", "https://a/page"])
def test_what_is_no_origin_is_said_at_the_start(text: str) -> None:
    with pytest.raises(ConfigError, match=r"--allow-origin .* is not an origin; write https://"):
        AllowedNames.parse([], [text])


@pytest.fixture(scope="module")
def proxied(model: Recognizer) -> Iterator[Running]:
    """Behind `https://example.com`, whose proxy hands the host on."""
    with running(model, hosts=["example.com"]) as started:
        yield started


@pytest.mark.parametrize("path", ["/", "/health", "/labels", "/page/app.js"])
def test_a_foreign_name_is_refused_as_json_that_says_what_to_do(
    proxied: Running, path: str
) -> None:
    answer = proxied.get(path, headers={"Host": "Other.example:8000"})
    assert answer.status_code == 400
    assert answer.json()["error"].endswith("allow it with --allow-host other.example")
    assert proxied.get(path, headers={"Host": "example.com:443"}).status_code == 200


def test_a_foreign_page_is_refused_as_json_that_says_what_to_do(proxied: Running) -> None:
    host = {"Host": "example.com"}
    for path in ("/labels", "/classify"):
        answer = httpx.post(
            f"{proxied.address}{path}", headers=host | {"Origin": "https://evil.example"}
        )
        assert answer.status_code == 403
        assert answer.json()["error"].endswith("allow it with --allow-origin https://evil.example")
    own = host | {"Origin": "https://example.com"}
    assert proxied.get("/labels", headers=own).status_code == 200


@pytest.mark.parametrize(
    ("host", "origin", "reason"),
    [
        ("example.com:443", "https://example.com", ""),
        ("example.com", "https://evil.example", "--allow-origin"),
        ("evil.example", "http://evil.example", "--allow-host"),
        ("example.com", "https://" + "\u00fc" * 100, "the page"),
    ],
)
def test_webcams_are_held_to_the_same(
    proxied: Running, host: str, origin: str, reason: str
) -> None:
    port = int(proxied.address.rsplit(":", 1)[1])
    opened = socket.create_connection(("127.0.0.1", port))
    address = f"ws://{host}/stream"
    with connect(address, sock=opened, origin=origin) as live:  # type: ignore[arg-type]
        if not reason:
            live.send("text")
            assert "binary messages" in json.loads(live.recv(timeout=20))["error"]
            return
        with pytest.raises(ConnectionClosed) as closed:
            live.recv(timeout=20)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1008 and reason in closed.value.rcvd.reason


@pytest.fixture
def printed(
    streaming_model: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[str, str]]:
    """What the command prints at its start, on both streams, when it serves nobody."""
    monkeypatch.delenv("ACTIONRNN_TOKEN", raising=False)
    monkeypatch.setattr(uvicorn.Server, "run", lambda *_, **__: None)

    def start(*options: str) -> tuple[str, str]:
        done = run_command("serve", "--model", streaming_model, "--port", 0, *options)
        assert done.exit_code == 0, done.output
        return done.stdout, done.stderr

    return start


def test_a_token_of_the_environment_is_not_printed(
    printed: Callable[..., tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACTIONRNN_TOKEN", "s3cret")
    said = "".join(printed())
    assert "serving on http://127.0.0.1:" in said and "s3cret" not in said


def test_a_token_of_the_command_is_in_the_address_that_is_printed(
    printed: Callable[..., tuple[str, str]],
) -> None:
    said, _ = printed("--token", "s3cret&more#")
    (address,) = re.findall(r"http://[^ ]*", said)
    assert parse_qs(urlsplit(address).query) == {"token": ["s3cret&more#"]}


@pytest.mark.parametrize(("host", "is_warned"), [("0.0.0.0", True), ("127.0.0.2", False)])
def test_it_warns_where_others_can_reach_it(
    printed: Callable[..., tuple[str, str]], host: str, is_warned: bool
) -> None:
    _, problems = printed("--host", host)
    assert ("everybody on the network" in problems) == is_warned


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--token", ""], "--token is empty"),
        (["--allow-host", "https://example.com"], "is not a host name"),
        (["--allow-origin", "example.com"], "is not an origin"),
    ],
)
def test_wrong_names_are_one_line(
    streaming_model: Path, options: list[str], problem: str, monkeypatch: Any
) -> None:
    monkeypatch.delenv("ACTIONRNN_TOKEN", raising=False)
    done = run_command("serve", "--model", streaming_model, "--port", 0, *options)
    assert (done.exit_code, done.stderr.count("\n")) == (1, 1)
    assert problem in done.stderr
