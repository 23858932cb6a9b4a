"""A real Prometheus reads what the service and the sweeper measure."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.service.conftest import Serve, Service, eventually

pytestmark = pytest.mark.skipif(
    shutil.which("prometheus") is None or shutil.which("promtool") is None,
    reason="needs prometheus and promtool (apt-get install prometheus)",
)


@pytest.fixture(scope="module")
def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@contextlib.contextmanager
def prometheus(folder: Path, service: Service, port: int) -> Iterator[httpx.Client]:
    """One that scrapes the service every second; gives a client of its API."""
    config = folder / "prometheus.yml"
    target = service.url.removeprefix("http://")
    config.write_text(
        "global: {scrape_interval: 1s, scrape_timeout: 1s}\n"
        "scrape_configs:\n"
        f"  - {{job_name: facefusion, static_configs: [{{targets: ['{target}']}}]}}\n"
    )
    checked = subprocess.run(["promtool", "check", "config", str(config)], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr
    address = f"127.0.0.1:{port}"
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(
            [
                *("prometheus", f"--config.file={config}", f"--web.listen-address={address}"),
                f"--storage.tsdb.path={folder / 'series'}",
            ],
            stdout=log,
            stderr=log,
        )
    try:
        with httpx.Client(base_url=f"http://{address}") as client:
            yield client
    finally:
        process.terminate()
        process.wait(30)


def ask(client: httpx.Client, query: str) -> list[dict[str, Any]]:
    """The series of a query now."""
    try:
        answer = client.get("/api/v1/query", params={"query": query}).json()
    except (httpx.TransportError, ValueError):
        return []
    assert answer["status"] == "success", answer
    return list(answer["data"]["result"])


def value(client: httpx.Client, query: str) -> float | None:
    """Of a query that gives one series."""
    found = ask(client, query)
    return float(found[0]["value"][1]) if len(found) == 1 else None


def test_prometheus_reads_every_value(
    serve: Serve, pair: dict[str, Path], tmp_path: Path, free_port: int
) -> None:
    with serve() as service, prometheus(tmp_path, service, free_port) as client:
        eventually(lambda: value(client, "up") == 1, 60)
        started = time.time()
        ended = [service.wait(service.make(pair)["id"]) for _ in range(2)]
        assert {task["state"] for task in ended} == {"succeeded"}
        expected = {
            'facefusion_tasks_finished_total{state="succeeded"}': 2,
            'facefusion_tasks_finished_total{state="failed"}': 0,
            'facefusion_tasks{state="succeeded"}': 2,
            'facefusion_tasks{state="queued"}': 0,
            "facefusion_frames_total": 2,
            "facefusion_faces_swapped_total": 2,
            'facefusion_task_duration_seconds_count{state="succeeded"}': 2,
            "facefusion_task_wait_seconds_count": 2,
            "facefusion_worker_deaths_total": 0,
            'facefusion_workers{state="idle"}': 1,
            "facefusion_queue_limit": 100,
            'facefusion_http_requests_total{route="/v1/tasks",method="POST",status="202"}': 2,
            # Of the sweep at the start.
            "sum(facefusion_cache_task_dirs)": 0,
        }
        for query, wanted in expected.items():
            eventually(
                lambda q=query, w=wanted: value(client, q) == w, 20, lambda q=query: (q, ask(client, q))
            )
        swept = value(client, "facefusion_cache_last_success_timestamp_seconds")
        assert swept is not None and started - 120 < swept < started
        for process in ("service", "worker", "inspector"):
            used = value(client, f'facefusion_memory_bytes{{process="{process}"}}')
            assert used is not None and 20e6 < used < 2e9
        assert value(client, "sum(facefusion_model_inference_seconds_total) > 0")
        assert value(client, "histogram_quantile(0.5, sum by (le) (facefusion_task_duration_seconds_bucket))")
        version = ask(client, "facefusion_build_info")
        assert len(version) == 1 and version[0]["metric"]["version"]
        sent = 2 * sum(path.stat().st_size for path in pair.values())
        assert sent <= (value(client, "facefusion_upload_bytes_total") or 0) < sent + 2000


def test_promtool_finds_nothing_to_say(service: Service, pair: dict[str, Path]) -> None:
    service.wait(service.make(pair)["id"])
    text = service.client.get("/metrics").content
    checked = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")
