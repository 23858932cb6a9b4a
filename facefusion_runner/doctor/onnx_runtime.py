"""The ONNX Runtime that is really imported, and the providers that really take a network."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import metadata

from facefusion_runner.doctor.check import Check, one_line
from facefusion_runner.errors import ConfigError
from facefusion_runner.loading import Loaded
from facefusion_runner.models import runtime
from facefusion_runner.models.session import DEVICES, SessionFactory
from facefusion_runner.settings import Settings


def examine(loaded: Loaded[Settings]) -> Iterator[Check]:
    installed = distributions()
    try:
        module = runtime.onnxruntime()
    except ConfigError as error:
        text, _, mend = one_line(error).partition("; mend it with: ")
        yield Check("onnxruntime", "fail", text, mend or runtime.MEND, {"distributions": installed})
        return
    build = runtime.build_of(module)
    healthy = ", ".join(f"{name} {version}" for name, version in installed.items())
    yield Check(
        "onnxruntime",
        "ok",
        f"{build} is imported; installed: {healthy or 'no distribution'}",
        details={
            "package": build.package,
            "version": build.version,
            "cuda": build.cuda,
            "distributions": installed,
        },
    )
    yield from _providers(loaded.settings.device, build)


def distributions() -> dict[str, str]:
    """Installed distributions that are named after ONNX Runtime, and their versions."""
    found = (dist for dist in metadata.distributions() if dist.metadata["Name"])
    names = {dist.metadata["Name"]: dist.version for dist in found}
    return {name: names[name] for name in sorted(names) if name.lower().startswith("onnxruntime")}


def _providers(device: str, build: runtime.Build) -> Iterator[Check]:
    """Each provider is tried with a tiny network; what is only listed as available proves nothing."""
    faults = SessionFactory(device).providers_report()["providers"]
    chosen = DEVICES[device.partition(":")[0]]
    for provider, fault in faults.items():
        details = {"usable": fault is None, "reason": fault}
        if fault is None:
            yield Check(provider, "ok", "a network runs on it", details=details)
        elif provider == chosen[0] and not device.startswith("auto"):
            yield Check(provider, "fail", fault, f"DEVICE={device} asks for it", details)
        elif provider in chosen and build.cuda:
            yield Check(provider, "warn", fault, "networks run on the CPU", details)
        else:
            yield Check(provider, "ok", f"not used: {fault.partition('; ')[0]}", details=details)
