"""Whatever is sent, the answer is a clear refusal, nothing of it stays, and nothing else is opened for it."""

from __future__ import annotations

import ctypes
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psutil
import pytest

from tests.service import hostile_media, hostile_requests
from tests.service.conftest import FINAL, Media, Service, eventually, running_service
from tests.service.hostile_media import Hostile
from tests.service.hostile_requests import Wire

SLOWEST = 45.0
"""Seconds in which every client that dawdles must be let go; the service's own limits are 20 s."""


@dataclass
class Trap:
    """An address and a file that nobody may open."""

    url: str
    file: Path
    visitors: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def trap(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trap]:
    file = tmp_path_factory.mktemp("trap") / "canary.mp4"
    file.write_bytes(b"canary")
    libc = ctypes.CDLL(None, use_errno=True)
    watcher = libc.inotify_init1(os.O_NONBLOCK)
    # IN_OPEN | IN_ACCESS, see inotify(7).
    assert watcher >= 0 and libc.inotify_add_watch(watcher, os.fsencode(file), 0x21) >= 0
    with socket.create_server(("127.0.0.1", 0)) as listener:
        trap = Trap(f"http://127.0.0.1:{listener.getsockname()[1]}", file)

        def wait() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                trap.visitors.append("address")
                connection.close()

        thread = threading.Thread(target=wait, daemon=True)
        thread.start()
        yield trap
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(5)
    with pytest.raises(BlockingIOError):
        # Where nothing happened to the file there is nothing to read.
        os.read(watcher, 4096)
    os.close(watcher)
    assert trap.visitors == []


@pytest.fixture(scope="module")
def attacked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with running_service(tmp_path_factory.mktemp("attacked"), WORKERS="2", THREADS="1") as running:
        yield running


@pytest.fixture(autouse=True)
def unharmed(attacked: Service) -> Iterator[None]:
    """After each test the service is as it was."""
    yield
    attacked.wait_until_clean(30)
    assert list((attacked.data / "tasks").iterdir()) == []
    assert attacked.client.get("/healthz").status_code == 200
    assert attacked.events("defect") == []
    assert not [event for event in attacked.events() if event["level"] in ("error", "critical")]


@pytest.fixture(scope="module")
def media_files(media: Media, trap: Trap, tmp_path_factory: pytest.TempPathFactory) -> list[Hostile]:
    folder = tmp_path_factory.mktemp("hostile")
    picture, film = media.picture.read_bytes(), media.clip.read_bytes()
    return hostile_media.all_of(folder, picture, film, trap.url, trap.file)


def judged(service: Service, answer: httpx.Response) -> str:
    """What is wrong with an answer to something hostile; empty when nothing is."""
    if answer.status_code // 100 != 4:
        return f"{answer.status_code} {answer.text[:200]}"
    error = answer.json()["error"]
    if not error["message"] or "\n" in error["message"] or str(service.folder) in error["message"]:
        return f"message {error['message']!r}"
    return ""


def problem_of_task(service: Service, files: list[tuple[str, tuple[str, bytes]]], decodable: bool) -> str:
    """A task of these parts is refused; or, where something in them is good, it comes to an end in order."""
    answer = httpx.post(f"{service.url}/v1/tasks", files=files, timeout=120)
    if answer.status_code != 202 or not decodable:
        return judged(service, answer)
    path = f"{service.url}/v1/tasks/{answer.json()['id']}"
    deadline = time.monotonic() + 120
    while (task := httpx.get(path, timeout=60).json())["state"] not in FINAL:
        if time.monotonic() > deadline:
            return f"never ends: {task}"
        time.sleep(0.05)
    problem = ""
    if task["state"] == "succeeded":
        if hostile_media.PAYLOAD in httpx.get(f"{path}/result", timeout=60).content:
            problem = "the payload is in the result"
    elif task["error"]["code"] not in ("bad_input", "media_failed", "no_face"):
        problem = str(task["error"])
    httpx.delete(path, timeout=60)
    return problem


def problems(results: Iterator[tuple[str, str]]) -> str:
    return "\n".join(f"{name}: {problem}" for name, problem in results if problem)


def test_there_are_five_hundred(media_files: list[Hostile]) -> None:
    assert len(media_files) + len(hostile_requests.all_requests()) >= 500


def test_hostile_files_make_no_task(attacked: Service, media: Media, media_files: list[Hostile]) -> None:
    source = ("source", ("me.jpg", media.source.read_bytes()))

    def send(each: Hostile) -> tuple[str, str]:
        return each.name, problem_of_task(attacked, [source, ("target", ("x", each.data))], each.decodable)

    with ThreadPoolExecutor(4) as pool:
        assert problems(pool.map(send, media_files)) == ""


def test_hostile_files_show_no_faces(attacked: Service, media_files: list[Hostile]) -> None:
    def send(each: Hostile) -> tuple[str, str]:
        shown = each.decodable or each.still
        answer = httpx.post(f"{attacked.url}/v1/faces", files={"picture": ("x", each.data)}, timeout=120)
        return each.name, "" if shown and answer.status_code == 200 else judged(attacked, answer)

    with ThreadPoolExecutor(4) as pool:
        assert problems(pool.map(send, media_files)) == ""


def test_hostile_files_are_no_sources_either(
    attacked: Service, media: Media, media_files: list[Hostile]
) -> None:
    target = ("target", ("you.jpg", media.picture.read_bytes()))

    def send(each: Hostile) -> tuple[str, str]:
        return each.name, problem_of_task(attacked, [("source", ("x", each.data)), target], each.decodable)

    with ThreadPoolExecutor(4) as pool:
        assert problems(pool.map(send, media_files[::3])) == ""


def exchange(service: Service, wire: Wire, seconds: float = 60) -> tuple[bytes, bool]:
    """What came back, and whether the connection was closed by the service."""
    address = urlsplit(service.url)
    received = b""
    with socket.create_connection((address.hostname, address.port), timeout=seconds) as connection:
        try:
            connection.sendall(wire.sent)
            if wire.closes:
                connection.shutdown(socket.SHUT_WR)
            while data := connection.recv(65536):
                received += data
                if complete(received) is not None:
                    return received, False
        except (ConnectionResetError, BrokenPipeError):
            pass
    return received, True


def complete(received: bytes) -> bytes | None:
    """The body of the first answer, once it is there."""
    head, separator, body = received.partition(b"\r\n\r\n")
    for line in head.lower().split(b"\r\n"):
        if separator and line.startswith(b"content-length:"):
            length = int(line.split(b":")[1])
            return body[:length] if len(body) >= length else None
    return None


def test_hostile_requests_are_refused(attacked: Service, trap: Trap) -> None:
    def send(wire: Wire) -> tuple[str, str]:
        received, closed = exchange(attacked, wire)
        if not received:
            return wire.name, "" if closed else "no answer"
        status = int(received.split(b" ", 2)[1])
        if status == 403 and not wire.harmless:
            return wire.name, "it was refused for its host, not for what it is"
        if wire.harmless and status == 200:
            return wire.name, ""
        if status // 100 != 4:
            return wire.name, f"{received[:300]!r}"
        body = complete(received)
        if body is None:
            return wire.name, f"cut short: {received[:300]!r}"
        error = json.loads(body)["error"]
        return wire.name, "" if error["message"] and "\n" not in error["message"] else str(error)

    with ThreadPoolExecutor(4) as pool:
        assert problems(pool.map(send, hostile_requests.all_requests())) == ""


def test_clients_that_dawdle_are_let_go(attacked: Service) -> None:
    """All at once: each is sent the rest of what it says a byte a second, or nothing any more."""
    host = hostile_requests.HOST
    whole = b"GET /healthz HTTP/1.1\r\n" + host + b"\r\n"
    head = (
        b"POST /v1/tasks HTTP/1.1\r\n" + host + b"Content-Type: multipart/form-data; boundary=b\r\n"
        b"Content-Length: %d\r\n\r\n"
    )
    body = hostile_requests.SOURCE[:-10]
    clients = {
        "says nothing": (b"", b""),
        "half a line": (b"GET /heal", b""),
        "half a line, then a byte a second": (b"GET /heal", b"x" * 100),
        "half a head": (whole[:-4], b""),
        "headers for ever": (whole[:-2], b"X: y\r\n" * 100),
        "half a second request": (whole + b"GET /heal", b""),
        "half a second request, then a byte a second": (whole + b"GET /heal", b"x" * 100),
        "half a body": (head % 1000 + body, b""),
        "no body": (head % 1000, b""),
        "on and on after a refusal": (head % 10**13, b"x" * 100),
        "a body that nobody asked for": (
            b"GET /healthz HTTP/1.1\r\n" + host + b"Content-Length: 100000\r\n\r\n",
            b"x" * 100,
        ),
    }
    took: dict[str, float] = {}

    def dawdle(name: str, first: bytes, rest: bytes) -> None:
        address = urlsplit(attacked.url)
        began = time.monotonic()
        with socket.create_connection((address.hostname, address.port), timeout=1) as connection:
            connection.sendall(first)
            at = 0
            while time.monotonic() - began < SLOWEST:
                try:
                    if connection.recv(65536) == b"":
                        break
                except TimeoutError:
                    pass
                except OSError:
                    break
                try:
                    connection.sendall(rest[at : at + 1])
                    at += 1
                except OSError:
                    break
        took[name] = time.monotonic() - began

    threads = [threading.Thread(target=dawdle, args=(name, *said)) for name, said in clients.items()]
    for thread in threads:
        thread.start()
    slowest = 0.0
    while any(thread.is_alive() for thread in threads):
        began = time.monotonic()
        assert attacked.client.get("/healthz").status_code == 200
        slowest = max(slowest, time.monotonic() - began)
        time.sleep(0.5)
    for thread in threads:
        thread.join()
    assert set(took) == set(clients)
    assert {name: seconds for name, seconds in took.items() if seconds >= SLOWEST} == {}
    assert slowest < 2


def test_a_service_that_was_attacked_has_not_grown(attacked: Service) -> None:
    def bytes_used() -> int:
        return psutil.Process(attacked.pid).memory_info().rss

    chance = os.urandom(2_000_000)
    sent = hostile_requests.request(hostile_requests.part(hostile_requests.disposition(b"x"), chance))
    for _ in range(5):
        exchange(attacked, Wire("warm", sent))
    before = bytes_used()
    for _ in range(60):
        exchange(attacked, Wire("again", sent))
    eventually(lambda: bytes_used() < before + 30_000_000)
