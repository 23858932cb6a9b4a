"""What the network learns from: portraits turned and shifted, with things drawn in front of the face.

A sample is a picture (SIDE, SIDE, 3) uint8 BGR, the true classes (SIDE, SIDE, 5) float32, and a weight
(SIDE, SIDE) float32 that is 0 where the truth is not known.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from facefusion_runner.faces.types import Float, Picture
from facefusion_runner.segmenters import BACKGROUND, CLASSES, GLASSES, HAIR, OCCLUDER, SKIN
from training.data.augmentation import photometric
from training.data.backgrounds import backgrounds
from training.data.pictures import Split, portraits
from training.segmenter import glasses, occluders
from training.segmenter.drawing import blob, capsules, over, polygon, shadow, smooth_noise
from training.segmenter.frames import split
from training.segmenter.network import SIDE
from training.segmenter.occluders import Layer, Scene
from training.segmenter.renders import rendered
from training.segmenter.teacher import FIELD, Taught, taught
from training.segmenter.teacher import SIDE as KEPT

Sample = tuple[Picture, Float, Float]

OCCLUDERS: Final[tuple[tuple[str, float, Callable[[np.random.Generator, Scene], Layer]], ...]] = (
    ("hand", 0.46, occluders.hand),
    ("microphone", 0.09, occluders.microphone),
    ("thing", 0.16, occluders.thing),
    ("cutout", 0.13, occluders.cutout),
    ("stick", 0.06, occluders.stick),
    ("cover", 0.10, occluders.cover),
)
"""Name, share, function."""


@dataclass(frozen=True, slots=True, eq=False)
class Mix:
    """How often what is drawn."""

    occluder: float = 0.5
    second: float = 0.2
    glasses: float = 0.25
    strands: float = 0.15
    shade: float = 0.35
    turn: float = 10.0
    """Standard deviation of the rotation in degrees; one sample in seven is turned up to 30 degrees."""
    photometric: float = 1.0
    rendered: float = 0.0
    """Share of samples that begin with a render instead of a portrait, where there are renders."""


class Portraits:
    """Samples from the portraits of one split. Their rows are chosen by the random generator given."""

    def __init__(self, data: Path, work: Path, which: Split) -> None:
        self.taught = taught(data, work, portraits(data, which), which)
        self.surroundings = backgrounds(work, "train" if which == "train" else "evaluation")
        self.classes = _classes(self.taught, work / "segmenter" / f"{which}_classes.npy")
        self.tones = _tones(self.taught)
        self.rendered = rendered(data, work, which, self.taught)

    def __len__(self) -> int:
        return len(self.taught)

    def sample(self, rng: np.random.Generator, mix: Mix, row: int | None = None, only: str = "") -> Sample:
        """One sample. only: the name of the one occluder to draw."""
        row = int(rng.integers(len(self))) if row is None else row
        drawn = self.rendered is not None and rng.random() < mix.rendered
        picture, truth, weight, mesh = self.turned(rng, row, mix.turn, drawn)
        if rng.random() < mix.shade:
            picture = _shade(rng, picture, mesh)
        own = rng.random() < 0.7
        tone = self._patch(rng, picture, truth) if own else self.tones[rng.integers(len(self.tones))]
        tone = self.tones[row] if tone is None else tone

        def scene() -> Scene:
            return Scene(picture, truth[..., HAIR], mesh, tone, self.texture, self.surroundings.cutout)

        if rng.random() < mix.strands:
            layer, opacity = occluders.strands(rng, scene())
            if rng.random() < 0.5:
                picture = shadow(rng, picture, opacity, rng.uniform(0, 0.4))
            picture, truth = over(picture, layer, opacity), painted_truth(truth, HAIR, opacity)
        if rng.random() < mix.glasses and truth[..., GLASSES].mean() < 0.002:
            picture, hidden = glasses.put_on(rng, scene())
            truth = painted_truth(truth, GLASSES, hidden)
        chance = mix.occluder
        while rng.random() < chance:
            draw = _occluder(rng, only)
            layer, opacity = draw(rng, scene())
            if rng.random() < 0.7:
                picture = shadow(rng, picture, opacity, rng.uniform(0, 0.6))
            if rng.random() < 0.3:
                opacity = cv2.GaussianBlur(opacity, (0, 0), float(rng.uniform(0.4, 2.0)))
            picture, truth = over(picture, layer, opacity), painted_truth(truth, OCCLUDER, opacity)
            weight = np.maximum(weight, opacity)
            chance *= mix.second
        seen = np.asarray(np.clip(picture, 0, 255), np.uint8)
        return photometric(rng, seen, mix.photometric) if mix.photometric else seen, truth, weight

    def turned(
        self, rng: np.random.Generator, row: int, turn: float, drawn: bool = False
    ) -> tuple[Float, Float, Float, Float]:
        """Picture, classes, weight, mesh of a portrait on the canvas: turned, shifted, scaled, mirrored."""
        rows = (self.taught.pictures, self.classes, self.taught.meshes)
        if drawn and self.rendered is not None:
            rows = self.rendered
            row %= len(rows[0])
        pictures, classes, meshes = rows
        degrees = rng.uniform(-30, 30) if turn and rng.random() < 1 / 7 else rng.normal(0, turn)
        scale = SIDE / (KEPT / FIELD) * (np.exp(rng.normal(0, 0.08)) if turn else 1.0)
        shift = rng.normal(0, 0.035, 2) * SIDE if turn else np.zeros(2)
        m = cv2.getRotationMatrix2D(((KEPT - 1) / 2, (KEPT - 1) / 2), float(degrees), float(scale))
        m[:, 2] += (SIDE - KEPT) / 2 + shift
        if turn and rng.random() < 0.5:
            m = np.array([[-1.0, 0, SIDE - 1], [0, 1, 0]]) @ np.vstack([m, [0, 0, 1]])
        border = cv2.BORDER_REFLECT_101 if rng.random() < 0.7 else cv2.BORDER_CONSTANT
        # Twice the size first: pixels are then averaged, as at run time.
        fine = np.array([[2, 0, 0.5], [0, 2, 0.5]]) @ np.vstack([m, [0, 0, 1]])
        picture = cv2.warpAffine(pictures[row], fine, (2 * SIDE, 2 * SIDE), borderMode=border)
        picture = cv2.resize(picture, (SIDE, SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
        known = cv2.warpAffine(
            classes[row], m, (SIDE, SIDE), borderMode=border, borderValue=(0, 0, 0, 255)
        ).astype(np.float32)
        known /= np.float32(255)
        truth = np.zeros((SIDE, SIDE, len(CLASSES)), np.float32)
        truth[..., SKIN], truth[..., HAIR], truth[..., GLASSES] = known[..., 0], known[..., 1], known[..., 2]
        truth[..., BACKGROUND] = np.maximum(1 - known[..., 0] - known[..., 1] - known[..., 2], 0)
        old = meshes[row]
        mesh = np.column_stack([old[:, :2] @ m[:, :2].T + m[:, 2], old[:, 2] * scale]).astype(np.float32)
        if m[0, 0] * m[1, 1] < 0:
            mesh = _mirrored(mesh)
        return picture, truth, (known[..., 3] > 0.5).astype(np.float32), mesh

    def texture(self, rng: np.random.Generator) -> Float:
        """A piece of something that is no face: (SIDE, SIDE, 3) 0..255."""
        if rng.random() < 0.6:
            piece = self.surroundings.sample(rng, SIDE, SIDE)
            return np.asarray(np.clip(piece * np.exp(rng.normal(0, 0.2)), 0, 255), np.float32)
        for _ in range(4):
            row, size = int(rng.integers(len(self))), int(rng.integers(40, 160))
            top, left = rng.integers(0, KEPT - size, 2)
            area = slice(top, top + size), slice(left, left + size)
            picture = self.taught.pictures[row][area]
            if self.taught.parts[row, ..., 0][area].mean() < 60 and picture.mean() > 8:
                break
        piece = cv2.resize(np.ascontiguousarray(picture), (SIDE, SIDE))
        if rng.random() < 0.5:
            piece = piece[:, ::-1]
        return np.asarray(np.clip(piece * np.exp(rng.normal(0, 0.2)), 0, 255), np.float32)

    def _patch(self, rng: np.random.Generator, picture: Float, truth: Float) -> NDArray[np.floating] | None:
        """The colour of this person's own skin somewhere in the face."""
        ys, xs = np.nonzero(truth[::4, ::4, SKIN] > 0.95)
        if len(ys) < 8:
            return None
        at = rng.integers(len(ys), size=24)
        return np.asarray(np.median(picture[ys[at] * 4, xs[at] * 4], 0), np.float64)


def _occluder(rng: np.random.Generator, only: str) -> Callable[[np.random.Generator, Scene], Layer]:
    names, shares, functions = zip(*OCCLUDERS, strict=True)
    return functions[names.index(only) if only else int(rng.choice(len(names), p=shares))]


def painted_truth(truth: Float, painted: int, opacity: Float) -> Float:
    """The classes after something of class `painted` was put over them."""
    left = truth * (1 - opacity)[..., None]
    left[..., painted] += opacity
    return left


def _shade(rng: np.random.Generator, picture: Float, mesh: Float) -> Float:
    """Shadows, light and paint on the face that are none of them things in front of it."""
    centre = mesh[rng.integers(468), :2] + rng.normal(0, 10, 2)
    kind = rng.random()
    if kind < 0.35:
        shape = polygon(blob(rng, centre, rng.uniform(6, 50), rng.uniform(0.05, 0.6)))
    elif kind < 0.7:
        bars = []
        turn = rng.uniform(0, np.pi)
        for _ in range(int(rng.integers(1, 6))):
            start = centre + rng.normal(0, 18, 2)
            end = start + np.array([np.cos(turn), np.sin(turn)]) * rng.uniform(10, 90)
            bars.append((start, end, rng.uniform(1.5, 10), rng.uniform(1.5, 10)))
        shape = capsules(bars)[0]
    else:
        # One side of the face in the dark.
        slope = rng.normal(0, 1, 2)
        rows, columns = np.mgrid[0:SIDE, 0:SIDE].astype(np.float32)
        away = ((columns - centre[0]) * slope[0] + (rows - centre[1]) * slope[1]) / np.linalg.norm(slope)
        shape = np.clip(away / rng.uniform(1, 50) + 0.5, 0, 1).astype(np.float32)
    shape = cv2.GaussianBlur(shape, (0, 0), float(np.exp(rng.uniform(np.log(0.4), np.log(9)))))
    if rng.random() < 0.75:
        factor = rng.uniform(0.25, 0.95) * np.exp(rng.normal(0, 0.05, 3))
    elif rng.random() < 0.6:
        factor = rng.uniform(1.05, 1.8) * np.exp(rng.normal(0, 0.08, 3))
    else:
        factor = np.exp(rng.normal(0, 0.25, 3))
    shape = (
        shape * np.float32(1) if rng.random() < 0.8 else shape * np.clip(0.6 + smooth_noise(rng, 20), 0, 1)
    )
    return np.asarray(picture * (1 + (factor - 1) * shape[..., None]), np.float32)


def _mirrored(mesh: Float) -> Float:
    """The mesh of a mirrored face with the points' names put right again, as far as drawing needs them."""
    fixed = mesh.copy()
    for left, right in ((33, 263), (133, 362), (127, 356), (61, 291), (205, 425), (50, 280)):
        fixed[[left, right]] = mesh[[right, left]]
    return fixed


def _classes(known: Taught, file: Path) -> NDArray[np.uint8]:
    """(n, KEPT, KEPT, 4): skin, hair, glasses without clear lenses, weight; kept in `file`."""
    if not file.exists():
        partial = file.with_suffix(".partial")
        array = np.lib.format.open_memmap(partial, "w+", np.uint8, (len(known), KEPT, KEPT, 4))
        for row in range(len(known)):
            array[row] = split(np.array(known.pictures[row]), _decided(known.parts[row]))
        array.flush()
        partial.replace(file)
    classes: NDArray[np.uint8] = np.load(file, mmap_mode="r")
    return classes


def _decided(parts: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Probabilities of skin, hair, glasses, times 255, cubed: the teacher doubts more than it errs."""
    cubed = (parts.astype(np.float32) / np.float32(255)) ** 3
    nothing = np.maximum(1 - parts.astype(np.float32).sum(2) / np.float32(255), 0) ** 3
    total = nothing + cubed[..., 0] + cubed[..., 1] + cubed[..., 2]
    return np.asarray(np.rint(cubed / total[..., None] * 255), np.uint8)


def _tones(known: Taught) -> Float:
    """(n, 3) BGR: the middle colour of each person's skin."""
    tones = []
    for picture, parts in zip(known.pictures, known.parts, strict=True):
        skin = picture[::8, ::8][parts[::8, ::8, 0] > 240]
        tones.append(np.median(skin, 0) if len(skin) else (90, 110, 150))
    return np.array(tones, np.float32)
