"""Looks at the settings, the root and the state folder before anything starts, and says what it found."""

from __future__ import annotations

from collections.abc import Iterator

from facefusion_runner.cache.heartbeat import heartbeat_interval
from facefusion_runner.cache.root import Usage, prepare_root
from sweeper import state
from sweeper.settings import SweepSettings


def facts(settings: SweepSettings) -> Iterator[str]:
    """What was found, a line each. Makes and marks the root where it is new.

    Raises ConfigError (also UnsafeRoot) and RootUnavailable. The state folder is no reason to fail.
    """
    with prepare_root(settings.root) as root:
        yield f"CACHE_ROOT {root.path}: ready"
        interval = heartbeat_interval(root, shared=settings.shared, ttl=settings.ttl)
        beats = "" if interval is None else f"; heartbeats every {interval:g} s count as well"
        yield f"locks: {'work' if root.locks else 'do not work here'}{beats}"
        in_place = "cannot be used, deletion happens in place"
        yield f"trash: {in_place if root.trash_fd is None else 'ready'}"
        yield f"usage: {_shares(root.usage())}; limit {settings.max_usage_percent:g} %{_limit(settings)}"
    deleted = f"deleted when unchanged for {settings.ttl:g} s"
    yield f"orphans: {deleted if settings.auto_clear else 'kept, AUTO_CLEAR_CACHE is off'}"
    yield _state(settings.state_root)


def _shares(usage: Usage) -> str:
    inodes = f", {usage.total_inodes - usage.free_inodes} of {usage.total_inodes} inodes"
    shares = f"{usage.total_bytes - usage.free_bytes} of {usage.total_bytes} bytes"
    return f"{usage.percent:.1f} % ({shares}{inodes if usage.total_inodes else ''})"


def _limit(settings: SweepSettings) -> str:
    return "" if settings.max_bytes is None else f" or {settings.max_bytes} bytes of caches"


def _state(folder: str | None) -> str:
    if folder is None:
        return "state: no home directory and no SWEEP_STATE_ROOT, so there are no metrics"
    try:
        state.probe(folder)
    except state.StateError as error:
        return f"state: cannot be written, so there are no metrics: {error}"
    return f"state: {folder}"
