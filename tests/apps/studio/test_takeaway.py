"""What is taken away: other tools' files, read back with the same marks, and the model."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from actionrnn.datasets.annotations.formats import read_annotations
from actionrnn.datasets.annotations.marks import ReadOptions
from tests.apps.studio.studios import HERE, NO_WORK, Studio, make_project, studio_of

if TYPE_CHECKING:
    from tests.apps.browsing import Browsers

pytestmark = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")

MARKED = {"ann_red.avi": ("red", 0.25, 0.75), "bob_blue.avi": ("blue", 0.0, 0.5)}


@pytest.fixture(scope="module")
def studio(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    folder = tmp_path_factory.mktemp("takeaway") / "Größe <1>"
    with make_project(folder, clips) as project, studio_of(project) as started:
        for name, (label, start, end) in MARKED.items():
            video = started.videos()[name]["id"]
            ops = [{"op": "add", "label": label, "start": start, "end": end}]
            ops += [{"op": "look", "start": 0.0, "end": 1.0}]
            started.post(f"/api/videos/{video}/changes", {"ops": ops})
        yield started


def files_of(answer: httpx.Response) -> dict[str, bytes]:
    """The files of an archive, or the file itself."""
    assert answer.status_code == 200, answer.text
    name = answer.headers["content-disposition"]
    if ".zip" not in name:
        return {name.rpartition(".")[2].strip('"'): answer.content}
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.mark.parametrize("kind", ["csv", "boris", "elan", "label-studio"])
def test_marks_come_back_from_each_format(studio: Studio, kind: str, tmp_path: Path) -> None:
    found = set()
    for name, content in files_of(studio.client.get(f"/api/export/{kind}")).items():
        if name.endswith("notes.txt"):
            continue
        file = tmp_path / (name if "." in name else f"marks.{name}")
        file.write_bytes(content)
        options = ReadOptions(videos=studio.project.folder, rate_fps=12.0)
        for mark in read_annotations(file, options).marks:
            if mark.label != "background":
                assert mark.start_seconds is not None and mark.end_seconds is not None
                found.add((Path(mark.video).stem, mark.label, mark.start_seconds, mark.end_seconds))
    assert sorted(found) == sorted(
        (Path(name).stem, label, pytest.approx(start, abs=0.05), pytest.approx(end, abs=0.05))
        for name, (label, start, end) in MARKED.items()
    )


def test_the_csv_is_what_the_toolkit_trains_on(studio: Studio, tmp_path: Path) -> None:
    [content] = files_of(studio.client.get("/api/export/csv")).values()
    (tmp_path / "taken.csv").write_bytes(content)
    own = studio.project.folder / "annotations.csv"
    taken, kept = (
        {
            (m.video, m.start_seconds, m.end_seconds, m.label)
            for m in read_annotations(file, ReadOptions()).marks
        }
        for file in (tmp_path / "taken.csv", own)
    )
    assert taken == kept and ("videos/ann_red.avi", 0.0, 0.25, "background") in taken


def test_one_video_is_one_file(studio: Studio) -> None:
    video = studio.videos()["ann_red.avi"]["id"]
    for kind in ("csv", "boris", "elan", "label-studio", "srt"):
        answer = studio.client.get(f"/api/export/{kind}?video={video}")
        assert answer.status_code == 200
        assert "ann_red" in answer.headers["content-disposition"]
        names = list(files_of(answer))
        assert len([name for name in names if not name.endswith("notes.txt")]) == 1


def test_marks_of_paths_written_by_hand_are_taken_along(clips: Path, tmp_path: Path) -> None:
    folder = tmp_path / "hand"
    with make_project(folder, clips) as project, studio_of(project) as studio:
        (folder / "annotations.csv").write_text(
            "path,start,end,label\n"
            "./videos/ann_red.avi,0,0.5,red\n"
            f"{folder}/videos/bob_red.avi,0,0.5,red\n"
        )
        assert studio.videos()["bob_red.avi"]["num_marks"] == 1  # read, and not written anew
        [content] = files_of(studio.client.get("/api/export/csv")).values()
    assert content.decode().splitlines()[1:] == [
        "videos/ann_red.avi,0.0,0.5,red",
        "videos/bob_red.avi,0.0,0.5,red",
    ]


def test_subtitles_show_the_labels_and_no_background(studio: Studio) -> None:
    video = studio.videos()["ann_red.avi"]["id"]
    answer = studio.client.get(f"/api/export/srt?video={video}")
    assert answer.text == "1\n00:00:00,250 --> 00:00:00,750\nred\n"


def test_what_cannot_be_taken_away_says_why(studio: Studio) -> None:
    unmarked = studio.videos()["cid_red.avi"]["id"]
    nothing = studio.client.get(f"/api/export/elan?video={unmarked}")
    assert nothing.status_code == 422 and "nothing is marked" in nothing.json()["error"]
    assert studio.client.get("/api/export/exe").status_code == 404
    assert studio.client.get("/api/export/csv?video=..%2F..").status_code == 404
    for kind in ("model", "onnx", "web"):
        answer = studio.client.get(f"/api/export/{kind}")
        assert answer.status_code == 422 and "no model yet" in answer.json()["error"]


def test_nothing_is_left_behind(
    studio: Studio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tempfile

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert studio.client.get("/api/export/elan").status_code == 200
    unmarked = studio.videos()["cid_red.avi"]["id"]
    assert studio.client.get(f"/api/export/elan?video={unmarked}").status_code == 422
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("actionrnn-")] == []


@pytest.fixture(scope="module")
def taught(studio: Studio, streaming_model: Path) -> Studio:
    """The same, with a model."""
    run = studio.project.folder / "runs" / "1"
    run.mkdir(parents=True)
    (run / "model.safetensors").write_bytes(streaming_model.read_bytes())
    return studio


def test_the_model_file_is_the_runs(taught: Studio, streaming_model: Path) -> None:
    taken = taught.client.get("/api/export/model")
    assert taken.content == streaming_model.read_bytes()
    assert ".safetensors" in taken.headers["content-disposition"]


@pytest.fixture
def exporting(clips: Path, tmp_path: Path, streaming_model: Path) -> Iterator[Studio]:
    """A studio with a model, whose exports end once there is a file `go` beside it."""
    run = tmp_path / "p" / "runs" / "1"
    waiting = f"{HERE}export_when_told"
    tasks = replace(NO_WORK, onnx=waiting, web=waiting)
    with make_project(tmp_path / "p", clips) as project, studio_of(project, tasks=tasks) as studio:
        run.mkdir(parents=True)
        (run / "model.safetensors").write_bytes(streaming_model.read_bytes())
        yield studio


def stages(described: dict[str, Any]) -> dict[str, tuple[float, str]]:
    """How far the exports are, by kind."""
    jobs = [job for job in described["jobs"] if job["kind"] in ("onnx", "web")]
    return {job["kind"]: (job["progress"], job["text"]) for job in jobs}


def test_an_export_says_how_far_it_is_and_a_second_one_waits(exporting: Studio) -> None:
    run = exporting.project.folder / "runs" / "1"
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(exporting.client.get, "/api/export/web")
        exporting.wait(lambda p: stages(p) == {"web": (0.5, "export: writing the network")})
        second = pool.submit(exporting.client.get, "/api/export/onnx")
        described = exporting.wait(lambda p: "onnx" in stages(p))
        assert stages(described)["onnx"] == (0.0, "export: waiting for another one")
        assert (run / "begun.txt").read_text() == "."
        (run / "go").touch()
        assert [file.result().status_code for file in (first, second)] == [200, 200]
    assert (run / "begun.txt").read_text() == ".."
    assert stages(exporting.get("/api/project")) == {}


def test_the_page_shows_which_step_of_an_export_runs(exporting: Studio, browsers: Browsers) -> None:
    from tests.apps.studio.page_steps import open_step, opened, wait_for

    with opened(browsers(), exporting.address) as page:
        open_step(page, "takeaway")
        shown = "[...document.querySelectorAll('progress')].filter((bar) => !bar.hidden)"
        assert page.evaluate(f"{shown}.length") == 0
        page.click("#export-web")
        wait_for(page, f"{shown}.length === 1")
        bar = page.locator("progress[aria-label='Making Static page']")
        assert bar.is_visible() and bar.get_attribute("value") is None  # it moves
        wait_for(page, "document.body.textContent.includes('writing the network')")
        with page.expect_download() as saved:
            (exporting.project.folder / "runs" / "1" / "go").touch()
        assert saved.value.suggested_filename == "p-web.zip"
        wait_for(page, f"{shown}.length === 0")


@pytest.mark.slow
@pytest.mark.network
def test_the_model_as_a_page(taught: Studio) -> None:
    exported = files_of(taught.client.get("/api/export/web", timeout=600))
    assert {"index.html", "encoder.onnx", "step.onnx"} <= {Path(name).name for name in exported}


@pytest.mark.slow
def test_the_model_as_onnx(taught: Studio) -> None:
    exported = files_of(taught.client.get("/api/export/onnx", timeout=300))
    names = {Path(name).name for name in exported}
    assert {"encoder.onnx", "step.onnx", "model.json", "run.py"} <= names
    described = next(text for name, text in exported.items() if name.endswith("model.json"))
    assert json.loads(described)["labels"] == ["blue", "green", "red"]
