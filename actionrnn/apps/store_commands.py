"""The commands around stored features: verify, import, export."""

from __future__ import annotations

import sys
from pathlib import Path

import click


@click.group()
def store() -> None:
    """Look after stored features: verify, import, export."""


@store.command()
@click.argument("folder", type=click.Path(path_type=Path), metavar="STORE")
def verify(folder: Path) -> None:
    """Read every entry of STORE again, and list what is missing, truncated or altered.

    Ends with exit code 1 if there is any; `actionrnn extract` with the same videos repairs it.
    """
    from actionrnn.features.store import FeatureStore
    from actionrnn.features.verify import verify_store

    opened = FeatureStore.open(folder)
    findings = list(verify_store(opened))
    for finding in findings:
        click.echo(finding.problem)
    num_entries, num_failed = len(opened.keys()), len(opened.failures())
    click.echo(
        f"{folder}: {num_entries} entries, {len(findings)} to repair, "
        f"{num_failed} failed when they were extracted",
        err=bool(findings),
    )
    sys.exit(1 if findings else 0)
