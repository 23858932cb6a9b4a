"""Renders of turned faces as lessons: there the outline against the background is known exactly.

Only the face inside FaceMesh's outline is known to be skin, and what lies before it, where it looks, to be
background. Of the rest, hair and neck and forehead, nothing is known. Made by `training.data.renders`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from facefusion_runner.faces.types import Float
from training.data.labels import Labels
from training.data.pictures import Portrait, Split, portraits
from training.segmenter.teacher import SIDE, Taught, matrix, moved

TURNED: Final = 30.0
"""Least yaw in degrees: others are as well known from portraits."""

MOST: Final = 800

Rows = tuple[NDArray[np.uint8], NDArray[np.uint8], Float]


def rendered(data: Path, work: Path, split: Split, known: Taught) -> Rows | None:
    """Pictures, classes (skin, hair, glasses, weight) and meshes as of portraits; None where none are drawn.

    Renders of portraits that wear glasses (by `known`) are left out: they would be called skin.
    """
    files = {kind: work / f"renders_{split}_{kind}.npy" for kind in ("pictures", "meshes", "poses", "faces")}
    files["persons"] = work / f"renders_{split}_persons.npy"
    if not all(file.exists() for file in files.values()):
        return None
    drawn = {kind: np.load(file, mmap_mode="r") for kind, file in files.items()}
    of_render, _ = Labels.load(work).of(portraits(data, split, generative=True))
    wearing = _wearing_glasses(known)
    chosen = [
        row
        for row in np.flatnonzero(np.abs(drawn["poses"][:, 0]) > TURNED)
        if (person := int(drawn["persons"][row])) < 0 or of_render[person] not in wearing
    ][:MOST]
    pictures = np.empty((len(chosen), SIDE, SIDE, 3), np.uint8)
    classes = np.zeros((len(chosen), SIDE, SIDE, 4), np.uint8)
    meshes = np.empty((len(chosen), 468, 3), np.float32)
    for i, row in enumerate(chosen):
        m = matrix(drawn["meshes"][row])
        meshes[i] = moved(m, drawn["meshes"][row])
        pictures[i] = cv2.warpAffine(drawn["pictures"][row], m, (SIDE, SIDE))
        face = cv2.warpAffine(np.array(drawn["faces"][row]), m, (SIDE, SIDE))
        room = cv2.warpAffine(np.full(drawn["faces"][row].shape, 255, np.uint8), m, (SIDE, SIDE))
        classes[i, ..., 0] = face
        classes[i, ..., 3] = sure(face, float(drawn["poses"][row, 0]), meshes[i]) & room
    return pictures, classes, meshes


def sure(face: NDArray[np.uint8], yaw: float, mesh: Float) -> NDArray[np.uint8]:
    """255 well inside the face, and on the side it looks to."""
    inside = cv2.erode(face, np.ones((5, 5), np.uint8)) > 127
    rows, columns = np.mgrid[0:SIDE, 0:SIDE].astype(np.float32)
    down = mesh[152, :2] - mesh[10, :2]
    down /= np.linalg.norm(down)
    ahead = np.array([down[1], -down[0]]) * np.sign(yaw)
    height = columns * down[0] + rows * down[1]
    forward = columns * ahead[0] + rows * ahead[1]
    level = np.clip(np.rint(height - height.min()).astype(int), 0, 2 * SIDE - 1)
    front = np.full(2 * SIDE, np.inf, np.float32)
    found = face > 127
    if not found.any():
        return np.zeros_like(face)
    reached = np.full(2 * SIDE, -np.inf, np.float32)
    np.maximum.at(reached, level[found], forward[found])
    front[np.isfinite(reached)] = reached[np.isfinite(reached)]
    # The rows of the outline's ends are left out: above the forehead there is hair.
    used = np.flatnonzero(np.isfinite(front))
    front[used[: len(used) // 5]] = np.inf
    before = forward > front[level] - 1
    return np.where(inside | before, 255, 0).astype(np.uint8)


def _wearing_glasses(known: Taught) -> set[Portrait]:
    shares = [(parts[::4, ::4, 2] > 127).mean() for parts in known.parts]
    return {portrait for portrait, share in zip(known.portraits, shares, strict=True) if share > 0.002}
