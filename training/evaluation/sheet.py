"""The contact sheet: every source on every target."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np

from facefusion_runner.faces.geometry import cut
from facefusion_runner.faces.types import Picture
from facefusion_runner.generators import Generator
from training.data.labels import Labels
from training.evaluation.swapping import Subject, crop_of, pasted

SIDE: Final = 256


def chosen(labels: Labels, files: Sequence[str], count: int = 8, seed: int = 4) -> list[str]:
    """`count` of `files`, half of them turned away, in the order of their yaw."""
    yaws = {file: float(labels.yaws[labels.files.index(file)]) for file in files}
    rng = np.random.default_rng(seed)
    turned = [file for file in files if abs(yaws[file]) > 20]
    straight = [file for file in files if abs(yaws[file]) <= 20]
    picked = [*rng.permutation(turned)[: count // 2], *rng.permutation(straight)[: count - count // 2]]
    return sorted(map(str, picked), key=yaws.__getitem__)


def sheet(generator: Generator, sources: Sequence[Subject], targets: Sequence[Subject]) -> Picture:
    """Sources down the left side, targets along the top, each as the generator's template cuts it."""
    rows = [np.hstack([np.full((SIDE, SIDE, 3), 255, np.uint8), *(_cell(one, generator) for one in targets)])]
    for source in sources:
        prepared = generator.prepare([source.face])
        row = [_cell(source, generator)]
        for target in targets:
            crop = crop_of(target, generator)
            result = pasted(target, crop, generator.generate([crop], prepared)[0])
            row.append(_scaled(cut(result, crop.matrix, generator.side)))
        rows.append(np.hstack(row))
    return np.vstack(rows)


def _cell(subject: Subject, generator: Generator) -> Picture:
    return _scaled(crop_of(subject, generator).pixels)


def _scaled(picture: Picture) -> Picture:
    return np.asarray(cv2.resize(picture, (SIDE, SIDE), interpolation=cv2.INTER_AREA), np.uint8)
