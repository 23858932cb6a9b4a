"""The metrics of the sweeper in the text format of Prometheus, for node_exporter's textfile collector.

No label holds a task's id: their number would grow without bound.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

FILE: Final = "sweeper.prom"

_PREFIX: Final = "facefusion_cache_"


class Metric(NamedTuple):
    kind: str
    help: str
    label: str = ""


METRICS: Final = {
    "bytes": Metric("gauge", "Allocated by all that is in the cache root."),
    "task_dirs": Metric(
        "gauge", "Task directories after the last sweep; trash is what waits to be deleted.", "state"
    ),
    "oldest_orphan_age_seconds": Metric("gauge", "Age of the oldest orphan that the last sweep found."),
    "last_sweep_freed_bytes": Metric("gauge", "Freed by the last sweep."),
    "last_sweep_failed_deletions": Metric("gauge", "Entries the last sweep could not delete."),
    "last_sweep_duration_seconds": Metric("gauge", "How long the last sweep took."),
    "last_sweep_timestamp_seconds": Metric("gauge", "When the last sweep ended, however it ended."),
    "last_success_timestamp_seconds": Metric("gauge", "When a sweep last came to its end without a failure."),
    "filesystem_size_bytes": Metric("gauge", "Size of the filesystem under the cache root."),
    "filesystem_avail_bytes": Metric("gauge", "Bytes an ordinary user may still take there."),
    "filesystem_files": Metric("gauge", "Inodes of the filesystem; 0 where they have no fixed number."),
    "filesystem_files_free": Metric("gauge", "Inodes an ordinary user may still take there."),
    "freed_bytes_total": Metric("counter", "Freed by all sweeps."),
    "deletion_failures_total": Metric("counter", "Entries that could not be deleted.", "reason"),
    "sweeps_total": Metric("counter", "Sweeps by how they ended.", "result"),
}
"""By name without the prefix; in the order of the file."""


def rendered(values: Mapping[str, Any]) -> str:
    """The file's text; `values` are numbers, or for a metric with a label numbers by the label's value."""
    lines = []
    for name, metric in METRICS.items():
        if name in values:
            lines.append(f"# HELP {_PREFIX}{name} {metric.help}")
            lines.append(f"# TYPE {_PREFIX}{name} {metric.kind}")
            lines += _samples(name, metric.label, values[name])
    return "\n".join(lines) + "\n"


def _samples(name: str, label: str, value: Any) -> list[str]:
    if not label:
        return [f"{_PREFIX}{name} {_number(value)}"]
    return [f'{_PREFIX}{name}{{{label}="{key}"}} {_number(each)}' for key, each in sorted(value.items())]


def _number(value: float) -> str:
    return repr(value) if math.isfinite(value) else "NaN"
