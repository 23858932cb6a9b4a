"""A task is ended or deleted at a word, and nothing of it stays."""

from __future__ import annotations

from pathlib import Path

from tests.service.conftest import Media, Service, eventually, refused, watch


def folders(service: Service) -> list[str]:
    return sorted(path.name for path in (service.data / "tasks").iterdir())


def test_a_queued_task_is_cancelled_and_never_begins(
    service: Service, media: Media, pair: dict[str, Path]
) -> None:
    running = service.make({"source": media.source, "target": media.long_clip})["id"]
    queued = service.make(pair)["id"]
    assert service.get(queued)["position"] == 0
    assert service.client.delete(f"/v1/tasks/{queued}").status_code == 204
    task = service.get(queued)
    assert task["state"] == "cancelled" and task["started_at"] is None and task["finished_at"] is not None
    assert list((service.data / "tasks" / queued).iterdir()) == [], "what was uploaded is deleted"
    assert service.client.get(f"/v1/tasks/{queued}/result").status_code == 409
    assert service.get(running)["state"] in ("queued", "running")


def test_a_running_task_is_cancelled_and_the_next_one_begins(
    service: Service, media: Media, pair: dict[str, Path]
) -> None:
    running = service.make({"source": media.source, "target": media.long_clip})["id"]
    waiting = service.make(pair)["id"]
    service.wait(running, "running")
    eventually(lambda: (service.cache / running).exists(), 60)
    assert service.client.delete(f"/v1/tasks/{running}").status_code == 204
    task = service.wait(running)
    assert task["state"] == "cancelled" and task["error"] is None and task["result"] is None
    assert not (service.cache / running).exists()
    assert list((service.data / "tasks" / running).iterdir()) == []

    following = service.wait(waiting)
    assert following["state"] == "succeeded"
    assert following["attempts"] == 1, "it was given to a worker that was ending"
    assert following["warnings"] == []


def test_whoever_watches_sees_the_cancellation(service: Service, media: Media) -> None:
    task_id = service.make({"source": media.source, "target": media.long_clip})["id"]
    states = []
    for _, task in watch(service, task_id):
        states.append(task["state"])
        if task["state"] == "running" and len(states) < 100:
            service.client.delete(f"/v1/tasks/{task_id}")
    assert states[-1] == "cancelled"


def test_a_finished_task_is_deleted_with_its_result(service: Service, pair: dict[str, Path]) -> None:
    task_id = service.make(pair)["id"]
    link = service.wait(task_id)["result"]["url"]
    assert folders(service) == [task_id]
    assert service.client.delete(f"/v1/tasks/{task_id}").status_code == 204
    assert folders(service) == []
    for path in (f"/v1/tasks/{task_id}", f"/v1/tasks/{task_id}/result", f"/v1/tasks/{task_id}/events", link):
        refused(service.client.get(path), 404, "not_found", task_id)
    refused(service.client.delete(f"/v1/tasks/{task_id}"), 404, "not_found", task_id)


def test_cancelling_twice_is_no_mistake(service: Service, media: Media) -> None:
    task_id = service.make({"source": media.source, "target": media.long_clip})["id"]
    service.wait(task_id, "running")
    for _ in range(2):
        assert service.client.delete(f"/v1/tasks/{task_id}").status_code in (204, 404)
