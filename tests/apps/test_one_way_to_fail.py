"""Kinds of files between a picture and a video: every command reads the same frames, or none."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image

from actionrnn.apps.info import describe
from actionrnn.apps.render import render
from actionrnn.config import Config, HeadConfig, Sampling
from actionrnn.errors import ActionrnnError
from actionrnn.features.extract import extract_to_store
from actionrnn.model.heads import Head
from actionrnn.model.recognizer import Recognizer
from actionrnn.video.decode import iter_frames
from tests.tiny import make_tiny_backbone
from tests.video.servers import encode

LABELS = ("clap", "jump", "wave")
NOISE = np.random.default_rng(0).integers(0, 256, (8, 6, 8, 3), np.uint8)
PICTURES = [Image.fromarray(pixels).resize((64, 48)) for pixels in NOISE]


def still(path: Path, **options: object) -> Path:
    PICTURES[0].save(path, **options)
    return path


def moving(path: Path, **options: object) -> Path:
    """Eight pictures, written by Pillow."""
    PICTURES[0].save(path, save_all=True, append_images=PICTURES[1:], **options)
    return path


def gif_of_delay_0(path: Path) -> Path:
    content = bytearray(moving(path, duration=120).read_bytes())
    for found in re.finditer(rb"\x21\xf9\x04", bytes(content)):
        content[found.start() + 4 : found.start() + 6] = struct.pack("<H", 0)
    path.write_bytes(content)
    return path


def gif_without_delays(path: Path) -> Path:
    """As Pillow writes it without `duration`."""
    content = moving(path, duration=120).read_bytes()
    path.write_bytes(re.sub(rb"\x21\xf9\x04....\0", b"", content, flags=re.DOTALL))
    return path


def box(kind: bytes, *content: bytes) -> bytes:
    """Of ISO/IEC 14496-12."""
    return struct.pack(">I4s", 8 + sum(map(len, content)), kind) + b"".join(content)


def inside(content: bytes, kind: bytes) -> bytes:
    """What the first box of a kind holds."""
    at = content.index(kind)
    return content[at + 4 : at - 4 + struct.unpack(">I", content[at - 4 : at])[0]]


def tiled(path: Path) -> Path:
    """One picture of two equal tiles side by side, as phones save photos (ISO/IEC 23008-12)."""
    one, plain, version_2 = still(path).read_bytes(), bytes(4), b"\2\0\0\0"
    tile, codec = inside(one, b"mdat"), box(b"av1C", inside(one, b"av1C"))
    sizes = (box(b"ispe", plain, struct.pack(">II", width, 48)) for width in (64, 128))
    properties = box(b"ipco", *sizes, codec)
    used = b"\0\1\1\2\0\2\2\1\x83\0\3\2\1\x83"  # an item, how many, the properties
    properties += box(b"ipma", plain, struct.pack(">I", 3), used)
    kinds = [(1, 0, b"grid"), (2, 1, b"av01"), (3, 1, b"av01")]
    entries = [
        box(b"infe", version_2[:3], bytes([hidden]), struct.pack(">HH4sx", item, 0, kind))
        for item, hidden, kind in kinds
    ]
    grid = struct.pack(">BBBBHH", 0, 0, 0, 1, 128, 48)

    def head(at: int) -> bytes:
        """With the items from this byte of the file on."""
        places = [(1, at, len(grid)), (2, at + 8, len(tile)), (3, at + 8, len(tile))]
        extents = b"".join(struct.pack(">HHHII", item, 0, 1, *place) for item, *place in places)
        meta = box(
            b"meta",
            plain,
            box(b"hdlr", plain, b"\0\0\0\0pict", bytes(13)),
            box(b"pitm", plain, struct.pack(">H", 1)),
            box(b"iloc", plain, b"\x44\0", struct.pack(">H", 3), extents),
            box(b"iinf", plain, struct.pack(">H", 3), *entries),
            box(b"iref", plain, box(b"dimg", struct.pack(">HHHH", 1, 2, 2, 3))),
            box(b"iprp", properties),
        )
        return box(b"ftyp", b"avif\0\0\0\0avifmif1miaf") + meta

    path.write_bytes(head(len(head(0)) + 8) + box(b"mdat", grid, tile))
    return path


def turned(path: Path) -> Path:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    return still(path, exif=exif)


def film(path: Path, options: str) -> Path:
    return encode(path, options, rate=8)


def one_frame(path: Path, codec: str) -> Path:
    return film(path, f"-c:v {codec} -frames:v 1")


def without_clock(path: Path) -> Path:
    return film(path, "-c:v ffv1 -vf setpts=0 -fps_mode passthrough")


def cut(path: Path) -> Path:
    whole = film(path.with_name("whole.mkv"), "-c:v mpeg4 -g 1 -b:v 2M").read_bytes()
    path.write_bytes(whole[: len(whole) // 3])
    return path


def folder(path: Path, *names: str) -> Path:
    path.mkdir()
    for name in names:
        still(path / name)
    return path


def text(path: Path) -> Path:
    path.write_text("no video\n" * 100)
    return path


READ: dict[str, tuple[Callable[[Path], Path], int]] = {
    "a.gif": (lambda path: moving(path, duration=120), 8),
    "delay_0.gif": (gif_of_delay_0, 8),
    "one.gif": (still, 1),
    "a.apng": (lambda path: moving(path, duration=120, format="PNG"), 8),
    "delay_0.apng": (lambda path: moving(path, duration=0, format="PNG"), 8),
    "moving.png": (lambda path: moving(path, duration=120), 8),
    "a.avif": (lambda path: moving(path, duration=120), 8),
    "still.avif": (still, 1),
    "still.jpg": (still, 1),
    "turned.jpg": (turned, 1),
    "still.png": (still, 1),
    "still.tif": (still, 1),
    "still.bmp": (still, 1),
    "still.webp": (still, 1),
    "mjpeg.avi": (lambda path: film(path, "-c:v mjpeg"), 8),
    "raw.mjpeg": (lambda path: film(path, "-c:v mjpeg"), 8),
    "raw.h264": (lambda path: film(path, "-c:v libx264"), 8),
    "raw.y4m": (lambda path: film(path, "-c:v rawvideo -pix_fmt yuv420p"), 8),
    "one.mp4": (lambda path: one_frame(path, "libx264"), 1),
    "one.avi": (lambda path: one_frame(path, "mpeg4"), 1),
    "one.webm": (lambda path: one_frame(path, "libvpx"), 1),
    "one.ts": (lambda path: one_frame(path, "mpeg2video"), 1),
    "one.h264": (lambda path: one_frame(path, "libx264"), 1),
    "a tick each.mp4": (
        lambda path: film(path, "-c:v libx264 -vf setpts=0 -fps_mode passthrough"),
        8,
    ),
    "pictures": (lambda path: folder(path, "1.jpg", "2.jpg", "3.jpg"), 3),
    "one picture": (lambda path: folder(path, "1.jpg"), 1),
}
REFUSED: dict[str, tuple[Callable[[Path], Path], str]] = {
    "animated.webp": (lambda path: moving(path, duration=120), "is an animated WebP"),
    "tiles.avif": (tiled, "is a photo in tiles"),
    "no_delays.gif": (gif_without_delays, "does not say how long its 8 frames are shown"),
    "no_clock.mkv": (without_clock, r"all of its 8 frames are at 0\.000 s"),
    "cut.mkv": (cut, "is truncated or damaged: "),
    "empty.mp4": (lambda path: path.touch() or path, "is empty"),
    "text.mp4": (text, "is not a readable video"),
    "two series": (
        lambda path: folder(path, "img_1.jpg", "img_2.jpg", "flow_x_1.jpg", "flow_x_2.jpg"),
        r"flow_x_#\.jpg \(2\), img_#\.jpg \(2\); a clip is one of them",
    ),
    "broken picture": (
        lambda path: text(folder(path, "2.jpg") / "1.jpg").parent,
        "is not a readable",
    ),
}


@pytest.fixture(scope="module")
def model() -> Recognizer:
    """It looks at every frame."""
    torch.manual_seed(0)
    backbone = make_tiny_backbone(2)
    head = Head(HeadConfig(hidden_size=8), backbone.feature_size, len(LABELS)).eval()
    return Recognizer(backbone, head.trained(), LABELS, Config(sampling=Sampling()))


def by_extract(model: Recognizer, path: Path) -> int:
    sampling, store = model.config.sampling, path.parent / "store"
    done = extract_to_store([path], store, backbone=model.backbone, sampling=sampling)
    if done.failures:
        raise ActionrnnError(done.failures[0].reason)
    return len(done.store.read(done.store.keys()[0]).values)


def by_info(model: Recognizer, path: Path) -> int:
    rows = describe(path)
    assert re.fullmatch(r"(64 x 48|48 x 64|160 x 120).*", rows["size"])
    found = re.search(r"(\d+) frames|^(\d+)$", rows.get("frames", rows.get("duration", "")))
    return int(found[1] or found[2]) if found else -1  # a raw stream does not tell


def by_classify(model: Recognizer, path: Path) -> int:
    assert model.classify(path).label in LABELS
    return -1


COMMANDS: dict[str, Callable[[Recognizer, Path], int]] = {
    "classify": by_classify,
    "timeline": lambda model, path: len(model.timeline(path).scores),
    "render": lambda model, path: render(model, path, path.parent / "out.mp4"),
    "info": by_info,
    "extract": by_extract,
}
"""The number of frames that each reads; -1: it does not say."""


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("kind", READ)
@pytest.mark.filterwarnings("ignore::actionrnn.video.frame_index.AssumedRateWarning")
def test_what_one_command_reads_all_read(
    model: Recognizer, tmp_path: Path, kind: str, command: str
) -> None:
    make, num_frames = READ[kind]
    path = make(tmp_path / kind)
    assert COMMANDS[command](model, path) in (num_frames, -1)
    assert len(list(iter_frames(path))) == num_frames


@pytest.mark.parametrize("kind", REFUSED)
def test_what_one_command_refuses_all_refuse_alike(
    model: Recognizer, tmp_path: Path, kind: str
) -> None:
    make, reason = REFUSED[kind]
    path = make(tmp_path / kind)
    said = {}
    for command, run in COMMANDS.items():
        with pytest.raises(ActionrnnError, match=reason) as caught:
            run(model, path)
        said[command] = str(caught.value)
    assert len(set(said.values())) == 1, said
    assert "\n" not in said["info"]


def test_a_gif_of_delay_0_shows_each_frame_for_a_tenth_of_a_second(tmp_path: Path) -> None:
    """As browsers do."""
    times = [frame.pts_seconds for frame in iter_frames(gif_of_delay_0(tmp_path / "a.gif"))]
    np.testing.assert_allclose(times, np.arange(8) / 10)
