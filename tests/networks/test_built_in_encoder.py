"""The encoder that is part of the package, on a picture that comes with insightface: six people."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from insightface.data import get_image

from facefusion_runner.encoders import Encoder
from facefusion_runner.faces.types import Float, Picture
from facefusion_runner.models.catalog import Catalog
from facefusion_runner.models.families import load_encoder
from facefusion_runner.models.session import SessionFactory
from facefusion_runner.models.store import ModelStore

# Left eye, right eye, nose, left and right mouth corner of each, from left to right; measured with YuNet.
FACES = np.array(
    [
        [[89.7, 320.3], [139.6, 309.5], [126.3, 341.0], [110.7, 365.0], [151.8, 355.3]],
        [[293.0, 196.4], [334.2, 196.0], [307.8, 222.1], [297.3, 241.6], [331.2, 241.5]],
        [[491.1, 325.7], [544.9, 329.2], [511.5, 359.1], [488.2, 377.7], [533.7, 380.8]],
        [[761.4, 400.0], [803.7, 398.3], [774.4, 426.9], [769.2, 446.6], [803.4, 445.0]],
        [[916.8, 121.5], [948.7, 115.3], [917.5, 148.0], [932.5, 173.9], [956.4, 168.0]],
        [[1148.6, 320.4], [1193.4, 318.4], [1169.0, 344.4], [1155.6, 366.4], [1192.8, 364.3]],
    ],
    np.float32,
)
MIRRORED = [1, 0, 2, 4, 3]
"""The five points' order in a mirror image."""


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    root = Path("/nonexistent")
    catalog = Catalog.load(root)
    store, factory = ModelStore(root, catalog, offline=True), SessionFactory("cpu")
    entry = catalog.get("arcface_light")
    return load_encoder(entry, lambda name: factory.open(catalog.get(name), store.path(catalog.get(name))))


@pytest.fixture(scope="module")
def six() -> Picture:
    return np.asarray(get_image("t1"), np.uint8)


def embedded(encoder: Encoder, picture: Picture, points: Float) -> Float:
    found = encoder.embed(picture, list(points))
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def mirrored(picture: Picture) -> tuple[Picture, Float]:
    points = FACES[:, MIRRORED].copy()
    points[..., 0] = picture.shape[1] - 1 - points[..., 0]
    return np.ascontiguousarray(picture[:, ::-1]), points


def compressed(picture: Picture) -> Picture:
    _, code = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 25])
    return np.asarray(cv2.imdecode(code, cv2.IMREAD_COLOR), np.uint8)


def darker(picture: Picture) -> Picture:
    return np.asarray(255 * (picture / 255.0) ** 1.6, np.uint8)


def coarser(picture: Picture) -> Picture:
    small = cv2.resize(picture, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(small, picture.shape[1::-1]), np.uint8)


def test_six_people_are_six_people(encoder: Encoder, six: Picture) -> None:
    found = embedded(encoder, six, FACES)
    likeness = found @ found.T
    assert likeness[~np.eye(6, dtype=bool)].max() < 0.45


@pytest.mark.parametrize("change", [compressed, darker, coarser, mirrored])
def test_a_changed_picture_of_a_face_is_nearer_to_it_than_any_other(
    encoder: Encoder, six: Picture, change: object
) -> None:
    first = embedded(encoder, six, FACES)
    picture, points = mirrored(six) if change is mirrored else (change(six), FACES)  # type: ignore[operator]
    likeness = first @ embedded(encoder, picture, points).T
    own, others = np.diag(likeness), likeness[~np.eye(6, dtype=bool)]
    assert own.min() > others.max() + 0.2
    assert own.mean() > 0.75


def test_points_that_are_a_little_off_change_little(encoder: Encoder, six: Picture) -> None:
    rng = np.random.default_rng(0)
    shaken = FACES + rng.normal(0, 1.0, FACES.shape).astype(np.float32)
    likeness = embedded(encoder, six, FACES) @ embedded(encoder, six, shaken).T
    assert np.diag(likeness).min() > 0.75
