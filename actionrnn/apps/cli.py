"""The command table: parse, call, print. Heavy imports wait until a command runs."""

from __future__ import annotations

import functools
import io
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from actionrnn import __version__
from actionrnn.apps import stream_commands
from actionrnn.apps.classify_command import classify
from actionrnn.apps.model_commands import card, export, push
from actionrnn.apps.path_type import UserPath
from actionrnn.apps.serve_command import serve
from actionrnn.apps.store_commands import store
from actionrnn.apps.stream_commands import RUNTIMES
from actionrnn.errors import ActionrnnError
from actionrnn.text import printable

INTERRUPTED = 130
# what was done is kept; of the other commands nothing is left, and they begin anew
_ADVICE = dict.fromkeys(("demo", "prepare", "extract"), "; run the same command again to go on")


class _Commands(click.Group):
    """Commands in the order in which they are used; errors as one line."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            again = f"; {error}" if error.args else ""
            click.echo(
                f"interrupted{again or _ADVICE.get(str(ctx.invoked_subcommand), '')}", err=True
            )
            sys.exit(INTERRUPTED)

    def main(self, args: Sequence[str] | None = None, *rest: Any, **kwargs: Any) -> Any:
        # where other work runs too, threads that spin while they wait cost many times the work
        os.environ.setdefault("OMP_WAIT_POLICY", "passive")
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):  # a name that it cannot write ends nothing
                stream.reconfigure(errors="backslashreplace")
        given = list(sys.argv[1:] if args is None else args)
        options = given[: given.index("--")] if "--" in given else given
        debug = "--debug" in options
        if debug:  # also behind the command
            given.remove("--debug")
        try:
            return super().main(given, *rest, **kwargs)
        except ActionrnnError as error:
            if debug:
                raise
            click.echo(f"error: {printable(error)}", err=True)
            sys.exit(1)
        except OSError as error:
            if debug:
                raise
            place = error.filename2 or error.filename or "output"
            click.echo(f"error: {printable(place)}: {error.strerror}", err=True)
            sys.exit(1)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="actionrnn")
@click.option("--debug", is_flag=True, help="Show the traceback of an error (in any place).")
def main(debug: bool) -> None:
    """Video action recognition: a frozen CNN and a recurrent head.

    Try `actionrnn demo`; then `actionrnn classify VIDEO --model runs/demo/model.safetensors`.

    Shell completion: put `eval "$(_ACTIONRNN_COMPLETE=bash_source actionrnn)"` into ~/.bashrc
    (zsh_source and fish_source likewise).
    """


_output_folder = click.option(
    "--output", "-o", type=UserPath(path_type=Path, file_okay=False), help="Where results go."
)
_overrides = click.argument("overrides", nargs=-1, metavar="[section.key=value]...")
_allow_group_leak = click.option(
    "--allow-group-leak",
    is_flag=True,
    help="Accept groups in training and test; every output then says so.",
)


@main.command()
@click.option(
    "--output",
    "-o",
    type=UserPath(path_type=Path, file_okay=False),
    default=Path("runs/demo"),
    show_default=True,
    help="Where data, features, model and report go.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
def demo(output: Path, seed: int) -> None:
    """Run the whole path on the built-in data set (about a minute)."""
    from actionrnn.apps.demo import run_demo

    run_demo(output, seed=seed)


@main.group()
def prepare() -> None:
    """Bring a public data set here, and verify it."""


@prepare.command()
@click.argument("folder", type=UserPath(path_type=Path, file_okay=False), metavar="DIR")
@click.option("--download", "fetch", is_flag=True, help="Fetch what is missing (6.9 GB).")
@click.option("--archive", type=UserPath(path_type=Path), help="UCF101.rar, if it is here already.")
@click.option("--check-videos", is_flag=True, help="Decode the first frame of each clip, too.")
def ucf101(folder: Path, fetch: bool, archive: Path | None, check_videos: bool) -> None:
    """UCF101 into DIR: download, unpack and verify what is not there yet.

    Says what is missing, extra, empty or unreadable, and then ends with exit code 1.
    """
    from actionrnn.datasets.ucf101_prepare import prepare_ucf101

    check = prepare_ucf101(folder, archive=archive, fetch=fetch, decode_videos=check_videos)
    click.echo(str(check))
    if check.is_complete:
        click.echo(
            "complete; next: actionrnn train ucf101_efficientnet_lite0_gru "
            f"data.root={check.root} data.fold=1"
        )
        return
    if check.lacks_clips and not (fetch or archive):
        click.echo("add --download, or --archive FILE", err=True)
    sys.exit(1)


@main.command()
@click.argument("videos", nargs=-1, required=True, type=UserPath(), metavar="VIDEO_OR_FOLDER...")
@click.option(
    "--output",
    "-o",
    required=True,
    type=UserPath(),
    metavar="STORE",
    help="The feature store's folder.",
)
@click.option("--backbone", help="efficientnet_lite0 (default), torchvision/<name>, timm/<name>.")
@click.option(
    "--weights", type=UserPath(), help="A local weights file instead of the library's default."
)
@click.option("--num-frames", type=int, help="So many frames, evenly over each clip.")
@click.option("--rate-fps", type=float, help="So many frames per second.")
@click.option("--format", type=click.Choice(["safetensors", "npy"]), default="safetensors")
@click.option(
    "--runtime",
    type=click.Choice(RUNTIMES),
    help="What computes; auto: OpenVINO on a CPU where it is installed, else torch.",
)
@click.option("--strict", is_flag=True, help="Stop at the first video that cannot be used.")
@click.option("--retry-failed", is_flag=True, help="Try videos again that failed before.")
@click.option(
    "--overwrite", is_flag=True, help="Replace features of changed videos or of another origin."
)
@click.option(
    "--ray",
    "address",
    is_flag=False,
    flag_value="local",
    metavar="[ADDRESS]",
    help="Extract on a Ray cluster (auto: this machine's); without ADDRESS on a local one.",
)
def extract(
    videos: tuple[str, ...],
    output: str,
    backbone: str | None,
    weights: str | None,
    num_frames: int | None,
    rate_fps: float | None,
    format: Any,
    runtime: str | None,
    strict: bool,
    retry_failed: bool,
    overwrite: bool,
    address: str | None,
) -> None:
    """Per-frame features of any videos, one entry each, mirroring the folders.

    Run it again to go on: what is there is skipped, and so are videos that failed before, until
    their file changes.
    """
    from actionrnn.config import parse_config
    from actionrnn.features.extract import choose_sampling, extract_to_store

    sampling = choose_sampling(num_frames, rate_fps)
    given = {"name": backbone, "weights": weights, "runtime": runtime}
    chosen = {key: value for key, value in given.items() if value is not None}
    config = parse_config({"backbone": chosen}, source="extract").backbone
    run = extract_to_store
    if address is not None:
        from actionrnn.features.cluster import extract_on_cluster

        run = functools.partial(extract_on_cluster, address=address)
    done = run(
        videos,
        output,
        backbone=config,
        sampling=sampling,
        format=format,
        strict=strict,
        retry_failed=retry_failed,
        overwrite=overwrite,
    )
    for note in done.notes:
        click.echo(f"note: {printable(note)}", err=True)
    known = f", {done.num_known_failures} of them before" if done.num_known_failures else ""
    click.echo(
        f"{output}: {done.num_extracted} extracted, {done.num_skipped} were there, "
        f"{len(done.failures)} failed{known}"
    )
    if done.pace is not None and done.pace.num_frames:
        click.echo(str(done.pace), err=True)
    if known:
        click.echo("known failures were not tried again; --retry-failed does", err=True)
    for failure in done.failures:
        click.echo(f"failed: {printable(failure['reason'])}", err=True)
    sys.exit(1 if done.failures else 0)


main.add_command(store)


@main.command()
@click.argument("config", type=UserPath(), metavar="CONFIG")
@_overrides
@_output_folder
@click.option("--resume", is_flag=True, help="Go on with an interrupted training.")
@click.option("--tensorboard", is_flag=True, help="Write the curves for TensorBoard, too.")
@_allow_group_leak
def train(
    config: str,
    overrides: tuple[str, ...],
    output: Path | None,
    resume: bool,
    tensorboard: bool,
    allow_group_leak: bool,
) -> None:
    """Train and test a head as CONFIG (a YAML file, or a shipped one's name) says."""
    from rich.console import Console

    from actionrnn.config import load_config
    from actionrnn.evaluation.report_page import PAGE_FILE
    from actionrnn.files import MODEL_FILE
    from actionrnn.training import parallel
    from actionrnn.training.fit_state import can_resume
    from actionrnn.training.train import train as run_training

    output = output or Path("runs") / Path(config).stem
    chosen = load_config(config, [*overrides, *_leak_override(allow_group_leak)])
    try:
        run = run_training(chosen, output, resume=resume, tensorboard=tensorboard)
    except KeyboardInterrupt:
        with_resume = " with --resume" if can_resume(output) else ""
        raise KeyboardInterrupt(f"run the same command again{with_resume} to go on") from None
    if not parallel.is_first():
        return
    Console().print(run.report)
    click.echo(f"model   {output / MODEL_FILE}\nreport  {output / PAGE_FILE}")


def _leak_override(allow_group_leak: bool) -> list[str]:
    return ["data.allow_group_leak=true"] if allow_group_leak else []


@main.command()
@click.argument("model", type=UserPath(), metavar="MODEL")
@_overrides
@stream_commands.weights_option
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@click.option(
    "--output",
    "-o",
    type=UserPath(path_type=Path, file_okay=False),
    help="Write report.json, report.html and new features into this folder.",
)
@_allow_group_leak
def evaluate(
    model: str,
    overrides: tuple[str, ...],
    weights: str | None,
    as_json: bool,
    output: Path | None,
    allow_group_leak: bool,
) -> None:
    """Test MODEL (a file, or a run's folder) on its test clips, or on others (data.root=...)."""
    from rich.console import Console

    from actionrnn.evaluation.evaluate import evaluate as run_evaluation
    from actionrnn.evaluation.report_page import PAGE_FILE

    def tell(line: str) -> None:
        click.echo(printable(line), err=True)

    chosen = [*overrides, *_leak_override(allow_group_leak)]
    report = run_evaluation(model, chosen, weights=weights, output=output, tell=tell)
    if as_json:
        click.echo(json.dumps(report.to_dict()))
        return
    Console().print(report)
    if output is not None:
        click.echo(f"report  {output / PAGE_FILE}")


@main.command()
@click.argument("runs", nargs=-1, required=True, type=UserPath(), metavar="RUN RUN...")
@click.option("--json", "as_json", is_flag=True, help="Print the comparison as JSON.")
def compare(runs: tuple[str, ...], as_json: bool) -> None:
    """Runs side by side (folders, or their report.json), each against the first.

    Over the clips that both tested: the difference with a 95 % interval, and the exact
    McNemar test of whether it is more than luck.
    """
    from rich.console import Console

    from actionrnn.evaluation.compare import compare_runs

    if len(runs) < 2:
        raise click.UsageError("give at least two runs")
    comparison = compare_runs(runs)
    if as_json:
        click.echo(json.dumps(comparison.to_dict()))
    else:
        Console().print(comparison)


main.add_command(classify)
main.add_command(stream_commands.timeline)
main.add_command(stream_commands.render)
main.add_command(stream_commands.stream)
main.add_command(serve)
main.add_command(export)
main.add_command(card)
main.add_command(push)


@main.command()
@click.argument("path", type=UserPath(), metavar="PATH")
def info(path: str) -> None:
    """What a video, a feature store, a model or a run's folder is."""
    from actionrnn.apps.info import describe

    rows = describe(path)
    width = max(map(len, rows))
    for name, value in rows.items():
        click.echo(f"{name:<{width}}  {printable(value)}")


@main.command()
@click.argument("search", required=False)
def backbones(search: str | None) -> None:
    """Names, feature sizes, and whether the weights are here. SEARCH filters timm's too."""
    from actionrnn.features.catalogue import list_backbones

    click.echo(f"{'name':<44} {'features':>8}  weights")
    for entry in list_backbones(search):
        click.echo(f"{entry.name:<44} {entry.feature_size or '?':>8}  {entry.weights}")
