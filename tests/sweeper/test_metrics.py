"""The metrics file and the counters in it, which outlast the sweeper's processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from sweeper.metrics import METRICS
from tests.sweeper.conftest import Sweeper

Task = Callable[..., Path]
Mount = Callable[..., None]

NAMES = {
    "bytes",
    "task_dirs",
    "last_sweep_freed_bytes",
    "last_sweep_failed_deletions",
    "last_sweep_duration_seconds",
    "last_sweep_timestamp_seconds",
    "last_success_timestamp_seconds",
    "oldest_orphan_age_seconds",
    "filesystem_size_bytes",
    "filesystem_avail_bytes",
    "filesystem_files",
    "filesystem_files_free",
    "freed_bytes_total",
    "deletion_failures_total",
    "sweeps_total",
}


def test_the_file_is_prometheus_text_with_every_metric_explained(sweeper: Sweeper, task: Task) -> None:
    task()
    sweeper(later=301)
    families = list(text_string_to_metric_families((sweeper.state / "sweeper.prom").read_text()))
    found = {family.name + ("_total" if family.type == "counter" else "") for family in families}
    assert found == {f"facefusion_cache_{name}" for name in NAMES} and set(METRICS) == NAMES
    assert all(family.documentation and family.type in ("gauge", "counter") for family in families)
    labels = {label for family in families for sample in family.samples for label in sample.labels}
    assert labels <= {"state", "reason", "result"}
    assert "task" not in (sweeper.state / "sweeper.prom").read_text().replace("task_dirs", "").replace(
        "Task directories", ""
    )


def test_the_gauges_tell_the_last_sweep(sweeper: Sweeper, task: Task) -> None:
    task("a", files=10)
    os.sync()
    assert sweeper(later=400).deleted == {"a": "expired"}
    task("b")
    sweeper()
    metrics = sweeper.metrics()
    assert metrics['task_dirs{state="fresh"}'] == 1 and metrics['task_dirs{state="orphan"}'] == 0
    assert metrics["last_sweep_freed_bytes"] == 0 and metrics["oldest_orphan_age_seconds"] == 0
    assert metrics["freed_bytes_total"] >= 50_000 and metrics["bytes"] >= 15_000
    assert metrics["filesystem_size_bytes"] > metrics["filesystem_avail_bytes"] > 0


def test_the_age_of_the_oldest_orphan_is_what_the_sweep_met(sweeper: Sweeper, task: Task) -> None:
    task()
    sweeper(later=1000)
    assert 1000 <= sweeper.metrics()["oldest_orphan_age_seconds"] < 1060


def test_counters_go_on_from_process_to_process(sweeper: Sweeper, task: Task) -> None:
    for run in range(1, 4):
        task()
        os.sync()
        sweeper("--start-up")
        metrics = sweeper.metrics()
        assert metrics['sweeps_total{result="done"}'] == run
        assert metrics["freed_bytes_total"] == run * metrics["last_sweep_freed_bytes"] > 0
    sweeper(AUTO_CLEAR_CACHE="no")
    metrics = sweeper.metrics()
    assert metrics['sweeps_total{result="disabled"}'] == 1 and metrics['sweeps_total{result="done"}'] == 3
    assert metrics["last_sweep_freed_bytes"] > 0, "a sweep that did nothing leaves the gauges alone"


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"sweeps_total": 3}', '{"x": 1}', "\x00" * 100])
def test_a_damaged_state_begins_again(sweeper: Sweeper, damage: str) -> None:
    sweeper()
    (sweeper.state / "state.json").write_text(damage)
    assert sweeper().code == 0 and sweeper.metrics()['sweeps_total{result="done"}'] == 1


def test_sweeps_at_the_same_time_are_all_counted(sweeper: Sweeper) -> None:
    program = "from sweeper.__main__ import main; [main(['--json']) for _ in range(10)]"
    running = [sweeper.start(program) for _ in range(3)]
    for process in running:
        process.communicate(timeout=120)
    counts = [value for name, value in sweeper.metrics().items() if name.startswith("sweeps_total")]
    assert sum(counts) == 30


def test_a_reader_never_sees_half_a_file(sweeper: Sweeper) -> None:
    sweeper()
    done = threading.Event()
    torn, reads = [], 0

    def read() -> None:
        nonlocal reads
        while not done.is_set():
            text = (sweeper.state / "sweeper.prom").read_text()
            reads += 1
            if not text.endswith("\n") or "facefusion_cache_sweeps_total{" not in text:
                torn.append(text)

    reader = threading.Thread(target=read)
    reader.start()
    program = "from sweeper.__main__ import main; [main(['--json']) for _ in range(100)]"
    sweeper.start(program).communicate(timeout=120)
    done.set()
    reader.join()
    assert reads > 100 and torn == []


@pytest.mark.parametrize("place", ["file", "full", "read-only"])
def test_a_failing_state_folder_is_one_warning_and_no_failure(
    sweeper: Sweeper, task: Task, mount: Mount, place: str
) -> None:
    task()
    if place == "file":
        sweeper.state.touch()
    else:
        sweeper.state.mkdir()
        mount("-t", "tmpfs", "-o", "size=4k,nr_inodes=4", "none", sweeper.state)
        (sweeper.state / "full").write_bytes(bytes(4096))
        if place == "read-only":
            mount("-o", "remount,ro", sweeper.state)
    done = sweeper.plain(later=301)
    assert done.code == 0 and sweeper.names() == []
    assert len(done.stderr.splitlines()) == 1 and "metrics are lost" in done.stderr
    warnings = [line for line in sweeper().lines if line["event"] == "warning"]
    assert len(warnings) == 1 and str(sweeper.state) in warnings[0]["message"]


def test_without_a_home_there_is_one_warning(sweeper: Sweeper) -> None:
    environment = sweeper.environment(HOME="nowhere")
    del environment["SWEEP_STATE_ROOT"]
    command = [sys.executable, "-m", "sweeper"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and "set SWEEP_STATE_ROOT" in done.stderr


def test_the_state_lies_in_the_users_own_state_folder(sweeper: Sweeper, tmp_path: Path) -> None:
    for settings, place in (
        ({"HOME": tmp_path}, ".local/state"),
        ({"HOME": tmp_path, "XDG_STATE_HOME": tmp_path / "x"}, "x"),
    ):
        assert sweeper(SWEEP_STATE_ROOT="", **settings).code == 0
        assert (tmp_path / place / "facefusion-sweeper" / "sweeper.prom").is_file()


def test_a_collector_of_another_user_can_read_the_file(sweeper: Sweeper) -> None:
    sweeper()
    assert (sweeper.state / "sweeper.prom").stat().st_mode & 0o444 == 0o444
    assert sweeper.state.stat().st_mode & 0o555 == 0o555
    assert sorted(os.listdir(sweeper.state)) == ["state.json", "sweeper.prom"]
    assert json.loads((sweeper.state / "state.json").read_text())["sweeps_total"] == {"done": 1}
