"""The audit log says of every task how it ended, and shows when it was tampered with."""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from facefusion_runner.audit import AuditLog, Digests, Entry, digest, verify
from facefusion_runner.errors import Cancelled, ConfigError, InputError, RunnerError, StorageError
from facefusion_runner.pipeline.checkpoints import fingerprint
from facefusion_runner.pipeline.guarded import guarded_swap
from facefusion_runner.policies import Verdict
from facefusion_runner.progress import Progress
from facefusion_runner.settings import Settings
from tests.cli.conftest import REPOSITORY, Program
from tests.pipeline.conftest import SmallTask
from tests.policies.conftest import Bring, Swap, nothing_was_done


def entry(number: int = 0) -> Entry:
    return Entry(
        task_id=f"task{number}",
        outcome="succeeded",
        code=None,
        consent=True,
        sha256=Digests(("a", None), "b", None, "c"),
        verdicts=(Verdict("kind", True, None),),
        key="Zoë",
    )


def lines(log: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.read_text().splitlines()]


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "audit.jsonl"


@pytest.fixture
def full(log: Path) -> Path:
    """A log of five records."""
    writer = AuditLog(log)
    for number in range(5):
        writer.record(entry(number))
    return log


def test_a_record_holds_all_that_is_asked_of_it(log: Path) -> None:
    AuditLog(log).record(entry())
    AuditLog(log).record(entry())
    first, second = lines(log)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", first.pop("time"))
    assert first == {
        "task_id": "task0",
        "outcome": "succeeded",
        "code": None,
        "consent": True,
        "sha256": {"sources": ["a", None], "target": "b", "reference": None, "output": "c"},
        "verdicts": [{"policy": "kind", "allowed": True, "reason": None}],
        "key": "Zoë",
        "previous": None,
    }
    assert second["previous"] == hashlib.sha256(log.read_bytes().splitlines(True)[0]).hexdigest()
    assert stat.S_IMODE(log.stat().st_mode) == 0o600


def test_an_untouched_log_is_right_and_its_last_digest_is_that_of_sha256sum(full: Path) -> None:
    tail = subprocess.run(
        ["sh", "-c", f"tail -n 1 {full} | sha256sum"], capture_output=True, text=True, check=True
    )
    assert verify(full) == (5, tail.stdout.split()[0])


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda text: [text[0], text[1].replace(b"task1", b"task9"), *text[2:]], 3),
        (lambda text: [text[0].replace(b"true", b"false"), *text[1:]], 2),
        (lambda text: text[1:], 1),
        (lambda text: [*text[:2], *text[3:]], 3),
        (lambda text: [text[0], text[2], text[1], *text[3:]], 2),
        (lambda text: [*text[:3], text[2], *text[3:]], 4),
        (lambda text: [text[0].replace(b": ", b":"), *text[1:]], 2),
    ],
    ids=["changed", "first changed", "first gone", "gone", "moved", "twice", "written otherwise"],
)
def test_tampering_shows(full: Path, change: Callable[[list[bytes]], list[bytes]], line: int) -> None:
    full.write_bytes(b"".join(change(full.read_bytes().splitlines(True))))
    with pytest.raises(RunnerError, match=rf"audit.jsonl: line {line} does not follow"):
        verify(full)


@pytest.mark.parametrize("junk", [b"{}\n", b"[]\n", b"3\n", b"\xff\n", b"\n"])
def test_what_is_no_record_shows(full: Path, junk: bytes) -> None:
    full.write_bytes(full.read_bytes() + junk)
    with pytest.raises(RunnerError, match="line 6 is no record"):
        verify(full)


def test_what_a_crash_left_of_a_line_is_neither_hidden_nor_in_the_way(full: Path) -> None:
    content = full.read_bytes()
    full.write_bytes(content[:-20])
    AuditLog(full).record(entry(7))
    with pytest.raises(RunnerError, match="line 5 is no record"):
        verify(full)
    *_, torn, last = full.read_bytes().splitlines(True)
    assert json.loads(last)["task_id"] == "task7"
    assert json.loads(last)["previous"] == hashlib.sha256(torn).hexdigest()


def test_long_lines_are_chained_too(log: Path) -> None:
    writer = AuditLog(log)
    for length in (0, 4094, 4095, 4096, 4097, 100_000):
        writer.record(Entry("x" * length, "failed", "failed", False, Digests()))
    assert verify(log)[0] == 6


def test_writers_of_several_threads_and_processes_keep_one_chain(log: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from threading import Thread\n"
        "from facefusion_runner.audit import AuditLog\n"
        "from tests.policies.test_audit import entry\n"
        "writer = AuditLog(Path(sys.argv[1]))\n"
        "work = lambda: [writer.record(entry(number)) for number in range(100)]\n"
        "threads = [Thread(target=work) for _ in range(2)]\n"
        "print('ready', flush=True); sys.stdin.readline()\n"
        "[thread.start() for thread in threads]; [thread.join() for thread in threads]\n"
    )
    command = [sys.executable, "-c", script, str(log)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    writers = [subprocess.Popen(command, cwd=REPOSITORY, text=True, **pipes) for _ in range(3)]
    assert [writer.stdout.readline() for writer in writers if writer.stdout] == ["ready\n"] * 3
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("go\n")
        writer.stdin.flush()
    for writer in writers:
        writer.communicate(timeout=120)
    assert [writer.returncode for writer in writers] == [0, 0, 0]
    assert verify(log)[0] == 600


def test_a_record_for_which_there_is_no_room_leaves_the_log_as_it_was(full: Path) -> None:
    before = full.read_bytes()
    script = (
        "import resource, sys; from pathlib import Path\n"
        "from facefusion_runner.audit import AuditLog\n"
        "from facefusion_runner.errors import StorageError\n"
        "from tests.policies.test_audit import entry\n"
        "log = Path(sys.argv[1])\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (log.stat().st_size + 10,) * 2)\n"
        "try:\n"
        "    AuditLog(log).record(entry())\n"
        "except StorageError as error:\n"
        "    print(error)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", script, str(full)], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert result.stdout == f"the audit log {full} cannot be written: File too large\n"
    assert full.read_bytes() == before


@pytest.mark.parametrize("place", ["nowhere/audit.jsonl", ".", "/dev/null", "/proc/audit.jsonl"])
def test_a_log_that_cannot_be_written_ends_a_task_before_it_begins(
    swap: Swap, tmp_path: Path, place: str
) -> None:
    result = swap(AUDIT_LOG=place)
    assert result.returncode == 2
    assert result.stderr.startswith(f"error: AUDIT_LOG {place} cannot be written: ")
    assert result.stderr.count("\n") == 1
    assert nothing_was_done(tmp_path)


def test_a_log_inside_the_cache_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="must not lie inside"):
        Settings(cache_root=tmp_path, audit_log=tmp_path / "audit.jsonl")


def test_success_is_recorded_with_the_digests_of_all_files(task: SmallTask, log: Path) -> None:
    source = task.options["source"][0]
    settings = task.settings(reference=source, source=(source, source), audit_log=log, consent=True)
    guarded_swap(settings, task.reporter, task.stop)
    (record,) = lines(log)
    assert (record["outcome"], record["code"], record["consent"]) == ("succeeded", None, True)
    assert (record["key"], record["verdicts"]) == (None, [])
    assert re.fullmatch(r"[0-9A-Z]{26}", record["task_id"])
    assert record["sha256"] == {
        "sources": [sha256(source)] * 2,
        "target": sha256(task.folder / "target.mp4"),
        "reference": sha256(source),
        "output": sha256(task.output),
    }
    assert task.caches() == []


def test_refusals_are_recorded_with_what_the_policies_said(
    bring: Bring, swap: Swap, log: Path, tmp_path: Path
) -> None:
    bring("a_kind")
    bring("b_strict", "return 'never'")
    assert swap("--task-id", "mine", AUDIT_LOG=str(log)).returncode == 3
    assert swap(AUDIT_LOG=str(log), REQUIRE_CONSENT="1").returncode == 3
    first, second = lines(log)
    assert (first["task_id"], first["outcome"], first["code"]) == ("mine", "refused", "refused")
    assert first["verdicts"] == [
        {"policy": "a_kind", "allowed": True, "reason": None},
        {"policy": "b_strict", "allowed": False, "reason": "never"},
    ]
    files = {"sources": [sha256(tmp_path / "source.png")], "target": sha256(tmp_path / "target.png")}
    assert first["sha256"] == second["sha256"] == {**files, "reference": None, "output": None}
    assert (second["outcome"], second["code"], second["verdicts"]) == ("refused", "consent_required", [])
    assert verify(log)[0] == 2


def test_success_is_recorded_with_what_the_policies_said(bring: Bring, swap: Swap, log: Path) -> None:
    bring("kind")
    assert swap(AUDIT_LOG=str(log)).returncode == 0
    assert lines(log)[0]["verdicts"] == [{"policy": "kind", "allowed": True, "reason": None}]


def test_a_task_that_cannot_be_planned_is_recorded(task: SmallTask, log: Path) -> None:
    target = task.folder / "target.mp4"
    target.unlink()
    with pytest.raises(InputError):
        guarded_swap(task.settings(audit_log=log), task.reporter, task.stop)
    (record,) = lines(log)
    assert (record["outcome"], record["code"]) == ("failed", "bad_input")
    assert record["sha256"]["target"] is None
    assert record["sha256"]["sources"] == [sha256(task.options["source"][0])]


def test_a_cancelled_task_is_recorded(task: SmallTask, log: Path) -> None:
    task.stop.set()
    with pytest.raises(Cancelled):
        guarded_swap(task.settings(audit_log=log), task.reporter, task.stop)
    assert [(each["outcome"], each["code"]) for each in lines(log)] == [("cancelled", "cancelled")]


def test_a_task_that_is_told_to_stop_is_recorded(task: SmallTask, log: Path) -> None:
    flags = {**task.options, "progress": "json", "source": task.options["source"][0], "audit_log": log}
    command = [sys.executable, "-m", "facefusion_runner", "swap"]
    command += [part for name, value in flags.items() for part in (f"--{name.replace('_', '-')}", str(value))]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if json.loads(line).get("stage") == "loading":
                process.send_signal(signal.SIGTERM)
                break
        process.communicate(timeout=60)
    assert process.returncode == 4
    assert [each["outcome"] for each in lines(log)] == ["cancelled"]


def test_a_task_that_is_abandoned_is_recorded_once(task: SmallTask, log: Path) -> None:
    at = task.reporter.progress

    def abandon(event: Progress) -> None:
        at(event)
        if event.stage == "preparing":
            task.stop.abandon()
            task.stop.set()

    task.reporter.progress = abandon  # type: ignore[method-assign]
    with pytest.raises(RunnerError):
        guarded_swap(task.settings(audit_log=log), task.reporter, task.stop)
    (record,) = lines(log)
    assert record["outcome"] == "cancelled"
    assert record["sha256"]["target"] == sha256(task.folder / "target.mp4")


@pytest.fixture
def losing(task: SmallTask, log: Path) -> SmallTask:
    """While the task is finishing, or ends early, something that is no file takes the log's place."""
    at = task.reporter.progress

    def replace(event: Progress) -> None:
        at(event)
        if event.stage in ("finishing", "loading") and log.is_file():
            log.unlink()
            log.mkdir()

    task.reporter.progress = replace  # type: ignore[method-assign]
    return task


def test_there_is_no_output_without_a_record(losing: SmallTask, log: Path) -> None:
    with pytest.raises(
        StorageError, match=r"audit.jsonl cannot be written: Is a directory; .* removed again"
    ):
        guarded_swap(losing.settings(audit_log=log), losing.reporter, losing.stop)
    assert not losing.output.exists()


def test_a_failure_that_cannot_be_recorded_is_still_that_failure(losing: SmallTask, log: Path) -> None:
    with pytest.raises(RunnerError, match="nosuch"):
        guarded_swap(losing.settings(audit_log=log, detector="nosuch"), losing.reporter, losing.stop)
    assert losing.reporter.warnings == [f"the audit log {log} cannot be written: Is a directory"]


def test_only_files_have_a_digest(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    places = [None, tmp_path, tmp_path / "pipe", tmp_path / "nowhere", Path("a\0b")]
    assert [digest(place) for place in places] == [None] * 5


def test_a_task_goes_on_from_its_checkpoints_whatever_is_said_about_it(task: SmallTask, log: Path) -> None:
    settings = [
        task.settings(**said)
        for said in ({}, {"consent": True}, {"require_consent": True}, {"audit_log": log})
    ]
    assert len({fingerprint(each, []) for each in settings}) == 1


def test_the_command_tells_a_good_log_from_a_bad_one(program: Program, full: Path) -> None:
    result = program("audit", "verify", full.name)
    assert (result.returncode, result.stderr) == (0, "")
    last = hashlib.sha256(full.read_bytes().splitlines(True)[-1]).hexdigest()
    assert result.stdout == f"audit.jsonl: 5 records, the last line's SHA-256 is {last}\n"
    full.write_bytes(full.read_bytes().replace(b"task1", b"task2"))
    result = program("audit", "verify", full.name)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith("error: audit.jsonl: line 3 ") and result.stderr.count("\n") == 1
    result = program("audit", "verify", "nowhere.jsonl")
    assert result.returncode == 2 and result.stderr.count("\n") == 1


def test_an_unusable_log_is_a_mistake_of_the_configuration(tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        AuditLog(tmp_path)
