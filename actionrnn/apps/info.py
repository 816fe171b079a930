"""What a video, a feature store or a model is, as plain rows."""

from __future__ import annotations

from pathlib import Path

from actionrnn.config import Sampling
from actionrnn.datasets.recordings import tested_as
from actionrnn.errors import ActionrnnError, ModelError
from actionrnn.evaluation.report import REPORT_FILE, read_report
from actionrnn.features.store import MANIFEST, FeatureStore
from actionrnn.files import MODEL_FILE, as_path
from actionrnn.model.hub import fetch, is_address
from actionrnn.model.model_file import read_model_info
from actionrnn.model.privacy import EVERY_CLIP, shown_fold
from actionrnn.video.address import masked
from actionrnn.video.decode import iter_frames
from actionrnn.video.finding import find_videos
from actionrnn.video.image_folder import find_pictures
from actionrnn.video.probe import probe_video, read_corrections
from actionrnn.video.source import Located, is_path, locate, why_unreadable

Rows = dict[str, str]


def describe(path: str | Path, stream: int | None = None) -> Rows:
    """Names and values that describe what `path` is.

    Args:
        stream: the video stream of a file with several that is described.

    Raises:
        ActionrnnError: the path does not exist, or is of no known kind.
    """
    if is_address(path):
        return _describe_model(fetch(str(path)))
    if not is_path(path):
        return _describe_video(locate(path), stream)
    try:
        return _describe_path(as_path(path), stream)
    except PermissionError as error:
        raise ActionrnnError(f"{path}: {why_unreadable(error)}") from None


def _describe_path(path: Path, stream: int | None) -> Rows:
    if not path.exists():
        raise ActionrnnError(f"{masked(str(path))}: no such file or folder")
    if (path / MODEL_FILE).is_file():
        return _describe_model(path / MODEL_FILE)
    if path.is_dir():
        return _describe_store(path) if (path / MANIFEST).exists() else _describe_folder(path)
    if path.suffix == ".safetensors":
        return _describe_model(path)
    return _describe_video(path, stream)


def _describe_video(path: Located, stream: int | None) -> Rows:
    video = probe_video(path, stream=stream)
    duration = "unknown" if video.duration_seconds is None else f"{video.duration_seconds:.2f} s"
    frames = f", {video.num_frames} frames" if video.num_frames else ""
    megabytes = video.size_bytes / 1e6
    rate = "unknown" if video.rate_fps is None else f"{video.rate_fps:.3f} frames/s"
    rows = {
        "video": str(path),
        "codec": f"{video.codec} in {video.container}",
        "size": f"{video.width} x {video.height}" + (f", {megabytes:.2f} MB" if megabytes else ""),
        "rate": rate,
        "duration": duration + frames,
    }
    if video.corrections:
        rows["pictures"] = ", ".join(video.corrections)
    for one in video.streams if len(video.streams) > 1 else ():
        here = "described here" if one.number == video.stream else f"--stream {one.number}"
        codec = one.codec or "no decoder for it"
        rows[f"stream {one.number}"] = f"{codec}, {one.width} x {one.height} ({here})"
    return rows


def _describe_folder(path: Path) -> Rows:
    found = find_videos(path)
    if found.paths == (path,):
        return _describe_frame_folder(path)
    nested = (video.relative_to(path).parts for video in found.paths)
    folders = sorted({parts[0] for parts in nested if len(parts) > 1})
    names = ", ".join(folders[:8]) + (", ..." if folders[8:] else "")
    rows = {
        "folder": str(path),
        "videos": str(len(found.paths)),
        "subfolders": f"{len(folders)} ({names})" if folders else "0",
    }
    for number, note in enumerate((*found.unreadable.values(), *found.notes), start=1):
        rows[f"note {number}"] = note
    return rows


def _describe_frame_folder(path: Path) -> Rows:
    num_frames, corrections = len(find_pictures(path)), read_corrections(path)
    height, width = next(iter_frames(path)).rgb.shape[:2]
    rows = {
        "folder of pictures": str(path),
        "frames": str(num_frames),
        "size": f"{width} x {height}",
        "rate": f"not stated: {Sampling.frame_folder_fps:g} frames/s without --frame-rate",
    }
    if corrections:
        rows["pictures"] = ", ".join(corrections)
    return rows


def _describe_store(path: Path) -> Rows:
    store = FeatureStore.open(path)
    keys, failures, made = store.keys(), store.failures(), store.provenance
    rows = {
        "store": str(path),
        "entries": str(len(keys)),
        "backbone": made.backbone,
        "weights": f"sha256 {made.weights_sha256}",
        "preprocessing": str(made.to_json()["preprocessing"]),
        "sampling": str(made.to_json()["sampling"]),
        "precision": made.precision,
        "failures": str(len(failures)),
    }
    if keys:
        rows["first entry"] = f"{keys[0]} {store.read(keys[0]).values.shape}"
    for number, failure in enumerate(failures, start=1):
        rows[f"failure {number}"] = failure.reason
    return rows


def _notes_beside(model: Path) -> tuple[str, ...]:
    """The notes of the report beside a model; they name clips, so models do not hold them."""
    report = model.with_name(REPORT_FILE)
    if model.name != MODEL_FILE or not report.is_file():
        return ()
    try:
        return read_report(report).notes
    except ActionrnnError:
        return ()


def _part(fold: object) -> str:
    return EVERY_CLIP if fold == EVERY_CLIP else f"all but the test clips ({shown_fold(fold)})"


def _describe_model(path: Path) -> Rows:
    try:
        model = read_model_info(path)
    except ModelError:
        store = next((folder for folder in path.parents if (folder / MANIFEST).exists()), None)
        if store is None:
            raise
        opened = FeatureStore.open(store)
        features = opened.read(opened.key_of(str(path.relative_to(store))))
        return {
            "features": str(path),
            "store": str(store),
            "shape": str(features.values.shape),
            "time": f"{features.pts_seconds[0]:.3f} s ... {features.pts_seconds[-1]:.3f} s",
            "source": "unknown" if features.video is None else features.video.name,
        }
    head, training = model.config.head, model.training
    scores = training.get("scores", {})
    clip = tested_as(model.config.data.layout, multi_label=head.multi_label)
    rows = {
        "model": str(path),
        "labels": f"{len(model.labels)}: {', '.join(model.labels)}",
        "head": str(head),
        "backbone": f"{model.provenance.backbone} ({model.feature_size} features)",
        "weights": f"sha256 {model.provenance.weights_sha256}",
        "preprocessing": str(model.provenance.to_json()["preprocessing"]),
        "sampling": str(model.config.sampling),
        "trained on": f"{training.get('data')}, {_part(training.get('fold'))}, "
        f"{training.get('num_clips')} {clip}s in {len(training.get('groups', []))} groups",
    }
    if "top1" in scores:
        baseline = scores.get("baseline_mean_pool_top1")
        beside = "" if baseline is None else f" (mean-pool {baseline:.1%})"
        name = "exact match" if head.multi_label else "top-1"
        seen, number = scores.get("seen_in_training") or 0, scores["num_clips"]
        tested = f"{clip}s, {seen} of which it was trained on" if seen else f"held-out {clip}s"
        rows["scores"] = f"{name} {scores['top1']:.1%}{beside} on {number} {tested}"
    if scores.get("frame_map") is not None:
        rows["mAP of steps"] = f"{scores['frame_map']:.1%}, mean over labels"
    if training.get("event_rule") is not None:
        rule, most = training["event_rule"], model.config.train.false_alarms_per_hour
        rows["events"] = (
            f"begin at {rule['begin_threshold']:g}, end below {rule['end_threshold']:g}; chosen "
            f"for at most {most:g} false alarms/h"
        )
    if scores.get("leaked_clips"):
        groups = len(scores.get("leaked_groups", []))
        rows["group leak"] = (
            f"{scores['leaked_clips']} of those {clip}s are of groups that it was trained on "
            f"({groups} groups); the score is too good"
        )
    for number, note in enumerate(_notes_beside(path), start=1):
        rows[f"note {number}"] = note
    rows["made by"] = f"actionrnn {model.actionrnn_version}"
    return rows
