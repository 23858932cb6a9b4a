"""The models that are part of the package: small, described, what their catalog says, and always there."""

from __future__ import annotations

from pathlib import Path

import pytest

from facefusion_runner.errors import ModelError
from facefusion_runner.models.catalog import BUILT_IN, FILE_NAME, Catalog, ModelEntry
from facefusion_runner.models.store import ModelStore
from training.catalog import MOST_BYTES, faults, refreshed

WEIGHTS = sorted(BUILT_IN.glob("*.onnx"))


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    return Catalog.load(tmp_path)


@pytest.fixture
def store(tmp_path: Path, catalog: Catalog) -> ModelStore:
    return ModelStore(tmp_path, catalog, offline=True)


def built_in(catalog: Catalog) -> list[ModelEntry]:
    return [entry for entry in catalog.entries() if catalog.is_built_in(entry.id)]


def test_all_weights_together_are_small() -> None:
    assert sum(path.stat().st_size for path in WEIGHTS) <= MOST_BYTES


@pytest.mark.parametrize("path", WEIGHTS, ids=lambda path: path.stem)
def test_weights_have_a_card_that_says_where_they_are_from(path: Path) -> None:
    card = path.with_suffix(".md").read_text()
    for word in ("data", "licence", "Apache-2.0", "seed", "limits", "python -m training."):
        assert word.lower() in card.lower()


def test_weights_catalog_and_cards_fit_together() -> None:
    text = (BUILT_IN / FILE_NAME).read_text()
    assert faults(text, BUILT_IN) == []
    assert refreshed(text, BUILT_IN) == text, "run python -m training.catalog"


def test_built_in_models_are_whole_and_free(catalog: Catalog, store: ModelStore) -> None:
    entries = built_in(catalog)
    assert {entry.file for entry in entries if entry.file} == {path.name for path in WEIGHTS}
    for entry in entries:
        assert entry.licence == "apache-2.0" and not entry.urls
        assert store.state(entry) == "present"
        if entry.file:
            assert store.verify(entry) == BUILT_IN / entry.file
            assert entry.bytes == store.path(entry).stat().st_size


@pytest.mark.parametrize("role", ["detector", "landmarker", "encoder", "segmenter", "generator"])
def test_auto_means_the_built_in_model(catalog: Catalog, store: ModelStore, role: str) -> None:
    entry = catalog.resolve(role, "auto", store)  # type: ignore[arg-type]
    assert catalog.is_built_in(entry.id)


def test_a_pull_of_a_built_in_model_has_nothing_to_fetch(catalog: Catalog, store: ModelStore) -> None:
    for entry in built_in(catalog):
        if entry.file:
            assert store.pull(entry) == BUILT_IN / entry.file


def test_damaged_or_lost_weights_of_the_package_ask_for_a_new_installation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = (
        '[[models]]\nid = "net"\nrole = "detector"\nfamily = "scrfd"\nfile = "net.onnx"\n'
        f'licence = "apache-2.0"\nbytes = 3\nsha256 = "{"0" * 64}"\n'
    )
    folder, root = tmp_path / "builtin", tmp_path / "root"
    folder.mkdir()
    (folder / FILE_NAME).write_text(table)
    monkeypatch.setattr("facefusion_runner.models.catalog.BUILT_IN", folder)
    catalog = Catalog.load(root)
    store, entry = ModelStore(root, catalog), catalog.get("net")
    for content in (None, b"abc"):
        if content is not None:
            (folder / "net.onnx").write_bytes(content)
        for get in (store.path, store.pull):
            with pytest.raises(ModelError, match="it is part of facefusion-runner: install that again"):
                get(entry)


def test_a_built_in_model_takes_no_other_file(catalog: Catalog, store: ModelStore, tmp_path: Path) -> None:
    mine = tmp_path / "mine.onnx"
    mine.write_bytes(b"abc")
    for entry in built_in(catalog):
        if entry.file:
            with pytest.raises(ModelError, match=r"part of the installation .*catalog\.toml"):
                store.import_file(entry, mine)


def test_a_users_own_model_of_that_id_takes_its_place(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_text(
        '[[models]]\nid = "mesh"\nrole = "generator"\nfamily = "mesh"\nfile = ""\nlicence = "mit"\n'
    )
    catalog = Catalog.load(tmp_path)
    assert not catalog.is_built_in("mesh") and catalog.get("mesh").licence == "mit"


def test_sizes_and_digests_are_written_without_touching_the_rest(tmp_path: Path) -> None:
    (tmp_path / "a.onnx").write_bytes(b"abc")
    before = '# why\n[[models]]\nid = "a"\nfile = "a.onnx"\nbytes = 7\n[models.parameters]\nside = 3\n'
    digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    after = before.replace("bytes = 7", f'bytes = 3\nsha256 = "{digest}"')
    assert refreshed(before, tmp_path) == refreshed(after, tmp_path) == after
    assert faults(after, tmp_path) == ["a.onnx has no card"]
    (tmp_path / "b.onnx").write_bytes(b"")
    assert "b.onnx has no entry in catalog.toml" in faults(after, tmp_path)
