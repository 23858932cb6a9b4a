"""A swap on a machine that has nothing but the installation, and no network."""

from __future__ import annotations

import json
from fractions import Fraction
from itertools import islice
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from insightface.data import get_image
from numpy.typing import NDArray
from skimage.data import astronaut

from facefusion_runner.demo import PERSON, pan_and_zoom
from facefusion_runner.faces.analysis import find_faces_of_still
from facefusion_runner.models.catalog import Catalog
from facefusion_runner.models.session import SessionFactory
from facefusion_runner.models.store import ModelStore
from facefusion_runner.pipeline.networks import NetworkLoader, Networks
from facefusion_runner.settings import Settings
from tests.cli.conftest import Program
from tests.support.clips import make_clip

OFFLINE = {"OFFLINE": "true", "CACHE_GRACE_SECONDS": "0", "PROGRESS": "json"}


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """portrait.png, person.png (one of the group), group.png, clip.mp4."""
    group = get_image("t1")
    cv2.imwrite(str(tmp_path / "portrait.png"), astronaut()[:, :, ::-1])
    cv2.imwrite(str(tmp_path / "person.png"), group[PERSON])
    cv2.imwrite(str(tmp_path / "group.png"), group)
    views = list(islice(pan_and_zoom(group), 8))
    size = views[0].shape[1::-1]
    times = [Fraction(index, 25) for index in range(len(views))]
    make_clip(tmp_path / "clip.mp4", size=size, at=times, picture=lambda index, *_: views[index])
    return tmp_path


@pytest.fixture
def networks(tmp_path: Path) -> Networks:
    """The built-in networks, the encoder too."""
    root = tmp_path / "models"
    settings = Settings(select="reference", reference=tmp_path, model_root=root, offline=True, device="cpu")
    catalog = Catalog.load(root)
    return NetworkLoader(settings, catalog, ModelStore(root, catalog), SessionFactory("cpu")).open()


def persons(networks: Networks, picture: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(faces, dimensions): unit embeddings of all faces, from left to right."""
    assert networks.encoder is not None
    faces = find_faces_of_still(picture, networks.detector, networks.landmarker)
    found = sorted(faces, key=lambda face: float(face.detection.box[0]))
    embeddings = np.array(networks.encoder.embed(picture, [face.points for face in found]))
    return embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)


def test_a_picture_is_swapped(program: Program, files: Path, networks: Networks) -> None:
    result = program(
        *("swap", "--source", "person.png", "--target", "portrait.png", "--output", "out.png"), env=OFFLINE
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert json.loads(result.stdout.splitlines()[-1])["faces"] == 1
    assert not (files / "models").exists(), "nothing was put into MODEL_ROOT"
    ((source,), (before,), (after,)) = (
        persons(networks, cv2.imread(str(files / name))) for name in ("person.png", "portrait.png", "out.png")
    )
    assert after @ source > before @ source + 0.2


def test_a_clip_is_swapped(program: Program, files: Path, networks: Networks) -> None:
    result = program(
        *("swap", "--source", "portrait.png", "--target", "clip.mp4", "--output", "out.mp4"), env=OFFLINE
    )
    assert (result.returncode, result.stderr) == (0, "")
    frames = []
    for name in ("clip.mp4", "out.mp4"):
        with av.open(str(files / name)) as container:
            frames.append([frame.to_ndarray(format="bgr24") for frame in container.decode(video=0)])
    assert len(frames[0]) == len(frames[1]) == 8
    (source,) = persons(networks, cv2.imread(str(files / "portrait.png")))
    before, after = (persons(networks, clip[4]) @ source for clip in frames)
    assert len(before) == len(after) >= 3
    assert after.mean() > before.mean() + 0.1


def test_one_person_is_told_from_the_others(program: Program, files: Path) -> None:
    result = program(
        *("swap", "--source", "portrait.png", "--target", "group.png", "--output", "out.png"),
        *("--select", "reference", "--reference", "person.png"),
        env=OFFLINE,
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert json.loads(result.stdout.splitlines()[-1])["faces"] == 1
    changed = cv2.absdiff(*(cv2.imread(str(files / name)) for name in ("group.png", "out.png"))).any(2)
    inside = changed[PERSON]
    assert inside.sum() == changed.sum() > 0.05 * inside.size
