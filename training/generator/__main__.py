"""Trains the blender, after its samples have been drawn, and exports it."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Final

import click
import numpy as np
import torch
from torch import Tensor

from training import loop
from training.data.public_models import PublicModels
from training.export import export
from training.generator.batches import batch_of, varied, worsened
from training.generator.identity import TEACHER, Identity
from training.generator.losses import (
    Batch,
    blender_losses,
    composite,
    critic_loss,
    mean_inside,
    middle,
    steadiness,
)
from training.generator.network import INPUTS, OUTPUTS, Blender, Critic
from training.generator.samples import SIDE, Samples, build

MODEL: Final = Path(__file__).parents[2] / "facefusion_runner" / "models" / "builtin" / "mesh_blender.onnx"
HELD_OUT: Final = 64
STEADY_EVERY: Final = 4
WARM_UP: Final = 40


@click.command(
    help="Draws samples from the portraits below DATA/faces, trains the blender on them, exports it."
)
@click.option("--data", type=click.Path(exists=True, path_type=Path), default="../shared", show_default=True)
@click.option("--work", type=click.Path(path_type=Path), default="build", show_default=True)
@click.option("--output", type=click.Path(path_type=Path), default=MODEL, show_default=False)
@click.option("--samples", default=3600, show_default=True, help="Drawn once; then kept in WORK.")
@click.option("--steps", default=1800, show_default=True)
@click.option("--batch", default=4, show_default=True)
@click.option(
    "--minutes", default=0.0, help="End after so many minutes of processor time, whatever the step."
)
@click.option("--threads", default=1, show_default=True)
@click.option("--seed", default=3, show_default=True)
@click.option("--resume", is_flag=True, help="Go on from the last checkpoint.")
@click.option("--redraw", is_flag=True, help="Draw the samples again.")
@click.option("--only-export", is_flag=True, help="Export the last checkpoint and end.")
def main(
    data: Path,
    work: Path,
    output: Path,
    samples: int,
    steps: int,
    batch: int,
    minutes: float,
    threads: int,
    seed: int,
    resume: bool,
    redraw: bool,
    only_export: bool,
) -> None:
    rng = loop.start(seed, threads)
    checkpoint = work / "generator" / "blender.pt"
    if not only_export:
        for split, count in (("held_out", HELD_OUT), ("train", samples)):
            if redraw or not (work / "generator" / split / "samples.npz").exists():
                build(data, work, split, count, seed)
    run = Run(data, work, rng, steps, batch)
    if resume or only_export:
        run.restore(checkpoint)
    if not only_export:
        run.train(checkpoint, minutes)
    example = torch.rand(2, 1, SIDE, SIDE)
    wide = torch.rand(2, 3, SIDE, SIDE)
    inputs = dict(zip(INPUTS, (wide, wide.flip(0), example, example.flip(0)), strict=True))
    export(run.mean.network, output, inputs, OUTPUTS)
    click.echo(f"{output} written: {run.judge(run.mean.network)}")


class Run:
    """Both networks, their optimisers, and the samples."""

    def __init__(self, data: Path, work: Path, rng: np.random.Generator, steps: int, batch: int) -> None:
        self.rng, self.steps, self.size = rng, steps, batch
        self.blender = Blender().to(memory_format=torch.channels_last)
        self.critic = Critic().to(memory_format=torch.channels_last)
        self.mean = loop.AveragedWeights(self.blender, decay=0.99)
        self.optimisers = [
            torch.optim.Adam(self.blender.parameters(), betas=(0.9, 0.99)),
            torch.optim.Adam(self.critic.parameters(), betas=(0.0, 0.99)),
        ]
        models = PublicModels(data / "models")
        parameters = models.entries[TEACHER].parameters
        self.identity = Identity(models.path(TEACHER), parameters["mean"], parameters["std"])
        self.samples = Samples.load(work / "generator" / "train")
        self.held_out = Samples.load(work / "generator" / "held_out")
        self.step, self.spent = 0, 0.0

    def restore(self, path: Path) -> None:
        state = loop.restore(path)
        self.blender.load_state_dict(state["blender"])
        self.critic.load_state_dict(state["critic"])
        self.mean = state["mean"]
        for optimiser, stored in zip(self.optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(stored)
        self.step, self.spent = state["step"], state["spent"]
        self.rng.bit_generator.state = state["rng"]

    def save(self, path: Path) -> None:
        loop.save(
            path,
            blender=self.blender.state_dict(),
            critic=self.critic.state_dict(),
            mean=self.mean,
            optimisers=[optimiser.state_dict() for optimiser in self.optimisers],
            step=self.step,
            spent=self.spent,
            rng=self.rng.bit_generator.state,
        )

    def train(self, checkpoint: Path, minutes: float) -> None:
        begun = time.process_time() - self.spent
        sums: dict[str, float] = {}
        click.echo(f"step {self.step}: {self.judge(self.blender)}")
        while self.step < self.steps:
            for name, value in self.one().items():
                sums[name] = sums.get(name, 0.0) + value
            self.step += 1
            self.spent = time.process_time() - begun
            if self.step % 40 == 0:
                told = " ".join(f"{name} {value / 40:.3f}" for name, value in sums.items())
                rate = self.step * self.size / self.spent
                click.echo(f"step {self.step}/{self.steps} {self.spent / 60:.1f} min {rate:.1f}/s {told}")
                sums = {}
            if self.step % 160 == 0:
                click.echo(f"step {self.step}: {self.judge(self.mean.network)}")
                self.save(checkpoint)
            if minutes and self.spent > 60 * minutes:
                break
        self.save(checkpoint)

    def one(self) -> dict[str, float]:
        """One step; the terms of the losses. Critic and encoder take turns: each is dear."""
        for optimiser, peak in zip(self.optimisers, (5e-4, 3e-4), strict=True):
            loop.set_rate(optimiser, loop.cosine(self.step, self.steps, peak, WARM_UP))
        whole = self.draw()
        images = ("face", "target", "mask", "visibility", "kept")
        batch = replace(whole, **{name: middle(getattr(whole, name)) for name in images})
        blended, alpha = self.blender(batch.face, batch.target, batch.mask, batch.visibility)
        told = {}
        criticised = self.step % 2 == 0
        if criticised:
            told["critic"] = self.criticise(batch, composite(batch, blended, alpha).detach())
        jitter = torch.from_numpy(self.rng.normal(0, 1, (self.size, 2, 3)).astype(np.float32))
        jitter = jitter * torch.tensor([0.02, 0.02, 1.5])
        self.critic.requires_grad_(False)
        critic, identity = (self.critic, None) if criticised else (None, self.identity)
        terms = blender_losses(batch, blended, alpha, critic, identity, jitter, whole.target)
        if self.step % STEADY_EVERY == 0:
            shift = (int(self.rng.integers(-3, 4)), int(self.rng.integers(-3, 4)))
            terms["steady"] = STEADY_EVERY * steadiness(self.blender, batch, blended, alpha, shift)
        self.optimisers[0].zero_grad(set_to_none=True)
        torch.stack(list(terms.values())).sum().backward()
        torch.nn.utils.clip_grad_norm_(self.blender.parameters(), 1.0)
        self.optimisers[0].step()
        self.critic.requires_grad_(True)
        self.mean.update(self.blender)
        return {**told, **{name: float(value.detach()) for name, value in terms.items()}}

    def criticise(self, batch: Batch, picture: Tensor) -> float:
        """One step of the critic; its loss."""
        inside = (batch.mask > 0.02).float()
        real, _ = varied(self.rng, batch.target, batch.target)
        loss = critic_loss(self.critic, real, picture, inside)
        self.optimisers[1].zero_grad(set_to_none=True)
        loss.backward()
        self.optimisers[1].step()
        return float(loss.detach())

    def draw(self) -> Batch:
        half = self.size // 2
        own = self.rng.choice(np.flatnonzero(~self.samples.swap), half, replace=False)
        swap = self.rng.choice(np.flatnonzero(self.samples.swap), self.size - half, replace=False)
        batch = batch_of(self.samples, np.concatenate([own, swap]), mirror=self.rng.random() < 0.5)
        target, face = varied(self.rng, batch.target, batch.face)
        return replace(batch, target=target, face=worsened(self.rng, face))

    @torch.no_grad()
    def judge(self, network: torch.nn.Module) -> str:
        """On held-out samples, without and with the network: error of reconstructions, identity of swaps."""
        network.eval()
        errors, margins, counts = np.zeros(2), np.zeros((2, 2)), np.zeros(2)
        for first in range(0, len(self.held_out.swap), 16):
            batch = batch_of(self.held_out, np.arange(first, min(first + 16, len(self.held_out.swap))))
            blended, alpha = network(batch.face, batch.target, batch.mask, batch.visibility)
            inside = (batch.mask > 0.02).float()
            own, swap = ~batch.swap, batch.swap
            counts += int(own.sum()), int(swap.sum())
            plain = composite(batch, batch.face, batch.mask)
            for k, picture in enumerate((plain, composite(batch, blended, alpha))):
                error = mean_inside((picture[own] - batch.target[own]).abs(), inside[own])
                errors[k] += 255 * float(error) * int(own.sum())
                found = self.identity(picture[swap], batch.matrices[swap])
                for j, other in enumerate((batch.source, batch.avoid)):
                    margins[k, j] += float((found * other[swap]).sum())
        network.train()
        errors, margins = errors / counts[0], margins / counts[1]
        return (
            f"error {errors[0]:.2f} -> {errors[1]:.2f},"
            f" cosine to source {margins[0, 0]:.3f} -> {margins[1, 0]:.3f},"
            f" to target {margins[0, 1]:.3f} -> {margins[1, 1]:.3f}"
        )


if __name__ == "__main__":
    main()
