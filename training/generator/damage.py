"""What real swaps suffer from, done to a picture whose undamaged state is known.

The damage is done to the source picture and to its mesh before the face is unwrapped, so that it reaches
the network through the same steps as in a real swap.
"""

from __future__ import annotations

import cv2
import numpy as np

from facefusion_runner.faces.types import Float, Picture
from training.data.augmentation import photometric


def damaged(rng: np.random.Generator, picture: Picture, mesh: Float) -> tuple[Picture, Float]:
    """A picture (h, w, 3) BGR and its mesh (468, 3), each made worse by chance; the mesh no longer fits."""
    width = float(np.linalg.norm(mesh[263, :2] - mesh[33, :2]))
    if rng.random() < 0.4:
        picture = shadowed(rng, picture, mesh, width)
    if rng.random() < 0.15:
        picture = strands(rng, picture, mesh, width)
    if rng.random() < 0.6:
        picture = photometric(rng, picture, 0.7)
    if rng.random() < 0.7:
        mesh = misplaced(rng, mesh, width)
    if rng.random() < 0.4:
        mesh = overlarge(rng, mesh)
    return picture, mesh


def shadowed(rng: np.random.Generator, picture: Picture, mesh: Float, width: float) -> Picture:
    """A shadow with a curved edge across the face, hard or soft."""
    height, breadth = picture.shape[:2]
    y, x = np.mgrid[:height, :breadth].astype(np.float32)
    centre = mesh[rng.integers(468), :2]
    angle = rng.uniform(0, 2 * np.pi)
    along, across = np.cos(angle), np.sin(angle)
    u = ((x - centre[0]) * along + (y - centre[1]) * across) / width
    v = ((y - centre[1]) * along - (x - centre[0]) * across) / width
    u = u + rng.uniform(-0.6, 0.6) * v * v + rng.uniform(0, 0.08) * np.sin(v * rng.uniform(3, 9))
    softness = rng.uniform(0.02, 0.4)
    dark = 1 / (1 + np.exp(np.clip(-u / softness * 4, -30, 30)))
    depth = rng.uniform(0.3, 0.8) * (1 + rng.normal(0, 0.05, 3))
    return np.asarray(np.clip(picture * (1 - depth * dark[..., None]), 0, 255), np.uint8)


def strands(rng: np.random.Generator, picture: Picture, mesh: Float, width: float) -> Picture:
    """Strands in the colour of what surrounds the face, from its outline inwards."""
    low, high = mesh[:, :2].min(0), mesh[:, :2].max(0)
    outline = np.clip(low + (high - low) * (rng.random(2) < 0.5), 0, np.array(picture.shape[1::-1]) - 1)
    colour = picture[int(outline[1]), int(outline[0])].astype(float) * rng.uniform(0.4, 1.1)
    layer = picture.copy()
    start = mesh[rng.choice([10, 67, 109, 338, 297, 234, 454, 127, 356]), :2]
    for _ in range(rng.integers(2, 14)):
        at = start + rng.normal(0, 0.15 * width, 2)
        way = (mesh[rng.integers(468), :2] - at) * rng.uniform(0.2, 0.9)
        bend = np.array([-way[1], way[0]]) * rng.normal(0, 0.2)
        t = np.linspace(0, 1, 12)[:, None]
        points = np.rint(at + way * t + bend * t * (1 - t)).astype(np.int32)
        shade = tuple(float(c) for c in np.clip(colour * rng.uniform(0.7, 1.3), 0, 255))
        thick = int(np.clip(rng.exponential(0.03) * width, 1, 12))
        cv2.polylines(layer, [points], False, shade, thick, cv2.LINE_AA)
    share = float(rng.uniform(0.5, 1))
    return np.asarray(cv2.addWeighted(layer, share, picture, 1 - share, 0), np.uint8)


def misplaced(rng: np.random.Generator, mesh: Float, width: float) -> Float:
    """A mesh whose points lie up to a few percent of the eyes' distance off, neighbours alike."""
    unit = (mesh - mesh.mean(0)) / width
    waves = rng.normal(0, 2.0, (6, 3))
    phases = rng.uniform(0, 2 * np.pi, 6)
    shifts = rng.normal(0, 1, (6, 3)) * rng.uniform(0.003, 0.016) * width
    field = np.sin(unit @ waves.T + phases) @ shifts
    return np.asarray(mesh + field, np.float32)


def overlarge(rng: np.random.Generator, mesh: Float) -> Float:
    """A mesh that reaches over the outline on one side: what lies behind leaks into the texture."""
    centre = mesh.mean(0)
    away = mesh[:, :2] - centre[:2]
    reach = np.linalg.norm(away, axis=1) / np.linalg.norm(away, axis=1).max()
    angle = rng.uniform(0, 2 * np.pi)
    side = np.clip(away @ [np.cos(angle), np.sin(angle)] / np.abs(away).max(), 0, 1)
    moved = mesh.copy()
    moved[:, :2] += away * (reach**3 * side * rng.uniform(0.03, 0.15))[:, None]
    return moved
