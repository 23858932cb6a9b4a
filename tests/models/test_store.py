"""Weights in MODEL_ROOT: checked against the catalog, and every fault names what mends it."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from facefusion_runner.errors import ConfigError, InputError, LicenceError, ModelError, StorageError
from facefusion_runner.models import digests
from facefusion_runner.models.catalog import Catalog, Source
from facefusion_runner.models.store import ModelStore
from tests.models.conftest import LICENCES, WEIGHTS, MakeStore, model, names_in

URLS = ["https://example.org/net"]
WRONG = bytes(len(WEIGHTS))


def put(store: ModelStore, name: str = "net.onnx", content: bytes = WEIGHTS) -> Path:
    store.root.mkdir(parents=True, exist_ok=True)
    (store.root / name).write_bytes(content)
    return store.root / name


def test_a_missing_model_names_the_command_that_fetches_it(make_store: MakeStore) -> None:
    store, catalog = make_store(model(urls=URLS), model(id="mine", file="mine.onnx"))
    assert store.state(catalog.get("net")) == "missing"
    with pytest.raises(ModelError, match="fetch it with: facefusion-runner models pull net"):
        store.path(catalog.get("net"))
    with pytest.raises(ModelError, match="facefusion-runner models import mine FILE"):
        store.path(catalog.get("mine"))
    with pytest.raises(ModelError, match="facefusion-runner models import mine FILE"):
        store.pull(catalog.get("mine"))


@pytest.mark.parametrize(
    ("content", "fault"),
    [(WEIGHTS[:-1], "has 299999 bytes instead of 300000"), (WRONG, "has the SHA-256"), (b"", "has 0 bytes")],
)
def test_a_damaged_model_names_the_fault_and_the_command(
    make_store: MakeStore, content: bytes, fault: str
) -> None:
    store, catalog = make_store(model(urls=URLS))
    put(store, content=content)
    for check in (store.path, store.verify):
        with pytest.raises(ModelError) as caught:
            check(catalog.get("net"))
        message = str(caught.value)
        assert fault in message and "models pull net" in message and "\n" not in message
    assert store.state(catalog.get("net")) == "damaged"


def test_a_folder_in_a_models_place_is_one_line(make_store: MakeStore) -> None:
    store, catalog = make_store(model(bytes=None))
    (store.root / "net.onnx").mkdir(parents=True)
    with pytest.raises(ModelError, match="cannot be read"):
        store.path(catalog.get("net"))
    assert store.state(catalog.get("net")) == "missing"


def test_a_model_under_a_licence_not_accepted_is_not_used(make_store: MakeStore) -> None:
    store, catalog = make_store(model(licence="strict"))
    put(store)
    assert store.state(catalog.get("net")) == "not accepted"
    with pytest.raises(LicenceError, match="no commercial use"):
        store.path(catalog.get("net"))
    store, catalog = make_store(model(licence="strict"), accepted=("strict",))
    assert store.path(catalog.get("net")).read_bytes() == WEIGHTS


def test_the_setting_that_accepts_keeps_what_was_accepted(make_store: MakeStore) -> None:
    store, catalog = make_store(model(licence="strict"), accepted=("free",))
    with pytest.raises(LicenceError, match="MODEL_LICENSES_ACCEPTED=free,strict"):
        store.path(catalog.get("net"))


def test_an_unknown_licence_id_is_an_error(make_store: MakeStore) -> None:
    with pytest.raises(ConfigError, match="'strickt' is unknown; allowed are free, strict"):
        make_store(model(), accepted=("strickt",))


def test_a_file_that_has_not_changed_is_not_read_again(
    make_store: MakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, catalog = make_store(model())
    put(store)
    store.path(catalog.get("net"))

    def unreadable(path: Path) -> str:
        raise AssertionError(f"{path} was read")

    monkeypatch.setattr(digests, "sha256_of", unreadable)
    later, catalog = make_store(model())
    later.path(catalog.get("net"))
    with pytest.raises(AssertionError, match="was read"):
        later.verify(catalog.get("net"))


def test_a_change_that_keeps_size_and_time_is_noticed(make_store: MakeStore) -> None:
    store, catalog = make_store(model())
    path = put(store)
    store.path(catalog.get("net"))
    before = path.stat()
    path.write_bytes(WRONG)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(ModelError, match="is damaged"):
        store.path(catalog.get("net"))


@pytest.mark.parametrize("content", ["", "{", "[]", '{"x": 1}', "\x00"])
def test_damaged_notes_of_digests_only_cost_the_hashing(make_store: MakeStore, content: str) -> None:
    store, catalog = make_store(model())
    path = put(store)
    (store.root / ".digests.json").write_text(content)
    assert store.path(catalog.get("net")) == path


def test_a_users_own_file_is_imported(make_store: MakeStore, tmp_path: Path) -> None:
    store, catalog = make_store(model(file="deep/net.onnx"))
    mine = tmp_path / "Mein Modell ü.onnx"
    mine.write_bytes(WEIGHTS)
    assert store.import_file(catalog.get("net"), mine) == store.root / "deep" / "net.onnx"
    assert store.path(catalog.get("net")).read_bytes() == WEIGHTS
    assert names_in(store.root) == {"deep/net.onnx"}
    assert mine.exists()


@pytest.mark.parametrize("content", [WRONG, b"short"])
def test_another_file_is_not_imported(make_store: MakeStore, tmp_path: Path, content: bytes) -> None:
    store, catalog = make_store(model())
    put(store)
    (tmp_path / "other").write_bytes(content)
    with pytest.raises(ModelError, match="is not model net") as caught:
        store.import_file(catalog.get("net"), tmp_path / "other")
    assert str(store.root / "catalog.toml") in str(caught.value)
    assert store.path(catalog.get("net")).read_bytes() == WEIGHTS
    assert names_in(store.root) == {"net.onnx"}


def test_an_import_of_nothing_is_a_bad_input(make_store: MakeStore, tmp_path: Path) -> None:
    store, catalog = make_store(model())
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(InputError, match="is not a file"):
            store.import_file(catalog.get("net"), path)


def test_a_model_without_weights_is_always_there(make_store: MakeStore) -> None:
    store, catalog = make_store(model(file="", sha256=None, bytes=None))
    assert store.state(catalog.get("net")) == "present"
    with pytest.raises(ModelError, match="needs none"):
        store.path(catalog.get("net"))


def test_an_absolute_path_of_the_users_is_used_as_it_is(tmp_path: Path) -> None:
    weights = tmp_path / "weights.onnx"
    weights.write_bytes(WEIGHTS)
    text = LICENCES + model(file=str(weights), sha256=None, bytes=None)
    catalog = Catalog(tmp_path / "models", [Source("own", text, tmp_path / "models", own=True)])
    assert ModelStore(tmp_path / "models", catalog).path(catalog.get("net")) == weights


@pytest.fixture
def unprivileged() -> Iterator[Path]:
    """A folder that others may read, as a user whom permissions bind (root is bound by none)."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    user = os.geteuid()
    yield folder
    os.seteuid(user)
    for path in [folder, *folder.rglob("*")]:
        path.chmod(0o755)
    shutil.rmtree(folder)


def test_a_root_that_cannot_be_written_is_fine_while_the_weights_are_there(unprivileged: Path) -> None:
    text = LICENCES + model(urls=URLS) + model(id="gone", file="gone.onnx", urls=["http://127.0.0.1:9/gone"])
    catalog = Catalog(unprivileged, [Source("test", text, None, own=False)])
    store = ModelStore(unprivileged, catalog)
    path = put(store)
    unprivileged.chmod(0o555)
    if os.geteuid() == 0:
        os.seteuid(65534)
    assert store.path(catalog.get("net")) == path
    assert store.pull(catalog.get("net")) == path
    with pytest.raises(StorageError, match=f"MODEL_ROOT {unprivileged} cannot be written"):
        store.pull(catalog.get("gone"))
    assert names_in(unprivileged) == {"net.onnx"} and not list(unprivileged.glob(".*"))


def test_a_digest_is_that_of_the_standard(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(WEIGHTS)
    assert digests.sha256_of(tmp_path / "x") == hashlib.sha256(WEIGHTS).hexdigest()
