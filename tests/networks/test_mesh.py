"""The mesh generator: what a user sees in the swapped face, on made-up heads and on real portraits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import onnxruntime as ort
import pytest
from numpy.typing import NDArray

from facefusion_runner.errors import ModelError, NoFaceError
from facefusion_runner.faces.geometry import alignment, apply, cut
from facefusion_runner.faces.types import Crop, Detection, Face, Float, Generated, Picture, SourceFace
from facefusion_runner.generators import GeneratorOptions, drawing
from facefusion_runner.generators import mesh as family
from facefusion_runner.generators.mesh import Blender, MeshGenerator, Parameters
from facefusion_runner.generators.rings import EYES, INNER_LIPS, LEFT_EYE, OUTLINE
from facefusion_runner.generators.shape import RAISE, canonical, lent, raised
from facefusion_runner.generators.texture import Texture, texture_points
from facefusion_runner.generators.topology import (
    LAYOUT,
    MIRROR,
    POINT_COUNT,
    POINTS,
    TRIANGLES,
    areas,
)
from facefusion_runner.landmarkers.schemes import five_points, of_mesh
from facefusion_runner.models.catalog import ModelEntry
from facefusion_runner.models.families import load_generator
from facefusion_runner.models.session import Session, SessionFactory
from facefusion_runner.segmenters import CLASSES, GLASSES, HAIR, OCCLUDER, SKIN
from tests.support.graphs import GraphBuilder, Tensor

SIDE = 256


def no_model(model: str) -> Session:
    raise AssertionError(f"the family has no weights, yet it opened {model}")


def generator(**parameters: object) -> MeshGenerator:
    return family.load(entry(**parameters), no_model, GeneratorOptions())


def entry(**parameters: object) -> ModelEntry:
    return ModelEntry(
        id="mesh", role="generator", family="mesh", file="", licence="apache-2.0", parameters=parameters
    )


def posed(yaw: float = 0.0, pitch: float = 0.0, points: NDArray[np.float64] = POINTS) -> NDArray[np.float64]:
    """Points (n, 3) of a head in its own units, turned by degrees; seen without perspective."""
    y, p = np.radians([yaw, pitch])
    turn = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    nod = np.array([[1, 0, 0], [0, np.cos(p), -np.sin(p)], [0, np.sin(p), np.cos(p)]])
    return np.asarray(points @ (nod @ turn).T, np.float64)


def head(yaw: float = 0.0, pitch: float = 0.0, size: float = 60.0) -> Float:
    """The mesh (468, 3) of a head with a closed mouth in the middle of a 256 px picture."""
    points = POINTS.copy()
    half = len(INNER_LIPS) // 2
    for upper, lower in zip(INNER_LIPS[1:half], INNER_LIPS[:half:-1], strict=True):
        points[[upper, lower]] = points[[upper, lower]].mean(0)
    return np.asarray(posed(yaw, pitch, points) * size + (SIDE / 2, SIDE * 0.45, 0), np.float32)


def moved(mesh: Float, x: float, y: float) -> Float:
    return mesh + np.array([x, y, 0], np.float32)


def face_of(mesh: Float | None) -> Face:
    points, landmarks = np.zeros((5, 2), np.float32), None
    if mesh is not None and len(mesh) == POINT_COUNT:
        landmarks = of_mesh(mesh).points
        points = five_points(landmarks)
    box = np.array([0, 0, SIDE, SIDE], np.float32)
    return Face(Detection(box, 1.0, points), points, landmarks, mesh)


def source(picture: Picture, mesh: Float | None) -> SourceFace:
    return SourceFace(picture, face_of(mesh))


def crop(picture: Picture, mesh: Float | None) -> Crop:
    return Crop(picture, np.eye(2, 3), None, mesh)


def flat(*colour: int) -> Picture:
    return np.full((SIDE, SIDE, 3), colour, np.uint8)


def mottled(*colour: int, seed: int = 0) -> Picture:
    """Skin of one colour with soft detail."""
    noise = np.random.default_rng(seed).normal(0, 60, (SIDE, SIDE, 1)).astype(np.float32)
    detail = cv2.GaussianBlur(noise, (0, 0), 2)[..., None]
    return np.asarray(np.clip(np.array(colour, np.float32) + detail, 0, 255), np.uint8)


def swapped(of: SourceFace, onto: Crop, **parameters: object) -> Generated:
    made = generator(**parameters)
    return made.generate([onto], made.prepare([of]))[0]


def mask_of(result: Generated) -> NDArray[np.uint8]:
    assert result.mask is not None
    return result.mask


@pytest.fixture
def portrait(shared: Path) -> Callable[[str], SourceFace]:
    """A real portrait with the landmarks of a real network."""

    def read(name: str) -> SourceFace:
        picture = cv2.imread(str(shared / "faces" / "house512" / name))
        assert picture is not None
        detector = cv2.FaceDetectorYN.create(
            str(shared / "models" / "detectors" / "yunet_n_640_640.onnx"), "", (640, 640), 0.6
        )
        _, found = detector.detect(cv2.copyMakeBorder(picture, 0, 128, 0, 128, cv2.BORDER_CONSTANT))
        left, top, width, height = found[0][:4]
        side = 1.5 * max(width, height)
        corner = np.array([left + width / 2 - side / 2, top + height / 2 - side / 2])
        matrix = np.column_stack([np.eye(2) * 192 / side, -corner * 192 / side])
        network = ort.InferenceSession(str(shared / "models" / "landmarks" / "FaceMesh_468.onnx"))
        seen = cv2.warpAffine(picture, matrix, (192, 192))[None, :, :, ::-1].astype(np.float32) / 255
        mesh = network.run(None, {network.get_inputs()[0].name: seen})[0].reshape(POINT_COUNT, 3)
        return source(picture, (mesh * side / 192 + [*corner, 0]).astype(np.float32))

    return read


def portrait_crop(face: SourceFace, made: MeshGenerator) -> Crop:
    matrix = alignment(face.face.points, made.template, made.side)
    assert face.face.mesh is not None
    return Crop(cut(face.picture, matrix, made.side), matrix, None, apply(matrix, face.face.mesh))


# The fixed mesh


def test_the_mesh_is_symmetric_and_every_triangle_of_the_texture_stands_upright() -> None:
    assert (MIRROR[MIRROR] == np.arange(POINT_COUNT)).all()
    assert np.allclose(POINTS[MIRROR] * (-1, 1, 1), POINTS, atol=1e-6)
    triangles = {frozenset(t) for t in TRIANGLES.tolist()}
    same = {frozenset(MIRROR[list(t)].tolist()) for t in triangles} & triangles
    assert len(same) > 0.96 * len(triangles), "only across the middle a square may be cut either way"
    assert areas(LAYOUT).min() > 0


def test_the_triangles_meet_edge_to_edge_and_leave_no_hole() -> None:
    edges: dict[tuple[int, int], int] = {}
    for a, b, c in TRIANGLES.tolist():
        for edge in ((a, b), (b, c), (c, a)):
            edges[edge] = edges.get(edge, 0) + 1
    assert set(edges.values()) == {1}, "two triangles on the same side of an edge"
    outline = {edge for edge in edges if (edge[1], edge[0]) not in edges}
    assert outline == set(zip(OUTLINE, OUTLINE[1:] + OUTLINE[:1], strict=True))


def test_lids_and_lips_are_edges_of_the_mesh() -> None:
    edges = {frozenset((t[i], t[(i + 1) % 3])) for t in TRIANGLES.tolist() for i in range(3)}
    for ring in (INNER_LIPS, *EYES):
        assert {frozenset(edge) for edge in zip(ring, ring[1:] + ring[:1], strict=True)} <= edges


@pytest.mark.parametrize("yaw", [-60, -45, -30, -15, 0, 15, 30, 45, 60])
def test_no_triangle_is_drawn_folded_for_a_turned_head(yaw: float) -> None:
    mesh = head(yaw)
    drawn = drawing._triangle_map(mesh, drawing._painted(mesh, SIDE), SIDE)
    shown = np.unique(drawn[drawn >= 0])
    assert areas(mesh)[shown].min() > 0
    assert len(shown) > 300
    nose_tip = mesh[1].round().astype(int)
    near = drawn[nose_tip[1] - 1 : nose_tip[1] + 2, nose_tip[0] - 1 : nose_tip[0] + 2]
    assert 1 in TRIANGLES[near], "the nose lies in front of the far cheek"


# What is drawn


def test_a_face_put_on_itself_stays_as_it_is(portrait: Callable[[str], SourceFace]) -> None:
    made = generator()
    for name in ("adam-smith.jpg", "terri-sewell.jpg"):
        face = portrait(name)
        onto = portrait_crop(face, made)
        result = made.generate([onto], made.prepare([face]))[0]
        inside = mask_of(result) > 250
        assert inside.sum() > 8000
        difference = cv2.absdiff(result.pixels, onto.pixels)[inside]
        assert difference.mean() < 4
        assert np.percentile(difference, 95) < 14


def test_the_result_is_recognised_as_the_source(shared: Path, portrait: Callable[[str], SourceFace]) -> None:
    network = ort.InferenceSession(str(shared / "models" / "embedders" / "arcface_mbf_foamliu_512.onnx"))
    made = generator()
    faces = [portrait(name) for name in ("adam-smith.jpg", "terri-sewell.jpg", "adrian-smith.jpg")]

    def embedding(picture: Picture, matrix: NDArray[np.float64]) -> NDArray[np.float32]:
        pixels = cut(picture, matrix, 112)[None, :, :, ::-1].transpose(0, 3, 1, 2) / np.float32(127.5) - 1
        vector = network.run(None, {network.get_inputs()[0].name: pixels})[0][0]
        return np.asarray(vector / np.linalg.norm(vector), np.float32)

    likeness = []
    for of, onto in zip(faces, faces[1:] + faces[:1], strict=True):
        target = portrait_crop(onto, made)
        result = made.generate([target], made.prepare([of]))[0]
        share = mask_of(result)[..., None] / np.float32(255)
        pasted = (result.pixels * share + target.pixels * (1 - share)).astype(np.uint8)
        points = apply(target.matrix, onto.face.points)
        after = embedding(pasted, alignment(points, "arcface_112_v2", 112))
        wanted, was = (
            embedding(face.picture, alignment(face.face.points, "arcface_112_v2", 112)) for face in (of, onto)
        )
        assert after @ wanted > was @ wanted + 0.2
        likeness.append((after @ wanted, after @ was))
    to_source, to_target = np.mean(likeness, 0)
    assert to_source > to_target + 0.1


@pytest.mark.parametrize("yaw", [-45, 45])
def test_the_hidden_side_is_taken_from_the_mirror_side(yaw: float) -> None:
    """The far cheek of a turned source is painted green; nothing of it may reach a frontal target."""
    landmarks = head(yaw)
    points = landmarks[:, :2]
    sides = [np.flatnonzero((POINTS[TRIANGLES, 0] * sign > 0.4).all(1)) for sign in (-1, 1)]
    far = min(sides, key=lambda side: areas(landmarks)[side].sum())
    picture = mottled(120, 150, 200)
    for triangle in TRIANGLES[far]:
        cv2.fillConvexPoly(picture, np.rint(points[triangle]).astype(np.int32), (0, 255, 0))
    assert (picture[..., 1] == 255).sum() > 200, "the picture shows some green"
    texture = generator().prepare([source(picture, landmarks)])
    for sign in (-1, 1):
        blue, green, red = texel(texture, sign * 0.68, 0.6)
        assert red > green > blue, "a green cheek came through"


def texel(texture: Texture, x: float, y: float) -> NDArray[np.float64]:
    """The mean colour of the texture around the mesh point nearest to a place on the head."""
    nearest = np.linalg.norm(POINTS[:, :2] - (x, y), axis=1).argmin()
    u, v = np.rint(texture_points(len(texture.pixels))[nearest]).astype(int)
    return np.asarray(texture.pixels[v - 4 : v + 5, u - 4 : u + 5, :3].reshape(-1, 3).mean(0), np.float64)


def test_several_sources_complete_each_other() -> None:
    """One picture shows the left side, one the right; together no side is a mirror picture."""
    painted = {}
    for yaw in (-45, 45):
        landmarks = head(yaw)
        picture = flat(120, 150, 200)
        whole = landmarks[:, :2]
        for number in drawing._painted(landmarks, SIDE):
            x = POINTS[TRIANGLES[number], 0].mean()
            shade = (120, 150, 230) if x > 0 else (120, 150, 170)
            cv2.fillConvexPoly(picture, np.rint(whole[TRIANGLES[number]]).astype(np.int32), shade)
        painted[yaw] = source(picture, landmarks)
    both = generator().prepare(list(painted.values()))
    assert texel(both, -0.68, 0.36)[2] == pytest.approx(170, abs=12)
    assert texel(both, 0.68, 0.36)[2] == pytest.approx(230, abs=12)


LOWER_LIPS = (*INNER_LIPS[11:], 17, 314, 405, 321, 84, 181, 91, 16, 15, 315, 316, 85, 86)


def opened() -> Float:
    """A head with an open mouth."""
    mesh = head()
    mesh[list(LOWER_LIPS), 1] += 14
    return mesh


def filled(picture: Picture, mesh: Float, ring: tuple[int, ...], colour: tuple[int, int, int]) -> None:
    cv2.fillPoly(picture, [np.rint(mesh[list(ring), :2]).astype(np.int32)], colour)


def test_the_targets_open_mouth_stays() -> None:
    mesh = opened()
    target = mottled(110, 140, 190)
    filled(target, mesh, INNER_LIPS, (40, 20, 30))
    result = swapped(source(mottled(130, 160, 210, seed=1), head()), crop(target, mesh))
    inner = np.zeros((SIDE, SIDE, 3), np.uint8)
    filled(inner, mesh, INNER_LIPS, (255, 255, 255))
    open_mouth = cv2.erode(inner[..., 0], np.ones((7, 7), np.uint8)) > 0
    assert open_mouth.sum() > 50
    assert np.abs(result.pixels[open_mouth].astype(int) - target[open_mouth]).max() <= 2
    assert mask_of(result)[open_mouth].min() == 255


def test_a_closed_mouth_is_the_sources() -> None:
    mesh = head()
    target = mottled(110, 140, 190)
    ends = [mesh[k, :2].astype(int).tolist() for k in (78, 308)]
    cv2.line(target, ends[0], ends[1], (0, 255, 0), 3)
    result = swapped(source(mottled(130, 160, 210, seed=1), mesh), crop(target, mesh))
    x, y = mesh[13, :2].round().astype(int)
    blue, green, red = result.pixels[y - 1 : y + 2, x - 8 : x + 9].reshape(-1, 3).mean(0)
    assert red > green > blue


def test_eyes_are_the_targets_only_when_asked_for() -> None:
    mesh = head()
    target = mottled(110, 140, 190)
    for eye in EYES:
        filled(target, mesh, eye, (255, 0, 0))
    x, y = mesh[list(LEFT_EYE), :2].mean(0).round().astype(int)
    of = source(mottled(130, 160, 210, seed=1), mesh)
    kept = swapped(of, crop(target, mesh), keep_eyes=True).pixels[y, x].astype(int)
    given = swapped(of, crop(target, mesh)).pixels[y, x].astype(int)
    assert kept[0] - kept[2] > 150
    assert given[2] > given[0]


def test_the_face_takes_on_some_of_the_sources_shape_within_the_targets_outline() -> None:
    mesh, wide = head(), head()
    eyes = [k for ring in EYES for k in ring]
    wide[eyes, 0] += np.sign(wide[eyes, 0] - SIDE / 2) * 6
    moved_eyes = lent(mesh, canonical(wide), 0.5) - mesh
    assert (np.sign(moved_eyes[eyes, 0]) == np.sign(mesh[eyes, 0] - SIDE / 2)).all()
    assert 0.5 < np.abs(moved_eyes[eyes, 0]).mean() < 3
    assert np.abs(moved_eyes[list(OUTLINE)]).max() < 0.1
    assert np.allclose(lent(mesh, canonical(mesh), 0.5), mesh, atol=0.2)
    assert np.allclose(lent(mesh, canonical(wide), 0.0), mesh)


@pytest.mark.parametrize("yaw", [-40, 0, 40])
def test_a_shape_is_lent_in_the_targets_pose(yaw: float) -> None:
    shape = canonical(head())
    assert np.allclose(canonical(head(yaw, size=90)), shape, atol=1e-3)
    assert np.allclose(lent(head(yaw), shape, 1.0), head(yaw), atol=0.05)


@pytest.mark.parametrize("yaw", [-40, 0, 40])
def test_the_forehead_is_drawn_further_up_in_any_pose_and_nothing_else_moves(yaw: float) -> None:
    mesh = head(yaw)
    change = (raised(mesh) - mesh) / 60
    top, chin = 10, 152
    assert change[top, 1] == pytest.approx(-RAISE, abs=0.03)
    assert np.linalg.norm(change, axis=1).max() < 1.05 * RAISE
    below = POINTS[:, 1] > -0.3
    assert below[chin] and np.abs(change[below]).max() < 1e-3
    moved_points = np.linalg.norm(change, axis=1) > 1e-3
    assert set(np.flatnonzero(moved_points)) < set(OUTLINE)
    assert (areas(raised(mesh))[areas(mesh) > 0] > 0).all(), "no triangle is turned over"


# What lies over skin


class Painted:
    """A segmenter that tells parts by their colours: green is glasses, blue a hand, black hair."""

    template = "ffhq_512"

    def segment(self, crops: Sequence[Picture]) -> Float:
        parts = np.zeros((len(crops), len(CLASSES), *crops[0].shape[:2]), np.float32)
        for picture, part in zip(crops, parts, strict=True):
            blue, green, red = picture.astype(int).transpose(2, 0, 1)
            part[GLASSES] = green > red + 60
            part[OCCLUDER] = blue > red + 60
            part[HAIR] = picture.max(2) < 50
            part[SKIN] = 1 - part.sum(0)
        return parts


def segmented(of: SourceFace, onto: Crop, **parameters: object) -> Generated:
    made = MeshGenerator("mesh", Parameters.model_validate(parameters), 1, Painted())
    return made.generate([onto], made.prepare([of]))[0]


def test_glasses_and_hands_of_the_target_stay_in_front() -> None:
    mesh = head()
    target = mottled(120, 150, 200, seed=2)
    eye = mesh[list(LEFT_EYE), :2].mean(0).astype(int)
    cv2.circle(target, eye.tolist(), 14, (0, 255, 0), 5)
    cv2.rectangle(target, (100, 170), (120, 200), (255, 0, 0), -1)
    mask = mask_of(segmented(source(mottled(125, 155, 205), mesh), crop(target, mesh)))
    assert mask[190, 110] == 0
    assert mask[eye[1] + 14, eye[0]] < 20
    assert mask[eye[1], eye[0]] == 255, "the eye behind the glasses is the source's"
    over = segmented(source(mottled(125, 155, 205), mesh), crop(target, mesh), keep_glasses=False)
    assert mask_of(over)[eye[1] + 14, eye[0]] == 255
    assert mask_of(over)[190, 110] == 0


def aligned(mesh: Float) -> Float:
    """The mesh where it lies in a source's aligned crop, so that nothing is cut off."""
    return apply(alignment(five_points(of_mesh(mesh).points), "ffhq_512", SIDE), mesh)


def test_a_hand_and_glasses_of_the_source_are_not_carried_over() -> None:
    mesh = aligned(head())
    picture = mottled(125, 155, 205)
    cheek = mesh[50, :2].astype(int)
    cv2.circle(picture, cheek.tolist(), 14, (255, 0, 0), -1)
    for eye in EYES:
        cv2.circle(picture, mesh[list(eye), :2].mean(0).astype(int).tolist(), 24, (0, 255, 0), 4)
    result = segmented(source(picture, mesh), crop(mottled(120, 150, 200, seed=2), mesh))
    inside = result.pixels[mask_of(result) > 60].astype(int)
    assert (inside[:, 2] > inside[:, 1] + 20).all() and (inside[:, 2] > inside[:, 0] + 20).all()
    assert mask_of(result)[cheek[1], cheek[0]] == 255


@pytest.mark.parametrize(("lens", "targets"), [((20, 110, 20), True), ((140, 240, 170), False)])
def test_behind_dark_lenses_the_eyes_are_the_targets_and_behind_clear_ones_the_sources(
    lens: tuple[int, int, int], targets: bool
) -> None:
    mesh = aligned(head())
    picture, target = mottled(125, 155, 205), mottled(120, 150, 200, seed=2)
    for eye in EYES:
        cv2.circle(picture, mesh[list(eye), :2].mean(0).astype(int).tolist(), 17, lens, -1)
    result = segmented(source(picture, mesh), crop(target, mesh))
    for eye in EYES:
        x, y = mesh[list(eye), :2].mean(0).astype(int)
        assert mask_of(result)[y, x] < 30 if targets else mask_of(result)[y, x] == 255


# Colour and mask


@pytest.mark.parametrize("skin", [(60, 80, 120), (150, 175, 225), (90, 120, 220)])
def test_the_face_takes_the_targets_colour(skin: tuple[int, int, int]) -> None:
    result = swapped(source(mottled(125, 150, 200), head()), crop(mottled(*skin, seed=2), head(20)))
    inside = mask_of(result) > 200
    assert np.abs(result.pixels[inside].mean(0) - skin).max() < 6


def test_in_a_black_and_white_film_the_face_is_black_and_white() -> None:
    picture = mottled(125, 150, 200)
    # Colour that comes with detail, as that of lips does: no change of light takes it away.
    picture[::6, :, 2] = 255
    grey = np.repeat(mottled(120, 120, 120, seed=2)[..., :1], 3, axis=2)
    result = swapped(source(picture, head()), crop(grey, head(20)))
    inside = result.pixels[mask_of(result) > 200].astype(int)
    assert np.ptp(inside, axis=1).max() <= 8


def test_the_face_takes_the_targets_light() -> None:
    """A target lit from the left: the result is brighter on that side, as the target is."""
    ramp = np.linspace(1.3, 0.6, SIDE)[None, :, None]
    target = np.asarray(mottled(100, 130, 180, seed=2) * ramp, np.uint8)
    result = swapped(source(mottled(125, 150, 200), head()), crop(target, head()))
    inside = mask_of(result) > 200
    for columns in (slice(70, 110), slice(146, 186)):
        part = np.zeros_like(inside)
        part[:, columns] = inside[:, columns]
        assert result.pixels[part].mean() == pytest.approx(target[part].mean(), rel=0.08)


@pytest.mark.parametrize("blur", [0.0, 4.0])
def test_the_face_is_as_sharp_as_the_target(blur: float) -> None:
    grain = np.random.default_rng(1).integers(60, 190, (256, 256, 3), np.uint8)
    of = source(cv2.GaussianBlur(grain, (0, 0), 1.0), head())
    target = np.asarray(cv2.GaussianBlur(grain, (0, 0), 1.0 + blur), np.uint8)
    result = swapped(of, crop(target, head()))

    def fine(picture: Picture) -> float:
        luma = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY).astype(np.float32)
        return float(np.abs(luma - cv2.GaussianBlur(luma, (0, 0), 2.56))[mask_of(result) == 255].mean())

    source_is, face_is = fine(of.picture), fine(result.pixels)
    if blur:
        assert face_is < 0.4 * source_is
    else:
        assert face_is > 0.8 * source_is


def test_hair_over_the_targets_forehead_stays_the_targets() -> None:
    target = mottled(120, 150, 200, seed=2)
    landmarks = head()
    brows = int(of_mesh(landmarks).points[17:27, 1].min())
    target[: brows - 5] = (25, 20, 20)
    of = source(mottled(125, 155, 205), landmarks)
    bare = mask_of(swapped(of, crop(mottled(120, 150, 200, seed=2), landmarks)))
    haired = mask_of(swapped(of, crop(target, landmarks)))
    band = (slice(brows - 15, brows - 9), slice(100, 156))
    assert bare[band].mean() > 100
    assert haired[band].mean() < 0.2 * bare[band].mean()
    assert haired[120:150, 100:156].min() == 255


def test_hair_over_the_sources_forehead_is_not_carried_over() -> None:
    landmarks = head()
    picture = mottled(125, 155, 205)
    brows = int(of_mesh(landmarks).points[17:27, 1].min())
    picture[: brows - 5] = (25, 20, 20)
    result = swapped(source(picture, landmarks), crop(flat(120, 150, 200), landmarks))
    band = (slice(brows - 15, brows - 9), slice(100, 156))
    assert mask_of(result)[band].mean() < 60


@pytest.mark.parametrize(
    "landmarks", [head(), head(55), head(0, 0, 110), moved(head(), -90, -90), moved(head(), 60, 100)]
)
def test_the_mask_is_zero_at_the_crops_border(landmarks: Float) -> None:
    mask = mask_of(swapped(source(mottled(125, 150, 200), head()), crop(mottled(90, 120, 160), landmarks)))
    assert mask.dtype == np.uint8 and mask.shape == (SIDE, SIDE)
    border = np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]])
    assert border.max() == 0
    assert mask.max() == 255


def test_the_mask_lies_within_the_face_and_has_no_hard_edge() -> None:
    landmarks = head()
    mask = mask_of(swapped(source(mottled(125, 150, 200), head()), crop(mottled(90, 120, 160), landmarks)))
    jaw = landmarks[list(OUTLINE)]
    assert mask[int(jaw[:, 1].max()) + 2 :].max() == 0
    assert mask[:, : int(jaw[:, 0].min()) - 1].max() == 0
    assert mask[:, int(jaw[:, 0].max()) + 2 :].max() == 0
    assert np.abs(np.diff(mask.astype(int), axis=0)).max() < 80
    assert np.abs(np.diff(mask.astype(int), axis=1)).max() < 80


def test_outside_the_face_the_crop_is_untouched() -> None:
    target = mottled(90, 120, 160)
    result = swapped(source(mottled(125, 150, 200), head()), crop(target, head()))
    assert np.array_equal(result.pixels[:20], target[:20])
    assert np.array_equal(result.pixels[:, :20], target[:, :20])


# Input that is no face


def unusable() -> dict[str, Float | None]:
    one_missing = head()
    one_missing[30] = np.nan
    endless = head()
    endless[5] = np.inf
    line = np.linspace([10, 20, 0], [240, 200, 0], POINT_COUNT)
    return {
        "none": None,
        "all equal": np.full((POINT_COUNT, 3), 100, np.float32),
        "not a number": one_missing,
        "infinite": endless,
        "on a line": line.astype(np.float32),
        "far outside": moved(head(), 5000, 5000),
        "very far outside": head() * np.float32(1e7),
        "mirrored": (head() * (-1, 1, 1) + (SIDE, 0, 0)).astype(np.float32),
        "wrong number": head()[:10],
        "without depth": np.ascontiguousarray(head()[:, :2]),
        "tiny": (head() * 1e-3).astype(np.float32),
    }


@pytest.mark.parametrize("case", list(unusable()))
def test_landmarks_that_are_no_face_leave_the_crop_as_it_is(case: str) -> None:
    target = mottled(90, 120, 160)
    result = swapped(source(mottled(125, 150, 200), head()), crop(target, unusable()[case]))
    assert mask_of(result).max() == 0
    assert np.array_equal(result.pixels, target)


def test_random_landmarks_never_crash() -> None:
    made = generator()
    prepared = made.prepare([source(mottled(125, 150, 200), head())])
    random = np.random.default_rng(7)
    for spread in (1, 30, 300, 30000):
        for _ in range(5):
            landmarks = random.normal(128, spread, (POINT_COUNT, 3)).astype(np.float32)
            result = made.generate([crop(flat(90, 120, 160), landmarks)], prepared)[0]
            assert result.pixels.shape == (SIDE, SIDE, 3)
            assert mask_of(result)[[0, -1]].max() == 0


@pytest.mark.parametrize("case", list(unusable()))
def test_a_source_without_usable_landmarks_is_refused_by_name(case: str) -> None:
    with pytest.raises(NoFaceError, match="mesh of 468 points that mesh needs"):
        generator().prepare([source(flat(125, 150, 200), unusable()[case])])


def test_a_source_without_landmarks_beside_a_good_one_is_left_out() -> None:
    good = source(mottled(125, 150, 200), head())
    bad = source(flat(0, 255, 0), None)
    made = generator()
    assert np.array_equal(made.prepare([bad, good]).pixels, made.prepare([good]).pixels)


def test_a_face_cut_by_the_pictures_border_can_be_a_source() -> None:
    texture = generator().prepare([source(mottled(125, 150, 200), moved(head(), -70, -70))])
    assert texture.pixels.dtype == np.uint8 and texture.pixels.shape[2] == 4
    assert 0 < (texture.shown > 0).mean() < 1


# The family


def test_the_family_is_found_by_name_and_opens_no_network() -> None:
    made = load_generator(entry(side=128, template="arcface_128"), no_model, GeneratorOptions(pixel_boost=2))
    assert (made.side, made.template) == (256, "arcface_128")
    assert made.needs_landmarks and made.needs_mesh and made.embedding_spaces == ()


@pytest.mark.parametrize(
    ("key", "value"), [("template", "nobody"), ("side", 3), ("relight", 0), ("keep_eyes", "maybe"), ("x", 1)]
)
def test_a_wrong_parameter_is_named(key: str, value: object) -> None:
    with pytest.raises(ModelError, match=f"mesh.*{key}"):
        generator(**{key: value})


@pytest.mark.parametrize("side", [100, 192, 384])
def test_any_side_works(side: int) -> None:
    scale = side / SIDE
    target = cv2.resize(mottled(90, 120, 160), (side, side))
    of = source(mottled(125, 150, 200), head())
    result = swapped(of, crop(np.asarray(target, np.uint8), head() * np.float32(scale)), side=side)
    inside = mask_of(result) > 200
    assert result.pixels.shape == (side, side, 3)
    assert inside.mean() > 0.15
    assert np.abs(result.pixels[inside].mean(0) - (90, 120, 160)).max() < 6


def test_the_same_input_gives_the_same_result(portrait: Callable[[str], SourceFace]) -> None:
    of, onto = portrait("adam-smith.jpg"), portrait("terri-sewell.jpg")
    first, second = generator(), generator()
    crops = [portrait_crop(onto, first), portrait_crop(of, first)]
    one = first.generate(crops, first.prepare([of, onto]))
    two = second.generate(crops, second.prepare([of, onto]))
    alone = second.generate(crops[1:], second.prepare([of, onto]))
    for a, b in zip(one, [two[0], alone[0]], strict=True):
        assert np.array_equal(a.pixels, b.pixels)
        assert np.array_equal(mask_of(a), mask_of(b))


# The blender


def blender_graph(path: Path, side: int, change: float) -> Path:
    """A network that makes the face brighter by `change` and takes half of the mask."""
    g = GraphBuilder()
    unused = g.op("Mul", g.op("Add", "target", "visibility"), g.constant(0.0))
    face = g.op("Add", "face", unused)
    g.op("Add", face, g.constant(change))
    g.rename_last("blended")
    g.op("Mul", "mask", g.constant(0.5))
    g.rename_last("alpha")
    planes = {"face": 3, "target": 3, "mask": 1, "visibility": 1, "blended": 3, "alpha": 1}
    tensors = {name: Tensor(name, ("n", count, side, side)) for name, count in planes.items()}
    given = ("face", "target", "mask", "visibility")
    return g.save(path, [tensors[n] for n in given], [tensors[n] for n in ("blended", "alpha")])


@pytest.mark.parametrize("boost", [1, 2])
def test_a_blender_repairs_the_drawn_face_and_moves_its_seam(tmp_path: Path, boost: int) -> None:
    path = blender_graph(tmp_path / "blender.onnx", 256, 0.1)
    blender = Blender(SessionFactory("cpu", threads=1).open(entry(), path))
    plain = MeshGenerator("mesh", Parameters(), boost)
    made = MeshGenerator("mesh", Parameters(), boost, None, blender)
    picture = np.asarray(cv2.resize(mottled(90, 120, 160), (SIDE * boost, SIDE * boost)), np.uint8)
    onto = crop(picture, head() * np.float32(boost))
    of = source(mottled(125, 150, 200), head())
    before = plain.generate([onto], plain.prepare([of]))[0]
    after = made.generate([onto], made.prepare([of]))[0]
    inside = mask_of(before) == 255
    assert np.abs(mask_of(after)[inside].astype(int) - 128).max() <= 4
    change = after.pixels[inside].astype(int) - before.pixels[inside]
    assert np.median(change) == pytest.approx(25.5, abs=1)
    assert np.array_equal(after.pixels[:20], picture[:20])


def test_a_blender_of_another_form_is_refused(tmp_path: Path) -> None:
    g = GraphBuilder()
    g.op("Mul", "face", g.constant(0.5))
    g.rename_last("blended")
    tensors = [Tensor(name, ("n", 3, 256, 256)) for name in ("face", "blended")]
    session = SessionFactory("cpu", threads=1).open(
        entry(), g.save(tmp_path / "b.onnx", tensors[:1], tensors[1:])
    )
    with pytest.raises(ModelError, match="mask, visibility and outputs blended, alpha"):
        Blender(session)
