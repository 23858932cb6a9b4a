"""Task starts against three sweepers that spare nothing free: no live task ever loses its cache.

The full number of starts is 100,000: SWEEP_RACE_STARTS=100000 python -m pytest tests/sweeper/test_race.py
"""

from __future__ import annotations

import os

import pytest

from tests.sweeper.conftest import Sweeper

STARTS = int(os.environ.get("SWEEP_RACE_STARTS", "10000"))

SWEEPING = """
import os, sys
from sweeper.outcome import Outcome
from sweeper.patience import Patience
from sweeper.report import Report
from sweeper.settings import read_settings
from sweeper.sweep import sweep
os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
settings, report = read_settings(os.environ), Report(as_json=True)
parent, sweeps, busy, deleted = os.getppid(), 0, 0, 0
while not os.path.exists(sys.argv[1]):
    outcome = sweep(settings, report, Patience(55))
    assert outcome.result in ("done", "busy"), (outcome.result, outcome.message, outcome.removal.example)
    sweeps += 1
    busy += outcome.result == "busy"
    deleted += outcome.deleted
print(sweeps, busy, deleted, file=sys.stderr)
"""

STARTING = """
import os, sys
from facefusion_runner.cache.lease import Lease, TaskBusy
from facefusion_runner.cache.root import open_root
root, prefix, wanted = open_root(os.environ["CACHE_ROOT"]), sys.argv[1], int(sys.argv[2])
starts = violations = number = 0
while starts < wanted:
    number += 1
    name = f"{prefix}{number % 50}"
    try:
        held = Lease.acquire(root, name)
    except TaskBusy:
        continue
    starts += 1
    try:
        frame = os.open(f"{name}/frame", os.O_WRONLY | os.O_CREAT | os.O_EXCL, dir_fd=root.fd)
        os.write(frame, b"x")
        there = os.fstat(frame).st_nlink == 1 and os.stat(f"{name}/.lease", dir_fd=root.fd).st_nlink == 1
        violations += not there or not held.holds_path()
        os.close(frame)
    except OSError:
        violations += 1
    held.release()
print(starts, violations)
"""


@pytest.mark.timeout(3600)
def test_no_task_start_is_lost_to_three_sweepers_at_ttl_zero(sweeper: Sweeper) -> None:
    """Four starters: two with ids of their own, two that compete for the same ones."""
    over = sweeper.state.with_name("over")
    sweepers = [sweeper.start(SWEEPING, str(over), CACHE_TTL_SECONDS=0) for _ in range(3)]
    prefixes = ("a", "b", "both", "both")
    starters = [sweeper.start(STARTING, prefix, str(STARTS // 4)) for prefix in prefixes]
    ends = [starter.communicate(timeout=3500) for starter in starters]
    over.touch()
    swept = [process.communicate(timeout=60)[1] for process in sweepers]
    print("starts and violations:", [output.split() for output, _ in ends])
    print("sweeps, busy, deleted:", [errors.split() for errors in swept])
    assert [output.split() for output, _ in ends] == [[str(STARTS // 4), "0"]] * 4, ends
    assert [process.returncode for process in sweepers] == [0, 0, 0], swept
    deleted = sum(int(errors.split()[2]) for errors in swept)
    assert deleted > STARTS / 100, "the sweepers hardly met a free directory: nothing was tested"
