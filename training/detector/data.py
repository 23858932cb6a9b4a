"""Canvases full of faces, made on the fly from portraits and backgrounds, with boxes and five points.

Sizes of faces are square roots of their boxes' areas. The box of a face follows from its 468 mesh points by
one rule, the mean of what YuNet and RetinaFace (mnet0.25) answer on portraits: the hull of the points, and
.139 of its height more above and .02 below.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from facefusion_runner.faces.types import Float, Matrix, Picture
from facefusion_runner.landmarkers.schemes import five_points, of_mesh
from training.data.backgrounds import Backgrounds, laid_on
from training.data.labels import Labels
from training.data.pictures import Split, portraits
from training.data.renders import stored

ABOVE: Final = 0.139
BELOW: Final = 0.02
SMALLEST: Final = 12.0
"""Smaller faces are neither learned nor counted as background."""
LEAST_SEEN: Final = 0.4
"""So much of a face must be on the canvas and uncovered to be learned."""
_OVAL: Final = (
    *(10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152),
    *(148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109),
)
"""The mesh's outline."""
Place = NDArray[np.floating[Any]]
"""(2,) x and y"""
_OTHER_SIDE: Final = (1, 0, 2, 4, 3)


@dataclass(frozen=True, slots=True, eq=False)
class Subject:
    """A portrait in halving sizes."""

    levels: tuple[Picture, ...]
    mesh: Float
    """(468, 2) in pixels of the first level."""
    box: Float
    points: Float
    yaw: float
    """Degrees; turned faces are rare and are therefore chosen more often."""


@dataclass(slots=True, eq=False)
class Canvas:
    """A picture with all that is known about the faces on it."""

    picture: Picture
    boxes: list[Float] = field(default_factory=list)
    points: list[Float] = field(default_factory=list)
    areas: list[float] = field(default_factory=list)
    """Of the faces' outlines, in pixels, seen or not."""
    owner: NDArray[np.int16] = field(init=False)
    """Which face is seen where: 0 none, else its number + 1."""

    def __post_init__(self) -> None:
        self.owner = np.zeros(self.picture.shape[:2], np.int16)

    def seen(self) -> NDArray[np.float64]:
        """(n,) share of each face that is on the canvas and uncovered."""
        counts = np.bincount(self.owner.ravel(), minlength=len(self.boxes) + 1)[1:]
        return counts / np.maximum(self.areas, 1)


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """What the network is to answer on a canvas."""

    boxes: Float
    """(n, 4), cut at the border."""
    points: Float
    """(n, 5, 2)"""
    learned: NDArray[np.bool_]
    """(n,): False for what is too small or too hidden to be learned."""


def face_box(mesh: Float) -> Float:
    """(4,): left, top, right, bottom of a face with the mesh (468, 2 or 3)."""
    low, high = mesh[:, :2].min(0), mesh[:, :2].max(0)
    height = high[1] - low[1]
    return np.array([low[0], low[1] - ABOVE * height, high[0], high[1] + BELOW * height], np.float32)


def face_points(mesh: Float) -> Float:
    """(5, 2) of a mesh (468, 3)."""
    return five_points(of_mesh(mesh).points)


def subjects(data: Path, work: Path, split: Split = "train", *, longest: int = 512) -> list[Subject]:
    """All portraits of a split, decoded."""
    labels = Labels.load(work)
    known, rows = labels.of(portraits(data, split))
    return [
        subject(portrait.read(data), labels.meshes[row], float(labels.yaws[row]), longest)
        for portrait, row in zip(known, rows, strict=True)
    ]


def rendered(work: Path, most: int = 900) -> list[Subject]:
    """Drawn heads of all yaws, where `python -m training.data.renders` has made them; else none."""
    files = {kind: stored(work, "train", kind) for kind in ("pictures", "meshes")}
    if not all(file.exists() for file in files.values()):
        return []
    pictures, meshes = (np.load(file, mmap_mode="r") for file in files.values())
    chosen = np.unique(np.linspace(0, len(pictures) - 1, most).astype(int))
    return [subject(np.array(pictures[row]), np.array(meshes[row]), 0.0) for row in chosen]


def subject(picture: Picture, mesh: Float, yaw: float, longest: int = 512) -> Subject:
    scale = min(longest / max(picture.shape[:2]), 1.0)
    if scale < 1:
        picture = np.asarray(
            cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8
        )
        mesh = mesh * np.float32(scale)
    levels = [picture]
    while min(levels[-1].shape[:2]) >= 48:
        half = levels[-1].shape[1] // 2, levels[-1].shape[0] // 2
        levels.append(np.asarray(cv2.resize(levels[-1], half, interpolation=cv2.INTER_AREA), np.uint8))
    return Subject(tuple(levels), mesh[:, :2].copy(), face_box(mesh), face_points(mesh), yaw)


class Mosaics:
    """Makes canvases."""

    def __init__(self, pool: Sequence[Subject], backgrounds: Backgrounds) -> None:
        self._pool = pool
        weights = np.array([1 + abs(person.yaw) / 15 for person in pool])
        self._chances = np.cumsum(weights / weights.sum())
        self._backgrounds = backgrounds

    def pair(self, rng: np.random.Generator, side: int = 320) -> list[tuple[Picture, Truth]]:
        """A canvas of side x side, uint8 BGR, and its mirror image, seen by two different cameras."""
        kinds = (self._scattered, self._crowd, self._large, self._collage, self._empty)
        shares = (0.22, 0.12, 0.48, 0.06, 0.12) if side <= 320 else (0.25, 0.15, 0.5, 0.05, 0.05)
        canvas = Canvas(self._backgrounds.sample(rng, side, side))
        kinds[int(rng.choice(len(kinds), p=shares))](rng, canvas)
        truth = _truth(canvas)
        learned = truth.boxes[truth.learned]
        smallest = float(np.sqrt(np.prod(learned[:, 2:] - learned[:, :2], 1)).min()) if len(learned) else 64.0
        mirrored = np.ascontiguousarray(canvas.picture[:, ::-1])
        return [
            (_worse(rng, canvas.picture, smallest), truth),
            (_worse(rng, mirrored, smallest), _mirrored(truth, side)),
        ]

    def _scattered(self, rng: np.random.Generator, canvas: Canvas) -> None:
        side = len(canvas.picture)
        for _ in range(int(rng.integers(0, 5))):
            self._hard_negative(rng, canvas)
        for _ in range(int(rng.integers(1, 10))):
            size = float(np.exp(rng.uniform(np.log(14), np.log(0.6 * side))))
            self._paste(rng, canvas, size, rng.uniform(0.02, 0.98, 2) * side)
        self._cover(rng, canvas)

    def _crowd(self, rng: np.random.Generator, canvas: Canvas) -> None:
        """Rows of faces, the nearer ones larger and in front."""
        side = len(canvas.picture)
        for _ in range(int(rng.integers(0, 4))):
            self._hard_negative(rng, canvas)
        size = float(np.exp(rng.uniform(np.log(13), np.log(32))))
        growth, spacing = float(rng.uniform(1.0, 1.35)), float(rng.uniform(1.3, 2.6))
        height = float(rng.uniform(0, 0.3)) * side
        while height < side and len(canvas.boxes) < 45:
            for x in np.arange(rng.uniform(0, spacing) * size, side, spacing * size):
                if rng.random() < 0.8:
                    place = np.array([x, height]) + rng.normal(0, 0.2, 2) * size
                    self._paste(rng, canvas, size * float(np.exp(rng.normal(0, 0.12))), place)
            height += size * float(rng.uniform(1.3, 2.6))
            size *= growth
        if rng.random() < 0.3:
            self._cover(rng, canvas)

    def _large(self, rng: np.random.Generator, canvas: Canvas) -> None:
        """One face that fills much of the canvas or more, at times the picture around it as well."""
        side = len(canvas.picture)
        size = side * float(rng.uniform(0.8, 1.2) if rng.random() < 0.4 else rng.uniform(0.35, 1.15))
        spare = max(side - size, 0.25 * side) / 2
        place = side / 2 + rng.uniform(-1, 1, 2) * spare
        self._paste(rng, canvas, size, place, whole=bool(rng.random() < 0.5))
        for _ in range(int(rng.integers(0, 4))):
            self._paste(rng, canvas, float(rng.uniform(0.06, 0.3)) * side, rng.uniform(0, 1, 2) * side)
        self._cover(rng, canvas)

    def _collage(self, rng: np.random.Generator, canvas: Canvas) -> None:
        """Whole portraits, edge to edge."""
        side = len(canvas.picture)
        count = int(rng.integers(2, 6))
        step = side / count
        for row in range(count):
            for column in range(count):
                place = (np.array([column, row]) + 0.5) * step
                self._paste(
                    rng, canvas, step * float(rng.uniform(0.35, 0.6)), place, whole=True, cell=step / 2
                )

    def _empty(self, rng: np.random.Generator, canvas: Canvas) -> None:
        for _ in range(int(rng.integers(0, 13))):
            self._hard_negative(rng, canvas)

    def _hard_negative(self, rng: np.random.Generator, canvas: Canvas) -> None:
        """Something that might be taken for a face: an animal, a fruit, skin, a face in the wrong order."""
        kind, side = rng.random(), len(canvas.picture)
        if kind < 0.3:
            thing = self._backgrounds.cutout(rng)
            size = float(np.exp(rng.uniform(np.log(0.06), np.log(0.9))))
            canvas.picture = laid_on(rng, canvas.picture, thing, size)
        elif kind < 0.5:
            self._scrambled(rng, canvas)
        elif kind < 0.75:
            self._oval(rng, canvas)
        elif kind < 0.9:
            _text(rng, canvas)
        else:
            _skin(rng, canvas, rng.uniform(0, side, 2), float(rng.uniform(6, 0.3 * side)))

    def _oval(self, rng: np.random.Generator, canvas: Canvas) -> None:
        """Something else, cut out as faces are."""
        side = len(canvas.picture)
        size = int(np.exp(rng.uniform(np.log(14), np.log(0.6 * side))))
        patch = self._backgrounds.photograph(rng, size, size)
        alpha = np.zeros((size, size), np.float32)
        half = size / 2
        axes = int(half * rng.uniform(0.6, 0.9)), int(half * rng.uniform(0.75, 0.95))
        cv2.ellipse(alpha, (int(half), int(half)), axes, float(rng.normal(0, 15)), 0, 360, 1.0, -1)
        if rng.random() < 0.8:
            alpha = np.asarray(
                cv2.GaussianBlur(alpha, (0, 0), size * float(rng.uniform(0.01, 0.06))), np.float32
            )
        left, top = (rng.uniform(-0.1, 1.0, 2) * side - half).astype(int)
        _lay(canvas, patch, alpha, int(left), int(top), 0)

    def _scrambled(self, rng: np.random.Generator, canvas: Canvas) -> None:
        """Pieces of a face side by side as no face has them, or what is below a face."""
        person = self._pool[int(rng.integers(len(self._pool)))]
        picture = person.levels[0]
        size = int(np.exp(rng.uniform(np.log(16), np.log(0.5 * len(canvas.picture)))))
        left, top, right, bottom = np.clip(person.box, 0, None).astype(int)
        if rng.random() < 0.3 and bottom + 24 < len(picture):
            patch = cv2.resize(
                picture[bottom + 8 :], (size, max(size * 2 // 3, 4)), interpolation=cv2.INTER_AREA
            )
        else:
            pieces = int(rng.integers(2, 4))
            face = cv2.resize(picture[top:bottom, left:right], (size, size), interpolation=cv2.INTER_AREA)
            cuts = np.linspace(0, size, pieces + 1).astype(int)
            rows = rng.permutation(pieces) if rng.random() < 0.5 else np.arange(pieces)[::-1]
            patch = np.vstack([face[cuts[i] : cuts[i + 1]] for i in rows])
            columns = rng.permutation(pieces)
            patch = np.hstack([patch[:, cuts[i] : cuts[i + 1]] for i in columns])
            if np.array_equal(rows, np.arange(pieces)) and np.array_equal(columns, rows):
                return
        top, left = (int(rng.integers(0, len(canvas.picture) - extent + 1)) for extent in patch.shape[:2])
        canvas.picture[top : top + patch.shape[0], left : left + patch.shape[1]] = patch

    def _cover(self, rng: np.random.Generator, canvas: Canvas) -> None:
        """Now and then bars, hands (blobs of skin) and things before the faces."""
        for box in list(canvas.boxes):
            if rng.random() > 0.22:
                continue
            size = float(np.sqrt(np.prod(box[2:] - box[:2])))
            place = box[:2] + rng.uniform(-0.1, 1.1, 2) * (box[2:] - box[:2])
            kind = rng.random()
            if kind < 0.4:
                _skin(rng, canvas, place, size * float(rng.uniform(0.1, 0.3)))
            elif kind < 0.75:
                arm = rng.normal(0, 1, 2)
                arm *= rng.uniform(0.4, 1.5) * size / np.hypot(*arm)
                ends = [tuple(int(c) for c in place + sign * arm) for sign in (-1, 1)]
                colour = tuple(int(c) for c in rng.integers(0, 256, 3))
                width = max(int(size * rng.uniform(0.04, 0.25)), 1)
                cv2.line(canvas.picture, ends[0], ends[1], colour, width, cv2.LINE_AA)
                cv2.line(canvas.owner, ends[0], ends[1], 0, width)
            else:
                self._thing_before(rng, canvas, place, size * float(rng.uniform(0.3, 0.7)))

    def _thing_before(self, rng: np.random.Generator, canvas: Canvas, place: Place, size: float) -> None:
        thing = self._backgrounds.cutout(rng)
        scale = size / max(thing.shape[:2])
        if min(thing.shape[:2]) * scale < 2:
            return
        small = cv2.resize(thing, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        top, left = (int(c - extent / 2) for c, extent in zip(place[::-1], small.shape[:2], strict=True))
        alpha = np.asarray(small[..., 3], np.float32) / np.float32(255)
        _lay(canvas, np.asarray(small[..., :3], np.uint8), alpha, left, top, 0)

    def _paste(
        self,
        rng: np.random.Generator,
        canvas: Canvas,
        size: float,
        place: Place,
        *,
        whole: bool = False,
        cell: float | None = None,
    ) -> None:
        """A face of `size` pixels with its centre at `place`; whole: with the picture around it.

        cell: half the side of the square around `place` that it must stay in.
        """
        person = self._pool[min(int(np.searchsorted(self._chances, rng.random())), len(self._pool) - 1)]
        extent = float(np.sqrt(np.prod(person.box[2:] - person.box[:2])))
        angle = rng.uniform(-45, 45) if rng.random() < 0.2 else rng.normal(0, 9)
        mirrored = bool(rng.random() < 0.5)
        matrix = _matrix(rng, (person.box[:2] + person.box[2:]) / 2, size / extent, angle, mirrored, place)
        mesh = apply(matrix, person.mesh)
        points = apply(matrix, person.points)
        if mirrored:
            points = points[list(_OTHER_SIDE)]
        outline, feather = _outline(rng, person, matrix, mesh, size, whole)
        low = np.floor(outline.min(0) - 2 * feather).astype(int)
        high = np.ceil(outline.max(0) + 2 * feather).astype(int) + 1
        bounds = np.array(canvas.picture.shape[1::-1])
        if cell is not None:
            low, high = (
                np.maximum(low, (place - cell).astype(int)),
                np.minimum(high, (place + cell).astype(int) + 1),
            )
        low, high = np.maximum(low, 0), np.minimum(high, bounds)
        if (high <= low).any():
            return
        wide, tall = (int(n) for n in high - low)
        pixels, known = _warped(person, matrix, low, wide, tall)
        alpha = np.zeros((tall, wide), np.float32)
        cv2.fillPoly(alpha, [np.rint(outline - low).astype(np.int32)], 1.0)
        if feather > 0.4:
            alpha = np.asarray(cv2.GaussianBlur(alpha, (0, 0), feather), np.float32)
        alpha = alpha * known
        if rng.random() < 0.6:
            gain = np.exp(rng.normal(0, 0.15) + rng.normal(0, 0.05, 3))
            table = np.clip(np.arange(256)[:, None] * gain + rng.normal(0, 8), 0, 255).astype(np.uint8)
            pixels = np.asarray(cv2.LUT(pixels, table[None]), np.uint8)
        number = len(canvas.boxes) + 1
        _lay(canvas, pixels, alpha, int(low[0]), int(low[1]), 0)
        oval = np.rint(mesh[list(_OVAL)]).astype(np.int32)
        window = canvas.owner[low[1] : high[1], low[0] : high[0]]
        shape = np.zeros(window.shape, np.uint8)
        cv2.fillPoly(shape, [oval - low.astype(np.int32)], 1)
        window[(shape > 0) & (known > 0.5)] = number
        canvas.boxes.append(face_box(mesh))
        canvas.points.append(np.asarray(points, np.float32))
        canvas.areas.append(float(cv2.contourArea(oval)))


def apply(matrix: Matrix, points: Float) -> Float:
    """Points (n, 2) under a matrix (2, 3)."""
    return np.asarray(points @ matrix[:, :2].T + matrix[:, 2], np.float32)


def _matrix(
    rng: np.random.Generator, centre: Place, scale: float, degrees: float, mirrored: bool, place: Place
) -> Matrix:
    """From pixels of a portrait to pixels of the canvas: the face's centre comes to `place`."""
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    stretch = np.exp(rng.normal(0, 0.05))
    linear = np.array([[cos, -sin], [sin, cos]]) @ np.diag([scale * stretch, scale / stretch])
    if mirrored:
        linear = linear @ np.diag([-1.0, 1.0])
    return np.column_stack([linear, place - linear @ centre])


def _outline(
    rng: np.random.Generator, person: Subject, matrix: Matrix, mesh: Float, size: float, whole: bool
) -> tuple[Float, float]:
    """What of a portrait is pasted, as a polygon on the canvas, and how soft its edge is."""
    height, width = person.levels[0].shape[:2]
    kind = rng.random()
    if whole or kind < 0.15:
        corners = np.array([[0, 0], [width - 1, 0], [width - 1, height - 1], [0, height - 1]], np.float32)
        return apply(matrix, corners), 0.0
    feather = size * float(rng.uniform(0.01, 0.08))
    oval = mesh[list(_OVAL)]
    if kind < 0.25:
        return oval + (oval - oval.mean(0)) * float(rng.uniform(0.0, 0.15)), feather
    low, high = person.mesh.min(0), person.mesh.max(0)
    face = high - low
    turn = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    reach = np.array([rng.uniform(0.6, 0.85), rng.uniform(0.7, 0.9)])
    head = np.stack([np.cos(turn), np.sin(turn)], 1) * face * reach + (low + high) / 2 - [0, 0.12 * face[1]]
    if kind < 0.55:
        return apply(matrix, head.astype(np.float32)), feather
    neck, wide = low[1] + face[1] * rng.uniform(1.05, 1.25), face[0] * rng.uniform(0.9, 1.6)
    middle = (low[0] + high[0]) / 2
    side = np.array(
        [
            [0.4 * face[0], high[1]],
            [0.45 * face[0], neck],
            [wide, neck + 0.3 * face[1]],
            [1.1 * wide, height + face[1]],
        ]
    )
    body = np.concatenate([side, (side * [-1, 1])[::-1]]) + np.array([middle, 0])
    upper = head[turn > np.pi]
    ends = np.array([head[turn <= np.pi][-1], head[0]])
    return apply(matrix, np.concatenate([ends[:1], upper, ends[1:], body]).astype(np.float32)), feather


def _warped(
    person: Subject, matrix: Matrix, low: NDArray[np.int_], wide: int, tall: int
) -> tuple[Picture, Float]:
    """The portrait under `matrix` in a window of the canvas, and where it has pixels (1) or none (0)."""
    scale = float(np.sqrt(abs(matrix[0, 0] * matrix[1, 1] - matrix[0, 1] * matrix[1, 0])))
    level = int(np.clip(np.floor(np.log2(1 / max(scale, 1e-6)) + 0.3), 0, len(person.levels) - 1))
    picture = person.levels[level]
    factor = np.array(person.levels[0].shape[1::-1]) / np.array(picture.shape[1::-1])
    own = matrix.copy()
    own[:, 2] += own[:, :2] @ ((factor - 1) / 2) - low
    own[:, :2] = own[:, :2] * factor
    pixels = cv2.warpAffine(
        picture, own, (wide, tall), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    height, width = picture.shape[:2]
    corners = np.array([[0, 0], [width - 1, 0], [width - 1, height - 1], [0, height - 1]], np.float32)
    known = np.zeros((tall, wide), np.float32)
    cv2.fillConvexPoly(known, np.rint(apply(own, corners)).astype(np.int32), 1.0)
    return np.asarray(pixels, np.uint8), known


def _lay(canvas: Canvas, pixels: Picture, alpha: Float, left: int, top: int, owner: int) -> None:
    """Blends a patch in; where it covers half or more the canvas belongs to `owner`."""
    cut_left, cut_top = max(-left, 0), max(-top, 0)
    height, width = canvas.picture.shape[:2]
    part = slice(cut_top, max(height - top, 0)), slice(cut_left, max(width - left, 0))
    pixels, alpha = pixels[part], alpha[part]
    if not pixels.size:
        return
    left, top = max(left, 0), max(top, 0)
    rows, columns = slice(top, top + pixels.shape[0]), slice(left, left + pixels.shape[1])
    below = canvas.picture[rows, columns].astype(np.float32)
    blended = below + (pixels.astype(np.float32) - below) * alpha[..., np.newaxis]
    canvas.picture[rows, columns] = np.asarray(blended + np.float32(0.5), np.uint8)
    canvas.owner[rows, columns][alpha > 0.5] = owner


def _skin(rng: np.random.Generator, canvas: Canvas, place: Place, size: float) -> None:
    """A blob or a few fingers in a colour of skin."""
    light = float(rng.uniform(0.25, 1.0))
    colour = tuple(int(c) for c in np.clip(np.array([150, 175, 225]) * light + rng.normal(0, 12, 3), 0, 255))
    turn = float(rng.uniform(0, 180))
    for finger in range(int(rng.integers(1, 5))):
        angle = np.radians(turn + 90)
        middle = place + finger * size * 0.7 * np.array([np.cos(angle), np.sin(angle)])
        axes = max(int(size * rng.uniform(0.8, 1.8)), 1), max(int(size * rng.uniform(0.3, 0.7)), 1)
        shape = (int(middle[0]), int(middle[1])), axes, turn, 0, 360
        cv2.ellipse(canvas.picture, *shape, colour, -1, cv2.LINE_AA)
        cv2.ellipse(canvas.owner, *shape, 0, -1)


def _text(rng: np.random.Generator, canvas: Canvas) -> None:
    side = len(canvas.picture)
    for _ in range(int(rng.integers(1, 4))):
        text = "".join(chr(code) for code in rng.integers(33, 127, int(rng.integers(3, 16))))
        place = int(rng.uniform(-0.1, 0.8) * side), int(rng.uniform(0.05, 1.0) * side)
        colour = tuple(int(c) for c in rng.integers(0, 256, 3))
        size, width = float(np.exp(rng.uniform(np.log(0.35), np.log(3)))), int(rng.integers(1, 5))
        cv2.putText(canvas.picture, text, place, int(rng.integers(0, 8)), size, colour, width, cv2.LINE_AA)


def _truth(canvas: Canvas) -> Truth:
    height, width = canvas.picture.shape[:2]
    boxes = np.array(canvas.boxes, np.float32).reshape(-1, 4)
    boxes = np.clip(boxes, 0, np.array([width - 1, height - 1] * 2, np.float32))
    extents = np.maximum(boxes[:, 2:] - boxes[:, :2], 0)
    share = canvas.seen()
    there = (share > 0.02) & (extents.min(1, initial=np.inf) > 2)
    learned = (share >= LEAST_SEEN) & (np.sqrt(extents.prod(1)) >= SMALLEST)
    points = np.array(canvas.points, np.float32).reshape(-1, 5, 2)
    return Truth(boxes[there], points[there], learned[there])


def _mirrored(truth: Truth, width: int) -> Truth:
    boxes, points = truth.boxes.copy(), truth.points[:, list(_OTHER_SIDE)].copy()
    boxes[:, [0, 2]] = width - 1 - boxes[:, [2, 0]]
    points[..., 0] = width - 1 - points[..., 0]
    return Truth(boxes, points, truth.learned)


def _worse(rng: np.random.Generator, picture: Picture, smallest: float) -> Picture:
    """As a worse camera took it, yet the smallest face stays one: blur is less than a tenth of it."""
    levels = np.arange(256, dtype=np.float32) / 255
    gain = np.exp(rng.normal(0, 0.25) + rng.normal(0, 0.07, 3))
    table = np.clip(levels[:, None] ** np.exp(rng.normal(0, 0.35)) * gain + rng.normal(0, 0.04), 0, 1) * 255
    picture = np.asarray(cv2.LUT(picture, table.astype(np.uint8)[None]), np.uint8)
    kind = rng.random()
    if kind < 0.3:
        grey = cv2.cvtColor(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
        share = 1.0 if kind < 0.18 else float(rng.uniform(-0.3, 0.9))
        picture = np.asarray(cv2.addWeighted(grey, share, picture, 1 - share, 0), np.uint8)
        if kind < 0.08:
            picture = np.asarray(np.clip(picture * np.array([0.8, 0.95, 1.05]), 0, 255), np.uint8)
    if rng.random() < 0.2:
        factor = float(rng.uniform(1.1, max(min(smallest / 11, 4), 1.2)))
        small = cv2.resize(picture, None, fx=1 / factor, fy=1 / factor, interpolation=cv2.INTER_AREA)
        way = cv2.INTER_LINEAR if rng.random() < 0.5 else cv2.INTER_CUBIC
        picture = np.asarray(cv2.resize(small, picture.shape[1::-1], interpolation=way), np.uint8)
    if rng.random() < 0.2:
        reach = float(rng.uniform(0.3, max(min(smallest / 22, 2.5), 0.5)))
        if rng.random() < 0.6:
            picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), reach), np.uint8)
        else:
            length = max(int(reach * 3), 2)
            across = rng.random() < 0.5
            picture = np.asarray(cv2.blur(picture, (length, 1) if across else (1, length)), np.uint8)
    if rng.random() < 0.3:
        noise = np.zeros(picture.shape, np.int16)
        cv2.randn(noise, np.zeros(3), np.full(3, rng.uniform(1, 14)))
        picture = np.asarray(np.clip(picture + noise, 0, 255), np.uint8)
    if rng.random() < 0.45:
        _, code = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(25, 92))])
        picture = np.asarray(cv2.imdecode(code, cv2.IMREAD_COLOR), np.uint8)
    return picture
