"""How many processor cores this process may use."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Final

CPU_QUOTA: Final = Path("/sys/fs/cgroup/cpu.max")


def cpu_quota() -> int:
    """Cores that the control group grants where that is fewer than there are, else 0."""
    try:
        quota, period = CPU_QUOTA.read_text().split()
        cores = math.ceil(int(quota) / int(period))
    except (OSError, ValueError):
        return 0
    return cores if cores < len(os.sched_getaffinity(0)) else 0


def available_cores() -> int:
    """Those it may run on, fewer where its control group grants less."""
    return cpu_quota() or len(os.sched_getaffinity(0))
