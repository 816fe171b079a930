"""The newest model on stored features and on a webcam: scores, events with hysteresis, counts."""

from __future__ import annotations

import io
import json
import shutil
import struct
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from actionrnn.apps.studio.extraction import Wanted, extract, key_of
from actionrnn.apps.studio.watch import Counting
from actionrnn.model.recognizer import Recognizer
from actionrnn.options import VideoLimits
from actionrnn.video.decode import read_frames
from actionrnn.video.frame import Frame
from tests.apps.studio.studios import Studio, make_project, studio_of

pytestmark = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")

SQUARES = ("blue", "green", "red")


@pytest.fixture(scope="module")
def studio(
    clips: Path, streaming_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Studio]:
    """A project whose features are stored, with a model of the squares in a run."""
    folder = tmp_path_factory.mktemp("watch") / "project"
    with make_project(folder, clips, SQUARES) as project:
        (folder / "videos" / "cid_green.avi").rename(folder / "cid_green.avi")
        files = [(key_of(folder, video.path), video.file) for video in project.videos()]
        reported: dict[str, float] = {}

        def report(progress: float, text: str = "", key: str = "", error: str = "") -> None:
            assert not error and progress >= reported.get(key, 0.0)
            reported[key] = progress

        wanted = Wanted.of(project.config(), VideoLimits())
        extract(wanted, files, stop=threading.Event(), report=report)
        assert reported == dict.fromkeys((key for key, _ in files), 1.0)
        (folder / "cid_green.avi").rename(folder / "videos" / "cid_green.avi")
        run = folder / "runs" / "3"
        run.mkdir(parents=True)
        shutil.copy(streaming_model, run / "model.safetensors")
        with studio_of(project) as started:
            yield started


def test_what_is_stored_is_recognised_and_the_rest_is_taken_up(studio: Studio) -> None:
    described = studio.wait_ready()
    assert [said["text"] for said in described["notices"]] == [
        "the features of 1 of 9 videos were not done when the server ended; they are computed "
        "now, the others are kept"
    ]
    asked = (studio.project.folder / "asked.txt").read_text().splitlines()
    assert asked == ["4 videos/cid_green"]


def test_the_newest_model_is_described(studio: Studio) -> None:
    model = studio.get("/api/project")["model"]
    assert (model["run"], model["labels"]) == ("3", list(SQUARES))
    assert (model["can_stream"], model["rate_fps"], model["none_rate"]) == (True, 4.0, None)


def test_a_timeline_of_stored_features_is_that_of_the_video(
    studio: Studio, model: Recognizer, clips: Path
) -> None:
    video = studio.videos()["bob_red.avi"]
    found = studio.get(f"/api/videos/{video['id']}/timeline")
    expected = model.timeline(clips / "red" / "bob_red.avi")
    assert found["labels"] == list(expected.labels)
    assert found["times"] == pytest.approx(expected.pts_seconds, abs=1e-3)
    np.testing.assert_allclose(np.array(found["scores"]).T, expected.scores, atol=2e-2)
    few = studio.get(f"/api/videos/{video['id']}/timeline?points=2")
    assert len(few["times"]) == 2
    assert np.max(few["scores"]) == pytest.approx(np.max(found["scores"]))  # no peak is lost


def test_proposals_leave_out_what_was_looked_at_and_refused(studio: Studio) -> None:
    video = f"/api/videos/{studio.videos()['ann_red.avi']['id']}"
    [proposed] = studio.get(f"{video}/proposals")["proposals"]
    assert proposed["label"] == "red" and 0 < proposed["score"] <= 1
    no = {key: proposed[key] for key in ("label", "start", "end")}
    studio.post(f"{video}/changes", {"ops": [{"op": "refuse", **no}]})
    assert studio.get(f"{video}/proposals")["proposals"] == []
    studio.post(f"{video}/undo")
    assert studio.get(f"{video}/proposals")["proposals"] == [proposed]
    studio.post(f"{video}/changes", {"ops": [{"op": "look", "start": 0.0, "end": 1.0}]})
    assert studio.get(f"{video}/proposals")["proposals"] == []


def test_the_next_place_is_not_where_another_one_works(studio: Studio) -> None:
    place = studio.get("/api/next")
    assert place["why"] and place["video"] in {v["id"] for v in studio.videos().values()}
    assert "cid_green" not in place["video"]
    other = {"X-Client": "someone", "X-Annotator": "Someone"}
    studio.post(f"/api/videos/{place['video']}/lock", headers=other)
    assert studio.get("/api/next")["video"] != place["video"]
    assert studio.get("/api/next", headers=other)["video"] == place["video"]
    studio.client.delete(f"/api/videos/{place['video']}/lock", headers=other)


def jpeg(picture: np.ndarray) -> bytes:
    target = io.BytesIO()
    Image.fromarray(picture).save(target, "JPEG", quality=95)
    return target.getvalue()


def address(studio: Studio) -> str:
    return studio.address.replace("http", "ws") + "/api/watch"


def test_a_webcam_gets_scores_events_and_counts(
    studio: Studio, model: Recognizer, clips: Path
) -> None:
    frames = read_frames(clips / "red" / "bob_red.avi")
    answers: list[dict[str, Any]] = []
    stream, expected = model.stream(), []
    with connect(address(studio)) as socket:
        for seconds, rgb in zip(frames.pts_seconds.tolist(), frames.data, strict=True):
            picture = jpeg(rgb)
            socket.send(struct.pack("<d", seconds) + picture)
            answers.append(json.loads(socket.recv()))
            seen = np.asarray(Image.open(io.BytesIO(picture)))
            expected += stream.push(Frame.from_array(seen, seconds)).tolist()
    steps = [step for answer in answers for step in answer["steps"]]
    assert len(steps) == len(expected) > 1
    np.testing.assert_allclose([step["scores"] for step in steps], expected, atol=1e-5)
    events = [event for answer in answers for event in answer["events"]]
    assert events and {event["label"] for event in events} == {"red"}
    assert answers[-1]["counts"] == {"blue": 0, "green": 0, "red": len(events)}


def test_a_bad_picture_ends_with_a_reason(studio: Studio) -> None:
    with connect(address(studio)) as socket:
        socket.send(struct.pack("<d", 0.0) + b"no picture")
        assert "JPEG" in json.loads(socket.recv())["error"]
        with pytest.raises(ConnectionClosed):
            socket.recv()


def test_without_a_model_the_webcam_gets_a_reason(clips: Path, tmp_path: Path) -> None:
    with (
        make_project(tmp_path / "p", clips, ("red",)) as project,
        studio_of(project) as studio,
        connect(address(studio)) as socket,
    ):
        assert "no model yet" in json.loads(socket.recv())["error"]


def test_a_file_that_is_no_model_is_passed_over(studio: Studio) -> None:
    bad = studio.project.folder / "runs" / "9"
    bad.mkdir()
    (bad / "model.safetensors").write_bytes(b"half a model")
    assert studio.get("/api/project")["model"]["run"] == "3"
    shutil.rmtree(bad)


def push(counting: Counting, *red: float) -> list[Any]:
    scores = np.array([[1 - p, p] for p in red], np.float32)
    times = counting_times(counting, len(red))
    return list(counting.push(scores, times, None)["events"])


def counting_times(counting: Counting, num: int) -> np.ndarray:
    begin = getattr(counting, "_test_clock", 0)
    counting._test_clock = begin + num  # type: ignore[attr-defined]
    return np.arange(begin, begin + num, dtype=np.float64)


class _Model:
    labels, event_rule = ("background", "red"), None


def test_counts_do_not_flicker() -> None:
    counting = Counting(_Model())  # type: ignore[arg-type]
    assert push(counting, 0.1, 0.9) == [{"label": "red", "start": 1.0, "score": 0.9}]
    assert push(counting, 0.45, 0.55, 0.48) == []  # between the thresholds nothing ends or begins
    [ended] = push(counting, 0.1)
    assert (ended["label"], ended["start"], ended["end"]) == ("red", 1.0, 5.0)
    answer = counting.push(np.array([[0.1, 0.9]], np.float32), np.array([6.0]), None)
    assert answer["counts"] == {"red": 2}
    hidden = counting.push(np.array([[0.9, 0.1]], np.float32), np.array([7.0]), None)
    assert [event["label"] for event in hidden["events"]] == ["red"]


def test_features_of_a_file_that_was_replaced_say_nothing(studio: Studio, clips: Path) -> None:
    address = f"/api/videos/{studio.videos()['bob_blue.avi']['id']}/timeline"
    studio.get(address)
    replaced = studio.project.folder / "videos" / "bob_blue.avi"
    shutil.copy(clips / "red" / "ann_red.avi", replaced)
    answer = studio.client.get(address)
    assert answer.status_code == 404 and "was replaced" in answer.json()["error"]
