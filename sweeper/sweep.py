"""One sweep, in its order: lock the root, drain `.trash`, judge every entry, relieve the pressure.

A sweep can be cut off anywhere. What it had already taken out of sight waits in `.trash`, and the next
sweep begins with it.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from collections import Counter
from collections.abc import Callable
from typing import Final

from facefusion_runner.cache.directories import OPEN_DIRECTORY, is_entry, mount_id
from facefusion_runner.cache.heartbeat import heartbeat_interval
from facefusion_runner.cache.lease import Claim, claim
from facefusion_runner.cache.locks import Lock, try_lock
from facefusion_runner.cache.removal import Removal, discard, drain_trash, remove_file
from facefusion_runner.cache.root import RESERVED, TRASH, CacheRoot, RootUnavailable, Usage, open_root
from facefusion_runner.errors import ConfigError
from sweeper.age import Survey, age_of_file, survey
from sweeper.outcome import Outcome, State
from sweeper.patience import Patience
from sweeper.pressure import Limits, after_removing
from sweeper.report import Reason, Report
from sweeper.settings import SweepSettings

_NO_DIRECTORY: Final = frozenset((errno.ENOTDIR, errno.ELOOP))


def sweep(
    settings: SweepSettings,
    report: Report,
    patience: Patience,
    *,
    dry_run: bool = False,
    start_up: bool = False,
    clock: Callable[[], float] = time.time,
) -> Outcome:
    """Sweep once. What is wrong with the root or the settings is the outcome's `message`.

    `start_up`: unless several hosts share the root, every cache nobody holds goes, whatever its age, but that
    of the task that is about to start.
    """
    outcome = Outcome()
    if not settings.auto_clear:
        outcome.result = "disabled"
        return outcome
    try:
        with open_root(settings.root) as root:
            lock = try_lock(root.fd)
            if lock is Lock.REFUSED:
                outcome.result = "busy"
                return outcome
            if lock is Lock.UNSUPPORTED and root.locks:
                raise RootUnavailable(f"CACHE_ROOT={settings.root} cannot be locked")
            at_once = start_up and not settings.shared
            _Sweep(root, settings, at_once, report, patience, dry_run, clock, outcome).run()
    except ConfigError as error:
        outcome.result, outcome.message = "refused", str(error)
    except RootUnavailable as error:
        outcome.result, outcome.message = "unavailable", str(error)
    except OSError as error:
        outcome.result = "unavailable"
        outcome.message = f"CACHE_ROOT={settings.root} cannot be swept: {error.strerror or error}"
    outcome.seconds = patience.elapsed()
    return outcome


class _Sweep:
    def __init__(
        self,
        root: CacheRoot,
        settings: SweepSettings,
        at_once: bool,
        report: Report,
        patience: Patience,
        dry_run: bool,
        clock: Callable[[], float],
        outcome: Outcome,
    ) -> None:
        interval = heartbeat_interval(root, shared=settings.shared, ttl=settings.ttl)
        self._heartbeat_ttl = None if interval is None else settings.ttl
        self._root = root
        self._ttl = 0.0 if at_once else settings.ttl
        self._awaited = settings.task_ids if at_once else frozenset()
        self._reason: Reason = "start-up" if at_once else "expired"
        self._limits = Limits(settings.max_usage_percent, settings.max_bytes)
        self._report = report
        self._patience = patience
        self._dry_run = dry_run
        self._clock = clock
        self._outcome = outcome
        self._states: dict[str, State] = {}
        self._would_free = Removal()

    def run(self) -> None:
        self._drain_trash()
        for name in sorted(set(os.listdir(self._root.fd)) - RESERVED):
            if self._patience.interrupted():
                break
            if name in self._awaited:
                self._states[name] = "fresh"
            else:
                self._judge(name)
        if not self._patience.exhausted():
            self._relieve_pressure()
        self._conclude()

    def _drain_trash(self) -> None:
        if self._dry_run:
            self._survey_trash()
            return
        for name, removal in drain_trash(self._root, self._patience.exhausted):
            self._deleted(f"{TRASH}/{name}", "trash", None, removal)

    def _survey_trash(self) -> None:
        trash_fd = self._root.trash_fd
        for name in [] if trash_fd is None else os.listdir(trash_fd):
            found = self._survey(trash_fd, name) or Survey()
            self._deleted(f"{TRASH}/{name}", "trash", None, _prediction(found))

    def _judge(self, name: str) -> None:
        try:
            taken = claim(self._root, name, heartbeat_ttl=self._heartbeat_ttl)
        except OSError as error:
            if error.errno in _NO_DIRECTORY:
                self._judge_stray(name)
            else:
                self._failed(name, error)
            return
        if taken is None:
            self._states[name] = "live"
            return
        try:
            found = survey(
                taken.fd,
                self._root.mount,
                self._clock(),
                stop=self._patience.interrupted,
                until=self._ttl,
            )
            if self._patience.interrupted():
                return
            if found.age < self._ttl:
                self._states[name] = "fresh"
            else:
                self._outcome.oldest_orphan = max(self._outcome.oldest_orphan, found.age)
                self._delete(name, taken, self._reason, found)
        except OSError as error:
            self._failed(name, error)
        finally:
            taken.close()

    def _judge_stray(self, name: str) -> None:
        """Files, links and the like that lie in the root; nobody can hold them."""
        try:
            status = os.stat(name, dir_fd=self._root.fd, follow_symlinks=False)
        except OSError as error:
            self._failed(name, error)
            return
        age = age_of_file(status, self._clock())
        if age < self._ttl or stat.S_ISDIR(status.st_mode):
            return
        if self._dry_run:
            found = Survey()
            found.bytes = status.st_blocks * 512 if status.st_nlink == 1 else 0
            removal = _prediction(found)
        else:
            removal = remove_file(self._root.fd, name)
        self._deleted(name, "stray", age, removal)

    def _delete(self, name: str, taken: Claim, reason: Reason, found: Survey) -> None:
        if self._dry_run:
            removal = _prediction(found)
            self._would_free.add(removal)
        else:
            removal = discard(self._root, name, self._patience.exhausted)
        self._deleted(name, reason, found.age, removal)
        self._states.pop(name, None)
        if is_entry(self._root.fd, name, taken.fd):
            self._states[name] = "orphan"

    def _relieve_pressure(self) -> None:
        """Measure what is left; if it is too much, what nobody holds goes, oldest first."""
        fresh, left = [], 0
        for name in os.listdir(self._root.fd):
            if name in RESERVED:
                continue
            found = self._survey(self._root.fd, name)
            if found is None:
                continue
            left += found.bytes
            if self._states.get(name) == "fresh":
                fresh.append((found.age, name, found))
        left += self._trash_bytes() - self._would_free.freed_bytes
        if self._patience.exhausted():
            return
        limits = self._limits
        if limits.exceeded(self._usage(), left):
            limits = limits.relieved()
        for _, name, found in sorted(fresh, key=lambda each: each[:2], reverse=True):
            if self._patience.exhausted() or not limits.exceeded(self._usage(), left):
                break
            left -= self._press(name, found)
        self._outcome.cache_bytes = max(left, 0)

    def _press(self, name: str, found: Survey) -> int:
        """Delete a cache that is not old yet, unless somebody has taken it up; the bytes it freed."""
        try:
            taken = claim(self._root, name, heartbeat_ttl=self._heartbeat_ttl)
        except OSError as error:
            self._failed(name, error)
            return 0
        if taken is None:
            self._states[name] = "live"
            return 0
        removal, would_free = self._outcome.removal, self._would_free
        before = removal.freed_bytes + would_free.freed_bytes
        try:
            self._delete(name, taken, "pressure", found)
        except OSError as error:
            self._failed(name, error)
        finally:
            taken.close()
        return removal.freed_bytes + would_free.freed_bytes - before

    def _usage(self) -> Usage:
        predicted = self._would_free
        return after_removing(self._root.usage(), predicted.freed_bytes, predicted.entries)

    def _survey(self, parent_fd: int | None, name: str) -> Survey | None:
        """Look at an entry without taking it; None where that cannot be."""
        try:
            fd = os.open(name, OPEN_DIRECTORY, dir_fd=parent_fd)
        except OSError:
            return self._survey_file(parent_fd, name)
        try:
            if mount_id(fd) != self._root.mount:
                return None
            return survey(fd, self._root.mount, self._clock(), stop=self._patience.exhausted)
        except OSError:
            return None
        finally:
            os.close(fd)

    def _survey_file(self, parent_fd: int | None, name: str) -> Survey | None:
        try:
            status = os.stat(name, dir_fd=parent_fd, follow_symlinks=False)
        except OSError:
            return None
        found = Survey()
        found.bytes = status.st_blocks * 512 if status.st_nlink == 1 else 0
        return found

    def _trash_bytes(self) -> int:
        trash_fd = self._root.trash_fd
        if trash_fd is None:
            return 0
        found = (self._survey(trash_fd, name) for name in os.listdir(trash_fd))
        return sum(each.bytes for each in found if each is not None)

    def _deleted(self, name: str, reason: Reason, age: float | None, removal: Removal) -> None:
        self._report.deleted(name, reason, age, removal, dry_run=self._dry_run)
        if not self._dry_run:
            self._outcome.removal.add(removal)
        self._outcome.deleted += removal.finished and not removal.failures

    def _failed(self, name: str, error: OSError) -> None:
        # Gone, or exchanged by a task that starts: nobody's failure.
        if isinstance(error, FileNotFoundError):
            return
        removal = Removal()
        removal.failures[errno.errorcode.get(error.errno or 0, "unknown")] += 1
        removal.example = f"{name!a}: {error.strerror}"
        self._report.failed(name, removal)
        self._outcome.removal.add(removal)

    def _conclude(self) -> None:
        outcome = self._outcome
        outcome.usage = self._root.usage()
        outcome.directories = Counter(self._states.values())
        trash_fd = self._root.trash_fd
        outcome.directories["trash"] = 0 if trash_fd is None else len(os.listdir(trash_fd))
        if self._patience.signal is not None:
            outcome.result, outcome.signal = "terminated", self._patience.signal
        elif outcome.removal.failures:
            outcome.result = "failed"
        elif not outcome.removal.finished or (self._patience.exhausted() and outcome.directories["trash"]):
            outcome.result = "unfinished"


def _prediction(found: Survey) -> Removal:
    """What deleting a tree would do."""
    removal = Removal()
    removal.entries = found.entries + 1
    removal.freed_bytes = found.bytes
    return removal
