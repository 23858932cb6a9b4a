"""The blender's samples: what the generator's own steps give it, computed once.

Half of the samples reconstruct: a face is unwrapped from a damaged copy of a picture and drawn back on it,
so that the right answer is known. The other half are true swaps between different persons.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from facefusion_runner.faces.geometry import alignment, apply, cut, invert
from facefusion_runner.faces.types import Crop, Float, Matrix, Picture
from facefusion_runner.generators.drawing import Look, draw
from facefusion_runner.generators.mesh import TEXELS
from facefusion_runner.generators.texture import merge, unwrap
from facefusion_runner.landmarkers.schemes import five_points, of_mesh
from training.data.head_model import HeadModel
from training.data.head_texture import Turner
from training.data.labels import Labels
from training.data.pictures import Portrait, Split, portraits
from training.data.public_models import PublicModels
from training.generator.damage import damaged
from training.generator.identity import TEACHER, encoder_matrix
from training.segmenter.data import Portraits as SegmentedPortraits
from training.segmenter.teacher import matrix as segmented

SIDE: Final = 256
CHANNELS: Final = 9
NEAREST: Final = 60
"""A swap's source is drawn from so many portraits that are nearest to the target in pose and skin."""


TURNED: Final = 0.35
"""Share of the reconstructions whose source is a render of the picture turned to another side."""

UNSEGMENTED: Final = 0.15
"""Share of the sources whose hair is told from skin by its colour alone: what a segmenter misses leaks."""


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """(n, ...) arrays; the pictures are memory maps."""

    pixels: NDArray[np.uint8]
    """(n, s, s, 9): the drawn face (BGR), the target (BGR), mask, visibility, and what the target keeps."""
    matrices: Float
    """(n, 2, 3): from the encoder's crop to the sample's pixels."""
    source: Float
    """(n, d): the source's embedding, normalised; in a reconstruction the target's own."""
    target: Float
    """(n, d): the target's."""
    swap: NDArray[np.bool_]
    """(n,): True for a swap."""

    @classmethod
    def load(cls, folder: Path) -> Samples:
        with np.load(folder / "samples.npz") as small:
            arrays = {name: small[name] for name in small.files}
        count = len(arrays["swap"])
        return cls(pixels=np.load(folder / "pixels.npy", mmap_mode="r")[:count], **arrays)


class People:
    """Portraits with labels, as the runtime would know them."""

    def __init__(self, data: Path, work: Path, split: Split) -> None:
        labels = Labels.load(work)
        chosen = portraits(data, split, generative=True)
        known, rows = labels.of(chosen)
        width = np.linalg.norm(labels.meshes[rows, 263] - labels.meshes[rows, 33], axis=1)
        good = [k for k in range(len(known)) if labels.scores[rows[k]] > 0.7 and width[k] > 30]
        self.portraits: list[Portrait] = [known[k] for k in good]
        self.meshes = labels.meshes[rows[good]]
        self.points = labels.points[rows[good]]
        self.yaws = labels.yaws[rows[good]]
        seen = SegmentedPortraits(data, work, split)
        rows_seen = {portrait.file: row for row, portrait in enumerate(seen.taught.portraits)}
        self._parts = seen.classes
        self._rows = [rows_seen[portrait.file] for portrait in self.portraits]
        self._data = data
        self._traits = np.array([self._skin(k) for k in range(len(good))])

    def __len__(self) -> int:
        return len(self.portraits)

    def picture(self, index: int) -> Picture:
        return self.portraits[index].read(self._data)

    def skin(self, index: int) -> tuple[Float, Matrix]:
        """The probability of bare skin, and the transform from the picture's pixels to its own."""
        shown = self._parts[self._rows[index]][..., 0].astype(np.float32) / np.float32(255)
        return shown, segmented(self.meshes[index])

    def parts(self, index: int, matrix: Matrix) -> Float:
        """(5, s, s): what a segmenter says of the crop along `matrix`, as far as its teacher tells."""
        own = np.vstack([invert(segmented(self.meshes[index])), [0, 0, 1]])
        shown = cv2.warpAffine(self._parts[self._rows[index]], matrix @ own, (SIDE, SIDE))
        skin, hair, glasses, _ = np.moveaxis(shown.astype(np.float32) / np.float32(255), 2, 0)
        background = np.clip(1 - skin - hair - glasses, 0, 1)
        return np.stack([background, skin, hair, glasses, np.zeros_like(skin)])

    def like(self, rng: np.random.Generator, index: int) -> int:
        """Another person similar in pose and skin; now and then anybody."""
        if rng.random() < 0.2:
            distance = rng.random(len(self))
        else:
            distance = np.abs(self._traits - self._traits[index]).sum(1)
        order = np.argsort(distance + 0.3 * rng.random(len(self)))[:NEAREST]
        person = self.portraits[index].person
        order = np.array([k for k in order if self.portraits[k].person != person])
        return int(rng.choice(order))

    def _skin(self, index: int) -> NDArray[np.float64]:
        """Pose and the cheeks' colour on comparable scales."""
        picture, mesh = self.picture(index), self.meshes[index]
        colours = []
        for vertex in (50, 280, 5, 151):
            x, y = np.rint(mesh[vertex, :2]).astype(int)
            height, width = picture.shape[:2]
            x, y = int(np.clip(x, 2, width - 3)), int(np.clip(y, 2, height - 3))
            colours.append(picture[y - 2 : y + 3, x - 2 : x + 3].reshape(-1, 3).mean(0))
        colour = np.log(np.median(colours, 0) + 8)
        return np.array([self.yaws[index] / 15, *(colour * 1.5)])


def build(data: Path, work: Path, split: Split, count: int, seed: int) -> Path:
    """Writes `count` samples below `work` and returns their folder."""
    folder = work / "generator" / split
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    people = People(data, work, split)
    turner = Turner(HeadModel(data))
    encoder = PublicModels(data / "models").encoder(TEACHER)
    embeddings = [_unit(encoder.embed(people.picture(k), [people.points[k]])[0]) for k in range(len(people))]
    shape = (count, SIDE, SIDE, CHANNELS)
    pixels = np.lib.format.open_memmap(folder / "pixels.npy", mode="w+", dtype=np.uint8, shape=shape)
    matrices = np.zeros((count, 2, 3), np.float32)
    sources, targets, swaps = [], [], []
    begun, written = time.process_time(), 0
    while written < count:
        swap = written % 2 == 1
        target = _chosen(rng, people)
        other = people.like(rng, target) if swap else target
        drawn = _sample(rng, people, turner, other, target)
        if drawn is None:
            continue
        pixels[written], matrices[written] = drawn
        sources.append(embeddings[other])
        targets.append(embeddings[target])
        swaps.append(swap)
        written += 1
        if written % 200 == 0:
            rate = written / (time.process_time() - begun)
            print(f"{written} of {count} samples, {rate:.1f}/s", flush=True)
    pixels.flush()
    np.savez(
        folder / "samples.npz",
        matrices=matrices,
        source=np.array(sources, np.float32),
        target=np.array(targets, np.float32),
        swap=np.array(swaps),
    )
    return folder


def _sample(
    rng: np.random.Generator, people: People, turner: Turner, source: int, target: int
) -> tuple[NDArray[np.uint8], Matrix] | None:
    """The arrays of one sample and its matrix; None where hardly any face would be drawn."""
    picture, mesh = people.picture(source), people.meshes[source]
    skin: tuple[Float, Matrix] | None = people.skin(source)
    own = source == target
    if own and rng.random() < TURNED:
        view = turner.turned(picture, mesh, float(rng.uniform(-40, 40)))
        picture, mesh, skin = view.picture, view.mesh, None
    if own or rng.random() < 0.3:
        picture, mesh = damaged(rng, picture, mesh)
    if rng.random() < UNSEGMENTED:
        skin = None
    crop = crop_of(people.picture(target), people.meshes[target])
    assert crop.mesh is not None
    texture = merge([unwrap(picture, mesh, round(SIDE * TEXELS), skin)])
    drawn = draw(texture, crop.pixels, crop.mesh, people.parts(target, crop.matrix), Look())
    if drawn is None or (drawn.mask > 0.5).mean() < 0.06:
        return None
    single = (np.rint(plane * 255) for plane in (drawn.mask, drawn.visible, drawn.kept))
    pixels = np.dstack([np.rint(drawn.face), crop.pixels, *single]).astype(np.uint8)
    return pixels, encoder_matrix(apply(crop.matrix, people.points[target]))


def crop_of(picture: Picture, mesh: Float) -> Crop:
    """The aligned crop of `SIDE` pixels around a mesh."""
    landmarks = of_mesh(mesh)
    matrix = alignment(five_points(landmarks.points), "ffhq_512", SIDE)
    return Crop(cut(picture, matrix, SIDE), matrix, apply(matrix, landmarks.points), apply(matrix, mesh))


def _chosen(rng: np.random.Generator, people: People) -> int:
    """Any person, turned heads twice as often."""
    index = int(rng.integers(len(people)))
    if abs(people.yaws[index]) < 12 and rng.random() < 0.5:
        index = int(rng.integers(len(people)))
    return index


def _unit(vector: Float) -> Float:
    return np.asarray(vector / np.linalg.norm(vector), np.float32)
