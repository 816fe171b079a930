"""An upload is read alone: whatever it names, no other file of the server is opened."""

from __future__ import annotations

import shutil
import struct
import subprocess
import tempfile
from pathlib import Path

import av
import httpx
import imageio_ffmpeg
import pytest

from actionrnn.apps.serving.limits import ServeLimits
from actionrnn.errors import VideoError
from actionrnn.video.finding import VIDEO_SUFFIXES
from actionrnn.video.probe import probe_video
from actionrnn.video.source import locate, open_stream
from tests.apps.serving import PATIENT, Running

pytestmark = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")

LIMITS = ServeLimits().video_limits()
REFUSED = ("is not in a format that is read here", "is not a readable video")

HLS = "#EXTM3U\n#EXT-X-TARGETDURATION:9\n{head}#EXTINF:9,\n{uri}\n#EXT-X-ENDLIST\n"
URIS = {
    "path": "{video}",
    "file": "file:{video}",
    "relative": "../{video.parent.name}/{video.name}",
    "concat": "concat:{video}|{video}",
    "concatf": "concatf:{video}",
    "subfile": "subfile,,start,0,end,0,,:{video}",
    "crypto": "crypto:{video}",
    "tee": "tee:{video}",
    "cache": "cache:{video}",
    "async": "async:{video}",
    "pipe": "pipe:0",
    "data": "data:video/mp2t;base64,AAAA",
    "http": "http://127.0.0.1:1/a.ts",
}
DASH = (
    '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
    'mediaPresentationDuration="PT1S" profiles="urn:mpeg:dash:profile:isoff-on-demand:2011">'
    '<Period><AdaptationSet mimeType="video/mp4"><Representation id="1" bandwidth="1">'
    "<BaseURL>{video}</BaseURL></Representation></AdaptationSet></Period></MPD>"
)
SDP = (
    "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\n"
    "m=video 5004 RTP/AVP 96\na=rtpmap:96 H264/90000\n"
)
IMF = (
    '<?xml version="1.0"?><CompositionPlaylist '
    'xmlns="http://www.smpte-ra.org/schemas/2067-3/2016"><Id>urn:uuid:{video}</Id>'
    "</CompositionPlaylist>"
)
TEXTS = {
    **{f"hls {kind}": HLS.format(head="", uri=uri) for kind, uri in URIS.items()},
    "hls map": HLS.format(head='#EXT-X-MAP:URI="{video}"\n', uri="a.ts"),
    "hls key": HLS.format(head='#EXT-X-KEY:METHOD=AES-128,URI="{video}"\n', uri="a.ts"),
    "hls master": "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n{video}\n",
    "concat": "ffconcat version 1.0\nfile {video}\n",
    "concat safe": "ffconcat version 1.0\nfile video.ts\nfile video\n",
    "concat url": "ffconcat version 1.0\nfile subfile,,start,0,end,0,,:{video}\n",
    "sdp": SDP,
    "dash": DASH,
    "imf": IMF,
    "avisynth": 'FFmpegSource2("{video}")\n',
    "vapoursynth": "# import vapoursynth\nopen('{video}')\n",
    "rtsp": "RTSP/1.0 200 OK\nLocation: {video}\n",
    "asx": '<asx version="3.0"><entry><ref href="{video}"/></entry></asx>',
    "svg": '<svg xmlns="http://www.w3.org/2000/svg"><image href="{video}"/></svg>',
}
NAMES = ("a.mp4", "a.m3u8", "a.ffconcat", "a.sdp", "a.mpd")


@pytest.fixture(scope="session")
def video(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of the server's, which is no visitor's business."""
    path = tmp_path_factory.mktemp("secret") / "video.avi"
    shutil.copy(clips / "red" / "ann_red.avi", path)
    return path


def post(server: Running, name: str, content: bytes) -> httpx.Response:
    return httpx.post(f"{server.address}/classify", files={"file": (name, content)}, **PATIENT)


@pytest.mark.parametrize("kind", TEXTS)
def test_what_names_another_file_is_refused_in_one_line(
    server: Running, video: Path, kind: str
) -> None:
    content = TEXTS[kind].format(video=video).encode()
    names = NAMES if kind in ("hls path", "concat", "sdp", "dash") else NAMES[:1]
    for name in names:
        answer = post(server, name, content)
        assert answer.status_code == 422
        problem = answer.json()["error"]
        assert problem.startswith(f"{name}: ") and any(reason in problem for reason in REFUSED)
        assert tempfile.gettempdir() not in problem and "\n" not in problem


@pytest.mark.parametrize(
    "name",
    [
        *("concat:{video}|{video}", "subfile,,start,0,end,0,,:{video}", "crypto:{video}"),
        *("data:video/mp4;base64,AAAA", "tee:{video}", "file:{video}", "%d.png", "*.avi"),
    ],
)
def test_a_name_is_nothing_that_is_opened(server: Running, video: Path, name: str) -> None:
    answer = post(server, name.format(video=video), b"no video" * 100)
    assert answer.status_code == 422
    assert "is not a readable video" in answer.json()["error"]


@pytest.mark.parametrize("name", ["a.m3u8", "a.ffconcat", "a.mpd", "a.sdp", "a.%d.png", "a.avi"])
def test_the_list_of_containers_is_ours_and_not_that_of_ffmpegs_build(
    video: Path, tmp_path: Path, name: str
) -> None:
    """Under its own name, in the folder of what it names: where FFmpeg is least careful."""
    shutil.copy(video, tmp_path / "video.avi")
    texts = {".m3u8": HLS.format(head="", uri="video.avi"), ".mpd": DASH, ".sdp": SDP}
    text = texts.get(Path(name).suffix, "ffconcat version 1.0\nfile video.avi\n")
    (tmp_path / name).write_text(text.replace("{video}", "video.avi"))
    with pytest.raises(VideoError, match="|".join(REFUSED)):
        probe_video(tmp_path / name, limits=LIMITS)
    if name in ("a.ffconcat", "a.avi"):  # it would be read
        assert probe_video(tmp_path / name).container == "concat"


def box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", 8 + len(content)) + kind + content


def boxes(content: bytes) -> list[tuple[bytes, bytes]]:
    found, place = [], 0
    while place < len(content):
        (size,) = struct.unpack_from(">I", content, place)
        found.append((content[place + 4 : place + 8], content[place + 8 : place + size]))
        place += size
    return found


def with_reference(content: bytes, target: Path) -> bytes:
    """The head of an .mp4 file alone, which says that its frames lie in another file."""
    path = str(target).encode()
    alias = bytes(10) + bytes(28) + bytes(12) + bytes(64) + bytes(16) + struct.pack(">HH", 1, 1)
    alias += bytes(16) + struct.pack(">HH", 2, len(path)) + path + bytes(len(path) % 2)
    alias += struct.pack(">HH", 0xFFFF, 0)
    made = b""
    for kind, inside in boxes(content):
        if kind in (b"moov", b"trak", b"mdia", b"minf", b"dinf"):
            made += box(kind, with_reference(inside, target))
        elif kind == b"dref":
            made += box(kind, bytes(4) + struct.pack(">I", 1) + box(b"alis", bytes(4) + alias))
        elif kind != b"mdat":
            made += box(kind, inside)
    return made


def test_a_quicktime_reference_leads_nowhere(server: Running, tmp_path: Path, video: Path) -> None:
    whole, head = tmp_path / "whole.mp4", tmp_path / "head.mp4"
    with av.open(str(video)) as source, av.open(str(whole), "w") as target:
        stream = target.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for frame in source.decode(video=0):
            frame.pts = None
            target.mux(stream.encode(frame.reformat(format="yuv420p")))
        target.mux(stream.encode(None))
    head.write_bytes(with_reference(whole.read_bytes(), whole))
    follow = {"enable_drefs": "1", "use_absolute_path": "1"}
    with av.open(str(head), options=follow) as container:  # where it may, it is followed
        assert len(list(container.decode(video=0))) == probe_video(whole).num_frames
    answer = post(server, "a.mp4", head.read_bytes())
    assert answer.status_code == 422 and "a.mp4: " in answer.json()["error"]


@pytest.mark.realdata
@pytest.mark.parametrize("folder", ["odd_videos", "clips", "ucf101_clips", "weizmann/walk"])
def test_real_videos_are_on_the_list(real_data: Path, folder: str) -> None:
    found = sorted(path for path in (real_data / folder).iterdir() if path.suffix in VIDEO_SUFFIXES)
    assert found
    for path in found:
        with open_stream(locate(path, LIMITS)) as stream:
            assert stream.width > 0


CONTAINERS = {  # ending: what its format wants
    **dict.fromkeys(["3gp", "avi", "m4v", "mkv", "mov", "mp4"], "-c:v mpeg4"),
    **dict.fromkeys(["m2ts", "m2v", "mpg", "mxf", "ts", "vob"], "-c:v mpeg2video"),
    **dict.fromkeys(["asf", "wmv"], "-c:v wmv2"),
    **{"flv": "-c:v flv", "gif": "", "y4m": "", "mjpeg": "", "h264": "-c:v libx264"},
    **{"webm": "-c:v libvpx", "ivf": "-c:v libvpx", "ogv": "-c:v libtheora"},
}


@pytest.mark.parametrize("ending", CONTAINERS)
def test_ordinary_containers_are_on_the_list(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"a.{ending}"
    picture = "-f lavfi -i testsrc2=size=96x64:rate=25:duration=0.2 -pix_fmt yuv420p"
    run = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", *picture.split()]
    subprocess.run([*run, *CONTAINERS[ending].split(), str(path)], check=True, timeout=60)
    expected = probe_video(path)
    upload = path.rename(tmp_path / "video")  # its name tells nothing, as on the server
    found = probe_video(upload, limits=LIMITS)
    assert (found.codec, found.width, found.height) == (expected.codec, 96, 64)
    assert found.num_frames == expected.num_frames
