"""Every family of generators carries a swap from the target's frames to the output's."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tests.pipeline.conftest import SmallTask, faces, read_clip
from tests.support import graphs

HALVES = "mean = [0.5, 0.5, 0.5], std = [0.5, 0.5, 0.5], output_range = [-1.0, 1.0]"
IMAGENET = "mean = [0.485, 0.456, 0.406], std = [0.229, 0.224, 0.225]"

FAMILIES: dict[str, tuple[Callable[..., Path], str]] = {
    "inswapper": (graphs.inswapper_graph, 'template = "arcface_128", side = 128, source = "emap"'),
    "hyperswap": (
        graphs.hyperswap_graph,
        f'template = "arcface_128", side = 256, source = "normalised", {HALVES}',
    ),
    "ghost": (
        graphs.ghost_graph,
        f'template = "arcface_112_v1", side = 256, source = "raw", converter = "bridge", {HALVES}',
    ),
    "simswap": (
        graphs.simswap_graph,
        f'template = "arcface_112_v1", side = 256, source = "normalised", converter = "bridge", {IMAGENET}',
    ),
    "hififace": (
        graphs.hififace_graph,
        f'template = "mtcnn_512", side = 256, source = "normalised", converter = "bridge", {HALVES}',
    ),
}


def entry(model_id: str, role: str, family: str, parameters: str = "") -> str:
    return (
        f'\n[[models]]\nid = "{model_id}"\nrole = "{role}"\nfamily = "{family}"\nfile = "{model_id}.onnx"\n'
        f'licence = "apache-2.0"\nparameters = {{ {parameters} }}\n'
    )


@pytest.fixture(scope="module")
def families(tmp_path_factory: pytest.TempPathFactory, tiny_models: Path) -> Path:
    """The small networks with one generator of each family; named by its family it is the only one."""
    root = tmp_path_factory.mktemp("families")
    for file in tiny_models.glob("*.onnx"):
        shutil.copy(file, root)
    graphs.converter_graph(root / "bridge.onnx")
    catalog = (tiny_models / "catalog.toml").read_text().partition('[[models]]\nid = "narrow"')[0]
    catalog += entry("bridge", "converter", "crossface")
    for family, (make, parameters) in FAMILIES.items():
        make(root / f"my_{family}.onnx", width=8)
        space = 'embedding_space = "w600k"'
        catalog += entry(f"my_{family}", "generator", family, f"{parameters}, {space}")
    (root / "catalog.toml").write_text(catalog)
    return root


@pytest.mark.parametrize("boost", [1, 2])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_generator_named_by_its_family_replaces_the_face(
    task: SmallTask, families: Path, family: str, boost: int
) -> None:
    options: dict[str, Any] = {"generator": family, "pixel_boost": boost, "encoder": "auto"}
    result = task.run(model_root=families, trim_end="0.1", **options)
    assert (result.frames, result.faces) == (3, 3)
    assert result.network_calls[f"my_{family}"] >= 1
    for before, after in zip(faces(3), read_clip(task.output), strict=True):
        change = cv2.absdiff(before, after).max(axis=2)
        face = np.s_[45:75, 35:70]
        assert change[face].mean() > 20, "nothing was put into the face"
        assert np.median(change[:, 120:]) < 6, "what is no face has changed"
