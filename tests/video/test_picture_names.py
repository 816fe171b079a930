"""Which pictures are a clip's frames, and in which order, by their names."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actionrnn.errors import VideoError
from actionrnn.video.picture_names import are_numbered, in_order


@pytest.mark.parametrize(
    "ordered",
    [
        ["f1.jpg", "f9.jpg", "f10.jpg", "f100.jpg"],
        ["f1.jpg", "f02.jpg", "f010.jpg"],
        ["frame_0.5.png", "frame_2.png", "frame_10.25.png", "frame_10.5.png"],
        ["0.0.png", "0.25.png", "0.5.png", "1.0.png"],
        ["shot1.8.png", "shot1.9.png", "shot1.10.png", "shot1.11.png"],
        ["shot2.0001.png", "shot2.0002.png", "shot2.0010.png"],
        ["v1.2.9_3.png", "v1.2.10_1.png"],
        ["t_-1.5.png", "t_-1.png", "t_0.png", "t_1.png"],
        ["-2.png", "-01.png", "0.png"],
        ["img-1.png", "img-2.png", "img-10.png"],
        ["2024-05-01_10-59.jpg", "2024-05-01_11-00.jpg", "2024-05-02_00-01.jpg"],
        ["1311868164.363181.png", "1311868164.399026.png", "1311868165.031.png"],
        ["20240101_235959_001.jpg", "20240101_235959_002.jpg", "20240102_000000_001.jpg"],
        ["a20240101T1059-1.jpg", "a20240101T1059-2.jpg", "a20240101T1100-1.jpg"],
        ["2024-05-01_10-58.jpg", "2024-05-01_10-59.jpg", "2024-05-01_11-58.jpg"],
        [f"vlcsnap-2024-05-01-{time}.png" for time in ("10h59m30s1", "10h59m30s9", "11h00m00s1")],
        ["f_00-00-58.png", "f_00-00-59.png", "f_00-01-58.png"],
        ["01-05-2024_10-59-59.jpg", "01-05-2024_11-00-00.jpg"],
        ["31-05-2024_10-59-59.jpg", "01-06-2024_11-00-00.jpg", "01-01-2025_11-00-00.jpg"],
        ["31.05.2024 10.59.58.jpg", "01.06.2024 10.59.59.jpg"],
        ["05-31-2024_10-59.jpg", "06-01-2024_10-58.jpg"],
        [f"cam_24-05-01_{time}.jpg" for time in ("10-59-58-00", "10-59-58-01", "10-59-59-00")],
        [f"20240501_{time}.jpg" for time in ("105958 (0)", "105958 (1)", "105959 (0)")],
        [f"2024-5-1_{time}.jpg" for time in ("9-5-58", "9-5-59", "9-6-0", "10-0-0")],
        ["0m58s.jpg", "0m59s.jpg", "1m0s.jpg", "1m1s.jpg"],
        ["f_00h00m59s.jpg", "f_00h01m00s.jpg", "f_01h00m00s.jpg"],
        ["00:58.jpg", "00:59.jpg", "01:00.jpg"],
        [f"10.59.{last}.jpg" for last in ("30[M][0@0][0]", "30[M][0@0][1]", "31[M][0@0][0]")],
        ["1-20240501105959-0.jpg", "1-20240501105959-1.jpg", "2-20240501110000-0.jpg"],
        [f"1714561198 {n}.jpg" for n in (1, 2)] + ["1714561199 1.jpg"],
        [f"20240501_1059{s:02}_{n:02}.jpg" for s in range(60) for n in range(25)],
        [f"20240501_1059{s:02}_{n}.jpg" for s in range(60) for n in range(2 + s % 2)],
        [f"20240501_1059{s:02}_{n}.jpg" for s in range(9) for n in (1, 2)],
        ["1311868164_1.png", "1311868164_2.png", "1311868165_1.png"],
        ["part1_001.jpg", "part1_002.jpg", "part2_003.jpg", "part2_004.jpg"],
        ["2024_364.jpg", "2024_365.jpg", "2025_366.jpg"],
        ["cam1_001_v2.jpg", "cam1_002_v2.jpg"],
        ["a.jpg", "b.jpg"],
        ["IMG_1.JPG", "img_2.jpg"],
        ["x_99999999999999999999.png", "x_100000000000000000000.png"],
    ],
)
def test_names_are_in_the_order_of_their_numbers(ordered: list[str]) -> None:
    assert in_order(reversed(ordered)) == (ordered, [])
    assert in_order(ordered) == (ordered, [])


@given(st.sets(st.integers(-(10**4), 10**4), min_size=1), st.integers(0, 4))
def test_decimals_are_in_the_order_of_their_values(scaled: set[int], places: int) -> None:
    values = sorted({-1, *scaled, 1})  # not all negative
    names = [f"t_{(Decimal(value) / 10**places).normalize():f}.png" for value in values]
    assert in_order(sorted(names))[0] == names


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (
            ["img_1.jpg", "img_2.jpg", "flow_x_1.jpg", "flow_x_2.jpg", "flow_y_1.jpg"],
            r"flow_x_#\.jpg \(2\), img_#\.jpg \(2\), flow_y_#\.jpg \(1\); a clip is one of them",
        ),
        (["color_1.png", "depth_1.png"], r"color_#\.png \(1\), depth_#\.png \(1\);"),
        (["1.jpg", "2.jpg", "1.png", "2.png"], r"#\.jpg \(2\), #\.png \(2\);"),
        (["1.jpg", "2.jpg", "title.jpg"], r"#\.jpg \(2\), title\.jpg \(1\);"),
        (["f.jpg", "f (1).jpg", "f (2).jpg"], r"f \(#\)\.jpg \(2\), f\.jpg \(1\);"),
        (["a1.jpg", "b1.jpg", "c1.jpg", "d1.jpg"], r"\(1\), \.\.\.; a clip"),
        (["ann.jpg", "ann.png"], r"ann\.jpg and ann\.png, of which one may be made of the other"),
        (["1.jpg", "01.jpg"], r"01\.jpg and 1\.jpg, which have the same number"),
        (["0.5.jpg", "0.50.jpg"], r"0\.5\.jpg and 0\.50\.jpg, which have the same number"),
        (
            [f"cam{cam}_{n:03}.jpg" for cam in (1, 2) for n in range(1, 101)],
            r"cam1_001\.jpg \.\.\. cam1_100\.jpg, then cam2_001\.jpg \.\.\. cam2_100\.jpg: .* "
            "begins again, so they are several series; put each into a separate folder, or give",
        ),
        (
            ["s01e01_1.png", "s01e01_2.png", "s01e02_1.png", "s02e01_1.png"],
            r"s01e01_1\.png \.\.\. s01e01_2\.png, then s01e02_1\.png: their",
        ),
        (["cam1_1.jpg", "cam1_9.jpg", "cam2_5.jpg", "cam2_6.jpg"], "several series"),
        (["000000_10.png", "000000_11.png", "000001_10.png", "000001_11.png"], "several series"),
        (["20240501_1.jpg", "20240501_2.jpg", "20240502_1.jpg"], "several series"),
        (["2024_001.jpg", "2024_002.jpg", "2025_001.jpg"], "several series"),
        (
            [f"cam{cam}_20240101_235959_{n}.jpg" for cam in (1, 2) for n in (1, 2)],
            "several series",
        ),
        (
            [f"20240501_1059{s:02}_{camera}.jpg" for s in range(20) for camera in (1, 2)],
            r"holds 20240501_105901_1\.jpg \.\.\. 20240501_105901_2\.jpg, then .*_105902_1.*"
            "the same numbers under each time, as of several cameras",
        ),
        (
            [f"20240501_105959_cam{cam}_{n}.jpg" for cam in (1, 2) for n in (1, 2)],
            "several series",
        ),
        (["01-05-2024_1.jpg", "02-06-2024_1.jpg"], r"01-05-2024: is the day first, or the month\?"),
        (["100_0001.jpg", "100_0002.jpg", "101_0001.jpg"], "several series"),
        (["t_-1.jpg", "t_-2.jpg"], r"numbered -1, -2: a negative number, or a dash\?"),
    ],
)
def test_what_is_not_one_series_is_refused(names: list[str], reason: str) -> None:
    with pytest.raises(VideoError, match=reason) as caught:
        in_order(names)
    assert "\n" not in str(caught.value)


def test_previews_beside_other_pictures_are_left_out() -> None:
    numbered = ["1.jpg", "2.jpg"]
    assert in_order(["Cover.jpg", *numbered, "thumb.png"]) == (numbered, ["Cover.jpg", "thumb.png"])
    covers = ["AlbumArtSmall.jpg", "AlbumArt_{A-1}_Large.jpg", "Folder.jpg"]
    assert in_order([*covers, *numbered]) == (numbered, covers)
    assert in_order(["a.jpg", "cover.jpg"]) == (["a.jpg"], ["cover.jpg"])
    assert in_order(["cover.jpg", "poster.jpg"]) == (["cover.jpg", "poster.jpg"], [])


@pytest.mark.parametrize(
    ("names", "numbered"),
    [
        (["1.jpg", "2.jpg", "cover.jpg"], True),
        (["t_0.5.jpg", "t_1.jpg"], True),
        (["s1_1.jpg", "s1_2.jpg"], True),
        (["s1_1.jpg", "s2_2.jpg"], False),
        (["1.jpg"], False),
        (["1.jpg", "2.jpg", "flow_1.jpg"], False),
        ([], False),
    ],
)
def test_numbered_names_differ_in_one_number(names: list[str], numbered: bool) -> None:
    assert are_numbered(names) == numbered
