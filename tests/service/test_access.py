"""Who may do what: API keys, each with tasks of its own, and where the service can be reached."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.service.conftest import (
    Key,
    Media,
    Serve,
    Service,
    environment,
    new_key,
    refused,
    running_service,
)


@pytest.fixture(scope="module")
def keyed(
    tmp_path_factory: pytest.TempPathFactory, alice: Key, bob: Key
) -> pytest.Generator[Service, None, None]:
    with running_service(tmp_path_factory.mktemp("keyed"), API_KEYS=f"{alice.entry},{bob.entry}") as running:
        yield running


ROUTES = [
    ("POST", "/v1/tasks"),
    ("GET", "/v1/tasks"),
    ("GET", "/v1/tasks/some"),
    ("DELETE", "/v1/tasks/some"),
    ("GET", "/v1/tasks/some/events"),
    ("GET", "/v1/tasks/some/result"),
    ("GET", "/v1/tasks/some/preview"),
    ("POST", "/v1/faces"),
    ("GET", "/v1/models"),
]


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_without_a_good_key_nothing_is_done(keyed: Service, alice: Key, method: str, path: str) -> None:
    wrong = [
        {},
        {"Authorization": "Bearer ffr_wrong"},
        {"Authorization": f"Basic {alice.value}"},
        {"Authorization": "Bearer"},
        {"X-API-Key": "ffr_wrong"},
        {"X-API-Key": alice.entry},
        {"X-API-Key": "é".encode("latin-1").decode("latin-1")},
    ]
    for headers in wrong:
        sent = {name: value.encode("latin-1") for name, value in headers.items()}
        answer = keyed.client.request(method, path, headers=sent)
        refused(answer, 401, "unauthorized", "key")
        assert answer.headers["www-authenticate"] == "Bearer"


def test_a_key_is_taken_in_either_header(keyed: Service, alice: Key) -> None:
    for headers in (
        alice.headers,
        {"Authorization": f"bearer  {alice.value}"},
        {"X-API-Key": alice.value},
    ):
        assert keyed.client.get("/v1/tasks", headers=headers).status_code == 200


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics", "/v1/limits", "/v1/openapi.json"])
def test_what_monitors_and_the_page_ask_for_needs_no_key(keyed: Service, path: str) -> None:
    assert keyed.client.get(path).status_code == 200
    assert keyed.client.get("/v1/limits").json()["keys"] is True


def test_a_keys_tasks_do_not_exist_for_others(
    keyed: Service, alice: Key, bob: Key, media: Media, pair: dict[str, Path]
) -> None:
    task_id = keyed.make(pair, headers=alice.headers)["id"]
    keyed.wait(task_id, headers=alice.headers)
    path = f"/v1/tasks/{task_id}"
    for method, tail in (
        ("GET", ""),
        ("GET", "/events"),
        ("GET", "/result"),
        ("GET", "/preview"),
        ("DELETE", ""),
    ):
        answer = keyed.client.request(method, path + tail, headers=bob.headers)
        assert (
            answer.text.replace(task_id, "none").split('"request_id"')[0]
            == (
                keyed.client.request(method, "/v1/tasks/none" + tail, headers=bob.headers).text.split(
                    '"request_id"'
                )[0]
            )
        ), "nothing tells it from a task that is not there"
        refused(answer, 404, "not_found")
    assert keyed.client.get("/v1/tasks", headers=bob.headers).json() == {"tasks": [], "next": None}
    assert [task["id"] for task in keyed.client.get("/v1/tasks", headers=alice.headers).json()["tasks"]] == [
        task_id
    ]
    assert keyed.client.get(path + "/result", headers=alice.headers).status_code == 200
    assert keyed.client.delete(path, headers=alice.headers).status_code == 204


def test_a_new_key_is_a_line_for_the_settings_and_a_secret(tmp_path: Path) -> None:
    first, second = new_key("alice", tmp_path), new_key("alice", tmp_path)
    name, _, digest = first.entry.partition(":")
    assert name == "alice" and len(digest) == 64 and first.value not in first.entry
    assert first.value.startswith("ffr_") and first.value != second.value
    bad = subprocess.run(
        [sys.executable, "-m", "facefusion_runner", "keys", "new", "no name"],
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        check=False,
    )
    assert bad.returncode == 2 and "'no name'" in bad.stderr and bad.stdout == ""


def test_keys_come_from_a_file_and_a_name_may_have_two(
    serve: Serve, alice: Key, bob: Key, tmp_path: Path
) -> None:
    file = tmp_path / "keys.txt"
    newer = new_key("alice", tmp_path)
    file.write_text(f"# who may\n\n{alice.entry}\n  {newer.entry.upper().replace('ALICE', 'alice')}  \n")
    with serve(API_KEYS_FILE=str(file), API_KEYS=bob.entry) as service:
        for key in (alice, newer, bob):
            assert service.client.get("/v1/tasks", headers=key.headers).status_code == 200
        refused(service.client.get("/v1/tasks"), 401, "unauthorized")


@pytest.mark.parametrize(
    ("content", "words"),
    [(None, "cannot be read"), ("alice", "entry 1"), ("# nobody yet\n", "holds no key")],
    ids=["missing", "malformed", "empty"],
)
def test_a_key_file_that_lets_in_the_wrong_people_is_refused(
    tmp_path: Path, content: str | None, words: str
) -> None:
    file = tmp_path / "keys.txt"
    if content is not None:
        file.write_text(content)
    ended = subprocess.run(
        [sys.executable, "-m", "facefusion_runner", "serve"],
        env=environment(tmp_path, API_KEYS_FILE=str(file)),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 2
    assert ended.stderr.count("\n") == 1 and str(file) in ended.stderr and words in ended.stderr


def test_without_keys_only_this_machine_can_reach_it(
    shared_service: Service, keyed: Service, serve: Serve
) -> None:
    def reachable(service: Service) -> str:
        return str(service.events("listening")[-1]["url"]).rpartition(":")[0]

    assert reachable(shared_service) == "http://127.0.0.1"
    assert reachable(keyed) == "http://0.0.0.0"
    with serve(HOST="::1") as service:
        assert reachable(service) == "http://[::1]"
        assert httpx.get(f"{service.url}/healthz").status_code == 200


def test_an_address_that_is_taken_is_said_in_one_line(shared_service: Service, tmp_path: Path) -> None:
    port = shared_service.url.rpartition(":")[2]
    ended = subprocess.run(
        [sys.executable, "-m", "facefusion_runner", "serve", "--port", port],
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 2 and f"127.0.0.1 port {port}" in ended.stderr
    assert ended.stderr.count("\n") == 1
