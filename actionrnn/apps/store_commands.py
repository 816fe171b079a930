"""The commands around stored features: verify, import, export."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from actionrnn.apps.path_type import UserPath
from actionrnn.text import printable


@click.group()
def store() -> None:
    """Look after stored features: verify, import, export."""


@store.command()
@click.argument("folder", type=UserPath(path_type=Path), metavar="STORE")
def verify(folder: Path) -> None:
    """Read every entry of STORE again, and list what is missing, truncated or altered.

    Ends with exit code 1 if there is any; `actionrnn extract` with the same videos repairs it.
    """
    from actionrnn.features.store import FeatureStore, verify_store

    opened = FeatureStore.open(folder)
    findings = list(verify_store(opened))
    for finding in findings:
        click.echo(printable(finding.problem))
    num_entries, num_failed = len(opened.keys()), len(opened.failures())
    click.echo(
        f"{folder}: {num_entries} entries, {len(findings)} to repair, "
        f"{num_failed} failed when they were extracted",
        err=bool(findings),
    )
    sys.exit(1 if findings else 0)


@store.command("import")
@click.argument("source", type=UserPath(path_type=Path), metavar="SOURCE")
@click.option(
    "--output",
    "-o",
    required=True,
    type=UserPath(),
    metavar="STORE",
    help="The feature store's folder.",
)
@click.option("--name", default="features", help="What the features are, e.g. i3d-rgb.")
@click.option("--names", type=UserPath(path_type=Path), help="Of one array's clips, a line each.")
@click.option("--rate-fps", type=float, help="Steps per second, if they are known.")
def import_(
    source: Path, output: str, name: str, names: Path | None, rate_fps: float | None
) -> None:
    """Take features that were computed elsewhere into STORE, to train a head on them.

    SOURCE is a folder of .npy, .npz or .pt files, (T, D) each and named <label>/<clip>; a file
    with one array (N, T, D), with --names; an .npz, .pt or HDF5 file with an array a clip; or a
    store of version 0.1 in the format npy, which keeps its times and its origin.
    """
    from actionrnn.features.imported import import_features

    made = import_features(source, output, name=name, names=names, rate_fps=rate_fps)
    click.echo(f"{output}: {len(made.keys())} entries; next:")
    click.echo(f"  actionrnn train folder_example data.features={output}")


@store.command()
@click.argument("folder", type=UserPath(path_type=Path), metavar="STORE")
@click.option("--output", "-o", required=True, type=UserPath(), help="The new file or folder.")
@click.option(
    "--to", "target", type=click.Choice(["npy", "hdf5", "parquet", "webdataset"]), required=True
)
def export(folder: Path, output: str, target: Any) -> None:
    """Write the features of STORE as .npy files, HDF5, Parquet or WebDataset shards."""
    from actionrnn.features.exported import export_store
    from actionrnn.features.store import FeatureStore

    count = export_store(FeatureStore.open(folder), output, target)
    click.echo(f"{output}: {count} clips")
