"""What a sweep deletes, what it keeps, and how it ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from facefusion_runner.cache.lease import Lease
from facefusion_runner.cache.locks import Lock, try_lock
from facefusion_runner.cache.root import open_root
from tests.sweeper.conftest import Sweeper

Task = Callable[..., Path]
Mount = Callable[..., None]


def age(path: Path, seconds: float) -> None:
    """Set a modification time back; the change time stays, as nobody can set it."""
    when = time.time() - seconds
    os.utime(path, (when, when), follow_symlinks=False)


def test_an_orphan_goes_when_it_is_as_old_as_the_ttl_and_not_before(sweeper: Sweeper, task: Task) -> None:
    task()
    early = sweeper(later=250)
    assert early.code == 0 and early.end["left"]["fresh"] == 1 and sweeper.names() == ["task"]
    done = sweeper(later=301)
    assert done.code == 0 and done.deleted == {"task": "expired"}
    assert sweeper.names() == [] and sweeper.trash() == []


def test_the_ttl_is_honoured_to_the_second(sweeper: Sweeper, task: Task) -> None:
    task()
    assert sweeper(later=20, CACHE_TTL_SECONDS=60).deleted == {}
    assert sweeper(later=60, CACHE_TTL_SECONDS=60).deleted == {"task": "expired"}


def test_a_live_task_stays_whatever_its_age(sweeper: Sweeper, task: Task) -> None:
    task("orphan")
    with open_root(sweeper.root) as root:
        held = Lease.acquire(root, "live")
        done = sweeper(later=10 * 86400)
        assert done.deleted == {"orphan": "expired"} and done.end["left"]["live"] == 1
        assert sweeper("--start-up").deleted == {} and held.holds_path()
        held.release()
    assert sweeper("--start-up").deleted == {"live": "start-up"}


def test_one_young_file_deep_inside_keeps_a_tree(sweeper: Sweeper, task: Task) -> None:
    path = task()
    (path / "a" / "b" / "c").mkdir(parents=True)
    (path / "a" / "b" / "c" / "young").touch()
    for each in (path, path / "a", path / "a" / "b", path / "a" / "b" / "c"):
        age(each, 86400)
    assert sweeper().deleted == {} and sweeper.names() == ["task"]


def test_a_copy_that_kept_old_times_is_as_young_as_its_making(sweeper: Sweeper, task: Task) -> None:
    path = task()
    for each in (*path.rglob("*"), path):
        age(each, 86400)
    assert sweeper().deleted == {}


def test_old_directories_alone_are_old(sweeper: Sweeper) -> None:
    (sweeper.root / "task" / "sub").mkdir(parents=True)
    for name in ("task/sub", "task"):
        age(sweeper.root / name, 301)
    assert sweeper().deleted == {"task": "expired"}


def test_times_far_in_the_future_are_an_orphans(sweeper: Sweeper) -> None:
    """Their directory's time was set ahead, or the clock was set back."""
    (sweeper.root / "task").mkdir()
    age(sweeper.root / "task", -86400)
    assert sweeper().deleted == {"task": "expired"}


def test_a_clock_that_is_a_little_off_is_no_reason(sweeper: Sweeper) -> None:
    (sweeper.root / "task").mkdir()
    age(sweeper.root / "task", -200)
    assert sweeper().deleted == {}


def test_below_32_levels_nothing_is_judged_but_everything_goes(sweeper: Sweeper) -> None:
    (sweeper.root / "task" / "/".join("d" * 40)).mkdir(parents=True)
    done = sweeper(later=301)
    assert done.deleted == {"task": "expired"} and done.lines[0]["entries"] == 41


def test_stray_files_and_links_in_the_root_go_after_the_ttl_and_are_not_followed(
    sweeper: Sweeper, tmp_path: Path
) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "file").touch()
    (sweeper.root / "stray").write_bytes(bytes(5000))
    (sweeper.root / "link").symlink_to(tmp_path / "outside")
    os.mkfifo(sweeper.root / "fifo")
    assert sweeper().deleted == {} and sweeper.names() == ["fifo", "link", "stray"]
    assert sweeper(later=301).deleted == {"fifo": "stray", "link": "stray", "stray": "stray"}
    assert sweeper.names() == [] and (tmp_path / "outside" / "file").exists()


def test_the_roots_own_files_stay(sweeper: Sweeper) -> None:
    (sweeper.root / "lost+found").mkdir()
    age(sweeper.root, 10 * 86400)
    assert sweeper("--start-up").deleted == {}
    assert sorted(os.listdir(sweeper.root)) == [".ff-cache-root", ".trash", "lost+found"]


def test_the_trash_goes_first_and_at_any_age(sweeper: Sweeper) -> None:
    (sweeper.root / ".trash" / "task.0123").mkdir()
    (sweeper.root / ".trash" / "task.0123" / "file").write_bytes(os.urandom(1 << 20))
    os.sync()
    (sweeper.root / "a").touch()
    done = sweeper(later=301)
    assert list(done.deleted.items()) == [(".trash/task.0123", "trash"), ("a", "stray")]
    assert done.end["bytes"] >= 1 << 20 and sweeper.trash() == []


@pytest.mark.parametrize(
    "name",
    [b"new\nline", b"-rf", b" lead", b"*", b"$(id)", b"\xff\xfe", b"x" * 255, "ü€".encode(), b".hidden"],
)
@pytest.mark.parametrize("as_json", [True, False])
def test_any_name_goes_and_is_told_in_one_line_of_ascii(sweeper: Sweeper, name: bytes, as_json: bool) -> None:
    path = os.path.join(os.fsencode(sweeper.root), name)
    os.mkdir(path)
    with open(os.path.join(path, name), "wb") as file:
        file.write(b"x")
    done = sweeper.plain(*(["--json"] if as_json else []), later=301, PYTHONIOENCODING="utf-8:strict")
    assert done.code == 0 and sweeper.names() == [] and sweeper.trash() == []
    assert done.stdout.isascii() and len(done.stdout.splitlines()) == 2
    if as_json:
        assert os.fsencode(done.lines[0]["name"]) == name


def test_a_dry_run_says_what_would_go_and_changes_nothing(sweeper: Sweeper, task: Task) -> None:
    path = task()
    (sweeper.root / ".trash" / "old").mkdir()
    (sweeper.root / "stray").touch()
    os.sync()
    allocated = sum(each.stat().st_blocks * 512 for each in path.rglob("*") if each.is_file())
    before = sorted(map(str, sweeper.root.rglob("*")))
    told = sweeper("--dry-run", later=301)
    assert told.deleted == {".trash/old": "trash", "stray": "stray", "task": "expired"}
    assert next(line["bytes"] for line in told.lines if line.get("name") == "task") == allocated > 15000
    assert told.code == 0 and all(line["dry_run"] for line in told.lines)
    assert sorted(map(str, sweeper.root.rglob("*"))) == before and not sweeper.state.exists()
    done = sweeper(later=301)
    assert done.deleted == told.deleted
    assert [line.get("bytes") for line in done.lines[:-1]] == [line.get("bytes") for line in told.lines[:-1]]


def test_lines_for_people_say_the_same(sweeper: Sweeper, task: Task) -> None:
    task()
    lines = sweeper.plain(later=400).stdout.splitlines()
    assert lines[0].startswith("deleted 'task' (expired, unchanged for 40") and "6 entries" in lines[0]
    assert lines[1].startswith("sweep done in ") and "1 deleted" in lines[1] and "0 live" in lines[1]


def test_a_second_sweeper_ends_at_once(sweeper: Sweeper, task: Task) -> None:
    task()
    fd = os.open(sweeper.root, os.O_RDONLY)
    try:
        assert try_lock(fd) is Lock.TAKEN
        done = sweeper(later=301)
    finally:
        os.close(fd)
    assert (done.code, done.end["result"]) == (0, "busy") and sweeper.names() == ["task"]
    assert sweeper.metrics()['sweeps_total{result="busy"}'] == 1


@pytest.mark.parametrize("word", ["false", "FALSE", "0", "no", "Off", " n ", "f"])
def test_switched_off_nothing_goes(sweeper: Sweeper, task: Task, word: str) -> None:
    task()
    done = sweeper(later=301, AUTO_CLEAR_CACHE=word)
    assert (done.code, done.end["result"]) == (0, "disabled") and sweeper.names() == ["task"]
    assert sweeper("--start-up", AUTO_CLEAR_CACHE=word).end["result"] == "disabled"


@pytest.mark.parametrize("word", ["true", "True", "TRUE", "1", "yes", "ON", " y ", "t", ""])
def test_switched_on_it_goes(sweeper: Sweeper, task: Task, word: str) -> None:
    task()
    assert sweeper(later=301, AUTO_CLEAR_CACHE=word).deleted == {"task": "expired"}


@pytest.mark.parametrize(
    ("name", "text", "allowed"),
    [
        ("AUTO_CLEAR_CACHE", "disabled", "0/false/no"),
        ("AUTO_CLEAR_CACHE", "2", "0/false/no"),
        *(
            ("CACHE_TTL_SECONDS", text, "seconds as a number")
            for text in ("5m", "-1", "nan", "inf", "1_0", "0x1")
        ),
        ("CACHE_ROOT", "", "absolute path"),
        ("CACHE_ROOT", "cache", "absolute path"),
        ("CACHE_ROOT", "/tmp/a\nb/c", "line break"),
        ("CACHE_MAX_USAGE_PERCENT", "80%", "from 0 to 100"),
        ("CACHE_MAX_BYTES", "1G", "whole number"),
        ("CACHE_SHARED", "nfs", "1/true/yes"),
        ("SWEEP_STATE_ROOT", "state", "absolute path"),
        ("SWEEP_TIME_BUDGET_SECONDS", "0", "at least 1"),
    ],
)
def test_a_bad_setting_is_one_line_that_names_it(
    sweeper: Sweeper, name: str, text: str, allowed: str
) -> None:
    done = sweeper.plain(**{name: text})
    assert done.code == 2 and done.stdout == ""
    assert done.stderr.startswith(f"sweeper: {name}={text!r}: must") and allowed in done.stderr
    assert len(done.stderr.splitlines()) == 1
    as_json = sweeper(**{name: text})
    assert as_json.code == 2 and as_json.end["result"] == "refused" and name in as_json.end["message"]


@pytest.mark.parametrize("path", ["/", "/tmp", "/var/lib", "/root", "/home/me", "//"])
def test_an_unsafe_root_is_refused(sweeper: Sweeper, path: str) -> None:
    done = sweeper.plain(CACHE_ROOT=path)
    assert done.code == 2 and f"CACHE_ROOT={path} is refused" in done.stderr


def test_a_directory_without_our_marker_is_refused(sweeper: Sweeper, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").touch()
    age(tmp_path / "photos" / "a.jpg", 86400)
    done = sweeper(CACHE_ROOT=tmp_path / "photos", CACHE_TTL_SECONDS=0)
    assert done.code == 2 and os.listdir(tmp_path / "photos") == ["a.jpg"]
    assert sweeper.metrics()['sweeps_total{result="refused"}'] == 1


def test_a_state_folder_inside_the_cache_is_refused(sweeper: Sweeper) -> None:
    done = sweeper.plain(SWEEP_STATE_ROOT=sweeper.root / "state")
    assert done.code == 2 and "must not lie inside CACHE_ROOT" in done.stderr and sweeper.names() == []


def test_a_root_that_is_a_link_or_has_a_space_is_swept(sweeper: Sweeper, tmp_path: Path) -> None:
    sweeper.root.rename(tmp_path / "my cache")
    (tmp_path / "my cache" / "task").mkdir()
    (tmp_path / "my").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "my cache")
    assert sweeper(CACHE_ROOT=tmp_path / "link", later=301).deleted == {"task": "expired"}
    (tmp_path / "my cache" / "task").mkdir()
    assert sweeper(CACHE_ROOT=tmp_path / "my cache", later=301).deleted == {"task": "expired"}
    assert (tmp_path / "my").is_dir()


def test_without_a_root_in_the_environment_the_current_directory_is_safe(
    sweeper: Sweeper, tmp_path: Path
) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "model").mkdir()
    age(tmp_path / "work" / "model", 86400)
    environment = sweeper.environment()
    del environment["CACHE_ROOT"]
    program = "import os, sys; os.chdir(sys.argv.pop(1)); from sweeper.__main__ import main; sys.exit(main())"
    command = [sys.executable, "-c", program, str(tmp_path / "work"), "--dry-run"]
    subprocess.run(command, env=environment, capture_output=True, timeout=60)
    assert (tmp_path / "work" / "model").is_dir()


def test_an_empty_root_is_nothing_to_do(sweeper: Sweeper) -> None:
    done = sweeper()
    assert done.code == 0 and done.end["deleted"] == 0 and len(done.lines) == 1


def test_on_a_shared_root_heartbeats_count_and_start_up_spares_the_others(
    sweeper: Sweeper, task: Task
) -> None:
    task("elsewhere")
    assert sweeper("--start-up", CACHE_SHARED="true").deleted == {}
    assert sweeper(later=250, CACHE_SHARED="true").end["left"]["live"] == 1
    assert sweeper(later=301, CACHE_SHARED="true").deleted == {"elsewhere": "expired"}


def test_a_ttl_too_short_for_heartbeats_is_refused(sweeper: Sweeper) -> None:
    done = sweeper.plain(CACHE_SHARED="true", CACHE_TTL_SECONDS=5)
    assert done.code == 2 and "CACHE_TTL_SECONDS=5 is too short" in done.stderr


def test_the_same_id_started_again_is_another_task(sweeper: Sweeper, task: Task) -> None:
    """The old directory is in the trash when its id comes back."""
    old = task()
    (old / "old").touch()
    os.rename(old, sweeper.root / ".trash" / "task.0")
    with open_root(sweeper.root) as root:
        held = Lease.acquire(root, "task")
        (sweeper.root / "task" / "new").touch()
        done = sweeper(later=301)
        assert done.deleted == {".trash/task.0": "trash"} and done.end["left"]["live"] == 1
        assert held.holds_path() and (sweeper.root / "task" / "new").exists()
        held.release()


def test_out_of_time_what_is_left_waits_in_the_trash(sweeper: Sweeper, task: Task) -> None:
    """Everything is taken out of sight also when the time is over; the next sweep deletes the rest."""
    for name in ("a", "b", "c"):
        task(name, files=200)
    program = """
import sys, time
real, shift = time.time, 301
time.time = lambda: real() + shift
ticks = iter(range(10**9))
time.monotonic = lambda: next(ticks) * 0.1
from sweeper.__main__ import main
sys.exit(main())
"""
    process = sweeper.start(program, "--json", SWEEP_TIME_BUDGET_SECONDS=1)
    output, errors = process.communicate(timeout=60)
    lines = [json.loads(line) for line in output.splitlines()]
    assert process.returncode == 0, errors
    assert lines[-1]["result"] == "unfinished" and lines[-1]["left"]["trash"] == 3
    assert [line["finished"] for line in lines[:-1]] == [False] * 3 and sweeper.names() == []
    assert 0 < sum(line["entries"] for line in lines[:-1]) < 600
    rest = sweeper()
    assert set(rest.deleted.values()) == {"trash"} and len(rest.deleted) == 3 and sweeper.trash() == []
    assert lines[-1]["entries"] + rest.end["entries"] == 3 * 203


def test_a_sweep_that_ran_out_of_time_is_no_success_to_an_alert(sweeper: Sweeper, task: Task) -> None:
    sweeper()
    before = sweeper.metrics()["last_success_timestamp_seconds"]
    test_out_of_time_what_is_left_waits_in_the_trash(sweeper, task)
    assert sweeper.metrics()['sweeps_total{result="unfinished"}'] == 1
    assert sweeper.metrics()["last_success_timestamp_seconds"] > before


@pytest.mark.parametrize(
    "arguments", [["--nonsense"], ["nonsense"], ["--json", "check"], ["--dry", "crontab"]]
)
def test_a_wrong_command_line_is_told(sweeper: Sweeper, arguments: list[str]) -> None:
    done = sweeper.plain(*arguments)
    assert done.code == 2 and "usage: " in done.stderr


def test_help_teaches(sweeper: Sweeper) -> None:
    text = sweeper.plain("--help").stdout
    for word in ("CACHE_TTL_SECONDS", "SWEEP_STATE_ROOT", "--dry-run", "crontab", "schedule", "check", "143"):
        assert word in text


def test_check_makes_the_root_and_tells_what_it_found(sweeper: Sweeper, tmp_path: Path) -> None:
    done = sweeper.plain("check", CACHE_ROOT=tmp_path / "new")
    assert done.code == 0 and (tmp_path / "new" / ".ff-cache-root").is_file()
    assert [line.split(" ")[0] for line in done.stdout.splitlines()] == [
        *("CACHE_ROOT", "locks:", "trash:", "usage:", "orphans:", "state:")
    ]
    assert "locks: work" in done.stdout and sweeper.state.is_dir() and not os.listdir(sweeper.state)
    assert sweeper.plain("check", CACHE_ROOT="/tmp").code == 2
    assert sweeper.plain("check", CACHE_TTL_SECONDS="x").code == 2
    (tmp_path / "file").touch()
    refused = sweeper.plain("check", CACHE_ROOT=tmp_path / "file")
    assert refused.code == 3 and "Not a directory" in refused.stderr


def test_check_is_content_without_a_state_folder(sweeper: Sweeper, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = sweeper.plain("check", SWEEP_STATE_ROOT=tmp_path / "file")
    assert done.code == 0 and "there are no metrics" in done.stdout


def test_the_sweeper_loads_the_standard_library_alone(sweeper: Sweeper) -> None:
    program = """
import sys
before = set(sys.modules)
from sweeper.__main__ import main
code = main()
print(*sorted({name.split(".")[0] for name in set(sys.modules) - before} - sys.stdlib_module_names))
"""
    output, errors = sweeper.start(program).communicate(timeout=60)
    assert output.splitlines()[-1] == "facefusion_runner sweeper", errors
