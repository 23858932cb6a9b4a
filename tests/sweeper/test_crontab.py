"""The crontab: what is in it, and what must never get into it."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.sweeper.conftest import REPOSITORY, Sweeper

IN_THE_IMAGE = ("--python", "/opt/venv/bin/python", "--user", "runner", "--log", "/run/facefusion/cron.log")


@pytest.fixture
def bare(sweeper: Sweeper, monkeypatch: pytest.MonkeyPatch) -> Sweeper:
    """A sweeper whose environment holds no settings but those of the test."""
    environment = sweeper.environment

    def without(**settings: object) -> dict[str, str]:
        own = ("CACHE_ROOT", "SWEEP_STATE_ROOT", "CACHE_MAX_USAGE_PERCENT")
        made = environment(**settings)
        return {name: text for name, text in made.items() if name in settings or name not in own}

    monkeypatch.setattr(sweeper, "environment", without)
    return sweeper


def test_the_shipped_crontab_is_the_rendered_one(bare: Sweeper) -> None:
    done = bare.plain("crontab", *IN_THE_IMAGE)
    assert done.code == 0 and done.stdout == (REPOSITORY / "crontab").read_text()
    assert done.stdout.startswith("0 * * * * runner ") and done.stdout.endswith("2>&1\n")


def test_settings_that_are_set_become_assignments(bare: Sweeper) -> None:
    done = bare.plain(
        "crontab",
        "--python",
        "/usr/bin/python3",
        CACHE_ROOT="/data/my cache",
        CACHE_TTL_SECONDS="60",
        AUTO_CLEAR_CACHE="",
        SWEEP_SCHEDULE="*/5 1-3 * * mon",
        SECRET="x",
    )
    assert done.stdout.splitlines() == [
        "CACHE_TTL_SECONDS=60",
        'CACHE_ROOT="/data/my cache"',
        "*/5 1-3 * * mon /usr/bin/python3 -m sweeper --json",
    ]


def test_an_interpreter_or_log_with_a_space_is_quoted_for_the_shell(bare: Sweeper) -> None:
    done = bare.plain("crontab", "--python", "/my env/bin/python", "--log", "/var/log/a b.log")
    assert done.code == 2 or "'/my env/bin/python' -m sweeper --json >>'/var/log/a b.log' 2>&1" in done.stdout


@pytest.mark.parametrize(
    "settings",
    [
        {"SWEEP_SCHEDULE": "* * * * *\n* * * * * root rm -rf /"},
        {"SWEEP_SCHEDULE": "* * * * * %"},
        {"SWEEP_SCHEDULE": "61 * * * *"},
        {"SWEEP_SCHEDULE": "*/0 * * * *"},
        {"SWEEP_SCHEDULE": "* * * *"},
        {"SWEEP_SCHEDULE": "* * * * * *"},
        {"SWEEP_SCHEDULE": "@reboot"},
        {"SWEEP_SCHEDULE": "@every 1h"},
        {"SWEEP_SCHEDULE": "* * 31 2 *"},
        {"SWEEP_SCHEDULE": "soon"},
        {"CACHE_ROOT": "/data/c\n* * * * * root id"},
        {"CACHE_ROOT": "/data/c\r"},
        {"CACHE_ROOT": "/data/100%/c"},
        {"CACHE_ROOT": '/data/"c'},
        {"CACHE_ROOT": "/data/c'"},
        {"SWEEP_STATE_ROOT": "/var/lib/a%b"},
        {"CACHE_TTL_SECONDS": "5m"},
        {"CACHE_MAX_BYTES": "1\nX=1"},
    ],
)
def test_what_would_become_something_else_in_a_crontab_is_refused(
    bare: Sweeper, settings: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "crontab").write_text("before")
    done = bare.plain("crontab", "--output", str(tmp_path / "crontab"), **settings)
    assert done.code == 2 and done.stdout == "" and len(done.stderr.splitlines()) == 1
    assert next(iter(settings)) in done.stderr
    assert (tmp_path / "crontab").read_text() == "before"


@pytest.mark.parametrize(
    "arguments",
    [
        ("--user", "a b"),
        ("--user", "x\nroot"),
        ("--log", "log"),
        ("--log", "/a%b"),
        ("--log", "/a\n* * * * * id"),
        ("--python", "python3"),
        ("--python", "/bin/x\n* * * * * id"),
    ],
)
def test_a_bad_option_is_refused(bare: Sweeper, arguments: tuple[str, ...]) -> None:
    done = bare.plain("crontab", *arguments)
    assert done.code == 2 and done.stdout == "" and arguments[0] in done.stderr


def test_the_output_is_put_in_place_in_one_step_as_cron_wants_it(bare: Sweeper, tmp_path: Path) -> None:
    target = tmp_path / "facefusion"
    target.write_text("before" * 1000)
    inode = target.stat().st_ino
    assert bare.plain("crontab", *IN_THE_IMAGE, "--output", str(target)).code == 0
    assert target.read_text() == (REPOSITORY / "crontab").read_text() and target.stat().st_ino != inode
    assert target.stat().st_mode & 0o777 == 0o644 and os.listdir(tmp_path).count("facefusion.new") == 0
    missing = bare.plain("crontab", "--output", str(tmp_path / "no" / "file"))
    assert missing.code == 2 and "--output" in missing.stderr and len(missing.stderr.splitlines()) == 1


def test_the_command_of_the_crontab_sweeps(sweeper: Sweeper, tmp_path: Path) -> None:
    """Run as cron runs it: nothing but the crontab's assignments in the environment."""
    (sweeper.root / "task").mkdir()
    log = tmp_path / "my.log"
    lines = sweeper.plain("crontab", "--log", str(log), CACHE_TTL_SECONDS=0).stdout.splitlines()
    environment = dict(line.split("=", 1) for line in lines[:-1]) | {"PYTHONPATH": str(REPOSITORY)}
    assert set(environment) >= {"CACHE_ROOT", "SWEEP_STATE_ROOT", "CACHE_TTL_SECONDS"}
    command = lines[-1].split(" ", 5)[5]
    assert shutil.which("sh")
    subprocess.run(["sh", "-c", command], env=environment, check=True, timeout=60)
    assert sweeper.names() == [] and '"result": "done"' in log.read_text()
