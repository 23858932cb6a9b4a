"""A GPU that was asked for and cannot be used is an error that whoever runs the service sees."""

from __future__ import annotations

import time
from pathlib import Path

import httpx
import onnxruntime
import pytest

from tests.support.service_process import running_service


@pytest.mark.skipif(
    "CUDAExecutionProvider" in onnxruntime.get_available_providers(), reason="has ONNX Runtime's GPU build"
)
def test_without_its_gpu_it_is_not_ready_and_says_why(tmp_path: Path) -> None:
    with running_service(tmp_path, DEVICE="cuda") as service:
        deadline = time.monotonic() + 30
        while (answer := httpx.get(f"{service.url}/readyz")).status_code == 200:
            assert time.monotonic() < deadline
            time.sleep(0.2)
        (reason,) = answer.json()["reasons"]
        assert reason.startswith("no task can be worked on now: device cuda cannot be used: ")
        assert httpx.get(f"{service.url}/healthz").status_code == 200
