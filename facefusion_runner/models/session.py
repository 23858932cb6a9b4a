"""The one place that makes ONNX Runtime sessions."""

from __future__ import annotations

import logging
import math
import os
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from facefusion_runner.errors import ConfigError, DeviceError, ModelError, RunnerError
from facefusion_runner.models import runtime
from facefusion_runner.models.catalog import ModelEntry

_log = logging.getLogger(__name__)

CPU: Final = "CPUExecutionProvider"
CUDA: Final = "CUDAExecutionProvider"
TENSORRT: Final = "TensorrtExecutionProvider"

DEVICES: Final = MappingProxyType(
    {
        "auto": (CUDA, CPU),
        "cpu": (CPU,),
        "cuda": (CUDA, CPU),
        "tensorrt": (TENSORRT, CUDA, CPU),
    }
)
"""Execution providers in order of preference; the CPU takes the nodes that a GPU has no kernel for."""


class Session:
    """A network that is loaded and ready to run. `run` may be called from several threads."""

    def __init__(self, entry: ModelEntry, path: Path, network: Any) -> None:
        self.entry = entry
        self.path = path
        self.inputs = tuple(network.get_inputs())
        """Each with name, shape (int, or a name for a free axis) and type."""
        self.outputs = tuple(network.get_outputs())
        self.providers: tuple[str, ...] = tuple(network.get_providers())
        """The execution providers really in use, first the preferred one."""
        self._network = network
        self._lock = threading.Lock()
        self._seconds = 0.0
        self._calls = 0

    @property
    def seconds(self) -> float:
        """Time spent inside the network so far, summed over all threads."""
        return self._seconds

    @property
    def calls(self) -> int:
        """How often the network has run."""
        return self._calls

    def run(self, feeds: Mapping[str, NDArray[Any]]) -> list[NDArray[np.float32]]:
        """All outputs in the graph's order. RunnerError naming the model if the network fails."""
        started = time.perf_counter()
        try:
            outputs = self._network.run(None, dict(feeds))
        except Exception as error:
            raise RunnerError(f"model {self.entry.id} failed while it ran: {_reason(error)}") from error
        spent = time.perf_counter() - started
        with self._lock:
            self._seconds += spent
            self._calls += 1
        return list(outputs)


OpenModel = Callable[[str], Session]
"""Takes a model's id and gives its loaded session."""


class SessionFactory:
    """Opens sessions on one device, and makes sure that they really run there.

    device: `auto`, `cpu`, `cuda` or `tensorrt`; device_index: which GPU. threads: of one network on the
    CPU, 0 for as many as this process may use. warn: takes the one line that says what `auto` fell
    back to and why.
    """

    def __init__(
        self,
        device: str = "auto",
        threads: int = 0,
        *,
        device_index: int = 0,
        warn: Callable[[str], None] = _log.warning,
    ) -> None:
        if device not in DEVICES:
            raise ConfigError(f"device {device!r} is unknown; allowed are {', '.join(DEVICES)}")
        self.device = device
        self.device_index = device_index
        self.threads = threads or _cpu_quota()
        self._warn = warn
        self._lock = threading.Lock()
        self._fallback: str | None = None

    def open(self, entry: ModelEntry, path: Path) -> Session:
        """Loads the network of `entry` from `path`.

        ModelError: the file is missing or no network. DeviceError: the GPU asked for is not used.
        ConfigError: the ONNX Runtime installed is not sound.
        """
        wanted = DEVICES[self.device]
        if self._fallback is not None:
            wanted = (CPU,)
        network = self._create(entry, path, wanted)
        if network is None:
            network = self._fall_back(entry, path, wanted[0])
        return Session(entry, path, network)

    def providers_report(self) -> dict[str, Any]:
        """What would run where: the build, its providers, and for each GPU provider why it cannot be used."""
        ort = runtime.onnxruntime()
        build = runtime.build_of(ort)
        return {
            "device": self.device,
            "build": build.package,
            "version": build.version,
            "cuda": build.cuda,
            "compiled_in": list(ort.get_available_providers()),
            "threads": self.threads,
        }

    def _fall_back(self, entry: ModelEntry, path: Path, provider: str) -> Any:
        reason = runtime.gpu_fault(provider, self.device_index)
        if self.device != "auto":
            raise DeviceError(f"device {self.device} cannot be used: {reason}")
        with self._lock:
            if self._fallback is None:
                self._fallback = reason
                self._warn(f"running on the CPU: {reason}")
        return self._create(entry, path, (CPU,))

    def _create(self, entry: ModelEntry, path: Path, wanted: tuple[str, ...]) -> Any:
        """The network on the first of `wanted`, or None if ONNX Runtime did not take that provider."""
        ort = runtime.onnxruntime()
        if wanted[0] not in ort.get_available_providers():
            return None
        providers = [(name, {} if name == CPU else {"device_id": str(self.device_index)}) for name in wanted]
        try:
            # Without enable_fallback=0 a GPU that fails later would silently become the CPU.
            network = ort.InferenceSession(str(path), self._options(ort), providers, enable_fallback=0)
        except Exception as error:
            if wanted[0] != CPU and "Load model" not in str(error):
                return None
            raise ModelError(
                f"model {entry.id}: {path} is not a network that can be loaded ({_reason(error)}); "
                f"fetch it again with: facefusion-runner models pull {entry.id}"
            ) from error
        return network if network.get_providers()[0] == wanted[0] else None

    def _options(self, ort: Any) -> Any:
        options = ort.SessionOptions()
        options.intra_op_num_threads = self.threads
        options.log_severity_level = 4
        return options


def _cpu_quota() -> int:
    """Cores that the control group grants where that is fewer than there are, else 0.

    ONNX Runtime looks at the processor only: in a container limited to 2 of 64 cores it would start 64
    threads that are then throttled. 0 leaves the choice to it.
    """
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        cores = math.ceil(int(quota) / int(period))
    except (OSError, ValueError):
        return 0
    return cores if cores < len(os.sched_getaffinity(0)) else 0


def _reason(error: Exception) -> str:
    """ONNX Runtime's message without its prefix, the path it repeats and what follows the first line."""
    text = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    for prefix in ("[ONNXRuntimeError] : ", "failed:"):
        _, found, rest = text.partition(prefix)
        text = rest if found else text
    return text.strip().rstrip(".")
