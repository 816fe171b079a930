"""A copy of an MP4 file whose index is at its end, from a server that cannot jump there.

Such a file cannot be read as it comes: its index tells where the pictures are.
"""

from __future__ import annotations

import http.client
import os
import tempfile
import urllib.request
import weakref
from pathlib import Path
from typing import IO
from urllib.parse import unquote, urlsplit, urlunsplit

from actionrnn.errors import VideoError
from actionrnn.video.address import masked

_ENDINGS = (".mp4", ".mov", ".m4v", ".3gp", ".3g2")
_HEAD_BYTES = 1 << 16
_BLOCK_BYTES = 1 << 20


class LocalCopy:
    """A temporary file, which is deleted with the last reference to this."""

    def __init__(self) -> None:
        handle, name = tempfile.mkstemp(suffix=".mp4")
        os.close(handle)
        self.path = Path(name)
        weakref.finalize(self, self.path.unlink, missing_ok=True)


def copy_if_needed(address: str, timeout_seconds: float, most_bytes: int) -> LocalCopy | None:
    """The copy; None: the address can be read as it is, or FFmpeg will say why not.

    Raises:
        VideoError: the file is larger than `most_bytes`, or does not come whole.
    """
    try:
        parts = urlsplit(address)
        if parts.scheme not in ("http", "https") or not parts.path.lower().endswith(_ENDINGS):
            return None
        request = urllib.request.Request(_without_login(address))
        request.add_header("Range", f"bytes=0-{_HEAD_BYTES - 1}")
        response = _opener(address).open(request, timeout=timeout_seconds)
        size_bytes = int(response.headers.get("Content-Length") or 0)
    except (OSError, ValueError, http.client.HTTPException):
        return None
    with response:
        if response.status != http.HTTPStatus.OK or not size_bytes:
            return None  # a part: the server can jump
        try:
            head = response.read(_HEAD_BYTES)
            return _copy(response, head, size_bytes, most_bytes) if _ends_in_index(head) else None
        except (OSError, http.client.HTTPException) as error:
            reason = f"cannot be downloaded ({type(error).__name__})"
        except _CopyError as error:
            reason = str(error)
    raise VideoError(
        f"{masked(address)}: {reason}; its index is at its end, and its server cannot jump there: "
        "download it, and give the file"
    )


class _CopyError(Exception):
    pass


def _copy(response: IO[bytes], head: bytes, size_bytes: int, most_bytes: int) -> LocalCopy:
    if size_bytes > most_bytes:
        raise _CopyError(f"is too large to be copied: {size_bytes} bytes, at most {most_bytes}")
    copy, written = LocalCopy(), 0
    with copy.path.open("wb") as file:
        block = head
        while block and written <= size_bytes:
            written += file.write(block)
            block = response.read(_BLOCK_BYTES)
    if written != size_bytes:
        raise _CopyError(f"was cut off: {written} of {size_bytes} bytes came")
    return copy


def _ends_in_index(head: bytes) -> bool:
    """Whether the pictures come before the index (ISO/IEC 14496-12, section 4.2: boxes)."""
    begin = 0
    while begin + 8 <= len(head):
        size, kind = int.from_bytes(head[begin : begin + 4], "big"), head[begin + 4 : begin + 8]
        if kind in (b"moov", b"mdat"):
            return kind == b"mdat"
        if size < 8:
            return False
        begin += size
    return False


def _without_login(address: str) -> str:
    parts = urlsplit(address)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path, parts.query, ""))


def _opener(address: str) -> urllib.request.OpenerDirector:
    parts = urlsplit(address)
    logins = urllib.request.HTTPPasswordMgrWithDefaultRealm()
    if parts.username is not None:
        user, password = unquote(parts.username), unquote(parts.password or "")
        logins.add_password(None, _without_login(address), user, password)
    return urllib.request.build_opener(
        urllib.request.HTTPBasicAuthHandler(logins), urllib.request.HTTPDigestAuthHandler(logins)
    )
