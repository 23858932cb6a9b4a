"""The page of all models is what the catalog says, and no code knows a model by its id."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from pathlib import Path

import pytest

from facefusion_runner.faces.geometry import TEMPLATES
from facefusion_runner.models.catalog import Catalog
from facefusion_runner.models.families import FOLDERS, families
from facefusion_runner.models.overview import COMMAND, document

REPOSITORY = Path(__file__).resolve().parents[2]
PAGES = [REPOSITORY / "docs" / name for name in ("models.md", "add-a-model.md", "add-a-family.md")]


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    return Catalog.load(tmp_path)


def test_the_page_is_current(catalog: Catalog) -> None:
    assert (REPOSITORY / "docs" / "models.md").read_text() == document(catalog), f"run {COMMAND}"


def test_the_page_names_every_model_family_licence_and_their_place(catalog: Catalog) -> None:
    page = document(catalog)
    rows = [line for line in page.splitlines() if line.startswith("|")]
    for entry in catalog.entries():
        if entry.role != "pack":
            (row,) = [line for line in rows if f"| `{entry.id}` |" in line]
            assert f"| {entry.role} | `{entry.family}` |" in row and f"`{entry.licence}`" in row
            template = entry.parameters.get("template")
            assert template is None or f"`{template}`" in row
    for role in FOLDERS:
        for family in families(role):  # type: ignore[arg-type]
            assert any(line.startswith(f"| {role} | `{family}` |") for line in rows)
            assert re.search(rf"^- {role} .*`{family}`.*: .+", page, re.MULTILINE)
    assert all(f"| `{licence}` |" in page for licence in catalog.licences)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_between_the_pages_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), target


def test_the_catalog_examples_on_the_page_can_be_read(tmp_path: Path) -> None:
    tables = re.findall(r"```toml\n(.*?)```", PAGES[1].read_text(), re.DOTALL)
    whole = [table for table in tables if "[[models]]" in table]
    assert len(whole) == 2
    (tmp_path / "catalog.toml").write_text("\n".join(whole))
    own = Catalog.load(tmp_path)
    assert own.get("jane").family == "faceswap_gan_v2" and own.get("crossface_ghost").role == "converter"


def test_every_template_is_a_whole_face_in_the_crop() -> None:
    for points in TEMPLATES.values():
        assert points.shape == (5, 2) and (points > 0).all() and (points < 1).all()
        left, right, nose, left_mouth, right_mouth = points
        assert left[0] < nose[0] < right[0] and left_mouth[0] < nose[0] < right_mouth[0]
        assert max(left[1], right[1]) < nose[1] < min(left_mouth[1], right_mouth[1])


def code_of(path: Path) -> str:
    """A file's text without comments and without strings that are documentation."""
    text = path.read_text()
    documentation = {
        (node.value.lineno, node.value.col_offset)
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    kept = [
        token.string
        for token in tokenize.generate_tokens(io.StringIO(text).readline)
        if token.type != tokenize.COMMENT and token.start not in documentation
    ]
    return " ".join(kept)


def test_no_module_names_a_models_id(catalog: Catalog) -> None:
    """But where it is also the name of a family, which code may name."""
    named = {family for role in FOLDERS for family in families(role)}  # type: ignore[arg-type]
    ids = {entry.id for entry in catalog.entries()} - named
    assert len(ids) > 20
    pattern = re.compile("|".join(rf"(?<![\w.]){re.escape(each)}(?![\w.])" for each in sorted(ids)))
    files = [*REPOSITORY.glob("facefusion_runner/**/*.py"), *REPOSITORY.glob("sweeper/**/*.py")]
    assert len(files) > 100
    found = {path.name: pattern.findall(code_of(path)) for path in files}
    assert {name: ids for name, ids in found.items() if ids} == {}


def test_the_search_for_ids_would_find_one(tmp_path: Path) -> None:
    path = tmp_path / "module.py"
    path.write_text('"""inswapper_128 is fine here"""\n# and here: inswapper_128\nx = "inswapper_128"\n')
    assert code_of(path).count("inswapper_128") == 1


def test_no_module_names_a_family_but_its_own_file() -> None:
    """So a family is one file and a catalog entry. The default generator is named by the settings."""
    found = []
    for role in ("detector", "landmarker", "encoder", "segmenter", "generator", "enhancer"):
        for family in families(role):  # type: ignore[arg-type]
            pattern = re.compile(rf"""["']{re.escape(family)}["']""")
            for path in REPOSITORY.glob("facefusion_runner/**/*.py"):
                own = re.search(rf"FAMILIES\b.*[\"']{re.escape(family)}[\"']", path.read_text())
                if own is None and pattern.search(code_of(path)):
                    found.append((family, path.name))
    assert found == [("mesh", "settings.py")]
