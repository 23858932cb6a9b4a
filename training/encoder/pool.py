"""The faces that the encoder learns from: every portrait of the training split, turned ones, and mixtures.

Three thousand portraits are few persons. A mixture takes the shape of one portrait and of another in any
proportion and their skins likewise, as a whole or eyes from one and jaw from the other: a person more, for
whom the teacher has an embedding as for any other. All are cut to the encoder's template with a margin, so
that a view of them can still be shifted and turned.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from facefusion_runner.faces.geometry import TEMPLATES, apply, similarity
from facefusion_runner.faces.types import Float, Picture
from training.data.labels import Labels
from training.data.pictures import portraits
from training.encoder.network import SIDE
from training.encoder.teacher import answers

MARGIN: Final = 10
"""Pixels around the encoder's crop that a view may reach."""
WIDE: Final = SIDE + 2 * MARGIN

PHOTOGRAPH: Final = 3.0
"""How much more often a photograph is shown than a synthetic face or a mixture."""

_CONTROLS: Final = (
    *(10, 297, 284, 389, 454, 361, 397, 379, 400, 152, 176, 150, 172, 132, 234, 162, 54, 67),  # outline
    *(70, 105, 107, 336, 334, 300),  # brows
    *(33, 159, 133, 145, 362, 386, 263, 374),  # eyes
    *(1, 4, 168, 98, 327, 2),  # nose
    *(61, 291, 0, 17, 13, 14),  # mouth
)
"""Points of the mesh that carry a warp."""
_TEMPLATE: Final = TEMPLATES["arcface_112_v2"] * SIDE + MARGIN
_ALIKE: Final = 12
"""Degrees of yaw that two faces which are mixed may differ by."""
_COARSE: Final = 23
"""Side of the grid on which a warp is computed."""


@dataclass(frozen=True, slots=True, eq=False)
class Pool:
    """What `build` left in a folder; the arrays are mapped, not read."""

    pictures: NDArray[np.uint8]
    """(n, 132, 132, 3) BGR."""
    targets: Float
    """(n, 128): the teacher's embeddings, of length 1."""
    classes: NDArray[np.int32]
    """(n,): the person, from 0; a mixture is a person of its own."""
    photographs: NDArray[np.bool_]
    """(n,): a photographed face, as it is or turned; not a synthetic one, not a mixture."""

    def chances(self) -> NDArray[np.float64]:
        """(n,): how often each is shown."""
        weights = np.where(self.photographs, PHOTOGRAPH, 1.0)
        return weights / weights.sum()

    @classmethod
    def load(cls, folder: Path) -> Pool:
        return cls(
            np.load(folder / "pictures.npy", mmap_mode="r"),
            np.load(folder / "targets.npy"),
            np.load(folder / "classes.npy"),
            np.load(folder / "photographs.npy"),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Shape:
    """Where a portrait's face is."""

    points: Float
    """(44 + 5, 3): controls of the mesh, then YuNet's five points with the mesh's depth there."""

    def flat(self, turn: NDArray[np.floating] | None = None) -> Float:
        """(49, 2), after a rotation (3, 3) about the middle of the face."""
        if turn is None:
            return self.points[:, :2]
        middle = self.points.mean(0)
        return np.asarray(((self.points - middle) @ turn.T + middle)[:, :2], np.float32)


def build(data: Path, work: Path, folder: Path, rng: np.random.Generator, *, turned: int, mixed: int) -> Pool:
    """Makes the pool of the training split and writes it to `folder`.

    turned: rotated copies of each portrait. mixed: mixtures in all.
    """
    labels = Labels.load(work)
    known, rows = labels.of(portraits(data, "train"))
    shapes = [shape(labels.points[row], labels.meshes[row]) for row in rows]
    faces = [portrait.read(data) for portrait in known]
    count = len(known) * (1 + turned) + mixed
    folder.mkdir(parents=True, exist_ok=True)
    pictures = open_memmap(folder / "pictures.npy", "w+", np.uint8, (count, WIDE, WIDE, 3))
    persons = np.unique([portrait.person for portrait in known], return_inverse=True)[1]
    classes = np.empty(count, np.int32)
    place = 0
    for index, (face, own) in enumerate(zip(faces, shapes, strict=True)):
        for copy in range(1 + turned):
            turn = rotation(rng) if copy else None
            pictures[place] = _mirrored(rng, warp(face, own.flat(), own.flat(turn)))
            classes[place] = persons[index]
            place += 1
    for extra in range(mixed):
        first = rng.integers(len(known))
        alike = np.flatnonzero(np.abs(labels.yaws[rows] - labels.yaws[rows[first]]) < _ALIKE)
        second = rng.choice(alike)
        mixed_face = mixture(rng, (faces[first], faces[second]), (shapes[first], shapes[second]))
        pictures[place] = _mirrored(rng, mixed_face)
        classes[place] = persons.max() + 1 + extra
        place += 1
    pictures.flush()
    np.save(folder / "classes.npy", classes)
    photographed = np.repeat([portrait.collection != "sfhq256" for portrait in known], 1 + turned)
    np.save(folder / "photographs.npy", np.append(photographed, np.zeros(mixed, bool)))
    np.save(folder / "targets.npy", answers(data, pictures, MARGIN))
    return Pool.load(folder)


def _mirrored(rng: np.random.Generator, picture: Picture) -> Picture:
    """Half of all faces, so that the teacher is asked about both sides."""
    return picture[:, ::-1] if rng.random() < 0.5 else picture


def shape(five: Float, mesh: Float) -> Shape:
    """From a portrait's labels: five points (5, 2) and mesh (468, 3)."""
    nearest = np.linalg.norm(mesh[None, :, :2] - five[:, None], axis=2).argmin(1)
    with_depth = np.column_stack([five, mesh[nearest, 2]])
    return Shape(np.vstack([mesh[list(_CONTROLS)], with_depth]).astype(np.float32))


def rotation(rng: np.random.Generator) -> NDArray[np.float64]:
    """(3, 3): up to 22 degrees to a side, 12 up or down."""
    yaw, pitch = np.radians(rng.uniform(-22, 22)), np.radians(rng.uniform(-12, 12))
    about_y = np.array([[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]])
    about_x = np.array([[1, 0, 0], [0, np.cos(pitch), -np.sin(pitch)], [0, np.sin(pitch), np.cos(pitch)]])
    return np.asarray(about_y @ about_x)


def warp(picture: Picture, points: Float, wanted: Float) -> Picture:
    """(132, 132, 3): `picture`, its `points` (n, 2) moved to `wanted`, whose last five go to the template.

    A thin-plate spline, smooth everywhere: a warp that turns a face never tears it.
    """
    placed = apply(similarity(wanted[-5:], _TEMPLATE), wanted)
    axis = np.linspace(0, WIDE - 1, _COARSE)
    grid = np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2)
    coarse = _spline(placed.astype(np.float64), points.astype(np.float64), grid)
    coarse = coarse.reshape(_COARSE, _COARSE, 2).astype(np.float32)
    between = np.linspace(0, _COARSE - 1, WIDE, dtype=np.float32)
    where = cv2.remap(coarse, *np.meshgrid(between, between), cv2.INTER_LINEAR)
    return np.asarray(cv2.remap(picture, where, None, cv2.INTER_LINEAR), np.uint8)


def mixture(rng: np.random.Generator, pictures: Sequence[Picture], shapes: Sequence[Shape]) -> Picture:
    """(132, 132, 3): a face between two."""
    points = [own.flat() for own in shapes]
    aligned = [apply(similarity(own[-5:], _TEMPLATE), own) for own in points]
    share = np.float32(rng.uniform(-0.2, 1.2))
    wanted = share * aligned[0] + (1 - share) * aligned[1]
    if rng.random() < 0.3:
        wanted += rng.normal(0, 1.0, wanted.shape).astype(np.float32)
    skins = [warp(picture, own, wanted) for picture, own in zip(pictures, points, strict=True)]
    mask = _mask(rng)
    mixed = skins[0] * mask + skins[1] * (1 - mask)
    return np.asarray(np.clip(mixed + 0.5, 0, 255), np.uint8)


def _mask(rng: np.random.Generator) -> Float:
    """(132, 132, 1): all of one, an even mixture, or a smooth border at random between the two."""
    kind = rng.random()
    if kind < 0.25:
        return np.ones((WIDE, WIDE, 1), np.float32)
    if kind < 0.55:
        return np.full((WIDE, WIDE, 1), rng.uniform(0.2, 0.8), np.float32)
    noise = rng.standard_normal((4, 4)).astype(np.float32)
    field = cv2.resize(noise, (WIDE, WIDE), interpolation=cv2.INTER_CUBIC)
    return np.asarray(1 / (1 + np.exp(-6 * (field - np.median(field)))), np.float32)[..., None]


def _spline(centres: Float, values: Float, places: Float) -> Float:
    """The thin-plate spline (Bookstein, PAMI 1989) through `values` at `centres`, read at `places`."""
    count = len(centres)
    system = np.zeros((count + 3, count + 3))
    system[:count, :count] = _bend(centres, centres) + 1e-3 * WIDE**2 * np.eye(count)
    system[:count, count:] = _affine(centres)
    system[count:, :count] = _affine(centres).T
    solved = np.linalg.solve(system, np.vstack([values, np.zeros((3, 2))]))
    return np.asarray(np.hstack([_bend(places, centres), _affine(places)]) @ solved)


def _bend(a: Float, b: Float) -> Float:
    squared = ((a[:, None] - b[None]) ** 2).sum(-1)
    return np.asarray(squared * np.log(squared + 1e-6))


def _affine(points: Float) -> Float:
    return np.column_stack([np.ones(len(points)), points])
