"""Addresses of videos: which texts are one, and how one is shown without its secrets."""

from __future__ import annotations

import os
import re
from urllib.parse import unquote

# `rtsp://`, and FFmpeg's chains `cache:http://`; a letter and a colon are a drive
_SCHEME = re.compile(r"(?!file:)(?:[a-z][a-z0-9+.-]+:)+//", re.IGNORECASE)
# as it is written by mistake: a slash or the colon forgotten, a semicolon, a space
_KNOWN = r"(?:https?|rtsp[su]?|rtmp[a-z]*|srt|whip|whep|udp|tcp|rtp|ftp|ws)"
_BROKEN_SCHEME = re.compile(
    rf"""["']?(?!file:(?!//[^/]))(?:(?:[a-z][a-z0-9+.-]+\s*[:;]\s*)+/+|"""
    rf"""{_KNOWN}\s*(?:[:;]\s*(?!\d*$)|//?))""",
    re.IGNORECASE,
)
# a path that says that it is one, but for what only addresses hold
_PATH = re.compile(
    r"(?:file:(?!//[^/])|[a-z]:[/\\]|[/\\](?!/)|\.|~)"
    r"(?!.*(?:[?&]|(?:pass|pwd|passwd|password|token|secret)=))",
    re.IGNORECASE | re.DOTALL,
)
_LIKE_AN_ADDRESS = re.compile(r"//|\d+\.\d+\.\d+\.\d+|.*(?:[?&=@]|[:;]\s*/)", re.DOTALL)
_HOST = re.compile(r"(\[[0-9a-f:.%]*\]|[\w.~*-]*)(:[0-9]{1,5})?", re.IGNORECASE)

# `ann_red.avi`, `VID-20240501-0003.mp4`, `1080p.mp4`: words, numbers, or a word with a number.
# What mixes them as keys do, is long, or has no ending is not shown
_WORD = re.compile(
    r"[^\W\d_]{0,20}\d{0,4}|\d{0,14}|\d{1,4}(?:[ikp]|fps|hz)|\d{8}T\d{6}Z?|s\d\d?e\d\d?|mp[34]",
    re.IGNORECASE,
)
_BETWEEN_WORDS = re.compile(r"[ _.(),+-]+")
_MOST_WORDS, _MOST_LETTERS = 12, 60
_ENDING = re.compile(r"[a-z][a-z0-9]{1,3}", re.IGNORECASE)
_OF_VIDEOS = re.compile(
    r"3gp|avi|flv|gif|m2ts|m3u8|m4v|mjpe?g|mkv|mov|mp4|mpd|mpe?g|mts|ts|webm|wmv", re.IGNORECASE
)
HIDDEN = "***"


def is_address(text: str) -> bool:
    """Whether it names a place in a network, not a file: `rtsp://`, `http://`, `srt://`, ..."""
    return _SCHEME.match(text.strip()) is not None


def masked(text: str) -> str:
    """An address without what may be a secret; a path is returned as it is.

    Shown are the scheme, the host with its port, and the last part of the path if it looks like
    the name of a file. All else may be a password, a token or a key, in one of the many forms in
    which they are written: before the last `@`, in the path, in the query, in the fragment. What
    is no file here and may have been meant as an address is taken for one.

    >>> masked("rtsp://admin:p@ss/word@10.0.0.5:554/live/clip.mp4?pwd=1")
    'rtsp://***@10.0.0.5:554/***/clip.mp4?***'
    """
    stripped = text.strip()
    scheme = _SCHEME.match(stripped)
    if scheme is None:
        if os.path.exists(text):  # noqa: PTH110 - a Path cannot hold every text
            return text
        scheme = _BROKEN_SCHEME.match(stripped)
    if scheme is not None:
        begin, rest = scheme[0], stripped[scheme.end() :]
    elif _PATH.match(stripped) or not _LIKE_AN_ADDRESS.match(stripped):
        return text
    else:
        rest = stripped.lstrip("/")
        begin = stripped.removesuffix(rest)
    before, at, place = rest.rpartition("@")
    if "?" in before or (at and not place):  # a `?` in a password, or an `@` in a query
        return begin + HIDDEN
    return begin + (f"{HIDDEN}@" if at else "") + _masked_place(place)


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
    return part if not part or part == HIDDEN or _is_file_name(unquote(part)) else HIDDEN


def _is_file_name(part: str) -> bool:
    stem, _, ending = part.rpartition(".")
    words = _BETWEEN_WORDS.split(stem)
    return (
        0 < len(stem) <= _MOST_LETTERS
        and len(words) <= _MOST_WORDS
        and _ENDING.fullmatch(ending) is not None
        and ("." not in stem or _OF_VIDEOS.fullmatch(ending) is not None)  # tokens have dots
        and all(map(_WORD.fullmatch, words))
    )


def _host_and_port(text: str) -> str:
    found = _HOST.match(text)
    assert found is not None  # it may be empty
    return text if found[0] == text else f"{found[1]}:{HIDDEN}"
