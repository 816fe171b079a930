"""Frames and times are those of the ffmpeg command, another build of another version."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from actionrnn.config import Sampling
from actionrnn.video.decode import iter_frames, read_frames
from actionrnn.video.frame import Frames
from actionrnn.video.frame_index import read_frame_index
from actionrnn.video.sampling import choose_frames
from actionrnn.video.source import locate, open_stream
from actionrnn.video.tone_map import PQ, tone_mapped

FFmpegEncode = Callable[..., Path]
FFmpegDecode = Callable[..., tuple[NDArray[np.uint8], list[float]]]

CLIPS = [
    "ucf101_clips/v_ApplyEyeMakeup_g01_c01.avi",  # XviD with packed B-frames
    "ucf101_clips/v_BaseballPitch_g01_c01.avi",
    "ucf101_clips/v_Basketball_g01_c01.avi",
    "ucf101_clips/v_SoccerJuggling_g23_c01.avi",
    "weizmann/bend/daria_bend.avi",
    "weizmann/jack/ido_jack.avi",
    "weizmann/run/lena_run.avi",
    "clips/R6llTwEh07w.mp4",
    "clips/SOX5yA1l24A.mp4",
    "clips/WUzgd7C1pWA.mp4",
    "clips/abseiling_k400.mp4",
]

ODD = {  # name: frames (counted by the ffmpeg program), and the shown height and width
    "animated.gif": (4, 48, 64),
    "av1_video.mkv": (125, 360, 640),
    "bt2020_10bit.mp4": (60, 240, 320),
    "bt601_full_range.mp4": (60, 240, 320),
    "bt601_limited_range.mp4": (60, 240, 320),
    "bt709_full_range.mp4": (30, 720, 1280),
    "discard_first_keyframe.mp4": (25, 64, 64),
    "frame_exceeds_screen.gif": (1, 4, 4),
    "gradient.gif": (1, 720, 1280),
    "h264_10bits.mp4": (30, 200, 200),
    "h265_10bits.mp4": (30, 200, 200),
    "h265_video.mp4": (10, 128, 128),
    "nasa_13013.mp4": (325, 180, 320),  # the first of two video streams
    "nasa_13013_hdr.mp4": (325, 180, 320),
    "nasa_13013_rotated.mp4": (17, 480, 270),
    "test_non_zero_start.mp4": (12, 112, 200),
    "testsrc2.mp4": (60, 720, 1280),
    "testsrc2_12bit_hdr.mp4": (60, 180, 320),
    "testsrc2_444_10bit_hevc.mp4": (25, 241, 321),
    "testsrc2_444_12bit_hevc.mp4": (25, 241, 321),
    "testsrc2_444_8bit_hevc.mp4": (25, 241, 321),
    "testsrc2_av1_10bit.mp4": (25, 240, 320),
    "testsrc2_h265.mp4": (60, 720, 1280),
    "testsrc2_hdr.mp4": (60, 180, 320),
    "testsrc2_mpeg4.avi": (30, 720, 1280),
    "testsrc2_mpeg4.mp4": (1, 64, 64),
    "testsrc2_odd_height_444.mp4": (25, 241, 320),
    "testsrc2_odd_height_and_width_444.mp4": (25, 241, 321),
    "testsrc2_odd_height_and_width_444_10bit.mp4": (25, 241, 321),
    "testsrc2_odd_height_and_width_mpeg2.mp4": (10, 81, 121),
    "testsrc2_odd_height_and_width_vp9.mp4": (25, 241, 321),
    "testsrc2_odd_height_and_width_vp9_10bit.mp4": (25, 241, 321),
    "testsrc2_odd_height_vp9.mp4": (25, 241, 320),
    "testsrc2_odd_height_vp9_10bit.mp4": (25, 241, 320),
    "testsrc2_odd_width_444.mp4": (25, 240, 321),
    "testsrc2_odd_width_mpeg2.mp4": (10, 80, 121),
    "testsrc2_odd_width_vp9.mp4": (25, 240, 321),
    "testsrc2_odd_width_vp9_10bit.mp4": (25, 240, 321),
    "testsrc2_vp8.webm": (30, 720, 1280),
    "testsrc2_vp9.webm": (30, 720, 1280),
    "transparent.gif": (1, 48, 64),
}
ODD_WITHOUT_VIDEO = {"nasa_13013.mp4.audio.mp3", "LICENSE"}

H264 = "-c:v libx264"
UNEVEN = "-vf setpts='if(lt(N,20),N,2*N-20+0.3*mod(N,3))/(25*TB)' -fps_mode vfr"
INTERLACED = "-flags +ilme+ildct"

ENCODED = {
    "open_gop.mp4": f"{H264} -g 10 -x264-params open-gop=1",
    "long_gop.mp4": f"{H264} -g 9999 -sc_threshold 0",
    "many_references.mkv": f"{H264} -g 25 -bf 8 -refs 8 -x264-params b-pyramid=normal",
    "no_b_frames.mp4": f"{H264} -g 10 -bf 0",
    "variable_rate.mp4": f"{H264} -g 10 {UNEVEN}",
    "variable_rate.mkv": f"{H264} -g 10 {UNEVEN}",
    "late_start.mkv": f"{H264} -g 10 -output_ts_offset 7.3",
    "fragments.mp4": f"{H264} -g 10 -movflags frag_keyframe+empty_moov",
    "intra_refresh.mp4": f"{H264} -x264-params intra-refresh=1:keyint=10",  # no clean key frames
    "lossless.mp4": f"{H264} -qp 0",
    "lossless_rgb.mp4": "-c:v libx264rgb -qp 0",
    "interlaced.mp4": f"{H264} {INTERLACED} -x264-params tff=1 -g 10",
    "raw.h264": f"{H264} -g 10",
    "stream.ts": f"{H264} -g 10",
    "stream.flv": f"{H264} -g 10",
    "hevc.mp4": "-c:v libx265 -x265-params log-level=none:keyint=10",
    "hevc_open_gop.mkv": "-c:v libx265 -x265-params log-level=none:keyint=10:open-gop=1",
    "hevc_layers.mp4": "-c:v libx265 -x265-params log-level=none:keyint=20:temporal-layers=3",
    "vp8.webm": "-c:v libvpx -g 10",
    "vp9.webm": "-c:v libvpx-vp9 -g 10 -deadline realtime -cpu-used 8",
    "mpeg2.mpg": "-c:v mpeg2video -g 10 -bf 2",
    "mpeg2_interlaced.ts": f"-c:v mpeg2video -g 10 -bf 2 {INTERLACED}",
    "mpeg4_b_frames.avi": "-c:v mpeg4 -g 10 -bf 2",
    "mpeg4_b_frames.mp4": "-c:v mpeg4 -g 10 -bf 2",
    "xvid.avi": "-c:v libxvid -g 10 -bf 2",
    "mjpeg.avi": "-c:v mjpeg",
    "mjpeg.mov": "-c:v mjpeg",
    "ffv1.mkv": "-c:v ffv1",
    "huffyuv.avi": "-c:v huffyuv",
    "prores.mov": "-c:v prores",
    "theora.ogv": "-c:v libtheora -g 10",
    "wmv.wmv": "-c:v wmv2 -g 10",
    "transparent.mkv": "-vf format=yuva444p,geq=lum='p(X,Y)':a='X' -c:v ffv1",
    "odd_444.mp4": f"{H264} -vf crop=93:61:exact=1 -pix_fmt yuv444p",
    "ten_bit.mp4": f"{H264} -pix_fmt yuv420p10le",
    "full_range.mp4": f"{H264} -vf scale=out_range=pc -color_range pc",
}
TURNED = {
    "turned_90.mp4": "-display_rotation 90",
    "turned_180.mp4": "-display_rotation 180",
    "turned_270.mp4": "-display_rotation 270",
    "mirrored.mp4": "-display_hflip",
    "turned_and_mirrored.mp4": "-display_rotation 90 -display_vflip",
}

ODD_HDR = {
    "bt2020_10bit.mp4",
    "nasa_13013_hdr.mp4",
    "testsrc2_12bit_hdr.mp4",
    "testsrc2_hdr.mp4",
}
# of interlaced pictures: the upper field, scaled to their size
ONE_FIELD = "field=top,scale=w=96:h=64:flags=bicubic+accurate_rnd+full_chroma_int"

SAMPLINGS = [
    Sampling(num_frames=5),
    Sampling(num_frames=16),
    Sampling(rate_fps=7),
    Sampling(keyframes=True),
    Sampling(num_frames=3, start_seconds=0.5, end_seconds=1.5),
]


def assert_same(frames: Frames, pictures: NDArray[np.uint8], times: list[float]) -> None:
    assert frames.data.shape == pictures.shape
    np.testing.assert_allclose(frames.pts_seconds, times, rtol=0, atol=1e-5)
    assert (np.diff(frames.pts_seconds) > 0).all()
    assert np.array_equal(frames.data, pictures), "the pixels differ"


def assert_same_choice(path: Path, everything: Frames, sampling: Sampling) -> None:
    """A sampled reading takes the frames that the rule names out of all frames."""
    with open_stream(path) as stream:
        is_keyframe = read_frame_index(locate(path), stream).is_keyframe
    if len(is_keyframe) != len(everything):  # a raw stream, without times
        return
    chosen = choose_frames(everything.pts_seconds, sampling, is_keyframe)
    if len(chosen) == 0:
        return
    for num_threads in (1, 2):
        frames = read_frames(path, sampling, num_threads=num_threads)
        np.testing.assert_array_equal(frames.pts_seconds, everything.pts_seconds[chosen])
        assert np.array_equal(frames.data, everything.data[chosen]), "the pixels differ"


@pytest.mark.realdata
@pytest.mark.parametrize("name", CLIPS)
def test_real_clips(real_data: Path, ffmpeg_decode: FFmpegDecode, name: str) -> None:
    frames = read_frames(real_data / name)
    assert_same(frames, *ffmpeg_decode(real_data / name))
    for sampling in SAMPLINGS[:3]:
        assert_same_choice(real_data / name, frames, sampling)


@pytest.mark.realdata
def test_every_odd_video_is_known_here(real_data: Path) -> None:
    found = {path.name for path in (real_data / "odd_videos").iterdir()}
    assert found == ODD.keys() | ODD_WITHOUT_VIDEO


@pytest.mark.realdata
@pytest.mark.parametrize("name", ODD)
def test_odd_videos(real_data: Path, ffmpeg_decode: FFmpegDecode, name: str) -> None:
    path = real_data / "odd_videos" / name
    frames = read_frames(path)
    assert frames.data.shape == (*ODD[name], 3)
    if name in ODD_HDR:
        pictures, times = ffmpeg_decode(path, bits=16)
        standard = np.stack([tone_mapped(picture, PQ, 9) for picture in pictures])
        assert_same(frames, standard, times)
    else:
        assert_same(frames, *ffmpeg_decode(path))
    for sampling in SAMPLINGS[:1]:
        assert_same_choice(path, frames, sampling)


@pytest.mark.parametrize("name", ENCODED)
def test_encoded_videos(
    ffmpeg_encode: FFmpegEncode, ffmpeg_decode: FFmpegDecode, name: str
) -> None:
    path = ffmpeg_encode(name, ENCODED[name])
    frames = read_frames(path)
    assert_same(frames, *ffmpeg_decode(path, filters=ONE_FIELD if "interlaced" in name else ""))
    streamed = list(iter_frames(path))
    assert [frame.pts_seconds for frame in streamed] == frames.pts_seconds.tolist()
    assert np.array_equal(np.stack([frame.data for frame in streamed]), frames.data)
    for sampling in SAMPLINGS:
        assert_same_choice(path, frames, sampling)


@pytest.mark.parametrize("name", TURNED)
def test_turned_videos(ffmpeg_encode: FFmpegEncode, ffmpeg_decode: FFmpegDecode, name: str) -> None:
    upright = ffmpeg_encode(f"upright_{name}", H264)
    path = ffmpeg_encode(name, "-c copy", source=upright, before=TURNED[name])
    frames = read_frames(path)
    assert_same(frames, *ffmpeg_decode(path))
    assert not np.array_equal(frames.data, read_frames(upright).data)


def test_a_clip_cut_by_an_edit_list(
    ffmpeg_encode: FFmpegEncode, ffmpeg_decode: FFmpegDecode
) -> None:
    """What lies before the cut is in the file, to decode the rest, and is not shown."""
    whole = ffmpeg_encode("whole.mp4", f"{H264} -g 20")
    path = ffmpeg_encode("cut.mp4", "-c copy", source=whole, before="-ss 1.3")
    frames = read_frames(path)
    assert_same(frames, *ffmpeg_decode(path))
    for sampling in SAMPLINGS[:3]:
        assert_same_choice(path, frames, sampling)


@pytest.mark.parametrize("offsets", [(0, 100), (100, 0), (5000, 3000)])
def test_joined_streams_whose_clock_jumps(
    ffmpeg_encode: FFmpegEncode, ffmpeg_decode: FFmpegDecode, offsets: tuple[int, int]
) -> None:
    """A jump ahead is a pause, as the stream says; after a jump back, time goes on."""
    parts = [
        ffmpeg_encode(f"part_{offset}.ts", f"{H264} -g 10 -output_ts_offset {offset}")
        for offset in offsets
    ]
    path = parts[0].with_name(f"joined_{offsets[0]}.ts")
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    frames = read_frames(path)
    pictures, _ = ffmpeg_decode(path)
    assert np.array_equal(frames.data, pictures)
    for half, part in zip(np.split(frames.pts_seconds, 2), parts, strict=True):
        expected = read_frames(part).pts_seconds
        np.testing.assert_allclose(half - half[0], expected - expected[0], atol=1e-4)
    assert all(later > earlier for earlier, later in pairwise(frames.pts_seconds))
    if offsets == (0, 100):
        assert frames.pts_seconds[50] - frames.pts_seconds[0] == pytest.approx(100, abs=0.1)
    assert_same_choice(path, frames, Sampling(num_frames=6))
