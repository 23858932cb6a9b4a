"""A client's server is told that a task has ended, and nobody else is."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from tests.service.conftest import Media, Serve, Service, eventually, refused, running_service

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()


@dataclass
class Receiver:
    """A client's server; answers with the next of `statuses`, then with 204."""

    url: str = ""
    statuses: list[int] = field(default_factory=list)
    received: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    times: list[float] = field(default_factory=list)


@contextmanager
def receiving() -> Iterator[Receiver]:
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            receiver.received.append((self.path, dict(self.headers), body))
            receiver.times.append(time.monotonic())
            self.send_response(receiver.statuses.pop(0) if receiver.statuses else 204)
            self.send_header("Location", f"{receiver.url}/elsewhere")
            self.end_headers()

        do_GET = do_POST

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    receiver.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as running:
        yield running


@pytest.fixture(scope="module")
def sender(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service whose operator trusts the clients with the network behind it."""
    settings = {"WEBHOOK_SECRET": SECRET, "WEBHOOK_ALLOW_PRIVATE": "true"}
    with running_service(tmp_path_factory.mktemp("sender"), **settings) as running:
        yield running


@pytest.fixture(scope="module")
def careful(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with running_service(tmp_path_factory.mktemp("careful"), WEBHOOK_SECRET=SECRET) as running:
        yield running


def test_the_end_of_a_task_is_told_and_signed(
    sender: Service, receiver: Receiver, pair: dict[str, Path]
) -> None:
    task = sender.make(pair, data={"webhook": f"{receiver.url}/hook?for=me"})
    sender.wait(task["id"])
    eventually(lambda: len(receiver.received) == 1)
    path, headers, body = receiver.received[0]
    assert path == "/hook?for=me" and headers["Content-Type"] == "application/json"
    message = Webhook(SECRET).verify(body, {name.lower(): value for name, value in headers.items()})
    assert message["type"] == "task.succeeded"
    assert message["data"]["id"] == task["id"] and message["data"]["result"]["frames"] == 1
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(body + b" ", {name.lower(): value for name, value in headers.items()})


def test_failures_and_cancellations_are_told_too(sender: Service, receiver: Receiver, media: Media) -> None:
    failing = sender.make(
        {"source": media.landscape, "target": media.picture}, data={"webhook": receiver.url}
    )
    sender.wait(failing["id"])
    running = sender.make({"source": media.source, "target": media.long_clip}, data={"webhook": receiver.url})
    queued = sender.make({"source": media.source, "target": media.picture}, data={"webhook": receiver.url})
    sender.wait(running["id"], "running")
    for task in (queued, running):
        sender.client.delete(f"/v1/tasks/{task['id']}")
    eventually(lambda: len(receiver.received) == 3)
    told = {(message := json.loads(body))["data"]["id"]: message for _, _, body in receiver.received}
    assert told[failing["id"]]["type"] == "task.failed"
    assert told[failing["id"]]["data"]["error"]["code"] == "no_face"
    assert told[running["id"]]["type"] == told[queued["id"]]["type"] == "task.cancelled"


def test_a_server_in_trouble_is_told_again_with_the_same_id(
    sender: Service, receiver: Receiver, pair: dict[str, Path]
) -> None:
    receiver.statuses = [500]
    sender.wait(sender.make(pair, data={"webhook": receiver.url})["id"])
    eventually(lambda: len(receiver.received) == 2, 20)
    (_, first, body), (_, second, again) = receiver.received
    assert first["webhook-id"] == second["webhook-id"] and body == again
    assert receiver.times[1] - receiver.times[0] >= 1.9
    Webhook(SECRET).verify(again, {name.lower(): value for name, value in second.items()})


def test_a_redirection_is_not_followed(sender: Service, receiver: Receiver, pair: dict[str, Path]) -> None:
    receiver.statuses = [302, 307]
    sender.wait(sender.make(pair, data={"webhook": f"{receiver.url}/hook"})["id"])
    eventually(lambda: len(receiver.received) == 2, 20)
    assert {path for path, _, _ in receiver.received} == {"/hook"}


@pytest.mark.parametrize(
    "url",
    [
        *("http://example.com/", "https://127.0.0.1/", "https://localhost/", "https://LOCALHOST./"),
        *("https://10.1.2.3/", "https://169.254.169.254/latest", "https://[::1]/", "https://[fd00::1]/"),
        *("https://[::ffff:127.0.0.1]/", "https://[64:ff9b::7f00:1]/", "https://[::7f00:1]/"),
        *("https://0.0.0.0/", "https://user:word@example.com/", "ftp://example.com/", "https://", "x"),
        *(
            "https://example.com:99999/",
            "https://exa mple.com/",
            "https://example.com/\n",
            "file:///etc/passwd",
        ),
        *("https://[::1", "https://" + "a" * 2000 + ".example/", "https://xn--\ud7ff\u0378.example/"),
    ],
)
def test_an_address_that_is_not_to_be_told_is_refused_at_once(
    careful: Service, pair: dict[str, Path], url: str
) -> None:
    refused(careful.post(pair, data={"webhook": url}), 422, "bad_input", "webhook")
    assert careful.client.get("/v1/tasks").json()["tasks"] == []


@pytest.mark.parametrize("name", ["2130706433", "127.1", "0x7f.1"])
def test_a_name_that_leads_to_a_private_address_is_not_told(
    careful: Service, receiver: Receiver, pair: dict[str, Path], name: str
) -> None:
    port = receiver.url.rpartition(":")[2]
    task = careful.make(pair, data={"webhook": f"https://{name}:{port}/"})
    careful.wait(task["id"])
    time.sleep(1)
    assert receiver.received == []
    careful.client.delete(f"/v1/tasks/{task['id']}")


def test_without_a_secret_none_is_sent(service: Service, pair: dict[str, Path]) -> None:
    answer = service.post(pair, data={"webhook": "https://example.com/"})
    refused(answer, 422, "bad_input", "WEBHOOK_SECRET")


def test_a_name_that_leads_nowhere_spoils_nothing(serve: Serve, pair: dict[str, Path]) -> None:
    with serve(WEBHOOK_SECRET=SECRET) as service:
        label = "a" * 70
        for url in (f"https://{label}.invalid/", "https://nobody.invalid/"):
            answer = service.post(pair, data={"webhook": url})
            if answer.status_code == 202:
                assert service.wait(answer.json()["id"])["state"] == "succeeded"
        time.sleep(0.5)
        assert not any("Traceback" in json.dumps(event) for event in service.events())
