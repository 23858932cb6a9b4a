"""Alignment: where a face's five points belong in a network's crop, and the transforms between.

Points are (n, 2) in pixels; transforms are (2, 3) float64. A crop is always cut with one affine
transform from the picture's own pixels, so that no pixel is interpolated twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from facefusion_runner.faces.types import Float, Matrix, Picture

TemplateName = Literal[
    "arcface_112_v1",
    "arcface_112_v2",
    "arcface_128",
    "ffhq_512",
    "mtcnn_512",
    "dfl_whole_face",
    "faceswap_gan",
]


def _template(*coordinates: float) -> NDArray[np.float64]:
    points = np.array(coordinates).reshape(5, 2)
    points.setflags(write=False)
    return points


# Left eye, right eye, nose, left and right mouth corner, in units of the crop's side.
TEMPLATES: Final[Mapping[TemplateName, NDArray[np.float64]]] = MappingProxyType(
    {
        "arcface_112_v1": _template(
            0.35473214, 0.45658929, 0.64526786, 0.45658929, 0.5, 0.61154464,
            0.37913393, 0.776875, 0.62086607, 0.776875,
        ),
        "arcface_112_v2": _template(
            0.34191607, 0.46157411, 0.65653393, 0.45983393, 0.500225, 0.64050536,
            0.37097589, 0.82469196, 0.63151696, 0.82325089,
        ),
        "arcface_128": _template(
            0.36167656, 0.40387734, 0.63696719, 0.40235469, 0.50019687, 0.56044219,
            0.38710391, 0.72160547, 0.61507734, 0.72034453,
        ),
        "ffhq_512": _template(
            0.37691676, 0.46864664, 0.62285697, 0.46912813, 0.50123859, 0.61331904,
            0.39308822, 0.725411, 0.61150205, 0.72490465,
        ),
        "mtcnn_512": _template(
            0.36562865, 0.46733799, 0.63305391, 0.46585885, 0.50019127, 0.61942959,
            0.39032951, 0.77598822, 0.61178945, 0.77476328,
        ),
        "dfl_whole_face": _template(
            0.35342266, 0.39285716, 0.62797622, 0.39285716, 0.48660713, 0.5401786,
            0.38839287, 0.68750011, 0.59821427, 0.68750011,
        ),
        # The middle 220 of the 256 pixels of an aligned face: what the networks see when they are trained.
        "faceswap_gan": _template(
            0.29744224, 0.28285646, 0.75931098, 0.27978345, 0.52179454, 0.56093767,
            0.35178163, 0.82028160, 0.70630779, 0.82111868,
        ),
    }
)  # fmt: skip


def similarity(points: NDArray[np.floating], onto: NDArray[np.floating]) -> Matrix:
    """The rotation, uniform scale and shift that take `points` nearest to `onto` in least squares.

    Both (n, 2), n ≥ 2. Umeyama (PAMI 1991) without reflection, in the single precision and the order of
    steps of scikit-image, which InsightFace aligns with: at another precision crops differ in a few pixels.
    Points that all coincide give a pure shift.
    """
    p = np.asarray(points, np.float32)
    q = np.asarray(onto, np.float32)
    p_mean, q_mean = p.mean(axis=0), q.mean(axis=0)
    p, q = p - p_mean, q - q_mean
    spread = p.var(axis=0).sum()
    if spread == 0.0:
        return np.column_stack([np.eye(2), q_mean - p_mean])
    u, stretch, v = np.linalg.svd(q.T @ p / len(p))
    signs = np.array([1.0, np.sign(np.linalg.det(u) * np.linalg.det(v))])
    rotation = u @ np.diag(signs) @ v
    scale = 1.0 / spread * (stretch @ signs)
    return np.column_stack([scale * rotation, q_mean - scale * (rotation @ p_mean)])


def alignment(points: NDArray[np.floating], template: TemplateName, side: int) -> Matrix:
    """The transform from picture pixels to a crop of `side` pixels, for a face's five points (5, 2)."""
    return similarity(points, TEMPLATES[template] * side)


def invert(matrix: Matrix) -> Matrix:
    """The transform back."""
    return np.asarray(cv2.invertAffineTransform(matrix), np.float64)


def compose(outer: Matrix, inner: Matrix) -> Matrix:
    """The transform that does `inner` first and then `outer`."""
    return np.asarray(outer @ np.vstack([inner, (0.0, 0.0, 1.0)]))


def enlargement(factor: float) -> Matrix:
    """A crop's pixels to those of the same crop with `factor` times the side, edge to edge."""
    shift = 0.5 * factor - 0.5
    return np.array([[factor, 0.0, shift], [0.0, factor, shift]])


def apply(matrix: Matrix, points: NDArray[np.floating]) -> Float:
    """Transforms points (n, 2), or (n, 3) whose third is a depth: it grows as lengths do; float32."""
    flat = points[:, :2] @ matrix[:, :2].T + matrix[:, 2]
    return np.asarray(np.hstack([flat, points[:, 2:] * scale_of(matrix)]), np.float32)


def scale_of(matrix: Matrix) -> float:
    """By how much the transform enlarges a length (the square root of its area factor)."""
    return float(np.sqrt(abs(np.linalg.det(matrix[:, :2]))))


def cut(picture: Picture, matrix: Matrix, side: int) -> Picture:
    """The (side, side, 3) crop of `picture` along `matrix`, bilinear; black outside the picture."""
    return np.asarray(cv2.warpAffine(picture, matrix, (side, side)), np.uint8)
