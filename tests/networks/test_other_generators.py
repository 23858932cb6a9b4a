"""Image-conditioned generators, StarGAN v2 and the autoencoders of persons: what goes in, what comes out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from insightface.data import get_image

from facefusion_runner.errors import ConfigError, ModelError
from facefusion_runner.faces.geometry import TEMPLATES, alignment
from facefusion_runner.faces.types import Crop, Detection, Face, Picture, SourceFace
from facefusion_runner.generators import Generator, GeneratorOptions
from facefusion_runner.models.catalog import ModelEntry
from facefusion_runner.models.families import load_generator
from facefusion_runner.models.session import Session, SessionFactory
from tests.support import family_graphs as made
from tests.support import graphs
from tests.support.family_models import HALVES

POINTS = np.array(
    [[491.71, 318.86], [540.76, 331.94], [507.10, 360.68], [483.94, 367.14], [531.91, 378.42]], np.float32
)
"""Of a face of InsightFace's picture t1."""


class Opened:
    """Opens graphs by id and keeps what each was fed with."""

    def __init__(self, paths: dict[str, Path], family: str) -> None:
        self._factory = SessionFactory("cpu", threads=1)
        self._paths, self._family = paths, family
        self.feeds: dict[str, list[dict[str, Any]]] = {name: [] for name in paths}

    def __call__(self, model: str) -> Session:
        entry = entry_of(self._family, {}, model)
        session = self._factory.open(entry, self._paths[model])
        run, feeds = session.run, self.feeds[model]

        def recorded(given: Any) -> Any:
            feeds.append(dict(given))
            return run(given)

        session.run = recorded  # type: ignore[method-assign]
        return session


def entry_of(family: str, parameters: dict[str, Any], model: str = "made") -> ModelEntry:
    return ModelEntry(
        **{"id": model, "role": "generator", "family": family, "file": "x.onnx", "licence": "mit"},
        parameters=parameters,
    )


def load(
    family: str,
    parameters: dict[str, Any],
    options: GeneratorOptions | None = None,
    **paths: Path,
) -> tuple[Generator, Opened]:
    opened = Opened(paths, family)
    return load_generator(entry_of(family, parameters), opened, options), opened


def source(picture: Picture | None = None) -> SourceFace:
    shown = get_image("t1") if picture is None else picture
    return SourceFace(shown, Face(Detection(np.array([450, 270, 570, 420], np.float32), 0.9, POINTS), POINTS))


def noise(side: int, seed: int = 0) -> Crop:
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8)
    return Crop(pixels, np.eye(2, 3))


def planes(picture: Picture) -> np.ndarray[Any, Any]:
    """(1, 3, h, w) RGB 0..1, written down once more in another way."""
    return cv2.cvtColor(picture, cv2.COLOR_BGR2RGB).astype(np.float64).transpose(2, 0, 1)[None] / 255


# --- image-conditioned -------------------------------------------------------------------------------------

BLENDSWAP = {"source_template": "arcface_112_v2", "source_side": 112}
UNIFACE = {"source_template": "ffhq_512", "source_side": 256, **HALVES}


@pytest.mark.parametrize(
    ("family", "parameters", "build", "template", "side"),
    [
        ("blendswap", BLENDSWAP, made.blendswap_graph, "arcface_112_v2", 112),
        ("uniface", UNIFACE, made.uniface_graph, "ffhq_512", 256),
    ],
)
def test_the_sources_crop_goes_in_as_the_family_wants_it(
    tmp_path: Path, family: str, parameters: dict[str, Any], build: Any, template: Any, side: int
) -> None:
    generator, opened = load(family, parameters, made=build(tmp_path / "made.onnx"))
    crop, picture = noise(256), get_image("t1")
    generator.generate([crop], generator.prepare([source()]))
    (fed,) = opened.feeds["made"]
    matrix = alignment(POINTS, template, side)
    seen = fed["source"]
    assert seen.shape == (1, 3, side, side) and seen.dtype == np.float32
    np.testing.assert_allclose(seen, planes(cv2.warpAffine(picture, matrix, (side, side))), atol=1e-6)
    target = planes(crop.pixels)
    np.testing.assert_allclose(
        fed["target"], target if family == "blendswap" else (target - 0.5) / 0.5, atol=1e-5
    )
    left_eye = matrix[:, :2] @ POINTS[0] + matrix[:, 2]
    assert np.abs(left_eye / side - TEMPLATES[template][0]).max() < 0.06


@pytest.mark.parametrize("batch", [1, "n"])
def test_the_source_changes_what_is_made_and_batches_do_not(tmp_path: Path, batch: int | str) -> None:
    generator, opened = load(
        "blendswap", BLENDSWAP, made=made.blendswap_graph(tmp_path / "made.onnx", batch=batch)
    )
    crops = [noise(256, seed) for seed in range(3)]
    one = generator.prepare([source()])
    other = generator.prepare([source(np.ascontiguousarray(get_image("t1")[:, :, ::-1]))])
    together = generator.generate(crops, one)
    assert len(opened.feeds["made"]) == (3 if batch == 1 else 1)
    for crop, of_batch in zip(crops, together, strict=True):
        (alone,) = generator.generate([crop], one)
        assert cv2.absdiff(alone.pixels, of_batch.pixels).max() <= 1
        assert cv2.absdiff(generator.generate([crop], other)[0].pixels, alone.pixels).max() > 2


# --- StarGAN v2 --------------------------------------------------------------------------------------------


def stars(tmp_path: Path, domain: str, all_domains: bool = False) -> tuple[Generator, Opened]:
    encoder = made.stargan_style_encoder(tmp_path / f"{all_domains}.onnx", all_domains=all_domains)
    return load(
        "stargan_v2",
        {"style_encoder": "style"},
        GeneratorOptions(domain=domain),
        made=made.stargan_generator(tmp_path / "made.onnx"),
        style=encoder,
    )


def test_the_style_code_is_the_domains_own_whichever_way_the_encoder_gives_it(tmp_path: Path) -> None:
    codes = {}
    for domain in ("female", "male"):
        for all_domains in (False, True):
            generator, opened = stars(tmp_path, domain, all_domains)
            codes[domain, all_domains] = generator.prepare([source()])["s"]
            if not all_domains:
                assert opened.feeds["style"][0]["y"].tolist() == [["female", "male"].index(domain)]
    for domain in ("female", "male"):
        np.testing.assert_allclose(codes[domain, False], codes[domain, True], atol=1e-6)
        assert codes[domain, False].shape == (1, made.STYLE)
    assert np.abs(codes["female", False] - codes["male", False]).max() > 0.01


def test_style_codes_of_several_sources_are_averaged(tmp_path: Path) -> None:
    generator, opened = stars(tmp_path, "male")
    assert generator.most_sources is None
    first, second = source(), source(np.ascontiguousarray(get_image("t1")[:, :, ::-1]))
    mean = (generator.prepare([first])["s"] + generator.prepare([second])["s"]) / 2
    np.testing.assert_allclose(generator.prepare([first, second])["s"], mean, atol=1e-6)
    generator.generate([noise(256)], generator.prepare([first]))
    assert opened.feeds["made"][0]["x"].min() >= -1 and opened.feeds["made"][0]["x"].max() <= 1


def test_one_graph_makes_what_the_two_make(tmp_path: Path) -> None:
    single, opened = load(
        "stargan_v2",
        {},
        GeneratorOptions(domain="male"),
        made=made.stargan_single(tmp_path / "single.onnx"),
    )
    assert single.most_sources == 1
    (picture,) = single.generate([noise(256)], single.prepare([source()]))
    fed = opened.feeds["made"][0]
    assert fed["domain"].tolist() == [1] and fed["domain"].dtype == np.int64
    crop = cv2.warpAffine(get_image("t1"), alignment(POINTS, "ffhq_512", 256), (256, 256))
    np.testing.assert_allclose(fed["reference"], planes(crop) * 2 - 1, atol=1e-5)
    np.testing.assert_allclose(fed["source"], planes(noise(256).pixels) * 2 - 1, atol=1e-5)
    other, _ = load("stargan_v2", {"domain": "female"}, made=made.stargan_single(tmp_path / "single.onnx"))
    (female,) = other.generate([noise(256)], other.prepare([source()]))
    assert cv2.absdiff(picture.pixels, female.pixels).max() > 2


@pytest.mark.parametrize(
    ("parameters", "domain", "error", "says"),
    [
        ({}, None, ConfigError, "several domains; name one with --domain: female, male"),
        ({"domains": ["a", "b", "c"], "domain": "d"}, None, ConfigError, "has no domain 'd'"),
        ({"domains": []}, "male", ConfigError, "one domain only; leave --domain out"),
        ({"style_encoder": "style", "domain": "male"}, None, ModelError, "a picture .* and a style code"),
        ({"side": 128, "domain": "male"}, None, ModelError, r"source\[1, 3, 128, 128\]"),
        ({"reference_input": "other", "domain": "male"}, None, ModelError, "the inputs source and other"),
    ],
)
def test_a_stargan_that_does_not_fit_is_refused(
    tmp_path: Path, parameters: dict[str, Any], domain: str | None, error: Any, says: str
) -> None:
    path = made.stargan_single(tmp_path / "single.onnx")
    with pytest.raises(error, match=says) as caught:
        load("stargan_v2", parameters, GeneratorOptions(domain=domain), made=path, style=path)
    assert "\n" not in str(caught.value)


# --- one person, or a pair ---------------------------------------------------------------------------------


@pytest.mark.parametrize("side", [64, 96, 224])
def test_a_dfm_of_any_side_sees_bgr_and_pastes_where_both_masks_are(tmp_path: Path, side: int) -> None:
    path = made.dfm_graph(tmp_path / "made.dfm", side=side)
    generator, opened = load("dfm", {}, made=path)
    assert (generator.side, generator.most_sources, generator.template) == (side, 0, "dfl_whole_face")
    crop = noise(side)
    (face,) = generator.generate([crop], generator.prepare([]))
    (fed,) = opened.feeds["made"]
    assert list(fed) == ["in_face:0"]
    np.testing.assert_allclose(fed["in_face:0"], crop.pixels[None] / 255, atol=1e-6)
    session = SessionFactory("cpu", threads=1).open(entry_of("dfm", {}), path)
    target, picture, celeb = session.run({"in_face:0": crop.pixels[None].astype(np.float32) / 255})
    assert np.abs(face.pixels - picture[0] * 255).max() <= 0.51
    assert face.mask is not None
    both = np.minimum(target, celeb)[0, :, :, 0] * 255
    assert np.abs(face.mask - both).max() <= 0.51
    assert np.abs(both - celeb[0, :, :, 0] * 255).max() > 2, "the masks must differ for this test to tell"


def test_the_morph_value_is_fed_as_one_number_and_every_crop_alone(tmp_path: Path) -> None:
    path = made.dfm_graph(tmp_path / "made.dfm", morph=True)
    pictures = {}
    for morph in (None, 0.25, 1.0):
        generator, opened = load("dfm", {}, GeneratorOptions(morph=morph), made=path)
        pictures[morph] = generator.generate([noise(128), noise(128, 1)], None)[0].pixels
        assert [feed["morph_value:0"].tolist() for feed in opened.feeds["made"]] == [[morph or 1.0]] * 2
    assert np.array_equal(pictures[None], pictures[1.0])
    assert cv2.absdiff(pictures[0.25], pictures[1.0]).max() > 2


@pytest.mark.parametrize("direction", ["a_to_b", "b_to_a"])
@pytest.mark.parametrize("kind", ["two graphs", "one graph"])
def test_a_pair_of_persons_is_swapped_both_ways(tmp_path: Path, kind: str, direction: Any) -> None:
    if kind == "two graphs":
        paths = {
            "made": made.faceswap_gan_graph(tmp_path / "b.onnx", seed=1),
            "back": made.faceswap_gan_graph(tmp_path / "a.onnx", seed=2),
        }
        parameters: dict[str, Any] = {"reverse": "back"}
        used = "made" if direction == "a_to_b" else "back"
    else:
        paths, used = {"made": made.faceswap_gan_pair(tmp_path / "pair.onnx")}, "made"
        parameters = {"outputs": {"a_to_b": ["alpha_b", "bgr_b"], "b_to_a": ["alpha_a", "bgr_a"]}}
    generator, opened = load("faceswap_gan_v2", parameters, GeneratorOptions(direction=direction), **paths)
    crop = noise(64)
    (face,) = generator.generate([crop], generator.prepare([]))
    assert generator.side == 64 and [name for name, fed in opened.feeds.items() if fed] == [used]
    (fed,) = opened.feeds[used]
    (seen,) = fed.values()
    np.testing.assert_allclose(seen, crop.pixels[None] / 127.5 - 1, atol=1e-5)
    session = SessionFactory("cpu", threads=1).open(entry_of("faceswap_gan_v2", {}), paths[used])
    out = dict(zip([node.name for node in session.outputs], session.run(fed), strict=True))
    if kind == "two graphs":
        opacity, picture = out["full"][0, :, :, 0], out["full"][0, :, :, 1:]
    else:
        opacity, picture = out[f"alpha_{direction[-1]}"][0, :, :, 0], out[f"bgr_{direction[-1]}"][0]
    assert np.abs(face.pixels - (picture + 1) * 127.5).max() <= 0.51
    assert face.mask is not None and np.abs(face.mask - opacity * 255).max() <= 0.51


def test_what_is_opaque_by_half_is_mixed_by_half(tmp_path: Path) -> None:
    """The authors' own sum, opacity · face + (1 - opacity) · target, is what the paste does with the mask."""
    generator, _ = load("faceswap_gan_v2", {}, made=made.faceswap_gan_echo(tmp_path / "echo.onnx", 64))
    (face,) = generator.generate([noise(64)], None)
    assert face.mask is not None and (face.mask == 255).all()
    assert np.array_equal(face.pixels, noise(64).pixels)


@pytest.mark.parametrize(
    ("family", "parameters", "build", "says"),
    [
        ("dfm", {}, made.faceswap_gan_graph, r"the inputs in_face:0 and maybe morph_value:0"),
        ("dfm", {"side": 256}, made.dfm_graph, "crops of 256"),
        ("faceswap_gan_v2", {"side": 256}, made.faceswap_gan_graph, r"a picture \(n, s, s, 3\) of 256"),
        ("faceswap_gan_v2", {}, made.stargan_single, "one input, a picture"),
        ("faceswap_gan_v2", {"outputs": {"a_to_b": ["x"]}}, made.faceswap_gan_graph, "the outputs x"),
        ("faceswap_gan_v2", {"outputs": {"a_to_b": ["side"]}}, made.faceswap_gan_graph, "64, 64, 4"),
        ("blendswap", {**BLENDSWAP, "source_side": 256}, made.blendswap_graph, r"source\[1, 3, 256, 256\]"),
        ("uniface", {**UNIFACE, "side": 512}, made.uniface_graph, r"target\[1, 3, 512, 512\]"),
        ("uniface", UNIFACE, graphs.ghost_graph, r"source\[1, 3, 256, 256\]"),
        ("uniface", {**UNIFACE, "source_std": (1, 0, 1)}, made.uniface_graph, "source_std must not hold 0"),
    ],
)
def test_a_graph_that_does_not_fit_is_refused_in_one_line(
    tmp_path: Path, family: str, parameters: dict[str, Any], build: Callable[[Path], Path], says: str
) -> None:
    with pytest.raises(ModelError, match=says) as caught:
        load(family, parameters, made=build(tmp_path / "made.onnx"))
    assert "\n" not in str(caught.value) and str(caught.value).startswith("model made")
