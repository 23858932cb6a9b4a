"""Finds where FaceMesh's 468 points lie on the head model: `python -m training.data.mesh_places`.

Begins with MediaPipe's canonical mesh, bent onto the model by the 68 landmarks both know, and then moves each
place by what remains, on average over many portraits of all yaws, between the fitted model and FaceMesh's
answer. The result is committed beside this file.
"""

from __future__ import annotations

import json
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import RBFInterpolator
from scipy.spatial import cKDTree

from facefusion_runner.faces.types import Float
from facefusion_runner.landmarkers.schemes import SCHEMES
from training.data.head_model import PARTS, PLACES, Fitter, HeadModel, rasterise, rotation
from training.data.labels import MESH, Labels
from training.data.pictures import portraits

_CANONICAL = Path("faces/mediapipe_canonical/canonical_face_model.obj")
_INDICES = Path("faces/ict_facekit/vertex_indices.json")
_LOWER_LIP = (95, 88, 178, 87, 14, 317, 402, 318, 324)
_UPPER_LIP = (191, 80, 81, 82, 13, 312, 311, 310, 415)
"""The inner contours, which touch where the mouth is closed."""


class Surface:
    """The skin that can be seen from outside, on the mean head."""

    def __init__(self, model: HeadModel) -> None:
        shown = np.zeros(len(model.triangles), bool)
        for jaw, blink in ((0.0, 0.0), (0.35, 0.0), (0.0, 0.6)):
            expression = model.expressions(jawOpen=jaw, eyeBlink=blink)
            shape = model.shape(np.zeros(0, np.float32), expression)
            for yaw in (-60, -30, 0, 30, 60):
                for pitch in (-20, 0, 20):
                    points = shape @ rotation(yaw, pitch).T.astype(np.float32) * [26, -26, -26] + [
                        512,
                        512,
                        0,
                    ]
                    seen = rasterise(points.astype(np.float32), model.triangles, 1024, 1024)[0]
                    shown[seen[seen >= 0]] = True
        shown &= model.part == PARTS.index("M_Face")
        self.model = model
        self.triangles = model.triangles[shown]
        opened = model.shape(np.zeros(0, np.float32), model.expressions(jawOpen=0.5))
        self.opening = (opened - model.mean).astype(np.float64)
        self.corners = opened[self.triangles].astype(np.float64)
        self.tree = cKDTree(self.corners.mean(1))

    def nearest(self, points: NDArray[np.float64]) -> tuple[NDArray[np.int32], Float]:
        """(n, 3) points -> (n, 3) vertices, (n, 3) shares of the nearest places on the skin.

        On the head with its mouth open, where no lip lies near the other.
        """
        _, candidates = self.tree.query(points, k=24)
        vertices = np.empty((len(points), 3), np.int32)
        shares = np.empty((len(points), 3), np.float32)
        for row, (point, near) in enumerate(zip(points, candidates, strict=True)):
            places = np.stack([_nearest_in(self.corners[index], point) for index in near])
            distance = np.linalg.norm(np.einsum("nk,nkc->nc", places, self.corners[near]) - point, axis=1)
            best = int(distance.argmin())
            vertices[row], shares[row] = self.triangles[near[best]], places[best]
        return vertices, shares


def _nearest_in(corners: NDArray[np.float64], point: NDArray[np.float64]) -> NDArray[np.float64]:
    """Shares of the place in a triangle (3, 3) that is nearest to a point (3,)."""
    edges = (corners[1:] - corners[0]).T
    b, c = np.linalg.lstsq(edges, point - corners[0], rcond=None)[0]
    if b >= 0 and c >= 0 and b + c <= 1:
        return np.array([1 - b - c, b, c])
    best, result = np.inf, np.array([1.0, 0, 0])
    for one, other in ((0, 1), (1, 2), (2, 0)):
        side = corners[other] - corners[one]
        share = float(np.clip((point - corners[one]) @ side / (side @ side), 0, 1))
        distance = float(np.linalg.norm(corners[one] + share * side - point))
        if distance < best:
            best, result = distance, np.zeros(3)
            result[one], result[other] = 1 - share, share
    return result


def canonical(data: Path) -> NDArray[np.float64]:
    """(468, 3): MediaPipe's canonical mesh; x to the picture's right, y up, z towards the camera."""
    lines = (data / _CANONICAL).read_text().splitlines()
    return np.array([line.split()[1:4] for line in lines if line.startswith("v ")], np.float64)[:MESH]


def first_places(data: Path, model: HeadModel, surface: Surface) -> tuple[NDArray[np.int32], Float]:
    """The canonical mesh bent onto the model by 68 landmarks."""
    known = json.loads((data / _INDICES).read_text())["idx_to_landmark_verts"]
    landmarks = model.mean[model.renumber[known]].astype(np.float64)
    mesh = canonical(data)
    from_68 = np.asarray(SCHEMES["facemesh_468"].weights, np.float64) @ mesh
    bend = RBFInterpolator(from_68, landmarks, kernel="thin_plate_spline", smoothing=0.05)
    bent = bend(mesh)
    near = cKDTree(model.mean).query(bent)[1]
    shift = surface.opening[near]
    shift[list(_LOWER_LIP)] = surface.opening[model.renumber[known[66]]]
    shift[list(_UPPER_LIP)] = 0
    return surface.nearest(bent + shift)


def refine(
    model: HeadModel, surface: Surface, meshes: Float, vertices: NDArray[np.int32], shares: Float
) -> tuple[NDArray[np.int32], Float, float]:
    """One round: fit to all meshes, move each place by the mean of what remains. Also the mean error."""
    fitter = Fitter(model, vertices, shares)
    normal = np.zeros((MESH, 3, 3))
    right = np.zeros((MESH, 3))
    errors = []
    for mesh in meshes:
        fit = fitter.fit(mesh)
        errors.append(fit.error)
        coefficients = np.r_[fit.identity, fit.expression]
        shape = fitter.mean + np.tensordot(coefficients, fitter.basis, 1)
        remains = (mesh - fit.camera.project(shape.astype(np.float32))) * [1, -1, 0] / fit.camera.scale
        flat = fit.camera.rotation.T @ np.diag([1, 1, 0]) @ fit.camera.rotation
        normal += flat
        right += remains @ fit.camera.rotation
    normal += 0.02 * len(meshes) * np.eye(3)
    opening = np.einsum("pk,pkc->pc", shares, surface.opening[vertices])
    step = np.linalg.solve(normal, right[..., None])[..., 0]
    mirror = _mirror_of(fitter.mean)
    step = (step + step[mirror] * [-1, 1, 1]) / 2
    vertices, shares = surface.nearest(fitter.mean + opening + step)
    return vertices, shares, float(np.median(errors))


def _mirror_of(points: NDArray[np.float64]) -> NDArray[np.intp]:
    """The point of each point's other half."""
    return np.asarray(cKDTree(points).query(points * [-1, 1, 1])[1])


@click.command(help=__doc__)
@click.option("--data", type=click.Path(exists=True, path_type=Path), default="../shared", show_default=True)
@click.option("--work", type=click.Path(path_type=Path), default="build", show_default=True)
@click.option("--portraits", "count", default=400, show_default=True)
@click.option("--rounds", default=6, show_default=True)
def main(data: Path, work: Path, count: int, rounds: int) -> None:
    model = HeadModel(data)
    surface = Surface(model)
    labels = Labels.load(work)
    _, rows = labels.of(portraits(data, "train", generative=True))
    rng = np.random.default_rng(3)
    turned = rows[np.abs(labels.yaws[rows]) > 20]
    rows = np.r_[rng.choice(rows, count // 2, False), rng.choice(turned, min(count // 2, len(turned)), False)]
    vertices, shares = first_places(data, model, surface)
    for number in range(rounds):
        vertices, shares, error = refine(model, surface, labels.meshes[rows], vertices, shares)
        click.echo(f"round {number}: median error {100 * error:.2f} % of the distance between the eyes")
    np.savez_compressed(PLACES, vertices=vertices.astype(np.uint16), shares=shares.astype(np.float16))


if __name__ == "__main__":
    main()
