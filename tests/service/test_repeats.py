"""A request that is sent again makes no second task, and no name is taken twice."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.service.conftest import Media, Service, refused


def test_the_same_request_gives_the_same_task(service: Service, pair: dict[str, Path]) -> None:
    headers = {"Idempotency-Key": "order-7"}
    first = service.post(pair, {"select": "largest"}, headers=headers)
    assert first.status_code == 202 and "idempotent-replayed" not in first.headers
    again = service.post(pair, {"select": "largest"}, headers=headers)
    assert again.status_code == 202 and again.headers["idempotent-replayed"] == "true"
    assert again.json()["id"] == first.json()["id"]
    assert again.headers["location"] == first.headers["location"]
    service.wait(first.json()["id"])
    late = service.post(pair, {"select": "largest"}, headers=headers)
    assert late.json()["state"] == "succeeded"
    assert len(service.client.get("/v1/tasks").json()["tasks"]) == 1


def test_another_request_under_the_same_key_is_refused(
    service: Service, media: Media, pair: dict[str, Path]
) -> None:
    headers = {"Idempotency-Key": "order-7"}
    service.make(pair, headers=headers)
    others = [
        ({**pair, "target": media.clip}, None),
        ({**pair, "reference": media.picture}, None),
        (pair, {"select": "largest"}),
    ]
    for files, options in others:
        refused(service.post(files, options, headers=headers), 409, "idempotency_conflict", "Idempotency-Key")
    assert service.post(pair, headers={"Idempotency-Key": "order-8"}).status_code == 202


def test_requests_at_once_make_one_task(service: Service, pair: dict[str, Path]) -> None:
    with ThreadPoolExecutor(6) as pool:
        headers = {"Idempotency-Key": "at-once"}
        answers = list(pool.map(lambda _: service.post(pair, headers=headers), range(6)))
    assert {answer.status_code for answer in answers} == {202}, [answer.text for answer in answers]
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert [("idempotent-replayed" in answer.headers) for answer in answers].count(False) == 1


@pytest.mark.parametrize("key", ["", "a b", "x" * 201, "é"])
def test_a_key_that_is_none_is_refused(service: Service, pair: dict[str, Path], key: str) -> None:
    headers = {"Idempotency-Key": key.encode("latin-1")}
    refused(service.post(pair, headers=headers), 422, "bad_request", "idempotency-key")


def test_a_task_has_the_name_it_is_given_once(service: Service, media: Media, pair: dict[str, Path]) -> None:
    task = service.make(pair, data={"task_id": "holiday_1-a"})
    assert task["id"] == "holiday_1-a"
    refused(service.post(pair, data={"task_id": "holiday_1-a"}), 409, "task_exists", "holiday_1-a")
    service.wait("holiday_1-a")
    refused(service.post(pair, data={"task_id": "holiday_1-a"}), 409, "task_exists")
    assert service.client.delete("/v1/tasks/holiday_1-a").status_code == 204
    assert service.make(pair, data={"task_id": "holiday_1-a"})["attempts"] == 0


def test_two_tasks_at_once_cannot_have_one_name(service: Service, pair: dict[str, Path]) -> None:
    with ThreadPoolExecutor(5) as pool:
        answers = list(pool.map(lambda _: service.post(pair, data={"task_id": "mine"}), range(5)))
    assert sorted(answer.status_code for answer in answers) == [202, 409, 409, 409, 409]
    assert service.wait("mine")["state"] == "succeeded"


@pytest.mark.parametrize("name", ["..", "a/b", "a b", "x" * 65, "é", ".lease", "a\x00b", "a\n"])
def test_a_name_that_is_no_name_is_refused(service: Service, pair: dict[str, Path], name: str) -> None:
    refused(service.post(pair, data={"task_id": name}), 422, "bad_input", "task_id")
