"""When the filesystem or the caches together are too full, and when they no longer are."""

from __future__ import annotations

from typing import Final, NamedTuple

from facefusion_runner.cache.root import Usage

RELIEF_POINTS: Final = 10
"""How far below its limit a measure must fall, in percent of the whole: else every sweep would press."""


class Limits(NamedTuple):
    usage_percent: float
    """Of the filesystem, in bytes or inodes."""
    cache_bytes: int | None
    """Of all task caches together."""

    def exceeded(self, usage: Usage, cache_bytes: int) -> bool:
        return usage.percent > self.usage_percent or (
            self.cache_bytes is not None and cache_bytes > self.cache_bytes
        )

    def relieved(self) -> Limits:
        """What must not be exceeded either before the pressure is over."""
        low_bytes = None if self.cache_bytes is None else self.cache_bytes * (100 - RELIEF_POINTS) // 100
        return Limits(max(self.usage_percent - RELIEF_POINTS, 0), low_bytes)


def after_removing(usage: Usage, freed_bytes: int, entries: int) -> Usage:
    """How full a filesystem would be without so much."""
    return usage._replace(
        free_bytes=usage.free_bytes + freed_bytes,
        free_inodes=usage.free_inodes + entries if usage.total_inodes else 0,
    )
