"""SIGTERM: what can be finished is, the next start goes on with the rest, and it never takes long."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest

from tests.service.conftest import Media, Serve, Service, environment, eventually, refused, watch
from tests.service.films import RATE, SECONDS, decoded, kept, make_film, result_file, worker_of

SLACK = 3.0
"""Seconds that the end may take beyond the grace."""

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_film(tmp_path_factory.mktemp("film") / "film.mp4")


def begin(service: Service, media: Media, film: Path) -> str:
    """A task that is being worked on."""
    task_id = str(service.make({"source": media.source, "target": film})["id"])
    eventually(lambda: worker_of(service, task_id) is not None, 60)
    return task_id


def end(service: Service, grace: float) -> float:
    """Waits for the end of a service that was told to end, and gives the seconds since then."""
    children = service.descendants()
    told = time.monotonic()
    service.process.send_signal(signal.SIGTERM)
    return ended(service, told, grace, children)


def ended(service: Service, told: float, grace: float, children: list[psutil.Process]) -> float:
    assert service.process.wait(grace + 30) == 0, service.log.read_text()[-2000:]
    seconds = time.monotonic() - told
    assert seconds <= grace + SLACK
    assert psutil.wait_procs(children, timeout=2)[1] == []
    return seconds


def test_a_task_that_can_finish_does_and_no_other_is_taken(
    serve: Serve, media: Media, pair: dict[str, Path]
) -> None:
    grace = 60.0
    with serve(SHUTDOWN_GRACE_SECONDS=f"{grace:g}") as service:
        task_id = begin(service, media, media.clip)
        queued = service.make(pair)["id"]
        children = service.descendants()
        told = time.monotonic()
        service.process.send_signal(signal.SIGTERM)
        eventually(lambda: service.events("shutting down") != [])
        answer = service.post(pair)
        refused(answer, 503, "shutting_down")
        assert int(answer.headers["retry-after"]) > 0
        assert service.client.get("/readyz").status_code == 503
        assert service.client.get("/healthz").status_code == 200
        assert ended(service, told, grace, children) < grace / 2, "it waited though nothing was left to do"
    with serve() as service:
        task = service.get(task_id)
        assert (task["state"], task["attempts"], task["warnings"]) == ("succeeded", 1, [])
        assert service.client.get(task["result"]["url"]).status_code == 200
        task = service.wait(queued)
        assert (task["state"], task["attempts"]) == ("succeeded", 1)


def test_a_task_that_cannot_finish_goes_on_at_the_next_start(serve: Serve, media: Media, film: Path) -> None:
    with serve(SHUTDOWN_GRACE_SECONDS="1") as service:
        undisturbed = service.wait(service.make({"source": media.source, "target": film})["id"])["id"]
        wanted = decoded(result_file(service, undisturbed))
        task_id = begin(service, media, film)
        segments = service.cache / task_id / "segments"
        eventually(lambda: any(segments.glob("*.npz")), 120)
        end(service, 1)
        assert any(segments.glob("*.npz")), "its cache is gone"
    for _ in range(4):
        # However often: an interruption is no fault of the task.
        with serve(SHUTDOWN_GRACE_SECONDS="0") as service:
            eventually(lambda: worker_of(service, task_id) is not None, 60)
            end(service, 0)
    with serve() as service:
        task = service.wait(task_id)
        assert (task["state"], task["attempts"]) == ("succeeded", 1), task
        assert "it goes on after" in " ".join(task["warnings"])
        assert task["result"]["frames"] == RATE * SECONDS
        assert decoded(result_file(service, task_id)) == wanted
        service.wait_until_clean()


def test_whoever_watches_is_told_that_it_is_over(serve: Serve, media: Media, film: Path) -> None:
    with serve(SHUTDOWN_GRACE_SECONDS="2") as service:
        task_id = begin(service, media, film)
        seen: list[Any] = []

        def look() -> None:
            seen.extend(state["state"] for _, state in watch(service, task_id))
            seen.append("end")

        watcher = threading.Thread(target=look)
        watcher.start()
        eventually(lambda: seen != [])
        end(service, 2)
        watcher.join(5)
        assert seen[-1] == "end" and set(seen[:-1]) == {"running"}


def test_a_second_signal_ends_it_at_once(serve: Serve, media: Media, film: Path) -> None:
    with serve(SHUTDOWN_GRACE_SECONDS="120") as service:
        task_id = begin(service, media, film)
        children = service.descendants()
        service.process.send_signal(signal.SIGTERM)
        eventually(lambda: service.events("shutting down") != [])
        assert service.get(task_id)["state"] == "running"
        service.process.send_signal(signal.SIGTERM)
        ended(service, time.monotonic(), 0, children)
    with serve(SHUTDOWN_GRACE_SECONDS="0") as service:
        assert service.get(task_id)["attempts"] <= 1
        assert f"{task_id}/target" in kept(service)


@pytest.mark.parametrize("seconds", [0.0, 0.5, 1.0, 2.0])
def test_it_ends_while_its_workers_are_still_starting(serve: Serve, seconds: float) -> None:
    with serve(SHUTDOWN_GRACE_SECONDS="30", WORKERS="2") as service:
        time.sleep(seconds)
        end(service, 0 if seconds == 2 else 2)


def test_it_ends_before_it_listens(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "facefusion_runner", "serve"],
        env=environment(tmp_path),
        stderr=subprocess.PIPE,
        text=True,
    )
    eventually(lambda: (tmp_path / "data" / "tasks.sqlite3").exists(), 30)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=20)
    assert process.returncode in (0, 4) and "Traceback" not in said


def test_clients_that_hold_connections_do_not_keep_it(serve: Serve, media: Media) -> None:
    with serve(SHUTDOWN_GRACE_SECONDS="0") as service:
        address = urlsplit(service.url)
        clients = [socket.create_connection((address.hostname, address.port)) for _ in range(8)]
        for client in clients[:4]:
            client.sendall(
                b"POST /v1/tasks HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9000\r\n"
                b"Content-Type: multipart/form-data; boundary=b\r\n\r\n--b\r\n"
            )
        for client in clients[4:6]:
            client.sendall(b"GET /healthz HTTP/1.1\r\nHo")
        eventually(lambda: len(list((service.data / "incoming").iterdir())) == 4)
        end(service, 0)
        for client in clients:
            client.close()
    assert list((service.data / "incoming").iterdir()) == []
