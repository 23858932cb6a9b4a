"""Who holds a task's directory, and for how long."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from facefusion_runner.cache import lease
from facefusion_runner.cache.heartbeat import Heartbeat, heartbeat_interval
from facefusion_runner.cache.lease import Lease, TaskBusy, claim, is_alive
from facefusion_runner.cache.root import CacheRoot
from facefusion_runner.errors import ConfigError, InputError, StorageError

Run = Callable[..., str]
Start = Callable[..., "subprocess.Popen[str]"]

HOLDER = """
import os, subprocess, sys
from facefusion_runner.cache.lease import Lease
from facefusion_runner.cache.root import prepare_root
held = Lease.acquire(prepare_root(sys.argv[1]), "task")
if sys.argv[2:] == ["child"]:
    child = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, pass_fds=held.fds)
    print(child.pid, flush=True)
elif sys.argv[2:] == ["child without"]:
    child = subprocess.Popen(["sleep", "60"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    print(child.pid, flush=True)
else:
    print("held", flush=True)
sys.stdin.read()
"""


def wait_until_dead(root: CacheRoot, name: str) -> None:
    deadline = time.monotonic() + 10
    while is_alive(root, name):
        assert time.monotonic() < deadline, f"{name} is still alive"
        time.sleep(0.002)


def test_a_new_task_has_a_private_directory_and_tells_people_who_holds_it(root: CacheRoot) -> None:
    held = Lease.acquire(root, "task")
    path = Path(root.path, "task")
    about = json.loads((path / ".lease").read_text())
    assert path.stat().st_mode & 0o777 == 0o700
    assert about["task"] == "task" and about["pid"] == os.getpid() and about["host"] == os.uname().nodename
    assert time.strptime(about["started"], "%Y-%m-%dT%H:%M:%SZ")
    held.release()


def test_a_held_task_is_alive_and_a_released_one_is_not(root: CacheRoot) -> None:
    held = Lease.acquire(root, "task")
    assert is_alive(root, "task") and claim(root, "task") is None
    held.release()
    assert not is_alive(root, "task")
    assert not is_alive(root, "never")


def test_another_process_sees_the_lease(root: CacheRoot, start: Start) -> None:
    holder = start(HOLDER, root.path)
    assert holder.stdout is not None and holder.stdout.readline() == "held\n"
    assert is_alive(root, "task")
    with pytest.raises(TaskBusy, match="task is running already") as busy:
        Lease.acquire(root, "task")
    assert busy.value.exit_code == 2
    assert Path(root.path, "task", ".lease").exists()


def test_sigkill_of_the_holder_frees_the_lease_at_once(root: CacheRoot, start: Start) -> None:
    holder = start(HOLDER, root.path)
    assert holder.stdout is not None and holder.stdout.readline() == "held\n"
    holder.kill()
    holder.wait()
    assert not is_alive(root, "task")


def test_a_child_with_the_descriptors_keeps_the_task_alive_till_it_ends(
    root: CacheRoot, start: Start
) -> None:
    holder = start(HOLDER, root.path, "child")
    assert holder.stdout is not None
    child = int(holder.stdout.readline())
    os.kill(child, signal.SIGSTOP)
    holder.kill()
    holder.wait()
    assert is_alive(root, "task")
    os.kill(child, signal.SIGKILL)
    wait_until_dead(root, "task")


def test_a_child_without_the_descriptors_does_not_keep_it(root: CacheRoot, start: Start) -> None:
    holder = start(HOLDER, root.path, "child without")
    assert holder.stdout is not None
    child = int(holder.stdout.readline())
    try:
        holder.kill()
        holder.wait()
        assert not is_alive(root, "task")
    finally:
        os.kill(child, signal.SIGKILL)


def test_a_forked_child_that_releases_and_ends_leaves_the_parent_its_lease(run: Run, root: CacheRoot) -> None:
    output = run(
        """
import os, sys
from facefusion_runner.cache.lease import Lease, is_alive
from facefusion_runner.cache.root import prepare_root
root = prepare_root(sys.argv[1])
held = Lease.acquire(root, "task")
if not os.fork():
    held.release()
    sys.exit(0)
os.wait()
print(is_alive(root, "task"))
held.release()
print(is_alive(root, "task"))
""",
        root.path,
    )
    assert output.split() == ["True", "False"]


def test_a_crashed_task_of_the_same_id_is_replaced_by_an_empty_one(root: CacheRoot) -> None:
    Lease.acquire(root, "task").release()
    before = Path(root.path, "task").stat().st_ino
    Path(root.path, "task", "left").touch()
    held = Lease.acquire(root, "task")
    assert os.listdir(Path(root.path, "task")) == [".lease"] and not os.listdir(Path(root.path, ".trash"))
    assert held.holds_path() and Path(root.path, "task").stat().st_ino == os.fstat(held.fds[0]).st_ino
    assert before > 0
    held.release()


def test_adopting_a_crashed_task_keeps_its_files(root: CacheRoot) -> None:
    Lease.acquire(root, "task").release()
    Path(root.path, "task", "segment").touch()
    held = Lease.acquire(root, "task", adopt=True)
    assert sorted(os.listdir(Path(root.path, "task"))) == [".lease", "segment"] and is_alive(root, "task")
    with pytest.raises(TaskBusy):
        Lease.acquire(root, "task", adopt=True)
    held.release()


@pytest.mark.parametrize("task_id", ["", ".", "..", ".hidden", "a/b", "a b", "ä", "a\n", "x" * 65, "a.b"])
def test_a_malformed_id_is_refused(root: CacheRoot, task_id: str) -> None:
    with pytest.raises(InputError) as refused:
        Lease.acquire(root, task_id)
    assert "\n" not in str(refused.value)
    assert sorted(os.listdir(root.fd)) == [".ff-cache-root", ".trash"]


@pytest.mark.parametrize("task_id", ["-rf", "_", "A-z_0", "x" * 64])
def test_every_allowed_id_works(root: CacheRoot, task_id: str) -> None:
    held = Lease.acquire(root, task_id)
    assert is_alive(root, task_id)
    held.release()


def test_a_file_or_link_in_the_place_of_a_task_is_a_clear_error(root: CacheRoot, tmp_path: Path) -> None:
    Path(root.path, "file").touch()
    Path(root.path, "link").symlink_to(tmp_path)
    for name in ("file", "link"):
        with pytest.raises(StorageError, match="Not a directory"):
            Lease.acquire(root, name)
    assert Path(root.path, "link").is_symlink() and tmp_path.is_dir()


def test_a_full_disk_is_a_clear_error_and_leaves_nothing(
    tmp_path: Path, mount: Callable[..., None], run: Run
) -> None:
    (tmp_path / "cache").mkdir()
    mount("-t", "tmpfs", "-o", "size=1m,nr_inodes=20", "none", tmp_path / "cache")
    output = run(
        """
import os, sys
from facefusion_runner.cache.lease import Lease
from facefusion_runner.cache.root import prepare_root
from facefusion_runner.errors import StorageError
with prepare_root(sys.argv[1]) as root:
    names = iter(range(100))
    try:
        while True:
            open(f"{root.path}/fill{next(names)}", "w").close()
    except OSError:
        os.unlink(f"{root.path}/fill0")  # room for the directory, not for the file in it
    before = os.listdir("/proc/self/fd")
    try:
        Lease.acquire(root, "task")
    except StorageError as error:
        print(error)
    print("task" in os.listdir(root.fd), os.listdir(root.trash_fd), before == os.listdir("/proc/self/fd"))
""",
        tmp_path / "cache",
    )
    assert "No space left on device" in output.splitlines()[0]
    assert output.splitlines()[1] == "False [] True"


def test_a_start_waits_for_a_sweeper_that_is_only_looking(root: CacheRoot) -> None:
    Lease.acquire(root, "task").release()
    looking = claim(root, "task")
    assert looking is not None
    timer = threading.Timer(0.2, looking.close)
    timer.start()
    held = Lease.acquire(root, "task")
    timer.join()
    assert is_alive(root, "task")
    held.release()


@pytest.mark.parametrize("step", ["claim", "_write_lease"])
def test_a_start_cut_short_by_a_signal_leaves_no_directory(
    root: CacheRoot, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    step_done_properly = getattr(lease, step)
    calls: list[str] = []

    def interrupted_once(*arguments: object, **keywords: object) -> object:
        calls.append(step)
        if len(calls) == 1:
            raise KeyboardInterrupt
        return step_done_properly(*arguments, **keywords)

    monkeypatch.setattr(lease, step, interrupted_once)
    with pytest.raises(KeyboardInterrupt):
        Lease.acquire(root, "task")
    assert calls and sorted(os.listdir(root.fd)) == [".ff-cache-root", ".trash"]


def test_the_lock_file_alone_keeps_a_task_alive_too(root: CacheRoot) -> None:
    held = Lease.acquire(root, "task")
    os.close(held.fds[0])
    assert is_alive(root, "task")
    os.close(held.fds[1])
    assert not is_alive(root, "task")


def test_an_exchanged_directory_is_not_claimed(root: CacheRoot, monkeypatch: pytest.MonkeyPatch) -> None:
    Lease.acquire(root, "task").release()
    take = lease.try_lock

    def exchanging(fd: int) -> object:
        outcome = take(fd)
        if not Path(root.path, "old").exists():
            os.rename("task", "old", src_dir_fd=root.fd, dst_dir_fd=root.fd)
            os.mkdir("task", dir_fd=root.fd)
        return outcome

    monkeypatch.setattr(lease, "try_lock", exchanging)
    with pytest.raises(FileNotFoundError):
        claim(root, "task")
    assert claim(root, "task") is not None


def test_a_task_on_a_lockless_filesystem_lives_by_its_heartbeat(root: CacheRoot) -> None:
    lockless = root._replace(locks=False)
    held = Lease.acquire(lockless, "task", heartbeat_ttl=30)
    held.release()
    assert is_alive(lockless, "task", heartbeat_ttl=30)
    os.utime(Path(root.path, "task", ".lease"), (0, time.time() - 31))
    assert not is_alive(lockless, "task", heartbeat_ttl=30)
    os.utime(Path(root.path, "task", ".lease"), (0, time.time() + 3600))
    assert not is_alive(lockless, "task", heartbeat_ttl=30)


def test_a_directory_just_made_elsewhere_counts_as_alive_before_its_first_heartbeat(root: CacheRoot) -> None:
    lockless = root._replace(locks=False)
    os.mkdir("task", dir_fd=root.fd)
    assert is_alive(lockless, "task", heartbeat_ttl=30)
    with pytest.raises(TaskBusy):
        Lease.acquire(lockless, "task", heartbeat_ttl=30)
    os.utime(Path(root.path, "task"), (0, time.time() - 31))
    assert not is_alive(lockless, "task", heartbeat_ttl=30)


def test_the_heartbeat_touches_the_lease_and_ends(root: CacheRoot) -> None:
    held = Lease.acquire(root, "task")
    file = Path(root.path, "task", ".lease")
    os.utime(file, (0, 0))
    heartbeat = Heartbeat(held.fds[-1], 0.01)
    deadline = time.monotonic() + 10
    while file.stat().st_mtime == 0:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    heartbeat.stop()
    os.utime(file, (0, 0))
    time.sleep(0.05)
    assert file.stat().st_mtime == 0
    assert "cache-heartbeat" not in [thread.name for thread in threading.enumerate()]
    held.release()


def test_heartbeats_are_needed_only_where_locks_do_not_tell(root: CacheRoot) -> None:
    assert heartbeat_interval(root, shared=False, ttl=0) is None
    assert heartbeat_interval(root, shared=True, ttl=300) == 30
    assert heartbeat_interval(root._replace(locks=False), shared=False, ttl=10) == 1


def test_a_ttl_shorter_than_ten_heartbeats_is_refused(root: CacheRoot) -> None:
    with pytest.raises(ConfigError, match="CACHE_TTL_SECONDS=9 is too short: CACHE_SHARED is on"):
        heartbeat_interval(root, shared=True, ttl=9)
    with pytest.raises(ConfigError, match=r"locks of .* do not work"):
        heartbeat_interval(root._replace(locks=False), shared=False, ttl=9.5)


@pytest.mark.parametrize("module", ["lease", "task_cache", "heartbeat"])
def test_importing_the_cache_imports_the_standard_library_alone(run: Run, module: str) -> None:
    output = run(
        """
import sys
before = set(sys.modules)
__import__("facefusion_runner.cache." + sys.argv[1])
print(*sorted({name.split(".")[0] for name in set(sys.modules) - before} - sys.stdlib_module_names))
""",
        module,
    )
    assert output.split() == ["facefusion_runner"]


def test_no_starts_are_lost_to_deleters_at_ttl_zero(run: Run, start: Start, root: CacheRoot) -> None:
    """Three processes start and end tasks, two of them under the same ids, three delete what is free."""
    deleters = [
        start(
            """
import os, sys, threading
from facefusion_runner.cache.lease import claim
from facefusion_runner.cache.removal import discard
from facefusion_runner.cache.root import RESERVED, open_root
root, removed, done = open_root(sys.argv[1]), 0, threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), done.set()), daemon=True).start()
while not done.is_set():
    for name in set(os.listdir(root.fd)) - RESERVED:
        try:
            taken = claim(root, name)
        except FileNotFoundError:
            continue
        if taken is not None:
            removed += bool(discard(root, name).entries)
            taken.close()
print(removed)
""",
            root.path,
        )
        for _ in range(3)
    ]
    starters = [
        start(
            """
import os, sys
from facefusion_runner.cache.lease import Lease, TaskBusy
from facefusion_runner.cache.removal import discard
from facefusion_runner.cache.root import open_root
root, prefix = open_root(sys.argv[1]), sys.argv[2]
starts = violations = 0
for number in range(700):
    name = f"{prefix}{number % 10}"
    try:
        held = Lease.acquire(root, name)
    except TaskBusy:
        continue
    starts += 1
    try:
        with open(f"{root.path}/{name}/frame", "x") as file:
            file.write("x")
        entries = sorted(os.listdir(f"{root.path}/{name}"))
        violations += entries != [".lease", "frame"] or not held.holds_path()
    except OSError:
        violations += 1
    if number % 3:
        discard(root, name)
    held.release()
print(starts, violations)
""",
            root.path,
            prefix,
        )
        for prefix in ("own", "both", "both")
    ]
    results = [tuple(map(int, starter.communicate(timeout=100)[0].split())) for starter in starters]
    removed = [int(deleter.communicate(timeout=20)[0]) for deleter in deleters]
    assert sum(starts for starts, _ in results) > 1500
    assert [violations for _, violations in results] == [0, 0, 0]
    assert sum(removed) > 100, "the deleters never met a free directory: nothing was tested"
