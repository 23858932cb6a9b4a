"""The page, used as people use it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

pytest.importorskip("playwright.sync_api", reason="needs playwright")

from playwright.sync_api import expect

from tests.page.conftest import Media, Visit
from tests.page.steps import (
    PATIENCE,
    choose,
    choose_and_find,
    download,
    drop,
    split_of,
    swap,
    wait_for_result,
    wait_for_work,
)
from tests.support.clips import frame_times
from tests.support.service_process import Service, environment, running_service


def test_from_two_pictures_to_the_download(
    visit: Visit, service: Service, media: Media, tmp_path: Path
) -> None:
    page = visit()
    choose(page, media.head, media.group)
    people = page.get_by_role("radio")
    expect(people.nth(6)).to_be_attached()
    expect(page.get_by_role("radio", name="Everyone")).to_be_checked()

    # The third person from the left is picked in the picture, not in the list.
    box = page.locator(".box").nth(2)
    box.click()
    expect(people.nth(3)).to_be_checked()
    place = box.evaluate("node => [node.style.left, node.style.top, node.style.width, node.style.height]")
    left, top, width, height = (float(share.rstrip("%")) / 100 for share in place)
    swap(page)
    wait_for_result(page)

    before, after = cv2.imread(str(media.group)), cv2.imread(str(download(page, tmp_path)))
    assert after.shape == before.shape
    changed = cv2.blur(cv2.absdiff(before, after).max(axis=2), (9, 9)) > 12
    rows, columns = np.nonzero(changed)
    middle = columns.mean() / before.shape[1], rows.mean() / before.shape[0]
    assert left < middle[0] < left + width and top < middle[1] < top + height
    assert columns.min() > (left - width) * before.shape[1]
    assert columns.max() < (left + 2 * width) * before.shape[1]

    assert service.caches_after_a_while() == []


def test_dropped_pictures_are_compared_on_both_sides_of_a_handle(visit: Visit, media: Media) -> None:
    page = visit(reduced_motion="no-preference")
    drop(page, "#stage", media.group)
    drop(page, "#source-step", media.head)
    page.locator(".box").first.wait_for()
    swap(page)
    wait_for_result(page)
    page.wait_for_timeout(1500)
    frame = page.locator("#frame").bounding_box()
    y = frame["y"] + frame["height"] / 4
    for share in (0.2, 0.5, 0.93):
        x = frame["x"] + share * frame["width"]
        page.mouse.click(x, y)
        assert split_of(page) == pytest.approx(100 * share, abs=0.5)
        handle = page.locator(".handle").bounding_box()
        assert handle["x"] + handle["width"] / 2 == pytest.approx(x, abs=3)
    both = [page.locator(f"#{side} img") for side in ("before", "after")]
    assert both[0].bounding_box() == both[1].bounding_box()


def test_a_person_of_a_film_is_followed_and_both_films_run_together(
    visit: Visit, media: Media, tmp_path: Path
) -> None:
    page = visit()
    choose_and_find(page, media.head, media.film)

    # Another moment is looked at without sending the film.
    with page.expect_response("**/v1/faces") as looked:
        page.get_by_label("Moment in the film").fill("0.5")
    assert looked.value.request.sizes()["requestBodySize"] < media.film.stat().st_size / 2
    page.get_by_role("button", name="Start here").click()
    page.get_by_text("Found at this moment").wait_for()
    page.locator(".person").nth(2).click()
    page.locator("#options summary").click()
    page.get_by_label("Same person").select_option("strictly")
    expect(page.locator("#options-changed")).to_have_text("· 2 changed")
    swap(page)

    wait_for_work(page)
    expect(page.locator("#after img")).to_have_attribute(
        "alt", "Preview of the newest frame", timeout=PATIENCE
    )
    assert page.locator("#after img").evaluate("node => node.naturalWidth") > 0
    wait_for_result(page)
    expect(page.locator("#facts")).to_contain_text("18 faces in 18 frames")

    page.get_by_label("Moment in the film").fill("0.75")
    page.wait_for_timeout(500)
    moments = "() => ['#before', '#after'].map(id => document.querySelector(id + ' video').currentTime)"
    before, after = page.evaluate(moments)
    assert (before, after) == pytest.approx((1.25, 0.75), abs=0.01)
    page.get_by_role("button", name="Play").click()
    page.wait_for_timeout(400)
    before, after = page.evaluate(moments)
    assert after != pytest.approx(0.75, abs=0.05)
    assert before - after == pytest.approx(0.5, abs=0.15)

    path = download(page, tmp_path)
    assert len(frame_times(path)) == 18
    with av.open(str(path)) as container:
        assert container.streams.video[0].codec_context.width == 640


def test_what_cannot_be_used_is_said_in_one_sentence_where_it_was_chosen(
    visit: Visit, media: Media, tmp_path: Path
) -> None:
    page = visit(expected="status of 4")
    page.wait_for_load_state("networkidle")
    swap(page)
    expect(page.locator("#source-problem")).to_have_text("Choose a picture of the face first.")
    expect(page.locator("#target-problem")).to_have_text("Choose the picture or film first.")

    page.get_by_label("Choose a picture of a face").set_input_files(media.landscape)
    expect(page.locator("#source-hint")).to_have_text("landscape.jpg: No face was found.")
    expect(page.locator("#source-problem")).to_be_empty()

    nonsense = tmp_path / "notes.mp4"
    nonsense.write_text("this is no film")
    page.get_by_label("Choose a picture or film").set_input_files(nonsense)
    expect(page.locator("#people-problem")).not_to_be_empty()
    swap(page)
    expect(page.locator("#target-problem")).to_have_text(
        re.compile(r"^notes\.mp4 is no video or picture .*\.$")
    )
    assert page.locator("#target").evaluate("node => node === document.activeElement")

    # What is found out only at work is said with the task.
    page.get_by_label("notes.mp4").set_input_files(media.group)
    page.locator(".box").first.wait_for()
    swap(page)
    problem = page.locator("#stage-problem")
    expect(problem).to_have_text("No face was found in landscape.jpg.", timeout=PATIENCE)


def test_consent_is_stated_where_the_service_asks_for_it(visit: Visit, media: Media, tmp_path: Path) -> None:
    with running_service(tmp_path / "strict", REQUIRE_CONSENT="true") as strict:
        page = visit(strict.url)
        choose_and_find(page, media.head, media.group)
        swap(page)
        expect(page.locator("#consent-problem")).to_have_text("This is needed here.")
        page.get_by_label("The persons shown agree").check()
        swap(page)
        wait_for_result(page)


def test_a_file_that_is_too_large_is_refused_before_it_is_sent(
    visit: Visit, media: Media, tmp_path: Path
) -> None:
    with running_service(tmp_path / "small", MAX_UPLOAD_BYTES="100000") as small:
        page = visit(small.url)
        posts: list[str] = []
        page.on("request", lambda request: posts.append(request.url) if request.method == "POST" else None)
        page.get_by_label("Choose a picture or film").set_input_files(media.group)
        expect(page.locator("#target-problem")).to_contain_text("the service takes 100")
        assert posts == []


def test_a_running_task_is_cancelled_and_leaves_no_cache(
    visit: Visit, service: Service, media: Media
) -> None:
    page = visit()
    choose_and_find(page, media.head, media.long_film)
    swap(page)
    wait_for_work(page)
    assert service.task_caches()
    page.locator("#cancel").click()
    expect(page.locator("#stage-title")).to_have_text("Cancelled", timeout=30_000)
    row = page.locator("#task-list li").first
    expect(row).to_contain_text("Cancelled")
    assert service.caches_after_a_while() == []


def test_tasks_are_there_after_a_reload_until_they_are_deleted(visit: Visit, media: Media) -> None:
    page = visit()
    choose_and_find(page, media.head, media.group)
    swap(page)
    wait_for_result(page)
    rows = page.locator("#task-list li")
    count = rows.count()
    page.reload()

    # The address names the task, so that its result is in view again; the original is compared when given.
    expect(page.locator("#stage-title")).to_have_text("Done")
    expect(page.locator("#after img")).to_be_visible()
    page.get_by_label("Compare with the original").set_input_files(media.group)
    expect(page.locator("#split")).to_be_visible()

    expect(rows).to_have_count(count)
    rows.first.get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Keep").click()
    expect(rows).to_have_count(count)
    rows.first.get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(rows).to_have_count(count - 1)
    expect(page.locator("#stage")).to_have_attribute("data-view", "empty")


def test_the_key_is_asked_for_and_kept_for_the_tab_only(visit: Visit, media: Media, tmp_path: Path) -> None:
    made = subprocess.run(
        [sys.executable, "-m", "facefusion_runner", "keys", "new", "alice"],
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        check=True,
    )
    entry, key = made.stdout.strip(), made.stderr.strip().split()[-1]
    with running_service(tmp_path / "keyed", API_KEYS=entry, HOST="127.0.0.1") as keyed:
        page = visit(keyed.url, expected="status of 401")
        dialog = page.get_by_role("dialog", name="API key")
        expect(dialog).to_be_visible()
        dialog.get_by_label("Key").fill("wrong")
        page.keyboard.press("Enter")
        expect(dialog).to_contain_text("The service does not know this key.")
        dialog.get_by_label("Key").fill(key)
        page.keyboard.press("Enter")
        expect(dialog).to_be_hidden()

        choose_and_find(page, media.head, media.group)
        swap(page)
        wait_for_result(page)
        expect(page.locator("#after img")).to_be_visible()
        assert key not in page.content() and key not in page.url
        assert page.evaluate("() => [localStorage.length, document.cookie]") == [0, ""]
        page.reload()
        expect(page.locator("#stage-title")).to_have_text("Done")
