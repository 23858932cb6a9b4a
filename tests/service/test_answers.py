"""Every failure has one form, and every answer an id that is in the log, too."""

from __future__ import annotations

import json
import re
import socket
import sqlite3
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from tests.service.conftest import Serve, Service, refused

JPEG = ("x.jpg", b"\xff\xd8\xff\xe0 no picture")


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nowhere", 404, "not_found"),
        ("GET", "/v1/tasks/", 404, "not_found"),
        ("GET", "/v1/tasks/none", 404, "not_found"),
        ("GET", "/v1/tasks/%2e%2e%2fx", 404, "not_found"),
        ("GET", "/v1/tasks/a%20b", 422, "bad_request"),
        ("GET", "/page/..%2f..%2fapp.py", 404, "not_found"),
        ("GET", "/page/app.py", 404, "not_found"),
        ("GET", "/page/%00.js", 404, "not_found"),
        ("GET", f"/page/{'x' * 5000}.js", 404, "not_found"),
        ("PUT", "/v1/tasks", 405, "method_not_allowed"),
        ("POST", "/healthz", 405, "method_not_allowed"),
        ("OPTIONS", "/v1/tasks", 405, "method_not_allowed"),
        ("POST", "/v1/tasks", 415, "not_multipart"),
        ("POST", "/v1/faces", 415, "not_multipart"),
        ("GET", "/v1/tasks/none/result?expires=x", 422, "bad_request"),
    ],
)
def test_a_failure_is_in_the_envelope(
    service: Service, method: str, path: str, status: int, code: str
) -> None:
    answer = service.client.request(method, path)
    refused(answer, status, code)
    assert answer.headers["content-type"] == "application/json"
    if status == 405:
        assert answer.headers["allow"] != ""


def test_no_http_is_answered_in_the_envelope_too(service: Service) -> None:
    address = urlsplit(service.url)
    for sent in (
        b"HELO you\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/9\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\r\n\r\n",
    ):
        with socket.create_connection((address.hostname, address.port), timeout=5) as connection:
            connection.sendall(sent)
            received = b""
            while data := connection.recv(10000):
                received += data
        head, _, body = received.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 400 "), sent
        error = json.loads(body)
        assert error["error"]["code"] == "bad_request"
        assert error["request_id"].encode() in head


def test_an_id_that_the_client_chose_is_echoed_and_logged(service: Service) -> None:
    answer = service.client.get("/v1/tasks/none", headers={"X-Request-ID": "order.7_a-b"})
    assert answer.headers["x-request-id"] == answer.json()["request_id"] == "order.7_a-b"
    assert any(event.get("request_id") == "order.7_a-b" for event in service.events("request"))
    for wrong in ("", "a b", "x" * 65, "é", 'a"'):
        chosen = service.client.get("/healthz", headers={"X-Request-ID": wrong.encode("latin-1")})
        assert re.fullmatch(r"[0-9A-Z]{26}", chosen.headers["x-request-id"]), wrong


def test_a_defect_is_answered_logged_and_counted_and_the_service_goes_on(
    serve: Serve, pair: dict[str, Path]
) -> None:
    with serve() as service:
        task = service.wait(service.make(pair)["id"])
        with sqlite3.connect(service.data / "tasks.sqlite3") as database:
            database.execute("UPDATE tasks SET request = '{}'")
        answer = service.client.get(f"/v1/tasks/{task['id']}", headers={"X-Request-ID": "broken"})
        error = refused(answer, 500, "defect")
        assert "Traceback" not in answer.text and "KeyError" not in error["message"]
        assert service.client.get("/healthz").status_code == 200
        logged = [event for event in service.events("defect") if event["request_id"] == "broken"]
        assert len(logged) == 1 and "Traceback" in logged[0]["exception"]
        assert 'route="/v1/tasks/{task_id}",status="500"} 1.0' in service.client.get("/metrics").text
        requests = [event for event in service.events("request") if event["request_id"] == "broken"]
        assert [event["status"] for event in requests] == [500]


def test_head_is_answered_like_get_without_a_body(service: Service) -> None:
    for path in ("/healthz", "/readyz"):
        get, head = service.client.get(path), service.client.head(path)
        assert head.status_code == get.status_code == 200 and head.content == b""
        assert head.headers["content-length"] == get.headers["content-length"]


def test_browsers_are_told_to_be_careful(service: Service) -> None:
    for path in ("/healthz", "/v1/tasks/none", "/nowhere"):
        headers = service.client.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "access-control-allow-origin" not in headers and "server" not in headers
    crossed = service.client.get("/v1/limits", headers={"Origin": "https://elsewhere.example"})
    assert "access-control-allow-origin" not in crossed.headers


def test_a_client_that_hangs_up_is_no_defect(service: Service) -> None:
    def body() -> list[bytes]:
        return [b'--b\r\nContent-Disposition: form-data; name="target"; filename="x"\r\n\r\n', b"x" * 70_000]

    address = urlsplit(service.url)
    before = len(service.events("defect"))
    for path in ("/v1/tasks", "/v1/faces"):
        with socket.create_connection((address.hostname, address.port)) as connection:
            head = (
                f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n"
                "Content-Type: multipart/form-data; boundary=b\r\n\r\n"
            )
            connection.sendall(head.encode() + b"".join(body()))
    with httpx.stream("GET", f"{service.url}/v1/tasks/none/events"):
        pass
    service.wait_until_clean()
    assert len(service.events("defect")) == before
    assert "Traceback" not in service.log.read_text()
