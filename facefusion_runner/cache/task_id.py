"""Task ids: the names of the task caches."""

from __future__ import annotations

import os
import time
from typing import Final

MAX_LENGTH: Final = 64
_ALLOWED: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-")
_CROCKFORD: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def new_task_id() -> str:
    """A ULID: 26 characters, 48 bits of milliseconds and 80 random bits, so that ids sort by time."""
    value = time.time_ns() // 1_000_000 << 80 | int.from_bytes(os.urandom(10), "big")
    return "".join(_CROCKFORD[value >> shift & 31] for shift in range(125, -1, -5))


def valid_task_id(text: str) -> bool:
    """Whether a caller's own id can name a task: `[A-Za-z0-9_-]{1,64}`."""
    return 0 < len(text) <= MAX_LENGTH and _ALLOWED.issuperset(text)
