"""One large file over HTTP, through dropped connections, interruptions and changed files.

The bytes go to `<target>.actionrnn-part`, a name that no browser uses; the name `<target>` only
ever holds the whole, checked file. Beside the part, `<target>.actionrnn-part.version` keeps what
the server calls its version (RFC 9110, sections 8.8 and 13.1.5), so that a later call resumes only
the same file.
"""

from __future__ import annotations

import http.client
import os
import re
import shutil
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from actionrnn import __version__
from actionrnn.errors import DatasetError
from actionrnn.files import file_sha256, write_text
from actionrnn.progress import progress_bar

# Waits before the second and later tries; a try that brings new bytes starts them again.
RETRY_WAITS_SECONDS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
TIMEOUT_SECONDS = 30.0
BLOCK_BYTES = 1 << 18
RETRIED_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504})


@dataclass(frozen=True)
class RemoteFile:
    """A file on the web, and what is known about its content."""

    url: str
    size_bytes: int
    sha256: str | None = None


class _DroppedError(Exception):
    """The connection ended before the file did; worth another try."""


def download(remote: RemoteFile, target: Path) -> None:
    """Fetch a file, resuming where an earlier call stopped; a file that exists is only checked.

    Raises:
        DatasetError: the server cannot be reached, refuses, or drops the connection too often;
            the disk is too small; the file is not what was expected.
    """
    if target.exists():
        _require_content(target, remote)
        return
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        transfer = _Transfer(remote, target)
        _fetch_with_retries(transfer)
        transfer.finish()
    except OSError as error:
        raise DatasetError(f"{target}: cannot be written ({error.strerror})") from None


def require_free_space(folder: Path, needed_bytes: int) -> None:
    """Refuse work for which the disk is too small.

    Raises:
        DatasetError: too little is free; the message says how much.
    """
    free_bytes = shutil.disk_usage(folder).free
    if free_bytes < needed_bytes:
        raise DatasetError(
            f"{folder}: has {free_bytes / 1e9:.1f} GB free, {needed_bytes / 1e9:.1f} GB are "
            "needed; make room, or choose another folder"
        )


def _fetch_with_retries(transfer: _Transfer) -> None:
    waits, most_bytes = iter(RETRY_WAITS_SECONDS), transfer.offset_bytes
    while True:
        try:
            transfer.run()
            return
        except _DroppedError as error:
            if transfer.offset_bytes > most_bytes:
                waits, most_bytes = iter(RETRY_WAITS_SECONDS), transfer.offset_bytes
            wait_seconds = next(waits, None)
            if wait_seconds is None:
                raise DatasetError(
                    f"{transfer.remote.url}: the connection drops again and again ({error}); "
                    "run the same command later, it resumes where it stopped"
                ) from None
            time.sleep(wait_seconds)


class _Transfer:
    """One download: the bytes that were fetched, and the requests for the rest."""

    def __init__(self, remote: RemoteFile, target: Path) -> None:
        self.remote, self.target = remote, target
        self.part = target.with_name(f"{target.name}.actionrnn-part")
        self._version = target.with_name(f"{target.name}.actionrnn-part.version")
        self._reached = False

    @property
    def offset_bytes(self) -> int:
        """The number of bytes fetched so far."""
        return self.part.stat().st_size if self.part.exists() else 0

    def run(self) -> None:
        """One request: fetch what is missing.

        Raises:
            DatasetError: another try would not help.
            _DroppedError: it might.
        """
        if not self._version.exists() or self.offset_bytes > self.remote.size_bytes:
            self.discard()  # it is part of another file, or of an unknown one
        if self.offset_bytes == self.remote.size_bytes:
            return
        try:
            response = urllib.request.urlopen(self._request(), timeout=TIMEOUT_SECONDS)
        except urllib.error.HTTPError as error:
            self._judge_status(error)
        except (http.client.HTTPException, OSError) as error:
            self._judge_failure(error)
        else:
            self._reached = True
            with response:
                self._receive(response)

    def finish(self) -> None:
        """Check the part and give it the final name.

        Raises:
            DatasetError: it is not the expected file; then it is deleted.
        """
        try:
            _require_content(self.part, self.remote)
        except DatasetError:
            self.discard()
            raise
        with self.part.open("rb+") as file:
            os.fsync(file.fileno())
        self.part.replace(self.target)
        self._version.unlink(missing_ok=True)

    def discard(self) -> None:
        """Start again from the first byte."""
        self.part.unlink(missing_ok=True)
        self._version.unlink(missing_ok=True)

    def _request(self) -> urllib.request.Request:
        headers = {"User-Agent": f"actionrnn/{__version__}", "Accept-Encoding": "identity"}
        if self.offset_bytes:
            headers["Range"] = f"bytes={self.offset_bytes}-"
            headers["If-Range"] = self._version.read_text(encoding="utf-8")
        return urllib.request.Request(self.remote.url, headers=headers)

    def _receive(self, response: http.client.HTTPResponse) -> None:
        begin_bytes = self._agree_on_begin(response)
        length = response.headers.get("Content-Length")
        size_bytes = self.remote.size_bytes
        total_bytes = begin_bytes + int(length) if length else size_bytes
        if total_bytes != size_bytes:
            raise DatasetError(
                f"{self.remote.url}: has {total_bytes} bytes, not {size_bytes} as "
                "expected; the file has changed, look at the data set's site"
            )
        require_free_space(self.target.parent, size_bytes - begin_bytes)
        version = _version_of(response)
        if version is not None:
            write_text(self._version, version)
        with (
            self.part.open("ab") as file,
            progress_bar(self.target.name, size_bytes, unit="bytes") as advance,
        ):
            advance(begin_bytes, skipped=True)
            _copy(response, file, advance)
        if self.offset_bytes < size_bytes:
            raise _DroppedError(f"{self.offset_bytes} of {size_bytes} bytes came")

    def _agree_on_begin(self, response: http.client.HTTPResponse) -> int:
        """The byte at which the response begins: the part's end, or 0 after emptying the part."""
        if response.status == 206:
            known, version = self._version.read_text(encoding="utf-8"), _version_of(response)
            found = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
            if found and int(found[1]) == self.offset_bytes and version in (None, known):
                return self.offset_bytes
            self.discard()
            raise _DroppedError("the server sent a part of another file")
        self.discard()  # the file has changed, or the server knows no ranges
        return 0

    def _judge_status(self, error: urllib.error.HTTPError) -> None:
        error.close()
        self._reached = True
        if error.code in RETRIED_STATUSES:
            raise _DroppedError(f"HTTP {error.code} {error.reason}")
        raise DatasetError(
            f"{self.remote.url}: the server answers HTTP {error.code} {error.reason}; "
            "find the file on the data set's site"
        )

    def _judge_failure(self, error: Exception) -> None:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        if isinstance(reason, ssl.SSLCertVerificationError):
            raise DatasetError(
                f"{self.remote.url}: the site's certificate cannot be verified "
                f"({reason.verify_message}); if the site does not send its intermediate "
                "certificate, add that to a bundle and name it in SSL_CERT_FILE, or download "
                "the file in a browser"
            )
        if isinstance(error, urllib.error.URLError) and not self._reached:
            raise DatasetError(
                f"{self.remote.url}: cannot be reached ({reason}); connect to the network, or "
                "bring the file from elsewhere"
            )
        raise _DroppedError(str(reason) or type(reason).__name__)


def _copy(
    response: http.client.HTTPResponse, file: BinaryIO, advance: Callable[[int], None]
) -> None:
    while True:
        try:
            block = response.read(BLOCK_BYTES)
        except (http.client.HTTPException, OSError) as error:
            raise _DroppedError(str(error) or type(error).__name__) from None
        if not block:
            return
        file.write(block)
        advance(len(block))


def _version_of(response: http.client.HTTPResponse) -> str | None:
    """A mark that changes with any byte of the file; None if the server sends none."""
    tag = response.headers.get("ETag", "")
    strong = tag if tag.startswith('"') else None
    return strong or response.headers.get("Last-Modified")


def _require_content(file: Path, remote: RemoteFile) -> None:
    size_bytes = file.stat().st_size
    if size_bytes != remote.size_bytes:
        raise DatasetError(
            f"{file}: has {size_bytes} bytes, not {remote.size_bytes} as {remote.url}; "
            "delete it and try again"
        )
    if remote.sha256 is not None and (sha256 := file_sha256(file)) != remote.sha256:
        raise DatasetError(
            f"{file}: has the sha256 {sha256}, not {remote.sha256} as {remote.url}; "
            "delete it and try again"
        )
