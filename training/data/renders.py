"""Pictures of turned faces whose 468 points are known exactly: `python -m training.data.renders`.

Portraits laid on the head model are drawn at any yaw, with other expressions, in other light, before their
own background or another one. With `--split train` the command below writes to the folder `work`

    renders_train_pictures.npy   (n, size, size, 3) uint8, BGR
    renders_train_meshes.npy     (n, 468, 3) float32: x, y in picture pixels (centre of the first pixel 0, 0),
                                 z in the same unit, negative towards the viewer, 0 where FaceMesh puts it
    renders_train_poses.npy      (n, 3) float32: yaw (positive: looks to the picture's right), pitch
                                 (positive: looks up), roll (positive: clockwise in the picture), degrees
    renders_train_faces.npy      (n, size, size) uint8: 255 where the face inside FaceMesh's outline is seen,
                                 eyes and mouth included; hair that hangs over it counts as face
    renders_train_persons.npy    (n,) int32: the same number for one portrait's renders; -1 for a painted head

and with `--split held_out` the same with that name, of portraits no network learns from. The faces are
placed freely: the mesh fills from half to nearly three quarters of the picture.

    python -m training.data.renders --split train --workers 2
    python -m training.data.renders --split held_out --count 600
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import click
import cv2
import numpy as np
from numpy.lib.format import open_memmap

from facefusion_runner.faces.types import Float, Mask, Picture
from training.data.backgrounds import backgrounds
from training.data.head_model import IDENTITIES, Camera, HeadModel, rotation
from training.data.head_texture import Head, Light, Turner, draw, sheet
from training.data.labels import MESH, Labels, yaw
from training.data.pictures import Portrait, Split, portraits

Range = tuple[float, float]

MOST_ERROR: Final = 0.016
"""Portraits the model fits worse (in parts of the distance between the eyes' outer corners) are left out."""
_PAINTED_FROM: Final = 48
"""Portraits whose colours painted heads are mixed from."""


@dataclass(frozen=True, slots=True, eq=False)
class Render:
    """A drawn face and what is known about it."""

    picture: Picture
    mesh: Float
    """(468, 3)"""
    yaw: float
    pitch: float
    roll: float
    face: Mask
    """(h, w) uint8: 255 where the model's face is seen."""
    person: int
    """Number of the portrait in `Renders.portraits`; -1 for a painted head."""


class Renders:
    """Draws faces of the portraits of one split."""

    def __init__(self, data: Path, work: Path, split: Split = "train") -> None:
        labels = Labels.load(work)
        self.data = data
        self.portraits, rows = labels.of(portraits(data, split, generative=True))
        self.meshes = labels.meshes[rows]
        self.turner = Turner(HeadModel(data))
        self.backgrounds = backgrounds(work, "train" if split == "train" else "evaluation")
        self._order: Iterator[int] = iter(())
        self._last: tuple[int, Head] | None = None

    def portrait(self, rng: np.random.Generator) -> tuple[int, Head]:
        """The next portrait of a shuffled round, laid on the model; those that do not fit are passed over."""
        while True:
            number = next(self._order, None)
            if number is None:
                self._order = iter(rng.permutation(len(self.portraits)).tolist())
                continue
            head = self.head(number, float(rng.uniform(0.4, 1.8)))
            if head.fit.error <= MOST_ERROR:
                return number, head

    def head(self, number: int, hair: float = 1.2) -> Head:
        portrait: Portrait = self.portraits[number]
        return self.turner.head(portrait.read(self.data), self.meshes[number], hair)

    def sample(
        self,
        rng: np.random.Generator,
        size: int = 256,
        yaw: Range = (-75, 75),
        pitch: Range = (-25, 25),
        roll: Range = (-25, 25),
        textured: float = 0.8,
        again: float = 0.7,
    ) -> Render:
        """One face. Ranges in degrees; pitch and roll are mostly near their middle, yaw is uniform.

        textured: share of faces that are photographs; the others are painted and have random identities.
        again: how often the last portrait is used once more, which saves laying the next one on the model.
        """
        if self._last is None or rng.random() > again:
            self._last = self.portrait(rng)
        number, head = self._last
        painted = None
        identity = head.fit.identity + rng.normal(0, 0.25, IDENTITIES).astype(np.float32)
        if rng.random() > textured:
            number, painted = -1, self._paint(rng)
            identity = rng.normal(0, 0.8, IDENTITIES).astype(np.float32)
        shape = self.turner.surface.model.shape(identity, self._expression(rng, head, painted is not None))
        turn = float(rng.uniform(*yaw)), _peaked(rng, pitch), _peaked(rng, roll)
        camera = self._camera(rng, shape, turn, size)
        source = head.fit.camera
        own = abs(turn[0] - source.yaw) < rng.uniform(25, 80) and painted is None
        if own:
            background = sheet(head, replace(camera, distance=np.inf), (size, size))
        else:
            background = self.backgrounds.sample(rng, size, size)
            _shoulders(rng, background, camera)
        view = draw(head, shape, camera, background, light=_light(rng), painted=painted, own=own)
        return Render(view.picture, view.mesh, *turn, view.face, number)

    def _expression(self, rng: np.random.Generator, head: Head, free: bool) -> Float:
        """The portrait's own, another one, or something between."""
        model = self.turner.surface.model
        own = np.zeros(len(model.expression_names), np.float32) if free else head.fit.expression
        kind = rng.random()
        if kind < 0.35 and not free:
            return own
        values: dict[str, float] = {}
        if rng.random() < 0.45:
            values["jawOpen"] = float(rng.beta(1.2, 2.5))
        if rng.random() < 0.3:
            values["eyeBlink"] = float(rng.choice([rng.uniform(0, 1), 1.0]))
        elif rng.random() < 0.2:
            values["eyeWide"] = float(rng.uniform(0, 0.8))
        if rng.random() < 0.4:
            values["mouthSmile"] = float(rng.uniform(0, 0.9))
        for name in rng.choice(_RARE, 3, replace=False):
            values[str(name)] = float(rng.uniform(0, 0.6))
        other = model.expressions(**values)
        return np.asarray(np.clip(own * (0.3 if kind < 0.8 else 0.0) + other, 0, 1), np.float32)

    def _camera(
        self, rng: np.random.Generator, shape: Float, turn: tuple[float, float, float], size: int
    ) -> Camera:
        """A camera that sees the mesh in half to three quarters of the picture, wholly inside it."""
        distance = float(rng.choice([np.inf, rng.uniform(45, 140)]))
        camera = Camera.at(rotation(*turn), 1.0, (0, 0), distance)
        mesh = camera.project(self.turner.surface.model.mesh(shape))
        low, high = mesh[:, :2].min(0), mesh[:, :2].max(0)
        scale = size * float(rng.uniform(0.5, 0.72)) / float(max(high - low))
        free = size - scale * (high - low)
        place = rng.uniform(0.25, 0.75, 2) * free - scale * low
        return Camera.at(rotation(*turn), scale, (float(place[0]), float(place[1])), distance)

    @cached_property
    def _painters(self) -> Float:
        """(n, v, 3): colours of some portraits, every vertex, as bright as each other."""
        rng = np.random.default_rng(1)
        chosen = rng.permutation(len(self.portraits))[: 3 * _PAINTED_FROM]
        frontal = chosen[np.abs(yaw(self.meshes[chosen])).argsort()][:_PAINTED_FROM]
        colours = np.stack([self.head(number).colours for number in frontal.tolist()])
        return np.asarray(colours * (125 / colours.mean((1, 2), keepdims=True)), np.float32)

    def _paint(self, rng: np.random.Generator) -> Float:
        """(v, 3): a mixture of portraits' colours, tinted."""
        few = rng.integers(len(self._painters), size=3)
        mixed = np.tensordot(rng.dirichlet(np.full(3, 0.7)), self._painters[few], 1)
        tint = float(rng.uniform(0.5, 1.35)) * rng.uniform(0.93, 1.07, 3)
        return np.asarray(np.clip(mixed * tint + rng.normal(0, 2, mixed.shape), 0, 255), np.float32)


_RARE: Final = (
    "browDown", "browInnerUp", "browOuterUp", "cheekPuff", "cheekSquint", "eyeSquint", "jawForward",
    "jawLeft", "jawRight", "mouthFrown", "mouthFunnel", "mouthLeft", "mouthRight", "mouthLowerDown",
    "mouthPress", "mouthPucker", "mouthRollLower", "mouthShrugUpper", "mouthStretch", "mouthUpperUp",
    "noseSneer",
)  # fmt: skip


def _peaked(rng: np.random.Generator, within: Range) -> float:
    """Uniform for a third, else with half the width as three deviations around the middle."""
    middle, half = (within[0] + within[1]) / 2, (within[1] - within[0]) / 2
    if rng.random() < 0.35:
        return float(rng.uniform(*within))
    return float(np.clip(rng.normal(middle, half / 3), *within))


def _light(rng: np.random.Generator) -> Light | None:
    """None as often as not: the portrait's own light; else one more light from any side before the face."""
    if rng.random() < 0.35:
        return None
    direction = rng.normal(0, 1, 3) * [1, 0.7, 0.4] + [0, 0.2, 0.5]
    direction /= np.linalg.norm(direction)
    strength = float(rng.uniform(0.1, 0.8))
    tint = 1 + rng.normal(0, 0.06, 3)
    ambient = np.full(3, 1 - 0.8 * strength)
    return Light(
        direction.astype(np.float32), ambient.astype(np.float32), (1.3 * strength * tint).astype(np.float32)
    )


def _shoulders(rng: np.random.Generator, background: Picture, camera: Camera) -> None:
    """Clothes below the neck, drawn into the background."""
    upright = replace(camera, rotation=rotation(0.3 * camera.yaw, 0.3 * camera.pitch, camera.roll))
    width, drop = float(rng.uniform(15, 21)), float(rng.uniform(-16, -13))
    outline = np.array(
        [[-6, drop, -3], [0, drop - 2, 2], [6, drop, -3], [width, drop - 5, -4], [width + 4, drop - 40, -4],
         [-width - 4, drop - 40, -4], [-width, drop - 5, -4]], np.float32)  # fmt: skip
    corners = np.rint(upright.project(outline)[:, :2]).astype(np.int32)
    colour = tuple(int(value) for value in rng.integers(10, 235, 3))
    cv2.fillPoly(background, [corners], colour, cv2.LINE_AA)


@click.command()
@click.option("--data", type=click.Path(exists=True, path_type=Path), default="../shared", show_default=True)
@click.option("--work", type=click.Path(path_type=Path), default="build", show_default=True)
@click.option("--count", default=6000, show_default=True)
@click.option("--split", type=click.Choice(["train", "held_out"]), default="train", show_default=True)
@click.option("--size", default=224, show_default=True, help="Side of the pictures, pixels.")
@click.option("--seed", default=7, show_default=True)
@click.option("--workers", default=1, show_default=True, help="Processes; each has its own rows and seed.")
def main(data: Path, work: Path, count: int, split: Split, size: int, seed: int, workers: int) -> None:
    """Draws turned faces of one split and stores them in WORK.

    Needs labels.npz there (python -m training.data) and backgrounds (python -m training.data.backgrounds).
    Writes renders_SPLIT_pictures.npy and four more; the module's first lines say what they hold.
    """
    store = Store(work, split, count, size)
    share = [rows.tolist() for rows in np.array_split(np.arange(count), workers)]
    jobs = [(data, work, split, store, rows, [seed, split == "held_out", n]) for n, rows in enumerate(share)]
    if workers == 1:
        _fill(*jobs[0])
    else:
        with multiprocessing.get_context("spawn").Pool(workers) as pool:
            pool.starmap(_fill, jobs, chunksize=1)
    store.close()


def _fill(data: Path, work: Path, split: Split, store: Store, rows: list[int], seed: list[int]) -> None:
    """Draws the faces of some rows."""
    cv2.setNumThreads(0)
    rng = np.random.default_rng(seed)
    renders = Renders(data, work, split)
    started = time.process_time()
    for done, row in enumerate(rows, 1):
        store.put(row, renders.sample(rng, store.size))
        if done % 500 == 0:
            rate = done / (time.process_time() - started)
            click.echo(f"{done} of {len(rows)}, {rate:.1f} per core-second")


class Store:
    """The arrays of one split, written row by row; they have their names only when they are whole."""

    def __init__(self, work: Path, split: Split, count: int, size: int) -> None:
        work.mkdir(parents=True, exist_ok=True)
        kinds = {
            "pictures": (np.uint8, (count, size, size, 3)),
            "meshes": (np.float32, (count, MESH, 3)),
            "poses": (np.float32, (count, 3)),
            "faces": (np.uint8, (count, size, size)),
            "persons": (np.int32, (count,)),
        }
        self.size = size
        self.final = {kind: stored(work, split, kind) for kind in kinds}
        self.partial = {kind: path.with_suffix(".partial") for kind, path in self.final.items()}
        for kind, (dtype, shape) in kinds.items():
            open_memmap(self.partial[kind], "w+", dtype, shape).flush()

    @cached_property
    def arrays(self) -> dict[str, np.memmap[Any, Any]]:
        return {kind: open_memmap(path, "r+") for kind, path in self.partial.items()}

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "arrays"}

    def put(self, row: int, render: Render) -> None:
        self.arrays["pictures"][row] = render.picture
        self.arrays["meshes"][row] = render.mesh
        self.arrays["poses"][row] = render.yaw, render.pitch, render.roll
        self.arrays["faces"][row] = render.face
        self.arrays["persons"][row] = render.person

    def close(self) -> None:
        for kind, array in self.arrays.items():
            array.flush()
            self.partial[kind].rename(self.final[kind])


def stored(work: Path, split: Split, kind: str) -> Path:
    """Where the renders' pictures, meshes, poses, faces or persons are."""
    return work / f"renders_{split}_{kind}.npy"


if __name__ == "__main__":
    main()
