"""Models on a stand-in of the hub: pushed, loaded, resumed, and every error in one line."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from actionrnn.apps.cli import main
from actionrnn.errors import ModelError
from actionrnn.model import hub
from actionrnn.model.hub import fetch, parse_address, upload
from actionrnn.model.model_file import read_model_info
from actionrnn.model.privacy import hashed_group
from actionrnn.model.recognizer import load

Files = dict[str, bytes]
TOKEN = "hf_standin"


@dataclass
class StandIn:
    """As much of the hub's HTTP API as models need, on loopback, in memory.

    The repositories are lists of commits, oldest first.
    """

    commits: dict[str, list[Files]] = field(default_factory=dict)
    revisions: dict[tuple[str, str], int] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    ranges: list[str] = field(default_factory=list)
    cut_after: int | None = None
    """Drop the connection of the next download after so many bytes."""
    declared_size: int | None = None
    """What a file's head says instead of its size."""
    url: str = ""

    def start(self) -> ThreadingHTTPServer:
        hub = self

        class Handler(_Handler):
            stand_in = hub

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{server.server_port}"
        return server


class _Handler(BaseHTTPRequestHandler):
    stand_in: StandIn
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self._resolve(body=False)

    def do_GET(self) -> None:
        self._resolve(body=True)

    def do_POST(self) -> None:
        hub = self.stand_in
        hub.requests.append(f"POST {self.path}")
        content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path == "/api/validate-yaml":
            return self._json({"errors": [], "warnings": []})
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self._json({"error": "Invalid token"}, 401)
        if self.path == "/api/repos/create":
            wanted = json.loads(content)
            name = f"{wanted.get('organization') or 'me'}/{wanted['name']}"
            known = name in hub.commits
            hub.commits.setdefault(name, [])
            return self._json({"url": f"{hub.url}/{name}"}, 409 if known else 200)
        if match := re.fullmatch(r"/api/models/(.+)/preupload/(.+)", self.path):
            files = [
                {"path": file["path"], "uploadMode": "regular", "shouldIgnore": False}
                for file in json.loads(content)["files"]
            ]
            return self._json({"files": files})
        if match := re.fullmatch(r"/api/models/(.+)/commit/(.+)", self.path):
            return self._json(self._commit(match[1], content))
        return self._json({"error": "unknown"}, 404)

    def _commit(self, name: str, content: bytes) -> dict[str, Any]:
        commits = self.stand_in.commits[name]
        files = dict(commits[-1]) if commits else {}
        for line in map(json.loads, content.splitlines()):
            if line["key"] == "file":
                files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
        commits.append(files)
        oid = f"{len(commits):040x}"
        return {"commitUrl": f"{self.stand_in.url}/{name}/commit/{oid}", "commitOid": oid}

    def _resolve(self, body: bool) -> None:
        hub = self.stand_in
        hub.requests.append(f"{self.command} {self.path}")
        match = re.fullmatch(r"/(.+?)/resolve/([^/]+)/(.+)", self.path)
        name = match[1] if match else ""
        if match is None or name not in hub.commits:
            return self._json({"error": "x"}, 404, {"X-Error-Code": "RepoNotFound"})
        number = hub.revisions.get((name, match[2]), self._number(match[2], name))
        if number is None:
            return self._json({"error": "x"}, 404, {"X-Error-Code": "RevisionNotFound"})
        content = hub.commits[name][number].get(match[3])
        commit = {"X-Repo-Commit": f"{number + 1:040x}"}
        if content is None:
            return self._json({"error": "x"}, 404, {"X-Error-Code": "EntryNotFound", **commit})
        return self._send(content, body, commit)

    def _number(self, revision: str, name: str) -> int | None:
        last = len(self.stand_in.commits[name]) - 1
        if revision == "main":
            return last
        known = re.fullmatch("[0-9a-f]{40}", revision) and int(revision, 16) - 1 <= last
        return int(revision, 16) - 1 if known else None

    def _send(self, content: bytes, body: bool, headers: dict[str, str]) -> None:
        hub = self.stand_in
        etag, start = hashlib.sha256(content).hexdigest(), 0
        if match := re.fullmatch(r"bytes=(\d+)-.*", self.headers.get("Range", "")):
            start = int(match[1])
            if body:
                hub.ranges.append(match[0])
        self.send_response(206 if start else 200)
        size = len(content) if hub.declared_size is None or body else hub.declared_size
        told = {"ETag": f'"{etag}"', "Accept-Ranges": "bytes", **headers}
        if start:
            told["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        for key, value in {**told, "Content-Length": str(size - start)}.items():
            self.send_header(key, value)
        self.end_headers()
        if not body:
            return
        rest = content[start:]
        if hub.cut_after is not None:
            rest, hub.cut_after, self.close_connection = rest[: hub.cut_after], None, True
        self.wfile.write(rest)

    def _json(self, value: Any, status: int = 200, headers: dict[str, str] | None = None) -> None:
        content = json.dumps(value).encode()
        self.send_response(status)
        for key, text in {**(headers or {}), "Content-Length": str(len(content))}.items():
            self.send_header(key, text)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[StandIn]:
    from huggingface_hub import constants, file_download

    started = StandIn()
    server = started.start()
    template = f"{started.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr(constants, "ENDPOINT", started.url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(file_download, "HUGGINGFACE_CO_URL_TEMPLATE", template, raising=False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    yield started
    server.shutdown()
    server.server_close()


def test_a_pushed_model_is_loaded_by_its_name(stand_in: StandIn, saved: Path) -> None:
    done = CliRunner().invoke(main, ["push", str(saved), "me/squares"])
    assert done.exit_code == 0, done.output
    assert "/me/squares/commit/" in done.output and TOKEN not in done.output
    [files] = stand_in.commits["me/squares"]
    assert files["model.safetensors"] == saved.read_bytes()
    assert files["README.md"].startswith(b"---\nlibrary_name: actionrnn\n")
    assert b'actionrnn.load("hf://me/squares")' in files["README.md"]
    assert load("hf://me/squares").labels == load(saved).labels
    said = CliRunner().invoke(main, ["info", "hf://me/squares"]).output
    assert "clap, jump, wave" in said


def test_an_old_model_is_pushed_without_paths_and_people(
    stand_in: StandIn, saved: Path, redescribe: Callable[..., None]
) -> None:
    def as_of_old(described: dict[str, Any]) -> None:
        described["config"]["data"] |= {"root": "/home/quintilian/videos", "fold": "annegret"}
        described["config"]["data"] |= {"split": "leave_one_group_out", "features": "/home/q/f"}
        described["training"] |= {"data": "/home/quintilian/videos", "fold": "annegret"}
        described["training"] |= {"groups": ["bob"], "split": "leave_one_group_out"}

    redescribe(saved, as_of_old)
    done = CliRunner().invoke(main, ["push", str(saved), "me/squares"])
    assert done.exit_code == 0, done.output
    [files] = stand_in.commits["me/squares"]
    for content in files.values():
        assert b"/home/" not in content and b"quintilian" not in content
        assert b"annegret" not in content and b'"bob"' not in content
    known, pushed = read_model_info(saved), read_model_info("hf://me/squares")
    assert pushed.labels == known.labels
    assert pushed.training["groups"] == [hashed_group("bob")]


def test_a_second_push_is_a_new_commit_and_revisions_stay(stand_in: StandIn, saved: Path) -> None:
    stand_in.commits["me/squares"] = [{"notes.txt": b"mine", "model.safetensors": b"old"}]
    stand_in.revisions["me/squares", "v1"] = 0
    upload(saved.read_bytes(), "a card", "me/squares")
    before, after = stand_in.commits["me/squares"]
    assert before["model.safetensors"] == b"old"
    assert after["notes.txt"] == b"mine"
    assert after["model.safetensors"] == saved.read_bytes()
    assert fetch("hf://me/squares@v1").read_bytes() == b"old"
    assert fetch("hf://me/squares").read_bytes() == saved.read_bytes()


def test_an_interrupted_download_goes_on_where_it_stopped(
    stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 100_000)
    content = bytes(range(256)) * 4000
    stand_in.commits["me/squares"] = [{"model.safetensors": content}]
    stand_in.cut_after = 300_000
    assert fetch("hf://me/squares").read_bytes() == content
    assert stand_in.ranges == ["bytes=300000-"]


def test_what_is_in_the_cache_needs_no_hub(
    stand_in: StandIn, saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    stand_in.commits["me/squares"] = [{"model.safetensors": saved.read_bytes()}]
    fetch("hf://me/squares")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    stand_in.requests.clear()
    assert read_model_info("hf://me/squares").labels == ("clap", "jump", "wave")
    with pytest.raises(ModelError, match=r"me/other: the hub cannot be reached"):
        fetch("hf://me/other")
    assert stand_in.requests == []


def test_errors_are_one_line(stand_in: StandIn, saved: Path) -> None:
    stand_in.commits["me/empty"] = [{"README.md": b"nothing"}]
    for address, reason in {
        "hf://me/nobody": "no such repository",
        "hf://me/empty": "holds no model.safetensors",
        "hf://me/empty@v9": "has no such revision",
    }.items():
        with pytest.raises(ModelError, match=f"{address}.*{reason}"):
            load(address)
    done = CliRunner().invoke(main, ["evaluate", "hf://me/empty", "data.root=x"])
    assert (done.exit_code, done.output.count("\n")) == (1, 1)


def test_who_may_not_write_is_told_so(
    stand_in: StandIn, saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    with pytest.raises(ModelError, match=r"refuses this token") as caught:
        upload(saved.read_bytes(), "a card", "me/squares")
    assert "hf_wrong" not in str(caught.value)
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(ModelError, match=r"hf auth login"):
        upload(saved.read_bytes(), "a card", "me/squares")
    assert stand_in.commits == {}


def test_a_file_too_large_is_not_fetched(stand_in: StandIn) -> None:
    stand_in.commits["me/big"] = [{"model.safetensors": b"x"}]
    stand_in.declared_size = hub.LARGEST_MODEL_BYTES + 1
    with pytest.raises(ModelError, match=r"at most 2 are fetched"):
        fetch("hf://me/big")
    assert not any(request.startswith("GET") for request in stand_in.requests)


@pytest.mark.parametrize(
    "text",
    ["", "me", "../x", "me/../../etc", "me/x@", "me/x@../../a", "/etc/passwd", "me/x/y", "me/x\n"],
)
def test_other_names_never_reach_the_hub(text: str) -> None:
    with pytest.raises(ModelError, match="is not a model on the hub"):
        parse_address(f"hf://{text}")
