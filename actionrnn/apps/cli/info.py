"""The commands that say what is here: info, backbones."""

from __future__ import annotations

import click

from actionrnn.apps.cli.options import UserPath
from actionrnn.text import printable


@click.command()
@click.argument("path", type=UserPath(), metavar="PATH")
def info(path: str) -> None:
    """What a video, a feature store, a model or a run's folder is."""
    from actionrnn.apps.info import describe

    rows = describe(path)
    width = max(map(len, rows))
    for name, value in rows.items():
        click.echo(f"{name:<{width}}  {printable(value)}")


@click.command()
@click.argument("search", required=False)
def backbones(search: str | None) -> None:
    """Names, feature sizes, and whether the weights are here. SEARCH filters timm's too."""
    from actionrnn.features.networks import list_backbones

    click.echo(f"{'name':<44} {'features':>8}  weights")
    for entry in list_backbones(search):
        click.echo(f"{entry.name:<44} {entry.feature_size or '?':>8}  {entry.weights}")
