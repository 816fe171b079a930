"""A tag is published only if it is the version, and the changelog knows it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="a shell script")


@pytest.mark.parametrize(
    ("tag", "section", "problem"),
    [
        ("v1.2.3", "## 1.2.3", ""),
        ("v1.2.4", "## 1.2.4", "v1.2.4 is not v1.2.3"),
        ("1.2.3", "## 1.2.3", "1.2.3 is not v1.2.3"),
        ("v1.2.3", "## Unreleased", "no section '## 1.2.3'"),
    ],
)
def test_only_the_version_is_released(tmp_path: Path, tag: str, section: str, problem: str) -> None:
    for folder in (".ci", "actionrnn"):
        (tmp_path / folder).mkdir()
    shutil.copy(ROOT / ".ci" / "check-version", tmp_path / ".ci")
    (tmp_path / "actionrnn" / "__init__.py").write_text('__version__ = "1.2.3"\n')
    (tmp_path / "CHANGELOG.md").write_text(f"# Changelog\n\n{section}\n")
    command = [str(tmp_path / ".ci" / "check-version"), tag]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == (1 if problem else 0)
    assert problem in done.stderr
