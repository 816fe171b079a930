"""The files of a store: read in one piece, written as far as the disk takes them."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from actionrnn.errors import FeatureError
from actionrnn.files import read_json

_OF_THE_WHOLE_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EMFILE)
_Item = TypeVar("_Item")


class EntryError(FeatureError):
    """One entry that cannot be written, where others can."""


@contextlib.contextmanager
def writing(root: Path, entry: Path | None = None) -> Iterator[None]:
    """What the system refuses in the block, as an error of ours.

    Raises:
        EntryError: `entry` alone cannot be written.
        FeatureError: nothing can be written.
        FileExistsError: not of an entry: another process was faster.
    """
    try:
        yield
    except OSError as error:
        if entry is None and isinstance(error, FileExistsError):
            raise
        whole = error.errno in _OF_THE_WHOLE_DISK or not os.access(root, os.W_OK)
        if entry is not None and not whole:
            raise EntryError(
                f"{entry}: cannot be written ({error.strerror}); rename the video, or choose "
                "another folder"
            ) from None
        raise FeatureError(
            f"{root}: cannot be written ({error.strerror}); make room or choose another "
            "folder; what is stored stays, and the same command goes on"
        ) from None


def read_list(file: Path, kind: TypeAdapter[list[_Item]]) -> list[_Item]:
    """What a JSON file holds; nothing where there is no file.

    Raises:
        FeatureError: it is damaged.
    """
    try:
        return kind.validate_python(read_json(file), strict=True)
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:
        reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error
        raise FeatureError(f"{file}: is damaged ({reason}); delete it") from None
