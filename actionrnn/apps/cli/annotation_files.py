"""The commands around files of annotations: what is in them, and other formats for them."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from actionrnn.apps.cli.options import (
    UserPath,
    annotation_format_option,
    output_folder_option,
    overwrite_option,
)
from actionrnn.text import printable

if TYPE_CHECKING:
    from actionrnn.datasets.annotations.marks import ReadOptions


@click.group(name="annotations")  # the name itself is taken, by the import above
def group() -> None:
    """What people marked in videos: BORIS, ELAN, Label Studio, CVAT, CSV and others."""


def _reading(command: Callable[..., None]) -> Callable[..., None]:
    """The options that a reader may need."""

    @click.option("--rate-fps", type=float, help="Frames a second, where a file counts frames.")
    @click.option("--videos", type=UserPath(path_type=Path), help="The folder of the videos.")
    @click.option("--tier", "tiers", multiple=True, help="Take this tier; may be repeated.")
    @click.option("--subject", "subjects", multiple=True, help="Take this subject; likewise.")
    @click.option("--label", "labels", multiple=True, help="Take this label; likewise.")
    @click.option("--annotator", "annotators", multiple=True, help="Take this person's answers.")
    @functools.wraps(command)
    def with_options(
        *args: Any,
        rate_fps: float | None,
        videos: Path | None,
        tiers: tuple[str, ...],
        subjects: tuple[str, ...],
        labels: tuple[str, ...],
        annotators: tuple[str, ...],
        **others: Any,
    ) -> None:
        from actionrnn.datasets.annotations.marks import ReadOptions

        options = ReadOptions(rate_fps, videos, tiers, subjects, labels, annotators=annotators)
        command(*args, options=options, **others)

    return with_options


@group.command()
@click.argument("path", type=UserPath(path_type=Path), metavar="FILE_OR_FOLDER")
@_reading
def info(path: Path, options: ReadOptions) -> None:
    """Labels, bouts, points, seconds and subjects, and what a reader leaves out.

    With --videos also what does not fit them: missing videos, and marks outside of theirs.
    """
    from rich.console import Console

    from actionrnn.apps.annotations_info import lines_of, table_of
    from actionrnn.datasets.annotations.formats import read_annotations, videos_of
    from actionrnn.datasets.annotations.placement import misplaced

    marks = read_annotations(path, options)
    click.echo(f"{printable(path)}: {marks.format}")
    Console().print(table_of(marks))
    problems = misplaced(marks, videos_of(marks, options.videos))
    for line in (*lines_of(marks), *(f"problem   {problem}" for problem in problems)):
        click.echo(printable(line))


@group.command()
@click.argument("source", type=UserPath(path_type=Path), metavar="FILE_OR_FOLDER")
@click.argument("target", type=UserPath(path_type=Path, dir_okay=False), metavar="TARGET")
@annotation_format_option
@overwrite_option
@_reading
def convert(
    source: Path,
    target: Path,
    format_name: Any,
    overwrite: bool,
    options: ReadOptions,
) -> None:
    """Write the marks of a file, or of all files of a folder, in another format.

    TARGET ends in .csv (path, start, end, label), .tsv (BORIS), .eaf (ELAN), .txt (a label for
    each frame) or .json (say --to label-studio or activitynet). Formats that count frames need
    --rate-fps.
    """
    from actionrnn.datasets.annotations.formats import (
        read_annotations,
        require_writable,
        with_paths_from,
        write_annotations,
    )
    from actionrnn.errors import DatasetError
    from actionrnn.results import require_new

    require_writable(target, format_name, options.rate_fps)
    require_new(target, overwrite=overwrite, source=source)
    if source.is_dir() and target.resolve().parent == source.resolve():
        raise DatasetError(f"{target}: lies among the files that are read; choose another folder")
    marks = read_annotations(source, options)
    marks = with_paths_from(marks, target.parent, options.videos)
    notes = write_annotations(marks, target, format_name, rate_fps=options.rate_fps)
    for note in (*marks.notes, *notes):
        click.echo(f"note: {printable(note)}", err=True)
    click.echo(f"{target}: {len(marks.marks)} marks")


@group.command()
@click.argument("first", type=UserPath(path_type=Path), metavar="FIRST")
@click.argument("second", type=UserPath(path_type=Path), metavar="SECOND")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of tables.")
@click.option(
    "--group-pattern", help="Finds a video's group in its name, as data.group_pattern does."
)
@output_folder_option
@_reading
def compare(
    first: Path,
    second: Path,
    as_json: bool,
    group_pattern: str | None,
    output: Path | None,
    options: ReadOptions,
) -> None:
    """How far two annotators of the same videos agree, or an annotator and a prediction.

    The scores that `evaluate` gives a model's steps and segments, Cohen's kappa, and for each label
    bouts, time budget, precision and recall. The files may be of different formats; FIRST stands
    for the truth. Where a file does not say where somebody looked, all of the video counts, so say
    where the videos are (--videos), unless they lie beside the files. --output writes
    agreement.json, agreement_scores.csv and agreement_bouts.csv.
    """
    from rich.console import Console

    from actionrnn.datasets.annotations.clock import spans_of_videos
    from actionrnn.datasets.annotations.formats import read_annotations, videos_of
    from actionrnn.evaluation.agreement import write_agreement
    from actionrnn.evaluation.annotators import compare_annotators, groups_of

    # one of them may not know a label or a subject of the other
    everything = replace(options, labels=(), subjects=())
    ours, theirs = (read_annotations(path, everything).among(options) for path in (first, second))
    spans = [spans_of_videos(one, videos_of(one, options.videos)) for one in (theirs, ours)]
    groups = groups_of(ours, group_pattern)
    found = compare_annotators(ours, theirs, spans=spans[0] | spans[1], groups=groups)
    if output is not None:
        write_agreement(found, output)
    if as_json:
        click.echo(json.dumps(found.to_dict()))
        return
    Console().print(found)
