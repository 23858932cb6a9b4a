"""The schedule fires while a task runs, with the container's settings, by cron and by the sweeper itself."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.containers import CACHE, Container, started, wait_until

ORPHAN = f"mkdir {CACHE}/orphan && head -c 100000 /dev/zero >{CACHE}/orphan/frames"
FIRES = "the schedule's sweep"


@pytest.fixture(scope="module")
def containers(image: str, media: Path) -> Iterator[dict[str, Container]]:
    """Swaps that go on over a full minute, as root and as uid 10001; each got an orphan after its start."""
    settings = {
        **{"SOURCE": "/in/source.jpg", "TARGET": "/in/long.mp4", "OUTPUT": "/tmp/swapped.mp4"},
        **{
            "SWEEP_SCHEDULE": "* * * * *",
            "CACHE_TTL_SECONDS": "1",
            "SWEEP_STATE_ROOT": "/tmp/state of sweeps",
        },
    }
    options = [f"--volume={media}:/in:ro", "--cpus=0.3"]
    user = "--user=10001:10001"
    kept = {**settings, "AUTO_CLEAR_CACHE": "Off"}
    with contextlib.ExitStack() as stack:
        found = {}
        for name, more, env in (
            ("root", [], settings),
            ("uid 10001", [user], settings),
            ("root, keeping", [], kept),
            ("uid 10001, keeping", [user], kept),
        ):
            found[name] = stack.enter_context(started(image, "swap", options=[*options, *more], env=env))
        for container in found.values():
            wait_until(lambda c=container: sweeps(c), 120, "the start-up sweep")
            container.run(ORPHAN)
        yield found


def sweeps(container: Container) -> list[dict[str, Any]]:
    return [event for event in container.events() if event["event"] == "sweep"]


@pytest.mark.parametrize("who", ["root", "uid 10001"])
def test_an_orphan_goes_while_the_task_runs(containers: dict[str, Container], who: str) -> None:
    container = containers[who]
    wait_until(lambda: len(sweeps(container)) > 1, 150, FIRES)
    deleted = [event for event in container.events() if event["event"] == "delete"]
    assert [(event["name"], event["reason"]) for event in deleted] == [("orphan", "expired")]
    assert "orphan" not in container.tasks()
    assert sweeps(container)[1]["left"]["live"] == len(container.tasks())
    assert container.running()


@pytest.mark.parametrize("who", ["root, keeping", "uid 10001, keeping"])
def test_the_job_heeds_that_caches_are_to_be_kept(containers: dict[str, Container], who: str) -> None:
    container = containers[who]
    wait_until(lambda: len(sweeps(container)) > 1, 150, FIRES)
    assert [sweep["result"] for sweep in sweeps(container)] == ["disabled"] * len(sweeps(container))
    assert "orphan" in container.tasks()


@pytest.mark.parametrize("who", ["root", "uid 10001"])
def test_the_job_writes_its_metrics_where_it_was_told_as_the_runner(
    containers: dict[str, Container], who: str
) -> None:
    container = containers[who]
    wait_until(lambda: len(sweeps(container)) > 1, 150, FIRES)
    count = "grep -h 'sweeps_total.*done' '/tmp/state of sweeps/sweeper.prom'"
    wait_until(lambda: int(container.run(count).split()[-1]) >= 2, 10, "the metrics of the second sweep")
    assert container.run("stat -c %u '/tmp/state of sweeps/sweeper.prom'") == "10001\n"


def test_root_gets_cron_and_the_runner_below_it_another_user_the_sweepers_own_schedule(
    containers: dict[str, Container],
) -> None:
    by_root = {command: uid for uid, command, _ in containers["root"].processes()}
    assert by_root["cron -f"] == 0
    assert {uid for command, uid in by_root.items() if "facefusion-runner swap" in command} == {10001}
    by_other = {command: uid for uid, command, _ in containers["uid 10001"].processes()}
    assert not any("cron" in command for command in by_other)
    assert {uid for command, uid in by_other.items() if "sweeper schedule" in command} == {10001}


@pytest.mark.parametrize(("who", "command"), [("root", "cron -f"), ("uid 10001", "sweeper schedule")])
def test_a_schedule_that_dies_is_started_again(
    containers: dict[str, Container], who: str, command: str
) -> None:
    container = containers[who]
    container.kill(command)
    wait_until(lambda: "schedule ended with exit code 137" in container.logs(), 20, "the word about it")
    wait_until(lambda: any(command in line for _, line, _ in container.processes()), 30, "the new schedule")


def test_the_schedule_does_not_keep_a_container_from_its_end(containers: dict[str, Container]) -> None:
    for container in containers.values():
        # They get a third of a core.
        container.stop(grace=60)
        assert container.inspect()["State"]["ExitCode"] == 4, container.logs()
