"""Makes a network of inswapper_128's full size, with random weights, for benchmarks.

    python -m benchmarks.full_inswapper FOLDER

writes FOLDER/inswapper_full.onnx (554 MB) and prints how long its parts take here. What it makes of a face
means nothing; its inputs, outputs, layers and the work they do are those of the real one.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import numpy as np

from facefusion_runner.faces.types import Crop, Detection, Face, SourceFace
from facefusion_runner.generators import GeneratorOptions
from facefusion_runner.generators.identity import load
from facefusion_runner.generators.initializer import last_initializer
from facefusion_runner.models.catalog import ModelEntry
from facefusion_runner.models.session import SessionFactory
from tests.support.graphs import FULL_WIDTH, inswapper_graph

T = TypeVar("T")

FILE = "inswapper_full.onnx"

ENTRY = ModelEntry(
    id="inswapper_full",
    role="generator",
    family="inswapper",
    file=FILE,
    licence="none",
    parameters={
        "template": "arcface_128",
        "side": 128,
        "source": "emap",
        "embedding_space": "w600k_r50",
    },
)
"""The catalog entry of the file that `make` writes."""


def make(folder: Path) -> Path:
    """Writes the network into `folder` unless it is there; returns its path. Needs 2 GB of memory."""
    path = folder / FILE
    if not path.is_file():
        part = path.with_suffix(".part")
        inswapper_graph(part, width=FULL_WIDTH)
        os.replace(part, path)
    return path


@contextmanager
def full_inswapper(folder: Path | None = None) -> Iterator[Path]:
    """The network's path, in `folder` where it stays, or in a temporary folder that goes at the end."""
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        yield make(folder)
        return
    with tempfile.TemporaryDirectory(prefix="inswapper-") as temporary:
        yield make(Path(temporary))


def main() -> None:
    parser = argparse.ArgumentParser(description="Makes and times a network of inswapper_128's full size.")
    parser.add_argument("folder", type=Path, nargs="?", help="where the network stays; else it goes again")
    parser.add_argument("--device", default="cpu", help="auto, cpu, cuda or tensorrt")
    parser.add_argument("--runs", type=int, default=5)
    chosen = parser.parse_args()
    with full_inswapper(chosen.folder) as path:
        print(f"{path}: {path.stat().st_size:,} bytes")
        _report(path, chosen.device, chosen.runs)


def _report(path: Path, device: str, runs: int) -> None:
    seconds, _ = _timed(lambda: last_initializer(path, (512, 512)))
    print(f"reading the emap: {seconds * 1000:.1f} ms")
    factory = SessionFactory(device)
    seconds, generator = _timed(lambda: load(ENTRY, lambda _: factory.open(ENTRY, path), GeneratorOptions()))
    print(f"loading the generator: {seconds * 1000:.0f} ms")
    random = np.random.default_rng(0)
    points = np.zeros((5, 2), np.float32)
    embedding = random.standard_normal(512).astype(np.float32)
    face = Face(Detection(np.zeros(4, np.float32), 1.0, points), points, embedding=embedding)
    source = generator.prepare([SourceFace(np.zeros((1, 1, 3), np.uint8), face)])
    crop = Crop(random.integers(0, 256, (128, 128, 3), np.uint8), np.eye(2, 3))
    generator.generate([crop], source)
    seconds = min(_timed(lambda: generator.generate([crop], source))[0] for _ in range(runs))
    print(f"one crop on {device}, best of {runs}: {seconds * 1000:.1f} ms")


def _timed(work: Callable[[], T]) -> tuple[float, T]:
    started = time.perf_counter()
    result = work()
    return time.perf_counter() - started, result


if __name__ == "__main__":
    main()
