"""Labels and file names can hold any characters: makes them safe to show and to compare."""

from __future__ import annotations

import unicodedata

LONGEST = 80
# Marks that reverse the direction of the text behind them.
_BIDIRECTIONAL = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"


def is_harmless(text: str) -> bool:
    """Whether a text may be shown anywhere: no control characters, no marks that reverse it."""
    return not any(
        unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") or c in _BIDIRECTIONAL for c in text
    )


def readable(text: str) -> str:
    r"""The normal spelling of a label or group that is part of a file name.

    Letters are composed (NFC), which some file systems decompose; bytes that are not UTF-8
    become `\xe9`.

    >>> readable("caf\udce9"), readable("cafe\u0301")
    ('caf\\xe9', 'café')
    """
    return unicodedata.normalize("NFC", in_utf8(text))


def in_utf8(text: str) -> str:
    r"""The text with bytes of a file's name that are not UTF-8 as `\xe9`, as `ls` shows them.

    >>> in_utf8("caf\udce9.mp4")
    'caf\\xe9.mp4'
    """
    try:
        content = text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # a surrogate that is not from a file's name
        content = text.encode("utf-8", "backslashreplace")
    return content.decode("utf-8", "backslashreplace")


def printable(text: object) -> str:
    r"""The text for a terminal: control characters are escaped as `\x1b`, line breaks kept.

    >>> printable("walk\x1b[31m.mp4")
    'walk\\x1b[31m.mp4'
    """
    shown = in_utf8(str(text))
    return "".join(c if c == "\n" or is_harmless(c) else ascii(c)[1:-1] for c in shown)


def plain(text: str) -> str:
    r"""One line of at most `LONGEST` characters, without control characters or reversing marks.

    >>> plain("walk\x1b[31m\n--> run")
    'walk [31m --> run'
    """
    shown = "".join(" " if unicodedata.category(c)[0] in "CZ" else c for c in text)
    line = " ".join(shown.split())
    return line if len(line) <= LONGEST else line[: LONGEST - 1] + "…"
