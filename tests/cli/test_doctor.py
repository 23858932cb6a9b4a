"""`doctor` finds out by trying, and says what mends what does not work."""

from __future__ import annotations

import json
import shutil
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from facefusion_runner import doctor
from facefusion_runner.doctor.check import Check
from facefusion_runner.loading import load_settings
from facefusion_runner.settings import Settings
from tests.cli.conftest import REPOSITORY, Program

NAMES = [
    "system",
    "onnxruntime",
    "CPUExecutionProvider",
    "CUDAExecutionProvider",
    "TensorrtExecutionProvider",
    "opencv",
    "pyav",
    "encoders",
    "hardware encoders",
    "decoders",
    "cache root",
    "cache disk",
    "model root",
    "licences",
    "models",
    "networks",
    "settings",
]


def checks_of(output: str) -> dict[str, dict[str, Any]]:
    return {check["name"]: check for check in json.loads(output)["checks"]}


def test_a_machine_that_can_swap_is_ready(program: Program, tiny_models: Path, tmp_path: Path) -> None:
    result = program("doctor", "--json", "--model-root", str(tiny_models), "--cache-max-usage-percent=100")
    assert result.stderr == ""
    checks = checks_of(result.stdout)
    assert [name for name, check in checks.items() if check["state"] == "fail"] == []
    assert (result.returncode, json.loads(result.stdout)["ready"]) == (0, True)
    assert list(checks) == NAMES
    assert checks["opencv"]["details"]["distributions"]
    assert checks["onnxruntime"]["details"]["version"]
    assert checks["CPUExecutionProvider"]["details"] == {"usable": True, "reason": None}
    assert checks["pyav"]["details"]["version"] == metadata.version("av")
    assert checks["encoders"]["details"] == dict.fromkeys(("h264", "hevc", "av1", "vp9"), "ok")
    assert checks["cache root"]["details"]["path"] == str(tmp_path / "cache" / "root")
    assert checks["cache root"]["details"]["locks"] is True
    assert checks["cache disk"]["details"]["free_bytes"] > 0
    assert checks["networks"]["details"]["red"][-1] == "CPUExecutionProvider"
    assert checks["settings"]["details"]["model_root"] == str(tiny_models)


def test_people_get_one_line_a_check_and_a_verdict(program: Program, tiny_models: Path) -> None:
    result = program("doctor", "--model-root", str(tiny_models), "--cache-max-usage-percent", "0")
    lines = result.stdout.splitlines()
    assert lines[-1] == "a swap can run"
    states = {line[5:].split(":")[0]: line[:5].strip() for line in lines[:-2] if not line.startswith("     ")}
    assert list(states) == NAMES
    assert states["cache disk"] == "warn"
    hint = lines[[line[:16] for line in lines].index("warn cache disk:") + 1]
    assert hint.startswith("     above CACHE_MAX_USAGE_PERCENT=0 %")


def test_a_fresh_installation_can_swap(program: Program) -> None:
    result = program("doctor", "--json", env={"OFFLINE": "true"})
    assert (result.returncode, json.loads(result.stdout)["ready"]) == (0, True)
    assert "face_mesh_468" in checks_of(result.stdout)["networks"]["summary"]


def test_a_network_without_weights_fails_with_what_mends_it(program: Program) -> None:
    result = program("doctor", "--json", env={"DETECTOR": "yunet_n_640"})
    checks = checks_of(result.stdout)
    assert (result.returncode, json.loads(result.stdout)["ready"]) == (1, False)
    assert [name for name, check in checks.items() if check["state"] == "fail"] == ["networks"]
    assert "facefusion-runner models pull" in checks["networks"]["summary"]


def test_a_gpu_that_is_asked_for_and_not_usable_fails_with_the_reason(
    program: Program, tiny_models: Path
) -> None:
    result = program("doctor", "--json", "--model-root", str(tiny_models), "--device", "cuda:7")
    checks = checks_of(result.stdout)
    if checks["CUDAExecutionProvider"]["state"] == "ok":
        pytest.skip("this machine has eight GPUs")
    assert result.returncode == 1
    assert checks["CUDAExecutionProvider"]["state"] == "fail"
    assert checks["CUDAExecutionProvider"]["hint"] == "DEVICE=cuda:7 asks for it"
    assert checks["CPUExecutionProvider"]["state"] == "ok"
    assert checks["networks"]["state"] == "fail"


@pytest.mark.parametrize("root", ["/usr/lib", "/proc/nothing/here"])
def test_an_unsafe_or_unwritable_cache_root_fails(program: Program, root: str) -> None:
    checks = checks_of(program("doctor", "--json", "--cache-root", root).stdout)
    assert checks["cache root"]["state"] == "fail"
    assert f"CACHE_ROOT={root}" in checks["cache root"]["summary"]


def test_opencv_without_its_system_library_is_explained(program: Program, tmp_path: Path) -> None:
    broken = tmp_path / "site" / "cv2"
    broken.mkdir(parents=True)
    message = "libGL.so.1: cannot open shared object file: No such file or directory"
    (broken / "__init__.py").write_text(f"raise ImportError({message!r})")
    result = program("doctor", "--json", env={"PYTHONPATH": f"{broken.parent}:{REPOSITORY}"})
    checks = checks_of(result.stdout)
    assert result.returncode == 1
    assert checks["opencv"]["state"] == "fail"
    assert message in checks["opencv"]["summary"]
    assert "apt-get install -y libgl1" in checks["opencv"]["hint"]
    assert "./packaging/opencv-python-headless" in checks["opencv"]["hint"]
    assert checks["cache root"]["state"] == "ok"
    assert "libGL.so.1" in checks["networks"]["summary"]


def test_two_builds_of_onnx_runtime_in_one_folder_are_explained(program: Program, tmp_path: Path) -> None:
    site = tmp_path / "site"
    distribution = site / "onnxruntime_gpu-1.31.1.dist-info"
    distribution.mkdir(parents=True)
    (distribution / "METADATA").write_text("Metadata-Version: 2.1\nName: onnxruntime-gpu\nVersion: 1.31.1\n")
    (distribution / "RECORD").write_text("onnxruntime/__init__.py,,\n")
    installed = metadata.distribution("onnxruntime").locate_file("onnxruntime")
    (site / "onnxruntime").symlink_to(str(installed))
    result = program("doctor", "--json", env={"PYTHONPATH": f"{site}:{REPOSITORY}"})
    check = checks_of(result.stdout)["onnxruntime"]
    assert result.returncode == 1
    assert check["state"] == "fail"
    assert "onnxruntime-gpu 1.31.1" in check["summary"]
    assert "pip uninstall -y onnxruntime onnxruntime-gpu && pip install -r requirements/" in check["hint"]
    assert check["details"]["distributions"]["onnxruntime-gpu"] == "1.31.1"


def test_a_damaged_model_is_named(program: Program, tiny_models: Path, tmp_path: Path) -> None:
    root = tmp_path / "models"
    shutil.copytree(tiny_models, root)
    with (root / "catalog.toml").open("a") as catalog:
        catalog.write(
            '[[models]]\nid = "rotten"\nrole = "encoder"\nfamily = "arcface"\nfile = "red.onnx"\n'
            f'licence = "apache-2.0"\nsha256 = "{"0" * 64}"\n'
        )
    check = checks_of(program("doctor", "--json").stdout)["models"]
    assert check["state"] == "warn"
    assert "damaged: rotten" in check["summary"]
    assert check["hint"] == "facefusion-runner models pull rotten"
    assert "red" in check["details"]["present"]


def test_an_unknown_licence_and_a_bad_schedule_are_named(program: Program) -> None:
    environ = {"MODEL_LICENSES_ACCEPTED": "no-such", "SWEEP_SCHEDULE": "soon"}
    checks = checks_of(program("doctor", "--json", env=environ).stdout)
    assert "'no-such' is unknown" in checks["catalog"]["summary"]
    assert checks["sweep schedule"]["state"] == "warn"
    assert checks["sweep schedule"]["summary"].startswith("SWEEP_SCHEDULE='soon'")


def test_a_malformed_setting_ends_in_2(program: Program) -> None:
    result = program("doctor", "--cache-ttl-seconds", "5m")
    assert (result.returncode, result.stdout) == (2, "")


def test_a_check_that_breaks_does_not_hide_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(loaded: object) -> list[Check]:
        raise OSError("disk\ngone")

    def sound(loaded: object) -> list[Check]:
        return [Check("sound", "ok", "fine")]

    monkeypatch.setattr(doctor, "SUBJECTS", (broken, sound))
    checks = list(doctor.examine(load_settings({}, None, {}, Settings)))
    assert [check.state for check in checks] == ["fail", "ok"]
    assert checks[0].summary == "the check itself broke: OSError: disk gone"
    assert not doctor.can_swap(checks)


def test_the_encoders_of_the_settings_are_those_of_the_writer() -> None:
    from facefusion_runner.media.encoders import ENCODERS

    for name in ENCODERS:
        assert Settings(video_encoder=name).video_encoder == name  # type: ignore[arg-type]
