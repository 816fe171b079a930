"""The commands around data sets and features: prepare, extract, store."""

from __future__ import annotations

import functools
import sys
import warnings
from pathlib import Path
from typing import Any

import click

from actionrnn.apps.cli.options import (
    LiteralChoice,
    UserPath,
    config_choice,
    frame_rate_option,
    note_frame_rate,
    store_option,
    stream_option,
)
from actionrnn.text import printable


@click.group()
def prepare() -> None:
    """Download a public data set, and verify it."""


@prepare.command()
@click.argument("folder", type=UserPath(path_type=Path, file_okay=False), metavar="DIR")
@click.option("--download", "fetch", is_flag=True, help="Fetch what is missing (6.9 GB).")
@click.option("--archive", type=UserPath(path_type=Path), help="UCF101.rar, downloaded before.")
@click.option("--check-videos", is_flag=True, help="Decode the first frame of each clip, too.")
def ucf101(folder: Path, fetch: bool, archive: Path | None, check_videos: bool) -> None:
    """UCF101 into DIR: download, unpack and verify what is missing.

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


@click.command()
@click.argument("videos", nargs=-1, required=True, type=UserPath(), metavar="VIDEO_OR_FOLDER...")
@store_option
@click.option("--backbone", help="efficientnet_lite0 (default), torchvision/<name>, timm/<name>.")
@click.option(
    "--weights", type=UserPath(), help="A local weights file instead of the library's default."
)
@click.option("--num-frames", type=int, help="This many frames, evenly over each clip.")
@click.option("--rate-fps", type=float, help="This many frames per second.")
@frame_rate_option
@stream_option
@click.option(
    "--runtime",
    type=config_choice("Runtime"),
    help="What computes; auto: OpenVINO on a CPU where it is installed, else torch.",
)
@click.option(
    "--precision",
    type=config_choice("Precision"),
    help="Of the computation; int8 is faster, and fits int8 features alone.",
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
    num_frames: int | None,
    rate_fps: float | None,
    frame_rate: float | None,
    stream_number: int | None,
    address: str | None,
    **options: Any,
) -> None:
    """Per-frame features of any videos, one entry each, mirroring the folders.

    Run it again to continue: finished videos are skipped, and so are videos that failed, until
    their file changes.
    """
    from actionrnn.config_reading import parse_config
    from actionrnn.features.extract import choose_sampling, extract_to_store
    from actionrnn.video.frame_index import AssumedRateWarning

    if frame_rate is not None:  # then it is not assumed
        warnings.simplefilter("ignore", AssumedRateWarning)
    sampling = choose_sampling(
        num_frames, rate_fps, frame_folder_fps=frame_rate, stream=stream_number
    )
    given = {"name": options.pop("backbone")}
    given |= {name: options.pop(name) for name in ("weights", "runtime", "precision")}
    chosen = {key: value for key, value in given.items() if value is not None}
    config = parse_config({"backbone": chosen}, source="extract").backbone
    run = extract_to_store
    if address is not None:
        from actionrnn.features.cluster import extract_on_cluster

        run = functools.partial(extract_on_cluster, address=address)
    done = run(videos, output, backbone=config, sampling=sampling, **options)
    note_frame_rate(frame_rate, done.num_frame_folders, sampling.frame_folder_fps)
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
        click.echo(f"failed: {printable(failure.reason)}", err=True)
    sys.exit(1 if done.failures else 0)


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
@store_option
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
    "--to", "target", type=LiteralChoice("actionrnn.features.exported", "Target"), required=True
)
def export(folder: Path, output: str, target: Any) -> None:
    """Write the features of STORE as .npy files, HDF5, Parquet or WebDataset shards."""
    from actionrnn.features.exported import export_store
    from actionrnn.features.store import FeatureStore

    count = export_store(FeatureStore.open(folder), output, target)
    click.echo(f"{output}: {count} clips")
