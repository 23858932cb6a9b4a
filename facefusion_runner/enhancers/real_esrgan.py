"""Real-ESRGAN (Wang et al., ICCVW 2021) and its kin: super-resolution of crops of any size.

In (n, 3, h, w), RGB 0..1; out the same `scale` times larger.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from facefusion_runner.enhancers import Enhancer
from facefusion_runner.faces.types import Picture
from facefusion_runner.generators.network import levels
from facefusion_runner.models.catalog import ModelEntry
from facefusion_runner.models.families import parameters
from facefusion_runner.models.session import OpenModel, Session
from facefusion_runner.models.tensors import input_size, run, tensor, unfit

FAMILIES: Final[tuple[str, ...]] = ("real_esrgan",)


class Parameters(BaseModel):
    """Catalog parameters."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    scale: int = Field(4, ge=2, le=8)
    """How many times larger the output is."""


def load(entry: ModelEntry, open_model: OpenModel) -> Enhancer:
    """Raises ModelError when the graph is not one picture of any size in, one larger picture out."""
    p = parameters(entry, Parameters)
    session = open_model(entry.id)
    if len(session.inputs) != 1 or input_size(session) != (None, None):
        raise unfit(session, "one input, pictures (n, 3, height, width) of any size")
    shape = session.outputs[0].shape
    if len(session.outputs) != 1 or len(shape) != 4 or (isinstance(shape[1], int) and shape[1] != 3):
        raise unfit(session, "one output, pictures (n, 3, height, width)")
    return SuperResolution(session, p.scale)


class SuperResolution:
    """Enlarges the generator's own crops."""

    template: Final = None
    side: Final = None

    def __init__(self, session: Session, scale: int) -> None:
        self._session = session
        self.scale = scale

    def enhance(self, crops: Sequence[Picture]) -> list[Picture]:
        """(side · scale, side · scale, 3) for each crop; ModelError when the network's scale is another."""
        made = []
        # One after the other: a batch of enlarged crops would fill the memory.
        for crop in crops:
            planes = run(self._session, tensor([crop], (0.0, 0.0, 0.0), (255.0, 255.0, 255.0), "rgb"))[0][0]
            height, width = crop.shape[0] * self.scale, crop.shape[1] * self.scale
            if planes.shape != (3, height, width):
                raise unfit(self._session, f"crops {self.scale} times larger, not {list(planes.shape)}")
            planes = np.nan_to_num(planes)
            made.append(np.stack([levels(planes[channel], (0.0, 1.0)) for channel in (2, 1, 0)], axis=2))
        return made
