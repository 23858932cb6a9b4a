"""The one place that makes ONNX Runtime sessions."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from facefusion_runner.cores import cpu_quota
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

    def __init__(self, entry: ModelEntry, path: Path, network: Any, load_seconds: float = 0.0) -> None:
        self.entry = entry
        self.path = path
        self.load_seconds = load_seconds
        """How long loading took; 0 where the network was loaded already."""
        self.inputs = tuple(network.get_inputs())
        """Each with name, shape (int, or a name for a free axis) and type."""
        self.outputs = tuple(network.get_outputs())
        self.providers: tuple[str, ...] = tuple(network.get_providers())
        """The execution providers really in use, first the preferred one."""
        self._network = network
        self._lock = threading.Lock()
        self._seconds = 0.0
        self._calls = 0

    def shared(self, entry: ModelEntry) -> Session:
        """Another session around the same network, with counts of its own."""
        return Session(entry, self.path, self._network)

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


class _Refused(Exception):
    """The execution provider is not used; the text is ONNX Runtime's reason where it gives one."""


class _Unreadable(Exception):
    """ONNX Runtime cannot load the file; the text says why."""


OpenModel = Callable[[str], Session]
"""Takes a model's id and gives its loaded session."""


class SessionOpener(Protocol):
    """Whatever gives the session of a model's file."""

    def open(self, entry: ModelEntry, path: Path) -> Session: ...


class SessionFactory:
    """Opens sessions on one device, and makes sure that they really run there.

    device: `auto`, `cpu`, `cuda` or `tensorrt`, a GPU's with `:N` for the Nth, counted from 0. threads: of
    one network on the CPU, 0 for as many as this process may use. warn: takes the one line that says
    what `auto` fell back to and why.
    """

    def __init__(
        self,
        device: str = "auto",
        threads: int = 0,
        *,
        warn: Callable[[str], None] = _log.warning,
    ) -> None:
        name, colon, index = device.partition(":")
        if name not in DEVICES or (colon and (not index.isdecimal() or CUDA not in DEVICES[name])):
            allowed = f"{', '.join(DEVICES)}, and cuda:1 for the second GPU"
            raise ConfigError(f"device {device!r} is unknown; allowed are {allowed}")
        self.device = name
        self.device_index = int(index or 0)
        # ONNX Runtime looks at the processor only: in a container limited to 2 of 64 cores it would start 64
        # threads that are then throttled. 0 leaves the choice to it.
        self.threads = threads or cpu_quota()
        self._warn = warn
        self._lock = threading.Lock()
        self._fallen_back = False

    def open(self, entry: ModelEntry, path: Path) -> Session:
        """Loads the network of `entry` from `path`.

        ModelError: the file is missing or no network. DeviceError: the GPU asked for is not used.
        ConfigError: the ONNX Runtime installed is not sound.
        """
        started = time.perf_counter()
        wanted = (CPU,) if self._fallen_back else DEVICES[self.device]
        try:
            try:
                network = self._create(str(path), wanted)
            except _Refused as refusal:
                self._fall_back(wanted[0], refusal)
                network = self._create(str(path), (CPU,))
        except _Unreadable as fault:
            raise ModelError(
                f"model {entry.id}: {path} is not a network that can be loaded ({fault}); "
                f"fetch it again with: facefusion-runner models pull {entry.id}"
            ) from fault
        return Session(entry, path, network, time.perf_counter() - started)

    def check_device(self) -> None:
        """Raises DeviceError when a device that was asked for cannot be used; `auto` can always."""
        if self.device != "auto":
            try:
                self._create(_identity_network(), DEVICES[self.device])
            except _Refused as refusal:
                self._fall_back(DEVICES[self.device][0], refusal)

    def providers_report(self) -> dict[str, Any]:
        """What runs where, for people who look for a fault: each provider is tried with a tiny network.

        `providers` maps a provider's name to None if it works, else to the reason why not.
        """
        build = runtime.build_of(runtime.onnxruntime())
        return {
            "device": self.device,
            "build": build.package,
            "version": build.version,
            "cuda": build.cuda,
            "threads": self.threads,
            "providers": {name: self._fault(name) for name in (CPU, CUDA, TENSORRT)},
        }

    def _fault(self, provider: str) -> str | None:
        try:
            self._create(_identity_network(), (provider,))
        except _Refused as refusal:
            return self._why(provider, refusal)
        return None

    def _fall_back(self, provider: str, refusal: _Refused) -> None:
        """Says why `provider` is not used: as a warning for `auto`, else as DeviceError."""
        reason = self._why(provider, refusal)
        if self.device != "auto":
            raise DeviceError(f"device {self.device} cannot be used: {reason}")
        with self._lock:
            first, self._fallen_back = not self._fallen_back, True
        if first:
            self._warn(f"running on the CPU: {reason}")

    def _why(self, provider: str, refusal: _Refused) -> str:
        fault = runtime.gpu_fault(provider, self.device_index)
        return fault or str(refusal) or f"ONNX Runtime does not take {provider} and gives no reason"

    def _create(self, model: str | bytes, wanted: tuple[str, ...]) -> Any:
        """The network of a path or of bytes on the first of `wanted`; `_Refused` or `_Unreadable`."""
        ort = runtime.onnxruntime()
        if wanted[0] not in ort.get_available_providers():
            raise _Refused
        providers = [(name, {} if name == CPU else {"device_id": str(self.device_index)}) for name in wanted]
        try:
            # Without enable_fallback=0 a GPU that fails later would silently become the CPU.
            network = ort.InferenceSession(model, self._options(ort), providers, enable_fallback=0)
        except Exception as error:
            # ONNX Runtime has no class of its own for a provider's failure.
            if wanted[0] == CPU or "Load model" in str(error):
                raise _Unreadable(_reason(error)) from error
            raise _Refused(_reason(error)) from error
        if network.get_providers()[0] != wanted[0]:
            raise _Refused
        return network

    def _options(self, ort: Any) -> Any:
        options = ort.SessionOptions()
        options.intra_op_num_threads = self.threads
        # Idle threads that spin take the cores from the other stages. Asleep, SCRFD and ArcFace in turn
        # need 40 % less processor time on two cores, in the same wall time or less.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        return options


def _identity_network() -> bytes:
    from onnx import TensorProto, helper  # slow to import, and only needed here

    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "probe", ends[:1], ends[1:])
    opset = helper.make_opsetid("", 17)
    network: bytes = helper.make_model(graph, ir_version=8, opset_imports=[opset]).SerializeToString()
    return network


def _reason(error: Exception) -> str:
    """ONNX Runtime's message without its prefix, the path it repeats and what follows the first line."""
    text = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    for prefix in ("[ONNXRuntimeError] : ", "failed:"):
        _, found, rest = text.partition(prefix)
        text = rest if found else text
    return text.strip().rstrip(".")
