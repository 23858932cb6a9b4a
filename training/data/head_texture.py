"""A portrait laid on the head model, so that it can be seen from another side.

The texture is the photograph itself: each vertex knows its place in it. What the photograph hides is taken
from the other half of the face, and what both halves hide spreads from the seen skin and hair around it.
Behind the head stands the photograph as a sheet, which turns with the head where it touches it and stands
still far away: so hair and neck follow.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numba
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from facefusion_runner.faces.types import Float, Mask, Picture
from training.data.head_model import PARTS, Camera, Fit, HeadModel, interpolate, rasterise, rotation

_NECK = -8.5, -17.0
"""Heights between which the neck turns from all of the head's way to a third of it."""
_NECK_PIVOT = np.array([0.0, -7.0, -3.0])
_INSIDE = {"M_ScleraLeft": 0.85, "M_ScleraRight": 0.85, "M_IrisLeft": 0.2, "M_IrisRight": 0.2}
_GUMS, _TEETH = np.array([30.0, 28, 75]), np.array([105.0, 118, 122])
_GRID = 28
_PATCHES = 700
"""Of skin and scalp: colours spread from patch to patch."""


class HeadSurface:
    """What does not depend on the portrait: hair's thickness, the neck's bend, neighbours."""

    def __init__(self, model: HeadModel) -> None:
        self.model = model
        _, y, z = model.mean.T
        skin = model.vertex_part <= PARTS.index("M_BackHead")
        above = _smooth((y - 9.8) / 3.5)
        behind = _smooth((-2 - z) / 3) * _smooth((y + 5) / 4)
        beside = _smooth((2.5 - z) / 3) * _smooth((y - 4) / 2)
        behind = np.maximum(behind, beside)
        self.scalp: Float = np.where(skin, np.maximum(above, behind), 0).astype(np.float32)
        """(v,): 1 where hair grows, 0 on the face and the neck."""
        self.neck: Float = np.where(skin, _smooth((y - _NECK[0]) / (_NECK[1] - _NECK[0])), 0).astype(
            np.float32
        )
        self.skin: NDArray[np.bool_] = skin
        self.mouth: NDArray[np.bool_] = model.vertex_part >= PARTS.index("M_GumsTongue")
        mesh = model.mesh(model.mean)
        outline = cv2.convexHull(np.ascontiguousarray(mesh[:, :2]))
        within = np.array(
            [cv2.pointPolygonTest(outline, (float(a), float(b)), False) >= 0 for a, b in model.mean[:, :2]]
        )
        self.oval: NDArray[np.bool_] = (within & (z > mesh[:, 2].min() - 0.3) & (y > mesh[:, 1].min()))[
            model.triangles
        ].all(1)
        """(t,): triangles inside FaceMesh's outline, with eyes and mouth."""
        self.outside: NDArray[np.bool_] = np.ones(len(model.mean), bool)
        self.outside[model.triangles[self.oval]] = False
        self.outwards = model.normals(model.mean)
        rng = np.random.default_rng(0)
        hairy = np.where(skin, np.maximum(_smooth((y - 10.3) / 2.2), behind), 0)
        apart = np.column_stack([model.mean, 10 * hairy]).astype(np.float32)
        self.patches = apart[rng.choice(np.flatnonzero(skin), _PATCHES, False)]
        distance, near = cKDTree(self.patches).query(apart, k=4)
        self.patch = np.asarray(near[:, 0], np.intp)
        self.near = np.asarray(near, np.intp)
        share = 1 / (distance + 0.3)
        self.near_share = (share / share.sum(1, keepdims=True)).astype(np.float32)
        between = np.linalg.norm(self.patches[:, None] - self.patches[None], axis=-1)
        unlike = np.abs(self.patches[:, None, 3] - self.patches[None, :, 3])
        self.spread = (np.exp(-2 * unlike) / (between**2 + 0.5) ** 1.5).astype(np.float32)
        edges = np.concatenate([model.triangles[:, pair] for pair in ([0, 1], [1, 2], [2, 0])])
        self.edges = np.ascontiguousarray(np.concatenate([edges, edges[:, ::-1]]))

    def grown(self, shape: Float, hair: float) -> Float:
        """(v, 3): the shape with its scalp `hair` model units thicker."""
        return np.asarray(shape + (hair * self.scalp)[:, None] * self.outwards, np.float32)

    def bent(self, shape: Float, turn: NDArray[np.float64]) -> Float:
        """(v, 3): the shape whose neck stays behind when all of it is turned by `turn`."""
        third = Rotation.from_matrix(turn).as_rotvec() / 3
        neck = turn.T @ Rotation.from_rotvec(third).as_matrix()
        left_behind = (shape - _NECK_PIVOT) @ neck.T + _NECK_PIVOT
        return np.asarray(shape + self.neck[:, None] * (left_behind - shape), np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Head:
    """A portrait on the model."""

    surface: HeadSurface
    picture: Picture
    fit: Fit
    hair: float
    places: Float
    """(v, 2): where each vertex is in the picture."""
    seen: Float
    """(v,): how well the picture shows each vertex, 0 to 1."""
    fill: Float
    """(v, 3): colour of what neither half shows, BGR."""

    @classmethod
    def of(cls, surface: HeadSurface, picture: Picture, fit: Fit, hair: float = 1.2) -> Head:
        model = surface.model
        shape = surface.grown(model.shape(fit.identity, fit.expression), hair)
        shape = surface.bent(shape, fit.camera.rotation)
        points = fit.camera.project(shape)
        places = points[:, :2].copy()
        normals = model.normals(shape) @ fit.camera.rotation[2].astype(np.float32)
        facing = np.where(surface.mouth, 1, _smooth((normals - 0.12) / 0.35))
        seen = _visible(points, model.triangles) * facing
        height, width = picture.shape[:2]
        inside = (places > 0).all(1) & (places[:, 0] < width - 1) & (places[:, 1] < height - 1)
        seen = (seen * inside * _from_outline(points, model.triangles)).astype(np.float32)
        seen = _soften(seen, surface.edges)
        front = seen * _smooth((normals - 0.35 + 0.2 * surface.scalp) / 0.3).astype(np.float32)
        fill = _spread(surface, _sample(picture, places), front)
        return cls(surface, picture, fit, hair, places, seen, fill)

    @property
    def colours(self) -> Float:
        """(v, 3) BGR: the texture in one colour per vertex."""
        model = self.surface.model
        own = self.seen[:, None]
        other = self.seen[model.mirrored][:, None]
        hidden = other * _sample(self.picture, self.places[model.mirrored]) + (1 - other) * self.fill
        return np.asarray(own * _sample(self.picture, self.places) + (1 - own) * hidden, np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """A head drawn over a background."""

    picture: Picture
    face: Mask
    """(h, w) uint8: 255 where the face inside FaceMesh's outline is seen, eyes and mouth included."""
    mesh: Float
    """(468, 3): FaceMesh's points."""


@dataclass(frozen=True, slots=True, eq=False)
class Light:
    """Per colour (3,) BGR: gain = ambient + directed * max(0, normal . direction)."""

    direction: Float
    ambient: Float
    directed: Float


def draw(
    head: Head,
    shape: Float,
    camera: Camera,
    background: Picture,
    *,
    light: Light | None = None,
    painted: Float | None = None,
    own: bool = True,
    fineness: float = 1.5,
) -> View:
    """Draws a head; `shape` (v, 3) is without hair. The picture has the background's size.

    painted: (v, 3) colours instead of the portrait's. own: the background is the portrait's `sheet`; the neck
    fades into it, and so does the outline of the hair if the head is hardly turned. Else the neck is skin.
    fineness: pixels drawn per pixel of the result.
    """
    surface, model = head.surface, head.surface.model
    height, width = background.shape[:2]
    grown = surface.bent(surface.grown(shape, head.hair), camera.rotation)
    points = camera.project(grown)
    points[:, :2] = (points[:, :2] + 0.5) * fineness - 0.5
    fine = round(width * fineness), round(height * fineness)
    triangle, shares, _ = rasterise(points, model.triangles, fine[1], fine[0])
    gains = np.ones((len(shape), 3), np.float32)
    normals = model.normals(grown) @ camera.rotation.T.astype(np.float32)
    if light is not None:
        gains = light.ambient + light.directed * np.maximum(normals @ light.direction, 0)[:, None]
    shown = head.seen if painted is None else np.zeros_like(head.seen)
    alphas = np.ones(len(shape), np.float32)
    if own:
        turned = np.degrees(Rotation.from_matrix(camera.rotation @ head.fit.camera.rotation.T).magnitude())
        soft = surface.outside * max(0.0, 1 - turned / 45) * (1 - _smooth((normals[:, 2] - 0.1) / 0.4))
        alphas = ((1 - _smooth(2.5 * surface.neck)) * (1 - soft)).astype(np.float32)
    else:
        shown = shown * (1 - surface.neck)
    canvas = np.asarray(cv2.resize(background, fine, interpolation=cv2.INTER_LINEAR), np.float32)
    _shade(
        canvas,
        triangle,
        shares,
        model.triangles,
        head.picture,
        head.places,
        shown,
        head.places[model.mirrored],
        shown[model.mirrored],
        head.fill if painted is None else painted,
        gains.astype(np.float32),
        alphas,
    )
    face = np.where((triangle >= 0) & surface.oval[triangle], 255, 0)
    picture = cv2.resize(canvas, (width, height), interpolation=cv2.INTER_AREA)
    small = cv2.resize(face.astype(np.uint8), (width, height), interpolation=cv2.INTER_AREA)
    mesh = camera.project(model.mesh(shape))
    return View(np.clip(picture + 0.5, 0, 255).astype(np.uint8), np.asarray(small, np.uint8), mesh)


def sheet(head: Head, camera: Camera, size: tuple[int, int]) -> Picture:
    """(h, w, 3): the portrait as a background, warped so that hair and neck follow the head.

    size: width, height.
    """
    source = head.fit.camera
    height, width = head.picture.shape[:2]
    steps = np.r_[-8, -2, np.linspace(-0.8, 1.8, _GRID - 4), 3, 9]
    across, down = np.meshgrid(steps * width, steps * height)
    places = np.column_stack([across.ravel(), down.ravel()])
    flat = (places - source.centre[:2]) / source.scale * [1, -1]
    turn = camera.rotation @ source.rotation.T
    roll = np.arctan2(turn[1, 0] - turn[0, 1], turn[0, 0] + turn[1, 1])
    still = flat @ np.array([[np.cos(roll), -np.sin(roll)], [np.sin(roll), np.cos(roll)]]).T
    along = np.column_stack([flat, np.zeros(len(flat))]) @ turn.T
    upright = flat @ _unroll(source.roll).T
    distance = np.hypot(upright[:, 0] / 11.5, (upright[:, 1] - 1.5) / 14)
    follows = (1 - _smooth((distance - 1) / 0.9)) * (1 - _smooth((-7 - upright[:, 1]) / 9))
    moved = still + follows[:, None] * (along[:, :2] - still)
    points = np.column_stack([moved * camera.scale * [1, -1] + camera.centre[:2], -follows]).astype(
        np.float32
    )
    corner = np.arange(_GRID * _GRID, dtype=np.int32).reshape(_GRID, _GRID)
    a, b, c, d = corner[:-1, :-1], corner[:-1, 1:], corner[1:, 1:], corner[1:, :-1]
    halves = [np.stack(part, -1).reshape(-1, 3) for part in ((a, c, b), (a, d, c), (a, b, c), (a, c, d))]
    triangles = np.concatenate(halves)
    triangle, shares, _ = rasterise(points, triangles, size[1], size[0])
    where = interpolate(triangle, shares, triangles, places.astype(np.float32))
    wide, border = _beyond(head.picture)
    where += np.float32(border)
    drawn = cv2.remap(wide, where[..., 0], where[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(drawn, np.uint8)


def _beyond(picture: Picture) -> tuple[Picture, int]:
    """The picture inside a border of blurred reflections, and the border's width."""
    border = max(picture.shape[:2]) // 2
    wide = cv2.copyMakeBorder(picture, *4 * (border,), cv2.BORDER_REFLECT)
    small = cv2.resize(wide, None, fx=1 / 8, fy=1 / 8, interpolation=cv2.INTER_AREA)
    blurred = cv2.GaussianBlur(small, (0, 0), 3)
    result = np.asarray(cv2.resize(blurred, wide.shape[1::-1], interpolation=cv2.INTER_LINEAR), np.uint8)
    result[border:-border, border:-border] = picture
    return result, border


class Turner:
    """Turns portraits in space. Keeps the model in memory: make one, use it often."""

    def __init__(self, model: HeadModel) -> None:
        self.surface = HeadSurface(model)

    def head(self, picture: Picture, mesh: Float, hair: float = 1.2) -> Head:
        return Head.of(self.surface, picture, self.surface.model.fit(mesh), hair)

    def turned(self, picture: Picture, mesh: Float, yaw: float, pitch: float = 0.0) -> View:
        """The same portrait, expression and place, its head turned to `yaw` and `pitch` degrees.

        mesh: FaceMesh's (468, 3) points in the picture. The roll stays. Good up to about 40 degrees from the
        portrait's own yaw.
        """
        return self.turned_head(self.head(picture, mesh), yaw, pitch)

    def turned_head(self, head: Head, yaw: float, pitch: float = 0.0) -> View:
        """Like `turned`, for a portrait that is turned to several sides."""
        source = head.fit.camera
        camera = replace(source, rotation=rotation(yaw, pitch, source.roll))
        shape = self.surface.model.shape(head.fit.identity, head.fit.expression)
        height, width = head.picture.shape[:2]
        return draw(head, shape, camera, sheet(head, camera, (width, height)))


def _unroll(roll: float) -> NDArray[np.float64]:
    """(2, 2): takes the roll out of model-like picture axes."""
    angle = np.radians(roll)
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def _smooth(x: NDArray[np.floating]) -> NDArray[np.floating]:
    x = np.clip(x, 0, 1)
    return np.asarray(x * x * (3 - 2 * x))


def _visible(points: Float, triangles: NDArray[np.int32], side: int = 320) -> NDArray[np.bool_]:
    """(v,): nothing lies before the vertex."""
    low, high = points[:, :2].min(0), points[:, :2].max(0)
    factor = side / float(max(high - low))
    scaled = points * np.float32(factor)
    scaled[:, :2] -= low * factor
    depth = rasterise(scaled, triangles, side + 1, side + 1)[2]
    x, y = np.clip(np.rint(scaled[:, :2]).astype(int), 0, side).T
    return np.asarray(scaled[:, 2] < depth[y, x] + 3.0)


def _from_outline(points: Float, triangles: NDArray[np.int32], side: int = 200) -> Float:
    """(v,): 0 on the head's outline, where a portrait may show what is behind it, 1 a little inside."""
    low, high = points[:, :2].min(0), points[:, :2].max(0)
    factor = side / float(max(high - low))
    scaled = np.asarray(points * np.float32(factor), np.float32)
    scaled[:, :2] += 2 - low * factor
    inside = (rasterise(scaled, triangles, side + 5, side + 5)[0] >= 0).astype(np.uint8)
    distance = cv2.distanceTransform(inside, cv2.DIST_L2, 3)
    x, y = np.rint(scaled[:, :2]).astype(int).T
    return np.asarray(_smooth((distance[y, x] - 1) / 4), np.float32)


def _sample(picture: Picture, places: Float) -> Float:
    """(v, 3) colours at (v, 2) places."""
    x, y = np.ascontiguousarray(places.T)
    return np.asarray(
        cv2.remap(picture, x[None], y[None], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)[0], np.float32
    )


def _spread(surface: HeadSurface, colours: Float, front: Float) -> Float:
    """Colours of the skin and hair that face the camera, spread over all; fixed ones in eyes and mouth."""
    model = surface.model
    known = surface.skin & (surface.neck < 0.3)
    weight = np.where(known, front + 0.2 * front[model.mirrored], 1e-6)
    shown = front[:, None] * colours
    shown += 0.2 * shown[model.mirrored]
    patch_weight = np.bincount(surface.patch[known], weight[known], _PATCHES)
    patch_colour = np.column_stack(
        [np.bincount(surface.patch[known], shown[known, c], _PATCHES) for c in range(3)]
    )
    mass = surface.spread @ patch_weight
    spread = (surface.spread @ patch_colour) / np.maximum(mass, 1e-9)[:, None]
    filled = np.einsum("vk,vkc->vc", surface.near_share, spread[surface.near])
    mean = patch_colour.sum(0) / max(float(patch_weight.sum()), 1e-6)
    luma = float(np.clip(mean.mean() / 130, 0.25, 1.3))
    for number, name in enumerate(PARTS[2:], 2):
        inside = model.vertex_part == number
        if name in _INSIDE:
            filled[inside] = 215 * _INSIDE[name] * luma
        else:
            filled[inside] = (_TEETH if name == "M_Teeth" else _GUMS) * luma
    return np.asarray(filled, np.float32)


@numba.njit(cache=True)
def _soften(values, edges):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Each vertex's value, lowered towards its lowest neighbours: twice half way."""
    for _ in range(2):
        lowest = values.copy()
        for e in range(len(edges)):
            lowest[edges[e, 0]] = min(lowest[edges[e, 0]], values[edges[e, 1]])
        values = (values + lowest) / 2
    return values.astype(np.float32)


@numba.njit(cache=True, fastmath=True)
def _shade(  # type: ignore[no-untyped-def]  # pragma: no cover
    canvas, triangle, shares, triangles, picture, places, own, other_places, other, fill, gains, alphas
) -> None:
    height, width = triangle.shape
    high, wide = picture.shape[0], picture.shape[1]
    for y in range(height):
        for x in range(width):
            t = triangle[y, x]
            if t < 0:
                continue
            wo = wm = ox = oy = mx = my = np.float32(0)
            for k in range(3):
                v, s = triangles[t, k], shares[y, x, k]
                wo += s * own[v]
                wm += s * other[v]
                ox += s * places[v, 0]
                oy += s * places[v, 1]
                mx += s * other_places[v, 0]
                my += s * other_places[v, 1]
            wm *= 1 - wo
            alpha = np.float32(0)
            for k in range(3):
                alpha += shares[y, x, k] * alphas[triangles[t, k]]
            for c in range(3):
                value = base = gain = np.float32(0)
                for k in range(3):
                    v, s = triangles[t, k], shares[y, x, k]
                    base += s * fill[v, c]
                    gain += s * gains[v, c]
                value += (1 - wo - wm) * base
                if wo > 0:
                    value += wo * _bilinear(picture, ox, oy, high, wide, c)
                if wm > 0:
                    value += wm * _bilinear(picture, mx, my, high, wide, c)
                value = min(max(value * gain, np.float32(0)), np.float32(255))
                canvas[y, x, c] += alpha * (value - canvas[y, x, c])


@numba.njit(cache=True, fastmath=True)
def _bilinear(picture, x, y, high, wide, c):  # type: ignore[no-untyped-def]  # pragma: no cover
    x = min(max(x, 0.0), wide - 1.001)
    y = min(max(y, 0.0), high - 1.001)
    left, top = int(x), int(y)
    fx, fy = x - left, y - top
    upper = picture[top, left, c] * (1 - fx) + picture[top, left + 1, c] * fx
    lower = picture[top + 1, left, c] * (1 - fx) + picture[top + 1, left + 1, c] * fx
    return upper * (1 - fy) + lower * fy
