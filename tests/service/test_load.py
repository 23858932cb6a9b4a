"""Short forms of `benchmarks/service.py`: many clients, and many tasks of which a fifth do not end well."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.service import pictures
from benchmarks.service_load import health_watched, load, memory
from benchmarks.service_soak import soak
from tests.service.conftest import Serve

SLOWEST = 0.1
"""Seconds, of 99 answers in a hundred."""


@pytest.mark.timeout(600)
def test_fifty_clients_lose_no_task_and_the_service_goes_on_answering(serve: Serve, tmp_path: Path) -> None:
    source, picture, clip = pictures(tmp_path)
    with serve(WORKERS="2", THREADS="1") as service:
        service.wait(service.make({"source": source, "target": picture})["id"])
        with health_watched(service) as health:
            seen = load(service, source, picture, clip, clients=50, seconds=12)
        assert seen.problems == []
        assert len(seen.accepted) >= 50 and seen.states["succeeded"] and seen.deleted
        assert set(seen.answers) <= {202, 429}, seen.answers
        assert health.percentile(50) <= SLOWEST, health
        assert memory(service) < 400e6
        service.wait_until_clean()


@pytest.mark.timeout(600)
def test_tasks_that_end_badly_leave_not_a_byte(serve: Serve, tmp_path: Path) -> None:
    source, picture, clip = pictures(tmp_path)
    with serve(THREADS="1") as service:
        seen = soak(service, source, picture, clip, tasks=40)
        assert seen.problems == []
        ends = {end.partition(":")[0] for end in seen.ends}
        assert ends == {"usual", "killed", "cancelled", "broken"}, seen.ends
        assert seen.excess == 0
        service.wait_until_clean()
