"""Identity-conditioned generators: what goes into the network, what comes out, which graphs are refused."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
from insightface.app.common import Face as InsightFace
from insightface.data import get_image
from insightface.model_zoo.arcface_onnx import ArcFaceONNX
from insightface.model_zoo.inswapper import INSwapper
from insightface.model_zoo.scrfd import SCRFD
from insightface.utils import face_align

from facefusion_runner.errors import ModelError, RunnerError
from facefusion_runner.faces.geometry import alignment, cut
from facefusion_runner.faces.types import Crop, Detection, Face, Float, Picture, SourceFace
from facefusion_runner.generators import Generator, GeneratorOptions
from facefusion_runner.models.catalog import Catalog, ModelEntry
from facefusion_runner.models.families import load_generator
from facefusion_runner.models.session import Session, SessionFactory
from tests.support import graphs

CROSSFACE = "crossface"

FAMILIES: Mapping[str, dict[str, Any]] = {
    "inswapper": {
        "template": "arcface_128",
        "side": 128,
        "source": "emap",
        "embedding_space": "w600k_r50",
    },
    "simswap": {
        "template": "arcface_112_v1",
        "side": 256,
        "mean": graphs.IMAGENET_MEAN,
        "std": graphs.IMAGENET_STD,
        "source": "normalised",
        "embedding_space": "own",
        "converters": {"w600k_r50": CROSSFACE},
    },
    "ghost": {
        "template": "arcface_112_v1",
        "side": 256,
        "mean": (0.5, 0.5, 0.5),
        "std": (0.5, 0.5, 0.5),
        "output_range": (-1.0, 1.0),
        "source": "raw",
        "embedding_space": "own",
        "converters": {"w600k_r50": CROSSFACE},
    },
    "hyperswap": {
        "template": "arcface_128",
        "side": 256,
        "mean": (0.5, 0.5, 0.5),
        "std": (0.5, 0.5, 0.5),
        "output_range": (-1.0, 1.0),
        "mask_output": True,
        "source": "normalised",
        "embedding_space": "w600k_r50",
    },
    "hififace": {
        "template": "mtcnn_512",
        "side": 256,
        "mean": (0.5, 0.5, 0.5),
        "std": (0.5, 0.5, 0.5),
        "output_range": (-1.0, 1.0),
        "source": "normalised",
        "embedding_space": "own",
        "converters": {"w600k_r50": CROSSFACE},
    },
}

GRAPHS: Mapping[str, Callable[..., Path]] = {
    "inswapper": graphs.inswapper_graph,
    "simswap": graphs.simswap_graph,
    "ghost": graphs.ghost_graph,
    "hyperswap": graphs.hyperswap_graph,
    "hififace": graphs.hififace_graph,
}

# Where InsightFace's scrfd_2.5g sees two of the faces of its picture t1.
FACE_POINTS = (
    [[760.17, 395.72], [801.92, 401.13], [770.84, 430.72], [763.38, 437.66], [805.56, 441.84]],
    [[491.71, 318.86], [540.76, 331.94], [507.10, 360.68], [483.94, 367.14], [531.91, 378.42]],
)


class Opened:
    """Opens graphs by id, and keeps the sessions so that a test can see what they were given."""

    def __init__(self, factory: SessionFactory, paths: Mapping[str, Path]) -> None:
        self._factory, self._paths = factory, paths
        self.feeds: list[dict[str, Any]] = []

    def __call__(self, model: str) -> Session:
        path = self._paths[model]
        session = self._factory.open(entry_of(model, path), path)
        run = session.run

        def recorded(feeds: Mapping[str, Any]) -> list[Any]:
            self.feeds.append(dict(feeds))
            return run(feeds)

        if model != CROSSFACE:
            session.run = recorded  # type: ignore[method-assign]
        return session


def entry_of(
    model: str, path: Path, family: str = "inswapper", parameters: Mapping[str, Any] | None = None
) -> ModelEntry:
    return ModelEntry(
        id=model,
        role="generator",
        family=family,
        file=path.name,
        licence="none",
        parameters=parameters or {},
    )


@pytest.fixture(scope="module")
def factory() -> SessionFactory:
    return SessionFactory("cpu", threads=1)


@pytest.fixture(scope="module")
def crossface(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return graphs.converter_graph(tmp_path_factory.mktemp("crossface") / "crossface.onnx")


Load = Callable[..., tuple[Generator, Opened]]


@pytest.fixture
def load(factory: SessionFactory, crossface: Path) -> Load:
    """Loads a graph as a model of a family; keywords replace the family's parameters."""

    def load_graph(path: Path, family: str, boost: int = 1, **changed: Any) -> tuple[Generator, Opened]:
        opened = Opened(factory, {"made": path, CROSSFACE: changed.pop("crossface", crossface)})
        parameters = {**FAMILIES[family], **changed}
        space = next(iter(parameters.get("converters", ())), None)
        options = GeneratorOptions(pixel_boost=boost, space=space)
        return load_generator(entry_of("made", path, family, parameters), opened, options), opened

    return load_graph


def echo(path: Path, family: str, **changed: Any) -> Path:
    """The graph that gives its input back, in the convention of a family."""
    told = FAMILIES[family]
    chosen = {key: told[key] for key in ("side", "mean", "std", "output_range") if key in told}
    chosen |= {"mask": told.get("mask_output", False), "emap": told["source"] == "emap"}
    return graphs.echo_graph(path, **{**chosen, **changed})


def noise(side: int, seed: int = 0) -> Picture:
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8)


def crop_of(pixels: Picture) -> Crop:
    return Crop(pixels, np.eye(2, 3))


def embedding_of(seed: int, length: float = 22.0, size: int = 512) -> Float:
    values = np.random.default_rng(seed).standard_normal(size)
    return (values / np.linalg.norm(values) * length).astype(np.float32)


def source_of(embedding: Float | None) -> SourceFace:
    points = np.array(FACE_POINTS[0], np.float32)
    face = Face(Detection(np.zeros(4, np.float32), 1.0, points), points, embedding=embedding)
    return SourceFace(np.zeros((2, 2, 3), np.uint8), face)


def unit(vector: Any) -> Any:
    return vector / np.linalg.norm(vector)


# --- the same as InsightFace -------------------------------------------------------------------------------


class Recording:
    """InsightFace's own session, which keeps what it was given."""

    def __init__(self, path: Path) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self.feeds: dict[str, Any] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    def run(self, outputs: Any, feeds: dict[str, Any]) -> Any:
        self.feeds = feeds
        return self._session.run(outputs, feeds)


def assert_swaps_like_insightface(load: Load, path: Path, points: Float, embedding: Float) -> None:
    picture = get_image("t1")
    session = Recording(path)
    theirs = INSwapper(str(path), session)
    their_fake, their_matrix = theirs.get(
        picture, InsightFace(kps=points), InsightFace(embedding=embedding), paste_back=False
    )
    their_crop, _ = face_align.norm_crop2(picture, points, 128)

    generator, opened = load(path, "inswapper")
    latent = generator.prepare([source_of(embedding)])
    matrix = alignment(points, generator.template, generator.side)
    crop = cut(picture, matrix, generator.side)
    (fake,) = generator.generate([Crop(crop, matrix)], latent)

    np.testing.assert_allclose(latent, session.feeds["source"], rtol=0, atol=1e-4)
    np.testing.assert_allclose(matrix, their_matrix, rtol=0, atol=1e-4)
    np.testing.assert_array_equal(crop, their_crop)
    np.testing.assert_allclose(opened.feeds[0]["target"], session.feeds["target"], rtol=0, atol=1e-4)
    assert their_fake.std() > 20, "the graph made a flat picture, which proves nothing"
    assert np.abs(fake.pixels.astype(int) - their_fake.astype(int)).max() <= 1


@pytest.mark.parametrize("points", FACE_POINTS)
def test_inswapper_swaps_like_insightface(load: Load, tmp_path: Path, points: Any) -> None:
    path = graphs.inswapper_graph(tmp_path / "inswapper.onnx")
    assert_swaps_like_insightface(load, path, np.array(points, np.float32), embedding_of(1))


def test_inswapper_swaps_like_insightface_on_faces_it_detected_and_embedded(
    load: Load, tmp_path: Path, shared: Path
) -> None:
    path = graphs.inswapper_graph(tmp_path / "inswapper.onnx")
    picture = get_image("t1")
    detector = SCRFD(str(shared / "models/detectors/scrfd_2.5g_bnkps.onnx"))
    detector.prepare(-1, input_size=(640, 640))
    _, points = detector.detect(picture)
    encoder = ArcFaceONNX(str(shared / "models/embedders/arcface_mbf_insightface_512.onnx"))
    encoder.prepare(-1)
    embedding = encoder.get(picture, InsightFace(kps=points[1]))
    assert len(points) == 6
    assert_swaps_like_insightface(load, path, points[0], embedding)


# --- pixels in, pixels out ---------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
def test_a_network_that_gives_its_input_back_gives_the_crop_back(
    load: Load, tmp_path: Path, family: str
) -> None:
    generator, _ = load(echo(tmp_path / "echo.onnx", family), family)
    crop = crop_of(noise(generator.side))
    (made,) = generator.generate([crop], generator.prepare([source_of(embedding_of(1))]))
    assert made.pixels.dtype == np.uint8
    assert np.abs(made.pixels.astype(int) - crop.pixels.astype(int)).max() <= 1


@pytest.mark.parametrize("boost", [1, 2, 4])
@pytest.mark.parametrize("batch", [1, "batch"])
@pytest.mark.parametrize("family", ["inswapper", "hyperswap"])
def test_pixel_boost_puts_every_pixel_back_where_it_was(
    load: Load, tmp_path: Path, family: str, batch: int | str, boost: int
) -> None:
    generator, _ = load(echo(tmp_path / "echo.onnx", family, batch=batch), family, boost)
    assert generator.side == FAMILIES[family]["side"] * boost
    crops = [crop_of(noise(generator.side, seed)) for seed in (1, 2)]
    made = generator.generate(crops, generator.prepare([source_of(embedding_of(1))]))
    for one, crop in zip(made, crops, strict=True):
        np.testing.assert_array_equal(one.pixels, crop.pixels)
        if family == "hyperswap":
            assert one.mask is not None
            np.testing.assert_array_equal(one.mask, crop.pixels[..., 2])


def test_with_pixel_boost_the_network_sees_every_kth_pixel(load: Load, tmp_path: Path) -> None:
    generator, opened = load(echo(tmp_path / "echo.onnx", "inswapper", batch="batch"), "inswapper", 2)
    pixels = noise(256)
    generator.generate([crop_of(pixels)], generator.prepare([source_of(embedding_of(1))]))
    rgb = pixels[..., ::-1].transpose(2, 0, 1) / 255
    for tile, (row, column) in zip(opened.feeds[0]["target"], [(0, 0), (0, 1), (1, 0), (1, 1)], strict=True):
        np.testing.assert_allclose(tile, rgb[:, row::2, column::2], atol=1e-6)


def test_hyperswap_hands_its_mask_on_and_the_others_have_none(load: Load, tmp_path: Path) -> None:
    source = source_of(embedding_of(1))
    for family in FAMILIES:
        generator, _ = load(GRAPHS[family](tmp_path / f"{family}.onnx"), family)
        (made,) = generator.generate([crop_of(noise(generator.side))], generator.prepare([source]))
        assert made.pixels.shape == (generator.side, generator.side, 3)
        if family == "hyperswap":
            assert made.mask is not None
            assert made.mask.shape == (generator.side, generator.side)
            assert made.mask.dtype == np.uint8
            assert made.mask.std() > 5
        else:
            assert made.mask is None


def test_what_lies_outside_the_output_range_becomes_black_or_white(load: Load, tmp_path: Path) -> None:
    path = echo(tmp_path / "echo.onnx", "ghost", gain=2.0)
    generator, _ = load(path, "ghost")
    pixels = noise(generator.side)
    (made,) = generator.generate([crop_of(pixels)], generator.prepare([source_of(embedding_of(1))]))
    expected = np.minimum(pixels.astype(int) * 2, 255)
    assert np.abs(made.pixels.astype(int) - expected).max() <= 1


def test_a_network_that_overflows_fails_instead_of_making_a_black_face(load: Load, tmp_path: Path) -> None:
    path = echo(tmp_path / "echo.onnx", "inswapper", precision="float16", gain=float("inf"))
    generator, _ = load(path, "inswapper")
    with pytest.raises(RunnerError, match=r"^model made wrote values that are not numbers"):
        generator.generate([crop_of(noise(128))], generator.prepare([source_of(embedding_of(1))]))


def test_another_source_makes_another_picture(load: Load, tmp_path: Path) -> None:
    for family in FAMILIES:
        generator, _ = load(GRAPHS[family](tmp_path / f"{family}.onnx"), family)
        crop = crop_of(noise(generator.side))
        first, second = (
            generator.generate([crop], generator.prepare([source_of(embedding_of(seed))]))[0].pixels
            for seed in (1, 2)
        )
        assert np.abs(first.astype(int) - second.astype(int)).mean() > 1, family


# --- batches -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
def test_a_batch_makes_the_same_as_one_by_one(load: Load, tmp_path: Path, family: str) -> None:
    one_by_one, _ = load(GRAPHS[family](tmp_path / "fixed.onnx", batch=1), family)
    together, opened = load(GRAPHS[family](tmp_path / "open.onnx", batch="batch"), family)
    source = together.prepare([source_of(embedding_of(1))])
    crops = [crop_of(noise(together.side, seed)) for seed in range(3)]
    singles = [one_by_one.generate([crop], source)[0] for crop in crops]
    batch = together.generate(crops, source)
    assert len(opened.feeds) == 1
    for made, single in zip(batch, singles, strict=True):
        assert np.abs(made.pixels.astype(int) - single.pixels.astype(int)).max() <= 1


def test_a_graph_with_a_fixed_batch_runs_crop_by_crop(load: Load, tmp_path: Path) -> None:
    generator, opened = load(graphs.inswapper_graph(tmp_path / "fixed.onnx"), "inswapper")
    source = generator.prepare([source_of(embedding_of(1))])
    assert len(generator.generate([crop_of(noise(128, seed)) for seed in range(3)], source)) == 3
    assert [feeds["target"].shape for feeds in opened.feeds] == [(1, 3, 128, 128)] * 3


def test_the_tiles_of_a_boosted_crop_are_one_batch(load: Load, tmp_path: Path) -> None:
    generator, opened = load(echo(tmp_path / "echo.onnx", "inswapper", batch="batch"), "inswapper", 4)
    generator.generate([crop_of(noise(512))], generator.prepare([source_of(embedding_of(1))]))
    assert [feeds["target"].shape for feeds in opened.feeds] == [(16, 3, 128, 128)]


def test_memory_is_bounded_however_many_crops_come_at_once(load: Load, tmp_path: Path) -> None:
    generator, opened = load(echo(tmp_path / "echo.onnx", "inswapper", batch="batch"), "inswapper", 2)
    crops = [crop_of(noise(256, seed)) for seed in range(5)]
    made = generator.generate(crops, generator.prepare([source_of(embedding_of(1))]))
    assert [len(feeds["target"]) for feeds in opened.feeds] == [16, 4]
    for one, crop in zip(made, crops, strict=True):
        np.testing.assert_array_equal(one.pixels, crop.pixels)


def test_no_crops_make_no_faces(load: Load, tmp_path: Path) -> None:
    generator, opened = load(echo(tmp_path / "echo.onnx", "inswapper"), "inswapper")
    assert generator.generate([], generator.prepare([source_of(embedding_of(1))])) == []
    assert opened.feeds == []


# --- half precision ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("io_precision", ["float16", "float32"])
def test_a_half_precision_inswapper_makes_nearly_the_same_face(
    load: Load, tmp_path: Path, io_precision: graphs.Precision
) -> None:
    full, _ = load(graphs.inswapper_graph(tmp_path / "full.onnx"), "inswapper")
    half, _ = load(
        graphs.inswapper_graph(tmp_path / "half.onnx", precision="float16", io_precision=io_precision),
        "inswapper",
    )
    sources = [source_of(embedding_of(1))]
    crop = crop_of(cut(get_image("t1"), alignment(np.array(FACE_POINTS[0]), "arcface_128", 128), 128))
    np.testing.assert_allclose(half.prepare(sources), full.prepare(sources), atol=1e-3)
    expected = full.generate([crop], full.prepare(sources))[0].pixels.astype(int)
    made = half.generate([crop], half.prepare(sources))[0].pixels.astype(int)
    assert np.abs(made - expected).mean() < 1


@pytest.mark.parametrize("family", FAMILIES)
def test_half_precision_gives_the_crop_back(load: Load, tmp_path: Path, family: str) -> None:
    generator, _ = load(echo(tmp_path / "echo.onnx", family, precision="float16"), family)
    crop = crop_of(noise(generator.side))
    (made,) = generator.generate([crop], generator.prepare([source_of(embedding_of(1))]))
    assert np.abs(made.pixels.astype(int) - crop.pixels.astype(int)).max() <= 1


# --- the source --------------------------------------------------------------------------------------------


def converted(factory: SessionFactory, crossface: Path, embedding: Float) -> Float:
    return factory.open(entry_of(CROSSFACE, crossface), crossface).run({"input": embedding[None]})[0][0]


def test_the_inswapper_latent_is_the_direction_times_the_emap_at_length_one(
    load: Load, tmp_path: Path
) -> None:
    path = graphs.inswapper_graph(tmp_path / "inswapper.onnx")
    emap = onnx.numpy_helper.to_array(onnx.load(path).graph.initializer[-1])
    embedding = embedding_of(1)
    latent = load(path, "inswapper")[0].prepare([source_of(embedding)])
    assert latent.shape == (1, 512)
    assert latent.dtype == np.float32
    np.testing.assert_allclose(latent[0], unit(unit(embedding) @ emap), atol=1e-6)


def test_the_hyperswap_source_is_the_normalised_embedding(load: Load, tmp_path: Path) -> None:
    generator, _ = load(echo(tmp_path / "echo.onnx", "hyperswap"), "hyperswap")
    embedding = embedding_of(1)
    np.testing.assert_allclose(generator.prepare([source_of(embedding)])[0], unit(embedding), atol=1e-6)


def test_the_ghost_source_is_the_converted_embedding_as_it_is(
    load: Load, tmp_path: Path, factory: SessionFactory, crossface: Path
) -> None:
    generator, _ = load(echo(tmp_path / "echo.onnx", "ghost"), "ghost")
    embedding = embedding_of(1)
    expected = converted(factory, crossface, embedding)
    assert abs(np.linalg.norm(expected) - 1) > 0.5
    np.testing.assert_allclose(generator.prepare([source_of(embedding)])[0], expected, atol=1e-5)


@pytest.mark.parametrize("family", ["simswap", "hififace"])
def test_the_simswap_and_hififace_sources_are_converted_and_then_normalised(
    load: Load, tmp_path: Path, factory: SessionFactory, crossface: Path, family: str
) -> None:
    generator, _ = load(echo(tmp_path / "echo.onnx", family), family)
    embedding = embedding_of(1)
    expected = unit(converted(factory, crossface, embedding))
    np.testing.assert_allclose(generator.prepare([source_of(embedding)])[0], expected, atol=1e-6)


def test_a_source_without_a_converter_may_be_raw(load: Load, tmp_path: Path) -> None:
    generator, _ = load(echo(tmp_path / "echo.onnx", "ghost"), "ghost", converters={})
    embedding = embedding_of(1)
    np.testing.assert_array_equal(generator.prepare([source_of(embedding)])[0], embedding)


def test_several_sources_are_averaged_by_direction_and_keep_their_length(load: Load, tmp_path: Path) -> None:
    generator, _ = load(echo(tmp_path / "echo.onnx", "ghost"), "ghost", converters={})
    faint, clear = embedding_of(1, length=5), embedding_of(2, length=25)
    mean = generator.prepare([source_of(faint), source_of(clear)])[0]
    np.testing.assert_allclose(unit(mean), unit(unit(faint) + unit(clear)), atol=1e-6)
    assert np.linalg.norm(mean) == pytest.approx(15, rel=1e-5)


def test_the_same_source_twice_is_that_source(load: Load, tmp_path: Path) -> None:
    generator, _ = load(graphs.inswapper_graph(tmp_path / "inswapper.onnx"), "inswapper")
    source = source_of(embedding_of(1))
    np.testing.assert_allclose(generator.prepare([source, source]), generator.prepare([source]), atol=1e-6)


def test_a_generator_names_its_template_and_the_space_of_its_embeddings(load: Load, tmp_path: Path) -> None:
    generator, _ = load(echo(tmp_path / "echo.onnx", "hififace"), "hififace", embedding_space="other")
    assert generator.template == "mtcnn_512"
    assert generator.embedding_spaces == ("other", "w600k_r50")
    assert not generator.needs_landmarks


# --- graphs and entries that do not fit --------------------------------------------------------------------


def test_inputs_may_keep_the_names_their_exporter_gave(load: Load, tmp_path: Path) -> None:
    path = graphs.simswap_unofficial_graph(tmp_path / "simswap_512.onnx")
    plain = {"side": 512, "mean": (0, 0, 0), "std": (1, 1, 1)}
    with pytest.raises(
        ModelError, match=r"expected the inputs target and source; found input\[.*onnx::Gemm_1\["
    ):
        load(path, "simswap", **plain)
    generator, _ = load(path, "simswap", **plain, target_input="input", source_input="onnx::Gemm_1")
    (made,) = generator.generate([crop_of(noise(512))], generator.prepare([source_of(embedding_of(1))]))
    assert made.pixels.std() > 20


def unfit_graphs() -> Sequence[Any]:
    def echo_of(**changed: Any) -> Callable[[Path], Path]:
        return lambda path: echo(path, "inswapper", **changed)

    return [
        pytest.param("inswapper", {}, echo_of(side=256), r"expected target\[1, 3, 128, 128\]", id="side"),
        pytest.param("inswapper", {}, echo_of(emap=False), r"expected a 512x512 initializer", id="no-emap"),
        pytest.param("inswapper", {}, echo_of(identity_size=256), "source of 512 values", id="source-size"),
        pytest.param("inswapper", {}, echo_of(batch=4), r"expected target\[1, 3, 128, 128\]", id="batch"),
        pytest.param(
            "inswapper", {"mask_output": True}, echo_of(), "mask as the second output", id="no-mask"
        ),
        pytest.param(
            "simswap", {"side": 128}, echo_of(identity_size=100), r"output\[1, 100\]", id="converter"
        ),
        pytest.param("inswapper", {}, graphs.converter_graph, "inputs target and source", id="inputs"),
    ]


@pytest.mark.parametrize(("family", "changed", "build", "says"), unfit_graphs())
def test_a_graph_that_does_not_fit_is_refused_in_one_line(
    load: Load,
    tmp_path: Path,
    family: str,
    changed: dict[str, Any],
    build: Callable[[Path], Path],
    says: str,
) -> None:
    with pytest.raises(ModelError, match=says) as caught:
        load(build(tmp_path / "graph.onnx"), family, **changed)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(("model made: ", "model crossface: "))


def test_a_converter_must_be_one_vector_to_one_vector(load: Load, tmp_path: Path) -> None:
    two_inputs = echo(tmp_path / "echo.onnx", "simswap")
    with pytest.raises(ModelError, match=r"^model crossface: .* expected 1 input and 1 output; found target"):
        load(two_inputs, "simswap", crossface=two_inputs)


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"template": "arcface_129"}, "parameter template: Input should be 'arcface_112_v1'"),
        ({"std": (1.0, 0.0, 1.0)}, "std must not hold 0"),
        ({"output_range": (1.0, 1.0)}, "output_range must be"),
        ({"source": "embedding"}, "parameter source: "),
        ({"sides": 128}, "parameter sides: "),
    ],
)
def test_a_catalog_entry_with_a_wrong_parameter_is_refused(
    load: Load, tmp_path: Path, changed: dict[str, Any], says: str
) -> None:
    path = echo(tmp_path / "echo.onnx", "inswapper")
    with pytest.raises(ModelError, match=says):
        load(path, "inswapper", **changed)


@pytest.mark.parametrize("family", ["inswapper", "hyperswap", "ghost"])
def test_embeddings_of_another_length_are_refused(load: Load, tmp_path: Path, family: str) -> None:
    generator, _ = load(echo(tmp_path / "echo.onnx", family), family)
    with pytest.raises(ModelError, match=r"takes embeddings of 512 values in the space w600k_r50.*gives 128"):
        generator.prepare([source_of(embedding_of(1, size=128))])


def public_generators() -> list[ModelEntry]:
    entries = Catalog.load(Path("no-models")).entries("generator")
    return [entry for entry in entries if entry.family in FAMILIES]


@pytest.mark.parametrize("entry", public_generators(), ids=lambda entry: entry.id)
def test_the_catalog_describes_a_network_like_the_public_one(
    factory: SessionFactory, crossface: Path, tmp_path: Path, entry: ModelEntry
) -> None:
    build = {512: graphs.simswap_unofficial_graph}.get(entry.parameters["side"], GRAPHS[entry.family])
    path = build(tmp_path / entry.file)
    generator = load_generator(
        entry, lambda model: factory.open(entry, path if model == entry.id else crossface)
    )
    (made,) = generator.generate(
        [crop_of(noise(generator.side))], generator.prepare([source_of(embedding_of(1))])
    )
    # A wrong range would leave half of the values at black or white.
    assert np.isin(made.pixels, (0, 255)).mean() < 0.2


def test_the_full_width_graph_has_the_size_of_the_real_inswapper(tmp_path: Path) -> None:
    def parameters(width: int) -> int:
        path = graphs.inswapper_graph(tmp_path / f"{width}.onnx", width=width)
        return sum(int(np.prod(tensor.dims)) for tensor in onnx.load(path).graph.initializer)

    # The count is a quadratic in the width; three points give it.
    widths = np.array([8, 16, 32])
    quadratic = np.polyfit(widths, [parameters(int(width)) for width in widths], 2)
    assert np.polyval(quadratic, graphs.FULL_WIDTH) * 4 == pytest.approx(554_253_681, rel=1e-3)


def test_the_crop_is_cut_at_the_boosted_side(load: Load, tmp_path: Path) -> None:
    generator, _ = load(echo(tmp_path / "echo.onnx", "inswapper"), "inswapper", 2)
    points = np.array(FACE_POINTS[0], np.float32)
    small = cut(get_image("t1"), alignment(points, generator.template, 128), 128)
    large = cut(get_image("t1"), alignment(points, generator.template, generator.side), generator.side)
    # Every second pixel of the large crop lies where a pixel of the small one does.
    difference = cv2.absdiff(large[::2, ::2], small)
    assert difference.mean() < 1
