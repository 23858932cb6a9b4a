"""Processes that are killed: no accepted task is lost, and its film is the one that would have come."""

from __future__ import annotations

import json
import random
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.service.conftest import FINAL, Media, Serve, Service, eventually, running_service
from tests.service.films import (
    RATE,
    SECONDS,
    STRETCHES,
    Wanted,
    decoded,
    kept,
    kill_service,
    kill_worker,
    make_film,
    result_file,
    worker_of,
)

KILLS = 20
SERVICE_KILLS = 3
MOST_RETRIES = 2

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_film(tmp_path_factory.mktemp("film") / "film.mp4")


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Two workers of one thread."""
    with running_service(tmp_path_factory.mktemp("service"), WORKERS="2", THREADS="1") as running:
        yield running


@pytest.fixture(scope="module")
def wanted(service: Service, media: Media, film: Path) -> Wanted:
    task = service.make({"source": media.source, "target": film})
    ended = service.wait(task["id"], seconds=600)
    assert ended["state"] == "succeeded", ended
    assert (ended["attempts"], ended["result"]["frames"]) == (1, RATE * SECONDS)
    return Wanted(decoded(result_file(service, task["id"])), sum(ended["timings"].values()))


def test_a_task_outlives_workers_killed_at_any_moment(
    service: Service, media: Media, film: Path, wanted: Wanted
) -> None:
    chance = random.Random(20)
    kills: dict[str, int] = {}
    due: dict[str, float] = {}
    killed: dict[str, int | None] = {}
    ended: dict[str, dict[str, Any]] = {}
    while len(ended) < len(kills) or sum(kills.values()) < KILLS:
        if len(kills) - len(ended) < 2 and sum(kills.values()) < KILLS:
            assert len(kills) < 2 * KILLS, f"only {sum(kills.values())} could be killed"
            task = service.make({"source": media.source, "target": film})
            kills[task["id"]], killed[task["id"]] = 0, None
        for task_id in kills.keys() - ended.keys():
            pid = worker_of(service, task_id)
            if pid is None or pid == killed[task_id] or kills[task_id] == MOST_RETRIES:
                task = service.get(task_id)
                if task["state"] in FINAL:
                    ended[task_id] = task
                continue
            moment = due.setdefault(task_id, time.monotonic() + chance.uniform(0, wanted.seconds))
            if time.monotonic() >= moment:
                del due[task_id]
                if found := kill_worker(service, task_id):
                    killed[task_id] = found
                    kills[task_id] += 1
        time.sleep(0.02)
    for task_id, count in kills.items():
        task = ended[task_id]
        assert task["state"] == "succeeded", task
        assert task["attempts"] == 1 + count, task
        assert decoded(result_file(service, task_id)) == wanted.film
    goes_on = [task for task in ended.values() if "it goes on after" in " ".join(task["warnings"])]
    assert goes_on, "no kill came after a stretch"
    service.wait_until_clean()


def test_a_task_whose_workers_always_die_fails_and_leaves_nothing(
    service: Service, media: Media, film: Path
) -> None:
    task = service.make({"source": media.source, "target": film})
    before = _deaths(service)
    killed = None
    for attempt in range(1 + MOST_RETRIES):
        eventually(lambda last=killed: worker_of(service, task["id"]) not in (None, last), 60)
        assert service.get(task["id"])["attempts"] == attempt + 1
        killed = kill_worker(service, task["id"])
        assert killed
    ended = service.wait(task["id"])
    assert (ended["state"], ended["attempts"], ended["result"]) == ("failed", 3, None)
    assert ended["error"]["code"] == "worker_died"
    assert "SIGKILL" in ended["error"]["message"] and ended["error"]["detail"] == {"attempts": 3}
    assert list((service.data / "tasks" / task["id"]).iterdir()) == []
    assert _deaths(service) == before + 3
    service.wait_until_clean()
    again = service.make({"source": media.source, "target": media.picture})
    assert service.wait(again["id"])["state"] == "succeeded"


def test_a_worker_killed_while_idle_costs_no_task_an_attempt(
    service: Service, media: Media, pair: dict[str, Path]
) -> None:
    for worker in service.descendants():
        worker.kill()
    task = service.wait(service.make(pair)["id"])
    assert (task["state"], task["attempts"]) == ("succeeded", 1)


@pytest.mark.parametrize("seed", range(SERVICE_KILLS))
def test_a_killed_service_comes_back_with_every_task(
    serve: Serve, media: Media, film: Path, pair: dict[str, Path], wanted: Wanted, seed: int
) -> None:
    chance = random.Random(seed)
    with serve(THREADS="1") as service:
        done = service.wait(service.make(pair)["id"])
        picture = result_file(service, done["id"]).read_bytes()
        running = service.make({"source": media.source, "target": film})["id"]
        queued = [service.make(pair)["id"] for _ in range(2)]
        eventually(lambda: worker_of(service, running) is not None, 60)
        moment = chance.randrange(9 * RATE * SECONDS // 10)
        eventually(lambda: ((service.get(running)["progress"] or {}).get("frames") or 0) >= moment, 120)
        assert service.get(running)["state"] == "running"
        stretches = len(list((service.cache / running / "segments").glob("*.npz")))
        kill_service(service)
    with serve(THREADS="1") as service:
        found = {task["id"]: task for task in service.client.get("/v1/tasks").json()["tasks"]}
        assert list(found) == [*reversed(queued), running, done["id"]]
        again = found[done["id"]]
        # Links hold the service's address and their time.
        links = {"result": None, "preview_url": None}
        assert {**again, **links} == {**done, **links}
        assert service.client.get(again["result"]["url"]).content == picture
        for task_id in queued:
            task = service.wait(task_id, seconds=300)
            assert (task["state"], task["attempts"]) == ("succeeded", 1)
            assert result_file(service, task_id).read_bytes() == picture
        task = service.get(running)
        assert (task["state"], task["attempts"]) == ("succeeded", 2), task
        said = " ".join(task["warnings"])
        if stretches:
            assert f"it goes on after {STRETCHES[stretches - 1]} frames" in said
        assert decoded(result_file(service, running)) == wanted.film
        service.wait_until_clean()
        assert len(kept(service)) == len(found)


def test_a_task_that_ends_its_service_every_time_fails_in_the_end(
    serve: Serve, media: Media, film: Path
) -> None:
    audit = "audit.jsonl"
    task_id = ""
    for attempt in range(1 + MOST_RETRIES):
        with serve(AUDIT_LOG=audit) as service:
            task_id = task_id or service.make({"source": media.source, "target": film})["id"]
            eventually(lambda name=task_id: worker_of(service, name) is not None, 60)
            assert service.get(task_id)["attempts"] == attempt + 1
            kill_service(service)
    with serve(AUDIT_LOG=audit) as service:
        task = service.get(task_id)
        assert (task["state"], task["error"]["code"]) == ("failed", "worker_died")
        assert kept(service) == [] and service.leftovers() == []
        (line,) = (service.folder / audit).read_text().splitlines()
        assert (json.loads(line)["outcome"], json.loads(line)["code"]) == ("failed", "worker_died")


def test_an_upload_cut_short_by_the_end_of_the_service_leaves_nothing(serve: Serve) -> None:
    with serve() as service:
        address = urlsplit(service.url)
        with socket.create_connection((address.hostname, address.port)) as client:
            client.sendall(
                b"POST /v1/tasks HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9000000\r\n"
                b"Content-Type: multipart/form-data; boundary=b\r\n\r\n"
                b'--b\r\nContent-Disposition: form-data; name="source"; filename="a"\r\n\r\n' + bytes(4 << 20)
            )
            incoming = service.data / "incoming"
            eventually(lambda: any(path.stat().st_size for path in incoming.glob("*/*")))
            kill_service(service)
        assert list(incoming.iterdir())
    with serve() as service:
        assert service.leftovers() == [] and kept(service) == []
        assert service.client.get("/v1/tasks").json()["tasks"] == []


def _deaths(service: Service) -> float:
    lines = service.client.get("/metrics").text.splitlines()
    (value,) = (line.split()[1] for line in lines if line.startswith("facefusion_worker_deaths_total "))
    return float(value)
