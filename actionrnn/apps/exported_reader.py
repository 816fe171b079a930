"""The modules that decode videos as one zip file, from which an exported runner imports them.

The same code gives the same frames, pixels and errors as here. It needs numpy and PyAV: the
settings' classes, which are checked by pydantic here, become plain dataclasses.
"""

from __future__ import annotations

import dataclasses
import inspect
import io
import re
import zipfile
from pathlib import Path

from actionrnn import config, options

PACKAGE = "actionrnn_reader"
"""Its name in the zip file: another one than here, where both may be installed."""

_FIRST = "video.decode"
_SETTINGS = {"config": config, "options": options}
_IMPORT = re.compile(r"^( *from )actionrnn\.([\w.]*?)(\w+)( import )(.*)$", re.MULTILINE)
_DATE = (1980, 1, 1, 0, 0, 0)  # the same bytes each time


def zipped_reader() -> bytes:
    """The zip file: `video.decode` and all that it imports, side by side in one package."""
    root = Path(__file__).parents[1]
    sources = {"__init__": ""}
    wanted: dict[str, set[str]] = {module: set() for module in _SETTINGS}
    waiting = [_FIRST]
    while waiting:
        module = waiting.pop()
        name = module.rpartition(".")[2]
        if name in sources:
            continue
        source = (root / module.replace(".", "/")).with_suffix(".py").read_text(encoding="utf-8")
        for found in _IMPORT.finditer(source):
            if found[3] in wanted:
                wanted[found[3]].update(found[5].split(", "))
            else:
                waiting.append(found[2] + found[3])
        sources[name] = _IMPORT.sub(r"\1.\3\4\5", source)
    for module, names in wanted.items():
        sources[module] = _plain_classes(module, names)
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as file:
        for name, source in sorted(sources.items()):
            info = zipfile.ZipInfo(f"{PACKAGE}/{name}.py", _DATE)
            file.writestr(info, source, zipfile.ZIP_DEFLATED)
    return written.getvalue()


def _plain_classes(module: str, names: set[str]) -> str:
    """These classes with their defaults, and without their checks."""
    lines = ["from dataclasses import dataclass"]
    for name in sorted(names):
        kind = getattr(_SETTINGS[module], name)
        lines += ["", "", "@dataclass(frozen=True)", f"class {name}:"]
        lines += [
            f"    {field.name}: object = {field.default!r}" for field in dataclasses.fields(kind)
        ]
        if "__str__" in vars(kind):
            lines += ["", inspect.getsource(kind.__str__).rstrip()]
    return "\n".join(lines) + "\n"
