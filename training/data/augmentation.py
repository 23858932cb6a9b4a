"""What cameras, codecs and rooms do to a picture."""

from __future__ import annotations

import cv2
import numpy as np

from facefusion_runner.faces.types import Picture


def photometric(rng: np.random.Generator, picture: Picture, strength: float = 1.0) -> Picture:
    """A picture (h, w, 3) uint8 BGR as a worse camera might have taken it; its geometry stays.

    Light, contrast, tint, saturation, grey, low resolution, blur by focus or motion, noise, JPEG: each with
    its own chance, so that some pictures stay nearly as they are. strength: 0 for none, 1 for the usual.
    """
    picture = _toned(rng, picture, strength)
    if rng.random() < 0.25 * strength:
        picture = _coarse(rng, picture)
    if rng.random() < 0.2 * strength:
        picture = _blurred(rng, picture)
    if rng.random() < 0.3 * strength:
        noise = rng.standard_normal(picture.shape, np.float32) * np.float32(rng.uniform(1, 12))
        picture = np.asarray(np.clip(picture + noise, 0, 255), np.uint8)
    if rng.random() < 0.4 * strength:
        quality = int(rng.integers(15, 90))
        _, code = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])
        picture = np.asarray(cv2.imdecode(code, cv2.IMREAD_COLOR), np.uint8)
    return picture


def _toned(rng: np.random.Generator, picture: Picture, strength: float) -> Picture:
    """One look-up table per channel: gamma, gain, offset and tint; then saturation."""
    levels = np.arange(256, dtype=np.float32) / 255
    gamma = np.exp(rng.normal(0, 0.3 * strength))
    gain = np.exp(rng.normal(0, 0.15 * strength, 3) * 0.4 + rng.normal(0, 0.2 * strength))
    offset = rng.normal(0, 0.04 * strength)
    table = np.clip(levels[:, None] ** gamma * gain + offset, 0, 1) * 255
    toned = np.asarray(cv2.LUT(picture, table.astype(np.uint8)[None]), np.uint8)
    if rng.random() < 0.3 * strength:
        grey = cv2.cvtColor(cv2.cvtColor(toned, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
        share = 1.0 if rng.random() < 0.4 else float(rng.uniform(-0.3, 0.9))
        toned = np.asarray(cv2.addWeighted(grey, share, toned, 1 - share, 0), np.uint8)
    return toned


def _coarse(rng: np.random.Generator, picture: Picture) -> Picture:
    height, width = picture.shape[:2]
    factor = rng.uniform(1.5, 5)
    small = (max(round(width / factor), 2), max(round(height / factor), 2))
    ways = (cv2.INTER_AREA, cv2.INTER_LINEAR, cv2.INTER_CUBIC)
    shrunk = cv2.resize(picture, small, interpolation=ways[rng.integers(2)])
    return np.asarray(cv2.resize(shrunk, (width, height), interpolation=ways[rng.integers(1, 3)]), np.uint8)


def _blurred(rng: np.random.Generator, picture: Picture) -> Picture:
    reach = min(picture.shape[:2]) / 128
    if rng.random() < 0.5:
        return np.asarray(cv2.GaussianBlur(picture, (0, 0), float(rng.uniform(0.3, 2.0) * reach)), np.uint8)
    length = max(int(rng.uniform(2, 7) * reach), 2)
    kernel = np.zeros((length, length), np.float32)
    angle = rng.uniform(0, np.pi)
    middle, arm = (length - 1) / 2, np.array([np.cos(angle), np.sin(angle)]) * length / 2
    ends = [tuple(round(float(c)) for c in middle + sign * arm) for sign in (-1, 1)]
    cv2.line(kernel, ends[0], ends[1], 1.0)
    return np.asarray(cv2.filter2D(picture, -1, kernel / kernel.sum()), np.uint8)
