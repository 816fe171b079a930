"""A picture is what a player shows: square pixels, no combs, no pale HDR, whatever its tags."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from actionrnn.config import Sampling
from actionrnn.errors import VideoError
from actionrnn.options import VideoLimits
from actionrnn.video.convert import drop_unknown_tags, with_square_pixels
from actionrnn.video.decode import iter_frames, read_frames
from actionrnn.video.live import LiveSource
from actionrnn.video.probe import is_read_as_before, probe_video

Pictures = NDArray[np.uint8]
FFmpegEncode = Callable[..., Path]

BT709, BT2020, PQ, HLG = 1, 9, 16, 18


def scene(count: int = 4, height: int = 72, width: int = 128, step: int = 1) -> Pictures:
    """Soft coloured blobs, and a bright square that moves by `step` columns a picture."""
    y, x = np.mgrid[:height, :width].astype(float)
    pictures = np.empty((count, height, width, 3), np.uint8)
    for index in range(count):
        blobs = [110 + 90 * np.sin(x / 17 + 2 * c) * np.cos(y / 13 + c) for c in range(3)]
        pictures[index] = np.stack(blobs, axis=2)
        left = 8 + step * index
        pictures[index, 20:52, left : left + 24] = 235
    return pictures


def encode(
    path: Path,
    pictures: Sequence[av.VideoFrame],
    codec: str = "ffv1",
    *,
    aspect: Fraction | None = None,
    options: dict[str, str] | None = None,
    tags: tuple[int, int, int] | None = None,
) -> Path:
    """A video of these pictures, 25 a second; tags: matrix, transfer, primaries."""
    first = pictures[0]
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options=options or {})
        stream.width, stream.height, stream.pix_fmt = first.width, first.height, first.format.name
        if aspect is not None:
            stream.codec_context.sample_aspect_ratio = aspect
        if tags is not None:
            context = stream.codec_context
            context.colorspace, context.color_trc, context.color_primaries = tags
            context.color_range = 1
        for index, picture in enumerate(pictures):
            picture.pts, picture.time_base = index, Fraction(1, 25)
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    return path


def coded(pictures: Pictures, pixel_format: str = "yuv420p") -> list[av.VideoFrame]:
    rgb = [av.VideoFrame.from_ndarray(picture, format="rgb24") for picture in pictures]
    return [frame.reformat(format=pixel_format) for frame in rgb]


def difference(one: Pictures, other: Pictures) -> float:
    return float(np.abs(one.astype(int) - other).mean())


def squeezed(pictures: Pictures, width: int, height: int) -> list[av.VideoFrame]:
    frames = [av.VideoFrame.from_ndarray(picture, format="rgb24") for picture in pictures]
    return [frame.reformat(width, height, "yuv420p") for frame in frames]


@pytest.mark.parametrize(
    ("name", "codec"),
    [("a.mov", "mpeg4"), ("a.mp4", "libx264"), ("a.mpg", "mpeg2video"), ("a.avi", "mpeg4")],
)
def test_pixels_that_are_not_square_become_square(tmp_path: Path, name: str, codec: str) -> None:
    wide = scene()
    path = encode(tmp_path / name, squeezed(wide, 90, 72), codec, aspect=Fraction(64, 45))
    frames = read_frames(path)
    assert frames.data.shape == (4, 72, 128, 3)
    assert difference(frames.data, wide) < 6
    assert np.array_equal(np.stack([frame.rgb for frame in iter_frames(path)]), frames.data)
    info = probe_video(path)
    assert (info.width, info.height) == (128, 72)
    assert info.corrections == ("pixels 64:45 made square",)
    assert not is_read_as_before(path)


@pytest.mark.parametrize(
    ("name", "codec"), [("a.mkv", "ffv1"), ("a.webm", "libvpx-vp9"), ("a.mov", "prores")]
)
def test_a_container_says_the_shape_of_a_pixel(
    ffmpeg_encode: FFmpegEncode, name: str, codec: str
) -> None:
    path = ffmpeg_encode(name, f"-vf setsar=64/45 -c:v {codec}", size="90x72", seconds=0.1)
    assert read_frames(path).data.shape[1:3] == (72, 128)


def test_narrow_pixels_make_a_picture_higher(tmp_path: Path) -> None:
    pictures = squeezed(scene(), 128, 64)
    path = encode(tmp_path / "a.mp4", pictures, "libx264", aspect=Fraction(8, 9))
    assert read_frames(path).data.shape == (4, 72, 128, 3)


def test_a_turned_video_is_turned_after_its_pixels_are_square(
    ffmpeg_encode: FFmpegEncode,
) -> None:
    upright = ffmpeg_encode("wide.mp4", "-c:v libx264 -vf setsar=2", size="96x64", seconds=0.2)
    turned = ffmpeg_encode("t.mp4", "-c copy", source=upright, before="-display_rotation 90")
    asked = []

    def half(width: int, height: int) -> tuple[int, int]:
        asked.append((width, height))
        return width // 2, height // 2

    assert read_frames(turned).data.shape[1:3] == (192, 64)
    assert read_frames(turned, scale=half).data.shape[1:3] == (96, 32)
    assert set(asked) == {(64, 192)}


@pytest.mark.parametrize("aspect", [Fraction(225, 224), Fraction(1, 300), Fraction(300, 1)])
def test_pixels_nearly_square_or_impossible_are_left_alone(
    tmp_path: Path, aspect: Fraction
) -> None:
    pictures = coded(scene())
    path = encode(tmp_path / "a.mp4", pictures, "libx264", aspect=aspect)
    plain = encode(tmp_path / "b.mp4", pictures, "libx264")
    assert np.array_equal(read_frames(path).data, read_frames(plain).data)
    assert is_read_as_before(path)


def test_the_shown_size_is_rounded_and_held_to_the_limit(tmp_path: Path) -> None:
    assert with_square_pixels(91, 50, Fraction(16, 15)) == (97, 50)
    path = encode(tmp_path / "a.mp4", coded(scene()), "libx264", aspect=Fraction(4))
    limits = VideoLimits(max_frame_pixels=200 * 72)
    with pytest.raises(VideoError, match="512 x 72 pixels a frame"):
        read_frames(path, limits=limits)


WOVEN = [
    ("a.mp4", "libx264", {"x264-params": "tff=1"}),
    ("a.ts", "libx264", {"x264-params": "bff=1"}),
    ("a.mpg", "mpeg2video", {"flags": "+ildct+ilme", "b": "4M"}),
]


@pytest.mark.parametrize(("name", "codec", "options"), WOVEN)
def test_an_interlaced_picture_has_no_combs(
    tmp_path: Path, name: str, codec: str, options: dict[str, str]
) -> None:
    moving = scene(12, step=6)
    woven = moving[0::2].copy()
    woven[:, 1::2] = moving[1::2, 1::2]
    path = encode(tmp_path / name, coded(woven), codec, options=options)
    frames = read_frames(path)
    progressive = encode(tmp_path / f"p{name}", coded(moving[0::2]), codec)
    times = read_frames(progressive).pts_seconds
    np.testing.assert_allclose(np.diff(frames.pts_seconds), np.diff(times), atol=1e-5)
    assert len(frames) == len(times) == 6
    assert difference(frames.data, moving[0::2]) < 4 < difference(frames.data, woven)
    assert probe_video(path).corrections == ("deinterlaced",)
    chosen = read_frames(path, Sampling(num_frames=2))
    assert np.array_equal(chosen.data, frames.data[[1, 4]])


def test_a_live_interlaced_picture_has_no_combs(tmp_path: Path) -> None:
    name, codec, options = WOVEN[0]
    moving = scene(12, step=6)
    woven = moving[0::2].copy()
    woven[:, 1::2] = moving[1::2, 1::2]
    path = encode(tmp_path / name, coded(woven), codec, options=options, aspect=Fraction(2))
    source = LiveSource(str(path))
    live = [arrival.frame.rgb for arrival in source.frames() if arrival is not None]
    assert np.array_equal(np.stack(live), read_frames(path).data)
    assert live[0].shape == (72, 256, 3)


def test_the_container_says_that_raw_pictures_are_interlaced(ffmpeg_encode: FFmpegEncode) -> None:
    options = "-vf tinterlace=interleave_top,fieldorder=tff -field_order tt -c:v ffv1"
    path = ffmpeg_encode("woven.mkv", options, seconds=0.4)
    with av.open(str(path)) as container:
        said = getattr(container.streams.video[0].codec_context, "field_order", 0)
    if said < 2:
        pytest.skip("this build's Matroska does not say it")
    assert probe_video(path).corrections == ("deinterlaced",)


def test_pictures_of_one_field_have_the_height_of_both(ffmpeg_encode: FFmpegEncode) -> None:
    codec = "-c:v libx265 -x265-params log-level=none:interlace=tff"
    path = ffmpeg_encode("fields.mp4", f"-vf separatefields {codec}", size="96x128", seconds=0.2)
    whole = ffmpeg_encode("whole.mp4", "-c:v libx265 -x265-params log-level=none", size="96x128")
    fields = read_frames(path).data
    assert fields.shape[1:3] == (128, 96)
    alike = np.corrcoef(fields[0].ravel(), read_frames(whole).data[0].ravel())[0, 1]
    assert alike > 0.9
    assert probe_video(path).corrections == ("single fields shown in full height",)


def hdr(pictures: Pictures, transfer: int) -> list[av.VideoFrame]:
    """Standard pictures as HDR ones whose diffuse white, 203 cd/m2, is theirs (BT.2408)."""
    to_bt2020 = np.array(
        [[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]]
    )
    light = (pictures / 255.0) ** 2.4 @ to_bt2020.T * 203
    if transfer == PQ:
        power = (light / 10_000) ** (2610 / 16384)
        code = ((3424 / 4096 + 2413 / 128 * power) / (1 + 2392 / 128 * power)) ** (2523 / 32)
    else:
        display = light / 1000
        luminance = np.maximum(display @ [0.2627, 0.6780, 0.0593], 1e-9)
        scene_light = display * luminance[..., None] ** (1 / 1.2 - 1)
        a = 0.17883277
        b, c = 1 - 4 * a, 0.5 - a * np.log(4 * a)
        bright = a * np.log(np.maximum(12 * scene_light - b, 1e-9)) + c
        code = np.where(scene_light <= 1 / 12, np.sqrt(3 * scene_light), bright)
    whole = np.rint(code.clip(0, 1) * 65535).astype(np.uint16)
    found = []
    for picture in whole:
        frame = av.VideoFrame.from_ndarray(picture, format="rgb48le")
        frame = frame.reformat(format="yuv420p10le", dst_colorspace=BT2020, dst_color_range=1)
        frame.colorspace, frame.color_trc, frame.color_primaries = BT2020, transfer, BT2020
        found.append(frame)
    return found


@pytest.mark.parametrize(("transfer", "name"), [(PQ, "PQ"), (HLG, "HLG")])
def test_hdr_is_tone_mapped(tmp_path: Path, transfer: int, name: str) -> None:
    standard = scene()
    tags = (BT2020, transfer, BT2020)
    path = encode(tmp_path / "a.mkv", hdr(standard, transfer), tags=tags)
    plain = encode(tmp_path / "b.mkv", hdr(standard, transfer), tags=(BT2020, BT709, BT2020))
    frames = read_frames(path)
    assert difference(frames.data, standard) < 7
    assert difference(read_frames(plain).data, standard) > 15
    small = read_frames(path, scale=lambda width, height: (width // 2, height // 2)).data
    assert difference(small, frames.data[:, ::2, ::2]) < 6
    assert probe_video(path).corrections == (f"HDR ({name}) tone-mapped",)


@pytest.mark.parametrize("tag", [8, 10, 12, 13, 14, 15])
def test_a_matrix_that_is_not_known_counts_as_unspecified(tmp_path: Path, tag: int) -> None:
    pictures = coded(scene())
    path = encode(tmp_path / "a.mkv", pictures, tags=(tag, BT709, BT709))
    plain = encode(tmp_path / "b.mkv", pictures, tags=(2, BT709, BT709))
    with pytest.warns(UserWarning, match=f"a.mkv: colorspace {tag} .* is not known here"):
        frames = read_frames(path)
    assert np.array_equal(frames.data, read_frames(plain).data)


def test_a_logarithmic_transfer_counts_as_unspecified(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.mkv", coded(scene()), tags=(BT709, 9, BT709))
    with pytest.warns(UserWarning, match="color_trc 9"):
        assert len(read_frames(path)) == 4


def test_tags_that_change_midway_are_taken_as_they_come(tmp_path: Path) -> None:
    parts = []
    for number, tag in enumerate((BT709, 14, BT709)):
        tags = (tag, BT709, BT709)
        parts.append(
            encode(tmp_path / f"{number}.h264", coded(scene()), "libx264", tags=tags).read_bytes()
        )
    path = tmp_path / "joined.h264"
    path.write_bytes(b"".join(parts))
    with pytest.warns(UserWarning, match="colorspace 14"):
        frames = read_frames(path)
    assert len(frames) == 12
    assert difference(frames.data[:4], scene()) < 6 > difference(frames.data[8:], scene())


def test_reserved_tags_are_dropped_without_a_word() -> None:
    picture = coded(scene(1))[0]
    picture.color_trc, picture.color_primaries, picture.colorspace = 0, 3, 9
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert drop_unknown_tags(picture) == ""
    tags = picture.color_trc, picture.color_primaries, picture.colorspace
    assert tuple(map(int, tags)) == (2, 2, 9)


def test_ordinary_pictures_are_not_corrected(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.mp4", coded(scene()), "libx264")
    assert probe_video(path).corrections == ()
    assert is_read_as_before(path)
