"""Scripts without an `if __name__ == "__main__"` guard, and code that is no script at all."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

# Every way in which the package uses several threads or processes.
CODE = """
import sys
from pathlib import Path

clip, store, ran = CLIP, STORE, RAN
with open(ran, "a") as file:
    _ = file.write("once ")

import actionrnn
from actionrnn.config import BackboneConfig, Sampling
from actionrnn.options import VideoLimits
from actionrnn.features.backbone import load_backbone
from actionrnn.features.extract import encode_videos
from actionrnn.features.video_parts import VideoPart
from actionrnn.features.worker import Isolation

backbone = load_backbone(BackboneConfig(device="cpu"))
sampling = Sampling(num_frames=2)
done = actionrnn.extract_to_store([clip], store, backbone=backbone, sampling=sampling)
bounds = Isolation(60.0, 60.0, VideoLimits(), 2 * 10**9)
part = VideoPart("clip", Path(clip))
[(_, features)] = list(encode_videos([part], backbone, sampling, bounds.decode))
print(done.num_extracted, getattr(features, "values", features).shape)
"""


@pytest.mark.parametrize(
    "way",
    [
        "script",
        "standard input",
        pytest.param("-c", marks=pytest.mark.slow),
        pytest.param("interactive", marks=pytest.mark.slow),
    ],
)
def test_no_guard_is_needed(tmp_path: Path, clips: Path, way: str) -> None:
    ran = tmp_path / "ran"
    code = CODE.replace("CLIP", repr(str(clips / "red" / "ann_red.avi")))
    code = code.replace("STORE", repr(str(tmp_path / "store"))).replace("RAN", repr(str(ran)))
    (tmp_path / "script.py").write_text(code)
    words = {"script": ["script.py"], "standard input": ["-"], "-c": ["-c", code]}
    given = code if way == "standard input" else ""
    if way == "interactive":
        given = code.replace('"once ")\n', '"once ")\n\n')  # as typed: a blank line ends a block
    done = subprocess.run(
        [sys.executable, *words.get(way, ["-i"])],
        input=given,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=200,
    )
    assert (done.returncode, done.stdout) == (0, "1 (2, 1280)\n"), done.stderr
    assert ran.read_text() == "once "
