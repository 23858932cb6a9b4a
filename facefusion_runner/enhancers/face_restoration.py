"""Face restoration: networks that redraw an aligned face of 512 pixels.

GFPGAN (Wang et al., CVPR 2021) takes and gives (n, 3, 512, 512), RGB -1..1, aligned as FFHQ is. CodeFormer
(Zhou et al., NeurIPS 2022) has a second input, one number (1,) in 0..1, mostly called `weight` or `w` and of
double precision: 0 for the finest detail, 1 for the most faithful.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from facefusion_runner.enhancers import Enhancer
from facefusion_runner.faces.geometry import TemplateName
from facefusion_runner.faces.types import Crop, Picture
from facefusion_runner.generators.network import CropNetwork, CropParameters, Form, check, fixed
from facefusion_runner.models.catalog import ModelEntry
from facefusion_runner.models.families import parameters
from facefusion_runner.models.session import OpenModel, Session
from facefusion_runner.models.tensors import Triple, unfit

FAMILIES: Final[tuple[str, ...]] = ("gfpgan", "codeformer")

_NUMBERS: Final = ("tensor(float)", "tensor(double)")


class Parameters(CropParameters, frozen=True, extra="forbid"):
    """Catalog parameters."""

    template: TemplateName = "ffhq_512"
    side: int = Field(512, ge=16)
    mean: Triple = (0.5, 0.5, 0.5)
    std: Triple = (0.5, 0.5, 0.5)
    output_range: tuple[float, float] = (-1.0, 1.0)
    fidelity: float = Field(0.5, ge=0, le=1)
    """What a second input is fed with, where the graph has one."""


def propose(session: Session) -> dict[str, Any]:
    """The side that the graph has."""
    shape = session.inputs[0].shape
    side = fixed(shape[3]) if len(shape) == 4 and shape[1] == 3 else None
    return {} if side is None else {"side": side}


def load(entry: ModelEntry, open_model: OpenModel) -> Enhancer:
    """Raises ModelError when the graph is not a crop, and maybe one number, in, and a crop out."""
    p = parameters(entry, Parameters)
    session = open_model(entry.id)
    pictures = [node for node in session.inputs if len(node.shape) == 4]
    numbers = [node for node in session.inputs if len(node.shape) <= 1 and node.type in _NUMBERS]
    wanted = 1 if entry.family == "codeformer" else 0
    if len(pictures) != 1 or len(numbers) != wanted or len(session.inputs) != 1 + wanted:
        raise unfit(session, "one input, a picture" if not wanted else "a picture and one number as inputs")
    check(session, pictures[0], (1, 3, p.side, p.side))
    check(session, session.outputs[0], (1, 3, p.side, p.side))
    return FaceRestorer(session, p, pictures[0].name, [node.name for node in numbers])


class FaceRestorer:
    """A network of one of the families above."""

    scale: Final = 1

    def __init__(self, session: Session, parameters: Parameters, picture: str, numbers: list[str]) -> None:
        self.template = parameters.template
        self.side = parameters.side
        self._feeds: dict[str, NDArray[Any]] = {name: np.array([parameters.fidelity]) for name in numbers}
        self._network = CropNetwork(
            session, picture, Form.of(parameters), lambda outputs: (outputs[0], None), alone=bool(numbers)
        )

    def enhance(self, crops: Sequence[Picture]) -> list[Picture]:
        """(side, side, 3) for each crop; raises as `CropNetwork.generate`."""
        whole = [Crop(crop, np.eye(2, 3)) for crop in crops]
        return [made.pixels for made in self._network.generate(whole, self._feeds)]
