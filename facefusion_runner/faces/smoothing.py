"""The One-Euro filter (Casiez, Roussel, Vogel, CHI 2012) for a face's points.

Still faces are smoothed strongly, moving ones hardly at all, so that landmarks neither jitter nor lag.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Self

import numpy as np

from facefusion_runner.faces.geometry import apply
from facefusion_runner.faces.types import Float, Matrix

# Speeds are in face sizes per second: the same numbers then serve a face of 40 and of 800 pixels.
_STILL_CUTOFF_HZ = 1.0
_CUTOFF_PER_SPEED = 10.0
_SPEED_CUTOFF_HZ = 3.0


def _weight(cutoff: Float | float, seconds: float) -> Float:
    tau = 1.0 / (2.0 * math.pi * np.asarray(cutoff, np.float32))
    return np.asarray(1.0 / (1.0 + tau / seconds), np.float32)


class OneEuro:
    """Filters one set of points over time; (n, 2) or (n, 3) in, the same out.

    A third coordinate is a depth. Networks guess it with more noise than x and y: these alone tell how fast
    a point moves.
    """

    def __init__(self) -> None:
        self._points: Float | None = None
        self._speed: Float | None = None

    def carry(self, move: Matrix) -> None:
        """Moves what is known by a known motion (2, 3), so that only departures from it are smoothed.

        A face carried by a turning camera is then as still as one in front of a fixed one.
        """
        if self._points is not None:
            self._points = apply(move, self._points)

    def state(self) -> list[Float | None]:
        """What `restored` needs to go on from here."""
        return [self._points, self._speed]

    @classmethod
    def restored(cls, state: Sequence[Float | None]) -> Self:
        """A filter that goes on where another one was."""
        filter_ = cls()
        filter_._points, filter_._speed = state
        return filter_

    def __call__(self, points: Float, size: float, seconds: float) -> Float:
        """`size` is the face's size in pixels, `seconds` the time since the last call (> 0)."""
        if self._points is None or self._speed is None:
            self._points, self._speed = points, np.zeros_like(points)
            return points
        velocity = (points - self._points) / (max(size, 1.0) * seconds)
        self._speed = self._speed + _weight(_SPEED_CUTOFF_HZ, seconds) * (velocity - self._speed)
        magnitude = np.linalg.norm(self._speed[:, :2], axis=1, keepdims=True)
        weight = _weight(_STILL_CUTOFF_HZ + _CUTOFF_PER_SPEED * magnitude, seconds)
        self._points = self._points + weight * (points - self._points)
        return self._points
