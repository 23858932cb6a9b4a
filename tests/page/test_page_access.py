"""The page for people who do not see or point well, and on small screens."""

from __future__ import annotations

import pytest

pytest.importorskip("playwright.sync_api", reason="needs playwright")

from playwright.sync_api import expect

from tests.page.conftest import Media, Visit
from tests.page.steps import choose_and_find, split_of, swap, wait_for_result, wait_for_work

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


def test_everything_can_be_done_with_the_keyboard(visit: Visit, media: Media) -> None:
    page = visit()
    page.wait_for_load_state("networkidle")

    def tab_to(identifier: str) -> None:
        """Every element on the way shows that it has the focus."""
        for _ in range(60):
            page.keyboard.press("Tab")
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


NAMED = {"image", "progressbar", "region", "form", "dialog"}
"""Roles that need a name even where they take no focus."""
NAMELESS = {"generic", "none", "RootWebArea", "StaticText", "InlineTextBox"}


def test_every_control_has_a_name_and_every_picture_a_text(visit: Visit, media: Media) -> None:
    page = visit()
    choose_and_find(page, media.head, media.film)
    page.locator("#options summary").click()
    session = page.context.new_cdp_session(page)

    def nameless() -> list[str]:
        nodes = session.send("Accessibility.getFullAXTree")["nodes"]
        found = []
        for node in nodes:
            properties = {entry["name"]: entry["value"].get("value") for entry in node.get("properties", [])}
            role, name = node.get("role", {}).get("value"), node.get("name", {}).get("value", "")
            wanted = properties.get("focusable") or role in NAMED
            if not node["ignored"] and wanted and role not in NAMELESS and not name.strip():
                found.append(str(role))
        return found

    assert nameless() == []
    page.get_by_label("film.mp4").set_input_files(media.group)
    page.locator(".box").nth(6).wait_for()
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
    const text = walker.currentNode.data.trim();
    if (!text || !node.checkVisibility() || node.closest('.visually-hidden, noscript')) continue;
    const below = ground(node);
    const [one, other] = [light(over(parse(getComputedStyle(node).color), below)), light(below)];
    found.push([(Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05), text]);
  }
  return found;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_and_a_narrow_phone_needs_no_sideways_scrolling(
    visit: Visit, media: Media, scheme: str
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
    choose_and_find(page, media.head, media.long_film)
    page.get_by_text("Found at this moment").wait_for()
    check()
    page.get_by_role("button", name="Swap faces").tap()
    wait_for_work(page)
    check()
    page.locator("#cancel").tap()
    expect(page.locator("#stage-title")).to_have_text("Cancelled")
    check()
    page.get_by_label("long.mp4").set_input_files(media.group)
    page.get_by_text("Pick one").wait_for()
    page.get_by_role("button", name="Swap faces").tap()
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
