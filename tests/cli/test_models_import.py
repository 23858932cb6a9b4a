"""`models import FILE --family F`: from a network's file to its catalog entry, or the reason why not."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from facefusion_runner import cli
from facefusion_runner.models.catalog import Catalog
from facefusion_runner.models.families import load_family
from facefusion_runner.models.session import Session, SessionFactory
from facefusion_runner.models.store import ModelStore
from tests.support import family_graphs as made
from tests.support import graphs
from tests.support.family_models import MODELS

IDENTITY = ("--parameter", "embedding_space=w600k_r50")
NEEDED: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("my_inswapper", "my_hyperswap", "my_ghost", "my_simswap", "my_hififace"), IDENTITY),
    "my_faceswap_gan_pair": (
        "--parameter",
        'outputs={a_to_b=["alpha_b","bgr_b"],b_to_a=["alpha_a","bgr_a"]}',
    ),
    "my_ghost_of_e5": ("--parameter", "embedding_space=facenet"),
    "my_e5": ("--parameter", "template=mtcnn_512", "--parameter", "space=facenet"),
}
IMPORTED = [
    name
    for name, model in MODELS.items()
    if model.role != "converter" and "style_encoder" not in model.parameters
]


class Import:
    """Runs the command in this process."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self.root = folder, folder / "models"
        self._capsys = capsys

    def __call__(self, *arguments: str) -> tuple[int, str, str]:
        code = cli.run(["models", "import", *arguments], {"MODEL_ROOT": str(self.root)})
        shown = self._capsys.readouterr()
        return code, shown.out, shown.err

    def file(self, name: str) -> str:
        path = self.folder / f"{name}.onnx"
        MODELS[name].build(path)
        return str(path)


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Import:
    return Import(tmp_path, capsys)


@pytest.mark.parametrize("name", IMPORTED)
def test_the_graph_of_every_family_gives_an_entry_that_works(run: Import, name: str) -> None:
    model = MODELS[name]
    file = run.file(name)
    code, out, err = run(file, "--family", model.family, *NEEDED.get(name, ()))
    assert (code, err) == (0, "")
    (table,) = tomllib.loads(out)["models"]
    assert (table["id"], table["role"], table["family"], table["file"]) == (
        *(name, model.role, model.family),
        file,
    )
    for key, value in table.get("parameters", {}).items():
        if key in model.parameters and key not in ("embedding_space", "domain"):
            np.testing.assert_array_equal(value, model.parameters[key], err_msg=key)
    arguments = ("--family", model.family, *NEEDED.get(name, ()), "--licence", "mit", "--add")
    code, out, err = run(file, *arguments)
    assert (code, out, err) == (0, f"{name}: {run.root / (name + '.onnx')}\n", "")
    catalog = Catalog.load(run.root)
    store, factory = ModelStore(run.root, catalog), SessionFactory("cpu", threads=1)

    def open_model(model_id: str) -> Session:
        return factory.open(catalog.get(model_id), store.path(catalog.get(model_id)))

    assert load_family(catalog.get(name), open_model) is not None
    assert store.state(catalog.get(name)) == "present" and catalog.is_own(name)


def test_an_entry_is_added_after_those_that_are_there(run: Import) -> None:
    run.root.mkdir()
    own = '[licences.studio]\nname = "Ours"\nurl = "https://example.org"\ncommercial = true\n'
    (run.root / "catalog.toml").write_text(own + "# a remark\n")
    file = run.file("my_dfm")
    assert run(file, "--family", "dfm", "--licence", "studio", "--id", "jane", "--add")[0] == 0
    assert run(file, "--family", "dfm", "--licence", "studio", "--id", "joe", "--add")[0] == 0
    text = (run.root / "catalog.toml").read_text()
    assert text.startswith(own + '# a remark\n\n[[models]]\nid = "jane"')
    assert [table["id"] for table in tomllib.loads(text)["models"]] == ["jane", "joe"]
    assert sorted(path.name for path in run.root.glob("*.onnx")) == ["jane.onnx", "joe.onnx"]


def build(kind: str, path: Path) -> None:
    builds: dict[str, Any] = {
        "dfm": made.dfm_graph,
        "converter": graphs.converter_graph,
        "narrow": lambda to: graphs.echo_graph(to, side=128, emap=False),
        "parser": made.bisenet_graph,
        "text": lambda to: to.write_text("no network"),
        "nothing": lambda to: None,
    }
    builds[kind](path)


@pytest.mark.parametrize(
    ("kind", "arguments", "says"),
    [
        (
            "dfm",
            ("--family", "uniface"),
            "cannot be used as generator uniface: .* the inputs target",
        ),
        ("dfm", ("--family", "gfpgan"), r"cannot be used as enhancer gfpgan: .* found in_face:0\["),
        ("narrow", ("--family", "inswapper", *IDENTITY), "expected a 512x512 initializer"),
        ("narrow", ("--family", "inswapper"), "parameter embedding_space: .*--parameter KEY=VALUE"),
        ("parser", ("--family", "occlusion"), "cannot be used as mask occlusion"),
        ("converter", ("--family", "arcface"), "cannot be used as encoder arcface"),
        ("converter", ("--family", "scrfd"), "cannot be used as detector scrfd"),
        ("dfm", ("--family", "dfn"), "no family is called 'dfn'; there are arcface, .*dfm"),
        ("dfm", ("--family", "dfm", "--role", "mask"), "no mask family is called 'dfm'"),
        ("text", ("--family", "dfm"), "is not a network that can be loaded"),
        ("nothing", ("--family", "dfm"), "is not a file"),
        ("dfm", ("--family", "dfm", "--parameter", "side"), "must be KEY=VALUE"),
        ("dfm", ("--family", "dfm", "--parameter", "colour=red"), "parameter colour: Extra inputs"),
        ("dfm", ("--family", "dfm", "--parameter", "side=64"), "expected crops of 64"),
        ("dfm", ("--family", "dfm", "--id", "a b"), "'a b' is no id for a model; .*--id"),
        ("dfm", ("--family", "dfm", "--add"), "--add needs --licence"),
        ("dfm", ("--family", "dfm", "--add", "--licence", "gpl-9"), "key licence: 'gpl-9' is unknown"),
        (
            "dfm",
            ("--family", "dfm", "--add", "--licence", "mit", "--id", "mesh"),
            "already called 'mesh'; name another with --id",
        ),
        ("dfm", (), "takes ID FILE, or FILE --family FAMILY"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_reason_in_one_line(
    run: Import, kind: str, arguments: tuple[str, ...], says: str
) -> None:
    path = run.folder / "net.onnx"
    build(kind, path)
    code, out, err = run(str(path), *arguments)
    assert (code, out) == (2, "") and err.count("\n") == 1
    assert re.search(says, err), err
    assert not (run.root / "catalog.toml").exists() and not list(run.root.glob("*.onnx"))


@pytest.mark.parametrize(
    ("model", "family"),
    [
        ("scrfd_2.5g", "scrfd"),
        ("retinaface_mnet025", "retinaface"),
        ("yolov5n_face", "yolov5_face"),
        ("yunet", "yunet"),
        ("arcface_mbf_foamliu", "arcface"),
        ("arcface_mbf_foamliu", "e5"),
    ],
)
def test_real_networks_are_recognised(run: Import, shared_models: Any, model: str, family: str) -> None:
    path = str(shared_models.path(model))
    code, out, err = run(path, "--family", family, "--id", "real")
    assert (code, err) == (0, "") and tomllib.loads(out)["models"][0]["family"] == family
    others = {"scrfd", "retinaface", "yolov5_face", "yunet"} - {family}
    for other in others if family in ("scrfd", "retinaface", "yolov5_face", "yunet") else ():
        code, _, err = run(path, "--family", other, "--id", "real")
        assert code == 2 and f"cannot be used as detector {other}" in err
