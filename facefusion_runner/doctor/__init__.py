"""What will run where on this machine, found out by trying it. One file per subject."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from facefusion_runner.doctor import cache, codecs, models, onnx_runtime, opencv, system
from facefusion_runner.doctor.check import Check, one_line
from facefusion_runner.loading import Loaded
from facefusion_runner.settings import Settings

SUBJECTS: tuple[Callable[[Loaded[Settings]], Iterable[Check]], ...] = (
    system.examine,
    onnx_runtime.examine,
    opencv.examine,
    codecs.examine,
    cache.examine,
    models.examine,
    system.examine_settings,
)


def examine(loaded: Loaded[Settings]) -> Iterator[Check]:
    """Every check, in the order of the report. A check that breaks is a failed check."""
    for subject in SUBJECTS:
        try:
            yield from subject(loaded)
        except Exception as error:
            name = subject.__module__.rpartition(".")[2]
            yield Check(name, "fail", f"the check itself broke: {type(error).__name__}: {one_line(error)}")


def can_swap(checks: Iterable[Check]) -> bool:
    return all(check.state != "fail" for check in checks)
