"""Labels and file names come from strangers: what of them may be shown."""

from __future__ import annotations

import unicodedata

LONGEST = 80


def plain(text: str) -> str:
    r"""One line without control characters, terminal escapes or marks that turn the text round.

    >>> plain("walk\x1b[31m\n--> run")
    'walk [31m --> run'
    """
    shown = "".join(" " if unicodedata.category(c)[0] in "CZ" else c for c in text)
    line = " ".join(shown.split())
    return line if len(line) <= LONGEST else line[: LONGEST - 1] + "…"
