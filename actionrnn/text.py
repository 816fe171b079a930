"""Labels and file names come from strangers: what of them may be shown."""

from __future__ import annotations

import unicodedata

LONGEST = 80
_TURNS = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"  # the text round


def is_harmless(text: str) -> bool:
    """Whether a label may be shown anywhere: no control characters, no marks that turn it."""
    return not any(unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") or c in _TURNS for c in text)


def readable(text: str) -> str:
    r"""The one spelling of a label or a group that a file's name gives.

    Letters are composed (NFC), as some disks take them apart; bytes that are not UTF-8 stand as
    `\xe9`.

    >>> readable("caf\udce9"), readable("cafe\u0301")
    ('caf\\xe9', 'café')
    """
    return unicodedata.normalize("NFC", in_utf8(text))


def in_utf8(text: str) -> str:
    r"""Bytes of a file's name that are not UTF-8 as `\xe9`, as the shell and `ls` show them.

    >>> in_utf8("caf\udce9.mp4")
    'caf\\xe9.mp4'
    """
    try:
        content = text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # of another origin than a file's name
        content = text.encode("utf-8", "backslashreplace")
    return content.decode("utf-8", "backslashreplace")


def printable(text: object) -> str:
    r"""For a terminal: what it would take for a command stands as `\x1b`; lines stay lines.

    >>> printable("walk\x1b[31m.mp4")
    'walk\\x1b[31m.mp4'
    """
    shown = in_utf8(str(text))
    return "".join(c if c == "\n" or is_harmless(c) else ascii(c)[1:-1] for c in shown)


def plain(text: str) -> str:
    r"""One line without control characters, terminal escapes or marks that turn the text round.

    >>> plain("walk\x1b[31m\n--> run")
    'walk [31m --> run'
    """
    shown = "".join(" " if unicodedata.category(c)[0] in "CZ" else c for c in text)
    line = " ".join(shown.split())
    return line if len(line) <= LONGEST else line[: LONGEST - 1] + "…"
