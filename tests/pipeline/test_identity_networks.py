"""A network that gives back what it is given changes nothing: cut, tensors, paste and blend are exact."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from facefusion_runner.blending.modes import BLEND_MODES
from facefusion_runner.cache.task_cache import CachePolicy, TaskCache
from facefusion_runner.enhancers import Enhancer
from facefusion_runner.faces.geometry import TEMPLATES, TemplateName
from facefusion_runner.faces.types import Detection, Face, Picture, SourceFace
from facefusion_runner.generators import Generator, GeneratorOptions
from facefusion_runner.media.still import Still
from facefusion_runner.models.catalog import ModelEntry
from facefusion_runner.models.families import families, load_enhancer, load_generator
from facefusion_runner.models.session import Session, SessionFactory
from facefusion_runner.pipeline.artifacts import Artifacts
from facefusion_runner.pipeline.enhancement import Enhancement
from facefusion_runner.pipeline.masking import Masking, MaskOptions
from facefusion_runner.pipeline.stages import Blending, FrameTask, Generation
from facefusion_runner.pipeline.threads import Pipeline, Stage
from tests.support import family_graphs as made
from tests.support import graphs
from tests.support.family_models import HALVES, IMAGENET

SPACE = {"embedding_space": "any"}

Family = tuple[Callable[[Path], object], dict[str, Any], int]
"""How its graph is built, its parameters, and the size of an embedding, 0 where none is read."""


def identity(side: int, numbers: dict[str, Any], **parts: Any) -> Callable[[Path], object]:
    return lambda path: graphs.echo_graph(path, side=side, **numbers, **parts)


GENERATORS: dict[str, Family] = {
    "inswapper": (identity(128, {}, emap=True), {"side": 128, "source": "emap", **SPACE}, 512),
    "simswap": (identity(256, IMAGENET), {"side": 256, "source": "normalised", **SPACE, **IMAGENET}, 512),
    "ghost": (identity(256, HALVES), {"side": 256, "source": "raw", **SPACE, **HALVES}, 512),
    "hyperswap": (
        identity(256, HALVES, mask=True),
        {"side": 256, "source": "normalised", "mask_output": True, **SPACE, **HALVES},
        512,
    ),
    "hififace": (identity(256, HALVES), {"side": 256, "source": "normalised", **SPACE, **HALVES}, 512),
    "blendswap": (
        lambda path: made.image_echo(path, side=256, source_side=112),
        {"source_template": "arcface_112_v2", "source_side": 112},
        0,
    ),
    "uniface": (
        lambda path: made.image_echo(
            path, side=256, source_side=256, mean=0.5, std=0.5, output_range=(-1.0, 1.0)
        ),
        {"source_template": "ffhq_512", "source_side": 256, **HALVES},
        0,
    ),
    "stargan_v2": (
        lambda path: made.image_echo(
            **{"path": path, "side": 256, "source_side": 256, "mean": 0.5, "std": 0.5},
            **{"output_range": (-1.0, 1.0), "names": ("source", "reference"), "domain": True},
        ),
        {"domain": "male"},
        0,
    ),
    "dfm": (made.dfm_echo, {}, 0),
    "faceswap_gan_v2": (made.faceswap_gan_echo, {}, 0),
}


def test_every_family_that_is_one_network_is_here() -> None:
    """The mesh draws the source's own skin, whatever its networks give back."""
    assert set(families("generator")) == {*GENERATORS, "mesh"}


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> Callable[[ModelEntry, Any], Session]:
    """Builds each graph once and opens it."""
    folder, factory = tmp_path_factory.mktemp("identity"), SessionFactory("cpu", threads=1)
    opened: dict[str, Session] = {}

    def open_once(entry: ModelEntry, build: Callable[[Path], object]) -> Session:
        if entry.family not in opened:
            path = folder / f"{entry.family}.onnx"
            build(path)
            opened[entry.family] = factory.open(entry, path)
        return opened[entry.family]

    return open_once


def scene(width: int = 420, height: int = 360) -> Picture:
    """Colours that change slowly: what bilinear sampling can carry to a crop and back."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    planes = [
        128 + 70 * np.sin(x / 61 + phase) * np.cos(y / 57 - phase) + 25 * np.sin((x + y) / 83 + 2 * phase)
        for phase in (0.0, 1.3, 2.9)
    ]
    return np.rint(np.dstack(planes)).astype(np.uint8)


def face(side: float = 110.0, angle: float = 14.0) -> Face:
    """A tilted face in the middle of the scene, its eyes and mouth where the template has them."""
    turn = cv2.getRotationMatrix2D((0.0, 0.0), angle, 1.0)[:, :2]
    points = (TEMPLATES["arcface_112_v2"] - 0.5) * side @ turn.T + (210.0, 180.0)
    box = np.array([*points.min(0), *points.max(0)], np.float32)
    five = np.asarray(points, np.float32)
    return Face(Detection(box, 0.9, five), five)


def swapped(
    generator: Generator, source: Any, mode: str, tmp_path: Path, enhancement: Enhancement | None = None
) -> Picture:
    """The scene after all steps between analysis and encoding."""
    still = Still(scene())
    cache = TaskCache(tmp_path / "cache", "identity", CachePolicy(grace_seconds=0.0))
    with cache:
        steps = [
            ("generation", Generation(generator, source, 0).run),
            ("masking", Masking(MaskOptions((), 0.15, (0.0, 0.0, 0.0, 0.0))).run),
            *([("enhancement", enhancement.run)] if enhancement else []),
            ("blending", Blending(BLEND_MODES[mode], Artifacts(cache)).run),
        ]
        out: list[FrameTask] = []
        stages = [Stage(name, run, 1) for name, run in steps]
        Pipeline([FrameTask(still, [face()])], stages, out.append, 1).run(threading.Event())
    (task,) = out
    assert task.masks[0].max() > 100, "nothing of the face is taken"
    return still.bgr


def prepared(generator: Generator, size: int) -> Any:
    if not generator.most_sources and generator.most_sources is not None:
        return generator.prepare([])
    one = face()
    embedding = np.random.default_rng(1).standard_normal(size).astype(np.float32) if size else None
    return generator.prepare([SourceFace(scene(), Face(one.detection, one.points, embedding=embedding))])


def worst(picture: Picture) -> int:
    return int(cv2.absdiff(picture, scene()).max())


@pytest.mark.parametrize(("template", "boost"), [*((template, 1) for template in TEMPLATES), ("ffhq_512", 2)])
@pytest.mark.parametrize("family", GENERATORS)
def test_the_target_comes_back_to_within_one_level(
    networks: Callable[..., Session], tmp_path: Path, family: str, template: TemplateName, boost: int
) -> None:
    build, parameters, size = GENERATORS[family]
    entry = entry_of(family, {**parameters, "template": template})
    generator = load_generator(entry, lambda _: networks(entry, build), GeneratorOptions(boost))
    source = prepared(generator, size)
    for mode in BLEND_MODES:
        picture = swapped(generator, source, mode, tmp_path)
        assert worst(picture) <= 1, mode


def entry_of(family: str, parameters: dict[str, Any], role: str = "generator") -> ModelEntry:
    return ModelEntry.model_validate(
        {
            **{"id": "echo", "role": role, "family": family, "file": "echo.onnx", "licence": "mit"},
            "parameters": parameters,
        }
    )


@pytest.mark.parametrize("weight", [0.0, 0.7, 1.0])
@pytest.mark.parametrize(
    ("family", "build"), [("gfpgan", made.restoration_echo), ("real_esrgan", made.enlarging)]
)
def test_an_enhancer_that_changes_nothing_changes_nothing(
    networks: Callable[..., Session], tmp_path: Path, family: str, build: Any, weight: float
) -> None:
    entry = entry_of(family, {}, "enhancer")
    enhancer: Enhancer = load_enhancer(entry, lambda _: networks(entry, build))
    makes, parameters, size = GENERATORS["inswapper"]
    plain = entry_of("inswapper", {**parameters, "template": "arcface_128"})
    generator = load_generator(plain, lambda _: networks(plain, makes))
    picture = swapped(generator, prepared(generator, size), "alpha", tmp_path, Enhancement(enhancer, weight))
    assert worst(picture) <= 1
