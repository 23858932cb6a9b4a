"""Things in front of a face, drawn: hands, microphones, cups and other objects, masks and scarves, strands.

Each function returns a colour layer and its opacity (see `drawing`). Skin tones and textures come from the
pictures themselves.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from facefusion_runner.faces.types import Float
from training.segmenter.drawing import (
    blob,
    box,
    capsules,
    over,
    polygon,
    shaded,
    smooth_noise,
)
from training.segmenter.network import SIDE

Layer = tuple[Float, Float]


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """What is drawn upon."""

    picture: Float
    """(SIDE, SIDE, 3) 0..255 BGR."""
    hair: Float
    """(SIDE, SIDE), the probability of hair."""
    mesh: Float
    """(468, 3) in canvas pixels."""
    skin_tone: Float
    """(3,) BGR, of the hands: this person's or another's."""
    texture: Callable[[np.random.Generator], Float]
    """Gives a piece (SIDE, SIDE, 3) of something else."""
    cutout: Callable[[np.random.Generator], NDArray[np.uint8]]
    """Gives a thing (h, w, 4) uint8 BGRA with its silhouette."""

    @property
    def unit(self) -> float:
        """Distance between the outer corners of the eyes as it would be from the front, in pixels."""
        return float(max(np.linalg.norm(self.mesh[33] - self.mesh[263]), SIDE * 0.2))


def hand(rng: np.random.Generator, scene: Scene) -> Layer:
    """A hand from a skeleton of capsules: open, a fist, pointing, or a few fingers; forearm and sleeve."""
    size = scene.unit * rng.uniform(0.75, 1.25) * (1.35 if rng.random() < 0.2 else 1.0)
    aim = _place(rng, scene)
    # The arm comes from below or from the sides, seldom from above.
    heading = -np.pi / 2 + rng.normal(0, 0.9)
    ahead = np.array([np.cos(heading), np.sin(heading)])
    aside = np.array([-ahead[1], ahead[0]]) * (1 if rng.random() < 0.5 else -1)
    palm_width, palm_length = 0.85 * size * rng.uniform(0.55, 1.05), 0.9 * size * rng.uniform(0.6, 1.1)
    reach = rng.uniform(0.0, 1.7) * size
    base = aim - ahead * reach
    thick = 0.115 * size * rng.uniform(0.85, 1.2)
    tips, nails = [], []
    bars: list[tuple[NDArray[np.floating], NDArray[np.floating], float, float]] = []
    spread, pose = rng.uniform(0.0, 0.28), rng.choice(["open", "fist", "point", "loose", "flat"])
    columns = (np.arange(4) - 1.5) / 1.5 * (palm_width / 2 - thick)
    for finger, column in enumerate(columns):
        start = base + ahead * palm_length * (0.5 - 0.05 * abs(finger - 1.3)) + aside * column
        straight = {
            "open": rng.uniform(0.75, 1.0),
            "fist": rng.uniform(0.15, 0.4),
            "point": 1.0 if finger in (0, int(rng.integers(0, 2))) else rng.uniform(0.15, 0.35),
            "loose": rng.uniform(0.35, 1.0),
            "flat": 0.95,
        }[str(pose)]
        angle = heading + (column / palm_width) * 2 * spread * (1 if aside @ _turned(ahead) > 0 else -1)
        angle += rng.normal(0, 0.06 if pose in ("open", "flat") else 0.2)
        length = 0.85 * size * straight * (1 - 0.12 * abs(finger - 1.2))
        for joint, share in enumerate((0.45, 0.3, 0.25)):
            end = start + np.array([np.cos(angle), np.sin(angle)]) * length * share
            bars.append((start, end, thick * (1.04 - 0.06 * joint), thick * (0.98 - 0.08 * joint)))
            start, angle = end, angle + rng.normal(0, 0.08)
        tips.append((start, angle))
    thumb = base + aside * -palm_width * 0.42 - ahead * palm_length * 0.2
    angle = heading + rng.uniform(0.2, 1.0) * (-1 if aside @ _turned(ahead) > 0 else 1)
    for share, wide in ((0.5, 1.3), (0.5, 1.1)):
        end = thumb + np.array([np.cos(angle), np.sin(angle)]) * size * share * 0.75
        bars.append((thumb, end, thick * wide, thick * (wide - 0.15)))
        thumb, angle = end, angle + rng.normal(0, 0.15)
    tips.append((thumb, angle))
    inset = aside * (palm_width / 2 - thick * 1.4)
    for side in (-1.0, -0.33, 0.33, 1.0):
        near, far = base - ahead * palm_length * 0.5, base + ahead * palm_length * 0.45
        bars.append((near + inset * side * 0.8, far + inset * side, thick * 1.6, thick * 1.5))
    wrist = base - ahead * palm_length * 0.45
    elbow = wrist - (ahead + rng.normal(0, 0.25, 2)) * size * 3
    bars.append((wrist, elbow, palm_width * 0.36, palm_width * 0.5))
    opacity, height = capsules(bars)
    if rng.random() < 0.5:
        for tip, angle in tips:
            pointing = np.array([np.cos(angle), np.sin(angle)])
            nails.append(_oval(tip + pointing * thick * 0.2, thick * 0.75, thick * 0.5, angle))
    tone = scene.skin_tone * np.exp(rng.normal(0, 0.12)) * (1 + rng.normal(0, 0.03, 3))
    light = shaded(rng, np.minimum(height, thick * 1.6), rng.uniform(0.4, 1.1))
    light = light * np.exp(0.06 * smooth_noise(rng, 5) + 0.03 * smooth_noise(rng, 40))
    warm = np.array([-0.35, -0.15, 0.0]) * np.clip(1 - light, -0.3, 0.6)[..., None]
    layer = np.asarray(tone * light[..., None] * (1 + warm), np.float32)
    for nail in nails:
        layer = over(layer, layer * rng.uniform(1.0, 1.25), polygon(nail) * np.float32(0.7))
    if rng.random() < 0.3:
        cuff = wrist - ahead * size * rng.uniform(0.0, 1.0)
        cloth = polygon(_strip(cuff, elbow, palm_width * rng.uniform(0.6, 1.0)))
        layer = over(layer, _cloth(rng, scene), cloth)
        opacity = np.maximum(opacity, cloth)
    return layer, opacity


def microphone(rng: np.random.Generator, scene: Scene) -> Layer:
    """A ball or a foam cover on a bar that leads downwards."""
    radius = scene.unit * rng.uniform(0.13, 0.32)
    head = scene.mesh[[13, 152, 61, 291][rng.integers(4)], :2] + rng.normal(0, 0.25, 2) * scene.unit
    turn = np.pi / 2 + rng.normal(0, 0.6)
    along = np.array([np.cos(turn), np.sin(turn)])
    opacity, height = capsules([(head, head + along * radius * rng.uniform(0.0, 1.2), radius, radius * 0.9)])
    bar, bar_height = capsules([(head, head + along * SIDE, radius * rng.uniform(0.3, 0.8), radius * 0.5)])
    dark = rng.uniform(12, 75) if rng.random() < 0.75 else rng.uniform(75, 210)
    tint = np.exp(rng.normal(0, 0.05 if rng.random() < 0.7 else 0.6, 3))
    grain = np.exp(rng.uniform(0.02, 0.25) * rng.standard_normal((SIDE, SIDE, 1), np.float32))
    ball = dark * tint * shaded(rng, height)[..., None] * grain
    handle = rng.uniform(10, 90) * shaded(rng, bar_height, 1.5)[..., None] * np.ones(3)
    layer = over(np.asarray(handle, np.float32), np.asarray(ball, np.float32), opacity)
    return layer, np.maximum(opacity, bar)


def thing(rng: np.random.Generator, scene: Scene) -> Layer:
    """A cup, a telephone, paper, a ball, anything with an outline and a surface."""
    centre = _place(rng, scene) + rng.normal(0, 0.3, 2) * scene.unit
    size = scene.unit * rng.uniform(0.35, 1.5)
    if rng.random() < 0.5:
        outline = box(rng, centre, size, size * rng.uniform(0.5, 2.2), rng.normal(0, 0.6))
    else:
        outline = blob(rng, centre, size / 2, rng.uniform(0.0, 0.5))
    opacity = polygon(outline)
    layer = _surface(rng, scene)
    if rng.random() < 0.5:
        depth = np.asarray(cv2.GaussianBlur(opacity, (0, 0), size / 5) * size / 2, np.float32)
        layer = layer * shaded(rng, depth)[..., None]
    if rng.random() < 0.25:
        inner = polygon(centre + (outline - centre) * rng.uniform(0.5, 0.9))
        layer = over(layer, _surface(rng, scene), inner)
    return np.asarray(layer, np.float32), opacity


def cutout(rng: np.random.Generator, scene: Scene) -> Layer:
    """A photographed thing of the backgrounds' collection."""
    found = scene.cutout(rng)
    height, width = found.shape[:2]
    scale = scene.unit * rng.uniform(0.5, 2.2) / np.sqrt(height * width)
    m = cv2.getRotationMatrix2D((width / 2, height / 2), float(rng.normal(0, 40)), float(scale))
    m[:, 2] += _place(rng, scene) - (width / 2, height / 2)
    if scale < 0.5:
        found = cv2.GaussianBlur(found, (0, 0), 0.4 / scale)
    placed = cv2.warpAffine(found, m, (SIDE, SIDE)).astype(np.float32)
    opacity = placed[..., 3] / np.float32(255)
    bright = np.exp(rng.normal(0, 0.25))
    return np.asarray(np.clip(placed[..., :3] * bright, 0, 255), np.float32), opacity


def stick(rng: np.random.Generator, scene: Scene) -> Layer:
    """A pen, a straw, a fork's handle, a cable, the branch of a headset."""
    start = _place(rng, scene)
    turn = rng.uniform(0, 2 * np.pi)
    end = start + np.array([np.cos(turn), np.sin(turn)]) * scene.unit * rng.uniform(0.5, 3)
    radius = scene.unit * rng.uniform(0.02, 0.08)
    if rng.random() < 0.3:
        middle = (start + end) / 2 + rng.normal(0, 0.4, 2) * scene.unit
        share = np.linspace(0, 1, 24)[:, None]
        curve = (1 - share) ** 2 * start + 2 * share * (1 - share) * middle + share**2 * end
        opacity = polygon(curve, closed=False, width=2 * radius)
        return _surface(rng, scene), opacity
    opacity, height = capsules([(start, end, radius, radius * rng.uniform(0.5, 1.2))])
    return np.asarray(_surface(rng, scene) * shaded(rng, height, 1.5)[..., None], np.float32), opacity


def cover(rng: np.random.Generator, scene: Scene) -> Layer:
    """A mask or a scarf over mouth and chin, or a cloth from the side."""
    mesh = scene.mesh[:, :2]
    if rng.random() < 0.6:
        top = [6, 197, 195, 5][rng.integers(4)]
        around = [127, 234, 93, 132, 58, 172, 136, 150, 149, 176, 148, 152]
        around += [377, 400, 378, 379, 365, 397, 288, 361, 323, 454, 356]
        outline = mesh[[*around[1:-1], top]]
        outline = (
            mesh[4] + (outline - mesh[4]) * rng.uniform(0.95, 1.12) + rng.normal(0, 0.012, (1, 2)) * SIDE
        )
        if rng.random() < 0.5:
            outline = outline[2:-1]
    else:
        level = mesh[[164, 17, 152, 2][rng.integers(4)]][1] + rng.normal(0, 3)
        columns = np.linspace(-10, SIDE + 10, 12)
        upper = level + np.cumsum(rng.normal(0, 2.0, 12)) - 2.0
        outline = np.concatenate(
            [np.column_stack([columns, upper]), [[SIDE + 10, 2 * SIDE], [-10, 2 * SIDE]]]
        )
    return _cloth(rng, scene), polygon(outline)


def strands(rng: np.random.Generator, scene: Scene) -> Layer:
    """Hair that hangs over the face, from the forehead or a temple, in the person's own colour mostly."""
    known = scene.hair > 0.7
    if known.sum() > 60 and rng.random() < 0.85:
        tone = np.median(scene.picture[known], 0)
    else:
        tone = np.array([rng.uniform(10, 90), rng.uniform(15, 120), rng.uniform(20, 160)])
    mesh = scene.mesh[:, :2]
    root = mesh[[10, 338, 109, 297, 67, 127, 356, 21, 251][rng.integers(9)]] + rng.normal(0, 4, 2)
    root[1] -= rng.uniform(0, 0.4) * scene.unit
    tip = _place(rng, scene) + np.array([0, rng.uniform(0, 0.6) * scene.unit])
    bend = (root + tip) / 2 + rng.normal(0, 0.35, 2) * scene.unit
    opacity = np.zeros((SIDE, SIDE), np.float32)
    light = np.ones((SIDE, SIDE), np.float32)
    share = np.linspace(0, 1, 20)[:, None]
    many, loose = int(rng.integers(1, 16)), rng.uniform(0.02, 0.3) * scene.unit
    for _ in range(many):
        a = root + rng.normal(0, loose, 2)
        b, c = bend + rng.normal(0, loose, 2), tip + rng.normal(0, loose, 2) * 1.5
        curve = (1 - share) ** 2 * a + 2 * share * (1 - share) * b + share**2 * c
        line = polygon(curve, closed=False, width=rng.uniform(0.5, 2.6))
        opacity = np.maximum(opacity, line)
        light = light * (1 - line) + line * np.float32(np.exp(rng.normal(0, 0.2)))
    return np.asarray(tone * light[..., None], np.float32), opacity * np.float32(rng.uniform(0.75, 1.0))


def _place(rng: np.random.Generator, scene: Scene) -> NDArray[np.floating]:
    """A point on the face, the lower half more often."""
    point = scene.mesh[rng.integers(468), :2]
    if rng.random() < 0.4:
        point = scene.mesh[[0, 17, 61, 291, 152, 205, 425, 4, 50, 280][rng.integers(10)], :2]
    return np.asarray(point + rng.normal(0, 0.12, 2) * scene.unit, np.float64)


def _surface(rng: np.random.Generator, scene: Scene) -> Float:
    """One colour with a gradient, something seen elsewhere, or the tone of skin (a foot, wood, leather)."""
    kind = rng.random()
    if kind < 0.45:
        return scene.texture(rng)
    tone = rng.uniform(0, 255, 3) if kind < 0.8 else rng.uniform(0, 255) * np.exp(rng.normal(0, 0.05, 3))
    if kind > 0.95:
        tone = scene.skin_tone * np.exp(rng.normal(0, 0.15, 3))
    slope = 0.25 * smooth_noise(rng, 2) + 0.03 * smooth_noise(rng, 24)
    return np.asarray(np.clip(tone * np.exp(rng.uniform(0.2, 1) * slope[..., None]), 0, 255), np.float32)


def _cloth(rng: np.random.Generator, scene: Scene) -> Float:
    """A surface in folds."""
    turned = cv2.getRotationMatrix2D((SIDE / 2, SIDE / 2), float(rng.uniform(0, 180)), 1.5)
    folds = cv2.resize(rng.standard_normal((int(rng.integers(3, 30)), 3), np.float32), (SIDE, SIDE))
    folds = cv2.warpAffine(folds, turned, (SIDE, SIDE), borderMode=cv2.BORDER_REFLECT)
    return np.asarray(_surface(rng, scene) * np.exp(rng.uniform(0.02, 0.3) * folds)[..., None], np.float32)


def _turned(direction: NDArray[np.floating]) -> NDArray[np.floating]:
    return np.array([-direction[1], direction[0]])


def _oval(centre: NDArray[np.floating], long: float, short: float, angle: float) -> NDArray[np.floating]:
    t = np.linspace(0, 2 * np.pi, 20, endpoint=False)
    x, y = long * np.cos(t), short * np.sin(t)
    cos, sin = np.cos(angle), np.sin(angle)
    return centre + np.column_stack([x * cos - y * sin, x * sin + y * cos])


def _strip(start: NDArray[np.floating], end: NDArray[np.floating], width: float) -> NDArray[np.floating]:
    across = _turned((end - start) / max(float(np.linalg.norm(end - start)), 1e-3)) * width / 2
    return np.array([start + across, end + across * 1.6, end - across * 1.6, start - across])
