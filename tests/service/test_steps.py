"""The service killed between any two steps of a task's life: the next start knows what to do."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import psutil
import pytest

from tests.service.conftest import (
    FINAL,
    REPOSITORY,
    Media,
    Serve,
    Service,
    environment,
    eventually,
    listening,
)
from tests.service.films import kept, worker_of

DYING = REPOSITORY / "tests" / "service" / "dying_service.py"

STEPS = [
    "before TaskFiles.accept",
    "before TaskStore.add",
    "after TaskStore.add",
    "after TaskStore.claim",
    "before TaskFiles.sync",
    "before TaskStore.conclude",
    "before TaskFiles.delete_all_but",
    "before TaskStore.finish",
    "after TaskStore.finish",
]
NOT_ACCEPTED = STEPS[:2]


@contextmanager
def dying(folder: Path, step: str) -> Iterator[Service]:
    """A service that is killed at a step; the block waits for that."""
    folder.mkdir()
    log = folder / "service.log"
    with log.open("ab") as file:
        process = subprocess.Popen(
            [sys.executable, str(DYING), *step.split()],
            env=environment(folder),
            cwd=folder,
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    children = list[psutil.Process]()
    try:
        url = listening(process, log)
        with httpx.Client(base_url=url, timeout=60) as client:
            with suppress(psutil.NoSuchProcess):
                children = psutil.Process(process.pid).children(recursive=True)
            with suppress(httpx.TransportError):
                yield Service(url, process, folder, client)
            assert process.wait(60) == -9, log.read_text()
    finally:
        process.kill()
        process.wait()
        assert psutil.wait_procs(children, timeout=20)[1] == []


@pytest.mark.parametrize("step", STEPS)
def test_a_task_is_there_and_succeeds_or_was_never_accepted(
    serve: Serve, pair: dict[str, Path], tmp_path: Path, step: str
) -> None:
    accepted = None
    with dying(tmp_path / "service", step) as service:
        accepted = service.make(pair)["id"]
        service.wait(accepted)
    with serve() as service:
        tasks = service.client.get("/v1/tasks").json()["tasks"]
        if step in NOT_ACCEPTED:
            assert accepted is None and tasks == []
        else:
            # It was written down; that the client was told is not certain.
            assert len(tasks) == 1 and accepted in (None, tasks[0]["id"])
        for task in tasks:
            ended = service.wait(task["id"])
            assert ended["state"] == "succeeded", ended
            assert service.client.get(ended["result"]["url"]).status_code == 200
        service.wait_until_clean()
        assert kept(service) == [f"{task['id']}/result.jpg" for task in tasks]


@pytest.mark.parametrize(
    "step", ["before TaskStore.conclude", "after TaskStore.conclude", "before TaskStore.finish"]
)
def test_a_running_task_that_was_cancelled_stays_so(
    serve: Serve, media: Media, tmp_path: Path, step: str
) -> None:
    answered = False
    with dying(tmp_path / "service", step) as service:
        task_id = service.make({"source": media.source, "target": media.long_clip})["id"]
        eventually(lambda: worker_of(service, task_id) is not None, 60)
        answered = service.client.delete(f"/v1/tasks/{task_id}").status_code == 204
        service.wait(task_id)
    with serve() as service:
        task = service.get(task_id)
        if answered or step != "before TaskStore.conclude":
            assert task["state"] == "cancelled", task
        else:
            assert task["state"] not in FINAL
            assert service.client.delete(f"/v1/tasks/{task_id}").status_code == 204
            assert service.wait(task_id)["state"] == "cancelled"
        service.wait_until_clean()
        assert kept(service) == []


@pytest.mark.parametrize(
    "step", ["before TaskStore.delete", "before TaskFiles.delete", "after TaskFiles.delete"]
)
def test_a_deleted_task_leaves_nothing(
    serve: Serve, pair: dict[str, Path], tmp_path: Path, step: str
) -> None:
    with dying(tmp_path / "service", step) as service:
        task_id = service.make(pair)["id"]
        assert service.wait(task_id)["state"] == "succeeded"
        service.client.delete(f"/v1/tasks/{task_id}")
    with serve() as service:
        if step == "before TaskStore.delete":
            assert service.get(task_id)["state"] == "succeeded"
            assert service.client.delete(f"/v1/tasks/{task_id}").status_code == 204
        assert service.client.get(f"/v1/tasks/{task_id}").status_code == 404
        assert kept(service) == [] and service.leftovers() == []
        assert list((service.data / "tasks").iterdir()) == []
