"""XML that tools of annotation write."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import cast
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from actionrnn.datasets.annotations.text import read_text
from actionrnn.errors import DatasetError, first_line
from actionrnn.text import plain

_BEGINNING = 1 << 16  # characters in which the outermost element begins


def outermost_tag(text: str) -> str:
    """The name of a text's outermost element; empty: it is no XML."""
    parser: ElementTree.XMLPullParser[Element] = ElementTree.XMLPullParser(["start"])
    parser.feed(text[:_BEGINNING])
    try:
        for _, element in cast(Iterator[tuple[str, Element]], parser.read_events()):
            return element.tag
    except ElementTree.ParseError:
        pass
    return ""


def read_xml(file: Path, tag: str) -> Element:
    """The outermost element of a file, which has this name.

    Raises:
        DatasetError: the file is no XML, is damaged, or holds another element.
    """
    try:
        root = ElementTree.fromstring(read_text(file))
    except ElementTree.ParseError as error:
        reason = first_line(error)
        raise DatasetError(f"{file}: is no whole XML ({reason}); export it again") from None
    if root.tag != tag:
        raise DatasetError(f"{file}: its outermost element is {plain(root.tag)}, not {tag}")
    return root


def attribute(file: Path, element: Element, name: str) -> str:
    """An attribute that the element must have.

    Raises:
        DatasetError: it is missing.
    """
    value = element.get(name)
    if value is None:
        raise DatasetError(f"{file}: {_shown(element)} has no {name}; export the file again")
    return value


def whole_number(file: Path, element: Element, name: str) -> int:
    """An attribute that is a whole number.

    Raises:
        DatasetError: it is missing, or no whole number of at most 15 digits.
    """
    value = attribute(file, element, name)
    if not re.fullmatch(r"[+-]?[0-9]{1,15}", value.strip()):
        raise DatasetError(
            f"{file}: {name} is {plain(value)!r} in {_shown(element)}; write a whole number"
        )
    return int(value)


def _shown(element: Element) -> str:
    """The element's tag with its first attributes, to find it by."""
    first = list(element.items())[:3]
    return (
        plain(" ".join((f"<{element.tag}", *(f'{name}="{value}"' for name, value in first)))) + ">"
    )
