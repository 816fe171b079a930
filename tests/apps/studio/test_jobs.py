"""Work in the background: what dies, stops or is interrupted loses nothing, and says so."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from actionrnn.apps.studio.background_copies import Copies
from actionrnn.apps.studio.background_features import Features
from actionrnn.apps.studio.background_training import TRAINING_MARK, Training
from actionrnn.apps.studio.extraction import Wanted, ready_keys
from actionrnn.apps.studio.jobs import Notices
from actionrnn.apps.studio.project import Project
from actionrnn.apps.studio.worker import Worker, WorkerDiedError, WorkFailedError
from actionrnn.config import BackboneConfig, Config, Sampling
from actionrnn.errors import DatasetError, VideoError
from actionrnn.features.known import BUNDLED, BUNDLED_PREPROCESSING, BUNDLED_SHA256
from actionrnn.features.provenance import Provenance
from actionrnn.features.store import FeatureStore
from actionrnn.options import VideoLimits
from tests.apps.studio.studios import HERE as TASKS
from tests.apps.studio.studios import NO_WORK, make_project


def wait_until(holds: Callable[[], Any]) -> None:
    end = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.02)


def run(worker: Worker, task: str, *arguments: Any, **given: Any) -> Any:
    given.setdefault("stop", threading.Event())
    given.setdefault("report", lambda progress, text="", **more: None)
    return worker.run(f"{TASKS}{task}", *arguments, **given)


@pytest.fixture
def worker() -> Iterator[Worker]:
    made = Worker(f"{TASKS}add")
    yield made
    made.close()


def is_alive(process_id: int) -> bool:
    with contextlib.suppress(ProcessLookupError):
        os.kill(process_id, 0)
        return True
    return False


def test_a_worker_does_tasks_one_after_the_other_and_reports(worker: Worker) -> None:
    said: list[Any] = []
    report = lambda *given, **more: said.append((given, more))  # noqa: E731
    assert run(worker, "add", 2, 3, report=report) == 5
    assert said == [((), {"progress": 0.5, "text": "half", "more": [2]})]
    assert run(worker, "process_id") == run(worker, "process_id")


def test_what_fails_says_why_and_what_crashes_says_no_secret(worker: Worker) -> None:
    with pytest.raises(WorkFailedError, match="only red is marked"):
        run(worker, "fail_to_teach", Path())
    with pytest.raises(WorkFailedError, match="ZeroDivisionError") as error:
        run(worker, "crash")
    assert "secret" not in str(error.value)
    assert run(worker, "add", 1, 1) == 2


def test_a_process_that_ends_is_replaced(worker: Worker) -> None:
    before = run(worker, "process_id")
    with pytest.raises(WorkerDiedError):
        run(worker, "die")
    assert run(worker, "process_id") != before
    assert not is_alive(before)


def test_a_task_that_does_not_stop_is_ended(worker: Worker) -> None:
    stop = threading.Event()
    begun = time.monotonic()
    with pytest.raises(WorkerDiedError):
        run(worker, "teach_and_ignore", Path(), stop=stop, report=lambda **_: stop.set())
    assert time.monotonic() - begun < 60


def test_a_worker_that_is_closed_ends_in_the_middle_and_starts_no_more(worker: Worker) -> None:
    began = threading.Event()

    def close() -> None:
        assert began.wait(60)
        worker.close()

    closing = threading.Thread(target=close)
    closing.start()
    with pytest.raises(WorkerDiedError):
        run(worker, "teach_and_ignore", Path(), report=lambda **_: began.set())
    closing.join()
    with pytest.raises(WorkerDiedError, match="ends"):
        run(worker, "add", 1, 1)


def test_what_threads_say_at_once_has_numbers_of_its_own() -> None:
    notices = Notices()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(notices.add, map(str, range(200))))
    notices.add("the last", is_problem=True)
    assert [said["id"] for said in notices.said] == [197, 198, 199, 200, 201]
    assert notices.said[-1] == {"id": 201, "text": "the last", "is_problem": True}


@pytest.mark.parametrize(
    ("step", "error"),
    [
        ("process.BaseProcess.start", OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))),
        ("Pipe", OSError(errno.EMFILE, os.strerror(errno.EMFILE))),
        ("process.BaseProcess.start", EOFError("unexpected EOF")),  # what forks has ended
    ],
)
def test_a_process_that_cannot_be_started_is_said(
    worker: Worker, monkeypatch: pytest.MonkeyPatch, step: str, error: Exception
) -> None:
    def refuse(*_: object) -> None:
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(f"multiprocessing.{step}", refuse)
        with pytest.raises(WorkFailedError, match="no process can be started"):
            run(worker, "add", 1, 1)
    assert run(worker, "add", 1, 1) == 2


@contextlib.contextmanager
def features_of(folder: Path, clips: Path, extract: str) -> Iterator[tuple[Features, Notices]]:
    notices = Notices()
    with make_project(folder, clips) as project:
        made = Features(project, VideoLimits(), notices, f"{TASKS}{extract}")
        made.start()
        try:
            yield made, notices
        finally:
            made.close()


def states(features: Features, folder: Path) -> dict[str, Any]:
    from actionrnn.apps.studio.videos import video_id

    names = sorted(path.name for path in (folder / "videos").iterdir())
    return {name: features.state(video_id(f"videos/{name}")) for name in names}


def test_a_video_that_another_file_replaced_is_read_again(clips: Path, tmp_path: Path) -> None:
    folder = tmp_path / "p"
    with features_of(folder, clips, "extract_nothing") as (features, _):
        is_ready = lambda: {s.name for s in states(features, folder).values()} == {"ready"}  # noqa: E731
        wait_until(is_ready)
        with Project.open(folder, read_only=True) as project:
            features.look_again(project.videos())
            assert is_ready()
            shutil.copy(clips / "blue" / "ann_blue.avi", folder / "videos" / "ann_red.avi")
            features.look_again(project.videos())
        asked = lambda: (folder / "asked.txt").read_text().splitlines()  # noqa: E731
        wait_until(lambda: len(asked()) == 2 and is_ready())
    assert asked()[-1] == "4 videos/ann_red"


def test_features_of_all_videos_are_asked_for_once(clips: Path, tmp_path: Path) -> None:
    with features_of(tmp_path / "p", clips, "extract_nothing") as (features, notices):
        found = lambda: {s.name for s in states(features, tmp_path / "p").values()}  # noqa: E731
        wait_until(lambda: found() == {"ready"})
        features.wake()
        time.sleep(0.2)
        asked = (tmp_path / "p" / "asked.txt").read_text().splitlines()
        assert [len(line.split()) for line in asked] == [7] and asked[0].startswith("4 videos/")
    assert notices.said == []


@pytest.mark.parametrize(
    ("old", "new", "asked"),
    [("rate_fps: 4.0", "rate_fps: 8.0", "8 "), ("modality: rgb", "modality: both", "4 ")],
)
def test_settings_that_are_changed_by_hand_have_all_features_computed_anew(
    clips: Path, tmp_path: Path, old: str, new: str, asked: str
) -> None:
    with features_of(tmp_path / "p", clips, "extract_nothing") as (features, _):
        is_ready = lambda: {s.name for s in states(features, tmp_path / "p").values()} == {"ready"}  # noqa: E731
        wait_until(is_ready)
        file = tmp_path / "p" / "project.yaml"
        assert old in file.read_text()
        with Project.open(tmp_path / "p", read_only=True) as project:
            videos = project.videos()
        file.write_text(file.read_text().replace(old, new))
        features.look_again(videos)
        lines = lambda: (tmp_path / "p" / "asked.txt").read_text().splitlines()  # noqa: E731
        wait_until(lambda: len(lines()) == 2 and is_ready())
        features.look_again(videos)
        time.sleep(0.2)
    assert [line[:2] for line in lines()] == ["4 ", asked]
    assert len(lines()[1].split()) == 7


def test_of_two_pages_that_ask_at_once_none_brings_old_settings_back(
    clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with features_of(tmp_path / "p", clips, "extract_nothing") as (features, _):
        is_ready = lambda: {s.name for s in states(features, tmp_path / "p").values()} == {"ready"}  # noqa: E731
        wait_until(is_ready)
        with Project.open(tmp_path / "p", read_only=True) as project:
            videos = project.videos()
        has_read, goes_on, base_config = threading.Event(), threading.Event(), Project.base_config

        def read_slowly(project: Project) -> Config:
            found = base_config(project)
            if not has_read.is_set():
                has_read.set()
                goes_on.wait(10)
            return found

        monkeypatch.setattr(Project, "base_config", read_slowly)
        with ThreadPoolExecutor(2) as pool:
            slow = pool.submit(features.look_again, videos)
            has_read.wait(10)
            file = tmp_path / "p" / "project.yaml"
            file.write_text(file.read_text().replace("rate_fps: 4.0", "rate_fps: 8.0"))
            quick = pool.submit(features.look_again, videos)
            wait([quick], 0.2)  # it may have to wait for the other
            goes_on.set()
            for done in (slow, quick):
                done.result(10)
        lines = lambda: (tmp_path / "p" / "asked.txt").read_text().splitlines()  # noqa: E731
        wait_until(lambda: len(lines()) == 2 and is_ready())
        time.sleep(0.2)
    assert [line[:2] for line in lines()] == ["4 ", "8 "]


@pytest.mark.parametrize(
    ("backbone", "is_ready"),
    [
        ({}, True),
        ({"precision": "float32", "runtime": "torch"}, True),
        ({"resize_mode": "squash"}, False),
        ({"modality": "both"}, False),
        ({"precision": "int8"}, False),
        ({"name": "torchvision/resnet18"}, False),
        ({"weights": "mine.pth"}, False),  # which only its tensors tell
    ],
)
def test_stored_features_are_those_that_the_project_wants_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, backbone: dict[str, Any], is_ready: bool
) -> None:
    """Also where project.yaml was changed while no server ran."""
    sampling = Sampling(rate_fps=4.0)
    made = Provenance(BUNDLED, BUNDLED_SHA256, BUNDLED_PREPROCESSING, sampling, "bfloat16")
    FeatureStore.create(tmp_path / "features", made)
    monkeypatch.setattr(FeatureStore, "presence", lambda *_: "whole")
    wanted = Wanted(tmp_path / "features", BackboneConfig(**backbone), sampling, VideoLimits())
    assert ready_keys(wanted, {"videos/a": tmp_path}) == ({"videos/a"} if is_ready else set())
    other = replace(wanted, sampling=Sampling(rate_fps=8.0))
    assert ready_keys(other, {"videos/a": tmp_path}) == set()


def test_a_video_without_a_key_ends_nothing(
    clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(folder: Path, path: str) -> str:
        raise DatasetError("may be two videos")

    monkeypatch.setattr("actionrnn.apps.studio.background_features.key_of", refuse)
    with features_of(tmp_path / "p", clips, "extract_nothing") as (features, _):
        wait_until(
            lambda: {s.name for s in states(features, tmp_path / "p").values()} == {"failed"}
        )


def test_a_project_file_that_is_damaged_for_a_while_stops_nothing(
    clips: Path, tmp_path: Path
) -> None:
    with features_of(tmp_path / "p", clips, "extract_nothing") as (features, _):
        is_ready = lambda: {s.name for s in states(features, tmp_path / "p").values()} == {"ready"}  # noqa: E731
        wait_until(is_ready)
        file = tmp_path / "p" / "project.yaml"
        good = file.read_text()
        file.write_text("[")
        shutil.copy(clips / "blue" / "ann_blue.avi", tmp_path / "p" / "videos" / "new.avi")
        features.wake()
        time.sleep(0.2)
        file.write_text(good)
        features.wake()
        wait_until(is_ready)


def test_a_video_that_kills_its_decoder_is_found_and_the_others_are_read(
    clips: Path, tmp_path: Path
) -> None:
    with features_of(tmp_path / "p", clips, "extract_and_die") as (features, _):
        is_done = lambda: all(  # noqa: E731
            state.name in ("ready", "failed") for state in states(features, tmp_path / "p").values()
        )
        wait_until(is_done)
        found = states(features, tmp_path / "p")
    failed = {name: state.error for name, state in found.items() if state.name == "failed"}
    assert set(failed) == {"ann_red.avi", "ann_blue.avi"}
    assert failed["ann_red.avi"] == (
        "videos/ann_red.avi: ended its decoder, so it is damaged; convert it"
    )
    assert failed["ann_blue.avi"] == "ann_blue: cannot be used"


def test_where_nothing_can_be_extracted_each_video_says_why(clips: Path, tmp_path: Path) -> None:
    with features_of(tmp_path / "p", clips, "refuse") as (features, _):
        wait_until(
            lambda: {s.name for s in states(features, tmp_path / "p").values()} == {"failed"}
        )
        errors = {state.error for state in states(features, tmp_path / "p").values()}
    assert errors == {"nothing can be extracted here"}


def test_an_extraction_ends_with_the_studio(clips: Path, tmp_path: Path) -> None:
    begun = time.monotonic()
    with features_of(tmp_path / "p", clips, "extract_slowly") as (features, _):
        wait_until(lambda: [job for job in features.jobs() if job.progress == 0.5])
        begun = time.monotonic()
    assert time.monotonic() - begun < 10


@contextlib.contextmanager
def training_of(folder: Path, teach: str) -> Iterator[tuple[Training, Notices]]:
    folder.mkdir(exist_ok=True)
    notices = Notices()
    made = Training(folder, replace(NO_WORK, teach=f"{TASKS}{teach}"), (folder,), notices)
    made.start()
    try:
        yield made, notices
    finally:
        made.close()


def test_a_training_reports_then_scores_then_is_done(tmp_path: Path) -> None:
    with training_of(tmp_path, "teach_nothing") as (training, notices):
        assert training.train().kind == "train"
        wait_until(lambda: not training.jobs())
        assert notices.said == [] and not (tmp_path / TRAINING_MARK).exists()


def test_a_training_can_be_stopped_and_begun_again(tmp_path: Path) -> None:
    with training_of(tmp_path, "teach_until_stopped") as (training, notices):
        training.train()
        wait_until(lambda: [job for job in training.jobs() if job.text == "a quarter"])
        assert training.train().text == "a quarter"  # it is under way
        training.stop()
        training.train()  # at once
        wait_until(lambda: (tmp_path / "taught.txt").read_text() == "..")
        training.stop()
        wait_until(lambda: not training.jobs())
        assert notices.said == [] and not (tmp_path / TRAINING_MARK).exists()


def test_a_new_training_does_not_wait_for_the_scores_of_the_old(tmp_path: Path) -> None:
    with training_of(tmp_path, "score_until_stopped") as (training, notices):
        training.train()
        wait_until(lambda: [job for job in training.jobs() if job.kind == "score"])
        assert not (tmp_path / TRAINING_MARK).exists()  # the model is there
        training.train()
        wait_until(lambda: (tmp_path / "taught.txt").read_text() == "..")
        assert notices.said == []


def test_a_refused_training_is_a_notice(tmp_path: Path) -> None:
    with training_of(tmp_path, "fail_to_teach") as (training, notices):
        training.train()
        wait_until(lambda: notices.said and not training.jobs())
        [said] = notices.said
        assert said["is_problem"] and "only red is marked; mark another label" in said["text"]
        assert not (tmp_path / TRAINING_MARK).exists()


def test_a_training_that_the_end_interrupts_begins_anew_and_says_so(tmp_path: Path) -> None:
    with training_of(tmp_path, "teach_until_stopped") as (training, _):
        training.train()
        wait_until(lambda: [job for job in training.jobs() if job.text == "a quarter"])
    with training_of(tmp_path, "teach_nothing") as (training, notices):
        assert [said["text"] for said in notices.said] == [
            "the training was interrupted when the server ended; it begins anew"
        ]
        wait_until(lambda: not training.jobs())
    with training_of(tmp_path, "teach_nothing") as (training, notices):
        assert notices.said == [] and not training.jobs()


def test_copies_are_made_in_turn_and_a_failure_is_a_notice() -> None:
    made, notices = list[str](), Notices()

    def make(video_id: str, stop: threading.Event) -> None:
        if video_id == "bad":
            raise VideoError("bad.avi: cannot be used")
        if video_id == "busy":
            raise OSError(errno.EAGAIN, "Resource temporarily unavailable")
        made.append(video_id)

    copies = Copies(make, notices)
    for video_id in ("one", "one", "bad", "busy", "two"):
        assert copies.want(video_id).video == video_id
    assert len(copies.jobs()) == 4
    copies.start()
    wait_until(lambda: not copies.jobs())
    copies.close()
    assert made == ["one", "two"]
    bad, busy = (said["text"] for said in notices.said)
    assert bad == "bad.avi: cannot be used" and "unavailable" in busy
