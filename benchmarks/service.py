"""The HTTP service: what it adds to a `swap`, and what it does under load and over time.

    python -m benchmarks.service overhead    seconds of a task ÷ seconds of `swap` for the same film
    python -m benchmarks.service load        50 clients for 5 minutes, two workers
    python -m benchmarks.service soak        500 short tasks, a fifth of them killed, cancelled or broken

--quick does less of each. Overhead: the two take turns, both with the same threads and no grace period; the
task is timed from its request until it has succeeded, the swap as a process; the bound is 1.05. Beside it
stands the ratio to what the swap itself says it took, its start left out. Load: no task may be lost, and the
99th percentile of /healthz, asked ten times a second by a process of its own, be 100 ms at most. Soak: on
the disk may be nothing but what was there before and the results, to the byte, and the memory of the
service may grow by less than 5 % after the first 50 tasks; then the same with AUTO_CLEAR_CACHE=false, for
comparison.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
from insightface.data import get_image
from skimage.data import astronaut

from benchmarks.service_load import health_watched, load, memory
from benchmarks.service_soak import soak
from tests.service.films import make_film
from tests.support.clips import make_clip, times
from tests.support.service_process import environment, running_service

THREADS = "2"
MEGABYTE = 1e6


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["overhead", "load", "soak"])
    parser.add_argument("--quick", action="store_true")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="service-") as temporary:
        {"overhead": _overhead, "load": _load, "soak": _soak}[chosen.what](Path(temporary), chosen.quick)


def _overhead(folder: Path, quick: bool) -> None:
    source, picture, _ = pictures(folder)
    film = make_clip(
        folder / "film.mp4",
        size=(320, 240) if quick else (640, 480),
        at=times(30 if quick else 120, 3 if quick else 12),
        picture=lambda index, width, height: cv2.resize(
            cv2.cvtColor(astronaut()[0:384, 8 * (index % 4) : 480 + 8 * (index % 4)], cv2.COLOR_RGB2BGR),
            (width, height),
        ),
    )
    taken: dict[str, list[float]] = {"service": [], "swap": [], "said": []}
    with running_service(folder / "service", THREADS=THREADS) as service:
        service.wait(service.make({"source": source, "target": picture})["id"])
        for _ in range(2 if quick else 5):
            begun = time.monotonic()
            task = service.make({"source": source, "target": film})
            ended = service.wait(task["id"], seconds=600)
            taken["service"].append(time.monotonic() - begun)
            assert ended["state"] == "succeeded", ended
            begun = time.monotonic()
            taken["said"].append(_swap(folder, source, film))
            taken["swap"].append(time.monotonic() - begun)
            print(*(f"{name} {seconds[-1]:.2f} s" for name, seconds in taken.items()), sep=", ", flush=True)
    medians = {name: statistics.median(seconds) for name, seconds in taken.items()}
    print(f"a task ÷ a swap of the same film: {medians['service'] / medians['swap']:.3f}")
    print(f"a task ÷ what the swap says it took: {medians['service'] / medians['said']:.3f}")


def _swap(folder: Path, source: Path, film: Path) -> float:
    """The seconds that it says it took."""
    command = [sys.executable, "-m", "facefusion_runner", "swap", "--source", str(source)]
    command += ["--target", str(film), "--output", str(folder / "out.mp4"), "--overwrite"]
    command += ["--progress", "json"]
    env = environment(folder / "swap", THREADS=THREADS, CACHE_GRACE_SECONDS="0")
    for name in ("PORT", "DATA_ROOT", "LOG_FORMAT"):
        del env[name]
    ended = subprocess.run(command, env=env, check=True, stdout=subprocess.PIPE, text=True)
    return float(json.loads(ended.stdout.splitlines()[-1])["seconds"])


def _load(folder: Path, quick: bool) -> None:
    source, picture, clip = pictures(folder)
    clients, seconds = (20, 30) if quick else (50, 300)
    with running_service(folder / "service", WORKERS="2", THREADS="1") as service:
        service.wait(service.make({"source": source, "target": picture})["id"])
        before = memory(service)
        with health_watched(service) as health:
            seen = load(service, source, picture, clip, clients, seconds)
        print(f"{clients} clients for {seconds} s: {len(seen.accepted)} tasks, answers {dict(seen.answers)}")
        print(f"ends {dict(seen.states)}, problems {len(seen.problems)}", *seen.problems[:10], sep="\n  ")
        print(f"memory {before / MEGABYTE:.1f} MB before, {memory(service) / MEGABYTE:.1f} MB after")
        print(health)


def _soak(folder: Path, quick: bool) -> None:
    for auto_clear in ("true", "false"):
        place = folder / auto_clear
        place.mkdir()
        source, picture, clip = pictures(place)
        with running_service(place / "service", AUTO_CLEAR_CACHE=auto_clear, THREADS="1") as service:
            begun = time.monotonic()
            seen = soak(service, source, picture, clip, 60 if quick else 500)
            print(f"AUTO_CLEAR_CACHE={auto_clear}: {time.monotonic() - begun:.0f} s, {dict(seen.ends)}")
            print(f"problems {len(seen.problems)}", *seen.problems[:10], sep="\n  ")
            print(
                f"on disk {seen.before} bytes before, {seen.after} after, of which results "
                f"{seen.result_bytes}: {seen.excess} too many; the store {seen.store[0]} and {seen.store[1]}"
            )
            series = ", ".join(f"{each / MEGABYTE:.1f}" for each in seen.memory)
            print(f"memory {series} MB: {seen.memory[-1] / seen.memory[0]:.3f} times", flush=True)


def pictures(folder: Path) -> tuple[Path, Path, Path]:
    """A source, a small picture and a clip of a second."""
    group = get_image("t1")
    source, picture = folder / "source.jpg", folder / "picture.jpg"
    cv2.imwrite(str(source), cv2.cvtColor(astronaut()[0:280, 84:364], cv2.COLOR_RGB2BGR))
    cv2.imwrite(str(picture), cv2.resize(group[170:450, 390:670], (160, 160)))
    return source, picture, make_film(folder / "clip.mp4", 4)


if __name__ == "__main__":
    main()
