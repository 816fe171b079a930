"""The built-in data set: time-reversed pairs, the same bytes for a seed, resumable."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from actionrnn.config_reading import load_config
from actionrnn.datasets import rendered
from actionrnn.datasets.rendered import PAIRS, render_dataset
from actionrnn.datasets.ucf101 import NAME_PATTERN, open_ucf101
from actionrnn.errors import DatasetError
from actionrnn.video.decode import read_frames
from actionrnn.video.probe import probe_video


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rendered, "NUM_GROUPS", 2)
    monkeypatch.setattr(rendered, "CLIPS_PER_GROUP", 1)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two groups with one clip per class."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rendered, "NUM_GROUPS", 2)
        patch.setattr(rendered, "CLIPS_PER_GROUP", 1)
        return render_dataset(tmp_path_factory.mktemp("rendered"), seed=0)


def contents(root: Path) -> dict[str, bytes]:
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def clip(root: Path, label: str, group: int = 1) -> Path:
    return root / label / f"v_{label}_g{group:02d}_c01.avi"


def test_the_files_are_a_tree_in_ucf101s_layout(root: Path) -> None:
    dataset = open_ucf101(root)
    assert set(dataset.labels) == {name for pair in PAIRS for name in pair}
    assert dataset.groups == ("g01", "g02")
    assert len(dataset.clips) == 2 * len(dataset.labels)
    for path in (clip.path for clip in dataset.clips):
        match = NAME_PATTERN.match(path.name)
        assert match is not None
        assert match["label"] == path.parent.name


@pytest.mark.parametrize("group", [1, 2])
@pytest.mark.parametrize("pair", PAIRS, ids="-".join)
def test_a_pair_shows_the_same_pictures_in_reverse(
    root: Path, pair: tuple[str, str], group: int
) -> None:
    forward, backward = (read_frames(clip(root, name, group)) for name in pair)
    np.testing.assert_array_equal(forward.data, backward.data[::-1])
    np.testing.assert_array_equal(forward.pts_seconds, backward.pts_seconds)
    assert np.ptp(forward.data.astype(int), axis=0).max() > 50  # something moves
    assert not np.array_equal(forward.data, backward.data)


@pytest.mark.parametrize("pair", PAIRS, ids="-".join)
def test_the_demos_sampling_sees_the_same_pictures_both_ways(
    root: Path, pair: tuple[str, str]
) -> None:
    sampling = load_config("demo").sampling
    forward, backward = (read_frames(clip(root, name), sampling) for name in pair)
    assert 6 <= len(forward) <= 8
    np.testing.assert_array_equal(forward.data, backward.data[::-1])


def test_a_clip_has_the_declared_size_rate_and_length(root: Path) -> None:
    for path in sorted(root.rglob("*.avi")):
        info = probe_video(path)
        assert (info.width, info.height, info.rate_fps) == (320, 240, 12.0)
        assert info.num_frames in (16, 19, 22)
        assert len(read_frames(path, scale=lambda *_: (16, 12))) == info.num_frames


def test_groups_differ_in_what_is_seen(root: Path) -> None:
    first, second = (read_frames(clip(root, "SitDown", group)).data[0] for group in (1, 2))
    assert np.abs(first.astype(int) - second).mean() > 5


def test_a_seed_gives_the_same_bytes_and_another_seed_others(root: Path, tmp_path: Path) -> None:
    again = contents(render_dataset(tmp_path / "again", seed=0))
    assert again == contents(root)
    other = contents(render_dataset(tmp_path / "other", seed=1))
    assert other.keys() == again.keys()
    assert all(other[name] != again[name] for name in again)


def test_rendering_goes_on_where_it_was_left(root: Path, tmp_path: Path) -> None:
    whole = contents(root)
    for name, content in whole.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    clip(tmp_path, "StandUp").unlink()
    clip(tmp_path, "Approach").write_bytes(b"kept as it is")
    render_dataset(tmp_path, seed=0)
    expected = {**whole, "Approach/v_Approach_g01_c01.avi": b"kept as it is"}
    assert contents(tmp_path) == expected  # nothing else, no temporary file either


def test_a_failed_rendering_leaves_no_broken_clip(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(data: bytes) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr("av.Packet", fail)  # when the files are open already
    with pytest.raises(OSError, match="no space"):
        render_dataset(tmp_path, seed=0)
    assert contents(tmp_path).keys() == {"seed.txt"}


def test_a_folder_keeps_the_seed_it_was_rendered_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rendered, "NUM_GROUPS", 1)
    first = contents(render_dataset(tmp_path, seed=5))
    (tmp_path / "SitDown" / "v_SitDown_g01_c01.avi").unlink()
    assert contents(render_dataset(tmp_path)) == first
    with pytest.raises(DatasetError, match="was rendered with seed 5, not 6; use another folder"):
        render_dataset(tmp_path, seed=6)


@pytest.mark.parametrize(
    ("theirs", "with_seed"),
    [
        ("GetUp/v_GetUp_g01_c01.avi", False),
        *((name, seed) for name in ("notes.txt", "a/b/c.mp4") for seed in (False, True)),
        ("GetUp/v_GetUp_g99_c01.avi", True),
    ],
)
def test_a_folder_that_holds_files_of_others_is_left_as_it_is(
    tmp_path: Path, theirs: str, with_seed: bool
) -> None:
    (tmp_path / theirs).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / theirs).write_bytes(b"mine")
    if with_seed:
        (tmp_path / "seed.txt").write_text("0\n")
    before = contents(tmp_path)
    with pytest.raises(DatasetError, match=rf"holds {theirs}, which is not part of the built-in"):
        render_dataset(tmp_path)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("text", ["", "seven", "0x1"])
def test_a_seed_that_is_no_number_is_not_ours(tmp_path: Path, text: str) -> None:
    (tmp_path / "seed.txt").write_text(text)
    with pytest.raises(DatasetError, match=r"seed\.txt: does not hold a number"):
        render_dataset(tmp_path)
    assert contents(tmp_path) == {"seed.txt": text.encode()}


def test_one_clip_of_a_pair_is_drawn_beside_the_other(root: Path, tmp_path: Path) -> None:
    """A rendering that was killed between the two: the one that is there is not written again."""
    for name, content in contents(root).items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    kept = clip(tmp_path, "SitDown")
    kept.write_bytes(b"kept as it is")
    clip(tmp_path, "StandUp").unlink()
    render_dataset(tmp_path)
    expected = {**contents(root), "SitDown/v_SitDown_g01_c01.avi": b"kept as it is"}
    assert contents(tmp_path) == expected
