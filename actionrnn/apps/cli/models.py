"""The commands that describe and publish: info, backbones, export, card, push."""

from __future__ import annotations

from pathlib import Path

import click

from actionrnn.apps.cli.options import (
    UserPath,
    none_rate_option,
    overwrite_option,
    stream_option,
    weights_option,
)
from actionrnn.text import printable


@click.command()
@click.argument("path", type=UserPath(), metavar="PATH")
@stream_option
def info(path: str, stream_number: int | None) -> None:
    """What a video, a feature store, a model or a run's folder is."""
    from actionrnn.apps.info import describe

    rows = describe(path, stream_number)
    width = max(map(len, rows))
    for name, value in rows.items():
        click.echo(f"{name:<{width}}  {printable(value)}")


@click.command()
@click.argument("search", required=False)
def backbones(search: str | None) -> None:
    """Names, feature sizes, and whether the weights are installed. SEARCH filters timm's too."""
    from actionrnn.features.networks import list_backbones

    click.echo(f"{'name':<44} {'features':>8}  weights")
    for entry in list_backbones(search):
        click.echo(f"{entry.name:<44} {entry.feature_size or '?':>8}  {entry.weights}")


@click.command()
@click.argument("model", type=UserPath(), metavar="MODEL")
@click.option(
    "--output",
    "-o",
    type=UserPath(path_type=Path, file_okay=False),
    help="The folder of the export; an earlier export there is replaced.",
)
@click.option(
    "--web",
    type=UserPath(path_type=Path, file_okay=False),
    metavar="FOLDER",
    help="Write a web page instead, for any static web server: a video or the webcam in, scores "
    "out, all within the browser.",
)
@click.option(
    "--onnxruntime-web",
    type=UserPath(path_type=Path, file_okay=False, exists=True),
    metavar="FOLDER",
    help="The unpacked npm package for --web; default: npm fetches it, once.",
)
@click.option(
    "--int8",
    "int8_clips",
    metavar="FOLDER",
    type=UserPath(path_type=Path, file_okay=False, exists=True),
    help="Quantise the encoder with the videos in FOLDER (in folders named by their labels, if "
    "they are known); refused if it costs accuracy on them.",
)
@none_rate_option
@weights_option
def export(
    model: str,
    output: Path | None,
    web: Path | None,
    onnxruntime_web: Path | None,
    int8_clips: Path | None,
    none_rate: float | None,
    weights: str | None,
) -> None:
    """MODEL as ONNX: an encoder, a step of the head, and a runner that needs no PyTorch.

    With --web: the same as a web page.
    """
    from actionrnn.apps.export import export as run_export
    from actionrnn.apps.export_web import export_web

    if (output is None) == (web is None):
        raise click.UsageError("give --output FOLDER, or --web FOLDER for a web page")
    if web is None and onnxruntime_web is not None:
        raise click.UsageError("--onnxruntime-web is for --web; leave it out")
    if web is not None and int8_clips is not None:
        raise click.UsageError("--int8 is for --output: the page computes in float32; leave it out")
    if web is not None:
        folder = export_web(
            model,
            web,
            weights=weights,
            none_rate=none_rate,
            onnxruntime_web_folder=onnxruntime_web,
        )
    else:
        assert output is not None
        done = run_export(
            model, output, weights=weights, int8_clips=int8_clips, none_rate=none_rate
        )
        folder = done.folder
        if done.int8 is not None:
            click.echo(str(done.int8))
    for file in sorted(folder.iterdir()):
        click.echo(f"{file}  {file.stat().st_size / 1e6:.2f} MB")


@click.command()
@click.argument("model", type=UserPath(), metavar="MODEL")
@click.option("--output", "-o", type=UserPath(path_type=Path, dir_okay=False))
@overwrite_option
def card(model: str, output: Path | None, overwrite: bool) -> None:
    """The card of MODEL, in Markdown: labels, data, scores, use, limits, licence."""
    from actionrnn.apps.card import make_card
    from actionrnn.files import write_text
    from actionrnn.model.model_file import read_model_info
    from actionrnn.results import require_new

    info = read_model_info(model)
    if output is not None:
        require_new(output, overwrite=overwrite, source=info.path)
    text = make_card(info, model) if model.startswith("hf://") else make_card(info)
    if output is None:
        click.echo(text, nl=False)
        return
    write_text(output, text)
    click.echo(f"wrote {output}", err=True)


@click.command()
@click.argument("model", type=UserPath(), metavar="MODEL")
@click.argument("repository", metavar="USER/NAME")
@click.option("--private", is_flag=True, help="A repository that is created is private.")
def push(model: str, repository: str, private: bool) -> None:
    """Publish MODEL with its card on the Hugging Face hub, as a new commit of USER/NAME.

    Then every command takes it: --model hf://USER/NAME. The token is that of `hf auth login`, or
    HF_TOKEN.
    """
    from actionrnn.apps.card import make_card
    from actionrnn.model.hub import parse_address, upload
    from actionrnn.model.model_file import public_bytes, read_model_info

    address = parse_address(repository)
    info = read_model_info(model)
    card = make_card(info, str(address))
    click.echo(upload(public_bytes(info), card, str(address), private=private))
