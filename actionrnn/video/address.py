"""Addresses of videos: which texts are one, and how one is shown without its secrets."""

from __future__ import annotations

import re

# `rtsp://`, and FFmpeg's chains `cache:http://`; a letter and a colon are a drive
_SCHEME = re.compile(r"(?!file:)(?:[a-z][a-z0-9+.-]+:)+//", re.IGNORECASE)
# as a path writes it, and with the colon forgotten
_BROKEN_SCHEME = re.compile(
    r"(?!file:)(?:(?:[a-z][a-z0-9+.-]+:)+/|(?:https?|rtsps?|rtmp[a-z]*|srt|whip|whep)//?)",
    re.IGNORECASE,
)
# `user:password@host`; not a drive, nor a path that says that it is one
_LOGIN = re.compile(r"(?!file:|[a-z]:[/\\]|[/\\.~])[^:]*:.*@", re.IGNORECASE | re.DOTALL)
_HOST = re.compile(r"(\[[0-9a-f:.%]*\]|[\w.~*-]*)(:[0-9]{1,5})?", re.IGNORECASE)

# `ann_red.avi`, `VID-20240501-0003.mp4`, `live1.m3u8`: words, numbers, or a word with a number.
# What mixes them as keys do, is long, or has no ending is not shown
_WORD = r"(?:[^\W\d_]{0,20}\d{0,4}|\d{0,8})"
_FILE_NAME = re.compile(rf"{_WORD}(?:[ _-]{_WORD}){{0,5}}\.[a-z][a-z0-9]{{1,3}}", re.IGNORECASE)
HIDDEN = "***"


def is_address(text: str) -> bool:
    """Whether it names a place in a network, not a file: `rtsp://`, `http://`, `srt://`, ..."""
    return _SCHEME.match(text) is not None


def masked(text: str) -> str:
    """An address without what may be a secret; a path is returned as it is.

    Shown are the scheme, the host with its port, and the last part of the path if it looks like
    the name of a file. All else may be a password, a token or a key, in one of the many forms in
    which they are written: before the last `@`, in the path, in the query, in the fragment.

    >>> masked("rtsp://admin:p@ss/word@10.0.0.5:554/live/clip.mp4?pwd=1")
    'rtsp://***@10.0.0.5:554/***/clip.mp4?***'
    """
    scheme = _SCHEME.match(text) or _BROKEN_SCHEME.match(text)
    if scheme is None:
        login = _LOGIN.match(text)
        return text if login is None else f"{HIDDEN}@{_masked_place(text[login.end() :])}"
    before, at, place = text[scheme.end() :].rpartition("@")
    if "?" in before or (at and not place):  # a `?` in a password, or an `@` in a query
        return scheme[0] + HIDDEN
    return scheme[0] + (f"{HIDDEN}@" if at else "") + _masked_place(place)


def _masked_place(place: str) -> str:
    """HOST[:PORT][/PATH][?QUERY][#FRAGMENT]"""
    place, query, _ = place.partition("?")
    place, fragment, _ = place.partition("#")
    host, *parts = place.split("/")
    path = [_name_or_hidden(part) for part in parts[-1:]]
    if len(parts) > 1 and path != [HIDDEN]:
        path = [HIDDEN, *path]
    return (
        "/".join([_host_and_port(host), *path])
        + (f"?{HIDDEN}" if query else "")
        + (f"#{HIDDEN}" if fragment else "")
    )


def _name_or_hidden(part: str) -> str:
    return part if not part or _FILE_NAME.fullmatch(part) else HIDDEN


def _host_and_port(text: str) -> str:
    found = _HOST.match(text)
    assert found is not None  # it may be empty
    return text if found[0] == text else f"{found[1]}:{HIDDEN}"
