"""What the landmarker learns from: wide upright crops with their meshes, and narrow crops cut from them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from facefusion_runner.detectors import DetectorOptions
from facefusion_runner.faces.geometry import apply, scale_of
from facefusion_runner.faces.types import Detection, Float, Matrix, Picture
from facefusion_runner.landmarkers.crops import crop_matrix
from facefusion_runner.landmarkers.schemes import SCHEMES, five_points
from training.data.augmentation import photometric
from training.data.labels import Labels, detect
from training.data.pictures import Split, portraits
from training.data.public_models import PublicModels
from training.data.renders import stored
from training.landmarker.network import POINTS, SIDE

BOX_SCALE: Final = 1.3
"""Side of the network's crop ÷ the longer side of the detector's box; the catalog's `box_scale`."""
WIDE: Final = 2.2
"""The same of the crops that are kept: room for what shifts, turns and shrinks the narrow ones."""
WIDE_SIDE: Final = 240
AGREED: Final = 0.07
"""Greatest mean distance ÷ the box's longer side between the mesh's and the detector's five points: beyond it
one of the teachers is lost, most often in a profile."""
_MESH_IN_BOX: Final = 0.857
_MESH_BELOW: Final = 0.05
"""Medians over all portraits: the mesh's longer extent ÷ the box's, and how far its centre lies below."""


Seen = tuple[Picture, Detection, Float, float]
"""A picture, a face as a detector sees it, its true mesh in picture pixels, its yaw."""
BORDERS: Final = (cv2.BORDER_CONSTANT, cv2.BORDER_REFLECT_101, cv2.BORDER_REPLICATE)


@dataclass(frozen=True, slots=True, eq=False)
class Crops:
    """Wide crops, cut just as the detector's box and points say, and their meshes."""

    pictures: NDArray[np.uint8]
    """(n, WIDE_SIDE, WIDE_SIDE, 3), BGR."""
    meshes: Float
    """(n, 468, 3) in pixels of these crops."""
    yaws: Float
    """(n,) degrees."""

    def __len__(self) -> int:
        return len(self.meshes)

    @classmethod
    def of(cls, faces: Iterable[Seen], borders: Sequence[int] = (cv2.BORDER_CONSTANT,)) -> Crops:
        """borders: OpenCV's ways to go on beyond a picture's edge, taken in turn; the product's is black."""
        pictures, meshes, yaws = [], [], []
        for row, (picture, detection, mesh, yaw) in enumerate(faces):
            matrix = crop_matrix(detection, WIDE, WIDE_SIDE, upright=True)
            border = borders[row % len(borders)]
            crop = cv2.warpAffine(picture, matrix, (WIDE_SIDE, WIDE_SIDE), borderMode=border)
            pictures.append(np.asarray(crop, np.uint8))
            meshes.append(transformed(mesh, matrix))
            yaws.append(yaw)
        return cls(np.stack(pictures), np.stack(meshes), np.array(yaws, np.float32))

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for name in self.__slots__:
            np.save(folder / f"{name}.npy", getattr(self, name))

    @classmethod
    def load(cls, folder: Path) -> Crops:
        """The pictures stay on the disk until they are read."""
        return cls(
            np.load(folder / "pictures.npy", mmap_mode="r"),
            np.load(folder / "meshes.npy"),
            np.load(folder / "yaws.npy"),
        )


def portrait_faces(data: Path, work: Path, split: Split) -> Iterator[Seen]:
    """The labelled portraits on which the teachers agree."""
    labels = Labels.load(work)
    known, rows = labels.of(portraits(data, split))
    agreed = disagreement(labels.points, labels.boxes, labels.meshes) <= AGREED
    for portrait, row in zip(known, rows, strict=True):
        if agreed[row]:
            detection = Detection(labels.boxes[row], float(labels.scores[row]), labels.points[row])
            yield portrait.read(data), detection, labels.meshes[row], float(labels.yaws[row])


def render_faces(data: Path, work: Path, split: Split) -> Iterator[Seen]:
    """The renders, as YuNet sees them; where it is lost, as it would on the mean see such a mesh."""
    pictures, meshes, poses = (
        np.load(stored(work, split, kind), mmap_mode="r") for kind in ("pictures", "meshes", "poses")
    )
    detector = PublicModels(data / "models").detector("yunet", DetectorOptions(size=320))
    for picture, mesh, pose in zip(pictures, meshes, poses, strict=True):
        truth = np.asarray(mesh, np.float32)
        seen = detect(detector, np.asarray(picture))
        if seen is None or disagreement(seen.points[None], seen.box[None], truth[None])[0] > 2 * AGREED:
            seen = guessed(truth)
        yield np.asarray(picture), seen, truth, float(pose[0])


def guessed(mesh: Float) -> Detection:
    """The box and the five points that belong to a mesh, as YuNet's boxes lie around FaceMesh's points."""
    low, high = mesh[:, :2].min(0), mesh[:, :2].max(0)
    side = float((high - low).max()) / _MESH_IN_BOX
    centre = (low + high) / 2 - [0, _MESH_BELOW * side]
    half = np.array([0.36, 0.5]) * side
    box = np.concatenate([centre - half, centre + half]).astype(np.float32)
    return Detection(box, 1.0, five_points(SCHEMES["facemesh_468"].to_68(mesh[:, :2])))


def disagreement(points: Float, boxes: Float, meshes: Float) -> Float:
    """(n,): how far the five points of the mesh and of the detector lie apart, see `AGREED`."""
    to_68 = SCHEMES["facemesh_468"].to_68
    found = np.stack([five_points(to_68(mesh[:, :2])) for mesh in meshes])
    distance = np.linalg.norm(found - points, axis=2).mean(1)
    return np.asarray(distance / (boxes[:, 2:] - boxes[:, :2]).max(1), np.float32)


def transformed(mesh: Float, matrix: Matrix) -> Float:
    """A mesh (468, 3) after a similarity of the picture; z changes with the scale only."""
    depth = mesh[:, 2:] * scale_of(matrix)
    return np.asarray(np.column_stack([apply(matrix, mesh[:, :2]), depth]), np.float32)


def mirrored(data: Path) -> NDArray[np.intp]:
    """(468,): which point each becomes in a mirror, from the symmetry of MediaPipe's canonical face."""
    lines = (data / "faces/mediapipe_canonical/canonical_face_model.obj").read_text().splitlines()
    points = np.array([line.split()[1:] for line in lines if line.startswith("v ")], np.float64)
    distance = np.linalg.norm(points[:, None] * [-1, 1, 1] - points[None], axis=2)
    partner = distance.argmin(1)
    assert len(points) == POINTS and (partner[partner] == np.arange(POINTS)).all()
    return np.asarray(partner, np.intp)


def narrowed(angle: float = 0.0, size: float = 1.0, shift: tuple[float, float] = (0.0, 0.0)) -> Matrix:
    """Wide crop to a narrow one; with no arguments to the very one that the product cuts.

    angle: degrees. size: of the face, relative. shift: of the face, in narrow crops' sides.
    """
    scale = SIDE / WIDE_SIDE * WIDE / BOX_SCALE * size
    cos, sin = scale * np.cos(np.radians(angle)), scale * np.sin(np.radians(angle))
    linear = np.array([[cos, sin], [-sin, cos]])
    return np.column_stack([linear, SIDE / 2 + SIDE * np.array(shift) - linear @ np.full(2, WIDE_SIDE / 2)])


def jittered(rng: np.random.Generator) -> Matrix:
    """Wide crop to a narrow one as a detector that errs would have it: size, place and tilt vary."""
    usual = rng.random() < 0.75
    angle = rng.normal(0, 6) if usual else rng.uniform(-28, 28)
    size = np.exp(rng.normal(0, 0.08 if usual else 0.14))
    right, down = rng.normal(0, 0.035 if usual else 0.07, 2)
    return narrowed(float(angle), float(np.clip(size, 0.7, 1.4)), (float(right), float(down)))


def view(
    rng: np.random.Generator, wide: Picture, mesh: Float, flip: NDArray[np.intp] | None, strength: float = 1.0
) -> tuple[Picture, Float, Matrix]:
    """One narrow crop, its mesh ÷ SIDE, and the transform from the wide crop.

    flip: the mirror's partners where the crop is to be mirrored; the transform is then that of the mirrored
    wide crop.
    """
    if flip is not None:
        wide, mesh = np.ascontiguousarray(wide[:, ::-1]), mesh[flip] * np.array([-1, 1, 1], np.float32)
        mesh[:, 0] += WIDE_SIDE - 1
    matrix = jittered(rng)
    border = (cv2.BORDER_CONSTANT, cv2.BORDER_CONSTANT, cv2.BORDER_REPLICATE)[rng.integers(3)]
    crop = np.asarray(cv2.warpAffine(wide, matrix, (SIDE, SIDE), borderMode=border), np.uint8)
    if rng.random() < 0.25 * strength:
        crop = _occluded(rng, crop)
    return photometric(rng, crop, 0.8 * strength), transformed(mesh, matrix) / np.float32(SIDE), matrix


def _occluded(rng: np.random.Generator, crop: Picture) -> Picture:
    """With something in front: a patch of the crop itself, from elsewhere, or one colour, of any outline."""
    side = len(crop)
    count = int(rng.integers(3, 8))
    angles = np.sort(rng.uniform(0, 2 * np.pi, count))
    reach = rng.uniform(0.08, 0.28) * side * rng.uniform(0.5, 1.4, (count, 1))
    outline = rng.uniform(0, side, 2) + reach * np.column_stack([np.cos(angles), np.sin(angles)])
    mask = np.zeros((side, side), np.uint8)
    cv2.fillPoly(mask, [outline.astype(np.int32)], 255)
    if rng.random() < 0.5:
        front = np.roll(crop, tuple(rng.integers(side // 4, 3 * side // 4, 2)), (0, 1))[::-1]
    else:
        front = np.broadcast_to(rng.integers(0, 256, 3, np.uint8), crop.shape)
    return np.where(mask[:, :, None] > 0, front, crop)
