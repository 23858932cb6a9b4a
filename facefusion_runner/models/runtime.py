"""Which ONNX Runtime is installed, whether it is sound, and why a GPU cannot be used."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import importlib
import io
import os
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from facefusion_runner.errors import ConfigError

MEND: Final = (
    "pip uninstall -y onnxruntime onnxruntime-gpu && pip install -r requirements/gpu.txt "
    "(requirements/cpu.txt without an NVIDIA GPU)"
)

PROVIDER_LIBRARIES: Final = MappingProxyType(
    {
        "CUDAExecutionProvider": "libonnxruntime_providers_cuda.so",
        "TensorrtExecutionProvider": "libonnxruntime_providers_tensorrt.so",
    }
)


@dataclass(frozen=True, slots=True)
class Build:
    """The ONNX Runtime build that `import onnxruntime` gives."""

    package: str
    """`onnxruntime`, `onnxruntime-gpu`, …, as the build itself says."""
    version: str
    cuda: str | None
    """The CUDA version it was built with; None: a build without CUDA."""
    folder: Path

    def __str__(self) -> str:
        return f"{self.package} {self.version}"


@functools.cache
def onnxruntime() -> Any:
    """The module, once it is known to be the work of one distribution; GPU libraries are loaded.

    ConfigError: it is missing, cannot be imported, or two distributions have written its folder.
    """
    # The official builds report models and machine to their maker (a file below ~/.cache, HTTPS) unless
    # this is set before they are loaded; `disable_telemetry_events` comes too late.
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    try:
        module = importlib.import_module("onnxruntime")
        build = build_of(module)
    except (ImportError, AttributeError) as error:
        raise ConfigError(
            f"onnxruntime cannot be imported ({_one_line(error)}); mend it with: {MEND}"
        ) from error
    check_owners(build, metadata.distributions())
    # Above FATAL nothing is written: ONNX Runtime's own lines would repeat what our one line says.
    module.set_default_logger_severity(4)
    if build.cuda:
        # preload_dlls prints what it misses instead of raising; `gpu_fault` finds the reason again.
        with contextlib.redirect_stdout(io.StringIO()):
            module.preload_dlls()
    return module


def build_of(module: Any) -> Build:
    """What an imported `onnxruntime` says about itself; AttributeError or ImportError if it is a ruin."""
    info = importlib.import_module(module.__name__ + ".capi.build_and_package_info")
    return Build(
        package=info.package_name,
        version=info.__version__,
        cuda=getattr(info, "cuda_version", None) or None,
        folder=Path(module.InferenceSession and module.__file__).parent,
    )


def check_owners(build: Build, installed: Iterable[metadata.Distribution]) -> None:
    """ConfigError unless exactly the distribution that `build` names has written the module's folder.

    `onnxruntime` and `onnxruntime-gpu` write the same folder and the last one wins, so a GPU may
    silently not be used. The empty `onnxruntime` of packaging/ writes nothing and is no owner.
    """
    owners = {
        dist.name.lower().replace("_", "-"): dist.version
        for dist in installed
        if _has_written(dist, build.folder)
    }
    if not owners or set(owners) == {build.package.lower()}:
        return
    names = " and ".join(f"{name} {version}" for name, version in sorted(owners.items()))
    raise ConfigError(
        f"{build.folder} was written by {names}, and what runs is {build}; mend it with: {MEND}"
    )


def gpu_fault(provider: str, device_index: int) -> str | None:
    """Why `provider` (a GPU's) cannot be used here, in one line with what mends it; None if it seems fine."""
    module = onnxruntime()
    build = build_of(module)
    if provider not in module.get_available_providers():
        return f"{build} is built without {provider}; install the GPU build with: {MEND}"
    return _driver_fault(build, device_index) or _library_fault(build, provider)


def _driver_fault(build: Build, device_index: int) -> str | None:
    try:
        cuda = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return "there is no NVIDIA driver (libcuda.so.1); a container gets it with: docker run --gpus all"
    if code := cuda.cuInit(0):
        return f"the NVIDIA driver finds no GPU it can use (cuInit returned {code})"
    count, version = ctypes.c_int(), ctypes.c_int()
    cuda.cuDeviceGetCount(ctypes.byref(count))
    cuda.cuDriverGetVersion(ctypes.byref(version))
    if device_index >= count.value:
        return f"there is no GPU {device_index}: the driver finds {count.value}, numbered from 0"
    # The driver counts in thousands and tens: 13000 is CUDA 13.0.
    if build.cuda and version.value // 1000 < int(build.cuda.split(".")[0]):
        return (
            f"the NVIDIA driver is for CUDA {version.value // 1000}.{version.value % 1000 // 10}, "
            f"{build} needs a driver for CUDA {build.cuda}"
        )
    return None


def _library_fault(build: Build, provider: str) -> str | None:
    folder = build.folder / "capi"
    try:
        ctypes.CDLL(str(folder / "libonnxruntime_providers_shared.so"), ctypes.RTLD_GLOBAL)
        ctypes.CDLL(str(folder / PROVIDER_LIBRARIES[provider]))
    except OSError as error:
        command = f"pip install '{build.package}[cuda,cudnn]=={build.version}'"
        if provider == "TensorrtExecutionProvider":
            command = "pip install tensorrt, and " + command
        return f"{_one_line(error)}; install the missing libraries with: {command}"
    return None


def _has_written(dist: metadata.Distribution, folder: Path) -> bool:
    name = dist.metadata["Name"]
    if not name or not name.lower().startswith("onnxruntime"):
        return False
    in_record = "onnxruntime/__init__.py," in (dist.read_text("RECORD") or "")
    return in_record and Path(str(dist.locate_file("onnxruntime"))).resolve() == folder.resolve()


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
