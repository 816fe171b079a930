"""The text of a file of annotations, whatever program saved it."""

from __future__ import annotations

import codecs
from pathlib import Path

from actionrnn.errors import DatasetError
from actionrnn.video.address import masked

_ENCODINGS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


def read_text(file: Path) -> str:
    """The text of a file in UTF-8, or in UTF-16 with its mark.

    Raises:
        DatasetError: it cannot be read, or is not text.
    """
    try:
        content = file.read_bytes()
        marks = (name for mark, name in _ENCODINGS.items() if content.startswith(mark))
        text = content.decode(next(marks, "utf-8"))
    except OSError as error:
        raise DatasetError(f"{masked(str(file))}: cannot be read ({error.strerror})") from None
    except UnicodeError as error:
        raise DatasetError(f"{file}: is not text ({error}); save it as UTF-8") from None
    if "\0" in text:
        raise DatasetError(f"{file}: is not text; save it as UTF-8")
    return text
