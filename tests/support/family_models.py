"""A MODEL_ROOT with a small network of every family, on top of the tiny models."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.support import family_graphs as made
from tests.support import graphs

HALVES = {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5], "output_range": [-1.0, 1.0]}
IMAGENET = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
BRIDGED = {"embedding_space": "its_own", "converters": {"w600k": "bridge"}}


class Model(NamedTuple):
    """A network of the catalog, and how it is built."""

    role: str
    family: str
    build: Callable[[Path], object]
    parameters: Mapping[str, Any]


MODELS: Mapping[str, Model] = {
    "bridge": Model("converter", "crossface", graphs.converter_graph, {}),
    "my_inswapper": Model(
        "generator",
        "inswapper",
        lambda path: graphs.inswapper_graph(path, width=8),
        {"template": "arcface_128", "side": 128, "source": "emap", "embedding_space": "w600k"},
    ),
    "my_hyperswap": Model(
        "generator",
        "hyperswap",
        lambda path: graphs.hyperswap_graph(path, width=8),
        {
            **{"template": "arcface_128", "side": 256, "source": "normalised", "embedding_space": "w600k"},
            **{"mask_output": True, **HALVES},
        },
    ),
    "my_ghost": Model(
        "generator",
        "ghost",
        lambda path: graphs.ghost_graph(path, width=8),
        {"template": "arcface_112_v1", "side": 256, "source": "raw", **BRIDGED, **HALVES},
    ),
    "my_ghost_of_e5": Model(
        "generator",
        "ghost",
        lambda path: graphs.generator_graph(
            path, side=256, width=8, output_range=(-1.0, 1.0), blocks=2, identity_size=128
        ),
        {
            **{"template": "arcface_112_v1", "side": 256, "source": "raw", "embedding_space": "facenet"},
            **HALVES,
        },
    ),
    "my_simswap": Model(
        "generator",
        "simswap",
        lambda path: graphs.simswap_graph(path, width=8),
        {"template": "arcface_112_v1", "side": 256, "source": "normalised", **BRIDGED, **IMAGENET},
    ),
    "my_hififace": Model(
        "generator",
        "hififace",
        lambda path: graphs.hififace_graph(path, width=8),
        {"template": "mtcnn_512", "side": 256, "source": "normalised", **BRIDGED, **HALVES},
    ),
    "my_blendswap": Model(
        "generator",
        "blendswap",
        made.blendswap_graph,
        {"source_template": "arcface_112_v2", "source_side": 112},
    ),
    "my_uniface": Model(
        "generator",
        "uniface",
        made.uniface_graph,
        {"source_template": "ffhq_512", "source_side": 256, **HALVES},
    ),
    "my_style": Model("converter", "stargan_v2", made.stargan_style_encoder, {}),
    "my_styles": Model(
        "converter", "stargan_v2", lambda path: made.stargan_style_encoder(path, all_domains=True), {}
    ),
    "my_stargan": Model("generator", "stargan_v2", made.stargan_generator, {"style_encoder": "my_style"}),
    "my_stargan_of_all": Model(
        "generator",
        "stargan_v2",
        made.stargan_generator,
        {"style_encoder": "my_styles", "domain": "male"},
    ),
    "my_stargan_single": Model("generator", "stargan_v2", made.stargan_single, {}),
    "my_dfm": Model("generator", "dfm", made.dfm_graph, {}),
    "my_dfm_amp": Model("generator", "dfm", lambda path: made.dfm_graph(path, side=96, morph=True), {}),
    "my_faceswap_gan": Model(
        "generator", "faceswap_gan_v2", made.faceswap_gan_graph, {"reverse": "my_faceswap_gan_a"}
    ),
    "my_faceswap_gan_a": Model(
        "generator", "faceswap_gan_v2", lambda path: made.faceswap_gan_graph(path, seed=1), {}
    ),
    "my_faceswap_gan_pair": Model(
        "generator",
        "faceswap_gan_v2",
        lambda path: made.faceswap_gan_pair(path, side=128),
        {"outputs": {"a_to_b": ["alpha_b", "bgr_b"], "b_to_a": ["alpha_a", "bgr_a"]}},
    ),
    "my_e5": Model(
        "encoder",
        "e5",
        made.vector_graph,
        {"template": "mtcnn_512", "side": 160, "layout": "nhwc", "space": "facenet"},
    ),
    "my_xseg": Model("mask", "occlusion", made.xseg_graph, {}),
    "my_bare": Model("mask", "occlusion", made.bare_where_red, {}),
    "my_bisenet": Model("mask", "region", made.bisenet_graph, {}),
    "my_gfpgan": Model("enhancer", "gfpgan", made.restoration_graph, {}),
    "my_codeformer": Model(
        "enhancer", "codeformer", lambda path: made.restoration_graph(path, weight=True), {}
    ),
    "my_esrgan": Model("enhancer", "real_esrgan", made.super_resolution_graph, {}),
}


def entry(model_id: str, role: str, family: str, parameters: Mapping[str, Any], file: str = "") -> str:
    """A `[[models]]` table."""
    return (
        f'\n[[models]]\nid = "{model_id}"\nrole = "{role}"\nfamily = "{family}"\n'
        f'file = "{file or model_id + ".onnx"}"\nlicence = "apache-2.0"\nparameters = {toml(parameters)}\n'
    )


def toml(value: Any) -> str:
    """A value as inline TOML."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{key} = {toml(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(toml, value)) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else repr(value)


@pytest.fixture(scope="session")
def family_models(tmp_path_factory: pytest.TempPathFactory, tiny_models: Path) -> Path:
    """The MODEL_ROOT: the tiny models but for their generators, and `MODELS`."""
    root = tmp_path_factory.mktemp("family-models")
    for file in tiny_models.glob("*.onnx"):
        shutil.copy(file, root)
    catalog = (tiny_models / "catalog.toml").read_text().partition('[[models]]\nid = "narrow"')[0]
    for model_id, model in MODELS.items():
        model.build(root / f"{model_id}.onnx")
        catalog += entry(model_id, model.role, model.family, model.parameters)
    (root / "catalog.toml").write_text(catalog)
    return root
