"""The commands that train and test heads: demo, train, evaluate, compare."""

from __future__ import annotations

import json
from pathlib import Path

import click

from actionrnn.apps.cli.options import UserPath, output_folder_option, weights_option
from actionrnn.text import printable

_overrides = click.argument("overrides", nargs=-1, metavar="[section.key=value]...")
_allow_group_leak = click.option(
    "--allow-group-leak",
    is_flag=True,
    help="Accept groups in training and test; every output then says so.",
)


@click.command()
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
    """Render the built-in data set, train on it and classify (about a minute)."""
    from actionrnn.apps.demo import run_demo

    run_demo(output, seed=seed)


@click.command()
@click.argument("config", type=UserPath(), metavar="CONFIG")
@_overrides
@output_folder_option
@click.option("--resume", is_flag=True, help="Continue an interrupted training.")
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
    """Train and test a head as CONFIG (a YAML file, or a shipped one's name) says.

    CONFIG may be the folder of a project (`actionrnn studio`); the run is then its next one.
    """
    from rich.console import Console

    from actionrnn.apps.studio.project_config import next_run, project_config
    from actionrnn.apps.studio.project_file import is_project
    from actionrnn.config_reading import load_config
    from actionrnn.evaluation.report_page import PAGE_FILE
    from actionrnn.evaluation.report_text import render_text
    from actionrnn.files import MODEL_FILE
    from actionrnn.training import parallel
    from actionrnn.training.fit_state import can_resume
    from actionrnn.training.train import train as run_training

    overrides = (*overrides, *_leak_override(allow_group_leak))
    if is_project(config):
        output = output or next_run(Path(config))
        chosen = project_config(Path(config), overrides)
    else:
        output = output or Path("runs") / Path(config).stem
        chosen = load_config(config, overrides)
    try:
        run = run_training(chosen, output, resume=resume, tensorboard=tensorboard)
    except KeyboardInterrupt:
        with_resume = " with --resume" if can_resume(output) else ""
        raise KeyboardInterrupt(f"run the same command again{with_resume} to continue") from None
    if not parallel.is_first():
        return
    Console().print(render_text(run.report))
    click.echo(f"model   {output / MODEL_FILE}\nreport  {output / PAGE_FILE}")


def _leak_override(allow_group_leak: bool) -> list[str]:
    return ["data.allow_group_leak=true"] if allow_group_leak else []


@click.command()
@click.argument("model", type=UserPath(), metavar="MODEL")
@_overrides
@weights_option
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
    """Test MODEL (a file, or a run's folder) on its test clips, or on others (data.root=...).

    Two files of annotations are set against each other by `actionrnn annotations compare`.
    """
    from rich.console import Console

    from actionrnn.evaluation.evaluate import evaluate as run_evaluation
    from actionrnn.evaluation.report_page import PAGE_FILE
    from actionrnn.evaluation.report_text import render_text

    def tell(line: str) -> None:
        click.echo(printable(line), err=True)

    chosen = [*overrides, *_leak_override(allow_group_leak)]
    report = run_evaluation(model, chosen, weights=weights, output=output, tell=tell)
    if as_json:
        click.echo(json.dumps(report.to_dict()))
        return
    Console().print(render_text(report))
    if output is not None:
        click.echo(f"report  {output / PAGE_FILE}")


@click.command()
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
