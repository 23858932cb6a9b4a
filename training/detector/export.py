"""Writes the detector's ONNX file: `python -m training.detector.export` does so from a checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click
import torch
from torch import nn

from training import export, loop

WEIGHTS: Final = Path("facefusion_runner/models/builtin/retinaface_light.onnx")
_OUTPUTS: Final = ("loc", "conf", "landms")


def write(network: nn.Module, path: Path) -> None:
    """Any number of pictures, sides multiples of 32."""
    sides = {0: "batch", 2: "height", 3: "width"}
    rows = {name: {0: "batch", 1: "priors"} for name in _OUTPUTS}
    example = torch.rand(1, 3, 256, 320, generator=torch.Generator().manual_seed(0)) * 255 - 115
    export.export(network, path, {"input": example}, _OUTPUTS, {"input": sides, **rows})


@click.command(help="Exports the averaged weights of WORK/detector/checkpoint.pt, of a running training too.")
@click.option("--work", type=click.Path(path_type=Path), default="build", show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default=WEIGHTS, show_default=True)
def main(work: Path, out: Path) -> None:
    state = loop.restore(work / "detector" / "checkpoint.pt")
    write(state["averaged"].network, out)
    click.echo(f"{out}: {out.stat().st_size} bytes after {state['step']} steps")


if __name__ == "__main__":
    main()
