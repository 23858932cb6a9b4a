"""Prometheus metrics of the service, with what the sweeper last said.

No label holds an id of a task or the name of a key: there must be few values, and they are nobody's business.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from prometheus_client import CollectorRegistry, Counter, Histogram, Info, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from facefusion_runner import __version__
from facefusion_runner.service import gpu
from facefusion_runner.service.admission import disk
from facefusion_runner.tasks.process import resident_bytes
from facefusion_runner.tasks.task import FINAL, Task

_TASK_BUCKETS: Final = (0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21600)
_PHASE_BUCKETS: Final = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200)
_REQUEST_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60)


class Metrics:
    """A registry of its own; `text` is what /metrics answers."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self._tasks = Counter("facefusion_tasks_finished", "Tasks that ended.", ["state"], registry=registry)
        for state in sorted(FINAL):
            self._tasks.labels(state)
        self._seconds = Histogram(
            "facefusion_task_duration_seconds",
            "From the beginning of work to its end.",
            ["state"],
            buckets=_TASK_BUCKETS,
            registry=registry,
        )
        self._waits = Histogram(
            "facefusion_task_wait_seconds",
            "From the request to the beginning of work.",
            buckets=_TASK_BUCKETS,
            registry=registry,
        )
        self._phases = Histogram(
            "facefusion_task_phase_seconds",
            "A finished task's phases.",
            ["phase"],
            buckets=_PHASE_BUCKETS,
            registry=registry,
        )
        self._stages = Counter(
            "facefusion_stage_seconds",
            "Time at work, which goes on side by side.",
            ["stage"],
            registry=registry,
        )
        self._frames = Counter("facefusion_frames", "Frames of finished tasks.", registry=registry)
        self._faces = Counter("facefusion_faces_swapped", "Faces replaced in them.", registry=registry)
        self._loads = Histogram(
            "facefusion_model_load_seconds",
            "Loading a network.",
            ["model"],
            buckets=_PHASE_BUCKETS,
            registry=registry,
        )
        self._inference = Counter(
            "facefusion_model_inference_seconds", "Time inside a network.", ["model"], registry=registry
        )
        self._calls = Counter(
            "facefusion_model_inferences", "Runs of a network.", ["model"], registry=registry
        )
        self._deaths = Counter(
            "facefusion_worker_deaths", "Workers that ended in the middle of a task.", registry=registry
        )
        self._uploads = Counter("facefusion_upload_bytes", "Bytes of uploads.", registry=registry)
        self._requests = Counter(
            "facefusion_http_requests", "Requests.", ["method", "route", "status"], registry=registry
        )
        self._request_seconds = Histogram(
            "facefusion_http_request_duration_seconds",
            "Until the answer's end.",
            ["route"],
            buckets=_REQUEST_BUCKETS,
            registry=registry,
        )
        build = Info("facefusion_build", "What runs.", registry=registry)
        build.info({"version": __version__, "python": platform.python_version()})

    def add(self, collect: Callable[[], Iterable[Metric]]) -> None:
        """Values that are asked for when somebody scrapes."""
        self._registry.register(_Asked(collect))

    def text(self) -> bytes:
        """In Prometheus' text format."""
        return generate_latest(self._registry)

    def began(self, task: Task) -> None:
        if task.attempts == 1 and task.started is not None:
            self._waits.observe(task.started - task.created)

    def ended(self, task: Task, report: dict[str, Any]) -> None:
        """`report` is the worker's last word, see `tasks.worker`."""
        self._tasks.labels(task.state).inc()
        if task.started is not None and task.finished is not None:
            self._seconds.labels(task.state).observe(task.finished - task.started)
        for phase, seconds in report.get("timings", {}).items():
            self._phases.labels(phase).observe(seconds)
        for stage, seconds in report.get("stages", {}).items():
            self._stages.labels(stage).inc(seconds)
        for model, spent in report.get("networks", {}).items():
            self._inference.labels(model).inc(spent["seconds"])
            self._calls.labels(model).inc(spent["calls"])
        for model, seconds in report.get("loads", {}).items():
            self._loads.labels(model).observe(seconds)
        self._frames.inc(report.get("frames", 0))
        self._faces.inc(report.get("faces", 0))

    def worker_died(self) -> None:
        self._deaths.inc()

    def uploaded(self, count: int) -> None:
        self._uploads.inc(count)

    def requested(self, method: str, route: str, status: int, seconds: float) -> None:
        known = method if method in _METHODS else "other"
        self._requests.labels(known, route or "none", str(status)).inc()
        self._request_seconds.labels(route or "none").observe(seconds)


_METHODS: Final = frozenset({"GET", "HEAD", "POST", "DELETE", "PUT", "PATCH", "OPTIONS"})


class _Asked(Collector):
    def __init__(self, collect: Callable[[], Iterable[Metric]]) -> None:
        self._collect = collect

    def collect(self) -> Iterable[Metric]:
        return self._collect()


def gauge(name: str, help_text: str, values: Mapping[Any, float], *labels: str) -> GaugeMetricFamily:
    """One gauge with all its values."""
    family = GaugeMetricFamily(name, help_text, labels=labels)
    for label_values, value in values.items():
        family.add_metric(list(label_values), value)
    return family


def memory(processes: dict[str, list[int]]) -> Iterator[Metric]:
    """Resident memory by kind of process, and of the GPUs where there are any."""
    values = {
        (kind,): float(sum(resident_bytes(pid) for pid in pids))
        for kind, pids in {**processes, "service": [os.getpid()]}.items()
    }
    yield gauge("facefusion_memory_bytes", "Physical memory in use.", values, "process")
    used, total = gpu.memory()
    if total:
        yield gauge("facefusion_gpu_memory_used_bytes", "Of each GPU, by all programs.", used, "gpu")
        yield gauge("facefusion_gpu_memory_size_bytes", "Of each GPU.", total, "gpu")


def disks(roots: dict[str, Path]) -> Iterator[Metric]:
    """The filesystems of `roots`, by name."""
    found = {(name,): disk(path) for name, path in roots.items()}
    sizes = {name: float(total) for name, (total, _) in found.items()}
    free = {name: float(left) for name, (_, left) in found.items()}
    yield gauge("facefusion_filesystem_size_bytes", "Of the filesystem.", sizes, "root")
    yield gauge("facefusion_filesystem_avail_bytes", "Free on the filesystem.", free, "root")


def sweeper(path: Path | None) -> Iterator[Metric]:
    """What the last sweep wrote; nothing where there was none."""
    if path is None:
        return
    try:
        text = path.read_text()
    except OSError:
        return
    yield from text_string_to_metric_families(text)
