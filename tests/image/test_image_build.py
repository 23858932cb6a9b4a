"""What is in the image, what is not, and how it is rebuilt."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pip
import pytest

from facefusion_runner import __version__
from tests.image.conftest import REPOSITORY, Build
from tests.support.containers import docker, run

CONTEXT = (
    *(".dockerignore", "Dockerfile", "LICENSE", "NOTICE", "README.md", "entrypoint.sh", "healthcheck.sh"),
    *("facefusion_runner", "packaging", "pyproject.toml", "requirements", "sweeper"),
)


@pytest.fixture(scope="module")
def config(image: str) -> dict[str, Any]:
    """What the image says of itself."""
    return dict(json.loads(docker("image", "inspect", image))[0]["Config"])


@pytest.fixture
def context(tmp_path: Path) -> Path:
    """A copy of what the image is built from."""
    for name in CONTEXT:
        copy = shutil.copytree if (REPOSITORY / name).is_dir() else shutil.copy2
        copy(REPOSITORY / name, tmp_path / name)
    return tmp_path


def test_it_says_what_it_is(config: dict[str, Any]) -> None:
    labels = {name.rpartition(".")[2]: text for name, text in config["Labels"].items()}
    assert labels["title"] == "facefusion-runner"
    assert labels["licenses"] == "Apache-2.0"
    assert labels["version"] == __version__
    assert labels["revision"]
    assert labels["description"]


def test_models_and_data_are_volumes_and_the_state_lies_outside_the_cache(config: dict[str, Any]) -> None:
    environment = dict(pair.split("=", 1) for pair in config["Env"])
    assert sorted(config["Volumes"]) == [environment["DATA_ROOT"], environment["MODEL_ROOT"]]
    assert (environment["DATA_ROOT"], environment["MODEL_ROOT"]) == ("/data", "/models")
    assert environment["CACHE_ROOT"] == "/tmp/facefusion/cache"
    assert environment["SWEEP_STATE_ROOT"] == "/var/lib/facefusion/sweeper"


def test_it_is_stopped_by_sigterm_under_tini_and_has_a_health_check(config: dict[str, Any]) -> None:
    assert config["StopSignal"] == "SIGTERM"
    assert config["Entrypoint"] == ["/usr/bin/tini", "--", "/entrypoint.sh"]
    assert config["Healthcheck"]["Test"] == ["CMD", "/healthcheck.sh"]


def test_a_change_of_code_installs_no_dependency_again(build: Build, image: str, context: Path) -> None:
    with (context / "facefusion_runner" / "bar.py").open("a") as file:
        file.write("\n# changed\n")
    result = build(context, "facefusion-runner:changed")
    assert result.returncode == 0, result.stdout[-4000:]
    steps = result.stdout.split("\n\n")
    assert any("--require-hashes" in step and "CACHED" in step for step in steps)
    changed = run("facefusion-runner:changed", "tail", "-n1", _installed("facefusion_runner/bar.py"))
    assert changed.out == "# changed\n"
    shared, layers = _layers(image), _layers("facefusion-runner:changed")
    assert sum(ours != theirs for ours, theirs in zip(shared, layers, strict=True)) <= 2


def test_the_build_fails_when_onnx_runtime_is_not_the_one_that_was_wanted(
    build: Build, image: str, context: Path
) -> None:
    dockerfile = context / "Dockerfile"
    text = dockerfile.read_text()
    # The GPU image's question, asked of the CPU image's packages.
    asked = text.replace('if [ "${VARIANT}" != cpu ]; then wanted', 'if [ "${VARIANT}" = cpu ]; then wanted')
    assert asked != text
    dockerfile.write_text(asked)
    result = build(context, "facefusion-runner:wrong")
    assert result.returncode != 0
    assert "ONNX Runtime is onnxruntime, not onnxruntime-gpu" in result.stdout


def test_its_packages_fit_together(image: str) -> None:
    # The image has no pip; the one of these tests is lent to it.
    lent = Path(pip.__file__).parent
    result = run(
        image,
        "python",
        "-m",
        "pip",
        "check",
        options=[f"--volume={lent}:/lent/pip:ro"],
        env={"PYTHONPATH": "/lent"},
    )
    assert (result.code, result.out) == (0, "No broken requirements found.\n")


def test_onnx_runtime_is_the_cpu_build_and_opencv_the_headless_one(image: str) -> None:
    script = (
        "from importlib.metadata import version\n"
        "from onnxruntime.capi import build_and_package_info as found\n"
        "import cv2\n"
        "about = ' '.join(cv2.getBuildInformation().split())\n"
        "print(found.package_name, version('opencv-python'), 'GUI: NONE' in about)"
    )
    result = run(image, "python", "-c", script)
    assert result.out.split() == ["onnxruntime", "5.0.0.93+headless", "True"], result.err


@pytest.mark.parametrize("tool", ["pip", "gcc", "cc", "make", "git", "curl", "hatchling"])
def test_it_has_no_build_tools(image: str, tool: str) -> None:
    assert run(image, "bash", "-c", f"type -P {tool}; python -c 'import {tool}'").out == ""


def test_it_has_no_caches_lists_and_sources(image: str) -> None:
    script = (
        "ls -A /var/lib/apt/lists /root/.cache /src /dist /opt/build /run/secrets /tmp/wheels 2>/dev/null;"
        "find / -xdev -name pip.conf -o -xdev -name 'test_*.py' -path '*facefusion*'"
    )
    result = run(image, "-c", script, options=["--user=0", "--entrypoint=/bin/bash"])
    assert [line for line in result.out.splitlines() if line and not line.endswith(":")] == []


def test_no_secret_of_the_build_is_in_its_history_or_environment(image: str, config: dict[str, Any]) -> None:
    bundle = Path(os.environ.get("CA_BUNDLE", "/etc/ssl/certs/ca-certificates.crt"))
    history = docker("history", "--no-trunc", "--format", "{{.CreatedBy}}", image)
    assert "BEGIN CERTIFICATE" not in history
    assert not any(name in pair for pair in config["Env"] for name in ("PIP_", "SECRET", "CERT", "TOKEN"))
    lent = f"/lent/{bundle.resolve().name}"
    same = run(
        image,
        "-c",
        f"find / -xdev -type f -size {bundle.stat().st_size}c -exec cmp -s {{}} {lent} ';' -print",
        options=["--user=0", "--entrypoint=/bin/bash", f"--volume={bundle.resolve().parent}:/lent:ro"],
    )
    assert same.out == ""


def test_the_runner_is_uid_10001_without_capabilities(image: str) -> None:
    result = run(image, "bash", "-c", "id -u; id -g; grep -E 'CapEff|NoNewPrivs' /proc/self/status")
    assert result.out.split() == ["10001", "10001", "CapEff:", "0000000000000000", "NoNewPrivs:", "1"]


def _installed(name: str) -> str:
    return f"/opt/venv/lib/python3.11/site-packages/{name}"


def _layers(image: str) -> list[str]:
    return list(json.loads(docker("image", "inspect", image))[0]["RootFS"]["Layers"])
