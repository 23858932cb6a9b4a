"""Heartbeats: the sign of life where locks do not reach, on shared or lockless filesystems."""

from __future__ import annotations

import contextlib
import os
import threading
from typing import Final

from facefusion_runner.cache.root import CacheRoot
from facefusion_runner.errors import ConfigError

BEATS_PER_TTL: Final = 10
_SHORTEST_SECONDS: Final = 1.0


def heartbeat_interval(root: CacheRoot, *, shared: bool, ttl: float) -> float | None:
    """Seconds between two heartbeats, a tenth of the TTL; None where locks alone tell.

    `shared` is CACHE_SHARED. Raises ConfigError when the TTL (seconds) is shorter than ten heartbeats.
    """
    if root.locks and not shared:
        return None
    shortest = BEATS_PER_TTL * _SHORTEST_SECONDS
    if ttl < shortest:
        why = "CACHE_SHARED is on" if shared else f"the locks of {root.path} do not work"
        raise ConfigError(
            f"CACHE_TTL_SECONDS={ttl:g} is too short: {why}, so at least {shortest:g} is needed"
        )
    return ttl / BEATS_PER_TTL


class Heartbeat:
    """Touches an open file at an interval until stopped."""

    def __init__(self, fd: int, interval: float) -> None:
        self._fd = fd
        self._interval = interval
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="cache-heartbeat", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread; afterwards the file may be closed."""
        self._stop.set()
        self._thread.join()

    def _beat(self) -> None:
        while not self._stop.wait(self._interval):
            with contextlib.suppress(OSError):
                os.utime(self._fd)
