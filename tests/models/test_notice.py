"""NOTICE and LICENSE say what an installation and the catalog bring."""

from __future__ import annotations

from pathlib import Path

import pytest

from facefusion_runner.models.catalog import Catalog

REPOSITORY = Path(__file__).resolve().parents[2]
NOTICE = (REPOSITORY / "NOTICE").read_text()


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    return Catalog.load(tmp_path_factory.mktemp("models"))


def section(licence_id: str) -> str:
    """The lines of one licence."""
    lines = NOTICE.split("Model weights in the catalog")[1].splitlines()
    starts = [i for i, line in enumerate(lines) if line.startswith("  ") and not line.startswith("   ")]
    named = [i for i in starts if line_id(lines[i]) == licence_id and len(lines[i]) < 40]
    assert named, f"NOTICE does not name the licence {licence_id}"
    following = [i for i in starts if i > named[0]]
    return "\n".join(lines[named[0] : following[0] if following else None])


def line_id(line: str) -> str:
    return line.split()[0]


def test_every_licence_has_its_terms_link_and_models(catalog: Catalog) -> None:
    for licence in catalog.licences.values():
        text = section(licence.id)
        assert licence.url in text
        assert ("*" in text.splitlines()[0]) == licence.needs_acceptance
        named = {word.strip(",;") for word in text.split()}
        assert {entry.id for entry in catalog.entries() if entry.licence == licence.id} <= named


def test_only_permissive_licences_need_no_acceptance(catalog: Catalog) -> None:
    free = {licence.id for licence in catalog.licences.values() if not licence.needs_acceptance}
    assert free == {"apache-2.0", "mit", "bsd-3-clause"}


def test_the_libraries_inside_wheels_are_named() -> None:
    for name in ("x264", "x265", "FFmpeg", "GPL-2.0-or-later", "LGPL-3.0-or-later", "CUDA", "python-crontab"):
        assert name in NOTICE


def test_our_own_work_is_under_apache_2() -> None:
    assert "Apache License, Version 2.0" in NOTICE
    assert "Apache License\n                           Version 2.0" in (REPOSITORY / "LICENSE").read_text()
