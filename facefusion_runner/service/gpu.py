"""Memory of NVIDIA's GPUs, where NVIDIA's library and the package nvidia-ml-py are there."""

from __future__ import annotations

import importlib
from contextlib import suppress
from functools import cache
from typing import Any

Values = dict[tuple[str, ...], float]


def memory() -> tuple[Values, Values]:
    """Bytes in use and in all, by the GPU's number; empty without a GPU."""
    used: Values = {}
    total: Values = {}
    library = _library()
    if library is None:
        return used, total
    for index in range(library.nvmlDeviceGetCount()):
        with suppress(library.NVMLError):
            found = library.nvmlDeviceGetMemoryInfo(library.nvmlDeviceGetHandleByIndex(index))
            used[(str(index),)] = float(found.used)
            total[(str(index),)] = float(found.total)
    return used, total


@cache
def _library() -> Any:
    try:
        library = importlib.import_module("pynvml")
    except ImportError:
        return None
    try:
        library.nvmlInit()
    except library.NVMLError:
        return None
    return library
