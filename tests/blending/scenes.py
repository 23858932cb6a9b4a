"""Pictures, transforms and masks for the tests of blending."""

from __future__ import annotations

import cv2
import numpy as np

from facefusion_runner.blending.alpha import alpha
from facefusion_runner.blending.paste import Blend, paste
from facefusion_runner.faces.types import Float, Mask, Matrix, Picture


def smooth_picture(height: int, width: int, seed: int = 0, sigma: float = 4.0) -> Picture:
    """Noise without detail finer than a few pixels, over the whole range of levels."""
    noise = np.random.default_rng(seed).normal(0, 1, (height, width, 3)).astype(np.float32)
    noise = cv2.GaussianBlur(noise, (0, 0), sigma)
    return np.asarray(cv2.normalize(noise, None, 20, 235, cv2.NORM_MINMAX), np.uint8)


def noisy_picture(height: int, width: int, seed: int = 0) -> Picture:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def onto(
    centre: tuple[float, float], width: float, side: int, degrees: float = 0.0, stretch: float = 1.0
) -> Matrix:
    """Picture to crop: the crop of `side` pixels lies around `centre`, `width` by `width` * `stretch`."""
    turn = np.deg2rad(degrees)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    linear = rotation @ np.diag([side / width, side / (width * stretch)])
    return np.column_stack([linear, (side - 1) / 2 - linear @ np.array(centre)])


def round_mask(height: int, width: int, feather: int = 12) -> Mask:
    """An ellipse with a feather, 0 at the border."""
    mask = np.zeros((height, width), np.uint8)
    axes = (max(0, width // 2 - feather - 2), max(0, height // 2 - feather - 2))
    cv2.ellipse(mask, (width // 2, height // 2), axes, 0, 0, 360, 255, -1)
    return np.asarray(cv2.blur(mask, (feather, feather)), np.uint8)


def paste_into(
    picture: Picture, crop_pixels: Picture, mask: Mask, matrix: Matrix, mode: Blend = alpha
) -> None:
    """`paste`, written into `picture` itself."""
    left, top, pixels = paste(picture, crop_pixels, mask, matrix, mode)
    picture[top : top + pixels.shape[0], left : left + pixels.shape[1]] = pixels


def landmarks68(side: int) -> Float:
    """68 points of a plain upright face in the iBUG order, in the pixels of a crop."""
    turn = np.linspace(np.pi, 0, 17)
    jaw = np.column_stack([0.5 + 0.36 * np.cos(turn), 0.4 + 0.5 * np.sin(turn)])
    brows = np.column_stack([np.r_[np.linspace(0.2, 0.44, 5), np.linspace(0.56, 0.8, 5)], np.full(10, 0.3)])
    bridge = np.column_stack([np.full(4, 0.5), np.linspace(0.38, 0.52, 4)])
    nose = np.column_stack([np.linspace(0.42, 0.58, 5), np.full(5, 0.58)])
    ring = np.linspace(0, 2 * np.pi, 6, endpoint=False)
    eye = np.column_stack([0.05 * np.cos(ring), 0.02 * np.sin(ring)])
    lips = np.linspace(0, 2 * np.pi, 20, endpoint=False)
    mouth = np.column_stack([0.5 + 0.12 * np.cos(lips), 0.72 + 0.05 * np.sin(lips)])
    eyes = np.vstack([eye + np.array([x, 0.4]) for x in (0.34, 0.66)])
    parts = [jaw, brows, bridge, nose, eyes, mouth]
    return np.asarray(np.vstack(parts) * side, np.float32)
