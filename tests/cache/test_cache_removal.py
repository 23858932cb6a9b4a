"""Deleting a tree: all of it, nothing else, and what was freed."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from facefusion_runner.cache import removal
from facefusion_runner.cache.directories import open_directory
from facefusion_runner.cache.removal import Removal, discard, drain_trash, remove_file, remove_tree, trash
from facefusion_runner.cache.root import CacheRoot

Run = Callable[..., str]
Mount = Callable[..., None]


def remove(root: CacheRoot, name: str) -> Removal:
    return remove_tree(root.fd, name, root.mount)


@pytest.fixture
def place(root: CacheRoot) -> Path:
    return Path(root.path)


def test_everything_in_a_tree_goes(root: CacheRoot, place: Path) -> None:
    (place / "task" / "frames" / "0").mkdir(parents=True)
    for number in range(50):
        (place / "task" / "frames" / "0" / f"{number}.png").write_bytes(b"x")
    os.mkfifo(place / "task" / "fifo")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(place / "task" / "s"))
    (place / "task" / "dangling").symlink_to("nowhere")
    done = remove(root, "task")
    assert not (place / "task").exists()
    assert done.entries == 56 and not done.failures


def test_links_are_removed_and_what_they_lead_to_stays(root: CacheRoot, place: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "model.onnx").write_bytes(b"weights")
    (place / "task").mkdir()
    (place / "task" / "dir").symlink_to(tmp_path / "outside")
    (place / "task" / "file").symlink_to(tmp_path / "outside" / "model.onnx")
    (place / "link").symlink_to(tmp_path / "outside")
    assert not remove(root, "task").failures and not remove(root, "link").failures
    assert not (place / "task").exists() and not (place / "link").is_symlink()
    assert (tmp_path / "outside" / "model.onnx").read_bytes() == b"weights"


def test_a_directory_exchanged_for_a_link_at_the_last_moment_is_not_followed(
    root: CacheRoot, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "keep").touch()
    (place / "task" / "sub").mkdir(parents=True)

    def exchanging(parent_fd: int, name: str, mount: int) -> int:
        if name == "sub" and not (place / "task" / "sub").is_symlink():
            (place / "task" / "sub").rename(tmp_path / "moved")
            (place / "task" / "sub").symlink_to(tmp_path / "outside")
        return open_directory(parent_fd, name, mount)

    monkeypatch.setattr(removal, "open_directory", exchanging)
    assert not remove(root, "task").failures
    assert (tmp_path / "outside" / "keep").exists() and not (place / "task").exists()


def test_links_swapped_in_all_the_time_never_cost_a_file_outside(
    run: Run, root: CacheRoot, tmp_path: Path
) -> None:
    (tmp_path / "outside").mkdir()
    output = run(
        """
import contextlib, mmap, os, signal, sys
from facefusion_runner.cache.removal import remove_tree
from facefusion_runner.cache.root import prepare_root
root, outside = prepare_root(sys.argv[1]), sys.argv[2]
for n in range(20):
    open(f"{outside}/{n}", "w").close()
swaps = mmap.mmap(-1, 1)
os.chdir(root.path)
swapper = os.fork()
while not swapper:
    for old, new in (("task/sub", "aside"), (None, "task/sub"), ("task/sub", "link"), ("aside", "task/sub")):
        with contextlib.suppress(OSError):
            os.rename(old, new) if old else os.symlink(outside, new)
            swaps[0] |= new == "link"
    with contextlib.suppress(OSError):
        os.unlink("link")
for sweep in range(100):
    with contextlib.suppress(OSError):
        os.makedirs("task/sub/a")
        for n in range(20):
            open(f"task/sub/a/{n}", "w").close()
    remove_tree(root.fd, "task", root.mount)
os.kill(swapper, signal.SIGKILL)
os.wait()
print(swaps[0], sum(os.path.exists(f"{outside}/{n}") for n in range(20)))
""",
        root.path,
        tmp_path / "outside",
    )
    swaps, left = map(int, output.split())
    assert swaps > 0 and left == 20


def test_a_directory_moved_away_meanwhile_leads_to_nothing_outside(
    root: CacheRoot, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The way up from the moved directory leads outside, where there are directories of the same names."""
    for name in ("0", "1", "2"):
        (place / "task" / name / "inner").mkdir(parents=True)
        (tmp_path / "outside" / name / "keep").mkdir(parents=True)
    moved: list[Path] = []

    def moving(parent_fd: int, name: str, mount: int) -> int:
        fd = open_directory(parent_fd, name, mount)
        if name == "inner" and not moved:
            moved.append(Path(os.readlink(f"/proc/self/fd/{parent_fd}")))
            moved[0].rename(tmp_path / "outside" / "moved")
        return fd

    monkeypatch.setattr(removal, "open_directory", moving)
    assert not remove(root, "task").failures
    assert moved and not (place / "task").exists()
    assert len(list((tmp_path / "outside").glob("?/keep"))) == 3


@pytest.mark.parametrize("kind", ["bind", "tmpfs"])
def test_another_mount_inside_is_never_entered(
    root: CacheRoot, place: Path, tmp_path: Path, mount: Mount, kind: str
) -> None:
    (place / "task" / "sub" / "models").mkdir(parents=True)
    (place / "task" / "sub" / "frame.png").touch()
    (tmp_path / "volume").mkdir()
    if kind == "bind":
        mount("--bind", tmp_path / "volume", place / "task" / "sub" / "models")
    else:
        mount("-t", "tmpfs", "none", place / "task" / "sub" / "models")
    (place / "task" / "sub" / "models" / "weights").write_bytes(b"weights")
    (place / "task" / "sub" / "models").chmod(0)
    done = discard(root, "task")
    kept = next(place.glob(".trash/*/sub/models"))
    assert (kept / "weights").read_bytes() == b"weights" and kept.stat().st_mode & 0o777 == 0
    assert done.failures == {"EXDEV": 1} and "models" in done.example
    assert not (kept.parent / "frame.png").exists()


def test_an_entry_that_is_a_mount_itself_stays(
    root: CacheRoot, place: Path, tmp_path: Path, mount: Mount
) -> None:
    (place / "task").mkdir()
    (tmp_path / "volume").mkdir()
    (tmp_path / "volume" / "weights").touch()
    mount("--bind", tmp_path / "volume", place / "task")
    assert discard(root, "task").failures == {"EXDEV": 1}
    assert (tmp_path / "volume" / "weights").exists()


@pytest.mark.parametrize("depth", [1500, 5000])
def test_a_deep_tree_goes_with_few_descriptors(run: Run, root: CacheRoot, depth: int) -> None:
    output = run(
        """
import os, resource, sys
from facefusion_runner.cache.removal import discard
from facefusion_runner.cache.root import prepare_root
root, depth = prepare_root(sys.argv[1]), int(sys.argv[2])
os.mkdir("task", dir_fd=root.fd)
os.chdir(f"{root.path}/task")
for level in range(depth):
    os.mkdir("d"); os.mkdir("e"); open("f", "w").close()
    os.chdir("d")
os.chdir("/")
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
held = [os.open("/", os.O_RDONLY) for _ in range(50)]
done = discard(root, "task")
print(done.entries, sum(done.failures.values()), os.listdir(root.fd), os.listdir(root.trash_fd), done.example)
""",
        root.path,
        depth,
    )
    assert output.split()[:2] == [str(1 + 3 * depth), "0"], output
    assert "task" not in output and output.rstrip().endswith("[]")


def test_wide_trees_go_and_leave_no_descriptor_open(root: CacheRoot, place: Path) -> None:
    for number in range(300):
        (place / "task" / f"d{number}").mkdir(parents=True)
        (place / "task" / f"d{number}" / "file").touch()
    before = os.listdir("/proc/self/fd")
    done = discard(root, "task")
    assert done.entries == 601 and not done.failures
    assert os.listdir("/proc/self/fd") == before


@pytest.mark.parametrize(
    "name", [b"new\nline", b"-rf", b" lead", b"*", b"$(id)", b"\xff\xfe", b"x" * 255, "ü€".encode()]
)
def test_any_name_goes_by_way_of_the_trash(root: CacheRoot, place: Path, name: bytes) -> None:
    path = os.path.join(os.fsencode(place), name)
    os.mkdir(path)
    with open(os.path.join(path, name), "wb") as file:
        file.write(b"x")
    trashed = trash(root, os.fsdecode(name))
    assert trashed is not None and not os.path.lexists(path)
    ((_, done),) = drain_trash(root)
    assert done.entries == 2 and not done.failures and not os.listdir(place / ".trash")


def test_failures_are_told_in_text_any_stream_takes(root: CacheRoot, place: Path, mount: Mount) -> None:
    path = os.path.join(os.fsencode(place), b"\xff\n")
    os.mkdir(path)
    mount("-t", "tmpfs", "none", os.fsdecode(path))
    assert discard(root, os.fsdecode(b"\xff\n")).example.isascii()


def test_freed_bytes_are_allocated_blocks(root: CacheRoot, place: Path) -> None:
    (place / "task").mkdir()
    with open(place / "task" / "sparse", "wb") as file:
        file.truncate(1 << 30)
    (place / "task" / "full").write_bytes(os.urandom(1 << 20))
    os.sync()
    allocated = (place / "task" / "full").stat().st_blocks * 512
    assert allocated >= 1 << 20
    assert discard(root, "task").freed_bytes == allocated


def test_a_file_with_another_name_elsewhere_frees_nothing(
    root: CacheRoot, place: Path, tmp_path: Path
) -> None:
    (place / "task").mkdir()
    (tmp_path / "output.mp4").write_bytes(os.urandom(1 << 20))
    (place / "task" / "output.mp4").hardlink_to(tmp_path / "output.mp4")
    assert discard(root, "task").freed_bytes == 0
    assert (tmp_path / "output.mp4").stat().st_size == 1 << 20


def test_two_names_of_one_file_in_the_tree_count_once(root: CacheRoot, place: Path) -> None:
    (place / "task").mkdir()
    (place / "task" / "a").write_bytes(os.urandom(1 << 20))
    (place / "task" / "b").hardlink_to(place / "task" / "a")
    os.sync()
    allocated = (place / "task" / "a").stat().st_blocks * 512
    assert discard(root, "task").freed_bytes == allocated


def test_what_is_left_in_the_trash_is_counted_when_it_goes(root: CacheRoot, place: Path) -> None:
    (place / "task").mkdir()
    (place / "task" / "a").write_bytes(os.urandom(1 << 20))
    os.sync()
    assert trash(root, "task") is not None
    assert [done.freed_bytes >= 1 << 20 for _, done in drain_trash(root)] == [True]


def test_closed_directories_of_ours_are_opened_also_by_an_ordinary_user(
    run: Run, root: CacheRoot, place: Path, as_root_user: None
) -> None:
    output = run(
        """
import os, sys
from facefusion_runner.cache.removal import discard
from facefusion_runner.cache.root import prepare_root
root = prepare_root(sys.argv[1])
os.chown(root.fd, 65534, 65534); os.chown(root.trash_fd, 65534, 65534)
os.chmod(root.fd, 0o755)
os.setgroups([]); os.setgid(65534); os.setuid(65534)
os.mkdir("task", dir_fd=root.fd)
task = os.open("task", os.O_RDONLY, dir_fd=root.fd)
for mode in (0o000, 0o100, 0o200, 0o400, 0o500):
    name = f"{mode:03o}"
    os.mkdir(name, dir_fd=task); os.mkdir(f"{name}/sub", dir_fd=task)
    os.close(os.open(f"{name}/sub/file", os.O_CREAT | os.O_WRONLY, dir_fd=task))
    os.chmod(f"{name}/sub", mode, dir_fd=task); os.chmod(name, mode, dir_fd=task)
os.chmod("task", 0, dir_fd=root.fd)
done = discard(root, "task")
print(done.entries, dict(done.failures), done.example)
""",
        place,
    )
    assert output.strip() == "16 {}" and sorted(os.listdir(place)) == [".ff-cache-root", ".trash"]


def test_a_closed_mount_inside_is_not_opened_for_an_ordinary_user_either(
    run: Run, root: CacheRoot, place: Path, mount: Mount, as_root_user: None
) -> None:
    (place / "task" / "volume").mkdir(parents=True)
    mount("-t", "tmpfs", "-o", "uid=65534,mode=000", "none", place / "task" / "volume")
    output = run(
        """
import os, sys
from facefusion_runner.cache.removal import remove_tree
from facefusion_runner.cache.root import prepare_root
root = prepare_root(sys.argv[1])
os.chown(root.fd, 65534, 65534); os.chown(f"{root.path}/task", 65534, 65534)
os.setgroups([]); os.setgid(65534); os.setuid(65534)
print(dict(remove_tree(root.fd, "task", root.mount).failures))
""",
        place,
    )
    assert output.strip() == "{'EXDEV': 1}"
    assert (place / "task" / "volume").stat().st_mode & 0o777 == 0


def test_what_may_not_be_deleted_is_counted_and_the_rest_goes(
    run: Run, place: Path, as_root_user: None
) -> None:
    (place / "task" / "a").mkdir(parents=True)
    (place / "task" / "roots").mkdir()
    for name in ("a/mine", "roots/1", "roots/2"):
        (place / "task" / name).touch()
    output = run(
        """
import os, sys
from facefusion_runner.cache.removal import remove_tree
from facefusion_runner.cache.root import prepare_root
root = prepare_root(sys.argv[1])
for path in ("", "task", "task/a"):
    os.chown(f"{root.path}/{path}", 65534, 65534)
os.setgroups([]); os.setgid(65534); os.setuid(65534)
done = remove_tree(root.fd, "task", root.mount)
print(done.entries, dict(done.failures), done.example)
""",
        place,
    )
    assert output.startswith("2 {'EACCES': 2} 'task/roots/") and "Permission denied" in output
    assert sorted(os.listdir(place / "task" / "roots")) == ["1", "2"] and os.listdir(place / "task") == [
        "roots"
    ]


def test_without_a_usable_trash_deletion_happens_in_place(root: CacheRoot, place: Path) -> None:
    (place / "task" / "sub").mkdir(parents=True)
    (place / "task" / "sub" / "file").touch()
    assert discard(root._replace(trash_fd=None), "task").entries == 3
    assert not (place / "task").exists()


@pytest.mark.parametrize("error", [18, 13, 28], ids=["EXDEV", "EACCES", "ENOSPC"])
def test_when_the_rename_is_refused_deletion_happens_in_place(
    root: CacheRoot, place: Path, monkeypatch: pytest.MonkeyPatch, error: int
) -> None:
    (place / "task" / "sub").mkdir(parents=True)

    def refuse(*arguments: object, **keywords: object) -> None:
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(os, "rename", refuse)
    assert not discard(root, "task").failures and not (place / "task").exists()


def test_an_overlay_directory_of_a_lower_layer_goes(run: Run, tmp_path: Path, mount: Mount) -> None:
    (tmp_path / "disk").mkdir()
    mount("-t", "tmpfs", "none", tmp_path / "disk")
    disk = tmp_path / "disk"
    for name in ("lower/cache/task/sub", "upper", "work", "merged"):
        (disk / name).mkdir(parents=True)
    (disk / "lower/cache/.ff-cache-root").touch()
    (disk / "lower/cache/task/sub/file").touch()
    layers = f"lowerdir={disk}/lower,upperdir={disk}/upper,workdir={disk}/work"
    mount("-t", "overlay", "-o", layers, "none", disk / "merged")
    output = run(
        """
import os, sys
from facefusion_runner.cache.removal import discard
from facefusion_runner.cache.root import prepare_root
with prepare_root(sys.argv[1]) as root:
    done = discard(root, "task")
    print(done.entries, dict(done.failures), sorted(os.listdir(root.fd)), os.listdir(root.trash_fd))
""",
        disk / "merged" / "cache",
    )
    assert output.strip() == "3 {} ['.ff-cache-root', '.trash'] []"


def test_a_full_disk_does_not_hinder_deletion(tmp_path: Path, mount: Mount, run: Run) -> None:
    (tmp_path / "cache").mkdir()
    mount("-t", "tmpfs", "-o", "size=1m,nr_inodes=60", "none", tmp_path / "cache")
    output = run(
        """
import os, sys
from facefusion_runner.cache.removal import discard
from facefusion_runner.cache.root import prepare_root
with prepare_root(sys.argv[1]) as root:
    os.mkdir(f"{root.path}/task")
    try:
        with open(f"{root.path}/task/big", "wb") as file:
            while True:
                file.write(bytes(4096)); file.flush()
    except OSError as error:
        print(error.errno)
    try:
        for number in range(100):
            os.mkdir(f"{root.path}/task/{number}")
    except OSError as error:
        print(error.errno)
    done = discard(root, "task")
    print(dict(done.failures), sorted(os.listdir(root.fd)), os.listdir(root.trash_fd))
    print(done.freed_bytes >= 1 << 19)
""",
        tmp_path / "cache",
    )
    assert output.split("\n")[:4] == ["28", "28", "{} ['.ff-cache-root', '.trash'] []", "True"]


def test_several_deleters_of_one_tree_count_every_entry_once(run: Run, root: CacheRoot, place: Path) -> None:
    for number in range(60):
        (place / "task" / f"{number}").mkdir(parents=True)
        for file in range(20):
            (place / "task" / f"{number}" / f"{file}").touch()
    output = run(
        """
import os, sys
from facefusion_runner.cache.removal import remove_tree
from facefusion_runner.cache.root import prepare_root
root = prepare_root(sys.argv[1])
gate, opener = os.pipe()
for _ in range(3):
    if not os.fork():
        os.close(opener)
        os.read(gate, 1)
        done = remove_tree(root.fd, "task", root.mount)
        os.write(1, f"{done.entries} {sum(done.failures.values())}\\n".encode())
        os._exit(0)
os.close(opener)
for _ in range(3):
    os.wait()
""",
        root.path,
    )
    results = [tuple(map(int, line.split())) for line in output.splitlines()]
    assert len(results) == 3
    assert sum(entries for entries, _ in results) == 60 * 21 + 1
    assert not (place / "task").exists()


def test_a_directory_that_keeps_being_filled_ends_as_a_failure_not_a_hang(
    root: CacheRoot, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (place / "task" / "sub").mkdir(parents=True)
    remove_directory = os.rmdir

    def refilled(name: str, *, dir_fd: int) -> None:
        if name == "sub":
            (place / "task" / "sub" / "late").touch()
        remove_directory(name, dir_fd=dir_fd)

    monkeypatch.setattr(os, "rmdir", refilled)
    assert remove(root, "task").failures == {"ENOTEMPTY": 1}


def test_removing_what_is_not_there_is_nothing(root: CacheRoot) -> None:
    done = discard(root, "never")
    assert (done.entries, done.freed_bytes, done.failures) == (0, 0, {})


def test_a_deletion_that_is_stopped_says_so_and_can_be_finished_later(root: CacheRoot, place: Path) -> None:
    for number in range(5):
        (place / "task" / f"{number}").mkdir(parents=True)
        for file in range(10):
            (place / "task" / f"{number}" / f"{file}").touch()
    asked = iter([False] * 8 + [True] * 1000)
    before = os.listdir("/proc/self/fd")
    first = discard(root, "task", lambda: next(asked))
    assert not first.finished and 0 < first.entries < 56 and not first.failures
    assert not (place / "task").exists() and os.listdir("/proc/self/fd") == before
    ((_, rest),) = drain_trash(root)
    assert rest.finished and first.entries + rest.entries == 56 and not os.listdir(place / ".trash")


def test_draining_stops_between_two_entries_as_well(root: CacheRoot, place: Path) -> None:
    for name in ("a", "b", "c"):
        (place / ".trash" / name).mkdir()
    stop = [False]
    drained = drain_trash(root, lambda: stop[0])
    assert next(drained)[1].finished
    stop[0] = True
    assert list(drained) == [] and len(os.listdir(place / ".trash")) == 2


def test_one_file_is_removed_and_a_directory_in_its_place_is_not(root: CacheRoot, place: Path) -> None:
    (place / "stray").write_bytes(os.urandom(1 << 20))
    (place / "task").mkdir()
    os.sync()
    assert remove_file(root.fd, "stray").freed_bytes >= 1 << 20 and not (place / "stray").exists()
    assert remove_file(root.fd, "task").failures == {"EISDIR": 1} and (place / "task").is_dir()
    assert not remove_file(root.fd, "never").failures
