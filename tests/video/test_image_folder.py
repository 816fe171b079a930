"""A folder of pictures is read as a video is."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps

from actionrnn.config import Sampling
from actionrnn.errors import VideoError
from actionrnn.options import VideoLimits
from actionrnn.video.decode import iter_frames, read_frames
from actionrnn.video.image_folder import find_pictures, folder_corrections
from actionrnn.video.probe import is_read_as_before


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
    for name in ("n_frames", "Thumbs.db", ".DS_Store"):
        (tmp_path / "clip" / name).write_bytes(b"no picture")
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
    for name in ("flow_x_1", "flow_x_2", "flow_y_1", "flow_y_2", "img_1", "img_2"):
        Image.new("RGB", (32, 24)).save(folder / f"{name}.jpg")
    return (
        r"several series of pictures: flow_x_#\.jpg \(2\), flow_y_#\.jpg \(2\), img_#\.jpg \(2\);"
    )


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


@pytest.fixture(scope="module")
def as_video(tmp_path_factory: pytest.TempPathFactory) -> NDArray[np.uint8]:
    """Every grey level of 16 bits, (256, 256), as a video of 16 bits shows it."""
    path = tmp_path_factory.mktemp("levels") / "levels.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 256, 256, "gray16le"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(LEVELS, format="gray16le")))
        container.mux(stream.encode(None))
    return read_frames(path).data[0]


LEVELS = np.arange(65536, dtype=np.uint16).reshape(256, 256)


@pytest.mark.parametrize("ending", ["png", "tif", "pgm"])
def test_grey_levels_of_16_bits_are_those_of_a_video(
    tmp_path: Path, as_video: NDArray[np.uint8], ending: str
) -> None:
    (tmp_path / "clip").mkdir()
    Image.fromarray(LEVELS).save(tmp_path / "clip" / f"1.{ending}")
    np.testing.assert_array_equal(read_frames(tmp_path / "clip").data[0], as_video)
    assert folder_corrections(tmp_path / "clip") == ("16 bits scaled to 8",)


def test_grey_levels_of_12_bits_are_scaled(tmp_path: Path) -> None:
    """Two pixels, 0x800 and 0xFFF, in a TIFF file of 12 bits without padding."""
    fields = [(256, 2), (257, 1), (258, 12), (259, 1), (262, 1), (273, 8), (277, 1), (278, 1)]
    fields.append((279, 3))  # bytes of the strip
    directory = struct.pack("<H", len(fields)) + b"".join(
        struct.pack("<HHIHH", tag, 3, 1, value, 0) for tag, value in fields
    )
    content = b"II*\0" + struct.pack("<I", 12) + b"\x80\x0f\xff\0" + directory + b"\0\0\0\0"
    (tmp_path / "1.tif").write_bytes(content)
    assert read_frames(tmp_path).data[0, 0, :, 0].tolist() == [128, 255]


@pytest.mark.parametrize("ending", ["jpg", "png", "tif", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_are_turned_as_their_exif_data_say(
    tmp_path: Path, orientation: int, ending: str
) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (3, 4, 3), np.uint8)
    stored = Image.fromarray(noise.repeat(8, 0).repeat(8, 1))
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    (tmp_path / "clip").mkdir()
    path = tmp_path / "clip" / f"1.{ending}"
    stored.save(path, exif=exif, **({"quality": 100} if ending in ("jpg", "webp") else {}))
    with Image.open(path) as picture:
        expected = np.asarray(ImageOps.exif_transpose(picture).convert("RGB"))
    found = read_frames(tmp_path / "clip")
    np.testing.assert_array_equal(found.data[0], expected)
    np.testing.assert_array_equal(next(iter_frames(tmp_path / "clip")).rgb, expected)
    assert bool(folder_corrections(tmp_path / "clip")) == (orientation != 1)
    assert is_read_as_before(tmp_path / "clip") == (orientation == 1)
    if ending != "webp":  # whose EXIF data FFmpeg leaves alone
        as_video = read_frames(path).data[0].astype(int)
        assert as_video.shape == expected.shape
        assert np.abs(as_video - expected).mean() < 20  # colours at the edges


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_damaged_exif_data_change_nothing(tmp_path: Path) -> None:
    Image.new("RGB", (32, 24)).save(tmp_path / "1.jpg", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    assert read_frames(tmp_path).data.shape == (1, 24, 32, 3)


def test_a_cover_is_no_frame(tmp_path: Path, pictures: NDArray[np.uint8]) -> None:
    folder = save_frames(tmp_path / "clip", pictures)
    Image.new("RGB", (300, 400)).save(folder / "cover.jpg")
    with pytest.warns(UserWarning, match=r"clip: left out beside the frames: cover\.jpg"):
        frames = read_frames(folder)
    np.testing.assert_array_equal(frames.data, pictures)


@pytest.mark.parametrize(
    ("names", "as_before"),
    [
        (["1.png", "2.png", "10.png"], True),
        (["0.5.png", "0.25.png"], False),
        (["-1.png", "-2.png", "0.png"], False),
    ],
)
def test_features_of_another_order_are_not_kept(
    tmp_path: Path, names: list[str], as_before: bool
) -> None:
    for name in names:
        Image.new("RGB", (32, 24)).save(tmp_path / name)
    assert is_read_as_before(tmp_path) == as_before
