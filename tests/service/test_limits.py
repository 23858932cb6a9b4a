"""What is more than the operator allows is refused at once and by name."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import cv2
import numpy as np
import pytest

from tests.service.conftest import Media, Serve, Service, eventually, refused, running_service
from tests.support.clips import make_clip, times


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Little of everything."""
    settings = {
        "MAX_UPLOAD_BYTES": "3000000",
        "MAX_SOURCES": "2",
        "MAX_PIXELS": "100000",
        "MAX_DURATION_SECONDS": "3",
    }
    with running_service(tmp_path_factory.mktemp("strict"), **settings) as running:
        yield running


def test_a_request_that_says_it_is_too_large_is_refused_before_it_is_sent(strict: Service) -> None:
    address = urlsplit(strict.url)
    with socket.create_connection((address.hostname, address.port), timeout=5) as connection:
        connection.sendall(
            b"POST /v1/tasks HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3000001\r\n"
            b"Content-Type: multipart/form-data; boundary=b\r\n\r\n"
        )
        answer = ""
        while not answer.endswith("}"):
            answer += connection.recv(10000).decode()
    assert answer.startswith("HTTP/1.1 413 ")
    error = json.loads(answer.partition("\r\n\r\n")[2])["error"]
    assert error["code"] == "too_large" and "3000000" in error["message"]


def test_a_request_of_unsaid_length_is_refused_in_the_middle(strict: Service) -> None:
    sent = 0

    def body() -> Iterator[bytes]:
        nonlocal sent
        yield b'--b\r\nContent-Disposition: form-data; name="target"; filename="x"\r\n\r\n'
        for _ in range(2000):
            sent += 100_000
            yield bytes(100_000)

    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    answer = strict.client.post("/v1/tasks", content=body(), headers=headers)
    refused(answer, 413, "too_large", "3000000")
    strict.wait_until_clean()


def test_a_client_that_sends_everything_first_learns_what_was_wrong(strict: Service) -> None:
    answer = strict.client.post("/v1/tasks", files={"target": ("x", bytes(12_000_000))})
    refused(answer, 413, "too_large", "3000000")


def test_more_sources_than_are_taken_are_refused(strict: Service, media: Media) -> None:
    files = [("source", media.source)] * 3 + [("target", media.picture)]
    refused(strict.post(files), 422, "too_many", "2 parts source")


def test_large_pictures_are_refused_wherever_they_come(strict: Service, media: Media, tmp_path: Path) -> None:
    large = tmp_path / "large.png"
    cv2.imwrite(str(large), np.zeros((400, 300, 3), np.uint8))
    film = make_clip(tmp_path / "large.mp4", size=(400, 300), at=times(3))
    good = {"source": media.source, "target": media.picture}
    for wrong in ({"source": large}, {"target": large}, {"target": film}, {"reference": large}):
        refused(strict.post({**good, **wrong}), 422, "bad_input", *wrong, "100000", "pixels")
    answer = strict.client.post("/v1/faces", files={"picture": ("x", film.read_bytes())})
    refused(answer, 422, "bad_input", "picture", "100000", "pixels")


def test_a_long_film_is_refused(strict: Service, media: Media, tmp_path: Path) -> None:
    film = make_clip(tmp_path / "long.mp4", at=times(60))
    refused(strict.post({"source": media.source, "target": film}), 422, "bad_input", "target", "5 s", "3 s")
    assert strict.client.get("/v1/limits").json()["max_duration_seconds"] == 3


def test_a_full_queue_takes_no_more_until_there_is_room(
    serve: Serve, media: Media, pair: dict[str, Path]
) -> None:
    with serve(QUEUE_LIMIT="1") as service:
        running = service.make({"source": media.source, "target": media.long_clip})["id"]
        service.wait(running, "running")
        waiting = service.make(pair)["id"]
        answer = service.post(pair)
        refused(answer, 429, "queue_full", "1 tasks wait")
        assert int(answer.headers["retry-after"]) > 0
        ready = service.client.get("/readyz")
        assert ready.status_code == 503 and ready.json()["reasons"] == ["the queue is full"]
        assert service.client.get("/healthz").status_code == 200
        service.client.delete(f"/v1/tasks/{running}")
        service.wait(waiting)
        assert service.client.get("/readyz").status_code == 200
        assert service.post(pair).status_code == 202


def test_a_full_disk_takes_no_more(serve: Serve, pair: dict[str, Path]) -> None:
    with serve(CACHE_MAX_USAGE_PERCENT="0") as service:
        answer = service.post(pair)
        refused(answer, 507, "storage_failed", "CACHE_MAX_USAGE_PERCENT")
        assert "retry-after" in answer.headers
        faces = service.client.post("/v1/faces", files={"picture": ("x", b"x")})
        refused(faces, 507, "storage_failed")
        assert "CACHE_MAX_USAGE_PERCENT" in service.client.get("/readyz").json()["reasons"][0]
        assert service.client.get("/readyz").status_code == 503


def test_a_task_that_takes_too_long_fails_and_leaves_no_cache(
    serve: Serve, media: Media, pair: dict[str, Path]
) -> None:
    with serve(TASK_TIME_LIMIT_SECONDS="2.5") as service:
        began = time.monotonic()
        long = service.make({"source": media.source, "target": media.long_clip})["id"]
        task = service.wait(long)
        assert time.monotonic() - began < 20
        assert task["state"] == "failed"
        assert task["error"]["code"] == "time_limit" and "2.5 s" in task["error"]["message"]
        assert service.leftovers() == []
        assert list((service.data / "tasks" / long).iterdir()) == []


def test_a_result_is_deleted_when_its_time_is_over(serve: Serve, pair: dict[str, Path]) -> None:
    with serve(RESULT_TTL_SECONDS="2") as service:
        task = service.wait(service.make(pair)["id"])
        assert task["result"]["link_expires_at"] <= task["expires_at"][:17] + "99"
        link = task["result"]["url"]
        assert service.client.get(link).status_code == 200
        eventually(lambda: service.client.get(f"/v1/tasks/{task['id']}").status_code == 404)
        assert service.client.get(link).status_code in (403, 404)
        eventually(lambda: list((service.data / "tasks").iterdir()) == [])
        assert service.leftovers() == []
