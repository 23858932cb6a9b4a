"""The list of tasks: newest first, page by page, by state."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.service.conftest import Media, Service, refused


def ids(service: Service, **query: str | int) -> tuple[list[str], int | None]:
    page = service.client.get("/v1/tasks", params=query).json()
    return [task["id"] for task in page["tasks"]], page["next"]


@pytest.fixture
def made(service: Service, media: Media, pair: dict[str, Path]) -> list[str]:
    """Newest first: four that wait behind one that runs."""
    running = service.make({"source": media.source, "target": media.long_clip})["id"]
    service.wait(running, "running")
    return [*reversed([service.make(pair)["id"] for _ in range(4)]), running]


def test_pages_hold_every_task_once_from_the_newest_on(service: Service, made: list[str]) -> None:
    assert ids(service) == (made, None)
    seen, following = ids(service, limit=2)
    assert seen == made[:2] and following is not None
    while following is not None:
        page, following = ids(service, limit=2, before=following)
        seen += page
    assert seen == made


def test_a_task_deleted_meanwhile_does_not_end_the_list(service: Service, made: list[str]) -> None:
    _, following = ids(service, limit=2)
    last = made[1]
    service.client.delete(f"/v1/tasks/{last}")
    service.client.delete(f"/v1/tasks/{last}")
    assert service.client.get(f"/v1/tasks/{last}").status_code == 404
    assert ids(service, before=following) == (made[2:], None)


def test_the_list_is_filtered_by_state(service: Service, made: list[str]) -> None:
    assert ids(service, state="running") == (made[4:], None)
    assert ids(service, state="queued") == (made[:4], None)
    assert ids(service, state="failed") == ([], None)
    service.client.delete(f"/v1/tasks/{made[0]}")
    assert ids(service, state="cancelled") == (made[:1], None)
    assert ids(service, state="queued", limit=1)[0] == made[1:2]


def test_a_queued_task_knows_its_place(service: Service, made: list[str]) -> None:
    places = {task["id"]: task["position"] for task in service.client.get("/v1/tasks").json()["tasks"]}
    assert [places[task_id] for task_id in made] == [3, 2, 1, 0, None]


@pytest.mark.parametrize(
    "query",
    [
        {"limit": "0"},
        {"limit": "201"},
        {"limit": "x"},
        {"state": "done"},
        {"before": "../x"},
        {"before": "9" * 30},
    ],
    ids=str,
)
def test_a_query_that_makes_no_sense_is_refused_by_name(service: Service, query: dict[str, str]) -> None:
    refused(service.client.get("/v1/tasks", params=query), 422, "bad_request", *query)
