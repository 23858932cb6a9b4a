"""Trains the detector."""

from __future__ import annotations

import time
from itertools import chain
from pathlib import Path
from typing import Final

import click
import numpy as np
import torch
from torch import Tensor

from facefusion_runner.faces.types import Picture
from training import loop
from training.data.backgrounds import backgrounds
from training.detector.data import Mosaics, rendered, subjects
from training.detector.export import WEIGHTS, write
from training.detector.losses import losses, targets
from training.detector.network import RetinaFaceLight, priors

_MEAN: Final = (104.0, 117.0, 123.0)
_SIDE: Final = 320
_WIDE: Final = 640
_EVERY: Final = 8
"""Each so many batches, a quarter as many canvases of the double side, for faces that fill them."""
_AVERAGED: Final = 0.998


@click.command(
    help=f"""Trains `retinaface_light` on canvases made of the portraits below DATA/faces; writes {WEIGHTS}.

    Needs WORK/labels.npz (python -m training.data). Fetches backgrounds the first time. The checkpoint
    WORK/detector/checkpoint.pt is written every few minutes; --resume goes on from it."""
)
@click.option("--data", type=click.Path(exists=True, path_type=Path), default="../shared", show_default=True)
@click.option("--work", type=click.Path(path_type=Path), default="build", show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default=WEIGHTS, show_default=True)
@click.option("--steps", default=4500, show_default=True)
@click.option("--batch", default=8, show_default=True, help="Canvases of 320 px in a step; even, 4 or more.")
@click.option("--rate", default=2e-3, show_default=True, help="Highest learning rate (AdamW).")
@click.option("--seed", default=0, show_default=True)
@click.option("--threads", default=1, show_default=True)
@click.option("--resume", is_flag=True)
def main(
    data: Path,
    work: Path,
    out: Path,
    steps: int,
    batch: int,
    rate: float,
    seed: int,
    threads: int,
    resume: bool,
) -> None:
    rng = loop.start(seed, threads)
    network = RetinaFaceLight().to(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(network.parameters(), rate, weight_decay=0.02)
    averaged = loop.AveragedWeights(network, _AVERAGED)
    checkpoint, first, spent = work / "detector" / "checkpoint.pt", 0, 0.0
    if resume:
        state = loop.restore(checkpoint)
        network.load_state_dict(state["network"])
        optimiser.load_state_dict(state["optimiser"])
        averaged = state["averaged"]
        rng.bit_generator.state = state["rng"]
        first, spent = state["step"], state["seconds"]
    mosaics = Mosaics(subjects(data, work) + rendered(work), backgrounds(work, "train"))
    anchors = {side: priors(side, side) for side in (_SIDE, _WIDE)}
    started, saved, means = time.process_time() - spent, time.monotonic(), np.zeros(3)
    network.train()
    for step in range(first, steps):
        side = _WIDE if step % _EVERY == 0 else _SIDE
        count = batch if side == _SIDE else max(batch // 8, 1) * 2
        pairs = (mosaics.pair(rng, side) for _ in range(count // 2))
        pictures, truths = zip(*chain.from_iterable(pairs), strict=True)
        loop.set_rate(optimiser, loop.cosine(step, steps, rate))
        wanted = targets(truths, anchors[side].numpy())
        parts = losses(network(tensor(pictures)), wanted, anchors[side])
        optimiser.zero_grad(set_to_none=True)
        torch.stack(parts).sum().backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 10.0)
        optimiser.step()
        averaged.update(network)
        now = np.array([float(part.detach()) for part in parts])
        means = now if step == first else means * 0.98 + now * 0.02
        seconds = time.process_time() - started
        if (step + 1) % 50 == 0:
            score, box, point = means
            click.echo(
                f"step {step + 1} of {steps}, {(step + 1) / seconds:.2f} per core-second, "
                f"score {score:.3f} boxes {box:.3f} points {point:.3f}"
            )
        if time.monotonic() - saved > 150 or step + 1 == steps:
            saved = time.monotonic()
            loop.save(
                checkpoint,
                network=network.state_dict(),
                optimiser=optimiser.state_dict(),
                averaged=averaged,
                rng=rng.bit_generator.state,
                step=step + 1,
                seconds=seconds,
            )
    write(averaged.network, out)
    click.echo(f"{steps} steps, {(time.process_time() - started) / 60:.1f} core-minutes: {out}")


def tensor(pictures: tuple[Picture, ...]) -> Tensor:
    """(n, 3, height, width) float32, as the family `retinaface` feeds them."""
    stack = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)
    return (stack.float() - torch.tensor(_MEAN).view(1, 3, 1, 1)).contiguous(
        memory_format=torch.channels_last
    )


if __name__ == "__main__":
    main()
