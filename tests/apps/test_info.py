"""What a path is, in rows: a video, a folder, a store, an entry, a model."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

import actionrnn
from actionrnn.apps.info import describe
from actionrnn.config import BackboneConfig, Sampling
from actionrnn.features.extract import Extraction, extract_to_store
from actionrnn.training.train import TrainingRun

MakeBadVideo = Callable[..., Path]


@pytest.fixture(scope="module")
def extraction(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Extraction:
    """Two entries and a failure."""
    folder = tmp_path_factory.mktemp("info")
    (folder / "empty.avi").touch()
    videos = [clips / "red" / "ann_red.avi", clips / "blue" / "bob_blue.avi", folder / "empty.avi"]
    backbone = BackboneConfig(device="cpu", precision="float32")
    return extract_to_store(
        videos, folder / "store", backbone=backbone, sampling=Sampling(num_frames=3)
    )


def test_a_video(clips: Path) -> None:
    path = clips / "red" / "ann_red.avi"
    assert describe(path) == {
        "video": str(path),
        "codec": "mjpeg in avi",
        "size": f"64 x 48, {path.stat().st_size / 1e6:.2f} MB",
        "rate": "12.000 frames/s",
        "duration": "1.00 s, 12 frames",
    }


def test_a_video_says_what_is_done_to_its_pictures_and_which_streams_it_has(
    tmp_path: Path,
) -> None:
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as container:
        streams = [container.add_stream("mpeg4", rate=25) for _ in range(2)]
        for stream, width in zip(streams, (64, 96), strict=True):
            stream.width, stream.height, stream.pix_fmt = width, 48, "yuv420p"
            stream.codec_context.sample_aspect_ratio = Fraction(2)
        for stream, width in zip(streams, (64, 96), strict=True):
            frame = av.VideoFrame.from_ndarray(np.zeros((48, width, 3), np.uint8), format="rgb24")
            frame.pts, frame.time_base = 0, Fraction(1, 25)
            container.mux(stream.encode(frame))
        for stream in streams:
            container.mux(stream.encode(None))
    rows = describe(path)
    assert rows["size"].startswith("128 x 48, ")
    assert rows["pictures"] == "pixels 2:1 made square"
    assert rows["stream 0"] == "mpeg4, 64 x 48 (described here)"
    assert rows["stream 1"] == "mpeg4, 96 x 48 (--stream 1)"
    rows = describe(path, 1)
    assert rows["size"].startswith("192 x 48, ")
    assert rows["stream 1"] == "mpeg4, 96 x 48 (described here)"


def test_a_path_may_be_text(clips: Path) -> None:
    path = clips / "red" / "ann_red.avi"
    assert describe(str(path)) == describe(path)


def test_a_folder_of_videos(clips: Path) -> None:
    assert describe(clips) == {
        "folder": str(clips),
        "videos": "9",
        "subfolders": "3 (blue, green, red)",
    }


def test_a_folder_of_pictures(tmp_path: Path) -> None:
    for number in range(3):
        Image.new("RGB", (32, 24)).save(tmp_path / f"{number}.png")
    assert describe(tmp_path) == {
        "folder of pictures": str(tmp_path),
        "frames": "3",
        "size": "32 x 24",
        "rate": "not stated: 25 frames/s without --frame-rate",
    }


def test_what_is_left_out_of_a_folder_is_said(tmp_path: Path) -> None:
    for name in ("run/1.avi", "run/thumbs/1.jpg", "run/@eaDir/1.avi/THUMB.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "bend").symlink_to(tmp_path / "nowhere")
    rows = describe(tmp_path)
    assert (rows["videos"], rows["subfolders"]) == ("1", "1 (run)")
    assert rows["note 1"] == f"{tmp_path / 'bend'}: is a link that cannot be followed"
    assert rows["note 2"] == "left out: folders of pictures taken for previews: 1 (run/thumbs)"


def test_of_many_subfolders_the_first_are_named(tmp_path: Path) -> None:
    for index in range(10):
        (tmp_path / f"class{index}").mkdir()
        (tmp_path / f"class{index}" / "a.avi").touch()
    names = ", ".join(f"class{index}" for index in range(8))
    assert describe(tmp_path)["subfolders"] == f"10 ({names}, ...)"


def test_a_store(extraction: Extraction) -> None:
    rows = describe(extraction.store.root)
    assert rows["store"] == str(extraction.store.root)
    assert rows["entries"] == "2"
    assert rows["backbone"] == "efficientnet_lite0"
    assert rows["weights"] == f"sha256 {extraction.store.provenance.weights_sha256}"
    assert "'num_frames': 3" in rows["sampling"]
    assert rows["precision"] == "float32"
    assert rows["failures"] == "1"
    assert rows["failure 1"].endswith("empty.avi: is empty (0 bytes); copy or download it again")
    assert rows["first entry"] == "ann_red (3, 1280)"


def test_an_entry_of_a_store(extraction: Extraction) -> None:
    path = extraction.store.root / "ann_red.safetensors"
    times = extraction.store.read("ann_red").pts_seconds
    assert describe(path) == {
        "features": str(path),
        "store": str(extraction.store.root),
        "shape": "(3, 1280)",
        "time": f"{times[0]:.3f} s ... {times[-1]:.3f} s",
        "source": "ann_red.avi",
    }


def test_a_model(run: TrainingRun, clips: Path) -> None:
    path, report = run.output / "model.safetensors", run.report
    rows = describe(path)
    assert rows["model"] == str(path)
    assert rows["labels"] == "3: blue, green, red"
    assert rows["head"] == "gru, 1 x 16, running_mean"
    assert rows["backbone"] == "efficientnet_lite0 (1280 features)"
    assert rows["weights"] == f"sha256 {run.model.backbone.weights_sha256}"
    assert rows["sampling"] == "4 frames evenly"
    assert rows["trained on"] == f"{clips.name}, every clip, 9 clips in 3 groups"
    assert rows["scores"] == (
        f"top-1 {report.top1:.1%} (mean-pool {report.baseline_mean_pool_top1:.1%}) "
        "on 9 held-out clips"
    )
    assert rows["made by"] == f"actionrnn {actionrnn.__version__}"


def test_a_model_of_one_fold_names_it(run_without_bob: TrainingRun, clips: Path) -> None:
    rows = describe(run_without_bob.output / "model.safetensors")
    assert rows["trained on"] == (
        f"{clips.name}, all but the test clips (one group left out), 6 clips in 2 groups"
    )
    assert rows["scores"].endswith("on 3 held-out clips")


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("missing", "no such file or folder"),
        ("zero-byte", r"is empty \(0 bytes\)"),
        ("text", "is not a readable video"),
        ("sound-only", "has no video stream, only audio"),
    ],
)
def test_what_is_no_video_is_an_error(make_bad_video: MakeBadVideo, kind: str, reason: str) -> None:
    path = make_bad_video(kind)
    with pytest.raises(actionrnn.ActionrnnError, match=rf"bad\.avi: {reason}"):
        describe(path)


def test_a_folder_without_videos_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(actionrnn.VideoError, match="holds no video"):
        describe(tmp_path)


def test_a_file_that_is_neither_model_nor_entry_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_text("neither")
    with pytest.raises(actionrnn.ModelError, match="is not an actionrnn model"):
        describe(path)


def test_a_damaged_entry_is_an_error(extraction: Extraction) -> None:
    path = extraction.store.root / "damaged.safetensors"
    path.write_text("damaged")
    try:
        with pytest.raises(actionrnn.FeatureError, match=r"damaged\.safetensors: is damaged"):
            describe(path)
    finally:
        path.unlink()
