"""Above a limit what nobody holds goes at once, oldest first, down to ten points below."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from facefusion_runner.cache.lease import Lease
from facefusion_runner.cache.root import Usage, open_root, prepare_root
from sweeper.pressure import Limits
from tests.sweeper.conftest import Sweeper

Mount = Callable[..., None]

MIB = 1 << 20


@pytest.fixture
def disk(sweeper: Sweeper, mount: Mount) -> Sweeper:
    """A root on a disk of 10 MiB and 200 inodes."""
    mount("-t", "tmpfs", "-o", "size=10m,nr_inodes=200", "none", sweeper.root)
    prepare_root(sweeper.root).close()
    return sweeper


def make(sweeper: Sweeper, names: str, size: int = 0, files: int = 0) -> None:
    """Caches nobody holds, each younger than the one before."""
    for name in names:
        path = sweeper.root / name
        path.mkdir()
        (path / "file").write_bytes(bytes(size))
        for number in range(files):
            (path / str(number)).touch()
        time.sleep(0.02)


def test_a_full_disk_costs_the_oldest_caches_until_it_is_ten_points_below(disk: Sweeper) -> None:
    make(disk, "dbca", size=2 * MIB)
    os.rename(disk.root / "a", disk.root / "e")
    (disk.root / "e" / "more").write_bytes(bytes(MIB // 2))  # 85 % in all
    done = disk(CACHE_MAX_USAGE_PERCENT=80)
    assert list(done.deleted.items()) == [("d", "pressure")] and disk.names() == ["b", "c", "e"]
    assert done.end["bytes"] == 2 * MIB and done.end["left"]["fresh"] == 3
    metrics = disk.metrics()
    assert metrics["filesystem_size_bytes"] == 10 * MIB and metrics["filesystem_avail_bytes"] < 4 * MIB
    assert metrics["bytes"] == 6 * MIB + MIB // 2


def test_below_the_limit_nothing_goes_early(disk: Sweeper) -> None:
    make(disk, "abcd", size=MIB)
    assert disk(CACHE_MAX_USAGE_PERCENT=80).deleted == {} and disk.names() == ["a", "b", "c", "d"]


def test_inodes_count_as_bytes_do(disk: Sweeper) -> None:
    make(disk, "abcd", files=42)
    done = disk(CACHE_MAX_USAGE_PERCENT=80)
    assert done.deleted == {"a": "pressure"} and disk.names() == ["b", "c", "d"]
    assert disk.metrics()["filesystem_files"] == 200


def test_a_live_task_stays_however_full_the_disk_is(disk: Sweeper) -> None:
    with open_root(disk.root) as root:
        held = Lease.acquire(root, "live")
        (disk.root / "live" / "file").write_bytes(bytes(9 * MIB))
        make(disk, "a", size=MIB // 2)
        done = disk(CACHE_MAX_USAGE_PERCENT=80)
        assert done.deleted == {"a": "pressure"} and held.holds_path() and done.code == 0
        held.release()


def test_an_absolute_limit_holds_for_all_caches_together(disk: Sweeper) -> None:
    make(disk, "abc", size=MIB)
    assert disk(CACHE_MAX_BYTES=3 * MIB).deleted == {}
    done = disk(CACHE_MAX_BYTES=3 * MIB - 1)
    assert done.deleted == {"a": "pressure"} and disk.metrics()["bytes"] == 2 * MIB
    assert disk(CACHE_MAX_BYTES=0).deleted == {"b": "pressure", "c": "pressure"}


def test_a_dry_run_predicts_what_pressure_would_take(disk: Sweeper) -> None:
    make(disk, "abcd", size=2 * MIB + MIB // 8)
    told = disk("--dry-run", CACHE_MAX_USAGE_PERCENT=80)
    assert told.deleted == {"a": "pressure"} and disk.names() == ["a", "b", "c", "d"]
    assert disk(CACHE_MAX_USAGE_PERCENT=80).deleted == told.deleted


def test_what_is_old_enough_goes_before_anything_goes_early(disk: Sweeper) -> None:
    make(disk, "ab", size=4 * MIB)
    old = disk.root / "old"
    old.mkdir()
    os.utime(old, (0, 0))
    done = disk(CACHE_MAX_USAGE_PERCENT=75)
    assert list(done.deleted.items()) == [("old", "expired"), ("a", "pressure")]


def test_the_kept_cache_of_a_failed_task_is_not_spared(disk: Sweeper, tmp_path: Path) -> None:
    with open_root(disk.root) as root:
        Lease.acquire(root, "kept").release()
    (disk.root / "kept" / "file").write_bytes(bytes(9 * MIB))
    assert disk(CACHE_MAX_USAGE_PERCENT=80).deleted == {"kept": "pressure"}


@pytest.mark.parametrize(
    ("usage", "cache_bytes", "exceeded", "relieved"),
    [
        (Usage(100, 19, 0, 0), 0, True, False),
        (Usage(100, 20, 0, 0), 0, False, False),
        (Usage(100, 25, 0, 0), 0, False, False),
        (Usage(100, 30, 0, 0), 0, False, True),
        (Usage(100, 90, 100, 10), 0, True, False),
        (Usage(100, 90, 0, 0), 1000, False, False),
        (Usage(100, 90, 0, 0), 1001, True, False),
        (Usage(100, 90, 0, 0), 900, False, True),
    ],
)
def test_the_limits_and_ten_points_below(
    usage: Usage, cache_bytes: int, exceeded: bool, relieved: bool
) -> None:
    limits = Limits(80, 1000)
    assert limits.exceeded(usage, cache_bytes) is exceeded
    assert limits.relieved().exceeded(usage, cache_bytes) is not relieved


def test_limits_near_zero_do_not_fall_below_it() -> None:
    assert Limits(5, None).relieved() == Limits(0, None)
