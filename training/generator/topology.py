"""Makes the mesh generator's topology: mean points, triangles and texture layout for FaceMesh's 468 points.

    python -m training.generator.topology --work build

Nothing but our own labels goes in: the mean of the upright frontal faces is made symmetric, unrolled, and
triangulated (Delaunay). The outline, the eyes and the mouth are rings that the triangles keep to.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.spatial import Delaunay

from facefusion_runner.generators.rings import EYES, INNER_LIPS, OUTLINE
from training.data.labels import Labels

OUTPUT: Final = Path(__file__).parents[2] / "facefusion_runner" / "generators" / "topology.npz"

FRONTAL: Final = 8.0
"""Degrees of yaw up to which a face counts for the mean."""

UNROLLED: Final = 0.4
"""By how much a point's distance from the middle grows per unit that it lies behind the eyes."""

UNCURLED: Final = 0.04
"""How far the lips' inner edges are drawn out."""

OPENED: Final = 0.16
"""How far the lower lip lies below its place, so that the lips' edges stay apart."""

Points = NDArray[np.float64]


def laid_on(points: Points, onto: Points) -> Points:
    """`points` (n, 3) moved by the similarity that brings them nearest to `onto` (Umeyama, PAMI 1991)."""
    p, q = points - points.mean(0), onto - onto.mean(0)
    u, stretch, v = np.linalg.svd(q.T @ p)
    signs = np.array([1.0, 1.0, np.sign(np.linalg.det(u @ v))])
    scale = (stretch * signs).sum() / np.square(p).sum()
    return np.asarray(scale * p @ (u @ np.diag(signs) @ v).T + onto.mean(0))


def mean_face(meshes: Points) -> Points:
    """(468, 3): the mean of faces (n, 468, 3) after alignment, origin between the eyes' centres, which are
    1 apart; forehead and chin equally near."""
    mean = meshes[0]
    for _ in range(5):
        mean = np.mean([laid_on(mesh, mean) for mesh in meshes], 0)
    left, right = (mean[list(eye)].mean(0) for eye in EYES)
    mean = (mean - (left + right) / 2) / np.linalg.norm(right - left)
    x, y = (right - left) / np.linalg.norm(right - left), mean[152] - mean[10]
    y = y - (y @ x) * x
    y /= np.linalg.norm(y)
    return np.asarray(mean @ np.column_stack([x, y, np.cross(x, y)]))


def mirrored(face: Points) -> NDArray[np.intp]:
    """(468,): the number of each point's counterpart on the other side of the face."""
    flipped = face * (-1, 1, 1)
    partner = np.arange(len(face))
    moved = flipped
    for _ in range(5):
        partner = linear_sum_assignment(np.linalg.norm(moved[:, None] - face, axis=2))[1]
        moved = laid_on(flipped, face[partner])
    if (partner[partner] != np.arange(len(face))).any():
        raise RuntimeError("the mean face has no clear middle")
    return np.asarray(partner, np.intp)


def unrolled(face: Points) -> Points:
    """(468, 2): the face laid flat, its receding sides turned outwards and its mouth opened."""
    x, y, z = face.T
    ring = face[list(INNER_LIPS)]
    corner, half = abs(ring[0, 0]), len(ring) // 2
    order = np.argsort(x[list(INNER_LIPS[: half + 1])])
    upper = ring[: half + 1][order]
    lower = np.concatenate([ring[half:], ring[:1]])[::-1][order]
    line = np.interp(x, (upper[:, 0] + lower[:, 0]) / 2, (upper[:, 1] + lower[:, 1]) / 2)
    below = np.clip((y - line) / (y.max() - line), 0, 1)
    opened = OPENED * np.sqrt(np.maximum(1 - np.square(x / corner), 0)) * np.where(y > line, 1 - below, 0)
    flat = np.column_stack([x * (1 + UNROLLED * np.maximum(z, 0)), y + opened])
    # The lips curl inwards: seen from the front, their inner edge lies behind the next ring of points.
    for number, point in enumerate(INNER_LIPS):
        way = 1 if number < half else -1
        flat[point, 1] += way * UNCURLED * np.sqrt(max(1 - np.square(x[point] / corner), 0))
    return flat


def triangles(flat: Points, mirror: NDArray[np.intp]) -> NDArray[np.int32]:
    """(n, 3): a symmetric triangulation within the outline, clockwise as seen with y down."""
    found = Delaunay(flat).simplices
    middle = flat[found].mean(1)
    found = found[_inside(flat[list(OUTLINE)], middle)]
    x = flat[found][..., 0]
    astride = (x.min(1) < -1e-9) & (x.max(1) > 1e-9)
    left = found[~astride & (x.mean(1) < 0)]
    found = np.concatenate([left, mirror[left], found[astride]])
    u, v = flat[found[:, 1]] - flat[found[:, 0]], flat[found[:, 2]] - flat[found[:, 0]]
    turned = _cross(u, v) < 0
    found[turned] = found[turned][:, ::-1]
    kept = found.tolist()
    for ring in (OUTLINE, INNER_LIPS, *EYES):
        for start, end in zip(ring, ring[1:] + ring[:1], strict=True):
            _keep_edge(kept, start, end)
    found = np.array(kept)
    a, b, c = (flat[found[:, k]] for k in range(3))
    if _cross(b - a, c - a).min() <= 0:
        raise RuntimeError("a triangle lies on its back")
    return np.asarray(found, np.int32)


def _cross(u: Points, v: Points) -> Points:
    return np.asarray(u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0])


def _keep_edge(found: list[list[int]], start: int, end: int) -> None:
    """Turns the one edge that crosses start-end, where that is no edge yet."""
    if any(start in t and end in t for t in found):
        return
    for first in (t for t in found if start in t):
        for second in (t for t in found if end in t):
            shared = [k for k in first if k in second]
            if len(shared) == 2:
                at = first.index(start)
                before, after = first[at - 1], first[(at + 1) % 3]
                found[found.index(first)] = [start, after, end]
                found[found.index(second)] = [start, end, before]
                return
    raise RuntimeError(f"the triangles cannot keep to the edge from {start} to {end}")


def _inside(ring: Points, at: Points) -> NDArray[np.bool_]:
    a, b = ring[:, None], np.roll(ring, -1, 0)[:, None]
    crossing = (a[..., 1] > at[:, 1]) != (b[..., 1] > at[:, 1])
    with np.errstate(divide="ignore", invalid="ignore"):
        x = a[..., 0] + (at[:, 1] - a[..., 1]) / (b[..., 1] - a[..., 1]) * (b[..., 0] - a[..., 0])
    return np.asarray((crossing & (x > at[:, 0])).sum(0) % 2 == 1)


@click.command(help=__doc__)
@click.option(
    "--work", type=click.Path(path_type=Path), default=Path("build"), help="Folder with labels.npz."
)
def main(work: Path) -> None:
    labels = Labels.load(work)
    face = mean_face(labels.meshes[np.abs(labels.yaws) < FRONTAL].astype(np.float64))
    mirror = mirrored(face)
    face = (face + face[mirror] * (-1, 1, 1)) / 2
    flat = unrolled(face)
    found = triangles(flat, mirror)
    np.savez_compressed(
        OUTPUT,
        points=face.astype(np.float32),
        layout=flat.astype(np.float32),
        mirror=mirror.astype(np.uint16),
        triangles=found.astype(np.uint16),
    )
    click.echo(f"{OUTPUT}: {len(found)} triangles, {OUTPUT.stat().st_size} bytes")


if __name__ == "__main__":
    main()
