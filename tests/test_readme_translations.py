"""The Chinese README says the same: the same commands, numbers, links and shape."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
ENGLISH = (ROOT / "README.md").read_text(encoding="utf-8")
CHINESE = (ROOT / "README.zh-CN.md").read_text(encoding="utf-8")


def blocks(text: str) -> list[str]:
    return re.findall(r"^```.*?^```$", text, flags=re.MULTILINE | re.DOTALL)


def without_blocks(text: str) -> str:
    return re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)


def table_rows(text: str) -> list[list[str]]:
    """The numbers and code of each row of each table."""
    rows = [line for line in without_blocks(text).splitlines() if line.startswith("|")]
    return [re.findall(r"`[^`]+`|\d+(?:\.\d+)?|\]\([^)]+\)|±", row) for row in rows]


def test_the_commands_and_the_code_are_the_same() -> None:
    assert blocks(CHINESE) == blocks(ENGLISH)
    assert len(blocks(ENGLISH)) >= 5


def test_the_tables_have_the_same_numbers() -> None:
    assert table_rows(CHINESE) == table_rows(ENGLISH)
    assert len(table_rows(ENGLISH)) > 15


def test_the_headings_and_the_links_are_the_same() -> None:
    def headings(text: str) -> list[int]:
        return [len(mark) for mark in re.findall(r"^(#+) ", without_blocks(text), re.MULTILINE)]

    def links(text: str) -> list[str]:
        found = re.findall(r"\]\(([^)]+)\)", text)
        return sorted(link for link in found if not link.startswith("README"))

    assert headings(CHINESE) == headings(ENGLISH)
    assert links(CHINESE) == links(ENGLISH)
    assert "](README.zh-CN.md)" in ENGLISH and "](README.md)" in CHINESE


def test_commands_within_the_text_are_the_same() -> None:
    def commands(text: str) -> set[str]:
        spans = re.findall(r"`([^`]+)`", without_blocks(text))
        return {" ".join(span.split()) for span in spans}

    assert commands(CHINESE) == commands(ENGLISH)


def test_every_link_leads_to_a_file() -> None:
    for text in (ENGLISH, CHINESE):
        for link in re.findall(r"\]\(([^)#]+)", text):
            assert (ROOT / link).exists(), link
