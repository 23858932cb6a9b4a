"""A task's cache: there while the task runs, gone when it ends, however it ends."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from ulid import ULID

from facefusion_runner.cache import lease, task_cache
from facefusion_runner.cache.lease import TaskBusy, is_alive
from facefusion_runner.cache.locks import Lock, try_lock
from facefusion_runner.cache.root import UnsafeRoot, open_root
from facefusion_runner.cache.task_cache import CachePolicy, TaskCache
from facefusion_runner.cache.task_id import new_task_id, valid_task_id
from facefusion_runner.errors import Cancelled, ConfigError, MediaError

Run = Callable[..., str]
Start = Callable[..., "subprocess.Popen[str]"]

AT_ONCE = CachePolicy(grace_seconds=0)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def left(place: Path) -> list[str]:
    """Everything in the root but its own marker and empty trash."""
    return sorted(
        str(path.relative_to(place))
        for path in place.rglob("*")
        if path.name not in (".ff-cache-root", ".trash")
    )


def test_a_task_that_succeeds_leaves_nothing(place: Path) -> None:
    with TaskCache(place, "task", AT_ONCE) as cache:
        assert cache.path == place / "task" and cache.path.stat().st_mode & 0o777 == 0o700
        (cache.path / "segments").mkdir()
        (cache.path / "segments" / "0.mkv").write_bytes(os.urandom(1 << 20))
    assert left(place) == []
    assert cache.removal is not None and cache.removal.freed_bytes >= 1 << 20 and not cache.removal.failures


@pytest.mark.parametrize(
    "error",
    [MediaError("frame 3"), ValueError(), Cancelled(), SystemExit(1), SystemExit(0), KeyboardInterrupt()],
)
def test_a_task_that_ends_otherwise_leaves_nothing_at_once(place: Path, error: BaseException) -> None:
    with pytest.raises(type(error)), TaskCache(place, "task", CachePolicy(grace_seconds=3600)) as cache:
        (cache.path / "file").touch()
        raise error
    assert left(place) == []


@pytest.mark.parametrize(
    ("policy", "error", "kept"),
    [
        (CachePolicy(keep="always"), None, True),
        (CachePolicy(keep="always"), MediaError(), True),
        (CachePolicy(keep="always"), Cancelled(), True),
        (CachePolicy(keep="on-failure", grace_seconds=0), None, False),
        (CachePolicy(keep="on-failure"), MediaError(), True),
        (CachePolicy(keep="on-failure"), SystemExit(1), True),
        (CachePolicy(keep="on-failure"), SystemExit(0), False),
        (CachePolicy(keep="on-failure"), Cancelled(), False),
        (CachePolicy(keep="on-failure"), KeyboardInterrupt(), False),
        (CachePolicy(auto_clear=False), None, True),
        (CachePolicy(auto_clear=False), MediaError(), True),
    ],
    ids=lambda value: repr(value)[:60] if isinstance(value, BaseException) else None,
)
def test_what_the_policy_keeps_stays_without_its_lease(
    place: Path, policy: CachePolicy, error: BaseException | None, kept: bool
) -> None:
    try:
        with TaskCache(place, "task", policy) as cache:
            (cache.path / "file").touch()
            if error is not None:
                raise error
    except BaseException as raised:
        assert raised is error
    assert left(place) == (["task", "task/.lease", "task/file"] if kept else [])
    with open_root(place) as root:
        assert not is_alive(root, "task")


def test_the_cache_is_there_during_the_grace_period(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[float, bool]] = []
    clock = [100.0]

    class Clock:
        @staticmethod
        def monotonic() -> float:
            return clock[0]

        @staticmethod
        def sleep(seconds: float) -> None:
            clock[0] += seconds
            seen.append((clock[0], (place / "task" / "file").exists()))

    monkeypatch.setattr(task_cache, "time", Clock)
    with TaskCache(place, "task", CachePolicy(grace_seconds=2)) as cache:
        (cache.path / "file").touch()
    assert seen[-1][0] == pytest.approx(102) and all(there for _, there in seen)
    assert left(place) == []


def test_a_stop_cuts_the_grace_period_short(place: Path) -> None:
    stop = threading.Event()
    timer = threading.Timer(0.1, stop.set)
    with TaskCache(place, "task", CachePolicy(grace_seconds=3600), stop=stop):
        timer.start()
    timer.join()
    assert left(place) == []


def test_an_interrupt_during_the_grace_period_still_removes_the_cache(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(time, "sleep", interrupted)
    with pytest.raises(KeyboardInterrupt), TaskCache(place, "task"):
        pass
    assert left(place) == []


def test_only_the_artifacts_asked_for_get_a_directory(place: Path) -> None:
    with TaskCache(place, "task", CachePolicy(grace_seconds=0, artifacts=frozenset({"crops"}))) as cache:
        assert os.listdir(cache.path) == [".lease"]
        assert cache.artifact_dir("frames") is None
        assert cache.artifact_dir("crops") == cache.path / "crops"
        assert cache.artifact_dir("crops") == cache.path / "crops"
        assert sorted(os.listdir(cache.path)) == [".lease", "crops"]
        with pytest.raises(ValueError, match="no artifact"):
            cache.artifact_dir("../crops")


def test_an_unknown_artifact_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="CACHE_ARTIFACTS=frame is unknown; allowed are frames, crops"):
        CachePolicy(artifacts=frozenset({"frame"}))


def test_two_tasks_share_a_root_without_touching_each_other(place: Path) -> None:
    with TaskCache(place, "one", AT_ONCE) as one:
        with TaskCache(place, "two", AT_ONCE) as two:
            (two.path / "file").touch()
            with pytest.raises(TaskBusy), TaskCache(place, "one", AT_ONCE):
                pass
        assert one.path.is_dir() and left(place) == ["one", "one/.lease"]


def test_a_start_that_is_refused_leaves_no_descriptor_open(place: Path) -> None:
    with TaskCache(place, "task", AT_ONCE):
        before = os.listdir("/proc/self/fd")
        with pytest.raises(TaskBusy), TaskCache(place, "task", AT_ONCE):
            pass
        with pytest.raises(UnsafeRoot), TaskCache("/tmp", "task", AT_ONCE):
            pass
        with pytest.raises(ConfigError), TaskCache(place, "other", CachePolicy(shared=True, ttl=1)):
            pass
        assert os.listdir("/proc/self/fd") == before
    assert left(place) == []


def test_a_task_leaves_no_descriptor_and_no_thread_behind(place: Path) -> None:
    before = os.listdir("/proc/self/fd"), threading.active_count()
    with TaskCache(place, "task", CachePolicy(grace_seconds=0, shared=True)):
        assert threading.active_count() == before[1] + 1
    assert (os.listdir("/proc/self/fd"), threading.active_count()) == before


def test_a_shared_root_sees_heartbeats(place: Path) -> None:
    with TaskCache(place, "task", CachePolicy(grace_seconds=0, shared=True, ttl=10)) as cache:
        os.utime(cache.path / ".lease", (0, 0))
        deadline = time.monotonic() + 10
        while (cache.path / ".lease").stat().st_mtime == 0:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_a_crashed_task_is_taken_up_again_when_asked(place: Path) -> None:
    with TaskCache(place, "task", CachePolicy(keep="always")) as cache:
        (cache.path / "segment").touch()
    with TaskCache(place, "task", AT_ONCE, adopt=True) as cache:
        assert (cache.path / "segment").exists()
    assert left(place) == []


def test_set_aside_takes_the_cache_out_of_sight_and_the_end_deletes_it(place: Path) -> None:
    with TaskCache(place, "task", CachePolicy(grace_seconds=3600)) as cache:
        (cache.path / "file").touch()
        cache.set_aside()
        assert not cache.path.exists() and len(os.listdir(place / ".trash")) == 1
        cache.set_aside()
    assert left(place) == []


def test_abandoning_deletes_at_once_and_the_end_of_the_block_is_harmless(place: Path) -> None:
    with TaskCache(place, "task", CachePolicy(grace_seconds=3600)) as cache:
        (cache.path / "file").touch()
        cache.abandon_now()
        assert left(place) == []
        with TaskCache(place, "task", AT_ONCE) as successor:
            cache.abandon_now()
            assert successor.path.is_dir()
    assert left(place) == []
    cache.abandon_now()


def test_abandoning_respects_what_the_policy_keeps(place: Path) -> None:
    with TaskCache(place, "task", CachePolicy(keep="always")) as cache:
        cache.abandon_now()
    assert left(place) == ["task", "task/.lease"]


def test_a_signal_in_the_middle_of_the_removal_finishes_it(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The handler runs inside the very removal it repeats, and then unwinds it."""
    cache = TaskCache(place, "task", AT_ONCE)
    unlink = os.unlink
    unlinked: list[str] = []

    def interrupted(name: str, *, dir_fd: int) -> None:
        unlink(name, dir_fd=dir_fd)
        unlinked.append(name)
        if len(unlinked) == 3:
            cache.abandon_now()
            raise SystemExit(143)

    monkeypatch.setattr(os, "unlink", interrupted)
    with pytest.raises(SystemExit), cache:
        for number in range(20):
            (cache.path / str(number)).touch()
    assert left(place) == [] and len(unlinked) == 21


SIGNALLED = """
import os, signal, sys, time
from facefusion_runner.cache.task_cache import CachePolicy, TaskCache
cache = TaskCache(sys.argv[1], "task", CachePolicy(grace_seconds=float(sys.argv[2])))
def stop(number, frame):
    cache.abandon_now()
    sys.exit(4)
signal.signal(signal.SIGTERM, stop)
signal.signal(signal.SIGINT, stop)
with cache:
    for number in range(200):
        open(cache.path / str(number), "w").close()
    print("ready", flush=True)
    if sys.argv[3] == "running":
        time.sleep(60)
    print("over", flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("phase", ["running", "grace"])
def test_a_signal_at_any_time_leaves_nothing(place: Path, start: Start, number: int, phase: str) -> None:
    process = start(SIGNALLED, place, 3600, phase)
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    if phase == "grace":
        assert process.stdout.readline() == "over\n"
    process.send_signal(number)
    assert process.wait(timeout=20) == 4
    assert left(place) == []


def test_an_exit_past_the_block_is_caught_at_the_end_of_the_process(place: Path, run: Run) -> None:
    run(
        """
import sys
from facefusion_runner.cache.task_cache import TaskCache
cache = TaskCache(sys.argv[1], "task").__enter__()
(cache.path / "file").touch()
""",
        place,
    )
    assert left(place) == []


@pytest.mark.parametrize(
    "end", ["sys.exit(0)", "cache.abandon_now()", "cache.set_aside()", "raise ValueError"]
)
def test_a_forked_child_that_ends_leaves_its_parents_cache(place: Path, run: Run, end: str) -> None:
    output = run(
        f"""
import os, sys
from facefusion_runner.cache.lease import is_alive
from facefusion_runner.cache.root import open_root
from facefusion_runner.cache.task_cache import CachePolicy, TaskCache
with TaskCache(sys.argv[1], "task", CachePolicy(grace_seconds=0, shared=True)) as cache:
    (cache.path / "file").touch()
    child = os.fork()
    if not child:
        sys.stderr = open(os.devnull, "w")
        {end}
        sys.exit(0)
    os.waitpid(child, 0)
    print((cache.path / "file").exists(), is_alive(open_root(sys.argv[1]), "task"))
""",
        place,
    )
    assert output.split() == ["True", "True"]
    assert left(place) == []


def test_a_multiprocessing_worker_that_ends_leaves_its_parents_cache(place: Path, run: Run) -> None:
    output = run(
        """
import multiprocessing, sys
from facefusion_runner.cache.task_cache import CachePolicy, TaskCache
with TaskCache(sys.argv[1], "task", CachePolicy(grace_seconds=0)) as cache:
    worker = multiprocessing.get_context("fork").Process(target=sys.exit)
    worker.start(); worker.join()
    print(cache.path.is_dir())
""",
        place,
    )
    assert output.strip() == "True" and left(place) == []


def test_sigkill_leaves_the_files_but_not_the_lease(place: Path, start: Start) -> None:
    process = start(SIGNALLED, place, 0, "running")
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    process.kill()
    process.wait()
    assert len(left(place)) == 202
    with open_root(place) as root:
        assert not is_alive(root, "task")
    with TaskCache(place, "task", AT_ONCE) as cache:
        assert os.listdir(cache.path) == [".lease"]
    assert left(place) == []


def test_what_could_not_be_deleted_is_said(
    place: Path, mount: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    with TaskCache(place, "task", AT_ONCE) as cache:
        (cache.path / "models").mkdir()
        (cache.path / "frame").touch()
        mount("-t", "tmpfs", "none", cache.path / "models")
        (cache.path / "models" / "weights").touch()
        cache.abandon_now()
    assert cache.removal is not None and cache.removal.failures == {"EXDEV": 1}
    assert cache.removal.entries == 2
    assert "1 entries of the task cache could not be deleted" in caplog.text and "models" in caplog.text
    assert list(place.glob(".trash/*/models/weights"))


def test_a_removed_root_does_not_turn_success_into_failure(place: Path) -> None:
    with TaskCache(place, "task", AT_ONCE) as cache:
        os.rename(place, place.with_name("moved"))
        assert not cache.path.exists()
    assert left(place.with_name("moved")) == []


def test_new_ids_are_ulids_that_sort_by_time() -> None:
    before = time.time()
    first = new_task_id()
    time.sleep(0.002)
    ids = [new_task_id() for _ in range(1000)]
    assert all(len(task_id) == 26 and valid_task_id(task_id) for task_id in ids)
    assert len(set(ids)) == 1000 and all(task_id > first for task_id in ids)
    assert before - 0.001 <= ULID.from_str(first).timestamp <= time.time()


def test_a_filesystem_that_fails_at_the_end_does_not_turn_success_into_failure(
    place: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> bool:
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))

    with TaskCache(place, "task", AT_ONCE):
        monkeypatch.setattr(lease, "is_entry", fail)
    assert "task could not be deleted: Stale file handle" in caplog.text
    assert not is_held(place / "task")


def is_held(directory: Path) -> bool:
    fd = os.open(directory, os.O_RDONLY)
    try:
        return try_lock(fd) is Lock.REFUSED
    finally:
        os.close(fd)
