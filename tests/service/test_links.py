"""Links to be handed on: good for one thing, for a while, and for whoever has them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import httpx
import pytest

from facefusion_runner.service.links import Links
from tests.service.conftest import (
    JsonObject,
    Key,
    Media,
    Serve,
    Service,
    eventually,
    refused,
    running_service,
)


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory, alice: Key) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("keyed")
    with running_service(folder, API_KEYS=alice.entry, LINK_TTL_SECONDS="4") as running:
        yield running


def changed(link: str, **values: str) -> str:
    parts = urlsplit(link)
    query = {**dict(parse_qsl(parts.query)), **values}
    return urlunsplit(parts._replace(query=urlencode(query)))


def done(service: Service, pair: dict[str, Path], alice: Key) -> JsonObject:
    return service.wait(service.make(pair, headers=alice.headers)["id"], headers=alice.headers)


def test_a_link_needs_no_key_and_ends(keyed: Service, pair: dict[str, Path], alice: Key) -> None:
    task = done(keyed, pair, alice)
    link = keyed.get(task["id"], headers=alice.headers)["result"]["url"]
    assert alice.value not in link
    fetched = httpx.get(link)
    assert fetched.status_code == 200 and len(fetched.content) == task["result"]["bytes"]
    assert httpx.head(link).status_code == 200
    assert httpx.get(f"{link}&download=1").headers["content-disposition"].startswith("attachment")

    ends = datetime.fromisoformat(task["result"]["link_expires_at"]).timestamp()
    assert ends <= time.time() + 5
    eventually(lambda: httpx.get(link).status_code == 403)
    assert time.time() >= int(ends)
    refused(httpx.get(link), 403, "link_expired")
    assert keyed.client.get(f"/v1/tasks/{task['id']}/result", headers=alice.headers).status_code == 200
    keyed.client.delete(f"/v1/tasks/{task['id']}", headers=alice.headers)


def test_a_link_that_was_tampered_with_is_refused(keyed: Service, pair: dict[str, Path], alice: Key) -> None:
    one, other = done(keyed, pair, alice), done(keyed, pair, alice)
    link = keyed.get(one["id"], headers=alice.headers)["result"]["url"]
    query = dict(parse_qsl(urlsplit(link).query))
    forged = [
        changed(link, expires=str(int(query["expires"]) + 1000)),
        changed(link, signature=query["signature"][:-2]),
        changed(link, signature=query["signature"].swapcase()),
        changed(link, signature=""),
        changed(link, signature="é\x00"),
        link.replace(one["id"], other["id"]),
        link.replace(one["id"], "none"),
        link.replace("/result?", "/preview?"),
    ]
    for each in forged:
        refused(httpx.get(each), 403, "link_expired")
    refused(httpx.get(link.split("&signature=")[0]), 401, "unauthorized")
    for task in (one, other):
        keyed.client.delete(f"/v1/tasks/{task['id']}", headers=alice.headers)


def test_a_preview_link_does_not_fetch_the_result(keyed: Service, media: Media, alice: Key) -> None:
    task_id = keyed.make({"source": media.source, "target": media.long_clip}, headers=alice.headers)["id"]
    found: list[str] = []

    def preview() -> bool:
        link = keyed.get(task_id, headers=alice.headers)["preview_url"]
        if link is not None:
            found.append(link)
        return link is not None

    eventually(preview, 60)
    assert httpx.get(found[0]).headers["content-type"] == "image/jpeg"
    refused(httpx.get(found[0].replace("/preview?", "/result?")), 403, "link_expired")
    assert httpx.get(f"{found[0]}&n=2").status_code == 200
    for _ in range(2):
        keyed.client.delete(f"/v1/tasks/{task_id}", headers=alice.headers)


def test_links_begin_as_the_operator_says(serve: Serve, pair: dict[str, Path]) -> None:
    with serve(PUBLIC_URL="https://swap.example/under/") as service:
        task = service.wait(service.make(pair)["id"])
        link = task["result"]["url"]
        assert link.startswith(f"https://swap.example/under/v1/tasks/{task['id']}/result?expires=")
        assert service.client.get("/" + link.split("/under/")[1]).status_code == 200


def test_links_begin_as_the_request_came(service: Service, pair: dict[str, Path]) -> None:
    task = service.wait(service.make(pair)["id"])
    link = service.get(task["id"], headers={"Host": "localhost:81"})["result"]["url"]
    assert link.startswith("http://localhost:81/v1/tasks/")


def test_links_outlive_the_process_and_not_the_task(serve: Serve, pair: dict[str, Path]) -> None:
    with serve() as service:
        task = service.wait(service.make(pair)["id"])
        link = task["result"]["url"]
    with serve() as service:
        again = service.url + link[len(task["result"]["url"].split("/v1/")[0]) :]
        assert httpx.get(again).status_code == 200
        service.client.delete(f"/v1/tasks/{task['id']}")
        refused(httpx.get(again), 404, "not_found")


@pytest.mark.parametrize("ttl", [0.0, 1.0, 5.0, 60.0, 3600.0, 86400.0])
def test_a_link_is_good_for_what_was_set_and_hardly_longer(ttl: float) -> None:
    links, now = Links(b"secret", ttl), time.time()
    query, expires = links.query("result", "task", None)
    assert now + ttl <= expires <= now + ttl + max(ttl / 6, 1) + 1
    assert links.query("result", "task", None)[0] == query or ttl < 60
    assert links.query("result", "task", now + 10)[1] <= now + 12
