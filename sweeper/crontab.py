"""Renders the crontab: the sweeper's settings as explicit assignments, then one job.

Cron hands a job nothing of the container's environment, so the settings that are set go in here.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping
from typing import Final

from facefusion_runner.errors import ConfigError
from sweeper.settings import DEFAULT_SCHEDULE, NAMES, read, read_settings

_ALLOWED: Final = "a cron expression of five fields (0 * * * *) or @hourly, @daily, …"
_USER: Final = re.compile(r"[a-z_][a-z0-9_-]{0,31}")
_NOT_IN_A_CRONTAB: Final = re.compile(r"[\x00-\x1f\x7f%\"']")
"""Control characters end a line, `%` is a line break to cron, quotes are read differently by each cron."""


def read_schedule(environ: Mapping[str, str]) -> str:
    """SWEEP_SCHEDULE; ConfigError unless it is a time that comes again."""
    return read(environ, "SWEEP_SCHEDULE", _schedule, DEFAULT_SCHEDULE)


def rendered(
    environ: Mapping[str, str], *, python: str, user: str | None = None, log: str | None = None
) -> str:
    """The text of a crontab; with `user` that of a system crontab, which names the job's user.

    With `log` the job appends what it says to that file. Raises ConfigError.
    """
    from crontab import CronSlices, CronTab  # type: ignore[import-untyped]

    schedule = read_schedule(environ)
    read_settings(environ)
    if user is not None and not _USER.fullmatch(user):
        raise ConfigError(f"--user {user!a}: must be the name of a user")
    table = CronTab(tab="")
    for name in NAMES:
        if environ.get(name, "").strip():
            table.env[name] = _fit(name, environ[name])
    command = [shlex.quote(_path("--python", python)), "-m", "sweeper", "--json"]
    if log is not None:
        command += [">>" + shlex.quote(_path("--log", log)), "2>&1"]
    # Its own rendering of a job says @hourly for 0 * * * *, which not every cron knows.
    fields = CronSlices(schedule).clean_render()
    job = " ".join([fields, *([] if user is None else [user]), *command])
    return f"{table.env}{job}\n"


def write(text: str, path: str) -> None:
    """Put a crontab in place in one step, readable by all and writable by its owner, as cron wants it.

    Raises OSError.
    """
    aside = f"{path}.new"
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    with open(os.open(aside, flags, 0o644), "w", encoding="utf-8", errors="surrogateescape") as file:
        os.fchmod(file.fileno(), 0o644)
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(aside, path)


def _schedule(text: str) -> str:
    from croniter import CroniterError, croniter  # type: ignore[import-untyped]
    from crontab import CronSlices

    if "%" in text or not CronSlices.is_valid(text) or text.lower() == "@reboot":
        raise ValueError(f"must be {_ALLOWED}")
    try:
        croniter(text).get_next(float)
    except CroniterError:
        raise ValueError(f"must be a time that comes again: {_ALLOWED}") from None
    return text


def _fit(name: str, text: str) -> str:
    if _NOT_IN_A_CRONTAB.search(text):
        raise ConfigError(f"{name}={text!a}: must hold no control characters, quotes or % in a crontab")
    return text


def _path(option: str, text: str) -> str:
    if not os.path.isabs(text) or _NOT_IN_A_CRONTAB.search(text):
        allowed = "an absolute path without control characters, quotes or %"
        raise ConfigError(f"{option} {text!a}: must be {allowed}")
    return text
