"""Trains the segmenter and writes its ONNX file."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

import click
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.export import export
from training.loop import AveragedWeights, cosine, restore, save, set_rate, start
from training.segmenter.data import Mix, Portraits, Sample
from training.segmenter.losses import loss
from training.segmenter.network import BIAS, MEAN, SIDE, STD, Segmenter, Shipped

MODEL: Final = Path("facefusion_runner/models/builtin/face_segmentation.onnx")

_JUDGED: Final = 192


def pixels(pictures: NDArray[np.uint8]) -> Tensor:
    """(n, h, w, 3) BGR to the network's input."""
    rgb = torch.from_numpy(np.ascontiguousarray(pictures[..., ::-1])).permute(0, 3, 1, 2)
    return ((rgb.float() - MEAN) / STD).contiguous(memory_format=torch.channels_last)


def batch(samples: list[Sample]) -> tuple[Tensor, Tensor, Tensor]:
    """Pictures (n, 3, SIDE, SIDE), classes (n, 5, SIDE, SIDE), weights (n, SIDE, SIDE)."""
    pictures, classes, weights = (np.stack(column) for column in zip(*samples, strict=True))
    return pixels(pictures), torch.from_numpy(classes).permute(0, 3, 1, 2), torch.from_numpy(weights)


@torch.no_grad()
def held_out(network: torch.nn.Module, pictures: Tensor, classes: Tensor, weights: Tensor) -> list[float]:
    """Intersection over union of each class."""
    found = torch.cat([network(part) for part in pictures.split(32)]).argmax(1)
    true, known = classes.argmax(1), weights > 0.5
    scores = []
    for number in range(classes.shape[1]):
        a, b = (found == number) & known, (true == number) & known
        scores.append(float((a & b).sum() / max(int((a | b).sum()), 1)))
    return scores


@click.command()
@click.option("--data", type=click.Path(exists=True, path_type=Path), default="../shared", show_default=True)
@click.option("--work", type=click.Path(path_type=Path), default="build", show_default=True)
@click.option("--steps", default=1600, show_default=True, help="About 0.8 s of one core each.")
@click.option("--size", default=32, show_default=True, help="Pictures per step.")
@click.option("--rate", default=4e-3, show_default=True, help="Highest learning rate.")
@click.option("--seed", default=5, show_default=True)
@click.option("--resume", is_flag=True, help="Go on from the last checkpoint.")
@click.option("--export-only", is_flag=True, help="Write the ONNX file of the last checkpoint and end.")
@click.option("--output", type=click.Path(path_type=Path), default=MODEL, show_default=True)
def main(
    data: Path,
    work: Path,
    steps: int,
    size: int,
    rate: float,
    seed: int,
    resume: bool,
    export_only: bool,
    output: Path,
) -> None:
    """Trains the segmenter on portraits with things drawn in front of them, then writes its ONNX file.

    Needs WORK/labels.npz, from `python -m training.data`. The first time the teacher is asked about every
    portrait, which takes about ten minutes. A checkpoint is written every 100 steps.
    """
    start(seed)
    checkpoint = work / "segmenter" / "checkpoint.pt"
    network = Segmenter().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    averaged = AveragedWeights(network, 0.995)
    optimiser = torch.optim.AdamW(network.parameters(), rate, weight_decay=1e-3, fused=True)
    first = 0
    if resume or export_only:
        state = restore(checkpoint)
        first = state["step"]
        network.load_state_dict(state["network"])
        averaged.network.load_state_dict(state["averaged"])
        averaged._steps = first
        optimiser.load_state_dict(state["optimiser"])
    if not export_only:
        train, judged = Portraits(data, work, "train"), Portraits(data, work, "held_out")
        still = np.random.default_rng(0)
        fixed = batch([judged.sample(still, Mix(), row=3 * i) for i in range(_JUDGED)])
        mix, began, losses = Mix(rendered=0.12), time.process_time(), []
        for step in range(first, steps):
            rng = np.random.default_rng((seed, step))
            pictures, classes, weights = batch([train.sample(rng, mix) for _ in range(size)])
            set_rate(optimiser, cosine(step, steps, rate, warm_up=60))
            error = loss(network(pictures), classes, weights)
            optimiser.zero_grad(set_to_none=True)
            error.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(network.parameters(), 2.0)
            optimiser.step()
            averaged.update(network)
            losses.append(error.item())
            if (step + 1) % 50 == 0:
                seconds = time.process_time() - began
                click.echo(
                    f"step {step + 1} of {steps}, {seconds / 60:.1f} core-minutes, "
                    f"{(step + 1 - first) * size / seconds:.0f} pictures/s, loss {np.mean(losses):.4f}"
                )
                losses = []
            if (step + 1) % 100 == 0 or step + 1 == steps:
                save(
                    checkpoint,
                    step=step + 1,
                    network=network.state_dict(),
                    averaged=averaged.network.state_dict(),
                    optimiser=optimiser.state_dict(),
                )
            if (step + 1) % 200 == 0:
                scores = held_out(averaged.network, *fixed)
                click.echo("held out, intersection over union: " + " ".join(f"{s:.3f}" for s in scores))
    example = pixels(np.zeros((2, SIDE, SIDE, 3), np.uint8))
    export(Shipped(averaged.network, BIAS), output, {"input": example}, ["output"])
    click.echo(f"{output}, {output.stat().st_size} bytes")


if __name__ == "__main__":
    main()
