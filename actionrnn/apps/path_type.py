"""What a path on the command line is."""

from __future__ import annotations

import os
from typing import Any

import click

from actionrnn.files import at_home


class UserPath(click.Path):
    """A path; `~` is the home folder, which shells leave alone in `--output=~/runs`."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The path without `~`."""
        return super().convert(at_home(os.fspath(value)), param, ctx)
