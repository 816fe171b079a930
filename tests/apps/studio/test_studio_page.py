"""The studio's page in a real browser: the shell, and the steps that need no model."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pytest

from actionrnn.apps.studio.project import Project
from tests.apps.studio.page_steps import (
    add_files,
    clip_of,
    name_labels,
    open_recorder,
    open_step,
    opened,
    serious,
    wait_for,
)
from tests.apps.studio.studios import Studio, studio_of

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.apps.browsing import Browsers

COLOURS: tuple[Literal["light", "dark"], ...] = ("light", "dark")
STEPS = ("videos", "label", "train", "watch", "takeaway")
pytestmark = [
    pytest.mark.realdata,
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
]


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[Studio]:
    """A studio of an empty project, in which nothing is extracted."""
    with Project.create(tmp_path / "project") as project, studio_of(project) as running:
        yield running


# The first minutes


def test_an_empty_project_says_what_to_do_first(browsers: Browsers, studio: Studio) -> None:
    with opened(browsers(), studio.address) as page:
        said = page.locator(".first li strong").all_inner_texts()
        assert said == ["Name the actions", "Bring videos", "Train, watch, correct"]
        name_labels(page, "bend", "<b>jack", "wave")
        wait_for(page, "document.querySelector('.first li').textContent.includes('Done.')")
        labels = studio.get("/api/project")["labels"]
        assert [(label["name"], label["key"]) for label in labels] == [
            ("bend", "1"),
            ("<b>jack", "2"),
            ("wave", "3"),
        ]
        assert len({label["colour"] for label in labels}) == 3


def test_labels_are_renamed_and_refused_in_one_line(browsers: Browsers, studio: Studio) -> None:
    with opened(browsers(), studio.address) as page:
        name_labels(page, "bend", "jack")
        page.click("#edit-labels")
        names = page.locator("dialog input[aria-label='Name']")
        names.nth(1).fill("bend")
        page.keyboard.press("Enter")
        wait_for(page, "document.querySelector('dialog .problem').textContent !== ''")
        assert page.inner_text("dialog .problem") == "bend is there twice."
        names.nth(1).fill("jump")
        page.fill("dialog input[aria-label='Key of jack']", "L")
        page.keyboard.press("Enter")
        wait_for(page, "document.querySelector('dialog .problem').textContent.includes('command')")
        page.fill("dialog input[aria-label='Key of jack']", "7")
        page.keyboard.press("Enter")
        page.wait_for_selector("dialog", state="detached")
        labels = studio.get("/api/project")["labels"]
        assert [(label["name"], label["key"]) for label in labels] == [("bend", "1"), ("jump", "7")]


def test_labels_that_another_tab_changed_meanwhile_are_not_overwritten(
    browsers: Browsers, studio: Studio
) -> None:
    with opened(browsers(), studio.address) as page:
        name_labels(page, "bend", "jack")
        page.click("#edit-labels")
        others = [*studio.get("/api/project")["labels"], {"name": "wave"}]
        assert studio.client.put("/api/labels", json=others).status_code == 200
        page.locator("dialog input[aria-label='Name']").nth(0).fill("bow")
        page.keyboard.press("Enter")
        wait_for(page, "document.querySelector('dialog .problem').textContent !== ''")
        assert "were changed meanwhile" in page.inner_text("dialog .problem")
        labels = studio.get("/api/project")["labels"]
        assert [label["name"] for label in labels] == ["bend", "jack", "wave"]
        page.keyboard.press("Escape")
        page.click("#edit-labels")
        names = page.locator("dialog input[aria-label='Name']")
        assert names.count() == 3
        names.nth(0).fill("bow")
        page.keyboard.press("Enter")
        page.wait_for_selector("dialog", state="detached")
        assert studio.get("/api/project")["labels"][0]["name"] == "bow"


def test_labels_are_saved_again_after_a_setting_was_refused(
    browsers: Browsers, studio: Studio, real_data: Path
) -> None:
    with opened(browsers(), studio.address) as page:
        name_labels(page, "bend", "jack")
        studio.project.set_settings({"multi_label": True})
        video = studio.project.add_video(clip_of(real_data, "bend", "daria"), "a.avi")
        both = [{"op": "add", "label": name, "start": 0, "end": 1} for name in ("bend", "jack")]
        studio.project.change(video.id, both, "ann")
        wait_for(page, "document.querySelectorAll('.list tbody tr').length === 1")
        page.click("#edit-labels")
        page.locator("dialog input[aria-label='Name']").nth(0).fill("bow")
        page.uncheck("#several")
        page.keyboard.press("Enter")
        wait_for(page, "document.querySelector('dialog .problem').textContent.includes('overlap')")
        page.check("#several")
        page.click("dialog button.main")
        page.wait_for_selector("dialog", state="detached")
        described = studio.get("/api/project")
        assert [label["name"] for label in described["labels"]] == ["bow", "jack"]
        assert described["settings"]["multi_label"]


def test_settings_are_changed(browsers: Browsers, studio: Studio) -> None:
    with opened(browsers(), studio.address) as page:
        name_labels(page, "bend", "jack")
        page.click("#edit-labels")
        page.check("#several")
        page.keyboard.press("Enter")
        page.wait_for_selector("dialog", state="detached")
        open_step(page, "train")
        page.click("#settings summary")
        page.select_option("#rate", "8")
        page.select_option("#modality", "both")
        page.wait_for_selector(".notice")
        wait_for(page, "document.getElementById('modality').value === 'both'")
        settings = {"rate_fps": 8.0, "multi_label": True, "modality": "both"}
        assert studio.get("/api/project")["settings"] == settings


def test_files_come_in_with_their_group_and_go(
    browsers: Browsers, studio: Studio, real_data: Path, tmp_path: Path
) -> None:
    odd = tmp_path / "a <b>bend & 'more'.avi"
    shutil.copy(clip_of(real_data, "bend", "daria"), odd)
    notes = tmp_path / "notes.mp4"
    notes.write_text("no video\n" * 100)
    with opened(browsers(), studio.address) as page:
        add_files(page, clip_of(real_data, "bend", "denis"), odd, group="anna")
        videos = studio.get("/api/project")["videos"]
        assert [video["group"] for video in videos] == ["anna", "anna"]
        names = page.locator(".list tbody a").all_inner_texts()
        assert names == [video["name"] for video in videos]
        assert any("<b>bend" in name or "bbend" in name or "_b_bend" in name for name in names)

        page.set_input_files("#file", str(notes))
        page.wait_for_selector(".notice.bad")
        assert "notes.mp4" in page.inner_text(".notice.bad")
        assert page.locator(".list tbody tr").count() == 2

        page.locator(".list tbody input").first.fill("bo")
        page.keyboard.press("Enter")
        wait_for(page, "document.querySelectorAll('#groups option').length === 2")
        assert studio.get("/api/project")["videos"][0]["group"] == "bo"

        page.on("dialog", lambda dialog: dialog.accept())
        page.locator(".list td.does button").first.click()
        wait_for(page, "document.querySelectorAll('.list tbody tr').length === 1")
        assert len(studio.get("/api/project")["videos"]) == 1


def test_videos_of_a_server_folder_are_chosen_in_a_dialog(
    browsers: Browsers, real_data: Path, tmp_path: Path
) -> None:
    disk = tmp_path / "disk"
    (disk / "inner").mkdir(parents=True)
    shutil.copy(clip_of(real_data, "bend", "daria"), disk / "inner" / "a.avi")
    shutil.copy(clip_of(real_data, "jack", "daria"), disk / "inner" / "b.avi")
    folder = tmp_path / "project"
    with (
        Project.create(folder, [disk]) as project,
        studio_of(project) as studio,
        opened(browsers(), studio.address) as page,
    ):
        page.click('button:has-text("From the server\'s folders")')
        page.click("dialog button:has-text('inner/')")
        page.click("dialog label:has-text('b.avi')")
        page.click("dialog button:has-text('Add 1 video')")
        page.wait_for_selector("dialog", state="detached")
        wait_for(page, "document.querySelectorAll('.list tbody tr').length === 1")
        assert page.locator(".list tbody a").all_inner_texts() == ["b.avi"]
        assert not any((folder / "videos").iterdir())


def test_a_take_of_nothing_is_background_and_is_replaced_and_deleted(
    browsers: Browsers, studio: Studio
) -> None:
    with opened(browsers(), studio.address) as page:
        name_labels(page, "bend", "jack")
        open_recorder(page)
        assert serious(page) == []
        page.select_option("#take-label", "")
        page.fill("#take-person", "ann")
        page.select_option("#take-countdown", "1")
        page.select_option("#take-seconds", "2")
        page.click("#record")
        page.wait_for_selector(".takes li")
        (video,) = studio.get("/api/project")["videos"]
        assert (video["group"], video["num_marks"]) == ("ann", 0)
        assert video["looked_seconds"] == pytest.approx(video["seconds"], abs=0.01)
        wait_for(page, "!document.getElementById('record').disabled")

        page.click(".takes button:has-text('Again')")
        page.wait_for_selector(".takes li", state="detached")
        page.wait_for_selector(".takes li")
        wait_for(page, "!document.getElementById('record').disabled")
        assert len(studio.get("/api/project")["videos"]) == 1
        page.click(".takes button:has-text('Delete')")
        page.wait_for_selector(".takes li", state="detached")
        assert studio.get("/api/project")["videos"] == []


def test_no_take_gets_another_label_than_was_chosen(browsers: Browsers, studio: Studio) -> None:
    with opened(browsers(), studio.address) as page:
        name_labels(page, "bend", "jack")
        open_recorder(page)
        page.select_option("#take-label", "jack")
        renamed = [{"name": "bend"}, {"name": "jump", "was": "jack"}]
        studio.client.put("/api/labels", json=renamed).raise_for_status()  # by somebody else
        wait_for(page, "document.getElementById('take-label').selectedIndex === -1")
        page.click("#record")
        page.wait_for_selector(".notice.bad")
        assert "Choose the action first" in page.inner_text(".notice.bad")
        assert page.locator(".takes li").count() == 0
        page.select_option("#take-label", "jump")


def test_a_take_that_did_not_arrive_is_kept_again(browsers: Browsers, studio: Studio) -> None:
    with opened(browsers(), studio.address) as page:
        name_labels(page, "bend", "jack")
        open_recorder(page)
        page.select_option("#take-countdown", "1")
        page.select_option("#take-seconds", "2")
        page.route("**/api/takes", lambda route: route.abort(), times=1)
        page.click("#record")
        page.wait_for_selector(".takes button:has-text('Keep again')")
        assert "does not answer" in page.inner_text(".notice.bad")
        assert page.inner_text(".takes p") == "Not kept yet: bend"
        assert page.locator(".takes a[download]").get_attribute("download") == "bend.webm"
        assert studio.get("/api/project")["videos"] == []

        open_step(page, "train")  # it waits while another step is shown
        open_step(page, "videos")
        open_recorder(page)
        page.select_option("#take-label", "jack")  # of the next take
        page.select_option("#take-seconds", "15")
        page.click(".takes button:has-text('Keep again')")
        page.wait_for_selector(".takes button:has-text('Delete')")
        assert page.locator(".takes li").count() == 1
        (video,) = studio.get("/api/project")["videos"]
        (mark,) = studio.get(f"/api/videos/{video['id']}/marks")["marks"]
        assert (mark["label"], mark["end"]) == ("bend", pytest.approx(video["seconds"], abs=0.01))
        assert not any("15 seconds" in text for text in page.locator(".notice").all_inner_texts())


# What is known of a model

SCORES = {
    "run": "3",
    "steps": {
        **{"value": 0.875, "low": 0.62, "high": 0.97, "baseline": 0.75, "num_recordings": 16},
        **{"unit": "of each label's time, mean over labels", "f1_at_50": 0.8},
        **{"f1_at_50_low": None, "f1_at_50_high": None},
    },
    "why_not": "",
    "per_label": [
        {"label": "<b>bend", "precision": 1.0, "recall": 0.75, "num": 8},
        {"label": "jack", "precision": 0.8, "recall": 1.0, "num": 8},
    ],
    "confusion": {"labels": ["<b>bend", "jack"], "counts": [[6, 2], [0, 8]]},
    "curve": [
        {"recordings": count, "value": value, "low": value - 0.2, "high": value + 0.1}
        for count, value in ((2, 0.5), (4, 0.7), (8, 0.8), (15, 0.875))
    ],
    "enough": "More recordings still help: 8 instead of 15 cost 7 points.",
    "harmful": [
        {
            **{"video": "0123456789ab", "name": "a <i>take.webm", "label": "jack"},
            **{"start": 3.2, "end": 5.0, "gain": 0.06},
        }
    ],
    "notes": [],
    "complete": True,
}
UNKNOWN = {
    **{"run": "3", "steps": None, "why_not": "a second recording is needed", "per_label": []},
    **{"confusion": None, "curve": [], "enough": "", "harmful": [], "notes": ["1 take of nothing"]},
    "complete": True,
}


def show_scores(page: Page, scores: Any) -> None:
    page.route("**/api/scores", lambda route: route.fulfill(json=scores))
    open_step(page, "train")


def test_scores_are_shown_beside_their_baseline_with_curve_confusions_and_harmful_takes(
    browsers: Browsers, studio: Studio
) -> None:
    with opened(browsers(), studio.address) as page:
        show_scores(page, SCORES)
        page.wait_for_selector("#scores .figure")
        assert page.inner_text("#scores .figure") == "88 %"
        said = page.inner_text("#scores")
        assert "62 % to 97 % (95 % interval)" in said
        assert "75 % by the average picture of a window alone" in said
        assert "(16, left out in turn)" in said
        assert page.inner_text("#enough") == SCORES["enough"]
        assert page.locator("svg[role=img] circle").count() == 4
        assert "15: 88 % (68 % to 98 %)" in str(
            page.locator("svg[role=img]").get_attribute("aria-label")
        )
        cells = page.locator("table.confusion td").all_inner_texts()
        assert cells == ["6", "2", "0", "8"]
        assert page.locator("#harmful td").all_inner_texts() == [
            "a <i>take.webm at 0:03.2",
            "jack",
            "+6.0 %",
        ]
        assert page.locator("#harmful a").get_attribute("href") == "#label/0123456789ab"


def test_a_score_that_cannot_be_given_says_why(browsers: Browsers, studio: Studio) -> None:
    with opened(browsers(), studio.address) as page:
        show_scores(page, UNKNOWN)
        page.wait_for_selector("#scores section")
        said = page.inner_text("#scores")
        assert "No score: a second recording is needed." in said
        assert "1 take of nothing" in said
        assert page.locator("#scores svg").count() == 0


def test_every_step_is_accessible_and_fits_a_phone(
    browsers: Browsers, studio: Studio, real_data: Path
) -> None:
    def require_accessible(step: str) -> None:
        for scheme in COLOURS:
            page.emulate_media(color_scheme=scheme)
            assert serious(page) == [], (step, scheme)
            assert page.evaluate("document.documentElement.scrollWidth") <= 390, (step, scheme)

    with opened(browsers(), studio.address, viewport={"width": 390, "height": 844}) as page:
        require_accessible("with nothing in it")
        name_labels(page, "bend", "jack")
        add_files(page, clip_of(real_data, "bend", "daria"))
        page.route("**/api/scores", lambda route: route.fulfill(json=SCORES))
        for step in STEPS:
            open_step(page, step)
            if step == "label":
                page.wait_for_selector(".tracks-top[aria-valuenow]")
            page.wait_for_timeout(300)
            require_accessible(step)
        page.click("#edit-labels")
        require_accessible("the labels")
