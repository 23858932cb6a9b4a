"""What people do on the page."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

from playwright.sync_api import expect

PATIENCE = 120_000
"""Milliseconds that a swap may take on a busy machine."""


def drop(page: Any, place: str, file: Path) -> None:
    """A file that is dragged from elsewhere and let go of."""
    content = base64.b64encode(file.read_bytes()).decode()
    dragged = page.evaluate_handle(
        """([name, content]) => {
          const dragged = new DataTransfer();
          const bytes = Uint8Array.from(atob(content), letter => letter.charCodeAt(0));
          dragged.items.add(new File([bytes], name, { type: 'image/jpeg' }));
          return dragged;
        }""",
        [file.name, content],
    )
    for event in ("dragenter", "dragover", "drop"):
        page.dispatch_event(place, event, {"dataTransfer": dragged})


def choose(page: Any, source: Path, target: Path) -> None:
    page.get_by_label("Choose a picture of a face").set_input_files(source)
    page.get_by_label("Choose a picture or film").set_input_files(target)


def choose_and_find(page: Any, source: Path, target: Path) -> None:
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
