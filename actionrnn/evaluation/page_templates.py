"""How the templates of our pages are filled in."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

from jinja2 import BytecodeCache, Environment, FileSystemLoader, StrictUndefined
from jinja2.bccache import Bucket


class _Compiled(BytecodeCache):
    """Templates as Python compiled them, for the process: that takes longer than to fill them in.

    Environments cannot share them otherwise: each report has filters of its own.
    """

    def __init__(self) -> None:
        self._compiled: dict[str, bytes] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        if bucket.key in self._compiled:
            bucket.bytecode_from_string(self._compiled[bucket.key])

    def dump_bytecode(self, bucket: Bucket) -> None:
        self._compiled[bucket.key] = bucket.bytecode_to_string()


_COMPILED = _Compiled()


def page_environment(folder: Path) -> Environment:
    """For the page templates in a folder: everything is escaped, a missing value is an error.

    The filter `csp_hash` names a script or a style as the page's Content-Security-Policy does.
    """
    environment = Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        bytecode_cache=_COMPILED,
    )
    environment.filters["csp_hash"] = _csp_hash
    return environment


def _csp_hash(source: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()
