"""Shapes with soft edges, textures and light: what the things in front of a face are drawn with.

All on a canvas of SIDE pixels, the network's own. An opacity is (SIDE, SIDE) float32 in 0..1, a colour
layer (SIDE, SIDE, 3) float32 in 0..255, BGR.
"""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from facefusion_runner.faces.types import Float
from training.segmenter.network import SIDE

_FINE: Final = 2
"""Outlines are drawn this many times larger, then averaged."""

_ROWS, _COLUMNS = np.mgrid[0:SIDE, 0:SIDE].astype(np.float32)

Point = NDArray[np.floating]


def polygon(points: Point, *, closed: bool = True, width: float = 0.0) -> Float:
    """The opacity of a filled outline (n, 2), or of its line where `width` > 0."""
    canvas = np.zeros((SIDE * _FINE, SIDE * _FINE), np.uint8)
    scaled = np.clip((np.asarray(points) + 0.5) * _FINE - 0.5, -2000, 2000)
    fixed = np.rint(scaled * 16).astype(np.int32)
    if width > 0:
        thick = max(round(width * _FINE), 1)
        cv2.polylines(canvas, [fixed], closed, 255, thick, cv2.LINE_AA, shift=4)
        weaker = min(width * _FINE, 1.0)
    else:
        cv2.fillPoly(canvas, [fixed], 255, cv2.LINE_AA, shift=4)
        weaker = 1.0
    small = cv2.resize(canvas, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    return small.astype(np.float32) * np.float32(weaker / 255)


def capsules(ends: list[tuple[Point, Point, float, float]]) -> tuple[Float, Float]:
    """Opacity, and height in pixels, of round bars that overlap: (start, end, radius there, radius here)."""
    distance = np.full((SIDE, SIDE), 1e3, np.float32)
    height = np.zeros((SIDE, SIDE), np.float32)
    for start, end, wide, narrow in ends:
        room = max(wide, narrow) + 1
        low = np.floor(np.minimum(start, end) - room).clip(0, SIDE).astype(int)
        high = np.ceil(np.maximum(start, end) + room + 1).clip(0, SIDE).astype(int)
        area = slice(low[1], high[1]), slice(low[0], high[0])
        along = np.asarray(end, np.float32) - np.asarray(start, np.float32)
        dx, dy = _COLUMNS[area] - np.float32(start[0]), _ROWS[area] - np.float32(start[1])
        share = np.clip((dx * along[0] + dy * along[1]) / max(float(along @ along), 1e-3), 0, 1)
        radius = np.float32(wide) + share * np.float32(narrow - wide)
        away = np.hypot(dx - share * along[0], dy - share * along[1])
        distance[area] = np.minimum(distance[area], away - radius)
        raised = np.sqrt(np.maximum(radius * radius - away * away, 0))
        height[area] = np.maximum(height[area], raised)
    return np.clip(np.float32(0.5) - distance, 0, 1), height


def blob(rng: np.random.Generator, centre: Point, radius: float, rough: float = 0.25) -> Point:
    """The outline (n, 2) of a closed shape between a circle and a star, stretched and turned."""
    angles = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    reach = np.ones(48)
    for wave in range(2, 6):
        reach += rng.normal(0, rough / wave) * np.cos(wave * angles + rng.uniform(0, 2 * np.pi))
    stretch, turn = np.exp(rng.normal(0, 0.35)), rng.uniform(0, np.pi)
    x, y = np.cos(angles) * reach * stretch, np.sin(angles) * reach / stretch
    cos, sin = np.cos(turn), np.sin(turn)
    return centre + radius * np.column_stack([x * cos - y * sin, x * sin + y * cos])


def box(rng: np.random.Generator, centre: Point, width: float, height: float, turn: float) -> Point:
    """The outline of a rectangle, its corners more or less round, a little in perspective."""
    power = rng.choice([0.15, 0.3, 0.6])
    angles = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    cos, sin = np.cos(angles), np.sin(angles)
    x = np.sign(cos) * np.abs(cos) ** power * width / 2
    y = np.sign(sin) * np.abs(sin) ** power * height / 2
    x = x * (1 + rng.normal(0, 0.15) * y / max(height, 1))
    c, s = np.cos(turn), np.sin(turn)
    return centre + np.column_stack([x * c - y * s, x * s + y * c])


def smooth_noise(rng: np.random.Generator, cells: int, channels: int = 1) -> Float:
    """(SIDE, SIDE) or (SIDE, SIDE, channels) of about unit deviation, with as many waves as `cells` allow."""
    coarse = rng.standard_normal((cells, cells, channels), np.float32)
    return np.asarray(cv2.resize(coarse, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC), np.float32)


def shaded(rng: np.random.Generator, height: Float, depth: float = 1.0) -> Float:
    """Brightness (SIDE, SIDE), 1 on average, of a surface of that height under a light from somewhere."""
    smooth = cv2.GaussianBlur(height, (0, 0), 1.0)
    dx, dy = cv2.Sobel(smooth, cv2.CV_32F, 1, 0) / 8, cv2.Sobel(smooth, cv2.CV_32F, 0, 1) / 8
    light = np.array([rng.normal(0, 0.6), rng.normal(-0.5, 0.5), rng.uniform(0.6, 1.4)])
    light /= np.linalg.norm(light)
    facing = (light[2] - depth * (light[0] * dx + light[1] * dy)) / np.sqrt(1 + depth**2 * (dx**2 + dy**2))
    ambient = rng.uniform(0.35, 0.8)
    lit = ambient + (1 - ambient) * np.maximum(facing, 0) / max(light[2], 0.3)
    return np.asarray(np.clip(lit, 0.15, 1.6), np.float32)


def over(below: Float, layer: Float, opacity: Float) -> Float:
    """`layer` painted over `below`."""
    return np.asarray(below + (layer - below) * opacity[..., None], np.float32)


def shadow(rng: np.random.Generator, below: Float, opacity: Float, strength: float) -> Float:
    """`below` darkened where the thing of that opacity keeps the light away."""
    shift = np.float32([[1, 0, rng.normal(0, 5)], [0, 1, rng.normal(2, 5)]])
    cast = cv2.warpAffine(opacity, shift, (SIDE, SIDE), borderMode=cv2.BORDER_REPLICATE)
    cast = cv2.GaussianBlur(cast, (0, 0), float(rng.uniform(0.6, 6)))
    return np.asarray(below * (1 - strength * cast)[..., None], np.float32)
