"""Which directory may be CACHE_ROOT, and what preparing one does."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from facefusion_runner.cache.locks import Lock, locks_work, try_lock
from facefusion_runner.cache.root import (
    MARKER,
    TRASH,
    CacheRoot,
    RootUnavailable,
    UnsafeRoot,
    open_root,
    prepare_root,
)
from facefusion_runner.errors import ConfigError

Mount = Callable[..., None]


@pytest.mark.parametrize(
    "path",
    [
        *("", ".", "cache", "../cache", "~/cache", "/tmp/a\0b/c"),
        *("/", "//", "/tmp", "/tmp/", "/tmp/x/..", "/var", "/var/tmp", "/dev/shm", "/usr/lib", "/cache"),
        *("/home", "/home/somebody", "/root"),
    ],
)
def test_a_root_others_use_is_refused_in_one_line(path: str) -> None:
    with pytest.raises(UnsafeRoot) as refused:
        prepare_root(path)
    assert "CACHE_ROOT=" in str(refused.value) and "\n" not in str(refused.value)
    assert isinstance(refused.value, ConfigError) and refused.value.exit_code == 2


def test_the_users_home_is_refused_wherever_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    with pytest.raises(UnsafeRoot, match="home directory"):
        prepare_root(tmp_path / "me")
    assert not (tmp_path / "me").exists()
    prepare_root(tmp_path / "me" / "cache").close()


def test_a_link_to_a_refused_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/tmp")
    with pytest.raises(UnsafeRoot):
        prepare_root(tmp_path / "link")


def test_a_link_to_a_proper_directory_is_followed_once(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "disk")
    with prepare_root(tmp_path / "link") as root:
        assert root.path == os.path.realpath(tmp_path / "disk")


def test_a_directory_with_files_of_others_is_refused_and_untouched(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(b"a")
    with pytest.raises(UnsafeRoot, match="not ours"):
        prepare_root(tmp_path / "photos")
    assert os.listdir(tmp_path / "photos") == ["a.jpg"]


def test_a_new_root_is_made_and_marked_with_its_trash(tmp_path: Path) -> None:
    with prepare_root(tmp_path / "a b" / "cache"):
        assert sorted(os.listdir(tmp_path / "a b" / "cache")) == sorted([MARKER, TRASH])


def test_a_fresh_ext4_volume_counts_as_empty(tmp_path: Path) -> None:
    (tmp_path / "volume" / "lost+found").mkdir(parents=True)
    prepare_root(tmp_path / "volume").close()
    assert (tmp_path / "volume" / MARKER).is_file()


def test_a_marked_root_with_tasks_is_taken_again(root: CacheRoot) -> None:
    os.mkdir("task", dir_fd=root.fd)
    prepare_root(root.path).close()
    assert Path(root.path, "task").is_dir()


def test_a_linked_marker_does_not_make_a_directory_ours(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / MARKER).symlink_to(tmp_path)
    (tmp_path / "other" / "file").touch()
    with pytest.raises(UnsafeRoot):
        prepare_root(tmp_path / "other")


def test_the_sweeper_opens_only_what_is_marked_and_there(tmp_path: Path, root: CacheRoot) -> None:
    open_root(root.path).close()
    (tmp_path / "empty").mkdir()
    with pytest.raises(UnsafeRoot, match=MARKER):
        open_root(tmp_path / "empty")
    with pytest.raises(RootUnavailable, match="No such file"):
        open_root(tmp_path / "missing")
    assert not (tmp_path / "missing").exists() and not os.listdir(tmp_path / "empty")


def test_a_root_that_is_a_file_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RootUnavailable, match="Not a directory"):
        prepare_root(tmp_path / "file")


def test_a_read_only_root_is_one_clear_line(tmp_path: Path, mount: Mount) -> None:
    prepare_root(tmp_path / "cache").close()
    mount("--bind", tmp_path / "cache", tmp_path / "cache")
    mount("-o", "remount,bind,ro", tmp_path / "cache")
    for opening in (prepare_root, open_root):
        with pytest.raises(RootUnavailable, match="cannot be written"):
            opening(tmp_path / "cache")


def test_refused_roots_leave_no_descriptor_open(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").touch()
    before = os.listdir("/proc/self/fd")
    for _ in range(3):
        with pytest.raises(UnsafeRoot):
            prepare_root(tmp_path / "other")
        with pytest.raises(UnsafeRoot):
            open_root(tmp_path / "other")
    assert os.listdir("/proc/self/fd") == before


def test_the_probe_finds_working_locks_here_also_while_another_holds_one(root: CacheRoot) -> None:
    assert root.locks
    assert root.trash_fd is not None and try_lock(root.trash_fd) is Lock.TAKEN
    assert locks_work(root.trash_fd)


def test_the_probe_finds_locks_that_do_not_exclude(root: CacheRoot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fcntl.flock", lambda fd, operation: None)
    assert not locks_work(root.fd)


def test_the_probe_finds_locks_that_are_not_supported(
    root: CacheRoot, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unsupported(fd: int, operation: int) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("fcntl.flock", unsupported)
    assert not locks_work(root.fd)


def test_usage_tells_bytes_and_inodes(tmp_path: Path, mount: Mount) -> None:
    (tmp_path / "cache").mkdir()
    mount("-t", "tmpfs", "-o", "size=1m,nr_inodes=100", "none", tmp_path / "cache")
    with prepare_root(tmp_path / "cache") as root:
        empty = root.usage()
        assert empty.total_bytes == 1 << 20 and empty.total_inodes == 100 and empty.percent < 10
        (tmp_path / "cache" / "half").write_bytes(bytes(512 << 10))
        assert 50 <= root.usage().percent < 55
        for number in range(80):
            (tmp_path / "cache" / f"file{number}").touch()
        assert 80 <= root.usage().percent < 90
