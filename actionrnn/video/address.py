"""Addresses of videos: which texts are one, and how one is shown without its password."""

from __future__ import annotations

import re

# `rtsp://`, and FFmpeg's chains `cache:http://`; a letter and a colon are a drive
_SCHEME = re.compile(r"(?!file:)(?:[a-z][a-z0-9+.-]+:)+//", re.IGNORECASE)
# as a path writes it
_SCHEME_OF_PATH = re.compile(_SCHEME.pattern.removesuffix("/"), re.IGNORECASE)
_LOGIN_WITHOUT_SCHEME = re.compile(r"(?![a-z]:[/\\])[^/\\]*:.*@", re.IGNORECASE | re.DOTALL)
_HOST = re.compile(r"(\[[0-9a-f:.%]*\]|[\w.%~*-]*)(:[0-9]{1,5})?", re.IGNORECASE)

# Players of television lists write both into the path: /live/USER/PASSWORD/1.ts
_LOGIN_IN_PATH = re.compile(
    r"/(?:(?:live|movie|series|timeshift)/[^/]+/[^/]+(?=/)|[^/]+/[^/]+(?=/\d+(?:\.ts|\.m3u8)?$))"
)
HIDDEN = "***"


def is_address(text: str) -> bool:
    """Whether it names a place in a network, not a file: `rtsp://`, `http://`, `srt://`, ..."""
    return _SCHEME.match(text) is not None


def masked(text: str) -> str:
    """An address without what may be a secret; a path is returned as it is.

    Hidden are: what stands before an `@`, the last one, as passwords hold `/`, `?` and `@`; the
    whole query (`?user=&pwd=`, `?passphrase=`, `?token=`) and the fragment; what is no port behind
    a host; in the path all from the first part with a `=` or `:` on, the stream key of RTMP, and
    two names before a number. More is hidden than need be, so that no spelling shows a part.

    >>> masked("rtsp://admin:p@ss/word@10.0.0.5:554/h264?pwd=1")
    'rtsp://***@10.0.0.5:554/h264?***'
    """
    scheme = _SCHEME.match(text) or _SCHEME_OF_PATH.match(text)
    if scheme is None:
        login = _LOGIN_WITHOUT_SCHEME.match(text)  # `user:password@host`
        return text if login is None else f"{HIDDEN}@{masked_place(text[login.end() :])}"
    before, at, place = text[scheme.end() :].rpartition("@")
    if "?" in before:  # a `?` in a password, or an `@` in a query
        return scheme[0] + HIDDEN
    if at and not place:
        return scheme[0] + HIDDEN
    shown = masked_place(place, is_rtmp=scheme[0].lower().startswith("rtmp"))
    return scheme[0] + (f"{HIDDEN}@" if at else "") + shown


def masked_place(place: str, *, is_rtmp: bool = False) -> str:
    """HOST[:PORT][/PATH][?QUERY] without what may be a secret in it."""
    place, query, _ = place.partition("?")
    place, fragment, _ = place.partition("#")
    host, slash, path = place.partition("/")
    host = _host_and_port(host)
    path = HIDDEN if path and is_rtmp else _hide_from(path)
    path = _LOGIN_IN_PATH.sub(lambda found: _hide_two(found[0]), slash + path, count=1)
    return host + path + (f"?{HIDDEN}" if query else "") + (f"#{HIDDEN}" if fragment else "")


def _host_and_port(text: str) -> str:
    found = _HOST.match(text)
    assert found is not None  # it may be empty
    return text if found[0] == text else f"{found[1]}:{HIDDEN}"


def _hide_from(path: str) -> str:
    """The path up to the first part that names a value: `user=`, `user:password`, `&`."""
    parts = path.split("/")
    for number, part in enumerate(parts):
        if any(mark in part for mark in "=:&;"):
            return "/".join([*parts[:number], HIDDEN])
    return path


def _hide_two(path: str) -> str:
    return "/".join([*path.split("/")[:-2], HIDDEN, HIDDEN])
