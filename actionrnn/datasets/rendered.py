"""The built-in data set: short actions, rendered and encoded, in UCF101's layout.

Articulated figures act in front of varied backgrounds. The classes come in time-reversed
pairs: the two clips of a pair hold the same encoded pictures, one in reverse. A model
that ignores order cannot tell them apart; one that carries a state can. A group is one
figure in one place, so held-out groups show unseen figures in unseen places.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.stream import VideoStream
from PIL import Image, ImageDraw, ImageFilter

from actionrnn.errors import DatasetError
from actionrnn.files import atomic_path, write_text
from actionrnn.progress import progress_bar

WIDTH, HEIGHT = 320, 240
RATE_FPS = 12
NUM_GROUPS = 24
SEED_FILE = "seed.txt"
CLIPS_PER_GROUP = 2
OVERSAMPLING = 2  # drawn larger, then reduced: smooth edges

# Frames of a clip: one more than a multiple of this, so that every third frame (4 of 12 per
# second) picks the same pictures forwards and backwards.
FRAME_STEP = 3

JPEG_QUALITY_SCALE = 4  # FFmpeg's qscale: 2 best, 31 worst

Point = tuple[float, float]
Colour = tuple[int, int, int]

STOOL_COLOUR = (96, 66, 40)

# Between the clothes and the wall: the distance of their colours, of 441 at most.
LEAST_CONTRAST = 110


@dataclass(frozen=True)
class Pose:
    """The joints, in body heights; x to the right, y down, (0, 0) on the ground."""

    hip: Point
    torso: float
    """Angle of the spine from upright, in radians, positive to the right."""
    arms: tuple[tuple[float, float], tuple[float, float]]
    """Angles of upper arm and forearm from hanging down, for both sides."""
    legs: tuple[tuple[float, float], tuple[float, float]]
    """Angles of thigh and shin from hanging down, for both sides."""
    size: float = 1.0
    """Of the figure on the picture: far away is small."""
    stool: bool = False
    """Whether a stool is behind the feet."""


@dataclass(frozen=True)
class Figure:
    """What one person looks like."""

    height: float
    """Pixels on the picture, at size 1."""
    thickness: float
    """Of the limbs, in body heights."""
    skin: Colour
    shirt: Colour
    trousers: Colour
    hair: Colour


def render_dataset(root: str | Path, *, seed: int | None = None) -> Path:
    """Render and encode the data set into `root`; files that exist are kept.

    Args:
        root: gets `seed.txt` and `<Class>/v_<Class>_gNN_cNN.avi`: 8 classes x 24 groups x 2 clips.
            A new or empty folder, or one that was rendered into before.
        seed: the same seed gives the same files, byte for byte; None: the seed that the
            folder was rendered with, or 0.

    Raises:
        DatasetError: the folder was rendered with another seed, or holds files that are not of
            the built-in data set.
    """
    root = Path(root)
    tasks = [
        (pair, group, clip)
        for group in range(1, NUM_GROUPS + 1)
        for pair in PAIRS
        for clip in range(1, CLIPS_PER_GROUP + 1)
    ]
    paths_of = {task: [_clip_path(root, name, *task[1:]) for name in task[0]] for task in tasks}
    _require_own_folder(root, {path for paths in paths_of.values() for path in paths})
    seed = _remember_seed(root, seed)
    missing = [task for task in tasks if not all(path.exists() for path in paths_of[task])]

    def render(task: tuple[tuple[str, str], int, int]) -> None:
        _render_pair(root, *task, seed)

    with ThreadPoolExecutor(2) as pool, progress_bar("rendering clips", 2 * len(missing)) as bar:
        for _ in pool.map(render, missing):
            bar(2)
    return root


def _require_own_folder(root: Path, clips: set[Path]) -> None:
    """Refuse a folder that holds anything but a rendered data set, which has a seed file."""
    if root.exists() and not root.is_dir():
        raise DatasetError(f"{root}: is a file; the built-in data set needs a folder")
    seed_file = root / SEED_FILE
    ours = {seed_file, *clips} if seed_file.exists() else set()
    other = next((path for path in _files_below(root) if path not in ours), None)
    if other is not None:
        raise DatasetError(
            f"{root}: holds {other.relative_to(root)}, which is not part of the built-in data set; "
            "choose a new folder (data.root)"
        )


def _files_below(root: Path) -> Iterator[Path]:
    """All files but hidden ones; links are not followed."""
    return (
        path
        for path in root.rglob("*")
        if not path.name.startswith(".") and (path.is_symlink() or not path.is_dir())
    )


def _remember_seed(root: Path, seed: int | None) -> int:
    file = root / SEED_FILE
    try:
        known = int(file.read_text(encoding="utf-8")) if file.exists() else None
    except ValueError:
        raise DatasetError(
            f"{file}: does not hold a number; choose a new folder (data.root)"
        ) from None
    if None not in (seed, known) and seed != known:
        raise DatasetError(
            f"{root}: was rendered with seed {known}, not {seed}; use another folder"
        )
    chosen = next((value for value in (seed, known) if value is not None), 0)
    if known is None:
        with contextlib.suppress(FileExistsError):  # another process wrote it first
            write_text(file, f"{chosen}\n", replace=False)
    return chosen


def _render_pair(root: Path, pair: tuple[str, str], group: int, clip: int, seed: int) -> None:
    figure, place = make_group(np.random.default_rng([seed, group]))
    rng = np.random.default_rng([seed, group, clip, list(PAIRS).index(pair)])
    pictures = _render(PAIRS[pair], figure, place, rng)
    _encode_both_ways(pictures, *(_clip_path(root, name, group, clip) for name in pair))


def _clip_path(root: Path, label: str, group: int, clip: int) -> Path:
    return root / label / f"v_{label}_g{group:02d}_c{clip:02d}.avi"


def _render(
    action: Callable[[float], Pose], figure: Figure, place: Image.Image, rng: np.random.Generator
) -> list[Image.Image]:
    """Hold the first pose, move, hold the last pose."""
    count = FRAME_STEP * int(rng.integers(5, 8)) + 1
    begin, end = rng.uniform(0.05, 0.2), rng.uniform(0.8, 0.95)
    ground_x = rng.uniform(0.42, 0.58) * WIDTH
    mirror = rng.random() < 0.5
    sway = rng.uniform(0.0, 0.02, 2)
    pictures = []
    for index in range(count):
        progress = np.clip((index / (count - 1) - begin) / (end - begin), 0, 1)
        pose = action(float(progress * progress * (3 - 2 * progress)))  # smooth start and stop
        shift = sway[0] * math.sin(2 * math.pi * (index / count + sway[1] * 50))
        picture = place.copy()
        draw_figure(picture, figure, pose, ground_x + shift * figure.height, mirror)
        pictures.append(picture.reduce(OVERSAMPLING))
    return pictures


def _encode_both_ways(pictures: list[Image.Image], forward: Path, backward: Path) -> None:
    """Motion JPEG: each picture is a packet, so the reverse holds the same bytes.

    A clip that exists is kept.
    """
    with contextlib.suppress(FileExistsError), atomic_path(forward, replace=False) as path:
        packets = _encode(path, pictures)
    with contextlib.suppress(FileExistsError), atomic_path(backward, replace=False) as path:
        _encode(path, pictures[:1], packets[::-1])


def _encode(
    path: Path, pictures: list[Image.Image], ready: list[bytes] | None = None
) -> list[bytes]:
    """Encode pictures, or write packets that are already encoded; returns the packets."""
    with av.open(str(path), "w", format="avi", options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream("mjpeg", rate=RATE_FPS)
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuvj420p"
        stream.codec_context.qmin = stream.codec_context.qmax = JPEG_QUALITY_SCALE
        stream.codec_context.thread_count = 1
        packets = ready or []
        if ready is None:
            arrays = [np.asarray(picture) for picture in pictures]
            frames = [av.VideoFrame.from_ndarray(array, format="rgb24") for array in arrays]
            for frame in [*frames, None]:
                packets += [bytes(packet) for packet in stream.encode(frame)]
        for index, data in enumerate(packets):
            packet = av.Packet(data)
            packet.stream, packet.time_base = stream, Fraction(1, RATE_FPS)
            packet.pts = packet.dts = index
            packet.is_keyframe = True
            container.mux(packet)
    return packets


def draw_figure(
    picture: Image.Image, figure: Figure, pose: Pose, ground_x: float, mirror: bool
) -> None:
    """Draw a figure onto a place of `make_group`, which is `OVERSAMPLING` times as large.

    Args:
        ground_x: where it stands, in pixels of the picture that this becomes.
        mirror: left and right change sides.
    """
    scale = figure.height * pose.size * OVERSAMPLING
    # a far figure is smaller, and its feet are higher on the picture
    ground_y = (HEIGHT * (0.6 + 0.34 * pose.size)) * OVERSAMPLING
    side = -1 if mirror else 1
    draw = ImageDraw.Draw(picture)

    def place(point: Point) -> Point:
        return ground_x * OVERSAMPLING + side * point[0] * scale, ground_y + point[1] * scale

    def limb(start: Point, stop: Point, thickness: float, colour: Colour) -> None:
        a, b, radius = place(start), place(stop), thickness * scale / 2
        draw.line([a, b], fill=colour, width=max(1, round(2 * radius)))
        for x, y in (a, b):
            draw.ellipse([x - radius, y - radius, x + radius, y + radius], fill=colour)

    thick = figure.thickness
    neck = _towards(pose.hip, math.pi - pose.torso, 0.30)
    head = _towards(pose.hip, math.pi - pose.torso, 0.41)
    shadow = place((pose.hip[0], 0.0))
    draw.ellipse(
        [
            shadow[0] - 0.2 * scale,
            shadow[1] - 0.02 * scale,
            shadow[0] + 0.2 * scale,
            shadow[1] + 0.03 * scale,
        ],
        fill=(40, 40, 40),
    )
    if pose.stool:
        seat, foot = place((-0.34, -0.2)), place((-0.12, 0.0))
        x_range, y_range = sorted((seat[0], foot[0])), sorted((seat[1], foot[1]))
        draw.rectangle([x_range[0], y_range[0], x_range[1], y_range[1]], fill=STOOL_COLOUR)
    for thigh, shin in pose.legs:
        knee = _towards(pose.hip, thigh, 0.25)
        limb(pose.hip, knee, thick * 1.3, figure.trousers)
        limb(knee, _towards(knee, shin, 0.25), thick * 1.1, figure.trousers)
    limb(pose.hip, neck, thick * 2.2, figure.shirt)
    for upper, fore in pose.arms:
        elbow = _towards(neck, upper, 0.17)
        limb(neck, elbow, thick, figure.shirt)
        limb(elbow, _towards(elbow, fore, 0.17), thick * 0.8, figure.skin)
    x, y = place(head)
    radius = 0.075 * scale
    draw.ellipse([x - radius, y - radius, x + radius, y + radius], fill=figure.skin)
    draw.pieslice([x - radius, y - radius, x + radius, y + radius], 180, 360, fill=figure.hair)


def _towards(start: Point, angle: float, length: float) -> Point:
    """The point `length` away; angle 0 is down, growing to the right."""
    return start[0] + length * math.sin(angle), start[1] + length * math.cos(angle)


def _standing_on(thigh: float, shin: float) -> Point:
    """The hip's position with the feet at (0, 0)."""
    return (
        -0.25 * (math.sin(thigh) + math.sin(shin)),
        -0.25 * (math.cos(thigh) + math.cos(shin)),
    )


def _sit(u: float) -> Pose:
    thigh, shin = 1.5 * u, -0.1 * u
    lean = 0.5 * math.sin(math.pi * u)
    arms = ((0.2 + 0.6 * u, 0.4 + 0.9 * u),) * 2
    return Pose(_standing_on(thigh, shin), lean, arms, ((thigh, shin),) * 2, stool=True)


def _raise_arms(u: float) -> Pose:
    upper, fore = 0.2 + 2.7 * u, 0.15 + 2.85 * u
    legs = ((0.12, 0.08), (-0.12, -0.08))
    return Pose((0, -0.5), 0, ((upper, fore), (-upper, -fore)), legs)


def _lie_down(u: float) -> Pose:
    tilt = 1.5 * u
    bend = 0.9 * math.sin(math.pi * u)
    thigh, shin = -tilt + bend, -tilt - bend
    # the feet do not move, so the hip follows from the legs; keep it above the ground
    hip_x, hip_y = _standing_on(thigh, shin)
    arms = ((-tilt + 0.3, -tilt + 0.4), (-tilt - 0.2, -tilt))
    return Pose((hip_x - 0.45, min(hip_y, -0.06)), tilt, arms, ((thigh, shin), (thigh + 0.1, shin)))


def _approach(u: float) -> Pose:
    swing = 0.45 * math.sin(6 * math.pi * u)
    legs = ((swing, min(swing, 0.0)), (-swing, min(-swing, 0.0)))
    arms = ((-swing, -swing + 0.2), (swing, swing + 0.2))
    return Pose((0, -0.5), 0, arms, legs, size=0.3 + 0.8 * u)


PAIRS: dict[tuple[str, str], Callable[[float], Pose]] = {
    ("SitDown", "StandUp"): _sit,
    ("RaiseArms", "LowerArms"): _raise_arms,
    ("LieDown", "GetUp"): _lie_down,
    ("Approach", "WalkAway"): _approach,
}
"""The two labels of a pair, and its action as a pose at progress 0 ... 1."""


def make_group(rng: np.random.Generator) -> tuple[Figure, Image.Image]:
    """One figure and the place where it acts."""
    skins: tuple[Colour, ...] = ((241, 194, 167), (198, 134, 94), (141, 85, 54), (92, 58, 40))
    wall = _colour(rng, darkest=90)
    figure = Figure(
        height=rng.uniform(155, 180),
        thickness=rng.uniform(0.07, 0.095),
        skin=skins[rng.integers(len(skins))],
        shirt=_colour(rng, unlike=wall),
        trousers=_colour(rng, brightest=140, unlike=wall),
        hair=_colour(rng, brightest=110),
    )
    return figure, _make_place(rng, wall)


def _make_place(rng: np.random.Generator, wall: Colour) -> Image.Image:
    """A wall or sky above a floor, with some objects and a grain."""
    width, height = WIDTH * OVERSAMPLING, HEIGHT * OVERSAMPLING
    horizon = round(rng.uniform(0.55, 0.68) * height)
    picture = Image.new("RGB", (width, height), wall)
    draw = ImageDraw.Draw(picture)
    draw.rectangle([0, horizon, width, height], fill=_colour(rng, darkest=60, brightest=190))
    for _ in range(rng.integers(2, 6)):
        x, w = rng.uniform(-0.1, 1) * width, rng.uniform(0.04, 0.25) * width
        h = rng.uniform(0.08, 0.5) * height
        box = [x, horizon - h, x + w, horizon]
        shape = draw.rectangle if rng.random() < 0.6 else draw.ellipse
        shape(box, fill=_near(wall, rng))
    spacing = int(rng.integers(20, 90))
    for x in range(0, width, spacing):  # boards of a floor, or mown stripes
        draw.line([x, horizon, 2 * x - width // 2, height], fill=_colour(rng), width=1)
    picture = picture.filter(ImageFilter.GaussianBlur(rng.uniform(0.5, 3)))
    grain = (
        rng.normal(0, rng.uniform(2, 10), (height // 2, width // 2, 1)).repeat(2, 0).repeat(2, 1)
    )
    pixels = np.asarray(picture, np.float32) + grain
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def _colour(
    rng: np.random.Generator,
    darkest: int = 20,
    brightest: int = 235,
    unlike: Colour | None = None,
) -> Colour:
    while True:
        red, green, blue = rng.integers(darkest, brightest, 3).tolist()
        if unlike is None or math.dist((red, green, blue), unlike) >= LEAST_CONTRAST:
            return red, green, blue


def _near(colour: Colour, rng: np.random.Generator) -> Colour:
    """A colour that stands out less than the figure does."""
    red, green, blue = (np.array(colour) + rng.integers(-45, 46, 3)).clip(0, 255).tolist()
    return red, green, blue
