"""A picture of one classified clip, for any number of frames, classes and names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from actionrnn.apps.contact_sheet import MAX_FRAMES, write_contact_sheet
from actionrnn.config import Sampling
from actionrnn.errors import VideoError
from actionrnn.model.timeline import Timeline
from actionrnn.video import seeking

RED, BLUE = (220, 30, 40), (30, 40, 220)
LABELS = ("clap", "jump", "wave")

Colour = tuple[int, int, int]


def draw(
    sheet: Path,
    colours: list[Colour],
    *,
    labels: tuple[str, ...] = LABELS,
    name: str = "clip",
    truth: str | None = None,
) -> np.ndarray:
    """The sheet of a folder of pictures of these colours, as pixels."""
    folder = sheet.parent / "clips" / name
    folder.mkdir(parents=True, exist_ok=True)
    for number, colour in enumerate(colours):
        Image.new("RGB", (32, 24), colour).save(folder / f"{number:03}.png")
    timeline = make_timeline(len(colours), labels, str(folder))
    write_contact_sheet(timeline, Sampling(), sheet, truth=truth)
    return read_png(sheet)


def make_timeline(count: int, labels: tuple[str, ...], path: str) -> Timeline:
    """The last label rises, the others share the rest."""
    rising = np.linspace(1 / len(labels), 0.9, count, dtype=np.float32)
    rest = (1 - rising) / max(1, len(labels) - 1)
    scores = np.stack([*[rest] * (len(labels) - 1), rising], axis=1)
    return Timeline(labels, scores, scores, np.arange(count) / 10, path)


def read_png(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        assert image.format == "PNG"
        return np.asarray(image.convert("RGB"))


def share_of(colour: tuple[int, int, int], picture: np.ndarray) -> float:
    return float((np.abs(picture.astype(int) - colour).max(axis=2) < 8).mean())


@pytest.mark.parametrize(("count", "rows"), [(1, 1), (6, 1), (7, 2), (12, 2), (13, 2)])
def test_the_sheet_is_a_png_of_at_most_two_rows_of_frames(
    tmp_path: Path, count: int, rows: int
) -> None:
    picture = draw(tmp_path / "sheet.png", [RED] * count)
    assert picture.shape == (200 * rows + 300, 1200, 3)
    shown = share_of(RED, picture) * picture.shape[0] * 1200
    one_frame = (0.75 * 120) * 120  # at least: frames are some 190 pixels wide
    assert shown > min(count, 11) * one_frame


def test_the_frames_of_the_clip_are_shown(tmp_path: Path) -> None:
    red, blue = (draw(tmp_path / "sheet.png", [colour] * 4) for colour in (RED, BLUE))
    assert share_of(RED, red) > 0.1 > 0.01 > share_of(BLUE, red)
    assert share_of(BLUE, blue) > 0.1 > 0.01 > share_of(RED, blue)


def test_first_and_last_frame_are_always_shown(tmp_path: Path) -> None:
    picture = draw(tmp_path / "sheet.png", [BLUE, *[RED] * 48, BLUE])
    reds, blues = share_of(RED, picture), share_of(BLUE, picture)
    assert blues == pytest.approx(reds / 5, rel=0.1)  # 2 of 12 frames


def test_the_same_input_gives_the_same_picture(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        draw(tmp_path / name, [RED] * 5)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_the_truth_is_written_where_it_is_known(tmp_path: Path) -> None:
    without, known = (
        draw(tmp_path / "sheet.png", [RED] * 5, truth=truth) for truth in (None, "jump")
    )
    changed = (without != known).any(axis=(1, 2)).nonzero()[0]
    assert changed.size
    assert changed.max() < 40  # in the title alone


@pytest.mark.parametrize("num_classes", [1, 2, 4, 5, 101])
def test_any_number_of_classes_can_be_shown(tmp_path: Path, num_classes: int) -> None:
    labels = tuple(f"class{index}" for index in range(num_classes))
    assert draw(tmp_path / "sheet.png", [RED] * 3, labels=labels).shape == (500, 1200, 3)


@pytest.mark.parametrize("name", ["a_b", "_private", r"$\frac{x$", "50% off", "{x}", "a\\b", "<&>"])
def test_names_are_shown_as_they_are(tmp_path: Path, name: str) -> None:
    labels = (name, f"{name} 2")
    picture = draw(tmp_path / "sheet.png", [RED] * 3, labels=labels, name=name, truth=name)
    assert picture.shape == (500, 1200, 3)


def test_folders_are_made_and_nothing_else_is_left(tmp_path: Path) -> None:
    sheet = tmp_path / "deep" / "sheet"  # the ending does not decide the format
    draw(sheet, [RED] * 2)
    assert sorted(path.name for path in sheet.parent.iterdir()) == ["clips", "sheet"]


def test_no_picture_is_read_but_those_that_are_drawn(tmp_path: Path) -> None:
    folder = tmp_path / "clip"
    folder.mkdir()
    for number in range(100):
        Image.new("RGB", (32, 24), RED).save(folder / f"{number:03}.png")
    drawn = np.linspace(0, 99, MAX_FRAMES).round().astype(int).tolist()
    for number in set(range(100)) - set(drawn):
        (folder / f"{number:03}.png").write_bytes(b"cannot be read")
    timeline = make_timeline(100, LABELS, str(folder))
    write_contact_sheet(timeline, Sampling(), tmp_path / "sheet.png")
    assert share_of(RED, read_png(tmp_path / "sheet.png")) > 0.1
    (folder / f"{drawn[3]:03}.png").write_bytes(b"cannot be read")
    with pytest.raises(VideoError, match=f"{drawn[3]:03}.png: is not a readable picture"):
        write_contact_sheet(timeline, Sampling(), tmp_path / "sheet.png")


def test_of_a_video_hardly_more_is_decoded_than_what_is_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a key frame each 10 frames, at most 10 are decoded for each of the 12 pictures."""
    video = tmp_path / "long.mp4"
    with av.open(video, "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"g": "10", "bf": "0"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(1200):
            picture = np.full((48, 64, 3), number % 200, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    converts: list[float] = []
    convert, plan_spans = seeking.Converter.__call__, seeking.plan_spans
    planned: list[seeking.Span] = []

    def converted(self: seeking.Converter, picture: av.VideoFrame) -> np.ndarray:
        converts.append(float(picture.time))
        return convert(self, picture)

    def plan(*arguments: Any) -> list[seeking.Span]:
        planned.extend(plan_spans(*arguments))
        return planned

    monkeypatch.setattr(seeking.Converter, "__call__", converted)
    monkeypatch.setattr(seeking, "plan_spans", plan)
    timeline = make_timeline(1200, LABELS, str(video))
    write_contact_sheet(timeline, Sampling(), tmp_path / "sheet.png")
    drawn = np.linspace(0, 1199, MAX_FRAMES).round() / 25
    assert sorted(converts) == pytest.approx(drawn.tolist())
    assert len(planned) == MAX_FRAMES
    assert sum(span.num_frames for span in planned) <= MAX_FRAMES * 10
