"""Whether there is room for another task."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from facefusion_runner.errors import StorageError
from facefusion_runner.settings import ServiceSettings


def check_disks(settings: ServiceSettings, data_root: Path, wanted: int = 0) -> None:
    """Raises StorageError when a disk is fuller than it may be, or would be with `wanted` bytes of upload."""
    for name, path in (("CACHE_ROOT", settings.cache_root), ("DATA_ROOT", data_root)):
        total, free = disk(path)
        used = 100 * (1 - free / total) if total else 100.0
        if used > settings.cache_max_usage_percent:
            raise StorageError(
                f"the disk of {name} is {used:.0f} % full; no task is taken above "
                f"{settings.cache_max_usage_percent:g} % (CACHE_MAX_USAGE_PERCENT)"
            )
    _, free = disk(data_root)
    # The result takes about as much room as the target, and so do the stretches in the cache.
    if free < 2 * wanted:
        raise StorageError(f"the upload and its result would need {2 * wanted} bytes; {free} are free")
    if settings.cache_max_bytes is not None and tree_bytes(settings.cache_root) > settings.cache_max_bytes:
        raise StorageError(f"task caches take more than {settings.cache_max_bytes} bytes (CACHE_MAX_BYTES)")


def disk(path: Path) -> tuple[int, int]:
    """Bytes in all and free of the filesystem that `path` is, or will be, on."""
    there = next(parent for parent in (path, *path.parents) if parent.exists())
    usage = shutil.disk_usage(there)
    return usage.total, usage.free


def tree_bytes(root: Path) -> int:
    """Allocated bytes of the files below `root`."""
    found = 0
    for folder, _, names in os.walk(root):
        for name in names:
            try:
                found += os.lstat(os.path.join(folder, name)).st_blocks * 512
            except OSError:
                continue
    return found
