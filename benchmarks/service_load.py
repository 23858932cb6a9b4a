"""Many clients at once: what becomes of their tasks, of the service's memory and of its answers."""

from __future__ import annotations

import asyncio
import json
import random
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil

from tests.support.service_process import FINAL, Service

_PROBE_SECONDS = 0.1

_PROBE = """
import http.client, json, sys, time
host, pause = sys.argv[1], float(sys.argv[2])
client = http.client.HTTPConnection(host, timeout=30)
client.connect()
print("ready", flush=True)
taken = []
import threading
over = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), over.set()), daemon=True).start()
due = time.monotonic()
while not over.is_set():
    begun = time.monotonic()
    client.request("GET", "/healthz")
    answer = client.getresponse()
    answer.read()
    assert answer.status == 200
    taken.append(time.monotonic() - begun)
    due = max(due + pause, time.monotonic())
    over.wait(due - time.monotonic())
print(json.dumps(taken))
"""


@dataclass
class Health:
    """Seconds that /healthz took to answer."""

    seconds: list[float] = field(default_factory=list)

    def percentile(self, share: float) -> float:
        return statistics.quantiles(self.seconds, n=1000, method="inclusive")[round(share * 10) - 1]

    def __str__(self) -> str:
        marks = ", ".join(f"p{share} {1000 * self.percentile(share):.1f} ms" for share in (50, 99))
        return f"/healthz {len(self.seconds)} times: {marks}, max {1000 * max(self.seconds):.1f} ms"


@contextmanager
def health_watched(service: Service) -> Iterator[Health]:
    """Asks ten times a second, from a process of its own."""
    host = service.url.removeprefix("http://")
    command = [sys.executable, "-c", _PROBE, host, str(_PROBE_SECONDS)]
    health = Health()
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        yield health
        said, _ = process.communicate(timeout=60)
        health.seconds = json.loads(said)


def memory(service: Service) -> int:
    """Bytes that the service's own process alone keeps in memory."""
    return int(psutil.Process(service.pid).memory_full_info().uss)


@dataclass
class Load:
    """What many clients saw."""

    accepted: list[str] = field(default_factory=list)
    deleted: set[str] = field(default_factory=set)
    answers: Counter[int] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    states: Counter[str] = field(default_factory=Counter)


def load(service: Service, source: Path, picture: Path, clip: Path, clients: int, seconds: float) -> Load:
    """So many clients upload, poll, watch, download, cancel and delete for so long; then all tasks end, and
    each is looked for."""
    return asyncio.run(_load(service, source, picture, clip, clients, seconds))


async def _load(
    service: Service, source: Path, picture: Path, clip: Path, clients: int, seconds: float
) -> Load:
    seen = Load()
    end = time.monotonic() + seconds
    parts = {path: path.read_bytes() for path in (source, picture, clip)}
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=service.url, timeout=120, limits=limits) as client:

        async def work(number: int) -> None:
            chance = random.Random(number)
            while time.monotonic() < end:
                target = clip if chance.random() < 0.1 else picture
                files = {"source": ("s", parts[source]), "target": ("t", parts[target])}
                answer = await client.post("/v1/tasks", files=files)
                seen.answers[answer.status_code] += 1
                if answer.status_code != 202:
                    await asyncio.sleep(chance.uniform(0.5, 2))
                    continue
                task_id = answer.json()["id"]
                seen.accepted.append(task_id)
                await _follow(client, chance, task_id, seen, end)

        async with asyncio.TaskGroup() as group:
            for number in range(clients):
                group.create_task(work(number))
        for task_id in seen.accepted:
            await _account(client, task_id, seen)
    return seen


async def _follow(
    client: httpx.AsyncClient, chance: random.Random, task_id: str, seen: Load, end: float
) -> None:
    path = f"/v1/tasks/{task_id}"
    way = chance.choice(["poll", "poll", "watch", "watch", "cancel", "leave"])
    if way == "leave":
        return
    if way == "cancel":
        await asyncio.sleep(chance.uniform(0, 2))
        answer = await client.delete(path)
        if answer.status_code != 204:
            seen.problems.append(f"DELETE {task_id}: {answer.status_code}")
        # One that had ended is gone by this.
        seen.deleted.add(task_id)
        return
    task = None
    if way == "watch":
        async with client.stream("GET", path + "/events") as answer:
            async for line in answer.aiter_lines():
                if line.startswith("data:"):
                    task = json.loads(line[5:])
                if time.monotonic() > end:
                    return
        if task is None or task["state"] not in FINAL:
            seen.problems.append(f"the events of {task_id} ended with {task}")
    else:
        while task is None or task["state"] not in FINAL:
            await asyncio.sleep(0.5)
            task = (await client.get(path)).json()
            if time.monotonic() > end:
                return
    if task and task["state"] == "succeeded":
        result = await client.get(task["result"]["url"])
        if len(result.content) != task["result"]["bytes"]:
            seen.problems.append(f"the result of {task_id}: {result.status_code}")
    if chance.random() < 0.2:
        await client.delete(path)
        seen.deleted.add(task_id)


async def _account(client: httpx.AsyncClient, task_id: str, seen: Load) -> None:
    """Waits for the task's end, and looks at what it left."""
    while True:
        answer = await client.get(f"/v1/tasks/{task_id}")
        if answer.status_code == 404 and task_id in seen.deleted:
            seen.states["deleted"] += 1
            return
        if answer.status_code != 200:
            seen.problems.append(f"{task_id} is lost: {answer.status_code}")
            return
        task = answer.json()
        if task["state"] in FINAL:
            break
        await asyncio.sleep(0.2)
    seen.states[task["state"]] += 1
    if task["state"] == "cancelled" and task_id not in seen.deleted:
        seen.problems.append(f"nobody cancelled {task_id}")
    elif task["state"] == "failed":
        seen.problems.append(f"{task_id} failed: {task['error']}")
    elif task["state"] == "succeeded":
        result = await client.get(task["result"]["url"])
        if result.status_code != 200 or len(result.content) != task["result"]["bytes"]:
            seen.problems.append(f"the result of {task_id} cannot be fetched: {result.status_code}")
