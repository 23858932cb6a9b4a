"""Time, memory and start-up of a sweep, each as a ratio or difference within one run.

    python -m benchmarks.sweep [--rounds N] [--files N] [--disk FOLDER] [--tmpfs FOLDER]

Time: a sweep that deletes one cache of 100,000 files of 4 KiB, flat or as 1000 x 100, against
`rm -rf` of the same tree. They take turns; whole processes are timed, start-up included. CPU seconds
(user and system, of the process) are what to read where other programs use the machine. The bound is
2. Memory: the greatest resident size of a sweep over 1,000 and over 100,000 files. Start-up: a sweep
of an empty root against `python -c pass`; the bound is 100 ms more.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from facefusion_runner.cache.root import prepare_root

CONTENT = bytes(4096)


class Cost(NamedTuple):
    wall: float
    cpu: float
    """Both in seconds."""
    peak: int
    """Greatest resident size in KiB."""


def main() -> None:
    parser = argparse.ArgumentParser(description="Times a sweep beside rm -rf.")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--tmpfs", type=Path, default=Path("/dev/shm"))
    parser.add_argument("--disk", type=Path, default=Path(tempfile.gettempdir()))
    options = parser.parse_args()
    for place in (options.tmpfs, options.disk):
        with tempfile.TemporaryDirectory(dir=place, prefix="sweep-benchmark-") as folder:
            for per_directory, shape in ((options.files, "flat"), (100, "100 each")):
                _compare(Path(folder), f"{place} {shape}", options.files, per_directory, options.rounds)
    with tempfile.TemporaryDirectory(dir=options.tmpfs, prefix="sweep-benchmark-") as folder:
        for files in (1000, 100_000):
            _make(Path(folder), files, 100)
            print(f"memory, {files} files: {_sweep(Path(folder)).peak} KiB")
        _start_up(Path(folder))


def _compare(folder: Path, title: str, files: int, per_directory: int, rounds: int) -> None:
    taken: dict[str, list[Cost]] = {"rm -rf": [], "sweep": []}
    tools: dict[str, Callable[[Path], Cost]] = {"rm -rf": _rm, "sweep": _sweep}
    for _ in range(rounds):
        for name, tool in tools.items():
            _make(folder, files, per_directory)
            taken[name].append(tool(folder))
    wall, cpu = (
        {name: statistics.median(cost[index] for cost in costs) for name, costs in taken.items()}
        for index in (0, 1)
    )
    times = ", ".join(f"{name} {wall[name]:.2f} s (CPU {cpu[name]:.2f} s)" for name in taken)
    ratios = f"{wall['sweep'] / wall['rm -rf']:.2f} (CPU {cpu['sweep'] / cpu['rm -rf']:.2f})"
    print(f"{title}, {files} files, median of {rounds}: {times}, ratio {ratios}", flush=True)


def _make(folder: Path, files: int, per_directory: int) -> None:
    prepare_root(folder / "cache").close()
    task = folder / "cache" / "task"
    task.mkdir()
    for number in range(files):
        if number % per_directory == 0:
            inner = task / str(number // per_directory)
            inner.mkdir()
        fd = os.open(inner / str(number), os.O_WRONLY | os.O_CREAT)
        os.write(fd, CONTENT)
        os.close(fd)
    os.sync()


def _rm(folder: Path) -> Cost:
    return _cost(["rm", "-rf", str(folder / "cache" / "task")], {})


def _sweep(folder: Path) -> Cost:
    settings = {"CACHE_ROOT": folder / "cache", "SWEEP_STATE_ROOT": folder / "state", "CACHE_TTL_SECONDS": 1}
    time.sleep(1.1)  # Everything must be old enough, and nothing less than the whole tree tells.
    budget = {"SWEEP_TIME_BUDGET_SECONDS": 100_000}
    cost = _cost([sys.executable, "-m", "sweeper"], {**settings, **budget})
    assert not (folder / "cache" / "task").exists() and not os.listdir(folder / "cache" / ".trash")
    return cost


def _start_up(folder: Path, runs: int = 15) -> None:
    shutil.rmtree(folder / "cache")
    prepare_root(folder / "cache").close()
    empty = [_sweep(folder).wall for _ in range(runs)]
    nothing = [_cost([sys.executable, "-c", "pass"], {}).wall for _ in range(runs)]
    more = (statistics.median(empty) - statistics.median(nothing)) * 1000
    least = (min(empty) - min(nothing)) * 1000
    print(f"start-up above `python -c pass`: median {more:.0f} ms, least {least:.0f} ms ({runs} runs)")


def _cost(command: list[str], settings: dict[str, object]) -> Cost:
    environment = {**os.environ, **{name: str(value) for name, value in settings.items()}}
    started = time.perf_counter()
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{command[0]} ended with {process.returncode}")
    return Cost(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss)


if __name__ == "__main__":
    main()
