"""How well an encoder tells persons apart: portraits of the same member of Congress against two members'.

Measured through the run-time family, on persons that no picture of the training split shows.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click
import cv2
import numpy as np
from numpy.typing import NDArray

from facefusion_runner.encoders import Encoder
from facefusion_runner.faces.geometry import alignment, cut
from facefusion_runner.faces.types import Float, Picture
from facefusion_runner.models.catalog import ModelEntry
from facefusion_runner.models.families import load_encoder
from facefusion_runner.models.session import SessionFactory
from training.data.augmentation import photometric
from training.data.labels import Labels
from training.data.pictures import genuine_pairs, portraits
from training.data.public_models import PublicModels

MODEL: Final = Path(__file__).parents[2] / "facefusion_runner" / "models" / "builtin" / "arcface_light.onnx"
MISLABELLED: Final = frozenset({"congress225x275/R000575.jpg"})
"""The two pictures of this pair show different men: both are called Mike Rogers."""
SEEDS: Final = 10
_FOLDS: Final = 10


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """Pictures of held-out persons and their five points; two rows of `same` are one person."""

    pictures: list[Picture]
    points: list[Float]
    same: NDArray[np.intp]
    """(n, 2): rows of `pictures`."""

    @classmethod
    def load(cls, data: Path, work: Path) -> Pairs:
        """The pairs of `genuine_pairs.json` without the mislabelled one."""
        labels = Labels.load(work)
        held, rows = labels.of(portraits(data, "held_out"))
        place = {portrait.file: (portrait, row) for portrait, row in zip(held, rows, strict=True)}
        pairs = [
            pair for pair in genuine_pairs(data) if set(pair) <= set(place) and not set(pair) & MISLABELLED
        ]
        files = [file for pair in pairs for file in pair]
        return cls(
            [place[file][0].read(data) for file in files],
            [labels.points[place[file][1]] for file in files],
            np.arange(len(files)).reshape(-1, 2),
        )

    def crops(self, side: int = 112) -> list[Picture]:
        """The aligned crops that an encoder of the family `arcface` sees."""
        return [
            cut(picture, alignment(five, "arcface_112_v2", side), side)
            for picture, five in zip(self.pictures, self.points, strict=True)
        ]

    def embeddings(self, encoder: Encoder) -> Float:
        """(pictures, dimension), of length 1."""
        found = [
            encoder.embed(picture, [five])[0]
            for picture, five in zip(self.pictures, self.points, strict=True)
        ]
        return unit(np.stack(found))

    def worse(self, seed: int = 0) -> Pairs:
        """The same with one picture of every person made worse: light, resolution, noise, compression."""
        rng = np.random.default_rng(seed)
        pictures = [
            photometric(rng, picture) if index % 2 else picture for index, picture in enumerate(self.pictures)
        ]
        return Pairs(pictures, self.points, self.same)


def figures(data: Path, work: Path, path: Path = MODEL) -> dict[str, float]:
    """The figures of the file at `path`, an encoder of the family `arcface`."""
    return measures(Pairs.load(data, work), shipped(path))


def shipped(path: Path = MODEL) -> Encoder:
    """The encoder at `path` through the run-time family, on one thread."""
    entry = ModelEntry(id=path.stem, role="encoder", family="arcface", file=path.name, licence="apache-2.0")
    session = SessionFactory("cpu", threads=1).open(entry, path)
    return load_encoder(entry, lambda _: session)


def measures(pairs: Pairs, encoder: Encoder) -> dict[str, float]:
    """accuracy: at the best threshold, the mean over several draws of as many impostors as genuine pairs;
    cross_validated: at the threshold that is best on nine tenths, on the last tenth; auc and tar_at_far_1e2
    (share of genuine pairs accepted at the threshold that lets one impostor of a hundred pass): against
    every impostor there is; the means of both cosines; pairs and impostors: how many."""
    return of_embeddings(pairs.embeddings(encoder), pairs.same)


def of_embeddings(embeddings: Float, same: NDArray[np.intp]) -> dict[str, float]:
    """As `measures`, from unit embeddings (n, d) and the genuine pairs (m, 2)."""
    cosines = embeddings @ embeddings.T
    genuine = cosines[same[:, 0], same[:, 1]]
    person = np.empty(len(embeddings), np.intp)
    person[same[:, 0]] = person[same[:, 1]] = np.arange(len(same))
    # From different collections, as genuine pairs are: the same studio would make impostors look alike.
    across = cosines[np.ix_(same[:, 0], same[:, 1])]
    impostors = across[~np.eye(len(same), dtype=bool)]
    draws = [_balanced(genuine, across, seed) for seed in range(SEEDS)]
    return {
        "accuracy": float(np.mean([best[0] for best, _ in draws])),
        "accuracy_lowest": float(np.min([best[0] for best, _ in draws])),
        "cross_validated": float(np.mean([crossed for _, crossed in draws])),
        "threshold": float(np.mean([best[1] for best, _ in draws])),
        "auc": _auc(genuine, impostors),
        "tar_at_far_1e2": float(np.mean(genuine > np.quantile(impostors, 0.99))),
        "genuine": float(genuine.mean()),
        "impostor": float(impostors.mean()),
        "pairs": float(len(genuine)),
        "impostors": float(len(impostors)),
    }


def unit(vectors: Float) -> Float:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


def best_threshold(genuine: Float, impostors: Float) -> tuple[float, float]:
    """(accuracy, threshold) of accepting what lies above."""
    values = np.sort(np.concatenate([genuine, impostors]))
    between = np.concatenate([values[:1] - 1e-3, (values[1:] + values[:-1]) / 2])
    right = (genuine > between[:, None]).sum(1) + (impostors <= between[:, None]).sum(1)
    return float(right.max() / len(values)), float(between[right.argmax()])


def _balanced(genuine: Float, across: Float, seed: int) -> tuple[tuple[float, float], float]:
    """Every person's first picture against the second of another, drawn by `seed`."""
    rng = np.random.default_rng(seed)
    count = len(genuine)
    others = (np.arange(count) + rng.integers(1, count, count)) % count
    impostors = across[np.arange(count), others]
    folds = rng.permutation(count) % _FOLDS
    right = 0
    for fold in range(_FOLDS):
        rest = folds != fold
        threshold = best_threshold(genuine[rest], impostors[rest])[1]
        right += int(np.sum(genuine[~rest] > threshold) + np.sum(impostors[~rest] <= threshold))
    return best_threshold(genuine, impostors), right / (2 * count)


def _auc(genuine: Float, impostors: Float) -> float:
    """The share of (genuine, impostor) couples in the right order."""
    ordered = np.sort(impostors)
    below = np.searchsorted(ordered, genuine, "left") + np.searchsorted(ordered, genuine, "right")
    return float(below.mean() / 2 / len(impostors))


@click.command()
@click.option("--data", type=click.Path(exists=True, path_type=Path), default="../shared", show_default=True)
@click.option("--work", type=click.Path(exists=True, path_type=Path), default="build", show_default=True)
@click.argument("models", nargs=-1, type=click.Path(exists=True, path_type=Path))
def main(data: Path, work: Path, models: Sequence[Path]) -> None:
    """Prints the figures of MODELS, ONNX files of the family `arcface` (by default the shipped one), and of
    the public encoders below DATA/models on the same pairs: the teacher and the referees."""
    cv2.setNumThreads(0)
    public = PublicModels(data / "models")
    encoders = {path.stem: shipped(path) for path in models or [MODEL]}
    encoders |= {name: public.encoder(name) for name in public.ids("encoder")}
    pairs = Pairs.load(data, work)
    for title, subject in (("portraits", pairs), ("one of two degraded", pairs.worse())):
        click.echo(f"{title}:")
        for name, encoder in encoders.items():
            found = measures(subject, encoder)
            click.echo(f"  {name:26}" + " ".join(f"{key} {value:.4g}" for key, value in found.items()))


if __name__ == "__main__":
    sys.exit(main())
