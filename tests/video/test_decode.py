"""Video files become frames: compared with other decoders, and with broken input."""

from __future__ import annotations

import re
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from actionrnn.config import Sampling
from actionrnn.errors import VideoError
from actionrnn.video.decode import iter_frames, read_frames
from actionrnn.video.frame import Frames
from actionrnn.video.probe import probe_video
from tests.tiny import empty, text

EncodeVideo = Callable[..., Path]

BAD_TAILS = [0.6, 0.75, 0.9]


def grey_steps(count: int, step: int = 6) -> NDArray[np.uint8]:
    """Frame i is grey of level `step * i`."""
    levels = (step * np.arange(count, dtype=np.uint8)).reshape(-1, 1, 1, 1)
    return np.broadcast_to(levels, (count, 48, 64, 3)).copy()


def moving_noise(count: int) -> NDArray[np.uint8]:
    """Hard to compress, so that a file's bytes are spread over its frames."""
    return np.random.default_rng(0).integers(0, 256, (count, 48, 64, 3), np.uint8)


def grey_levels(frames: Frames, step: int = 6) -> list[int]:
    return [round(float(picture.mean()) / step) for picture in frames.data]


@pytest.mark.realdata
def test_a_real_clip_is_close_to_opencvs_pixels(real_data: Path) -> None:
    path = real_data / "ucf101_clips" / "v_Basketball_g01_c01.avi"
    capture, pictures = cv2.VideoCapture(str(path)), []
    while (picture := capture.read()[1]) is not None:
        pictures.append(picture[..., ::-1])
    frames = read_frames(path)
    assert len(frames) == len(pictures) == 141
    assert np.abs(frames.data.astype(int) - np.stack(pictures)).mean() < 3


@pytest.mark.realdata
def test_packed_b_frames_have_rising_times(real_data: Path) -> None:
    path = real_data / "ucf101_clips" / "v_ApplyEyeMakeup_g01_c01.avi"
    times = read_frames(path, scale=lambda width, height: (16, 12)).pts_seconds
    np.testing.assert_allclose(np.diff(times), 1 / 25, atol=1e-9)
    assert len(times) == 164


@pytest.mark.realdata
def test_a_turned_video_is_scaled_as_it_is_shown(real_data: Path) -> None:
    asked = []

    def half(width: int, height: int) -> tuple[int, int]:
        asked.append((width, height))
        return width // 2, height // 2

    frames = read_frames(real_data / "odd_videos" / "nasa_13013_rotated.mp4", scale=half)
    assert set(asked) == {(270, 480)}
    assert frames.data.shape == (17, 240, 135, 3)


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("nasa_13013.mp4.audio.mp3", "has no video stream, only audio"),
        ("LICENSE", "is not a readable video"),
    ],
)
def test_what_holds_no_video_is_refused(real_data: Path, name: str, reason: str) -> None:
    with pytest.raises(VideoError, match=f"{re.escape(name)}: {reason}"):
        read_frames(real_data / "odd_videos" / name)


@pytest.mark.parametrize(("name", "codec"), [("a.avi", "mpeg4"), ("c.mp4", "h264")])
def test_frames_come_in_the_order_of_time(encode_video: EncodeVideo, name: str, codec: str) -> None:
    frames = read_frames(encode_video(name, grey_steps(40), codec))
    assert grey_levels(frames) == list(range(40))
    np.testing.assert_allclose(frames.pts_seconds, np.arange(40) / 25, atol=1e-9)


@pytest.mark.parametrize(
    ("sampling", "levels"),
    [
        (Sampling(num_frames=4), [5, 15, 25, 35]),
        (Sampling(num_frames=1), [20]),
        (Sampling(rate_fps=5), [0, 5, 10, 15, 20, 25, 30, 35]),
        (Sampling(rate_fps=1), [0, 25]),
    ],
)
def test_sampling_picks_the_frames_and_their_times(
    encode_video: EncodeVideo, sampling: Sampling, levels: list[int]
) -> None:
    frames = read_frames(encode_video("a.mp4", grey_steps(40), "h264"), sampling)
    assert grey_levels(frames) == levels
    np.testing.assert_allclose(frames.pts_seconds, np.array(levels) / 25, atol=1e-9)


def test_frames_repeat_in_a_clip_shorter_than_asked(encode_video: EncodeVideo) -> None:
    frames = read_frames(encode_video("a.avi", grey_steps(2, step=40)), Sampling(num_frames=4))
    assert grey_levels(frames, step=40) == [0, 0, 1, 1]
    np.testing.assert_allclose(frames.pts_seconds, [0, 0, 0.04, 0.04], atol=1e-9)


@pytest.mark.parametrize("sampling", [Sampling(), Sampling(num_frames=1), Sampling(rate_fps=4)])
def test_a_video_of_one_frame_gives_it(encode_video: EncodeVideo, sampling: Sampling) -> None:
    frames = read_frames(encode_video("a.mp4", grey_steps(1), "h264"), sampling)
    assert frames.data.shape == (1, 48, 64, 3)
    assert frames.pts_seconds.tolist() == [0.0]


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_a_variable_rate_and_a_late_start_keep_their_times(
    encode_video: EncodeVideo, name: str
) -> None:
    times_ms = [5000, 5040, 5200, 5240, 6000, 6010, 6500]
    path = encode_video(name, grey_steps(7, step=30), "h264", times_ms)
    frames = read_frames(path)
    np.testing.assert_allclose(frames.pts_seconds, np.array(times_ms) / 1000, atol=1e-3)
    assert grey_levels(frames, step=30) == list(range(7))
    sampled = read_frames(path, Sampling(rate_fps=4))  # at 5.0, 5.25, ... 6.5
    assert grey_levels(sampled, step=30) == [0, 3, 3, 3, 4, 5, 6]


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts"])
def test_a_late_start_at_a_constant_rate_keeps_its_times(
    encode_video: EncodeVideo, name: str
) -> None:
    times_ms = [5000 + 40 * index for index in range(40)]
    frames = read_frames(encode_video(name, grey_steps(40), "h264", times_ms))
    assert len(frames) == 40
    np.testing.assert_allclose(np.diff(frames.pts_seconds), 0.04, atol=2e-3)
    assert frames.pts_seconds[0] >= 4.9  # .ts adds a delay of its own


@pytest.mark.parametrize("codec", ["mpeg4", "h264"])
def test_streaming_gives_the_same_frames(encode_video: EncodeVideo, codec: str) -> None:
    path = encode_video("a.mkv", moving_noise(20), codec)
    frames, streamed = read_frames(path), list(iter_frames(path))
    np.testing.assert_array_equal(np.stack([frame.data for frame in streamed]), frames.data)
    assert [frame.pts_seconds for frame in streamed] == frames.pts_seconds.tolist()


def test_the_number_of_threads_changes_no_pixel(encode_video: EncodeVideo) -> None:
    path = encode_video("a.mp4", moving_noise(20), "h264")
    one, four = read_frames(path, num_threads=1), read_frames(path, num_threads=4)
    np.testing.assert_array_equal(one.data, four.data)


def test_scaling_gives_the_size_that_is_asked_for(encode_video: EncodeVideo) -> None:
    path = encode_video("a.avi", grey_steps(10, step=20))
    frames = read_frames(path, scale=lambda width, height: (width // 2, height // 4))
    assert frames.data.shape == (10, 12, 32, 3)
    assert grey_levels(frames, step=20) == list(range(10))


@pytest.mark.parametrize(
    "name", ["with a space.avi", "été 動画.avi", "take:1.avi", "50%d.avi", "-i.avi"]
)
def test_any_file_name_is_read(
    encode_video: EncodeVideo, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    path = encode_video("a.avi", grey_steps(3))
    path.rename(path.with_name(name))
    monkeypatch.chdir(path.parent)
    assert len(read_frames(name)) == 3


def missing(folder: Path) -> Path:
    return folder / "nowhere.avi"


def a_folder(folder: Path) -> Path:
    return folder


def sound(folder: Path) -> Path:
    path = folder / "sound.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        silence = np.zeros((1, 8000), np.int16)
        frame = av.AudioFrame.from_ndarray(silence, format="s16", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def junk(folder: Path) -> Path:
    """A whole file whose pictures are zeros."""
    path = folder / "junk.avi"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuvj420p"
        for index in range(5):
            packet = av.Packet(b"\x00" * 100)
            packet.stream, packet.pts, packet.dts = stream, index, index
            packet.time_base = Fraction(1, 25)
            container.mux(packet)
    return path


BAD = [
    (missing, "no such file"),
    (a_folder, "is a folder, not a video file"),
    (empty, r"is empty \(0 bytes\)"),
    (text, "is not a readable video"),
    (sound, "has no video stream, only audio"),
]


@pytest.mark.parametrize("use", [read_frames, probe_video, lambda path: next(iter_frames(path))])
@pytest.mark.parametrize(("make", "reason"), BAD)
def test_bad_input_is_one_line_with_the_file_and_the_reason(
    tmp_path: Path, make: Callable[[Path], Path], reason: str, use: Callable[[Path], object]
) -> None:
    path = make(tmp_path)
    with pytest.raises(VideoError, match=f"^{re.escape(str(path))}: {reason}") as caught:
        use(path)
    assert "\n" not in str(caught.value)


def test_a_video_without_a_decodable_frame_is_refused(tmp_path: Path) -> None:
    for read in (read_frames, lambda path: next(iter_frames(path))):
        with pytest.raises(VideoError, match=r"junk\.avi: no frame can be decoded"):
            read(junk(tmp_path))


@pytest.mark.parametrize("sampling", [Sampling(start_seconds=5.0), Sampling(end_seconds=-1.0)])
def test_a_range_without_frames_is_refused_with_the_times_that_there_are(
    encode_video: EncodeVideo, sampling: Sampling
) -> None:
    path = encode_video("a.avi", grey_steps(25))
    with pytest.raises(VideoError, match=r"chooses nothing; its frames are at 0\.000 to 0\.960 s"):
        read_frames(path, sampling)


def test_a_range_of_a_video_is_cut_out_before_frames_are_chosen(encode_video: EncodeVideo) -> None:
    path = encode_video("a.mp4", grey_steps(40), "h264")
    sampling = Sampling(num_frames=4, start_seconds=0.4, end_seconds=0.8)
    assert grey_levels(read_frames(path, sampling)) == [11, 13, 16, 18]


def test_key_frames_alone_are_found_where_the_encoder_put_them(encode_video: EncodeVideo) -> None:
    path = encode_video("a.mp4", grey_steps(40), "h264")  # one at the beginning
    assert grey_levels(read_frames(path, Sampling(keyframes=True))) == [0]
    assert grey_levels(read_frames(path, Sampling(keyframes=True, num_frames=3))) == [0, 0, 0]
    path = encode_video("b.avi", grey_steps(40), "mjpeg")  # nothing else
    assert grey_levels(read_frames(path, Sampling(keyframes=True))) == list(range(40))


def cut(path: Path, part: float) -> Path:
    content = path.read_bytes()
    shorter = path.with_name(f"cut_{path.name}")
    shorter.write_bytes(content[: int(part * len(content))])
    return shorter


def test_a_video_cut_to_a_third_is_refused_with_its_counts(encode_video: EncodeVideo) -> None:
    path = cut(encode_video("a.avi", moving_noise(60), "mjpeg"), 0.3)
    with pytest.raises(VideoError, match=r"truncated or damaged: 1\d of 60 frames"):
        read_frames(path)


@pytest.mark.parametrize("part", BAD_TAILS)
def test_a_video_cut_near_its_end_is_used_as_far_as_it_goes(
    encode_video: EncodeVideo, part: float
) -> None:
    whole = encode_video("a.avi", moving_noise(60), "mjpeg")
    frames, expected = read_frames(cut(whole, part)), read_frames(whole)
    assert 30 <= len(frames) <= part * 60 + 1
    good = len(frames) - 1  # the last may have lost its lower half
    np.testing.assert_array_equal(frames.data[:good], expected.data[:good])
    np.testing.assert_array_equal(frames.pts_seconds, expected.pts_seconds[: len(frames)])


@pytest.mark.parametrize("part", BAD_TAILS)
def test_sampling_of_a_cut_video_spreads_over_what_is_left(
    encode_video: EncodeVideo, part: float
) -> None:
    path = cut(encode_video("a.avi", moving_noise(60), "mjpeg"), part)
    everything = read_frames(path).pts_seconds
    sampled = read_frames(path, Sampling(num_frames=4)).pts_seconds
    middles = (2 * np.arange(4) + 1) * len(everything) // 8
    # the packet in which the file ends may count as a frame
    np.testing.assert_allclose(sampled, everything[middles], rtol=0, atol=0.041)


@pytest.mark.realdata
def test_a_real_clip_is_refused_or_used_like_an_encoded_one(
    real_data: Path, tmp_path: Path
) -> None:
    source = real_data / "ucf101_clips" / "v_ApplyEyeMakeup_g01_c01.avi"
    path = tmp_path / source.name
    path.write_bytes(source.read_bytes())
    with pytest.raises(VideoError, match=r"\d+ of 164 frames can be decoded"):
        read_frames(cut(path, 0.3))
    frames = read_frames(cut(path, 0.75))
    assert 110 < len(frames) < 164
    assert (np.diff(frames.pts_seconds) > 0).all()


def test_an_mp4_without_its_end_is_refused(encode_video: EncodeVideo) -> None:
    """An .mp4 has its index at the end: nothing is left of it."""
    with pytest.raises(VideoError, match="is not a readable video"):
        read_frames(cut(encode_video("a.mp4", moving_noise(30), "h264"), 0.8))


def test_a_damaged_frame_is_left_out_and_the_others_stay(encode_video: EncodeVideo) -> None:
    path = encode_video("a.avi", moving_noise(12), "mjpeg")
    whole = read_frames(path)
    with av.open(str(path)) as container:
        packet = [packet for packet in container.demux(video=0) if packet.size][5]
        position, size = packet.pos, packet.size
    content = bytearray(path.read_bytes())
    begin = content.index(b"\xff\xd8", position)  # a JPEG's first bytes
    content[begin : begin + size] = bytes(size)
    path.write_bytes(content)
    kept = [index for index in range(12) if index != 5]
    frames = read_frames(path)
    np.testing.assert_array_equal(frames.data, whole.data[kept])
    np.testing.assert_array_equal(frames.pts_seconds, whole.pts_seconds[kept])


@pytest.mark.parametrize("begin", [0.25, 0.5])
def test_the_number_of_threads_changes_no_pixel_of_a_damaged_clip(
    real_data: Path, tmp_path: Path, begin: float
) -> None:
    content = bytearray((real_data / "clips" / "SOX5yA1l24A.mp4").read_bytes())
    first, count = int(begin * len(content)), len(content) // 100
    noise = np.random.default_rng(0).integers(0, 256, count, np.uint8)
    content[first : first + count] = noise.tobytes()
    path = tmp_path / "damaged.mp4"
    path.write_bytes(content)
    one, four = (
        read_frames(path, Sampling(num_frames=40), scale=lambda *_: (64, 48), num_threads=threads)
        for threads in (1, 4)
    )
    np.testing.assert_array_equal(one.data, four.data)


@pytest.mark.parametrize(
    ("data", "times"),
    [
        (np.zeros((2, 4, 4, 3), np.float32), np.zeros(2)),
        (np.zeros((2, 4, 4), np.uint8), np.zeros(2)),
        (np.zeros((2, 4, 4, 4), np.uint8), np.zeros(2)),
        (np.zeros((2, 4, 4, 3), np.uint8), np.zeros(3)),
    ],
)
def test_frames_of_another_shape_or_type_are_refused(
    data: NDArray[np.generic], times: NDArray[np.float64]
) -> None:
    with pytest.raises(ValueError, match=r"data must be uint8|one time per frame"):
        Frames(data, times)  # type: ignore[arg-type]
