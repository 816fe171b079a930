"""A model as a static web page, in Chromium without a network: the toolkit's scores."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from base64 import b64decode, b64encode
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import imageio_ffmpeg
import numpy as np
import pytest
from click.testing import CliRunner

from actionrnn.apps import onnxruntime_web
from actionrnn.apps.cli import main
from actionrnn.apps.export_web import export_web
from actionrnn.errors import ConfigError, ModelError
from actionrnn.features.preprocess import Preprocessing
from actionrnn.model.none_of_these import KINDS, NoneOfThese, Patterns, of_stretches
from actionrnn.model.recognizer import Recognizer
from actionrnn.model.timeline import Timeline
from tests.apps.browsing import bars, encode, wait_for
from tests.test_golden import model as drawn

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytest.importorskip("onnxruntime")

CLOSE = 1e-3
PATIENCE_SECONDS = 120  # a page computes on one core, and others may use it
RATE = 0.05
NOW, CURVES = "#timeline .now", "#timeline .curves"
IS_LOADED = "!document.getElementById('file').disabled"
IS_DONE = "document.getElementById('working').hidden"

# what the worker answers the page, kept for the test
RECORD = """
  window.answers = [];
  const Given = window.Worker;
  window.Worker = class extends Given {
    constructor(...given) {
      super(...given);
      this.addEventListener("message", ({ data: [id, found] }) => {
        if (id === this.begun) window.answers.length = 0;
        else window.answers.push(...(found?.answers ?? []));
      });
    }
    postMessage(asked, ...more) {
      if (asked[1] === "begin") this.begun = asked[0]; // a new recording
      super.postMessage(asked, ...more);
    }
  };
"""


@pytest.fixture(scope="module")
def runtime() -> None:
    """onnxruntime-web is here, or npm fetches it."""
    try:
        onnxruntime_web.files()
    except ModelError as error:
        if os.environ.get("CI"):
            pytest.fail(f"CI promises npm: {error}")
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def walk(walk: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds of it."""
    return begin_of(walk, tmp_path_factory.mktemp("walk"), seconds=2)


def begin_of(video: Path, folder: Path, seconds: float = 1.5) -> Path:
    """The first seconds of a file, its packets as they are."""
    begin = folder / video.name
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(video), "-map", "0"]
    subprocess.run([*command, "-t", str(seconds), "-c", "copy", str(begin)], check=True)
    return begin


@pytest.fixture(scope="module")
def late(walk: Path) -> Recognizer:
    """Sees changes, answers two steps later, and finds half of what the walk shows unusual."""
    model = drawn(
        backbone__modality="both", head__kind="lstm", head__delay_steps=2, head__residual=True
    )
    timeline = model.timeline(walk)
    patterns = Patterns.of(timeline.scores, np.arange(len(timeline.scores)) % 2)
    far = patterns.distances(timeline.scores)
    of_kinds = (far, of_stretches(far, timeline.pts_seconds), far)
    usual = {kind: np.full(99, np.median(one)) for kind, one in zip(KINDS, of_kinds, strict=True)}
    return replace(model, none_of_these=NoneOfThese(patterns, usual))


@pytest.fixture(scope="module")
def plain() -> Recognizer:
    return drawn()


@pytest.fixture(scope="module")
def address(
    runtime: None, plain: Recognizer, late: Recognizer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """Of a static server with both models' pages in folders below."""
    root = tmp_path_factory.mktemp("site")
    for name, model in (("plain", plain), ("late", late)):
        file = root / f"{name}.safetensors"
        model.save(file)
        rate = None if model.none_of_these is None else RATE
        export_web(file, root / "some" / name, none_rate=rate)
    command = [sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1"]
    with subprocess.Popen(
        [*command, "--directory", str(root)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as server:
        assert server.stdout is not None
        port = re.search(r"port (\d+)", server.stdout.readline())
        assert port is not None
        yield f"http://127.0.0.1:{port[1]}/some"
        server.terminate()


@pytest.fixture
def open_page(browser: Browser, address: str) -> Iterator[Any]:
    """Opens a model's page, which may ask its own folder alone, and log no error."""
    problems: list[str] = []
    contexts = []

    def open_one(name: str, **settings: Any) -> Page:
        context = browser.new_context(**settings)
        contexts.append(context)
        page = context.new_page()
        own = (f"{address}/{name}/", f"blob:{address.rsplit('/', 1)[0]}/")
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda message: problems.append(message.text))
        page.on(
            "request",
            lambda request: None if request.url.startswith(own) else problems.append(request.url),
        )
        page.add_init_script(RECORD)
        page.goto(f"{address}/{name}/")
        wait_for(page, IS_LOADED, PATIENCE_SECONDS)
        return page

    yield open_one
    for context in contexts:
        context.close()
    assert problems == []


def analyse(page: Page, file: Path) -> list[dict[str, Any]]:
    """The page's answers for a file."""
    page.evaluate("window.answers.length = 0")
    page.set_input_files("#file", file)
    wait_for(page, f"window.answers.length > 0 && {IS_DONE}", PATIENCE_SECONDS)
    assert page.locator("#problem").is_hidden(), page.inner_text("#problem")
    answers: list[dict[str, Any]] = page.evaluate("window.answers")
    return answers


def require_same(answers: list[dict[str, Any]], model: Recognizer, file: Path) -> Timeline:
    """The toolkit's times and scores."""
    wanted = model.timeline(file)
    columns = {name: np.array([one[name] for one in answers]) for name in answers[0]}
    np.testing.assert_allclose(columns["pts_seconds"], wanted.pts_seconds, atol=1e-5)
    np.testing.assert_allclose(columns["scores"], wanted.scores, atol=CLOSE)
    np.testing.assert_allclose(columns["so_far"], wanted.so_far, atol=CLOSE)
    return wanted


@pytest.mark.realdata
@pytest.mark.parametrize("name", ["plain", "late"])
def test_a_video_has_the_toolkits_scores(
    open_page: Any,
    plain: Recognizer,
    late: Recognizer,
    name: str,
    walk: Path,
    real_data: Path,
    tmp_path: Path,
) -> None:
    """Of each file its first moments: what is odd about it shows in its first frames."""
    model, page = {"plain": plain, "late": late}[name], open_page(name)
    files = [
        encode(walk, tmp_path / "a.webm", "libvpx", "yuv420p", start_seconds=3),
        encode(walk, tmp_path / "lossless.webm", "libvpx-vp9", "gbrp", lossless="1"),
        begin_of(real_data / "clips" / "SOX5yA1l24A.mp4", tmp_path),  # with sound
    ]
    if name == "plain":  # what is odd about a file is nothing of the model
        files += [
            encode(walk, tmp_path / "a <b>walk.mp4", "libx264", "yuv420p"),
            begin_of(real_data / "clips" / "abseiling_k400.mp4", tmp_path),  # pixels nearly square
        ]
        odd = ("nasa_13013_rotated", "bt709_full_range", "test_non_zero_start")
        files += [real_data / "odd_videos" / f"{one}.mp4" for one in odd]
    varies = []
    for file in files:
        wanted = require_same(analyse(page, file), model, file)
        varies.append(np.ptp(wanted.scores, axis=0).max())
        assert page.inner_text("#name") == file.name
        assert re.fullmatch(
            r"The whole video: \d+ frames analysed in [\d.]+ s, [\d.]+ frames a second "
            r"\(WebAssembly(, \d threads)?\)",
            page.inner_text("#took"),
        )
        answer = wanted.prediction()
        shown = bars(page, "#scored-best")
        assert next(iter(shown)) == answer.labels[0]
        best = float(shown[answer.labels[0]].removesuffix(" %"))
        assert best == pytest.approx(100 * answer.scores[0], abs=0.6)
    assert np.median(varies) > 20 * CLOSE  # such scores tell a difference


# As a busy browser: after a seek the frame before is presented once more, then the sought one.
REPEAT = """
  delete window.VideoFrame; // which would tell
  const real = HTMLVideoElement.prototype.requestVideoFrameCallback;
  let last = null, held = null;
  HTMLVideoElement.prototype.requestVideoFrameCallback = function (callback) {
    if (held) {
      const frame = held;
      held = null;
      setTimeout(() => callback(0, frame));
      return 0;
    }
    return real.call(this, (now, frame) => {
      const { mediaTime, presentationTime } = frame, before = last;
      last = mediaTime;
      if (before === null || before === mediaTime) { callback(now, frame); return; }
      held = { mediaTime, presentationTime };
      callback(now, { mediaTime: before, presentationTime });
    });
  };
"""


@pytest.mark.realdata
def test_a_frame_that_is_presented_once_more_is_not_taken_for_the_next(
    open_page: Any, plain: Recognizer, real_data: Path
) -> None:
    page, video = open_page("plain"), real_data / "odd_videos" / "test_non_zero_start.mp4"
    page.evaluate(f"() => {{ {REPEAT} }}")
    times = [one["pts_seconds"] for one in analyse(page, video)]
    np.testing.assert_allclose(times, plain.timeline(video).pts_seconds, atol=1e-5)


@pytest.mark.realdata
def test_the_page_follows_the_video_and_fits_a_phone(
    open_page: Any, walk: Path, tmp_path: Path
) -> None:
    page = open_page("plain", viewport={"width": 390, "height": 844})
    analyse(page, encode(walk, tmp_path / "a.mp4", "libx264", "yuv420p"))
    page.focus(CURVES)
    before = page.inner_text(NOW)
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    wait_for(page, "document.getElementById('video').currentTime > 1.2")
    assert page.inner_text(NOW) != before
    assert page.inner_text("#heard") == f"a.mp4: {page.inner_text('#scored-label')}"
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, scheme


@pytest.mark.realdata
def test_what_is_none_of_these_is_said(
    open_page: Any, late: Recognizer, walk: Path, tmp_path: Path
) -> None:
    page = open_page("late")
    video = encode(walk, tmp_path / "a.webm", "libvpx-vp9", "gbrp", lossless="1")
    answers, wanted = analyse(page, video), late.timeline(video)
    assert late.none_of_these is not None
    far = late.none_of_these.patterns.distances(wanted.scores)
    np.testing.assert_allclose([one["far"] for one in answers], far, rtol=0.01)
    is_none = wanted.is_none_of_these(RATE)
    assert is_none is not None
    assert 0 < is_none.sum() < len(is_none)
    box, said = page.locator(CURVES).bounding_box(), []
    times = wanted.pts_seconds
    for seconds in times[:-1]:
        part = (seconds - times[0] + 0.01) / (times[-1] - times[0])
        page.locator(CURVES).click(position={"x": part * box["width"], "y": 60})
        said.append("none of these?" in page.inner_text(NOW))
    assert said == is_none[:-1].tolist()
    is_whole = late.none_of_these.of_clip(wanted.so_far[-1]) < RATE
    assert page.inner_text("#scored-label").startswith("none of these; the best is ") == is_whole


@pytest.mark.realdata
@pytest.mark.parametrize("name", ["plain", "late"])
def test_the_webcam_is_scored_live(open_page: Any, name: str) -> None:
    page = open_page(name, permissions=["camera"])
    page.click("#webcam-tab")
    for _ in range(2):  # the second time with a new state
        page.evaluate("window.answers.length = 0")
        page.click("#start")
        wait_for(page, "window.answers.length >= 5", PATIENCE_SECONDS)
        wait_for(page, "document.getElementById('live-pace').textContent !== ''")  # they are shown
        times = [one["pts_seconds"] for one in page.evaluate("window.answers")]
        assert times == sorted(times)
        assert times[0] < 1
        assert set(bars(page, "#live-best")) == {"bend", "jack", "run", "wave"}
        assert re.match(
            r"[\d.]+ answers a second; a frame takes \d+ ms, so [\d.]+ frames a second are",
            page.inner_text("#live-pace"),
        )
        assert (" s ago" in page.inner_text("#live-label")) == (name == "late")
        assert page.inner_text("#heard") in ("bend", "jack", "run", "wave")
        page.click("#stop")
        assert page.evaluate("document.getElementById('camera').srcObject") is None


@pytest.mark.realdata
def test_what_cannot_be_used_is_said_and_the_page_lives_on(
    open_page: Any, plain: Recognizer, walk: Path, tmp_path: Path
) -> None:
    page = open_page("plain")
    page.click("#webcam-tab")
    page.evaluate(
        """() => {
          const refused = new DOMException("", "NotAllowedError");
          navigator.mediaDevices.getUserMedia = () => Promise.reject(refused);
        }"""
    )
    page.click("#start")
    page.wait_for_selector("#problem:not([hidden])")
    assert page.inner_text("#problem").startswith("The webcam cannot be used (NotAllowedError)")
    page.click("#file-tab")
    page.set_input_files("#file", walk)  # an .avi
    page.wait_for_selector("#problem:not([hidden])")
    assert page.inner_text("#problem").startswith("denis_walk.avi: this browser cannot play it")
    video = encode(walk, tmp_path / "a.mp4", "libx264", "yuv420p")
    page.set_input_files("#file", video)
    page.click("#cancel")
    assert page.locator("#result").is_hidden()
    require_same(analyse(page, video), plain, video)


@pytest.fixture(scope="module")
def scaling(browser: Browser, address: str) -> Iterator[Page]:
    """Beside the page's scripts, without its network: this needs no model."""
    page = browser.new_page()
    page.goto(f"{address}/plain/scaling.js")
    yield page
    page.close()


SCALINGS = [
    (64, 48, {}),
    (341, 257, {}),
    (1280, 720, {"interpolation": "bilinear"}),
    (480, 640, {"resize_mode": "squash"}),
    (256, 400, {"resize": 225}),  # half a pixel is cut off
]


@pytest.mark.realdata
@pytest.mark.parametrize(("width", "height", "changes"), SCALINGS)
def test_frames_are_scaled_as_the_toolkit_scales_them(
    scaling: Page, width: int, height: int, changes: dict[str, Any]
) -> None:
    settings: dict[str, Any] = {"resize": 256, "crop": 224, "mean": (0, 0, 0), "std": (1, 1, 1)}
    seen = Preprocessing(**{**settings, **changes})
    picture = np.random.default_rng(0).integers(0, 256, (height, width, 4), np.uint8)
    found = scaling.evaluate(
        """async ([given, width, height, seen]) => {
          const { squareOf } = await import(new URL("scaling.js", location.href).href);
          const data = Uint8ClampedArray.from(atob(given), (byte) => byte.charCodeAt(0));
          const square = new Blob([squareOf({ data, width, height }, seen)]);
          const reader = new FileReader(); // much faster than a number each
          const read = new Promise((done) => { reader.onload = done; });
          reader.readAsDataURL(square);
          await read;
          return reader.result.split(",")[1];
        }""",
        [b64encode(picture.tobytes()).decode(), width, height, vars(seen)],
    )
    wanted = seen.square(picture[..., :3])
    pixels = np.frombuffer(b64decode(found), np.uint8).reshape(wanted.shape)
    difference = np.abs(pixels - wanted.astype(int))
    assert difference.max() <= 1  # sums in float64 there, in float32 here
    assert difference.mean() < 1e-3


def test_sampling_that_needs_the_whole_clip_is_refused(tmp_path: Path) -> None:
    for changes in (
        {"sampling__rate_fps": None, "sampling__num_frames": 5},
        {"sampling__rate_fps": None},
        {"sampling__start_seconds": 2.0},
    ):
        drawn(**changes).save(tmp_path / "model.safetensors")
        with pytest.raises(ConfigError, match=r"^sampling \(.*\) does not fit a page"):
            export_web(tmp_path / "model.safetensors", tmp_path / "web")
    assert [file.name for file in tmp_path.iterdir()] == ["model.safetensors"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--output", "a", "--web", "b"], "give --output FOLDER, or --web FOLDER"),
        ([], "give --output FOLDER, or --web FOLDER"),
        (["--output", "a", "--onnxruntime-web", "."], "--onnxruntime-web is for --web"),
        (["--web", "a", "--int8", "."], "--int8 is for --output"),
    ],
)
def test_options_that_contradict_each_other_are_refused(options: list[str], said: str) -> None:
    done = CliRunner().invoke(main, ["export", "model.safetensors", *options])
    assert done.exit_code == 2
    assert said in done.output
