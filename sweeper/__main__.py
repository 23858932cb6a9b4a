"""The sweeper's command line."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Any, Final

from facefusion_runner.cache.root import RootUnavailable
from facefusion_runner.errors import ConfigError, RunnerError
from sweeper.outcome import EXIT_CODES, Outcome
from sweeper.patience import Patience
from sweeper.report import Report
from sweeper.settings import SweepSettings, read_settings

_ABOUT: Final = """\
Deletes the task caches in CACHE_ROOT that nobody holds and nobody has changed for CACHE_TTL_SECONDS.
A running task holds a lock on its cache and never loses it. Without a command: sweeps once."""

_MORE: Final = """\
settings, all from the environment:
  CACHE_ROOT                 where task caches live (/tmp/facefusion/cache)
  CACHE_TTL_SECONDS          age at which a cache nobody holds is deleted (300)
  CACHE_MAX_USAGE_PERCENT    of the disk; above it such caches go at once, oldest first (80)
  CACHE_MAX_BYTES            the same for all caches together (no limit)
  CACHE_SHARED               several hosts share the root: heartbeats count beside locks (false)
  AUTO_CLEAR_CACHE           false: delete nothing (true)
  SWEEP_SCHEDULE             for `crontab` and `schedule`, as a cron expression (0 * * * *)
  SWEEP_STATE_ROOT           for state.json and sweeper.prom (~/.local/state/facefusion-sweeper)
  SWEEP_TIME_BUDGET_SECONDS  deletes no longer than this; the rest is for the next sweep (55)

exit codes:
  0  done, nothing to do, disabled, out of time, or another sweep is at work
  1  something could not be deleted; the rest was
  2  bad configuration or unsafe root
  3  root missing, read-only or not lockable
  143 ended by SIGTERM; the next sweep goes on from there"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.command is None:
        return _sweep(dry_run=options.dry_run, as_json=options.json, start_up=options.start_up)
    if options.dry_run or options.json or options.start_up:
        parser.error(f"--dry-run, --json and --start-up are for a sweep, not for {options.command}")
    try:
        if options.command == "check":
            return _check()
        if options.command == "crontab":
            return _crontab(options)
        return _schedule()
    except RootUnavailable as error:
        return _refuse(error, EXIT_CODES["unavailable"])
    except ConfigError as error:
        return _refuse(error, EXIT_CODES["refused"])


class _Help(argparse.RawDescriptionHelpFormatter):
    """Of a fixed width: asking for the terminal's imports what a sweep has no use for."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=100)


class _Command(argparse.ArgumentParser):
    def __init__(self, **settings: Any) -> None:
        super().__init__(formatter_class=_Help, allow_abbrev=False, **settings)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m sweeper",
        description=_ABOUT,
        epilog=_MORE,
        formatter_class=_Help,
        allow_abbrev=False,
    )
    parser.add_argument("--dry-run", action="store_true", help="say what would be deleted, delete nothing")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    parser.add_argument(
        "--start-up",
        action="store_true",
        help="nothing runs yet: caches nobody holds go whatever their age, unless CACHE_SHARED",
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", parser_class=_Command)
    commands.add_parser("check", help="check the settings, make CACHE_ROOT where it is new, try its locks")
    crontab = commands.add_parser("crontab", help="print the crontab for SWEEP_SCHEDULE")
    crontab.add_argument("--user", metavar="NAME", help="make a system crontab (/etc/cron.d) with this user")
    crontab.add_argument("--output", metavar="FILE", help="write it there instead, in one step")
    crontab.add_argument("--log", metavar="FILE", help="the job appends its output to this file")
    crontab.add_argument("--python", metavar="PATH", default=sys.executable, help="the job's interpreter")
    commands.add_parser("schedule", help="run SWEEP_SCHEDULE in the foreground, without cron and root")
    return parser


def _sweep(*, dry_run: bool, as_json: bool, start_up: bool) -> int:
    from sweeper.sweep import sweep

    report = Report(as_json=as_json)
    try:
        settings = read_settings(os.environ)
    except ConfigError as error:
        outcome = Outcome()
        outcome.result, outcome.message = "refused", str(error)
        report.swept(outcome, dry_run=dry_run)
        return outcome.exit_code
    patience = Patience(settings.time_budget)
    with patience.heeding_signals():
        outcome = sweep(settings, report, patience, dry_run=dry_run, start_up=start_up)
        if not dry_run:
            _record(settings, outcome, report)
        report.swept(outcome, dry_run=dry_run)
    return outcome.exit_code


def _record(settings: SweepSettings, outcome: Outcome, report: Report) -> None:
    """Metrics are worth a warning, never a sweep."""
    from sweeper.state import StateError, record

    if settings.state_root is None:
        report.warn("metrics are lost: no home directory; set SWEEP_STATE_ROOT")
        return
    try:
        record(settings.state_root, outcome)
    except StateError as error:
        report.warn(str(error))


def _check() -> int:
    from sweeper.check import facts

    for fact in facts(read_settings(os.environ)):
        print(fact)
    return 0


def _crontab(options: argparse.Namespace) -> int:
    from sweeper.crontab import rendered, write

    text = rendered(os.environ, python=options.python, user=options.user, log=options.log)
    if options.output is None:
        sys.stdout.write(text)
        return 0
    try:
        write(text, options.output)
    except OSError as error:
        raise ConfigError(f"--output {options.output!a}: {error.strerror}") from error
    return 0


def _schedule() -> int:
    from sweeper.crontab import read_schedule
    from sweeper.schedule import run_schedule

    schedule = read_schedule(os.environ)
    read_settings(os.environ)
    return run_schedule(schedule)


def _refuse(error: RunnerError, code: int) -> int:
    print(f"sweeper: {error}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
