"""The usual cron job and this sweeper on the same tree: what each deletes, keeps and says.

The usual job is one line of find: TTL in days, rounded by bc, and every error thrown away.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from facefusion_runner.cache.lease import Lease
from facefusion_runner.cache.root import open_root, prepare_root
from tests.sweeper.conftest import Sweeper

Mount = Callable[..., None]

USUAL_JOB = (
    "find $CACHE_ROOT -mindepth 1 -maxdepth 1 -type d -mtime "
    '+$(echo "scale=2; $CACHE_TTL_SECONDS/86400" | bc -l) -exec rm -rf {} + 2>/dev/null || true'
)

HOUR = 3600.0
DAY = 24 * HOUR


@pytest.fixture
def prepared(tmp_path: Path, mount: Mount) -> Iterator[Callable[[str], Sweeper]]:
    """Makes the same tree in a folder of a name; the tasks called live are held."""
    with ExitStack() as held:

        def prepare(name: str) -> Sweeper:
            sweeper = Sweeper(tmp_path / name)
            prepare_root(sweeper.root).close()
            root = held.enter_context(open_root(sweeper.root))
            for task in ("live_old", "live_writing"):
                held.callback(Lease.acquire(root, task).release)
            for task in (
                "orphan_an_hour_old",
                "orphan_three_days_old",
                "orphan_from_the_future",
                "with_volume",
            ):
                (sweeper.root / task).mkdir()
            (sweeper.root / "fresh").mkdir()
            (sweeper.root / "live_writing" / "frames").mkdir()
            (sweeper.root / "with_volume" / "models").mkdir()
            (tmp_path / f"{name} volume").mkdir()
            mount("--bind", tmp_path / f"{name} volume", sweeper.root / "with_volume" / "models")
            (tmp_path / f"{name} volume" / "weights").touch()
            ages = {
                "orphan_an_hour_old": HOUR,
                "orphan_three_days_old": 3 * DAY,
                "orphan_from_the_future": -DAY,
                "with_volume/models": 3 * DAY,
                "with_volume": 3 * DAY,
                "live_old": 3 * DAY,
                "live_writing": 3 * DAY,
            }
            for task, age in ages.items():
                when = time.time() - age
                os.utime(sweeper.root / task, (when, when))
            os.symlink(tmp_path, sweeper.root / "stray_link")
            os.utime(sweeper.root / "stray_link", (0, 0), follow_symlinks=False)
            return sweeper

        yield prepare


def test_side_by_side_with_a_ttl_of_300_seconds(prepared: Callable[[str], Sweeper], tmp_path: Path) -> None:
    if shutil.which("bc") is None:
        pytest.skip("needs bc, as the usual job does")
    theirs, ours = prepared("theirs"), prepared("ours")
    before = set(ours.names())
    assert before == set(theirs.names())

    environment = theirs.environment(CACHE_TTL_SECONDS=300)
    job = subprocess.run(["sh", "-c", USUAL_JOB], env=environment, capture_output=True, text=True)
    done = ours(CACHE_TTL_SECONDS=300)

    # The usual job deletes two live tasks, empties a mounted volume and keeps what is an hour old;
    # it says nothing and reports success.
    assert before - set(theirs.names()) == {"orphan_three_days_old", "live_old", "live_writing"}
    assert not (tmp_path / "theirs volume" / "weights").exists()
    assert (job.returncode, job.stdout, job.stderr) == (0, "", "")

    # This one deletes what nobody holds, leaves the volume alone, and says both.
    assert before - set(ours.names()) == {
        *("orphan_an_hour_old", "orphan_three_days_old", "orphan_from_the_future", "with_volume")
    }
    assert (tmp_path / "ours volume" / "weights").exists()
    assert set(ours.names()) == {"live_old", "live_writing", "fresh", "stray_link"}
    assert done.code == 1 and done.end["failures"] == {"EXDEV": 1}
    assert done.end["left"] == {"live": 2, "fresh": 1, "orphan": 0, "trash": 1}
    assert set(done.deleted) == before - set(ours.names())


@pytest.mark.parametrize("period", [60, 1800, 3600])
def test_no_orphan_outlives_the_ttl_and_the_period(sweeper: Sweeper, period: int) -> None:
    """The bound: TTL + period + the sweep's own seconds, for an orphan made just too late for one sweep."""
    (sweeper.root / "task").mkdir()
    assert sweeper(later=245).deleted == {}
    assert sweeper(later=245 + period).deleted == {"task": "expired"}
