"""Pictures as the tensors that networks take, and what a graph says about its own input."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, Literal

import numpy as np

from facefusion_runner.errors import ModelError
from facefusion_runner.faces.types import Float, Picture
from facefusion_runner.models.session import Session

LARGEST_BATCH: Final = 16
"""Pictures in one run of a network: its memory grows with them. 16 is also a pixel boost of 4."""

Colour = Literal["rgb", "bgr"]
Layout = Literal["nchw", "nhwc"]
Triple = tuple[float, float, float]
"""One number per channel, in the network's colour order."""

_TYPES: Final[Mapping[str, type[np.generic]]] = MappingProxyType(
    {
        "tensor(float)": np.float32,
        "tensor(float16)": np.float16,
        "tensor(double)": np.float64,
        "tensor(int32)": np.int32,
        "tensor(int64)": np.int64,
    }
)


def tensor(
    pictures: Sequence[Picture], mean: Triple, std: Triple, colour: Colour, layout: Layout = "nchw"
) -> Float:
    """float32 (n, 3, h, w) or (n, h, w, 3): (pixel - mean) / std of `pictures` of one size, BGR."""
    height, width = pictures[0].shape[:2]
    planes = np.empty((len(pictures), 3, height, width), np.float32)
    for picture, plane in zip(pictures, planes, strict=True):
        for channel in range(3):
            source = 2 - channel if colour == "rgb" else channel
            np.subtract(picture[:, :, source], np.float32(mean[channel]), out=plane[channel])
            plane[channel] *= np.float32(1 / std[channel])
    return planes if layout == "nchw" else np.ascontiguousarray(planes.transpose(0, 2, 3, 1))


def input_size(session: Session, layout: Layout = "nchw") -> tuple[int | None, int | None]:
    """(height, width) of the graph's first input; None where the graph leaves it open.

    Raises ModelError when that input is not a batch of three-channel pictures.
    """
    shape = session.inputs[0].shape
    expected = {0: 1, (1 if layout == "nchw" else 3): 3}
    if len(shape) != 4 or any(isinstance(shape[i], int) and shape[i] != n for i, n in expected.items()):
        raise unfit(
            session, f"an input of three-channel pictures, {layout.upper()}, a batch of 1 or of any size"
        )
    height, width = (shape[2], shape[3]) if layout == "nchw" else (shape[1], shape[2])
    return (height if isinstance(height, int) else None, width if isinstance(width, int) else None)


def run(session: Session, batch: Float) -> list[Float]:
    """All outputs, float32, for a batch of inputs; one input at a time where the graph's batch is fixed to 1.

    A network of half precision is fed and read as such.
    """
    node = session.inputs[0]
    step = 1 if node.shape[0] == 1 else LARGEST_BATCH
    half = node.type == "tensor(float16)"
    feed = batch.astype(np.float16) if half else batch
    parts = [session.run({node.name: feed[i : i + step]}) for i in range(0, len(feed), step)]
    outputs = parts[0] if len(parts) == 1 else [np.concatenate(of_all) for of_all in zip(*parts, strict=True)]
    return [np.asarray(output, np.float32) for output in outputs]


def numpy_type(node: Any) -> type[np.generic]:
    """The type of the arrays that a graph's input takes."""
    return _TYPES[node.type]


def unfit(session: Session, expected: str) -> ModelError:
    """The error for a graph that is not of its entry's family."""
    entry = session.entry
    tensors = " ".join(f"{node.name}{list(node.shape)}" for node in (*session.inputs, *session.outputs))
    return ModelError(
        f"model {entry.id}: {session.path.name} does not fit the family {entry.family}: "
        f"expected {expected}; found {tensors}"
    )
