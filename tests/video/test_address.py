"""What is shown of an address: no part of a secret, wherever it is written."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actionrnn.errors import VideoError
from actionrnn.video.address import is_address, masked
from actionrnn.video.decode import read_frames

SECRET = "hunter2XYZ"


def parts_of(secret: str) -> set[str]:
    """All pieces of four characters: none may be seen."""
    return {secret[begin : begin + 4] for begin in range(len(secret) - 3)}


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        (f"rtsp://admin:{SECRET}@10.0.0.5:554/h264", "rtsp://***@10.0.0.5:554/***"),
        (f"rtsp://admin:{SECRET}/x@10.0.0.5/a.mp4", "rtsp://***@10.0.0.5/a.mp4"),
        (f"rtsp://admin:x@{SECRET}@10.0.0.5", "rtsp://***@10.0.0.5"),
        (f"rtsp://admin:x#{SECRET}@10.0.0.5", "rtsp://***@10.0.0.5"),
        (f"rtsp://admin:x?{SECRET}@10.0.0.5/h264", "rtsp://***"),
        (f"rtsp://{SECRET}@10.0.0.5", "rtsp://***@10.0.0.5"),
        (f"RTSP://admin:{SECRET}@cam", "RTSP://***@cam"),
        (f"rtsp://admin:{SECRET}", "rtsp://admin:***"),
        (f"rtsp://admin:{SECRET}/10.0.0.5", "rtsp://admin:***/***"),
        (f"rtsp://cam:554/user=admin&password={SECRET}/z&channel=1.sdp", "rtsp://cam:554/***"),
        (f"rtsp://cam/live/admin:{SECRET}/1", "rtsp://cam/***"),
        (f"http://cam/video.mjpg?user=me&pwd={SECRET}", "http://cam/video.mjpg?***"),
        (f"http://cam/video.mjpg?user=me&pwd=p@{SECRET}", "http://***"),
        (f"http://cam/video.mjpg?pwd=a&{SECRET}=b", "http://cam/video.mjpg?***"),
        (f"http://cam/video.mjpg?{SECRET}", "http://cam/video.mjpg?***"),
        (f"http://cam/video.mjpg%3Fpwd%3D{SECRET}", "http://cam/***"),
        (f"https://cdn/a.m3u8#token={SECRET}", "https://cdn/a.m3u8#***"),
        (f"http://tv:8080/live/me/{SECRET}/12.ts", "http://tv:8080/***/12.ts"),
        (f"http://tv:8080/me/{SECRET}/12", "http://tv:8080/***"),
        (f"http://tv/admin/{SECRET}/123.mkv", "http://tv/***/123.mkv"),
        (f"http://tv/hls/{SECRET}/index.m3u8", "http://tv/***/index.m3u8"),
        (f"http://tv/hls/{SECRET}.m3u8", "http://tv/***"),
        (f"http://tv//{SECRET}/", "http://tv/***/"),
        (f"srt://host:9000?passphrase={SECRET}&mode=caller", "srt://host:9000?***"),
        (f"rtmp://host/app/{SECRET}", "rtmp://host/***"),
        (f"rtmps://host/{SECRET}", "rtmps://host/***"),
        (f"whip://host/{SECRET}", "whip://host/***"),
        (f"rtmp://host app=x playpath={SECRET}", "rtmp://host:***"),
        (f"cache:http://me:{SECRET}@host/a.mp4", "cache:http://***@host/a.mp4"),
        (f"concat:http://a:{SECRET}@h/1|http://b:{SECRET}@h/2", "concat:http://***@h/***"),
        # no addresses, though they were meant as such: a slash or a colon too few, no scheme
        (f"rtsp:/admin:{SECRET}@cam/a.mp4", "rtsp:/***@cam/a.mp4"),
        (f"rtsp//admin:{SECRET}@cam/a.mp4", "rtsp//***@cam/a.mp4"),
        (f"rtsp/admin:{SECRET}@cam/a.mp4", "rtsp/***@cam/a.mp4"),
        (f"http//cam/a.mp4?pwd={SECRET}", "http//cam/a.mp4?***"),
        (f"htp//admin:{SECRET}@cam/a.mp4", "***@cam/a.mp4"),
        (f"admin:{SECRET}@cam", "***@cam"),
        (f" rtsp://h/user=admin&password={SECRET}", "rtsp://h/***"),
        (f"\thttp://h/{SECRET}/x.mp4\n", "http://h/***/x.mp4"),
        (f"10.0.0.5:554/user=admin&password={SECRET}", "10.0.0.5:554/***"),
        (f"10.0.0.5/user=admin_password={SECRET}_channel=1", "10.0.0.5/***"),
        (f"https;//h/x?token={SECRET}", "https;//h/***?***"),
        (f"https ://h/x?token={SECRET}", "https ://h/***?***"),
        (f"//admin:{SECRET}@host/live", "//***@host/***"),
        (f"//host/{SECRET}/a.mp4", "//host/***/a.mp4"),
        (f"file://u:{SECRET}@h/x", "file://***@h/***"),
        (f"rtsp:127.0.0.1/user=admin&password={SECRET}", "rtsp:127.0.0.1/***"),
        (f"rtsp:admin:{SECRET}@h/x.mp4", "rtsp:***@h/x.mp4"),
        (f"cam?pwd={SECRET}", "cam?***"),
        (f"user=a&password={SECRET}", "user:***"),
        (f"/10.0.0.5/user=a&password={SECRET}", "/10.0.0.5/***"),
        (f"{SECRET}@home.mp4", "***@home.mp4"),
        (f"url=rtsp://a:{SECRET}@h", "***@h"),
        (f'"rtsp://admin:{SECRET}@h/live"', '"rtsp://***@h/***'),
        (f"http://h/eyJhbGciOi.eyJz.{SECRET[:3]}", "http://h/***"),
    ],
)
def test_no_part_of_a_password_is_shown(address: str, shown: str) -> None:
    assert masked(address) == shown
    assert not any(part in shown for part in parts_of(SECRET))
    assert masked(shown) == shown


@pytest.mark.parametrize(
    "text",
    [
        "clip.mp4",
        "/data/a:b.mp4",
        r"C:\clips\me@home.mp4",
        "./a:b@c.mp4",
        "file:///data/a:b@c.mp4",
        "http://10.0.0.5:8080/ann_red.avi",
        "http://[fe80::1]:80/a.mp4",
        "udp://239.0.0.1:5000",
        "https://host/GOPR0123.MP4",
        "https://host/VID-20240501_120000.mp4",
        "https://host/",
        "http://host/***/1080p.mp4",
        "http://host/x264_720p_30fps.mp4",
        "http://host/PXL_20240501_105930123.mp4",
        "http://host/UCF101_v_Biking_g01_c01.avi",
        "http://host/My%20Holiday%20(1).mp4",
        "http://host/a.b.c-d.webm",
        "http://host/%C3%ADndice.mp4",
        "http://host/S01E02.mkv",
        "data/video 1.mp4",
        "/data/year=2024/a@b.mp4",
        "10:30 home.mp4",
        "rtsp://***@cam/***",
    ],
)
def test_what_holds_no_secret_is_shown_as_it_is(text: str) -> None:
    assert masked(text) == text


@given(
    st.text("abcXYZ019:/@?#&=%+ .-_;", min_size=4, max_size=12).map("0x!".__add__),
    st.sampled_from(["rtsp", "http", "srt", "cache:https"]),
)
def test_a_password_before_a_host_is_never_seen(password: str, scheme: str) -> None:
    shown = masked(f"{scheme}://admin:{password}@camera/a.mp4")
    assert "0x!" not in shown
    assert shown in (f"{scheme}://***@camera/a.mp4", f"{scheme}://***")


@given(st.lists(st.text("abcXYZ019/=%+.-_", min_size=1), min_size=1).map("/".join))
def test_of_a_path_no_more_is_seen_than_its_last_part(path: str) -> None:
    name = path.rpartition("/")[2]
    assert masked(f"http://tv:80/{path}/0x/{name}") in (
        f"http://tv:80/***/{name}",
        "http://tv:80/***",
    )


def test_an_address_is_no_path() -> None:
    texts = [
        "rtsp://a",
        "HTTP://a",
        "cache:http://a",
        "-",
        "a.mp4",
        "file:///a",
        "C://a",
        "a/b://c",
    ]
    assert list(itertools.compress(texts, map(is_address, texts))) == texts[:3]


def test_a_path_that_was_an_address_shows_no_password() -> None:
    assert masked("http:/bob:SECRET@host/a.csv") == "http:/***@host/a.csv"
    assert masked("C:/videos/a@b.mp4") == "C:/videos/a@b.mp4"


@pytest.mark.parametrize("name", ["10:30 me@home.mp4", "a=1&b=2.mp4", "me@home.mp4"])
def test_a_file_that_is_there_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert masked(name) != name
    (tmp_path / name).touch()
    assert masked(name) == name


def test_spaces_around_an_address_are_not_its_own(tmp_path: Path) -> None:
    with pytest.raises(VideoError, match=r"^http://127\.0\.0\.1:1/a\.mp4: cannot be opened"):
        read_frames(" http://127.0.0.1:1/a.mp4 ")
    assert is_address(" http://a ")


@pytest.mark.parametrize("end", ["\0", "x" * 5000, ""])
def test_no_error_of_a_mistyped_address_shows_a_password(end: str) -> None:
    with pytest.raises(VideoError, match=r"^10\.0\.0\.5/\*\*\*: ") as caught:
        read_frames(f"10.0.0.5/user=admin&password={SECRET}{end}")
    assert not any(part in str(caught.value) for part in parts_of(SECRET))
