"""The schedule in the foreground: it fires in time, one sweep at a time, and ends with its sweep."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import pytest

from sweeper.schedule import next_run
from tests.sweeper.conftest import Sweeper

Task = Callable[..., Path]

SOON = """
import sys, time
from sweeper.schedule import run_schedule
shift = {lead} - time.time() % 60
sys.exit(run_schedule("* * * * *", clock=lambda: time.time() + shift))
"""
"""A schedule of every minute under a clock on which a new minute is about to begin."""


@pytest.fixture
def soon(sweeper: Sweeper) -> Callable[..., subprocess.Popen[str]]:
    def begin(lead: float = 59.5, **settings: object) -> subprocess.Popen[str]:
        return sweeper.start(SOON.format(lead=lead), **settings)

    return begin


def wait_for(condition: Callable[[], object], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_the_command_fires_at_the_next_minute(sweeper: Sweeper, task: Task) -> None:
    """The only test on the real clock: it takes up to a minute."""
    task()
    command = [sys.executable, "-m", "sweeper", "schedule"]
    environment = sweeper.environment(SWEEP_SCHEDULE="* * * * *", CACHE_TTL_SECONDS=0)
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    sweeper.running.append(process)
    wait_for(lambda: not sweeper.names(), 70)
    assert time.time() % 60 < 20
    wait_for(lambda: not children(process.pid))
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=20)
    assert process.returncode == 143 and '"result": "done"' in output


def test_a_sweep_inherits_the_environment_and_the_output(
    sweeper: Sweeper, task: Task, soon: Callable[..., subprocess.Popen[str]]
) -> None:
    task()
    process = soon(CACHE_TTL_SECONDS=0)
    wait_for(lambda: not sweeper.names())
    wait_for(lambda: not children(process.pid))
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=20)
    assert process.returncode == 143 and '"name": "task"' in output


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_waiting_schedule_ends_at_once(
    soon: Callable[..., subprocess.Popen[str]], number: signal.Signals
) -> None:
    process = soon(lead=0)
    assert process.stderr is not None and process.stderr.readline() == "sweeper: sweeps at * * * * *\n"
    process.send_signal(number)
    assert process.wait(timeout=10) == 128 + number


def test_sigterm_is_passed_on_to_a_running_sweep_which_can_be_gone_on_with(
    sweeper: Sweeper, task: Task, soon: Callable[..., subprocess.Popen[str]]
) -> None:
    task(files=20_000)
    process = soon(CACHE_TTL_SECONDS=0)
    wait_for(lambda: not sweeper.names() and sweeper.trash())
    process.send_signal(signal.SIGTERM)
    output, errors = process.communicate(timeout=20)
    assert process.returncode == 143, errors
    assert '"result": "terminated"' in output and len(sweeper.trash()) == 1
    assert sweeper(SWEEP_TIME_BUDGET_SECONDS=240).end["left"]["trash"] == 0


def test_sweeps_never_overlap(sweeper: Sweeper, tmp_path: Path) -> None:
    """A clock on which a second is a minute, and sweeps that take three of them."""
    program = """
import sys, time
from sweeper.schedule import run_schedule
start = time.time()
command = ["/bin/sh", "-c", "echo start; sleep 2.5; echo end"]
sys.exit(run_schedule("* * * * *", command, clock=lambda: start + 60 * (time.time() - start), look_again=0.1))
"""
    process = sweeper.start(program)
    assert process.stdout is not None
    lines = [process.stdout.readline().strip() for _ in range(6)]
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=20)
    assert lines == ["start", "end"] * 3


def test_a_sweep_that_cannot_be_started_is_told_and_the_schedule_goes_on(sweeper: Sweeper) -> None:
    program = """
import sys, time
from sweeper.schedule import run_schedule
start = time.time()
clock = lambda: start + 60 * (time.time() - start)
sys.exit(run_schedule("* * * * *", ["/no/such"], clock=clock, look_again=0.1))
"""
    process = sweeper.start(program)
    assert process.stderr is not None and "sweeps at" in process.stderr.readline()
    for _ in range(2):
        assert "/no/such cannot be started: No such file" in process.stderr.readline()
    process.terminate()
    assert process.wait(timeout=10) == 143


def test_a_bad_schedule_does_not_start(sweeper: Sweeper) -> None:
    done = sweeper.plain("schedule", SWEEP_SCHEDULE="61 * * * *")
    assert done.code == 2 and re.fullmatch(r"sweeper: SWEEP_SCHEDULE='61 .*\n", done.stderr)
    assert sweeper.plain("schedule", CACHE_TTL_SECONDS="5m").code == 2


@pytest.fixture
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("schedule", "now", "due"),
    [
        ("0 * * * *", "2026-11-25 10:00", "2026-11-25 11:00"),
        ("* * * * *", "2026-11-25 10:00:30", "2026-11-25 10:01"),
        ("30 4 * * *", "2026-07-01 12:00", "2026-07-02 04:30"),
        ("@daily", "2026-11-25 10:00", "2026-11-26 00:00"),
        ("0 0 1 * mon", "2026-11-25 10:00", "2026-11-30 00:00"),
        ("0 0 * * 7", "2026-11-25 10:00", "2026-11-29 00:00"),
    ],
)
def test_the_next_run_is_crons_in_local_time(schedule: str, now: str, due: str, berlin: None) -> None:
    found = next_run(schedule, datetime.fromisoformat(now).timestamp())
    assert found == datetime.fromisoformat(due).timestamp()


def test_a_clock_that_is_set_back_does_not_put_sweeps_off(sweeper: Sweeper) -> None:
    """Three hours back while the schedule waits for an hourly run."""
    program = """
import sys, time
from sweeper.schedule import run_schedule
start, calls = time.time(), []
hour = 1_800_000_000
def clock():
    calls.append(1)
    passed = time.time() - start
    return hour + 5 + passed if len(calls) < 4 else hour - 3 * 3600 - 1.0 + passed
run_schedule("0 * * * *", ["/bin/echo", "swept"], clock=clock, look_again=0.2)
"""
    process = sweeper.start(program)
    assert process.stdout is not None and process.stdout.readline() == "swept\n"
    process.terminate()
    process.wait(timeout=10)
