"""A folder of pictures is read as a video is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from actionrnn.config import Sampling, VideoLimits
from actionrnn.errors import VideoError
from actionrnn.video.decode import iter_frames, read_frames
from actionrnn.video.image_folder import find_pictures


def save_frames(
    folder: Path, pictures: NDArray[np.uint8], name: str = "frame{:04d}.png", first: int = 1
) -> Path:
    folder.mkdir(parents=True)
    for index, pixels in enumerate(pictures, start=first):
        Image.fromarray(pixels).save(folder / name.format(index))
    return folder


@pytest.fixture
def pictures() -> NDArray[np.uint8]:
    """Twelve pictures (12, 24, 32, 3), each of one grey."""
    return np.repeat(np.arange(12, dtype=np.uint8) * 20, 24 * 32 * 3).reshape(12, 24, 32, 3)


@pytest.mark.parametrize("name", ["frame{:04d}.png", "{}.png", "v_YoYo_g01_c02_{}.png"])
def test_frames_come_in_the_order_of_their_numbers_at_25_per_second(
    tmp_path: Path, pictures: NDArray[np.uint8], name: str
) -> None:
    frames = read_frames(save_frames(tmp_path / "clip", pictures, name))
    np.testing.assert_array_equal(frames.data, pictures)
    np.testing.assert_allclose(frames.pts_seconds, np.arange(12) / 25)


def test_the_rate_is_one_setting(tmp_path: Path, pictures: NDArray[np.uint8]) -> None:
    folder = save_frames(tmp_path / "clip", pictures)
    frames = read_frames(folder, Sampling(rate_fps=2, frame_folder_fps=4))
    np.testing.assert_array_equal(frames.pts_seconds, np.arange(6) / 2)
    np.testing.assert_array_equal(frames.data, pictures[::2])


@pytest.mark.parametrize(
    ("sampling", "chosen"),
    [
        (Sampling(num_frames=3), [2, 6, 10]),
        (Sampling(num_frames=24), np.repeat(np.arange(12), 2).tolist()),
        (Sampling(start_seconds=0.08, end_seconds=0.16), [2, 3]),
    ],
)
def test_the_sampling_chooses_as_in_a_video(
    tmp_path: Path, pictures: NDArray[np.uint8], sampling: Sampling, chosen: list[int]
) -> None:
    frames = read_frames(save_frames(tmp_path / "clip", pictures), sampling)
    np.testing.assert_array_equal(frames.data, pictures[chosen])


@pytest.mark.parametrize("rate_fps", [25, 29.97, 30_000 / 1001, 0.3, 1e-7])
def test_one_by_one_they_are_the_same(
    tmp_path: Path, pictures: NDArray[np.uint8], rate_fps: float
) -> None:
    folder = save_frames(tmp_path / "clip", pictures)
    sampling = Sampling(keyframes=True, frame_folder_fps=rate_fps)  # each picture is one
    whole = read_frames(folder, sampling, scale=lambda width, height: (16, 12))
    single = list(
        iter_frames(folder, scale=lambda width, height: (16, 12), frame_folder_fps=rate_fps)
    )
    np.testing.assert_array_equal(np.stack([frame.data for frame in single]), whole.data)
    np.testing.assert_array_equal([frame.pts_seconds for frame in single], whole.pts_seconds)


@pytest.mark.realdata
def test_scaled_frames_are_those_of_the_video(real_data: Path, tmp_path: Path) -> None:
    clip = real_data / "ucf101_clips" / "v_Basketball_g01_c01.avi"
    folder = save_frames(tmp_path / "clip", read_frames(clip).data)
    sampling = Sampling(num_frames=4, frame_folder_fps=30_000 / 1001)

    def scale(width: int, height: int) -> tuple[int, int]:
        assert (width, height) == (320, 240)
        return 224, 224

    found, expected = (read_frames(path, sampling, scale=scale) for path in (folder, clip))
    np.testing.assert_allclose(found.pts_seconds, expected.pts_seconds, atol=1e-6)
    difference = np.abs(found.data.astype(int) - expected.data)
    assert difference.mean() < 2  # chroma is interpolated before scaling here, with it there


@pytest.mark.parametrize(
    "suffix", ["jpg", "JPG", "jpeg", "png", "bmp", "webp", "tif", "tiff", "ppm", "pgm"]
)
def test_pictures_of_each_kind_are_frames(tmp_path: Path, suffix: str) -> None:
    (tmp_path / "clip").mkdir()
    Image.new("L", (32, 24), 100).save(tmp_path / "clip" / f"1.{suffix}")
    (tmp_path / "clip" / "._1.jpg").write_bytes(b"hidden")
    (tmp_path / "clip" / "n_frames").write_text("1")
    frames = read_frames(tmp_path / "clip")
    assert frames.data.shape == (1, 24, 32, 3)
    assert np.abs(frames.data.astype(int) - 100).max() <= 1


def test_numbers_are_counted_not_spelt(tmp_path: Path) -> None:
    for name in ("f10.jpg", "f9.jpg", "f100.jpg", "f1.jpg"):
        (tmp_path / name).touch()
    found = [path.name for path in find_pictures(tmp_path)]
    assert found == ["f1.jpg", "f9.jpg", "f10.jpg", "f100.jpg"]


def no_pictures(folder: Path) -> str:
    return "is a folder, not a video file, and holds no pictures"


def broken_picture(folder: Path) -> str:
    (folder / "frame2.jpg").write_bytes(b"no picture")
    return r"clip/frame2\.jpg: is not a readable picture \(cannot identify image file\)"


def truncated_picture(folder: Path) -> str:
    file = folder / "frame2.png"
    noise = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)
    Image.fromarray(noise).save(file)
    file.write_bytes(file.read_bytes()[:900])
    return r"clip/frame2\.png: is not a readable picture"


def two_series(folder: Path) -> str:
    """As tools for optical flow write them: the frames of three videos, mixed."""
    for name in ("flow_x_1", "flow_x_2", "flow_y_1", "flow_y_2", "img_1", "img_2", "cover"):
        Image.new("RGB", (32, 24)).save(folder / f"{name}.jpg")
    return r"holds several series of pictures \(flow_x_#\.jpg, flow_y_#\.jpg, img_#\.jpg\); a clip"


def many_in_one(folder: Path) -> str:
    pages = [Image.new("L", (32, 24), level) for level in (0, 50, 100)]
    pages[0].save(folder / "frames.tif", save_all=True, append_images=pages[1:])
    return r"clip/frames\.tif: holds 3 pictures, and a frame is one"


def unknown_range(folder: Path) -> str:
    Image.fromarray(np.linspace(0, 9, 12, dtype=np.float32).reshape(3, 4)).save(folder / "1.tif")
    return r"clip/1\.tif: is not a readable picture \(its grey levels have no known range: mode F\)"


def two_sizes(folder: Path) -> str:
    Image.new("RGB", (32, 24)).save(folder / "frame1.png")
    Image.new("RGB", (24, 32)).save(folder / "frame2.png")
    return r"clip/frame2\.png: is 24 x 32, the first frame 32 x 24; a clip's frames have one size"


@pytest.mark.parametrize(
    "damage",
    [
        no_pictures,
        broken_picture,
        truncated_picture,
        two_sizes,
        two_series,
        many_in_one,
        unknown_range,
    ],
)
def test_a_folder_that_cannot_be_used_is_one_line(
    tmp_path: Path, damage: Callable[[Path], str]
) -> None:
    folder = tmp_path / "clip"
    folder.mkdir()
    reason = damage(folder)
    with pytest.raises(VideoError, match=reason) as caught:
        read_frames(folder)
    assert "\n" not in str(caught.value)


def test_a_part_without_frames_is_one_line(tmp_path: Path, pictures: NDArray[np.uint8]) -> None:
    folder = save_frames(tmp_path / "clip", pictures)
    with pytest.raises(VideoError, match=r"from 3 s chooses nothing; .* at 0\.000 to 0\.440 s"):
        read_frames(folder, Sampling(start_seconds=3))


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        (VideoLimits(max_frame_pixels=32 * 24 - 1), "is too large: 32 x 24 pixels"),
        (VideoLimits(max_bytes_held=12 * 32 * 24 * 3 - 1), "is too large: 12 frames of 32 x 24"),
    ],
)
def test_pictures_keep_to_the_limits_of_videos(
    tmp_path: Path, pictures: NDArray[np.uint8], limits: VideoLimits, reason: str
) -> None:
    folder = save_frames(tmp_path / "clip", pictures)
    with pytest.raises(VideoError, match=reason):
        read_frames(folder, limits=limits)


def test_more_frames_than_memory_holds_are_refused(
    tmp_path: Path, pictures: NDArray[np.uint8]
) -> None:
    folder = save_frames(tmp_path / "clip", pictures)
    with pytest.raises(VideoError, match=r"frames would be chosen"):
        read_frames(folder, Sampling(num_frames=10**9))


@pytest.mark.parametrize("ending", ["png", "tif", "pgm"])
def test_grey_levels_of_16_bits_are_scaled_not_clipped(tmp_path: Path, ending: str) -> None:
    levels = np.arange(0, 65536, 257, dtype=np.uint16).reshape(16, 16)
    (tmp_path / "clip").mkdir()
    Image.fromarray(levels).save(tmp_path / "clip" / f"1.{ending}")
    frames = read_frames(tmp_path / "clip")
    np.testing.assert_array_equal(frames.data[0, :, :, 0], levels // 257)
