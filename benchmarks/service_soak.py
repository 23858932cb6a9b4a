"""Short tasks one after the other, of which a fifth do not end well: what stays on disk and in memory."""

from __future__ import annotations

import random
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.service_load import memory
from tests.service.films import all_files, kill_worker
from tests.support import clips
from tests.support.service_process import FINAL, Service

EVERY = 50
"""Tasks between two looks at the memory."""
STORE = "tasks.sqlite3"


@dataclass
class Soak:
    """What many tasks left."""

    ends: Counter[str] = field(default_factory=Counter)
    """How often which kind of task ended how."""
    result_bytes: int = 0
    """Of the results, with the small pictures beside them."""
    before: int = 0
    """Bytes below DATA_ROOT, the store left out, and below CACHE_ROOT."""
    after: int = 0
    memory: list[int] = field(default_factory=list)
    """Bytes of the service's process after every `EVERY` tasks."""
    store: tuple[int, int] = (0, 0)
    """Bytes of the store before and after."""
    problems: list[str] = field(default_factory=list)

    @property
    def excess(self) -> int:
        """Bytes on disk that are no result's."""
        return self.after - self.before - self.result_bytes


def soak(service: Service, source: Path, picture: Path, clip: Path, tasks: int) -> Soak:
    """Each in turn, while nothing else goes on."""
    chance = random.Random(tasks)
    broken = clips.damage_packet(clip, clip.with_name("broken.mp4"), 9, lambda data: bytes(len(data)))
    seen = Soak()
    _one(service, "usual", source, picture, chance, seen)
    seen.ends.clear()
    seen.result_bytes = 0
    seen.before, store = disk_use(service), store_bytes(service)
    for number in range(tasks):
        kind = chance.choice(["killed", "cancelled", "broken"]) if chance.random() < 0.2 else "usual"
        target = {"usual": picture, "broken": broken}.get(kind, clip)
        _one(service, kind, source, target, chance, seen)
        if (number + 1) % EVERY == 0 or number + 1 == tasks:
            seen.memory.append(memory(service))
    seen.after, seen.store = disk_use(service), (store, store_bytes(service))
    return seen


def _one(service: Service, kind: str, source: Path, target: Path, chance: random.Random, seen: Soak) -> None:
    task_id = service.make({"source": source, "target": target})["id"]
    if kind in ("killed", "cancelled"):
        deadline = time.monotonic() + chance.uniform(0, 1)
        while time.monotonic() < deadline or not (service.cache / task_id).exists():
            if service.get(task_id)["state"] in FINAL:
                break
            time.sleep(0.02)
        if kind == "cancelled":
            if service.get(task_id)["state"] not in FINAL:
                service.client.delete(f"/v1/tasks/{task_id}").raise_for_status()
        else:
            kill_worker(service, task_id)
    task = service.wait(task_id)
    seen.ends[f"{kind}: {task['state']}"] += 1
    wanted = {"cancelled": ("cancelled", "succeeded"), "broken": ("failed",)}.get(kind, ("succeeded",))
    if task["state"] not in wanted:
        seen.problems.append(f"a {kind} task {task['state']}: {task['error']}")
    if task["state"] == "succeeded":
        preview = service.client.get(task["preview_url"]).raise_for_status()
        seen.result_bytes += task["result"]["bytes"] + len(preview.content)


def disk_use(service: Service) -> int:
    """Bytes of all files but the store's own."""
    return sum(
        path.lstat().st_size
        for path in all_files(service.data, service.cache)
        if not path.name.startswith(STORE)
    )


def store_bytes(service: Service) -> int:
    return sum(path.stat().st_size for path in service.data.glob(STORE + "*"))
