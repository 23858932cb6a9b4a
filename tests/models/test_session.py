"""Sessions run where they were asked to, and bad files and devices end in one line."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from facefusion_runner import cores
from facefusion_runner.errors import ConfigError, DeviceError, ModelError, RunnerError
from facefusion_runner.models import runtime
from facefusion_runner.models.catalog import ModelEntry
from facefusion_runner.models.session import SessionFactory

ENTRY = ModelEntry(id="net", role="detector", family="scrfd", file="net.onnx", licence="mit")

without_cuda = pytest.mark.skipif(
    "CUDAExecutionProvider" in onnxruntime.get_available_providers(),
    reason="is about an ONNX Runtime that is built without CUDA",
)


@pytest.fixture
def network(tmp_path: Path) -> Path:
    """y = x + x for (n, 3)."""
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 3]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Add", ["x", "x"], ["y"])], "double", ends[:1], ends[1:])
    opset = helper.make_opsetid("", 17)
    path = tmp_path / "net.onnx"
    onnx.save(helper.make_model(graph, ir_version=8, opset_imports=[opset]), path)
    return path


def test_a_network_runs_and_says_what_it_takes(network: Path) -> None:
    opened = SessionFactory("cpu").open(ENTRY, network)
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    (y,) = opened.run({"x": x})
    assert np.array_equal(y, x + x)
    assert opened.inputs[0].name == "x" and opened.inputs[0].shape == ["n", 3]
    assert opened.outputs[0].name == "y" and opened.outputs[0].type == "tensor(float)"
    assert opened.entry is ENTRY and opened.path == network
    assert opened.providers == ("CPUExecutionProvider",)


def test_runs_are_counted_from_every_thread(network: Path) -> None:
    opened = SessionFactory("cpu", threads=1).open(ENTRY, network)
    x = np.ones((1, 3), np.float32)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: opened.run({"x": x}), range(400)))
    assert opened.calls == 400
    assert opened.seconds > 0


@pytest.mark.parametrize(
    "feeds",
    [{}, {"z": np.ones((1, 3), np.float32)}, {"x": np.ones(3, np.float32)}, {"x": np.ones((1, 3))}],
    ids=["none", "unknown", "rank", "type"],
)
def test_a_run_that_fails_names_the_model(network: Path, feeds: dict[str, np.ndarray]) -> None:
    opened = SessionFactory("cpu").open(ENTRY, network)
    with pytest.raises(RunnerError, match="model net failed while it ran: ") as caught:
        opened.run(feeds)
    assert "\n" not in str(caught.value) and "ONNXRuntimeError" not in str(caught.value)
    assert opened.calls == 0


def broken_files(network: Path) -> dict[str, bytes]:
    whole = network.read_bytes()
    graph = onnx.load(network)
    graph.graph.node[0].op_type = "NoSuchOperator"
    external = onnx.load(network)
    external.graph.node[0].input[1] = "w"
    tensor = external.graph.initializer.add(name="w", data_type=TensorProto.FLOAT, dims=[3])
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="gone.bin")
    return {
        "empty": b"",
        "text": b"hello, this is no network\n" * 100,
        "page": b"<!DOCTYPE html><html><body>404 not found</body></html>",
        "truncated": whole[: len(whole) // 2],
        "zeros": bytes(10_000),
        "unknown operator": graph.SerializeToString(),
        "without its data": external.SerializeToString(),
    }


def test_a_file_that_is_no_network_is_one_line(network: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for kind, content in broken_files(network).items():
        path = network.with_name("broken.onnx")
        path.write_bytes(content)
        for device in ("cpu", "auto"):
            with pytest.raises(ModelError) as caught:
                SessionFactory(device, warn=lambda _: None).open(ENTRY, path)
                pytest.fail(f"{kind} was loaded")
            message = str(caught.value)
            assert message.startswith(f"model net: {path} is not a network that can be loaded ("), kind
            assert message.endswith("facefusion-runner models pull net"), kind
            assert "\n" not in message and "[ONNXRuntimeError]" not in message, kind
    assert capfd.readouterr() == ("", "")


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="File doesn't exist"):
        SessionFactory("cpu").open(ENTRY, tmp_path / "none.onnx")


@pytest.mark.parametrize("device", ["gpu", "CUDA", "", "cpu:1", "cuda:", "cuda:x", "cuda:-1"])
def test_an_unknown_device_names_those_that_exist(device: str) -> None:
    with pytest.raises(ConfigError, match="allowed are auto, cpu, cuda, tensorrt"):
        SessionFactory(device)


@without_cuda
@pytest.mark.parametrize("device", ["cuda", "cuda:1", "tensorrt"])
def test_a_gpu_that_was_asked_for_and_is_not_used_is_an_error(network: Path, device: str) -> None:
    with pytest.raises(DeviceError, match=r"cannot be used: .* is built without .*pip install") as caught:
        SessionFactory(device).open(ENTRY, network)
    assert "\n" not in str(caught.value)


@without_cuda
def test_auto_falls_back_to_the_cpu_and_says_so_once(
    network: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    warnings: list[str] = []
    factory = SessionFactory("auto", warn=warnings.append)
    for _ in range(3):
        assert factory.open(ENTRY, network).providers == ("CPUExecutionProvider",)
    assert len(warnings) == 1
    assert warnings[0].startswith("running on the CPU: ") and "is built without" in warnings[0]
    assert capfd.readouterr() == ("", "")


@without_cuda
def test_threads_that_open_at_once_give_one_warning(network: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    both_are_falling_back = threading.Barrier(2)

    def gpu_fault(provider: str, device_index: int) -> str | None:
        both_are_falling_back.wait(10)
        return real_gpu_fault(provider, device_index)

    real_gpu_fault = runtime.gpu_fault
    monkeypatch.setattr(runtime, "gpu_fault", gpu_fault)
    warnings: list[str] = []
    factory = SessionFactory("auto", warn=warnings.append)
    with ThreadPoolExecutor(2) as pool:
        opened = list(pool.map(lambda _: factory.open(ENTRY, network), range(2)))
    assert [session.providers for session in opened] == [("CPUExecutionProvider",)] * 2
    assert len(warnings) == 1


def test_onnxruntime_writes_nothing_of_its_own(network: Path, capfd: pytest.CaptureFixture[str]) -> None:
    # By default it warns of an initializer that no node uses.
    graph = onnx.load(network)
    graph.graph.initializer.append(onnx.numpy_helper.from_array(np.ones(3, np.float32), "idle"))
    onnx.save(graph, network)
    SessionFactory("cpu").open(ENTRY, network)
    assert capfd.readouterr() == ("", "")


class BuiltForGpus:
    """As onnxruntime-gpu behaves without a usable GPU: it claims CUDA, and silently runs on the CPU."""

    SessionOptions = onnxruntime.SessionOptions
    __name__ = "onnxruntime"
    __file__ = onnxruntime.__file__

    def get_available_providers(self) -> list[str]:
        return ["CUDAExecutionProvider", "CPUExecutionProvider"]

    def InferenceSession(self, model: str, options: object, providers: object, **flags: object) -> object:
        return onnxruntime.InferenceSession(model, options, ["CPUExecutionProvider"])


@without_cuda
def test_a_gpu_that_is_silently_not_used_is_found_out(network: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "onnxruntime", BuiltForGpus)
    with pytest.raises(DeviceError, match="device cuda cannot be used: "):
        SessionFactory("cuda").open(ENTRY, network)
    warnings: list[str] = []
    opened = SessionFactory("auto", warn=warnings.append).open(ENTRY, network)
    assert opened.providers == ("CPUExecutionProvider",) and len(warnings) == 1


def test_the_cpu_asked_for_needs_no_warning(network: Path) -> None:
    warnings: list[str] = []
    SessionFactory("cpu", warn=warnings.append).open(ENTRY, network)
    assert not warnings


def test_the_report_tells_what_works_and_why_the_rest_does_not() -> None:
    report = SessionFactory("auto").providers_report()
    assert report["build"] in {"onnxruntime", "onnxruntime-gpu"}
    assert report["version"] == onnxruntime.__version__
    assert report["providers"]["CPUExecutionProvider"] is None
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        assert "is built without" in report["providers"]["CUDAExecutionProvider"]


def distribution(site: Path, name: str, version: str, *files: str) -> metadata.Distribution:
    info = site / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (info / "RECORD").write_text("".join(f"{file},,\n" for file in files))
    return metadata.Distribution.at(info)


@pytest.mark.parametrize("last", ["onnxruntime", "onnxruntime-gpu"])
def test_two_builds_in_one_folder_are_refused(tmp_path: Path, last: str) -> None:
    build = runtime.Build(last, "1.31.1", "13.0", tmp_path / "onnxruntime")
    installed = [
        distribution(tmp_path, "onnxruntime", "1.32.0", "onnxruntime/__init__.py"),
        distribution(tmp_path, "onnxruntime-gpu", "1.31.1", "onnxruntime/__init__.py"),
    ]
    with pytest.raises(ConfigError, match="pip uninstall -y onnxruntime onnxruntime-gpu && ") as caught:
        runtime.check_owners(build, installed)
    assert "onnxruntime 1.32.0 and onnxruntime-gpu 1.31.1" in str(caught.value)


def test_a_folder_that_another_build_overwrote_is_refused(tmp_path: Path) -> None:
    build = runtime.Build("onnxruntime", "1.32.0", None, tmp_path / "onnxruntime")
    installed = [distribution(tmp_path, "onnxruntime-gpu", "1.31.1", "onnxruntime/__init__.py")]
    with pytest.raises(ConfigError, match=r"what runs is onnxruntime 1\.32\.0"):
        runtime.check_owners(build, installed)


def test_the_empty_stand_in_beside_the_gpu_build_is_sound(tmp_path: Path) -> None:
    build = runtime.Build("onnxruntime-gpu", "1.31.1", "13.0", tmp_path / "onnxruntime")
    runtime.check_owners(
        build,
        [
            distribution(tmp_path, "onnxruntime", "1.31.1+gpu"),
            distribution(tmp_path, "onnxruntime-gpu", "1.31.1", "onnxruntime/__init__.py"),
        ],
    )


def test_a_build_in_another_folder_does_not_count(tmp_path: Path) -> None:
    build = runtime.Build("onnxruntime-gpu", "1.31.1", "13.0", tmp_path / "a" / "onnxruntime")
    runtime.check_owners(
        build,
        [
            distribution(tmp_path / "b", "onnxruntime", "1.32.0", "onnxruntime/__init__.py"),
            distribution(tmp_path / "a", "onnxruntime-gpu", "1.31.1", "onnxruntime/__init__.py"),
        ],
    )


@pytest.mark.parametrize("kind", ["ruin", "failing"])
def test_a_ruined_onnxruntime_names_the_pip_command(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "onnxruntime"
    folder.mkdir()
    (folder / "__init__.py").write_text("" if kind == "ruin" else "raise ImportError('libonnxruntime.so')")
    code = "from facefusion_runner.models.session import SessionFactory; SessionFactory().providers_report()"
    path = [str(tmp_path), *sys.path]
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path = {path!r}; {code}"], capture_output=True, text=True
    )
    last = done.stderr.strip().splitlines()[-1]
    assert "ConfigError: onnxruntime cannot be imported" in last and "pip uninstall -y" in last


@pytest.mark.parametrize(
    ("text", "threads"),
    [("max 100000\n", 0), ("50000 100000\n", 1), ("100000000 100000\n", 0), ("nonsense", 0)],
)
def test_a_control_groups_quota_limits_the_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, threads: int
) -> None:
    (tmp_path / "cpu.max").write_text(text)
    monkeypatch.setattr(cores, "CPU_QUOTA", tmp_path / "cpu.max")
    assert SessionFactory("cpu").threads == threads
    assert SessionFactory("cpu", threads=3).threads == 3


def test_nothing_is_noted_or_reported_about_the_user(network: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    script = (
        "import sys; from pathlib import Path\n"
        "from facefusion_runner.models.catalog import ModelEntry\n"
        "from facefusion_runner.models.session import SessionFactory\n"
        f"entry = ModelEntry.model_validate({ENTRY.model_dump(mode='json')!r})\n"
        "SessionFactory('cpu').open(entry, Path(sys.argv[1]))\n"
    )
    # ONNX Runtime keeps quiet by itself where it takes the machine for a test runner.
    environ = {"PATH": os.environ["PATH"], "HOME": str(home), "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", script, str(network)], env=environ, timeout=60, check=True)
    assert list(home.rglob("*")) == []
