"""Trains the detector."""

from __future__ import annotations

import time
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Final

import click
import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from facefusion_runner.faces.types import Picture
from training import loop
from training.data.backgrounds import backgrounds
from training.detector.calibration import calibrate
from training.detector.data import Mosaics, rendered, subjects
from training.detector.export import WEIGHTS, write
from training.detector.losses import Targets, features_to_teacher, losses, targets, to_teacher
from training.detector.network import NECK, STRIDES, RetinaFaceLight, priors
from training.detector.teacher import WIDTH, Teacher
from training.shipped import adopt

_MEAN: Final = (104.0, 117.0, 123.0)
_SIDE: Final = 320
_WIDE: Final = 640
_EVERY: Final = 8
"""Each so many batches, a quarter as many canvases of the double side, for faces that fill them."""
_AVERAGED: Final = 0.998


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """What one step learns from."""

    side: int
    pictures: Tensor
    """(n, 3, side, side), as the family `retinaface` feeds them."""
    wanted: Targets
    logits: Tensor
    """(n, priors): the teacher's."""
    features: list[Tensor]
    """The teacher's, per stride (n, 64, height, width)."""


class Batches(Dataset[Batch]):
    """The batch of each step, the same each time it is asked for."""

    def __init__(self, data: Path, work: Path, seed: int, size: int, first: int, steps: int) -> None:
        self.mosaics = Mosaics(subjects(data, work) + rendered(work), backgrounds(work, "train"))
        self._anchors = {side: priors(side, side).numpy() for side in (_SIDE, _WIDE)}
        self._data, self._seed, self._size, self._first, self._steps = data, seed, size, first, steps
        self._teacher: Teacher | None = None

    def __len__(self) -> int:
        return self._steps - self._first

    def __getitem__(self, index: int) -> Batch:
        cv2.setNumThreads(0)
        if self._teacher is None:
            self._teacher = Teacher(self._data)  # in the process that asks: sessions do not survive a fork
        step = self._first + index
        rng = np.random.default_rng([self._seed, step])
        side = _WIDE if step % _EVERY == 0 else _SIDE
        count = self._size if side == _SIDE else max(self._size // 8, 1) * 2
        pairs = (self.mosaics.pair(rng, side) for _ in range(count // 2))
        pictures, truths = zip(*chain.from_iterable(pairs), strict=True)
        answers = [self._teacher.answer(picture) for picture in pictures]
        return Batch(
            side,
            tensor(pictures),
            targets(truths, self._anchors[side]),
            torch.from_numpy(np.stack([answer.logits for answer in answers])),
            [
                torch.from_numpy(np.stack([answer.features[level] for answer in answers]))
                for level in range(len(STRIDES))
            ],
        )


@click.command(
    help=f"""Trains `retinaface_light` on canvases made of the portraits below DATA/faces; writes {WEIGHTS}.

    Needs WORK/labels.npz (python -m training.data). Fetches backgrounds the first time. The checkpoint
    WORK/detector/checkpoint.pt is written every few minutes; --resume goes on from it."""
)
@click.option("--data", type=click.Path(exists=True, path_type=Path), default="../shared", show_default=True)
@click.option("--work", type=click.Path(path_type=Path), default="build", show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default=WEIGHTS, show_default=True)
@click.option("--steps", default=9000, show_default=True)
@click.option("--batch", default=8, show_default=True, help="Canvases of 320 px in a step; even, 4 or more.")
@click.option("--rate", default=2e-3, show_default=True, help="Highest learning rate (AdamW).")
@click.option("--seed", default=0, show_default=True)
@click.option("--workers", default=1, show_default=True, help="Processes that make canvases.")
@click.option(
    "--adopt", "shipped", type=click.Path(exists=True, path_type=Path), help="Weights to begin with."
)
@click.option("--resume", is_flag=True)
def main(
    data: Path,
    work: Path,
    out: Path,
    steps: int,
    batch: int,
    rate: float,
    seed: int,
    workers: int,
    shipped: Path | None,
    resume: bool,
) -> None:
    loop.start(seed)
    network = RetinaFaceLight().to(memory_format=torch.channels_last)
    adapters = nn.ModuleList(nn.Conv2d(NECK, WIDTH, 1) for _ in STRIDES)
    checkpoint, first, spent = work / "detector" / "checkpoint.pt", 0, 0.0
    state = loop.restore(checkpoint) if resume else None
    if state is not None:
        network.load_state_dict(state["network"])
        adapters.load_state_dict(state["adapters"])
        first, spent = state["step"], state["seconds"]
    batches = Batches(data, work, seed, batch, first, steps)
    if shipped is not None and not resume:
        adopt(network, shipped, torch.cat([batches[index].pictures for index in range(1, 6)]))
    optimiser = torch.optim.AdamW([*network.parameters(), *adapters.parameters()], rate, weight_decay=0.02)
    averaged = loop.AveragedWeights(network, _AVERAGED)
    if state is not None:
        optimiser.load_state_dict(state["optimiser"])
        averaged = state["averaged"]
    anchors = {side: priors(side, side) for side in (_SIDE, _WIDE)}
    started, saved, means = time.monotonic() - spent, time.monotonic(), np.zeros(5)
    network.train()
    for step, one in enumerate(DataLoader(batches, batch_size=None, num_workers=workers), first):
        loop.set_rate(optimiser, loop.cosine(step, steps, rate))
        found, seen = network.columns(one.pictures.contiguous(memory_format=torch.channels_last))
        adapted = [adapter(level) for adapter, level in zip(adapters, seen, strict=True)]
        parts = (
            *losses(found, one.wanted, anchors[one.side]),
            to_teacher(found, one.wanted.labels, one.logits),
            features_to_teacher(adapted, [level.float() for level in one.features], one.logits),
        )
        optimiser.zero_grad(set_to_none=True)
        torch.stack(parts).sum().backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 10.0)
        optimiser.step()
        averaged.update(network)
        now = np.array([float(part.detach()) for part in parts])
        means = now if step == first else means * 0.98 + now * 0.02
        seconds = time.monotonic() - started
        if (step + 1) % 50 == 0:
            names = ("score", "boxes", "points", "teacher", "features")
            shown = " ".join(f"{name} {mean:.3f}" for name, mean in zip(names, means, strict=True))
            click.echo(f"step {step + 1} of {steps}, {seconds / 60:.1f} min, {shown}")
        if time.monotonic() - saved > 150 or step + 1 == steps:
            saved = time.monotonic()
            loop.save(
                checkpoint,
                network=network.state_dict(),
                adapters=adapters.state_dict(),
                optimiser=optimiser.state_dict(),
                averaged=averaged,
                step=step + 1,
                seconds=seconds,
            )
    calibrate(averaged.network, batches.mosaics, np.random.default_rng([seed, steps]))
    write(averaged.network, out)
    click.echo(f"{steps} steps, {(time.monotonic() - started) / 60:.1f} minutes: {out}")


def tensor(pictures: tuple[Picture, ...]) -> Tensor:
    """(n, 3, height, width) float32, as the family `retinaface` feeds them."""
    stack = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)
    return (stack.float() - torch.tensor(_MEAN).view(1, 3, 1, 1)).contiguous(
        memory_format=torch.channels_last
    )


if __name__ == "__main__":
    main()
