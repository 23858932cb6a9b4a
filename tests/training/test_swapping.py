"""The measures of swaps: what they call a seam, and which pairs they take."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from training.data.labels import Labels
from training.evaluation.swapping import TURNED, pairs, seam


def test_a_result_like_its_target_has_no_seam_and_a_brighter_face_has_one() -> None:
    target = np.full((256, 256, 3), (110, 140, 190), np.uint8)
    target += np.random.default_rng(0).integers(0, 20, target.shape, np.uint8)
    mask = np.zeros((256, 256), np.uint8)
    cv2.ellipse(mask, (128, 140), (60, 80), 0, 0, 360, 255, -1)
    mask = np.asarray(cv2.GaussianBlur(mask, (0, 0), 2), np.uint8)
    brighter = np.where(mask[..., None] > 0, target + 20, target).astype(np.uint8)
    assert seam(target, target, mask, np.eye(2, 3)) == 0
    assert 10 < seam(brighter, target, mask, np.eye(2, 3)) < 30


def test_every_third_pair_has_a_turned_face_and_no_person_is_put_on_himself(tmp_path: Path) -> None:
    files = [f"house512/{number:02}.jpg" for number in range(20)]
    folder = tmp_path / "faces" / "house512"
    folder.mkdir(parents=True)
    for file in files:
        (tmp_path / "faces" / file).touch()
    twos = [{"a": a, "b": b} for a, b in zip(files[::2], files[1::2], strict=True)]
    (tmp_path / "faces" / "genuine_pairs.json").write_text(json.dumps(twos))
    yaws = np.array([40.0 if number % 3 == 0 else 5.0 for number in range(20)], np.float32)
    none = np.zeros(20, np.float32)
    meshes = np.zeros((20, 468, 3), np.float32)
    Labels(
        tuple(files), np.zeros((20, 4), np.float32), none, np.zeros((20, 5, 2), np.float32), meshes, yaws
    ).save(tmp_path)
    chosen = pairs(tmp_path, tmp_path, 90)
    yaw = dict(zip(files, yaws, strict=True))
    person = {file: number // 2 for number, file in enumerate(files)}
    turned = [max(yaw[a], yaw[b]) > TURNED for a, b in chosen]
    assert np.mean(turned) == pytest.approx(1 / 3)
    assert all(person[a] != person[b] for a, b in chosen)
    assert chosen == pairs(tmp_path, tmp_path, 90)
