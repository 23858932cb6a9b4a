"""The cache's root: safe, writable, lockable, with room."""

from __future__ import annotations

import os
from collections.abc import Iterator

from facefusion_runner.cache.root import CacheRoot, prepare_root
from facefusion_runner.doctor.check import Check, one_line
from facefusion_runner.errors import RunnerError
from facefusion_runner.loading import Loaded
from facefusion_runner.settings import Settings


def examine(loaded: Loaded[Settings]) -> Iterator[Check]:
    try:
        root = prepare_root(loaded.settings.cache_root)
    except RunnerError as error:
        path = str(loaded.settings.cache_root)
        yield Check("cache root", "fail", one_line(error), "choose another CACHE_ROOT", {"path": path})
        return
    with root:
        yield _locks(root, loaded.settings)
        yield _space(root, loaded.settings)


def _locks(root: CacheRoot, settings: Settings) -> Check:
    details = {"path": str(root.path), "locks": root.locks, "shared": settings.cache_shared}
    if root.locks:
        return Check("cache root", "ok", f"{root.path} is safe and writable, its locks work", details=details)
    return Check(
        "cache root",
        "warn",
        f"{root.path} is safe and writable, but its filesystem's locks do not work",
        "tasks are kept alive by a heartbeat; CACHE_ROOT on a local disk or tmpfs needs none",
        details,
    )


def _space(root: CacheRoot, settings: Settings) -> Check:
    usage = root.usage()
    inodes = f"{usage.free_inodes} free inodes" if usage.total_inodes else "no limit of inodes"
    text = f"{usage.free_bytes / 1e9:.1f} GB free, {inodes}, {usage.percent:.0f} % in use"
    details = {
        "free_bytes": usage.free_bytes,
        "total_bytes": usage.total_bytes,
        "free_inodes": usage.free_inodes,
        "total_inodes": usage.total_inodes,
        "percent": round(usage.percent, 1),
    }
    if not os.access(root.path, os.W_OK) or usage.percent >= 100:
        return Check("cache disk", "fail", f"{text}: it is full", "free some space", details)
    if usage.percent > settings.cache_max_usage_percent:
        limit = f"{settings.cache_max_usage_percent:g} %"
        hint = f"above CACHE_MAX_USAGE_PERCENT={limit} orphans are deleted at once; free some space"
        return Check("cache disk", "warn", text, hint, details)
    return Check("cache disk", "ok", text, details=details)
