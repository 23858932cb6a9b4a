"""Measures of a generator on held-out pairs of portraits, by networks that took no part in its making."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from facefusion_runner.blending.alpha import alpha
from facefusion_runner.blending.paste import Blend, paste
from facefusion_runner.faces.geometry import alignment, apply, cut
from facefusion_runner.faces.types import (
    Crop,
    Detection,
    Face,
    Float,
    Generated,
    Mask,
    Matrix,
    Picture,
    SourceFace,
)
from facefusion_runner.generators import Generator
from facefusion_runner.landmarkers.schemes import five_points, of_mesh
from training.data.labels import Labels
from training.data.pictures import portraits
from training.data.public_models import PublicModels

PAIRS: Final = 210
SEED: Final = 20

TURNED: Final = 20.0
"""Degrees of yaw beyond which a face counts as turned; in a third of the pairs one of the two is."""

DETECTOR: Final = "scrfd_500m"
LANDMARKER: Final = "facemesh_468"
ENCODER: Final = "mobilefacenet_foamliu"
"""E1: the teacher of the built-in encoder may be it."""
UNSEEN_ENCODER: Final = "mobilefacenet_insightface"
"""E2: used nowhere but here."""


@dataclass(frozen=True, slots=True, eq=False)
class Subject:
    """One portrait as a source or a target."""

    file: str
    face: SourceFace
    yaw: float


@dataclass(frozen=True, slots=True)
class Figures:
    """What is measured of one swap."""

    e1_source: float
    e1_target: float
    e2_source: float
    e2_target: float
    """Cosine of the result's embedding to the source's and to the target's."""
    landmarks: float
    """Mean distance of the result's landmarks (without the jaw) from the target's ÷ interocular distance."""
    seam: float
    """See `seam`."""
    found: float
    """1.0 where the referee detector still finds the face in its place."""
    turned: float
    """1.0 where source or target is turned by more than `TURNED`."""


def pairs(data: Path, work: Path, count: int = PAIRS, seed: int = SEED) -> list[tuple[str, str]]:
    """(source file, target file) of held-out portraits of different persons; every third pair has a turned
    face, in turn the source, the target, or both."""
    known, rows = Labels.load(work).of(portraits(data, "held_out", generative=True))
    yaws = np.abs(Labels.load(work).yaws[rows])
    rng = np.random.default_rng(seed)
    straight, turned = np.flatnonzero(yaws <= TURNED), np.flatnonzero(yaws > TURNED)
    chosen = []
    while len(chosen) < count:
        kind = len(chosen) % 9
        source = rng.choice(turned if kind in (0, 6) else straight)
        target = rng.choice(turned if kind in (3, 6) else straight)
        if known[source].person != known[target].person:
            chosen.append((known[source].file, known[target].file))
    return chosen


def subjects(data: Path, work: Path, files: Sequence[str]) -> dict[str, Subject]:
    """The portraits with the teachers' labels, by file."""
    labels = Labels.load(work)
    rows = {file: row for row, file in enumerate(labels.files)}
    found = {}
    for file in dict.fromkeys(files):
        picture = cv2.imread(str(data / "faces" / file))
        row = rows[file]
        points = of_mesh(labels.meshes[row])
        face = Face(
            Detection(labels.boxes[row], float(labels.scores[row]), labels.points[row]),
            five_points(points.points),
            points.points,
            points.mesh,
        )
        found[file] = Subject(file, SourceFace(np.asarray(picture, np.uint8), face), float(labels.yaws[row]))
    return found


def crop_of(subject: Subject, generator: Generator) -> Crop:
    """The subject as a target, cut as the pipeline cuts it."""
    face = subject.face.face
    assert face.landmarks is not None and face.mesh is not None
    matrix = alignment(face.points, generator.template, generator.side)
    pixels = cut(subject.face.picture, matrix, generator.side)
    return Crop(pixels, matrix, apply(matrix, face.landmarks), apply(matrix, face.mesh))


def pasted(subject: Subject, crop: Crop, generated: Generated, mode: Blend = alpha) -> Picture:
    """The target's picture with the generated face in it."""
    assert generated.mask is not None
    picture = subject.face.picture
    left, top, pixels = paste(picture, generated.pixels, generated.mask, crop.matrix, mode)
    result = picture.copy()
    result[top : top + pixels.shape[0], left : left + pixels.shape[1]] = pixels
    return result


@dataclass(frozen=True, slots=True, eq=False)
class Swap:
    """One swap of the evaluation."""

    source: Subject
    target: Subject
    crop: Crop
    generated: Generated
    result: Picture
    """The target's picture after it."""


def swaps(
    generator: Generator,
    people: dict[str, Subject],
    chosen: Sequence[tuple[str, str]],
    mode: Blend = alpha,
) -> Iterator[Swap]:
    """Every pair, one after the other."""
    for source, target in chosen:
        prepared = generator.prepare([people[source].face])
        crop = crop_of(people[target], generator)
        generated = generator.generate([crop], prepared)[0]
        result = pasted(people[target], crop, generated, mode)
        yield Swap(people[source], people[target], crop, generated, result)


class Referees:
    """The public networks that judge."""

    def __init__(self, models: PublicModels) -> None:
        self._encoders = [models.encoder(ENCODER), models.encoder(UNSEEN_ENCODER)]
        self._landmarker = models.landmarker(LANDMARKER)
        self._detector = models.detector(DETECTOR)
        self._known: dict[str, tuple[list[Float], Float]] = {}

    def judge(self, swap: Swap) -> Figures:
        """All figures of one swap."""
        was, now = self._of(swap.target), self._seen(swap.result, swap.target)
        source = self._of(swap.source)
        likeness = [
            float(now[0][k] @ person[0][k]) for k in range(len(self._encoders)) for person in (source, was)
        ]
        points = swap.target.face.face.points
        eyes = float(np.linalg.norm(points[1] - points[0]))
        moved = float(np.linalg.norm(now[1] - was[1], axis=1)[17:].mean()) / eyes
        assert swap.generated.mask is not None
        return Figures(
            *likeness,
            moved,
            seam(swap.result, swap.target.face.picture, swap.generated.mask, swap.crop.matrix),
            float(self._found(swap.result, swap.target.face.face.detection.box)),
            float(max(abs(swap.source.yaw), abs(swap.target.yaw)) > TURNED),
        )

    def _of(self, subject: Subject) -> tuple[list[Float], Float]:
        if subject.file not in self._known:
            self._known[subject.file] = self._seen(subject.face.picture, subject)
        return self._known[subject.file]

    def _seen(self, picture: Picture, subject: Subject) -> tuple[list[Float], Float]:
        """Embeddings of length 1, and 68 landmarks, of the face where `subject` has it."""
        face = subject.face.face
        embeddings = [encoder.embed(picture, [face.points])[0] for encoder in self._encoders]
        landmarks = self._landmarker.landmarks(picture, [face.detection])[0].points
        return [embedding / np.linalg.norm(embedding) for embedding in embeddings], landmarks

    def _found(self, picture: Picture, box: Float) -> bool:
        side = max(picture.shape[:2]) // 2
        # Faces of these portraits fill the picture more than the detector expects.
        bordered = cv2.copyMakeBorder(picture, side, side, side, side, cv2.BORDER_REPLICATE)
        wanted = box + np.float32(side)
        return any(
            _overlap(found.box, wanted) > 0.4
            for found in self._detector.detect(np.asarray(bordered, np.uint8))
        )


def _overlap(a: Float, b: Float) -> float:
    """Intersection over union of two boxes."""
    size = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    shared = float(np.prod(np.maximum(size, 0)))
    return shared / float(np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - shared)


def seam(result: Picture, target: Picture, mask: Mask, matrix: Matrix) -> float:
    """The step in colour along the mask's lower edge that the target itself does not have.

    In twelve sectors of the lower half: mean CIELAB colour (OpenCV's 8-bit scale) just inside the full mask
    less that just outside the mask, in the result, less the same in the target; the mean length of these.
    """
    now, was = (_lab(cut(picture, matrix, mask.shape[0])) for picture in (result, target))
    weight = cv2.resize(mask, (256, 256), interpolation=cv2.INTER_AREA)
    near = np.ones((3, 3), np.uint8)
    full, any_ = (weight > 200).astype(np.uint8), (weight > 0).astype(np.uint8)
    inner = cv2.erode(full, near) > cv2.erode(full, near, iterations=7)
    outer = cv2.dilate(any_, near, iterations=5) > any_
    y, x = np.mgrid[:256, :256]
    angle = np.arctan2(y - 150, x - 128)
    steps = []
    for start in np.linspace(0.1, 3.04, 13)[:-1]:
        sector = (angle > start) & (angle < start + 0.245)
        if min((inner & sector).sum(), (outer & sector).sum()) < 5:
            continue
        step, before = (image[inner & sector].mean(0) - image[outer & sector].mean(0) for image in (now, was))
        steps.append(np.linalg.norm(step - before))
    return float(np.mean(steps)) if steps else 0.0


def _lab(crop: Picture) -> Float:
    small = cv2.resize(crop, (256, 256), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.cvtColor(small, cv2.COLOR_BGR2LAB), np.float32)


def table(figures: Sequence[Figures]) -> str:
    """The means in one line, for all pairs."""
    mean = {field.name: np.array([getattr(one, field.name) for one in figures]) for field in fields(Figures)}
    nearer = (mean["e1_source"] > mean["e1_target"]) & (mean["e2_source"] > mean["e2_target"])
    return (
        f"E1 {mean['e1_source'].mean():.3f}/{mean['e1_target'].mean():.3f}  "
        f"E2 {mean['e2_source'].mean():.3f}/{mean['e2_target'].mean():.3f} "
        f"margin {(mean['e2_source'] - mean['e2_target']).mean():.3f}  "
        f"nearer by both {100 * nearer.mean():.1f} %  landmarks {mean['landmarks'].mean():.4f}  "
        f"seam {mean['seam'].mean():.1f}  found {100 * mean['found'].mean():.1f} %  n {len(figures)}"
    )
