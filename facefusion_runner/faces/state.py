"""What an analysis remembers from frame to frame, as plain values that can be kept in a file.

Not pickled: reading a pickle runs what it says, and a task's directory may have been somebody else's.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

State = Any
"""None, numbers, texts, arrays, and lists and dictionaries (keys are texts) of these."""

_ARRAY = "array"


def flatten(state: State) -> tuple[str, list[NDArray[Any]]]:
    """JSON in which each array is a reference, and the arrays."""
    arrays: list[NDArray[Any]] = []

    def plain(value: State) -> State:
        if isinstance(value, np.ndarray):
            arrays.append(value)
            return {_ARRAY: len(arrays) - 1}
        if isinstance(value, list | tuple):
            return [plain(each) for each in value]
        if isinstance(value, dict):
            return {"entries": {key: plain(each) for key, each in value.items()}}
        return value

    return json.dumps(plain(state)), arrays


def unflatten(text: str, arrays: list[NDArray[Any]]) -> State:
    """What `flatten` was given; tuples have become lists."""

    def rich(value: State) -> State:
        if isinstance(value, list):
            return [rich(each) for each in value]
        if isinstance(value, dict):
            if _ARRAY in value:
                return arrays[value[_ARRAY]]
            return {key: rich(each) for key, each in value["entries"].items()}
        return value

    return rich(json.loads(text))
