"""Glasses drawn on a face: frames of many shapes in perspective, lenses that are clear, tinted or reflect."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from facefusion_runner.faces.types import Float
from training.segmenter.drawing import over, polygon, shadow, smooth_noise
from training.segmenter.network import SIDE
from training.segmenter.occluders import Scene

_EYES = ((33, 133), (362, 263))
_EARS = (127, 356)


def put_on(rng: np.random.Generator, scene: Scene) -> tuple[Float, Float]:
    """The picture (SIDE, SIDE, 3) with glasses, and how much of a pixel is frame, dark lens or reflection."""
    picture, hidden = scene.picture, np.zeros((SIDE, SIDE), np.float32)
    lenses, lines = _outlines(rng, scene)
    frame, rims = _frame(rng, lenses, lines)
    lens = np.maximum(polygon(lenses[0]), polygon(lenses[1]))
    if rng.random() < 0.7:
        picture = shadow(rng, picture, frame, rng.uniform(0.05, 0.5))
    kind = rng.random()
    if kind < 0.22:
        density = np.float32(rng.uniform(0.7, 1.0))
        tone = rng.uniform(0, 70) * np.exp(rng.normal(0, 0.4, 3))
        sky = np.clip(smooth_noise(rng, 3, 1), 0, 2)[..., None] * rng.uniform(0, 60)
        picture = over(picture, np.asarray(tone + sky, np.float32), lens * density)
        hidden = lens
    elif kind < 0.5:
        tint = rng.uniform(0.6, 1.02, 3) * np.ones((SIDE, SIDE, 3))
        picture = over(picture, np.asarray(picture * tint, np.float32), lens)
    if rng.random() < 0.45:
        glare = lens * _glare(rng, lenses)
        tone = rng.uniform(120, 255) * np.exp(rng.normal(0, 0.12, 3))
        picture = over(picture, np.ones((SIDE, SIDE, 3), np.float32) * np.float32(tone), glare)
        hidden = np.maximum(hidden, glare)
    tone = _metal_or_plastic(rng)
    streaks = np.exp(rng.uniform(0.05, 0.5) * smooth_noise(rng, int(rng.integers(3, 24))))
    layer = np.asarray(np.clip(tone * streaks[..., None], 0, 255), np.float32)
    opacity = frame * np.float32(1.0 if rng.random() < 0.85 else rng.uniform(0.55, 0.9))
    picture = over(picture, layer, opacity)
    if rims > 1.5 and rng.random() < 0.5:
        edge = polygon(lenses[int(rng.integers(2))] - 0.4, width=0.6) * np.float32(rng.uniform(0.2, 0.8))
        picture = over(picture, np.full((SIDE, SIDE, 3), 235, np.float32), edge * frame)
    return picture, np.maximum(hidden, frame)


def _outlines(
    rng: np.random.Generator, scene: Scene
) -> tuple[list[NDArray[np.floating]], list[NDArray[np.floating]]]:
    """Two lens outlines and the lines of bridge and temples, in canvas pixels."""
    mesh = scene.mesh.astype(np.float64)
    across = mesh[263] - mesh[33]
    unit = float(np.linalg.norm(across))
    across /= unit
    down = mesh[152] - mesh[10]
    down -= across * (down @ across)
    down /= np.linalg.norm(down)
    ahead = np.cross(across, down)
    ahead *= -np.sign(ahead[2] or 1.0)
    half = rng.uniform(0.24, 0.335) * unit
    tall = half * rng.uniform(0.5, 1.1)
    power = rng.uniform(0.35, 1.0)
    lift, forward = rng.normal(0.03, 0.05) * unit, rng.uniform(0.05, 0.18) * unit
    wing, drop = rng.normal(0, 0.12), rng.normal(0, 0.1)
    t = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    x = np.sign(np.cos(t)) * np.abs(np.cos(t)) ** power
    y = np.sign(np.sin(t)) * np.abs(np.sin(t)) ** power
    lenses, inner, outer = [], [], []
    for side, eye in zip((-1, 1), _EYES, strict=True):
        middle = mesh[list(eye)].mean(0) + side * across * 0.02 * unit
        centre = middle + down * lift + ahead * forward
        u = side * x * half * (1 + drop * y)
        v = y * tall - wing * np.abs(half) * np.where(x > 0, x, 0) * np.where(y < 0, 1, 0.2)
        back = -(np.maximum(x, 0) ** 2) * 0.08 * unit
        points = centre + u[:, None] * across + v[:, None] * down + back[:, None] * ahead
        lenses.append(points[:, :2])
        top = -tall * rng.uniform(0.1, 0.6) * down
        inner.append(centre - side * across * half * 0.97 + top)
        outer.append(centre + side * across * half * 0.98 + top - 0.08 * unit * ahead)
    arch = (inner[0] + inner[1]) / 2 - down * rng.uniform(0.0, 0.08) * unit
    lines = [np.array([inner[0], arch, inner[1]])[:, :2]]
    for hinge, ear in zip(outer, _EARS, strict=True):
        behind = mesh[ear] - ahead * 0.25 * unit
        lines.append(np.array([hinge, behind])[:, :2])
    return lenses, lines


def _frame(
    rng: np.random.Generator, lenses: list[NDArray[np.floating]], lines: list[NDArray[np.floating]]
) -> tuple[Float, float]:
    """The opacity of rims, bridge and temples, and the rims' width."""
    width = float(np.exp(rng.uniform(np.log(0.6), np.log(4.5))))
    frame = np.zeros((SIDE, SIDE), np.float32)
    upper_only = rng.random() < 0.12
    for outline in lenses:
        if upper_only:
            half = outline[np.argsort(outline[:, 1])[: len(outline) // 2 + 2]]
            frame = np.maximum(frame, polygon(half[np.argsort(half[:, 0])], closed=False, width=width))
        else:
            frame = np.maximum(frame, polygon(outline, width=width))
    bridge, *temples = lines
    frame = np.maximum(frame, polygon(bridge, closed=False, width=max(width * rng.uniform(0.6, 1.3), 0.7)))
    for temple in temples:
        frame = np.maximum(
            frame, polygon(temple, closed=False, width=max(width * rng.uniform(0.6, 1.6), 0.7))
        )
    return frame, width


def _glare(rng: np.random.Generator, lenses: list[NDArray[np.floating]]) -> Float:
    """How strongly lenses reflect: a window's shape, a lamp's spot or a veil, at the same place in both."""
    glare = np.zeros((SIDE, SIDE), np.float32)
    span = float(np.ptp(lenses[0][:, 0])) + 2
    place, form = rng.uniform(-0.4, 0.4, 2), rng.uniform(0.15, 0.8, 2)
    strength = rng.uniform(0.25, 1.0)
    for outline in lenses:
        centre = outline.mean(0) + place * span
        t = np.linspace(0, 2 * np.pi, 24, endpoint=False)
        power = 1.0 if rng.random() < 0.5 else 0.3
        x = np.sign(np.cos(t)) * np.abs(np.cos(t)) ** power * form[0] * span / 2
        y = np.sign(np.sin(t)) * np.abs(np.sin(t)) ** power * form[1] * span / 2
        glare = np.maximum(glare, polygon(centre + np.column_stack([x + 0.3 * y, y])))
    return np.asarray(glare * strength, np.float32)


def _metal_or_plastic(rng: np.random.Generator) -> NDArray[np.floating]:
    """BGR of a frame."""
    kind = rng.random()
    if kind < 0.45:
        return rng.uniform(5, 60) * np.exp(rng.normal(0, 0.15, 3))
    if kind < 0.7:
        return rng.uniform(90, 230) * np.array([0.75, 0.95, 1.05]) ** rng.uniform(0, 2.5)
    if kind < 0.85:
        return np.array([20, 50, 95]) * np.exp(rng.normal(0, 0.4, 3))
    return rng.uniform(0, 255, 3)
