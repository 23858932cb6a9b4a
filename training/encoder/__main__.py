"""Trains the encoder, after its faces have been drawn and shown to the teacher, and exports it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Final

import click
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from training import loop
from training.data.labels import Labels
from training.data.pictures import portraits
from training.encoder import evaluate, views
from training.encoder.losses import AngularMargin, to_teacher
from training.encoder.network import DIMENSION, SIDE, Encoder, Shipped, load
from training.encoder.pool import MARGIN, Pool, build, shape, warp
from training.encoder.teacher import answers
from training.export import export
from training.shipped import adopt

_WHITENING: Final = 1600
"""Faces that the embeddings' covariance is taken from."""
_WARM_UP: Final = 100
_JUDGED: Final = 300
"""Steps between two looks at what is held out."""


@click.command(
    help="Draws faces from the portraits below DATA/faces, trains the encoder on them, exports it."
)
@click.option("--data", type=click.Path(exists=True, path_type=Path), default="../shared", show_default=True)
@click.option("--work", type=click.Path(path_type=Path), default="build", show_default=True)
@click.option("--output", type=click.Path(path_type=Path), default=evaluate.MODEL, show_default=False)
@click.option("--turned", default=1, show_default=True, help="Rotated copies of every portrait.")
@click.option("--mixed", default=10_000, show_default=True, help="Mixtures of two portraits.")
@click.option("--redraw", is_flag=True, help="Draw the faces again; else what is in WORK is used.")
@click.option("--steps", default=3200, show_default=True)
@click.option("--batch", default=32, show_default=True)
@click.option("--minutes", default=0.0, help="Plan the steps for so many minutes of processor time instead.")
@click.option("--teacher", default=1.0, show_default=True, help="Weight of its embedding; 0: from scratch.")
@click.option("--rate", default=2e-3, show_default=True, help="Highest learning rate.")
@click.option("--margin", default=0.03, show_default=True, help="Weight of the angular margin softmax.")
@click.option("--threads", default=1, show_default=True)
@click.option("--seed", default=3, show_default=True)
@click.option("--name", default="encoder", show_default=True, help="Of the checkpoint.")
@click.option("--resume", is_flag=True, help="Go on from the last checkpoint.")
@click.option("--adopt", "known", type=click.Path(exists=True, path_type=Path), help="Weights to begin with.")
@click.option("--only-export", is_flag=True, help="Export the last checkpoint and end.")
def main(
    data: Path,
    work: Path,
    output: Path,
    turned: int,
    mixed: int,
    redraw: bool,
    steps: int,
    batch: int,
    minutes: float,
    teacher: float,
    rate: float,
    margin: float,
    threads: int,
    seed: int,
    name: str,
    resume: bool,
    known: Path | None,
    only_export: bool,
) -> None:
    rng = loop.start(seed, threads)
    folder = work / "encoder"
    if redraw or not (folder / "pool" / "photographs.npy").exists():
        build(data, work, folder / "pool", rng, turned=turned, mixed=mixed)
    pool, checkpoint = Pool.load(folder / "pool"), folder / f"{name}.pt"
    if not only_export:
        run = Run(data, work, pool, rng, batch, rate, (teacher, margin))
        if resume:
            run.restore(checkpoint)
        elif known is not None:
            run.adopt(known)
        run.train(checkpoint, steps, minutes)
    shipped = whitened(checkpoint, pool, seed)
    export(shipped, output, {"input": torch.rand(2, 3, SIDE, SIDE) * 2 - 1}, ["embedding"])
    click.echo(f"{output} written")
    for key, value in evaluate.figures(data, work, output).items():
        click.echo(f"  {key} {value:.4g}")


def whitened(checkpoint: Path, pool: Pool, seed: int) -> Shipped:
    """What is shipped: the averaged weights, whitened by faces of the pool; kept in the checkpoint."""
    state = loop.restore(checkpoint)
    network = load({"averaged": state["averaged"]})
    rng = np.random.default_rng(seed)
    unmixed = np.flatnonzero(np.bincount(pool.classes)[pool.classes] > 1)
    chances = pool.chances()[unmixed]
    rows = rng.choice(unmixed, min(_WHITENING, len(unmixed)), replace=False, p=chances / chances.sum())
    crops = np.stack([views.plain(picture) for picture in pool.pictures[np.sort(rows)]])
    network.whiten(torch.from_numpy(views.normalised(crops)))
    loop.save(checkpoint, **{**state, "shipped": network.state_dict()})
    return network


class Run:
    """A training that can be ended at any step and gone on with.

    weights: of the teacher's embedding and of the angular margin; without a teacher the persons' centres
    begin at random.
    """

    def __init__(
        self,
        data: Path,
        work: Path,
        pool: Pool,
        rng: np.random.Generator,
        batch: int,
        rate: float,
        weights: tuple[float, float],
    ) -> None:
        self._pool, self._rng, self._batch, self._rate, self._weights = pool, rng, batch, rate, weights
        self._chances = pool.chances()
        self._targets = torch.from_numpy(pool.targets)
        self._persons = torch.from_numpy(pool.classes).long()
        persons = int(pool.classes.max()) + 1
        centres = _means(self._targets, self._persons, persons) if weights[0] else None
        self.network = Encoder().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._margin = AngularMargin(persons, DIMENSION, centres)
        self.averaged = loop.AveragedWeights(self.network, decay=0.995)
        self._optimiser = torch.optim.AdamW(
            [
                {"params": self.network.parameters(), "weight_decay": 0.05},
                {"params": self._margin.parameters(), "weight_decay": 0.0},
            ]
        )
        self._judges = _held_out(data, work)
        self._pairs = evaluate.Pairs.load(data, work)
        self._pair_crops = np.stack(self._pairs.crops())
        self._step, self._steps, self._spent = 0, 0, 0.0

    def train(self, checkpoint: Path, steps: int, minutes: float) -> None:
        self.network.train()
        self._steps = max(self._steps, steps)
        begun, before, first = time.process_time(), self._spent, self._step
        sums = np.zeros(2)
        while self._step < self._steps:
            rate = loop.cosine(self._step, self._steps, self._rate, _WARM_UP)
            loop.set_rate(self._optimiser, rate)
            sums += self._one()
            self._step += 1
            spent = time.process_time() - begun
            self._spent = before + spent
            if minutes and self._step == first + 60:
                self._steps = int(first + 60 * minutes / (spent / 60)) if spent else steps
                click.echo(f"{spent / 60 / self._batch * 1e3:.1f} ms a face: {self._steps} steps")
            if self._step % 100 == 0:
                means = " ".join(
                    f"{label} {value / 100:.4f}"
                    for label, value in zip(("teacher", "margin"), sums, strict=True)
                )
                click.echo(
                    f"step {self._step}/{self._steps} {self._spent / 60:.1f} min rate {rate:.1e} {means}"
                )
                sums[:] = 0
            if self._step % _JUDGED == 0:
                click.echo(f"  {self.judge()}")
                self._save(checkpoint)
        self._save(checkpoint)

    @torch.no_grad()
    def judge(self) -> str:
        """Of the averaged weights: the cosine to the teacher for held-out synthetic faces, the figures of the
        genuine pairs."""
        synthetic, targets = self._judges
        cosine = 1 - to_teacher(self._embed(synthetic), torch.from_numpy(targets))
        found = evaluate.of_embeddings(evaluate.unit(self._embed(self._pair_crops).numpy()), self._pairs.same)
        keys = "accuracy", "auc", "tar_at_far_1e2", "genuine", "impostor"
        return f"teacher's cosine {cosine:.4f} " + " ".join(f"{key} {found[key]:.4f}" for key in keys)

    def adopt(self, path: Path) -> None:
        """Begins with the weights of an exported encoder."""
        shown = np.stack([views.plain(picture) for picture in self._pool.pictures[:256]])
        adopt(Shipped(self.network), path, torch.from_numpy(views.normalised(shown)))
        self.averaged = loop.AveragedWeights(self.network, decay=0.995)

    def restore(self, checkpoint: Path) -> None:
        state = loop.restore(checkpoint)
        self.network.load_state_dict(state["network"])
        self.averaged.network.load_state_dict(state["averaged"])
        self._margin.load_state_dict(state["margin"])
        self._optimiser.load_state_dict(state["optimiser"])
        self._rng.bit_generator.state = state["rng"]
        self._step, self._steps, self._spent = state["step"], state["steps"], state["spent"]

    def _save(self, checkpoint: Path) -> None:
        loop.save(
            checkpoint,
            network=self.network.state_dict(),
            averaged=self.averaged.network.state_dict(),
            margin=self._margin.state_dict(),
            optimiser=self._optimiser.state_dict(),
            rng=self._rng.bit_generator.state,
            step=self._step,
            steps=self._steps,
            spent=self._spent,
        )

    def _one(self) -> tuple[float, float]:
        """One step; both losses."""
        rows = self._rng.choice(len(self._targets), self._batch, p=self._chances)
        pictures = self._pool.pictures[rows]
        shown = [
            views.view(self._rng, picture, pictures[index - 1]) for index, picture in enumerate(pictures)
        ]
        batch = torch.from_numpy(views.normalised(np.stack(shown)))
        embeddings = self.network(batch.to(memory_format=torch.channels_last))
        of_teacher, of_margin = self._weights
        losses = to_teacher(embeddings, self._targets[rows]), self._margin(embeddings, self._persons[rows])
        loss = of_teacher * losses[0] + of_margin * losses[1]
        self._optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 5.0)
        self._optimiser.step()
        self.averaged.update(self.network)
        return losses[0].item(), losses[1].item()

    def _embed(self, crops: np.ndarray[Any, np.dtype[np.uint8]]) -> Tensor:
        parts = [torch.from_numpy(views.normalised(crops[i : i + 32])) for i in range(0, len(crops), 32)]
        return torch.cat([self.averaged.network(part) for part in parts])


def _means(targets: Tensor, persons: Tensor, count: int) -> Tensor:
    """(count, 128): the mean direction of each person's embeddings."""
    return functional.normalize(torch.zeros(count, targets.shape[1]).index_add_(0, persons, targets))


def _held_out(data: Path, work: Path) -> tuple[np.ndarray[Any, np.dtype[np.uint8]], np.ndarray[Any, Any]]:
    """Crops of the synthetic faces that are held out, and the teacher's embeddings of them."""
    labels = Labels.load(work)
    synthetic = [own for own in portraits(data, "held_out") if own.collection == "sfhq256"]
    known, rows = labels.of(synthetic)
    shapes = [shape(labels.points[row], labels.meshes[row]).flat() for row in rows]
    wide = [warp(own.read(data), points, points) for own, points in zip(known, shapes, strict=True)]
    crops = np.stack([views.plain(picture) for picture in wide])
    return crops, answers(data, np.stack(wide), MARGIN)


if __name__ == "__main__":
    main()
