"""Crashes, full and broken disks, mounts and strange trees: a sweep does its work and can be gone on with."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from facefusion_runner.cache.lease import Lease
from facefusion_runner.cache.root import open_root, prepare_root
from tests.sweeper.conftest import Sweeper, Swept

Task = Callable[..., Path]
Mount = Callable[..., None]

KILLED = """
import os, signal, sys
real, calls, stage, nth = getattr(os, sys.argv[1]), [], sys.argv[1], int(sys.argv[2])
after = sys.argv[3] == "after"
def deadly(*arguments, **keywords):
    calls.append(1)
    if len(calls) == nth and not after:
        os.kill(os.getpid(), signal.SIGKILL)
    result = real(*arguments, **keywords)
    if len(calls) == nth:
        os.kill(os.getpid(), signal.SIGKILL)
    return result
setattr(os, stage, deadly)
from sweeper.__main__ import main
main(["--json", "--start-up"])
"""
"""The sweeper, killed before or after its nth call of one function of the operating system."""


@pytest.mark.parametrize(
    ("call", "nth", "when"),
    [("rename", 1, "before"), ("rename", 1, "after"), ("unlink", 20, "before"), ("rmdir", 1, "after")],
)
def test_what_a_killed_sweeper_began_the_next_one_ends(
    sweeper: Sweeper, task: Task, call: str, nth: int, when: str
) -> None:
    task("a", files=50)
    task("b", files=50)
    process = sweeper.start(KILLED, call, str(nth), when)
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    renamed = (call, when) != ("rename", "before")
    assert sweeper.names() == (["b"] if renamed else ["a", "b"]) and len(sweeper.trash()) == renamed
    # What is in the trash goes at any age; what is not waits for its own.
    soon = sweeper()
    assert set(soon.deleted.values()) == ({"trash"} if renamed else set()) and sweeper.trash() == []
    sweeper(later=301)
    assert sweeper.names() == []


TASK = """
import os, signal, sys
from facefusion_runner.cache import lease
from facefusion_runner.cache.root import prepare_root
stage = sys.argv[2]
if stage != "running":
    name = {"mkdir": "claim", "lease": "_write_lease"}[stage]
    real = getattr(lease, name)
    def deadly(*arguments, **keywords):
        result = real(*arguments, **keywords) if stage == "lease" else None
        os.kill(os.getpid(), signal.SIGKILL)
    setattr(lease, name, deadly)
held = lease.Lease.acquire(prepare_root(sys.argv[1]), "task")
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("stage", ["mkdir", "lease", "running"])
def test_a_killed_task_is_kept_until_the_ttl_and_then_goes(sweeper: Sweeper, stage: str) -> None:
    process = sweeper.start(TASK, str(sweeper.root), stage)
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL and sweeper.names() == ["task"]
    assert (sweeper.root / "task" / ".lease").exists() is (stage != "mkdir")
    assert sweeper().end["left"]["fresh"] == 1
    assert sweeper(later=301).deleted == {"task": "expired"}


@pytest.mark.parametrize("stage", ["mkdir", "lease", "running"])
def test_a_killed_task_goes_at_the_next_start_up(sweeper: Sweeper, stage: str) -> None:
    sweeper.start(TASK, str(sweeper.root), stage).communicate(timeout=60)
    assert sweeper("--start-up").deleted == {"task": "start-up"}


PARENT = """
import subprocess, sys
from facefusion_runner.cache.lease import Lease
from facefusion_runner.cache.root import prepare_root
held = Lease.acquire(prepare_root(sys.argv[1]), "task")
child = subprocess.Popen(["sleep", "100"], pass_fds=held.fds, stdout=subprocess.DEVNULL)
print(child.pid, flush=True)
child.wait()
"""


def test_a_child_that_outlives_its_killed_parent_keeps_the_task(sweeper: Sweeper) -> None:
    process = sweeper.start(PARENT, str(sweeper.root))
    assert process.stdout is not None
    child = int(process.stdout.readline())
    try:
        process.kill()
        process.wait()
        assert sweeper(later=86400).end["left"]["live"] == 1
    finally:
        os.kill(child, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while Path(f"/proc/{child}/fd").exists() and os.listdir(f"/proc/{child}/fd"):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert sweeper(later=86400).deleted == {"task": "expired"}


FORKED = """
import os, sys
from facefusion_runner.cache.task_cache import TaskCache
with TaskCache(sys.argv[1], "task"):
    if not os.fork():
        sys.exit(0)
    os.wait()
    print("forked", flush=True)
    sys.stdin.read()
"""


def test_a_forked_child_that_ends_costs_its_parent_nothing(sweeper: Sweeper) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", FORKED, str(sweeper.root)],
        env=sweeper.environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    sweeper.running.append(process)
    assert process.stdout is not None and process.stdout.readline() == "forked\n"
    assert sweeper("--start-up").end["left"]["live"] == 1 and (sweeper.root / "task" / ".lease").exists()


def test_a_task_whose_pid_namespace_is_killed_is_free_at_once(sweeper: Sweeper) -> None:
    """As a container that is stopped by SIGKILL."""
    program = PARENT.replace('["sleep", "100"]', '["sh", "-c", "sleep 100 & wait"]')
    command = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", sys.executable, "-c", program]
    process = subprocess.Popen(
        [*command, str(sweeper.root)],
        env=sweeper.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    sweeper.running.append(process)
    assert process.stdout is not None and process.stderr is not None
    if not process.stdout.readline():
        pytest.skip(f"needs the right to make a pid namespace: {process.stderr.readline().strip()}")
    assert sweeper("--start-up").end["left"]["live"] == 1
    process.kill()
    process.communicate()
    deadline = time.monotonic() + 10
    while sweeper("--start-up").deleted != {"task": "start-up"}:
        assert time.monotonic() < deadline


def test_sigterm_ends_a_sweep_in_order_and_the_next_one_goes_on(sweeper: Sweeper, task: Task) -> None:
    task(files=3000)
    program = """
import os, signal, sys
real, calls = os.unlink, []
def unlink(*arguments, **keywords):
    real(*arguments, **keywords)
    calls.append(1)
    if len(calls) == 100:
        os.kill(os.getpid(), signal.SIGTERM)
os.unlink = unlink
from sweeper.__main__ import main
sys.exit(main(["--json", "--start-up"]))
"""
    process = sweeper.start(program)
    output, errors = process.communicate(timeout=60)
    lines = [json.loads(line) for line in output.splitlines()]
    assert process.returncode == 143, errors
    assert lines[-1]["result"] == "terminated" and 100 <= lines[-1]["entries"] < 200
    assert sweeper.metrics()['sweeps_total{result="terminated"}'] == 1 and len(sweeper.trash()) == 1
    rest = sweeper()
    assert set(rest.deleted.values()) == {"trash"} and rest.end["entries"] == 3003 - lines[-1]["entries"]
    assert sweeper.trash() == []


def fill(folder: Path) -> tuple[int, int]:
    """Write until there is neither a block nor an inode left; how the two attempts ended."""
    ends = []
    try:
        with open(folder / "big", "wb", buffering=0) as file:
            while True:
                file.write(bytes(1 << 16))
    except OSError as error:
        ends.append(error.errno)
    try:
        for number in range(100_000):
            (folder / f"{number}").touch()
    except OSError as error:
        ends.append(error.errno)
    return ends[0] or 0, ends[1] or 0


def test_on_a_tmpfs_without_a_free_block_or_inode_the_sweep_works(sweeper: Sweeper, mount: Mount) -> None:
    mount("-t", "tmpfs", "-o", "size=1m,nr_inodes=60", "none", sweeper.root)
    prepare_root(sweeper.root).close()
    (sweeper.root / "task").mkdir()
    assert fill(sweeper.root / "task") == (errno.ENOSPC, errno.ENOSPC)
    done = sweeper(later=301)
    assert done.code == 0 and done.deleted == {"task": "expired"} and sweeper.names() == []
    assert done.end["bytes"] >= 900_000 and sweeper.trash() == []


@pytest.fixture
def ext4(sweeper: Sweeper, mount: Mount, tmp_path: Path) -> Path:
    """An ext4 of 4 MiB with few inodes at the root, which need not be made first."""
    if shutil.which("mkfs.ext4") is None:
        pytest.skip("needs mkfs.ext4")
    image = tmp_path / "image"
    with open(image, "wb") as file:
        file.truncate(4 << 20)
    subprocess.run(["mkfs.ext4", "-q", "-N", "64", "-m", "0", str(image)], check=True, capture_output=True)
    mount("-o", "loop", image, sweeper.root)
    return image


def test_on_an_ext4_without_a_free_block_or_inode_the_sweep_works(sweeper: Sweeper, ext4: Path) -> None:
    prepare_root(sweeper.root).close()
    (sweeper.root / "task").mkdir()
    assert fill(sweeper.root / "task") == (errno.ENOSPC, errno.ENOSPC)
    with pytest.raises(OSError, match="No space"):
        (sweeper.root / "lock").touch()
    done = sweeper(later=301)
    assert done.code == 0 and done.deleted == {"task": "expired"}
    assert sweeper.names() == ["lost+found"] and done.end["bytes"] > 1 << 20


def test_when_the_trash_could_not_be_made_deletion_happens_in_place(sweeper: Sweeper, ext4: Path) -> None:
    prepare_root(sweeper.root).close()
    (sweeper.root / ".trash").rmdir()
    (sweeper.root / "task").mkdir()
    fill(sweeper.root / "task")
    (sweeper.root / "task" / "0").unlink()
    (sweeper.root / ".trash").touch()
    done = sweeper(later=301)
    assert done.code == 0 and done.deleted == {"task": "expired"}
    assert "task" not in os.listdir(sweeper.root)


def one_clear_line(done: Swept, part: str) -> None:
    assert done.code == 3 and len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("sweeper: CACHE_ROOT=") and part in done.stderr


def test_a_read_only_root_is_one_line_exit_3_and_a_count(sweeper: Sweeper, task: Task, mount: Mount) -> None:
    task()
    mount("--bind", sweeper.root, sweeper.root)
    mount("-o", "remount,bind,ro", sweeper.root)
    one_clear_line(sweeper.plain(later=301), "cannot be written")
    one_clear_line(sweeper.plain("--dry-run", later=301), "cannot be written")
    assert sweeper.metrics()['sweeps_total{result="unavailable"}'] == 1 and sweeper.names() == ["task"]
    assert sweeper(later=301).end["result"] == "unavailable"


def test_a_missing_root_is_one_line_exit_3_and_a_count(sweeper: Sweeper, tmp_path: Path) -> None:
    one_clear_line(sweeper.plain(CACHE_ROOT=tmp_path / "gone"), "No such file or directory")
    assert sweeper.metrics()['sweeps_total{result="unavailable"}'] == 1
    assert sweeper.metrics()["last_success_timestamp_seconds"] == 0 and not (tmp_path / "gone").exists()


def test_a_root_that_is_a_file_is_exit_3(sweeper: Sweeper, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    one_clear_line(sweeper.plain(CACHE_ROOT=tmp_path / "file"), "Not a directory")


NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")


@pytest.fixture
def nobodys(sweeper: Sweeper, as_root_user: None) -> Iterator[Sweeper]:
    """A root of an ordinary user, which can be reached by that user."""
    if shutil.which("setpriv") is None:
        pytest.skip("needs setpriv")
    opened = []
    for folder in sweeper.root.parents:
        if not folder.stat().st_mode & 0o001:
            opened.append((folder, folder.stat().st_mode))
            folder.chmod(folder.stat().st_mode | 0o011)
    sweeper.state.mkdir()
    for path in (sweeper.root, sweeper.state, *sweeper.root.iterdir()):
        os.chown(path, 65534, 65534)
    yield sweeper
    for folder, mode in opened:
        folder.chmod(mode)


def give(path: Path) -> None:
    for each in (path, *path.rglob("*")):
        os.chown(each, 65534, 65534)


def test_files_of_root_are_counted_and_the_rest_goes(nobodys: Sweeper, task: Task) -> None:
    task("roots")
    give(task("mine"))
    mixed = task("mixed")
    give(mixed)
    os.chown(mixed / "frames", 0, 0)
    done = nobodys(later=301, prefix=NOBODY)
    assert done.code == 1 and done.end["result"] == "failed"
    assert done.deleted == {"mine": "expired", "mixed": "expired", "roots": "expired"}
    assert nobodys.names() == ["roots"] and len(nobodys.trash()) == 1
    assert done.end["failures"] == {"EACCES": 8} and done.end["left"] == {
        "live": 0,
        "fresh": 0,
        "orphan": 1,
        "trash": 1,
    }
    metrics = nobodys.metrics()
    assert metrics['deletion_failures_total{reason="EACCES"}'] == 8
    assert metrics["last_sweep_failed_deletions"] == 8 and metrics["last_success_timestamp_seconds"] == 0


def test_a_private_directory_of_root_is_counted_and_the_rest_goes(nobodys: Sweeper, task: Task) -> None:
    task("roots").chmod(0o700)
    give(task("mine"))
    done = nobodys(later=301, prefix=NOBODY)
    assert done.code == 1 and nobodys.names() == ["roots"]
    assert sum(done.end["failures"].values()) == 1 and "roots" in done.end["example"]


@pytest.mark.parametrize("mode", [0o500, 0o400, 0o100, 0o000])
def test_closed_directories_of_ours_go(nobodys: Sweeper, task: Task, mode: int) -> None:
    path = task()
    give(path)
    (path / "frames").chmod(mode)
    path.chmod(mode)
    done = nobodys(later=301, prefix=NOBODY)
    assert done.code == 0 and done.deleted == {"task": "expired"} and nobodys.names() == []
    assert done.lines[0]["entries"] == 6 and nobodys.trash() == []


def test_a_root_of_somebody_else_is_exit_3(nobodys: Sweeper) -> None:
    os.chown(nobodys.root, 0, 0)
    nobodys.root.chmod(0o755)
    one_clear_line(nobodys.plain(later=301, prefix=NOBODY), "cannot be written")


@pytest.mark.parametrize("what", ["file", "directory", "task"])
def test_what_is_immutable_is_counted_and_the_rest_goes(sweeper: Sweeper, task: Task, what: str) -> None:
    path = task("fixed")
    task("other")
    fixed = {"file": path / "frames" / "0.png", "directory": path / "frames", "task": path}[what]
    if (
        shutil.which("chattr") is None
        or subprocess.run(["chattr", "+i", fixed], capture_output=True).returncode
    ):
        pytest.skip("needs chattr +i")
    try:
        done = sweeper(later=301)
        assert done.code == 1 and set(done.end["failures"]) <= {"EPERM"}
        assert sweeper.names() == (["fixed"] if what == "task" else []) and "other" in done.deleted
    finally:
        for found in (*sweeper.root.rglob("0.png"), *sweeper.root.rglob("frames"), path):
            subprocess.run(["chattr", "-i", found], capture_output=True)
    assert sweeper("--start-up").code == 0 and sweeper.names() == [] and sweeper.trash() == []


@pytest.mark.parametrize("kind", ["bind", "tmpfs"])
@pytest.mark.parametrize("place", ["task", "task/models"])
def test_a_mounted_volume_is_untouched_and_counted(
    sweeper: Sweeper, mount: Mount, tmp_path: Path, kind: str, place: str
) -> None:
    (tmp_path / "volume").mkdir()
    (sweeper.root / place).mkdir(parents=True)
    (sweeper.root / "other").mkdir()
    if kind == "bind":
        mount("--bind", tmp_path / "volume", sweeper.root / place)
    else:
        mount("-t", "tmpfs", "none", sweeper.root / place)
    (sweeper.root / place / "weights").touch()
    done = sweeper(later=301)
    assert done.code == 1 and done.end["failures"] == {"EXDEV": 1} and "other" in done.deleted
    assert len(list(sweeper.root.rglob("weights"))) == 1
    again = sweeper(later=602)
    assert again.code == 1 and sweeper.metrics()['deletion_failures_total{reason="EXDEV"}'] == 2


def test_links_are_removed_and_what_they_lead_to_stays(sweeper: Sweeper, task: Task, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "model.onnx").touch()
    path = task()
    (path / "dir").symlink_to(tmp_path / "outside")
    (path / "file").symlink_to(tmp_path / "outside" / "model.onnx")
    (sweeper.root / "link").symlink_to(tmp_path / "outside")
    assert sweeper(later=301).deleted == {"link": "stray", "task": "expired"}
    assert (tmp_path / "outside" / "model.onnx").exists() and sweeper.names() == []


SWAPPING = """
import contextlib, os, sys
os.chdir(sys.argv[1])
print("swapping", flush=True)
while True:
    for old, new in (("frames", "a"), (None, "frames"), ("frames", "l"), ("a", "frames")):
        with contextlib.suppress(OSError):
            os.rename(f"task/{old}", f"task/{new}") if old else os.symlink(sys.argv[2], f"task/{new}")
"""


def test_links_swapped_in_during_sweeps_cost_nothing_outside(
    sweeper: Sweeper, task: Task, tmp_path: Path
) -> None:
    (tmp_path / "outside").mkdir()
    for number in range(20):
        (tmp_path / "outside" / f"{number}.png").touch()
    swapping = sweeper.start(SWAPPING, str(sweeper.root), str(tmp_path / "outside"))
    assert swapping.stdout is not None and swapping.stdout.readline() == "swapping\n"
    gone = 0
    for _ in range(15):
        if not (sweeper.root / "task").exists():
            os.rename(task("fresh", files=100), sweeper.root / "task")
        gone += "task" in sweeper("--start-up").deleted
    assert gone > 5 and len(os.listdir(tmp_path / "outside")) == 20


def test_bytes_are_those_that_are_really_freed(sweeper: Sweeper, tmp_path: Path) -> None:
    """A sparse file, a file with another name elsewhere, and one full file that is still open."""
    (sweeper.root / "task").mkdir()
    with open(sweeper.root / "task" / "sparse", "wb") as file:
        file.truncate(1 << 30)
    (tmp_path / "output.mp4").write_bytes(bytes(1 << 20))
    (sweeper.root / "task" / "linked").hardlink_to(tmp_path / "output.mp4")
    with open(sweeper.root / "task" / "full", "wb") as file:
        file.write(os.urandom(1 << 20))
        file.flush()
        os.fsync(file.fileno())
        allocated = os.fstat(file.fileno()).st_blocks * 512
        assert sweeper(later=301).end["bytes"] == allocated
        assert os.fstat(file.fileno()).st_nlink == 0
    assert sweeper.metrics()["freed_bytes_total"] == allocated


@pytest.mark.parametrize("shape", ["100000 flat", "1000 x 100", "1500 deep", "5000 deep", "200 wide"])
def test_any_shape_goes_with_64_descriptors(sweeper: Sweeper, shape: str) -> None:
    count, kind = int(shape.split()[0]), shape.split()[-1]
    (sweeper.root / "task").mkdir()
    if kind == "flat":
        for number in range(count):
            os.mknod(sweeper.root / "task" / f"{number}")
    elif kind == "100":
        for number in range(count):
            (sweeper.root / "task" / f"{number}").mkdir()
            for inner in range(100):
                os.mknod(sweeper.root / "task" / f"{number}" / f"{inner}")
    elif kind == "wide":
        for number in range(count):
            (sweeper.root / f"task{number}" / "a" / "b").mkdir(parents=True)
    else:
        program = """
import os, sys
os.chdir(sys.argv[1])
for level in range(int(sys.argv[2])):
    os.mkdir("d"); os.mkdir("e")
    os.chdir("d")
"""
        process = sweeper.start(program, str(sweeper.root / "task"), str(count))
        assert process.wait(timeout=60) == 0
    done = sweeper(later=301, prefix=("prlimit", "--nofile=64:64"), SWEEP_TIME_BUDGET_SECONDS=240)
    assert done.code == 0 and "failures" not in done.end, done.stdout[-500:]
    assert sweeper.names() == [] and sweeper.trash() == []


@pytest.mark.parametrize("days", [10, -10])
def test_a_clock_that_jumps_costs_no_live_task(sweeper: Sweeper, task: Task, days: int) -> None:
    task("orphan")
    with open_root(sweeper.root) as root:
        held = Lease.acquire(root, "live")
        done = sweeper(later=days * 86400)
        assert done.deleted == {"orphan": "expired"} and held.holds_path()
        held.release()


def test_a_closed_pipe_under_the_output_costs_lines_not_the_sweep(sweeper: Sweeper, task: Task) -> None:
    task()
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "sweeper", "--json", "--start-up"]
    done = subprocess.run(
        command, env=sweeper.environment(), stdout=writer, stderr=subprocess.PIPE, timeout=60
    )
    os.close(writer)
    assert done.returncode == 0 and done.stderr == b"" and sweeper.names() == []


def test_a_full_disk_under_the_output_costs_lines_not_the_sweep(sweeper: Sweeper, task: Task) -> None:
    task()
    with open("/dev/full", "wb") as full:
        command = [sys.executable, "-m", "sweeper", "--start-up"]
        done = subprocess.run(command, env=sweeper.environment(), stdout=full, stderr=full, timeout=60)
    assert done.returncode == 0 and sweeper.names() == []
