"""The ONNX Runtime that is really imported, and the providers that really take a network."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import metadata
from typing import Any

from facefusion_runner.doctor.check import Check, State, one_line
from facefusion_runner.errors import ConfigError
from facefusion_runner.loading import Loaded
from facefusion_runner.models import runtime
from facefusion_runner.models.session import CPU, DEVICES

# Runs on any machine: a provider without a kernel or a service for one node proves nothing.
REMOTE = "AzureExecutionProvider"


def examine(loaded: Loaded) -> Iterator[Check]:
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
    yield from _providers(module, loaded.settings.device)


def distributions() -> dict[str, str]:
    """Installed distributions that are named after ONNX Runtime, and their versions."""
    found = (dist for dist in metadata.distributions() if dist.metadata["Name"])
    names = {dist.metadata["Name"]: dist.version for dist in found}
    return {name: names[name] for name in sorted(names) if name.lower().startswith("onnxruntime")}


def _providers(module: Any, device: str) -> Iterator[Check]:
    name, _, index = device.partition(":")
    wanted = DEVICES[name][0]
    offered = [provider for provider in module.get_available_providers() if provider != REMOTE]
    if wanted not in offered and name != "auto":
        offered = [wanted, *offered]
    for provider in offered:
        used = provider_used(module, provider, int(index or 0))
        if provider in used[:1]:
            yield Check(provider, "ok", "a network runs on it", details={"used": used})
            continue
        reason = (
            "it did not take a network" if provider == CPU else runtime.gpu_fault(provider, int(index or 0))
        )
        asked = name != "auto" and provider == wanted
        state: State = "fail" if asked or provider == CPU else "warn"
        note = f"DEVICE={device} asks for it" if asked else "networks run on the CPU"
        yield Check(provider, state, reason, note, {"used": used})


def provider_used(module: Any, provider: str, index: int) -> list[str]:
    """The providers of a session of one small convolution that asks for `provider`; [] when it fails."""
    if provider not in module.get_available_providers():
        return []
    options = module.SessionOptions()
    options.log_severity_level = 4
    device = {} if provider == CPU else {"device_id": str(index)}
    try:
        session = module.InferenceSession(_convolution(), options, [(provider, device)], enable_fallback=0)
        _run(session)
    except Exception:
        return []
    return list(session.get_providers())


def _convolution() -> bytes:
    import onnx
    from onnx import TensorProto, helper

    node = helper.make_node("Conv", ["x", "w"], ["y"])
    graph = helper.make_graph(
        [node],
        "probe",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 1, 6, 6])],
        [helper.make_tensor("w", TensorProto.FLOAT, [1, 1, 3, 3], [1.0] * 9)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def _run(session: Any) -> None:
    import numpy as np

    output = session.run(None, {"x": np.ones((1, 1, 8, 8), np.float32)})[0]
    if not np.array_equal(output, np.full((1, 1, 6, 6), 9, np.float32)):
        raise RuntimeError("the network's output is wrong")
