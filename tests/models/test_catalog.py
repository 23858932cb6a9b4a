"""The catalog: every public model, and errors that name file, model and key."""

from __future__ import annotations

import csv
import importlib
import pkgutil
from pathlib import Path

import pytest
from pydantic import BaseModel

from facefusion_runner.errors import ConfigError, ModelError
from facefusion_runner.models import families
from facefusion_runner.models.catalog import Catalog, ModelEntry
from facefusion_runner.models.store import ModelStore
from tests.models.conftest import LICENCES, WEIGHTS, MakeStore, model

FAMILIES_OF_ROWS = {
    "generator/inswapper": ("generator", "inswapper"),
    "generator/hyperswap": ("generator", "hyperswap"),
    "generator/simswap": ("generator", "simswap"),
    "generator/ghost": ("generator", "ghost"),
    "detector/scrfd": ("detector", "scrfd"),
    "detector/yolov8_face": ("detector", "yolov8_face"),
    "detector/yunet": ("detector", "yunet"),
    "encoder/arcface": ("encoder", "arcface"),
    "landmarker/106": ("landmarker", "regression"),
    "landmarker/68 heatmap": ("landmarker", "heatmap"),
    "mask/occlusion": ("mask", "occlusion"),
    "mask/region": ("mask", "region"),
    "enhancer": ("enhancer", "gfpgan"),
    "pack": ("pack", "zip"),
}


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    return Catalog.load(tmp_path)


def load(root: Path, text: str) -> Catalog:
    """The catalogs with `text` as the user's own."""
    (root / "catalog.toml").write_text(text)
    return Catalog.load(root)


def test_every_public_model_is_in_it(catalog: Catalog, shared: Path) -> None:
    with (shared / "public-models.tsv").open() as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert rows
    for row in rows:
        entry = catalog.get(row["id"])
        assert (entry.role, entry.family) == FAMILIES_OF_ROWS[row["role/family"]]
        assert entry.file == row["file"]
        assert entry.bytes == (int(row["bytes"]) if row["bytes"] else None)
        assert entry.sha256 == row["sha256"]
        assert entry.licence == row["licence"]
        assert set(entry.urls) >= set(row["urls"].split())


def parameters_of(entry: ModelEntry) -> type[BaseModel]:
    """The `Parameters` of the family's file."""
    package = importlib.import_module(families.FOLDERS[entry.role])
    for found in pkgutil.iter_modules(package.__path__, package.__name__ + "."):
        module = importlib.import_module(found.name)
        if entry.family in getattr(module, "FAMILIES", ()):
            cls: type[BaseModel] = module.Parameters
            return cls
    raise AssertionError(f"no file of {package.__name__} holds {entry.family}")


def test_every_entry_fits_its_family(catalog: Catalog) -> None:
    checked = 0
    for entry in catalog.entries():
        if entry.family in families.families(entry.role):
            families.parameters(entry, parameters_of(entry))
            checked += 1
    assert checked >= 18


def test_every_converter_and_embedding_space_exists(catalog: Catalog) -> None:
    spaces = {entry.parameters.get("space") for entry in catalog.entries("encoder")}
    for entry in catalog.entries("generator"):
        converters = entry.parameters.get("converters", {})
        assert {entry.parameters.get("embedding_space"), *converters} & {None, *spaces}
        assert all(catalog.get(converter).role == "converter" for converter in converters.values())


def test_an_unknown_id_names_near_ones_and_the_way_to_add_it(catalog: Catalog, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="inswapper_128") as caught:
        catalog.get("inswaper_128")
    assert str(tmp_path / "catalog.toml") in str(caught.value)


def test_a_users_own_model_may_lack_a_digest_and_lie_anywhere(tmp_path: Path) -> None:
    own = load(tmp_path, LICENCES + model(id="mine", file="/data/mine.onnx", sha256=None, bytes=None))
    assert own.get("mine").file == "/data/mine.onnx"
    assert own.entries("detector")[0].id == "mine"


def test_a_users_own_entry_replaces_one_of_the_same_id(tmp_path: Path) -> None:
    own = load(tmp_path, LICENCES + model(id="det_10g", file="better.onnx"))
    assert own.get("det_10g").file == "better.onnx"
    assert [entry.id for entry in own.entries()].count("det_10g") == 1


def test_a_licence_means_what_the_first_catalog_says(tmp_path: Path) -> None:
    text = '[licences.researchrail]\nname="x"\nurl="https://x.org"\ncommercial=true\nneeds_acceptance=false\n'
    assert load(tmp_path, text).licences["researchrail"].needs_acceptance


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[[models]", "line 1"),
        ("other = 1", "key 'other'"),
        ("models = 3", "[[models]]"),
        ("licences = [1]", "[licences.ID]"),
        ("models = [3]", "[[models]]"),
        (LICENCES + model(sha256="abc"), "model net, key sha256"),
        (LICENCES + model(sha256=3), "model net, key sha256"),
        (LICENCES + model(role="singer"), "model net, key role"),
        (LICENCES + model(colour="red"), "model net, key colour"),
        (LICENCES + model(bytes=0), "model net, key bytes"),
        (LICENCES + model(family=None), "model net, key family"),
        (LICENCES + model(id="a b"), "model a b, key id"),
        (LICENCES + model(id=None), "model without id, key id"),
        (LICENCES + model(licence="unheard"), "model net, key licence"),
        (LICENCES + model(file="../net.onnx"), "model net, key file"),
        (LICENCES + model(urls=["ftp://x.org/net"]), "model net, key urls.0"),
        (LICENCES + model(urls=["https://x.org/net"], sha256=None), "model net, key sha256"),
        (LICENCES + model(urls=["https://x.org/a.zip#net"]), "model net, key urls"),
        (LICENCES + model(role="pack", urls=["https://x.org/a.zip#net"]), "model net, key urls"),
        (LICENCES + model() + model(), "model net: already in"),
        ('[licences.x]\nname = "X"', "licence x, key url"),
        ("[licences]\nx = 1", "[licences.ID]"),
    ],
)
def test_a_malformed_catalog_names_file_model_and_key(tmp_path: Path, text: str, named: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    message = str(caught.value)
    assert message.startswith(f"catalog {tmp_path / 'catalog.toml'}") and named in message
    assert "\n" not in message


def test_a_catalog_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "catalog.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="cannot be read"):
        Catalog.load(tmp_path)
    (tmp_path / "catalog.toml").unlink()
    (tmp_path / "catalog.toml").mkdir()
    with pytest.raises(ConfigError, match="cannot be read"):
        Catalog.load(tmp_path)


def install(site: Path, name: str, entry_points: str, **modules: str) -> None:
    """An installed distribution with entry points and modules."""
    info = site / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(entry_points)
    for module, text in modules.items():
        (site / f"{module}.py").write_text(text)


@pytest.mark.parametrize("form", ["path", "callable", "text"])
def test_an_installed_package_brings_models(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    site = tmp_path / "site"
    file = site / "more.toml"
    value = {
        "path": f"from pathlib import Path\nmodels = Path({str(file)!r})\n",
        "callable": f"def models():\n    return {str(file)!r}\n",
        "text": f"models = {LICENCES + model(file='brought.onnx')!r}\n",
    }[form]
    name = f"more_{form}"
    install(site, name, f"[facefusion_runner.catalogs]\nmore = {name}:models\n", **{name: value})
    file.write_text(LICENCES + model(file="brought.onnx"))
    (site / "brought.onnx").write_bytes(WEIGHTS)
    monkeypatch.syspath_prepend(site)
    root = tmp_path / "models"
    catalog = Catalog.load(root)
    store = ModelStore(root, catalog)
    entry = catalog.get("net")
    if form == "text":
        assert store.state(entry) == "missing"
    else:
        assert store.path(entry) == site / "brought.onnx"


@pytest.mark.parametrize(
    ("code", "named"),
    [
        ("raise RuntimeError('two\\nlines')", "RuntimeError: two lines"),
        ("models = 7", "neither a path nor the text"),
        ("models = 'nowhere.toml'", "nowhere.toml cannot be read"),
        (f"models = {LICENCES + model(sha256=None)!r}", "model net, key sha256"),
        (f"models = {LICENCES + model(file='/etc/passwd')!r}", "model net, key file"),
        (f"models = {LICENCES + model(id='det_10g')!r}", "model det_10g: already in"),
    ],
)
def test_a_package_with_a_bad_catalog_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, named: str
) -> None:
    module = f"bad_{abs(hash(named))}"
    install(
        tmp_path / "site", module, f"[facefusion_runner.catalogs]\nx = {module}:models\n", **{module: code}
    )
    monkeypatch.syspath_prepend(tmp_path / "site")
    with pytest.raises(ConfigError) as caught:
        Catalog.load(tmp_path)
    assert named in str(caught.value) and "\n" not in str(caught.value)


def put(store: ModelStore, entry: ModelEntry, content: bytes = WEIGHTS) -> None:
    path = store.location(entry)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def test_a_name_is_an_id_a_family_or_auto(make_store: MakeStore) -> None:
    store, catalog = make_store(
        model(id="strict_one", file="a.onnx", licence="strict"),
        model(id="missing_one", file="b.onnx"),
        model(id="here", file="c.onnx"),
        model(id="face", role="encoder", family="arcface", file="d.onnx"),
    )
    put(store, catalog.get("here"))
    assert catalog.resolve("detector", "strict_one", store).id == "strict_one"
    assert catalog.resolve("detector", "scrfd", store).id == "here"
    assert catalog.resolve("detector", "auto", store).id == "here"
    store.location(catalog.get("here")).unlink()
    assert catalog.resolve("detector", "auto", store).id == "missing_one"
    with pytest.raises(ModelError, match="model face has the role encoder, not detector"):
        catalog.resolve("detector", "face", store)
    with pytest.raises(ModelError, match="no detector is called 'scrf'; near to it: scrfd"):
        catalog.resolve("detector", "scrf", store)
    with pytest.raises(ModelError, match="no catalog holds a landmarker"):
        catalog.resolve("landmarker", "auto", store)
