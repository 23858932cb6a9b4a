"""Renders: what is said about a drawn face is true of it."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("numba")

from training.data.head_model import IDENTITIES, Camera, HeadModel, rasterise, rotation
from training.data.head_texture import Turner
from training.data.labels import Labels, yaw
from training.data.pictures import portraits
from training.data.renders import Renders, stored
from training.data.renders import main as render

LIPS = 13, 14
LEFT_LID = 159, 145


@pytest.fixture(scope="session")
def model(shared: Path) -> HeadModel:
    return HeadModel(shared)


@pytest.fixture(scope="session")
def work(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the labels of two painted portraits, one per split, as the teachers would give them."""
    folder = tmp_path_factory.mktemp("renders")
    model = HeadModel(shared)
    chosen = [portraits(shared, split, generative=True)[0] for split in ("train", "held_out")]
    meshes = []
    for portrait in chosen:
        height, width = portrait.read(shared).shape[:2]
        camera = Camera.at(rotation(0), width / 30, (width / 2, height / 2))
        meshes.append(camera.project(model.mesh(model.mean)))
    mesh = np.stack(meshes)
    nothing = np.zeros((2, 5, 2), np.float32)
    files = tuple(portrait.file for portrait in chosen)
    Labels(files, nothing[:, :2].reshape(2, 4), nothing[:, 0, 0], nothing, mesh, yaw(mesh)).save(folder)
    halves = {f"picture{i}": np.full((300, 300, 3), 40 * i + 40, np.uint8) for i in range(3)}
    (folder / "backgrounds").mkdir()
    for split in ("train", "evaluation"):
        np.savez(folder / "backgrounds" / f"{split}.npz", **halves)
    return folder


def face(model: HeadModel, **expressions: float) -> np.ndarray:
    return model.shape(np.zeros(IDENTITIES, np.float32), model.expressions(**expressions))


def test_a_nearer_triangle_hides_the_one_behind() -> None:
    corners = [[1, 1], [1, 9], [9, 1]]
    points = np.array([[*p, 5] for p in corners] + [[*p, -5] for p in corners], np.float32)
    triangles = np.array([[0, 1, 2], [3, 4, 5]], np.int32)
    seen, shares, depth = rasterise(points, triangles, 12, 12)
    assert seen[3, 3] == 1 and depth[3, 3] == -5
    assert seen[11, 11] == -1 and np.isinf(depth[11, 11])
    assert shares[3, 3] @ points[3:, :2] == pytest.approx([3, 3], abs=1e-4)


@pytest.mark.parametrize(("turn", "pitch", "roll"), [(0, 0, 0), (50, 10, -20), (-70, -15, 5)])
def test_a_head_turned_right_is_farther_away_on_the_right(
    model: HeadModel, turn: float, pitch: float, roll: float
) -> None:
    camera = Camera.at(rotation(turn, pitch, roll), 8, (128, 128))
    assert (camera.yaw, camera.pitch, camera.roll) == pytest.approx((turn, pitch, roll))
    mesh = camera.project(model.mesh(model.mean))
    across = mesh[263] - mesh[33]
    assert np.sign(round(float(across[2]))) == np.sign(turn)


def test_a_head_that_looks_up_shows_its_nose_higher(model: HeadModel) -> None:
    nose, bridge = 1, 168
    up, down = (
        Camera.at(rotation(0, pitch), 8, (128, 128)).project(model.mesh(model.mean)) for pitch in (20, -20)
    )
    assert up[nose, 1] - up[bridge, 1] < down[nose, 1] - down[bridge, 1]


def test_the_points_follow_lips_and_lids(model: HeadModel) -> None:
    rest, moved = (model.mesh(face(model, **e)) for e in ({}, {"jawOpen": 0.8, "eyeBlink": 1.0}))

    def gap(mesh: np.ndarray, pair: tuple[int, int]) -> float:
        return float(np.linalg.norm(mesh[pair[0]] - mesh[pair[1]]))

    assert gap(rest, LIPS) < 0.3 and gap(moved, LIPS) > 1.5
    assert gap(moved, LEFT_LID) < 0.35 * gap(rest, LEFT_LID)


def test_the_points_lie_on_both_halves_alike(model: HeadModel) -> None:
    mesh = model.mesh(model.mean)
    for left, right in ((33, 263), (133, 362), (61, 291), (234, 454), (70, 300), (98, 327)):
        assert mesh[left] * [-1, 1, 1] == pytest.approx(mesh[right], abs=0.15)


def test_a_fit_finds_the_pose_it_was_drawn_with(model: HeadModel) -> None:
    rng = np.random.default_rng(0)
    shape = model.shape(rng.normal(0, 0.7, IDENTITIES).astype(np.float32), model.expressions(jawOpen=0.4))
    camera = Camera.at(rotation(35, -8, 12), 9, (140, 120))
    mesh = camera.project(model.mesh(shape))
    fit = model.fit(mesh)
    assert fit.error < 0.01
    assert fit.camera.yaw == pytest.approx(camera.yaw, abs=2)
    assert fit.camera.pitch == pytest.approx(camera.pitch, abs=3)
    assert fit.camera.centre == pytest.approx(camera.centre, abs=5)


def test_depth_is_negative_towards_the_viewer(model: HeadModel) -> None:
    mesh = Camera.at(rotation(0), 8, (128, 128)).project(model.mesh(model.mean))
    assert mesh[1, 2] < 0 < mesh[234, 2]


def test_a_portrait_turned_nowhere_stays_as_it_is(shared: Path, model: HeadModel, work: Path) -> None:
    labels = Labels.load(work)
    picture = portraits(shared, "train", generative=True)[0].read(shared)
    turner = Turner(model)
    head = turner.head(picture, labels.meshes[0])
    view = turner.turned_head(head, head.fit.camera.yaw, head.fit.camera.pitch)
    inside = cv2.erode(view.face, np.ones((9, 9), np.uint8)) == 255
    assert inside.sum() > 0.05 * inside.size
    assert np.abs(view.picture[inside].astype(int) - picture[inside]).mean() < 12
    assert view.mesh[:, :2] == pytest.approx(labels.meshes[0][:, :2], abs=0.02 * picture.shape[1])


def test_a_turned_portrait_has_its_points_where_the_head_is(
    shared: Path, model: HeadModel, work: Path
) -> None:
    labels = Labels.load(work)
    picture = portraits(shared, "train", generative=True)[0].read(shared)
    view = Turner(model).turned(picture, labels.meshes[0], 30, 5)
    assert view.picture.shape == picture.shape
    assert view.mesh[263, 2] > view.mesh[33, 2]
    x, y = np.rint(view.mesh[[5, 50, 205], :2]).astype(int).T
    assert (view.face[y, x] == 255).all()


def test_samples_lie_within_the_ranges_asked_for(shared: Path, work: Path) -> None:
    renders = Renders(shared, work)
    rng = np.random.default_rng(4)
    for _ in range(3):
        drawn = renders.sample(rng, 128, yaw=(40, 60), pitch=(-5, 5), roll=(0, 0), textured=1.0)
        assert drawn.picture.shape == (128, 128, 3) and drawn.picture.dtype == np.uint8
        assert drawn.mesh.shape == (468, 3) and drawn.mesh.dtype == np.float32
        assert 40 <= drawn.yaw <= 60 and drawn.roll == 0
        assert (drawn.mesh[:, :2] > 0).all() and (drawn.mesh[:, :2] < 127).all()
        covered = drawn.face[tuple(np.rint(drawn.mesh[[1, 5, 9], :2]).astype(int).T[::-1])]
        assert (covered > 0).all()


def test_the_same_seed_draws_the_same_faces(shared: Path, work: Path) -> None:
    one, other = (Renders(shared, work).sample(np.random.default_rng(2), 96, textured=1.0) for _ in range(2))
    assert np.array_equal(one.picture, other.picture) and np.array_equal(one.mesh, other.mesh)


def test_splits_share_no_portrait(shared: Path, work: Path) -> None:
    train, held_out = (
        {portrait.file for portrait in Renders(shared, work, s).portraits} for s in ("train", "held_out")
    )
    assert train and held_out and not train & held_out


def test_the_command_writes_whole_arrays(shared: Path, work: Path) -> None:
    arguments = [
        "--data",
        str(shared),
        "--work",
        str(work),
        "--count",
        "2",
        "--size",
        "96",
        "--split",
        "held_out",
    ]
    render(arguments, standalone_mode=False)
    arrays = {
        kind: np.load(stored(work, "held_out", kind))
        for kind in ("pictures", "meshes", "poses", "faces", "persons")
    }
    assert arrays["pictures"].shape == (2, 96, 96, 3) and arrays["pictures"].std() > 5
    assert arrays["meshes"].shape == (2, 468, 3) and arrays["poses"].shape == (2, 3)
    assert arrays["faces"].shape == (2, 96, 96) and (arrays["faces"].max((1, 2)) == 255).all()
    assert not list(work.glob("*.partial"))
