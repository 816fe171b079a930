"""The studio's API: what the page does, within bounds, and nothing outside of the project."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from actionrnn.apps.serving.limits import ServeLimits
from actionrnn.apps.studio.locks import LOCK_SECONDS, Client, Locks
from actionrnn.apps.studio.project import Project
from tests.apps.studio.studios import LABELS, Studio, make_project, studio_of

pytestmark = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")


@pytest.fixture(scope="module")
def outside(tmp_path_factory: pytest.TempPathFactory, clips: Path) -> Path:
    """A folder given with --videos, beside files that are not."""
    root = tmp_path_factory.mktemp("disk")
    (root / "given" / "more").mkdir(parents=True)
    video = (clips / "green" / "ann_green.avi").read_bytes()
    for name in ("given/in.avi", "given/more/deep.avi", "given/.hidden.avi", "secret.avi"):
        (root / name).write_bytes(video)
    (root / "given" / "notes.txt").write_text("no video")
    (root / "given" / "out.avi").symlink_to(root / "secret.avi")
    (root / "given" / "up").symlink_to(root)
    (root / "given" / "again").symlink_to(root / "given" / "more")
    (root / "given" / "circle").symlink_to(root / "given" / "circle")
    return root


@pytest.fixture(scope="module")
def studio(
    clips: Path, outside: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Studio]:
    """One on the clips of two colours; tests use videos of their own."""
    folder = tmp_path_factory.mktemp("studio") / "project"
    make_project(folder, clips).close()
    with (
        Project.open(folder, [outside / "given"]) as project,
        studio_of(project, ServeLimits(upload_mb=1.0)) as started,
    ):
        yield started


def video_of(studio: Studio, name: str) -> str:
    return f"/api/videos/{studio.videos()[name]['id']}"


def add(label: str, start: float, end: float, **more: Any) -> dict[str, Any]:
    return {"op": "add", "label": label, "start": start, "end": end} | more


def by(client: str, annotator: str = "") -> dict[str, str]:
    return {"X-Client": client, "X-Annotator": annotator}


def upload(studio: Studio, file: tuple[str, bytes], path: str = "/api/videos", **data: str) -> Any:
    return studio.client.post(path, files={"file": file}, data=data)


def test_the_project_is_described_and_asked_for_again_only_when_it_changes(
    studio: Studio,
) -> None:
    described = studio.wait_ready()
    assert described["name"] == "project"
    assert [label["name"] for label in described["labels"]] == ["red", "blue"]
    assert [video["name"] for video in described["videos"]][:2] == ["ann_blue.avi", "ann_red.avi"]
    video = described["videos"][0]
    assert (video["width"], video["height"], video["seconds"]) == (64, 48, pytest.approx(1.0))
    assert described["limits"]["upload_mb"] == 1.0 and described["folders"] == ["given"]
    same = studio.client.get(f"/api/status?revision={described['revision']}")
    assert (same.status_code, same.content) == (204, b"")
    studio.post(video_of(studio, "cid_blue.avi") + "/changes", {"ops": [add("blue", 0, 0.5)]})
    changed = studio.get(f"/api/status?revision={described['revision']}")
    assert changed["revision"] > described["revision"]
    assert studio.videos()["cid_blue.avi"]["num_marks"] == 1
    assert studio.videos()["cid_blue.avi"]["marked_seconds"] == 0.5


def test_marks_are_changed_undone_and_made_again(studio: Studio) -> None:
    video = video_of(studio, "ann_red.avi")
    ops = [add("red", 0.1, 0.4, note="<b>"), {"op": "look", "start": 0.0, "end": 1.0}]
    made = studio.post(f"{video}/changes", {"ops": ops})
    assert [(m["label"], m["start"], m["end"], m["note"]) for m in made["marks"]] == [
        ("red", 0.1, 0.4, "<b>")
    ]
    assert made["looked"] == [[0.0, 1.0]] and made["can_undo"] and not made["can_redo"]
    undone = studio.post(f"{video}/undo")
    assert undone["marks"] == [] and undone["can_redo"]
    assert studio.post(f"{video}/redo")["marks"] == made["marks"]
    assert studio.get(f"{video}/marks")["marks"] == made["marks"]
    assert "red" in (studio.project.folder / "annotations.csv").read_text()


@pytest.mark.parametrize(
    ("ops", "status", "part"),
    [
        ([add("red", 0.2, 0.6), add("blue", 0.5, 0.9)], 409, "overlap"),
        ([add("green", 0.2, 0.6)], 422, "green"),
        ([add("red", 0.2, 99.0)], 422, "outside"),
        ([{"op": "remove", "id": "nosuch"}], 422, "nosuch"),
        ([{"op": "drop tables"}], 422, ""),
        ([17], 422, ""),
        ("red", 422, "list"),
    ],
)
def test_what_is_no_change_is_one_line(studio: Studio, ops: Any, status: int, part: str) -> None:
    video = video_of(studio, "bob_red.avi")
    before = studio.get(f"{video}/marks")
    answer = studio.client.post(f"{video}/changes", json={"ops": ops})
    assert answer.status_code == status, answer.text
    assert part in answer.json()["error"] and "\n" not in answer.json()["error"]
    assert studio.get(f"{video}/marks") == before


def test_a_change_of_old_marks_is_refused(studio: Studio) -> None:
    video = video_of(studio, "bob_blue.avi")
    old = studio.get(f"{video}/marks")["revision"]
    change = {"ops": [add("blue", 0, 0.1)], "base_revision": old}
    studio.post(f"{video}/changes", change)
    late = studio.client.post(f"{video}/changes", json={**change, "ops": [add("blue", 0.5, 0.6)]})
    assert late.status_code == 409 and "changed meanwhile" in late.json()["error"]


@pytest.mark.parametrize("path", ["marks", "timeline", "media", "frames", "sprite", "proposals"])
@pytest.mark.parametrize("name", ["000000000000", "..%2F..%2Fsecret", "%00"])
def test_a_video_that_is_not_there(studio: Studio, path: str, name: str) -> None:
    answer = studio.client.get(f"/api/videos/{name}/{path}")
    assert answer.status_code == 404 and set(answer.json()) == {"error"}


def test_without_a_model_nothing_is_said_of_a_video(studio: Studio) -> None:
    video = video_of(studio, "ann_blue.avi")
    answer = studio.client.get(f"{video}/timeline")
    assert answer.status_code == 404 and "no model yet" in answer.json()["error"]
    assert studio.get(f"{video}/proposals") == {"proposals": []}
    assert studio.get("/api/next") is None and studio.get("/api/scores") is None
    assert studio.client.get("/api/export/model").status_code == 422


def test_two_people_do_not_label_one_video_at_once(studio: Studio) -> None:
    video, other = video_of(studio, "cid_red.avi"), video_of(studio, "bob_red.avi")
    anna, ben = by("a1", "Anna%20%C3%96"), by("b1", "Ben")
    taken = studio.post(f"{video}/lock", headers=anna)
    assert taken == {"mine": True, "locked_by": "Anna Ö"}
    assert studio.post(f"{video}/lock", headers=ben) == {"mine": False, "locked_by": "Anna Ö"}
    assert studio.videos()["cid_red.avi"]["locked_by"] == "Anna Ö"
    for path, body in (("changes", {"ops": [add("red", 0, 0.1)]}), ("undo", None), ("redo", None)):
        answer = studio.client.post(f"{video}/{path}", json=body, headers=ben)
        assert answer.status_code == 409
        assert answer.json()["error"] == (
            "Anna Ö is labelling cid_red.avi now; nothing was changed"
        )
    assert studio.client.delete(video, headers=ben).status_code == 409
    assert studio.client.put(video, json={"group": "x"}, headers=ben).status_code == 409
    studio.post(f"{video}/changes", {"ops": [add("red", 0, 0.1)]}, headers=anna)
    studio.post(f"{other}/changes", {"ops": [add("red", 0.9, 1.0)]}, headers=ben)
    studio.client.delete(f"{video}/lock", headers=ben)  # not theirs
    assert studio.post(f"{video}/lock", headers=ben)["mine"] is False
    studio.client.delete(f"{video}/lock", headers=anna)
    assert studio.post(f"{video}/lock", headers=ben)["mine"] is True
    studio.client.delete(f"{video}/lock", headers=ben)


def test_a_lock_ends_by_itself() -> None:
    now = [0.0]
    locks, anna, ben = Locks(lambda: now[0]), Client("a", "Anna"), Client("b", "Ben")
    assert locks.take("v", anna) and not locks.take("v", ben) and locks.take("w", ben)
    now[0] = LOCK_SECONDS - 1
    assert locks.take("v", anna)  # asked for again
    now[0] = 2 * LOCK_SECONDS - 2
    assert locks.other("v", ben) == anna and locks.other("v", anna) is None
    now[0] = 2 * LOCK_SECONDS
    assert locks.other("v", ben) is None and locks.holder("v") is None and locks.take("v", ben)


def test_labels_are_renamed_with_their_marks(clips: Path, tmp_path: Path) -> None:
    with make_project(tmp_path / "p", clips) as project, studio_of(project) as studio:
        video = video_of(studio, "ann_red.avi")
        studio.post(f"{video}/changes", {"ops": [add("red", 0, 0.5)]})
        new = [
            {"name": "run", "key": "r", "colour": "#123456", "was": "red"},
            {"name": "blue", "key": "2", "colour": "#0000cc"},
        ]
        assert studio.client.put("/api/labels", json=new).status_code == 200
        assert studio.get(f"{video}/marks")["marks"][0]["label"] == "run"
        for wrong in ([{"name": "blue"}], [{"nom": "x"}], [{"name": 3}], {"name": "x"}):
            answer = studio.client.put("/api/labels", json=wrong)
            assert answer.status_code == 422 and "\n" not in answer.json()["error"]


def test_of_two_tabs_that_change_labels_or_settings_the_second_is_told(
    clips: Path, tmp_path: Path
) -> None:
    with make_project(tmp_path / "p", clips) as project, studio_of(project) as studio:
        described = studio.get("/api/project")
        base = {"base_revision": described["settings_revision"]}
        labels = [*described["labels"], {"name": "green", "key": "h"}]
        first = studio.client.put("/api/labels", json=labels, params=base)
        assert first.status_code == 200
        for path, body in (("labels", described["labels"]), ("settings", {"multi_label": True})):
            late = studio.client.put(f"/api/{path}", json=body, params=base)
            assert late.status_code == 409
            assert "were changed meanwhile" in late.json()["error"]
        base = {"base_revision": first.json()["settings_revision"]}
        both = studio.client.put("/api/settings", json={"multi_label": True}, params=base).json()
        assert [label["name"] for label in both["labels"]] == ["red", "blue", "green"]
        assert both["settings"]["multi_label"]
        assert both["settings_revision"] != base["base_revision"]


def test_a_label_of_a_video_that_another_one_has_open_is_not_renamed(
    clips: Path, tmp_path: Path
) -> None:
    with make_project(tmp_path / "p", clips) as project, studio_of(project) as studio:
        video = video_of(studio, "ann_red.avi")
        studio.post(f"{video}/changes", {"ops": [add("red", 0, 0.5)]})
        anna, ben = by("a1", "Anna"), by("b1", "Ben")
        studio.post(f"{video}/lock", headers=anna)
        red, blue = studio.get("/api/project")["labels"]
        run, sea = red | {"name": "run", "was": "red"}, blue | {"name": "sea", "was": "blue"}
        refused = studio.client.put("/api/labels", json=[run, blue], headers=ben)
        assert refused.status_code == 409
        assert refused.json()["error"] == "Anna is labelling ann_red.avi now; nothing was changed"
        assert [one.name for one in project.labels] == ["red", "blue"]
        other = studio.client.put("/api/labels", json=[red, sea], headers=ben)
        assert other.status_code == 200  # of no mark there
        assert studio.client.put("/api/labels", json=[run], headers=anna).status_code == 200
        assert studio.get(f"{video}/marks")["marks"][0]["label"] == "run"


def test_another_rate_has_features_computed_anew(clips: Path, tmp_path: Path) -> None:
    with make_project(tmp_path / "p", clips) as project, studio_of(project) as studio:
        studio.wait_ready()
        assert studio.client.put("/api/settings", json={"rate_fps": 8}).status_code == 200
        asked = tmp_path / "p" / "asked.txt"
        studio.wait(lambda _: len(asked.read_text().splitlines()) == 2)
        assert [line.split()[0] for line in asked.read_text().splitlines()] == ["4", "8"]
        assert studio.client.put("/api/settings", json={"multi_label": True}).status_code == 200
        for wrong in ({"rate_fps": -1}, {"rate": 3}, {"rate_fps": "x"}):
            assert studio.client.put("/api/settings", json=wrong).status_code == 422
        time.sleep(0.2)
        assert len(asked.read_text().splitlines()) == 2
        file = tmp_path / "p" / "project.yaml"  # by hand, while the page is open
        file.write_text(file.read_text().replace("rate_fps: 8.0", "rate_fps: 2.0"))
        studio.wait(lambda _: len(asked.read_text().splitlines()) == 3)
        assert asked.read_text().splitlines()[-1].split()[0] == "2"


# Files that come in


@pytest.mark.parametrize(
    "name",
    [
        "../../etc/passwd.avi",
        "/etc/x.avi",
        "a\\..\\b.avi",
        "x\x1b[2J.avi",
        ".hidden.avi",
        "\u202ex.avi",
    ],
)
def test_an_upload_stays_in_the_project(studio: Studio, clips: Path, name: str) -> None:
    before = set(Path(studio.project.folder).parent.rglob("*"))
    answer = upload(studio, (name, (clips / "red" / "ann_red.avi").read_bytes()))
    assert answer.status_code == 200, answer.text
    video = answer.json()
    file = studio.project.video(video["id"]).file
    assert file.parent == studio.project.folder / "videos"
    assert ".." not in video["path"] and "\x1b" not in video["name"]
    new = {p for p in set(Path(studio.project.folder).parent.rglob("*")) - before if p.is_file()}
    assert all(p.is_relative_to(studio.project.folder) for p in new)
    removed = studio.client.delete(f"/api/videos/{video['id']}")
    assert removed.status_code == 200 and not file.exists()
    assert list((studio.project.folder / ".removed").iterdir())


def test_what_is_no_video_is_refused_and_nothing_is_left(studio: Studio) -> None:
    before = sorted((studio.project.folder / "videos").iterdir())
    for name, content in (
        ("text.avi", b"no video at all"),
        ("empty.mp4", b""),
        ("list.m3u8", b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n"),
        ("list.avi", b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n"),
        ("concat.avi", b"ffconcat version 1.0\nfile /etc/passwd\n"),
    ):
        answer = upload(studio, (name, content))
        assert answer.status_code == 422, name
        error = answer.json()["error"]
        assert "\n" not in error and str(studio.project.folder) not in error
    assert sorted((studio.project.folder / "videos").iterdir()) == before


def status_of(studio: Studio, request: str, headers: str, body: bytes = b"") -> int:
    """Of a request whose sender may still send when it is refused, which resets the connection."""
    url = studio.client.base_url
    with socket.create_connection((url.host, url.port), timeout=20) as connection:
        head = f"{request} HTTP/1.1\r\nHost: {url.host}:{url.port}\r\n{headers}\r\n\r\n"
        try:
            connection.sendall(head.encode() + body)
            return int(connection.recv(100).split()[1])
        except ConnectionError:
            return 413


def test_bodies_are_bounded(studio: Studio, clips: Path) -> None:
    form = "Content-Type: multipart/form-data; boundary=x\r\n"
    assert status_of(studio, "POST /api/videos", f"{form}Content-Length: 1200000") == 413
    begin = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.avi"\r\n\r\n'
    pieces = [begin, *20 * [b"x" * 100_000], b""]
    body = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    for request, kind in (
        ("POST /api/videos", form),
        ("PUT /api/labels", "Content-Type: application/json\r\n"),
    ):
        headers = f"{kind}Transfer-Encoding: chunked"
        assert status_of(studio, request, headers, body) == 413
    content = (clips / "red" / "ann_red.avi").read_bytes()
    several = [("file", ("a.avi", content)), ("more", ("b.avi", b"x"))]
    assert studio.client.post("/api/videos", files=several).status_code == 400


def test_a_take_is_labelled_and_looked_at_as_a_whole(studio: Studio, clips: Path) -> None:
    content = (clips / "red" / "ann_red.avi").read_bytes()
    answer = upload(studio, ("take.avi", content), "/api/takes", label="red", group="ann")
    assert answer.status_code == 200, answer.text
    video = answer.json()
    assert (video["num_marks"], video["group"]) == (1, "ann")
    marks = studio.get(f"/api/videos/{video['id']}/marks")
    [mark], [looked] = marks["marks"], marks["looked"]
    whole = pytest.approx([0.0, video["seconds"]])
    assert [mark["start"], mark["end"]] == whole and looked == whole and mark["label"] == "red"
    before = sorted((studio.project.folder / "videos").iterdir())
    wrong = upload(studio, ("take.avi", content), "/api/takes", label="no\nlabel")
    assert wrong.status_code == 422 and "\n" not in wrong.json()["error"]
    assert sorted((studio.project.folder / "videos").iterdir()) == before
    studio.client.delete(f"/api/videos/{video['id']}")


def test_given_folders_are_looked_into_and_nothing_else(studio: Studio) -> None:
    entries = studio.get("/api/browse?folder=given")["entries"]
    assert [(e["name"], e["kind"]) for e in entries] == [
        ("again", "folder"),
        ("in.avi", "video"),
        ("more", "folder"),
    ]
    assert entries[1]["size_bytes"] > 0
    deep = studio.get("/api/browse", params={"folder": "given", "path": "more"})["entries"]
    assert [e["name"] for e in deep] == ["deep.avi"]


HOSTILE = (
    *("..", "../", "../secret.avi", "more/../../secret.avi", "/", "/etc", "/etc/passwd"),
    *("up", "up/secret.avi", "out.avi", "circle", "circle/x", "a\0b", "x" * 5000, "\\..\\.."),
    *("..\\..", "%2e%2e", "~", "~root", "file:///etc", "notes.txt/..//../..", "\ud800"),
)


@pytest.mark.parametrize("path", HOSTILE)
def test_no_path_leads_out(studio: Studio, path: str) -> None:
    before = studio.project.videos()
    body = json.dumps({"folder": "given", "paths": [path]})
    kind = {"content-type": "application/json"}
    imported = studio.client.post("/api/videos/import", content=body, headers=kind)
    assert imported.status_code == 422, imported.text
    assert studio.project.videos() == before
    if path.encode("utf-8", "replace").decode() == path:
        seen = studio.client.get("/api/browse", params={"folder": "given", "path": path})
        assert seen.status_code == 422, seen.text
        assert "secret" not in seen.text.replace(path, "") and "root:x" not in seen.text


@given(st.text(st.sampled_from("./\\ abmoreup~\0%"), max_size=24))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_listed_lies_below_the_folder(studio: Studio, outside: Path, path: str) -> None:
    answer = studio.client.get("/api/browse", params={"folder": "given", "path": path})
    if answer.status_code == 200:
        place = (outside / "given" / path).resolve()
        assert place.is_relative_to((outside / "given").resolve())
        for entry in answer.json()["entries"]:
            assert (place / entry["name"]).resolve().is_relative_to(outside / "given")
    else:
        assert answer.status_code == 422


@pytest.mark.parametrize("folder", ["", "..", "/", "more", "videos", "given/more"])
def test_only_folders_that_were_given(studio: Studio, folder: str) -> None:
    assert studio.client.get("/api/browse", params={"folder": folder}).status_code == 404
    body = {"folder": folder, "paths": ["in.avi"]}
    assert studio.client.post("/api/videos/import", json=body).status_code == 404


def test_a_video_of_a_given_folder_stays_there(studio: Studio, outside: Path) -> None:
    body = {"folder": "given", "paths": ["more/deep.avi", "nosuch.avi"], "group": "g"}
    answer = studio.post("/api/videos/import", body)
    [video], [failed] = answer["videos"], answer["failed"]
    assert (video["name"], video["group"], failed["path"]) == ("deep.avi", "g", "nosuch.avi")
    assert studio.client.get(f"/api/videos/{video['id']}/media").status_code == 200
    studio.client.delete(f"/api/videos/{video['id']}")
    assert (outside / "given" / "more" / "deep.avi").exists()
    assert "deep.avi" not in studio.videos()


# What the page plays


def test_media_in_ranges_frames_and_thumbnails(studio: Studio) -> None:
    video = video_of(studio, "ann_blue.avi")
    whole = studio.client.get(f"{video}/media").content
    part = studio.client.get(f"{video}/media", headers={"Range": "bytes=10-19"})
    assert (part.status_code, part.content) == (206, whole[10:20])
    times = studio.get(f"{video}/frames")["times"]
    assert times == pytest.approx([i / 12 for i in range(12)])
    sprite = studio.get(f"{video}/sprite")
    assert sprite["times"] and sprite["columns"] > 0
    picture = studio.client.get(f"{video}/sprite.jpg")
    assert picture.headers["content-type"] == "image/jpeg" and picture.content[:2] == b"\xff\xd8"


def test_a_copy_that_browsers_play_is_made_in_the_background(studio: Studio) -> None:
    video = video_of(studio, "cid_red.avi")
    assert not studio.videos()["cid_red.avi"]["playable"]
    asked = studio.client.get(f"{video}/media?copy=1")
    assert asked.status_code == 202 and asked.json()["kind"] == "convert"
    studio.wait(lambda p: not p["jobs"])
    copy = studio.client.get(f"{video}/media?copy=1")
    assert (copy.status_code, copy.headers["content-type"]) == (200, "video/mp4")
    assert copy.content[4:8] == b"ftyp" and studio.videos()["cid_red.avi"]["playable"]
    assert studio.client.get(f"{video}/media").content == copy.content


# Who may come in


def test_the_token_guards_all_but_the_page(clips: Path, tmp_path: Path) -> None:
    with (
        make_project(tmp_path / "p", clips) as project,
        studio_of(project, token="s3") as studio,
        httpx.Client(base_url=studio.address, timeout=30) as bare,
    ):
        assert bare.get("/page/shared/common.js").status_code == 200
        for path in ("/api/project", "/api/status", "/api/export/csv", "/api/browse?folder=x"):
            assert bare.get(path).status_code == 401
        assert bare.post("/api/train").status_code == 401
        assert bare.request("DELETE", "/api/train").status_code == 401
        described = bare.get("/api/project", headers={"Authorization": "Bearer s3"}).json()
        media = f"/api/videos/{described['videos'][0]['id']}/media"
        assert bare.get(media).status_code == 401
        assert bare.get(f"{media}?token=s3").status_code == 200


@pytest.mark.parametrize("method", ["GET", "PUT", "POST", "DELETE"])
def test_a_foreign_page_is_refused(studio: Studio, method: str) -> None:
    foreign = {"Origin": "https://evil.example"}
    assert studio.client.request(method, "/api/train", headers=foreign).status_code == 403
    other_name = {"Host": "evil.example"}
    assert studio.client.request(method, "/api/train", headers=other_name).status_code == 400


def test_errors_keep_the_folders_of_the_server_to_themselves(studio: Studio) -> None:
    video = video_of(studio, "bob_blue.avi")
    file = studio.project.folder / "videos" / "bob_blue.avi"
    moved = file.with_suffix(".away")
    os.rename(file, moved)  # noqa: PTH104
    try:
        for path in ("media", "frames", "sprite", "marks"):
            answer = studio.client.get(f"{video}/{path}")
            assert answer.status_code == 404 and str(studio.project.folder) not in answer.text
    finally:
        os.rename(moved, file)  # noqa: PTH104


def test_labels_of_the_tests_are_those_of_the_project(studio: Studio) -> None:
    assert studio.project.labels == LABELS
