"""The page, used as people use it: in a real browser, on the real service.

Every test also fails where the page breaks its own content security policy, logs an error, or asks another
origin for anything.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from insightface.data import get_image
from numpy.typing import NDArray
from skimage.data import astronaut

from tests.support.clips import frame_times, make_clip, times

playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
expect = playwright.expect

REPOSITORY = Path(__file__).resolve().parents[2]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
PATIENCE = 120_000
"""Milliseconds that a swap may take on a busy machine."""


@dataclass
class Service:
    url: str
    cache: Path

    def task_caches(self) -> list[str]:
        """Names of the caches that are there now."""
        if not self.cache.exists():
            return []
        return [entry.name for entry in self.cache.iterdir() if not entry.name.startswith(".")]


def environment(folder: Path, **settings: str) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(folder / "home"),
        "PYTHONPATH": str(REPOSITORY),
        "OMP_NUM_THREADS": "1",
        "PORT": "0",
        "DATA_ROOT": str(folder / "data"),
        "CACHE_ROOT": str(folder / "cache"),
        "MODEL_ROOT": str(folder / "models"),
        "CACHE_GRACE_SECONDS": "0",
        "CACHE_MAX_USAGE_PERCENT": "100",
        "LOG_FORMAT": "json",
        **settings,
    }


@contextmanager
def running_service(folder: Path, **settings: str) -> Iterator[Service]:
    """`serve` as a process of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "service.log"
    with log.open("wb") as output:
        child = subprocess.Popen(
            [sys.executable, "-m", "facefusion_runner", "serve"],
            env=environment(folder, **settings),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        yield Service(listening(child, log), folder / "cache")
    finally:
        child.send_signal(signal.SIGTERM)
        try:
            child.wait(30)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def listening(child: subprocess.Popen[bytes], log: Path) -> str:
    """The address that the service says it listens on."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and child.poll() is None:
        for line in log.read_text().splitlines():
            if line.startswith("{") and (found := json.loads(line)).get("event") == "listening":
                return str(found["url"])
        time.sleep(0.1)
    raise AssertionError(f"the service did not start:\n{log.read_text()}")


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with running_service(tmp_path_factory.mktemp("service")) as running:
        yield running


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("needs Chromium")
    with playwright.sync_playwright() as driver:
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield browser
        browser.close()


@dataclass
class Watched:
    """What a page did that it must not do."""

    errors: list[str] = field(default_factory=list)
    asked: set[str] = field(default_factory=set)


Open = Callable[..., Any]


@pytest.fixture
def visit(chromium: Any, service: Service) -> Iterator[Open]:
    """Opens the page in a browser of its own; at the end nothing forbidden may have happened."""
    watched = Watched()
    contexts = []
    allowed = {service.url}

    def open_page(url: str = service.url, expected: str = "none is", **options: Any) -> Any:
        context = chromium.new_context(**{"viewport": {"width": 1280, "height": 800}, **options})
        contexts.append(context)
        allowed.add(url)
        page = context.new_page()
        page.set_default_timeout(20_000)
        page.add_init_script(
            "addEventListener('securitypolicyviolation', event =>"
            " console.error('policy violated: ' + event.violatedDirective + ' ' + event.blockedURI))"
        )

        def heard(message: Any) -> None:
            if message.type in ("error", "warning") and expected not in message.text:
                watched.errors.append(message.text)

        page.on("console", heard)
        page.on("pageerror", lambda error: watched.errors.append(str(error)))
        page.on("request", lambda request: watched.asked.add(request.url))
        page.goto(url)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert watched.errors == []
    foreign = [
        url
        for url in watched.asked
        if not url.startswith(("data:", *(f"blob:{own}/" for own in allowed), *(f"{own}/" for own in allowed)))
    ]
    assert foreign == []


# Pictures


@dataclass(frozen=True)
class Media:
    head: Path
    """A woman's face, larger than anything else."""
    group: Path
    """Six people."""
    film: Path
    """The group, two seconds, the camera moving."""
    long_film: Path
    landscape: Path
    """Nobody."""


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> Media:
    folder = tmp_path_factory.mktemp("media")
    group = get_image("t1")

    def pan(index: int, width: int, height: int) -> NDArray[np.uint8]:
        left = 2 * (index % 50)
        return np.ascontiguousarray(cv2.resize(group[40:680, left : left + 1130], (width, height)))

    def write(name: str, bgr: NDArray[np.uint8]) -> Path:
        cv2.imwrite(str(folder / name), bgr)
        return folder / name

    fine = np.mgrid[0:240, 0:320][0].astype(np.uint8)
    return Media(
        head=write("head.jpg", cv2.cvtColor(astronaut()[0:280, 84:364], cv2.COLOR_RGB2BGR)),
        group=write("group.jpg", group),
        film=make_clip(folder / "film.mp4", size=(640, 362), at=times(24), picture=pan),
        long_film=make_clip(folder / "long.mp4", size=(640, 362), at=times(400), picture=pan),
        landscape=write("landscape.jpg", np.dstack([fine, fine, fine])),
    )


# What people do


def choose(page: Any, source: Path, target: Path) -> None:
    page.get_by_label("Choose a picture of a face").set_input_files(source)
    page.get_by_label("Choose a picture or film").set_input_files(target)


def chosen_and_found(page: Any, source: Path, target: Path) -> None:
    choose(page, source, target)
    page.locator(".box").first.wait_for()


def swap(page: Any) -> None:
    page.get_by_role("button", name="Swap faces").click()


def wait_for_work(page: Any) -> None:
    """Until some frames are swapped."""
    expect(page.locator("#stage-title")).to_have_text("Swapping faces", timeout=PATIENCE)
    page.wait_for_function("() => document.querySelector('#progress').value > 0")


def wait_for_result(page: Any) -> None:
    expect(page.locator("#stage-title")).to_have_text("Done", timeout=PATIENCE)
    page.wait_for_timeout(1300)


def download(page: Any, folder: Path) -> Path:
    with page.expect_download() as begun:
        page.locator("#download").click()
    path = folder / begun.value.suggested_filename
    begun.value.save_as(path)
    return path


def split_of(page: Any) -> float:
    """Share of the width, in percent, that shows the original."""
    shown: str = page.locator("#after").evaluate("node => getComputedStyle(node).clipPath")
    return float(shown.rpartition(" ")[2].rstrip("%)"))


def test_from_two_pictures_to_the_download(
    visit: Open, service: Service, media: Media, tmp_path: Path
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

    deadline = time.monotonic() + 10
    while service.task_caches() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert service.task_caches() == []


def test_the_slider_uncovers_the_original_up_to_its_handle(visit: Open, media: Media) -> None:
    page = visit()
    chosen_and_found(page, media.head, media.group)
    swap(page)
    wait_for_result(page)
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
    visit: Open, media: Media, tmp_path: Path
) -> None:
    page = visit()
    chosen_and_found(page, media.head, media.film)

    # Another moment is looked at without sending the film.
    with page.expect_response("**/v1/faces") as looked:
        page.get_by_label("Moment in the film").fill("0.5")
    assert looked.value.request.sizes()["requestBodySize"] < media.film.stat().st_size / 2
    page.get_by_role("button", name="Start here").click()
    page.get_by_text("Found at this moment").wait_for()
    page.locator(".person").nth(1).click()
    swap(page)

    progress = page.locator("#progress")
    wait_for_work(page)
    expect(page.locator("#after img")).to_have_attribute("alt", "Preview of the newest frame", timeout=PATIENCE)
    assert page.locator("#after img").evaluate("node => node.naturalWidth") > 0
    expect(progress).to_be_visible()
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


def test_everything_can_be_done_with_the_keyboard(visit: Open, media: Media, tmp_path: Path) -> None:
    page = visit(reduced_motion="reduce")
    page.wait_for_load_state("networkidle")

    def tab_to(identifier: str, backwards: bool = False) -> None:
        """Every element on the way shows that it has the focus."""
        for _ in range(60):
            page.keyboard.press("Shift+Tab" if backwards else "Tab")
            at, seen = page.evaluate(FOCUS)
            assert seen, f"the focus on {at} is not to be seen"
            if at == identifier:
                return
        raise AssertionError(f"{identifier} was not reached")

    for identifier, path in (("source", media.head), ("target", media.group)):
        tab_to(identifier)
        with page.expect_file_chooser() as opened:
            page.keyboard.press("Space")
        opened.value.set_files(path)
    page.locator(".box").first.wait_for()
    tab_to("person-all")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("radio", name="Face 2 from the left")).to_be_checked()
    tab_to("go")
    page.keyboard.press("Enter")
    wait_for_result(page)

    tab_to("split")
    rest = split_of(page)
    for _ in range(5):
        page.keyboard.press("ArrowLeft")
    assert split_of(page) < rest
    tab_to("download")
    with page.expect_download() as begun:
        page.keyboard.press("Enter")
    assert begun.value.path().stat().st_size > 10_000
    tab_to("close")
    page.keyboard.press("Enter")
    assert page.evaluate(FOCUS)[0] == "go"


FOCUS = """() => {
  const focused = document.activeElement;
  const places = [focused, focused.nextElementSibling, focused.closest('.person'),
                  focused.nextElementSibling?.querySelector('svg')];
  const ring = places.some(place => {
    const style = place && getComputedStyle(place);
    return style && style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2;
  });
  return [focused.id || focused.className || focused.tagName, ring || focused === document.body];
}"""


def test_what_cannot_be_used_is_said_in_one_sentence_where_it_was_chosen(
    visit: Open, media: Media, tmp_path: Path
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
    expect(page.locator("#target-problem")).not_to_be_empty()
    sentence = page.locator("#target-problem").inner_text()
    assert sentence[0].isupper() and sentence.endswith(".") and str(tmp_path) not in sentence
    assert page.locator("#target").evaluate("node => node === document.activeElement")

    # What the service finds out only at work is said with the task.
    page.get_by_label("notes.mp4").set_input_files(media.group)
    page.locator(".box").first.wait_for()
    swap(page)
    problem = page.locator("#source-problem, #stage-problem").filter(has_text="face")
    expect(problem.first).to_be_visible(timeout=PATIENCE)


def test_a_file_that_is_too_large_is_refused_before_it_is_sent(
    visit: Open, media: Media, tmp_path: Path
) -> None:
    with running_service(tmp_path / "small", MAX_UPLOAD_BYTES="100000") as small:
        page = visit(small.url)
        posts: list[str] = []
        page.on("request", lambda request: posts.append(request.url) if request.method == "POST" else None)
        page.get_by_label("Choose a picture or film").set_input_files(media.group)
        expect(page.locator("#target-problem")).to_contain_text("the service takes 100")
        assert posts == []


def test_a_running_task_is_cancelled_and_leaves_no_cache(
    visit: Open, service: Service, media: Media
) -> None:
    page = visit()
    chosen_and_found(page, media.head, media.long_film)
    swap(page)
    wait_for_work(page)
    assert service.task_caches()
    page.locator("#cancel").click()
    expect(page.locator("#stage-title")).to_have_text("Cancelled", timeout=30_000)
    row = page.locator("#task-list li").first
    expect(row).to_contain_text("Cancelled")
    deadline = time.monotonic() + 10
    while service.task_caches() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert service.task_caches() == []


def test_tasks_are_there_after_a_reload_until_they_are_deleted(visit: Open, media: Media) -> None:
    page = visit()
    chosen_and_found(page, media.head, media.group)
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


def test_the_key_is_asked_for_and_kept_for_the_tab_only(visit: Open, media: Media, tmp_path: Path) -> None:
    made = subprocess.run(
        [sys.executable, "-m", "facefusion_runner", "keys", "new", "alice"],
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        check=True,
    )
    entry, key = made.stdout.strip(), made.stderr.strip().split()[-1]
    with running_service(tmp_path / "keyed", API_KEYS=entry) as keyed:
        page = visit(keyed.url, expected="status of 401", reduced_motion="reduce")
        dialog = page.get_by_role("dialog", name="API key")
        expect(dialog).to_be_visible()
        dialog.get_by_label("Key").fill("wrong")
        page.keyboard.press("Enter")
        expect(dialog).to_contain_text("The service does not know this key.")
        dialog.get_by_label("Key").fill(key)
        page.keyboard.press("Enter")
        expect(dialog).to_be_hidden()

        chosen_and_found(page, media.head, media.group)
        swap(page)
        wait_for_result(page)
        expect(page.locator("#after img")).to_be_visible()
        assert key not in page.content() and key not in page.url
        assert page.evaluate("() => [localStorage.length, document.cookie]") == [0, ""]
        page.reload()
        expect(page.locator("#stage-title")).to_have_text("Done")


NAMELESS = {"generic", "none", "RootWebArea", "StaticText", "InlineTextBox"}


def test_every_control_has_a_name_and_every_picture_a_text(visit: Open, media: Media) -> None:
    page = visit()
    chosen_and_found(page, media.head, media.film)
    page.locator("#options summary").click()
    session = page.context.new_cdp_session(page)

    def nameless() -> list[str]:
        nodes = session.send("Accessibility.getFullAXTree")["nodes"]
        found = []
        for node in nodes:
            properties = {entry["name"]: entry["value"].get("value") for entry in node.get("properties", [])}
            role, name = node.get("role", {}).get("value"), node.get("name", {}).get("value", "")
            wanted = properties.get("focusable") or role in ("image", "progressbar", "region", "form", "dialog")
            if not node["ignored"] and wanted and role not in NAMELESS and not name.strip():
                found.append(str(role))
        return found

    assert nameless() == []
    swap(page)
    wait_for_result(page)
    assert nameless() == []
    problems = page.evaluate(
        """() => [
          ...[...document.querySelectorAll('img:not([alt])')].map(node => node.outerHTML),
          ...[...document.querySelectorAll('[id]')].map(node => node.id)
             .filter((id, at, all) => all.indexOf(id) !== at),
          ...[...document.querySelectorAll('[aria-labelledby], [aria-describedby], label[for]')]
             .flatMap(node => [node.getAttribute('aria-labelledby'), node.getAttribute('aria-describedby'),
                               node.getAttribute('for')])
             .filter(Boolean).flatMap(ids => ids.split(' ')).filter(id => !document.getElementById(id)),
        ]"""
    )
    assert problems == []
    levels = page.evaluate("() => [...document.querySelectorAll('h1, h2')].map(node => node.tagName)")
    assert levels.count("H1") == 1 and levels[0] == "H1"


CONTRASTS = """() => {
  const parse = text => (text.match(/[\\d.]+/g) ?? []).map(Number);
  const over = ([r, g, b, a = 1], below) => [r, g, b].map((value, at) => value * a + below[at] * (1 - a));
  const light = rgb => rgb.map(value => value / 255)
    .map(value => value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4)
    .reduce((sum, value, at) => sum + value * [0.2126, 0.7152, 0.0722][at], 0);
  const ground = node => {
    const layers = [];
    for (let at = node; at; at = at.parentElement) {
      layers.push(parse(getComputedStyle(at).backgroundColor));
      // What lies on a picture may lie on white.
      if (at.id === 'frame') { layers.push([255, 255, 255]); break; }
      if ((layers.at(-1)[3] ?? 1) === 1) break;
    }
    return layers.reverse().reduce((below, layer) => over(layer, below), [255, 255, 255]);
  };
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !node.checkVisibility() || node.closest('.visually-hidden, noscript')) continue;
    const below = ground(node);
    const [one, other] = [light(over(parse(getComputedStyle(node).color), below)), light(below)];
    found.push([(Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05), walker.currentNode.data.trim()]);
  }
  return found;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_and_a_narrow_phone_needs_no_sideways_scrolling(
    visit: Open, media: Media, scheme: str
) -> None:
    page = visit(
        viewport={"width": 360, "height": 740}, color_scheme=scheme, has_touch=True, expected="status of 4"
    )
    page.wait_for_load_state("networkidle")

    def check() -> None:
        assert page.evaluate("() => document.documentElement.scrollWidth") <= 360
        weak = [entry for entry in page.evaluate(CONTRASTS) if entry[0] < 4.5]
        assert weak == []

    swap(page)
    check()
    page.locator("#options summary").click()
    check()
    page.locator("#options summary").click()
    chosen_and_found(page, media.head, media.film)
    page.wait_for_timeout(300)
    check()
    page.get_by_role("button", name="Swap faces").tap()
    wait_for_work(page)
    check()
    wait_for_result(page)
    check()
    small = page.evaluate(
        """() => [...document.querySelectorAll('button, .button, summary, .person, .drop')]
          .filter(node => node.checkVisibility()).map(node => [node.getBoundingClientRect(), node.outerHTML])
          .filter(([{width, height}]) => Math.min(width, height) < 24).map(([, html]) => html)"""
    )
    assert small == []
    background = page.evaluate("() => getComputedStyle(document.body).backgroundColor")
    assert (sum(int(part) for part in background[4:-1].split(",")) < 150) == (scheme == "dark")
