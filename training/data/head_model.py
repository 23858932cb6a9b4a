"""A head whose shape is known exactly: the ICT FaceKit model (MIT), with FaceMesh's 468 points on it.

Model coordinates: about a centimetre, x to the picture's right for a head that faces the camera, y up,
z towards the camera. A picture has its own axes: x to the right, y down, z away from the viewer.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

import numba
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from facefusion_runner.faces.types import Float
from training.data.labels import MESH

FILE: Final = Path("faces/ict_facekit/ict_facekit_light.npz")
PLACES: Final = Path(__file__).with_name("mesh_places.npz")
"""Where FaceMesh's points lie on the model: written by training.data.mesh_places."""

PARTS: Final = ("M_Face", "M_BackHead", "M_ScleraLeft", "M_ScleraRight", "M_IrisLeft", "M_IrisRight",
                "M_GumsTongue", "M_Teeth")  # fmt: skip
IDENTITIES: Final = 60
"""The first of the hundred: the rest together move the face by 0.07 model units."""
_FIT_NOISE: Final = 0.2
"""How far a mesh point is expected from the fitted one, in model units; weighs points against priors."""
_FIT_EXPRESSION: Final = 0.35
"""Deviation expected of an expression's coefficient; an identity's is 1."""
_FIT_DEPTH: Final = 0.35
"""Trust in a mesh's depths against its x and y: FaceMesh never saw true depths."""
DEPTH_ORIGIN: Final = np.array([0.0, -0.11, 9.70])
"""The model's point where FaceMesh's z is 0, by least squares over 300 fitted portraits (deviation 0.1)."""
_FLIP: Final = np.diag([1.0, -1.0, -1.0])
"""Model axes to picture axes."""


@dataclass(frozen=True, slots=True, eq=False)
class Camera:
    """Weak perspective: picture = scale * (rotation @ point) * (1, -1, -1) + centre."""

    rotation: NDArray[np.float64]
    """(3, 3), in the model's axes."""
    scale: float
    """Picture pixels per model unit."""
    centre: NDArray[np.float64]
    """(3,): where the model's origin is, in picture pixels; z too."""
    distance: float = np.inf
    """From the camera to the model's origin, in model units; finite for perspective."""

    def project(self, points: Float) -> Float:
        """(n, 3) model units -> (n, 3) picture pixels, z in the same unit, negative towards the viewer."""
        turned = points @ (_FLIP @ self.rotation).T
        picture = turned * self.scale
        if np.isfinite(self.distance):
            picture[:, :2] /= 1 + turned[:, 2:] / self.distance
        return np.asarray(picture + self.centre, np.float32)

    @classmethod
    def at(
        cls, rotation: NDArray[np.float64], scale: float, place: tuple[float, float], distance: float = np.inf
    ) -> Camera:
        """A camera that puts the model's origin at `place` and depths where FaceMesh puts them."""
        depth = scale * float(rotation[2] @ DEPTH_ORIGIN)
        return cls(rotation, scale, np.array([*place, depth]), distance)

    @property
    def yaw(self) -> float:
        """Degrees, positive where the face looks to the picture's right."""
        return float(_angles(self.rotation)[0])

    @property
    def pitch(self) -> float:
        """Degrees, positive where the face looks up."""
        return float(_angles(self.rotation)[1])

    @property
    def roll(self) -> float:
        """Degrees, clockwise in the picture."""
        return float(_angles(self.rotation)[2])


def rotation(yaw: float, pitch: float = 0.0, roll: float = 0.0) -> NDArray[np.float64]:
    """(3, 3) from degrees: yaw to the picture's right, pitch up, roll clockwise in the picture."""
    return np.asarray(Rotation.from_euler("ZYX", [-roll, yaw, -pitch], degrees=True).as_matrix())


def _angles(turn: NDArray[np.float64]) -> NDArray[np.float64]:
    """(3,) degrees: the yaw, pitch and roll of `rotation`."""
    return np.asarray(Rotation.from_matrix(turn).as_euler("ZYX", degrees=True)[[1, 2, 0]] * [1, -1, -1])


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """The model laid on a mesh: project(shape(identity, expression)) is near the mesh."""

    identity: Float
    expression: Float
    camera: Camera
    error: float
    """Mean distance in x and y, in parts of the distance between the eyes' outer corners."""


class HeadModel:
    """The parts of the model that show: face, back of the head, eyeballs, mouth.

    mean (v, 3), identity (60, v, 3), expression (e, v, 3): float32, v vertices.
    triangles (t, 3) int32, counter-clockwise from outside; part (t,) int8, numbers of PARTS.
    """

    def __init__(self, data: Path) -> None:
        with np.load(data / FILE) as stored:
            names = stored["materials"].tolist()
            quads, material = stored["quads"], stored["quad_material"]
            chosen = np.isin(material, [names.index(name) for name in PARTS])
            quads = quads[chosen]
            number = {names.index(name): index for index, name in enumerate(PARTS)}
            part = np.array([number[int(value)] for value in material[chosen]], np.int8)
            self.source_vertices = np.unique(quads[quads >= 0])
            renumber = np.full(len(stored["mean"]), -1, np.int32)
            renumber[self.source_vertices] = np.arange(len(self.source_vertices), dtype=np.int32)
            self.renumber = renumber
            self.mean: Float = np.ascontiguousarray(stored["mean"][self.source_vertices], np.float32)
            self.identity: Float = _take(stored["identity"][:IDENTITIES], self.source_vertices)
            every = stored["expression_names"].tolist()
            kept = [index for index, name in enumerate(every) if not name.startswith("Pupil")]
            self.expression_names: tuple[str, ...] = tuple(every[index] for index in kept)
            self.expression: Float = _take(stored["expression"][kept], self.source_vertices)
        whole = quads[:, 3] >= 0
        quads = np.where(quads >= 0, renumber[quads], -1)
        self.triangles = np.concatenate([quads[:, :3], quads[whole][:, [0, 2, 3]]]).astype(np.int32)
        self.part = np.concatenate([part, part[whole]])

    @cached_property
    def vertex_part(self) -> NDArray[np.int8]:
        """(v,): the part each vertex belongs to; on a border, the lowest number."""
        parts = np.full(len(self.mean), 127, np.int8)
        for corner in range(3):
            np.minimum.at(parts, self.triangles[:, corner], self.part)
        return parts

    @cached_property
    def mirrored(self) -> NDArray[np.int32]:
        """(v,): the vertex at the same place of the other half."""
        tree = cKDTree(self.mean)
        return np.asarray(tree.query(self.mean * np.array([-1, 1, 1], np.float32))[1], np.int32)

    @cached_property
    def places(self) -> tuple[NDArray[np.int32], Float]:
        """FaceMesh's points: (468, 3) vertices and (468, 3) their shares, which sum to 1."""
        with np.load(PLACES) as stored:
            vertices, shares = stored["vertices"], stored["shares"].astype(np.float32)
        return vertices.astype(np.int32), shares / shares.sum(1, keepdims=True)

    def shape(self, identity: Float, expression: Float) -> Float:
        """(v, 3) from at most 60 identity coefficients, of deviation 1, and expressions from 0 to 1."""
        shape = self.mean + np.tensordot(identity, self.identity[: len(identity)], 1)
        for index in np.flatnonzero(expression):
            shape += expression[index] * self.expression[index]
        return np.asarray(shape, np.float32)

    def expressions(self, **values: float) -> Float:
        """The coefficients of named expressions; a name without _L or _R stands for both halves."""
        coefficients = np.zeros(len(self.expression_names), np.float32)
        for name, value in values.items():
            found = [i for i, known in enumerate(self.expression_names) if known.removesuffix("_L") == name
                     or known.removesuffix("_R") == name or known == name]  # fmt: skip
            if not found:
                raise KeyError(f"the head model has no expression {name}")
            coefficients[found] = value
        return coefficients

    def mesh(self, shape: Float) -> Float:
        """(v, 3) -> (468, 3): FaceMesh's points on a shape."""
        vertices, shares = self.places
        return np.asarray(np.einsum("pk,pkc->pc", shares, shape[vertices]), np.float32)

    def normals(self, points: Float) -> Float:
        """(v, 3) unit normals, outwards, in the points' own axes if these are right-handed."""
        return np.asarray(_normals(np.ascontiguousarray(points, np.float32), self.triangles))

    def fit(self, mesh: Float) -> Fit:
        """Identity, expression and weak-perspective camera by least squares to FaceMesh's (468, 3) points."""
        return self._fitter.fit(mesh)

    @cached_property
    def _fitter(self) -> Fitter:
        return Fitter(self, *self.places)


class Fitter:
    """Fits the model at given places to 468 points."""

    def __init__(self, model: HeadModel, vertices: NDArray[np.int32], shares: Float) -> None:
        still = [name.startswith("eyeLook") for name in model.expression_names]
        basis = np.concatenate([model.identity, model.expression])[:, vertices]
        self.basis = np.ascontiguousarray(np.einsum("bpkc,pk->bpc", basis, shares), np.float64)
        self.mean = np.einsum("pkc,pk->pc", model.mean[vertices], shares).astype(np.float64)
        count = len(self.basis)
        rows = self.basis.transpose(2, 0, 1).reshape(3 * count, MESH)
        self.gram = (
            (rows @ rows.T).reshape(3, count, 3, count).transpose(0, 2, 1, 3).reshape(9, count * count)
        )
        count = len(model.expression_names)
        deviation = np.r_[np.ones(IDENTITIES), np.full(count, _FIT_EXPRESSION)]
        self.prior = (_FIT_NOISE / deviation) ** 2
        self.low = np.r_[np.full(IDENTITIES, -3.0), np.zeros(count)]
        self.high = np.r_[np.full(IDENTITIES, 3.0), np.where(still, 0.0, 1.0)]

    def fit(self, mesh: Float, rounds: int = 8) -> Fit:
        seen = mesh.astype(np.float64) * [1, -1, -1]
        coefficients = np.zeros(len(self.basis))
        for _ in range(rounds):
            shape = self.mean + (coefficients @ self.basis.reshape(len(self.basis), -1)).reshape(-1, 3)
            turn, scale, centre = _pose(shape, seen)
            weight = turn.T @ np.diag([1, 1, _FIT_DEPTH**2]) @ turn
            wanted = (seen - centre) / scale @ turn - self.mean
            normal = (weight.ravel() @ self.gram).reshape(len(self.prior), -1) + np.diag(self.prior)
            right = self.basis.reshape(len(self.basis), -1) @ (wanted @ weight).ravel()
            _descend(normal, right, self.low, self.high, coefficients)
        shape = self.mean + np.tensordot(coefficients, self.basis, 1)
        turn, scale, centre = _pose(shape, seen)
        camera = Camera(turn, scale, centre * [1, -1, -1])
        off = camera.project(shape.astype(np.float32)) - mesh
        eyes = float(np.linalg.norm(mesh[263] - mesh[33]))
        identity, expression = np.split(coefficients.astype(np.float32), [IDENTITIES])
        return Fit(identity, expression, camera, float(np.hypot(off[:, 0], off[:, 1]).mean()) / eyes)


def _take(shapes: NDArray[np.float16], vertices: NDArray[np.intp]) -> Float:
    """(n, v, 3) float32, one shape after the other in memory."""
    return np.ascontiguousarray(np.take(shapes, vertices, axis=1), np.float32)


def _pose(
    shape: NDArray[np.float64], seen: NDArray[np.float64]
) -> tuple[NDArray[np.float64], float, NDArray[np.float64]]:
    """Similarity from shape to seen by least squares; depths are drawn towards the model's, so count less."""
    target = seen
    for _ in range(4):
        from_mean, to_mean = shape.mean(0), target.mean(0)
        a, b = shape - from_mean, target - to_mean
        u, s, vt = np.linalg.svd(b.T @ a)
        sign = np.diag([1, 1, np.sign(np.linalg.det(u @ vt))])
        turn = u @ sign @ vt
        scale = float((s * np.diag(sign)).sum() / (a**2).sum())
        centre = to_mean - scale * turn @ from_mean
        model_depth = (scale * shape @ turn.T + centre)[:, 2]
        shift = (seen[:, 2] - model_depth).mean()
        target = np.column_stack(
            [seen[:, :2], _FIT_DEPTH * seen[:, 2] + (1 - _FIT_DEPTH) * (model_depth + shift)]
        )
    return turn, scale, centre


@numba.njit(cache=True)
def _descend(normal, right, low, high, x) -> None:  # type: ignore[no-untyped-def]  # pragma: no cover
    """Coordinate descent for min x'Nx/2 - r'x within bounds, from x, in place."""
    for _ in range(15):
        for i in range(len(x)):
            step = right[i]
            for j in range(len(x)):
                step -= normal[i, j] * x[j]
            x[i] = min(max(x[i] + step / normal[i, i], low[i]), high[i])


@numba.njit(cache=True)
def _normals(points, triangles):  # type: ignore[no-untyped-def]  # pragma: no cover
    normals = np.zeros_like(points)
    for t in range(len(triangles)):
        a, b, c = triangles[t]
        ux, uy, uz = points[b, 0] - points[a, 0], points[b, 1] - points[a, 1], points[b, 2] - points[a, 2]
        vx, vy, vz = points[c, 0] - points[a, 0], points[c, 1] - points[a, 1], points[c, 2] - points[a, 2]
        nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
        for corner in (a, b, c):
            normals[corner, 0] += nx
            normals[corner, 1] += ny
            normals[corner, 2] += nz
    for v in range(len(normals)):
        length = np.sqrt(normals[v, 0] ** 2 + normals[v, 1] ** 2 + normals[v, 2] ** 2) + 1e-12
        normals[v] /= length
    return normals


@numba.njit(cache=True)
def rasterise(points, triangles, height, width):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Which triangle is seen in each pixel: the one with the lowest z; backs of triangles are not drawn.

    points (v, 3) float32 picture pixels; triangles (t, 3) int32.
    Returns seen (h, w) int32, -1 where none; shares (h, w, 3) float32 of its corners; depth (h, w) float32.
    """
    seen = np.full((height, width), -1, np.int32)
    shares = np.zeros((height, width, 3), np.float32)
    depth = np.full((height, width), np.inf, np.float32)
    for t in range(len(triangles)):
        a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        ax, ay, bx, by, cx, cy = (
            points[a, 0],
            points[a, 1],
            points[b, 0],
            points[b, 1],
            points[c, 0],
            points[c, 1],
        )
        left = max(int(np.ceil(min(ax, bx, cx))), 0)
        right = min(int(np.floor(max(ax, bx, cx))), width - 1)
        top = max(int(np.ceil(min(ay, by, cy))), 0)
        bottom = min(int(np.floor(max(ay, by, cy))), height - 1)
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        if left > right or top > bottom or area > -1e-9:
            continue
        inverse = 1 / area
        for y in range(top, bottom + 1):
            for x in range(left, right + 1):
                wb = ((x - ax) * (cy - ay) - (y - ay) * (cx - ax)) * inverse
                wc = ((bx - ax) * (y - ay) - (by - ay) * (x - ax)) * inverse
                wa = 1 - wb - wc
                if wa < -1e-6 or wb < -1e-6 or wc < -1e-6:
                    continue
                z = wa * points[a, 2] + wb * points[b, 2] + wc * points[c, 2]
                if z < depth[y, x]:
                    depth[y, x] = z
                    seen[y, x] = t
                    shares[y, x, 0], shares[y, x, 1], shares[y, x, 2] = wa, wb, wc
    return seen, shares, depth


@numba.njit(cache=True, fastmath=True)
def interpolate(triangle, shares, triangles, values):  # type: ignore[no-untyped-def]  # pragma: no cover
    """(h, w, c) float32: the corners' values (v, c) mixed in each pixel; 0 where no triangle is seen."""
    height, width = triangle.shape
    result = np.zeros((height, width, values.shape[1]), np.float32)
    for y in range(height):
        for x in range(width):
            if triangle[y, x] >= 0:
                for k in range(3):
                    vertex = triangles[triangle[y, x], k]
                    for c in range(values.shape[1]):
                        result[y, x, c] += shares[y, x, k] * values[vertex, c]
    return result
