"""The teacher: the MobileFaceNet of foamliu (Apache-2.0)."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from facefusion_runner.faces.types import Float
from facefusion_runner.models.tensors import LARGEST_BATCH, run, tensor
from training.data.public_models import PublicModels

ID: Final = "mobilefacenet_foamliu"


def answers(data: Path, pictures: NDArray[np.uint8], margin: int) -> Float:
    """(n, 128) embeddings of length 1.

    pictures: (n, side, side, 3) BGR, with `margin` pixels around the template's crop.
    """
    models = PublicModels(data / "models")
    session, parameters = models.open(ID), models.entries[ID].parameters
    mean, std = parameters["mean"], parameters["std"]
    crops = pictures[:, margin:-margin, margin:-margin]
    found = np.concatenate(
        [
            run(session, tensor(list(crops[start : start + LARGEST_BATCH]), mean, std, "rgb"))[0]
            for start in range(0, len(crops), LARGEST_BATCH)
        ]
    )
    return np.asarray(found / np.linalg.norm(found, axis=1, keepdims=True), np.float32)
