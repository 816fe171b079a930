"""The command line: parse, call, print. Heavy imports wait until a command runs."""

from __future__ import annotations

import io
import os
import sys
import warnings
from collections.abc import Sequence
from typing import Any

import click

from actionrnn import __version__
from actionrnn.apps.cli import (
    annotation_files,
    classify,
    features,
    models,
    serve,
    stream,
    studio,
    timeline,
    training,
)
from actionrnn.errors import ActionrnnError
from actionrnn.text import printable
from actionrnn.video.address import masked

INTERRUPTED = 130
# these keep what is done; the others leave nothing, and start again
_ADVICE = dict.fromkeys(("demo", "prepare", "extract"), "; run the same command again to continue")


def _warn(message: Warning | str, *_: Any, **__: Any) -> None:
    """One line, without the place in the code where it was noticed."""
    click.echo(f"warning: {printable(message)}", err=True)


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
        # Where other work runs too, threads that spin while they wait cost many times the work;
        # alone, one that wakes up for each of a recurrence's small products costs more than it.
        os.environ.setdefault("OMP_WAIT_POLICY", "passive")
        os.environ.setdefault("GOMP_SPINCOUNT", "500")  # about 10 us, instead of 0
        for output in (sys.stdout, sys.stderr):
            if isinstance(output, io.TextIOWrapper):  # a name that it cannot write ends nothing
                output.reconfigure(errors="backslashreplace")
        given = list(sys.argv[1:] if args is None else args)
        options = given[: given.index("--")] if "--" in given else given
        debug = "--debug" in options
        if debug:  # also behind the command
            given.remove("--debug")
        try:
            with warnings.catch_warnings():
                if not debug:
                    warnings.showwarning = _warn
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
            click.echo(f"error: {printable(masked(str(place)))}: {error.strerror}", err=True)
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


for _command in (
    training.demo,
    features.prepare,
    features.extract,
    features.store,
    annotation_files.group,
    training.train,
    training.evaluate,
    training.compare,
    classify.classify,
    timeline.timeline,
    timeline.render,
    stream.stream,
    serve.serve,
    studio.studio,
    models.export,
    models.card,
    models.push,
    models.info,
    models.backbones,
):
    main.add_command(_command)
