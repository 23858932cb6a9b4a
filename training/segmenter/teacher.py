"""What the teacher sees in every portrait, computed once and kept as arrays.

The teacher is a BiSeNet V2 for 512 pixels that tells 19 parts apart, in the order of zllrunning's
face-parsing.PyTorch. It paints glasses with their lenses; `frames` turns that into what is meant here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from facefusion_runner.faces.geometry import alignment, apply, cut, scale_of
from facefusion_runner.faces.types import Float, Matrix, Picture
from facefusion_runner.landmarkers.schemes import SCHEMES, five_points
from training.data.labels import Labels
from training.data.pictures import Portrait

FILE: Final = "parsers/face_parsing_bisenetv2_compat_512.onnx"

FIELD: Final = 1.2
"""Side of what is kept ÷ side of the aligned crop, with the same centre: room to turn and shift."""

SIDE: Final = 256
"""Side in pixels of what is kept."""

_SEEN: Final = 512
_MEAN: Final = np.array([123.675, 116.28, 103.53], np.float32)
_STD: Final = np.array([58.395, 57.12, 57.375], np.float32)

PARTS: Final = {"skin": (1, 2, 3, 4, 5, 10, 11, 12, 13), "hair": (17,), "glasses": (6,)}
"""The teacher's channels of each class. Not listed: background, ears, rings, necklace, neck, cloth, hat."""


@dataclass(frozen=True, slots=True, eq=False)
class Taught:
    """One row per portrait."""

    portraits: list[Portrait]
    pictures: NDArray[np.uint8]
    """(n, SIDE, SIDE, 3), BGR; black outside the portrait."""
    parts: NDArray[np.uint8]
    """(n, SIDE, SIDE, 3): probability of skin, hair and glasses with their lenses, times 255."""
    meshes: Float
    """(n, 468, 3): FaceMesh's points in pixels of `pictures`."""

    def __len__(self) -> int:
        return len(self.portraits)


def taught(data: Path, work: Path, portraits: Sequence[Portrait], name: str) -> Taught:
    """The arrays WORK/segmenter/NAME_*.npy, which the teacher is asked for where they are missing."""
    labels = Labels.load(work)
    known, rows = labels.of(portraits)
    matrices = [matrix(labels.meshes[row]) for row in rows]
    meshes = np.stack([moved(m, labels.meshes[row]) for m, row in zip(matrices, rows, strict=True)])
    files = [work / "segmenter" / f"{name}_{kind}.npy" for kind in ("pictures", "parts")]
    if not all(file.exists() for file in files):
        _ask(data, known, matrices, files)
    pictures, parts = (np.load(file, mmap_mode="r") for file in files)
    if len(pictures) != len(known):
        raise ValueError(f"{files[0]} is of other portraits; delete it to have it made again")
    return Taught(known, pictures, parts, meshes)


def matrix(mesh: Float) -> Matrix:
    """Picture pixels to the pixels of what is kept, for a mesh (468, 3)."""
    points = five_points(SCHEMES["facemesh_468"].to_68(mesh[:, :2]))
    aligned = alignment(points, "ffhq_512", 1)
    scale, middle = SIDE / FIELD, (SIDE - SIDE / FIELD) / 2
    return np.column_stack([aligned[:, :2] * scale, aligned[:, 2] * scale + middle])


def moved(m: Matrix, mesh: Float) -> Float:
    """The mesh (468, 3) after the transform."""
    return np.column_stack([apply(m, mesh[:, :2]), mesh[:, 2] * scale_of(m)]).astype(np.float32)


def _ask(data: Path, portraits: list[Portrait], matrices: list[Matrix], files: list[Path]) -> None:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    teacher = ort.InferenceSession(str(data / "models" / FILE), options, ["CPUExecutionProvider"])
    files[0].parent.mkdir(parents=True, exist_ok=True)
    partial = [file.with_suffix(".partial") for file in files]
    shape = (len(portraits), SIDE, SIDE, 3)
    pictures, parts = (np.lib.format.open_memmap(file, "w+", np.uint8, shape) for file in partial)
    for i, (portrait, m) in enumerate(zip(portraits, matrices, strict=True)):
        seen = cut(portrait.read(data), m * (_SEEN / SIDE), _SEEN)
        pictures[i] = cv2.resize(seen, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
        # The network learns from both a picture and its mirror image: which one the teacher sees is chance.
        parts[i] = parse(teacher, seen, mirrored=bool(i % 2))
        if i % 200 == 0:
            print(f"teacher: {i} of {len(portraits)}", flush=True)
    for array in (pictures, parts):
        array.flush()
    for before, after in zip(partial, files, strict=True):
        before.replace(after)


def parse(teacher: ort.InferenceSession, seen: Picture, mirrored: bool = False) -> NDArray[np.uint8]:
    """(SIDE, SIDE, 3) uint8: probability of skin, hair, glasses in a picture of 512 pixels, times 255."""
    turned = seen[:, ::-1] if mirrored else seen
    tensor = ((turned[:, :, ::-1] - _MEAN) / _STD).transpose(2, 0, 1)[None].astype(np.float32)
    logits = teacher.run(None, {teacher.get_inputs()[0].name: tensor})[0][0]
    raised = np.exp(logits - logits.max(0))
    raised /= raised.sum(0)
    kept = np.dstack([raised[list(channels)].sum(0) for channels in PARTS.values()])
    kept = kept[:, ::-1] if mirrored else kept
    small = cv2.resize(np.ascontiguousarray(kept), (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    return np.asarray(np.rint(small * 255), np.uint8)
