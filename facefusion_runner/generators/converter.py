"""Networks that carry an identity embedding over from one encoder's space to another's (role `converter`)."""

from __future__ import annotations

import numpy as np

from facefusion_runner.faces.types import Float
from facefusion_runner.generators.network import check, fixed
from facefusion_runner.models.session import Session
from facefusion_runner.models.tensors import numpy_type, unfit


class Converter:
    """Carries an embedding from one encoder's space over to another's."""

    def __init__(self, session: Session, gives: int | None) -> None:
        """`gives`: how many values the generator takes; None where its graph leaves that open."""
        if len(session.inputs) != 1 or len(session.outputs) != 1:
            raise unfit(session, "1 input and 1 output")
        self._session = session
        self._input = session.inputs[0]
        check(session, self._input, (1, None))
        check(session, session.outputs[0], (1, gives))
        self.takes = fixed(self._input.shape[1])

    def convert(self, embedding: Float) -> Float:
        """(D,) to (E,) float32."""
        feed = embedding[None].astype(numpy_type(self._input))
        return self._session.run({self._input.name: feed})[0].reshape(-1).astype(np.float32)
