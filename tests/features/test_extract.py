"""Extraction: one call for one video, one store for many, and nothing done twice."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

import actionrnn
from actionrnn.config import Sampling
from actionrnn.datasets.folders import open_folder
from actionrnn.errors import BackboneError, ConfigError, FeatureError, VideoError
from actionrnn.features import worker
from actionrnn.features.backbone import Backbone
from actionrnn.features.extract import (
    Extraction,
    encode_videos,
    extract_features,
    extract_missing,
    extract_to_store,
    plan,
)
from actionrnn.features.preprocess import Preprocessing
from actionrnn.features.provenance import Provenance, VideoFile
from actionrnn.features.store import FeatureStore, verify_store
from actionrnn.features.video_parts import VideoPart
from actionrnn.files import file_sha256
from actionrnn.video.decode import read_frames, visit_frames

MakeVideo = Callable[..., Path]
FOUR = Sampling(num_frames=4)


def snapshot(root: Path) -> dict[str, tuple[bytes, int]]:
    """Bytes and time of each file, to see which were written anew."""
    return {
        path.relative_to(root).as_posix(): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in root.rglob("*")
        if path.is_file()
    }


def squares(path: Path, backbone: Backbone, sampling: Sampling | None = None) -> NDArray[np.uint8]:
    """What the backbone sees of a video: whole frames, each scaled and cut."""
    return np.stack([backbone.preprocessing.square(p) for p in read_frames(path, sampling).data])


@pytest.fixture
def videos(tmp_path: Path, make_video: MakeVideo) -> Path:
    """Three clips in two folders."""
    for seed, name in enumerate(["run/daria.avi", "run/ido.avi", "bend/daria.avi"]):
        make_video(f"videos/{name}", seed)
    return tmp_path / "videos"


KEYS = ["bend/daria", "run/daria", "run/ido"]


def test_the_public_call_gives_vectors_times_and_provenance(
    make_video: MakeVideo, bundled: Backbone
) -> None:
    path = make_video("a.avi", count=20)
    features = actionrnn.extract_features(path, backbone=bundled, num_frames=8)
    assert features.values.shape == (8, 1280)
    assert features.values.dtype == np.float32
    times = read_frames(path, Sampling(num_frames=8)).pts_seconds
    np.testing.assert_array_equal(features.pts_seconds, times)
    assert features.provenance == Provenance.of(bundled, Sampling(num_frames=8))
    assert features.provenance.backbone == "efficientnet_lite0"


def test_a_backbone_may_be_given_by_its_name(make_video: MakeVideo) -> None:
    features = extract_features(make_video("a.avi"), backbone="efficientnet_lite0", num_frames=1)
    assert features.values.shape == (1, 1280)


def test_the_default_is_four_frames_per_second(
    make_video: MakeVideo, tiny_backbone: Backbone
) -> None:
    features = extract_features(make_video("a.avi", count=50), backbone=tiny_backbone)
    np.testing.assert_allclose(
        features.pts_seconds, [0, 0.24, 0.48, 0.72, 1.0, 1.24, 1.48, 1.72], atol=1e-9
    )


def test_a_rate_chooses_the_frames_by_time(make_video: MakeVideo, tiny_backbone: Backbone) -> None:
    features = extract_features(
        make_video("a.avi", count=50), backbone=tiny_backbone, rate_fps=12.5
    )
    np.testing.assert_allclose(features.pts_seconds, np.arange(25) / 12.5, atol=1e-9)


def test_values_are_the_backbones_of_the_scaled_and_cut_frames(
    make_video: MakeVideo, tiny_backbone: Backbone
) -> None:
    path = make_video("a.avi")
    expected = tiny_backbone.encode(squares(path, tiny_backbone, FOUR))
    found = extract_features(path, backbone=tiny_backbone, num_frames=4)
    np.testing.assert_array_equal(found.values, expected)
    assert np.ptp(found.values) > 0.1


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"num_frames": 8, "rate_fps": 4.0}, "exclude each other"),
        ({"num_frames": 0}, r"sampling\.num_frames \(0\)"),
        ({"rate_fps": -1.0}, r"sampling\.rate_fps \(-1\.0\)"),
    ],
)
def test_an_impossible_sampling_is_refused(
    make_video: MakeVideo, tiny_backbone: Backbone, options: dict[str, float], reason: str
) -> None:
    with pytest.raises(ConfigError, match=reason):
        extract_features(make_video("a.avi"), backbone=tiny_backbone, **options)  # type: ignore[arg-type]


def test_a_video_that_cannot_be_used_is_an_error_for_the_one_call(
    tmp_path: Path, tiny_backbone: Backbone
) -> None:
    with pytest.raises(VideoError, match=r"nowhere\.avi: no such file"):
        extract_features(tmp_path / "nowhere.avi", backbone=tiny_backbone)


def test_an_unknown_backbone_is_an_error(make_video: MakeVideo) -> None:
    with pytest.raises(BackboneError, match="is not a backbone"):
        extract_features(make_video("a.avi"), backbone="no-such")


def test_features_do_not_depend_on_the_videos_beside(
    tmp_path: Path, make_video: MakeVideo, bundled: Backbone
) -> None:
    """Bit for bit: 15 frames fill no batch, and the later clips begin in the middle of one."""
    paths = [make_video(f"{seed}.avi", seed) for seed in range(3)]
    sampling = Sampling(num_frames=5)
    together = extract_to_store(
        paths, tmp_path / "together", backbone=bundled, sampling=sampling
    ).store
    for path in reversed(paths):
        alone = extract_features(path, backbone=bundled, num_frames=5).values
        stored = together.read(path.stem).values
        np.testing.assert_array_equal(stored, alone.astype(np.float16))


def test_many_clips_keep_their_own_features(
    tmp_path: Path, make_video: MakeVideo, tiny_backbone: Backbone
) -> None:
    """More clips than are decoded ahead, more frames than are encoded at once."""
    paths = [make_video(f"{seed:02d}.avi", seed, count=10 + seed) for seed in range(14)]
    sampling = Sampling()
    done = extract_to_store(paths, tmp_path / "store", backbone=tiny_backbone, sampling=sampling)
    assert done.num_extracted == 14
    for seed, path in enumerate(paths):
        expected = tiny_backbone.encode(squares(path, tiny_backbone))
        found = done.store.read(path.stem)
        assert len(found) == 10 + seed
        np.testing.assert_array_equal(found.values, expected.astype(np.float16))
        assert found.video.name == path.name


def test_a_store_mirrors_the_folders(videos: Path, tmp_path: Path, tiny_backbone: Backbone) -> None:
    done = extract_to_store(
        [videos],
        tmp_path / "store",
        backbone=tiny_backbone,
        sampling=FOUR,
    )
    assert (done.num_extracted, done.num_skipped, done.failures) == (3, 0, [])
    assert done.store.keys() == KEYS
    for key in KEYS:
        assert (tmp_path / "store" / f"{key}.safetensors").is_file()
        alone = extract_features(videos / f"{key}.avi", backbone=tiny_backbone, num_frames=4)
        stored = actionrnn.FeatureStore.open(tmp_path / "store").read(key)
        np.testing.assert_array_equal(stored.values, alone.values.astype(np.float16))
        assert stored.provenance == alone.provenance


def test_the_default_of_a_store_is_four_frames_per_second(
    videos: Path, tmp_path: Path, tiny_backbone: Backbone
) -> None:
    store = extract_to_store([videos], tmp_path / "store", backbone=tiny_backbone).store
    assert store.provenance.sampling == Sampling(rate_fps=4.0)


def test_a_second_run_skips_everything_and_writes_nothing(
    videos: Path, tmp_path: Path, tiny_backbone: Backbone
) -> None:
    def extract() -> tuple[int, int]:
        done = extract_to_store(
            [videos],
            tmp_path / "store",
            backbone=tiny_backbone,
            sampling=FOUR,
        )
        return done.num_extracted, done.num_skipped

    assert extract() == (3, 0)
    before = snapshot(tmp_path / "store")
    assert extract() == (0, 3)
    assert snapshot(tmp_path / "store") == before


def delete(entry: Path) -> None:
    entry.unlink()


def empty(entry: Path) -> None:
    entry.write_bytes(b"")


def shorten(entry: Path) -> None:
    entry.write_bytes(entry.read_bytes()[:-7])


def garble_the_head(entry: Path) -> None:
    content = bytearray(entry.read_bytes())
    content[:64] = bytes(64)
    entry.write_bytes(content)


@pytest.mark.parametrize("damage", [delete, empty, shorten, garble_the_head])
def test_a_damaged_entry_is_repaired_and_the_others_stay(
    videos: Path,
    tmp_path: Path,
    tiny_backbone: Backbone,
    damage: Callable[[Path], None],
) -> None:
    store = tmp_path / "store"

    def extract() -> tuple[int, int]:
        done = extract_to_store(
            [videos],
            store,
            backbone=tiny_backbone,
            sampling=FOUR,
        )
        return done.num_extracted, done.num_skipped

    extract()
    before = snapshot(store)
    damage(store / "run/daria.safetensors")
    assert extract() == (1, 2)
    after = snapshot(store)
    assert {name: content for name, (content, _) in after.items()} == {
        name: content for name, (content, _) in before.items()
    }
    written = {name for name in after if after[name] != before[name]}
    assert {Path(name).stem for name in written} == {"daria"}
    assert not any(name.startswith("bend") for name in written)


def test_a_changed_source_is_extracted_again(
    videos: Path, tmp_path: Path, tiny_backbone: Backbone, make_video: MakeVideo
) -> None:
    options = {"backbone": tiny_backbone, "sampling": FOUR}
    first = extract_to_store([videos], tmp_path / "store", **options)  # type: ignore[arg-type]
    old = first.store.read("run/ido").values
    make_video("videos/run/ido.avi", seed=77)
    before = snapshot(tmp_path / "store")
    reason = r"'run/ido' was computed from \d+ bytes .*, but .*ido\.avi has \d+ bytes .*--overwrite"
    with pytest.raises(FeatureError, match=reason):
        extract_to_store([videos], tmp_path / "store", **options)  # type: ignore[arg-type]
    assert snapshot(tmp_path / "store") == before
    second = extract_to_store([videos], tmp_path / "store", overwrite=True, **options)  # type: ignore[arg-type]
    assert (second.num_extracted, second.num_skipped) == (1, 2)
    new = second.store.read("run/ido").values
    assert not np.array_equal(new, old)
    expected = extract_features(videos / "run/ido.avi", backbone=tiny_backbone, num_frames=4)
    np.testing.assert_array_equal(new, expected.values.astype(np.float16))


def test_pixels_that_were_made_otherwise_are_extracted_again(
    videos: Path, tmp_path: Path, tiny_backbone: Backbone
) -> None:
    """Entries of versions that did not make pixels square, of those videos alone."""
    wide = videos / "run" / "wide.mp4"
    with av.open(str(wide), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(2)
        for index in range(6):
            frame = av.VideoFrame.from_ndarray(
                np.full((48, 64, 3), 40 * index, np.uint8), format="rgb24"
            )
            frame.pts, frame.time_base = index, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    options = {"backbone": tiny_backbone, "sampling": FOUR}
    store = extract_to_store([videos], tmp_path / "store", **options).store  # type: ignore[arg-type]
    made = {key: store.read(key) for key in ("run/wide", *KEYS)}
    assert made["run/wide"].video is not None and made["run/ido"].video is not None
    assert made["run/wide"].video.corrections == ("pixels 2:1 made square",)
    assert made["run/ido"].video.corrections == ()
    for key, features in made.items():  # as versions wrote them that did not record it
        assert features.video is not None
        video = dataclasses.replace(features.video, corrections=None)
        store.write(key, dataclasses.replace(features, video=video))
        assert "corrections" not in video.to_json()
    done = extract_to_store([videos], tmp_path / "store", **options)  # type: ignore[arg-type]
    assert (done.num_extracted, done.num_skipped) == (1, 3)
    assert done.store.read("run/wide").video == made["run/wide"].video
    done = extract_to_store([videos], tmp_path / "store", **options)  # type: ignore[arg-type]
    assert (done.num_extracted, done.num_skipped) == (0, 4)


def test_features_of_another_stream_are_not_mixed(
    videos: Path, tmp_path: Path, tiny_backbone: Backbone
) -> None:
    store = tmp_path / "store"
    extract_to_store([videos], store, backbone=tiny_backbone, sampling=FOUR)
    other = dataclasses.replace(FOUR, stream=0)
    with pytest.raises(FeatureError, match=r"sampling.stream None, wanted is 0"):
        extract_to_store([videos], store, backbone=tiny_backbone, sampling=other)


def test_a_source_that_was_only_touched_is_skipped(
    videos: Path, tmp_path: Path, tiny_backbone: Backbone
) -> None:
    options = {"backbone": tiny_backbone, "sampling": FOUR}
    extract_to_store([videos], tmp_path / "store", **options)  # type: ignore[arg-type]
    os.utime(videos / "run" / "ido.avi", ns=(1, 1))
    done = extract_to_store([videos], tmp_path / "store", **options)  # type: ignore[arg-type]
    assert (done.num_extracted, done.num_skipped) == (0, 3)


def test_another_backbone_or_sampling_is_refused_naming_both(
    videos: Path, tmp_path: Path, tiny_backbone: Backbone
) -> None:
    store = tmp_path / "store"
    extract_to_store([videos], store, backbone=tiny_backbone, sampling=FOUR)
    before = snapshot(store)
    config = dataclasses.replace(tiny_backbone.config, name="other")
    other = dataclasses.replace(tiny_backbone, config=config)
    with pytest.raises(FeatureError, match="have backbone tiny, wanted is other"):
        extract_to_store([videos], store, backbone=other, sampling=FOUR)
    weights = dataclasses.replace(tiny_backbone, weights_sha256="1" * 64)
    with pytest.raises(FeatureError, match=r"weights_sha256 0{64}, wanted is 1{64}"):
        extract_to_store([videos], store, backbone=weights, sampling=FOUR)
    with pytest.raises(FeatureError, match=r"have sampling.num_frames 4, wanted is 5; choose"):
        extract_to_store([videos], store, backbone=tiny_backbone, sampling=Sampling(num_frames=5))
    assert snapshot(store) == before


def test_a_bad_video_is_listed_and_stops_nothing(
    videos: Path, tmp_path: Path, tiny_backbone: Backbone, make_video: MakeVideo
) -> None:
    options = {"backbone": tiny_backbone, "sampling": FOUR}
    bad = videos / "run" / "bad.avi"
    bad.write_text("no video\n" * 100)
    (videos / "bend" / "empty.mp4").touch()
    done = extract_to_store([videos], tmp_path / "store", **options)  # type: ignore[arg-type]
    assert done.num_extracted == 3
    assert done.store.keys() == KEYS
    listed = json.loads((tmp_path / "store" / "_failures.json").read_text())
    assert done.failures == done.store.failures()
    assert listed == [failure.to_json() for failure in done.failures]
    assert [failure["path"] for failure in listed] == [str(videos / "bend/empty.mp4"), str(bad)]
    assert "is empty" in listed[0]["reason"]
    assert "is not a readable video" in listed[1]["reason"]

    make_video("videos/run/bad.avi")
    again = extract_to_store([videos], tmp_path / "store", **options)  # type: ignore[arg-type]
    assert (again.num_extracted, again.num_skipped, len(again.failures)) == (1, 3, 1)
    assert "run/bad" in again.store.keys()  # noqa: SIM118


def test_failures_of_other_inputs_stay_listed(
    videos: Path, tmp_path: Path, tiny_backbone: Backbone
) -> None:
    bad = tmp_path / "bad.avi"
    bad.touch()
    options = {"backbone": tiny_backbone, "sampling": FOUR}
    extract_to_store([bad], tmp_path / "store", **options)  # type: ignore[arg-type]
    done = extract_to_store([videos], tmp_path / "store", **options)  # type: ignore[arg-type]
    assert done.failures == []
    assert [failure.path for failure in done.store.failures()] == [str(bad)]


def test_a_source_that_broke_leaves_no_stale_features(
    videos: Path, tmp_path: Path, tiny_backbone: Backbone
) -> None:
    options = {"backbone": tiny_backbone, "sampling": FOUR}
    extract_to_store([videos], tmp_path / "store", **options)  # type: ignore[arg-type]
    (videos / "run" / "ido.avi").write_text("overwritten by mistake")
    done = extract_to_store([videos], tmp_path / "store", overwrite=True, **options)  # type: ignore[arg-type]
    assert [failure.path for failure in done.failures] == [str(videos / "run/ido.avi")]
    assert done.store.keys() == ["bend/daria", "run/daria"]


def test_an_interrupted_run_leaves_whole_entries_and_goes_on(
    videos: Path, tmp_path: Path, tiny_backbone: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"backbone": tiny_backbone, "sampling": FOUR}
    write, written = FeatureStore.write, []

    def write_once(store: FeatureStore, key: str, features: actionrnn.Features) -> None:
        if written:
            raise KeyboardInterrupt
        written.append(key)
        write(store, key, features)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(FeatureStore, "write", write_once)
        extract_to_store([videos], tmp_path / "store", **options)  # type: ignore[arg-type]
    assert not list((tmp_path / "store").rglob("*.tmp"))
    done = extract_to_store([videos], tmp_path / "store", **options)  # type: ignore[arg-type]
    assert (done.num_extracted, done.num_skipped) == (2, 1)


def test_files_and_folders_may_be_mixed(
    videos: Path, tmp_path: Path, tiny_backbone: Backbone, make_video: MakeVideo
) -> None:
    single = make_video("single.avi")
    done = extract_to_store(
        [single, str(videos / "run"), single],
        tmp_path / "store",
        backbone=tiny_backbone,
        sampling=FOUR,
    )
    assert done.store.keys() == ["daria", "ido", "single"]


def test_a_part_of_a_video_has_its_own_features(
    tmp_path: Path, tiny_backbone: Backbone, make_video: MakeVideo
) -> None:
    path = make_video("a.avi", count=50)
    sources = [
        VideoPart("a@0-1", path, 0.0, 1.0),
        VideoPart("a@1-", path, 1.0),
        VideoPart("a@9-", path, 9.0),
    ]
    store = FeatureStore.create(tmp_path / "store", Provenance.of(tiny_backbone, FOUR))
    done = extract_missing(plan(sources, store), tiny_backbone, FOUR)
    assert store.keys() == ["a@0-1", "a@1-"]
    for source in sources[:2]:
        part = Sampling(
            num_frames=4, start_seconds=source.start_seconds, end_seconds=source.end_seconds
        )
        expected = tiny_backbone.encode(squares(path, tiny_backbone, part))
        found = store.read(source.key)
        np.testing.assert_array_equal(found.values, expected.astype(np.float16))
        np.testing.assert_array_equal(found.pts_seconds, read_frames(path, part).pts_seconds)
    assert store.read("a@0-1").pts_seconds.max() < 1 <= store.read("a@1-").pts_seconds.min()
    (failure,) = done.failures
    assert failure.key == "a@9-"
    assert "from 9 s chooses nothing" in failure.reason
    again = extract_missing(plan(sources[:2], store), tiny_backbone, FOUR)
    assert (again.num_extracted, again.num_skipped) == (0, 2)
    assert store.failures() == done.failures


def test_a_folder_of_pictures_is_extracted_like_a_video(
    videos: Path, tmp_path: Path, tiny_backbone: Backbone
) -> None:
    folder = tmp_path / "frames" / "run" / "ido"
    folder.mkdir(parents=True)
    for index, pixels in enumerate(read_frames(videos / "run/ido.avi").data):
        Image.fromarray(pixels).save(folder / f"frame{index}.png")
    options = {"backbone": tiny_backbone, "sampling": FOUR}
    video = extract_to_store([videos / "run"], tmp_path / "a", **options).store  # type: ignore[arg-type]
    done = extract_to_store([tmp_path / "frames"], tmp_path / "b", **options)  # type: ignore[arg-type]
    assert done.store.keys() == ["run/ido"]
    found, expected = done.store.read("run/ido"), video.read("ido")
    np.testing.assert_array_equal(found.pts_seconds, expected.pts_seconds)
    np.testing.assert_allclose(found.values, expected.values, atol=0.04)  # chroma
    assert found.video.size_bytes == sum(file.stat().st_size for file in folder.iterdir())
    again = extract_to_store([tmp_path / "frames"], tmp_path / "b", **options)  # type: ignore[arg-type]
    assert (again.num_extracted, again.num_skipped) == (0, 1)
    Image.new("RGB", (64, 48)).save(folder / "frame3.png")
    again = extract_to_store([tmp_path / "frames"], tmp_path / "b", overwrite=True, **options)  # type: ignore[arg-type]
    assert again.num_extracted == 1
    alone = extract_to_store([folder], tmp_path / "c", **options)  # type: ignore[arg-type]
    assert alone.store.keys() == ["ido"]


def test_two_files_of_one_stem_keep_their_endings(
    videos: Path, tmp_path: Path, tiny_backbone: Backbone, make_video: MakeVideo
) -> None:
    make_video("other/run/ido.avi", seed=9).rename(videos / "run" / "ido.mkv")
    done = extract_to_store([videos], tmp_path / "store", backbone=tiny_backbone, sampling=FOUR)
    assert done.failures == []
    assert done.store.keys() == ["bend/daria", "run/daria", "run/ido.avi", "run/ido.mkv"]
    for name in ("run/ido.avi", "run/ido.mkv"):
        alone = extract_features(videos / name, backbone=tiny_backbone, num_frames=4)
        np.testing.assert_array_equal(done.store.read(name).values, alone.values.astype(np.float16))


def test_videos_of_one_name_in_two_folders_have_an_entry_each(
    videos: Path, tmp_path: Path, tiny_backbone: Backbone
) -> None:
    given = [videos / "run", videos / "bend", videos / "run" / ".." / "run"]
    done = extract_to_store(given, tmp_path / "store", backbone=tiny_backbone, sampling=FOUR)
    assert done.store.keys() == ["bend/daria", "ido", "run/daria"]
    assert done.failures == []
    names = [done.store.read(key).video.name for key in ("bend/daria", "ido")]
    assert names == ["daria.avi", "ido.avi"]


@settings(deadline=None, derandomize=True, max_examples=15)
@given(
    given_files=st.lists(
        st.tuples(
            st.sampled_from(["a", "b", "a/b", "b/a", "a/a"]),
            st.sampled_from(["x.mp4", "x.avi", "x.y.mp4", "X.mp4"]),
        ),
        min_size=1,
    )
)
def test_every_video_has_a_key_of_its_own(
    tiny_backbone: Backbone, given_files: list[tuple[str, str]]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        files = {Path(folder, above, name) for above, name in given_files}
        for file in files:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch()  # each is listed as an empty file, under its key
        folders = sorted({file.parent for file in files})
        done = extract_to_store(folders, Path(folder, "store"), backbone=tiny_backbone)
        assert {Path(failure.path) for failure in done.failures} == files
        assert len({failure.key for failure in done.failures}) == len(files)
        assert all("is empty (0 bytes)" in failure.reason for failure in done.failures)


def test_an_entry_that_cannot_be_written_is_listed_and_stops_nothing(
    videos: Path, tmp_path: Path, tiny_backbone: Backbone
) -> None:
    def extract(strict: bool = False) -> Extraction:
        store = tmp_path / "store"
        return extract_to_store(
            [videos], store, backbone=tiny_backbone, sampling=FOUR, strict=strict
        )

    in_the_way = tmp_path / "store" / "run" / "daria.safetensors"
    (in_the_way / "full").mkdir(parents=True)
    done = extract()
    assert (done.num_extracted, done.store.keys()) == (2, ["bend/daria", "run/ido"])
    (failure,) = done.failures
    assert failure.key == "run/daria"
    assert "daria.safetensors: cannot be written (Is a directory); rename" in failure.reason
    with pytest.raises(FeatureError, match="cannot be written"):
        extract(strict=True)
    (in_the_way / "full").rmdir()
    in_the_way.rmdir()
    again = extract()  # it is tried again, though its video is as it was
    assert (again.num_extracted, again.failures, again.store.keys()) == (1, [], KEYS)


def test_a_full_disk_ends_the_extraction(
    videos: Path, tmp_path: Path, tiny_backbone: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_room(path: Path, content: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", no_room)
    with pytest.raises(FeatureError, match=r"No space left on device.*make room"):
        extract_to_store([videos], tmp_path / "store", backbone=tiny_backbone, sampling=FOUR)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
@pytest.mark.parametrize("name", [b"caf\xe9", b"\xff" * 251, b"[red]\x1b[31m", b"a\nb", b"~x"])
def test_a_video_of_any_name_is_extracted_once(
    make_video: MakeVideo, tmp_path: Path, tiny_backbone: Backbone, name: bytes
) -> None:
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name[:200]))
    folder.mkdir()
    make_video("plain.avi").rename(folder / os.fsdecode(name + b".avi"))
    for num_extracted in (1, 0):
        done = extract_to_store(
            [folder.parent], tmp_path / "store", backbone=tiny_backbone, sampling=FOUR
        )
        assert (done.num_extracted, done.num_skipped) == (num_extracted, 1 - num_extracted)
    assert (
        done.store.keys() == done.store.expected_keys() == [os.fsdecode(name[:200] + b"/" + name)]
    )
    assert list(verify_store(done.store)) == []


def test_a_missing_input_is_listed_and_stops_nothing(
    videos: Path, tmp_path: Path, tiny_backbone: Backbone
) -> None:
    (tmp_path / "empty").mkdir()
    done = extract_to_store(
        [tmp_path / "nowhere", videos, tmp_path / "empty"],
        tmp_path / "store",
        backbone=tiny_backbone,
        sampling=FOUR,
    )
    assert done.store.keys() == KEYS
    reasons = [failure.reason for failure in done.failures]
    assert "nowhere: no such file or folder" in reasons[0]
    assert "empty: holds no video" in reasons[1]


def test_nothing_but_missing_inputs_is_an_error_before_any_work(
    tmp_path: Path, tiny_backbone: Backbone
) -> None:
    with pytest.raises(VideoError, match="nowhere: no such file or folder"):
        extract_to_store([tmp_path / "nowhere"], tmp_path / "store", backbone=tiny_backbone)
    assert not (tmp_path / "store").exists()


def test_a_known_failure_waits_for_its_file_to_change_or_for_retry_failed(
    videos: Path, tmp_path: Path, tiny_backbone: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"backbone": tiny_backbone, "sampling": FOUR}
    bad = videos / "run" / "bad.avi"
    bad.write_text("no video")
    first = extract_to_store([videos], tmp_path / "store", **options)  # type: ignore[arg-type]
    assert (len(first.failures), first.num_known_failures) == (1, 0)
    tried: list[Path] = []
    visit = worker.visit_frames

    def noted(path: Path, *rest: object, **options: object) -> None:
        tried.append(path)
        visit(path, *rest, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(worker, "visit_frames", noted)
    second = extract_to_store([videos], tmp_path / "store", **options)  # type: ignore[arg-type]
    assert (second.failures, second.num_known_failures, tried) == (first.failures, 1, [])
    assert second.num_extracted == 0
    third = extract_to_store([videos], tmp_path / "store", retry_failed=True, **options)  # type: ignore[arg-type]
    assert (third.failures, third.num_known_failures, tried) == (first.failures, 0, [bad])
    bad.write_text("still no video")
    fourth = extract_to_store([videos], tmp_path / "store", **options)  # type: ignore[arg-type]
    assert (len(fourth.failures), fourth.num_known_failures, tried) == (1, 0, [bad, bad])


def test_strict_stops_at_the_first_failure_and_keeps_what_is_done(
    videos: Path, tmp_path: Path, tiny_backbone: Backbone
) -> None:
    options = {"backbone": tiny_backbone, "sampling": FOUR}
    bad = videos / "run" / "bad.avi"
    bad.write_text("no video")
    for _ in range(2):  # the second time it is known
        with pytest.raises(VideoError, match=r"bad\.avi: is not a readable video"):
            extract_to_store([videos], tmp_path / "store", strict=True, **options)  # type: ignore[arg-type]
    assert [f.path for f in FeatureStore.open(tmp_path / "store").failures()] == [str(bad)]
    bad.unlink()
    done = extract_to_store([videos], tmp_path / "store", strict=True, **options)  # type: ignore[arg-type]
    assert done.store.keys() == KEYS


def test_ctrl_c_finishes_the_videos_in_work_and_the_next_run_goes_on(
    tmp_path: Path, make_video: MakeVideo, tiny_backbone: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed in range(12):
        make_video(f"videos/{seed:02d}.avi", seed)
    options = {"backbone": tiny_backbone, "sampling": FOUR}
    begun: list[Path] = []
    visit = worker.visit_frames

    def interrupted(path: Path, *rest: object, **options: object) -> None:
        begun.append(path)
        if len(begun) == 3:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.5)  # until the main thread has seen it
        visit(path, *rest, **options)  # type: ignore[arg-type]

    handler = signal.getsignal(signal.SIGINT)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(worker, "visit_frames", interrupted)
        extract_to_store([tmp_path / "videos"], tmp_path / "store", **options)  # type: ignore[arg-type]
    assert signal.getsignal(signal.SIGINT) is handler
    done = FeatureStore.open(tmp_path / "store").keys()
    assert done == sorted(path.stem for path in begun)
    rest = extract_to_store([tmp_path / "videos"], tmp_path / "store", **options)  # type: ignore[arg-type]
    assert (rest.num_skipped, rest.num_extracted) == (len(done), 12 - len(done))


def test_memory_stays_within_its_bound_whatever_a_videos_length(
    make_video: MakeVideo, tiny_backbone: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Decoding stops when so many batches wait for a backbone that does nothing."""
    config = dataclasses.replace(tiny_backbone.config, frames_ahead=24)
    gate, counted = threading.Event(), []

    class Gated(Backbone):
        def encode_batch(self, frames: NDArray[np.uint8]) -> NDArray[np.float32]:
            gate.wait()
            return super().encode_batch(frames)

    fields = {f.name: getattr(tiny_backbone, f.name) for f in dataclasses.fields(tiny_backbone)}
    gated = Gated(**{**fields, "config": config})
    square = Preprocessing.square

    def counting(self: Preprocessing, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        counted.append(1)
        return square(self, picture)

    monkeypatch.setattr(Preprocessing, "square", counting)
    path = make_video("long.avi", count=300)
    results = encode_videos([VideoPart("long", path)], gated, Sampling())
    worker = threading.Thread(target=lambda: counted.append(len(next(results)[1])))  # type: ignore[arg-type]
    worker.start()
    time.sleep(1.0)
    # those that wait, that are in work, that fill up, and one that has no place yet
    most = 24 + (gated.num_workers + 1) * gated.batch_frames + 1
    assert 24 <= len(counted) <= most < 300
    gate.set()
    worker.join()
    assert counted[-1] == 300


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"num_frames": 20_000_000}, r"a\.avi: 20000000 frames would be (sampled|chosen)"),
        ({"rate_fps": 1e9}, r"a\.avi: \d+ frames would be (sampled|chosen)"),
        ({"num_frames": 2_000_000_000}, "frames would be chosen"),
    ],
)
def test_a_sampling_that_no_memory_holds_is_one_clear_line(
    make_video: MakeVideo, tiny_backbone: Backbone, options: dict[str, float], reason: str
) -> None:
    wide = dataclasses.replace(tiny_backbone, view_size=1280)
    with pytest.raises(VideoError, match=reason):
        extract_features(make_video("a.avi"), backbone=wide, **options)  # type: ignore[arg-type]


def test_a_frame_that_is_sampled_often_is_computed_once(
    make_video: MakeVideo, tiny_backbone: Backbone
) -> None:
    path = make_video("a.avi", count=20)
    few = extract_features(path, backbone=tiny_backbone, num_frames=20).values
    many = extract_features(path, backbone=tiny_backbone, num_frames=200_000).values
    np.testing.assert_array_equal(many, few.repeat(10_000, axis=0))


def test_an_error_in_the_backbone_ends_the_run(
    videos: Path, tmp_path: Path, tiny_backbone: Backbone
) -> None:
    class Full(Backbone):
        def encode_batch(self, frames: NDArray[np.uint8]) -> NDArray[np.float32]:
            raise RuntimeError("CUDA out of memory")

    fields = {f.name: getattr(tiny_backbone, f.name) for f in dataclasses.fields(tiny_backbone)}
    with pytest.raises(BackboneError, match=r"tiny: failed on 8 frames \(CUDA out of memory\)"):
        extract_to_store([videos], tmp_path / "store", backbone=Full(**fields), sampling=FOUR)
    assert FeatureStore.open(tmp_path / "store").keys() == []


def test_a_file_that_vanishes_or_changes_midway_is_listed(
    videos: Path, tmp_path: Path, tiny_backbone: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    visit = worker.visit_frames

    def meddled(path: Path, *rest: object, **options: object) -> None:
        visit(path, *rest, **options)  # type: ignore[arg-type]
        if path.stem == "ido":
            path.unlink()
        elif path.parent.name == "run":
            path.write_bytes(path.read_bytes() + b"more")

    monkeypatch.setattr(worker, "visit_frames", meddled)
    done = extract_to_store([videos], tmp_path / "store", backbone=tiny_backbone, sampling=FOUR)
    assert done.store.keys() == ["bend/daria"]
    reasons = {Path(f.path).name: f.reason for f in done.failures}
    assert "changed while it was read" in reasons["daria.avi"]
    assert "vanished while it was read" in reasons["ido.avi"]


@pytest.mark.parametrize("modality", ["rgb_diff", "both"])
@pytest.mark.parametrize("sampling", [FOUR, Sampling(rate_fps=40.0), Sampling(num_frames=30)])
def test_motion_is_seen_beside_each_frame_however_the_video_is_read(
    tiny_backbone: Backbone, videos: Path, modality: str, sampling: Sampling
) -> None:
    preprocessing = dataclasses.replace(tiny_backbone.preprocessing, modality=modality)
    backbone = dataclasses.replace(tiny_backbone, preprocessing=preprocessing)
    path = videos / "run" / "daria.avi"
    _, found = next(encode_videos([VideoPart("a", path)], backbone, sampling))
    expected = backbone.encode(preprocessing.views(squares(path, backbone, sampling)))
    assert found.values.shape[1] == backbone.feature_size  # type: ignore[union-attr]
    np.testing.assert_allclose(found.values, expected, atol=1e-6)  # type: ignore[union-attr]


def test_extract_and_train_call_clips_alike(
    tmp_path: Path, tiny_backbone: Backbone, make_video: MakeVideo
) -> None:
    """Or the features of one would be unknown to the other."""
    root = tmp_path / "root"
    for place, name in enumerate(("run/ido.avi", "run/ido.v2.avi", "bend/ido.avi")):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        make_video(f"made/{place}.avi", seed=place).rename(root / name)
    (root / "run" / "ido.mkv").write_bytes((root / "run" / "ido.avi").read_bytes())
    for folder in ("bend/2024-05-01 10.15.30", "bend/2024-05-01 10.15.45"):
        (root / folder).mkdir()
        for number in (1, 2):
            Image.new("RGB", (64, 48)).save(root / folder / f"{number}.png")
    done = extract_to_store([root], tmp_path / "store", backbone=tiny_backbone, sampling=FOUR)
    assert done.failures == []
    assert done.store.keys() == [clip.key for clip in open_folder(root).clips]


def test_a_video_is_read_for_its_checksum_where_a_store_is_written_and_once(
    videos: Path, tmp_path: Path, tiny_backbone: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Path] = []

    def count(path: Path) -> str:
        read.append(path)
        return file_sha256(path)

    for name in ("worker", "store", "extract"):
        monkeypatch.setattr(f"actionrnn.features.{name}.file_sha256", count)
    paths = sorted(videos.rglob("*.avi"))
    features = extract_features(paths[0], backbone=tiny_backbone, num_frames=4)
    assert (read, features.video) == ([], None)
    done = extract_to_store([videos], tmp_path / "store", backbone=tiny_backbone, sampling=FOUR)
    assert sorted(read) == paths
    for path, key in zip(paths, KEYS, strict=True):
        video = VideoFile(path.name, path.stat().st_size, file_sha256(path), ())
        assert done.store.read(key).video == video


def test_a_video_that_changes_while_it_is_read_is_refused_without_a_checksum_too(
    videos: Path, tiny_backbone: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = videos / "run" / "ido.avi"

    def decode_and_write(*given: object, **named: object) -> None:
        visit_frames(*given, **named)  # type: ignore[arg-type]
        path.write_bytes(path.read_bytes() + bytes(7))

    monkeypatch.setattr("actionrnn.features.worker.visit_frames", decode_and_write)
    with pytest.raises(VideoError, match=r"ido\.avi: changed while it was read"):
        extract_features(path, backbone=tiny_backbone, num_frames=4)
