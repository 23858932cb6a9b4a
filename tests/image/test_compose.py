"""The compose files: sound, hardened, and at work."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import pytest

from tests.image.conftest import REPOSITORY

NAMES = ("service", "swap")
FILES = ("docker-compose.yml", "docker-compose.gpu.yml")


@pytest.fixture
def project(engine: None, tmp_path: Path) -> Iterator[Path]:
    """A folder with the compose files in which everything is taken down at the end."""
    for name in FILES:
        shutil.copy2(REPOSITORY / name, tmp_path / name)
    (tmp_path / ".env").write_text(f"COMPOSE_PROJECT_NAME=test-{uuid.uuid4().hex[:12]}\n")
    yield tmp_path
    compose(tmp_path, "down", "--volumes")


def compose(project: Path, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["docker", "compose", "--project-directory", str(project), *arguments],
        cwd=project,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


def service(project: Path, name: str, *files: str) -> dict[str, Any]:
    options = [option for file in files for option in ("--file", file)]
    result = compose(project, "--profile", "swap", *options, "config", "--format", "json")
    assert result.returncode == 0, result.stderr
    return dict(json.loads(result.stdout)["services"][name])


def size(text: str) -> int:
    """Bytes of the size in a tmpfs mount's options."""
    number = text.partition("size=")[2].partition(",")[0]
    return int(number[:-1]) * {"m": 2**20, "g": 2**30}[number[-1]]


@pytest.mark.parametrize("name", NAMES)
def test_a_container_may_do_little(project: Path, name: str) -> None:
    found = service(project, name, "docker-compose.yml")
    assert found["user"] == "10001:10001"
    assert found["read_only"] is True
    assert found["cap_drop"] == ["ALL"]
    assert found["security_opt"] == ["no-new-privileges:true"]
    assert found["pids_limit"] > 0
    assert "deploy" not in found


@pytest.mark.parametrize("name", NAMES)
def test_all_tmpfs_mounts_together_are_well_below_the_memory_limit(project: Path, name: str) -> None:
    found = service(project, name, "docker-compose.yml")
    assert any(mount.startswith("/tmp/facefusion/cache:") for mount in found["tmpfs"])
    assert sum(map(size, found["tmpfs"])) <= int(found["mem_limit"]) / 2


def test_the_service_is_published_to_this_machine_only(project: Path) -> None:
    (port,) = service(project, "service", "docker-compose.yml")["ports"]
    assert (port["host_ip"], port["target"]) == ("127.0.0.1", 8000)


@pytest.mark.parametrize("name", NAMES)
def test_the_gpu_file_adds_the_gpu_and_keeps_the_rest(project: Path, name: str) -> None:
    found, plain = service(project, name, *FILES), service(project, name, "docker-compose.yml")
    (device,) = found["deploy"]["resources"]["reservations"]["devices"]
    assert (device["driver"], "gpu" in device["capabilities"]) == ("nvidia", True)
    assert found["environment"]["NVIDIA_DRIVER_CAPABILITIES"] == "compute,utility,video"
    kept = ("user", "read_only", "cap_drop", "security_opt", "pids_limit", "mem_limit", "tmpfs", "volumes")
    assert {name: found[name] for name in kept} == {name: plain[name] for name in kept}
    assert found["environment"].items() >= plain["environment"].items()


def test_it_swaps_from_in_to_out(image: str, media: Path, project: Path) -> None:
    shutil.copytree(media, project / "in", ignore=shutil.ignore_patterns("long.mp4", "middle.mp4"))
    (project / "out").mkdir()
    (project / "out").chmod(0o777)
    with (project / ".env").open("a") as file:
        file.write("TARGET=/in/short.mp4\nDETECT_EVERY=5\n")
    result = compose(project, "run", "--rm", "swap", IMAGE=image)
    assert result.returncode == 0, result.stderr
    made = cv2.VideoCapture(str(project / "out" / "swapped.mp4"))
    assert made.read()[0]
