"""The page in a real browser, on the real service, and what is put into it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from insightface.data import get_image
from numpy.typing import NDArray
from skimage.data import astronaut

from tests.support.clips import make_clip, times
from tests.support.service_process import Service, running_service

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")

Visit = Callable[..., Any]


@pytest.fixture(scope="package")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with running_service(tmp_path_factory.mktemp("service")) as running:
        yield running


@pytest.fixture(scope="package")
def chromium() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("needs Chromium")
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    with playwright.sync_playwright() as driver:
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield browser
        browser.close()


@dataclass
class Watched:
    """What pages did that they must not do."""

    errors: list[str] = field(default_factory=list)
    asked: set[str] = field(default_factory=set)


@pytest.fixture
def visit(chromium: Any, service: Service) -> Iterator[Visit]:
    """Opens the page in a browser window of its own.

    At the end no page may have broken its own content security policy, logged an error that was not expected,
    or asked another origin for anything.
    """
    watched = Watched()
    windows = []
    origins = {service.url}

    def open_page(url: str = service.url, expected: str = "none is", **options: Any) -> Any:
        usual = {"viewport": {"width": 1280, "height": 800}, "reduced_motion": "reduce"}
        window = chromium.new_context(**{**usual, **options})
        windows.append(window)
        origins.add(url)
        page = window.new_page()
        page.set_default_timeout(20_000)
        page.add_init_script(
            "addEventListener('securitypolicyviolation', event =>"
            " console.error('policy violated: ' + event.violatedDirective + ' ' + event.blockedURI))"
        )

        def hear(message: Any) -> None:
            if message.type in ("error", "warning") and expected not in message.text:
                watched.errors.append(message.text)

        page.on("console", hear)
        page.on("pageerror", lambda error: watched.errors.append(str(error)))
        page.on("request", lambda request: watched.asked.add(request.url))
        page.goto(url)
        return page

    yield open_page
    for window in windows:
        window.close()
    assert watched.errors == []
    allowed = ("data:", *(f"{scheme}{origin}/" for origin in origins for scheme in ("", "blob:")))
    assert [url for url in watched.asked if not url.startswith(allowed)] == []


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


@pytest.fixture(scope="package")
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
