"""What importing the cache's lease costs a new process, as a sweep does it; the bound is 50 ms.

python -m benchmarks.lease_import
"""

from __future__ import annotations

import statistics
import subprocess
import sys

RUNS = 20
PROGRAM = "import time; t = time.perf_counter(); import {}; print((time.perf_counter() - t) * 1000)"


def milliseconds(module: str) -> list[float]:
    command = [sys.executable, "-c", PROGRAM.format(module)]
    return [float(subprocess.run(command, check=True, capture_output=True).stdout) for _ in range(RUNS)]


def main() -> None:
    for module in ("facefusion_runner.cache.lease", "typing"):
        times = milliseconds(module)
        print(
            f"{module:32} median {statistics.median(times):5.1f} ms, least {min(times):5.1f} ms ({RUNS} runs)"
        )


if __name__ == "__main__":
    main()
