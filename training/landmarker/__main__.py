"""Trains the landmarker and writes its ONNX file."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import click
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.data.renders import stored
from training.export import export
from training.landmarker.data import (
    BORDERS,
    Crops,
    jittered,
    mirrored,
    portrait_faces,
    render_faces,
    transformed,
    view,
)
from training.landmarker.losses import emphasis, mesh_loss, point_error
from training.landmarker.network import BASIS, SIDE, FaceMesh468
from training.loop import AveragedWeights, cosine, restore, save, set_rate, start
from training.shipped import adopt

MODEL: Final = Path("facefusion_runner/models/builtin/face_mesh_468.onnx")
_SHARES: Final = {"portraits": 0.5, "renders": 0.5}
"""How often a crop comes from each set."""


class Sampler:
    """Draws pairs of views of training crops."""

    def __init__(self, sets: Mapping[str, Crops], flips: NDArray[np.intp]) -> None:
        total = sum(_SHARES[name] for name in sets)
        self._sets = list(sets.values())
        self._shares = [_SHARES[name] / total for name in sets]
        self._chances = [_chances(name, crops) for name, crops in sets.items()]
        self._flips = flips

    def __call__(self, rng: np.random.Generator, pairs: int) -> tuple[Tensor, Tensor, Tensor]:
        """Pictures (2 n, 3, side, side), meshes (2 n, 468, 3) ÷ side, linear parts (2 n, 2, 2); n pairs."""
        views = []
        for _ in range(pairs):
            number = int(rng.choice(len(self._sets), p=self._shares))
            crops = self._sets[number]
            row = int(rng.choice(len(crops), p=self._chances[number]))
            flip = self._flips if rng.random() < 0.5 else None
            views.append([view(rng, crops.pictures[row], crops.meshes[row], flip) for _ in range(2)])
        ordered = [both[i] for i in range(2) for both in views]
        return (
            pixels(np.stack([picture for picture, _, _ in ordered])),
            torch.from_numpy(np.stack([mesh for _, mesh, _ in ordered])),
            torch.from_numpy(np.stack([matrix[:, :2] for _, _, matrix in ordered]).astype(np.float32)),
        )


def _chances(name: str, crops: Crops) -> NDArray[np.floating]:
    """Of each crop to be drawn: portraits are rarely turned, so those that are come oftener."""
    weights = 1 + np.minimum(np.abs(crops.yaws), 50) / 15 if name == "portraits" else np.ones(len(crops))
    return np.asarray(weights / weights.sum())


def pixels(pictures: NDArray[np.uint8]) -> Tensor:
    """(n, h, w, 3) BGR to the network's input."""
    rgb = torch.from_numpy(np.ascontiguousarray(pictures[..., ::-1])).permute(0, 3, 1, 2)
    return (rgb.float() - 127.5) / 127.5


def shape_model(rng: np.random.Generator, crops: Crops, flips: NDArray[np.intp]) -> tuple[Tensor, Tensor]:
    """Mean (1404,) and principal components (BASIS, 1404) of the meshes, as jittered crops show them."""
    rows = []
    for i in rng.integers(0, len(crops), 4000):
        mesh = crops.meshes[i]
        if rng.random() < 0.5:
            mesh = mesh[flips] * np.array([-1, 1, 1], np.float32)
            mesh[:, 0] += crops.pictures.shape[2] - 1
        rows.append(transformed(mesh, jittered(rng)).ravel() / SIDE)
    stacked = np.stack(rows).astype(np.float64)
    mean = stacked.mean(0)
    values, vectors = np.linalg.eigh(np.cov((stacked - mean).T))
    chosen = np.argsort(values)[::-1][:BASIS]
    basis = vectors[:, chosen].T * np.sqrt(values[chosen])[:, None]
    return torch.from_numpy(mean.astype(np.float32)), torch.from_numpy(basis.astype(np.float32))


@torch.no_grad()
def held_out(network: torch.nn.Module, pictures: Tensor, meshes: Tensor) -> float:
    """Mean distance of points ÷ the interocular distance."""
    return float(point_error(network(pictures).reshape(meshes.shape), meshes).mean())


def prepared(data: Path, work: Path) -> dict[str, Crops]:
    """Training crops by the name of their set; made below WORK/landmarker where they are missing."""
    faces = {"portraits": portrait_faces, "renders": render_faces}
    found = {}
    for name, source in faces.items():
        if name == "renders" and not stored(work, "train", "pictures").exists():
            click.echo("no renders: python -m training.data.renders makes them")
            continue
        folder = work / "landmarker" / f"{name}_train"
        if not (folder / "yaws.npy").exists():
            Crops.of(source(data, work, "train"), BORDERS).save(folder)
        found[name] = Crops.load(folder)
    return found


@click.command()
@click.option("--data", type=click.Path(exists=True, path_type=Path), default="../shared", show_default=True)
@click.option("--work", type=click.Path(path_type=Path), default="build", show_default=True)
@click.option("--steps", default=4000, show_default=True, help="About 0.4 s of one core each.")
@click.option("--pairs", default=16, show_default=True, help="Faces per step, each seen twice.")
@click.option("--rate", default=1.5e-3, show_default=True, help="Highest learning rate.")
@click.option("--seed", default=468, show_default=True)
@click.option("--resume", is_flag=True, help="Go on from the last checkpoint, with the sets now there.")
@click.option("--adopt", "known", type=click.Path(exists=True, path_type=Path), help="Weights to begin with.")
@click.option("--export-only", is_flag=True, help="Write the ONNX file of the last checkpoint and end.")
@click.option("--output", type=click.Path(path_type=Path), default=MODEL, show_default=True)
def main(
    data: Path,
    work: Path,
    steps: int,
    pairs: int,
    rate: float,
    seed: int,
    resume: bool,
    known: Path | None,
    export_only: bool,
    output: Path,
) -> None:
    """Trains the landmarker on portraits and renders, then writes its ONNX file.

    Needs WORK/labels.npz, from `python -m training.data`. A checkpoint is written every 100 steps.
    """
    rng = start(seed)
    checkpoint = work / "landmarker" / "checkpoint.pt"
    flips = mirrored(data)
    sets = prepared(data, work)
    network = FaceMesh468(*shape_model(rng, sets["portraits"], flips))
    network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    sampler = Sampler(sets, flips)
    if known is not None:
        adopt(network, known, sampler(rng, 64)[0])
    averaged = AveragedWeights(network, 0.997)
    optimiser = torch.optim.AdamW(network.parameters(), rate, weight_decay=1e-3, fused=True)
    first = 0
    if resume or export_only:
        state = restore(checkpoint)
        first = state["step"]
        network.load_state_dict(state["network"])
        averaged.network.load_state_dict(state["averaged"])
        averaged._steps = first
        optimiser.load_state_dict(state["optimiser"])
        rng = np.random.default_rng((seed, first))
    if not export_only:
        click.echo(", ".join(f"{name} {len(crops)}" for name, crops in sets.items()))
        judged = Crops.of(portrait_faces(data, work, "held_out"))
        still = np.random.default_rng(0)
        judged_views = [
            view(still, judged.pictures[i], judged.meshes[i], None, 0.0) for i in range(0, len(judged), 3)
        ]
        judged_pixels = pixels(np.stack([picture for picture, _, _ in judged_views]))
        judged_meshes = torch.from_numpy(np.stack([mesh for _, mesh, _ in judged_views]))
        weights = emphasis()
        began, errors = time.process_time(), []
        for step in range(first, steps):
            pictures, meshes, linear = sampler(rng, pairs)
            set_rate(optimiser, cosine(step, steps, rate))
            network.train()
            found = network(pictures.contiguous(memory_format=torch.channels_last)).reshape(meshes.shape)
            loss, error = mesh_loss(found, meshes, linear, weights)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimiser.step()
            averaged.update(network)
            errors.append(float(error))
            if (step + 1) % 20 == 0:
                spent = time.process_time() - began
                speed = (step + 1 - first) * 2 * pairs / spent
                mean = np.mean(errors[-20:])
                click.echo(f"step {step + 1} error {mean:.4f} {speed:.0f} views/core-s {spent:.0f} core-s")
            if (step + 1) % 100 == 0 or step + 1 == steps:
                figure = held_out(averaged.network, judged_pixels, judged_meshes)
                click.echo(f"step {step + 1} held-out portraits, jittered: {figure:.4f}")
                save(
                    checkpoint,
                    step=step + 1,
                    network=network.state_dict(),
                    averaged=averaged.network.state_dict(),
                    optimiser=optimiser.state_dict(),
                )
    export(averaged.network, output, {"input": torch.zeros(1, 3, SIDE, SIDE)}, ["mesh"])
    click.echo(f"written: {output}")


if __name__ == "__main__":
    main()
